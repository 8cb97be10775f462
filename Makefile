# Everything a person runs here; `make` alone lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Most tests wait for processes: three files at a time take hardly more than a third as long, on two cores too.
SEVERAL := -n 3 --dist loadfile --no-loadscope-reorder
SLOW := browser or deploy or e2e or fuzz or interop or ovos or packaging

.DEFAULT_GOAL := help
.PHONY: help run test test-unit test-browser test-deploy test-e2e test-fuzz test-interop test-ovos test-packaging soak soak-cluster check docs bench clean

help: ## Say what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "HiveMind needs Python 3.10 or newer; there is no '$(PYTHON)' here."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "HiveMind needs Python 3.10 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Could not make a virtual environment (on Debian: apt install python3-venv)."; exit 1; }

$(VENV)/.installed-run: pyproject.toml | $(BIN)/python
	@echo "Installing the hub, the satellite and the chatroom (first time only) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check -e '.[hub,chatroom]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing what the tests need (first time only) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed-run

run: $(VENV)/.installed-run ## Start a hub that answers, and a chatroom; prints how to talk to it
	@exec $(BIN)/hivemind-core listen --agent embedded --quick-start

test: $(VENV)/.installed-dev ## Run every test, the slow suites too
	@command -v espeak-ng >/dev/null || \
		echo "There is no espeak-ng here, so nothing that makes speech is tested (on Debian: apt install espeak-ng)."
	@$(PYTEST) $(SEVERAL)

test-unit: $(VENV)/.installed-dev ## Run the quick tests only
	@$(PYTEST) -m 'not ($(SLOW))'

test-browser: $(VENV)/.installed-dev ## The chatroom's page in a real browser (Debian: apt install chromium nginx-light)
	@$(PYTEST) -m browser

test-deploy: $(VENV)/.installed-dev ## The containers (as root; Debian: apt install podman buildah runc catatonit debootstrap netavark aardvark-dns npm)
	@$(PYTEST) -m deploy

test-e2e: $(VENV)/.installed-dev ## Hub and satellites as separate processes
	@$(PYTEST) -m e2e

test-interop: $(VENV)/.installed-dev ## Released clients and hubs on the other side
	@$(PYTEST) -m interop

test-ovos: $(VENV)/.installed-dev ## A real Open Voice OS (Debian: apt install swig libfann-dev g++ python3-dev)
	@$(PYTEST) -m ovos

test-fuzz: $(VENV)/.installed-dev ## Every target of the fuzzers, HIVEMIND_FUZZ_SECONDS (60) each
	@$(PYTEST) tests/fuzz

soak: $(VENV)/.installed-dev ## One hub under faults (as root; Debian: apt install e2fsprogs libfaketime). ARGS="--minutes 10 --seed 1"
	@PYTHONPATH=tests $(BIN)/python -m soak_hub $(ARGS)

soak-cluster: $(VENV)/.installed-dev ## Three hubs of a cluster under faults (as root; Debian: apt install redis-server iproute2). ARGS="--minutes 10 --seed 1"
	@PYTHONPATH=tests $(BIN)/python -m soak $(ARGS)

test-packaging: $(VENV)/.installed-dev ## Build and install the distributions
	@$(PYTEST) -m packaging

check: $(VENV)/.installed-dev ## Lint, types, and what is installed: licences, advisories
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=tests $(BIN)/python -m audit

docs: $(VENV)/.installed-dev ## Build the pages as a site: build/site/index.html
	@$(BIN)/mkdocs build

bench: $(VENV)/.installed-dev ## Measure the hub beside the released one (BENCHMARKS.md). ARGS="round-trip --rounds 3"
	@$(BIN)/python -m bench $(ARGS)

clean: ## Remove what was built and installed here
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
