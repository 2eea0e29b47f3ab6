"""What fitted models make of one sample, as figures: generated rows beside real ones, reconstructions, ways through the
latent space, codes, losses. Rows are points, in the plane of the first two principal components of the data where they
have more than two columns, columns of other units in the scale in which they were fitted; rows of another shape are
images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lwgan_dist.data.blocks import flat
from lwgan_dist.data.sample import Sample
from lwgan_dist.fitted import FittedModel
from lwgan_dist.reporting import look
from lwgan_dist.reporting.look import BLUE, GREY, ORANGE, folded
from lwgan_dist.seeding import generator

Array = NDArray[Any]

POINTS, IMAGES = 1_000, 25
"""Rows in a panel."""
WAYS, STEPS = 8, 24
"""Ways through the latent space, and points on each; of images a third of the points are drawn."""
MOST_RANKS, STRETCHES = 8, 60
"""Ranks that have a panel; stretches of a training over which losses are averaged."""
_SMALL: dict[str, Any] = {"s": 4, "alpha": 0.5, "linewidths": 0}


@dataclass(frozen=True)
class Shown:
    """A fitted model that is shown.

    Attributes:
        model: its label.
        fitted: the model.
        rank: at which it is used.
        ranks: at which it can be used.
        losses: on the way, with ``iteration``, as recorded by the trainer.
    """

    model: str
    fitted: FittedModel
    rank: int
    ranks: Sequence[int]
    losses: Sequence[Mapping[str, float]]


class View:
    """How rows of the data are drawn.

    Args:
        rows: of the data, shape (n, *shape).
        scale: of each number, shape of a row: where they differ, points are drawn in units of these. 1 by default.
    """

    def __init__(self, rows: Array, scale: Array | None = None) -> None:
        self.is_image = rows.ndim > 2
        differs = scale is not None and float(np.ptp(scale)) > 0
        self._scale = scale.reshape(-1) if scale is not None and differs else np.ones(1)
        points = flat(rows) / self._scale
        self._low, self._high = rows.min(), rows.max()
        self._centre = points.mean(axis=0)
        self._axes = np.eye(points.shape[1])
        if points.shape[1] > 2 and not self.is_image:
            self._axes = np.linalg.svd(points - self._centre, full_matrices=False)[2][:2]
        self.count = IMAGES if self.is_image else POINTS

    def draw(self, axes: Axes, rows: Array, colour: str) -> None:
        """As points, or as a square of images."""
        if self.is_image:
            side = max(1, int(np.sqrt(len(rows))))
            self.draw_images(axes, rows[: side * side], side)
            return
        points = self.points(rows)
        if points.shape[1] == 1:
            axes.hist(points[:, 0], bins=40, color=colour, alpha=0.6)
        else:
            axes.scatter(*points.T, color=colour, **_SMALL)

    def draw_images(self, axes: Axes, rows: Array, columns: int) -> None:
        """A grid of images, shape (n, h, w) or (n, channels, h, w), grey or in colour."""
        scaled = np.clip((rows - self._low) / max(self._high - self._low, 1e-12), 0.0, 1.0)
        scaled = np.moveaxis(scaled, 1, -1) if scaled.ndim == 4 else scaled[..., None]
        scaled = scaled if scaled.shape[-1] == 3 else scaled.mean(axis=-1, keepdims=True)
        lines = [np.concatenate(list(scaled[i : i + columns]), axis=1) for i in range(0, len(scaled), columns)]
        picture = np.concatenate([line for line in lines if line.shape == lines[0].shape], axis=0)
        axes.imshow(
            picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
            cmap="gray",
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
        axes.set_axis_off()

    def points(self, rows: Array) -> Array:
        """Coordinates in the plane of the figures, shape (n, 2); (n, 1) of one column."""
        return np.asarray((flat(rows) / self._scale - self._centre) @ self._axes.T)


def pictures(sample: Sample, models: Sequence[Shown]) -> dict[str, Figure]:
    """All figures that the models have something for, by kind.

    Args:
        sample: on which they were trained.
        models: the fitted ones, at least one.
    """
    rows = _real(sample, "train")
    view = View(rows, sample.standardizer.scale)
    figures = {
        "samples": _panels(
            [("data", rows[: view.count])]
            + [(one.model, one.fitted.generate(view.count, one.rank, seed=0)) for one in models], view,
        ),
        "reconstructions": _reconstructions(_real(sample, "holdout"), view, models),
        "interpolations": _interpolations(rows, view, models),
        "ranks": _by_rank(rows, view, models),
        "latent": _latent(rows, models),
        "losses": _losses(models),
    }  # fmt: skip
    return {name: figure for name, figure in figures.items() if figure is not None}


TITLES = {
    "samples": "Rows of the data, and as many generated ones",
    "reconstructions": "Held-out rows and their reconstructions",
    "interpolations": "Straight ways through the latent space, decoded",
    "ranks": "Rows generated at each rank",
    "latent": "First two coordinates of the codes of the data, and of the latent distribution",
    "losses": "Terms of the losses on the way, means over short stretches",
}
"""What each kind of figure shows."""


def _real(sample: Sample, split: str) -> Array:
    """Rows of the data in their own units, in a random order."""
    if sample.stream is not None:
        return np.asarray(sample.standardizer.undo(sample.stream(generator(0, "pictures"), POINTS)))
    rows = getattr(sample, split)
    order = generator(0, "pictures").permutation(len(rows))[:POINTS]
    return np.asarray(sample.standardizer.undo(rows[order])) if len(order) else np.empty((0, *sample.shape))


def _panels(titled: Sequence[tuple[str, Array]], view: View) -> Figure:
    figure, panels = look.panels([folded(title) for title, _ in titled])
    for place, ((_, rows), axes) in enumerate(zip(titled, panels, strict=True)):
        view.draw(axes, rows, ORANGE if place else BLUE)
    if not view.is_image:
        _same_section(panels, view.points(titled[0][1]))
    return look.settled(figure, TITLES["samples"])


def _reconstructions(rows: Array, view: View, models: Sequence[Shown]) -> Figure | None:
    models = [one for one in models if one.fitted.encodes]
    if not models or not len(rows):
        return None
    rows = rows[: view.count]
    figure, panels = look.panels([folded(one.model) for one in models])
    for one, axes in zip(models, panels, strict=True):
        again = one.fitted.decode(one.fitted.encode(rows, one.rank))
        if view.is_image:
            columns = 6
            lines = [part[i : i + columns] for i in range(0, min(len(rows), 18), columns) for part in (rows, again)]
            view.draw_images(axes, np.concatenate(lines), columns)
            continue
        view.draw(axes, rows, GREY)
        view.draw(axes, again, ORANGE)
    title = f"{TITLES['reconstructions']} ({'below them' if view.is_image else 'orange'})"
    return look.settled(figure, title)


def _interpolations(rows: Array, view: View, models: Sequence[Shown]) -> Figure:
    """From the code of a row to that of another; between two draws of a model without encoder."""
    figure, panels = look.panels([folded(one.model) for one in models])
    share = np.linspace(0.0, 1.0, STEPS)[:, None, None]
    for one, axes in zip(models, panels, strict=True):
        ends = generator(0, "ways").standard_normal((2 * WAYS, one.rank))
        if one.fitted.encodes and len(rows) >= 2 * WAYS:
            ends = one.fitted.encode(rows[: 2 * WAYS], one.rank)
        codes = (1 - share) * ends[:WAYS] + share * ends[WAYS:]
        decoded = one.fitted.decode(codes.reshape(-1, codes.shape[-1])).reshape(STEPS, WAYS, *rows.shape[1:])
        if view.is_image:
            few = np.moveaxis(decoded[:: STEPS // 8], 0, 1)
            view.draw_images(axes, few.reshape(-1, *rows.shape[1:]), few.shape[1])
            continue
        view.draw(axes, rows, "#d0d0d0")
        for place in range(WAYS):
            points = view.points(decoded[:, place])
            axes.plot(*(points.T if points.shape[1] == 2 else (points[:, 0], np.full(STEPS, place))), linewidth=1.2)
    return look.settled(figure, TITLES["interpolations"])


def _by_rank(rows: Array, view: View, models: Sequence[Shown]) -> Figure | None:
    """Of the first model with several ranks."""
    one = next((one for one in models if len(one.ranks) > 1), None)
    if one is None:
        return None
    drawn = [one.fitted.generate(view.count, rank, seed=0) for rank in one.ranks[:MOST_RANKS]]
    titles = [f"rank {rank}" + (" (used)" if rank == one.rank else "") for rank in one.ranks[:MOST_RANKS]]
    figure, panels = look.panels(titles)
    for generated, axes in zip(drawn, panels, strict=True):
        view.draw(axes, generated, ORANGE)
    if not view.is_image:
        _same_section(panels, view.points(rows))
    return look.settled(figure, f"{TITLES['ranks']}, {one.model}")


def _latent(rows: Array, models: Sequence[Shown]) -> Figure | None:
    models = [one for one in models if one.fitted.encodes]
    if not models or not len(rows):
        return None
    figure, panels = look.panels([folded(one.model) for one in models])
    noise = generator(0, "latent").standard_normal((len(rows), 2))
    for one, axes in zip(models, panels, strict=True):
        codes = one.fitted.encode(rows, one.rank)
        if codes.shape[1] == 1:
            bins: Any = np.linspace(-4, 4, 41)
            axes.hist(noise[:, 0], bins=bins, color=GREY, alpha=0.6)
            axes.hist(np.clip(codes[:, 0], -4, 4), bins=bins, color=ORANGE, alpha=0.6)
            continue
        axes.scatter(*noise.T, color=GREY, **_SMALL)
        axes.scatter(*codes[:, :2].T, color=ORANGE, **_SMALL)
    return look.settled(figure, f"{TITLES['latent']} (grey)")


def _losses(models: Sequence[Shown]) -> Figure | None:
    models = list({str(one.losses): one for one in models[::-1] if one.losses}.values())[::-1]  # ranks share a run
    if not models:
        return None
    figure, panels = look.panels([folded(one.model) for one in models], width=3.2)
    names = list(dict.fromkeys(name for one in models for record in one.losses for name in record))
    names = [name for name in names if name != "iteration"]
    for one, axes in zip(models, panels, strict=True):
        for place, name in enumerate(names):
            points = np.array([(record["iteration"], record[name]) for record in one.losses if name in record])
            if len(points):
                stretches = [part.mean(axis=0) for part in np.array_split(points, min(len(points), STRETCHES))]
                axes.plot(*np.array(stretches).T, **look.style(place) | {"marker": ""}, label=name)
        axes.set_yscale("symlog", linthresh=0.01)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    look.label_below(panels, "iteration")
    look.legend(figure)
    return look.settled(figure, TITLES["losses"])


def _same_section(panels: Sequence[Axes], points: Array) -> None:
    """The same section of the plane in every panel, half as large again as that of the data."""
    for place, put in enumerate(("set_xlim", "set_ylim")[: points.shape[1]]):
        low, high = points[:, place].min(), points[:, place].max()
        for axes in panels:
            getattr(axes, put)(low - (high - low) / 4, high + (high - low) / 4)
