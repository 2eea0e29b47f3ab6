"""The figures of a consistency study, drawn from its tables (see `lwgan_dist.study.tables` for their columns).

Data of unknown truth are left out of what needs the truth. A figure with nothing to show is None.
"""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from lwgan_dist.reporting import look
from lwgan_dist.reporting.look import BLUE, GREEN, ORANGE, folded
from lwgan_dist.reporting.values import Row, distinct, finite, listed, short
from lwgan_dist.study.tables import StudyTables

_OUTCOMES = {
    "under": ("p_under", "#56B4E9"), "correct": ("p_correct", "#009E73"), "over": ("p_over", "#E69F00"),
    "failed": ("failed", "#555555"),
}  # fmt: skip
_MOST_SCORE_PATHS, _MOST_BASE_RUNS, _MOST_PATHS = 6, 12, 200


def study_figures(tables: StudyTables, level: float = 0.95, mass: float | None = None) -> dict[str, Figure]:
    """All figures that the tables have something for, by name: of files, TensorBoard tags, and on the page.

    Args:
        tables: of the study.
        level: of P(correct), marked where it is shown.
        mass: least bootstrap mass of the rank sets; marked where their coverage is shown.
    """
    figures = {
        "correct": correct_figure(tables.cells, level, tables.solved),
        "outcomes": outcome_figure(tables.cells),
        "scores": score_path_figure(tables.runs),
        "rates": rate_figure(tables.runs, tables.trends),
        "sensitivity": sensitivity_figure(tables.sensitivity) if tables.sensitivity is not None else None,
    }
    if tables.bootstrap is not None and tables.coverage is not None:
        figures["bootstrap"] = bootstrap_figure(tables.bootstrap, tables.coverage, mass)
    return {name: figure for name, figure in figures.items() if figure is not None}


def correct_figure(cells: pa.Table, level: float = 0.95, solved: pa.Table | None = None) -> Figure | None:
    """P(correct) against n with its 95 % interval, a panel for each data of known truth.

    The interval is Wilson's; where replicates were added on demand, the confidence sequence. Where n was solved for, a
    band is its interval and a line the estimate.
    """
    rows = _known(cells)
    kinds = {True: "wilson", False: "sequence"}
    points = []
    for row in rows:
        kind = kinds[row["sequence_low"] is None]
        ends = {"low": row[f"{kind}_low"], "high": row[f"{kind}_high"]}
        points.append(row | ends | {"series": row["method"], "share": row["p_correct"]})
    heads = {row["data"]: f"true dimension {row['intrinsic_dim']}" for row in rows}
    sequence = any(row["sequence_low"] is not None for row in rows)
    interval = "95 % confidence sequence" if sequence else "95 % Wilson interval"
    title = f"Share of runs with the true dimension, {interval}; dashed: {level:g}"
    bands = {(row["data"], row["method"]): row for row in solved.to_pylist()} if solved is not None else {}
    if bands:
        title += "\nbands and vertical lines: the n at which it is reached"
    return _share_figure(points, heads, level, "P(correct)", title, bands)


def _share_figure(
    points: Sequence[Row],
    heads: Mapping[str, str],
    dashed: float | None,
    label: str,
    title: str,
    bands: Mapping[tuple[str, str], Row] = MappingProxyType({}),
) -> Figure | None:
    """Shares against n with their intervals: points have data, n, series, share, low and high.

    Args:
        points: the shares.
        heads: second line of the title of a panel, by data; these have panels.
        dashed: level that is marked.
        label, title: of the vertical axes, of the figure.
        bands: rows of the table of solved n, by data and series.
    """
    if not points:
        return None
    series = distinct(points, "series")
    figure, panels = look.panels([f"{folded(data)}\n{head}" for data, head in heads.items()], sharey=True)
    for data, axes in zip(heads, panels, strict=True):
        here = [row for row in points if row["data"] == data]
        sizes = sorted({row["n"] for row in here})
        if dashed is not None and any(finite(row["low"]) for row in here):
            axes.axhline(dashed, color="0.35", linewidth=0.9, linestyle="--", zorder=1)
        for place, name in enumerate(series):
            mine = sorted((row for row in here if row["series"] == name), key=lambda row: row["n"])
            shift = math.exp(look.jitter(sizes, len(series)) * (place - (len(series) - 1) / 2))
            x, share, low, high = np.array(
                [(row["n"] * shift, row["share"], row["low"], row["high"]) for row in mine], float
            ).reshape(-1, 4).T  # fmt: skip
            drawn = look.style(place)
            axes.plot(x, share, zorder=3 + 1 / (1 + place), label=name, **drawn)
            axes.vlines(x, low, high, color=drawn["color"], linewidth=0.9, alpha=0.55, zorder=2)
            faint = min(0.08, 0.3 / len(series))
            axes.fill_between(x, low, high, color=drawn["color"], alpha=faint, linewidth=0, zorder=1)
            _draw_band(axes, bands.get((data, name)), drawn["color"], sizes)
        look.size_axis(axes, sizes)
        look.share_axis(axes)
    look.label_left(panels, label)
    look.label_below(panels, "rows n")
    look.legend(figure)
    return look.settled(figure, title)


