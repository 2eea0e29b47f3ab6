"""All metrics of a fitted model, on rows that it was not trained on."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lwgan_dist.data.sample import Sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.registry import METRICS, Drawn
from lwgan_dist.seeding import generator

Array = NDArray[Any]

MOST_ROWS = 2_048
"""Generated rows, and held-out rows at most: the distances take time in proportion to their product."""


def held_out_metrics(
    model: FittedModel,
    sample: Sample,
    rank: int | None = None,
    scale: Standardizer | None = None,
    rows: int = MOST_ROWS,
    names: Collection[str] = METRICS,
) -> dict[str, float] | None:
    """Metrics of `lwgan_dist.metrics.registry` at a rank, by name, in the units of a standardisation; None if no
    two rows are held out. A model without an encoder has no metrics of reconstructed rows.

    They are computed from the held-out rows (of more than ``rows`` a random part; of a stream as many fresh ones), the
    same reconstructed, and ``rows`` generated ones.

    Args:
        model: the networks.
        sample: of the run; its hold-out part is used.
        rank: by default that of the model: the estimated dimension or, without one, its latent size.
        scale: standardisation in whose units is measured; by default that of the model.
        rows: generated, and held-out ones at most.
        names: of the metrics, by default all.
    """
    seed, rank = model.config.seed, rank or model.dimension
    count = len(sample.holdout) if sample.stream is None else rows
    if count < 2:
        return None
    x = sample.draw(generator(seed, "quality/rows"), min(count, rows), "holdout")
    x = np.asarray(sample.standardizer.undo(x))
    generated = model.generate(rows, rank, seed)
    reconstructed = model.decode(model.encode(x, rank)) if model.encodes else x[:0]
    unit = scale or model.standardizer
    x, generated, reconstructed = (unit.apply(rows) for rows in (x, generated, reconstructed))
    drawn = Drawn(x, generated, reconstructed, seed)
    with threadpool_limits(1):  # the last digit of a product depends on how many threads share it
        return {
            name: metric.compute(drawn)
            for name, metric in METRICS.items()
            if name in names and (model.encodes or not metric.needs_encoder)
        }


def metrics_by_rank(
    model: FittedModel, sample: Sample, scale: Standardizer | None = None, names: Collection[str] = METRICS
) -> dict[str, list[float]]:
    """Metrics at the ranks 1..q, by name, for whichever of them a rule chooses; see `held_out_metrics`.

    Without two held-out rows, or without names, there are none.
    """
    if not names:
        return {}
    by_rank = [held_out_metrics(model, sample, rank, scale, names=names) for rank in range(1, model.latent_dim + 1)]
    return {name: [at[name] for at in by_rank if at] for name in METRICS if name in (by_rank[0] or ())}
