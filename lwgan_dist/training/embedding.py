"""Where the codes start: geodesic coordinates of some of the rows, from Isomap.

An auto-encoder that starts from random networks folds a curved manifold: a spiral is flattened on one axis with its
arms on top of each other, and no small step leads out of that. Geodesic distances see the arms apart. The coordinates
are only where training begins; the objective then moves the codes wherever it is smaller.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree, shortest_path
from scipy.spatial.distance import pdist, squareform
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.neighbors import kneighbors_graph
from threadpoolctl import threadpool_limits

Array = NDArray[Any]

WIDEST_GRAPH = 4
"""The neighbourhood grows up to this many times ``neighbors`` to make the graph connected."""

LEAST_SHARE = 1e-9
"""Coordinates with a smaller eigenvalue than this part of the first are rounding, and left out."""


@dataclass(frozen=True)
class Embedding:
    """Rows with the codes that they start from; a rank-r code is the first r coordinates.

    Attributes:
        rows: shape (m, p).
        codes: shape (m, q), see `geodesic_codes`.
        weights: shape (q,), likewise.
    """

    rows: Array
    codes: Array
    weights: Array


def distinct(rows: Array) -> Array:
    """Every row once: a distance of 0 would not be an edge of the graph."""
    return np.unique(rows, axis=0)


def geodesic_codes(rows: Array, latent_dim: int, neighbors: int) -> tuple[Array, Array]:
    """Isomap coordinates, each brought to a normal distribution by its ranks, and what each coordinate counts.

    With t_ik the k-th coordinate of row i and lambda_k its eigenvalue: code_ik = Phi^-1((rank of t_ik among t_1k ..
    t_mk - 1/2) / m), weight_k = lambda_k / lambda_1, the share of the coordinate in the squared geodesic distances
    relative to the first. The neighbourhood is the smallest of ``neighbors`` times 1, 1.5, 2, .. 4 that connects the
    rows; where none does, the minimum spanning tree of the rows joins the parts. One thread, so that the codes do not
    depend on how many there are. Time grows with m^3, memory with m^2.

    Args:
        rows: shape (m, p), finite and `distinct`.
        latent_dim: q. Coordinates that do not exist, because the rows are too few or lie in a subspace, are 0, with
            weight 0.
        neighbors: of each row in the graph whose shortest paths are the geodesic distances.

    Returns:
        Codes of shape (m, q), weights of shape (q,).

    Source: Tenenbaum, de Silva, Langford 2000 (Isomap). Training an LWGAN from it is ours.
    """
    codes, weights = np.zeros((len(rows), latent_dim)), np.zeros(latent_dim)
    if len(rows) < 2:
        return codes, weights
    rows = np.asarray(rows, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    rows /= np.abs(rows).max()
    with threadpool_limits(1):
        squared = shortest_path(_graph(rows, neighbors), directed=False) ** 2
        centred = squared - squared.mean(axis=0) - squared.mean(axis=1, keepdims=True) + squared.mean()
        eigenvalues, vectors = eigh(-0.5 * centred, driver="evd")
    eigenvalues, vectors = eigenvalues[::-1][:latent_dim], vectors[:, ::-1][:, :latent_dim]
    present = eigenvalues > LEAST_SHARE * eigenvalues[0]
    eigenvalues, vectors = eigenvalues[present], vectors[:, present]
    vectors = vectors * np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0))
    codes[:, : len(eigenvalues)] = ndtri((rankdata(vectors, axis=0) - 0.5) / len(rows))
    weights[: len(eigenvalues)] = eigenvalues / eigenvalues[0]
    return codes, weights


def _graph(rows: Array, neighbors: int) -> csr_array:
    """Distances between neighbours, as a connected graph."""
    most, reach = len(rows) - 1, neighbors
    while True:
        graph = csr_array(kneighbors_graph(rows, min(reach, most), mode="distance"))
        if connected_components(graph, directed=False, return_labels=False) == 1:
            return graph
        if reach >= min(WIDEST_GRAPH * neighbors, most):
            return graph.maximum(csr_array(minimum_spanning_tree(squareform(pdist(rows)))))
        reach += max(1, neighbors // 2)