def _draw_band(axes: Axes, solved: Row | None, colour: str, sizes: Sequence[int]) -> None:
    """The interval of a solved n, as far as it lies between the sizes, and the estimate."""
    if solved is None or solved["n_low"] is None:
        return
    low, high = max(solved["n_low"], sizes[0]), min(solved["n_high"], sizes[-1])
    if low < high:
        axes.axvspan(low, high, color=colour, alpha=0.12, linewidth=0, zorder=0)
    if solved["n"] is not None:
        axes.axvline(solved["n"], color=colour, linewidth=1.2, linestyle=":", zorder=2)


def outcome_figure(cells: pa.Table) -> Figure | None:
    """Shares of runs under the truth, at it, over it and failed, by method and n; a panel for each data."""
    rows = _known(cells)
    if not rows:
        return None
    rows = [row | {"failed": row["failures"] / row["runs"]} for row in rows]
    methods = distinct(rows, "method")
    sizes = {data: sorted({row["n"] for row in rows if row["data"] == data}) for data in distinct(rows, "data")}
    same = len(set(map(tuple, sizes.values()))) == 1
    bars = len(methods) * max(map(len, sizes.values()))
    titles = [folded(data) + ("" if same else f"\nn = {listed(each)}") for data, each in sizes.items()]
    figure, panels = look.panels(titles, width=min(max(2.5, 0.6 + 0.11 * bars), 12.0), below=0.5, sharey=True)
    for data, axes in zip(sizes, panels, strict=True):
        here, width = [row for row in rows if row["data"] == data], 0.8 / len(sizes[data])
        middle = (len(sizes[data]) - 1) / 2
        x = [methods.index(row["method"]) + (sizes[data].index(row["n"]) - middle) * width for row in here]
        base = np.zeros(len(here))
        for name, (column, colour) in _OUTCOMES.items():
            shares = np.array([row[column] for row in here])
            hatch = "////" if name == "failed" else None
            axes.bar(
                x, shares, width * 0.88, base, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name
            )
            base += shares
        axes.set_xticks(
            range(len(methods)), [folded(method, 22) for method in methods], rotation=40, ha="right", fontsize=7,
            rotation_mode="anchor",
        )  # fmt: skip
        axes.set_xlim(-0.55, len(methods) - 0.45)
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    look.label_left(panels, "share of runs")
    look.legend(figure)
    first = next(iter(sizes.values()))
    order = ("bars from left to right: " if len(first) > 1 else "") + f"n = {listed(first)}"
    return look.settled(figure, f"Outcome of the runs ({order if same else 'bars by ascending n'})")


