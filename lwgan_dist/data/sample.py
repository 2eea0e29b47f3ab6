"""The sample of a run: n fixed rows, split and standardised, or a stream of fresh draws."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.config import ArrayData, DataConfig, Known, ManifoldData, PopulationData, Split, TableData
from lwgan_dist.data.blocks import Array, Rows, chosen, digest
from lwgan_dist.data.checks import check_rows
from lwgan_dist.data.files.loading import Reading, numbered_columns
from lwgan_dist.data.files.tables import Table, read_configured
from lwgan_dist.data.findings.finding import Finding
from lwgan_dist.data.settle import look_at, settle
from lwgan_dist.data.standardize import Picked, Standardizer
from lwgan_dist.errors import DataError
from lwgan_dist.limits import refuse_sample
from lwgan_dist.seeding import generator


@dataclass(frozen=True)
class Sample:
    """The sample that a run learns from. Rows are kept as they were given, and standardised where they are read.

    Attributes:
        train, holdout: shapes (n_train, *shape) and (n_holdout, *shape). What is read from them is standardised:
            float32 of data in floats of at most 32 bits, otherwise float64. Empty for a stream.
        standardizer: how to return to the units of the data.
        columns: names of the numbers of a row, in the order in which they are stored.
        digest: SHA-256 of what was given, before the split: the identity of the data.
        config: the section of the configuration, with what the rows have decided written out.
        intrinsic_dim: the truth, where it is known.
        stream: draws fresh standardised rows, for a stream.
        table: the rows as they were given, of a table or an array; None of generated ones.
        decided: findings of what the rows have decided against the usual.
    """

    train: Rows
    holdout: Rows
    standardizer: Standardizer
    columns: tuple[str, ...]
    digest: str
    config: DataConfig
    intrinsic_dim: int | None = None
    stream: Callable[[np.random.Generator, int], Array] | None = None
    table: Table | None = None
    decided: tuple[Finding, ...] = ()

    @property
    def rows(self) -> int | None:
        """n, training and hold-out rows together; None for a stream."""
        return None if self.stream else len(self.train) + len(self.holdout)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row: (p,) in a table."""
        return self.standardizer.shift.shape

    @property
    def ambient_dim(self) -> int:
        """p, how many numbers a row has: the columns of a table, the pixels of an image."""
        return math.prod(self.shape)

    @cached_property
    def findings(self) -> list[Finding]:
        """What a person should know of the rows, warnings first; nothing of generated ones."""
        if self.table is None:
            return []
        found = [*self.decided, *look_at(self.table, self.config.standardize)]
        return sorted(found, key=lambda finding: finding.level != "warning")

    @property
    def reading(self) -> Reading | None:
        """How a table was read from its file; None of other data."""
        return self.table.reading if self.table is not None and isinstance(self.config, TableData) else None

    def draw(
        self,
        rng: np.random.Generator,
        count: int,
        split: Split = "train",
        part: slice | NDArray[np.int64] = slice(None),
    ) -> Array:
        """Standardised rows for one or more batches, shape (count, *shape).

        A stream gives fresh rows, a fixed sample those of `pick_rows`.

        Args:
            rng: from which the same numbers are taken whatever the part.
            count: of all rows.
            split: of a fixed sample.
            part: which of them are wanted; others of a fixed sample are not read.
        """
        if self.stream is not None:
            return self.stream(rng, count)[part]
        rows = self.train if split == "train" else self.holdout
        return np.asarray(rows[pick_rows(rng, len(rows), count)[part]])


def pick_rows(rng: np.random.Generator, rows: int, count: int) -> NDArray[np.int64]:
    """Indices of ``count`` out of ``rows`` rows, without replacement as far as there are enough: each comes
    floor(count / rows) times, and the remainder is drawn without replacement.
    """
    whole, part = divmod(count, rows)
    picks = [rng.permutation(rows) for _ in range(whole)]
    if part:
        picks.append(rng.choice(rows, part, replace=False))
    return picks[0] if len(picks) == 1 else np.concatenate(picks)


