"""The summary of a search as Markdown and as one HTML file, both from one list of sections."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from matplotlib.figure import Figure

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
from lwgan_dist.reporting.search_figures import PARAMETER, agreement, value_text
from lwgan_dist.reporting.study_figures import short

_MOST_TRIALS, _MOST_FAILURES, _MOST_FRONT = 10, 50, 50
_CAPTIONS = {
    "history": "Objective by number of the trial",
    "slices": "Objective against each parameter",
    "dimension": "Estimated dimension against each parameter",
    "parallel": "All finished trials in parallel coordinates",
    "importances": "Importance of the parameters",
    "confirmation": "The best trial against the default on fresh seeds",
    "pareto": "Pareto front",
    "distribution": "Distribution of the estimate",
}


@dataclass(frozen=True)
class SearchTables:
    """The tables of a search; see `lwgan_dist.search.tables`."""

    trials: pa.Table
    runs: pa.Table
    confirmation: pa.Table
    dimensions: pa.Table
    importances: pa.Table


@dataclass(frozen=True)
class Facts:
    """What a search has found, in numbers; None where there is no such number."""

    finished: int
    stopped: int
    failed: int
    agreement: float | None
    """Share of the pairs of runs from different finished trials with equal estimates."""
    modal_dimension: int | None
    modal_share: float | None
    """Most frequent estimate over the runs of all finished trials, and its share."""
    best_modal_dimension: int | None
    best_modal_share: float | None
    """The same over the best decile of the trials."""
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    """Mean difference of the objective, best trial - default, on fresh seeds, and its 95 % t interval."""
    better: int
    worse: int
    pairs: int
    """Fresh seeds on which the best trial is better, worse, and those on which neither failed."""
    best_failures: int
    default_failures: int
    """Fresh seeds on which either failed."""
    best_number: int | None
    """Of the best trial; None with several objectives or if none has finished."""
    default_objective: float | None
    best_objective: float | None
    """Of these trials in the search."""
    cpu_seconds: float
    objectives: tuple[str, ...]
    """Labels of what is minimised."""
    intrinsic_dim: int | None


def search_markdown(
    tables: SearchTables,
    facts: Facts,
    *,
    created: date,
    title: str = "Search",
    notes: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> str:
    """The search in Markdown.

    Args:
        tables, facts: of the search.
        created: date in the title.
        title: of the page.
        notes: sentences of the caller, say that the search was interrupted.
        files: path by what is in it.
        figures: path or relative address of a figure by its name in `search_figures`.
    """
    pictures = figures or {}
    sections = search_sections(tables, facts, notes, files or {}, pictures)
    return markdown(title, created, sections, pictures, _captions(facts))


def search_html(
    tables: SearchTables,
    facts: Facts,
    *,
    created: date,
    title: str = "Search",
    notes: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    figures: Mapping[str, Figure] | None = None,
) -> str:
    """The search as one HTML file without scripts and without anything from elsewhere; figures are inside.

    Args:
        tables, facts, created, title, notes, files: as in `search_markdown`.
        figures: by the names of `search_figures`; others are shown at the end.
    """
    pictures = figures or {}
    sections = search_sections(tables, facts, notes, files or {}, pictures)
    return html_document(title, created, sections, pictures, _captions(facts))


def search_sections(
    tables: SearchTables, facts: Facts, notes: Sequence[str], files: Mapping[str, str], figures: Collection[str]
) -> list[Section]:
    """What there is to say, in order; sections without content are left out."""
    trials = tables.trials.to_pylist()
    paths = parameter_paths(tables.trials)
    sections = [
        _result(trials, paths, tables.confirmation.to_pylist(), facts),
        _dependence(tables, facts),
        _front(trials, paths, facts),
        _parameters(tables.importances.to_pylist(), figures),
        _trials(trials, paths, facts),
        _failures(trials, paths),
        Section("Notes", list(notes)) if notes else None,
        Section("Files", [Grid(["content", "path"], [[name, path] for name, path in files.items()], left=2)])
        if files
        else None,
    ]
    return [section for section in sections if section]


def comparison_sentence(facts: Facts) -> str:
    """Whether the best trial's configuration is better than the default, judged on fresh seeds only."""
    if not facts.pairs and (facts.best_failures or facts.default_failures):
        return (
            f"On fresh seeds the best trial failed {facts.best_failures} times, the default {facts.default_failures} "
            "times, and never neither: there is no comparison."
        )
    if not facts.pairs and facts.best_objective is not None and facts.best_objective == facts.default_objective:
        return "The default is the best trial: there was nothing to compare on fresh seeds."
    if not facts.pairs or not finite(facts.difference):
        return "The best trial was not compared with the default on fresh seeds."
    seeds = f"On {counted(facts.pairs, 'fresh seed')}"
    low, high = facts.difference_low, facts.difference_high
    told = (
        f"mean difference of the objective {facts.difference:.3g}"
        + (f", 95 % t interval [{low:.3g}, {high:.3g}]" if finite(low) and finite(high) else ", no interval")
        + f"; better on {facts.better}, worse on {facts.worse}"
    )
    if facts.best_failures or facts.default_failures:
        told += f"; the best trial failed on {facts.best_failures} more, the default on {facts.default_failures}"
    if not (finite(low) and finite(high)) or facts.best_failures:
        return f"{seeds} the best trial is not shown to be better than the default ({told})."
    if high < 0:
        return f"{seeds} the best trial is better than the default ({told})."
    if low > 0:
        return f"{seeds} the best trial is worse than the default ({told})."
    return f"{seeds} the best trial is not shown to be better than the default: the interval holds 0 ({told})."


