"""Standardisation of a sample, and its inverse for generated rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lwgan_dist import config
from lwgan_dist.data.blocks import Array, Rows, blocks, flat, precision_of, take
from lwgan_dist.errors import DataError
from lwgan_dist.threads import one_thread

_DARKEST, _CONTRAST = 0.001, 0.998
"""Under ``pixels``, what 0 becomes, and what lies between that and what 255 becomes (arXiv:2409.18374)."""

_ROWS_FOR_SCALE = 20_000
"""Rows from which the common scale is computed, evenly spaced, so that its cost does not grow with the sample."""

_NUMBERS_FOR_SCALE = 1 << 22
"""Numbers (32 MiB) that are taken for it at most of rows of more than one axis: images have many."""

_CACHED_NUMBERS = 1 << 15
"""Numbers (256 KiB) that are standardised at once: they stay in a core's second-level cache."""


@dataclass(frozen=True)
class Standardizer:
    """x -> (x - shift) / scale, number by number; both of the shape of a row, scale positive."""

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, rows: Rows, how: config.StandardizationChoice) -> Self:
        """Shift and scale of a sample.

        ``global``: the mean, and one scale sqrt(tr(S^2) / tr(S)) with S the covariance: the root of the mean variance
        of a direction picked in proportion to its variance. It is 1 for N(0, I) on any subspace, so neither constant
        columns nor a rotation change it. ``per_column``: mean and standard deviation of each column (1 for a constant
        column). ``none``: 0 and 1. ``pixels``: those that make 0.001 + 0.998 x / 255 of x, so that 0..255 lie in reach
        of a sigmoid; the scale of the data is then not 1. ``auto`` is ``global`` here: what else it may be was decided
        before, from the names of the columns (`lwgan_dist.data.settle`).

        Args:
            rows: shape (n, *shape), n >= 2, finite; every number of a row is a column.

        Raises:
            DataError: numbers so large that their mean or their scale has none.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            fitted = cls._fit(rows, how)
        if not (np.isfinite(fitted.shift).all() and np.isfinite(fitted.scale).all()):
            raise DataError(f"data.standardize: {how!r} is beyond float64 for numbers as large as these; rescale them")
        return fitted

    @classmethod
    def _fit(cls, rows: Rows, how: config.StandardizationChoice) -> Self:
        shape = rows.shape[1:]
        if how == "pixels":
            return cls(np.full(shape, -_DARKEST * 255 / _CONTRAST), np.full(shape, 255 / _CONTRAST))
        if how == "none":
            return cls(np.zeros(shape), np.ones(shape))
        if how == "per_column":
            mean, variance = moments(rows)
            deviation = np.sqrt(variance)
            rounding = 1e-12 * np.abs(mean)  # what the deviation of a constant column comes out as
            scale = np.where(deviation > rounding, deviation, 1.0)
            return cls(mean.reshape(shape), scale.reshape(shape))
        mean = _sums(rows) / len(rows)
        return cls(mean.reshape(shape), np.full(shape, _common_scale(rows, mean)))

    def apply(self, rows: Array) -> Array:
        """Standardised rows, shape (n, *shape): float32 of floats of at most 32 bits, float64 of everything else."""
        result = np.empty(rows.shape, precision_of(rows.dtype))
        for start, block in blocks(rows, _CACHED_NUMBERS):
            centred = block - self.shift  # in float64
            centred /= self.scale
            result[start : start + len(block)] = centred
        return result

    def undo(self, rows: Rows) -> NDArray[np.float64]:
        """Rows in the units of the data, shape (n, *shape)."""
        return np.asarray(np.asarray(rows) * self.scale + self.shift)


class Picked:
    """Some rows of an array, standardised where they are read; those that are not read are not copied.

    A whole copy is `numpy.asarray` of it.

    Args:
        array: shape (n, *shape), of any real type, in memory or mapped from a file.
        picks: which of its rows, shape (m,).
        standardizer: None for the rows as they are.
    """

    def __init__(self, array: Array, picks: NDArray[np.int64], standardizer: Standardizer | None = None) -> None:
        self._array, self.picks, self._standardizer = array, picks, standardizer
        self.shape = (len(picks), *array.shape[1:])
        self.dtype = precision_of(array.dtype) if standardizer else array.dtype

    def __len__(self) -> int:
        """The number of rows, m."""
        return len(self.picks)

    def __getitem__(self, key: Any) -> Array:
        """The rows of a slice, of positions or of a mask."""
        rows = take(self._array, self.picks[key])
        return self._standardizer.apply(rows) if self._standardizer else rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """All rows."""
        return np.asarray(self[:], dtype)


def moments(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of every column, shapes (p,), in float64."""
    mean = _sums(rows) / len(rows)
    return mean, _sums(rows, lambda block: np.square(block - mean)) / len(rows)


def _sums(rows: Rows, of: Callable[[Array], Array] = lambda block: block) -> NDArray[np.float64]:
    """The sum over all rows of something of each, shape (p,).

    Bit by bit what ``numpy.sum`` gives for all rows at once: that adds row to row, so each block begins with the sum
    of those before it. Only a single column is added in pairs, and needs all rows.
    """
    p = math.prod(rows.shape[1:])
    if p == 1:
        return np.asarray(of(flat(rows[:]).astype(precision_of(rows.dtype), copy=False)).sum(axis=0, dtype=np.float64))
    total = np.empty((0, p))
    for _, block in blocks(rows):
        total = np.concatenate([total, of(flat(block))], dtype=np.float64).sum(axis=0, keepdims=True)
    return np.asarray(total[0])


def _common_scale(rows: Rows, mean: NDArray[np.float64]) -> float:
    """The scale ``global``, from rows and their mean as a vector."""
    step = max(1, len(rows) // _ROWS_FOR_SCALE)
    if len(rows.shape) > 2:
        step = max(step, -(-math.prod(rows.shape) // _NUMBERS_FOR_SCALE))
    centred = flat(rows[::step]).astype(np.float64)
    centred -= mean
    largest = max(centred.max(), -centred.min())
    if not largest > 0:
        return 1.0
    centred /= largest  # squares of squares neither overflow nor vanish
    with one_thread():  # the last digit of a product depends on how many threads share it
        gram = centred.T @ centred if len(mean) <= len(centred) else centred @ centred.T
    return float(largest * np.sqrt(np.square(gram).sum() / np.trace(gram) / len(centred)))
