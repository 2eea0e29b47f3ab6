"""Where the codes start: geodesic coordinates of some of the rows, torn open where a manifold is closed.

An auto-encoder that starts from random networks folds a curved manifold: a spiral is flattened on one axis with its
arms on top of each other, and no small step leads out of that. Geodesic distances see the arms apart. The coordinates
are only where training begins; the objective then moves the codes wherever it is smaller.

Which coordinates are taken is decided by one criterion that does not know the dimension. How well rows can be decoded
from coordinates t is measured without a network:

    e(t) = mean_i ||x_i - mean of the 5 rows nearest to i in t||^2.

Isomap's coordinates have e_1 >= e_2 >= .. by rank; e_min is the smallest. At a rank where e_r - e_min is above the
square of the resolution, something is missing: a dimension, or a chart. Pieces of the rows, laid side by side, that
close more than `CLOSED` of this gap at the same rank show that it was the chart, unless a further coordinate decodes
much of what they leave: then they are clumps. The smallest such rank is taken.

Directions that vary independently of each other are also laid out group by group, each group by the same criterion
(`lwgan_dist.models.lwgan.factors`): e is then a sum over the groups. That is taken where it needs fewer coordinates.
"""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree, shortest_path
from scipy.spatial.distance import pdist, squareform
from scipy.special import ndtri

from lwgan_dist.data.blocks import BLOCK_ELEMENTS
from lwgan_dist.data.parts import parts_of
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.models.lwgan.factors import Group, independent_groups
from lwgan_dist.models.lwgan.tears import pieces_side_by_side, scaled, stretched, ways_to_cut
from lwgan_dist.threads import one_thread

Array = NDArray[Any]

START_RESOLUTION = 0.08
"""Share of the data's scale below which a gap in the decodability of coordinates does not matter to a run."""

WIDEST_GRAPH = 4
"""The neighbourhood grows up to this many times ``neighbors`` to make the graph connected."""

NO_DISTANCE = 1e-12
"""Length of the edge between rows that are equal, in some directions or in all: one of length 0 would be none."""

SAME = 9
"""Decimals to which rows are compared along some of their directions."""

DECODING_NEIGHBOURS = 5
"""Nearest rows in code space whose mean decodes a row."""

FEWEST_ROWS = 30
"""With no more rows nothing is torn, and no groups of directions are looked for."""

CLOSED = {1: 0.85, 2: 0.95}
"""Share of the gap in decodability that pieces have to close, by the number of cuts. A missing dimension can in part be
had by pieces side by side: across an interval, halves close .75 of the gap.
"""

CLEARLY = 0.5
"""Coordinates decode clearly better than others if they leave no more than this share of their error."""

MORE = 2
"""Coordinates beyond those wanted: what is closed at the last rank is seen by what further ones would decode."""

NEARLY = 0.58
"""Pieces are complete if no further coordinate leaves less than this share of their error."""

MOST_COLUMNS, CARRIED = 1_024, 0.99
"""Images of more numbers are represented by principal components with this share of their variance: distances are kept
up to the root of what is left, and time and memory do not grow with the size of the image."""

WORTHWHILE = 1.25
"""A gap is looked at where coordinates leave at least this many times the smallest error: in noise of many dimensions,
where hardly anything is decoded, the best of many cuts closes small gaps by chance."""

MOST_RANK_CUT_TWICE = 4
"""Up to this rank two cuts are tried where one leaves a gap."""


@dataclass(frozen=True)
class Tear:
    """The tear that let coordinates be laid on the rows.

    Attributes:
        pieces: that were laid side by side; 1 for none. Of groups of directions, the largest number.
        rank: number of coordinates of the pieces; 0 for none. Of groups, the sum over those that were torn.
        share: of the edges of the graph that are torn, in 0..1. Of groups, the largest share.
        groups: of directions that were laid out by themselves; 1 for all together.
    """

    pieces: int = 1
    rank: int = 0
    share: float = 0.0
    groups: int = 1


