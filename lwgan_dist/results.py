"""The result of a run, and the table of score components from which any rank rule can be judged again."""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lwgan_dist.config import ObjectiveConfig, ScoreConfig, Split, StandardizationChoice
from lwgan_dist.data.findings.finding import Finding
from lwgan_dist.method.neighbours import bound_at
from lwgan_dist.method.rank_selection import STAIRCASE, RankChoice, ResolvedRanks, choose_rank, rank_scores

COMPONENTS = ("critic", "reconstruction", "gradient_penalty", "mmd")
"""Components of the LWGAN's score: C, R, P (without weight), M; see `lwgan_dist.method.objective`. Other models have
others, see `lwgan_dist.models.base.Kind.components`."""


def scores_schema(components: Sequence[str] = COMPONENTS) -> pa.Schema:
    """``scores.parquet``: a row for each split, evaluation (from 0) and rank, with the components of a model."""
    return pa.schema(
        [
            pa.field("split", pa.string(), nullable=False),
            pa.field("evaluation", pa.int32(), nullable=False),
            pa.field("rank", pa.int32(), nullable=False),
            *(pa.field(name, pa.float64(), nullable=False) for name in components),
        ]
    )


ScoreTables = dict[str, NDArray[np.float64]]
"""Score components by split ("train", "holdout"), each of shape (evaluations, ranks, components): those of the model in
their order, of the LWGAN `COMPONENTS`."""


PositiveRank = Annotated[int, Field(ge=1)]


class RankScore(BaseModel):
    """The score at one rank: means over the evaluations, and the standard error of the mean score; then the mean of
    each component of the model by its name.

    ``refused`` is by how much the rule refuses the rank, see `lwgan_dist.method.rank_selection.RankChoice`: at most 0
    where it does not; None for the largest rank under ``resolution``, and in results of older versions.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, float]

    rank: int
    score: float
    se: float
    refused: float | None = None

    @property
    def components(self) -> dict[str, float]:
        """The mean of each component by name."""
        return self.__pydantic_extra__


class TearSummary(BaseModel):
    """How coordinates were laid on the data, and what was torn for it; see `lwgan_dist.models.lwgan.embedding.Tear`.

    Attributes:
        pieces: that were laid side by side; 1 for none. (1 in results of versions that tore otherwise.)
        rank: at which the tear closed the gap; 0 for none.
        share: of the edges between neighbouring rows that are torn.
        groups: of directions, independent of each other, that were laid out by themselves; 1 for all together.
    """

    model_config = ConfigDict(frozen=True)

    pieces: int = 1
    rank: int
    share: float
    groups: int = 1


class Part(BaseModel):
    """A part of data that fall apart: rows that no chain of neighbours joins to the others.

    Attributes:
        rows: in it.
        share: of all rows.
        dimension: estimated on the part; None if it has too few rows to say.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    share: float
    dimension: int | None


class TableReading(BaseModel):
    """How a table was read from its file, see `lwgan_dist.data.files.loading.Reading`.

    Attributes:
        how: what was found out about the file, in words.
        left_out: why columns were left out that nobody asked to, by name.
        dropped_rows: rows that were left out because they lack a value.
        imputed: values that were filled in.
    """

    model_config = ConfigDict(frozen=True)

    how: list[str] = []
    left_out: dict[str, str] = {}
    dropped_rows: int = 0
    imputed: int = 0


class Step(BaseModel):
    """A stretch of resolutions at which the dimension is the same."""

    model_config = ConfigDict(frozen=True)

    from_resolution: float
    to_resolution: float
    dimension: int


