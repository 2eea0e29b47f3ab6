"""Where a closed manifold may be torn open, so that coordinates can be laid on it.

A circle, sphere or torus of dimension d has no continuous map into R^d and back, but one that is discontinuous on a set
of measure zero, and continuous ones come arbitrarily near to it (Kvalheim, Sontag, arXiv:2310.02250). Two constructions
find such a set on a graph of neighbours: `essential_loops` cuts what runs around a hole, `log_map` lays the coordinates
of one row's surroundings over everything and shows by how much they stretch each edge.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

Array = NDArray[Any]

STRETCH = 3.0
"""An edge that coordinates stretch more than this many times the median is torn."""

NEIGHBOURS_OF_BASE = 30
"""Rows around its base from which a log map of one or two coordinates is regressed; twice as many for each further one,
up to `MOST_NEIGHBOURS`: the more coordinates, the coarser the graph and the noisier its distances."""

MOST_NEIGHBOURS = 200


def essential_loops(graph: csr_array, geodesic: Array, reach: float) -> NDArray[np.bool_]:
    """Which edges of a graph to cut so that no loop remains that runs around a hole.

    Begins with the shortest-path tree of the most central row and adds again, in rounds, every edge whose ends are
    joined by a path shorter than ``reach`` times the median length of a row's longest edge. What is never added
    closes only long loops. A chart has none, so nothing is cut.

    Args:
        graph: symmetric, connected, positive lengths, shape (m, m).
        geodesic: its shortest-path lengths, shape (m, m).
        reach: length of the longest loop that may remain.

    Returns:
        For each entry of ``graph`` as a COO matrix, in its order, whether it is cut.

    Source: Lee, Verleysen 2005, "Nonlinear dimensionality reduction of data manifolds with essential loops".
    """
    edges = coo_array(graph)
    ends, lengths = edges.coords, edges.data
    root = int(geodesic.mean(axis=0).argmin())
    _, parent = dijkstra(graph, directed=False, indices=root, return_predecessors=True)
    kept = (parent[ends[0]] == ends[1]) | (parent[ends[1]] == ends[0])
    limit = reach * float(np.median(graph.max(axis=1).toarray()))
    while not kept.all():
        tree = csr_array((lengths[kept], (ends[0][kept], ends[1][kept])), shape=graph.shape)
        pending = np.flatnonzero(~kept)
        sources, position = np.unique(ends[0][pending], return_inverse=True)
        near = np.isfinite(dijkstra(tree, directed=False, indices=sources, limit=limit))
        joined = near[position, ends[1][pending]]
        if not joined.any():
            break
        kept[pending[joined]] = True
    return np.asarray(~kept)


def log_map(squared: Array, rows: Array, base: int, dim: int) -> Array:
    """Riemannian normal coordinates around one row, for all rows: direction and geodesic distance as seen from there.

    With t_j the coordinates of the base's neighbours along the first ``dim`` principal directions of their differences
    from it, d(x, j)^2 = |u|^2 - 2 u . t_j + |t_j|^2 is regressed on t_j; -1/2 of the slope is the direction of u, and
    its length is set to the geodesic distance from the base.

    Args:
        squared: squared geodesic distances, shape (m, m).
        rows: shape (m, p).
        base: the row.
        dim: number of coordinates, at most the number of neighbours and of columns.

    Returns:
        Coordinates along their principal axes, centred, shape (m, dim).

    Source: Brun, Westin, Herberthson, Knutsson 2005, "Fast manifold learning based on Riemannian normal coordinates".
    """
    count = min(MOST_NEIGHBOURS, NEIGHBOURS_OF_BASE * 2 ** max(0, dim - 2))
    near = np.argsort(squared[base], kind="stable")[: count + 1]
    differences = rows[near] - rows[base]
    axes = np.linalg.svd(differences, full_matrices=False)[2][:dim]
    tangent = differences @ axes.T
    design = np.column_stack([np.ones(len(near)), tangent])
    slope = np.linalg.lstsq(design, squared[near] - np.square(tangent).sum(axis=1)[:, None], rcond=None)[0][1:]
    direction = -0.5 * slope.T
    length = np.linalg.norm(direction, axis=1)
    away = length > 0
    coordinates = np.zeros_like(direction)
    coordinates[away] = direction[away] * (np.sqrt(squared[base][away]) / length[away])[:, None]
    centred = coordinates - coordinates.mean(axis=0)
    rotated: Array = centred @ np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    return rotated


def stretched(graph: csr_array, coordinates: Array) -> NDArray[np.bool_]:
    """For each entry of a graph as a COO matrix, whether coordinates stretch it over `STRETCH` times the median."""
    edges = coo_array(graph)
    spans = np.linalg.norm(coordinates[edges.coords[0]] - coordinates[edges.coords[1]], axis=1) / edges.data
    return np.asarray(spans > STRETCH * np.median(spans))


def cut(graph: csr_array, torn: NDArray[np.bool_]) -> tuple[csr_array, NDArray[np.bool_]]:
    """A graph without the torn edges, but connected: of these, the fewest and shortest join the parts again.

    A whole spanning tree of the torn edges would sew the tear up.

    Args:
        graph: symmetric and connected, shape (m, m).
        torn: for each entry as a COO matrix.

    Returns:
        The graph, and the edges that are torn in it.
    """
    edges = coo_array(graph)
    (i, j), lengths, torn = edges.coords, edges.data, torn.copy()
    _, part = connected_components(csr_array((lengths[~torn], (i[~torn], j[~torn])), shape=graph.shape), directed=False)
    leader = np.arange(part.max() + 1)

    def find(k: int) -> int:
        while leader[k] != k:
            leader[k] = leader[leader[k]]
            k = int(leader[k])
        return k

    candidates = np.flatnonzero(torn & (i < j))
    again = []
    for edge in candidates[np.argsort(lengths[candidates], kind="stable")]:
        one, other = find(part[i[edge]]), find(part[j[edge]])
        if one != other:
            leader[one] = other
            again.append(edge)
    sewn = {(int(i[edge]), int(j[edge])) for edge in again}
    if sewn:
        torn &= ~np.array([(min(a, b), max(a, b)) in sewn for a, b in zip(i, j, strict=True)])
    return csr_array((lengths[~torn], (i[~torn], j[~torn])), shape=graph.shape), torn
