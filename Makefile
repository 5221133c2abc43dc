# Two commands: `make train` (the main job) and `make test`. Each sets everything up first; a second call installs nothing.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.DEFAULT_GOAL := help
.PHONY: help setup train test lint format type imports pytest fuzz bench mlflow tensorboard clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: CPython 3.11 expected as '$(PYTHON)', none found; install it or call: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(STAMP)  ## make .venv from pyproject.toml under constraints.txt

train: $(STAMP)  ## train the default agent on real data, evaluate it, write the report (ARGS="seed=3 ..." overrides)
	$(BIN)/perennial train $(ARGS)

test: $(STAMP) lint type imports pytest  ## lint, types, layers, tests with coverage

lint: $(STAMP)  ## ruff: lint and format check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

format: $(STAMP)  ## ruff: mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(STAMP)  ## mypy --strict
	$(BIN)/mypy .

imports: $(STAMP)  ## the layers of the packages
	$(BIN)/lint-imports

pytest: $(STAMP)  ## tests, with branch coverage and the slowest of them
	$(BIN)/pytest -n 2 --dist loadfile --cov --cov-branch --cov-report=term --cov-fail-under=85

fuzz: $(STAMP)  ## property tests on new random examples, many of each (ARGS="tests/markets" narrows)
	$(BIN)/pytest -n 2 -q --hypothesis-profile=search --hypothesis-seed=random -m "not slow" $(or $(ARGS),$(shell grep -rl "from hypothesis" tests))

bench: $(STAMP)  ## throughput against peers, recorded in benchmarks/results
	$(BIN)/python -m benchmarks.run $(ARGS)

mlflow: $(STAMP)  ## the runs in a browser, on loopback
	$(BIN)/perennial ui mlflow

tensorboard: $(STAMP)  ## the curves in a browser, on loopback
	$(BIN)/perennial ui tensorboard

clean:  ## remove the environment and the caches (never the runs)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
