"""The worker's side of a search: carries out a trial wherever Ray Tune puts it and enters it in the ledger."""

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

from lwgan_dist import logs
from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.errors import ClusterError, ConfigError, DataError, UnreadableError
from lwgan_dist.models.pilot import fit_seconds
from lwgan_dist.runs import ENVIRONMENT_FILE, Run, torch_threads
from lwgan_dist.search.objective import finite, interim_objective, measure, weighted
from lwgan_dist.search.trials import Trial, TrialLedger, TrialRecord
from lwgan_dist.storage import Folder
from lwgan_dist.worker import NUMERICAL, check_table, patiently, quiet

LEDGER, SCRATCH = "ledger", "work"
"""Folders of a search: trials that have ended; runs under way."""

_REPORTS = "reports.json"
_DONE: set[str] = set()
"""In this process."""

Told = dict[str, Any]
Result = TypeVar("Result")


def carry_out(task: Told) -> Generator[Told, None, Told]:
    """Carries out a trial.

    Args:
        task: ``search`` (location), ``execution`` and what `Search` says about it.

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
    return (yield from logs.within(_trial(task, search, execution), search=search.name, trial=trial_of(task).key))


def trial_of(task: Told) -> Trial:
    """The trial that a task is about."""
    seeds = tuple((int(data_seed), int(seed)) for data_seed, seed in task["seeds"])
    config = RunConfig.model_validate(task["config"])
    return Trial(config, seeds, task["table_digest"], task["unit"], task["context"])


def _warm_up(run: Run) -> None:
    """What the first run of a process takes longer, about a second, is no property of its configuration."""
    if "warm" not in _DONE:
        fit_seconds(run.config, run.sample)
        _DONE.add("warm")


def _trial(task: Told, search: Folder, execution: ExecutionConfig) -> Generator[Told, None, Told]:
    trial, ledger = trial_of(task), TrialLedger(search.sub(LEDGER))
    if ledger.has_row(trial.key):  # of a process that was lost after its work was done
        return _entered(ledger, trial.key)
    check_table(trial.config, trial.table_digest)
    started = time.perf_counter()
    scratch = search.sub(SCRATCH).sub(trial.folder)
    reports = _Reports(scratch, task["weights"])
    runs: list[Told] = []
    failure = None

    def unless_entered(work: Callable[[], Result]) -> Callable[[], Result]:
        """A worker of a killed command, for which this one waits, may end the trial."""

        def attempt() -> Result:
            if ledger.has_row(trial.key):
                raise _EnteredError
            return work()

        return attempt

    try:
        for index in range(len(trial.seeds)):
            run = _prepared(trial.run(index))
            if task["timed"]:
                _warm_up(run)
            folder = scratch.sub(f"run-{index}")
            for iteration in _halts(run, task["reports_per_seed"])[:-1]:
                if not reports.is_next_known:
                    halt = patiently(unless_entered(partial(run.fit_until, folder, execution, iteration)))
                    with torch_threads(execution.threads_per_worker):
                        value = interim_objective(halt.model, run.sample, trial.unit, task["weights"])
                    reports.add(runs, value, halt.cpu_seconds)
                yield reports.next()
            fit = patiently(unless_entered(partial(run.fit, folder, execution)))
            with torch_threads(execution.threads_per_worker):
                measures = measure(fit.model, run.sample, trial.unit, fit.result.cpu_seconds)
            if trial.context and index + 1 < len(trial.seeds):
                if not reports.is_next_known:
                    reports.add(runs, weighted(measures, task["weights"]), fit.result.cpu_seconds)
                yield reports.next()
            data_seed, seed = trial.seeds[index]
            names = {"index": index, "data_seed": data_seed, "seed": seed, "fingerprint": run.fingerprint}
            runs.append({**names, "dimension": fit.result.dimension, **measures})
    except _EnteredError:
        return _entered(ledger, trial.key)
    except (_ImpossibleError, *NUMERICAL) as error:
        failure = _reason(error)
    record = TrialRecord(
        key=trial.key,
        failure=failure,
        context=trial.context,
        reports=[told["value"] for told in reports.told],
        runs=runs,
        cpu_seconds=sum(run["cpu_seconds"] for run in runs),
        wall_seconds=time.perf_counter() - started,
        **computed_with(execution),
    )
    ledger.write(record)
    with suppress(OSError):  # the trial is recorded, whatever is left of it
        search.sub(SCRATCH).remove(trial.folder)
    return asdict(record)


class _Reports:
    """The reports of a trial. They are kept with its runs, so a trial that is begun anew tells the same ones."""

    def __init__(self, folder: Folder, weights: Told) -> None:
        self._folder = folder
        self._weights = weights
        self.told: list[Told] = folder.read_json(_REPORTS) if folder.has(_REPORTS) else []
        self._next = 0

    @property
    def is_next_known(self) -> bool:
        """Whether the next one was told before."""
        return self._next < len(self.told)

    def add(self, runs: Sequence[Told], value: float, cpu_seconds: float) -> None:
        """The objective as it stands: the mean over the runs that have ended and the value of the one under way."""
        ended = [weighted(run, self._weights) for run in runs]
        seconds = sum(run["cpu_seconds"] for run in runs) + cpu_seconds
        value = finite((sum(ended) + value) / (len(ended) + 1))
        self.told.append({"report": len(self.told) + 1, "value": value, "cpu_seconds": seconds})
        self._folder.write(_REPORTS, json.dumps(self.told).encode())

    def next(self) -> Told:
        """The next one to be told."""
        self._next += 1
        return self.told[self._next - 1]


class _EnteredError(Exception):
    """The trial has ended meanwhile."""


def _entered(ledger: TrialLedger, key: str) -> Told:
    (record,) = ledger.records({key})
    return asdict(record)


class _ImpossibleError(Exception):
    """There can be no such run."""


def _prepared(config: RunConfig) -> Run:
    try:
        with quiet():
            return Run(config)
    except UnreadableError:  # which says nothing about the configuration
        raise
    except (ConfigError, DataError) as error:
        raise _ImpossibleError(_reason(error)) from None


def _halts(run: Run, count: int) -> list[int]:
    halts = run.halts(count)
    if len(halts) < count:
        raise _ImpossibleError(f"ConfigError: a run of {halts[-1]} iterations is too short to be halted {count} times")
    return halts


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _ImpossibleError) else f"{type(error).__name__}: {error}"


def computed_with(execution: ExecutionConfig) -> Told:
    """What else a record says."""
    assert isinstance(execution.workers, int)
    return {
        "threads": execution.threads_per_worker,
        "workers": execution.workers,
        "use_gpu": execution.use_gpu,
        "version": f"lwgan-dist {version('lwgan-dist')}",
    }
