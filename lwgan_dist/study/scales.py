"""Estimators that scikit-dimension does not have: ABIDE, which chooses its own neighbourhoods, Gride, which states
them, and two controls for the start of the LWGAN: the residual variance of Isomap, and the start itself.

DADApy, the library of the authors of ABIDE and Gride, needs a NumPy below 2 (version 0.3.4) and cannot be installed
beside the versions that are tested here; `tests/study/test_scales.py` holds the numbers that it gives.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import pdist, squareform
from scipy.stats import chi2
from sklearn.neighbors import NearestNeighbors

from lwgan_dist.config import FastSchedule
from lwgan_dist.models.lwgan.embedding import START_RESOLUTION, distinct, geodesic_start, needed, neighbour_graph
from lwgan_dist.models.lwgan.tears import scaled

Array = NDArray[Any]

MOST_NEIGHBOURS = 1_000
"""Neighbours among which ABIDE chooses; memory grows with n times this."""

SIGNIFICANCE = 1e-6
"""Level of ABIDE's test that the density is constant."""

ITERATIONS = 5
"""Rounds of ABIDE: neighbourhoods for the dimension, then the dimension in the neighbourhoods."""

BEST_RATIO = 0.2032
"""The share of a neighbourhood's rows in the inner ball at which the binomial estimate has the least variance."""

GRIDE_SCALE = 64
"""Gride looks at the distances to this neighbour and to the one of twice the rank."""

ISOMAP_ROWS, ISOMAP_NEIGHBOURS, ISOMAP_RANKS, ISOMAP_PENALTY = 800, 10, 12, 0.005

START_ROWS, START_NEIGHBOURS = FastSchedule().embedding_rows, FastSchedule().embedding_neighbors
"""Rows from which an LWGAN starts, by default, and their neighbours in the graph."""


def abide(rows: Array) -> float:
    """Adaptive binomial estimate of the intrinsic dimension.

    Around each row the neighbourhood is the largest in which a likelihood-ratio test finds no change of density between
    the row and its neighbours; with k_i rows in it, k'_i of them within tau times its radius, d = log(mean k' / mean k)
    / log tau with tau = `BEST_RATIO`^(1/d). Both are iterated, from the estimate of TwoNN.

    Args:
        rows: distinct, shape (n, p), n >= 5.

    Source: Di Noia, Macocco, Glielmo, Laio, Mira, arXiv:2405.15132.
    """
    most = min(MOST_NEIGHBOURS, len(rows) - 1)
    distances, neighbours = NearestNeighbors(n_neighbors=most + 1).fit(rows).kneighbors(rows)
    ratios = np.log(distances[:, 2] / distances[:, 1])
    dimension = (len(rows) - 1) / ratios.sum()
    everyone = np.arange(len(rows))
    for _ in range(ITERATIONS):
        sizes = _neighbourhoods(np.log(np.maximum(distances, 1e-300)), neighbours, dimension)
        tau = min(0.975, BEST_RATIO ** (1.0 / dimension))
        inner = (distances < tau * distances[everyone, sizes][:, None]).sum(axis=1)
        dimension = np.log((inner.mean() - 1.0) / (sizes.mean() - 1.0)) / np.log(tau)
    return float(dimension)


def _neighbourhoods(logs: Array, neighbours: Array, dimension: float) -> NDArray[np.int64]:
    """The number of neighbours k* of each row before the test of constant density fails."""
    threshold = chi2(1).isf(SIGNIFICANCE)
    count, width = logs.shape
    sizes, active = np.full(count, width - 2), np.arange(count)
    for k in range(4, width):
        volume = dimension * logs[active, k - 1]
        other = dimension * logs[neighbours[active, k], k - 1]
        statistic = -2.0 * (k - 1) * (volume + other - 2.0 * np.logaddexp(volume, other) + np.log(4.0))
        failed = statistic > threshold
        sizes[active[failed]] = k - 1
        active = active[~failed]
        if not len(active):
            break
    return np.asarray(np.maximum(sizes, 3))


def gride(rows: Array, scale: int = GRIDE_SCALE) -> float:
    """Maximum likelihood of the ratios mu of the distances to the neighbours of ranks 2 k and k.

    Solves n / d + (k - 1) sum_i mu_i^d log mu_i / (mu_i^d - 1) = (2 k - 1) sum_i log mu_i.

    Args:
        rows: distinct, shape (n, p), n > 2 k.
        scale: k.

    Source: Denti, Doimo, Laio, Mira 2022 (Gride).
    """
    if len(rows) <= 2 * scale:
        raise ValueError(f"needs more than {2 * scale} rows")
    distances, _ = NearestNeighbors(n_neighbors=2 * scale + 1).fit(rows).kneighbors(rows)
    logs = np.log(distances[:, 2 * scale] / distances[:, scale])

    def slope(dimension: float) -> float:
        grown = logs / -np.expm1(-dimension * logs)
        return float(len(logs) / dimension + (scale - 1) * grown.sum() - (2 * scale - 1) * logs.sum())

    return float(brentq(slope, 1e-3, 1e3))


def isomap_residual(rows: Array, seed_rows: Array) -> float:
    """argmin_r (1 - squared correlation of geodesic distances with those in r Isomap coordinates + `ISOMAP_PENALTY` r).

    A control: the dimension of the coordinates from which an LWGAN starts, by themselves.

    Args:
        rows: distinct, shape (n, p).
        seed_rows: the rows that are looked at, indices.
    """
    some = rows[seed_rows]
    geodesic = shortest_path(neighbour_graph(some, ISOMAP_NEIGHBOURS), directed=False)
    coordinates = scaled(geodesic**2, min(ISOMAP_RANKS, rows.shape[1]))
    distances = squareform(geodesic, checks=False)
    residuals = [
        1.0 - np.corrcoef(distances, pdist(coordinates[:, :rank]))[0, 1] ** 2
        for rank in range(1, coordinates.shape[1] + 1)
    ]
    return float(1 + np.argmin(np.array(residuals) + ISOMAP_PENALTY * np.arange(1, len(residuals) + 1)))


def start_alone(rows: Array) -> float:
    """The rank that the coordinates from which an LWGAN starts need, without any network.

    A control: see `lwgan_dist.models.lwgan.embedding.needed`.

    Args:
        rows: distinct, shape (n, p).
    """
    ranks = min(ISOMAP_RANKS, rows.shape[1])
    start = geodesic_start(distinct(rows), ranks, START_NEIGHBOURS, START_RESOLUTION)
    return float(needed(start.decodability, START_RESOLUTION))


def principal_components(rows: Array, share: float = 0.95) -> Array:
    """The rows in as many principal components as hold a share of the variance."""
    centred = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    explained = np.cumsum(sizes**2) / np.sum(sizes**2)
    count = 1 + int(np.searchsorted(explained, share))
    return np.asarray(left[:, :count] * sizes[:count])
