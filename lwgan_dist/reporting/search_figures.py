"""The figures of a search, drawn from its tables (see `lwgan_dist.search.tables` for their columns)."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray
from scipy.special import stdtrit

from lwgan_dist.reporting.page import Row, counted, finite

# The look is that of a study.
from lwgan_dist.reporting.study_figures import (
    _figure,
    _label_left,
    _legend,
    _message,
    _panels,
    _settled,
    short,
)

PARAMETER = "parameters."
"""Prefix of the columns of the trials that hold the values of the searched fields."""
_TRIAL, _BEST, _TRUTH, _DEFAULT = "#0072B2", "#D55E00", "#009E73", "#000000"
_GREY = "#8a8a8a"
_ORIGINS = {"paper": ("D", "paper"), "given": ("P", "given")}
_MOST_TICKS, _MOST_LEVELS = 5, 8
_MOST_NAMED = 12


@dataclass(frozen=True)
class ParameterAxis:
    """How the values of a parameter are laid out.

    Args:
        path: of the searched field.
        log: on a logarithmic axis, if they are numbers above 0.
        categorical: side by side in equal distances; texts and booleans always are.
    """

    path: str
    log: bool = False
    categorical: bool = False


def search_figures(
    trials: pa.Table,
    runs: pa.Table,
    confirmation: pa.Table,
    dimensions: pa.Table,
    importances: pa.Table,
    *,
    parameters: Sequence[ParameterAxis],
    objectives: Sequence[str],
) -> dict[str, Figure]:
    """All figures that the tables have something for, by name: of files, TensorBoard tags, and for `search_html`.

    Of several objectives, the slices of the second are ``slices_2``, and so on.

    Args:
        trials, runs, confirmation, dimensions, importances: the tables of the search.
        parameters: the searched fields, in the order of the panels.
        objectives: labels of what is minimised.
    """
    figures = {"history": history_figure(trials, objectives)}
    if any(_finished(trials)):
        for place in range(len(objectives)):
            name = "slices" if place == 0 else f"slices_{place + 1}"
            figures[name] = slice_figure(trials, parameters, objectives, place)
        figures["dimension"] = dimension_figure(trials, runs, dimensions, parameters)
        figures["parallel"] = parallel_figure(trials, parameters, objectives)
        if len(objectives) > 1:
            figures["pareto"] = pareto_figure(trials, objectives)
    if importances.num_rows:
        figures["importances"] = importance_figure(importances)
    if confirmation.num_rows:
        figures["confirmation"] = confirmation_figure(confirmation)
    if dimensions.num_rows:
        figures["distribution"] = distribution_figure(dimensions, _truth(trials))
    return figures


def history_figure(trials: pa.Table, objectives: Sequence[str]) -> Figure:
    """Objective by number of the trial, with the best one so far; trials without it are ticks below."""
    done = _finished(trials)
    states = trials.select(["number", "state"]).to_pylist()
    without = {state: [row["number"] for row in states if row["state"] == state] for state in ("stopped", "failed")}
    if not done:
        return _message(
            "No trial has finished:\n" + ", ".join(f"{len(numbers)} {state}" for state, numbers in without.items())
        )
    figure = _figure(8.0, 1.1 + 2.4 * len(objectives))
    panels = figure.subplots(len(objectives), 1, squeeze=False, sharex=True)[:, 0]
    numbers = [row["number"] for row in states]
    default = _default(done)
    entries: dict[str, Any] = {}
    for place, (label, axes) in enumerate(zip(objectives, panels, strict=True)):
        here = [row for row in done if finite(_goal(row, place))]
        x, y = np.array([row["number"] for row in here], float), np.array([_goal(row, place) for row in here], float)
        size = 4.5 if len(here) <= 200 else 2.5
        look: Row = {"linestyle": "", "color": _TRIAL, "markeredgecolor": "white", "markeredgewidth": 0.4}
        axes.plot(x, y, marker="o", markersize=size, alpha=0.8 if len(here) <= 200 else 0.4, **look)
        entries["finished trial"] = Line2D([], [], marker="o", markersize=4.5, **look)
        for origin, (marker, text) in _ORIGINS.items():
            mine = [row for row in here if row["origin"] == origin]
            if mine:
                axes.plot(
                    [r["number"] for r in mine], [_goal(r, place) for r in mine], marker=marker, markersize=6.5, **look
                )
                entries[text] = Line2D([], [], marker=marker, markersize=6.5, **look)
        best = np.minimum.accumulate(y)
        axes.step([*x, max(numbers) + 0.5], [*best, *best[-1:]], where="post", color=_BEST, linewidth=1.5, zorder=1.5)
        entries["best so far"] = Line2D([], [], color=_BEST, linewidth=1.5)
        if default is not None and finite(level := _goal(default, place)):
            axes.axhline(level, color=_DEFAULT, linewidth=0.9, linestyle="--", zorder=1)
            axes.plot(default["number"], level, **_default_look())
            entries["default"] = Line2D([], [], linewidth=0.9, **_default_look() | {"linestyle": "--"})
        _objective_axis(axes, y)
        for state, look in (("stopped", {"color": _GREY, "marker": "|"}), ("failed", {"color": _BEST, "marker": "x"})):
            if without[state]:
                ticks: Row = {"linestyle": "", "markersize": size + 0.5, "markeredgewidth": size / 4.5, **look}
                axes.plot(without[state], [0.03] * len(without[state]), transform=axes.get_xaxis_transform(), **ticks)
                entries[state] = Line2D([], [], **ticks)
        _room_below(axes, 0.07 if any(without.values()) else 0.0)
        side = 0.02 * (max(numbers) - min(numbers)) + 0.5
        axes.set_xlim(min(numbers) - side, max(numbers) + side)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        _plain(axes)
        axes.set_ylabel(_folded(label, 34), fontsize=8, parse_math=False)
    panels[-1].set_xlabel("number of the trial", fontsize=8)
    figure.suptitle("Objective of the trials" if len(objectives) == 1 else "Objectives of the trials", fontsize=9.5)
    _legend_below(figure, list(entries.items()))
    return _laid_out(figure)


def slice_figure(
    trials: pa.Table, parameters: Sequence[ParameterAxis], objectives: Sequence[str], place: int = 0
) -> Figure:
    """An objective against each parameter, a panel each; the default and the best are marked.

    Args:
        trials: the table.
        parameters: the searched fields.
        objectives: labels of what is minimised.
        place: which of them.
    """
    done = [row for row in _finished(trials) if finite(_goal(row, place))]
    if not done or not parameters:
        return _message("No finished trial has this objective.")
    titles = [_panel_title(axis, done) for axis in parameters]
    figure, panels = _panels(titles, 1, height=2.3, sharey=True)
    goals = np.array([_goal(row, place) for row in done], float)
    best = np.array([bool(row["best"]) for row in done])
    one = len(objectives) == 1
    default = _default(done)
    still = np.array([row is default or (one and bool(row["best"])) for row in done])  # not spread, as they stand out
    for axis, title, axes in zip(parameters, titles, panels, strict=True):
        scale = _Scale(axis, [row[PARAMETER + axis.path] for row in done])
        values = [row[PARAMETER + axis.path] for row in done]
        x = np.where(still, scale.places(values), scale.places(values, spread=0.5))
        axes.plot(x[~best], goals[~best], **_trial_look(len(done)))
        if default is not None:
            axes.plot(x[done.index(default)], goals[done.index(default)], **_default_look())
        axes.plot(x[best], goals[best], **_best_look(one, int(best.sum())))
        scale.lay_out(axes)
        _plain(axes)
        axes.set_title(title, fontsize=8, parse_math=False)
    _objective_axis(panels[0], goals)
    _label_left(panels, "objective" if one else f"objective {place + 1}")
    figure.suptitle(f"{_folded(objectives[place], 70)} against each parameter", fontsize=9.5, parse_math=False)
    entries: list[tuple[str, Any]] = [
        ("finished trial", Line2D([], [], **_trial_look(1))),
        ("best trial" if one else "Pareto front", Line2D([], [], **_best_look(one))),
    ]
    if default is not None:
        entries.append(("default", Line2D([], [], **_default_look())))
    _legend(figure, entries, len(titles))
    return _laid_out(figure)


def dimension_figure(
    trials: pa.Table, runs: pa.Table, dimensions: pa.Table, parameters: Sequence[ParameterAxis]
) -> Figure:
    """Estimated dimension of every run against each parameter, a panel each; the best decile of the trials stands out.

    With several objectives, which have no decile, the Pareto front does.
    """
    done = {row["number"]: row for row in _finished(trials)}
    mine = [row for row in _trial_runs(runs) if row["number"] in done and row["dimension"] is not None]
    if not mine or not parameters:
        return _message("No finished trial has an estimate.")
    decile = best_decile(list(done.values()), mine, dimensions)
    best = np.array([row["number"] in decile for row in mine])
    titles = [_panel_title(axis, list(done.values())) for axis in parameters]
    figure, panels = _panels(titles, 2, height=2.3, sharey=True)
    told = np.array([row["dimension"] for row in mine], float)
    y = told + _spread(len(mine), 0.56, 1)
    truth = _truth(trials)
    for axis, title, axes in zip(parameters, titles, panels, strict=True):
        values = [done[row["number"]][PARAMETER + axis.path] for row in mine]
        scale = _Scale(axis, values)
        x = scale.places(values, spread=0.6)
        if truth is not None:
            axes.axhline(truth, color=_TRUTH, linewidth=1.3, linestyle="--", zorder=1)
        axes.plot(x[~best], y[~best], **_trial_look(len(mine)))
        axes.plot(x[best], y[best], **_best_look(False, int(best.sum())))
        scale.lay_out(axes)
        _plain(axes)
        axes.set_title(title, fontsize=8, parse_math=False)
    _dimension_axis(panels[0], [*told, *([] if truth is None else [truth])])
    _label_left(panels, "estimated dimension")
    share = agreement(runs)
    title = "Estimated dimension of every run against each parameter"
    if share is not None:
        title += f"\nequal in {short(share)} of the pairs of runs from different trials"
    figure.suptitle(title, fontsize=9.5)
    front = not any(row["place"] for row in done.values())
    entries: list[tuple[str, Any]] = [
        ("run of a finished trial", Line2D([], [], **_trial_look(1))),
        ("Pareto front" if front else "best decile of the trials", Line2D([], [], **_best_look(False))),
    ]
    if truth is not None:
        entries.append(("true dimension", Line2D([], [], color=_TRUTH, linewidth=1.3, linestyle="--")))
    _legend(figure, entries, len(titles))
    return _laid_out(figure)


def parallel_figure(trials: pa.Table, parameters: Sequence[ParameterAxis], objectives: Sequence[str]) -> Figure:
    """Every finished trial as a line over the parameters, the objectives and the estimated dimension.

    The colour is the rank by the (first) objective. A line is broken where a condition excludes the parameter.
    """
    done = [row for row in _finished(trials) if finite(_goal(row, 0))]
    if not done or not parameters:
        return _message("No finished trial has this objective.")
    done.sort(key=lambda row: -_goal(row, 0))  # the best are drawn last, on top
    columns = [(_folded_path(axis.path, 26), axis, [r[PARAMETER + axis.path] for r in done]) for axis in parameters]
    for place, label in enumerate(objectives):
        goals = [_goal(row, place) for row in done]
        columns.append((_folded(label, 26), ParameterAxis(label, log=_wide(goals)), goals))
    columns.append(("dimension", ParameterAxis("dimension"), [row["dimension"] for row in done]))
    figure = _figure(min(max(6.5, 1.2 + 1.15 * len(columns)), 18.0), 4.6)
    axes = figure.subplots()
    heights = np.full((len(done), len(columns)), math.nan)
    for place, (_, axis, values) in enumerate(columns):
        scale = _Scale(axis, values)
        heights[:, place] = scale.heights(values)
        axes.axvline(place, color="0.25", linewidth=0.9, zorder=3)
        for height, text in scale.labels():
            box: Row = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
            axes.text(place + 0.035, height, text, fontsize=6.5, va="center", zorder=5, bbox=box, parse_math=False)
    colours = ScalarMappable(Normalize(0, max(1, len(done) - 1)), "cividis")
    shade = colours.to_rgba(np.arange(len(done))[::-1])
    pieces, marks, shades, points = [], [], [], []
    for rank, line in enumerate(heights):
        for piece in _pieces(line):
            if len(piece) > 1:
                pieces.append(piece)
                shades.append(shade[rank])
            else:
                marks.append(piece[0])
                points.append(shade[rank])
    strength = 0.85 if len(done) <= 60 else 0.5 if len(done) <= 400 else 0.2
    axes.add_collection(LineCollection(pieces, colors=shades, linewidths=1.1, alpha=strength, zorder=2), autolim=False)
    if marks:
        x, y = np.array(marks).T
        axes.scatter(x, y, s=7, c=points, zorder=2)
    entries: list[tuple[str, Any]] = []
    first = next((row for row in done if row["place"] == 1), None)
    for name, row, colour, dashes in (("default", _default(done), _DEFAULT, "--"), ("best trial", first, _BEST, "-")):
        if row is not None:
            look: Row = {"color": colour, "linestyle": dashes, "linewidth": 2.0, "marker": "o", "markersize": 3}
            axes.plot(heights[done.index(row)], zorder=4, **look)
            entries.append((name, Line2D([], [], **look)))
    axes.set_xlim(-0.2, len(columns) - 0.5)
    axes.set_ylim(-0.04, 1.04)
    axes.xaxis.tick_top()
    names = [name for name, _, _ in columns]
    steep = len(columns) > 5 or max(map(len, names)) > 18
    axes.set_xticks(
        range(len(columns)), names, fontsize=7.5, rotation=25 if steep else 0, ha="left" if steep else "center",
    )  # fmt: skip
    for tick in axes.get_xticklabels():
        tick.set(parse_math=False, rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_locator(NullLocator())
    axes.spines[:].set_visible(False)
    if len(done) > 1:
        bar = figure.colorbar(colours, ax=axes, shrink=0.7, aspect=25, pad=0.01)
        bar.set_ticks([0, len(done) - 1], labels=["best", "worst"])
        bar.ax.invert_yaxis()
        bar.ax.tick_params(labelsize=7, length=0)
    what = "objective" if len(objectives) == 1 else "first objective"
    figure.suptitle(f"{counted(len(done), 'finished trial')}, coloured by rank of the {what}", fontsize=9.5)
    if entries:
        _legend_below(figure, entries)
    return _laid_out(figure)


def importance_figure(importances: pa.Table) -> Figure:
    """Importance of each parameter for the objective and for the estimated dimension, with its standard deviation."""
    rows = importances.to_pylist()
    if not rows:
        return _message("Too few finished trials for importances.")
    targets = list(dict.fromkeys(row["target"] for row in rows))
    first = {row["parameter"]: row["importance"] for row in reversed(rows) if row["target"] == targets[0]}
    names = sorted(
        dict.fromkeys(row["parameter"] for row in rows), key=lambda n: first[n] if finite(first.get(n)) else -math.inf
    )
    figure = _figure(1.6 + 3.3 * len(targets), 1.5 + max(0.9, 0.27 * len(names)))
    panels = figure.subplots(1, len(targets), squeeze=False, sharey=True)[0]
    for target, axes in zip(targets, panels, strict=True):
        here = {row["parameter"]: row for row in rows if row["target"] == target}
        r2, number = next((row["forest_r2"], row["trials"]) for row in here.values())
        told = [name for name in names if name in here and finite(here[name]["importance"])]
        meaningful = finite(r2) and r2 > 0
        axes.barh(
            [names.index(name) for name in told], [here[name]["importance"] for name in told], 0.66,
            xerr=[here[name]["importance_sd"] if finite(here[name]["importance_sd"]) else 0.0 for name in told],
            color=_TRIAL if meaningful else "#c4c4c4", error_kw={"linewidth": 0.9, "ecolor": "0.3", "capsize": 2},
        )  # fmt: skip
        axes.axvline(0, color="0.25", linewidth=0.8)
        title = f"{target}\nR² of the forest {r2:.2f}, {counted(number, 'trial')}" if finite(r2) else f"{target}\nno R²"
        title += "" if meaningful else "\nnot above 0: these bars mean little"
        axes.set_title(title, fontsize=8, parse_math=False, color="black" if meaningful else "0.35")
        axes.set_yticks(range(len(names)), [_folded_path(name, 36) for name in names], fontsize=7.5)
        for text in axes.get_yticklabels():
            text.set_parse_math(False)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.tick_params(axis="y", length=0)
        _plain(axes)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("loss of R² when the values are permuted", fontsize=8)
    figure.suptitle("Importance of the parameters, ± standard deviation over permutations", fontsize=9.5)
    return _laid_out(figure)


def confirmation_figure(confirmation: pa.Table) -> Figure:
    """The best trial's configuration against the default on fresh seeds: the pairs, and their differences."""
    rows = [row for row in confirmation.to_pylist() if finite(row["difference"])]
    if not rows:
        return _message("No comparison on fresh seeds.")
    figure = _figure(8.0, max(3.0, 1.6 + 0.2 * min(len(rows), 40)))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    for row in rows:
        colour = _TRUTH if row["difference"] < 0 else _BEST
        left.plot([0, 1], [row["default"], row["best"]], "o-", color=colour, linewidth=1.1, markersize=4, alpha=0.8)
    left.set_xticks([0, 1], ["default", "best trial"], fontsize=8)
    left.set_xlim(-0.3, 1.3)
    left.set_ylabel("objective", fontsize=8)
    left.set_title("each line is a fresh seed", fontsize=8)
    differences = np.array([row["difference"] for row in rows])
    heights = np.arange(len(rows), 0, -1)
    colours = [_TRUTH if value < 0 else _BEST for value in differences]
    right.axvline(0, color="0.35", linewidth=0.9, linestyle="--", zorder=1)
    right.scatter(differences, heights, c=colours, s=22, zorder=3)
    mean, half = float(differences.mean()), _half_width(differences)
    if half is not None:
        right.plot([mean - half, mean + half], [0, 0], color="black", linewidth=1.6, zorder=2)
    right.plot(mean, 0, "D", color="black", markersize=6, zorder=3)
    step = len(rows) // 40 + 1
    texts = [
        f"seed {row['index']}: {_whole(row['default_dimension'])} → {_whole(row['best_dimension'])}" for row in rows
    ]
    right.set_yticks([*heights[::step], 0], [*texts[::step], "mean"], fontsize=7.5)
    right.set_ylim(-0.8, len(rows) + 0.6)
    right.set_xlabel("difference of the objective, best trial - default", fontsize=8)
    right.set_title("ticks: estimated dimension, default → best trial", fontsize=8)
    for axes in (left, right):
        _plain(axes)
        axes.tick_params(axis="y", labelsize=7.5)
    right.xaxis.set_major_locator(MaxNLocator(5))
    title = f"Comparison on {counted(len(rows), 'fresh seed')}: mean difference {mean:.3g}"
    title += f", 95 % t interval [{mean - half:.3g}, {mean + half:.3g}]" if half is not None else ", no interval"
    figure.suptitle(title, fontsize=9.5)
    entries: list[tuple[str, Any]] = [
        ("best trial is better", Line2D([], [], color=_TRUTH, marker="o")),
        ("default is as good or better", Line2D([], [], color=_BEST, marker="o")),
        ("mean" if half is None else "mean and interval", Line2D([], [], color="black", marker="D")),
    ]
    _legend_below(figure, entries)
    return _laid_out(figure)


