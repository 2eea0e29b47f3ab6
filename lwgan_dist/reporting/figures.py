"""The figures of one run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lwgan_dist.reporting import look
from lwgan_dist.reporting.components import component_words
from lwgan_dist.results import RunResult

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
