# Everything a user or CI does: each target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
KILLS ?= 10
FAULTS ?= 5
PROCESSES ?= 2
SIGNALS ?= 60
SECONDS_EACH ?= 60
SEED ?= 0

.PHONY: help setup run docs test mutants test-faults test-endings fuzz test-cluster gpu package check format bench bench-scale bench-solve estimates population clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: .venv/.ready  ## make .venv with lwgan-dist in it

.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,classical,excel,images]'
	touch $@

run: setup  ## the main job: a small consistency study, table and figure of P(correct) against n; some minutes on 2 cores
	$(BIN)/lwgan-dist study tune_configs/study/quickstart.yaml

docs: .venv/.docs  ## the documentation as a site of files, site/index.html, with search and without a server; half a minute
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.venv/.docs: .venv/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

# Tests that start a local Ray wait much of the time: they run beside the others, and their output comes at the end.
# The others share out their files among processes of about 1 GiB each.
test: setup  ## the tests; some 10 minutes on 2 cores, by the processor; PROCESSES=4 for more
	@log=$$(mktemp); \
	$(BIN)/python -m pytest -m 'ray and not faults and not cluster' \
		$$(grep -rl --include='test_*.py' 'pytest\.mark\.ray' tests) >"$$log" 2>&1 & \
	ray=$$!; trap 'kill -TERM $$ray; rm -f "$$log"; exit 130' INT TERM; \
	others=0; $(BIN)/python -m pytest -q -n $(PROCESSES) --dist loadfile -m 'not ray and not faults and not cluster' || others=$$?; \
	echo 'waiting for the tests that start a local Ray'; \
	local_ray=0; wait $$ray || local_ray=$$?; cat "$$log"; rm -f "$$log"; \
	exit $$((others > local_ray ? others : local_ray))

mutants: setup  ## deliberate faults, each of which its tests have to notice; some minutes
	$(BIN)/python tests/benchmarks/mutants.py

test-faults: setup  ## studies and searches killed ten times, nodes too; KILLS=50 for more
	KILLS=$(KILLS) $(BIN)/python -m pytest -s -m 'faults or not faults' \
		tests/study/test_study_on_ray.py tests/search/test_search_on_ray.py

test-endings: setup  ## every command interrupted at random moments, from its first line on; SIGNALS=60, SEED=0
	$(BIN)/python tests/benchmarks/interrupt_campaign.py --signals $(SIGNALS) --seed $(SEED)

fuzz: setup  ## readers of tables and images on damaged files; SECONDS_EACH=60 of the processor for each of 6 families, SEED=0
	$(BIN)/python tests/benchmarks/fuzz_readers.py --seconds $(SECONDS_EACH) --seed $(SEED)

test-cluster: setup  ## training and studies on several nodes that are lost, drained, cut off; jobs, tokens, SLURM; FAULTS=50 for more
	FAULTS=$(FAULTS) $(BIN)/python -m pytest -s -m cluster

gpu: setup  ## on a machine with a GPU: trajectories, conformance, nccl, precisions, speed on images; at most 8 minutes
	$(BIN)/python tests/gpu/check.py

package:  ## wheel and sdist, checked, tested in an empty environment; SBOM, licences, hashes, advisories in dist/; some minutes
	$(PYTHON) tests/package_check.py

check: setup  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put the sources into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## cost of the updates beside a literal implementation, peak memory, overhead of studies and searches
	$(BIN)/python tests/benchmarks/bench_updates.py
	$(BIN)/python tests/benchmarks/bench_memory.py
	$(BIN)/python tests/benchmarks/bench_aggregate.py
	$(BIN)/python tests/benchmarks/bench_pool.py
	$(BIN)/python tests/benchmarks/bench_study.py
	$(BIN)/python tests/benchmarks/bench_search.py

bench-scale: setup  ## plan, ledger, storage requests and scheduler of very large studies
	$(BIN)/python tests/benchmarks/bench_scale.py

bench-solve: setup  ## the search for n on known success curves, 500 replays each: coverage, error, runs beside a grid; some minutes
	$(BIN)/python tests/benchmarks/bench_solve.py

estimates: setup  ## accuracy and cost of estimates, tables and figures of docs/estimates; over an hour, goes on where it stopped
	$(BIN)/python tests/benchmarks/bench_estimates.py
	$(BIN)/python tests/benchmarks/report_estimates.py

population: setup  ## random manifolds that nobody tuned for: the study, and the tables of docs/population; an hour, goes on where it stopped
	$(BIN)/lwgan-dist study tune_configs/study/population.yaml
	$(BIN)/python tests/benchmarks/population_study.py report runs/population docs/population

clean:  ## remove the environment and the runs
	rm -rf .venv runs site
