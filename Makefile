# From a bare clone with python3 (3.11 or newer) and make: `make run`. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
SOURCES := bench/mrc.py bench/turns.py bench/dynamo.py bench/sweep.py

.DEFAULT_GOAL := help
.NOTPARALLEL: # two pips in one environment disturb each other
.PHONY: help run test torch evidence docs bench traces coverage fmt clean

# Stamps: an environment is built once and again only when what it is made from has changed.
$(VENV)/.core: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable . </dev/null
	@touch $@

$(VENV)/.test: $(VENV)/.core
	@$(PIP) --editable '.[test]' </dev/null
	@touch $@

$(VENV)/.torch: $(VENV)/.core
	@$(PIP) --editable '.[calibrate]' </dev/null
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	@$(PIP) --editable '.[docs]' </dev/null
	@touch $@

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

run: $(VENV)/.core ## install into .venv and compare prefetch policies over a 5G slice
	@$(BIN)/simkv run scenarios/5g_slice.yaml

test: $(VENV)/.test ## lint, types, layers, then the fast tests
	$(BIN)/ruff check --quiet
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q -n 2

torch: $(VENV)/.torch ## add PyTorch, for calibration on a GPU host and for the tests that use it
	@$(BIN)/python -c "import torch; print('torch', torch.__version__)"

evidence: $(VENV)/.test $(VENV)/.docs ## the long tests: theory at length, other tools, measurements, published figures
	$(BIN)/python -m pytest -q -n 2 -m "slow or evidence"

docs: $(VENV)/.docs ## the pages as a site in out/docs; a warning is an error
	@$(BIN)/python -m sphinx -b html -q -W --keep-going -d out/.doctrees -c docs . out/docs
	@echo out/docs/index.html

bench: $(VENV)/.test ## time the simulator itself
	@test -n "$(SOURCES)" || { echo "no bench/*.py here"; exit 1; }
	@for script in $(SOURCES); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

traces: $(VENV)/.core ## generate the shipped traces again (byte-identical unless a generator changed)
	$(BIN)/simkv trace convert generator:sequential-reading traces/reading.jsonl.gz --seed 1
	$(BIN)/simkv trace convert generator:log-ar1 traces/slice_capacity.csv --seed 1

coverage: $(VENV)/.test ## the fast tests with branch coverage, 95 % wanted
	$(BIN)/python -m coverage run -m pytest -q
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

fmt: $(VENV)/.test ## sort imports and format
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

clean: ## remove the environment, caches and results
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
