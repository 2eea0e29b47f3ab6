"""One unit of work of a study: computes some runs, each into the ledger. Runs in whatever process it is called in,
knows no other, and may be called again for the same runs.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

import numpy as np

from lwgan_dist import logs
from lwgan_dist.campaign.folder import LEDGER, SCRATCH, clear_scratch
from lwgan_dist.campaign.judging import RULE_FIELDS
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
from lwgan_dist.config import ExecutionConfig, RunConfig, ScoreConfig, TableData
from lwgan_dist.data.sample import Sample, load_sample
from lwgan_dist.errors import DataError, interrupts_pass
from lwgan_dist.fitted import FittedModel
from lwgan_dist.results import scores_from_parquet
from lwgan_dist.run.folder import SCORES_FILE
from lwgan_dist.run.run import FittedRun, Run
from lwgan_dist.storage import Folder, damage_named, inside
from lwgan_dist.study.bootstrap import Kind, refit_config, resample, warm_start
from lwgan_dist.study.classical import classical_estimate, made_by
from lwgan_dist.study.config import BootstrapConfig
from lwgan_dist.study.record import RunRecord

Made = TypeVar("Made")

ENTER_SECONDS = 1.0
"""How long the record of a short run waits for others, to be entered with them."""

MODELS, RUNS = "models", "runs"
"""Further folders of a study: networks for the bootstrap; run folders, if they are kept."""


@dataclass(frozen=True, kw_only=True)
class RunTask:
    """A run of a study.

    Attributes:
        key: its name in the ledger.
        config: of the run; of a refit, that of the run that is bootstrapped.
        table_digest: identity of the whole table, where the data are one.
    """

    kind: ClassVar[str]
    key: str
    config: RunConfig
    table_digest: str | None


@dataclass(frozen=True, kw_only=True)
class LwganTask(RunTask):
    """A run of the LWGAN: whether its folder and its networks are kept, the metrics that are computed, and whether the
    run is in the ledger already, and only its networks are missing.
    """

    kind = "lwgan"
    keep: bool
    model: bool
    metrics: tuple[str, ...] = ()
    is_recorded: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelTask(RunTask):
    """A run of another model that estimates a dimension."""

    kind = "model"


@dataclass(frozen=True, kw_only=True)
class ClassicalTask(RunTask):
    """An estimate by a classical estimator."""

    kind = "classical"
    estimator: str


@dataclass(frozen=True, kw_only=True)
class RefitTask(RunTask):
    """A refit of the run ``base``, whose estimate is ``dimension``, on its resample number ``index`` of a kind."""

    kind = "refit"
    bootstrap: BootstrapConfig
    base: str
    dimension: int
    resample: Kind
    index: int


@dataclass(frozen=True, kw_only=True)
class Pack(Task):
    """Runs that are computed one after the other."""

    runs: tuple[RunTask, ...]


@dataclass
class Done:
    """The outcome of the runs of a pack.

    Attributes:
        runs: that are finished.
        failed: of them, those without an estimate.
        cpu_seconds: what they cost.
        unfinished: reasons by key of runs that broke, which says nothing about their method.
    """

    runs: int = 0
    failed: int = 0
    cpu_seconds: float = 0.0
    unfinished: dict[str, str] = field(default_factory=dict)


class _Entries:
    """Enters finished runs in the ledger, short ones some at a time: every file costs two flushes of a disk."""

    def __init__(self, study: Folder, ledger: Ledger[RunRecord], done: Done, *, short: bool) -> None:
        self._study, self._ledger, self._done = study, ledger, done
        self._period = ENTER_SECONDS if short else 0.0
        self._entered = time.monotonic()
        self._waiting: list[RunRecord] = []

    def add(self, record: RunRecord) -> None:
        """A run is finished."""
        self._waiting.append(record)
        if time.monotonic() >= self._entered + self._period:
            self.write()

    def write(self) -> None:
        """Enter those that wait."""
        records, self._waiting, self._entered = self._waiting, [], time.monotonic()
        try:
            if records:
                self._ledger.write(*(signed(record, self._ledger.folder) for record in records))
        except Exception as error:  # noqa: BLE001 - one run must not end the others
            for record in records:
                with logs.context(study=self._study.name, run=record.key):
                    _unfinished(record.key, self._done, error)
            return
        for record in records:
            self.known(record)

    def known(self, record: RunRecord) -> None:
        """A run is in the ledger."""
        clear_scratch(self._study, record.key)
        self._done.runs += 1
        self._done.failed += record.failure is not None
        self._done.cpu_seconds += record.cpu_seconds
        with logs.context(study=self._study.name, run=record.key):  # it may be entered while another one is computed
            logs.event("run recorded", kind=record.kind, failure=record.failure, cpu_seconds=record.cpu_seconds)


def _unfinished(key: str, done: Done, error: Exception) -> None:
    done.unfinished[key] = reason_of(error)
    logs.event("run not finished", level=logging.ERROR, reason=reason_of(error))


def execute(pack: Pack) -> Done:
    """Computes the runs of a pack and enters them in the ledger; those that are in it as files are passed over."""
    study = pack.folder("study")
    ledger = Ledger(study.sub(LEDGER), RunRecord)
    done = Done()
    entries = _Entries(study, ledger, done, short=len(pack.runs) > 1)
    try:
        for run in pack.runs:
            with logs.context(study=study.name, run=run.key):
                _execute(run, study, ledger, pack.execution, done, entries)
    finally:
        entries.write()
    return done


def _execute(
    run: RunTask, study: Folder, ledger: Ledger[RunRecord], execution: ExecutionConfig, done: Done, entries: _Entries
) -> None:
    def is_recorded() -> bool:
        lacks_model = isinstance(run, LwganTask) and run.model and not has_model(study, run.key)
        return ledger.has_row(run.key) and not lacks_model

    try:
        with quiet(), interrupts_pass():
            record = patiently(lambda: _KINDS[run.kind](run, study, execution), is_recorded)
    except RecordedError:
        done.runs += 1
        return
    except Exception as error:  # noqa: BLE001 - one run must not end the others
        _unfinished(run.key, done, error)
        return
    if isinstance(run, LwganTask) and run.is_recorded:  # two records of a run could differ in their metrics
        entries.known(record)
    else:
        entries.add(record)


def has_model(study: Folder, key: str) -> bool:
    """Whether the networks of a run are kept, for its bootstrap."""
    return study.sub(MODELS).sub(key).has("model.json")


def _lwgan(run: LwganTask, study: Folder, execution: ExecutionConfig) -> RunRecord:
    config = run.config
    check_table(config, run.table_digest)
    if not run.keep:  # whatever rank rule judges the fit, it is this one that goes on after an interruption
        default = ScoreConfig().model_dump(include=set(RULE_FIELDS))
        config = config.model_copy(update={"score": config.score.model_copy(update=default)})
    prepared = _of_the_sample(run, lambda: Run(config))
    if isinstance(prepared, RunRecord):
        return prepared
    try:
        if run.keep:
            folder = study.sub(RUNS).sub(prepared.fingerprint)
            result = prepared.train(folder, execution)
            model = FittedModel.load(folder.sub("model"))
            with damage_named(inside(folder.location, SCORES_FILE)):
                fit = FittedRun(result, scores_from_parquet(folder.read(SCORES_FILE)), model)
        else:
            fit = prepared.fit(study.sub(SCRATCH).sub(run.key), execution)
        metrics = fitted_metrics(fit.model, prepared.sample, execution, names=run.metrics, floors=True)
    except NUMERICAL as error:
        return _failed(run, error, prepared.sample)
    if run.model:
        fit.model.save(study.sub(MODELS).sub(run.key))
    return _record(run, fit, Fit.of(prepared.sample, fit.components, fit.result.neighbours, metrics))


def _model(run: ModelTask, study: Folder, execution: ExecutionConfig) -> RunRecord:
    check_table(run.config, run.table_digest)
    prepared = _of_the_sample(run, lambda: Run(run.config))
    if isinstance(prepared, RunRecord):
        return prepared
    try:
        result = prepared.fit(study.sub(SCRATCH).sub(run.key), execution).result
    except NUMERICAL as error:
        return _failed(run, error, prepared.sample)
    assert result.dimension is not None  # of a model that estimates one
    return RunRecord(
        key=run.key, kind=run.kind, value=float(result.dimension), dimension=result.dimension,
        data_sha256=prepared.sample.digest, rows=prepared.sample.rows, ambient_dim=prepared.sample.ambient_dim,
        cpu_seconds=result.cpu_seconds, wall_seconds=result.wall_seconds, version=package_version(),
    )  # fmt: skip


def _classical(run: ClassicalTask, _study: Folder, _execution: ExecutionConfig) -> RunRecord:
    check_table(run.config, run.table_digest)
    sample = _of_the_sample(run, lambda: load_sample(run.config.data))
    if isinstance(sample, RunRecord):
        return sample
    started = time.perf_counter()
    rows = np.concatenate([sample.train, sample.holdout]).reshape(-1, sample.ambient_dim)
    estimate = classical_estimate(run.estimator, rows, run.config.seed)
    return RunRecord(
        key=run.key,
        kind=run.kind,
        failure=estimate.failure,
        value=estimate.value if np.isfinite(estimate.value) else None,
        dimension=estimate.dimension,
        data_sha256=sample.digest,
        rows=sample.rows,
        ambient_dim=sample.ambient_dim,
        cpu_seconds=estimate.cpu_seconds,
        wall_seconds=time.perf_counter() - started,
        version=made_by(run.estimator),
    )


def _refit(run: RefitTask, study: Folder, execution: ExecutionConfig) -> RunRecord:
    check_table(run.config, run.table_digest)
    base = Run(run.config)
    model = replace(FittedModel.load(study.sub(MODELS).sub(run.base)), dimension=run.dimension)
    rows = resample(run.resample, run.index, base.sample, model, run.config.seed)
    again = refit_config(base.config, run.bootstrap, run.resample, run.index, run.config.seed)
    initial = warm_start(model) if run.bootstrap.start == "warm" else None
    try:
        prepared = Run(again, rows)
        fit = prepared.fit(study.sub(SCRATCH).sub(run.key), execution, initial=initial)
    except (DataError, *NUMERICAL) as error:
        return _failed(run, error)
    return _record(run, fit, Fit.of(prepared.sample, fit.components, fit.result.neighbours, {}))


_KINDS: dict[str, Callable[..., RunRecord]] = {
    "lwgan": _lwgan,
    "model": _model,
    "classical": _classical,
    "refit": _refit,
}


def _of_the_sample(run: RunTask, make: Callable[[], Made]) -> Made | RunRecord:
    """The result of ``make``, or the failed run where the sample of a manifold cannot be estimated from."""
    try:
        return make()
    except DataError as error:
        if isinstance(run.config.data, TableData):  # the table is gone
            raise
        return _failed(run, error)


def _record(run: RunTask, fitted: FittedRun, fit: Fit) -> RunRecord:
    result = fitted.result
    return RunRecord(
        key=run.key, kind=run.kind, cpu_seconds=result.cpu_seconds, wall_seconds=result.wall_seconds,
        version=package_version(), **vars(fit),
    )  # fmt: skip


def _failed(run: RunTask, error: Exception, sample: Sample | None = None) -> RunRecord:
    return RunRecord(
        key=run.key,
        kind=run.kind,
        failure=reason_of(error),
        data_sha256=sample.digest if sample else None,
        rows=sample.rows if sample else None,
        ambient_dim=sample.ambient_dim if sample else None,
        version=package_version(),
    )
