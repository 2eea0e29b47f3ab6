"""Manifolds of known dimension. Each sampler is a pure function of a NumPy generator, so a sample is as reproducible
as its seed, and a stream of fresh draws costs no more than its rows.

Angles are in radians, lengths in the units of the formula.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.config import ManifoldData
from lwgan_dist.data.simulated.benchmark import DIMENSIONS, benchmark_rows
from lwgan_dist.data.simulated.decoded_images import MOST_DIMENSIONS, SIDE, decoded_images
from lwgan_dist.errors import ConfigError
from lwgan_dist.limits import refuse_bytes, refuse_endless
from lwgan_dist.seeding import generator

Array = NDArray[np.float64]
Sampler = Callable[[np.random.Generator, int, int], Array]


@dataclass(frozen=True)
class Manifold:
    """A family of manifolds indexed by the intrinsic dimension d, or a single one.

    Attributes:
        sample: (generator, n, d) -> array of n rows of ambient_dim(d) numbers: (n, columns), or images.
        default_dim: d if none is given.
        ambient_dim: columns as a function of d.
        fixed: d cannot be chosen.
        most: the largest d; None for no limit.
        always_rotated: the embedding is a random rotation whatever the configuration asks for.
        frequency: f > 0: the rows u of ``sample`` are mapped into every column j by cos(f w_j . u + b_j), with w_j
            standard normal and b_j uniform on (0, 2 pi), in place of padding with zeros.
    """

    sample: Sampler
    default_dim: int
    ambient_dim: Callable[[int], int]
    fixed: bool = True
    most: int | None = None
    always_rotated: bool = False
    frequency: float = 0.0


def swissroll_curve(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """0.2 (t cos t, t sin t), t = 1.5 pi U(1, 3): the spiral of arXiv:2409.18374 (1 in R^2)."""
    t = 1.5 * np.pi * rng.uniform(1.0, 3.0, n)
    return 0.2 * np.column_stack([t * np.cos(t), t * np.sin(t)])


def s_curve(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """(sin t, U(0, 2), sign(t) (cos t - 1)), t = 3 pi U(-1/2, 1/2): the S-curve of the paper (2 in R^3)."""
    t = 3.0 * np.pi * rng.uniform(-0.5, 0.5, n)
    return np.column_stack([np.sin(t), rng.uniform(0.0, 2.0, n), np.sign(t) * (np.cos(t) - 1.0)])


def hyperplane(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """x1..x4 ~ N(0, 1), x5 = x1 + x2 + x3 + x4^2: the "hyperplane" of the paper (4 in R^5)."""
    x = rng.standard_normal((n, 4))
    return np.column_stack([x, x[:, :3].sum(1) + x[:, 3] ** 2])


def sphere(rng: np.random.Generator, n: int, dim: int) -> Array:
    """Uniform on the unit sphere S^d in R^(d+1)."""
    x = rng.standard_normal((n, dim + 1))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def ball(rng: np.random.Generator, n: int, dim: int) -> Array:
    """Uniform in the unit ball of R^d."""
    return sphere(rng, n, dim - 1) * rng.uniform(0.0, 1.0, (n, 1)) ** (1.0 / dim)


def torus(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """Uniform on the surface ((2 + cos b) cos a, (2 + cos b) sin a, sin b) (2 in R^3).

    The area element is proportional to 2 + cos b; b is drawn by rejection from 0..3.
    """
    b = np.empty(0)
    while len(b) < n:
        proposal = rng.uniform(0.0, 2.0 * np.pi, 2 * n)
        b = np.append(b, proposal[rng.uniform(0.0, 3.0, 2 * n) < 2.0 + np.cos(proposal)])
    b, a = b[:n], rng.uniform(0.0, 2.0 * np.pi, n)
    return np.column_stack([(2.0 + np.cos(b)) * np.cos(a), (2.0 + np.cos(b)) * np.sin(a), np.sin(b)])


def flat_torus(rng: np.random.Generator, n: int, dim: int) -> Array:
    """(cos a_1, sin a_1, .., cos a_d, sin a_d), a uniform: the Clifford torus (d in R^(2d); d = 1 is the circle)."""
    a = rng.uniform(0.0, 2.0 * np.pi, (n, dim))
    return np.stack([np.cos(a), np.sin(a)], axis=2).reshape(n, 2 * dim)


def helix(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """(cos t, sin t, t / (2 pi)), t ~ U(0, 4 pi): two turns (1 in R^3)."""
    t = rng.uniform(0.0, 4.0 * np.pi, n)
    return np.column_stack([np.cos(t), np.sin(t), t / (2.0 * np.pi)])


def moebius(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """(r cos a, r sin a, (w/2) sin(a/2)), r = 1 + (w/2) cos(a/2), a ~ U(0, 2 pi), w ~ U(-1, 1) (2 in R^3)."""
    a, w = rng.uniform(0.0, 2.0 * np.pi, n), rng.uniform(-1.0, 1.0, n)
    radius = 1.0 + 0.5 * w * np.cos(0.5 * a)
    return np.column_stack([radius * np.cos(a), radius * np.sin(a), 0.5 * w * np.sin(0.5 * a)])


def swiss_roll(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """0.2 (t cos t, h, t sin t), t = 1.5 pi U(1, 3), h ~ U(0, 10): the swiss roll surface (2 in R^3)."""
    t = 1.5 * np.pi * rng.uniform(1.0, 3.0, n)
    return 0.2 * np.column_stack([t * np.cos(t), rng.uniform(0.0, 10.0, n), t * np.sin(t)])


def trefoil(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """(r cos 2t, r sin 2t, -sin 3t), r = 2 + cos 3t, t ~ U(0, 2 pi): a knotted closed curve (1 in R^3)."""
    t = rng.uniform(0.0, 2.0 * np.pi, n)
    radius = 2.0 + np.cos(3.0 * t)
    return np.column_stack([radius * np.cos(2.0 * t), radius * np.sin(2.0 * t), -np.sin(3.0 * t)])


def cinquefoil(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """(r cos 2t, r sin 2t, -sin 5t), r = 2 + cos 5t, t ~ U(0, 2 pi): the torus knot (2, 5) (1 in R^3)."""
    t = rng.uniform(0.0, 2.0 * np.pi, n)
    radius = 2.0 + np.cos(5.0 * t)
    return np.column_stack([radius * np.cos(2.0 * t), radius * np.sin(2.0 * t), -np.sin(5.0 * t)])


def square(rng: np.random.Generator, n: int, dim: int) -> Array:
    """U(0, 1)^d: what the random waves of `Manifold.frequency` bend."""
    return rng.uniform(0.0, 1.0, (n, dim))


def ellipse(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """(2 cos t, .7 sin t), t ~ U(0, 2 pi) (1 in R^2)."""
    t = rng.uniform(0.0, 2.0 * np.pi, n)
    return np.column_stack([2.0 * np.cos(t), 0.7 * np.sin(t)])


def ellipsoid(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """The unit sphere, stretched to the half axes 2, 1, .6 (2 in R^3)."""
    return np.asarray(sphere(rng, n, 2) * np.array([2.0, 1.0, 0.6]))


def klein_bottle(rng: np.random.Generator, n: int, _dim: int) -> Array:
    """(r cos a, r sin a, sin b cos(a/2), sin b sin(a/2)), r = 2 + cos b, a and b ~ U(0, 2 pi) (2 in R^4)."""
    a, b = rng.uniform(0.0, 2.0 * np.pi, (2, n))
    radius = 2.0 + np.cos(b)
    x = [radius * np.cos(a), radius * np.sin(a), np.sin(b) * np.cos(0.5 * a), np.sin(b) * np.sin(0.5 * a)]
    return np.column_stack(x)


def affine(rng: np.random.Generator, n: int, dim: int) -> Array:
    """N(0, I) on R^d, embedded in R^(2d) by a random rotation."""
    return rng.standard_normal((n, dim))


def nonlinear(rng: np.random.Generator, n: int, dim: int) -> Array:
    """x_{2i-1} = u_{i+1} cos(2 pi u_i), x_{2i} = u_{i+1} sin(2 pi u_i), u ~ U(0, 1)^d, u_{d+1} = u_1 (d in R^(2d)).

    Source: Hein and Audibert 2005, the nonlinear manifolds of their benchmark.
    """
    u = rng.uniform(0.0, 1.0, (n, dim))
    radius, angle = np.roll(u, -1, axis=1), 2.0 * np.pi * u
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2).reshape(n, 2 * dim)


def _benchmark(name: str) -> Manifold:
    """A manifold of scikit-dimension's benchmark."""
    dim, columns = DIMENSIONS[name]
    return Manifold(lambda rng, n, _dim: benchmark_rows(name, rng, n), dim, lambda _dim: columns)


