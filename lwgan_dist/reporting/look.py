"""The look that all figures share, on matplotlib's object interface (no global state, no display).

A figure is made by `panels` or `figure` and handed out by `settled`, which switches mathematics off in every text:
names come from data, and ``$`` in them is a letter.
"""

import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

# Okabe and Ito's palette without the yellow, which is too light for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BLUE, ORANGE, GREEN = COLOURS[:3]
GREY = "#8a8a8a"
MOST_COLUMNS = 5
"""Panels in a row."""
_DPI = 130  # of the layout and of the file: the width of letters depends on it
_MOST_DRAWN = 300
"""Points of a cloud that are drawn one by one in an SVG file."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))


def figure(width: float, height: float, **layout: Any) -> Figure:
    """An empty figure, in inches; ``layout`` as in matplotlib, by default constrained."""
    made = Figure(figsize=(width, height), dpi=_DPI, **{"layout": "constrained"} | layout)
    FigureCanvasAgg(made)
    return made


def panels(
    titles: Sequence[str], width: float = 2.5, height: float = 2.2, below: float = 0.0, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with a titled panel for each title, up to five in a row; it grows with them.

    Args:
        titles: of the panels, each as `folded` leaves it; long ones make room for their lines.
        width, height: of a panel, inches.
        below: further inches below each panel.
        sharey: as in matplotlib.
    """
    columns = max(1, min(MOST_COLUMNS, len(titles), int(14 / width)))
    if len(titles) > MOST_COLUMNS:  # full rows where that leaves at least three in a row
        columns = max((c for c in range(min(3, columns), columns + 1)), key=lambda c: (-(-len(titles) % c) == 0, c))
    lines = -(-len(titles) // columns)
    above = 0.14 * max((title.count("\n") for title in titles), default=0)
    made = figure(max(5.5, 0.5 + width * columns), 0.75 + lines * (height + below + above))
    flat = list(made.subplots(lines, columns, squeeze=False, sharey=sharey).flat)
    for axes in flat[len(titles) :]:
        axes.remove()
    for axes, title in zip(flat, titles, strict=False):
        plain(axes)
        axes.set_title(title, fontsize=8)
    return made, flat[: len(titles)]


def settled(made: Figure, title: str = "") -> Figure:
    """The figure with its title, laid out once, as it is drawn several times: in a file, the page, TensorBoard.

    Every text in it is drawn as it stands, without mathematics.
    """
    if title:
        made.suptitle(title, fontsize=9.5)
    for text in made.findobj(Text):
        text.set_parse_math(False)
    engine = made.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.08, h_pad=0.05)  # type: ignore[call-arg]
        engine.execute(made)
        made.set_layout_engine("none")
    return made


def png(made: Figure) -> bytes:
    """The figure as a PNG file."""
    sink = io.BytesIO()
    made.savefig(sink, format="png", dpi=_DPI)
    return sink.getvalue()


def svg(made: Figure) -> bytes:
    """The figure as an SVG file: the same bytes for the same figure. Clouds of points are drawn in it as pixels, for
    thousands of them would take longer to open than to look at.
    """
    for cloud in made.findobj(PathCollection):
        cloud.set_rasterized(len(np.asarray(cloud.get_offsets())) > _MOST_DRAWN)
    sink = io.BytesIO()
    with rc_context({"svg.hashsalt": "lwgan-dist", "svg.fonttype": "path"}):
        made.savefig(sink, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": None})
    return sink.getvalue()


def holds_pictures(made: Figure) -> bool:
    """Whether a panel shows an image."""
    return any(axes.images for axes in made.axes)


def legend(made: Figure) -> None:
    """A legend of everything that has a label in a panel, below all panels; the figure grows by its lines."""
    entries: dict[str, Any] = {}
    for axes in made.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    if not entries:
        return
    needs, width = [0.65 + 0.075 * len(name) for name in entries], made.get_figwidth()
    columns = len(entries) if sum(needs) <= width else max(1, int(width / max(needs)))
    made.set_figheight(made.get_figheight() + 0.2 * -(-len(entries) // columns))
    made.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=columns, frameon=False, fontsize=8,
        handlelength=3,
    )  # fmt: skip


def folded(label: str, width: int = 32) -> str:
    """A label in at most three lines, broken at blanks, in a dotted path without blanks at dots."""
    if " " in label or "." not in label:
        return "\n".join(textwrap.wrap(label, width, max_lines=3, placeholder=" …"))
    lines = textwrap.wrap(label.replace(".", ". "), width, max_lines=3, placeholder=" …")
    return "\n".join(line.replace(". ", ".") for line in lines)


def style(place: int) -> dict[str, Any]:
    """Colour, marker and dashes of the series in this place; no two of 315 are equal."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": _DASHES[place % len(_DASHES)],
        "markersize": 4.5,
        "linewidth": 1.4,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def jitter(sizes: Sequence[int], series: int) -> float:
    """Step of log n between the series of a panel: their markers lie side by side and stay near their n."""
    if len(sizes) == 1:
        return 0.6 / max(series, 4)
    logs = np.log(sizes)
    return float(min(0.018 * (logs[-1] - logs[0]), 0.45 * np.diff(logs).min() / series))


def plain(axes: Axes) -> None:
    """No frame above and on the right, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)


def size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic horizontal axis with ticks at the sizes, in ascending order."""
    axes.set_xscale("log")
    logs = np.log(sizes)
    span = logs[-1] - logs[0]
    texts, last = [], -math.inf
    for size, log in zip(sizes, logs, strict=True):  # labels that would run into the one before are left out
        clear = not span or log - last >= 0.13 * span
        texts.append(_size(size) if clear else "")
        last = log if clear else last
    ticks(axes, sizes, texts)
    side = 0.09 * span if span else 0.8
    axes.set_xlim(math.exp(logs[0] - side), math.exp(logs[-1] + side))


def ticks(axes: Axes, places: Sequence[float], texts: Sequence[str]) -> None:
    """The ticks of the horizontal axis and their texts."""
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FixedFormatter(list(texts)))


def share_axis(axes: Axes, top: float = 1.04) -> None:
    """A vertical axis of shares."""
    axes.set_ylim(-0.03, top)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))


def thinned(ranks: Iterable[int], most: int = 16) -> list[int]:
    """Every rank, or of more than ``most`` every second, every third and so on."""
    everything = list(ranks)
    return everything if len(everything) <= most else everything[:: len(everything) // most + 1]


def label_below(axes: Sequence[Axes], text: str) -> None:
    """The label of the horizontal axis, under the lowest panel of every column."""
    for each in axes[-axes[0].get_gridspec().ncols :]:  # type: ignore[union-attr]
        each.set_xlabel(text, fontsize=8)


def label_left(axes: Sequence[Axes], text: str) -> None:
    """The label of the vertical axis, left of every row."""
    for each in axes[:: axes[0].get_gridspec().ncols]:  # type: ignore[union-attr]
        each.set_ylabel(text, fontsize=8)


def _size(n: int) -> str:
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if n >= 10 * unit and n % (unit // 10) == 0:
            return f"{n / unit:g}{letter}"
    return str(n)
