# Every target first installs what it needs. The only requirement is Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
INSTALLED := .venv/.installed
EXTRA := .venv/.installed-with-

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-avx2 test-portable fuzz bench lint types contracts check docs docs-check docs-commands \
	examples dist clean

help:  ## Show this list
	@grep -E '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(INSTALLED)  ## Create .venv with every extra, at the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "crnet needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

# An extra that few people need is installed when a target first asks for it.
$(EXTRA)%: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@

demo: $(INSTALLED)  ## Run everything on synthetic people, from videos to a report, in minutes
	$(BIN)/crnet demo runs/demo

test: $(INSTALLED)  ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto

# oneDNN uses other code on CPUs without AVX-512, where narrow networks corrupt memory (oneDNN issue 6035).
test-avx2: $(INSTALLED)  ## Run the tests of models and training as on a CPU without AVX-512
	ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto \
		tests/unit/models tests/unit/training tests/golden tests/e2e/test_training_*.py

test-portable: $(INSTALLED)  ## Run the tests of what is the same on Linux, macOS and Windows
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto \
		tests/unit/core tests/unit/models tests/unit/fusion tests/unit/text tests/unit/cli tests/unit/plugins tests/unit/predict

fuzz: $(INSTALLED)  ## Run the campaigns of docs/reliability.md: 2,600 damaged files and killed commands
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --media 2000 --files 500 --kills 100 --out runs/fuzz

bench: $(INSTALLED)  ## Run the benchmarks of docs/performance.md, in four minutes
	$(BIN)/python -m benchmarks all

lint: $(INSTALLED)  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## Check types
	$(BIN)/mypy

contracts: $(INSTALLED)  ## Check which module imports which
	$(BIN)/lint-imports

check: lint types contracts test  ## Run lint, types, contracts and test; CI adds test-avx2

docs: $(EXTRA)docs  ## Build the documentation site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "build/site/index.html; for the search: $(BIN)/python -m http.server --directory build/site"

docs-check: docs  ## Check every link of the site, and open every page in Chromium
	CRNET_TEST_SITE=build/site OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto tests/docs/test_site.py

docs-commands: $(INSTALLED)  ## Run every command and code block of README and the site that can run here
	CRNET_TEST_DOCS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto tests/docs/test_commands.py

examples: $(INSTALLED)  ## Run the scripts of examples/ on small data
	CRNET_TEST_EXAMPLES=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto tests/docs/test_examples.py

dist: $(EXTRA)package  ## Build and check the package, install it elsewhere, and use it; TAG=vX.Y.Z must match its version
	PYTHON=$(BIN)/python TAG=$(TAG) bash .ci/dist

clean:  ## Remove caches and the virtual environment, but not runs/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