def dependence_sentence(dimensions: pa.Table, finished: int) -> str:
    """Whether the estimate was the same whatever the tuning.

    Args:
        dimensions: the table.
        finished: number of finished trials.
    """
    rows = dimensions.to_pylist()
    told = _by_frequency(rows, "all")
    if not told:
        return "No finished trial has an estimate."
    total = sum(row["runs"] for row in told)
    first = told[0]["dimension"]
    if len(told) == 1:
        if finished == 1:
            return f"The only finished trial says {first}: this tells nothing of other configurations."
        runs = f", in all of their {total} runs" if total > finished else ""
        return f"{finished} of {finished} trials say {first}{runs}."
    text = f"The estimate depends on the tuning or on chance: {first} in {counted(told[0]['runs'], 'run')}"
    text += "".join(f", {row['dimension']} in {row['runs']}" for row in told[1:])
    best = _by_frequency(rows, "best_decile")
    if best:
        of = sum(row["runs"] for row in best)
        text += "; among the best decile "
        text += ", ".join(f"{row['dimension']} in {row['runs']} of {of}" for row in best)
    return text + "."


def parameter_paths(trials: pa.Table) -> list[str]:
    """Paths of the searched fields."""
    return [name.removeprefix(PARAMETER) for name in trials.column_names if name.startswith(PARAMETER)]


def number_text(value: float | None) -> str:
    """A measure with three digits; ``-`` for none."""
    return f"{value:.3g}" if finite(value) else "-"


def default_trial(trials: Sequence[Row]) -> Row | None:
    """The trial of the default configuration, if it was tried."""
    return next((row for row in trials if row["origin"] == "default"), None)


def ranked(trials: Sequence[Row]) -> list[Row]:
    """Finished trials, the best first; of several objectives, the front first, then by the first objective."""
    done = [row for row in trials if row["state"] == "finished"]
    return sorted(done, key=lambda row: (row["place"] or 0, not row["best"], _first(row), row["number"]))


def _first(row: Row) -> float:
    return row["objectives"][0] if row["objectives"] and finite(row["objectives"][0]) else float("inf")


def _captions(facts: Facts) -> dict[str, str]:
    further = {f"slices_{n}": f"Objective {n} against each parameter" for n in range(2, len(facts.objectives) + 1)}
    return _CAPTIONS | further


def _result(trials: Sequence[Row], paths: Sequence[str], confirmation: Sequence[Row], facts: Facts) -> Section:
    number = facts.finished + facts.stopped + facts.failed
    parts: list[Part] = [
        f"{counted(number, 'trial')}: {facts.finished} finished, {facts.stopped} stopped early, {facts.failed} failed; "
        f"{_cpu(facts.cpu_seconds)}. Minimised: {'; '.join(facts.objectives)}."
    ]
    best = next((row for row in trials if row["number"] == facts.best_number), None)
    default = default_trial(trials)
    if best is None:
        if len(facts.objectives) == 1:
            parts.append("No trial has finished: there is no best one.")
            return Section("Result", parts)
        front = sum(bool(row["best"]) for row in trials)
        parts.append(
            f"With several objectives there is no best trial, but a Pareto front of {counted(front, 'trial')}."
        )
    else:
        parts += _best(best, default, paths, facts)
    if best is not None or facts.pairs:
        parts.append(comparison_sentence(facts))
        if facts.pairs:
            parts.append(
                "The objective of the best of many trials is too good, as it was chosen by it; the comparison uses "
                "samples and seeds that the search has not seen."
            )
            parts += [_estimates(confirmation), Picture("confirmation")]
    return Section("Result", parts)


