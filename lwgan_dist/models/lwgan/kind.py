"""The LWGAN as a kind of model: what it can be trained on, and how its scores are judged."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.config import Precision, RunConfig
from lwgan_dist.data.blocks import flat
from lwgan_dist.data.sample import Sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import ConfigError, DataError
from lwgan_dist.method.neighbours import largest_ranks
from lwgan_dist.method.rank_selection import ResolvedRanks
from lwgan_dist.models.base import Codec, Finished, Verdict
from lwgan_dist.models.lwgan.model import Lwgan
from lwgan_dist.models.lwgan.stages import LwganStage, rank_parts, stages_of
from lwgan_dist.networks.base import Networks, Shape
from lwgan_dist.networks.registry import build_networks
from lwgan_dist.results import COMPONENTS, Judgement, Part, ScoreTables, TearSummary, bounded
from lwgan_dist.seeding import generator
from lwgan_dist.threads import one_thread
from lwgan_dist.training.distributed import World

_log = logging.getLogger("lwgan_dist")

UNFITTED = 0.02
"""How much worse than principal components, in units of the standardised data, networks may be."""

COMPARED_ROWS = 2_000
"""Rows, at most, on which they are compared."""

PART_EVALUATIONS, LEAST_PART_ROWS = 10, 60
"""Groups of rows from which the standard errors of a part come, and the rows that a part needs for them."""


def dimensions_by_part(codec: Codec, config: RunConfig, sample: Sample, parts: NDArray[np.int64]) -> list[Part]:
    """The dimension of each part of data that fall apart, by the rule ``resolution`` on its reconstruction errors
    alone, in units of the part's own scale, and by its neighbours.

    The critic compares distributions of the whole: how hard it is for one generator to leave gaps between the parts is
    no evidence about the dimension of a part.

    Args:
        codec: the fitted model.
        config: of the run, resolved.
        sample: of the run; its training rows are used.
        parts: the part of each training row, see `lwgan_dist.data.parts`.
    """
    score, ranks = config.score, range(1, (config.networks.latent_dim or 1) + 1)
    results = []
    for part in range(int(parts.max()) + 1):
        x = sample.train[parts == part]
        dimension = None
        if len(x) >= LEAST_PART_ROWS:
            rows = sample.standardizer.undo(x)
            decoded = (sample.standardizer.apply(codec.decode(codec.encode(rows, rank))) for rank in ranks)
            errors = np.column_stack([np.linalg.norm(flat(x - y), axis=1) for y in decoded])
            order = generator(config.seed, "parts", part).permutation(len(x))
            errors /= Standardizer.fit(x, "global").scale.flat[0]
            table = np.stack([errors[group].mean(axis=0) for group in np.array_split(order, PART_EVALUATIONS)])
            rule = ResolvedRanks(table, table, score.penalty_exponent, score.penalty_constant)
            neighbours = largest_ranks(Standardizer.fit(x, "global").apply(x), len(table[0]))
            dimension = bounded(rule.dimension(score.resolution), score, neighbours)
        results.append(Part(rows=len(x), share=len(x) / len(parts), dimension=dimension))
    return results


class LwganKind:
    """See `lwgan_dist.models.base.Kind`."""

    finds_parts = True
    components = COMPONENTS

    def schedule(self, config: RunConfig) -> str:
        """Its name."""
        return config.schedule.name

    def check(self, config: RunConfig, given: RunConfig, sample: Sample, source: str) -> None:
        """Every batch fits into the training rows and holds every rank; hold-out rows exist if they decide."""
        batch_size, train_rows = config.schedule.batch_size, len(sample.train)
        if sample.stream is None and batch_size is not None and train_rows < batch_size:
            raise DataError(
                f"{source}{train_rows} training rows are fewer than a batch of schedule.batch_size = "
                f"{batch_size}: give more rows or a smaller batch"
            )
        if config.score.score_on == "holdout" and len(sample.holdout) < 4:
            raise DataError(
                f"{source}score.score_on = holdout needs at least 4 hold-out rows, and "
                f"data.holdout_fraction = {config.data.holdout_fraction} leaves {len(sample.holdout)}"
            )
        rows = len(getattr(sample, config.score.score_on))
        if given.score.batch_size and sample.stream is None and given.score.batch_size > rows // 2:
            _log.warning(
                "%sscore.batch_size = %d is more than half of the %d rows that the score is computed on: an evaluation "
                "takes %d", source, given.score.batch_size, rows, max(2, rows // 2),
            )  # fmt: skip
        latent_dim = self.latent_dim(config)
        try:
            for stage in stages_of(config):
                rank_parts(stage, latent_dim)
        except ConfigError:
            if given.schedule.batch_size or given.networks.latent_dim:  # chosen, so it is these that are wrong
                raise
            raise DataError(
                f"{source}{train_rows} training rows are too few for {latent_dim} ranks, of which "
                f"a batch holds at least 2 rows each: give more rows, or at most {train_rows // 2} ranks "
                "(--max-dimension, networks.latent_dim)"
            ) from None

    def stages(self, config: RunConfig) -> list[LwganStage]:
        """Those of the schedule."""
        return stages_of(config)

    def model(self, config: RunConfig, sample: Sample, world: World) -> Lwgan:
        """A new LWGAN."""
        return Lwgan(config, sample, world)

    def networks(self, config: RunConfig, shape: Shape) -> Networks:
        """Products are taken in full precision, also those of a run in bfloat16: what is generated is not rounded to 8
        bits.
        """
        precision: Precision = "float64" if config.precision == "float64" else "float32"
        return build_networks(shape, config.networks, precision=precision, bounded=config.bounded)

    def latent_dim(self, config: RunConfig) -> int:
        """The largest rank."""
        assert config.networks.latent_dim is not None  # resolved
        return config.networks.latent_dim

    def judge(self, finished: Finished) -> Verdict:
        """The rank that the rule chooses, and how far it is to be believed."""
        config, sample, tables = finished.config, finished.sample, finished.tables
        neighbours = None if sample.stream else largest_ranks(sample.train, self.latent_dim(config))
        judgement = Judgement.of(tables, config.objective, config.score, sample.rows, neighbours)
        parts: list[Part] = []
        notes: list[str] = []
        if finished.parts is not None:
            parts = dimensions_by_part(finished.fitted(), config, sample, finished.parts)
            if judgement.resolution is not None:  # the parts are judged by this rule
                judgement, notes = _reconciled(judgement, parts)
        notes += _lowered(judgement)
        notes += _bounds(judgement, sample)
        notes += _elsewhere(judgement, config, tables)
        notes += _unfitted(judgement, config, sample)
        return Verdict(judgement, notes, tear_of(finished.start) if finished.start else None, parts)


KIND = LwganKind()


def tear_of(start: Mapping[str, Any]) -> TearSummary:
    """The tear of a start, as a checkpoint holds it, maybe of an earlier version."""
    return TearSummary(**{name: start[name] for name in TearSummary.model_fields if name in start})


def _lowered(judgement: Judgement) -> list[str]:
    """A note where neighbours refuse the rank that the scores ask for."""
    if judgement.lowered_from is None:
        return []
    count = f"{judgement.dimension} dimension{'s' * (judgement.dimension != 1)}"
    return [
        f"networks need rank {judgement.lowered_from} to explain the rows, but the distances between neighbouring rows "
        f"are those of no more than {count}: the estimate is {judgement.dimension} (score.neighbours)"
    ]


def _bounds(judgement: Judgement, sample: Sample) -> list[str]:
    """An estimate at the largest rank, or at the number of columns, may be larger or no reduction."""
    dimension, largest = judgement.dimension or 0, len(judgement.rank_scores)
    if dimension >= sample.ambient_dim:
        return [f"the estimate is not below the number of columns ({sample.ambient_dim}): no reduction"]
    if dimension == largest > 1:
        return [
            f"the estimate is the largest rank considered ({largest}): the dimension may be larger; "
            "raise networks.latent_dim (--max-dimension)"
        ]
    return []


def _elsewhere(judgement: Judgement, config: RunConfig, tables: ScoreTables) -> list[str]:
    """A note where the rows that the score was not computed on give another dimension."""
    other = judgement.other_dimension
    if other in (None, judgement.dimension):
        return []
    how = "the reconstruction errors alone give" if judgement.rule == "resolution" else "the same rule gives"
    (split,) = tables.keys() - {config.score.score_on}
    return [f"on the {split} rows {how} {other}: the evidence is weak"]


def _unfitted(judgement: Judgement, config: RunConfig, sample: Sample) -> list[str]:
    """A rank at which principal components reconstruct the rows better than the networks has not been fitted."""
    if sample.stream is not None or config.schedule.name != "fast" or config.score.score_on != "train":
        return []
    rows = flat(sample.train[:: -(-len(sample.train) // COMPARED_ROWS)]).astype(np.float64)  # maybe sorted
    centred = rows - rows.mean(axis=0)
    with one_thread():
        axes = np.linalg.svd(centred, full_matrices=False)[2]
    ranks = [row.rank for row in judgement.rank_scores if row.rank <= (judgement.dimension or 0)]
    behind = [
        rank
        for rank in ranks
        if judgement.rank_scores[rank - 1].components["reconstruction"]
        > np.linalg.norm(centred - centred @ axes[:rank].T @ axes[:rank], axis=1).mean() + UNFITTED
    ]
    if not behind:
        return []
    return [
        f"at rank {', '.join(map(str, behind))} principal components reconstruct the rows better than networks: "
        "train longer (schedule.embedding_iterations, schedule.matching_iterations)"
    ]


def _reconciled(judgement: Judgement, parts: list[Part]) -> tuple[Judgement, list[str]]:
    """The estimate of data that fall apart: that of its parts where they agree, with notes on it."""
    estimates = sorted({part.dimension for part in parts if part.dimension is not None})
    if len(estimates) == 1:
        (dimension,) = estimates
        ranks = judgement.rank_set
        if ranks:
            ranks = list(range(min(dimension, *ranks), max(dimension, *ranks) + 1))
        decided = {"dimension": dimension, "rank_set": ranks, "lowered_from": None}
        return judgement.model_copy(update=decided), []
    if not estimates:
        return judgement, ["the data fall into parts, none of which has rows enough for an estimate of its own"]
    dimensions = ", ".join(str(part.dimension or "?") for part in parts)
    return judgement, [
        f"the data fall into {len(parts)} parts of different dimensions ({dimensions}): no one number describes them; "
        f"{judgement.dimension} is the smallest rank that explains the whole"
    ]
