"""Where a closed manifold may be torn open, so that coordinates can be laid on it.

A circle, sphere or torus of dimension d has no continuous map into R^d and back, but one that is discontinuous on a set
of measure zero, and continuous ones come arbitrarily near to it (Kvalheim, Sontag, arXiv:2310.02250). It is had by
cutting the manifold into pieces that have a chart, which are laid side by side: a circle into two arcs, a sphere into
two hemispheres, a torus into two rings, a flat torus into four squares.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import coo_array, csr_array

Array = NDArray[Any]

STRETCH = 3.0
"""An edge that coordinates stretch more than this many times the median is torn."""

LEAST_SHARE = 1e-9
"""Coordinates with a smaller eigenvalue than this part of the first are rounding, and left out."""

APART = 1.02
"""Distance between the middles of two pieces, in units of what makes them touch."""


def scaled(squared: Array, count: int) -> Array:
    """Classical multidimensional scaling of squared distances, shape (m, m), to at most ``count`` coordinates.

    They come by falling eigenvalue; none of them is rounding.
    """
    m = len(squared)
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1, keepdims=True) + squared.mean()
    first = max(0, m - count)
    eigenvalues, vectors = eigh(-0.5 * centred, subset_by_index=[first, m - 1], driver="evr")
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    present = eigenvalues > LEAST_SHARE * eigenvalues[0]
    eigenvalues, vectors = eigenvalues[present], vectors[:, present]
    vectors = vectors * np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0))
    return np.asarray(vectors * np.sqrt(eigenvalues))


def ways_to_cut(rank: int, cuts: int, count: int) -> list[tuple[int, ...]]:
    """Which of ``count`` coordinates to cut across so that ``rank`` others remain: sets of ``cuts`` of the first."""
    return list(combinations(range(min(rank + cuts, count)), cuts))


def pieces_side_by_side(squared: Array, coordinates: Array, across: tuple[int, ...], rank: int) -> tuple[Array, Array]:
    """Coordinates of the pieces into which the medians of some coordinates cut the rows, side by side.

    Each piece has the coordinates of its own distances, turned onto those that are not cut. The two sides of the k-th
    cut lie beside each other along coordinate k (modulo the rank), one of them mirrored, so that they touch where they
    did before.

    Args:
        squared: squared geodesic distances, shape (m, m).
        coordinates: of the rows, shape (m, c).
        across: which of them are cut.
        rank: number of coordinates wanted.

    Returns:
        Coordinates, shape (m, rank), and the piece of each row, shape (m,).
    """
    sides = coordinates[:, across] > np.median(coordinates[:, across], axis=0)
    piece = sides @ (1 << np.arange(len(across)))
    kept = np.setdiff1d(np.arange(coordinates.shape[1]), across)[:rank]
    onto = _widened(coordinates[:, kept], rank)
    laid = np.zeros((len(squared), rank))
    for one in np.unique(piece):
        rows = np.flatnonzero(piece == one)
        laid[rows] = _turned(_widened(scaled(squared[np.ix_(rows, rows)], rank), rank), onto[rows])
    half = APART * np.abs(laid).max(axis=0)
    for k in range(len(across)):
        axis, side = k % rank, sides[:, k]
        laid[side, axis] *= -1.0
        laid[:, axis] += np.where(side, half[axis], -half[axis])
        half[axis] *= 2.0
    return laid, piece


def _widened(coordinates: Array, count: int) -> Array:
    return np.pad(coordinates, ((0, 0), (0, max(0, count - coordinates.shape[1]))))


def _turned(coordinates: Array, onto: Array) -> Array:
    """Coordinates after the rotation, about their mean, that brings them nearest to others (orthogonal Procrustes)."""
    left, _, right = np.linalg.svd(coordinates.T @ (onto - onto.mean(axis=0)))
    turned: Array = coordinates @ (left @ right)
    return turned


def stretched(graph: csr_array, coordinates: Array) -> NDArray[np.bool_]:
    """For each entry of a graph as a COO matrix, whether coordinates stretch it over `STRETCH` times the median."""
    edges = coo_array(graph)
    spans = np.linalg.norm(coordinates[edges.coords[0]] - coordinates[edges.coords[1]], axis=1) / edges.data
    return np.asarray(spans > STRETCH * np.median(spans))
