"""The figures of a search, drawn from its tables (see `lwgan_dist.search.tables` for their columns).

A figure with nothing to show is None.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from lwgan_dist.reporting import look
from lwgan_dist.reporting.look import BLUE, GREEN, GREY, ORANGE, folded
from lwgan_dist.reporting.values import Row, counted, distinct, finite, short, value_text
from lwgan_dist.search.analysis import (
    agreement,
    best_trials,
    default_trial,
    goal_of,
    has_estimates,
    paired_interval,
    ranked,
)
from lwgan_dist.search.tables import PARAMETER, SearchTables

Array = NDArray[Any]

_LARGER = {"paper": "D", "given": "P"}
"""Markers of initial points in the history."""
_WITHOUT = {"stopped": {"color": GREY, "marker": "|"}, "failed": {"color": ORANGE, "marker": "x"}}
_MOST_TICKS, _MOST_LEVELS, _MOST_NAMED = 5, 8, 12
_DEFAULT: Row = {
    "linestyle": "", "marker": "s", "markersize": 6, "color": "black", "markerfacecolor": "none",
    "markeredgewidth": 1.3, "zorder": 5, "label": "default",
}  # fmt: skip
_STAR: Row = {"marker": "*", "markersize": 11}


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
    tables: SearchTables, parameters: Sequence[ParameterAxis], objectives: Sequence[str]
) -> dict[str, Figure]:
    """All figures that the tables have something for, by name: of files, TensorBoard tags, and on the page.

    Of several objectives, the slices of the second are ``slices_2``, and so on.

    Args:
        tables: of the search.
        parameters: the searched fields, in the order of the panels.
        objectives: labels of what is minimised.
    """
    figures = {"history": history_figure(tables.trials, objectives)}
    for place in range(len(objectives)):
        name = "slices" if place == 0 else f"slices_{place + 1}"
        figures[name] = slice_figure(tables.trials, parameters, objectives, place)
    figures["dimension"] = dimension_figure(tables.trials, tables.runs, parameters)
    figures["parallel"] = parallel_figure(tables.trials, parameters, objectives)
    figures["pareto"] = pareto_figure(tables.trials, objectives) if len(objectives) > 1 else None
    figures["importances"] = importance_figure(tables.importances)
    figures["confirmation"] = confirmation_figure(tables.confirmation)
    return {name: figure for name, figure in figures.items() if figure is not None}


def history_figure(trials: pa.Table, objectives: Sequence[str]) -> Figure | None:
    """Objective by number of the trial, with the best one so far; trials without it are ticks below."""
    rows = trials.select(["number", "origin", "state", "objectives"]).to_pylist()
    done = sorted((row for row in rows if row["state"] == "finished"), key=lambda row: row["number"])
    if not done:
        return None
    figure = look.figure(8.0, 1.1 + 2.4 * len(objectives))
    panels = figure.subplots(len(objectives), 1, squeeze=False, sharex=True)[:, 0]
    numbers = [row["number"] for row in rows]
    side = 0.02 * (max(numbers) - min(numbers)) + 0.5
    for place, (label, axes) in enumerate(zip(objectives, panels, strict=True)):
        _draw_history(axes, [row for row in done if finite(goal_of(row, place))], place, max(numbers))
        without = {state: [row["number"] for row in rows if row["state"] == state] for state in _WITHOUT}
        for state, mine in without.items():
            if mine:
                across = {"transform": axes.get_xaxis_transform(), "linestyle": "", "markersize": 5, "label": state}
                axes.plot(mine, [0.03] * len(mine), **across, **_WITHOUT[state])
        _room_below(axes, 0.07 if any(without.values()) else 0.0)
        axes.set_xlim(min(numbers) - side, max(numbers) + side)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        look.plain(axes)
        axes.set_ylabel(folded(label, 34), fontsize=8)
    panels[-1].set_xlabel("number of the trial", fontsize=8)
    look.legend(figure)
    return look.settled(figure, "Objective of the trials" if len(objectives) == 1 else "Objectives of the trials")


def _draw_history(axes: Axes, done: Sequence[Row], place: int, last: int) -> None:
    if not done:  # no objective is finite
        return
    x, y = np.array([row["number"] for row in done], float), _goals(done, place)
    marks = _marks(BLUE, len(done))
    axes.plot(x, y, label="finished trial", **marks)
    for origin, marker in _LARGER.items():
        mine = [row["origin"] == origin for row in done]
        if any(mine):
            axes.plot(x[mine], y[mine], label=origin, **marks | {"marker": marker, "markersize": 6.5})
    best = np.minimum.accumulate(y)
    steps: Row = {"where": "post", "color": ORANGE, "linewidth": 1.5, "zorder": 1.5, "label": "best so far"}
    axes.step([*x, last + 0.5], [*best, best[-1]], **steps)
    default = default_trial(done)
    if default is not None:
        axes.axhline(default["objectives"][place], color="black", linewidth=0.9, linestyle="--", zorder=1)
        axes.plot(default["number"], default["objectives"][place], **_DEFAULT)
    _objective_axis(axes.yaxis, y)


def slice_figure(
    trials: pa.Table, parameters: Sequence[ParameterAxis], objectives: Sequence[str], place: int = 0
) -> Figure | None:
    """An objective against each parameter, a panel each; the default and the best are marked.

    Args:
        trials: the table.
        parameters: the searched fields.
        objectives: labels of what is minimised.
        place: which of them.
    """
    done = [row for row in _finished(trials) if finite(goal_of(row, place))]
    if not done or not parameters:
        return None
    one = len(objectives) == 1
    goals = _goals(done, place)
    best = np.array([bool(row["best"]) for row in done])
    labels = ("finished trial", "best trial" if one else "Pareto front")
    figure, panels = _panels(parameters, done, done, goals, best, labels, star=one, default=default_trial(done))
    _objective_axis(panels[0].yaxis, goals)
    look.label_left(panels, "objective" if one else f"objective {place + 1}")
    look.legend(figure)
    return look.settled(figure, f"{folded(objectives[place], 70)} against each parameter")


def dimension_figure(trials: pa.Table, runs: pa.Table, parameters: Sequence[ParameterAxis]) -> Figure | None:
    """Estimated dimension of every run against each parameter, a panel each; the best decile of the trials stands out.

    With several objectives, which have no decile, the Pareto front does.
    """
    done = {row["number"]: row for row in _finished(trials)}
    table = runs.select(["number", "role", "dimension"]).to_pylist()
    mine = [row for row in table if row["role"] == "trial" and row["number"] in done and row["dimension"] is not None]
    if not mine or not parameters:
        return None
    best = np.isin([row["number"] for row in mine], list(best_trials(trials)))
    dimensions = [row["dimension"] for row in mine]
    y = np.array(dimensions) + _spread(len(mine), 0.56, 1)
    decile = any(row["place"] for row in done.values())
    labels = ("run of a finished trial", "best decile of the trials" if decile else "Pareto front")
    shown = [done[row["number"]] for row in mine]
    figure, panels = _panels(parameters, list(done.values()), shown, y, best, labels)
    truths = [row["intrinsic_dim"] for row in done.values() if row["intrinsic_dim"] is not None]
    for axes in panels if truths else []:
        axes.axhline(truths[0], color=GREEN, linewidth=1.3, linestyle="--", zorder=1, label="true dimension")
    low, high = min([*dimensions, *truths]), max([*dimensions, *truths])
    panels[0].set_ylim(low - 0.6, high + 0.6)
    panels[0].set_yticks(look.thinned(range(low, high + 1), 12))
    look.label_left(panels, "estimated dimension")
    look.legend(figure)
    share, title = agreement(trials, runs), "Estimated dimension of every run against each parameter"
    if share is not None:
        title += f"\nequal in {short(share)} of the pairs of runs from different trials"
    return look.settled(figure, title)


def _panels(
    parameters: Sequence[ParameterAxis], done: Sequence[Row], rows: Sequence[Row], y: Array, best: Array,
    labels: tuple[str, str], *, star: bool = False, default: Row | None = None,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """A panel for each parameter with points at its values in the rows (finished trials, repeated) and ``y``.

    Args:
        parameters: the searched fields.
        done: all finished trials; a title says in how many of them the parameter has a value if not in all.
        rows, y, best: of each point: its trial, height, and whether it stands out.
        labels: of the other points and of those that stand out.
        star: a single point stands out.
        default: the trial that is marked.
    """
    titles = []
    for axis in parameters:
        given = sum(_given(row[PARAMETER + axis.path]) for row in done)
        more = "" if given == len(done) else f"\nin {given} of {counted(len(done), 'trial')}"
        titles.append(folded(axis.path, 30) + more)
    figure, panels = look.panels(titles, height=2.3, sharey=True)
    alone = np.array([row is default for row in rows]) | (best & star)  # not spread, as they stand out
    for axis, axes in zip(parameters, panels, strict=True):
        values = [row[PARAMETER + axis.path] for row in rows]
        scale = _Scale(axis, values)
        x = np.where(alone, scale.places(values), scale.places(values, 0.6))
        axes.plot(x[~best], y[~best], label=labels[0], **_marks(BLUE, len(y)))
        axes.plot(x[best], y[best], label=labels[1], **_marks(ORANGE, int(best.sum())) | (_STAR if star else {}))
        if default is not None:
            axes.plot(x[rows.index(default)], y[rows.index(default)], **_DEFAULT)
        scale.lay_out(axes)
    return figure, panels


def parallel_figure(trials: pa.Table, parameters: Sequence[ParameterAxis], objectives: Sequence[str]) -> Figure | None:
    """Every finished trial as a line over the parameters, the objectives and the estimated dimension, if there is one.

    The colour is the rank by the (first) objective. A line is broken where a condition excludes the parameter.
    """
    done = [row for row in _finished(trials) if finite(goal_of(row, 0))]
    if not done or not parameters:
        return None
    done.sort(key=lambda row: -row["objectives"][0])  # the best are drawn last, on top
    columns = [(axis, [row[PARAMETER + axis.path] for row in done]) for axis in parameters]
    for place, label in enumerate(objectives):
        goals = [goal_of(row, place) for row in done]
        columns.append((ParameterAxis(label, log=_wide(goals)), goals))
    if has_estimates(done):
        columns.append((ParameterAxis("dimension"), [row["dimension"] for row in done]))
    figure = look.figure(min(max(6.5, 1.2 + 1.15 * len(columns)), 18.0), 4.6)
    axes = figure.subplots()
    heights = np.empty((len(done), len(columns)))
    for place, (axis, values) in enumerate(columns):
        scale = _Scale(axis, values)
        heights[:, place] = scale.heights(scale.places(values, 0.3))
        axes.axvline(place, color="0.25", linewidth=0.9, zorder=3)
        for height, text in zip(scale.heights(np.array(scale.ticks)), scale.texts, strict=True):
            box: Row = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
            axes.text(place + 0.035, height, text, fontsize=6.5, va="center", zorder=5, bbox=box)
    colours = ScalarMappable(Normalize(0, max(1, len(done) - 1)), "cividis")
    shades, x = colours.to_rgba(np.arange(len(done))[::-1]), np.arange(len(columns))
    alpha = 0.85 if len(done) <= 60 else 0.5 if len(done) <= 400 else 0.2
    lines = LineCollection(
        [np.column_stack([x, line]) for line in heights], colors=shades, linewidths=1.1, alpha=alpha, zorder=2
    )
    axes.add_collection(lines, autolim=False)
    points: Row = {"s": 5, "alpha": alpha, "linewidths": 0, "zorder": 2}  # show also a value between two gaps
    axes.scatter(np.tile(x, len(done)), heights.ravel(), c=np.repeat(shades, len(x), axis=0), **points)
    first = next((row for row in done if row["place"] == 1), None)
    for name, row, marks in (("default", default_trial(done), "--o"), ("best trial", first, "-o")):
        if row is not None:
            colour = "black" if name == "default" else ORANGE
            axes.plot(heights[done.index(row)], marks, color=colour, zorder=4, label=name, linewidth=2.0, markersize=3)
    _name_columns(axes, [folded(axis.path, 26) for axis, _ in columns])
    if len(done) > 1:
        bar = figure.colorbar(colours, ax=axes, shrink=0.7, aspect=25, pad=0.01)
        bar.set_ticks([0, len(done) - 1], labels=["best", "worst"])
        bar.ax.invert_yaxis()
        bar.ax.tick_params(labelsize=7, length=0)
    look.legend(figure)
    what = "objective" if len(objectives) == 1 else "first objective"
    return look.settled(figure, f"{counted(len(done), 'finished trial')}, coloured by rank of the {what}")


def _name_columns(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xlim(-0.2, len(names) - 0.5)
    axes.set_ylim(-0.04, 1.04)
    axes.xaxis.tick_top()
    steep = len(names) > 5 or max(map(len, names)) > 18
    turned: Row = {"rotation": 25, "ha": "left", "rotation_mode": "anchor"} if steep else {}
    axes.set_xticks(range(len(names)), names, fontsize=7.5, **turned)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_locator(NullLocator())
    axes.spines[:].set_visible(False)


def importance_figure(importances: pa.Table) -> Figure | None:
    """Importance of each parameter for the objective and for the estimated dimension, with its standard deviation."""
    rows = importances.to_pylist()
    if not rows:
        return None
    targets = distinct(rows, "target")
    first = {row["parameter"]: row["importance"] for row in rows if row["target"] == targets[0]}
    names = sorted(first, key=lambda name: first[name])
    figure = look.figure(1.6 + 3.3 * len(targets), 1.5 + max(0.9, 0.27 * len(names)))
    panels = figure.subplots(1, len(targets), squeeze=False, sharey=True)[0]
    for target, axes in zip(targets, panels, strict=True):
        here = {row["parameter"]: row for row in rows if row["target"] == target}
        r2, number = here[names[0]]["forest_r2"], here[names[0]]["trials"]
        meaningful = finite(r2) and r2 > 0
        axes.barh(
            range(len(names)), [here[name]["importance"] for name in names], 0.66,
            xerr=[here[name]["importance_sd"] for name in names], color=BLUE if meaningful else "#c4c4c4",
            error_kw={"linewidth": 0.9, "ecolor": "0.3", "capsize": 2},
        )  # fmt: skip
        title = f"{target}\nthe same in all of {counted(number, 'trial')}"
        if finite(r2):
            title = f"{target}\nR² of the forest {r2:.2f}, {counted(number, 'trial')}"
            title += "" if meaningful else "\nnot above 0: these bars mean little"
        axes.set_title(title, fontsize=8, color="black" if meaningful else "0.35")
        axes.set_yticks(range(len(names)), [folded(name, 36) for name in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        look.plain(axes)
        axes.tick_params(axis="y", length=0, labelsize=7.5)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("share of the variance of the forest", fontsize=8)
    return look.settled(figure, "Importance of the parameters, ± standard deviation over five fits")


def confirmation_figure(confirmation: pa.Table) -> Figure | None:
    """The best trial's configuration against the default on fresh seeds: the pairs, and their differences."""
    rows = [row for row in confirmation.to_pylist() if finite(row["difference"])]
    if not rows:
        return None
    figure = look.figure(8.0, max(3.0, 1.6 + 0.2 * min(len(rows), 40)))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    differences, heights = np.array([row["difference"] for row in rows]), np.arange(len(rows), 0, -1)
    groups = (
        ("best trial is better", GREEN, differences < 0),
        ("default is as good or better", ORANGE, differences >= 0),
    )
    for label, colour, mine in groups:
        pairs = np.array([(row["default"], row["best"]) for row in rows])[mine]
        if len(pairs):
            left.plot([0, 1], pairs.T, "o-", color=colour, linewidth=1.1, markersize=4, alpha=0.8)
            right.plot(differences[mine], heights[mine], "o", color=colour, markersize=4.7, zorder=3, label=label)
    mean, low, high = paired_interval(differences)
    has_interval = math.isfinite(low)
    error = high - mean if has_interval else None
    label = "mean and interval" if has_interval else "mean"
    right.errorbar(mean, 0, xerr=error, fmt="D", color="black", markersize=6, elinewidth=1.6, zorder=3, label=label)
    right.axvline(0, color="0.35", linewidth=0.9, linestyle="--", zorder=1)
    left.set_xticks([0, 1], ["default", "best trial"])
    left.set_xlim(-0.3, 1.3)
    left.set_ylabel("objective", fontsize=8)
    left.set_title("each line is a fresh seed", fontsize=8)
    texts = [f"seed {row['index']}" for row in rows]
    if any(row["best_dimension"] is not None for row in rows):
        ends = [(value_text(row["default_dimension"]), value_text(row["best_dimension"])) for row in rows]
        texts = [f"{text}: {default} → {best}" for text, (default, best) in zip(texts, ends, strict=True)]
        right.set_title("ticks: estimated dimension, default → best trial", fontsize=8)
    step = len(rows) // 40 + 1
    right.set_yticks([*heights[::step], 0], [*texts[::step], "mean"])
    right.set_ylim(-0.8, len(rows) + 0.6)
    right.set_xlabel("difference of the objective, best trial - default", fontsize=8)
    for axes in (left, right):
        look.plain(axes)
    right.xaxis.set_major_locator(MaxNLocator(5))
    look.legend(figure)
    interval = f"95 % t interval [{low:.3g}, {high:.3g}]" if has_interval else "no interval"
    return look.settled(
        figure, f"Comparison on {counted(len(rows), 'fresh seed')}: mean difference {mean:.3g}, {interval}"
    )


