"""A comparison in the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from lwgan_dist.compare.plan import PlanLine
from lwgan_dist.compare.report import differences, means, rates
from lwgan_dist.compare.tables import CompareTables
from lwgan_dist.reporting.page import Grid
from lwgan_dist.reporting.terminal import Screen, print_files, print_table, result_table
from lwgan_dist.reporting.values import Row, distinct


def print_comparison(tables: CompareTables, files: Mapping[str, str]) -> None:
    """Metrics by model and paired differences, at the largest n of each data, rates, and where the files are, on
    standard output.

    Args:
        tables: of the comparison.
        files: path by what is in it.
    """
    console = Screen(highlight=False)
    compared = _at_the_largest_n(tables.compare.to_pylist())
    for title, grid in means(compared):
        console.print(Text(title, style="bold"))
        print_grid(console, grid)
    console.print("mean and 95 % t interval over the replicates", style="dim", soft_wrap=True)
    for title, grid in differences(compared):
        console.print(Text(f"{title}: difference to {compared[0]['reference']}, paired", style="bold"))
        print_grid(console, grid)
    if slopes := rates(tables.rates.to_pylist()):
        console.print(Text("distance to rows drawn anew, above its floor: slope on log n", style="bold"))
        print_grid(console, slopes)
    print_files(console, files)


def _at_the_largest_n(compared: Sequence[Row]) -> list[Row]:
    """Of several n the page shows all."""
    largest = {data: max(row["n"] for row in compared if row["data"] == data) for data in distinct(compared, "data")}
    return [row for row in compared if row["n"] == largest[row["data"]]]


def print_plan(lines: Sequence[PlanLine]) -> None:
    """The plan of a comparison and its cost: a row for each data, n and model."""
    header = ["data", "n", "model", "runs", "to do", "CPU s a run"]
    rows = [
        [line.data, str(line.n), line.model, str(line.runs), str(line.missing), f"{line.cpu_seconds:.3g}"]
        for line in lines
    ]
    print_grid(Screen(highlight=False), Grid(header, rows, left=3))


def print_grid(console: Console, grid: Grid) -> None:
    """A table of texts."""
    table = result_table()
    for number, name in enumerate(grid.header):
        table.add_column(Text(name), justify="left" if number < grid.left else "right", overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    print_table(console, table)
