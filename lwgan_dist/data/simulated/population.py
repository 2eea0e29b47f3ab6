"""A population of random manifolds of known dimension: every property of a member is drawn from one integer.

A member is a product of factors (intervals, arcs, S-shaped curves, spirals, helices, discs, balls and Gauss factors;
circles, knots, spheres, tori, Klein bottles and Moebius strips), sampled unevenly or evenly, embedded linearly, turned
or bent at random into p columns, with Gaussian noise on every column. Estimators that are tuned on some members can be
judged on others: members below `DEVELOPMENT_END` are for looking at and tuning, those from `REPORT_START` on for
published tables, each of which reserves members of its own (`report_members`).

Angles are in radians; the scale of a member is that of `lwgan_dist.data.standardize`, sqrt(tr(S^2) / tr(S)) for the
covariance S of its rows without noise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lwgan_dist.config import ManifoldData, PopulationData
from lwgan_dist.data.simulated.benchmark import DIMENSIONS
from lwgan_dist.data.simulated.manifolds import ManifoldSampler, klein_bottle, random_rotation, torus
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import ConfigError
from lwgan_dist.limits import refuse_endless, refuse_sample
from lwgan_dist.seeding import generator

Array = NDArray[np.float64]

DEVELOPMENT_END = 1_000
"""Members 0 .. 999 may be looked at and tuned on, so no published table may contain them."""

REPORT_START = 1_000_000
"""Members from here on are for published tables: a table's members are reserved in `REPORTS` before it is made."""

REPORTS = {
    "population": range(1_000_000, 1_000_400),
    "consistency": range(1_001_000, 1_001_100),
    "resolution": range(1_001_100, 1_001_200),
}
"""Members by published table. Ranges do not overlap, and none is used for anything but its table."""

MOST_DIMENSIONS, MOST_COLUMNS = 10, 200

_REFERENCE_ROWS = 4_000
"""Rows of the reference draw from which a member's scales are computed."""


@dataclass(frozen=True)
class Factor:
    """A building block: a manifold of its own dimension in its own columns.

    Attributes:
        name: what it is.
        dim: its dimension.
        columns: columns of a draw.
        draw: (generator, n) -> rows (n, columns), with a standard deviation of the order of 1 along every direction.
    """

    name: str
    dim: int
    columns: int
    draw: Callable[[np.random.Generator, int], Array]


# factors: charts, which one coordinate system covers ------------------------------------------------------------


def _uniform(rng: np.random.Generator, n: int, half_width: float) -> Array:
    return rng.uniform(-half_width, half_width, n)


def _interval(rng: np.random.Generator, n: int) -> Array:
    return _uniform(rng, n, np.sqrt(3.0))[:, None]


def _arc(rng: np.random.Generator, n: int) -> Array:
    t = _uniform(rng, n, 0.75 * np.pi)
    return 1.4 * np.column_stack([np.cos(t), np.sin(t)])


def _s_shape(rng: np.random.Generator, n: int) -> Array:
    t = _uniform(rng, n, 1.5 * np.pi)
    return 1.2 * np.column_stack([np.sin(t), np.sign(t) * (np.cos(t) - 1.0)])


def _spiral(rng: np.random.Generator, n: int) -> Array:
    t = 1.5 * np.pi * rng.uniform(1.0, 3.0, n)
    return 0.15 * np.column_stack([t * np.cos(t), t * np.sin(t)])


def _helix(rng: np.random.Generator, n: int) -> Array:
    t = rng.uniform(-1.0, 1.0, n)
    return np.column_stack([1.3 * np.cos(2.0 * np.pi * t), 1.3 * np.sin(2.0 * np.pi * t), 2.0 * t])


def _ball(dim: int) -> Callable[[np.random.Generator, int], Array]:
    def draw(rng: np.random.Generator, n: int) -> Array:
        radius = rng.uniform(0.0, 1.0, (n, 1)) ** (1.0 / dim)
        return np.asarray(np.sqrt(dim + 2.0) * radius * _directions(rng, n, dim))

    return draw


