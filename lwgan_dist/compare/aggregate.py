"""From finished runs to the tables of a comparison: means, paired differences, rates.

The unit of every interval is the replicate: a sample with its seeds, on which every model is trained once.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lwgan_dist.compare.design import PlannedRun
from lwgan_dist.compare.record import RunRecord
from lwgan_dist.compare.tables import COMPARED, FRESH, RATES, runs_schema
from lwgan_dist.reporting.values import Row, distinct, finite

CONFIDENCE = 0.95
LEAST_SIZES = 3
"""Sizes that a slope needs."""


class Estimate(NamedTuple):
    """An estimate with its 95 % interval; None where there is none."""

    value: float | None
    low: float | None
    high: float | None


def runs_table(planned: Sequence[PlannedRun], records: Mapping[str, RunRecord], metrics: Sequence[str]) -> pa.Table:
    """``runs.parquet``: a row for each planned run that is finished, in the order of the plan.

    Args:
        planned: the runs of the comparison.
        records: of those that are finished, by key.
        metrics: names of those that have a column.
    """
    rows = [_row(run, records[run.key]) for run in planned if run.key in records]
    return pa.Table.from_pylist(rows, schema=runs_schema(metrics))


def _row(run: PlannedRun, record: RunRecord) -> Row:
    cell = run.cell
    rank = cell.rank if record.failure is None and cell.rank else record.rank
    design = {"data": cell.data, "n": cell.n, "model": cell.model, "name": cell.name, "replicate": run.replicate}
    seeds = {"data_seed": run.data_seed, "seed": run.seed, "intrinsic_dim": cell.intrinsic_dim}
    return {**vars(record), **(record.metrics_at(rank) if rank else {}), **design, **seeds, "rank": rank}


def mean_estimate(values: Sequence[float]) -> Estimate:
    """The mean with the 95 % t interval mean -+ t s / sqrt(k), k values of standard deviation s; no interval with one
    value.
    """
    count = len(values)
    if count == 0:
        return Estimate(None, None, None)
    mean = float(np.mean(values))
    if count == 1:
        return Estimate(mean, None, None)
    half = _t(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half)


def slope_estimate(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """The least-squares slope of y on x with its 95 % t interval; needs three points and two values of x."""
    centred = np.asarray(x) - np.mean(x)
    spread = float(centred @ centred)
    slope = float(centred @ np.asarray(y)) / spread
    residual = np.asarray(y) - np.mean(y) - slope * centred
    half = _t(len(x) - 2) * math.sqrt(float(residual @ residual) / (len(x) - 2) / spread)
    return Estimate(slope, slope - half, slope + half)


def _t(freedom: int) -> float:
    """The quantile of Student's distribution for a two-sided 95 % interval."""
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, freedom))


def comparison_table(runs: pa.Table, reference: str) -> pa.Table:
    """``compare.parquet``: every metric that a model has, by data, n and model.

    Args:
        runs: the table of runs.
        reference: label of the model from which the paired differences are taken.
    """
    names = [name for name in runs.schema.names if f"{name}_floor" in runs.schema.names]
    cells: dict[tuple[str, int], list[Row]] = {}
    for row in runs.to_pylist():
        cells.setdefault((row["data"], row["n"]), []).append(row)
    rows = [
        {"data": data, "n": n, **_compared(here, model, name, reference)}
        for (data, n), here in cells.items()
        for model in distinct(here, "model")
        for name in names
        if any(finite(row[name]) for row in here if row["model"] == model)
    ]
    return pa.Table.from_pylist(rows, schema=COMPARED)


def _compared(rows: Sequence[Row], model: str, metric: str, reference: str) -> Row:
    mine, others = _by_replicate(rows, model, metric), _by_replicate(rows, reference, metric)
    pairs = [] if model == reference else [mine[i] - others[i] for i in mine if i in others]
    floors = [row[f"{metric}_floor"] for row in rows if finite(row[f"{metric}_floor"])]
    mean, low, high = mean_estimate(list(mine.values()))
    difference, difference_low, difference_high = mean_estimate(pairs)
    return {
        "model": model, "metric": metric, "runs": len(mine), "mean": mean, "low": low, "high": high,
        "floor": float(np.mean(floors)) if floors else None, "reference": reference, "pairs": len(pairs),
        "difference": difference, "difference_low": difference_low, "difference_high": difference_high,
    }  # fmt: skip


def _by_replicate(rows: Sequence[Row], model: str, metric: str) -> dict[int, float]:
    return {row["replicate"]: row[metric] for row in rows if row["model"] == model and finite(row[metric])}


def rates_table(runs: pa.Table) -> pa.Table:
    """``rates.parquet``: how fast the distance to fresh rows, above its floor, falls with n.

    The slope is of the replicates at those n at which all of them are above the floor: a distance at its floor says
    that the error is too small to be seen, not how small it is.

    Args:
        runs: the table of runs.
    """
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in runs.to_pylist():
        lines.setdefault((row["data"], row["model"]), []).append(row)
    rows = []
    for (data, model), here in lines.items():
        for metric in FRESH:
            excess = _excess(here, metric)
            if len(excess) > 1:
                rows.append({"data": data, "model": model, "metric": metric, **_rate(excess)})
    return pa.Table.from_pylist(rows, schema=RATES)


def _excess(rows: Sequence[Row], metric: str) -> dict[int, list[float]]:
    """Distance - floor of every replicate, by n in ascending order."""
    by_size: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["n"]):
        if finite(row[metric]):
            by_size.setdefault(row["n"], []).append(row[metric] - row[f"{metric}_floor"])
    return by_size


def _rate(excess: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    seen = {n: values for n, values in excess.items() if min(values) > 0}
    points = [(math.log(n), math.log(value)) for n, values in seen.items() for value in values]
    slope = slope_estimate(*zip(*points, strict=True)) if len(seen) >= LEAST_SIZES else Estimate(None, None, None)
    return {
        "sizes": list(seen), "points": len(points), "slope": slope.value, "slope_low": slope.low,
        "slope_high": slope.high, "last": float(np.mean(excess[max(excess)])),
    }  # fmt: skip
