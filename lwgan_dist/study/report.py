"""The page of a study, from its tables: numbers and tables here, sentences in ``templates/study.jinja``."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.reporting.page import Grid, Page
from lwgan_dist.reporting.values import Row, distinct, finite, interval_text, one_line, short, value_text
from lwgan_dist.study.metrics import metric_docs
from lwgan_dist.study.tables import StudyTables

MOST_FAILURES, MOST_BOOTSTRAPS = 50, 24
_COMMIT = 12
"""Digits of a commit that are shown."""
_KINDS = {"lwgan": "LWGAN", "model": "other models", "classical": "classical estimators", None: "all"}
_CAPTIONS = {
    "correct": "P(correct) against n",
    "outcomes": "Outcomes of the runs",
    "scores": "Score by rank",
    "rates": "Standard error and penalty against n",
    "sensitivity": "Sensitivity to the rank rule",
    "bootstrap": "Bootstrap",
}


def study_page(
    tables: StudyTables, *, created: date, title: str = "Consistency study", notes: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Page:  # fmt: skip
    """The page of a study; sections without content are left out.

    Args:
        tables: of the study.
        created, title: of the page.
        notes: sentences of the caller for the first section, say that the study was interrupted.
        files: path by what is in it.
    """
    runs = tables.runs.select(
        ["data", "n", "method", "replicate", "initialisation", "key", "kind", "seed", "failure", "cpu_seconds"]
    ).to_pylist()
    cells, trends = tables.cells.to_pylist(), tables.trends.to_pylist()
    known = [cell for cell in cells if cell["intrinsic_dim"] is not None]
    solved = _rows(tables.solved)
    content = {
        "notes": notes,
        "files": files or {},
        "data": distinct(cells, "data"),
        "sizes": sorted({cell["n"] for cell in cells}),
        "methods": distinct(cells, "method"),
        "counts": _counts(runs, cells),
        "correct": _by_method(known, lambda cell: correct_text(cell) + failed_text(cell), truth=True),
        "sequences": {cell["sequence_low"] is not None for cell in known},
        "repeated": any((cell["samples"] or 0) < cell["runs"] for cell in known),
        "unknown": _by_method([cell for cell in cells if cell["intrinsic_dim"] is None], _estimates),
        "agreement": _by_method(
            [cell for cell in cells if cell["agreement"] is not None], lambda cell: short(cell["agreement"])
        ),
        "metrics": metric_means(cells),
        "metric_docs": metric_docs(METRICS),
        "level": trends[0]["level"] if trends else None,
        "levels": None if solved else _levels(trends, known),
        "solved": solved_grid(solved),
        "target": solved[0]["target"] if solved else None,
        "compared": _compared(tables.comparisons.to_pylist(), cells),
        "rates": _rates(trends),
        "sensitivity": _sensitivity(_rows(tables.sensitivity)),
        "bootstrap": _bootstrap(_rows(tables.bootstrap)),
        "coverage": _coverage(_rows(tables.coverage)),
        "failures": _failures(runs),
        "provenance": provenance_grid(_rows(tables.provenance)),
    }
    return Page("study/templates/study.jinja", title, created, content, _CAPTIONS)


def _counts(runs: Sequence[Row], cells: Sequence[Row]) -> Grid:
    once = list({row["key"]: row for row in runs}.values())
    lines = []
    for kind, name in _KINDS.items():
        mine = [row for row in once if kind in (row["kind"], None)]
        number = sum(kind in (cell["kind"], None) for cell in cells)
        hours = sum(row["cpu_seconds"] or 0.0 for row in mine) / 3600
        failed = sum(row["failure"] is not None for row in mine)
        text = f"{hours:.1f}" if hours >= 1 else f"{hours:.3f}"
        if mine or number:
            lines.append([name, str(number), str(len(mine)), str(failed), text])
    return Grid(["", "cells", "runs", "failed runs", "CPU hours"], lines if len(lines) > 2 else lines[:1])


def correct_text(cell: Row) -> str:
    """``k/m [low, high]`` of a cell of known truth: the exact interval, or the confidence sequence if there is one."""
    return f"{cell['correct']}/{cell['runs']} {interval_text(*correct_interval(cell))}"


def correct_interval(cell: Row) -> tuple[float, float]:
    """Ends of the exact interval of P(correct), or of the confidence sequence if there is one."""
    name = "exact" if cell["sequence_low"] is None else "sequence"
    return cell[f"{name}_low"], cell[f"{name}_high"]


def modal_text(cell: Row) -> str:
    """``2 in 9/10 (.90)``: the most frequent estimate of a cell and its share; ``-`` without one."""
    if cell["modal_dimension"] is None:
        return "-"
    count, runs = cell["modal_count"], cell["runs"]
    return f"{cell['modal_dimension']} in {count}/{runs} ({short(count / runs)})"


def failed_text(cell: Row) -> str:
    """``, 3 failed``, or nothing."""
    return f", {cell['failures']} failed" if cell["failures"] else ""


def _estimates(cell: Row) -> str:
    mean = cell["mean_value"] if cell["modal_dimension"] is not None else None
    return modal_text(cell) + (f", mean {mean:.2f}" if finite(mean) else "") + failed_text(cell)


def provenance_grid(rows: Sequence[Row]) -> Grid | None:
    """Who computed the runs: commit, versions, machine, how many; None where it was not recorded."""
    lines = [
        [_commit(row["commit"]), row["versions"] or "not recorded", row["host"] or "-", _machine(row),
         str(row["runs"])]
        for row in rows
    ]  # fmt: skip
    is_recorded = any(row["versions"] for row in rows)
    return Grid(["commit", "versions", "host", "machine", "runs"], lines, left=4) if is_recorded else None


def _commit(commit: str | None) -> str:
    """Its first digits, with the mark of local changes."""
    return commit[:_COMMIT] + "+" * commit.endswith("+") if commit else "-"


def _machine(row: Row) -> str:
    """``12 x Some Processor, Some GPU, Linux``."""
    if not row["platform"]:
        return "-"
    parts = [f"{row['processors'] or '?'} x {row['processor']}", row["accelerator"], row["platform"]]
    return ", ".join(part for part in parts if part)


def metric_means(cells: Sequence[Row]) -> Grid | None:
    """The means of the metrics and noise floors that some cell has, a row for each of these cells; None without any."""
    names = [name for name in metric_docs(METRICS) if any(cell.get(name) is not None for cell in cells)]
    lines = [
        [cell["data"], cell["method"], str(cell["n"])]
        + [f"{cell[name]:.3g}" if finite(cell[name]) else "-" for name in names]
        for cell in cells
        if any(cell[name] is not None for name in names)
    ]
    return Grid(["data", "method", "n", *names], lines, left=2) if lines else None


def _levels(trends: Sequence[Row], known: Sequence[Row]) -> Grid | None:
    largest: dict[str, int] = {}
    for cell in known:
        largest[cell["data"]] = max(cell["n"], largest.get(cell["data"], 0))
    rows = [row for row in trends if row["data"] in largest]
    if not any(row["sizes"] > 1 for row in rows):
        return None
    return _pivot(rows, {"data": "data"}, lambda row: _level(row, largest[row["data"]]))


def _level(row: Row, largest: int) -> str:
    if row["monotone"] is False:
        return "falls with n"
    estimate = f"> {largest}" if row["n_level"] is None else str(row["n_level"])
    ends = [end for end in (row["n_low"], row["n_high"]) if end is not None and not math.isnan(end)]
    if len(ends) == 2:
        estimate += f" [{', '.join('more' if end == math.inf else f'{end:g}' for end in ends)}]"
    return estimate + (f" ({short(row['reached'])})" if finite(row["reached"]) else "")


_ENDS_OF_A_SEARCH = {
    "solved": "solved", "at most": "reached at the smallest n", "more": "not reached at the largest n",
    "falls": "P(correct) falls with n", "undecided": "undecided: the most runs allowed",
    "unfinished": "a run did not finish",
}  # fmt: skip


def solved_grid(rows: Sequence[Row]) -> Grid | None:
    """The solved n of every data and method, with its interval and how the search ended; None without any."""
    lines = [
        [row["data"], row["method"], _solved_text(row), str(row["runs"]), _ENDS_OF_A_SEARCH[row["outcome"]]]
        for row in rows
    ]
    return Grid(["data", "method", "n", "runs", "outcome"], lines, left=2) if lines else None


def _solved_text(row: Row) -> str:
    """``1340 (1000, 1830]``: the estimate and the interval; ``-`` where P(correct) falls."""
    if row["n_low"] is None:
        return "-"
    largest, smallest = row["sizes"][-1], row["sizes"][0]
    if row["outcome"] in ("at most", "more"):
        return f"<= {smallest}" if row["outcome"] == "at most" else f"> {largest}"
    high = "more" if row["n_high"] == math.inf else f"{row['n_high']:g}"
    return f"{value_text(row['n'])} ({row['n_low']:g}, {high}]"


def _compared(comparisons: Sequence[Row], cells: Sequence[Row]) -> dict[str, Any] | None:
    """The first LWGAN (or the first method) against the others, from its side."""
    methods = distinct(cells, "method")
    first = next((cell["method"] for cell in cells if cell["kind"] == "lwgan"), methods[0] if methods else "")
    rows = []
    for row in comparisons:
        if row["method_a"] == first:
            rows.append(row | {"method": row["method_b"]})
        elif row["method_b"] == first:
            rows.append(row | {"method": row["method_a"], "only_a": row["only_b"], "only_b": row["only_a"]})
    if not rows:
        return None
    grid = _pivot(
        rows, {"data": "data", "n": "n"},
        lambda row: f"{row['only_a']} : {row['only_b']}, p {short(row['p_holm'])}",
    )  # fmt: skip
    return {"first": first, "number": len(comparisons), "grid": grid}


def _rates(trends: Sequence[Row]) -> Grid | None:
    rows = [row for row in trends if finite(row["se_slope"]) or finite(row["penalty_slope"])]
    lines = [[row["data"], row["method"], _slope(row, "se_slope"), _slope(row, "penalty_slope")] for row in rows]
    return Grid(["data", "method", "slope of SE", "slope of λ"], lines, left=2) if lines else None


def _slope(row: Row, name: str) -> str:
    if not finite(row[name]):
        return "-"
    return f"{row[name]:.3f}" + (f" ± {row[name + '_se']:.3f}" if finite(row[name + "_se"]) else "")


def _sensitivity(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Shares of correct runs (of data of known truth) and of unchanged estimates by rule, with their extremes."""
    rows = [row for row in rows if row["runs"]]
    if not rows:
        return None
    known = [row for row in rows if row["correct"] is not None]
    correct = _shares(known, lambda row: row["correct"])
    kept = _shares(rows, lambda row: row["runs"] - row["changed"])
    shown = correct or kept
    exponents, constants = (sorted({place[i] for place in shown}) for i in (0, 1))
    grid = Grid(
        ["exponent a", *(f"c = {c:g}" for c in constants)],
        [[f"{a:g}", *(short(shown.get((a, c))) for c in constants)] for a in exponents],
    )
    ends = _ends(correct) if correct else None
    return {"correct": ends, "kept": _ends(kept), "mixed": 0 < len(known) < len(rows), "grid": grid}