def _gauss(dim: int) -> Callable[[np.random.Generator, int], Array]:
    return lambda rng, n: rng.standard_normal((n, dim))


# factors: manifolds without a global chart ------------------------------------------------------------


def _directions(rng: np.random.Generator, n: int, columns: int) -> Array:
    x = rng.standard_normal((n, columns))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def _circle(rng: np.random.Generator, n: int) -> Array:
    return np.asarray(np.sqrt(2.0) * _directions(rng, n, 2))


def _knot(p: int, q: int) -> Callable[[np.random.Generator, int], Array]:
    def draw(rng: np.random.Generator, n: int) -> Array:
        t = rng.uniform(0.0, 2.0 * np.pi, n)
        radius = 2.0 + np.cos(q * t)
        return 0.8 * np.column_stack([radius * np.cos(p * t), radius * np.sin(p * t), -1.5 * np.sin(q * t)])

    return draw


def _sphere(dim: int) -> Callable[[np.random.Generator, int], Array]:
    return lambda rng, n: np.sqrt(dim + 1.0) * _directions(rng, n, dim + 1)


def _flat_torus(rng: np.random.Generator, n: int) -> Array:
    return np.hstack([_circle(rng, n), _circle(rng, n)])


def _moebius(rng: np.random.Generator, n: int) -> Array:
    a, w = rng.uniform(0.0, 2.0 * np.pi, n), rng.uniform(-1.0, 1.0, n)
    radius = 2.0 + w * np.cos(0.5 * a)
    return np.column_stack([radius * np.cos(a), radius * np.sin(a), w * np.sin(0.5 * a)])


CHARTS = (
    *(Factor(name, 1, columns, draw) for name, columns, draw in (
        ("interval", 1, _interval), ("arc", 2, _arc), ("S", 2, _s_shape), ("spiral", 2, _spiral), ("helix", 3, _helix)
    )),
    *(Factor("disc" if dim == 2 else f"ball of {dim}", dim, dim, _ball(dim)) for dim in (2, 3)),
    *(Factor(f"Gauss of {dim}", dim, dim, _gauss(dim)) for dim in (1, 2, 3, 4)),
)  # fmt: skip
CLOSED = (
    Factor("circle", 1, 2, _circle),
    Factor("trefoil", 1, 3, _knot(2, 3)),
    Factor("knot (2, 5)", 1, 3, _knot(2, 5)),
    Factor("torus", 2, 3, lambda rng, n: torus(rng, n, 2)),
    Factor("flat torus", 2, 4, _flat_torus),
    Factor("Klein bottle", 2, 4, lambda rng, n: klein_bottle(rng, n, 2)),
    Factor("Moebius strip", 2, 3, _moebius),
    *(Factor(f"sphere of {dim}", dim, dim + 1, _sphere(dim)) for dim in (2, 3, 4)),
)
"""Factors without a global chart. The Moebius strip has a boundary, but no chart covers it either."""