def pareto_figure(trials: pa.Table, objectives: Sequence[str]) -> Figure | None:
    """The first two objectives of every finished trial; the Pareto front is marked."""
    done = [row for row in ranked(_finished(trials)) if finite(goal_of(row, 0)) and finite(goal_of(row, 1))]
    if not done:
        return None
    figure = look.figure(6.4, 4.6)
    axes = figure.subplots()
    x, y = _goals(done, 0), _goals(done, 1)
    best = np.array([bool(row["best"]) for row in done])
    axes.plot(x[~best], y[~best], label="finished trial", **_marks(BLUE, len(done)))
    if len(objectives) == 2:  # of more, the front is no line in two of them
        axes.step(x[best], y[best], where="post", color=ORANGE, linewidth=1.0, alpha=0.7, zorder=2)
    axes.plot(x[best], y[best], label="Pareto front, with numbers of trials", **_marks(ORANGE, 1) | {"markersize": 6})
    default = default_trial(done)
    if default is not None:
        axes.plot(*default["objectives"][:2], **_DEFAULT)
    _objective_axis(axes.yaxis, y)
    _objective_axis(axes.xaxis, x)
    front = [row for row in done if row["best"]]
    for row in front[:: len(front) // _MOST_NAMED + 1]:
        axes.annotate(str(row["number"]), row["objectives"][:2], (5, 5), textcoords="offset points", fontsize=7)
    look.plain(axes)
    axes.set_xlabel(folded(objectives[0], 70), fontsize=8)
    axes.set_ylabel(folded(objectives[1], 50), fontsize=8)
    look.legend(figure)
    title = f"Pareto front: {int(best.sum())} of {counted(len(done), 'finished trial')}"
    title += f" (of {len(objectives)} objectives, the first two)" if len(objectives) > 2 else ""
    return look.settled(figure, title)


class _Scale:
    """Where the values of a parameter lie on a linear axis, in logarithms if it is logarithmic, and the ticks there.

    Attributes:
        ticks, texts: places and labels.
    """

    def __init__(self, axis: ParameterAxis, values: Sequence[Any]) -> None:
        given = [value for value in values if _given(value)]
        self._named = axis.categorical or any(isinstance(value, bool | str) for value in given)
        self._levels = sorted(set(given), key=lambda value: (str(type(value)), value)) if self._named else []
        self._log = not self._named and axis.log and all(value > 0 for value in given)
        places = self.places(given or [1.0]) if given or not self._named else np.zeros(1)
        self._low, self._high = float(places.min()), float(places.max())
        if self._named:
            step = (len(self._levels) - 1) // _MOST_LEVELS + 1
            self.ticks = [float(place) for place in range(0, len(self._levels), step)]
            texts = [value_text(level) for level in self._levels[::step]]
            self.texts = [text if len(text) <= 16 else text[:15] + "…" for text in texts]
        elif self._log:
            numbers = _log_ticks(10**self._low, 10**self._high)
            self.ticks, self.texts = np.log10(numbers).tolist(), [f"{number:.4g}" for number in numbers]
        else:
            self.ticks = _even_ticks(self._low, self._high, all(isinstance(value, int) for value in given))
            self.texts = [f"{tick:.4g}" for tick in self.ticks]

    def places(self, values: Sequence[Any], spread: float = 0.0) -> Array:
        """Places on the axis, nan for none; those of names lie apart by up to ``spread``."""
        place = self._levels.index if self._named else math.log10 if self._log else float
        places = np.array([place(value) if _given(value) else math.nan for value in values], float)
        return places + _spread(len(places), spread) if self._named else places

    def heights(self, places: Array) -> Array:
        """The places from 0, the lowest of the values, to 1."""
        span = self._high - self._low
        scaled: Array = (places - self._low) / span if span else 0.5 + 0.0 * places
        return scaled

    def lay_out(self, axes: Axes) -> None:
        """The horizontal axis, with its ticks."""
        side = 0.55 if self._named else 0.06 * (self._high - self._low) or 0.1 * abs(self._low) or 0.5
        axes.set_xlim(self._low - side, self._high + side)
        look.ticks(axes, self.ticks, self.texts)
        if sum(map(len, self.texts)) + 2 * len(self.texts) > 30:
            for text in axes.get_xticklabels():
                text.set(rotation=30, ha="right", rotation_mode="anchor")


def _even_ticks(low: float, high: float, whole: bool) -> list[float]:
    if low == high:
        return [low]
    edge = 1e-9 * (high - low)
    ticks = MaxNLocator(_MOST_TICKS - 1, integer=whole).tick_values(low, high)
    return [float(tick) for tick in ticks if low - edge <= tick <= high + edge]


def _log_ticks(low: float, high: float) -> list[float]:
    """At most five: powers of ten, of a short range with 3, or 2 and 5 times them, else its ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        ticks = [f * 10.0**p for p in powers for f in factors if low * 0.999 <= f * 10.0**p <= high * 1.001]
        if len(ticks) >= 3:
            return ticks[:: (len(ticks) - 1) // _MOST_TICKS + 1]
    return ticks if len(ticks) == 2 else sorted({low, high})


def _given(value: Any) -> bool:
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def _spread(number: int, width: float, direction: int = 0) -> Array:
    """Offsets within ± width / 2 that fill it evenly, the same in every drawing; both directions fill a square."""
    step = (0.7548776662466927, 0.5698402909980532)[direction]  # of the R2 sequence
    return ((np.arange(number) * step + 0.5) % 1.0 - 0.5) * width


def _finished(trials: pa.Table) -> list[Row]:
    kept = ("number", "origin", "state", "objectives", "place", "best", "dimension", "intrinsic_dim")
    names = [name for name in trials.column_names if name in kept or name.startswith(PARAMETER)]
    return [row for row in trials.select(names).to_pylist() if row["state"] == "finished"]


def _goals(rows: Sequence[Row], place: int) -> Array:
    return np.array([goal_of(row, place) for row in rows], float)


def _wide(values: Iterable[Any]) -> bool:
    """Whether the values are better seen in logarithms."""
    given = [value for value in values if finite(value)]
    return bool(given) and min(given) > 0 and max(given) > 30 * min(given)


def _objective_axis(axis: XAxis | YAxis, values: Array) -> None:
    """Make the axis logarithmic where the values ask for it."""
    if not _wide(values):
        return
    (axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if max(values) < 300 * min(values) else (1.0,), numticks=8))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _room_below(axes: Axes, share: float) -> None:
    """Room for the ticks of trials without an objective."""
    low, high = axes.get_ylim()
    axes.set_ylim(low * (low / high) ** share if axes.get_yscale() == "log" else low - share * (high - low), high)


def _marks(colour: str, number: int) -> Row:
    """Points of this colour, smaller and fainter where they are many."""
    few = number <= 300
    return {"linestyle": "", "marker": "o", "markersize": 4.5 if few else 2.5, "color": colour,
            "alpha": 0.8 if few else 0.4, "markeredgecolor": "white", "markeredgewidth": 0.4 if few else 0.0,
            "zorder": 4 if colour == ORANGE else 2}  # fmt: skip
