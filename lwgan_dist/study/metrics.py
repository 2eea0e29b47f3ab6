"""The columns of metrics in the tables of a study: of a run at its estimated rank, of a cell the mean over its runs."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from lwgan_dist.metrics.registry import METRICS, floor_of

_CELL = ["data", "n", "method"]


def metric_fields(names: Sequence[str], prefix: str = "") -> list[pa.Field]:
    """The columns of these metrics, each with its noise floor beside it; null of failures, of classical estimators and
    where they were not computed.
    """
    return [
        pa.field(name, pa.float64(), metadata={"doc": f"{prefix}{doc}"}) for name, doc in metric_docs(names).items()
    ]


def metric_docs(names: Iterable[str]) -> dict[str, str]:
    """What metrics and their noise floors are, by name."""
    docs = {}
    for name in names:
        docs[name] = METRICS[name].doc
        if METRICS[name].has_floor:
            docs[floor_of(name)] = f"noise floor of {name}: the same of other real rows in place of generated ones"
    return docs


def with_means(cells: pa.Table, runs: pa.Table, names: Sequence[str]) -> pa.Table:
    """``cells.parquet`` with the means of metrics over the runs that have them.

    Args:
        cells: the table of cells.
        runs: the table of runs, with columns of the metrics.
        names: of the metrics.
    """
    if not names:
        return cells
    means = runs.group_by(_CELL).aggregate([(name, "mean") for name in metric_docs(names)]).to_pylist()
    by_cell = {tuple(row[column] for column in _CELL): row for row in means}
    rows = [by_cell[cell] for cell in zip(*(cells[column].to_pylist() for column in _CELL), strict=True)]
    for item in metric_fields(names, "mean over the runs that have it: "):
        cells = cells.append_column(item, pa.array([row[f"{item.name}_mean"] for row in rows], pa.float64()))
    return cells
