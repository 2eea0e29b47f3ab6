"""The cases of `bench_estimates.py`: which data, which settings, how many seeds. Data only; nothing is run here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.config import ManifoldData
from lwgan_dist.data.simulated.manifolds import ManifoldSampler
from lwgan_dist.seeding import generator

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """A manifold of known dimension.

    Attributes:
        name: in the tables.
        truth: intrinsic dimension.
        max_dimension: largest rank considered.
        draw: (seed, n) -> rows without noise, shape (n, p).
        paper: name of its configuration by the authors' schedule, where there is one.
    """

    name: str
    truth: int
    max_dimension: int
    draw: Callable[[int, int], Array]
    paper: str | None = None


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        suite, variant: where it belongs in the tables.
        data: what is estimated.
        n, seed: rows; seed of sample and training.
        noise: standard deviation of Gaussian noise on every coordinate, in the units of `Data.draw` unless relative.
        relative_noise: noise in units of the largest standard deviation of a column.
        settings: overrides of the configuration.
        change: applied to the rows.
    """

    suite: str
    data: Data
    n: int = 2000
    seed: int = 0
    noise: float = 0.0
    relative_noise: bool = False
    variant: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Array], Array] | None = None

    @property
    def key(self) -> str:
        """Identity."""
        return f"{self.suite}/{self.data.name}/{self.variant or '-'}/n{self.n}/noise{self.noise:g}/seed{self.seed}"

    def rows(self, seed: int | None = None, n: int | None = None) -> Array:
        """The sample, or another one of the same distribution."""
        seed = self.seed if seed is None else seed
        x = self.data.draw(seed, self.n if n is None else n)
        if self.noise:
            unit = x.std(axis=0).max() if self.relative_noise else 1.0
            x = x + generator(seed, "noise").normal(0.0, self.noise * unit, x.shape)
        return self.change(x) if self.change else x


def builtin(name: str, dim: int | None = None) -> Callable[[int, int], Array]:
    """A manifold of the package."""

    def draw(seed: int, n: int) -> Array:
        return ManifoldSampler(ManifoldData(name=name, dim=dim)).draw(generator(seed, "sample"), n)  # type: ignore[arg-type]

    return draw


def benchmark(name: str, dim: int, columns: int) -> Callable[[int, int], Array]:
    """A manifold of scikit-dimension's BenchmarkManifolds (Campadelli et al. 2015); one new random state a draw."""

    def draw(seed: int, n: int) -> Array:
        from skdim.datasets import BenchmarkManifolds

        made = BenchmarkManifolds(random_state=seed, noise_type="normal").generate(name=name, n=n, d=dim, dim=columns)
        return np.asarray(made, dtype=float)

    return draw


TOYS = [
    Data("swissroll_curve", 1, 5, builtin("swissroll_curve"), "paper_swissroll"),
    Data("s_curve", 2, 5, builtin("s_curve"), "paper_s_curve"),
    Data("hyperplane", 4, 7, builtin("hyperplane"), "paper_hyperplane"),
]
OTHERS = [
    Data("circle", 1, 4, builtin("flat_torus", 1)),
    Data("sphere", 2, 5, builtin("sphere", 2)),
    Data("torus", 2, 5, builtin("torus")),
    Data("moebius", 2, 5, builtin("moebius")),
    Data("M3", 4, 7, benchmark("M3_Nonlinear_4to6", 4, 6)),
    Data("M4", 4, 8, benchmark("M4_Nonlinear", 4, 8)),
    Data("M5b", 2, 5, benchmark("M5b_Helix2d", 2, 3)),
    Data("M13b", 1, 5, benchmark("M13b_Spiral", 1, 13)),
    Data("Mp1", 3, 7, benchmark("Mp1_Paraboloid", 3, 12)),
]


def _rotated(x: Array) -> Array:
    q, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((x.shape[1], x.shape[1])))
    return np.asarray(x @ q)