@dataclass(frozen=True)
class Embedding:
    """Rows with the codes that they start from; a rank-r code is the first r coordinates.

    Attributes:
        rows: shape (m, p).
        codes: shape (m, q), see `geodesic_start`.
        weights: shape (q,), likewise.
        decodability: e of the first r coordinates, in units of the rows' squared scale, by rank, shape (q,).
        tear: what was torn.
        at_tear: which rows are ends of torn edges, in the graph of any group of directions, shape (m,).
        reach: distance of each row to its farthest neighbour in the graph of all directions, shape (m,).
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


def geodesic_start(
    rows: Array, latent_dim: int, neighbors: int, resolution: float, *, tear: bool = True, images: bool = False
) -> Embedding:
    """Coordinates of the rows, each brought to a normal distribution by its ranks.

    With t_ik the k-th coordinate of row i: code_ik = Phi^-1((rank of t_ik among t_1k .. t_mk - 1/2) / m). Without a
    tear, and unless groups of directions need fewer, the coordinates are Isomap's. The neighbourhood is the smallest of
    ``neighbors`` times 1, 1.5, 2, .. 4 that connects the rows; where none does, the minimum spanning tree joins stray
    rows. Parts of the rows that lie apart (`lwgan_dist.data.parts`) are laid side by side. One thread, so that the
    codes do not depend on how many there are. Time grows with m^3, memory with m^2.

    Args:
        rows: shape (m, p), finite and `distinct`.
        latent_dim: q. Coordinates that do not exist, because the rows are too few or lie in a subspace, are 0, with
            weight 0.
        neighbors: of each row in the graph whose shortest paths are the geodesic distances.
        resolution: share of the rows' scale (see `lwgan_dist.data.standardize`) below which a gap in decodability does
            not matter.
        tear: whether closed manifolds may be torn open.
        images: whether the rows are images; those of more than `MOST_COLUMNS` numbers are seen by their principal
            components.

    Returns:
        The codes, with weight 1 for each coordinate that exists.

    Source: Tenenbaum, de Silva, Langford 2000 (Isomap); `lwgan_dist.models.lwgan.tears`. The criterion, and training an
    LWGAN from this, are ours.
    """
    m, original = len(rows), rows
    if m < 2:
        return _embedding(original, np.zeros((m, latent_dim)), latent_dim, np.zeros(latent_dim))
    rows = np.asarray(rows, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    rows /= np.abs(rows).max()
    import_module("sklearn.decomposition")  # brings thread pools of its own, which have to exist to be limited
    with one_thread():
        rows = np.asarray(Standardizer.fit(rows, "global").apply(rows))
        if images and rows.shape[1] > MOST_COLUMNS:
            rows = principal_components(rows, CARRIED)
        part = parts_of(rows)
        members = [np.flatnonzero(part == k) for k in range(part.max() + 1)]
        if len(members) > 1:
            return _side_by_side(original, rows, members, latent_dim, neighbors, resolution, tear=tear)
        laid = _laid(rows, latent_dim, neighbors, resolution, tear=tear)
        return _embedding(original, laid.coordinates, latent_dim, laid.decodability, laid=laid)


def principal_components(rows: Array, share: float) -> Array:
    """As many principal components of centred rows, shape (m, p), m < p, as carry a share of the variance, in float64:
    from the products of the rows with each other, so that nothing of p x p is needed.
    """
    values, vectors = eigh(rows @ rows.T, driver="evr")
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    count = int((np.cumsum(values) < share * values.sum()).sum()) + 1
    return np.asarray(vectors[:, :count] * np.sqrt(values[:count]))


@dataclass(frozen=True)
class _Laid:
    """Coordinates of connected rows, before they are brought to a normal distribution."""

    coordinates: Array
    graph: csr_array
    decodability: Array
    tear: Tear
    at_tear: NDArray[np.bool_]

    def first(self, count: int) -> "_Laid":
        """The first coordinates alone."""
        return replace(self, coordinates=self.coordinates[:, :count], decodability=self.decodability[:count])


def needed(decodability: Array, resolution: float) -> int:
    """The smallest rank at which coordinates decode the rows as well as at any, up to twice the squared resolution."""
    return 1 + int(np.flatnonzero(decodability - decodability.min() <= 2.0 * resolution**2)[0])


def _laid(rows: Array, latent_dim: int, neighbors: int, resolution: float, *, tear: bool) -> _Laid:
    together = _laid_together(rows, latent_dim, neighbors, resolution, tear=tear)
    if not tear or len(rows) <= FEWEST_ROWS or latent_dim < 2:
        return together
    apart = _laid_apart(rows, together, latent_dim, neighbors, resolution)
    if apart is None:
        return together
    fewer = needed(apart.decodability, resolution) < needed(together.decodability, resolution)
    # in very many directions hardly anything is decoded from all together, and the curve is flat for that
    return apart if fewer or _finds_more(apart, together, resolution) else together


def _laid_apart(rows: Array, together: _Laid, latent_dim: int, neighbors: int, resolution: float) -> _Laid | None:
    """Coordinates of groups of directions; groups are joined where that needs fewer coordinates."""

    def laid(group: Group) -> _Laid:
        if len(group.members) == 1:  # a line is laid out already
            return _Laid(group.rows, together.graph, np.zeros(1), Tear(), np.zeros(len(rows), dtype=bool))
        # rows that are equal along these directions would decode each other, whatever the coordinates
        _, first, again = np.unique(group.rows.round(SAME), axis=0, return_index=True, return_inverse=True)
        if len(first) <= FEWEST_ROWS:
            flat = np.append(group.rows.var(axis=0)[::-1].cumsum()[::-1][1:], 0.0)
            return _Laid(group.rows, together.graph, flat, Tear(), np.zeros(len(rows), dtype=bool))
        one = _laid_together(group.rows[first], len(group.members), neighbors, resolution, tear=True)
        return replace(one, coordinates=one.coordinates[again], at_tear=one.at_tear[again])

    def joined(groups: list[tuple[Group, _Laid]], rest: float = 0.0) -> _Laid:
        most = sum(len(group.members) for group, _ in groups)
        return _joined(groups, together, rest, most, resolution)

    split = independent_groups(rows, resolution)
    kept = {group.members: [(group, laid(group))] for group in split.groups}
    for one, other, both in split.joins:
        parts = kept.pop(one.members) + kept.pop(other.members)
        whole, separate = laid(both), joined(parts)
        rank = needed(whole.decodability, resolution)
        left, without = whole.decodability[rank - 1], separate.decodability
        pays = rank < needed(without, resolution) and left <= CLEARLY * without[rank - 1]
        kept[both.members] = [(both, whole)] if pays else parts
    groups = [part for parts in kept.values() for part in parts]
    return joined(groups, split.rest).first(latent_dim) if len(groups) > 1 else None


def _finds_more(one: _Laid, other: _Laid, resolution: float) -> bool:
    """Whether coordinates leave clearly less than others at the rank that those need, and still find more to decode."""
    rank = needed(other.decodability, resolution)
    return needed(one.decodability, resolution) > rank and bool(
        one.decodability[rank - 1] <= CLEARLY * other.decodability[rank - 1]
    )


def _laid_together(rows: Array, latent_dim: int, neighbors: int, resolution: float, *, tear: bool) -> _Laid:
    graph = neighbour_graph(rows, neighbors)
    squared = shortest_path(graph, directed=False) ** 2
    isomap = scaled(squared, latent_dim + MORE)
    curve = _decodability_by_rank(isomap, rows)
    untorn = _Laid(isomap, graph, curve, Tear(), np.zeros(len(rows), dtype=bool))
    torn = _torn(untorn, squared, rows, resolution, latent_dim) if tear and len(rows) > FEWEST_ROWS else None
    return (torn or untorn).first(latent_dim)


def _joined(
    groups: list[tuple[Group, _Laid]], together: _Laid, rest: float, latent_dim: int, resolution: float
) -> _Laid:
    """The coordinates of groups of directions as one list, at every place those that explain most per coordinate."""
    curves = []  # by the number of coordinates, from 0
    for group, laid in groups:
        decoded = np.minimum.accumulate(laid.decodability)
        decoded[needed(decoded, resolution) :] = decoded[needed(decoded, resolution) - 1]
        curves.append(np.append(group.rows.var(axis=0).sum(), decoded))
    taken = [0] * len(groups)
    missing = rest + sum(float(own[0]) for own in curves)
    chosen: list[Array] = []
    curve: list[float] = []
    while len(chosen) < latent_dim:
        rates = {
            (k, upto): (own[now] - own[upto]) / (upto - now)
            for k, (now, own) in enumerate(zip(taken, curves, strict=True))
            for upto in range(now + 1, len(own))
        }
        if not rates:
            break
        k, upto = max(rates, key=lambda step: rates[step])
        for at in range(taken[k], upto):
            missing -= float(curves[k][at] - curves[k][at + 1])
            curve.append(missing)
            chosen.append(groups[k][1].coordinates[:, at])
        taken[k] = upto
    parts = [laid for _, laid in groups]
    tear = Tear(
        pieces=max(one.tear.pieces for one in parts),
        rank=sum(one.tear.rank for one in parts),
        share=max(one.tear.share for one in parts),
        groups=len(groups),
    )
    return _Laid(
        np.column_stack(chosen[:latent_dim]),
        together.graph,
        np.array(curve[:latent_dim]),
        tear,
        np.any([one.at_tear for one in parts], axis=0),
    )


def _side_by_side(
    original: Array, rows: Array, parts: list[NDArray[np.int64]], latent_dim: int, neighbors: int, resolution: float,
    *, tear: bool,
) -> Embedding:  # fmt: skip
    """Coordinates of rows that fall apart: those of each part, in its own scale, one beside the other along the first.

    Geodesics between parts would be distances through nothing, by which the parts' own coordinates are hidden. Stray
    rows take the coordinates of the nearest row that belongs to a part.
    """
    from sklearn.neighbors import NearestNeighbors

    coordinates = np.zeros((len(rows), latent_dim))
    at_tear, reach = np.zeros(len(rows), dtype=bool), np.zeros(len(rows))
    tears, edges, curve = [], [], np.zeros(latent_dim)
    for number, part in enumerate(parts):
        own = Standardizer.fit(rows[part], "global")
        scaled_rows = np.asarray(own.apply(rows[part]))
        laid = _laid(scaled_rows, latent_dim, neighbors, resolution, tear=tear)
        width = laid.coordinates.shape[1]
        decoded = laid.decodability  # in the scale of the part, as it is judged
        curve[:width] += len(part) * decoded
        curve[width:] += len(part) * decoded[-1]
        half = np.abs(laid.coordinates[:, 0]).max() or 1.0
        coordinates[part, :width] = laid.coordinates / half
        coordinates[part, 0] += 3.0 * number
        at_tear[part], reach[part] = laid.at_tear, _reach(original[part], laid.graph)
        tears.append(laid.tear)
        edges.append(laid.graph.nnz)
    member = np.concatenate(parts)
    stray = np.setdiff1d(np.arange(len(rows)), member)
    if len(stray):
        nearest = NearestNeighbors(n_neighbors=1).fit(rows[member]).kneighbors(rows[stray], return_distance=False)
        coordinates[stray] = coordinates[member[nearest.ravel()]]
    most = max(tears, key=lambda each: each.share)
    share = float(np.average([each.share for each in tears], weights=edges))
    groups = max(each.groups for each in tears)
    started = _embedding(original, coordinates, latent_dim, curve / len(member))
    return replace(started, tear=replace(most, share=share, groups=groups), at_tear=at_tear, reach=reach)


def _embedding(
    rows: Array, coordinates: Array, latent_dim: int, curve: Array, *, laid: _Laid | None = None
) -> Embedding:
    from scipy.stats import rankdata

    m, width = len(rows), coordinates.shape[1]
    codes, weights = np.zeros((m, latent_dim)), np.zeros(latent_dim)
    decodability = np.full(latent_dim, curve[-1] if len(curve) else 0.0)
    decodability[: len(curve)] = curve
    varies = np.ptp(coordinates, axis=0) > 0 if m else np.zeros(width, dtype=bool)
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
    step = max(1, BLOCK_ELEMENTS // rows.shape[1])
    blocks = [slice(start, start + step) for start in range(0, len(i), step)]

    def apart(edges: slice) -> Array:
        return np.asarray(rows[i[edges]].astype(np.float64) - rows[j[edges]])

    unit = max(np.abs(apart(edges)).max() for edges in blocks)  # so that no square overflows, or is 0
    reach = np.zeros(len(rows))
    for edges in blocks:
        np.maximum.at(reach, i[edges], unit * np.linalg.norm(apart(edges) / unit, axis=1))
    return reach


def _torn(untorn: _Laid, squared: Array, rows: Array, resolution: float, most: int) -> _Laid | None:
    """Coordinates of the smallest rank, up to the largest wanted, at which pieces side by side close the gap."""
    isomap, curve = untorn.coordinates, untorn.decodability
    for rank in range(1, min(most, len(curve) - 1) + 1):
        gap = curve[rank - 1] - curve.min()
        if gap <= resolution**2 or curve[rank - 1] < WORTHWHILE * curve.min():
            continue
        for cuts, share in CLOSED.items():
            if cuts > 1 and rank > MOST_RANK_CUT_TWICE:
                continue
            ways = [
                pieces_side_by_side(squared, isomap, across, rank) for across in ways_to_cut(rank, cuts, len(curve))
            ]
            errors = [_decodability(coordinates, rows) for coordinates, _ in ways]
            coordinates, piece = ways[int(np.argmin(errors))]
            if curve[rank - 1] - min(errors) <= share * gap:
                continue
            i, j = untorn.graph.tocoo().coords
            torn = stretched(untorn.graph, coordinates) & (piece[i] != piece[j])
            at_tear = np.zeros(len(rows), dtype=bool)
            at_tear[i[torn]] = True
            coordinates = _extended(coordinates, rows, isomap.shape[1])
            decoded = _decodability_by_rank(coordinates, rows)
            # across two clumps halves close nearly all of the gap, and yet a further coordinate decodes the clumps
            reached = decoded[rank - 1]
            if not torn.any() or decoded.min() < min(NEARLY * reached, reached - 4.0 * resolution**2):
                continue
            decoded[rank:] = reached  # that this rank is enough has just been decided
            tear = Tear(len(np.unique(piece)), rank, float(torn.mean()))
            return _Laid(coordinates, untorn.graph, decoded, tear, at_tear)
    return None


def _extended(chart: Array, rows: Array, count: int) -> Array:
    """Coordinates that begin with those of a chart, followed by the principal components of what it cannot decode."""
    rest = rows - _decoded(chart, rows)
    left, sizes, _ = np.linalg.svd(rest - rest.mean(axis=0), full_matrices=False)
    more = (left * sizes)[:, : max(0, count - chart.shape[1])]
    return np.hstack([chart, more])


def _decoded(coordinates: Array, rows: Array) -> Array:
    """The mean of the rows nearest in the coordinates, the row itself left out, shape (m, p)."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(DECODING_NEIGHBOURS, len(rows) - 1)).fit(coordinates)
    return np.asarray(rows[near.kneighbors(return_distance=False)].mean(axis=1))


def _decodability(coordinates: Array, rows: Array) -> float:
    """E of the coordinates, see the module."""
    return float(np.square(rows - _decoded(coordinates, rows)).sum(axis=1).mean())


def _decodability_by_rank(coordinates: Array, rows: Array) -> Array:
    return np.array([_decodability(coordinates[:, :rank], rows) for rank in range(1, coordinates.shape[1] + 1)])


def neighbour_graph(rows: Array, neighbors: int) -> csr_array:
    """Distances between neighbours, symmetric, as a connected graph."""
    from sklearn.neighbors import kneighbors_graph

    most, reach = len(rows) - 1, neighbors
    while True:
        graph = csr_array(kneighbors_graph(rows, min(reach, most), mode="distance"))
        graph.data = np.maximum(graph.data, NO_DISTANCE)
        graph = csr_array(graph.maximum(graph.T))
        if connected_components(graph, directed=False, return_labels=False) == 1:
            return graph
        if reach >= min(WIDEST_GRAPH * neighbors, most):
            tree = csr_array(minimum_spanning_tree(squareform(np.maximum(pdist(rows), NO_DISTANCE))))
            return csr_array(graph.maximum(tree.maximum(tree.T)))
        reach += max(1, neighbors // 2)
