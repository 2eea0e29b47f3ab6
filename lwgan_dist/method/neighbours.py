"""The largest rank that the distances between neighbouring rows allow: a bound on the estimate. No network, no tensor.

Bending makes the rank that networks need too large, and noise makes the dimension that neighbours show too large. What
makes the latter too small is few rows in many dimensions, which happens to simulated samples of a known dimension as
well. So a dimension of which no simulated sample shows as little as the data do is more than the data have.

With T_k(x_i) the distance of row i to its k-th neighbour, m_i = mean_{j<k} log(T_k / T_j) is a mean of k - 1
exponentials of rate d where the density is constant (Levina and Bickel, 2004), whatever d is. Hence

    v_k = F_k / median_i m_i,    F_k the median of a Gamma(k - 1) divided by k - 1,

and a rank s is refused if v_k < min(low_k(s), s - 1/4) for each k of `NEIGHBOURS`, where low_k(s) is the least v_k of
`REFERENCES` samples each of a cube, a ball and a normal distribution in s dimensions with as many rows.

The median, and two neighbourhoods, because copies of some rows, and what is true at one scale alone, must not decide.
"""

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.method.rank_selection import STAIRCASE
from lwgan_dist.seeding import generator
from lwgan_dist.threads import one_thread

NEIGHBOURS = (5, 10)
"""Neighbours at whose distances the dimension is looked at."""

REFERENCES = 5
"""Simulated samples of each of three distributions, the lowest of all of which decides."""

GAP = 0.25
"""By how much a rank that is refused is above what neighbours show: whatever the references, the truth is not refused
once v_k is that near to it."""

LEAST_ROWS, MOST_ROWS, LOOKED_AT = 60, 5_000, 2_000
"""Rows below which nothing is refused, rows among which neighbours are looked for, and rows whose neighbours are."""

MOST_NUMBERS = 4_000_000
"""Numbers in the rows among which neighbours are looked for; they are copied six times at the peak, in 8 bytes each."""

COPY, MOST_COPIES = 20.0, 0.1
"""A row has copies if its neighbours up to some number are 20 times nearer than the next one: without copies, in s
dimensions, that is so for a share of 20^-s of the rows at the nearest neighbour, and for fewer at the others. Where a
larger share than a tenth has copies, nothing is refused."""

MOST_IN_ORDER = 0.1
"""Share of neighbours, beyond that of rows in a random order, that stand next to their row in the sample, from which on
nothing is refused: of a path that was recorded step by step, neighbours show the path."""

Array = NDArray[np.float64]


