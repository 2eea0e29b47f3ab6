"""The common part of the workers of studies and searches."""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TypeVar

import numpy as np
import torch

from lwgan_dist.config import ExecutionConfig, RunConfig, TableData
from lwgan_dist.data.files.tables import read_configured, rows_digest
from lwgan_dist.data.sample import Sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import InUseError, NonFiniteLossError, RunFailedError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.heldout import metrics_by_rank
from lwgan_dist.run.run import torch_threads

Result = TypeVar("Result")

PATIENCE_SECONDS = 150.0
"""How long a run waits for another process to leave its folder. NFS keeps the lock of a lost node for some 90 s."""

NUMERICAL = (NonFiniteLossError, ArithmeticError, np.linalg.LinAlgError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What an LWGAN run may end with that is its own doing: it counts as an incorrect estimate. Anything else, a full disk
or a lost node, says nothing about the method: such a run has not been finished."""


class RecordedError(Exception):
    """Another process has recorded the run meanwhile."""


def patiently(work: Callable[[], Result], is_recorded: Callable[[], bool]) -> Result:
    """Do the work once no other process has locked the folder of the run: a worker of a command that was killed is
    about to end.

    Raises:
        RecordedError: that worker has recorded the run.
        InUseError: it does not end.
    """
    ends = time.monotonic() + PATIENCE_SECONDS
    while True:
        if is_recorded():
            raise RecordedError
        try:
            return work()
        except InUseError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.5)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the hints on each sample, such as rows that occur twice."""
    log = logging.getLogger("lwgan_dist")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def check_table(config: RunConfig, digest: str | None) -> None:
    """A table that is missing, or another one, on this node is no property of the sample."""
    data = config.data
    if isinstance(data, TableData):
        table = read_configured(data)
        if rows_digest(table.rows) != digest:
            raise RunFailedError(f"{data.path}: has changed meanwhile, or differs by node")


def fitted_metrics(
    model: FittedModel,
    sample: Sample,
    execution: ExecutionConfig,
    scale: Standardizer | None = None,
    names: Collection[str] | None = None,
    floors: bool = False,
) -> dict[str, list[float]]:
    """Metrics at every rank, see `lwgan_dist.metrics.heldout.metrics_by_rank`, with the threads of the run."""
    with torch_threads(execution.threads_per_worker):
        return metrics_by_rank(model, sample, scale, names, floors)


def reason_of(error: Exception) -> str:
    """Why there is no result, for a record."""
    return f"{type(error).__name__}: {error}"


def package_version() -> str:
    """Name and version of this package, for a record."""
    return f"lwgan-dist {version('lwgan-dist')}"
