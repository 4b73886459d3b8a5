# Each target makes its own environment in .venv: with uv when it is there, else with venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml gate/__init__.py

ifeq ($(shell command -v uv 2>/dev/null),)
CREATE = $(PYTHON) -m venv $(VENV)
# --no-compile: bytecode for what is never imported would be a fifth of the installation
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
else
CREATE = uv venv --quiet --python $(PYTHON) $(VENV)
INSTALL = uv pip install --quiet --python $(BIN)/python
endif

.PHONY: help demo serve test lint bench bench-quality bench-tune clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.core: $(SOURCES)
	@test -x $(BIN)/python || $(CREATE)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(SOURCES)
	@test -x $(BIN)/python || $(CREATE)
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.core

demo: $(VENV)/.core ## ask the pocket model some twenty questions through the gate
	$(BIN)/gate demo

serve: $(VENV)/.core ## an OpenAI-compatible gate on http://127.0.0.1:8800/v1
	$(BIN)/gate serve

test: $(VENV)/.dev ## the test suite
	$(BIN)/python -m pytest

lint: $(VENV)/.dev ## format, lint, types, import floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## measure what the README states
	$(BIN)/python -m tests.benchmarks.foundations --fresh-clone

bench-quality: $(VENV)/.dev ## measure every signal on recorded answers: make bench-quality DATA=folder
	$(BIN)/python -m tests.benchmarks.quality $(DATA)

bench-tune: $(VENV)/.dev ## measure tuning on recorded answers: make bench-tune DATA=folder
	$(BIN)/python -m tests.benchmarks.tuning $(DATA)

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
