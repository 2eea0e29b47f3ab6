"""The figures of a consistency study, drawn from its tables (see `lwgan_dist.study.tables` for their columns).

Data of unknown truth are left out of what needs the truth. A figure with nothing to show says so.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullFormatter, NullLocator, PercentFormatter

Row = dict[str, Any]
# Okabe and Ito's palette without the yellow, which is too light for lines on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))
_OUTCOMES = {"under": "#56B4E9", "correct": "#009E73", "over": "#E69F00", "failed": "#555555"}
_SCORE, _PENALISED, _TRUTH = "#0072B2", "#D55E00", "#009E73"
_COLUMNS = 5
_MOST_SCORE_PATHS, _MOST_BASE_RUNS = 6, 12


def study_figures(
    runs: pa.Table,
    cells: pa.Table,
    trends: pa.Table,
    sensitivity: pa.Table | None = None,
    bootstrap: pa.Table | None = None,
    coverage: pa.Table | None = None,
    level: float = 0.95,
    mass: float | None = None,
) -> dict[str, Figure]:
    """All figures that the tables have something for, by name: of files, TensorBoard tags, and for `html_page`."""
    known = any(truth is not None for truth in cells["intrinsic_dim"].to_pylist())
    lwgan = any(kind == "lwgan" for kind in runs["kind"].to_pylist())
    figures: dict[str, Figure] = {}
    if known:
        figures["correct"] = correct_figure(cells, level)
        figures["outcomes"] = outcome_figure(cells)
    if lwgan:
        figures["scores"] = score_path_figure(runs)
        figures["rates"] = rate_figure(runs, trends)
    if sensitivity is not None and sensitivity.num_rows:
        figures["sensitivity"] = sensitivity_figure(sensitivity)
    if bootstrap is not None and bootstrap.num_rows:
        figures["bootstrap"] = bootstrap_figure(bootstrap, coverage, mass)
    return figures


def correct_figure(cells: pa.Table, level: float = 0.95) -> Figure:
    """P(correct) against n with its 95 % interval, a panel for each data of known truth.

    The interval is Wilson's; where replicates were added on demand, the confidence sequence.
    """
    rows = [row for row in cells.to_pylist() if row["intrinsic_dim"] is not None and row["runs"]]
    if not rows:
        return _message("The true dimension of the data is not known:\nthere is no P(correct).")
    labels, methods = _distinct(rows, "data"), _distinct(rows, "method")
    figure, panels = _panels(labels, _legend_lines(methods, len(labels)), sharey=True)
    for label, axes in zip(labels, panels, strict=True):
        here = [row for row in rows if row["data"] == label]
        sizes = sorted({row["n"] for row in here})
        step = _jitter(sizes, len(methods))
        axes.axhline(level, color="0.35", linewidth=0.9, linestyle="--", zorder=1)
        for place, method in enumerate(methods):
            mine = sorted((row for row in here if row["method"] == method), key=lambda row: row["n"])
            x = np.array([row["n"] for row in mine]) * math.exp(step * (place - (len(methods) - 1) / 2))
            low, high = np.array([_interval(row, "wilson") for row in mine]).reshape(-1, 2).T
            style = _style(place)
            axes.plot(x, [row["p_correct"] for row in mine], zorder=3 + 1 / (1 + place), **style)
            axes.vlines(x, low, high, color=style["color"], linewidth=0.9, alpha=0.55, zorder=2)
            axes.fill_between(
                x, low, high, color=style["color"], alpha=min(0.08, 0.3 / len(methods)), linewidth=0, zorder=1
            )
        _size_axis(axes, sizes)
        axes.set_ylim(-0.03, 1.04)
        axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axes.set_title(f"{_title(label)}\ntrue dimension {here[0]['intrinsic_dim']}", fontsize=8, parse_math=False)
    sequence = any(row["sequence_low"] is not None for row in rows)
    _label_left(panels, "P(correct)")
    _label_below(panels, "rows n")
    interval = "95 % confidence sequence" if sequence else "95 % Wilson interval"
    figure.suptitle(f"Share of runs with the true dimension, {interval}; dashed: {level:g}", fontsize=9.5)
    _legend(figure, [(method, Line2D([], [], **_style(place))) for place, method in enumerate(methods)], len(labels))
    return _settled(figure)


def outcome_figure(cells: pa.Table) -> Figure:
    """Shares of runs under the truth, at it, over it and failed, by method and n; a panel for each data."""
    rows = [row for row in cells.to_pylist() if row["intrinsic_dim"] is not None and row["runs"]]
    if not rows:
        return _message("The true dimension of the data is not known:\nno outcome can be told.")
    labels, methods = _distinct(rows, "data"), _distinct(rows, "method")
    all_sizes = {label: sorted({row["n"] for row in rows if row["data"] == label}) for label in labels}
    bars = len(methods) * max(map(len, all_sizes.values()))
    figure, panels = _panels(labels, 1, width=min(max(2.5, 0.6 + 0.11 * bars), 12.0), below=0.5, sharey=True)
    same = len(set(map(tuple, all_sizes.values()))) == 1
    for label, axes in zip(labels, panels, strict=True):
        sizes = all_sizes[label]
        width = 0.8 / len(sizes)
        for row in rows:
            if row["data"] != label:
                continue
            x = methods.index(row["method"]) + (sizes.index(row["n"]) - (len(sizes) - 1) / 2) * width
            shares = {
                "under": row["p_under"],
                "correct": row["p_correct"],
                "over": row["p_over"],
                "failed": row["failures"] / row["runs"],
            }
            base = 0.0
            for name, share in shares.items():
                hatch = "////" if name == "failed" else None
                look: Row = {"color": _OUTCOMES[name], "hatch": hatch, "edgecolor": "white", "linewidth": 0}
                axes.bar(x, share, width * 0.88, base, **look)
                base += share
        axes.set_xticks(range(len(methods)), [_title(m, 22) for m in methods], rotation=40, ha="right", fontsize=7)
        axes.set_xlim(-0.55, len(methods) - 0.45)
        for text in axes.get_xticklabels():
            text.set(parse_math=False, rotation_mode="anchor")
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        title = _title(label) if same else f"{_title(label)}\nn = {_listed(sizes)}"
        axes.set_title(title, fontsize=8, parse_math=False)
    order = "bars by ascending n"
    if same:
        sizes = all_sizes[labels[0]]
        order = ("bars from left to right: " if len(sizes) > 1 else "") + f"n = {_listed(sizes)}"
    figure.suptitle(f"Outcome of the runs ({order})", fontsize=9.5)
    _label_left(panels, "share of runs")
    _legend(
        figure,
        [(name, Patch(facecolor=colour, hatch="////" if name == "failed" else None, edgecolor="white"))
         for name, colour in _OUTCOMES.items()],
        len(labels),
    )  # fmt: skip
    return _settled(figure)


def score_path_figure(runs: pa.Table, method: str | None = None) -> Figure:
    """Mean score by rank of every LWGAN run (thin) and their mean (bold), a row for each data, a column for each n.

    Args:
        runs: the table of runs.
        method: which LWGAN; by default the first. At most 6 data are shown, and the smallest, a middle and the largest
            n of each; the figure names what was left out.
    """
    rows, method = _lwgan(runs, method, ("data", "n", "score_mean", "penalty", "intrinsic_dim"))
    rows = [row for row in rows if row["score_mean"]]
    if not rows:
        return _message("No LWGAN run has scores.")
    everything = _distinct(rows, "data")
    labels, left_out = everything[:_MOST_SCORE_PATHS], everything[_MOST_SCORE_PATHS:]
    sizes = {label: sorted({row["n"] for row in rows if row["data"] == label}) for label in labels}
    shown = {label: sorted({s[0], s[len(s) // 2], s[-1]}) for label, s in sizes.items()}
    columns = max(map(len, shown.values()))
    extra = 0.3 if left_out else 0.0
    figure = _figure(max(5.5, 0.6 + 3.0 * columns), 1.0 + extra + 2.1 * len(labels))
    grid = figure.subplots(len(labels), columns, squeeze=False)
    for label, places in zip(labels, grid, strict=True):
        for place, axes in enumerate(places):
            if place >= len(shown[label]):
                axes.set_axis_off()
                continue
            n = shown[label][place]
            _score_paths(axes, [row for row in rows if row["data"] == label and row["n"] == n])
            axes.set_title(f"n = {n}" if place else f"{_title(label)}, n = {n}", fontsize=8, parse_math=False)
            if place == 0:
                axes.set_ylabel("rank score", fontsize=8)
        for axes in places[: len(shown[label])]:
            axes.set_xlabel("rank" if label == labels[-1] else "", fontsize=8)
    title = f"Score by rank, {method}"
    if left_out:
        title += "\n" + textwrap.shorten(f"not shown: {', '.join(left_out)}", 40 * columns, placeholder=" …")
    figure.suptitle(title, fontsize=9.5, parse_math=False)
    entries: list[tuple[str, Any]] = [
        ("score of a run", Line2D([], [], color=_SCORE, linewidth=0.7, alpha=0.5)),
        ("mean", Line2D([], [], color=_SCORE, linewidth=2.2, marker="o", markersize=4)),
        ("mean of score + λ · rank", Line2D([], [], color=_PENALISED, linestyle="--", marker="s", markersize=3)),
        ("true dimension", Line2D([], [], color=_TRUTH, linewidth=7, alpha=0.25)),
    ]
    _legend(figure, entries, columns + 1)
    return _settled(figure)


def _score_paths(axes: Axes, rows: Sequence[Row]) -> None:
    length = max(len(row["score_mean"]) for row in rows)
    scores = np.full((len(rows), length), np.nan)
    for place, row in enumerate(rows):
        scores[place, : len(row["score_mean"])] = [math.nan if s is None else s for s in row["score_mean"]]
    ranks = np.arange(1, length + 1)
    penalties = np.array([math.nan if row["penalty"] is None else row["penalty"] for row in rows])
    if (truth := rows[0]["intrinsic_dim"]) is not None:
        axes.axvline(truth, color=_TRUTH, linewidth=8, alpha=0.2, zorder=0)
    axes.plot(ranks, scores[:200].T, color=_SCORE, linewidth=0.6, alpha=max(0.08, min(0.5, 6 / len(rows))))
    axes.plot(ranks, _nanmean(scores), "o-", color=_SCORE, linewidth=2.0, markersize=3.5)
    axes.plot(
        ranks, _nanmean(scores + penalties[:, None] * ranks), "s--", color=_PENALISED, linewidth=1.2, markersize=3
    )
    axes.set_xticks(ranks if length <= 12 else ranks[:: length // 12 + 1])
    axes.tick_params(labelsize=7)


def rate_figure(runs: pa.Table, trends: pa.Table, method: str | None = None) -> Figure:
    """SE of the score and penalty lambda against n, both axes logarithmic: runs, medians, and the fitted slopes.

    Args:
        runs, trends: the tables.
        method: which LWGAN; by default the first.
    """
    rows, method = _lwgan(runs, method, ("data", "n", "score_se", "penalty"))
    rows = [row for row in rows if _positive(row["score_se"]) or _positive(row["penalty"])]
    if not rows:
        return _message("No LWGAN run has a penalty or a standard error.")
    labels = _distinct(rows, "data")
    slopes = {row["data"]: row for row in trends.to_pylist() if row["method"] == method}
    figure, panels = _panels(labels, 0, width=2.7, height=2.7)
    for label, axes in zip(labels, panels, strict=True):
        here = [row for row in rows if row["data"] == label]
        sizes = sorted({row["n"] for row in here})
        shift = _jitter(sizes, 2)
        series = (
            ("score_se", "SE", "se_slope", _SCORE, "o", -shift / 2),
            ("penalty", "λ", "penalty_slope", _PENALISED, "s", shift / 2),
        )
        for column, name, slope, colour, marker, offset in series:
            points = [(row["n"] * math.exp(offset), row[column]) for row in here if _positive(row[column])]
            if not points:
                continue
            x, y = np.array(points).T
            axes.plot(x, y, marker, color=colour, markersize=3, alpha=0.35, markeredgewidth=0)
            middle = np.unique(x)
            medians = [float(np.median(y[x == place])) for place in middle]
            fit = slopes.get(label, {})
            text = name
            if _finite(fit.get(slope)):
                text += f", slope {fit[slope]:.2f}"
                text += f" ± {fit[slope + '_se']:.2f}" if _finite(fit.get(slope + "_se")) else ""
            axes.plot(middle, medians, marker + "-", color=colour, linewidth=1.5, markersize=5, label=text)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0), numticks=6))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** 0.45, high)  # room for the legend
        _size_axis(axes, sizes)
        axes.set_title(_title(label), fontsize=8, parse_math=False)
        axes.legend(frameon=False, fontsize=7, loc="lower left", handlelength=1.6)
    _label_below(panels, "rows n")
    title = f"Standard error of the score and penalty λ, {method}\nruns and medians; slope of a log-log fit ± its SE"
    figure.suptitle(title, fontsize=9.5, parse_math=False)
    return _settled(figure)


def sensitivity_figure(sensitivity: pa.Table) -> Figure:
    """Share of correct runs by penalty exponent and constant, pooled over n, a panel for each data.

    Where the truth is unknown: the share of runs whose estimate is that of the configured rule.
    """
    rows = [row for row in sensitivity.to_pylist() if row["runs"]]
    if not rows:
        return _message("No run to judge by other rules.")
    methods = _distinct(rows, "method")
    panels_of = list(dict.fromkeys((row["data"], row["method"]) for row in rows))
    constants, exponents = sorted({row["constant"] for row in rows}), sorted({row["exponent"] for row in rows})
    titles = [label if len(methods) == 1 else f"{label} | {method}" for label, method in panels_of]
    width = min(max(2.5, 0.8 + 0.38 * len(constants)), 8.0)
    height = min(max(1.9, 0.5 + 0.24 * len(exponents)), 8.0)
    figure, panels = _panels(titles, 0, width=width, height=height)
    image = None
    for (label, method), title, axes in zip(panels_of, titles, panels, strict=True):
        here = [row for row in rows if row["data"] == label and row["method"] == method]
        known = any(row["correct"] is not None for row in here)
        good, total = (np.zeros((len(exponents), len(constants))) for _ in range(2))
        for row in here:
            place = exponents.index(row["exponent"]), constants.index(row["constant"])
            good[place] += row["correct"] if known else row["runs"] - row["changed"]
            total[place] += row["runs"]
        with np.errstate(invalid="ignore"):
            share = good / total
        image = axes.imshow(share, vmin=0, vmax=1, cmap="cividis", origin="lower", aspect="auto")
        if len(constants) <= 9:
            for (i, j), value in np.ndenumerate(share):
                if math.isfinite(value):
                    colour = "black" if value > 0.55 else "white"
                    axes.text(j, i, short(value), ha="center", va="center", fontsize=6.5, color=colour)
        _named_ticks(axes.set_xticks, constants)
        _named_ticks(axes.set_yticks, exponents)
        axes.tick_params(labelsize=7)
        what = "correct" if known else "truth unknown: as the configured rule"
        axes.set_title(f"{_title(title)}\n{what}", fontsize=8, parse_math=False)
    _label_below(panels, "constant c")
    _label_left(panels, "exponent a")
    figure.suptitle("Share of runs under the rule λ = c · SEᵃ, pooled over n", fontsize=9.5)
    assert image is not None
    bar = figure.colorbar(image, ax=panels, shrink=0.8, aspect=25 if len(panels) > _COLUMNS else 12, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    return _settled(figure)


def bootstrap_figure(bootstrap: pa.Table, coverage: pa.Table | None = None, mass: float | None = None) -> Figure:
    """Of up to 12 bootstrapped runs the distribution of the rank; of more, the coverage of the rank sets by n.

    Args:
        bootstrap: the table of bootstrapped runs.
        coverage: the table with the intervals; without it the coverage is shown as bare shares.
        mass: least bootstrap mass of the rank sets; marked where the coverage is shown.
    """
    rows = bootstrap.to_pylist()
    if not rows:
        return _message("No run was bootstrapped.")
    identities = list(
        dict.fromkeys((r["data"], r["n"], r["method"], r["replicate"], r["initialisation"]) for r in rows)
    )
    if len(identities) <= _MOST_BASE_RUNS:
        return _bootstrap_ranks(rows, identities)
    return _bootstrap_coverage(rows, coverage.to_pylist() if coverage is not None else [], mass)


def _bootstrap_ranks(rows: Sequence[Row], identities: Sequence[tuple[Any, ...]]) -> Figure:
    kinds = _distinct(rows, "kind")
    several_methods = len(_distinct(rows, "method")) > 1
    several_starts = any(row["initialisation"] for row in rows)
    titles = [
        f"{label}\n" + (f"{method}, " if several_methods else "") + f"n = {n}, sample {replicate}"
        + (f", run {start}" if several_starts else "")
        for label, n, method, replicate, start in identities
    ]  # fmt: skip
    figure, panels = _panels(titles, 1, sharey=True)
    for identity, title, axes in zip(identities, titles, panels, strict=True):
        here = [
            row
            for row in rows
            if (row["data"], row["n"], row["method"], row["replicate"], row["initialisation"]) == identity
        ]
        told = [rank for row in here for rank in row["ranks"]]
        told += [row[name] for row in here for name in ("intrinsic_dim", "dimension") if row[name] is not None]
        if (truth := here[0]["intrinsic_dim"]) is not None:
            axes.axvline(truth, color=_TRUTH, linewidth=9, alpha=0.25, zorder=0)
        width = 0.8 / len(kinds)
        for row in here:
            place = kinds.index(row["kind"])
            if not (total := sum(row["counts"])):
                continue
            x = np.array(row["ranks"]) + (place - (len(kinds) - 1) / 2) * width
            axes.bar(x, np.array(row["counts"]) / total, width * 0.9, color=_COLOURS[place % 2])
        if here[0]["dimension"] is not None:
            axes.plot(here[0]["dimension"], 1.07, "v", color="black", markersize=5, clip_on=False)
        ranks = range(min(told, default=1) - 1, max(told, default=1) + 2)
        axes.set_xlim(ranks[0] - 0.2, ranks[-1] + 0.2)
        axes.set_xticks(ranks if len(ranks) <= 12 else ranks[:: len(ranks) // 12 + 1])
        axes.set_ylim(0, 1.12)
        axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axes.tick_params(labelsize=7)
        head, tail = title.split("\n", 1)
        axes.set_title(f"{_title(head)}\n{tail}", fontsize=8, parse_math=False)
    _label_below(panels, "rank")
    _label_left(panels, "share of refits")
    figure.suptitle("Bootstrap: rank of the refits", fontsize=9.5)
    entries: list[tuple[str, Any]] = [(kind, Patch(facecolor=_COLOURS[i % 2])) for i, kind in enumerate(kinds)]
    entries.append(("estimate of the run", Line2D([], [], color="black", marker="v", linestyle="", markersize=5)))
    if any(row["intrinsic_dim"] is not None for row in rows):
        entries.append(("true dimension", Line2D([], [], color=_TRUTH, linewidth=7, alpha=0.25)))
    _legend(figure, entries, len(titles))
    return _settled(figure)


def _bootstrap_coverage(rows: Sequence[Row], coverage: Sequence[Row], mass: float | None) -> Figure:
    labels = _distinct(rows, "data")
    lines = list(dict.fromkeys((row["method"], row["kind"]) for row in rows))
    several = len(_distinct(rows, "method")) > 1
    names = [f"{method}, {kind}" if several else kind for method, kind in lines]
    intervals = {(row["data"], row["n"], row["method"], row["kind"]): row for row in coverage}
    figure, panels = _panels(labels, _legend_lines(names, len(labels)), sharey=True)
    for label, axes in zip(labels, panels, strict=True):
        here = [row for row in rows if row["data"] == label]
        known = any(row["covers"] is not None for row in here)
        sizes = sorted({row["n"] for row in here})
        step = _jitter(sizes, len(lines))
        if known and mass is not None:
            axes.axhline(mass, color="0.35", linewidth=0.9, linestyle="--")
        for place, (method, kind) in enumerate(lines):
            shift, style = math.exp(step * (place - (len(lines) - 1) / 2)), _style(place)
            mine = [row for row in here if (row["method"], row["kind"]) == (method, kind)]
            column = "covers" if known else "mode_frequency"
            values = {n: [r[column] for r in mine if r["n"] == n and r[column] is not None] for n in sizes}
            x = [n for n in sizes if values[n]]
            axes.plot(np.array(x) * shift, [float(np.mean(values[n])) for n in x], **style)
            for n in x:
                found = intervals.get((label, n, method, kind))
                if known and found and _finite(found["wilson_low"]):
                    ends = found["wilson_low"], found["wilson_high"]
                    axes.vlines(n * shift, *ends, color=style["color"], linewidth=1, alpha=0.6)
        _size_axis(axes, sizes)
        axes.set_ylim(-0.03, 1.04)
        axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        what = "coverage" if known else "truth unknown: share of the mode"
        axes.set_title(f"{_title(label)}\n{what}", fontsize=8, parse_math=False)
    _label_below(panels, "rows n")
    _label_left(panels, "share")
    title = "Bootstrap: share of runs whose rank set holds the true dimension"
    title += "\n95 % Wilson interval" if coverage else ""
    title += f"; dashed: mass asked for, {mass:g}" if coverage and mass is not None else ""
    figure.suptitle(title, fontsize=9.5)
    _legend(figure, [(name, Line2D([], [], **_style(i))) for i, name in enumerate(names)], len(labels))
    return _settled(figure)


def short(p: float | None) -> str:
    """A probability with two digits, more where it would look like 0 or 1: ``.63``, ``1``, ``.996``."""
    if p is None or not math.isfinite(p):
        return "-"
    if p in (0.0, 1.0):
        return f"{p:.0f}"
    for digits in (2, 3, 4):
        if 0 < float(text := f"{p:.{digits}f}") < 1:
            return text.removeprefix("0")
    return ">.9999" if p > 0.5 else "<.0001"


def _interval(row: Row, kind: str) -> tuple[float, float]:
    """Ends of the interval of P(correct): the confidence sequence where there is one, else the one of this kind."""
    name = kind if row["sequence_low"] is None else "sequence"
    return row[f"{name}_low"], row[f"{name}_high"]


def _lwgan(runs: pa.Table, method: str | None, columns: Sequence[str]) -> tuple[list[Row], str]:
    """These columns of the runs of one LWGAN method (the first if None), and its name."""
    rows = runs.select([*dict.fromkeys(("method", "kind", *columns))]).to_pylist()
    names = _distinct([row for row in rows if row["kind"] == "lwgan"], "method")
    name = method if method is not None else (names or ["LWGAN"])[0]
    return [row for row in rows if row["method"] == name and row["kind"] == "lwgan"], name


def _distinct(rows: Sequence[Row], column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _positive(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _nanmean(values: Any) -> Any:
    """Mean over the rows, nan where all are."""
    seen = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(seen, values, 0.0).sum(axis=0) / seen.sum(axis=0)


def _listed(sizes: Sequence[int]) -> str:
    texts = [str(n) for n in sizes]
    return ", ".join(texts if len(texts) <= 6 else [*texts[:2], "…", texts[-1]])


def _title(label: str, width: int = 32) -> str:
    """The label in at most three lines."""
    lines = textwrap.wrap(label, width) or [""]
    return "\n".join(lines if len(lines) <= 3 else [*lines[:2], lines[2][: width - 2] + " …"])


def _style(place: int) -> dict[str, Any]:
    """Colour, marker and dashes of the method in this place; no two of 315 are equal."""
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": _DASHES[place % len(_DASHES)],
        "markersize": 4.5,
        "linewidth": 1.4,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def _jitter(sizes: Sequence[int], series: int) -> float:
    """Step of log n between the series of a panel: their markers lie side by side and stay near their n."""
    if len(sizes) == 1:
        return 0.6 / max(series, 4)
    logs = np.log(sizes)
    return float(min(0.018 * (logs[-1] - logs[0]), 0.45 * np.diff(logs).min() / series))


def _size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic axis with ticks at the sizes."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    logs = np.log(sizes)
    span = logs[-1] - logs[0]
    texts = [_size(n) for n in sizes]
    last = -math.inf
    for place, log in enumerate(logs):  # labels that would run into the one before are left out
        if span and log - last < 0.13 * span:
            texts[place] = ""
        else:
            last = log
    axes.xaxis.set_major_formatter(FixedFormatter(texts))
    side = 0.09 * span if span else 0.8
    axes.set_xlim(math.exp(logs[0] - side), math.exp(logs[-1] + side))
    axes.tick_params(labelsize=7)


def _size(n: int) -> str:
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if n >= 10 * unit and n % (unit // 10) == 0:
            return f"{n / unit:g}{letter}"
    return str(n)


def _label_below(panels: Sequence[Axes], text: str) -> None:
    """The label of the horizontal axis, under the lowest panel of every column."""
    columns = panels[0].get_gridspec().ncols  # type: ignore[union-attr]
    for axes in panels[-columns:]:
        axes.set_xlabel(text, fontsize=8)


def _label_left(panels: Sequence[Axes], text: str) -> None:
    """The label of the vertical axis, left of every row."""
    for axes in panels[:: panels[0].get_gridspec().ncols]:  # type: ignore[union-attr]
        axes.set_ylabel(text, fontsize=8)


def _named_ticks(setter: Callable[[Any, Any], Any], values: Sequence[float]) -> None:
    step = len(values) // 12 + 1
    setter(range(0, len(values), step), [f"{value:.3g}" for value in values[::step]])


def _legend_lines(names: Sequence[str], panels: int) -> int:
    return -(-len(names) // _legend_columns(names, panels))


def _legend_columns(names: Sequence[str], panels: int) -> int:
    """As many as fit below this many panels."""
    width = max(5.5, 2.5 * min(panels, _COLUMNS))
    needs = [0.65 + 0.075 * len(name) for name in names]
    if sum(needs) <= width:
        return len(names)
    return max(1, int(width / max(needs)))


def _legend(figure: Figure, entries: Sequence[tuple[str, Any]], panels: int) -> None:
    """A legend below all panels."""
    names = [name for name, _ in entries]
    legend = figure.legend(
        [handle for _, handle in entries],
        names,
        loc="outside lower center",
        ncols=_legend_columns(names, panels),
        frameon=False,
        fontsize=8,
        handlelength=3,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _panels(
    labels: Sequence[str],
    legend: int,
    width: float = 2.5,
    height: float = 2.2,
    below: float = 0.0,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each label, up to five in a row; it grows with them.

    Args:
        labels: of the panels; long ones make room for their lines.
        legend: lines of the legend below.
        width, height: of a panel, inches.
        below: further inches below each panel.
        sharey: as in matplotlib.
    """
    columns = max(1, min(_COLUMNS, len(labels), int(14 / width)))
    if len(labels) > _COLUMNS:  # full rows where that leaves at least three in a row
        columns = max((c for c in range(min(3, columns), columns + 1)), key=lambda c: (-(-len(labels) % c) == 0, c))
    lines = -(-len(labels) // columns)
    titles = 0.14 * max((_title(label).count("\n") + label.count("\n") for label in labels), default=0)
    figure = _figure(max(5.5, 0.5 + width * columns), 0.75 + 0.2 * legend + lines * (height + below + titles))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=sharey)
    flat = list(grid.flat)
    for axes in flat[len(labels) :]:
        axes.remove()
    for axes in flat:
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, flat[: len(labels)]


def _message(text: str) -> Figure:
    figure = _figure(5.5, 2.0)
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=10, color="0.3")
    return figure


def _settled(figure: Figure) -> Figure:
    """The figure with its layout done once, as it is drawn several times: in a file, the page, TensorBoard."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
