"""The worker's side of a search: computes a trial wherever Ray Tune puts it and enters it in the ledger."""

import json
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from lwgan_dist import logs
from lwgan_dist.campaign.folder import LEDGER, SCRATCH, clear_scratch
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.provenance import signed
from lwgan_dist.campaign.record import Fit
from lwgan_dist.campaign.task import Task
from lwgan_dist.campaign.worker import (
    NUMERICAL,
    RecordedError,
    check_table,
    fitted_metrics,
    package_version,
    patiently,
    quiet,
    reason_of,
)
from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.errors import ConfigError, DataError, UnreadableError
from lwgan_dist.metrics.heldout import held_out_metrics
from lwgan_dist.models.pilot import fit_seconds
from lwgan_dist.run.run import FittedRun, Run, torch_threads
from lwgan_dist.search.objective import finite, interim_objective, measures_of, unit_of, weighted
from lwgan_dist.search.trials import Trial, TrialRecord
from lwgan_dist.storage import Folder

_REPORTS = "reports.json"
_DONE: set[str] = set()
"""In this process."""


@dataclass(frozen=True, kw_only=True)
class TrialTask(Task):
    """A trial.

    Attributes:
        trial: the trial.
        weights: of the measures in its interim objectives.
        timed: whether processor time is a part of an objective.
        reports_per_seed: reports of a run, the last of which is its end.
    """

    trial: Trial
    weights: Mapping[str, float]
    timed: bool
    reports_per_seed: int


@dataclass(frozen=True)
class Report:
    """An interim objective.

    Attributes:
        report: its number, from 1.
        value: the objective as it stands.
        cpu_seconds: spent so far.
    """

    report: int
    value: float
    cpu_seconds: float


def execute(task: TrialTask) -> Generator[Report, None, TrialRecord]:
    """Computes a trial.

    Yields:
        Interim objectives, if a scheduler wants reports. Whoever does not go on has stopped the trial, and records
        that.

    Returns:
        What was recorded, without the fits.
    """
    search = task.folder("search")
    return (yield from logs.within(_trial(task, search), search=search.name, trial=task.trial.key))


def _warm_up(run: Run) -> None:
    """What the first run of a process takes longer, about a second, is no property of its configuration."""
    if "warm" not in _DONE:
        fit_seconds(run.config, run.sample)
        _DONE.add("warm")


def _trial(task: TrialTask, search: Folder) -> Generator[Report, None, TrialRecord]:
    trial, ledger = task.trial, Ledger(search.sub(LEDGER), TrialRecord)
    recorded = ledger.row(trial.key)
    if recorded:  # by a process that was lost after its work was done
        return replace(recorded, fits=[])
    with quiet():
        check_table(trial.config, trial.table_digest)
    started = time.perf_counter()
    under_way = _UnderWay(task, search.sub(SCRATCH).sub(trial.folder), ledger)
    failure: str | None = None
    alike: str | None = trial.alike
    try:
        for index in range(len(trial.seeds)):
            yield from under_way.run(index)
    except RecordedError:
        (record,) = ledger.records({trial.key}, without=("fits",))
        return record
    except _ImpossibleError as error:
        failure, alike = str(error), None  # maybe for the rank rule
    except NUMERICAL as error:
        failure = reason_of(error)
    judgeable = len(under_way.fits) == len(under_way.runs)
    record = TrialRecord(
        key=trial.key,
        failure=failure,
        context=trial.context,
        reports=[report.value for report in under_way.reports],
        runs=under_way.runs,
        alike=alike if judgeable else None,
        fits=under_way.fits if judgeable else [],
        cpu_seconds=sum(run["cpu_seconds"] for run in under_way.runs),
        wall_seconds=time.perf_counter() - started,
        **computed_with(task.execution),
    )
    record = signed(record, ledger.folder)
    ledger.write(record)
    clear_scratch(search, trial.folder)
    return replace(record, fits=[])