class Rows(Protocol):
    """Rows that are read where they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> NDArray[Any]: ...


def largest_ranks(rows: Rows, latent_dim: int) -> list[int] | None:
    """The largest rank that is not refused, at each resolution of `STAIRCASE`.

    At the resolution rho the rows are seen by their principal components of standard deviation rho and more.

    Args:
        rows: standardised, in the order of the sample, shape (n, *shape), finite.
        latent_dim: q, above which nothing is asked.

    Returns:
        Ranks in 1..q; q where nothing is refused, as of copies, or rows in order. None with few distinct rows.

    Source: ours, from the estimator of Levina and Bickel (NIPS 2004) and the calibration by simulated balls of Ceruti
    and others (DANCo, Pattern Recognition 47, 2014).
    """
    most = min(MOST_ROWS, MOST_NUMBERS // max(1, int(np.size(rows[:1]))))
    some = np.sort(generator(0, "neighbours/rows").permutation(len(rows))[:most])
    values = np.reshape(rows[some], (len(some), -1)).astype(np.float64)
    distinct = np.sort(np.unique(values, axis=0, return_index=True)[1])
    if len(distinct) < LEAST_ROWS:
        return None
    with one_thread():
        components, deviations = _principal(values[distinct])
        kept = [max(1, int((deviations >= resolution).sum())) for resolution in STAIRCASE]
        found = {count: _largest(components[:, :count], latent_dim) for count in set(kept)}
    return [found[count] for count in kept]


def bound_at(ranks: list[int] | None, resolution: float) -> int | None:
    """The largest rank at a resolution, by the largest of `STAIRCASE` that is not above it; None if nothing is known.

    Args:
        ranks: as `largest_ranks` gives them.
        resolution: at least 0.
    """
    if ranks is None or resolution < STAIRCASE[0]:
        return None
    return ranks[int(np.searchsorted(STAIRCASE, resolution, side="right")) - 1]


def neighbour_dimensions(distances: Array) -> Array:
    """v_k for each k of `NEIGHBOURS`.

    Args:
        distances: to the nearest neighbours in ascending order, positive, shape (rows, at least the largest k).
    """
    from scipy.stats import gamma

    values = []
    for k in NEIGHBOURS:
        means = np.log(distances[:, k - 1 : k] / distances[:, : k - 1]).mean(axis=1)
        values.append(gamma.median(k - 1) / (k - 1) / max(float(np.median(means)), 1e-12))
    return np.array(values)


def _principal(rows: Array) -> tuple[Array, Array]:
    """Coordinates on the principal axes of `LOOKED_AT` rows, and the standard deviations along them."""
    centred = rows - rows.mean(axis=0)
    some = centred[:: -(-len(rows) // LOOKED_AT)]
    if some.shape[1] <= len(some):
        axes = np.linalg.eigh(some.T @ some)[1][:, ::-1]
    else:  # fewer products than those of the columns
        values, vectors = np.linalg.eigh(some @ some.T)
        positive = values > values[-1] * 1e-12
        axes = (some.T @ (vectors[:, positive] / np.sqrt(values[positive])))[:, ::-1]
    components = centred @ axes
    return components, components.std(axis=0)


def _distances(rows: Array) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Distances to the nearest neighbours of at most `LOOKED_AT` rows, which these are, and which were looked at."""
    from sklearn.neighbors import NearestNeighbors

    looked_at = np.arange(0, len(rows), -(-len(rows) // LOOKED_AT))
    trees = "kd_tree" if rows.shape[1] <= 5 else "brute"
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS[-1] + 1, algorithm=trees).fit(rows)
    distances, neighbours = nearest.kneighbors(rows[looked_at])
    return distances[:, 1:], neighbours[:, 1:], looked_at


def _largest(rows: Array, latent_dim: int) -> int:
    distances, neighbours, looked_at = _distances(rows)
    distances = np.maximum(distances, 1e-300)  # components may coincide where rows do not
    if ((distances[:, 1:] > COPY * distances[:, :-1]).mean(axis=0) > MOST_COPIES).any():
        return latent_dim
    near = np.abs(neighbours - looked_at[:, None]) <= NEIGHBOURS[-1]
    if near.mean() > MOST_IN_ORDER + 2.0 * NEIGHBOURS[-1] / len(rows):
        return latent_dim
    values = neighbour_dimensions(distances)
    rank = max(1, int(values.max()))
    while rank < latent_dim and not (values < _least(rank + 1, len(rows))).all():
        rank += 1
    return min(rank, latent_dim)


@lru_cache(maxsize=256)
def _least(rank: int, rows: int) -> Array:
    """min(low_k(s), s - 1/4) for each k."""
    values = []
    for index in range(REFERENCES):
        rng = generator(0, "neighbours/references", rank, index)
        normal = rng.normal(size=(rows, rank))
        radii = rng.random((rows, 1)) ** (1.0 / rank) / np.linalg.norm(normal, axis=1, keepdims=True)
        for sample in (rng.random((rows, rank)), normal * radii, rng.normal(size=(rows, rank))):
            values.append(neighbour_dimensions(_distances(sample)[0]))
    return np.asarray(np.minimum(np.min(values, axis=0), rank - GAP))