CHANGES: dict[str, tuple[dict[str, Any], Callable[[Array], Array] | None]] = {
    "as it is": ({}, None),
    "x 0.01": ({}, lambda x: 0.01 * x),
    "x 100": ({}, lambda x: 100.0 * x),
    "rotated": ({}, _rotated),
    "max_dimension 10": ({"networks.latent_dim": 10}, None),
    "width 32": ({"networks.width": 32}, None),
    "padded to 50 columns": ({}, lambda x: np.pad(x, ((0, 0), (0, 50 - x.shape[1])))),
    "float32": ({"precision": "float32"}, None),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "no embedding": {"schedule.embedding_iterations": 0},
    "no embedding, 4,500 updates": {"schedule.embedding_iterations": 0, "schedule.matching_iterations": 4500},
    "rank share 1": {"schedule.rank_share_exponent": 1.0},
    "rank share 0": {"schedule.rank_share_exponent": 0.0},
    "half of the updates": {"schedule.embedding_iterations": 750, "schedule.matching_iterations": 1500},
    "critic 1,000, interval 10": {"schedule.critic_iterations": 1000, "schedule.scoring_interval": 10},
    "joint, 150 iterations": {"schedule.joint_iterations": 150},
}
SCALES = {
    "rows": (1_000, 10_000, 100_000, 1_000_000),
    "columns": (3, 12, 50, 200, 784),
    "max_dimension": (5, 10, 20, 40, 64),
}


def toys() -> Iterator[Case]:
    """The three toys, without and with noise, three sizes; seeds in the outer loop, so that a part is a fair part."""
    for seed in range(10):
        for n in (2000, 1000, 5000) if seed < 5 else (2000,):
            for data in TOYS:
                for noise in (0.0,) if data.name == "hyperplane" else (0.0, 0.02, 0.05):
                    yield Case("toys", data, n, seed, noise)


def others() -> Iterator[Case]:
    """Closed and other manifolds, without noise and with 5 % of the largest standard deviation of a column."""
    for seed in range(3):
        for data in OTHERS:
            for noise in (0.0, 0.05):
                yield Case("others", data, 2000, seed, noise, relative_noise=True)


def robustness() -> Iterator[Case]:
    """The same data told differently."""
    for seed in range(3):
        for data in TOYS:
            for variant, (settings, change) in CHANGES.items():
                yield Case("robustness", data, 2000, seed, variant=variant, settings=settings, change=change)


def variants() -> Iterator[Case]:
    """The schedule with one thing changed."""
    for seed in range(2):
        for data in TOYS:
            for variant, settings in VARIANTS.items():
                yield Case("variants", data, 2000, seed, variant=variant, settings=settings)


def stream() -> Iterator[Case]:
    """The toys with fresh rows at every step, as the authors' schedule has them, and with more weight on the MMD."""
    for seed in range(3):
        for weight in (1.0, 5.0):
            for data in TOYS:
                settings = {"data.source": "manifold", "data.name": data.name, "data.rows": "stream", "data.seed": seed}
                variant = "" if weight == 1.0 else f"w_mmd = {weight:g}"
                settings |= {"objective.mmd_weight": weight} if variant else {}
                yield Case("stream", data, 2000, seed, variant=variant, settings=settings)


def scaling() -> Iterator[Case]:
    """CPU time against rows, columns, ranks: the S-curve, turned into as many columns."""

    def turned(columns: int) -> Callable[[int, int], Array]:
        def draw(seed: int, n: int) -> Array:
            config = ManifoldData(name="s_curve", ambient_dim=columns, rotate=True)
            return ManifoldSampler(config).draw(generator(seed, "sample"), n)

        return draw

    for axis, values in SCALES.items():
        for value in values:
            columns, rank = (value if axis == "columns" else 3), (value if axis == "max_dimension" else 5)
            data = Data(f"s_curve in {columns} columns, {rank} ranks", 2, rank, turned(columns))
            yield Case("scaling", data, value if axis == "rows" else 2000, variant=axis)


SUITES: dict[str, Callable[[], Iterator[Case]]] = {
    "toys": toys,
    "others": others,
    "robustness": robustness,
    "variants": variants,
    "stream": stream,
    "scaling": scaling,
}
