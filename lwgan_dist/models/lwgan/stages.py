"""A schedule as data: a list of stages, each saying which updates an iteration consists of and with which weights.
The trainer has one loop, and it reads this.
"""

from dataclasses import dataclass, replace

import numpy as np

from lwgan_dist.config import FastSchedule, PaperSchedule, RunConfig
from lwgan_dist.errors import ConfigError
from lwgan_dist.training.stage import Adam, Curve, Stage, constant, cosine, faded, milestones, ramped, switched_on


@dataclass(frozen=True)
class Burst:
    """More critic updates than usual: in the first ``first`` iterations and in every ``every``-th."""

    updates: int
    first: int
    every: int


PLATEAU_INTERVAL = 250
"""Iterations between two checks of the reconstruction errors."""

BEHIND = 0.2
"""By how much more than the start, as a share of the rows' scale, networks err that have not learned it yet."""

PATIENCE = 2
"""Checks without progress after which a stage ends."""

CHECKED_ROWS = 1_024
"""Training rows, at most, on which the errors are checked."""

FOCUS = 2
"""Ranks on either side of the one that the geodesic coordinates point at that have their whole share of a batch."""


@dataclass(frozen=True, kw_only=True)
class LwganStage(Stage):
    """One part of a schedule: which updates an alternation consists of, with which weights.

    Attributes:
        batch_size: rows over all workers.
        critic_updates: K of an iteration, 0 if the critic rests.
        encoder_generator_updates: m of an iteration.
        critic: its optimizer, fresh if ``fresh_optimizers``.
        encoder_generator: theirs.
        mmd_weight: w_mmd over the stage.
        guide_weight: of the regression of the codes on geodesic coordinates (`lwgan_dist.models.lwgan.embedding`);
            where it is above 0, the rows of encoder-generator updates are those that have such coordinates.
        decode_guide: the generator decodes these coordinates, not the codes of the encoder.
        critic_term: whether the encoder-generator loss contains the critic difference.
        rank_share_exponent: None for one rank an iteration, drawn uniformly; else a batch mixes the ranks, rows of rank
            r in proportion to r^-exponent.
        rank_focus: what a rank counts that lies more than `FOCUS` from the one at which the geodesic coordinates decode
            the rows.
        interpolation_neighbors: the rows of encoder-generator updates lie between a row and one of this many nearest
            ones (`lwgan_dist.models.lwgan.vicinity`); 0 for rows as they are.
        independent_batches: gradient penalty and MMD use a second batch of rows and fresh noise.
        fresh_optimizers: forget the moments that the stage before left.
        burst: iterations with more critic updates.
        recycle: frozen batches G(Q(x)), G(z) that serve the critic updates of an iteration in turn; None for fresh
            ones at every update.
        plateau: end the stage when the reconstruction errors have not fallen by more than this for `PATIENCE` checks;
            0 for never.
    """

    batch_size: int
    critic_updates: int
    encoder_generator_updates: int
    critic: Adam
    encoder_generator: Adam
    mmd_weight: Curve
    guide_weight: Curve | None = None
    decode_guide: bool = False
    critic_term: bool = True
    rank_share_exponent: float | None = None
    rank_focus: float = 1.0
    interpolation_neighbors: int = 0
    independent_batches: bool = False
    fresh_optimizers: bool = False
    burst: Burst | None = None
    recycle: int | None = None
    plateau: float = 0.0

    def critic_updates_at(self, iteration: int) -> int:
        """K of an iteration, counted from 0 within the stage."""
        burst = self.burst
        if burst and (iteration < burst.first or iteration % burst.every == 0):
            return burst.updates
        return self.critic_updates

    def updates_at(self, iteration: int) -> int:
        """K + m of an iteration."""
        return self.critic_updates_at(iteration) + self.encoder_generator_updates

    def guide_weight_at(self, iteration: int) -> float:
        """Weight of the guide at an iteration, counted from 0 within the stage."""
        return self.guide_weight(self.done_at(iteration)) if self.guide_weight else 0.0

    def checks_at(self, iteration: int) -> bool:
        """Whether it is looked for a plateau after this iteration, counted from 0 within the stage."""
        return self.plateau > 0 and (iteration % self.round_length + 1) % PLATEAU_INTERVAL == 0

    def ends_round_at(self, iteration: int) -> bool:
        """Whether this iteration is the last one of a round that is not the last one."""
        return (iteration + 1) % self.round_length == 0 and iteration + 1 < self.iterations


def stages_of(config: RunConfig) -> list[LwganStage]:
    """The stages of a resolved configuration, in order."""
    if isinstance(config.schedule, PaperSchedule):
        return _paper(config, config.schedule)
    return _fast(config, config.schedule)


SCORE_INTERVAL = 20
"""Iterations between the authors' evaluations of the score (arXiv:2409.18374, their experiments)."""


def _paper(config: RunConfig, schedule: PaperSchedule) -> list[LwganStage]:
    assert config.score.evaluations is not None  # resolved
    learning_rate = milestones(schedule.learning_rate, schedule.decay_factor, schedule.decay_at)
    training = LwganStage(
        name="training",
        iterations=schedule.iterations,
        batch_size=schedule.batch_size,
        critic_updates=schedule.critic_updates,
        encoder_generator_updates=schedule.encoder_generator_updates,
        critic=Adam(learning_rate, schedule.beta1, schedule.beta2),
        encoder_generator=Adam(learning_rate, schedule.beta1, schedule.beta2),
        mmd_weight=switched_on(config.objective.mmd_weight, schedule.mmd_start),
        independent_batches=True,
        burst=Burst(schedule.burst_updates, schedule.burst_first, schedule.burst_every),
    )
    last = constant(learning_rate(1.0))
    scoring = LwganStage(
        name="scoring",
        iterations=SCORE_INTERVAL * config.score.evaluations,
        batch_size=schedule.batch_size,
        critic_updates=max(20, schedule.critic_updates),
        encoder_generator_updates=schedule.encoder_generator_updates,
        critic=Adam(last, schedule.beta1, schedule.beta2),
        encoder_generator=Adam(last, schedule.beta1, schedule.beta2),
        mmd_weight=constant(config.objective.mmd_weight),
        independent_batches=True,
        evaluate_after=0,
        evaluate_every=SCORE_INTERVAL,
    )
    return [training, scoring]


