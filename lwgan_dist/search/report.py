"""The page of a search, from its tables: numbers and tables here, sentences in ``templates/search.jinja``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from lwgan_dist.reporting.page import Grid, Page
from lwgan_dist.reporting.values import Row, counted, distinct, finite, number_text, one_line, short, value_text
from lwgan_dist.search.analysis import Facts, agreement, default_trial, has_estimates, ranked
from lwgan_dist.search.tables import PARAMETER, SearchTables

MOST_TRIALS, MOST_FAILURES, MOST_FRONT = 10, 50, 50
_CAPTIONS = {
    "history": "Objective by number of the trial",
    "slices": "Objective against each parameter",
    "dimension": "Estimated dimension against each parameter",
    "parallel": "All finished trials in parallel coordinates",
    "importances": "Importance of the parameters",
    "confirmation": "The best trial against the default on fresh seeds",
    "pareto": "Pareto front",
}
_GROUPS = {"all": "all finished trials", "best_decile": "best decile of the trials"}


def search_page(
    tables: SearchTables, facts: Facts, *, created: date, title: str = "Search", notes: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Page:  # fmt: skip
    """The page of a search; sections without content are left out.

    Args:
        tables, facts: of the search.
        created, title: of the page.
        notes: sentences of the caller, say that the search was interrupted.
        files: path by what is in it.
    """
    trials, paths = tables.trials.to_pylist(), parameter_paths(tables.trials)
    order, default = ranked(trials), default_trial(trials)
    single = len(facts.objectives) == 1
    front = [] if single else [row for row in order if row["best"]]
    best = order[:MOST_TRIALS] if single else []
    further = [default] if best and default in order and default not in best else []
    failed = [row for row in trials if row["state"] == "failed"]
    importances = tables.importances.to_pylist()
    slices = [f"slices_{place}" for place in range(2, len(facts.objectives) + 1)]
    content = {
        "notes": notes,
        "files": files or {},
        "facts": facts,
        "single": single,
        "slices": ["slices", *slices],
        "best": _best(next((row for row in trials if row["number"] == facts.best_number), None), default, paths, facts),
        "front_size": sum(bool(row["best"]) for row in trials),
        "comparison": comparison_sentence(facts),
        "fresh_estimates": _fresh_estimates(tables.confirmation.to_pylist()),
        "dependence": dependence_sentence(tables.dimensions, facts.finished),
        "within": agreement(tables.trials, tables.runs, between=False),
        "dimensions": _dimensions(tables.dimensions.to_pylist()),
        "front": _trial_grid(front[:MOST_FRONT], paths, facts.objectives),
        "front_left": len(front) - MOST_FRONT,
        "targets": list({row["target"]: row for row in importances}.values()),
        "importances": _importances(importances),
        "origins": _origins(trials, facts),
        "finished": len(order),
        "most": MOST_TRIALS,
        "further": bool(further),
        "trials": _trial_grid([*best, *further], paths, ["objective"]),
        "failures": Grid(
            ["trial", "origin", "parameters", "reason"],
            [
                [str(row["number"]), row["origin"], _assignments(row, paths), one_line(row["failure"] or "-")]
                for row in failed[:MOST_FAILURES]
            ],
            left=4,
        ),
        "failures_left": len(failed) - MOST_FAILURES,
    }
    captions = {name: f"Objective {name.removeprefix('slices_')} against each parameter" for name in slices}
    return Page("search/templates/search.jinja", title, created, content, _CAPTIONS | captions)


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
    low, high = facts.difference_low, facts.difference_high
    interval = f"95 % t interval [{low:.3g}, {high:.3g}]" if finite(low) and finite(high) else "no interval"
    numbers = f"mean difference of the objective {facts.difference:.3g}, {interval}"
    numbers += f"; better on {facts.better}, worse on {facts.worse}"
    if facts.best_failures or facts.default_failures:
        numbers += f"; the best trial failed on {facts.best_failures} more, the default on {facts.default_failures}"
    verdict = "not shown to be better than the default"
    if finite(low) and finite(high) and not facts.best_failures:
        verdict = f"{'better' if high < 0 else 'worse'} than the default"
        if low <= 0 <= high:
            verdict = "not shown to be better than the default: the interval holds 0"
    return f"On {counted(facts.pairs, 'fresh seed')} the best trial is {verdict} ({numbers})."


def dependence_sentence(dimensions: pa.Table, finished: int) -> str:
    """Whether the estimate was the same whatever the tuning.

    Args:
        dimensions: the table.
        finished: number of finished trials.
    """
    rows = sorted(dimensions.to_pylist(), key=lambda row: (-row["runs"], row["dimension"]))
    everything, best = ([row for row in rows if row["trials"] == name and row["runs"]] for name in _GROUPS)
    if not everything:
        return "No finished trial has an estimate."
    total, first = sum(row["runs"] for row in everything), everything[0]["dimension"]
    if len(everything) == 1:
        if finished == 1:
            return f"The only finished trial says {first}: this tells nothing of other configurations."
        runs = f", in all of their {total} runs" if total > finished else ""
        return f"{finished} of {finished} trials say {first}{runs}."
    text = f"The estimate depends on the tuning or on chance: {first} in {counted(everything[0]['runs'], 'run')}"
    text += "".join(f", {row['dimension']} in {row['runs']}" for row in everything[1:])
    if best:
        of = sum(row["runs"] for row in best)
        text += "; among the best decile "
        text += ", ".join(f"{row['dimension']} in {row['runs']} of {of}" for row in best)
    return text + "."


def parameter_paths(trials: pa.Table) -> list[str]:
    """Paths of the searched fields."""
    return [name.removeprefix(PARAMETER) for name in trials.column_names if name.startswith(PARAMETER)]


def _best(best: Row | None, default: Row | None, paths: Sequence[str], facts: Facts) -> dict[str, Any] | None:
    """The best trial beside the default, if that is another one."""
    if best is None:
        return None
    itself = default is not None and default["number"] == best["number"]
    columns = [best] if default is None or itself else [best, default]
    names = [f"trial {best['number']}", "default"][: len(columns)]
    lines = [[path, *(value_text(row[PARAMETER + path]) for row in columns)] for path in paths]
    lines.append(["objective", *(number_text(row["objective"]) for row in columns)])
    estimates = has_estimates(columns)
    if estimates:
        lines.append(["estimated dimension", *map(_estimate, columns)])
    if estimates and facts.intrinsic_dim is not None:
        lines.append(["true dimension", *[str(facts.intrinsic_dim)] * len(columns)])
    return {
        "number": best["number"], "origin": best["origin"], "is_default": itself,
        "beside_default": len(columns) == 2 and finite(facts.default_objective), "grid": Grid(["", *names], lines),
    }  # fmt: skip


def _fresh_estimates(confirmation: Sequence[Row]) -> list[str]:
    """How often each estimate came on fresh seeds, of the best trial and of the default."""
    texts = []
    for name, column in (("the best trial", "best_dimension"), ("the default", "default_dimension")):
        counts = Counter(row[column] for row in confirmation if row[column] is not None)
        order = sorted(counts.items(), key=lambda item: (-item[1], item))
        if counts:
            texts.append(f"{name} " + ", ".join(f"{d} in {number} of {counts.total()}" for d, number in order))
    return texts


def _dimensions(rows: Sequence[Row]) -> Grid | None:
    shown = [name for name in _GROUPS if any(row["trials"] == name for row in rows)]
    texts = {(row["trials"], row["dimension"]): f"{row['runs']} ({short(row['share'])})" for row in rows}
    dimensions = sorted(set(distinct(rows, "dimension")))
    lines = [[str(dimension), *(texts.get((name, dimension), "0") for name in shown)] for dimension in dimensions]
    return Grid(["dimension", *(_GROUPS[name] for name in shown)], lines) if lines else None


def _importances(rows: Sequence[Row]) -> Grid:
    targets, cells = distinct(rows, "target"), {(row["target"], row["parameter"]): row for row in rows}
    header = [text for target in targets for text in (f"importance for the {target}", "rank correlation")]
    lines = []
    for path in distinct(rows, "parameter"):
        line = [path]
        for target in targets:
            row = cells[target, path]
            correlation = f"{row['spearman']:.2f}" if finite(row["spearman"]) else "-"
            line += [f"{row['importance']:.3f} ± {row['importance_sd']:.3f}", correlation]
        lines.append(line)
    return Grid(["parameter", *header], lines)


def _origins(trials: Sequence[Row], facts: Facts) -> Grid:
    states, counts = ("finished", "stopped", "failed"), Counter((row["origin"], row["state"]) for row in trials)
    lines = [[origin, *(str(counts[origin, state]) for state in states)] for origin in distinct(trials, "origin")]
    if len(lines) > 1:
        lines.append(["all", str(facts.finished), str(facts.stopped), str(facts.failed)])
    return Grid(["origin", *states], lines)


def _trial_grid(rows: Sequence[Row], paths: Sequence[str], objectives: Sequence[str]) -> Grid:
    """A row for each trial."""
    estimates = ["estimated dimension"] if has_estimates(rows) else []
    return Grid(
        ["trial", "origin", *paths, *objectives, *estimates, "CPU s"],
        [
            [
                str(row["number"]), row["origin"], *(value_text(row[PARAMETER + path]) for path in paths),
                *map(number_text, row["objectives"]), *(_estimate(row) for _ in estimates),
                number_text(row["cpu_seconds"]),
            ]
            for row in rows
        ],
        left=2,
    )  # fmt: skip


def _assignments(row: Row, paths: Sequence[str]) -> str:
    """``objective.mmd_weight=1, schedule.name=fast`` of the parameters that have a value."""
    given = [(path, row[PARAMETER + path]) for path in paths]
    return ", ".join(f"{path}={value_text(value)}" for path, value in given if value is not None)


def _estimate(row: Row) -> str:
    """The most frequent estimate, and those by seed where they differ."""
    if row["dimension"] is None:
        return "-"
    several = row["dimensions"] and len(set(row["dimensions"])) > 1
    return f"{row['dimension']}" + (f" ({', '.join(map(str, row['dimensions']))})" if several else "")