def _shares(rows: Sequence[Row], count: Callable[[Row], int]) -> dict[tuple[float, float], float]:
    """Share of runs by (exponent, constant)."""
    good: Counter[tuple[float, float]] = Counter()
    total: Counter[tuple[float, float]] = Counter()
    for row in rows:
        place = row["exponent"], row["constant"]
        good[place] += count(row)
        total[place] += row["runs"]
    return {place: good[place] / total[place] for place in sorted(total)}


def _ends(shares: Mapping[tuple[float, float], float]) -> list[str]:
    """The smallest and the largest share, with their rules."""
    worst, best = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    return [f"{short(shares[place])} (a = {place[0]:g}, c = {place[1]:g})" for place in (worst, best)]


def _coverage(rows: Sequence[Row]) -> Grid | None:
    lines = [
        [row["data"], str(row["n"]), row["method"], row["kind"],
         "-" if row["covers"] is None
         else f"{row['covers']}/{row['runs']} {interval_text(row['exact_low'], row['exact_high'])}",
         f"{row['mean_set_size']:.2f}" if finite(row["mean_set_size"]) else "-", short(row["p_mode_correct"])]
        for row in rows
    ]  # fmt: skip
    header = ["data", "n", "method", "kind", "coverage", "ranks in the set", "mode correct"]
    return Grid(header, lines, left=4) if any(row["covers"] is not None for row in rows) else None


