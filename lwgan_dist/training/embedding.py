"""Where the codes start: geodesic coordinates of some of the rows, from Isomap.

An auto-encoder that starts from random networks folds a curved manifold: a spiral is flattened on one axis with its
arms on top of each other, and no small step leads out of that. Geodesic distances see the arms apart. The coordinates
are only where training begins; the objective then moves the codes wherever it is smaller.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.manifold import Isomap
from sklearn.neighbors import kneighbors_graph

Array = NDArray[Any]

WIDEST_GRAPH = 4
"""The neighbourhood grows up to this many times ``neighbors`` to make the graph connected."""


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
    t_mk - 1/2) / m), weight_k = max(lambda_k, 0) / lambda_1, the share of the coordinate in the squared geodesic
    distances relative to the first. The neighbourhood is the smallest of ``neighbors`` times 1, 1.5, 2, .. 4 that
    connects the rows; where none does, Isomap joins the parts by their closest rows. Time grows with m^3, memory with
    m^2.

    Args:
        rows: shape (m, p), m >= 2, finite and `distinct`.
        latent_dim: q. Coordinates beyond m - 1 do not exist: they are 0, with weight 0.
        neighbors: of each row in the graph whose shortest paths are the geodesic distances.

    Returns:
        Codes of shape (m, q), weights of shape (q,).

    Source: Tenenbaum, de Silva, Langford 2000 (Isomap), by scikit-learn. Training for an LWGAN from it is ours.
    """
    count = len(rows)
    present = min(latent_dim, count - 1)
    reach = neighbors
    while reach < min(WIDEST_GRAPH * neighbors, count - 1) and _parts(rows, reach) > 1:
        reach += max(1, neighbors // 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # says that the graph has several parts; they are joined
        isomap = Isomap(n_neighbors=min(reach, count - 1), n_components=present, eigen_solver="dense")
        coordinates = isomap.fit_transform(rows)
    eigenvalues = np.maximum(isomap.kernel_pca_.eigenvalues_, 0.0)
    codes, weights = np.zeros((count, latent_dim)), np.zeros(latent_dim)
    codes[:, :present] = ndtri((rankdata(coordinates, axis=0) - 0.5) / count)
    weights[:present] = eigenvalues / eigenvalues[0]
    return codes, weights


def _parts(rows: Array, neighbors: int) -> int:
    return int(connected_components(kneighbors_graph(rows, neighbors), directed=False, return_labels=False))
