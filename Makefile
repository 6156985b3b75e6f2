# Everything that is made here stays here: the environment in .venv, results in demo, caches in .cache.
# Outside this folder there are only pip's own cache and Ray's temporary files, which Ray puts in /tmp/ray.
#
#   make demo PIP_ARGS='--extra-index-url URL'     passes arguments to pip, for instance to choose a CPU or a CUDA build of torch
#   make demo PYTHON=/path/to/python3.12           chooses the Python that .venv is made with

.DEFAULT_GOAL := help
.PHONY: help demo install test test-all lint types bench docs clean
SHELL := bash

# The first Python ≥ 3.11 that really starts: a version manager's shim is on the PATH even where its version is not installed.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP_ARGS ?=
BIN := .venv/bin

# What the libraries would otherwise write into the home directory, or send away.
HERE := MPLCONFIGDIR='$(CURDIR)/.cache/matplotlib' XDG_CACHE_HOME='$(CURDIR)/.cache' PYTEST_DEBUG_TEMPROOT='$(CURDIR)/.cache' \
	RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1
# One thread a process: several share the cores, and sums are then the same on every machine.
TEST_ENVIRONMENT := $(HERE) RAY_AUTH_MODE=disabled OMP_NUM_THREADS=1

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1 | /' | column -t -s '|'

demo: .venv/installed ## sample data → training → registry → forecast → verification, in a few minutes
	@mkdir -p .cache
	@$(HERE) $(BIN)/credit-ray quickstart --dir demo

install: .venv/installed-dev ## .venv with the package and what its developers use

test: .venv/installed-dev ## the tests, all but the slow ones
	@mkdir -p .cache
	@$(TEST_ENVIRONMENT) $(BIN)/python -m pytest $(PYTEST_ARGS)

test-all: .venv/installed-dev ## all tests
	@mkdir -p .cache
	@$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -m 'slow or not slow' $(PYTEST_ARGS)

lint: .venv/installed-dev ## style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/installed-dev ## static types
	@$(BIN)/mypy

bench: .venv/installed-dev ## every benchmark program, quickly: JSON lines, ratios last
	@for program in $(wildcard tests/benchmarks/*.py); do $(TEST_ENVIRONMENT) $(BIN)/python "$$program" --quick || exit 1; done

docs: .venv/installed-dev ## docs/reference: every command and every key of the config
	@mkdir -p docs/reference
	@$(BIN)/credit-ray config schema > docs/reference/experiment.schema.json
	@$(BIN)/credit-ray config reference > docs/reference/config.md
	@$(BIN)/typer credit_ray.cli utils docs --name credit-ray --output docs/reference/commands.md

clean: ## removes all of it
	rm -rf .venv .cache demo docs/reference .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A stamp file for each kind of installation, so that a second `make` starts at once; newer metadata or pins install again.
.venv/installed: pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory .venv/bin/python
	@echo "Installing into .venv (some minutes, the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory .venv/bin/python
	@echo "Installing into .venv (some minutes, the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch .venv/installed $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer on the PATH. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) could not make .venv; on Debian and Ubuntu the package python3-venv is needed." >&2; exit 1; }