def pareto_figure(trials: pa.Table, objectives: Sequence[str]) -> Figure:
    """The first two objectives of every finished trial; the Pareto front is marked."""
    done = [row for row in _finished(trials) if finite(_goal(row, 0)) and finite(_goal(row, 1))]
    if not done:
        return _message("No finished trial has two objectives.")
    figure = _figure(6.4, 4.6)
    axes = figure.subplots()
    x, y = (np.array([_goal(row, place) for row in done], float) for place in (0, 1))
    best = np.array([bool(row["best"]) for row in done])
    axes.plot(x[~best], y[~best], **_trial_look(len(done)))
    order = np.lexsort((y[best], x[best]))
    front_x, front_y = x[best][order], y[best][order]
    if len(objectives) == 2:  # of more, the front is no line in two of them
        axes.step(front_x, front_y, where="post", color=_BEST, linewidth=1.0, alpha=0.7, zorder=2)
    axes.plot(front_x, front_y, **_best_look(False) | {"markersize": 6})
    default = _default(done)
    if default is not None:
        axes.plot(_goal(default, 0), _goal(default, 1), **_default_look())
    _objective_axis(axes, y)
    _objective_axis(axes, x, axes.xaxis)
    _name_points(axes, [row for row, here in zip(done, best, strict=True) if here])
    _plain(axes)
    axes.set_xlabel(_folded(objectives[0], 70), fontsize=8, parse_math=False)
    axes.set_ylabel(_folded(objectives[1], 50), fontsize=8, parse_math=False)
    title = f"Pareto front: {int(best.sum())} of {counted(len(done), 'finished trial')}"
    title += f" (of {len(objectives)} objectives, the first two)" if len(objectives) > 2 else ""
    figure.suptitle(title, fontsize=9.5)
    entries: list[tuple[str, Any]] = [
        ("finished trial", Line2D([], [], **_trial_look(1))),
        ("Pareto front, with numbers of trials", Line2D([], [], **_best_look(False))),
    ]
    if default is not None:
        entries.append(("default", Line2D([], [], **_default_look())))
    _legend_below(figure, entries)
    return _laid_out(figure)


