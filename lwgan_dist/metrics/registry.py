"""The metrics. One that is registered here is computed for every run, and appears by itself in
``result.json``, in the terminal, in TensorBoard, in the tables of a search and among what a search can minimise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lwgan_dist.data.blocks import Array, flat
from lwgan_dist.metrics.distances import energy_distance, sliced_wasserstein
from lwgan_dist.seeding import generator


@dataclass(frozen=True)
class Drawn:
    """What a metric is computed from, in the units of a standardisation.

    Attributes:
        holdout: held-out rows, shape (m, *shape).
        generated: rows that the model generated, shape (n, *shape).
        reconstructed: the held-out rows, encoded and decoded, shape (m, *shape); of a model without an encoder none,
            and metrics with ``needs_encoder`` are not computed.
        seed: for metrics that draw random numbers.
    """

    holdout: Array
    generated: Array
    reconstructed: Array
    seed: int


@dataclass(frozen=True)
class Metric:
    """A measure of how good a model is.

    Attributes:
        name: in files, tables and configurations.
        phrase: in a sentence.
        doc: what it is, for the documentation of tables.
        compute: its value.
        larger_is_better: then a search minimises its negative.
        needs_encoder: it looks at reconstructed rows.
    """

    name: str
    phrase: str
    doc: str
    compute: Callable[[Drawn], float]
    larger_is_better: bool = False
    needs_encoder: bool = False


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "energy_distance",
            "energy distance of generated rows",
            "energy distance of generated and held-out rows, at the estimated rank",
            lambda drawn: energy_distance(drawn.holdout, drawn.generated),
        ),
        Metric(
            "sliced_wasserstein",
            "sliced Wasserstein distance",
            "sliced Wasserstein distance of generated and held-out rows, at the estimated rank",
            lambda drawn: sliced_wasserstein(
                drawn.holdout, drawn.generated, generator(drawn.seed, "quality/directions")
            ),
        ),
        Metric(
            "reconstruction",
            "reconstruction error",
            "mean reconstruction error of held-out rows, at the estimated rank",
            lambda drawn: float(np.linalg.norm(flat(drawn.holdout - drawn.reconstructed), axis=1).mean()),
            needs_encoder=True,
        ),
    )
}
"""By name, in the order in which they are shown."""
