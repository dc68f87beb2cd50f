# Everything a person or CI does with Retinue. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH := $(CURDIR)
# some images set it; without compiled files each process of the suite compiles all of the product again
unexport PYTHONDONTWRITEBYTECODE
AT_DAY = $(if $(DAY),RETINUE_CLOCK_OFFSET=$$($(BIN)/python -P -m tests.days $(DAY)))
# most tests wait for servers, so two processes a core keep it busy
PYTEST = $(BIN)/python -P -m pytest -n $$(( 2 * $$(getconf _NPROCESSORS_ONLN) )) --dist loadgroup
.DEFAULT_GOAL := help

.PHONY: help venv up demo test test-unit test-long test-all test-deploy test-again test-model test-one mutations prove watch check format bench lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Retinue needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^[a-z]/ {wanted = /^uv==/} wanted' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@touch $@

venv: $(VENV)/.installed ## Create .venv from the lock (the other targets do it when needed)

up: venv ## Start everything in the foreground; Ctrl-C stops it
	@exec $(BIN)/python -P -m workers up $(addprefix --with ,$(WITH))

demo: venv ## Run a request end to end on a private stack, then stop it
	@exec $(BIN)/python -P -m cli demo

test: venv ## Run the suite against real servers; DAY=2028-02-29T09:00 as if it were that day, TESTS=... a part
	$(AT_DAY) $(PYTEST) -m "not long and not deploy" $(TESTS)

test-unit: venv ## Run what needs no server and no process of its own
	$(AT_DAY) $(PYTEST) -m "unit and not long and not deploy" $(TESTS)

test-long: venv ## Run what takes long: many faults, hundreds of messages; DAY and TESTS as above
	$(AT_DAY) $(PYTEST) -m "long and not deploy" $(TESTS)

test-model: venv ## Run what needs a small real language model (370 MB, kept in the cache of this machine); a part of the long ones
	$(AT_DAY) $(BIN)/python -P -m pytest -m model $(or $(TESTS),tests/activities/reasoning)

test-all: venv ## Run both at once, as CI does: what waits long waits beside the rest
	$(AT_DAY) $(PYTEST) -m "not deploy" $(TESTS)

test-deploy: venv ## Run what needs a container engine, npm packages or minutes of work, one after the other; TESTS=... a part
	$(BIN)/python -P -m pytest -m deploy $(TESTS)

test-again: venv ## Run once more, one after the other, what failed last; it refuses more than five
	@$(BIN)/python -P -m tests.again

test-one: venv ## Run one file or test in this process: make test-one FILE=tests/test_main_job.py ARGS="-k approval"
	$(AT_DAY) $(BIN)/python -P -m pytest $(FILE) $(ARGS)

mutations: venv ## Break guarantees one by one and show that tests notice; ARGS="3 17" only these
	@$(BIN)/python -P -m tests.mutations $(ARGS)

watch: venv ## Run FILE again whenever a Python file changes
	$(BIN)/python -P -m tests.watch $(FILE) $(ARGS)

check: venv ## Format, lint, types, import rules, dependencies: what CI checks
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry . --no-ansi

format: venv ## Format, mend what can be mended; write the sync client and the docs' tables
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format --quiet .
	$(BIN)/python -P -m deploy.unasync
	$(BIN)/python -P -m deploy.doc_tables

bench: venv ## Compare the product with the bare workflow, in one interleaved run
	$(BIN)/python -P -m bench

prove: venv ## Try to break what is promised and print what came out; ARGS=--short takes five minutes
	$(BIN)/python -P -m tests.prove $(ARGS)

lock: venv ## Resolve the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --group dev --all-extras pyproject.toml -o requirements.lock $(UPGRADE)
	$(BIN)/python -P -m deploy.lock_parts

clean: ## Remove the environment and caches (never the data folder)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
