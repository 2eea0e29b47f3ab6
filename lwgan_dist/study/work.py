"""One unit of work of a study: carries out some runs, each into the ledger. Runs in whatever process it is called in,
knows no other, and may be called again for the same runs.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np

from lwgan_dist import logs
from lwgan_dist.config import ExecutionConfig, RunConfig, TableData
from lwgan_dist.data.sample import Sample, load_sample
from lwgan_dist.errors import ClusterError, DataError, interrupts_pass
from lwgan_dist.model import FittedModel
from lwgan_dist.results import ScoreTables, scores_from_parquet
from lwgan_dist.runs import ENVIRONMENT_FILE, SCORES_FILE, Fit, Run
from lwgan_dist.storage import Folder
from lwgan_dist.study.bootstrap import refit_config, resample, warm_start
from lwgan_dist.study.classical import classical_estimate, made_by
from lwgan_dist.study.config import BootstrapConfig, RuleConfig
from lwgan_dist.study.ledger import Ledger, Record, flat
from lwgan_dist.worker import NUMERICAL, check_table, patiently, quiet

Made = TypeVar("Made")

LEDGER, SCRATCH, MODELS, RUNS = "ledger", "work", "models", "runs"
"""Folders of a study: finished runs; runs under way; networks for the bootstrap; run folders, if they are kept."""


def carry_out(task: dict[str, Any]) -> dict[str, Any]:
    """Carries out the runs of a task and enters them in the ledger; those that are in it as files are passed over.

    Args:
        task: ``study`` (location), ``execution`` and ``runs``, a list of what `Study` says about each run.

    Returns:
        What to count: ``runs`` that are finished, ``failed`` ones among them, their ``cpu_seconds``; and
        ``unfinished``, reasons by key of runs that broke, which says nothing about their method.
    """
    study = Folder.at(task["study"])
    if not study.has(ENVIRONMENT_FILE):
        raise ClusterError(
            f"{study.location}: this node does not see the study; use a shared folder or a URI as storage"
        )
    ledger = Ledger(study.sub(LEDGER))
    execution = ExecutionConfig.model_validate(task["execution"])
    done: dict[str, Any] = {"runs": 0, "failed": 0, "cpu_seconds": 0.0, "unfinished": {}}
    for run in task["runs"]:
        with logs.context(study=study.name, run=run["key"]):
            _carry_out(run, study, ledger, execution, done)
    return done


def _carry_out(run: dict[str, Any], study: Folder, ledger: Ledger, execution: ExecutionConfig, done: Any) -> None:
    def work() -> Record | None:
        """None: it is there, maybe since a worker of a killed command, for which this one has waited, has ended."""
        if ledger.has_row(run["key"]) and not (run.get("model") and not has_model(study, run["key"])):
            return None
        return _KINDS[run["kind"]](run, study, execution)

    try:
        with quiet(), interrupts_pass():
            record = patiently(work)
        if record is None:
            done["runs"] += 1
            return
        ledger.write(record)
    except Exception as error:  # noqa: BLE001 - one run must not end the others
        reason = f"{type(error).__name__}: {error}"
        done["unfinished"][run["key"]] = reason
        logs.event("run not finished", level=logging.ERROR, reason=reason)
        return
    with suppress(OSError):  # the run is recorded, whatever is left of it
        study.sub(SCRATCH).remove(run["key"])
    done["runs"] += 1
    done["failed"] += record.failure is not None
    done["cpu_seconds"] += record.cpu_seconds
    logs.event("run recorded", kind=record.kind, failure=record.failure, cpu_seconds=record.cpu_seconds)


def has_model(study: Folder, key: str) -> bool:
    """Whether the networks of a run are kept, for its bootstrap."""
    return study.sub(MODELS).sub(key).has("model.json")


def _lwgan(run: dict[str, Any], study: Folder, execution: ExecutionConfig) -> Record:
    config = RunConfig.model_validate(run["config"])
    check_table(config, run["table_digest"])
    keep = run["keep"]
    if not keep:  # whatever rank rule judges the fit, it is this one that goes on after an interruption
        config = config.model_copy(update={"score": config.score.model_copy(update=RuleConfig().model_dump())})
    prepared = _of_the_sample(run, config, lambda: Run(config))
    if isinstance(prepared, Record):
        return prepared
    try:
        if keep:
            folder = study.sub(RUNS).sub(prepared.fingerprint)
            result = prepared.train(folder, execution)
            fit = Fit(result, scores_from_parquet(folder.read(SCORES_FILE)), FittedModel.load(folder.sub("model")))
        else:
            fit = prepared.fit(study.sub(SCRATCH).sub(run["key"]), execution)
    except NUMERICAL as error:
        return _failed(run, error, prepared.sample)
    if run["model"]:
        fit.model.save(study.sub(MODELS).sub(run["key"]))
    return _record(run, prepared.sample, fit.components, fit.result.cpu_seconds, fit.result.wall_seconds)


def _classical(run: dict[str, Any], _study: Folder, _execution: ExecutionConfig) -> Record:
    config = RunConfig.model_validate(run["config"])
    check_table(config, run["table_digest"])
    sample = _of_the_sample(run, config, lambda: load_sample(config.data))
    if isinstance(sample, Record):
        return sample
    started = time.perf_counter()
    rows = np.concatenate([sample.train, sample.holdout])
    found = classical_estimate(run["estimator"], rows, config.seed)
    return Record(
        key=run["key"],
        kind="classical",
        failure=found.failure,
        value=found.value if np.isfinite(found.value) else None,
        dimension=found.dimension,
        data_sha256=sample.digest,
        rows=sample.rows,
        ambient_dim=sample.ambient_dim,
        cpu_seconds=found.cpu_seconds,
        wall_seconds=time.perf_counter() - started,
        version=made_by(run["estimator"]),
    )


def _refit(run: dict[str, Any], study: Folder, execution: ExecutionConfig) -> Record:
    """A refit of a bootstrap: of the run ``base``, on its resample number ``index`` of a kind."""
    config, told = RunConfig.model_validate(run["config"]), BootstrapConfig.model_validate(run["bootstrap"])
    check_table(config, run["table_digest"])
    base = Run(config)
    model = replace(FittedModel.load(study.sub(MODELS).sub(run["base"])), dimension=run["dimension"])
    rows = resample(run["resample"], run["index"], base.sample, model, config.seed)
    again = refit_config(base.config, told, run["resample"], run["index"], config.seed)
    initial = warm_start(model) if told.start == "warm" else None
    try:
        prepared = Run(again, rows)
        fit = prepared.fit(study.sub(SCRATCH).sub(run["key"]), execution, initial=initial)
    except (DataError, *NUMERICAL) as error:
        return _failed(run, error)
    return _record(run, prepared.sample, fit.components, fit.result.cpu_seconds, fit.result.wall_seconds)


_KINDS: dict[str, Callable[[dict[str, Any], Folder, ExecutionConfig], Record]] = {
    "lwgan": _lwgan,
    "classical": _classical,
    "refit": _refit,
}


def _of_the_sample(run: dict[str, Any], config: RunConfig, make: Callable[[], Made]) -> Made | Record:
    """What is made of a sample, or the failed run where the sample of a manifold cannot be estimated from."""
    try:
        return make()
    except DataError as error:
        if isinstance(config.data, TableData):  # the table is not there any more
            raise
        return _failed(run, error)


def _record(run: dict[str, Any], sample: Sample, components: ScoreTables, cpu: float, wall: float) -> Record:
    evaluations, ranks, _ = components["train"].shape
    return Record(
        key=run["key"],
        kind=run["kind"],
        data_sha256=sample.digest,
        rows=sample.rows,
        ambient_dim=sample.ambient_dim,
        evaluations=evaluations,
        ranks=ranks,
        train=flat(components["train"]),
        holdout=flat(components.get("holdout")),
        cpu_seconds=cpu,
        wall_seconds=wall,
        version=f"lwgan-dist {version('lwgan-dist')}",
    )


def _failed(run: dict[str, Any], error: Exception, sample: Sample | None = None) -> Record:
    return Record(
        key=run["key"],
        kind=run["kind"],
        failure=f"{type(error).__name__}: {error}",
        data_sha256=sample.digest if sample else None,
        rows=sample.rows if sample else None,
        ambient_dim=sample.ambient_dim if sample else None,
        version=f"lwgan-dist {version('lwgan-dist')}",
    )
