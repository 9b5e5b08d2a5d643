# Everything happens in .venv, which is made on first use; a .venv of your own is used as it is.

PYTHON ?= python3
PAGE ?=
ENV := .venv
BIN := $(ENV)/bin
READY := $(ENV)/ready
READY_DEV := $(ENV)/ready-dev
# Two tests at a time, each on one thread; but of the pages, whose browsers mind the clock, one.
TWO_AT_ONCE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/demos

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check format floors

help:
	@echo 'make demo [PAGE=patches]   open the demo pages in the browser'
	@echo 'make test                  run the tests, about 17 minutes'
	@echo 'make check                 format, lint, types and floors, then make test'
	@echo 'make test-all              run the slow tests too'
	@echo 'make format                put the code in order'
	@echo 'PYTHON=python3.12 chooses the Python that .venv is made with'

demo: $(READY)
	@$(BIN)/mmfm demo $(PAGE)

test: $(READY_DEV)
	@$(TWO_AT_ONCE)
	@$(BIN)/python -m pytest tests/demos

test-all: $(READY_DEV)
	@$(TWO_AT_ONCE) -m 'not gpu'
	@$(BIN)/python -m pytest -m 'not gpu' tests/demos

check: $(READY_DEV)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(MAKE) --no-print-directory floors
	@$(MAKE) --no-print-directory test

format: $(READY_DEV)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# The package is linted as it is installed, with demos/ inside it: only then are both directions of
# every import to be seen.
floors: $(READY_DEV)
	@tree=$$(mktemp -d) && trap 'rm -rf "$$tree"' EXIT && \
	cp -R mmfm "$$tree/mmfm" && cp -R demos "$$tree/mmfm/demos" && \
	lint="$(CURDIR)/$(BIN)/lint-imports --config $(CURDIR)/pyproject.toml" && \
	cd "$$tree" && $$lint --no-cache --no-logo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'mmfm needs Python 3.11 or newer; say where one is: make PYTHON=python3.11'; exit 1; }
	@echo 'making $(ENV)'
	@$(PYTHON) -m venv $(ENV)

$(READY): pyproject.toml | $(BIN)/python
	@$(BIN)/python .ci/installed.py || { \
		echo 'installing mmfm and what it needs into $(ENV): some minutes, once'; \
		$(BIN)/python -m pip install --quiet -e .; }
	@touch $@

$(READY_DEV): pyproject.toml | $(BIN)/python
	@$(BIN)/python .ci/installed.py dev onnx || { \
		echo 'installing mmfm, what it needs and its checks into $(ENV): some minutes, once'; \
		$(BIN)/python -m pip install --quiet -e '.[dev]'; }
	@touch $(READY) $@