class Competitor(BaseModel):
    """The estimate of a classical estimator on rows of the run, see `lwgan_dist.study.competitors`.

    Attributes:
        name: of the estimator, see `lwgan_dist.study.classical.ESTIMATORS`.
        value: the number as the estimator gave it; None if it gave none.
        dimension: the value rounded half up, at least 1; None exactly where there is a ``failure``.
        rows: that it was given, distinct ones.
        cpu_seconds: of the estimator alone.
        failure: why there is no estimate.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    value: float | None = None
    dimension: int | None = None
    rows: int
    cpu_seconds: float = 0.0
    failure: str | None = None


class Replicate(BaseModel):
    """A further fit of the same data, with another seed and another split.

    Attributes:
        seed: of the run.
        dimension: its estimate; None if the fit failed.
        rank_set: its rank set; None without one.
        other_dimension: its estimate on the rows held out, see `RunResult`.
        run_dir: its run folder, beneath that of the first fit.
        failure: why there is no estimate.
    """

    model_config = ConfigDict(frozen=True)

    seed: int
    dimension: int | None = None
    rank_set: list[int] | None = None
    other_dimension: int | None = None
    run_dir: str
    failure: str | None = None


class Fits(BaseModel):
    """What several fits of the same data say together.

    Attributes:
        dimension: that most of them say; of several the smallest, for errors are nearly all too large.
        rank_set: from the smallest to the largest rank of the sets of all of them, of a fit without a set its estimate:
            it holds the truth at least as often as each of them.
        votes: number of fits by dimension, in ascending order.
        replicates: the fits beside the first.
    """

    model_config = ConfigDict(frozen=True)

    dimension: int
    rank_set: list[int]
    votes: dict[int, int]
    replicates: list[Replicate]

    @classmethod
    def of(cls, dimension: int, rank_set: list[int] | None, replicates: Sequence[Replicate]) -> Self:
        """Of the estimate and the rank set of the first fit, and of the others."""
        fits = [(dimension, rank_set), *((one.dimension, one.rank_set) for one in replicates)]
        estimates = sorted(estimate for estimate, _ in fits if estimate is not None)
        votes = {estimate: estimates.count(estimate) for estimate in estimates}
        ranks = [rank for estimate, ranks in fits if estimate is not None for rank in ranks or [estimate]]
        return cls(
            dimension=max(votes, key=lambda estimate: votes[estimate]),
            rank_set=list(range(min(ranks), max(ranks) + 1)),
            votes=votes,
            replicates=list(replicates),
        )


class RunResult(BaseModel):
    """The estimate, the evidence for it, and what it cost.

    Attributes:
        dimension: the estimated intrinsic dimension, by the rule; of data that fall apart that of their parts if they
            agree; None of a model that estimates none.
        model: its name.
        max_dimension: q, the largest rank considered; of a model with one latent size, this size.
        rank_scores: by rank 1..q; of a model with one latent size, at this rank alone.
        penalty: lambda.
        rule: how the rank was chosen.
        resolution: standard deviation, in units of the standardised data, below which variation counts as noise; None
            for rules without one.
        staircase: the dimension by resolution; empty for rules without one.
        rank_set: the ranks that hold the truth with ``confidence``; None for rules without one.
        confidence: of the rank set, over the draws that it was calibrated on, see docs/rule; None for other settings of
            the rule, for which nothing was calibrated.
        other_dimension: by the same rule on the rows that the score was not computed on, under ``resolution`` from the
            reconstruction errors alone; None without such rows, and of the paper's rules in results of older versions.
        neighbours: the largest rank that the distances between neighbouring rows allow, at each resolution of
            `lwgan_dist.method.rank_selection.STAIRCASE`, whether or not the rule asks; None of few rows, of a stream,
            of other models, and in results of older versions.
        lowered_from: the rank that the scores ask for, where neighbours lowered it to the dimension; None elsewhere,
            and of data that fall apart if the dimension is that of the parts.
        tear: what was torn at the start; None without a start, and in results of older versions.
        parts: of data that fall apart; empty for data in one piece.
        score_on: the rows that the score was computed on.
        rows: n, training and hold-out rows; None for a stream.
        ambient_dim: columns of the data, or numbers in a row of another shape.
        shape: of a row: (columns,) of a table; empty in results of versions that had tables alone.
        intrinsic_dim: the truth, where it is known.
        reading: how a table was read; None of other data, and in results of older versions.
        seed: of the run.
        schedule: its name.
        workers: processes that finished the training.
        iterations: alternations that ran.
        cpu_seconds: processor time of all workers in training and scoring; of an attempt that was cut off, up to the
            checkpoint from which the next one went on.
        wall_seconds: the same by the clock.
        metrics: of the model on held-out rows at the dimension, by name, see `lwgan_dist.metrics`; none without rows.
        fingerprint: identity of configuration and data.
        run_dir: where the run lies.
        notes: what a reader of the estimate should know.
        standardize: how the data were standardised; None in results of older versions.
        findings: about the data, before the training; none in results of older versions.
        competitors: classical estimators on the same rows; none where nobody asked for them, and in results of older
            versions.
        fits: of several, what they say together; None of a single one.
    """

    model_config = ConfigDict(frozen=True)

    dimension: int | None
    model: str = "lwgan"
    max_dimension: int
    rank_scores: list[RankScore]
    penalty: float
    rule: str = "reference"
    resolution: float | None = None
    staircase: list[Step] = []
    rank_set: list[int] | None = None
    confidence: float | None = None
    other_dimension: int | None = None
    neighbours: list[PositiveRank] | None = Field(None, min_length=len(STAIRCASE), max_length=len(STAIRCASE))
    lowered_from: int | None = None
    tear: TearSummary | None = None
    parts: list[Part] = []
    score_on: Split
    rows: int | None
    ambient_dim: int
    shape: tuple[int, ...] = ()
    intrinsic_dim: int | None
    reading: TableReading | None = None
    seed: int
    schedule: str
    workers: int
    iterations: int
    cpu_seconds: float
    wall_seconds: float
    metrics: dict[str, float] = {}
    fingerprint: str
    run_dir: str
    notes: list[str]
    standardize: StandardizationChoice | None = None
    findings: list[Finding] = []
    competitors: list[Competitor] = []
    fits: Fits | None = None

    @property
    def is_penalised(self) -> bool:
        """Whether a multiple of the rank was added to the scores: by the rules of the paper."""
        return self.dimension is not None and self.rule in ("reference", "rate", "fixed")

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, values: Any) -> Any:
        """Until 2026-11-30 the metrics were called quality, and were three."""
        if isinstance(values, dict) and "quality" in values:
            values = {**values, "metrics": values["quality"] or {}}
            del values["quality"]
        return values


class Judgement(BaseModel):
    """The rank that a rule chooses from a score table; no dimension for a model that does not estimate it."""

    model_config = ConfigDict(frozen=True)

    dimension: int | None
    penalty: float
    rank_scores: list[RankScore]
    rule: str
    resolution: float | None
    staircase: list[Step]
    rank_set: list[int] | None
    confidence: float | None
    other_dimension: int | None
    neighbours: list[int] | None = None
    lowered_from: int | None = None

    @classmethod
    def of(
        cls, tables: ScoreTables, objective: ObjectiveConfig, score: ScoreConfig, rows: int | None,
        neighbours: list[int] | None = None,
    ) -> Self:  # fmt: skip
        """Judge the components of a run, without refitting.

        Args:
            tables: components by split.
            objective: gives the weight of the MMD in the score.
            score: the split and the rule.
            rows: n, for the rule ``rate``.
            neighbours: what `lwgan_dist.method.neighbours.largest_ranks` says of the rows.
        """
        table = tables[score.score_on]
        by_scores = choice_of(table, objective.mmd_weight, score, rows).rank
        choice = choice_of(table, objective.mmd_weight, score, rows, neighbours)
        means = table.mean(axis=0)
        rank_table = [
            RankScore(
                rank=i + 1,
                score=choice.mean[i],
                se=choice.standard_error[i],
                refused=choice.slack[i] if np.isfinite(choice.slack[i]) else None,
                **dict(zip(COMPONENTS, means[i].tolist(), strict=True)),
            )
            for i in range(len(means))
        ]
        by_paper = score.penalty != "resolution"
        others = [other for split, other in tables.items() if by_paper and split != score.score_on]
        details: dict[str, Any] = {
            "resolution": None, "staircase": [], "rank_set": None, "confidence": None,
            "other_dimension": choice_of(others[0], objective.mmd_weight, score, rows).rank if others else None,
        }  # fmt: skip
        if not by_paper:
            ranks = resolved_ranks(table, objective.mmd_weight, score)
            other = other_dimension(tables, score, neighbours)
            details = {
                "resolution": score.resolution,
                "staircase": _steps([(rho, bounded(rank, score, neighbours, rho)) for rho, rank in ranks.staircase()]),
                "rank_set": rank_set(ranks, score, other, neighbours),
                "confidence": RANK_SET_CONFIDENCE if _is_calibrated(score) else None,
                "other_dimension": other,
            }
        return cls(
            dimension=choice.rank, penalty=choice.penalty, rank_scores=rank_table, rule=score.penalty,
            neighbours=neighbours, lowered_from=by_scores if by_scores > choice.rank else None, **details,
        )  # fmt: skip


def bounded(rank: int, score: ScoreConfig, neighbours: list[int] | None, resolution: float | None = None) -> int:
    """A rank of the rule ``resolution``, lowered to the largest that is not refused, where the rule asks neighbours.

    Args:
        rank: by the scores.
        score: the rule.
        neighbours: what `lwgan_dist.method.neighbours.largest_ranks` says.
        resolution: by default that of the rule.
    """
    bound = bound_at(neighbours, score.resolution if resolution is None else resolution) if score.neighbours else None
    return rank if bound is None else min(rank, bound)


def rank_set(
    ranks: ResolvedRanks, score: ScoreConfig, other: int | None, neighbours: list[int] | None = None,
    factor: float | None = None,
) -> list[int]:  # fmt: skip
    """All ranks between those that the rule gives if more or less is allowed to a gain, and on the other rows; none of
    them above the bound by neighbours.

    Args:
        ranks: the rule on the scores of a fit.
        score: the same rule.
        other: the estimate on the other rows, see `other_dimension`.
        neighbours: what `lwgan_dist.method.neighbours.largest_ranks` says.
        factor: how much more is allowed at the lower end; by default `RANK_SET_FACTOR`.
    """
    inner = ranks.rank_set(score.resolution, factor or RANK_SET_FACTOR, RANK_SET_UPPER)
    ends = [bounded(rank, score, neighbours) for rank in (inner if other is None else [*inner, other])]
    return list(range(min(ends), max(ends) + 1))


def other_dimension(tables: ScoreTables, score: ScoreConfig, neighbours: list[int] | None = None) -> int | None:
    """The dimension from the reconstruction errors alone, on the rows that the score was not computed on; None without.

    With networks that know the training rows by heart, these differ from what holds on rows not seen. A few rows tell
    little about distributions, so neither critic difference nor MMD enter.
    """
    (split,) = {"train", "holdout"} - {score.score_on}
    if split not in tables:
        return None
    errors = tables[split][:, :, COMPONENTS.index("reconstruction")]
    rule = ResolvedRanks(errors, errors, score.penalty_exponent, score.penalty_constant)
    return bounded(rule.dimension(score.resolution), score, neighbours)


RANK_SET_FACTOR = 8.645
"""How much more a gain is allowed at the lower end of the rank set; calibrated, see docs/rule."""

RANK_SET_UPPER = 1.5
"""How much less at its upper end: errors are nearly all too large, so little is gained there."""

RANK_SET_CONFIDENCE = 0.9

_CALIBRATED = ("penalty", "resolution", "critic", "penalty_exponent", "penalty_constant", "score_on")
"""Fields of the rule; the rank set was calibrated at their defaults."""


def _is_calibrated(score: ScoreConfig) -> bool:
    default = ScoreConfig()
    return all(getattr(score, name) == getattr(default, name) for name in _CALIBRATED)


def choice_of(
    table: NDArray[np.float64], mmd_weight: float, score: ScoreConfig, rows: int | None,
    neighbours: list[int] | None = None,
) -> RankChoice:  # fmt: skip
    """The rank that a rule chooses from the components of one part of the rows, shape (evaluations, ranks, 4), and
    from what neighbours refuse; where these lower it, the penalty and what refuses ranks are those of the scores.
    """
    if score.penalty == "resolution":
        choice = resolved_ranks(table, mmd_weight, score).choice(score.resolution)
        return replace(choice, rank=bounded(choice.rank, score, neighbours))
    return choose_rank(
        scores_of(table, mmd_weight, critic=score.critic),
        score.penalty,
        exponent=score.penalty_exponent,
        constant=score.penalty_constant,
        rows=rows,
    )


def resolved_ranks(table: NDArray[np.float64], mmd_weight: float, score: ScoreConfig) -> ResolvedRanks:
    """The rule ``resolution`` on the components of one part of the rows, shape (evaluations, ranks, 4)."""
    reconstruction = table[:, :, COMPONENTS.index("reconstruction")]
    return ResolvedRanks(
        scores_of(table, mmd_weight, critic=score.critic),
        reconstruction,
        score.penalty_exponent,
        score.penalty_constant,
    )


def scores_of(table: NDArray[np.float64], mmd_weight: float, *, critic: bool = True) -> NDArray[np.float64]:
    """S of every evaluation and rank from its components, shape (evaluations, ranks, 4); R + w_mmd M without critic."""
    difference, reconstruction, gradient_penalty, mmd = np.moveaxis(table, 2, 0)
    if not critic:
        return np.asarray(reconstruction + mmd_weight * mmd)
    return rank_scores(difference, reconstruction, gradient_penalty, mmd, mmd_weight)


def _steps(values: list[tuple[float, int]]) -> list[Step]:
    steps: list[Step] = []
    for resolution, dimension in values:
        if steps and steps[-1].dimension == dimension:
            steps[-1] = steps[-1].model_copy(update={"to_resolution": resolution})
        else:
            steps.append(Step(from_resolution=resolution, to_resolution=resolution, dimension=dimension))
    return steps


def scores_to_parquet(
    tables: ScoreTables, ranks: Sequence[int], metadata: dict[str, str], components: Sequence[str] = COMPONENTS
) -> bytes:
    """``scores.parquet`` as bytes, with page checksums (`scores_schema`); the second axis of a table has the ranks, the
    third the components.
    """
    schema = scores_schema(components)
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for split, table in tables.items():
        evaluations = len(table)
        columns["split"] += [split] * (evaluations * len(ranks))
        columns["evaluation"] += np.repeat(np.arange(evaluations), len(ranks)).tolist()
        columns["rank"] += list(ranks) * evaluations
        for i, name in enumerate(components):
            columns[name] += table[:, :, i].ravel().tolist()
    arrow = pa.table(columns, schema=schema.with_metadata(metadata))
    sink = io.BytesIO()
    pq.write_table(arrow, sink, write_page_checksum=True)
    return sink.getvalue()


def scores_from_parquet(content: bytes) -> ScoreTables:
    """The inverse of `scores_to_parquet`."""
    arrow = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    components = arrow.schema.names[len(scores_schema([])) :]
    tables: ScoreTables = {}
    for split in arrow["split"].unique().to_pylist():
        part = arrow.filter(pc.equal(arrow["split"], split))
        part = part.sort_by([("evaluation", "ascending"), ("rank", "ascending")])
        ranks = len(part["rank"].unique())
        tables[split] = np.stack([part[name].to_numpy().reshape(-1, ranks) for name in components], axis=2)
    return tables


def described(**columns: tuple[pa.DataType, str]) -> pa.Schema:
    """A schema whose columns say in their metadata what they hold; from type and meaning by name."""
    return pa.schema([pa.field(name, kind, metadata={"doc": doc}) for name, (kind, doc) in columns.items()])


def describe(schema: pa.Schema) -> str:
    """The columns of a table, one per line: name, type, meaning."""
    return "\n".join(f"{field.name:<18} {field.type!s:<14} {field.metadata[b'doc'].decode()}" for field in schema)
