"""What a run says: ``RunResult``, and the table of score components from which any rank rule can be judged again."""

import io
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lwgan_dist.config import ObjectiveConfig, ScoreConfig, Split
from lwgan_dist.method.rank_selection import choose_rank, rank_scores

COMPONENTS = ("critic", "reconstruction", "gradient_penalty", "mmd")
"""Components of the score: C, R, P (without weight), M; see `lwgan_dist.method.objective`."""

SCORES_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("evaluation", pa.int32(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in COMPONENTS),
    ]
)
"""``scores.parquet``: a row for each split, evaluation (from 0) and rank (from 1)."""

ScoreTables = dict[str, NDArray[np.float64]]
"""Score components by split ("train", "holdout"), each of shape (evaluations, ranks, 4), as in `COMPONENTS`."""


class RankScore(BaseModel):
    """The score at one rank: means over the evaluations, and the standard error of the mean score."""

    model_config = ConfigDict(frozen=True)

    rank: int
    score: float
    se: float
    critic: float
    reconstruction: float
    gradient_penalty: float
    mmd: float


class Quality(BaseModel):
    """How good the model is on held-out rows, at the estimated dimension; see `lwgan_dist.quality`."""

    model_config = ConfigDict(frozen=True)

    energy_distance: float
    sliced_wasserstein: float
    reconstruction: float


class RunResult(BaseModel):
    """The estimate, the evidence for it, and what it cost.

    Attributes:
        dimension: the estimated intrinsic dimension, argmin of score + penalty * rank.
        max_dimension: q, the largest rank considered.
        rank_scores: by rank 1..q.
        penalty: lambda.
        score_on: the rows that the score was computed on.
        rows: n, training and hold-out rows; None for a stream.
        ambient_dim: columns of the data.
        intrinsic_dim: the truth, where it is known.
        seed: of the run.
        schedule: its name.
        workers: processes that finished the training.
        iterations: alternations carried out.
        cpu_seconds: processor time of all workers in training and scoring; of an attempt that was cut off, up to the
            checkpoint from which the next one went on.
        wall_seconds: the same by the clock.
        quality: of the model on held-out rows; None without such rows, and in results of older versions.
        fingerprint: identity of configuration and data.
        run_dir: where the run lies.
        notes: what a reader of the estimate should know.
    """

    model_config = ConfigDict(frozen=True)

    dimension: int
    max_dimension: int
    rank_scores: list[RankScore]
    penalty: float
    score_on: Split
    rows: int | None
    ambient_dim: int
    intrinsic_dim: int | None
    seed: int
    schedule: str
    workers: int
    iterations: int
    cpu_seconds: float
    wall_seconds: float
    quality: Quality | None = None
    fingerprint: str
    run_dir: str
    notes: list[str]


class Judgement(BaseModel):
    """The rank that a rule chooses from a score table."""

    model_config = ConfigDict(frozen=True)

    dimension: int
    penalty: float
    rank_scores: list[RankScore]

    @classmethod
    def of(cls, tables: ScoreTables, objective: ObjectiveConfig, score: ScoreConfig, rows: int | None) -> Self:
        """Judge the components of a run, without refitting.

        Args:
            tables: components by split.
            objective: gives the weight of the MMD in the score.
            score: the split and the rule.
            rows: n, for the rule ``rate``.
        """
        table = tables[score.score_on]
        critic, reconstruction, gradient_penalty, mmd = np.moveaxis(table, 2, 0)
        scores = rank_scores(critic, reconstruction, gradient_penalty, mmd, objective.mmd_weight)
        choice = choose_rank(
            scores, score.penalty, exponent=score.penalty_exponent, constant=score.penalty_constant, rows=rows
        )
        means = table.mean(axis=0)
        rank_table = [
            RankScore(
                rank=i + 1,
                score=choice.mean[i],
                se=choice.standard_error[i],
                **dict(zip(COMPONENTS, means[i].tolist(), strict=True)),
            )
            for i in range(len(means))
        ]
        return cls(dimension=choice.rank, penalty=choice.penalty, rank_scores=rank_table)


def scores_to_parquet(tables: ScoreTables, metadata: dict[str, str]) -> bytes:
    """``scores.parquet`` as bytes, with page checksums; see `SCORES_SCHEMA`."""
    columns: dict[str, list[Any]] = {name: [] for name in SCORES_SCHEMA.names}
    for split, table in tables.items():
        evaluations, ranks, _ = table.shape
        columns["split"] += [split] * (evaluations * ranks)
        columns["evaluation"] += np.repeat(np.arange(evaluations), ranks).tolist()
        columns["rank"] += np.tile(np.arange(1, ranks + 1), evaluations).tolist()
        for i, name in enumerate(COMPONENTS):
            columns[name] += table[:, :, i].ravel().tolist()
    arrow = pa.table(columns, schema=SCORES_SCHEMA.with_metadata(metadata))
    sink = io.BytesIO()
    pq.write_table(arrow, sink, write_page_checksum=True)
    return sink.getvalue()


def scores_from_parquet(content: bytes) -> ScoreTables:
    """The inverse of `scores_to_parquet`."""
    arrow = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    tables: ScoreTables = {}
    for split in arrow["split"].unique().to_pylist():
        part = arrow.filter(pc.equal(arrow["split"], split))
        part = part.sort_by([("evaluation", "ascending"), ("rank", "ascending")])
        ranks = max(part["rank"].to_pylist())
        tables[split] = np.stack([part[name].to_numpy().reshape(-1, ranks) for name in COMPONENTS], axis=2)
    return tables


def described(**columns: tuple[pa.DataType, str]) -> pa.Schema:
    """A schema whose columns say in their metadata what they hold; from type and meaning by name."""
    return pa.schema([pa.field(name, kind, metadata={"doc": doc}) for name, (kind, doc) in columns.items()])


def describe(schema: pa.Schema) -> str:
    """The columns of a table, one per line: name, type, meaning."""
    return "\n".join(f"{field.name:<18} {field.type!s:<14} {field.metadata[b'doc'].decode()}" for field in schema)