def distribution_figure(dimensions: pa.Table, truth: int | None = None) -> Figure:
    """Share of the runs that gave each dimension: of all finished trials, and of the best decile."""
    rows = dimensions.to_pylist()
    if not rows:
        return _message("No finished trial has an estimate.")
    groups = {"all": "all finished trials", "best_decile": "best decile of the trials"}
    shown = [name for name in groups if any(row["trials"] == name for row in rows)]
    told = [row["dimension"] for row in rows] + ([] if truth is None else [truth])
    ranks = range(min(told), max(told) + 1)
    figure = _figure(min(max(5.5, 1.5 + 0.7 * len(ranks)), 12.0), 3.2)
    axes = figure.subplots()
    if truth is not None:
        axes.axvspan(truth - 0.47, truth + 0.47, color=_TRUTH, alpha=0.14, linewidth=0, zorder=0)
    width = 0.8 / len(shown)
    colours = {"all": _TRIAL, "best_decile": _BEST}
    for place, name in enumerate(shown):
        for row in rows:
            if row["trials"] != name:
                continue
            x = row["dimension"] + (place - (len(shown) - 1) / 2) * width
            axes.bar(x, row["share"], width * 0.92, color=colours[name])
            if len(ranks) <= 12:
                axes.text(x, row["share"] + 0.015, str(row["runs"]), ha="center", va="bottom", fontsize=7)
    axes.set_xlim(ranks[0] - 0.7, ranks[-1] + 0.7)
    axes.set_xticks(ranks if len(ranks) <= 16 else ranks[:: len(ranks) // 16 + 1])
    axes.set_ylim(0, 1.1)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    _plain(axes)
    axes.set_xlabel("estimated dimension", fontsize=8)
    axes.set_ylabel("share of runs", fontsize=8)
    figure.suptitle("Distribution of the estimate; above the bars: number of runs", fontsize=9.5)
    totals = {name: sum(row["runs"] for row in rows if row["trials"] == name) for name in shown}
    entries: list[tuple[str, Any]] = [
        (f"{groups[name]} ({counted(totals[name], 'run')})", Patch(facecolor=colours[name])) for name in shown
    ]
    if truth is not None:
        entries.append(("true dimension", Patch(facecolor=_TRUTH, alpha=0.14)))
    _legend_below(figure, entries)
    return _laid_out(figure)


def agreement(runs: pa.Table, between: bool = True) -> float | None:
    """Share of the pairs of runs with the same estimate, of pairs from different trials or of pairs within a trial.

    Args:
        runs: the table; runs of a comparison do not count.
        between: pairs from different trials.
    """
    told = [row for row in _trial_runs(runs) if row["dimension"] is not None]
    everything = _pairs(Counter(row["dimension"] for row in told)), _pairs([len(told)])
    trials, both = Counter(row["number"] for row in told), Counter((row["number"], row["dimension"]) for row in told)
    within = _pairs(both), _pairs(trials)
    equal, total = (a - b for a, b in zip(everything, within, strict=True)) if between else within
    return equal / total if total else None


def best_decile(done: Sequence[Row], runs: Sequence[Row], dimensions: pa.Table) -> set[int]:
    """Numbers of the best trials of which the table of dimensions tells; of several objectives, of the Pareto front.

    Args:
        done: finished trials.
        runs: of them.
        dimensions: the table; as many trials are taken as make up the runs of its best decile.
    """
    placed = sorted((row for row in done if row["place"]), key=lambda row: row["place"])
    if not placed:
        return {row["number"] for row in done if row["best"]}
    wanted = sum(row["runs"] for row in dimensions.to_pylist() if row["trials"] == "best_decile")
    each = Counter(row["number"] for row in runs)
    chosen: set[int] = set()
    for row in placed:
        if sum(each[number] for number in chosen) >= wanted:
            break
        chosen.add(row["number"])
    return chosen


def value_text(value: Any) -> str:
    """A value of a parameter, short: ``true``, ``0.0312``, ``-`` where a condition excludes the field."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class _Scale:
    """Where the values of a parameter are: places on an axis, heights from 0 to 1, and the ticks of both."""

    def __init__(self, axis: ParameterAxis, values: Sequence[Any]) -> None:
        told = [value for value in values if _there(value)]
        by_name = axis.categorical or any(isinstance(value, bool | str) for value in told)
        self._levels = sorted(set(told), key=lambda value: (str(type(value)), value)) if by_name else []
        self._log = not by_name and axis.log and all(value > 0 for value in told)
        self._whole = all(isinstance(value, int) for value in told)
        numbers = [0.0, *map(float, range(1, len(self._levels)))] if by_name else [float(value) for value in told]
        self._low, self._high = min(numbers, default=0.0), max(numbers, default=1.0)

    def places(self, values: Sequence[Any], spread: float = 0.0) -> NDArray[Any]:
        """Places on the axis, nan for none; those of names lie apart by up to ``spread``."""
        if self._levels:
            found = np.array([self._levels.index(v) if _there(v) else math.nan for v in values], float)
            found += _spread(len(found), spread)
            return found
        return np.array([float(v) if _there(v) else math.nan for v in values], float)

    def heights(self, values: Sequence[Any]) -> NDArray[Any]:
        """From 0 to 1, nan for none; those of names lie a little apart and may be just outside."""
        spread = 0.05 * (self._high - self._low) if self._levels and len(values) > 1 else 0.0
        return self._height(self.places(values, spread))

    def labels(self) -> list[tuple[float, str]]:
        """Heights and texts of the ticks."""
        places, texts = self._ticks()
        return list(zip(self._height(np.array(places, float)), texts, strict=True))

    def lay_out(self, axes: Axes) -> None:
        """The horizontal axis, with its ticks."""
        low, high = self._low, self._high
        if self._levels:
            axes.set_xlim(low - 0.55, high + 0.55)
        elif self._log:
            side = (high / low) ** 0.06 if high > low else 1.5
            axes.set_xscale("log")
            axes.set_xlim(low / side, high * side)
        else:
            side = 0.06 * (high - low) or 0.1 * abs(low) or 0.5
            axes.set_xlim(low - side, high + side)
        places, texts = self._ticks()
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FixedFormatter(texts))
        long = sum(map(len, texts)) + 2 * len(texts) > 30
        for text in axes.get_xticklabels():
            text.set(parse_math=False, rotation=30 if long else 0, ha="right" if long else "center")
            text.set_rotation_mode("anchor" if long else "default")

    def _height(self, places: NDArray[Any]) -> NDArray[Any]:
        low, high = (math.log(self._low), math.log(self._high)) if self._log else (self._low, self._high)
        found = np.log(places) if self._log else places
        scaled: NDArray[Any] = (found - low) / (high - low) if high > low else 0.5 + 0.0 * found
        return scaled

    def _ticks(self) -> tuple[list[float], list[str]]:
        if self._levels:
            step = (len(self._levels) - 1) // _MOST_LEVELS + 1
            shown = [text if len(text) <= 16 else text[:15] + "…" for text in map(value_text, self._levels[::step])]
            return [float(place) for place in range(0, len(self._levels), step)], shown
        places = _log_ticks(self._low, self._high) if self._log else self._even_ticks()
        return places, [f"{place:.4g}" for place in places]

    def _even_ticks(self) -> list[float]:
        low, high = self._low, self._high
        if low == high:
            return [low]
        found = MaxNLocator(_MOST_TICKS - 1, integer=self._whole).tick_values(low, high)
        return [float(place) for place in found if low - 1e-9 * (high - low) <= place <= high + 1e-9 * (high - low)]


def _log_ticks(low: float, high: float) -> list[float]:
    """At most five: powers of ten, of a short range with 2 and 5 times them, else its ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        found = [f * 10.0**p for p in powers for f in factors if low * 0.999 <= f * 10.0**p <= high * 1.001]
        if len(found) >= 3:
            return found[:: (len(found) - 1) // _MOST_TICKS + 1]
    return found if len(found) == 2 else sorted({low, high})


def _there(value: Any) -> bool:
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def _spread(number: int, width: float, direction: int = 0) -> NDArray[Any]:
    """Offsets within ± width / 2 that fill it evenly, the same in every drawing; both directions fill a square."""
    step = (0.7548776662466927, 0.5698402909980532)[direction]  # of the R2 sequence
    return ((np.arange(number) * step + 0.5) % 1.0 - 0.5) * width


def _pieces(line: NDArray[Any]) -> Iterable[list[tuple[int, float]]]:
    """The stretches of a line without gaps."""
    piece: list[tuple[int, float]] = []
    for place, height in enumerate([*line, math.nan]):
        if math.isnan(height):
            if piece:
                yield piece
            piece = []
        else:
            piece.append((place, float(height)))


def _pairs(counts: Counter[Any] | Sequence[int]) -> int:
    numbers = counts.values() if isinstance(counts, Counter) else counts
    return sum(number * (number - 1) // 2 for number in numbers)


def _half_width(values: NDArray[Any]) -> float | None:
    """Of the 95 % t interval of the mean."""
    if len(values) < 2:
        return None
    return float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values)))


def _finished(trials: pa.Table) -> list[Row]:
    kept = ("number", "origin", "state", "objectives", "place", "best", "dimension")
    names = [name for name in trials.column_names if name in kept or name.startswith(PARAMETER)]
    return [row for row in trials.select(names).to_pylist() if row["state"] == "finished"]


def _trial_runs(runs: pa.Table) -> list[Row]:
    return [row for row in runs.select(["number", "role", "dimension"]).to_pylist() if row["role"] == "trial"]


def _default(done: Sequence[Row]) -> Row | None:
    return next((row for row in done if row["origin"] == "default"), None)


def _truth(trials: pa.Table) -> int | None:
    return next((truth for truth in trials["intrinsic_dim"].to_pylist() if truth is not None), None)


def _goal(row: Row, place: int) -> Any:
    """An objective of a trial, None if there is none."""
    goals = row["objectives"]
    return goals[place] if goals and place < len(goals) else None


def _whole(value: int | None) -> str:
    return "-" if value is None else str(value)


def _wide(values: Iterable[Any]) -> bool:
    """Whether the values are better seen in logarithms."""
    told = [value for value in values if finite(value)]
    return bool(told) and min(told) > 0 and max(told) > 30 * min(told)


def _objective_axis(axes: Axes, values: Sequence[float] | NDArray[Any], which: Any = None) -> None:
    """The vertical axis (or ``which``), logarithmic where the values ask for it."""
    axis = axes.yaxis if which is None else which
    if not _wide(values):
        return
    (axes.set_yscale if axis is axes.yaxis else axes.set_xscale)("log")
    axis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if max(values) < 300 * min(values) else (1.0,), numticks=8))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _room_below(axes: Axes, share: float) -> None:
    """Room for the ticks of trials without an objective."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low * (low / high) ** share, high)
    else:
        axes.set_ylim(low - share * (high - low), high)


def _dimension_axis(axes: Axes, told: Sequence[float]) -> None:
    """The vertical axis of estimates: whole numbers."""
    low, high = int(min(told)), int(max(told))
    axes.set_ylim(low - 0.6, high + 0.6)
    step = (high - low) // 12 + 1
    axes.yaxis.set_major_locator(FixedLocator(list(range(low, high + 1, step))))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}")


def _legend_below(figure: Figure, entries: Sequence[tuple[str, Any]]) -> None:
    """A legend as wide as the figure."""
    _legend(figure, entries, max(1, int(figure.get_figwidth() / 2.5)))


def _laid_out(figure: Figure) -> Figure:
    """Settled with some room at the edges, as letters are a little wider in a file than in the layout."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(w_pad=0.08, h_pad=0.05)
    return _settled(figure)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)