def score_path_figure(runs: pa.Table) -> Figure | None:
    """Mean score by rank of every run of the first LWGAN method (thin) and their mean (bold), a row for each data, a
    column for each n.

    At most 6 data are shown, and the smallest, a middle and the largest n of each; the figure names what was left out.
    """
    rows, method = _first_lwgan(runs, ("score_mean", "penalty", "intrinsic_dim"))
    rows = [row for row in rows if row["score_mean"]]
    if not rows:
        return None
    everything = distinct(rows, "data")
    labels, left_out = everything[:_MOST_SCORE_PATHS], everything[_MOST_SCORE_PATHS:]
    sizes = {label: sorted({row["n"] for row in rows if row["data"] == label}) for label in labels}
    shown = {label: sorted({s[0], s[len(s) // 2], s[-1]}) for label, s in sizes.items()}
    columns = max(map(len, shown.values()))
    figure = look.figure(max(5.5, 0.6 + 3.0 * columns), 1.0 + (0.3 if left_out else 0.0) + 2.1 * len(labels))
    grid = figure.subplots(len(labels), columns, squeeze=False)
    for label, line in zip(labels, grid, strict=True):
        for place, axes in enumerate(line):
            if place >= len(shown[label]):
                axes.set_axis_off()
                continue
            n = shown[label][place]
            _draw_score_paths(axes, [row for row in rows if row["data"] == label and row["n"] == n])
            axes.set_title(f"n = {n}" if place else f"{folded(label)}, n = {n}", fontsize=8)
            axes.set_ylabel("" if place else "rank score", fontsize=8)
            axes.set_xlabel("rank" if label == labels[-1] else "", fontsize=8)
    look.legend(figure)
    title = f"Score by rank, {method}"
    if left_out:
        title += "\n" + textwrap.shorten(f"not shown: {', '.join(left_out)}", 40 * columns, placeholder=" …")
    return look.settled(figure, title)


def _draw_score_paths(axes: Axes, rows: Sequence[Row]) -> None:
    length = max(len(row["score_mean"]) for row in rows)
    scores = np.full((len(rows), length), np.nan)
    for place, row in enumerate(rows):
        scores[place, : len(row["score_mean"])] = row["score_mean"]
    ranks = np.arange(1, length + 1)
    penalties = np.array([row["penalty"] for row in rows], float)
    if (truth := rows[0]["intrinsic_dim"]) is not None:
        axes.axvline(truth, color=GREEN, linewidth=8, alpha=0.2, zorder=0, label="true dimension")
    alpha = max(0.08, min(0.5, 6 / len(rows)))
    first, *_ = axes.plot(ranks, scores[:_MOST_PATHS].T, color=BLUE, linewidth=0.6, alpha=alpha)
    first.set_label("score of a run")
    axes.plot(ranks, _nanmean(scores), "o-", color=BLUE, linewidth=2.0, markersize=3.5, label="mean")
    penalised = _nanmean(scores + penalties[:, None] * ranks)
    axes.plot(ranks, penalised, "s--", color=ORANGE, linewidth=1.2, markersize=3, label="mean of score + λ · rank")
    axes.set_xticks(look.thinned(ranks, 12))
    axes.tick_params(labelsize=7)


def rate_figure(runs: pa.Table, trends: pa.Table) -> Figure | None:
    """SE of the score and penalty lambda of the first LWGAN method against n, both axes logarithmic: runs, medians, and
    the fitted slopes.
    """
    rows, method = _first_lwgan(runs, ("score_se", "penalty"))
    rows = [row for row in rows if _positive(row["score_se"]) or _positive(row["penalty"])]
    if not rows:
        return None
    labels = distinct(rows, "data")
    fits = {row["data"]: row for row in trends.to_pylist() if row["method"] == method}
    figure, panels = look.panels([folded(label) for label in labels], width=2.7, height=2.7)
    for label, axes in zip(labels, panels, strict=True):
        here, fit = [row for row in rows if row["data"] == label], fits.get(label, {})
        sizes = sorted({row["n"] for row in here})
        shift = look.jitter(sizes, 2) / 2
        _draw_rate(axes, here, "score_se", {"color": BLUE, "marker": "o"}, -shift, f"SE{_slope_text(fit, 'se_slope')}")
        name = f"λ{_slope_text(fit, 'penalty_slope')}"
        _draw_rate(axes, here, "penalty", {"color": ORANGE, "marker": "s"}, shift, name)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0), numticks=6))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** 0.45, high)  # room for the legend
        look.size_axis(axes, sizes)
        axes.legend(frameon=False, fontsize=7, loc="lower left", handlelength=1.6)
    look.label_below(panels, "rows n")
    title = f"Standard error of the score and penalty λ, {method}\nruns and medians; slope of a log-log fit ± its SE"
    return look.settled(figure, title)


