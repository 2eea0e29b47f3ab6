"""The worker's side of a comparison: computes a run wherever Ray Tune puts it and enters it in the ledger."""

import json
import logging
from dataclasses import dataclass
from functools import partial

from lwgan_dist import logs
from lwgan_dist.campaign.folder import LEDGER, SCRATCH, clear_scratch
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.provenance import signed
from lwgan_dist.campaign.task import Task
from lwgan_dist.campaign.worker import (
    NUMERICAL,
    RecordedError,
    check_table,
    package_version,
    patiently,
    quiet,
    reason_of,
)
from lwgan_dist.compare.measure import measured
from lwgan_dist.compare.record import RunRecord
from lwgan_dist.config import RunConfig, TableData
from lwgan_dist.errors import ConfigError, DataError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.run.run import FittedRun, Run, torch_threads
from lwgan_dist.storage import Folder

log = logging.getLogger("lwgan_dist")

MODELS, LOSSES = "models", "losses.json"
"""Further folder of a comparison: the networks of first replicates with their losses, for its figures."""


@dataclass(frozen=True, kw_only=True)
class RunTask(Task):
    """A run of a comparison.

    Attributes:
        key: its name in the ledger.
        config: of the run.
        table_digest: identity of the whole table, where the data are one.
        metrics: names of those that are computed.
        fresh_rows: of each draw to which generated rows are compared; None for none.
        keep: keep the networks and the losses.
    """

    key: str
    config: RunConfig
    table_digest: str | None
    metrics: tuple[str, ...]
    fresh_rows: int | None
    keep: bool


def execute(task: RunTask) -> RunRecord:
    """Computes a run, enters it in the ledger, and returns what is in it; one that is in it as a file is passed over.

    Anything but a failure of the model itself is raised: such a run has not been finished.
    """
    comparison = task.folder("comparison")
    ledger = Ledger(comparison.sub(LEDGER), RunRecord)
    with logs.context(comparison=comparison.name, run=task.key), quiet():
        try:
            record = patiently(partial(_run, task, comparison), partial(ledger.has_row, task.key))
        except RecordedError:
            recorded = ledger.row(task.key)
            assert recorded
            return recorded
        record = signed(record, ledger.folder)
        ledger.write(record)
        clear_scratch(comparison, task.key)
        logs.event("run recorded", failure=record.failure, cpu_seconds=record.cpu_seconds)
    return record


def _run(task: RunTask, comparison: Folder) -> RunRecord:
    config = task.config
    check_table(config, task.table_digest)
    try:
        run = Run(config)
        fit = run.fit(comparison.sub(SCRATCH).sub(task.key), task.execution)
        model, result = fit.model, fit.result
        ranks = sorted({*(row.rank for row in result.rank_scores), model.dimension})
        with torch_threads(task.execution.threads_per_worker):
            metrics = measured(model, run.sample, ranks, task.metrics, task.fresh_rows)
    except (DataError, *NUMERICAL) as error:
        if isinstance(error, DataError) and isinstance(config.data, TableData):  # the table is gone
            raise
        return RunRecord(key=task.key, failure=reason_of(error), version=package_version())
    if task.keep:
        keep(comparison.sub(MODELS).sub(task.key), fit)
    return RunRecord(
        key=task.key, data_sha256=run.sample.digest, fingerprint=run.fingerprint, ambient_dim=run.sample.ambient_dim,
        latent_dim=model.latent_dim, dimension=result.dimension, rank=model.dimension, ranks=ranks, metrics=metrics,
        cpu_seconds=result.cpu_seconds, wall_seconds=result.wall_seconds, version=package_version(),
    )  # fmt: skip


def keep(folder: Folder, fit: FittedRun) -> None:
    """Keep networks and losses."""
    folder.write(LOSSES, json.dumps(list(fit.losses)).encode())
    fit.model.save(folder)


def kept(folder: Folder) -> tuple[FittedModel, list[dict[str, float]]] | None:
    """What `keep` kept; None where it is not there, or not whole."""
    if not (folder.has(LOSSES) and folder.has("model.json")):
        return None
    try:
        return FittedModel.load(folder), folder.read_json(LOSSES, list[dict[str, float]])
    except ConfigError as error:
        log.warning("%s: it has no figures", error)
        return None
