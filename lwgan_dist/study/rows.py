"""From finished runs to ``runs.parquet``: rank rules judge the recorded scores, the design knows which run it was."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from lwgan_dist.campaign.judging import fingerprint_of, judge
from lwgan_dist.campaign.ledger import hash_of
from lwgan_dist.campaign.provenance import provenances
from lwgan_dist.config import ScoreConfig
from lwgan_dist.storage import Folder
from lwgan_dist.study.design import Group, PlannedRun
from lwgan_dist.study.metrics import metric_fields
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.tables import PROVENANCE, RUNS

_AT_ONCE = 10_000


def runs_table(planned: Sequence[PlannedRun], records: Iterable[RunRecord], metrics: Sequence[str] = ()) -> pa.Table:
    """``runs.parquet``: a row for each planned run that is finished and each rank rule, in the order of the plan.

    Args:
        planned: the runs of the study.
        records: of those that are finished.
        metrics: names of those that have a column.
    """
    schema = pa.schema([*RUNS, *metric_fields(metrics)])
    places: dict[str, list[int]] = defaultdict(list)
    for place, run in enumerate(planned):
        places[run.key].append(place)
    order: list[int] = []
    batches: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    for record in records:
        for place in places[record.key]:
            judged = rows_of(planned[place], record)
            rows += judged
            order += [place] * len(judged)
        if len(rows) >= _AT_ONCE:
            batches.append(pa.Table.from_pylist(rows, schema=schema))
            rows = []
    table = pa.concat_tables([*batches, pa.Table.from_pylist(rows, schema=schema)])
    return table.take(np.argsort(order, kind="stable")) if order else table


def provenance_table(runs: pa.Table, ledger: Folder) -> pa.Table:
    """``provenance.parquet``, from ``runs.parquet`` and what the ledger knows of the origins that it names."""
    known = provenances(ledger)
    of_runs = dict(zip(runs["key"].to_pylist(), runs["provenance"].to_pylist(), strict=True))
    rows = []
    for identity, count in sorted(Counter(of_runs.values()).items(), key=lambda item: (-item[1], item[0] or "")):
        content = asdict(known[identity]) if identity in known else {}
        versions = ", ".join(f"{name} {number}" for name, number in sorted(content.get("versions", {}).items()))
        rows.append({**content, "versions": versions or None, "provenance": identity, "runs": count})
    return pa.Table.from_pylist(rows, schema=PROVENANCE)


def rows_of(run: PlannedRun, record: RunRecord) -> list[dict[str, Any]]:
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
        "provenance": record.provenance or None,
    }
    if group.kind == "classical":
        fingerprint = hash_of([run.key, record.data_sha256])[:12] if record.data_sha256 else None
        estimate = {"method": group.method, "value": record.value, "dimension": record.dimension}
        return [_compared({**common, **estimate, "fingerprint": fingerprint})]
    if group.kind == "model":
        fingerprint = None if record.failure else fingerprint_of(run.config, record)
        estimate = {"method": group.method, "value": record.value, "dimension": record.dimension}
        return [_compared({**common, **estimate, "fingerprint": fingerprint})]
    if record.failure is not None:
        return [_compared({**common, "method": method, "dimension": None}) for method in group.rules]
    rows = []
    for method, rule in group.rules.items():
        choice = _choice(group, record, rule)
        fingerprint = fingerprint_of(run.config.model_copy(update={"score": rule}), record)
        metrics = record.metrics_at(choice["dimension"])
        rows.append(_compared({**common, **choice, **metrics, "method": method, "fingerprint": fingerprint}))
    return rows


def _compared(row: dict[str, Any]) -> dict[str, Any]:
    truth = row["intrinsic_dim"]
    return {**row, "correct": None if truth is None else row["dimension"] == truth}


def _choice(group: Group, fit: RunRecord, rule: ScoreConfig) -> dict[str, Any]:
    judged = judge(fit, rule, group.config.objective.mmd_weight, group.n)
    return {
        "value": float(judged.choice.rank),
        "dimension": judged.choice.rank,
        "penalty": judged.choice.penalty,
        "score_se": float(judged.choice.standard_error[judged.choice.mean.argmin()]),
        "margin": judged.margin,
        "score_mean": judged.choice.mean.tolist(),
        "score_errors": judged.choice.standard_error.tolist(),
    }
