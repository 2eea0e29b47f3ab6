# Everything a user or CI does: each target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup run test check format bench estimates clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: .venv/.ready  ## make .venv with lwgan-dist in it

.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,classical]'
	touch $@

run: setup  ## the main job: dimension of the handwritten digits and of a manifold, some minutes on 2 cores
	mkdir -p runs
	$(BIN)/python -c "from sklearn.datasets import load_digits; load_digits(as_frame=True).data.to_parquet('runs/digits.parquet')"
	$(BIN)/lwgan-dist estimate runs/digits.parquet --max-dimension 16 --workers 1
	$(BIN)/lwgan-dist train tune_configs/train/quick.yaml

test: setup  ## the tests, under 15 minutes on 2 cores
	$(BIN)/python -m pytest

check: setup  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put the sources into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## cost of the updates beside a literal implementation, peak memory
	$(BIN)/python tests/benchmarks/bench_updates.py
	$(BIN)/python tests/benchmarks/bench_memory.py

estimates: setup  ## accuracy and cost of estimates, tables and figures of docs/estimates; over an hour, goes on where it stopped
	$(BIN)/python tests/benchmarks/bench_estimates.py
	$(BIN)/python tests/benchmarks/report_estimates.py

clean:  ## remove the environment and the runs
	rm -rf .venv runs