_RESTING = Adam(constant(0.0), 0.0, 0.9)


def _fast(config: RunConfig, schedule: FastSchedule) -> list[LwganStage]:
    embedding, matching = _encoder_generator_stages(config, schedule)
    stages = [embedding, matching, *_critic_stages(config, schedule, matching)]
    return [stage for stage in stages if stage.iterations]


def _encoder_generator_stages(config: RunConfig, schedule: FastSchedule) -> tuple[LwganStage, LwganStage]:
    """Embedding and matching, in which the critic rests."""
    assert schedule.batch_size is not None  # resolved
    first, second = schedule.embedding_learning_rate, schedule.matching_learning_rate
    embedding = LwganStage(
        name="embedding",
        iterations=schedule.embedding_rounds * schedule.embedding_iterations,
        rounds=schedule.embedding_rounds,
        batch_size=schedule.batch_size,
        critic_updates=0,
        encoder_generator_updates=1,
        critic=_RESTING,
        encoder_generator=Adam(cosine(first, second), 0.9, 0.99),
        mmd_weight=constant(0.0),
        guide_weight=constant(1.0),
        decode_guide=True,
        critic_term=False,
        rank_share_exponent=schedule.rank_share_exponent,
        rank_focus=schedule.rank_focus,
        interpolation_neighbors=schedule.interpolation_neighbors,
        plateau=schedule.plateau,
    )
    matching = replace(
        embedding,
        name="matching",
        rounds=1,
        plateau=0.0,
        follows="embedding" if schedule.embedding_iterations else None,
        iterations=schedule.matching_iterations,
        encoder_generator=Adam(cosine(second, 0.05 * second), 0.9, 0.99),
        mmd_weight=ramped(config.objective.mmd_weight, 0.15),
        guide_weight=faded(1.0, 0.5) if schedule.embedding_iterations else None,
        decode_guide=False,
    )
    return embedding, matching


def _critic_stages(config: RunConfig, schedule: FastSchedule, matching: LwganStage) -> list[LwganStage]:
    """What comes after the matching: the critic alone, all three if asked for, and the score."""
    assert config.score.evaluations is not None  # resolved
    critic_rate = schedule.critic_learning_rate
    critic = replace(
        matching,
        name="critic",
        follows=None,
        iterations=-(-schedule.critic_iterations // 20),
        critic_updates=20,
        encoder_generator_updates=0,
        guide_weight=None,
        interpolation_neighbors=0,  # the critic compares rows as they are
        critic=Adam(cosine(critic_rate, 0.5 * critic_rate), 0.0, 0.9),
        encoder_generator=_RESTING,
        fresh_optimizers=True,
        recycle=5,
    )
    joint = replace(
        critic,
        name="joint",
        iterations=schedule.joint_iterations,
        critic_updates=schedule.joint_critic_updates,
        encoder_generator_updates=1,
        critic=Adam(constant(0.5 * critic_rate), 0.0, 0.9),
        encoder_generator=Adam(ramped(schedule.joint_learning_rate, 0.25), 0.5, 0.99),
        mmd_weight=constant(config.objective.mmd_weight),
        critic_term=True,
        fresh_optimizers=False,
        recycle=2,
    )
    scoring = replace(
        critic,
        name="scoring",
        iterations=config.score.evaluations,
        critic_updates=schedule.scoring_interval,
        critic=Adam(cosine(0.5 * critic_rate, 0.1 * critic_rate), 0.0, 0.9),
        fresh_optimizers=False,
        recycle=None,
        evaluate_after=0,
    )
    return [critic, joint, scoring]


def rank_parts(stage: LwganStage, latent_dim: int, focus: int | None = None) -> list[tuple[int, slice]] | None:
    """The rows of each rank in a batch of mixed ranks: proportional to r^-exponent, less by the factor ``rank_focus``
    away from the rank ``focus``, at least 2, exact in sum.

    None for a stage whose batches are of one rank.

    Raises:
        ConfigError: a batch that cannot hold two rows of every rank.
    """
    if stage.rank_share_exponent is None:
        return None
    if stage.batch_size < 2 * latent_dim:
        raise ConfigError(
            f"schedule.batch_size: a batch holds at least 2 rows of each of the {latent_dim} ranks, so at least "
            f"{2 * latent_dim} rows (got {stage.batch_size}); choose a smaller networks.latent_dim "
            "(--max-dimension) or a larger batch"
        )
    ranks = np.arange(1, latent_dim + 1)
    share = ranks.astype(float) ** -stage.rank_share_exponent
    if focus is not None:
        share[np.abs(ranks - focus) > FOCUS] *= stage.rank_focus
    free = stage.batch_size - 2 * latent_dim
    ends = np.rint(np.cumsum(share) / share.sum() * free).astype(int) + 2 * ranks
    starts = np.concatenate([[0], ends[:-1]])
    return [(rank, slice(int(a), int(b))) for rank, (a, b) in enumerate(zip(starts, ends, strict=True), 1)]
