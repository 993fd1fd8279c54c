# Needs python3 (3.11 or newer), pip and make; everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Keeps the start-up messages of the XLA runtime out of the output; does not choose a device.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo study test test-fast suite lint types format docs clean distclean

help:
	@echo "make demo    install, solve and smooth in less than a minute, say where the report and its picture are"
	@echo "make study NAME=list    the studies; NAME=four-arms QUICK=1 the short form of one, PAGE=1 writes its page"
	@echo "make test    install, then lint, format check, type check and tests"
	@echo "make test-fast    the same without the tests marked slow"
	@echo "make docs    install, run the pages of the guide, build the documentation in docs/build/html"
	@echo "make lint | types | format | install | clean | distclean"

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hierax needs Python 3.11 or newer; name one by PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	@echo "An equation by two methods, noisy data, a report: less than a minute."
	@$(BIN)/python -m studies demo --out $(DEMO)

study: $(STAMP)
	$(BIN)/python -m studies $(or $(NAME),list) $(if $(QUICK),--quick) $(if $(PAGE),--page)

# Two processes on two cores: threads of small matrices would only wait for each other.
suite: export OPENBLAS_NUM_THREADS := 1
test-fast: export PYTEST_ADDOPTS := -m "not slow"

# The type checker has one thread: beside the tests it takes half of its time on two cores.
test test-fast: $(STAMP) lint
	@$(MAKE) --no-print-directory --jobs=2 types suite

suite: $(STAMP)
	$(BIN)/python -m pytest -q -n 2

lint: $(STAMP)
	$(BIN)/ruff check src studies tests examples
	$(BIN)/ruff format --check src studies tests examples

types: $(STAMP)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(STAMP)
	$(BIN)/ruff check --fix src studies tests examples
	$(BIN)/ruff format src studies tests examples

docs: $(VENV)/.docs
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/build/html
	@echo "docs/build/html/index.html"

$(VENV)/.docs: $(STAMP) requirements-docs.lock
	$(BIN)/python -m pip install --quiet -r requirements-docs.lock
	@touch $@

clean:
	rm -rf build dist docs/build .pytest_cache .ruff_cache .hypothesis $(DEMO)
	find . -path ./$(VENV) -prune -o -type d \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
