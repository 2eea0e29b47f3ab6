"""How good a fitted LWGAN is on rows that it was not trained on, in terms that do not depend on the weights of its
objective: how far generated rows are from them, and how well they are reconstructed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lwgan_dist.data.sample import Sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.method.rank_selection import ResolvedRanks
from lwgan_dist.method.sample_distances import energy_distance, sliced_wasserstein
from lwgan_dist.model import FittedModel
from lwgan_dist.results import Part, Quality
from lwgan_dist.seeding import generator

Array = NDArray[Any]

MOST_ROWS = 2_048
"""Generated rows, and held-out rows at most: the distances take time in proportion to their product."""


PART_EVALUATIONS, LEAST_PART_ROWS = 10, 60
"""Groups of rows from which the standard errors of a part come, and the rows that a part needs for them."""


def dimensions_by_part(model: FittedModel, sample: Sample, parts: NDArray[np.int64]) -> list[Part]:
    """The dimension of each part of data that fall apart, by the rule ``resolution`` on its reconstruction errors
    alone, in units of the part's own scale.

    The critic compares distributions of the whole: how hard it is for one generator to leave gaps between the parts is
    no evidence about the dimension of a part.

    Args:
        model: the networks.
        sample: of the run; its training rows are used.
        parts: the part of each training row, see `lwgan_dist.data.parts`.
    """
    score, ranks = model.config.score, range(1, model.latent_dim + 1)
    found = []
    for part in range(int(parts.max()) + 1):
        x = sample.train[parts == part]
        dimension = None
        if len(x) >= LEAST_PART_ROWS:
            rows = sample.standardizer.undo(x)
            decoded = (model.standardizer.apply(model.decode(model.encode(rows, rank))) for rank in ranks)
            errors = np.column_stack([np.linalg.norm(x - y, axis=1) for y in decoded])
            order = generator(model.config.seed, "parts", part).permutation(len(x))
            errors /= Standardizer.fit(x, "global").scale[0]
            table = np.stack([errors[group].mean(axis=0) for group in np.array_split(order, PART_EVALUATIONS)])
            rule = ResolvedRanks(table, table, score.penalty_exponent, score.penalty_constant)
            dimension = rule.dimension(score.resolution)
        found.append(Part(rows=len(x), share=len(x) / len(parts), dimension=dimension))
    return found


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
