# Needs Python 3.11 or newer with venv, and make. See docs/development.md.

ARGS ?=
# Tests wait as long as they compute: one more than two cores have hands for.
JOBS ?= 3
PYTEST_ARGS ?=
STORM ?= full
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
PATHS := src tests $(wildcard bench docs)
UV_COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links $(UV_ARGS)

export PYTHON

.PHONY: help demo test test-storm lint bench lock clean

help:
	@echo "make demo        faults are injected into a small service, and handled (ARGS='--pace fast')"
	@echo "make test        lint, types, walls and tests (PYTEST_ARGS='-k name', JOBS=3)"
	@echo "make test-storm  the slow storms (STORM=short for the bounded ones)"
	@echo "make lint        only lint, types and walls"
	@echo "make bench       the figures of docs/benchmarks.md (ARGS='...')"
	@echo "make lock        resolve the dependencies anew (needs uv; UV_ARGS=--upgrade for newer ones)"
	@echo "make clean       remove .venv, .venv-moto and every cache"

demo:
	@requirements/install run
	@$(BIN)/quell demo $(ARGS)

test: lint
	@requirements/install moto
	$(PYTEST) -n $(JOBS) --dist worksteal -m "not storm and not long" -rs $(PYTEST_ARGS)

# Exit code 5 says that no test is marked so.
test-storm:
	@requirements/install dev
	QUELL_STORM=$(STORM) $(PYTEST) -m "storm$(if $(filter full,$(STORM)), or long)" -rs $(PYTEST_ARGS) || test $$? -eq 5

lint:
	@requirements/install dev
	$(BIN)/ruff check $(PATHS)
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench:
	@requirements/install dev
	@$(BIN)/python -m bench $(ARGS)

lock:
	$(UV_COMPILE) pyproject.toml requirements/build.in -o requirements/run.txt
	$(UV_COMPILE) pyproject.toml requirements/build.in requirements/dev.in \
		-c requirements/run.txt -o requirements/dev.txt
	$(UV_COMPILE) requirements/moto.in -o requirements/moto.txt

clean:
	rm -rf .venv .venv-moto .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find $(PATHS) -name __pycache__ -type d -prune -exec rm -rf {} +