def _draw_rate(axes: Axes, rows: Sequence[Row], column: str, marks: Row, shift: float, label: str) -> None:
    points = [(row["n"] * math.exp(shift), row[column]) for row in rows if _positive(row[column])]
    if not points:
        return
    x, y = np.array(points).T
    axes.plot(x, y, linestyle="", markersize=3, alpha=0.35, markeredgewidth=0, **marks)
    middle = np.unique(x)
    medians = [float(np.median(y[x == place])) for place in middle]
    axes.plot(middle, medians, linestyle="-", linewidth=1.5, markersize=5, label=label, **marks)


def _slope_text(fit: Row, name: str) -> str:
    if not finite(fit.get(name)):
        return ""
    error = fit.get(f"{name}_se")
    return f", slope {fit[name]:.2f}" + (f" ± {error:.2f}" if finite(error) else "")


def sensitivity_figure(sensitivity: pa.Table) -> Figure | None:
    """Share of correct runs by penalty exponent and constant, pooled over n, a panel for each data.

    Where the truth is unknown: the share of runs whose estimate is that of the configured rule.
    """
    rows = [row for row in sensitivity.to_pylist() if row["runs"]]
    if not rows:
        return None
    several = len(distinct(rows, "method")) > 1
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["method"]), []).append(row)
    titles = []
    for (data, method), here in groups.items():
        known = here[0]["correct"] is not None
        what = "correct" if known else "truth unknown: as the configured rule"
        titles.append(f"{folded(f'{data} | {method}' if several else data)}\n{what}")
    constants, exponents = sorted({row["constant"] for row in rows}), sorted({row["exponent"] for row in rows})
    width, height = min(max(2.5, 0.8 + 0.38 * len(constants)), 8.0), min(max(1.9, 0.5 + 0.24 * len(exponents)), 8.0)
    figure, panels = look.panels(titles, width=width, height=height)
    for here, axes in zip(groups.values(), panels, strict=True):
        image = axes.imshow(
            _shares(here, exponents, constants), vmin=0, vmax=1, cmap="cividis", origin="lower", aspect="auto"
        )
        if len(constants) <= 9:
            for (i, j), value in np.ndenumerate(np.asarray(image.get_array())):
                colour = "black" if value > 0.55 else "white"
                axes.text(j, i, short(value), ha="center", va="center", fontsize=6.5, color=colour)
        _name_ticks(axes.set_xticks, constants)
        _name_ticks(axes.set_yticks, exponents)
    look.label_below(panels, "constant c")
    look.label_left(panels, "exponent a")
    aspect = 25 if len(panels) > look.MOST_COLUMNS else 12
    bar = figure.colorbar(image, ax=panels, shrink=0.8, aspect=aspect, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    return look.settled(figure, "Share of runs under the rule λ = c · SEᵃ, pooled over n")


def _shares(rows: Sequence[Row], exponents: Sequence[float], constants: Sequence[float]) -> Any:
    """Shape (exponents, constants), nan where no run was judged."""
    good, total = np.zeros((2, len(exponents), len(constants)))
    for row in rows:
        place = exponents.index(row["exponent"]), constants.index(row["constant"])
        good[place] += row["runs"] - row["changed"] if row["correct"] is None else row["correct"]
        total[place] += row["runs"]
    with np.errstate(invalid="ignore"):
        return good / total


def bootstrap_figure(bootstrap: pa.Table, coverage: pa.Table, mass: float | None = None) -> Figure | None:
    """The distribution of the rank of up to 12 bootstrapped runs; for more, the coverage of the rank sets by n.

    Args:
        bootstrap: the table of bootstrapped runs.
        coverage: the table with the intervals.
        mass: least bootstrap mass of the rank sets; marked where the coverage is shown.
    """
    rows = bootstrap.to_pylist()
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        run = tuple(row[name] for name in ("data", "n", "method", "replicate", "initialisation"))
        groups.setdefault(run, []).append(row)
    if len(groups) > _MOST_BASE_RUNS:
        return _coverage_figure(rows, coverage.to_pylist(), mass)
    return _rank_figure(groups) if groups else None


def _rank_figure(groups: Mapping[tuple[Any, ...], Sequence[Row]]) -> Figure:
    rows = [row for here in groups.values() for row in here]
    kinds, several = distinct(rows, "kind"), len(distinct(rows, "method")) > 1
    starts = any(row["initialisation"] for row in rows)
    titles = [
        f"{folded(data)}\n" + (f"{method}, " if several else "") + f"n = {n}, sample {replicate}"
        + (f", run {start}" if starts else "")
        for data, n, method, replicate, start in groups
    ]  # fmt: skip
    figure, panels = look.panels(titles, sharey=True)
    for here, axes in zip(groups.values(), panels, strict=True):
        for row in here:
            place, counts = kinds.index(row["kind"]), np.array(row["counts"], float)
            x = np.array(row["ranks"], float) + (place - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
            axes.bar(x, counts / max(counts.sum(), 1), 0.72 / len(kinds), color=look.COLOURS[place], label=row["kind"])
        truth, estimate = here[0]["intrinsic_dim"], here[0]["dimension"]
        if estimate is not None:
            axes.plot(estimate, 1.07, "kv", markersize=5, clip_on=False, label="estimate of the run")
        if truth is not None:
            axes.axvline(truth, color=GREEN, linewidth=9, alpha=0.25, zorder=0, label="true dimension")
        marked = [rank for row in here for rank in row["ranks"]] + [r for r in (truth, estimate) if r is not None]
        ranks = range(min(marked, default=1) - 1, max(marked, default=1) + 2)
        axes.set_xlim(ranks[0] - 0.2, ranks[-1] + 0.2)
        axes.set_xticks(look.thinned(ranks, 12))
        look.share_axis(axes, 1.12)
    look.label_below(panels, "rank")
    look.label_left(panels, "share of refits")
    look.legend(figure)
    return look.settled(figure, "Bootstrap: rank of the refits")


def _coverage_figure(rows: Sequence[Row], coverage: Sequence[Row], mass: float | None) -> Figure | None:
    several = len(distinct(rows, "method")) > 1
    heads, points = {}, []
    for row in coverage:
        mine = [r for r in rows if all(r[name] == row[name] for name in ("data", "n", "method", "kind"))]
        modes = [r["mode_frequency"] for r in mine if r["mode_frequency"] is not None]
        unknown = row["p_covers"] is None
        points.append(row | {
            "series": f"{row['method']}, {row['kind']}" if several else row["kind"],
            "share": (float(np.mean(modes)) if modes else None) if unknown else row["p_covers"],
            "low": row["wilson_low"], "high": row["wilson_high"],
        })  # fmt: skip
        heads[row["data"]] = "truth unknown: share of the mode" if unknown else "coverage"
    title = "Bootstrap: share of runs whose rank set holds the true dimension\n95 % Wilson interval"
    title += f"; dashed: mass asked for, {mass:g}" if mass is not None else ""
    return _share_figure(points, heads, mass, "share", title)


def _known(cells: pa.Table) -> list[Row]:
    return [row for row in cells.to_pylist() if row["intrinsic_dim"] is not None and row["runs"]]


def _first_lwgan(runs: pa.Table, columns: Sequence[str]) -> tuple[list[Row], str]:
    """Data, n and these columns of the runs of the first LWGAN method, and its name."""
    rows = [row for row in runs.select(["method", "kind", "data", "n", *columns]).to_pylist() if row["kind"] == "lwgan"]
    return [row for row in rows if row["method"] == rows[0]["method"]], rows[0]["method"] if rows else ""


def _positive(value: float | None) -> bool:
    return finite(value) and value > 0


def _nanmean(values: Any) -> Any:
    """Mean over the rows, nan where all are."""
    seen = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(seen, values, 0.0).sum(axis=0) / seen.sum(axis=0)


def _name_ticks(setter: Callable[[Any, Any], Any], values: Sequence[float]) -> None:
    step = len(values) // 12 + 1
    setter(range(0, len(values), step), [f"{value:.3g}" for value in values[::step]])
