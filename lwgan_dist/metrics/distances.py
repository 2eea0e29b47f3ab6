"""Distances between two samples: how far generated rows are from rows of the data. NumPy and SciPy only.

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
