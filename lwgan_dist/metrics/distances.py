"""Distances and other statistics of two samples: how far generated rows are from the data. NumPy and SciPy only.

A distance says little without its floor, the distance of two samples of one distribution of these sizes.
"""

import numpy as np

from lwgan_dist.data.blocks import Array, flat


def sliced_wasserstein(x: Array, y: Array, rng: np.random.Generator, projections: int = 200) -> float:
    """Mean over random directions u of the Wasserstein distance W_1 of u.x and u.y, in the units of the columns.

    Args:
        x, y: samples, shapes (n, *shape) and (m, *shape); rows are seen as vectors.
        rng: draws the directions, uniform on the sphere.
        projections: number of directions.

    Source: Rabin, Peyre, Delon, Bernot 2011.
    """
    from scipy.stats import wasserstein_distance

    x, y = flat(x), flat(y)
    directions = rng.standard_normal((projections, x.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    pairs = zip(directions @ x.T, directions @ y.T, strict=True)
    return float(np.mean([wasserstein_distance(a, b) for a, b in pairs]))


def energy_distance(x: Array, y: Array) -> float:
    """2 E||X - Y|| - E||X - X'|| - E||Y - Y'||, estimated without bias: it may be below 0. In the units of the columns.

    Args:
        x, y: samples, shapes (n, *shape) and (m, *shape), n and m at least 2; rows are seen as vectors. Time and memory
            grow with n m.

    Source: Szekely and Rizzo 2013.
    """
    from scipy.spatial.distance import cdist, pdist

    x, y = flat(x), flat(y)
    return float(2.0 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean())


def wasserstein(between: Array, order: int) -> float:
    """Exact Wasserstein distance W_1 or W_2 of samples of equal size: (min over pairings of mean d^order)^(1/order).

    Args:
        between: distances d of their rows, shape (n, n). Time grows with about n^2.5: seconds at n = 2,000.
        order: 1 or 2.

    Source: Villani 2009; the optimal pairing by Crouse 2016 (`scipy.optimize.linear_sum_assignment`).
    """
    from scipy.optimize import linear_sum_assignment

    cost = between**order
    return float(cost[linear_sum_assignment(cost)].mean() ** (1 / order))


MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Multiples of the mean squared distance within the first sample: the kernels of `mmd_squared`."""


def mmd_squared(within_x: Array, within_y: Array, between: Array) -> float:
    """MMD^2 = E k(X, X') + E k(Y, Y') - 2 E k(X, Y), estimated without bias: it may be below 0. At most 2.

    The kernel is the mean of inverse multiquadrics C / (C + d^2), with C = s v, where v is the mean of d^2 over pairs
    of x (for a normal distribution in r directions of variance 1, 2 r), and s from `MMD_SCALES`.

    Args:
        within_x, within_y, between: distances of rows, shapes (n, n), (m, m), (n, m).

    Source: Gretton et al. 2012; the kernel of Tolstikhin et al. 2018.
    """
    n, m = between.shape
    squares = [np.square(distances) for distances in (within_x, within_y, between)]
    constant = squares[0].sum() / (n * (n - 1)) or 1.0
    xx, yy, xy = (_kernel_sum(square, constant) for square in squares)
    return float((xx - n) / (n * (n - 1)) + (yy - m) / (m * (m - 1)) - 2.0 * xy / (n * m))


def _kernel_sum(squares: Array, constant: float) -> float:
    """Sum of the kernel over all pairs; of a row with itself it is 1."""
    return float(np.mean([(1.0 / (1.0 + squares / (scale * constant))).sum() for scale in MMD_SCALES]))


def density_and_coverage(within: Array, between: Array, neighbours: int = 5) -> tuple[float, float]:
    """How densely generated rows lie where data are, and the share of the data near which there is one.

    Each held-out row has a ball as wide as the distance to its k-th neighbour among held-out rows. Density is the mean
    number of balls that hold a generated row, over k: 1 for equal distributions, but unbounded. Coverage is the share
    of balls that hold a generated row: at most 1, and about 1 - 2^-k for equal distributions and sizes.

    Args:
        within: distances of held-out rows, shape (n, n).
        between: of held-out to generated rows, shape (n, m).
        neighbours: k; of n rows at most n - 1.

    Source: Naeem, Oh, Uh, Choi, Yoo 2020, arXiv:2002.09797.
    """
    k = min(neighbours, len(within) - 1)
    radius = np.partition(within, k, axis=1)[:, k]  # the smallest is the distance of a row to itself
    inside = between <= radius[:, None]
    return float(inside.sum(axis=0).mean() / k), float(inside.any(axis=1).mean())


def nearest_neighbour_accuracy(within_x: Array, within_y: Array, between: Array) -> float:
    """How often the nearest other row tells of which sample a row is: .5 for equal distributions and sizes, 1 for
    samples apart, below .5 if rows of one sample come again in the other. A tie counts half.

    Args:
        within_x, within_y, between: distances of rows, shapes (n, n), (n, n), (n, n).

    Source: Lopez-Paz and Oquab 2017 (leave-one-out accuracy of a classifier of one nearest neighbour).
    """
    right = []
    for within, other in ((within_x, between.min(axis=1)), (within_y, between.min(axis=0))):
        own = np.where(np.eye(len(within), dtype=bool), np.inf, within).min(axis=1)
        right.append(np.where(own == other, 0.5, own < other))
    return float(np.mean(right))


def frechet(x: Array, y: Array) -> float:
    """||m - m'||^2 + tr(S + S' - 2 (S S')^(1/2)) with means and covariances of two samples: the squared distance W_2 of
    two normal distributions. At least 0 but for rounding, in squared units of the columns.

    Args:
        x, y: samples, shapes (n, p) and (m, p), n and m at least 2.

    Source: Dowson and Landau 1982; Heusel et al. 2017, in the features of another network.
    """
    means = x.mean(axis=0) - y.mean(axis=0)
    halves = [(rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (x, y)]
    # S = A'A and S' = B'B: the eigenvalues of S S' are the squares of the singular values of A B'
    root = np.linalg.svd(_short(halves[0]) @ _short(halves[1]).T, compute_uv=False).sum()
    return float(means @ means + sum(np.square(half).sum() for half in halves) - 2.0 * root)


def _short(half: Array) -> Array:
    """A matrix R with R'R = A'A and not more rows than columns."""
    return half if len(half) <= half.shape[1] else np.asarray(np.linalg.qr(half, mode="r"))


def inception_score(logits: Array) -> float:
    """The exponential of E KL(p(class | x) || p(class)), of all rows at once: from 1 to the number of classes.

    Args:
        logits: of the classes, shape (n, classes).

    Source: Salimans et al. 2016.
    """
    from scipy.special import log_softmax, logsumexp

    logs = log_softmax(logits.astype(np.float64), axis=1)
    mean = logsumexp(logs, axis=0) - np.log(len(logs))
    return float(np.exp((np.exp(logs) * (logs - mean)).sum(axis=1).mean()))
