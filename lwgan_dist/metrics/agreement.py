"""Do the Frechet distances in different spaces put models into the same order?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lwgan_dist.metrics.registry import METRICS

SPACES = ("fd_cnn", "fd_random", "fd_pca")
"""The Frechet distances, by the space that they are taken in."""


@dataclass(frozen=True)
class Agreement:
    """How far two metrics agree on the order of models.

    Attributes:
        first, second: names of the metrics.
        models: number of models that have both.
        tau: Kendall's tau-b of the two orders, from -1, opposite, to 1, equal; None if one of them has no order.
        disagreements: pairs of models (a, b) of which the first metric finds a better and the second b.
    """

    first: str
    second: str
    models: int
    tau: float | None
    disagreements: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """In a sentence."""
        head = f"{self.first} and {self.second} on {self.models} models: Kendall's tau "
        head += "undefined" if self.tau is None else f"{self.tau:.2f}"
        if not self.disagreements:
            return f"{head}, no disagreement"
        pairs = "; ".join(f"{better} over {worse}" for better, worse in self.disagreements)
        return f"{head}; by {self.first}, but not by {self.second}: {pairs}"


def ranking_agreement(
    table: Mapping[str, Mapping[str, float | None]], metrics: Sequence[str] = SPACES
) -> list[Agreement]:
    """Agreement of every two metrics on the order of models, the better first.

    Args:
        table: value by model and name of a metric; of two metrics those models count that have a value of both.
        metrics: names; those that fewer than two models have are left out.

    Source: Kendall 1945.
    """
    badness = {name: _badness(table, name) for name in metrics}
    names = [name for name in metrics if len(badness[name]) > 1]
    return [_agreement(a, badness[a], b, badness[b]) for a, b in combinations(names, 2)]


def _badness(table: Mapping[str, Mapping[str, float | None]], name: str) -> dict[str, float]:
    given = {model: value for model, row in table.items() if (value := row.get(name)) is not None}
    return {model: METRICS[name].badness(value) for model, value in given.items() if np.isfinite(value)}


def _agreement(first: str, x: Mapping[str, float], second: str, y: Mapping[str, float]) -> Agreement:
    from scipy.stats import kendalltau

    models = [model for model in x if model in y]
    tau = kendalltau([x[m] for m in models], [y[m] for m in models]).statistic if len(models) > 1 else np.nan
    pairs = [(a, b) if x[a] < x[b] else (b, a) for a, b in combinations(models, 2) if (x[a] - x[b]) * (y[a] - y[b]) < 0]
    return Agreement(first, second, len(models), float(tau) if np.isfinite(tau) else None, tuple(pairs))
