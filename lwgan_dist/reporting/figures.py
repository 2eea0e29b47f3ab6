"""The figures of one run, drawn with matplotlib's object interface (no global state, no display)."""

import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lwgan_dist.results import RunResult

Array = NDArray[Any]
_DATA, _MODEL, _CHOSEN = "#4c6a92", "#d1603d", "#2a9d5c"


def rank_score_figure(result: RunResult) -> Figure:
    """Mean score with two standard errors by rank, with the penalty added for a rule of the paper; the components; and
    the dimension by resolution for the rule that has one.
    """
    by_resolution = result.resolution is not None
    figure = _figure(12.5 if by_resolution else 9.0, 3.6)
    left, right, *third = figure.subplots(1, 3 if by_resolution else 2)
    if third:
        _draw_staircase(third[0], result)
    ranks = np.array([row.rank for row in result.rank_scores])
    score = np.array([row.score for row in result.rank_scores])
    se = np.array([row.se for row in result.rank_scores])
    if result.dimension is not None:
        left.axvline(result.dimension, color=_CHOSEN, linewidth=8, alpha=0.2)
    left.errorbar(ranks, score, 2 * se, fmt="o-", color=_DATA, capsize=3, label="score ± 2 SE")
    if not by_resolution and result.dimension is not None:
        penalised = score + result.penalty * ranks
        left.plot(ranks, penalised, "s--", color=_MODEL, label=f"score + {result.penalty:.4f} · rank")
    truth = "" if result.intrinsic_dim is None else f" (true dimension {result.intrinsic_dim})"
    of_model = f"{result.model} of latent size {result.max_dimension}"
    left.set_title(f"estimated dimension {result.dimension}{truth}" if result.dimension else of_model, fontsize=10)
    left.set_ylabel("rank score")
    left.legend(frameon=False, fontsize=8)
    names = {
        "reconstruction": "reconstruction error",
        "critic": "critic difference",
        "gradient_penalty": "gradient penalty",
        "mmd": "MMD²",
    }
    for name, label in names.items():
        right.plot(ranks, [getattr(row, name) for row in result.rank_scores], "o-", markersize=3, label=label)
    right.axhline(0.0, color="0.7", linewidth=0.8)
    right.set_title("components of the score", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("rank")
        axes.set_xticks(ranks if len(ranks) <= 16 else ranks[:: len(ranks) // 16 + 1])
    return figure


def _draw_staircase(axes: Axes, result: RunResult) -> None:
    """The dimension as a function of the resolution, with where the estimate sits on it."""
    ends = [*(step.from_resolution for step in result.staircase), result.staircase[-1].to_resolution]
    axes.stairs([step.dimension for step in result.staircase], ends, baseline=None, color=_DATA, linewidth=2)
    resolution = result.resolution or 0.0
    axes.plot([resolution], [result.dimension or np.nan], "o", color=_CHOSEN, label=f"resolution {resolution:g}")
    axes.set_xscale("log")
    axes.set_ylim(0.5, result.max_dimension + 0.5)
    axes.set_yticks(range(1, result.max_dimension + 1, result.max_dimension // 16 + 1))
    axes.set_xlabel("resolution, share of the data's scale")
    axes.set_title("dimension by resolution", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def sample_figure(data: Array, generated: Array, rank: int, columns: Sequence[str]) -> Figure:
    """Rows of the data beside as many generated rows, on the same axes.

    Up to three columns are shown as they are; of more, the first two principal components of the data.

    Args:
        data, generated: shape (n, p), units of the data.
        rank: at which the rows were generated.
        columns: names of the columns.
    """
    p = data.shape[1]
    figure = _figure(8.0, 4.0, layout="constrained" if p != 3 else None)
    if p == 3:  # constrained layout does not know how far three-dimensional axes reach
        figure.subplots_adjust(left=0.02, right=0.95, bottom=0.03, top=0.92, wspace=0.1)
    if p > 3:
        centre = data.mean(axis=0)
        _, _, directions = np.linalg.svd(data - centre, full_matrices=False)
        data, generated = (data - centre) @ directions[:2].T, (generated - centre) @ directions[:2].T
        columns = ["principal component 1", "principal component 2"]
    flat = data.shape[1] != 3
    axes = figure.subplots(1, 2, subplot_kw={} if flat else {"projection": "3d"})
    titles = (f"data ({len(data)} rows)", f"generated at rank {rank}")
    both = np.concatenate([data, generated])
    low, high = both.min(axis=0), both.max(axis=0)
    for place, rows, title, colour in zip(axes, (data, generated), titles, (_DATA, _MODEL), strict=True):
        _scatter(place, rows, colour)
        place.set_title(title, fontsize=10)
        if data.shape[1] > 1:
            place.set_xlim(low[0], high[0])
            place.set_ylim(low[1], high[1])
            place.set_ylabel(columns[1])
        place.set_xlabel(columns[0])
        if not flat:
            place.set_zlim(low[2], high[2])
            place.set_zlabel(columns[2])
            place.set_box_aspect(None, zoom=0.85)
    return figure


def _scatter(axes: Axes, rows: Array, colour: str) -> None:
    if rows.shape[1] == 1:
        axes.hist(rows[:, 0], bins=60, color=colour)
    else:
        axes.scatter(*rows.T, s=4, alpha=0.5, color=colour, linewidths=0)  # type: ignore[misc]


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=130)
    return sink.getvalue()


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure
