"""Images whose dimension is known: 28 x 28 pixels, decoded from one to ten latent numbers by a map that never changes.

A blob for each latent number, in a cell of its own, moves along a line as the number does. Each pixel is a smooth
function of all of them, and so curved that principal components need about three times as many.
"""

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.seeding import generator

Array = NDArray[np.float64]

SIDE, MOST_DIMENSIONS = 28, 10

_BLOBS = {
    1: (1,), 2: (2,), 3: (2, 1), 4: (2, 2), 5: (3, 2), 6: (3, 3), 7: (2, 3, 2), 8: (3, 2, 3), 9: (3, 3, 3),
    10: (3, 4, 3),
}  # fmt: skip
"""How many stand in each line of the picture, by the dimension."""

_WIDTH, _WAY = 0.16, 0.2
"""Standard deviation of a blob, and of its way times the root of 3, as shares of the shorter side of its cell."""


def decoded_images(rng: np.random.Generator, n: int, dim: int) -> Array:
    """`decode` of draws from the uniform distribution on the unit ball of d dimensions, d in 1..10."""
    u = rng.standard_normal((n, dim))
    u *= rng.uniform(0.0, 1.0, (n, 1)) ** (1.0 / dim) / np.linalg.norm(u, axis=1, keepdims=True)
    return decode(u)


def decode(u: Array) -> Array:
    """1 - prod_k (1 - 0.95 exp(-|S_k (p - c_k - u_k w_k)|^2 / 2)) in the pixels p, shape (n, 28, 28), in [0, 1].

    c_k is the centre of the k-th cell, w_k its way, S_k shapes the blob; directions and shapes are random and depend on
    d alone. While the blobs stay in their cells they can be told apart, so the map is injective. Its Jacobian has rank
    d, with singular values of 2.5 to 7 and a ratio of at most 2 (counted by
    `tests/data/simulated/test_decoded_images.py`).

    Args:
        u: shape (n, d), in the unit ball.
    """
    dim = u.shape[1]
    lines = _BLOBS[dim]
    cells = [(SIDE / len(lines), SIDE / count, i, j) for i, count in enumerate(lines) for j in range(count)]
    rng = generator(0, "decoded images", dim)
    i, j = np.mgrid[:SIDE, :SIDE]
    dark = np.ones((len(u), SIDE, SIDE))
    for (height, width, line, column), moved in zip(cells, u.T, strict=True):
        course, tilt = rng.uniform(0.0, 2.0 * np.pi, 2)
        length = rng.uniform(0.7, 1.3)
        size = min(height, width)
        way = moved[:, None, None] * _WAY * size * np.sqrt((dim + 2.0) / 3.0)  # a number has the variance 1 / (d + 2)
        down = i - height * (line + 0.5) + 0.5 - way * np.cos(course)
        right = j - width * (column + 0.5) + 0.5 - way * np.sin(course)
        along = (np.cos(tilt) * down + np.sin(tilt) * right) / (_WIDTH * size * length)
        across = (np.cos(tilt) * right - np.sin(tilt) * down) / (_WIDTH * size / length)
        dark *= 1.0 - 0.95 * np.exp(-(np.square(along) + np.square(across)) / 2.0)
    return np.asarray(1.0 - dark)