def load_sample(config: DataConfig, array: Array | None = None, columns: tuple[str, ...] | None = None) -> Sample:
    """The sample that a configuration names.

    Args:
        config: the ``data`` section.
        array: the rows of an in-memory run (``data.source: array``), shape (n, *shape). It is not copied.
        columns: names of its columns; by default they are numbered.

    Raises:
        DataError: rows that cannot be estimated from.
        ConfigError: a manifold that cannot be.
    """
    if isinstance(config, Known):
        return _of_known_dimension(config)
    if isinstance(config, ArrayData):
        if array is None:
            raise ValueError("a run on an array needs the array")
        rows = np.asarray(array if _is_kept(array.dtype) else array.astype(np.float64))
        table = Table(rows, columns or numbered_columns(math.prod(rows.shape[1:])))
        check_rows(table.rows, table.columns, "X")
    else:
        table = read_configured(config)
    table, changes, decided = settle(config, table)
    config = config.model_copy(update=changes)
    if isinstance(config, TableData) and config.n is not None:
        table = _some_rows(table, config.path, config.n, config.seed)
    return _split(table, config, table=table, decided=tuple(decided))


def _some_rows(table: Table, path: str, n: int, seed: int) -> Table:
    if n > len(table.rows):
        raise DataError(f"{path}: data.n = {n} rows were asked for, but there are {len(table.rows)}")
    picks = generator(seed, "subsample").choice(len(table.rows), n, replace=False)
    table = replace(table, rows=chosen(table.rows, np.sort(picks)))
    check_rows(table.rows, table.columns, f"{path}, {n} rows of it")
    return table


def _of_known_dimension(config: ManifoldData | PopulationData) -> Sample:
    from lwgan_dist.data.simulated.population import sampler_of  # takes as long to load as a small table

    if config.standardize == "auto":
        config = config.model_copy(update={"standardize": "global"})
    sampler = sampler_of(config)
    refuse_sample(config.n, sampler.ambient_dim)
    member = [config.population] if isinstance(config, PopulationData) else []  # members are independent draws
    rows = sampler.draw(generator(config.seed, "sample", *member), config.n)
    table = Table(rows, numbered_columns(sampler.ambient_dim))
    if config.rows == "fixed":
        return _split(table, config, intrinsic_dim=sampler.intrinsic_dim)
    _check_pixels(rows, config)
    standardizer = Standardizer.fit(rows, config.standardize)

    def stream(rng: np.random.Generator, count: int) -> Array:
        return standardizer.apply(sampler.draw(rng, count))

    empty = rows[:0].copy()
    return Sample(empty, empty, standardizer, table.columns, digest(rows), config, sampler.intrinsic_dim, stream)


def _is_kept(dtype: np.dtype[np.generic]) -> bool:
    """Whether an array in memory stays of its type; any other becomes float64, also float16."""
    return dtype.kind in "biuc" or dtype in (np.float32, np.float64)


def _check_pixels(rows: Array, config: DataConfig) -> None:
    """Numbers of other types have another range; of an array in memory, which may be generated, the caller knows it."""
    if config.standardize == "pixels" and rows.dtype != np.uint8 and not isinstance(config, ArrayData):
        raise DataError(f"data.standardize: 'pixels' is of whole numbers 0 to 255 (uint8), these are {rows.dtype}")


def _split(sampled: Table, config: DataConfig, **about: Any) -> Sample:
    rows, n = sampled.rows, len(sampled.rows)
    _check_pixels(rows, config)
    first = min(round(config.holdout_fraction * n), n - 2)  # of the training rows, in a random order
    order = generator(config.seed, "split").permutation(n)
    train, holdout = np.sort(order[first:]), np.sort(order[:first])
    standardizer = Standardizer.fit(Picked(rows, train), config.standardize)
    return Sample(
        Picked(rows, train, standardizer), Picked(rows, holdout, standardizer),
        standardizer, sampled.columns, digest(rows), config, **about,
    )  # fmt: skip
