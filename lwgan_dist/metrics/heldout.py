"""Metrics of a fitted model on rows that it was not trained on, and their noise floors."""

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.config import Known
from lwgan_dist.data.sample import Sample
from lwgan_dist.data.simulated.population import sampler_of
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.drawn import Drawn
from lwgan_dist.metrics.inception import inception
from lwgan_dist.metrics.registry import METRICS, Metric, default_metrics, floor_of
from lwgan_dist.seeding import generator
from lwgan_dist.threads import one_thread

Array = NDArray[Any]

MOST_ROWS = 2_048
"""Generated rows, and held-out rows at most: the distances take time in proportion to their product."""


class _HeldOut:
    """Held-out rows x of a sample, of which at least two are held out, and what is set beside them; see
    `held_out_metrics` for the arguments.
    """

    def __init__(
        self, model: FittedModel, sample: Sample, scale: Standardizer | None, rows: int, names: Collection[str] | None
    ) -> None:
        self._model, self._sample, self._rows, self._seed = model, sample, rows, model.config.seed
        self._encodes, self._unit = model.config.model.has_encoder, scale or model.standardizer
        self._metrics = _applicable(model, names)
        count = min(rows, len(sample.holdout) if sample.stream is None else rows)
        x = sample.draw(generator(self._seed, "quality/rows"), count, "holdout")
        self._x = np.asarray(sample.standardizer.undo(x))

    def measured(self, rank: int, floors: bool) -> dict[str, float]:
        """Values at a rank, by name; each with its floor beside it, if asked for."""
        codes = self._model.encode(self._x, rank) if self._encodes else None
        reconstructed = self._x[:0] if codes is None else finite_rows(self._model.decode(codes), "reconstructed", rank)
        generated = finite_rows(self._model.generate(self._rows, rank, self._seed), "generated", rank)
        values = self._values(self._metrics, self._drawn(rank, generated, reconstructed, codes))
        beside = self._floors | self._floors_of_codes(rank) if floors else {}
        measured = {}
        for name, value in values.items():
            measured[name] = value
            if name in beside:
                measured[floor_of(name)] = beside[name]
        return measured

    def _floors_of_codes(self, rank: int) -> dict[str, float]:
        of_codes = [metric for metric in self._metrics if metric.has_floor and metric.needs_encoder]
        if not of_codes:
            return {}
        latent = self._latent(rank, "floor")
        return self._values(of_codes, self._drawn(rank, self._others, self._x[:0], latent))

    @cached_property
    def _floors(self) -> dict[str, float]:
        of_rows = [metric for metric in self._metrics if metric.has_floor and not metric.needs_encoder]
        return self._values(of_rows, self._drawn(1, self._others, self._x[:0], None))

    @cached_property
    def _others(self) -> Array:
        """Other real rows: fresh ones of data of known dimension, training rows of a table, as many as are generated or
        as there are.
        """
        rng, data = generator(self._seed, "quality/floor"), self._model.config.data
        if isinstance(data, Known):
            return sampler_of(data).draw(rng, self._rows)
        return self._sample.standardizer.undo(self._sample.draw(rng, min(self._rows, len(self._sample.train))))

    def _drawn(self, rank: int, generated: Array, reconstructed: Array, codes: Array | None) -> Drawn:
        x, generated, reconstructed = (self._unit.apply(rows) for rows in (self._x, generated, reconstructed))
        latent = self._latent(rank, "value")
        network = inception() if any(metric.needs_inception for metric in self._metrics) else None
        return Drawn(x, generated, reconstructed, self._seed, codes, latent, self._unit, network)

    def _latent(self, rank: int, purpose: str) -> Array:
        return generator(self._seed, "quality/latent", purpose).standard_normal((len(self._x), rank))

    def _values(self, metrics: Collection[Metric], drawn: Drawn) -> dict[str, float]:
        equal = drawn
        if not all(metric.default for metric in metrics):
            equal = drawn.first(min(len(drawn.holdout), len(drawn.generated), len(self._others)))
        with one_thread():  # the last digit of a product depends on how many threads share it
            return {metric.name: metric.compute(drawn if metric.default else equal) for metric in metrics}


def _applicable(model: FittedModel, names: Collection[str] | None) -> list[Metric]:
    chosen = default_metrics() if names is None else names
    encodes = model.config.model.has_encoder
    return [m for name, m in METRICS.items() if name in chosen and m.mismatch(encodes, model.shape) is None]


def finite_rows(rows: Array, what: str, rank: int) -> Array:
    """Rows of a model, whose squared distances are numbers.

    Args:
        rows: in the units of the data.
        what: ``generated`` or ``reconstructed``.
        rank: at which they were.

    Raises:
        NonFiniteLossError: they are not: there is nothing to measure.
    """
    with np.errstate(all="ignore"):
        if not np.isfinite(np.vdot(rows, rows)):
            raise NonFiniteLossError(f"rows {what} at rank {rank} are not finite")
    return rows


def held_out_metrics(
    model: FittedModel,
    sample: Sample,
    rank: int | None = None,
    scale: Standardizer | None = None,
    rows: int | None = None,
    names: Collection[str] | None = None,
    floors: bool = False,
) -> dict[str, float] | None:
    """Metrics of `lwgan_dist.metrics.registry` at a rank, by name, in the units of a standardisation, as far as they
    apply; None if no two rows are held out.

    They are computed from the held-out rows (of more than ``rows`` a random part; of a stream as many fresh ones), the
    same reconstructed, and ``rows`` generated ones; those that are not computed by default, from as many generated rows
    as held-out ones.

    A noise floor is the value for other real rows in place of the generated ones: fresh rows of data of known
    dimension, training rows of a table, as many as are generated or as there are; and for draws of the latent
    distribution in place of codes. It is what a model that knows the distribution would have.

    Args:
        model: the networks.
        sample: of the run; its hold-out part is used.
        rank: by default that of the model: the estimated dimension or, without one, its latent size.
        scale: standardisation in whose units is measured; by default that of the model.
        rows: generated, and held-out ones at most; by default `MOST_ROWS`.
        names: of the metrics, by default those that are computed by default.
        floors: whether their noise floors are computed too, by name with ``_floor`` at its end.

    Raises:
        NonFiniteLossError: generated or reconstructed rows are not finite.
        ConfigError: a named metric applies, but needs the Inception network, which is not to be had here.
    """
    if not _has_two(sample):
        return None
    return _HeldOut(model, sample, scale, rows or MOST_ROWS, names).measured(rank or model.dimension, floors)


def metrics_by_rank(
    model: FittedModel,
    sample: Sample,
    scale: Standardizer | None = None,
    names: Collection[str] | None = None,
    floors: bool = False,
    ranks: Sequence[int] | None = None,
) -> dict[str, list[float]]:
    """Metrics at ranks, by default 1..q, by name, for whichever of them a rule chooses; see `held_out_metrics`.

    Without two held-out rows, or without names, there are none.
    """
    if (names is not None and not names) or not _has_two(sample):
        return {}
    held = _HeldOut(model, sample, scale, MOST_ROWS, names)
    by_rank = [held.measured(rank, floors) for rank in ranks or range(1, model.latent_dim + 1)]
    return {name: [at[name] for at in by_rank] for name in by_rank[0]}


def _has_two(sample: Sample) -> bool:
    return sample.stream is not None or len(sample.holdout) > 1
