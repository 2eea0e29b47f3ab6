"""How a fitted model is measured: on held-out rows, and, of data of known dimension, on rows that are drawn anew."""

from collections.abc import Collection, Sequence

from lwgan_dist.compare.tables import FRESH
from lwgan_dist.config import Known
from lwgan_dist.data.blocks import Array
from lwgan_dist.data.sample import Sample
from lwgan_dist.data.simulated.population import sampler_of
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.distances import energy_distance, sliced_wasserstein
from lwgan_dist.metrics.heldout import finite_rows, metrics_by_rank
from lwgan_dist.seeding import derive, generator
from lwgan_dist.threads import one_thread

PROJECTIONS, ENERGY_ROWS = 100, 4_096
"""Directions of the sliced distance; rows, at most, of the energy distance, whose memory grows with their square."""


def measured(
    model: FittedModel, sample: Sample, ranks: Sequence[int], names: Collection[str], fresh_rows: int | None
) -> dict[str, list[float]]:
    """Metrics with their floors and distances to fresh rows at ranks, by name; what a model does not have is left out.

    Args:
        model: fitted.
        sample: of its run.
        ranks: at which it is measured.
        names: of the metrics.
        fresh_rows: see `fresh_distances`; None for none.

    Raises:
        NonFiniteLossError, ConfigError: see `lwgan_dist.metrics.heldout.held_out_metrics`.
    """
    by_name = metrics_by_rank(model, sample, names=names, floors=True, ranks=ranks)
    if fresh_rows and isinstance(model.config.data, Known):
        by_name |= fresh_distances(model, ranks, fresh_rows)
    return by_name


def fresh_distances(model: FittedModel, ranks: Sequence[int], rows: int) -> dict[str, list[float]]:
    """Distances between equally many generated and newly drawn rows, by rank, and the same between two draws as
    ``<name>_floor``: the generalisation error of the generator, above its floor.

    In units of the standardisation of the fresh rows, so that models and sample sizes share them. Rows, directions and
    codes are those of the seed of the run: models of one replicate share them.

    Args:
        model: of data of known dimension.
        ranks: at which it generates.
        rows: of each draw.
    """
    config, seed = model.config, model.config.seed
    assert isinstance(config.data, Known)
    sampler = sampler_of(config.data)
    fresh, other = (sampler.draw(generator(seed, "compare/fresh", place), rows) for place in range(2))
    unit = Standardizer.fit(fresh, config.data.standardize)
    fresh = unit.apply(fresh)

    def distances(x: Array) -> list[float]:
        y = unit.apply(x)
        directions = generator(seed, "compare/directions")
        return [
            sliced_wasserstein(fresh, y, directions, PROJECTIONS),
            energy_distance(fresh[:ENERGY_ROWS], y[:ENERGY_ROWS]),
        ]

    codes = derive(seed, "compare/codes")
    with one_thread():  # the last digit of a product depends on how many threads share it
        floor = distances(other)
        table = [distances(finite_rows(model.generate(rows, rank, codes), "generated", rank)) for rank in ranks]
    by_name: dict[str, list[float]] = {}
    for place, name in enumerate(FRESH):
        by_name[name] = [row[place] for row in table]
        by_name[f"{name}_floor"] = [floor[place]] * len(ranks)
    return by_name
