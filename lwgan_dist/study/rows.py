"""From finished runs to ``runs.parquet``: rank rules judge the stored scores, the design says which run it was."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lwgan_dist.config import ScoreConfig
from lwgan_dist.ledger import hash_of
from lwgan_dist.method.rank_selection import RankChoice
from lwgan_dist.results import ScoreTables, choice_of, scores_of
from lwgan_dist.study.design import Group, PlannedRun
from lwgan_dist.study.ledger import Record
from lwgan_dist.study.tables import RUNS

_AT_ONCE = 10_000


def runs_table(planned: Sequence[PlannedRun], records: Iterable[Record]) -> pa.Table:
    """``runs.parquet``: a row for each planned run that is finished and each rank rule, in the order of the plan."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, run in enumerate(planned):
        places[run.key].append(place)
    order: list[int] = []
    batches: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    for record in records:
        for place in places[record.key]:
            told = rows_of(planned[place], record)
            rows += told
            order += [place] * len(told)
        if len(rows) >= _AT_ONCE:
            batches.append(pa.Table.from_pylist(rows, schema=RUNS))
            rows = []
    table = pa.concat_tables([*batches, pa.Table.from_pylist(rows, schema=RUNS)])
    return table.take(np.argsort(order, kind="stable")) if order else table


def rows_of(run: PlannedRun, record: Record) -> list[dict[str, Any]]:
    """The rows of one finished run, one for each rank rule."""
    group = run.group
    common = {
        "data": group.data,
        "n": group.n,
        "replicate": run.replicate,
        "initialisation": run.initialisation,
        "key": run.key,
        "kind": group.kind,
        "factors": json.dumps(group.factors),
        "data_seed": run.data_seed,
        "seed": run.seed,
        "intrinsic_dim": group.intrinsic_dim,
        "ambient_dim": record.ambient_dim,
        "failure": record.failure,
        "cpu_seconds": record.cpu_seconds,
        "wall_seconds": record.wall_seconds,
    }
    if group.kind == "classical":
        fingerprint = hash_of([run.key, record.data_sha256])[:12] if record.data_sha256 else None
        told = {"method": group.method, "value": record.value, "dimension": record.dimension}
        return [_judged({**common, **told, "fingerprint": fingerprint})]
    if record.failure is not None:
        return [_judged({**common, "method": method, "dimension": None}) for method in group.rules]
    components = record.components()
    rows = []
    for method, rule in group.rules.items():
        told = {"method": method, "fingerprint": _fingerprint(run, record, rule), **_choice(group, components, rule)}
        rows.append(_judged({**common, **told}))
    return rows


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    truth = row["intrinsic_dim"]
    return {**row, "correct": None if truth is None else row["dimension"] == truth}


def _choice(group: Group, components: ScoreTables, rule: ScoreConfig) -> dict[str, Any]:
    judged = judge(components, rule, group.config.objective.mmd_weight, group.n)
    return {
        "value": float(judged.choice.rank),
        "dimension": judged.choice.rank,
        "penalty": judged.choice.penalty,
        "score_se": float(judged.choice.standard_error[judged.choice.mean.argmin()]),
        "margin": judged.margin,
        "score_mean": judged.choice.mean.tolist(),
        "score_errors": judged.choice.standard_error.tolist(),
    }


@dataclass(frozen=True)
class Judged:
    """What a rule makes of the scores of a fit.

    Attributes:
        margin: by how many standard errors the choice differs from the next best one; None with one rank, or a
            standard error of 0. It is (D + lambda (s - r)) / SE(D) for the two ranks r, s of the smallest penalised
            scores, where D is the mean over the evaluations of S_s - S_r and SE(D) its standard error; under the rule
            ``resolution`` the smaller of two slacks over SE(D): that of the estimate, and that by which the rank before
            it is refused.
    """

    choice: RankChoice
    margin: float | None


def judge(components: ScoreTables, rule: ScoreConfig, mmd_weight: float, rows: int) -> Judged:
    """The rank that a rule chooses from the components of a fit, and by what margin."""
    table = components[rule.score_on]
    choice = choice_of(table, mmd_weight, rule, rows)
    scores = scores_of(table, mmd_weight, critic=rule.critic)
    if scores.shape[1] < 2:
        return Judged(choice, None)
    best = choice.rank - 1
    if rule.penalty == "resolution":
        distances = {}
        if best > 0:
            distances[best - 1] = float(choice.slack[best - 1])
        if best + 1 < scores.shape[1]:
            distances[best + 1] = -float(choice.slack[best])
        second = min(distances, key=lambda rank: distances[rank])
        distance = distances[second]
    else:
        second = int(np.argsort(choice.slack, kind="stable")[1])
        distance = float(choice.slack[second])
    difference = scores[:, second] - scores[:, best]
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return Judged(choice, distance / error if error > 0 else None)


def _fingerprint(run: PlannedRun, record: Record, rule: ScoreConfig) -> str:
    """That of ``lwgan-dist train`` with this rule."""
    assert record.data_sha256 is not None
    assert record.rows is not None
    assert record.ambient_dim is not None
    held = min(round(run.config.data.holdout_fraction * record.rows), record.rows - 2)
    config = run.config.model_copy(update={"score": rule})
    resolved = config.resolved(train_rows=record.rows - held, ambient_dim=record.ambient_dim)
    return resolved.fingerprint(record.data_sha256)
