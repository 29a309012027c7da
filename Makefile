# Every target installs what it needs from nothing: Python 3.11 or newer is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types contracts check clean

help:        ## Show this list
	@grep -E '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(INSTALLED)  ## Make .venv with every extra, at the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "crnet needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)  ## Simulated people, from drawing them to a report: the whole job in minutes
	$(BIN)/crnet demo runs/demo

test: $(INSTALLED)  ## All tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto

lint: $(INSTALLED)  ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## Types
	$(BIN)/mypy

contracts: $(INSTALLED)  ## Which module may import which
	$(BIN)/lint-imports

check: lint types contracts test  ## What CI runs

clean:  ## Remove caches and the virtual environment; runs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
