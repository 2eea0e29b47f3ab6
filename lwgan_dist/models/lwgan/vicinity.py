"""Rows between neighbouring rows.

A network that sees a few rows again and again learns them by heart: it reconstructs them and no others. So rows to
learn from are drawn on the segments between a row x and a near one x':

    x + t (x' - x),  t ~ U(0, 1),  x' one of the k nearest rows of x, each as likely

This is the vicinal risk of Chapelle, Weston, Bottou and Vapnik (2000) with the vicinity of SMOTE (Chawla, Bowyer, Hall
and Kegelmeyer 2002). As n grows, x' - x goes to 0 and with it what this changes; the score is computed on rows as they
are.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lwgan_dist.data.blocks import Array, Rows, flat

MOST_ROWS = 1_000
"""Training rows, at most, of a sample that is learned between its rows: more lie so close that nothing was gained."""


class Vicinity:
    """The segments between the rows of a sample and their neighbours.

    Args:
        rows: shape (m, *shape).
        neighbours: k, at most m - 1 are used.
        fixed: rows from and to which no segment leads, shape (m,); by default none.
    """

    def __init__(self, rows: Rows, neighbours: int, fixed: NDArray[np.bool_] | None = None) -> None:
        k = min(neighbours, len(rows) - 1)
        own = np.arange(len(rows))[:, None]
        if k == 0:
            self._nearest: NDArray[np.int64] = own
            return
        points = flat(rows[:])
        _, nearest = cKDTree(points).query(points, k + 1)
        # a row is its own nearest one, but not always the first where rows are equal
        order = np.argsort(nearest == own, axis=1, kind="stable")
        self._nearest = np.take_along_axis(nearest, order, axis=1)[:, :k]
        if fixed is not None:
            blocked = fixed[:, None] | fixed[self._nearest]
            self._nearest = np.where(blocked, own, self._nearest)

    def draw(self, rng: np.random.Generator, picks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """A neighbour of every picked row, and t, both of shape (picks,)."""
        neighbour = rng.integers(0, self._nearest.shape[1], len(picks))
        return self._nearest[picks, neighbour], rng.random(len(picks))


def between(values: Rows, picks: NDArray[np.int64], ends: NDArray[np.int64], t: NDArray[np.float64]) -> Array:
    """The points at t on the segments from the picked rows of a table to others, shape (picks, *shape)."""
    start = values[picks]
    t = t.reshape(-1, *[1] * (start.ndim - 1)).astype(values.dtype)
    return np.asarray(start + t * (values[ends] - start))
