"""The figures of one run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from lwgan_dist.reporting import look
from lwgan_dist.reporting.components import component_words
from lwgan_dist.results import RunResult, ScoreTables

Array = NDArray[Any]
_DATA, _MODEL, _CHOSEN = "#4c6a92", "#d1603d", "#2a9d5c"


def rank_score_figure(result: RunResult) -> Figure:
    """Mean score with two standard errors by rank, with the penalty added for a rule of the paper; the components; and
    the dimension by resolution for the rule that has one.
    """
    by_resolution = result.resolution is not None
    figure = look.figure(12.5 if by_resolution else 9.0, 3.6)
    left, right, *third = figure.subplots(1, 3 if by_resolution else 2)
    ranks = np.array([row.rank for row in result.rank_scores])
    _draw_scores(left, result, ranks)
    for name, words in component_words(result).items():
        values = [row.components[name] for row in result.rank_scores]
        right.plot(ranks, values, "o-", markersize=3, label=words.label)
    right.axhline(0.0, color="0.7", linewidth=0.8)
    right.set_title("components of the score", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("rank")
        axes.set_xticks(look.thinned(ranks))
    for axes in third:
        _draw_staircase(axes, result)
    for axes in figure.axes:
        axes.legend(frameon=False, fontsize=8)
    return look.settled(figure)


def _draw_scores(axes: Axes, result: RunResult, ranks: Array) -> None:
    score = np.array([row.score for row in result.rank_scores])
    se = np.array([row.se for row in result.rank_scores])
    axes.errorbar(ranks, score, 2 * se, fmt="o-", color=_DATA, capsize=3, label="score ± 2 SE")
    title = f"{result.model} of latent size {result.max_dimension}"
    if result.dimension is not None:
        axes.axvline(result.dimension, color=_CHOSEN, linewidth=8, alpha=0.2)
        truth = "" if result.intrinsic_dim is None else f" (true dimension {result.intrinsic_dim})"
        title = f"estimated dimension {result.dimension}{truth}"
        if result.is_penalised:
            label = f"score + {result.penalty:.4f} · rank"
            axes.plot(ranks, score + result.penalty * ranks, "s--", color=_MODEL, label=label)
    axes.set_title(title, fontsize=10)
    axes.set_ylabel("rank score")


def _draw_staircase(axes: Axes, result: RunResult) -> None:
    """The dimension as a function of the resolution, with where the estimate sits on it."""
    ends = [*(step.from_resolution for step in result.staircase), result.staircase[-1].to_resolution]
    axes.stairs([step.dimension for step in result.staircase], ends, baseline=None, color=_DATA, linewidth=2)
    resolution = result.resolution or 0.0
    axes.plot([resolution], [result.dimension or np.nan], "o", color=_CHOSEN, label=f"resolution {resolution:g}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # matplotlib's own is mathematics
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0.5, result.max_dimension + 0.5)
    axes.set_yticks(look.thinned(range(1, result.max_dimension + 1)))
    axes.set_xlabel("resolution, share of the data's scale")
    axes.set_title("dimension by resolution", fontsize=10)


def sample_figure(data: Array, generated: Array, rank: int, columns: Sequence[str]) -> Figure:
    """Rows of the data beside as many generated rows, on the same axes.

    Up to three columns are shown as they are; of more, the first two principal components of the data.

    Args:
        data, generated: shape (n, p), units of the data.
        rank: at which the rows were generated.
        columns: names of the columns.
    """
    if data.shape[1] > 3:
        centre = data.mean(axis=0)
        _, _, directions = np.linalg.svd(data - centre, full_matrices=False)
        data, generated = (data - centre) @ directions[:2].T, (generated - centre) @ directions[:2].T
        columns = ["principal component 1", "principal component 2"]
    p = data.shape[1]
    solid = {"projection": "3d"} if p == 3 else {}
    figure = look.figure(8.0, 4.0, layout=None if solid else "constrained")
    if solid:  # constrained layout does not know how far three-dimensional axes reach
        figure.subplots_adjust(left=0.02, right=0.95, bottom=0.03, top=0.92, wspace=0.1)
    both = np.concatenate([data, generated])
    limits = np.stack([both.min(axis=0), both.max(axis=0)], axis=1)
    left, right = figure.subplots(1, 2, subplot_kw=solid)
    left.set_title(f"data ({len(data)} rows)", fontsize=10)
    right.set_title(f"generated at rank {rank}", fontsize=10)
    for axes, rows, colour in ((left, data, _DATA), (right, generated, _MODEL)):
        if p == 1:
            axes.hist(rows[:, 0], bins=60, color=colour)
            axes.set_xlabel(columns[0])
            continue
        axes.scatter(*rows.T, s=4, alpha=0.5, color=colour, linewidths=0)
        for direction, name, ends in zip("xyz"[:p], columns, limits, strict=True):
            axes.set(**{f"{direction}label": name, f"{direction}lim": ends})
        if solid:
            axes.set_box_aspect(None, zoom=0.85)
    return look.settled(figure)


def picture_figure(grids: Mapping[str, Array]) -> Figure:
    """Grids of pictures side by side, all on the scale of the first one.

    Args:
        grids: by title, shape (lines, columns, h, w) or (lines, columns, c, h, w) with as many lines in each; three
            channels are drawn as red, green and blue, of other numbers their mean.
    """
    first, *_ = grids.values()
    low, high = first.min(), first.max()
    sides = {title: _mosaic(grid) for title, grid in grids.items()}
    widths = [side.shape[1] / side.shape[0] for side in sides.values()]
    figure = look.figure(min(14.0, 3.2 * sum(widths) + 0.4), 3.6)
    axes = figure.subplots(1, len(sides), squeeze=False, width_ratios=widths)[0]
    for each, (title, side) in zip(axes, sides.items(), strict=True):
        each.imshow(np.clip((side - low) / ((high - low) or 1.0), 0.0, 1.0), cmap="gray", vmin=0.0, vmax=1.0)
        each.set_title(title, fontsize=10)
        each.set_axis_off()
    return look.settled(figure)


def _mosaic(grid: Array) -> Array:
    """One picture, shape (height, width) or (height, width, 3), of a grid of them with a line of white between."""
    if grid.ndim == 4:
        grid = grid[:, :, None]
    if grid.shape[2] != 3:
        grid = grid.mean(axis=2, keepdims=True)
    grid = np.pad(grid, ((0, 0),) * 3 + ((0, 1),) * 2, constant_values=np.inf)
    lines, columns, channels, h, w = grid.shape
    whole = grid.transpose(0, 3, 1, 4, 2).reshape(lines * h, columns * w, channels)[:-1, :-1]
    return whole if channels == 3 else whole[:, :, 0]


def splits_figure(result: RunResult, tables: ScoreTables, name: str) -> Figure | None:
    """A component of the score by rank on training and on hold-out rows, mean and two standard errors over the
    evaluations; None without hold-out rows.

    Args:
        result: of the run.
        tables: its components, see `lwgan_dist.results.ScoreTables`.
        name: of the component.
    """
    if len(tables) < 2:
        return None
    place = list(result.rank_scores[0].components).index(name)
    ranks = np.array([row.rank for row in result.rank_scores])
    figure = look.figure(5.5, 3.2)
    axes = figure.subplots()
    for split, colour in (("train", _DATA), ("holdout", _MODEL)):
        values = tables[split][:, :, place]
        error = 2 * values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.zeros(len(ranks))
        label = "training rows" if split == "train" else "hold-out rows"
        axes.errorbar(ranks, values.mean(axis=0), error, fmt="o-", markersize=3, capsize=2, color=colour, label=label)
    if result.dimension is not None:
        axes.axvline(result.dimension, color=_CHOSEN, linewidth=8, alpha=0.2)
    axes.set_xlabel("rank")
    axes.set_ylabel(component_words(result)[name].label)
    axes.set_xticks(look.thinned(ranks))
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize=8)
    look.plain(axes)
    return look.settled(figure)


def row_errors_figure(errors: Mapping[str, Array], rank: int) -> Figure:
    """Which share of the rows has at most which reconstruction error.

    Args:
        errors: by what the rows are, shape (rows,).
        rank: at which they were reconstructed.
    """
    figure = look.figure(5.5, 3.2)
    axes = figure.subplots()
    for (name, values), colour in zip(errors.items(), (_DATA, _MODEL), strict=False):
        axes.plot(np.sort(values), np.arange(1, len(values) + 1) / len(values), color=colour, label=name)
    axes.set_xlabel(f"reconstruction error of a row at rank {rank}")
    axes.set_ylabel("share of the rows")
    axes.set_xlim(left=0.0)
    look.share_axis(axes)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    look.plain(axes)
    return look.settled(figure)


def columns_figure(data: Array, generated: Array, columns: Sequence[str]) -> Figure:
    """Quantiles of generated columns against those of the data, a panel each, in the units of the data.

    Args:
        data, generated: shape (n, columns).
        columns: their names.
    """
    shares = np.linspace(0.005, 0.995, 100)
    figure, panels = look.panels([look.folded(name, 24) for name in columns], width=2.2, height=2.0)
    for place, axes in enumerate(panels):
        real, made = np.quantile(data[:, place], shares), np.quantile(generated[:, place], shares)
        ends = [min(real[0], made[0]), max(real[-1], made[-1])]
        axes.plot(ends, ends, color="0.7", linewidth=0.8)
        axes.plot(real, made, color=_MODEL)
        axes.locator_params(nbins=4)
    look.label_below(panels, "quantile of the data")
    look.label_left(panels, "generated")
    return look.settled(figure)


def beside_figure(results: Mapping[str, RunResult]) -> Figure:
    """The scores of runs by rank, as far as each goes, with the dimension that each chose."""
    figure = look.figure(5.5, 3.2)
    axes = figure.subplots()
    for place, (name, result) in enumerate(results.items()):
        drawn = look.style(place)
        ranks = [row.rank for row in result.rank_scores]
        axes.plot(ranks, [row.score for row in result.rank_scores], label=look.folded(name), **drawn)
        if result.dimension is not None:
            axes.axvline(result.dimension, color=drawn["color"], linewidth=5, alpha=0.2)
    axes.set_xlabel("rank")
    axes.set_ylabel("rank score")
    axes.legend(frameon=False, fontsize=8)
    look.plain(axes)
    return look.settled(figure)
