"""Where the codes start: geodesic coordinates of some of the rows, torn open where a manifold is closed.

An auto-encoder that starts from random networks folds a curved manifold: a spiral is flattened on one axis with its
arms on top of each other, and no small step leads out of that. Geodesic distances see the arms apart. The coordinates
are only where training begins; the objective then moves the codes wherever it is smaller.

Which coordinates are taken is decided by one criterion that does not know the dimension. How well rows can be decoded
from coordinates t is measured without a network:

    e(t) = mean_i ||x_i - mean of the 5 rows nearest to i in t||^2.

Isomap's coordinates have e_1 >= e_2 >= .. by rank; e_min is the smallest. At a rank where e_r - e_min is above the
square of the resolution, something is missing: a dimension, or a chart. A tear that closes more than `CLOSED` of this
gap at the same rank shows that it was the chart; the smallest such rank is taken. A missing dimension cannot be had by
tearing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree, shortest_path
from scipy.spatial.distance import pdist, squareform
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors, kneighbors_graph
from threadpoolctl import threadpool_limits

from lwgan_dist.data.parts import parts_of
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.training.tears import NEIGHBOURS_OF_BASE, cut, essential_loops, log_map, stretched

Array = NDArray[Any]

WIDEST_GRAPH = 4
"""The neighbourhood grows up to this many times ``neighbors`` to make the graph connected."""

LEAST_SHARE = 1e-9
"""Coordinates with a smaller eigenvalue than this part of the first are rounding, and left out."""

DECODING_NEIGHBOURS = 5
"""Nearest rows in code space whose mean decodes a row."""

CLOSED = {1: 0.85, 2: 0.85}
CLOSED_ABOVE = 0.8
"""Share of the gap in decodability that a tear has to close, by rank: at the smallest ranks a missing dimension can in
part be had by a curve that winds through the rows, at larger ones the coordinates are coarser.
"""

LOOPS = (8.0, 6.0, 4.0)
"""Longest loops that `essential_loops` leaves, in edges; the shortest for many dimensions, where edges are long."""

BASES = 8
"""Rows around which log maps are tried, from the most central to the most remote one."""

MOST_TORN_RANK = 3
"""Up to this rank the graph is also cut where a log map stretches it, and the coordinates are computed anew."""


@dataclass(frozen=True)
class Tear:
    """What was torn to lay coordinates on the rows.

    Attributes:
        method: ``none``, ``loops`` (cut around holes), ``log map`` (the coordinates of one row's surroundings) or
            ``cut log map`` (the graph is cut where these stretch it).
        rank: at which the tear was judged; 0 for none.
        share: of the edges of the graph that are torn, in 0..1.
    """

    method: str = "none"
    rank: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class Embedding:
    """Rows with the codes that they start from; a rank-r code is the first r coordinates.

    Attributes:
        rows: shape (m, p).
        codes: shape (m, q), see `geodesic_start`.
        weights: shape (q,), likewise.
        decodability: e of the first r coordinates, in units of the rows' squared scale, by rank, shape (q,).
        tear: what was torn.
        at_tear: which rows are ends of torn edges, shape (m,).
        reach: distance of each row to its farthest neighbour in the graph, shape (m,).
    """

    rows: Array
    codes: Array
    weights: Array
    decodability: Array
    tear: Tear
    at_tear: NDArray[np.bool_]
    reach: Array


def distinct(rows: Array) -> Array:
    """Every row once: a distance of 0 would not be an edge of the graph."""
    return np.unique(rows, axis=0)


def geodesic_start(rows: Array, latent_dim: int, neighbors: int, resolution: float, *, tear: bool = True) -> Embedding:
    """Coordinates of the rows, each brought to a normal distribution by its ranks.

    With t_ik the k-th coordinate of row i: code_ik = Phi^-1((rank of t_ik among t_1k .. t_mk - 1/2) / m). Without a
    tear the coordinates are Isomap's. The neighbourhood is the smallest of ``neighbors`` times 1, 1.5, 2, .. 4 that
    connects the rows; where none does, the minimum spanning tree joins stray rows. Parts of the rows that lie apart
    (`lwgan_dist.data.parts`) are laid side by side. One thread, so that the codes do not depend on how many there are.
    Time grows with m^3, memory with m^2.

    Args:
        rows: shape (m, p), finite and `distinct`.
        latent_dim: q. Coordinates that do not exist, because the rows are too few or lie in a subspace, are 0, with
            weight 0.
        neighbors: of each row in the graph whose shortest paths are the geodesic distances.
        resolution: share of the rows' scale (see `lwgan_dist.data.standardize`) below which a gap in decodability does
            not matter.
        tear: whether closed manifolds may be torn open.

    Returns:
        The codes, with weight 1 for each coordinate that exists.

    Source: Tenenbaum, de Silva, Langford 2000 (Isomap); `lwgan_dist.training.tears`. The criterion, and training an
    LWGAN from this, are ours.
    """
    m, original = len(rows), rows
    if m < 2:
        return _embedding(original, np.zeros((m, latent_dim)), latent_dim, np.zeros(latent_dim))
    rows = np.asarray(rows, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    rows /= np.abs(rows).max()
    with threadpool_limits(1):
        rows = np.asarray(Standardizer.fit(rows, "global").apply(rows))
        parts = parts_of(rows)
        pieces = [np.flatnonzero(parts == part) for part in range(parts.max() + 1)]
        if len(pieces) > 1:
            return _side_by_side(original, rows, pieces, latent_dim, neighbors, resolution, tear=tear)
        laid = _laid(rows, latent_dim, neighbors, resolution, tear=tear)
        curve = _decodability_by_rank(laid.coordinates, rows)
        return _embedding(original, laid.coordinates, latent_dim, curve, laid=laid)


@dataclass(frozen=True)
class _Laid:
    """Coordinates of connected rows, before they are brought to a normal distribution."""

    coordinates: Array
    graph: csr_array
    tear: Tear
    at_tear: NDArray[np.bool_]


def _laid(rows: Array, latent_dim: int, neighbors: int, resolution: float, *, tear: bool) -> _Laid:
    graph = neighbour_graph(rows, neighbors)
    geodesic = shortest_path(graph, directed=False)
    isomap = scaled(geodesic**2, latent_dim)
    untorn = _Laid(isomap, graph, Tear(), np.zeros(len(rows), dtype=bool))
    if not tear or len(rows) <= NEIGHBOURS_OF_BASE or min(isomap.shape[1], latent_dim) < 2:
        return untorn
    found = _torn(graph, geodesic, rows, _decodability_by_rank(isomap, rows), resolution)
    return untorn if found is None else _Laid(found[0], graph, found[1], found[2])


def _side_by_side(
    original: Array, rows: Array, pieces: list[NDArray[np.int64]], latent_dim: int, neighbors: int, resolution: float,
    *, tear: bool,
) -> Embedding:  # fmt: skip
    """Coordinates of rows that fall apart: those of each part, in its own scale, one beside the other along the first.

    Geodesics between parts would be distances through nothing, by which the parts' own coordinates are hidden. Stray
    rows take the coordinates of the nearest row that belongs to a part.
    """
    coordinates = np.zeros((len(rows), latent_dim))
    at_tear, reach = np.zeros(len(rows), dtype=bool), np.zeros(len(rows))
    tears, edges, curve = [], [], np.zeros(latent_dim)
    for number, piece in enumerate(pieces):
        own = Standardizer.fit(rows[piece], "global")
        scaled_rows = np.asarray(own.apply(rows[piece]))
        laid = _laid(scaled_rows, latent_dim, neighbors, resolution, tear=tear)
        there = laid.coordinates.shape[1]
        known = _decodability_by_rank(laid.coordinates, scaled_rows)  # in the scale of the part, as it is judged
        curve[:there] += len(piece) * known
        curve[there:] += len(piece) * known[-1]
        half = np.abs(laid.coordinates[:, 0]).max() or 1.0
        coordinates[piece, :there] = laid.coordinates / half
        coordinates[piece, 0] += 3.0 * number
        at_tear[piece], reach[piece] = laid.at_tear, _reach(original[piece], laid.graph)
        tears.append(laid.tear)
        edges.append(laid.graph.nnz)
    member = np.concatenate(pieces)
    stray = np.setdiff1d(np.arange(len(rows)), member)
    if len(stray):
        nearest = NearestNeighbors(n_neighbors=1).fit(rows[member]).kneighbors(rows[stray], return_distance=False)
        coordinates[stray] = coordinates[member[nearest.ravel()]]
    most = max(tears, key=lambda found: found.share)
    share = float(np.average([found.share for found in tears], weights=edges))
    started = _embedding(original, coordinates, latent_dim, curve / len(member))
    return replace(started, tear=replace(most, share=share), at_tear=at_tear, reach=reach)


def _embedding(
    rows: Array, coordinates: Array, latent_dim: int, curve: Array, *, laid: _Laid | None = None
) -> Embedding:
    m, there = len(rows), coordinates.shape[1]
    codes, weights = np.zeros((m, latent_dim)), np.zeros(latent_dim)
    decodability = np.full(latent_dim, curve[-1] if len(curve) else 0.0)
    decodability[: len(curve)] = curve
    varies = np.ptp(coordinates, axis=0) > 0 if m else np.zeros(there, dtype=bool)
    codes[:, np.flatnonzero(varies)] = ndtri((rankdata(coordinates[:, varies], axis=0) - 0.5) / max(1, m))
    weights[np.flatnonzero(varies)] = 1.0
    return Embedding(
        rows=rows,
        codes=codes,
        weights=weights,
        decodability=decodability,
        tear=laid.tear if laid else Tear(),
        at_tear=laid.at_tear if laid else np.zeros(m, dtype=bool),
        reach=_reach(rows, laid.graph) if laid else np.zeros(m),
    )


def _reach(rows: Array, graph: csr_array) -> Array:
    """Distance of each row to its farthest neighbour, in the units of the rows."""
    i, j = graph.tocoo().coords
    apart = rows[i].astype(np.float64) - rows[j]
    unit = np.abs(apart).max()  # so that no square overflows, or is 0
    reach = np.zeros(len(rows))
    np.maximum.at(reach, i, unit * np.linalg.norm(apart / unit, axis=1))
    return reach


def _torn(
    graph: csr_array, geodesic: Array, rows: Array, isomap: Array, resolution: float
) -> tuple[Array, Tear, NDArray[np.bool_]] | None:
    """Coordinates of the smallest rank at which a tear closes the gap, with the tear and the rows at it."""
    count, best = len(isomap), isomap.min()
    gaps = isomap - best
    open_ranks = [rank for rank in range(1, count) if gaps[rank - 1] > resolution**2]
    if not open_ranks:
        return None
    loops = list(_loops(graph, geodesic, count))
    grounds = [(graph, geodesic**2, np.zeros(graph.nnz, dtype=bool)), *(ground for ground, _ in loops)]
    opened: list[_Candidate] = []
    for rank in open_ranks:
        candidates = [*(candidate for _, candidate in loops), *opened]
        if rank <= min(rows.shape[1], len(rows) - 1):
            for ground in grounds if rank <= MOST_TORN_RANK else grounds[:1]:
                found = list(_log_maps(ground, graph, rows, rank, count))
                candidates += found
                opened += found[1:]
        candidates = [candidate for candidate in candidates if candidate[2].any()]
        if not candidates:
            continue
        errors = [_decodability(coordinates[:, :rank], rows) for coordinates, _, _ in candidates]
        coordinates, method, torn = candidates[int(np.argmin(errors))]
        if gaps[rank - 1] - (min(errors) - best) > CLOSED.get(rank, CLOSED_ABOVE) * gaps[rank - 1]:
            at_tear = np.zeros(len(rows), dtype=bool)
            at_tear[graph.tocoo().coords[0][torn]] = True
            return coordinates, Tear(method, rank, float(torn.mean())), at_tear
    return None


_Candidate = tuple[Array, str, NDArray[np.bool_]]
"""Coordinates, how they were torn, and the torn edges of the graph."""

_Ground = tuple[csr_array, Array, NDArray[np.bool_]]
"""A graph that is cut already or not, its squared geodesic distances, and the edges that were cut."""


def _loops(graph: csr_array, geodesic: Array, count: int) -> Iterator[tuple[_Ground, _Candidate]]:
    """The graph without its essential loops, for each of `LOOPS` that cuts something else than the one before it."""
    before = -1
    for reach in LOOPS:
        torn = essential_loops(graph, geodesic, reach)
        if torn.sum() in (0, before):
            continue
        before = int(torn.sum())
        opened, torn = cut(graph, torn)
        squared = shortest_path(opened, directed=False) ** 2
        yield (opened, squared, torn), (scaled(squared, count), "loops", torn)


def _log_maps(ground: _Ground, graph: csr_array, rows: Array, rank: int, count: int) -> Iterator[_Candidate]:
    """The best log map over `BASES` rows and, at small ranks, coordinates of the graph cut where it is stretched."""
    _, squared, cut_before = ground
    order = np.argsort(squared.mean(axis=0), kind="stable")
    bases = order[np.linspace(0, len(order) - 1, BASES).astype(int)]
    maps = [log_map(squared, rows, int(base), rank) for base in bases]
    chart = min(maps, key=lambda coordinates: _decodability(coordinates, rows))
    torn = stretched(graph, chart) | cut_before
    yield _extended(chart, rows, count), "log map", torn
    if rank <= MOST_TORN_RANK:
        opened, torn = cut(graph, torn)
        yield scaled(shortest_path(opened, directed=False) ** 2, count), "cut log map", torn


def _extended(chart: Array, rows: Array, count: int) -> Array:
    """Coordinates that begin with those of a chart, followed by the principal components of what it cannot decode."""
    rest = rows - _decoded(chart, rows)
    left, sizes, _ = np.linalg.svd(rest - rest.mean(axis=0), full_matrices=False)
    more = (left * sizes)[:, : max(0, count - chart.shape[1])]
    return np.hstack([chart, more])


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


def _decoded(coordinates: Array, rows: Array) -> Array:
    """The mean of the rows nearest in the coordinates, the row itself left out, shape (m, p)."""
    near = NearestNeighbors(n_neighbors=min(DECODING_NEIGHBOURS, len(rows) - 1)).fit(coordinates)
    return np.asarray(rows[near.kneighbors(return_distance=False)].mean(axis=1))


def _decodability(coordinates: Array, rows: Array) -> float:
    """E of the coordinates, see the module."""
    return float(np.square(rows - _decoded(coordinates, rows)).sum(axis=1).mean())


def _decodability_by_rank(coordinates: Array, rows: Array) -> Array:
    return np.array([_decodability(coordinates[:, :rank], rows) for rank in range(1, coordinates.shape[1] + 1)])


def neighbour_graph(rows: Array, neighbors: int) -> csr_array:
    """Distances between neighbours, symmetric, as a connected graph."""
    most, reach = len(rows) - 1, neighbors
    while True:
        graph = csr_array(kneighbors_graph(rows, min(reach, most), mode="distance"))
        graph = csr_array(graph.maximum(graph.T))
        if connected_components(graph, directed=False, return_labels=False) == 1:
            return graph
        if reach >= min(WIDEST_GRAPH * neighbors, most):
            tree = csr_array(minimum_spanning_tree(squareform(pdist(rows))))
            return csr_array(graph.maximum(tree.maximum(tree.T)))
        reach += max(1, neighbors // 2)