def _best(best: Row, default: Row | None, paths: Sequence[str], facts: Facts) -> list[Part]:
    objective = number_text(facts.best_objective)
    if default is not None and best["number"] == default["number"]:
        text = f"The default, trial {best['number']}, has the smallest objective, {objective}: no trial did better."
        default = None
    else:
        text = f"Trial {best['number']} ({best['origin']}) has the smallest objective, {objective}"
        told = default is not None and finite(facts.default_objective)
        text += f"; the default has {number_text(facts.default_objective)}." if told else "."
    columns = [best] if default is None else [best, default]
    names = [f"trial {best['number']}", *(["default"] if default is not None else [])]
    rows = [[path, *(value_text(row[PARAMETER + path]) for row in columns)] for path in paths]
    rows.append(["objective", *(number_text(row["objective"]) for row in columns)])
    rows.append(["estimated dimension", *(_estimate(row) for row in columns)])
    if facts.intrinsic_dim is not None:
        rows.append(["true dimension", *([str(facts.intrinsic_dim)] * len(columns))])
    return [text, Grid(["", *names], rows)]


def _estimates(confirmation: Sequence[Row]) -> str:
    """The estimates on fresh seeds."""
    parts = []
    for name, column in (("the best trial", "best_dimension"), ("the default", "default_dimension")):
        told = Counter(row[column] for row in confirmation if row[column] is not None)
        of = sum(told.values())
        if of:
            counts = ", ".join(
                f"{d} in {n} of {of}" for d, n in sorted(told.items(), key=lambda item: (-item[1], item))
            )
            parts.append(f"{name} {counts}")
    return f"Estimated dimension on the fresh seeds: {'; '.join(parts)}." if parts else "No estimate on fresh seeds."


def _dependence(tables: SearchTables, facts: Facts) -> Section | None:
    rows = tables.dimensions.to_pylist()
    if not rows:
        return None
    parts: list[Part] = [dependence_sentence(tables.dimensions, facts.finished)]
    if facts.modal_dimension is not None:
        text = f"Most frequent estimate: {facts.modal_dimension}, a share of {short(facts.modal_share)} of all runs"
        if facts.best_modal_dimension is not None:
            text += f"; among the best decile {facts.best_modal_dimension}, {short(facts.best_modal_share)}"
        parts.append(f"{text}.")
    if finite(facts.agreement):
        text = f"Agreement: {short(facts.agreement)} of the pairs of runs from different trials have equal estimates."
        within = agreement(tables.runs, between=False)
        if within is not None:
            text += (
                f" Of the pairs of runs of one trial on different seeds it is {short(within)}: what is missing to 1 "
                "there is chance, not tuning."
            )
        parts.append(text)
    if facts.intrinsic_dim is not None:
        parts.append(f"The true dimension is {facts.intrinsic_dim}.")
    groups = {"all": "all finished trials", "best_decile": "best decile of the trials"}
    shown = [name for name in groups if any(row["trials"] == name for row in rows)]
    table = []
    for dimension in sorted({row["dimension"] for row in rows}):
        line = [str(dimension)]
        for name in shown:
            found = next((r for r in rows if r["trials"] == name and r["dimension"] == dimension), None)
            line.append(f"{found['runs']} ({short(found['share'])})" if found else "0")
        table.append(line)
    parts += [
        "Runs that gave each dimension, and their share:",
        Grid(["dimension", *(groups[name] for name in shown)], table),
        Picture("dimension"),
        Picture("distribution"),
    ]
    return Section("Does the estimate depend on the tuning?", parts)


def _front(trials: Sequence[Row], paths: Sequence[str], facts: Facts) -> Section | None:
    if len(facts.objectives) < 2:
        return None
    front = [row for row in ranked(trials) if row["best"]]
    if not front:
        return None
    parts: list[Part] = ["Trials that no other trial beats in one objective without being worse in another:"]
    parts.append(_trial_grid(front[:_MOST_FRONT], paths, facts.objectives))
    if len(front) > _MOST_FRONT:
        parts.append(f"and {len(front) - _MOST_FRONT} more; all are in the table of trials.")
    return Section("Pareto front", [*parts, Picture("pareto")])


