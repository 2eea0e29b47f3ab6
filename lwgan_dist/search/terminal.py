"""A search in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lwgan_dist.reporting.terminal import Screen, cpu_text, print_files, print_table, result_table, table_width
from lwgan_dist.reporting.values import number_text, value_text
from lwgan_dist.search.analysis import Facts, default_trial, has_estimates, ranked
from lwgan_dist.search.report import comparison_sentence, dependence_sentence, parameter_paths
from lwgan_dist.search.tables import PARAMETER, SearchTables

_MOST_TRIALS = 5


def print_search(tables: SearchTables, facts: Facts, files: Mapping[str, str]) -> None:
    """The best 5 finished trials beside the default, what they amount to, and where the files are, on standard output.

    Args:
        tables, facts: of the search.
        files: path by what is in it.
    """
    trials, paths = tables.trials.to_pylist(), parameter_paths(tables.trials)
    shown, default = ranked(trials)[:_MOST_TRIALS], default_trial(trials)
    if default is not None and default not in shown:
        shown.append(default)
    columns, estimates = [], has_estimates(trials)
    for row in shown:
        goals = row["objectives"] or [None] * len(facts.objectives)
        texts = [row["origin"] if row["state"] == "finished" else row["state"]]
        texts += [value_text(row[PARAMETER + path]) for path in paths]
        texts += map(number_text, goals)
        columns.append((str(row["number"]), [*texts, value_text(row["dimension"])] if estimates else texts))
    single = len(facts.objectives) == 1
    goal_names = ["objective"] if single else [f"objective {n + 1}" for n in range(len(facts.objectives))]
    console = Screen(highlight=False)
    if columns:
        names = ["origin", *paths, *goal_names, *(["dimension"] if estimates else [])]
        _print_columns(console, names, columns, paths)
        console.print()
    goals = facts.objectives[0] if single else "; ".join(f"{n + 1}: {o}" for n, o in enumerate(facts.objectives))
    counts = f"{facts.finished} finished, {facts.stopped} stopped, {facts.failed} failed trials"
    console.print(escape(f"objective {goals}; {counts}, {cpu_text(facts.cpu_seconds)}"), style="dim", soft_wrap=True)
    if facts.pairs or facts.best_number is not None:
        console.print(escape(comparison_sentence(facts)), soft_wrap=True)
    if estimates:
        console.print(escape(dependence_sentence(tables.dimensions, facts.finished)), soft_wrap=True)
    print_files(console, files)


def print_search_plan(
    parameters: Sequence[tuple[str, str, str]], proposals: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """The plan of a search, on standard output.

    Args:
        parameters: path, values as text, and condition (empty for none) of each searched field.
        proposals: the first trials: origin, and value by path; at most 5 are shown.
    """
    console, table = Screen(highlight=False), result_table()
    conditional = any(condition for _, _, condition in parameters)
    for column in ("parameter", "values", *(["only where"] if conditional else [])):
        table.add_column(column, overflow="fold")
    for texts in parameters:
        table.add_row(*(Text(text) for text in texts[: 3 if conditional else 2]))
    print_table(console, table)
    if not proposals:
        return
    console.print()
    paths = [path for path, _, _ in parameters]
    columns = [
        (str(number), [origin, *(value_text(values.get(path)) for path in paths)])
        for number, (origin, values) in enumerate(proposals[:_MOST_TRIALS])
    ]
    _print_columns(console, ["origin", *paths], columns, paths)


def _print_columns(
    console: Console, names: Sequence[str], columns: Sequence[tuple[str, Sequence[str]]], paths: Sequence[str]
) -> None:
    """A table with a column for each trial, as there may be many parameters; their paths are cut where it is narrow."""

    def table(cut: Mapping[str, str]) -> Table:
        made = result_table()
        made.add_column("trial", overflow="fold")
        for heading, _ in columns:
            made.add_column(Text(heading), justify="right", overflow="fold")
        for place, name in enumerate(names):
            made.add_row(Text(cut.get(name, name)), *(Text(texts[place]) for _, texts in columns))
        return made

    narrow = console.is_terminal and table_width(console, table({})) > console.width
    print_table(console, table(_short_paths(paths) if narrow else {}))


def _short_paths(paths: Sequence[str]) -> dict[str, str]:
    """The last part of each path, as many parts as tell it from the others."""
    cut = {}
    for path in paths:
        parts = path.split(".")
        for kept in range(1, len(parts) + 1):
            tail = parts[-kept:]
            if sum(other.split(".")[-kept:] == tail for other in paths) == 1:
                break
        cut[path] = ".".join(tail)
    return cut