MANIFOLDS: dict[str, Manifold] = {
    "swissroll_curve": Manifold(swissroll_curve, 1, lambda d: 2),
    "s_curve": Manifold(s_curve, 2, lambda d: 3),
    "hyperplane": Manifold(hyperplane, 4, lambda d: 5),
    "sphere": Manifold(sphere, 2, lambda d: d + 1, fixed=False),
    "ball": Manifold(ball, 3, lambda d: d, fixed=False),
    "torus": Manifold(torus, 2, lambda d: 3),
    "flat_torus": Manifold(flat_torus, 2, lambda d: 2 * d, fixed=False),
    "helix": Manifold(helix, 1, lambda d: 3),
    "moebius": Manifold(moebius, 2, lambda d: 3),
    "swiss_roll": Manifold(swiss_roll, 2, lambda d: 3),
    "trefoil": Manifold(trefoil, 1, lambda d: 3),
    "cinquefoil": Manifold(cinquefoil, 1, lambda d: 3),
    "ellipse": Manifold(ellipse, 1, lambda d: 2),
    "ellipsoid": Manifold(ellipsoid, 2, lambda d: 3),
    "klein_bottle": Manifold(klein_bottle, 2, lambda d: 4),
    "affine": Manifold(affine, 3, lambda d: 2 * d, fixed=False, always_rotated=True),
    "nonlinear": Manifold(nonlinear, 4, lambda d: 2 * d, fixed=False),
    "waves_3": Manifold(square, 2, lambda d: d + 1, fixed=False, frequency=3.0),
    "waves_6": Manifold(square, 2, lambda d: d + 1, fixed=False, frequency=6.0),
    "decoded_images": Manifold(decoded_images, 2, lambda d: SIDE * SIDE, fixed=False, most=MOST_DIMENSIONS),
    **{name: _benchmark(name) for name in DIMENSIONS},
}
"""Every manifold by the name that a configuration uses."""


