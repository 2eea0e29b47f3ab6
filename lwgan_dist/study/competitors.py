"""Classical estimators beside the answer of a run, on its own rows: do others say the same?

They cost seconds: they see at most `MOST_ROWS` rows, and one that would take long on them is left out. Whatever they
meet, the run has its answer.
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec

import numpy as np

from lwgan_dist.data.blocks import Array, flat
from lwgan_dist.data.sample import Sample
from lwgan_dist.errors import ConfigError
from lwgan_dist.results import Competitor, RunResult
from lwgan_dist.run.folder import amend_result, read_result
from lwgan_dist.run.run import Run
from lwgan_dist.seeding import generator
from lwgan_dist.storage import Folder
from lwgan_dist.study.classical import OURS, classical_estimate

COMPETITORS = ("ABIDE", "TwoNN", "MLE", "DANCo")
"""In the order in which they are shown."""

MOST_ROWS, MOST_NUMBERS = 2_000, 6_000_000
"""Rows that they are given, and numbers in them (rows times columns): 3 CPU s by ABIDE, TwoNN and MLE together."""

LONG = {"DANCo": 40_000}
"""Numbers beyond which an estimator is left out. DANCo, which simulates balls of every dimension up to the number of
columns, takes 6e-5 CPU s a number, after 3 CPU s for compiling its parts."""


def installed() -> list[str]:
    """The competitors that can be computed here: those of scikit-dimension need the extra ``classical``."""
    return [name for name in COMPETITORS if name in OURS or find_spec("skdim")]


def add_competitors(run: Run, folder: Folder, notify: Callable[[str], None] = lambda _names: None) -> RunResult:
    """The result of a finished run with what the competitors say, those that it lacks computed and written.

    Args:
        run: the finished run.
        folder: of it.
        notify: gets the names of those that are computed, before they are.
    """
    result = read_result(folder)
    missing = [name for name in installed() if name not in {one.name for one in result.competitors}]
    if not missing:
        return result
    notify(", ".join(missing))
    more = competitors_of(run.sample, run.config.seed, missing)
    return amend_result(folder, competitors=[*result.competitors, *more])


def competitors_of(sample: Sample, seed: int, names: Iterable[str] = COMPETITORS) -> list[Competitor]:
    """What classical estimators say of the rows of a run.

    They get distinct rows, training and hold-out ones, standardised as those that were fitted: most estimators are
    meaningless as soon as two rows are equal. If there are more rows than they are given, these are drawn by the seed.
    """
    rows = _rows(sample, seed)
    return [_estimate(name, rows, seed) for name in names]


def _rows(sample: Sample, seed: int) -> Array:
    """Distinct rows as the networks saw them, each as a vector, shape (at most `MOST_ROWS`, p)."""
    count = min(MOST_ROWS, max(1, MOST_NUMBERS // sample.ambient_dim))
    rng = generator(seed, "competitors")
    if sample.stream is not None:
        rows = flat(sample.draw(rng, count))
    else:
        trained = len(sample.train)
        picks = np.sort(rng.permutation(trained + len(sample.holdout))[:count])
        parts = sample.train[picks[picks < trained]], sample.holdout[picks[picks >= trained] - trained]
        rows = flat(np.concatenate(parts))
    places = np.unique(rows, axis=0, return_index=True)[1]
    return np.asarray(rows[np.sort(places)])


def _estimate(name: str, rows: Array, seed: int) -> Competitor:
    count, columns = rows.shape
    if rows.size > LONG.get(name, rows.size):
        return Competitor(name=name, rows=count, failure=f"left out: {count} rows of {columns} columns would take long")
    try:
        estimate = classical_estimate(name, rows, seed)
    except (ConfigError, MemoryError) as error:  # an installation that is broken, a machine that is full
        return Competitor(name=name, rows=count, failure=f"{type(error).__name__}: {error}")
    return Competitor(
        name=name,
        value=estimate.value if np.isfinite(estimate.value) else None,
        dimension=estimate.dimension,
        rows=count,
        cpu_seconds=round(estimate.cpu_seconds, 2),
        failure=estimate.failure,
    )
