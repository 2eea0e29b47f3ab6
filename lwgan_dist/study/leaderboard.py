"""A study as a leaderboard: how often each method is right on each data set, how far off it is and what it costs, as
one table and one page that others can read without the study.

It is drawn from the tables of the study and nothing is judged anew. Names of machines and paths stay where they are.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, cast

import polars as pl
import pyarrow as pa

from lwgan_dist.errors import ConfigError
from lwgan_dist.reporting import files
from lwgan_dist.reporting.page import Grid, Page
from lwgan_dist.reporting.values import Row, distinct, interval_text, number_text, short
from lwgan_dist.storage import Folder
from lwgan_dist.study import aggregate
from lwgan_dist.study.figures import correct_figure
from lwgan_dist.study.report import provenance_grid
from lwgan_dist.study.tables import CELLS, COMPARISONS, LEADERBOARD, PROVENANCE, RUNS

TABLE, PAGE = "leaderboard.parquet", "leaderboard.html"
_LEVEL = 0.05
"""Holm-adjusted p below which a method is shown to be less often right than the best."""
_RUNS = pa.schema([field for field in RUNS if field.name != "provenance"])
"""Older studies know no provenance."""


def publish(study: Folder, out: Folder, today: date) -> pa.Table:
    """Write the leaderboard of a study; returns its table.

    Args:
        study: folder of a study with tables.
        out: new, empty, or with an earlier leaderboard, which is replaced.
        today: of the page.

    Raises:
        ConfigError: a study without tables or without data of known dimension, or a folder with something else.
    """
    if not study.has("runs.parquet"):
        raise ConfigError(f"{study.location}: has no tables; lwgan-dist study makes them")
    if not out.has(TABLE) and any(not name.startswith(".") for name in out.names()):
        raise ConfigError(f"{out.location}: is not empty; choose another --out")
    runs = study.read_table("runs.parquet", _RUNS)
    cells = _table(study, "cells.parquet", CELLS) or aggregate.cells(runs)
    compared = _table(study, "comparisons.parquet", COMPARISONS) or aggregate.comparisons(runs)
    table = leaderboard(runs, cells, compared)
    if not table.num_rows:
        raise ConfigError(f"{study.location}: has no data of known dimension, on which an estimate could be right")
    figure = correct_figure(cells)
    page = leaderboard_page(table, _table(study, "provenance.parquet", PROVENANCE), f"Leaderboard: {study.name}", today)
    out.write(PAGE, page.html({"correct": figure} if figure else {}).encode())
    out.write(TABLE, files.parquet(table))
    return table


def _table(folder: Folder, name: str, schema: pa.Schema) -> pa.Table | None:
    return folder.read_table(name, schema) if folder.has(name) else None


def leaderboard(runs: pa.Table, cells: pa.Table, comparisons: pa.Table) -> pa.Table:
    """``leaderboard.parquet``: a row for each cell of known truth; of each (data, n) the method that is most often
    right comes first.

    Args:
        runs: of the study.
        cells: of the study.
        comparisons: of the study; empty where methods were not compared.
    """
    known = _frame(cells).filter(pl.col("intrinsic_dim").is_not_null())
    is_sequence = pl.col("sequence_low").is_not_null()
    low, high = (
        pl.when(is_sequence).then(f"sequence_{end}").otherwise(f"exact_{end}").alias(end) for end in ("low", "high")
    )
    interval = pl.when(is_sequence).then(pl.lit("confidence sequence")).otherwise(pl.lit("Clopper-Pearson"))
    errors = aggregate.mean_error(runs)
    best = known.sort("p_correct", descending=True, maintain_order=True)
    best = best.group_by(_DATA, maintain_order=True).agg(best=pl.col("method").first())
    table = (
        known.with_columns(low, high, interval=interval, draws=pl.col("samples"))
        .join(errors, on=[*_DATA, "method"], how="left")
        .join(best, on=_DATA)
        .join(_p_values(comparisons), on=[*_DATA, "method", "best"], how="left")
    )
    order = known.select(_DATA).unique(maintain_order=True).with_row_index("place")
    table = table.join(order, on=_DATA).sort("place", "p_correct", descending=[False, True], maintain_order=True)
    return table.select(LEADERBOARD.names).to_arrow().cast(LEADERBOARD)


_DATA = ["data", "n"]


def _p_values(comparisons: pa.Table) -> pl.DataFrame:
    """The adjusted p value of every pair of methods, in either order."""
    pairs = _frame(comparisons)
    one = pairs.select(*_DATA, method="method_a", best="method_b", p_best="p_holm")
    other = pairs.select(*_DATA, method="method_b", best="method_a", p_best="p_holm")
    return pl.concat([one, other])


def _frame(table: pa.Table) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(table))


def leaderboard_page(table: pa.Table, provenance: pa.Table | None, title: str, created: date) -> Page:
    """The page of a leaderboard.

    Args:
        table: see `leaderboard`.
        provenance: of the runs; None where it was not recorded.
        title, created: of the page.
    """
    rows = table.to_pylist()
    origins = [{**row, "host": None} for row in (provenance.to_pylist() if provenance else [])]
    content: dict[str, Any] = {
        "standings": _standings(rows),
        "rows": _grid(rows),
        "data": distinct(rows, "data"),
        "draws": sorted({row["draws"] for row in rows}),
        "sequences": any(row["interval"] == "confidence sequence" for row in rows),
        "compared": any(row["p_best"] is not None for row in rows),
        "provenance": provenance_grid(origins),
        "files": {"table": TABLE},
    }
    return Page("study/templates/leaderboard.jinja", title, created, content, {"correct": "P(correct) against n"})


def _grid(rows: Sequence[Row]) -> Grid:
    lines = [
        [row["data"], str(row["intrinsic_dim"]), str(row["n"]), row["method"],
         f"{short(row['p_correct'])} {interval_text(row['low'], row['high'])}", str(row["draws"]),
         _error_text(row), number_text(row["cpu_seconds"]), short(row["p_best"]), str(row["failures"] or "")]
        for row in rows
    ]  # fmt: skip
    header = ["data", "truth", "n", "method", "P(correct)", "draws", "mean error", "CPU s", "p to the best", "failed"]
    return Grid(header, lines, left=4)


def _error_text(row: Row) -> str:
    """``.21 ± .03``: the mean and its Monte Carlo standard error."""
    error = number_text(row["mean_error"])
    return error if row["mean_error_mcse"] is None else f"{error} ± {number_text(row['mean_error_mcse'])}"


def _standings(rows: Sequence[Row]) -> Grid | None:
    """Means over the (data, n) that all methods have; None where there are none."""
    methods, by_place = distinct(rows, "method"), dict[tuple[str, int], dict[str, Row]]()
    for row in rows:
        by_place.setdefault((row["data"], row["n"]), {})[row["method"]] = row
    common = [place for place in by_place.values() if len(place) == len(methods)]
    if not common or len(methods) < 2:
        return None
    lines = []
    for method in methods:
        mine = [place[method] for place in common]
        mean = sum(row["p_correct"] for row in mine) / len(mine)
        level = sum(row["p_best"] is None or row["p_best"] >= _LEVEL for row in mine)
        errors = [row["mean_error"] for row in mine if row["mean_error"] is not None]
        seconds = sum(row["cpu_seconds"] for row in mine) / len(mine)
        shown = number_text(sum(errors) / len(errors)) if errors else "-"
        lines.append((mean, [method, short(mean), f"{level}/{len(mine)}", shown, number_text(seconds)]))
    lines.sort(key=lambda line: -line[0])
    return Grid(
        ["method", "mean P(correct)", "level with the best", "mean error", "CPU s a run"], [line for _, line in lines]
    )