class _UnderWay:
    """A trial under way: its runs so far, and its reports. These are kept in its folder, so a trial that is begun anew
    yields the same ones.
    """

    def __init__(self, task: TrialTask, folder: Folder, ledger: Ledger[TrialRecord]) -> None:
        self._task = task
        self._folder = folder
        self._is_recorded = partial(ledger.has_row, task.trial.key)
        self._next = 0
        self.reports = folder.read_json(_REPORTS, list[Report]) if folder.has(_REPORTS) else []
        self.runs: list[dict[str, Any]] = []
        self.fits: list[Fit] = []

    def run(self, index: int) -> Generator[Report, None, None]:
        """Compute a run, yielding reports on its way, and between this and the next one if anyone wants reports."""
        task, trial, execution = self._task, self._task.trial, self._task.execution
        run = _prepared(trial.run(index))
        if task.timed:
            _warm_up(run)
        folder = self._folder.sub(f"run-{index}")
        for iteration in _halts(run, task.reports_per_seed)[:-1]:
            if self._has_next:
                yield self._report()
                continue
            halt = patiently(partial(run.fit_until, folder, execution, iteration), self._is_recorded)
            with torch_threads(execution.threads_per_worker):
                value = interim_objective(halt.model, run.sample, trial.unit, task.weights)
            yield self._report(value, halt.cpu_seconds)
        fit = patiently(partial(run.fit, folder, execution), self._is_recorded)
        metrics, recorded = self._metrics(run, fit)
        dimension, cpu_seconds = fit.result.dimension, fit.result.cpu_seconds
        measures = measures_of(metrics, dimension, run.sample.intrinsic_dim, cpu_seconds)
        if trial.context and index + 1 < len(trial.seeds):
            yield self._report(weighted(measures, task.weights), cpu_seconds)
        data_seed, seed = trial.seeds[index]
        names = {"index": index, "data_seed": data_seed, "seed": seed, "fingerprint": run.fingerprint}
        self.runs.append({**names, "dimension": dimension, **measures})
        if recorded:
            self.fits.append(recorded)

    def _metrics(self, run: Run, fit: FittedRun) -> tuple[dict[str, float], Fit | None]:
        """The metrics of a fit, and what another rank rule would judge it by, if one can."""
        trial, execution = self._task.trial, self._task.execution
        unit = unit_of(fit.model, run.sample, trial.unit)
        if not trial.has_rank_rule:
            with torch_threads(execution.threads_per_worker):
                return held_out_metrics(fit.model, run.sample, scale=unit) or {}, None
        metrics = fitted_metrics(fit.model, run.sample, execution, unit)
        recorded = Fit.of(run.sample, fit.components, fit.result.neighbours, metrics)
        # of data that fall apart each part is judged, and the scores are of the whole
        return recorded.metrics_at(fit.model.dimension), None if fit.result.parts else recorded

    @property
    def _has_next(self) -> bool:
        return self._next < len(self.reports)

    def _report(self, value: float = 0.0, cpu_seconds: float = 0.0) -> Report:
        """The next report: the mean objective over the runs that have ended and the one under way, unless it was made
        before.
        """
        if not self._has_next:
            ended = [weighted(run, self._task.weights) for run in self.runs]
            seconds = sum(run["cpu_seconds"] for run in self.runs) + cpu_seconds
            value = finite((sum(ended) + value) / (len(ended) + 1))
            self.reports.append(Report(len(self.reports) + 1, value, seconds))
            self._folder.write(_REPORTS, json.dumps([asdict(report) for report in self.reports]).encode())
        self._next += 1
        return self.reports[self._next - 1]


class _ImpossibleError(Exception):
    """There can be no such run."""


def _prepared(config: RunConfig) -> Run:
    try:
        with quiet():
            return Run(config)
    except UnreadableError:  # which says nothing about the configuration
        raise
    except (ConfigError, DataError) as error:
        raise _ImpossibleError(reason_of(error)) from None


def _halts(run: Run, count: int) -> list[int]:
    halts = run.halts(count)
    if len(halts) < count:
        raise _ImpossibleError(f"ConfigError: a run of {halts[-1]} iterations is too short to be halted {count} times")
    return halts


def computed_with(execution: ExecutionConfig) -> dict[str, Any]:
    """How a run was computed: fields of its record beside the numbers."""
    assert isinstance(execution.workers, int)
    return {
        "threads": execution.threads_per_worker,
        "workers": execution.workers,
        "use_gpu": execution.use_gpu,
        "version": package_version(),
    }
