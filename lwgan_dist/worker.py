"""What the workers of studies and searches have in common."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from lwgan_dist.config import RunConfig, TableData
from lwgan_dist.data.tables import read_table, rows_digest
from lwgan_dist.errors import InUseError, NonFiniteLossError, RunFailedError

Result = TypeVar("Result")

PATIENCE_SECONDS = 150.0
"""How long a run waits for another process to leave its folder. NFS keeps the lock of a lost node for some 90 s."""

NUMERICAL = (NonFiniteLossError, ArithmeticError, np.linalg.LinAlgError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What an LWGAN run may end with that is its own doing: it counts as an incorrect estimate. Anything else, a full disk
or a lost node, says nothing about the method: such a run has not been finished."""


def patiently(work: Callable[[], Result]) -> Result:
    """Wait for a worker of a command that was killed, which is about to end and still holds the folder of the run."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work()
        except InUseError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.5)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the hints on each sample, such as rows that are there twice."""
    log = logging.getLogger("lwgan_dist")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def check_table(config: RunConfig, digest: str | None) -> None:
    """A table that is not there, or another one, on this node is no property of the sample."""
    data = config.data
    if isinstance(data, TableData):
        table = read_table(data.path, columns=data.columns, array=data.array)
        if rows_digest(table.rows) != digest:
            raise RunFailedError(f"{data.path}: has changed meanwhile, or differs by node")
