"""The summary of a consistency study as Markdown and as one HTML file, both from one list of sections."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.reporting.page import (
    Grid,
    Part,
    Picture,
    Row,
    Section,
    counted,
    finite,
    html_document,
    markdown,
    one_line,
)
from lwgan_dist.reporting.study_figures import short

_MOST_FAILURES, _MOST_BASE_RUNS = 50, 24
_CAPTIONS = {
    "correct": "P(correct) against n",
    "outcomes": "Outcomes of the runs",
    "scores": "Score by rank",
    "rates": "Standard error and penalty against n",
    "sensitivity": "Sensitivity to the rank rule",
    "bootstrap": "Bootstrap",
}


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study; see `lwgan_dist.study.tables`. The last three may be empty."""

    runs: pa.Table
    cells: pa.Table
    comparisons: pa.Table
    trends: pa.Table
    sensitivity: pa.Table | None = None
    bootstrap: pa.Table | None = None
    coverage: pa.Table | None = None


def markdown_summary(
    tables: StudyTables,
    *,
    created: date,
    title: str = "Consistency study",
    notes: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> str:
    """The study in Markdown.

    Args:
        tables: of the study.
        created: date in the title.
        title: of the page.
        notes: sentences of the caller for the first section, say that the study was interrupted.
        files: path by what is in it.
        figures: path or relative address of a figure by its name in `study_figures`.
    """
    pictures = figures or {}
    sections = study_sections(tables, notes, files or {}, pictures)
    return markdown(title, created, sections, pictures, _CAPTIONS)


def html_page(
    tables: StudyTables,
    *,
    created: date,
    title: str = "Consistency study",
    notes: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    figures: Mapping[str, Figure] | None = None,
) -> str:
    """The study as one HTML file without scripts and without anything from elsewhere; figures are inside.

    Args:
        tables, created, title, notes, files: as in `markdown_summary`.
        figures: by the names of `study_figures`; others are shown at the end.
    """
    pictures = figures or {}
    sections = study_sections(tables, notes, files or {}, pictures)
    return html_document(title, created, sections, pictures, _CAPTIONS)


def study_sections(
    tables: StudyTables, notes: Sequence[str], files: Mapping[str, str], figures: Collection[str]
) -> list[Section]:
    """What there is to say, in order; sections without content are left out."""
    runs = tables.runs.select(
        ["data", "n", "method", "replicate", "initialisation", "key", "kind", "seed", "failure", "cpu_seconds"]
    ).to_pylist()
    cells = tables.cells.to_pylist()
    sections = [
        _overview(runs, cells, notes),
        _correct(cells),
        _unknown(cells),
        _agreement(cells),
        _metrics(cells),
        _levels(tables.trends.to_pylist(), cells),
        _compared(tables.comparisons.to_pylist(), cells),
        _rates(tables.trends.to_pylist()),
        Section("Scores", [Picture("scores")]) if "scores" in figures else None,
        _sensitivity(_rows(tables.sensitivity)),
        _bootstrap(_rows(tables.bootstrap), _rows(tables.coverage)),
        _failures(runs),
        Section("Files", [Grid(["content", "path"], [[name, path] for name, path in files.items()], left=2)])
        if files
        else None,
    ]
    return [section for section in sections if section]


def _overview(runs: Sequence[Row], cells: Sequence[Row], notes: Sequence[str]) -> Section:
    once = list({row["key"]: row for row in runs}.values())
    rows = []
    for kind, name in (("lwgan", "LWGAN"), ("classical", "classical estimators")):
        mine = [row for row in once if row["kind"] == kind]
        hours = sum(row["cpu_seconds"] or 0.0 for row in mine) / 3600
        failed = sum(row["failure"] is not None for row in mine)
        number = sum(cell["kind"] == kind for cell in cells)
        if mine or number:
            rows.append([name, str(number), str(len(mine)), str(failed), _hours(hours)])
    if len(rows) > 1:
        hours = sum(row["cpu_seconds"] or 0.0 for row in once) / 3600
        failed = sum(row["failure"] is not None for row in once)
        rows.append(["all", str(len(cells)), str(len(once)), str(failed), _hours(hours)])
    sizes = sorted({cell["n"] for cell in cells})
    methods, labels = _distinct(cells, "method"), _distinct(cells, "data")
    parts: list[Part] = [
        f"{counted(len(labels), 'data set')}, n = {', '.join(map(str, sizes))}, {counted(len(methods), 'method')}: "
        f"{', '.join(methods)}.",
        *notes,
        Grid(["", "cells", "runs", "failed runs", "CPU hours"], rows),
        "A cell is one (data, n, method). LWGAN methods that differ in the rank rule only share their runs, which "
        "count once here. CPU hours are those of the runs, without the refits of a bootstrap.",
    ]
    return Section("What was run", parts)


def _correct(cells: Sequence[Row]) -> Section | None:
    known = [cell for cell in cells if cell["intrinsic_dim"] is not None]
    if not known:
        return None
    sequence = any(cell["sequence_low"] is not None for cell in known)
    text = "Runs with the true dimension of all runs, and the 95 % Clopper-Pearson interval of P(correct)"
    if sequence:
        text = (
            "Runs with the true dimension of all runs, and an interval of P(correct). Replicates were added on demand: "
            "the interval is the confidence sequence, simultaneous over cells, as a Clopper-Pearson interval would not "
            "keep its level"
        )
        if any(cell["sequence_low"] is None for cell in known):
            text += "; of cells without it, the 95 % Clopper-Pearson interval"
    text += ". A failed run counts as incorrect."
    if any((cell["samples"] or 0) < cell["runs"] for cell in known):
        text += (
            " Some cells have several runs on a sample: counts and shares are of runs, the trials of the intervals are "
            "samples."
        )
    grid = _by_method(known, lambda cell: correct_text(cell) + _failed(cell), truth=True)
    return Section("P(correct)", [text, grid, Picture("correct"), Picture("outcomes")])


def _unknown(cells: Sequence[Row]) -> Section | None:
    unknown = [cell for cell in cells if cell["intrinsic_dim"] is None]
    if not unknown:
        return None
    text = (
        "The true dimension of these data is not known, so no estimate is right or wrong here: the most frequent "
        "estimate, in how many of all runs it came out, and the mean value of the runs that did not fail."
    )
    return Section("Estimates where the truth is unknown", [text, _by_method(unknown, _estimates, truth=False)])


def _estimates(cell: Row) -> str:
    if cell["modal_dimension"] is None:
        return "-" + _failed(cell)
    mean = f", mean {cell['mean_value']:.2f}" if finite(cell["mean_value"]) else ""
    share = short(cell["modal_count"] / cell["runs"])
    return f"{cell['modal_dimension']} in {cell['modal_count']}/{cell['runs']} ({share}){mean}{_failed(cell)}"


def _agreement(cells: Sequence[Row]) -> Section | None:
    several = [cell for cell in cells if cell["agreement"] is not None]
    if not several:
        return None
    text = "Of the pairs of runs on one sample, with different seeds of training, the share with equal dimension."
    grid = _by_method(several, lambda cell: short(cell["agreement"]), truth=False)
    return Section("Agreement of runs on one sample", [text, grid])


def metric_rows(cells: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The means of the metrics that some cell has, as a table of texts: its header and its rows."""
    names = [name for name in METRICS if any(cell.get(name) is not None for cell in cells)]
    having = [cell for cell in cells if any(cell[name] is not None for name in names)]
    rows = [
        [cell["data"], cell["method"], str(cell["n"])]
        + [f"{cell[name]:.3g}" if finite(cell[name]) else "-" for name in names]
        for cell in having
    ]
    return ["data", "method", "n", *names], rows


def _metrics(cells: Sequence[Row]) -> Section | None:
    header, rows = metric_rows(cells)
    if not rows:
        return None
    text = "Means over the runs of each cell, of metrics on hold-out rows at the estimated rank: "
    text += "; ".join(f"{name}: {METRICS[name].doc}" for name in header[3:]) + "."
    return Section("Metrics", [text, Grid(header, rows, left=2)])


def _levels(trends: Sequence[Row], cells: Sequence[Row]) -> Section | None:
    known = {cell["data"] for cell in cells if cell["intrinsic_dim"] is not None}
    rows = [row for row in trends if row["data"] in known]
    if not any(row["sizes"] > 1 for row in rows):
        return None
    level = rows[0]["level"]
    largest = {label: max(cell["n"] for cell in cells if cell["data"] == label) for label in known}
    name = f"n_{100 * level:g}"
    text = (
        f"{name} is the smallest n of the study at which the isotonic fit of P(correct) reaches {level:g}, with its "
        '95 % bootstrap interval; "more" is more than the largest n. In parentheses the share of bootstrap samples '
        "that reach it. Where P(correct) falls with n, no such n is given."
    )
    table = _pivot(
        rows, ["data"], lambda row: [row["data"]], lambda row: _level(row, largest[row["data"]]),
    )  # fmt: skip
    return Section(f"Sample size for P(correct) of {level:g}", [text, table])


def _level(row: Row, largest: int) -> str:
    ends = ["more" if end == math.inf else f"{end:g}" for end in (row["n_low"], row["n_high"]) if _told(end)]
    interval = f" [{', '.join(ends)}]" if len(ends) == 2 else ""
    reached = f" ({short(row['reached'])})" if finite(row["reached"]) else ""
    if row["monotone"] is False:
        return "falls with n"
    estimate = f"> {largest}" if row["n_level"] is None else str(row["n_level"])
    return estimate + interval + reached


def _compared(comparisons: Sequence[Row], cells: Sequence[Row]) -> Section | None:
    methods = _distinct(cells, "method")
    first = next((cell["method"] for cell in cells if cell["kind"] == "lwgan"), methods[0] if methods else "")
    rows = []
    for row in comparisons:
        if row["method_a"] == first:
            rows.append(row)
        elif row["method_b"] == first:
            swapped = {"method_a": first, "method_b": row["method_a"], "only_a": row["only_b"], "only_b": row["only_a"]}
            rows.append(row | swapped)
    if not rows:
        return None
    text = (
        f"{first} against each other method on the same samples: samples on which only {first} is correct : only the "
        "other is, and the p value of the exact two-sided McNemar test, adjusted by Holm over all "
        f"{len(comparisons)} comparisons of the study (pairs of methods that are not shown here among them)."
    )
    table = _pivot(
        [row | {"method": row["method_b"]} for row in rows],
        ["data", "n"],
        lambda row: [row["data"], str(row["n"])],
        lambda row: f"{row['only_a']} : {row['only_b']}, p {short(row['p_holm'])}",
    )
    return Section(f"{first} against the others", [text, table])


def _rates(trends: Sequence[Row]) -> Section | None:
    rows = [
        [row["data"], row["method"], _slope(row, "se_slope"), _slope(row, "penalty_slope")]
        for row in trends
        if finite(row["se_slope"]) or finite(row["penalty_slope"])
    ]
    if not rows:
        return None
    text = (
        "Slopes of the logarithm of the standard error SE of the score, and of the penalty λ, on log n, with their "
        "standard errors."
    )
    grid = Grid(["data", "method", "slope of SE", "slope of λ"], rows, left=2)
    return Section("Rates", [text, grid, Picture("rates")])


def _slope(row: Row, name: str) -> str:
    if not finite(row[name]):
        return "-"
    return f"{row[name]:.3f}" + (f" ± {row[name + '_se']:.3f}" if finite(row[name + "_se"]) else "")


def _sensitivity(rows: Sequence[Row]) -> Section | None:
    rows = [row for row in rows if row["runs"]]
    if not rows:
        return None
    parts: list[Part] = [
        "The runs judged again from their stored scores by the rule λ = c · SE^a, without new training; runs that "
        "diverged are not among them. A rule chosen by this table has seen these runs: judge it on others."
    ]
    known = [row for row in rows if row["correct"] is not None]
    if known:
        shares = _shares(known, lambda row: row["correct"])
        parts += [_range(shares, "Pooled over data of known truth, n and method, the share of correct runs"),
                  _sensitivity_grid(shares)]  # fmt: skip
    kept = _shares(rows, lambda row: row["runs"] - row["changed"])
    of_all = "Over all data, the" if len(known) < len(rows) else "The"
    sentence = _range(kept, f"{of_all} share of runs with the same estimate as under the configured rule")
    parts += [sentence] if known else [sentence, _sensitivity_grid(kept)]
    parts.append(Picture("sensitivity"))
    return Section("Sensitivity to the rank rule", parts)


def _shares(rows: Sequence[Row], count: Any) -> dict[tuple[float, float], float]:
    """Share of runs by (exponent, constant)."""
    good: Counter[tuple[float, float]] = Counter()
    total: Counter[tuple[float, float]] = Counter()
    for row in rows:
        place = row["exponent"], row["constant"]
        good[place] += count(row)
        total[place] += row["runs"]
    return {place: good[place] / total[place] for place in sorted(total)}


def _range(shares: Mapping[tuple[float, float], float], what: str) -> str:
    worst, best = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    ends = [f"{short(shares[place])} (a = {place[0]:g}, c = {place[1]:g})" for place in (worst, best)]
    return f"{what} lies between {ends[0]} and {ends[1]}."


def _sensitivity_grid(shares: Mapping[tuple[float, float], float]) -> Grid:
    exponents, constants = (sorted({place[i] for place in shares}) for i in (0, 1))
    return Grid(
        ["exponent a", *(f"c = {c:g}" for c in constants)],
        [[f"{a:g}", *(short(shares.get((a, c))) for c in constants)] for a in exponents],
    )


def _bootstrap(rows: Sequence[Row], coverage: Sequence[Row]) -> Section | None:
    if not rows and not coverage:
        return None
    parts: list[Part] = []
    if coverage:
        parts += [
            "Runs whose bootstrap set of ranks holds the true dimension of all bootstrapped runs, with the 95 % "
            "Clopper-Pearson interval; mean number of ranks in the set; share of runs whose most frequent rank is the "
            "true dimension.",
            Grid(
                ["data", "n", "method", "kind", "coverage", "ranks in the set", "mode correct"],
                [
                    [row["data"], str(row["n"]), row["method"], row["kind"],
                     f"{row['covers']}/{row['runs']} {_ends(row['exact_low'], row['exact_high'])}",
                     _number(row["mean_set_size"]), short(row["p_mode_correct"])]
                    for row in coverage
                ],
                left=4,
            ),
        ]  # fmt: skip
    if rows:
        failures, refits = sum(row["failures"] or 0 for row in rows), sum(row["resamples"] or 0 for row in rows)
        parts.append(
            f"{counted(len(rows), 'bootstrap')}: {refits} refits gave a dimension, {failures} did not."
            + (f" The first {_MOST_BASE_RUNS}:" if len(rows) > _MOST_BASE_RUNS else "")
        )
        parts.append(
            Grid(
                ["data", "n", "method", "sample", "kind", "truth", "estimate", "mode (share)", "set (mass)"],
                [
                    [row["data"], str(row["n"]), row["method"], str(row["replicate"]), row["kind"],
                     _whole(row["intrinsic_dim"]), _whole(row["dimension"]),
                     f"{_whole(row['mode'])} ({short(row['mode_frequency'])})",
                     "{" + ", ".join(map(str, row["rank_set"] or [])) + "} (" + short(row["mass"]) + ")"]
                    for row in rows[:_MOST_BASE_RUNS]
                ],
                left=5,
            )
        )  # fmt: skip
    return Section("Bootstrap", [*parts, Picture("bootstrap")])


def _failures(runs: Sequence[Row]) -> Section | None:
    failed = list({row["key"]: row for row in runs if row["failure"] is not None}.values())
    if not failed:
        return None
    parts: list[Part] = []
    lwgan = [row for row in failed if row["kind"] == "lwgan"]
    if lwgan:
        several = any(row["initialisation"] for row in lwgan)
        parts.append(f"{counted(len(lwgan), 'LWGAN run')} gave no dimension:")
        parts.append(
            Grid(
                ["data", "n", "method", "replicate", *(["initialisation"] if several else []), "seed", "reason"],
                [
                    [row["data"], str(row["n"]), row["method"], str(row["replicate"]),
                     *([str(row["initialisation"])] if several else []), str(row["seed"]), one_line(row["failure"])]
                    for row in lwgan[:_MOST_FAILURES]
                ],
                left=7,
            )
        )  # fmt: skip
        if len(lwgan) > _MOST_FAILURES:
            parts.append(f"and {len(lwgan) - _MOST_FAILURES} more; all are in the table of runs.")
    classical = [row for row in failed if row["kind"] != "lwgan"]
    if classical:
        rows = []
        for method in _distinct(classical, "method"):
            reasons = Counter(one_line(row["failure"]) for row in classical if row["method"] == method)
            reason, count = reasons.most_common(1)[0]
            rows.append([method, str(reasons.total()), f"{reason} ({count})"])
        parts += ["Runs of classical estimators without a dimension, and the most frequent reason (how often):",
                  Grid(["method", "failures", "most frequent reason"], rows, left=3)]  # fmt: skip
    return Section("Failed runs", parts)


def correct_text(cell: Row) -> str:
    """``k/m [low, high]`` of a cell of known truth: the exact interval, or the confidence sequence if there is one."""
    name = "exact" if cell["sequence_low"] is None else "sequence"
    return f"{cell['correct']}/{cell['runs']} {_ends(cell[name + '_low'], cell[name + '_high'])}"


def _ends(low: float | None, high: float | None) -> str:
    return f"[{short(low)}, {short(high)}]"


def _failed(cell: Row) -> str:
    return f", {cell['failures']} failed" if cell["failures"] else ""


def _by_method(cells: Sequence[Row], text: Any, truth: bool) -> Grid:
    """A row for each (data, n), a column for each method."""
    header = ["data", *(["truth"] if truth else []), "n"]
    return _pivot(
        cells,
        header,
        lambda cell: [cell["data"], *([str(cell["intrinsic_dim"])] if truth else []), str(cell["n"])],
        text,
    )


def _pivot(rows: Sequence[Row], header: Sequence[str], key: Any, text: Any) -> Grid:
    """A row for each key, a column for each method, in the order in which they come."""
    methods = _distinct(rows, "method")
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        lines.setdefault(tuple(key(row)), {})[row["method"]] = text(row)
    body = [[*names, *(line.get(method, "-") for method in methods)] for names, line in lines.items()]
    return Grid([*header, *methods], body, left=1)


def _rows(table: pa.Table | None) -> list[Row]:
    return [] if table is None else table.to_pylist()


def _distinct(rows: Sequence[Row], column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows))


def _told(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _whole(value: int | None) -> str:
    return "-" if value is None else str(value)


def _hours(hours: float) -> str:
    return f"{hours:.1f}" if hours >= 1 else f"{hours:.3f}"