# members ------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """A manifold of the population; the same for the same configuration, whatever the seed of the sample.

    Attributes:
        factors: of the product.
        aspect: factor of the scale of each of them, in 0.6 .. 1.
        ambient_dim: columns p of a draw.
        bending: "linear", "turned" or "bent".
        density: "even" or "uneven".
        frequencies, phases, bend: of the bending; see `embed`.
        rotation: p x p, orthogonal; None for "linear".
        tilt: direction in the natural columns along which the density changes, fourfold at most; None if it is even.
    """

    factors: tuple[Factor, ...]
    aspect: tuple[float, ...]
    ambient_dim: int
    bending: str
    density: str
    frequencies: Array
    phases: Array
    bend: Array
    rotation: Array | None
    tilt: Array | None

    @property
    def intrinsic_dim(self) -> int:
        """The truth."""
        return sum(factor.dim for factor in self.factors)

    @property
    def closed(self) -> bool:
        """Whether a factor has no global chart."""
        return any(factor in CLOSED for factor in self.factors)

    @property
    def description(self) -> str:
        """In words."""
        product = " x ".join(factor.name for factor in self.factors)
        return f"{product}, {self.bending}, {self.density} density, {self.ambient_dim} columns"

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """N independent rows without noise, shape (n, p)."""
        return self.embed(self._natural(rng, n))

    def _natural(self, rng: np.random.Generator, n: int) -> Array:
        """N rows in the columns of the factors, thinned where the density is uneven."""

        def draw(count: int) -> Array:
            parts = [a * f.draw(rng, count) for f, a in zip(self.factors, self.aspect, strict=True)]
            return np.hstack(parts)

        if self.tilt is None:
            return draw(n)
        kept = np.empty((0, len(self.tilt)))
        while len(kept) < n:
            x = draw(2 * n)
            accepted = rng.uniform(0.0, 1.0, len(x)) < 0.25 + 0.75 / (1.0 + np.exp(-2.0 * x @ self.tilt))
            kept = np.vstack([kept, x[accepted]])
        return kept[:n]

    def embed(self, x: Array) -> Array:
        """Natural columns x, shape (n, m), into p columns.

        linear: zeros are appended. turned: and the whole is rotated. bent: before the rotation, the columns beyond the
        m-th are random functions of x, sum_k b_k cos(w_k . x + c_k), so that the image is a graph and does not cross
        itself; where p = m, these functions are added to the columns themselves, with Lipschitz constant 1/2, so that
        the map can be inverted.
        """
        n, m = x.shape
        if self.bending == "bent":
            waves = np.cos(x @ self.frequencies + self.phases) @ self.bend
            x = np.hstack([x, waves]) if self.ambient_dim > m else x + waves
        x = np.hstack([x, np.zeros((n, self.ambient_dim - x.shape[1]))])
        return x if self.rotation is None else x @ self.rotation


def member(config: PopulationData) -> Member:
    """The manifold that a configuration names: what it leaves open is drawn from ``config.population``.

    Raises:
        ConfigError: no product of factors has the dimension in so few columns.
    """

    def rng(purpose: str) -> np.random.Generator:
        return generator(config.population, "population", purpose)

    dim = config.dim or int(rng("dim").integers(1, MOST_DIMENSIONS + 1))
    closed = (config.topology or str(rng("topology").choice(["chart", "closed"]))) == "closed"
    columns = config.ambient_dim or _columns(dim, rng("columns"))
    if columns <= dim:
        raise ConfigError(
            f"data.ambient_dim: a member of dimension {dim} needs at least {dim + 1} columns (got {columns})"
        )
    factors = _factors(dim, columns, closed, rng("factors"))
    natural = sum(factor.columns for factor in factors)
    bending = config.bending or str(rng("bending").choice(["linear", "turned", "bent"]))
    density = config.density or str(rng("density").choice(["even", "uneven"]))
    frequencies, phases, bend = _waves(natural, columns, rng("bend"))
    direction = rng("tilt").standard_normal(natural)
    return Member(
        factors=factors,
        aspect=tuple(rng("aspect").uniform(0.6, 1.0, len(factors)).tolist()),
        ambient_dim=columns,
        bending=bending,
        density=density,
        frequencies=frequencies,
        phases=phases,
        bend=bend,
        rotation=None if bending == "linear" else random_rotation(columns, rng("rotation")),
        tilt=direction / np.linalg.norm(direction) if density == "uneven" else None,
    )


def _columns(dim: int, rng: np.random.Generator) -> int:
    """From d + 1 to 200, every order of magnitude alike."""
    return int(np.floor(np.exp(rng.uniform(np.log(dim + 1.0), np.log(MOST_COLUMNS + 1.0)))))


def _factors(dim: int, columns: int, closed: bool, rng: np.random.Generator) -> tuple[Factor, ...]:
    """A random product of the dimension that fits into the columns; closed: its first factor is, others may be."""
    spare = columns - dim  # a factor of k dimensions in k + c columns uses c of them
    chosen: list[Factor] = []
    while (rest := dim - sum(factor.dim for factor in chosen)) > 0:
        first = closed and not chosen
        pool = CLOSED if first or (closed and rng.uniform() < 1.0 / 3.0) else CHARTS
        fitting = [f for f in pool if f.dim <= rest and f.columns - f.dim <= spare]
        if not fitting:
            fitting = [f for f in CHARTS if f.dim <= rest and f.columns - f.dim <= spare]
        dims = sorted({f.dim for f in fitting})
        wanted = int(rng.choice(dims))
        factor = [f for f in fitting if f.dim == wanted][int(rng.integers(sum(f.dim == wanted for f in fitting)))]
        spare -= factor.columns - factor.dim
        chosen.append(factor)
    return tuple(chosen)


def _waves(natural: int, columns: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Frequencies, phases and coefficients of the bending.

    Twenty cosines with wave numbers of length 0.5 to 1.5 for natural columns of unit scale; the coefficients of a new
    column have the size that gives all new columns together the variance of the natural ones.
    """
    count, new = 20, columns - natural
    directions = rng.standard_normal((natural, count))
    directions /= np.linalg.norm(directions, axis=0)
    frequencies = directions * rng.uniform(0.5, 1.5, count)
    phases = rng.uniform(0.0, 2.0 * np.pi, count)
    if new > 0:
        bend = rng.standard_normal((count, new)) * np.sqrt(2.0 * natural / new / count)
    else:
        bend = rng.standard_normal((count, natural))
        bend *= 0.5 / np.linalg.norm(frequencies, ord=2) / np.linalg.norm(bend, ord=2)
    return frequencies, phases, bend


