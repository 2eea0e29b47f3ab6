"""The tables of a comparison, as Arrow schemas; the metadata say what each column holds
(`lwgan_dist.results.describe`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.results import described

FRESH = {
    "fresh_sliced_wasserstein": "sliced Wasserstein distance of generated rows to rows drawn anew",
    "fresh_energy_distance": "energy distance of generated rows to rows drawn anew",
}
"""Distances to rows drawn anew, with what they are."""

_text, _int, _float = pa.string(), pa.int64(), pa.float64()

_CELL = {
    "data": (_text, "label of the data"),
    "n": (_int, "rows of the sample"),
    "model": (_text, "label of the model"),
}

RUNS = described(
    **_CELL,
    replicate=(_int, "number of the sample, from 0; equal numbers are equal samples and equal hold-out rows"),
    key=(_text, "name of the run in the ledger; models that differ in the rank alone share it"),
    fingerprint=(_text, "identity of configuration and data, that of `lwgan-dist train`; null of a failure"),
    name=(_text, "name of the model"),
    data_seed=(_int, "seed of the sample"),
    seed=(_int, "seed of the run"),
    intrinsic_dim=(_int, "truth; null if unknown"),
    ambient_dim=(_int, "columns of the data; null of a failure"),
    latent_dim=(_int, "most coordinates of a code; null of a failure"),
    dimension=(_int, "estimated dimension; null of a model without an estimate, and of a failure"),
    rank=(_int, "coordinates of a code at which it was measured; null of a failure"),
    failure=(_text, "why there is no result; null if there is one"),
    cpu_seconds=(_float, "processor time of training and scoring; 0 of a failure"),
    wall_seconds=(_float, "the same by the clock"),
)
"""``runs.parquet``: a row for each run and model, without the columns of metrics; see `runs_schema`."""

COMPARED = described(
    **_CELL,
    metric=(_text, "name of the metric"),
    runs=(_int, "replicates that have it"),
    mean=(_float, "mean over them"),
    low=(_float, "95 % t interval of the mean over replicates, lower end; null of one replicate"),
    high=(_float, "upper end"),
    floor=(_float, "mean of the metric between two samples of the data; null of a metric without"),
    reference=(_text, "label of the model from which the difference is taken"),
    pairs=(_int, "replicates that both have"),
    difference=(_float, "mean of value - value of the reference on the same replicate; null of the reference itself"),
    difference_low=(_float, "95 % t interval of the difference, paired by replicate, lower end"),
    difference_high=(_float, "upper end"),
)
"""``compare.parquet``: a row for each data, n, model and metric."""

RATES = described(
    data=(_text, "label of the data"),
    model=(_text, "label of the model"),
    metric=(_text, "distance of generated rows to rows drawn anew"),
    sizes=(pa.list_(_int), "n at which every replicate is above the floor; of those the slope is"),
    points=(_int, "replicates at these n"),
    slope=(_float, "of log(distance - floor) on log n, least squares over replicates; null of fewer than three n"),
    slope_low=(_float, "95 % t interval, lower end"),
    slope_high=(_float, "upper end"),
    last=(_float, "mean of distance - floor at the largest n"),
)
"""``rates.parquet``: a row for each data, model and distance, of comparisons with several sizes."""


@dataclass(frozen=True)
class CompareTables:
    """The tables of a comparison, by the names of their files; ``runs`` with columns of metrics."""

    runs: pa.Table
    compare: pa.Table
    rates: pa.Table


def doc_of(metric: str) -> str:
    """What a metric or a distance to fresh rows is."""
    return METRICS[metric].doc if metric in METRICS else FRESH[metric]


def shown_metrics(names: Sequence[str]) -> list[str]:
    """The metrics of a comparison, in the order in which they are shown."""
    return [*(name for name in METRICS if name in names), *FRESH]


def runs_schema(names: Sequence[str]) -> pa.Schema:
    """``runs.parquet`` with a column for each of the metrics, each distance to fresh rows, and their floors."""
    fields = list(RUNS)
    for name in shown_metrics(names):
        fields.append(pa.field(name, _float, metadata={"doc": f"{doc_of(name)}; null where there is none"}))
        floor = f"the same between two samples of the data: floor of {name}"
        fields.append(pa.field(f"{name}_floor", _float, metadata={"doc": floor}))
    return pa.schema(fields)
