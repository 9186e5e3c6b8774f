# Everything runs in .venv, made with $(PYTHON) (3.10 or newer) at the first use: make PYTHON=python3.12 test
PYTHON ?= python3
BIN := .venv/bin

# Tests start hundreds of short processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench faults docs coverage

# A local Redivis, the tap, a target and a PostgreSQL: stopped half-way and resumed.
demo: .venv/installed
	$(BIN)/python -m demo

# Tests wait more than they compute: four workers even on two cores.
test: .venv/installed
	$(BIN)/python -m pytest --numprocesses 4 --dist loadgroup

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python -m benchmarks

# Every fault of the menu against the tap and against the official client: ten minutes; writes docs/faults.md.
faults: .venv/installed
	$(BIN)/python -m tests.faults

# The guides as a site; a warning is an error.
docs: .venv/installed
	$(BIN)/python -m docs.generate
	$(BIN)/mkdocs build --strict --quiet

# Branches of the tap (without the emulator) that its unit and end-to-end tests reach, the tap's processes too: ten minutes.
# Fails below 95 % of the branches alone, and of lines and branches together.
coverage: .venv/installed
	rm -rf .cache/coverage
	$(BIN)/python -m coverage run -m pytest --numprocesses 4 --dist loadgroup tests/unit tests/end_to_end --ignore tests/end_to_end/test_memory.py
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report
	$(BIN)/python -m coverage json --quiet -o .cache/coverage/report.json
	$(BIN)/python -m tests.support.branches .cache/coverage/report.json

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
