"""A study in the terminal."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lwgan_dist.reporting.page import Grid
from lwgan_dist.reporting.terminal import Screen, print_files, print_table, result_table
from lwgan_dist.reporting.values import Row, distinct, short
from lwgan_dist.study.report import correct_interval, metric_means, modal_text, solved_grid


def print_study(cells: pa.Table, files: Mapping[str, str], level: float = 0.95) -> None:
    """P(correct) by data, n and method, the means of metrics, and where the files are, on standard output.

    Where the truth is unknown: the most frequent estimate and its share.

    Args:
        cells: the table of cells.
        files: path by what is in it.
        level: P(correct) from which a cell is green.
    """
    rows, console = cells.to_pylist(), Screen(highlight=False)
    methods, truths = distinct(rows, "method"), {row["intrinsic_dim"] is not None for row in rows}
    table = result_table()
    room = console.width - 15 - 11 * len(methods)  # a cell needs 11 columns, truth and n together 15
    longest = max((len(row["data"]) for row in rows), default=0)
    table.add_column("data", overflow="fold", min_width=max(4, min(18, room, longest)))
    for column in (*(["truth"] if True in truths else []), "n"):
        table.add_column(column, justify="right")
    for method in methods:
        table.add_column(Text(method), overflow="fold")
    lines: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row["data"], row["n"]), {})[row["method"]] = row
    before = None
    for (label, n), here in lines.items():
        truth = next(iter(here.values()))["intrinsic_dim"]
        texts = [Text("" if label == before and console.is_terminal else label)]
        texts += [Text("" if truth is None else str(truth))] if True in truths else []
        table.add_row(*texts, Text(str(n)), *(_cell(here.get(method), level) for method in methods))
        before = label
    print_table(console, table)
    meaning = []
    if True in truths:
        sequence = any(row["sequence_low"] is not None for row in rows)
        interval = "confidence sequence" if sequence else "95 % Clopper-Pearson interval"
        meaning.append(f"correct/runs and {interval} of P(correct), green from {level:g}")
    if False in truths:
        meaning.append("where the truth is unknown, the most frequent estimate and its share of the runs")
    console.print("; ".join(meaning), style="dim", soft_wrap=True)
    _print_metrics(console, rows)
    print_files(console, files)


def print_solved(solved: pa.Table, files: Mapping[str, str]) -> None:
    """The n that P(correct) needs, by data and method, and where the files are, on standard output."""
    console, rows = Screen(highlight=False), solved.to_pylist()
    grid = solved_grid(rows)
    assert grid is not None
    _print_grid(console, grid)
    target, confidence = rows[0]["target"], rows[0]["confidence"]
    console.print(
        f"n at which P(correct) reaches {target:g}, with an interval that holds it with probability {confidence:g} "
        "whenever the search stops, if P(correct) does not fall with n",
        style="dim", soft_wrap=True,
    )  # fmt: skip
    print_files(console, files)


def _print_grid(console: Console, grid: Grid) -> None:
    table = result_table()
    for number, name in enumerate(grid.header):
        table.add_column(name, justify="left" if number < grid.left else "right", overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    print_table(console, table)


def _print_metrics(console: Console, cells: Sequence[Row]) -> None:
    grid = metric_means(cells)
    if grid is None:
        return
    _print_grid(console, grid)
    console.print("means over the runs, of metrics on hold-out rows at the estimated rank", style="dim", soft_wrap=True)


def _cell(row: Row | None, level: float) -> Text:
    if row is None:
        return Text("")
    failed = f" {row['failures']} failed" if row["failures"] else ""
    if row["intrinsic_dim"] is None:
        return Text(modal_text(row) + failed)
    text = f"{row['correct']}/{row['runs']} {'-'.join(map(short, correct_interval(row)))}{failed}"
    good = row["p_correct"] is not None and row["p_correct"] >= level - 1e-9
    return Text(text, style="green" if good else "")


def print_plan(lines: Sequence[Mapping[str, Any]]) -> None:
    """The plan of a study and its cost: a row for each data, n and method."""
    console = Screen(highlight=False, width=None if sys.stdout.isatty() else 160)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("data", "n", "method", "replicates", "runs", "to do", "CPU s a run"):
        table.add_column(column, justify="left" if column in ("data", "method") else "right")
    for line in lines:
        table.add_row(
            escape(line["data"]), str(line["n"]), escape(", ".join(line["methods"])), str(line["replicates"]),
            str(line["runs"]), str(line["missing"]), f"{line['cpu_seconds']:.3g}",
        )  # fmt: skip
    console.print(table)
