"""The worker's side of a search: carries out a trial, or a generation of a member of a population, wherever Ray Tune
puts it, and enters what it found in the ledger.
"""

import time
from collections.abc import Generator
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import Any

from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.errors import ClusterError, ConfigError, DataError
from lwgan_dist.runs import ENVIRONMENT_FILE, Run, torch_threads
from lwgan_dist.search.objective import finite, interim_objective, measure, weighted
from lwgan_dist.search.trials import Trial, TrialLedger, TrialRecord
from lwgan_dist.storage import Folder
from lwgan_dist.training.checkpoint import Checkpoints
from lwgan_dist.worker import NUMERICAL, check_table, patiently, quiet

LEDGER, SCRATCH, POPULATION = "ledger", "work", "population"
"""Folders of a search: trials that have ended; runs under way; states of the members of a population."""

Told = dict[str, Any]


def carry_out(task: Told) -> Generator[Told, None, Told]:
    """Carries out a trial (``kind: trial``) or a member's generation (``kind: member``).

    Args:
        task: ``search`` (location), ``execution``, ``kind`` and what `Search` says about it.

    Yields:
        ``value``, an interim objective of a trial, and ``cpu_seconds`` so far, if a scheduler wants reports. Whoever
        does not go on has stopped it, and enters that.

    Returns:
        What it has entered in the ledger.
    """
    search = Folder.at(task["search"])
    if not search.has(ENVIRONMENT_FILE):
        raise ClusterError(
            f"{search.location}: this node does not see the search; use a shared folder or a URI as storage"
        )
    execution = ExecutionConfig.model_validate(task["execution"])
    if task["kind"] == "member":
        return _member(task, search, execution)
    return (yield from _trial(task, search, execution))


def trial_of(task: Told) -> Trial:
    """The trial that a task is about."""
    seeds = tuple((int(data_seed), int(seed)) for data_seed, seed in task["seeds"])
    return Trial(RunConfig.model_validate(task["config"]), seeds, task["table_digest"], task["unit"])


def _trial(task: Told, search: Folder, execution: ExecutionConfig) -> Generator[Told, None, Told]:
    trial, weights = trial_of(task), task["weights"]
    ledger, scratch = TrialLedger(search.sub(LEDGER)), search.sub(SCRATCH)
    if ledger.has_row(trial.key):  # of a process that was lost after its work was done
        (record,) = ledger.records({trial.key})
        return asdict(record)
    check_table(trial.config, trial.table_digest)
    started, failure, spent = time.perf_counter(), None, 0.0
    reports: list[float] = []
    runs: list[Told] = []

    def report(value: float, cpu_seconds: float) -> Told:
        reports.append(finite((sum(weighted(run, weights) for run in runs) + value) / (len(runs) + 1)))
        return {"value": reports[-1], "cpu_seconds": cpu_seconds}

    try:
        for index in range(len(trial.seeds)):
            with quiet():
                run = Run(trial.run(index))
            folder = scratch.sub(trial.key).sub(f"run-{index}")
            for iteration in run.halts(task["reports_per_seed"])[:-1]:
                halt = patiently(partial(run.fit_until, folder, execution, iteration))
                with torch_threads(execution.threads_per_worker):
                    value = interim_objective(halt.model, run.sample, trial.unit, weights)
                yield report(value, spent + halt.cpu_seconds)
            fit = patiently(partial(run.fit, folder, execution))
            spent += fit.result.cpu_seconds
            with torch_threads(execution.threads_per_worker):
                measures = measure(fit.model, run.sample, trial.unit, fit.result.cpu_seconds)
            if task["scheduled"] and index + 1 < len(trial.seeds):
                yield report(weighted(measures, weights), spent)
            data_seed, seed = trial.seeds[index]
            names = {"index": index, "data_seed": data_seed, "seed": seed, "fingerprint": run.fingerprint}
            runs.append({**names, "dimension": fit.result.dimension, **measures})
    except (ConfigError, DataError, *NUMERICAL) as error:  # this configuration cannot be, or diverges
        failure = f"{type(error).__name__}: {error}"
    record = TrialRecord(
        key=trial.key,
        failure=failure,
        reports=reports,
        runs=runs,
        cpu_seconds=spent,
        wall_seconds=time.perf_counter() - started,
        version=f"lwgan-dist {version('lwgan-dist')}",
    )
    ledger.write(record)
    scratch.remove(trial.key)
    return asdict(record)


def _member(task: Told, search: Folder, execution: ExecutionConfig) -> Told:
    """A generation of a member: from the state of its parent, or from the beginning, to an iteration."""
    ledger, folders = TrialLedger(search.sub(LEDGER)), search.sub(POPULATION)
    if ledger.has_row(task["key"]) and Checkpoints(folders.sub(task["key"]).sub("checkpoints")).newest():
        (record,) = ledger.records({task["key"]})
        return asdict(record)
    config = RunConfig.model_validate(task["config"])
    check_table(config, task["table_digest"])
    started, failure, spent = time.perf_counter(), None, 0.0
    reports: list[float] = []
    try:
        with quiet():
            run = Run(config)
        iteration = run.halts(task["generations"])[task["generation"]]
        start = folders.sub(task["parent"]) if task["parent"] else None
        halt = patiently(partial(run.fit_until, folders.sub(task["key"]), execution, iteration, start=start))
        spent = halt.cpu_seconds
        with torch_threads(execution.threads_per_worker):
            value = interim_objective(halt.model, run.sample, task["unit"], task["weights"])
        reports.append(finite(value))
    except (ConfigError, DataError, *NUMERICAL) as error:
        failure = f"{type(error).__name__}: {error}"
    record = TrialRecord(
        key=task["key"],
        failure=failure,
        reports=reports,
        cpu_seconds=spent,
        wall_seconds=time.perf_counter() - started,
        version=f"lwgan-dist {version('lwgan-dist')}",
    )
    ledger.write(record)
    return asdict(record)
