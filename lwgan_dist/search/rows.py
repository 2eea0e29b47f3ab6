"""From trials that have ended to the tables of a search."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lwgan_dist.search import analysis
from lwgan_dist.search.objective import mean_objective
from lwgan_dist.search.search import Outcome, Pair, Search
from lwgan_dist.search.tables import CONFIRMATION, MEASURES, PARAMETER, RUNS, TRIALS, SearchTables
from lwgan_dist.search.trial_queue import Ended

Row = dict[str, Any]


def search_tables(search: Search, outcome: Outcome) -> SearchTables:
    """All tables."""
    trials = trials_table(search, outcome.ended)
    runs = runs_table(outcome.ended, outcome.pairs)
    return SearchTables(
        trials=trials,
        runs=runs,
        confirmation=confirmation_table(search, outcome.pairs),
        dimensions=analysis.dimensions(trials, runs),
        importances=analysis.importances(trials, list(search.config.space), search.config.seed),
    )


def trials_table(search: Search, ended: Sequence[Ended]) -> pa.Table:
    """``trials.parquet``."""
    rows = [_trial_row(search, item) for item in ended]
    _place(rows)
    table = pa.Table.from_pylist(rows, schema=TRIALS)
    for path in search.config.space:
        column = _column([_value(search, item, path) for item in ended])
        doc = {"doc": f"value of {path}; null where a condition excludes it"}
        table = table.append_column(pa.field(PARAMETER + path, column.type, metadata=doc), column)
    return table


def _trial_row(search: Search, item: Ended) -> Row:
    row: Row = {
        "number": item.number,
        "key": item.key,
        "origin": item.proposal.origin,
        "state": item.outcome.state,
        "failure": item.failure,
        "reports": item.outcome.reports,
        "intrinsic_dim": search.intrinsic_dim,
        "objectives": item.outcome.objectives,
        "best": False,
    }
    if item.record is None or item.outcome.objectives is None:
        return row
    runs = item.record.runs
    dimensions = [run["dimension"] for run in runs if run["dimension"] is not None]
    counts = Counter(dimensions)
    means = {name: _mean([run.get(name) for run in runs]) for name in MEASURES}
    return {
        **row,
        **means,
        "objective": item.outcome.objectives[0] if len(item.outcome.objectives) == 1 else None,
        "dimension": min(counts, key=lambda value: (-counts[value], value), default=None),
        "dimensions": dimensions or None,
    }


def _place(rows: list[Row]) -> None:
    """Enter ``place`` and ``best``."""
    finished = [row for row in rows if row["objectives"] is not None]
    if not finished:
        return
    objectives = np.array([row["objectives"] for row in finished])
    if objectives.shape[1] > 1:
        for row, best in zip(finished, analysis.pareto_front(objectives), strict=True):
            row["best"] = bool(best)
        return
    for row, place in zip(finished, analysis.places(objectives[:, 0]), strict=True):
        row["place"], row["best"] = place, place == 1


def _value(search: Search, item: Ended, path: str) -> Any:
    values = item.proposal.values or search.space.values_of(search.default)
    return values.get(path)


def _column(values: list[Any]) -> pa.Array:
    """Values of a field, as numbers, booleans or text."""
    given = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in given) and given:
        return pa.array(values, pa.bool_())
    if all(isinstance(value, int) and not isinstance(value, bool) for value in given) and given:
        return pa.array(values, pa.int64())
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    texts = [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array(texts, pa.string())


def runs_table(ended: Sequence[Ended], pairs: Sequence[Pair]) -> pa.Table:
    """``runs.parquet``; runs of equal configurations stand in it once, under the first number."""
    first = {item.key: item for item in reversed(ended)}
    rows = [
        {**run, "number": item.number, "role": "trial"}
        for item in ended
        if item.outcome.state == "finished" and item.record and first[item.key] is item
        for run in item.record.runs
    ]
    for pair in pairs:
        for role, record in (("best", pair.best), ("default", pair.default)):
            if record:
                rows += [{**run, "index": pair.index, "number": None, "role": role} for run in record.runs]
    return pa.Table.from_pylist(rows, schema=RUNS)


def confirmation_table(search: Search, pairs: Sequence[Pair]) -> pa.Table:
    """``confirmation.parquet``."""
    rows = []
    for pair in pairs:
        row: Row = {"index": pair.index}
        for role, record in (("best", pair.best), ("default", pair.default)):
            if record is None:
                continue
            row[f"{role}_failure"] = record.failure
            if record.failure is None:
                row[f"{role}_dimension"] = record.runs[0]["dimension"]
                value = mean_objective(record.runs, search.config.objectives[0])
                if math.isfinite(value):
                    row[role] = value
                else:
                    row[f"{role}_failure"] = "the objective is not finite"
        if "best" in row and "default" in row:
            row["difference"] = row["best"] - row["default"]
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=CONFIRMATION)


def spent(outcome: Outcome) -> float:
    """Processor seconds of everything in the ledger that this outcome rests on."""
    records = [item.record for item in outcome.ended]
    records += [record for pair in outcome.pairs for record in (pair.best, pair.default)]
    return sum({record.key: record.cpu_seconds for record in records if record}.values())


def _mean(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return statistics.fmean(given) if len(given) == len(values) and given else None
