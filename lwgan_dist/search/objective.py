"""What a search minimises: a weighted sum of measures of a finished run, none of which depends on the weights of the
LWGAN's own objective.

- the default ones of `lwgan_dist.metrics.registry`: on held-out rows, at the estimated rank, in the units of the
  standardisation of the default configuration; as `badness`, of one that is better the larger it is the negative
- ``miss``: 1 if the estimated dimension is not the true one, else 0; its mean over the seeds is 1 - hit rate
- ``dimension_error``: |estimate - truth|
- ``cpu_seconds``: processor time of training and scoring (no two runs take the same)

On its way a run of an LWGAN has no estimate; its interim objective is the least over the ranks.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lwgan_dist.config import Standardization
from lwgan_dist.data.sample import Sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.heldout import held_out_metrics
from lwgan_dist.metrics.registry import METRICS, default_metrics
from lwgan_dist.models.configs import LwganModel
from lwgan_dist.seeding import derive

INTERIM_ROWS = 512
"""Generated and held-out rows of an interim objective, which is computed at every rank."""

WORST = 1e30
"""In place of what is not finite: schedulers compare quantiles, and JSON has no infinity."""

Weights = Mapping[Any, float]


def seeds(seed: int, purpose: str, index: int) -> tuple[int, int]:
    """Seeds of sample and run number ``index``, of every trial (purpose "trial") or of the comparison ("confirm")."""
    return derive(seed, f"search/{purpose}/sample", index) % 2**31, derive(seed, f"search/{purpose}/run", index) % 2**31


def unit_of(model: FittedModel, sample: Sample, standardize: Standardization) -> Standardizer:
    """The standardisation in whose units the objective is, from the training rows of a sample: the model's own, unless
    that is what is searched.
    """
    if model.config.data.standardize == standardize:
        return sample.standardizer
    assert sample.stream is None  # the configuration of a search demands it
    return Standardizer.fit(sample.standardizer.undo(sample.train), standardize)


def measures_of(
    metrics: Mapping[str, float], dimension: int | None, truth: int | None, cpu_seconds: float
) -> dict[str, float | None]:
    """All measures of a finished run.

    Args:
        metrics: at the estimated rank, or of a model without ranks; none without hold-out rows.
        dimension: the estimate; None of a model that estimates none.
        truth: the true dimension, None if unknown.
        cpu_seconds: processor time of training and scoring.
    """
    error = None if truth is None or dimension is None else float(abs(dimension - truth))
    return {
        **dict.fromkeys(default_metrics()),
        **metrics,
        "miss": None if error is None else float(error > 0),
        "dimension_error": error,
        "cpu_seconds": cpu_seconds,
    }


def interim_objective(model: FittedModel, sample: Sample, standardize: Standardization, weights: Weights) -> float:
    """The objective of a run on its way, of an LWGAN the least over the ranks; infinite if the networks give no
    numbers.
    """
    unit = unit_of(model, sample, standardize)
    least = math.inf
    ranks = range(1, model.latent_dim + 1) if isinstance(model.config.model, LwganModel) else [model.dimension]
    for rank in ranks:
        try:
            metrics = held_out_metrics(model, sample, rank, unit, INTERIM_ROWS)
        except NonFiniteLossError:  # the end of the run decides
            continue
        assert metrics is not None  # the configuration of a search demands it
        value = weighted(metrics, weights)
        if math.isfinite(value):
            least = min(least, value)
    return least


def weighted(measures: Mapping[str, float | None], weights: Weights) -> float:
    """Sum of weight x measure; NaN if one is missing."""
    return sum(weight * _badness(name, _number(measures.get(name))) for name, weight in weights.items())


def finite(value: float) -> float:
    """The value, or `WORST`."""
    return min(value, WORST) if math.isfinite(value) else WORST


def mean_objective(runs: Sequence[Mapping[str, Any]], weights: Weights) -> float:
    """Mean over runs."""
    return sum(weighted(run, weights) for run in runs) / len(runs)


def label_of(weights: Weights) -> str:
    """``energy_distance + 0.5 reconstruction``."""
    return " + ".join(_term(name, weight) for name, weight in weights.items())


def _term(name: str, weight: float) -> str:
    metric = METRICS.get(name)
    if metric and metric.target is not None:
        name = f"|{name} - {metric.target:g}|"
    elif metric and metric.larger_is_better:
        weight = -weight
    return name if weight == 1 else f"{weight:g} {name}"


def _badness(name: str, value: float) -> float:
    return METRICS[name].badness(value) if name in METRICS else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value
