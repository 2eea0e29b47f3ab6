"""Whether rows fall apart into parts that no chain of neighbours joins."""

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.data.blocks import Rows, blocks, flat

NEIGHBORS = 20
"""Neighbours of each row in the graph of connected parts. With 10, a fifth of samples of a curve fall apart."""

LEAST_SHARE, LEAST_ROWS = 0.03, 30
"""A part has at least this share of the rows, and this many; smaller ones are stray rows."""

MOST_ROWS = 2_000
"""Rows among which the graph is built, evenly spaced; the others belong to the part of the nearest of these."""


def parts_of(rows: Rows) -> NDArray[np.int64]:
    """The part of each row, from 0 in the order of falling size, shape (n,); -1 for stray rows.

    All zeros for rows in one piece.

    Args:
        rows: shape (n, *shape), finite.
    """
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import NearestNeighbors, kneighbors_graph

    n = len(rows)
    chosen = np.unique(np.linspace(0, n - 1, min(n, MOST_ROWS)).astype(int))
    if len(chosen) <= NEIGHBORS:
        return np.zeros(n, dtype=np.int64)
    some = flat(rows[chosen]).astype(np.float64)
    distinct, place = np.unique(some, axis=0, return_inverse=True)  # repeated rows would have none but themselves near
    if len(distinct) <= NEIGHBORS:
        return np.zeros(n, dtype=np.int64)
    _, part = connected_components(kneighbors_graph(distinct, NEIGHBORS), directed=False)
    sizes = np.bincount(part[place.ravel()])
    large = np.flatnonzero((sizes >= LEAST_SHARE * len(chosen)) & (sizes >= LEAST_ROWS))
    if len(large) < 2:
        return np.zeros(n, dtype=np.int64)
    number = np.full(len(sizes), -1)
    number[large[np.argsort(-sizes[large], kind="stable")]] = np.arange(len(large))
    near = NearestNeighbors(n_neighbors=1).fit(distinct)
    nearest = [near.kneighbors(flat(block), return_distance=False).ravel() for _, block in blocks(rows)]
    return np.asarray(number[part[np.concatenate(nearest)]], dtype=np.int64)
