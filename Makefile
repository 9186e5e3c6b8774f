# Everything runs in .venv, made with $(PYTHON) (3.10 or newer) at the first use: make PYTHON=python3.12 test
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench faults docs

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

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
