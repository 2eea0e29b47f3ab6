"""The sample of a run: n fixed rows, split and standardised, or a stream of fresh draws."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.config import ArrayData, DataConfig, Known, PopulationData, Split
from lwgan_dist.data.checks import check_rows
from lwgan_dist.data.population import sampler_of
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.data.tables import Table, read_table
from lwgan_dist.errors import DataError
from lwgan_dist.seeding import generator

Array = NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """What a run learns from. Rows are standardised.

    Attributes:
        train, holdout: shapes (n_train, p) and (n_holdout, p); float64 or, for float32 tables, float32. Empty for a
            stream.
        standardizer: how to return to the units of the data.
        columns: names of the columns.
        digest: SHA-256 of what was given, before the split: the identity of the data.
        intrinsic_dim: the truth, where it is known.
        stream: draws fresh standardised rows, for a stream.
    """

    train: Array
    holdout: Array
    standardizer: Standardizer
    columns: tuple[str, ...]
    digest: str
    intrinsic_dim: int | None = None
    stream: Callable[[np.random.Generator, int], Array] | None = None

    @property
    def rows(self) -> int | None:
        """n, training and hold-out rows together; None for a stream."""
        return None if self.stream else len(self.train) + len(self.holdout)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row."""
        return (self.ambient_dim,)

    @property
    def ambient_dim(self) -> int:
        """Number of columns p."""
        return len(self.columns)

    def draw(self, rng: np.random.Generator, count: int, split: Split = "train") -> Array:
        """Rows for one or more batches, shape (count, p).

        A stream gives fresh rows, a fixed sample those of `pick_rows`.
        """
        if self.stream is not None:
            return self.stream(rng, count)
        rows = self.train if split == "train" else self.holdout
        return np.asarray(rows[pick_rows(rng, len(rows), count)])


def pick_rows(rng: np.random.Generator, rows: int, count: int) -> NDArray[np.int64]:
    """Indices of ``count`` out of ``rows`` rows, without replacement as far as there are enough: each comes
    floor(count / rows) times, and the remainder is drawn without replacement.
    """
    whole, part = divmod(count, rows)
    picks = [rng.permutation(rows) for _ in range(whole)]
    if part:
        picks.append(rng.choice(rows, part, replace=False))
    return picks[0] if len(picks) == 1 else np.concatenate(picks)


def load_sample(config: DataConfig, array: Array | None = None) -> Sample:
    """The sample that a configuration names.

    Args:
        config: the ``data`` section.
        array: the rows of an in-memory run (``data.source: array``), shape (n, p).

    Raises:
        DataError: rows that cannot be estimated from.
        ConfigError: a manifold that cannot be.
    """
    if isinstance(config, Known):
        sampler = sampler_of(config)
        member = [config.population] if isinstance(config, PopulationData) else []  # members are independent draws
        rows = sampler.draw(generator(config.seed, "sample", *member), config.n)
        table = Table(rows, tuple(f"x{i + 1}" for i in range(sampler.ambient_dim)))
        if config.rows == "stream":
            standardizer = Standardizer.fit(rows, config.standardize)
            empty = np.empty((0, sampler.ambient_dim))

            def stream(rng: np.random.Generator, count: int) -> Array:
                return standardizer.apply(sampler.draw(rng, count))

            return Sample(empty, empty, standardizer, table.columns, _digest(rows), sampler.intrinsic_dim, stream)
        return _split(table, config, sampler.intrinsic_dim)
    if isinstance(config, ArrayData):
        if array is None:
            raise ValueError("a run on an array needs the array")
        rows = np.asarray(array, dtype=np.float32 if array.dtype == np.float32 else np.float64)
        table = Table(rows, tuple(f"x{i + 1}" for i in range(rows.shape[-1])))
        check_rows(table.rows, table.columns, "X")
        return _split(table, config, None)
    table = read_table(config.path, columns=config.columns, array=config.array)
    if config.n is not None:
        if config.n > len(table.rows):
            raise DataError(f"{config.path}: data.n = {config.n} rows were asked for, but there are {len(table.rows)}")
        chosen = generator(config.seed, "subsample").choice(len(table.rows), config.n, replace=False)
        table = Table(table.rows[np.sort(chosen)], table.columns)
        check_rows(table.rows, table.columns, f"{config.path}, {config.n} rows of it")
    return _split(table, config, None)


def _split(table: Table, config: DataConfig, intrinsic_dim: int | None) -> Sample:
    n = len(table.rows)
    held = min(round(config.holdout_fraction * n), n - 2)
    order = generator(config.seed, "split").permutation(n)
    train, holdout = table.rows[np.sort(order[held:])], table.rows[np.sort(order[:held])]
    standardizer = Standardizer.fit(train, config.standardize)
    return Sample(
        standardizer.apply(train), standardizer.apply(holdout),
        standardizer, table.columns, _digest(table.rows), intrinsic_dim,
    )  # fmt: skip


def _digest(rows: Array) -> str:
    rows = np.ascontiguousarray(rows)
    digest = hashlib.sha256(f"{rows.shape}{rows.dtype}".encode())
    digest.update(rows.data)
    return digest.hexdigest()