def _trial_look(number: int) -> Row:
    few = number <= 300
    return {"linestyle": "", "marker": "o", "markersize": 4 if few else 2.5, "color": _TRIAL,
            "alpha": 0.65 if few else 0.3, "markeredgewidth": 0, "zorder": 2}  # fmt: skip


def _best_look(star: bool, number: int = 1) -> Row:
    few = number <= 60
    size = 11 if star else 4.5 if few else 2.8
    return {"linestyle": "", "marker": "*" if star else "o", "markersize": size, "color": _BEST,
            "markeredgecolor": "white", "markeredgewidth": 0.5 if few else 0.0, "zorder": 4}  # fmt: skip


def _default_look() -> Row:
    return {"linestyle": "", "marker": "s", "markersize": 6, "color": _DEFAULT, "markerfacecolor": "none",
            "markeredgewidth": 1.3, "zorder": 5}  # fmt: skip


def _panel_title(axis: ParameterAxis, done: Sequence[Row]) -> str:
    """The path, and in how many trials the parameter has a value if not in all."""
    told = sum(_there(row[PARAMETER + axis.path]) for row in done)
    more = "" if told == len(done) else f"\nin {told} of {counted(len(done), 'trial')}"
    return _folded_path(axis.path, 30) + more


def _folded_path(path: str, width: int) -> str:
    """A dotted path on several lines, broken at dots if it is long."""
    if len(path) <= width:
        return path
    lines = [""]
    for part in path.replace(".", ".\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    if len(lines) > 3:
        lines = [*lines[:2], lines[2] + "…"]
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in lines)


def _folded(label: str, width: int) -> str:
    """A label in at most three lines."""
    return "\n".join(textwrap.wrap(label, width, max_lines=3, placeholder=" …")) or "objective"


def _name_points(axes: Axes, rows: Sequence[Row]) -> None:
    """Numbers of trials beside their points, where they do not lie on each other."""
    named: list[NDArray[Any]] = []
    place = axes.transData.transform
    for row in rows:
        here = np.array(place((_goal(row, 0), _goal(row, 1))))
        if len(named) < _MOST_NAMED and all(np.abs(here - other).max() > 22 for other in named):
            named.append(here)
            axes.annotate(
                str(row["number"]), (_goal(row, 0), _goal(row, 1)), (5, 5), textcoords="offset points", fontsize=7
            )
