# make simulate and make test work in a fresh clone that has Python >= 3.11 and nothing else: each
# installs what it needs into .venv at its first use. Where python3 is older: make PYTHON=python3.12 ...

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

PYTEST_FLAGS ?= -n auto

.DEFAULT_GOAL := help
.PHONY: help simulate test lint format clean
.DELETE_ON_ERROR:

help: ## say what the targets do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

simulate: $(VENV)/core.stamp ## run the bundled network on the bundled images, bit-accurately
	$(BIN)/asq-hw simulate

test: $(VENV)/test.stamp ## run the tests
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/lint.stamp ## check format, style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/lint.stamp ## put the sources into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv, caches and build products
	rm -rf $(VENV) build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "asq-hw needs Python 3.11 or newer, and '$(PYTHON)' is not: name another with make PYTHON=..." >&2; exit 2; }
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 2; }

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing asq-hw into $(VENV) (first use: a minute or two) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/core.stamp
	@echo "Installing PyTorch and the test tools into $(VENV) (first use: some minutes) ..."
	@$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/lint.stamp: $(VENV)/test.stamp
	@echo "Installing the checkers into $(VENV) ..."
	@$(PIP) --editable '.[lint]'
	@touch $@
