"""What a person should know of rows before anything is learned from them, and the facts from which it is found."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lwgan_dist.data.blocks import Array, blocks, extremes, flat, take
from lwgan_dist.data.files.loading import listed
from lwgan_dist.data.standardize import moments

_log = logging.getLogger("lwgan_dist")

NAMED = 5
"""Columns that a message names; a finding itself has all of them."""

_ROWS_LOOKED_AT, _LEAST_LOOKED_AT, _NUMBERS_LOOKED_AT = 2_000, 100, 1 << 21
"""Rows at most and at least, and numbers, of the sample on which what needs more than sums is looked for."""

DROWNED = 0.08
"""A column with less than this part of the largest standard deviation varies less than the default resolution: divided
by one scale for all, it counts as noise."""

_ROUNDING = 1e-12
"""Deviations below this part of the mean, or of the largest deviation, are what rounding leaves."""


class Finding(BaseModel):
    """Something about the data that a reader of an estimate should know.

    Attributes:
        kind: which, for programs; the same for the same kind of finding.
        level: ``warning`` where the estimate may be wrong because of it, else ``note``.
        message: what was found.
        action: what was done about it, and what can be.
        columns: names of the columns that it is about; empty if it is about rows.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    level: Literal["warning", "note"]
    message: str
    action: str
    columns: list[str] = []

    def __str__(self) -> str:
        """The finding as a sentence."""
        return f"{self.message}; {self.action}"


def warning(kind: str, message: str, action: str, columns: tuple[str, ...] = ()) -> Finding:
    """A finding because of which the estimate may be wrong."""
    return Finding(kind=kind, level="warning", message=message, action=action, columns=list(columns))


def note(kind: str, message: str, action: str, columns: tuple[str, ...] = ()) -> Finding:
    """A finding that does no harm, or none any more."""
    return Finding(kind=kind, level="note", message=message, action=action, columns=list(columns))


def log_findings(findings: Iterable[Finding], source: str) -> None:
    """Record findings on a file, or ``X``, or generated data (empty), as warnings of the logger ``lwgan_dist``."""
    for finding in findings:
        _log.warning("%s%s%s", source, ": " if source else "", finding)


@dataclass(frozen=True)
class Overview:
    """Rows, and the facts about them that all checks share.

    Attributes:
        rows: shape (n, *shape), checked by `lwgan_dist.data.checks`.
        columns: names of the p numbers of a row.
        low, high, mean, deviation: of each column, shape (p,); of images, whose pixels are no columns, the last two are
            the middle and the range.
        some: evenly spaced rows as vectors, in float64.
    """

    rows: Array
    columns: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    some: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Array, columns: tuple[str, ...]) -> Self:
        """From three passes over a table, one over images, some rows at a time."""
        low, high = extremes(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            if rows.ndim > 2:
                mean, deviation = (low / 2 + high / 2).astype(np.float64), (high / 2 - low / 2).astype(np.float64)
            else:
                mean, variance = moments(rows)
                deviation = np.sqrt(variance)
        deviation[(low == high) | (deviation <= _ROUNDING * np.abs(mean))] = 0.0
        count = max(_LEAST_LOOKED_AT, min(_ROWS_LOOKED_AT, _NUMBERS_LOOKED_AT // len(columns)))
        picks = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))
        some = flat(take(rows, picks)).astype(np.float64)
        return cls(rows, columns, low.astype(np.float64), high.astype(np.float64), mean, deviation, some)

    @property
    def is_table(self) -> bool:
        """Whether a row is a vector: of images neither columns nor cells mean anything by themselves."""
        return self.rows.ndim == 2

    @property
    def varying(self) -> NDArray[np.bool_]:
        """Which columns are not constant, shape (p,)."""
        return self.deviation > 0

    @property
    def drowned(self) -> NDArray[np.bool_]:
        """Which columns would count as noise beside the largest one, shape (p,); constant ones do not."""
        with np.errstate(invalid="ignore"):
            largest = self.deviation.max()
            return np.asarray((self.deviation > _ROUNDING * largest) & (self.deviation < DROWNED * largest))

    def column(self, position: int) -> NDArray[np.float64]:
        """One column, shape (n,)."""
        parts = [flat(block)[:, position].astype(np.float64) for _, block in blocks(self.rows)]
        return np.concatenate(parts)

    def names(self, which: NDArray[np.bool_] | list[int]) -> tuple[str, ...]:
        """The names of some columns."""
        positions = np.flatnonzero(which) if isinstance(which, np.ndarray) else which
        return tuple(self.columns[i] for i in positions)


def named(columns: tuple[str, ...]) -> str:
    """Quoted names of some columns, for a message."""
    return listed(columns, NAMED)


_NUMBER = re.compile(r"[\d\W_]*[xyz]?[\d\W_]*$")


def have_meanings(columns: tuple[str, ...]) -> bool:
    """Whether columns are called differently, and not just counted (``x1``, ``pixel_0_3``, ``PC2``), by single letters
    too (``a``, ``b``, or x, y, z): only then may they have different units.
    """
    stems = {_NUMBER.sub("", name.casefold()[-200:]) for name in columns}
    return len({stem if len(stem) > 1 else "" for stem in stems}) > 1
