"""How good a fitted LWGAN is on rows that it was not trained on, in terms that do not depend on the weights of its
objective: how far generated rows are from them, and how well they are reconstructed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lwgan_dist.data.sample import Sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.method.sample_distances import energy_distance, sliced_wasserstein
from lwgan_dist.model import FittedModel
from lwgan_dist.results import Quality
from lwgan_dist.seeding import generator

Array = NDArray[Any]

MOST_ROWS = 2_048
"""Generated rows, and held-out rows at most: the distances take time in proportion to their product."""


def held_out_quality(
    model: FittedModel,
    sample: Sample,
    rank: int | None = None,
    scale: Standardizer | None = None,
    rows: int = MOST_ROWS,
) -> Quality | None:
    """Quality at a rank, in the units of a standardisation; None if no two rows are held out.

    With held-out rows x_1..x_m (of more than ``rows`` a random part; of a stream as many fresh ones) and ``rows`` rows
    g generated at the rank:

    - energy_distance     2 E||x - g|| - E||x - x'|| - E||g - g'||, unbiased (Szekely and Rizzo 2013)
    - sliced_wasserstein  mean over 200 random directions u of W_1(u.x, u.g)
    - reconstruction      mean over the x_i of ||x_i - G(Q_r(x_i))||

    Args:
        model: the networks.
        sample: of the run; its hold-out part is used.
        rank: by default the estimated dimension.
        scale: standardisation in whose units is measured; by default that of the model.
        rows: generated, and held-out ones at most.
    """
    seed, rank = model.config.seed, rank or model.dimension
    held = len(sample.holdout) if sample.stream is None else rows
    if held < 2:
        return None
    x = sample.draw(generator(seed, "quality/rows"), min(held, rows), "holdout")
    x = np.asarray(sample.standardizer.undo(x))
    generated = model.generate(rows, rank, seed)
    reconstructed = model.decode(model.encode(x, rank))
    unit = scale or model.standardizer
    x, generated, reconstructed = (unit.apply(rows) for rows in (x, generated, reconstructed))
    with threadpool_limits(1):  # the last digit of a product depends on how many threads share it
        return Quality(
            energy_distance=energy_distance(x, generated),
            sliced_wasserstein=sliced_wasserstein(x, generated, generator(seed, "quality/directions")),
            reconstruction=float(np.linalg.norm(x - reconstructed, axis=1).mean()),
        )