def _bootstrap(rows: Sequence[Row]) -> dict[str, Any] | None:
    if not rows:
        return None
    lines = [
        [row["data"], str(row["n"]), row["method"], str(row["replicate"]), row["kind"],
         value_text(row["intrinsic_dim"]), value_text(row["dimension"]),
         f"{value_text(row['mode'])} ({short(row['mode_frequency'])})",
         "{" + ", ".join(map(str, row["rank_set"] or [])) + "} (" + short(row["mass"]) + ")"]
        for row in rows[:MOST_BOOTSTRAPS]
    ]  # fmt: skip
    header = ["data", "n", "method", "sample", "kind", "truth", "estimate", "mode (share)", "set (mass)"]
    return {
        "number": len(rows),
        "refits": sum(row["resamples"] or 0 for row in rows),
        "failures": sum(row["failures"] or 0 for row in rows),
        "grid": Grid(header, lines, left=5),
    }


def _failures(runs: Sequence[Row]) -> dict[str, Any] | None:
    failed = list({row["key"]: row for row in runs if row["failure"] is not None}.values())
    fitted = [row for row in failed if row["kind"] != "classical"]
    several = ["initialisation"] if any(row["initialisation"] for row in fitted) else []
    names = ["data", "n", "method", "replicate", *several, "seed"]
    lines = [[*(str(row[name]) for name in names), one_line(row["failure"])] for row in fitted[:MOST_FAILURES]]
    reasons: dict[str, Counter[str]] = {}
    for row in failed:
        if row["kind"] == "classical":
            reasons.setdefault(row["method"], Counter())[one_line(row["failure"])] += 1
    classical = []
    for method, counts in reasons.items():
        reason, count = counts.most_common(1)[0]
        classical.append([method, str(counts.total()), f"{reason} ({count})"])
    return {
        "number": len(fitted),
        "what": "LWGAN run" if {row["kind"] for row in fitted} <= {"lwgan"} else "run",
        "fitted": Grid([*names, "reason"], lines, left=7),
        "classical": Grid(["method", "failures", "most frequent reason"], classical, left=3),
    } if failed else None  # fmt: skip


def _by_method(cells: Sequence[Row], text: Callable[[Row], str], truth: bool = False) -> Grid | None:
    """A row for each (data, n), a column for each method."""
    columns = {"data": "data", **({"truth": "intrinsic_dim"} if truth else {}), "n": "n"}
    return _pivot(cells, columns, text) if cells else None


def _pivot(rows: Sequence[Row], columns: Mapping[str, str], text: Callable[[Row], str]) -> Grid:
    """A row for each value of the columns (names in the rows, by heading), a column for each method, as they come."""
    methods = distinct(rows, "method")
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        lines.setdefault(tuple(str(row[name]) for name in columns.values()), {})[row["method"]] = text(row)
    body = [[*names, *(line.get(method, "-") for method in methods)] for names, line in lines.items()]
    return Grid([*columns, *methods], body)


def _rows(table: pa.Table | None) -> list[Row]:
    return [] if table is None else table.to_pylist()