class PopulationSampler:
    """Draws rows of a configured member, with noise.

    Attributes:
        member: the manifold.
        intrinsic_dim: the truth.
        ambient_dim: columns of a draw.
        noise: standard deviation of the noise on every column, in the units of the columns.

    Raises:
        ConfigError: see `member`.
    """

    def __init__(self, config: PopulationData) -> None:
        self.member = member(config)
        self.intrinsic_dim = self.member.intrinsic_dim
        self.ambient_dim = self.member.ambient_dim
        refuse_endless(config.n, self.ambient_dim)
        self.noise = 0.0
        if config.noise:
            rng = generator(config.population, "population", "reference")
            self.noise = config.noise * self._unit(config, rng)

    def _unit(self, config: PopulationData, rng: np.random.Generator) -> float:
        if config.noise_unit == "scale":
            return float(Standardizer.fit(self.member.draw(rng, _REFERENCE_ROWS), "global").scale[0])
        refuse_sample(config.n, self.ambient_dim)
        rows = self.member.draw(rng, config.n)
        distances, _ = cKDTree(rows).query(rows, k=min(11, len(rows)))
        return float(np.median(distances[:, -1]) / np.sqrt(2.0 * self.ambient_dim))

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """N independent rows, shape (n, ambient_dim)."""
        x = self.member.draw(rng, n)
        return x + rng.normal(0.0, self.noise, x.shape) if self.noise else x


def sampler_of(config: ManifoldData | PopulationData) -> ManifoldSampler | PopulationSampler:
    """The sampler of data of known dimension.

    Raises:
        ConfigError: data that cannot be.
    """
    return PopulationSampler(config) if isinstance(config, PopulationData) else ManifoldSampler(config)


def row_shape(config: ManifoldData | PopulationData) -> tuple[int, ...]:
    """The shape of a row, as a draw has it; no draw is needed of what has columns only.

    Raises:
        ConfigError: data that cannot be.
    """
    sampler = sampler_of(config)
    if isinstance(config, PopulationData) or config.name in DIMENSIONS:
        return (sampler.ambient_dim,)
    return sampler.draw(np.random.default_rng(0), 2).shape[1:]


def report_members(table: str, count: int) -> list[int]:
    """The first ``count`` members reserved for a published table.

    Raises:
        ValueError: a table that has reserved none, or fewer than that.
    """
    reserved = REPORTS.get(table)
    if reserved is None or count > len(reserved):
        raise ValueError(f"table {table!r} has not reserved {count} members: {REPORTS}")
    return list(reserved[:count])
