"""Standardisation of a sample, and its inverse for generated rows."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lwgan_dist import config

_ROWS_FOR_SCALE = 20_000
"""Rows from which the common scale is computed, evenly spaced, so that its cost does not grow with the sample."""

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Standardizer:
    """x -> (x - shift) / scale, columnwise; both of shape (p,), scale positive."""

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, rows: NDArray[Any], how: config.Standardization) -> Self:
        """Shift and scale of a sample.

        ``global``: the mean, and one scale sqrt(tr(S^2) / tr(S)) with S the covariance: the root of the mean variance
        of a direction picked in proportion to its variance. It is 1 for N(0, I) on any subspace, so neither constant
        columns nor a rotation change it. ``per_column``: mean and standard deviation of each column (1 for a constant
        column). ``none``: 0 and 1.

        Args:
            rows: shape (n, p), n >= 2, finite.
        """
        p = rows.shape[1]
        if how == "none":
            return cls(np.zeros(p), np.ones(p))
        shift = rows.mean(axis=0, dtype=np.float64)
        if how == "per_column":
            deviation = rows.std(axis=0, dtype=np.float64)
            rounding = 1e-12 * np.abs(shift)  # what the deviation of a constant column comes out as
            return cls(shift, np.where(deviation > rounding, deviation, 1.0))
        centred = rows[:: max(1, len(rows) // _ROWS_FOR_SCALE)].astype(np.float64) - shift
        largest = np.abs(centred).max()
        if not largest > 0:
            return cls(shift, np.ones(p))
        centred /= largest  # squares of squares neither overflow nor vanish
        with threadpool_limits(1):  # the last digit of a product depends on how many threads share it
            gram = centred.T @ centred if p <= len(centred) else centred @ centred.T
        scale = largest * np.sqrt(np.square(gram).sum() / np.trace(gram) / len(centred))
        return cls(shift, np.full(p, scale))

    def apply(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Standardised rows, shape (n, p); float32 stays float32, everything else becomes float64."""
        dtype = np.float32 if rows.dtype == np.float32 else np.float64
        result = np.empty(rows.shape, dtype)
        for i in range(0, len(rows), _ROWS_AT_ONCE):  # in float64, a bounded number at once
            result[i : i + _ROWS_AT_ONCE] = (rows[i : i + _ROWS_AT_ONCE] - self.shift) / self.scale
        return result

    def undo(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Rows in the units of the data, shape (n, p)."""
        return np.asarray(rows * self.scale + self.shift)