class ManifoldSampler:
    """Draws rows of a configured manifold: sampled, padded with zero columns, rotated, with noise.

    Rotation and waves depend on the configuration's seed only, so every draw lies on the same manifold.

    Attributes:
        intrinsic_dim: the truth.
        ambient_dim: columns of a draw.

    Raises:
        ConfigError: a dimension that the manifold cannot have, fewer columns than it needs, or more than memory holds.
    """

    def __init__(self, config: ManifoldData) -> None:
        self._manifold = MANIFOLDS[config.name]
        self._noise = config.noise
        self.intrinsic_dim = config.dim or self._manifold.default_dim
        if self._manifold.fixed and self.intrinsic_dim != self._manifold.default_dim:
            raise ConfigError(
                f"data.dim: {config.name} has dimension {self._manifold.default_dim} (got {self.intrinsic_dim})"
            )
        if self._manifold.most is not None and self.intrinsic_dim > self._manifold.most:
            raise ConfigError(
                f"data.dim: {config.name} has at most {self._manifold.most} dimensions (got {self.intrinsic_dim})"
            )
        least = self._manifold.ambient_dim(self.intrinsic_dim)
        self.ambient_dim = config.ambient_dim or least
        if self.ambient_dim < least:
            raise ConfigError(
                f"data.ambient_dim: {config.name} needs at least {least} columns (got {self.ambient_dim})"
            )
        refuse_endless(config.n, self.ambient_dim)
        columns = f"{self.ambient_dim:,} columns"
        self._waves: tuple[Array, Array] | None = None
        if self._manifold.frequency:
            refuse_bytes("data.dim", f"waves of {columns}", 8.0 * self.intrinsic_dim * self.ambient_dim)
            rng = generator(config.seed, "waves")
            directions = self._manifold.frequency * rng.standard_normal((self.intrinsic_dim, self.ambient_dim))
            self._waves = directions, rng.uniform(0.0, 2.0 * np.pi, self.ambient_dim)
        self._rotation: Array | None = None
        if config.rotate or self._manifold.always_rotated:
            refuse_bytes("data.ambient_dim", f"the rotation of {columns}", 8.0 * self.ambient_dim**2)
            self._rotation = random_rotation(self.ambient_dim, generator(config.seed, "rotation"))

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """N independent rows, shape (n, ambient_dim), or of the shape that the manifold samples if it is not padded."""
        x = self._manifold.sample(rng, n, self.intrinsic_dim)
        shape = x.shape[1:]
        x = x.reshape(n, math.prod(shape))
        if self._waves:
            x = np.cos(x @ self._waves[0] + self._waves[1])
        x = np.pad(x, ((0, 0), (0, self.ambient_dim - x.shape[1])))
        if self._rotation is not None:
            x = x @ self._rotation
        if self._noise:
            x = x + rng.normal(0.0, self._noise, x.shape)
        return x.reshape(n, *shape) if x.shape[1] == math.prod(shape) else x


def random_rotation(dim: int, rng: np.random.Generator) -> Array:
    """An orthogonal matrix from the Haar measure (QR of a Gaussian matrix with the signs of R made positive)."""
    q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
    signed: Any = q * np.sign(np.diag(r))
    return np.asarray(signed)