def _parameters(importances: Sequence[Row], figures: Collection[str]) -> Section | None:
    parts: list[Part] = []
    targets = list(dict.fromkeys(row["target"] for row in importances))
    if importances:
        parts.append(
            "Importance of a parameter: by how much R² of a random forest falls when its values are permuted, ± the "
            "standard deviation over the permutations; and the rank correlation (Spearman) with the target."
        )
        for target in targets:
            row = next(row for row in importances if row["target"] == target)
            r2 = row["forest_r2"]
            text = f"{target}: R² of the forest on trials it was not trained on {number_text(r2)}"
            text += f", from {counted(row['trials'], 'finished trial')}"
            text += "." if finite(r2) and r2 > 0 else "; not above 0, so these importances mean little."
            parts.append(text)
        header = ["parameter"]
        for target in targets:
            header += [f"importance for the {target}", "rank correlation"]
        found = {(row["target"], row["parameter"]): row for row in importances}
        lines = []
        for path in dict.fromkeys(row["parameter"] for row in importances):
            line = [path]
            for target in targets:
                line += _importance(found.get((target, path)))
            lines.append(line)
        parts += [Grid(header, lines), Picture("importances")]
    shown = sorted((name for name in figures if name.startswith("slices")), key=lambda name: (len(name), name))
    parts += [Picture(name) for name in (*shown, "parallel") if name in figures]
    return Section("Parameters", parts) if parts else None


def _importance(row: Row | None) -> list[str]:
    if row is None or not finite(row["importance"]):
        return ["-", "-"]
    sd = f" ± {row['importance_sd']:.3f}" if finite(row["importance_sd"]) else ""
    return [f"{row['importance']:.3f}{sd}", f"{row['spearman']:.2f}" if finite(row["spearman"]) else "-"]


def _trials(trials: Sequence[Row], paths: Sequence[str], facts: Facts) -> Section:
    origins = list(dict.fromkeys(row["origin"] for row in trials))
    counts = Counter((row["origin"], row["state"]) for row in trials)
    states = ("finished", "stopped", "failed")
    table = [[origin, *(str(counts[origin, state]) for state in states)] for origin in origins]
    if len(table) > 1:
        table.append(["all", str(facts.finished), str(facts.stopped), str(facts.failed)])
    parts: list[Part] = [Grid(["origin", *states], table)]
    done = ranked(trials)
    if done and len(facts.objectives) == 1:
        shown = done[:_MOST_TRIALS]
        default = default_trial(done)
        if default is not None and default not in shown:
            shown.append(default)
        text = "The finished trials" if len(done) <= _MOST_TRIALS else f"The best {_MOST_TRIALS} finished trials"
        text += ", and the default" if len(shown) > _MOST_TRIALS else ""
        parts += [f"{text}:", _trial_grid(shown, paths, ["objective"])]
    return Section("Trials", [*parts, Picture("history")])


def _trial_grid(rows: Sequence[Row], paths: Sequence[str], objectives: Sequence[str]) -> Grid:
    """A row for each trial."""
    return Grid(
        ["trial", "origin", *paths, *objectives, "estimated dimension", "CPU s"],
        [
            [
                str(row["number"]), row["origin"], *(value_text(row[PARAMETER + path]) for path in paths),
                *(number_text(goal) for goal in row["objectives"]), _estimate(row), number_text(row["cpu_seconds"]),
            ]
            for row in rows
        ],
        left=2,
    )  # fmt: skip


def _failures(trials: Sequence[Row], paths: Sequence[str]) -> Section | None:
    failed = [row for row in trials if row["state"] == "failed"]
    if not failed:
        return None
    parts: list[Part] = [
        Grid(
            ["trial", "origin", "parameters", "reason"],
            [
                [str(row["number"]), row["origin"], assignments(row, paths), one_line(row["failure"] or "-")]
                for row in failed[:_MOST_FAILURES]
            ],
            left=4,
        )
    ]
    if len(failed) > _MOST_FAILURES:
        parts.append(f"and {len(failed) - _MOST_FAILURES} more; all are in the table of trials.")
    return Section("Failed trials", parts)


def assignments(row: Row, paths: Sequence[str]) -> str:
    """``objective.mmd_weight=1, schedule.name=fast`` of the parameters that have a value."""
    told = [(path, row[PARAMETER + path]) for path in paths]
    return ", ".join(f"{path}={value_text(value)}" for path, value in told if value is not None)


def _estimate(row: Row) -> str:
    """The most frequent estimate, and those by seed where they differ."""
    if row["dimension"] is None:
        return "-"
    several = row["dimensions"] and len(set(row["dimensions"])) > 1
    return f"{row['dimension']}" + (f" ({', '.join(map(str, row['dimensions']))})" if several else "")


def _by_frequency(rows: Sequence[Row], trials: str) -> list[Row]:
    mine = [row for row in rows if row["trials"] == trials and row["runs"]]
    return sorted(mine, key=lambda row: (-row["runs"], row["dimension"]))


def _cpu(seconds: float) -> str:
    return f"{seconds / 3600:.1f} CPU hours" if seconds >= 3600 else f"{seconds:.0f} CPU seconds"
