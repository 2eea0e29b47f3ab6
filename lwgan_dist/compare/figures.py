"""The figures of a comparison that are drawn from its tables. A figure with nothing to show is None."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from lwgan_dist.compare.tables import FRESH
from lwgan_dist.reporting import look
from lwgan_dist.reporting.look import GREY, folded
from lwgan_dist.reporting.values import Row, distinct, finite

_MOST_DATA = 6


def metrics_figure(compared: pa.Table) -> Figure | None:
    """Every metric with its 95 % interval by model, at the largest n, a panel for each data and metric; the floor is
    dashed.
    """
    rows = compared.to_pylist()
    largest = {data: max(row["n"] for row in rows if row["data"] == data) for data in distinct(rows, "data")}
    rows = [row for row in rows if row["n"] == largest[row["data"]] and row["data"] in list(largest)[:_MOST_DATA]]
    if not rows:
        return None
    models = distinct(rows, "model")
    places = list(dict.fromkeys((row["data"], row["metric"]) for row in rows))
    titles = [f"{folded(data)}\n{metric}" for data, metric in places]
    figure, panels = look.panels(titles, width=2.8, height=0.7 + 0.22 * len(models))
    for (data, metric), axes in zip(places, panels, strict=True):
        here = [row for row in rows if (row["data"], row["metric"]) == (data, metric)]
        for row in here:
            place = models.index(row["model"])
            drawn = look.style(place) | {"linestyle": ""}
            axes.plot(row["mean"], place, **drawn, label=row["model"])
            if finite(row["low"]):
                axes.hlines(place, row["low"], row["high"], color=drawn["color"], linewidth=1.2)
        if finite(here[0]["floor"]):
            axes.axvline(here[0]["floor"], color=GREY, linestyle="--", linewidth=0.9, label="floor")
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=4)  # the panels are narrow
    look.legend(figure)
    return look.settled(figure, "Metrics by model at the largest n, mean and 95 % interval over replicates")


def generalisation_figure(compared: pa.Table) -> Figure | None:
    """The distance of generated rows to rows drawn anew against n, with its interval and floor, both axes logarithmic;
    a panel for each data and distance. None of a single n.
    """
    rows = [row for row in compared.to_pylist() if row["metric"] in FRESH]
    several = [data for data in distinct(rows, "data") if len({row["n"] for row in rows if row["data"] == data}) > 1]
    places = [(data, metric) for data in several[:_MOST_DATA] for metric in FRESH]
    if not places:
        return None
    names = {"fresh_sliced_wasserstein": "sliced W1", "fresh_energy_distance": "energy distance"}
    titles = [f"{folded(data)}\n{names[metric]}" for data, metric in places]
    figure, panels = look.panels(titles, width=3.0, height=2.8)
    models = distinct(rows, "model")
    for (data, metric), axes in zip(places, panels, strict=True):
        here = [row for row in rows if (row["data"], row["metric"]) == (data, metric)]
        sizes = sorted({row["n"] for row in here})
        for place, model in enumerate(models):
            mine = sorted((row for row in here if row["model"] == model), key=lambda row: row["n"])
            shift = math.exp(look.jitter(sizes, len(models)) * (place - (len(models) - 1) / 2))
            drawn = look.style(place)
            points = [(row["n"] * shift, row["mean"]) for row in mine if row["mean"] and row["mean"] > 0]
            axes.plot(*np.array(points).reshape(-1, 2).T, label=model, **drawn)
            ends = [row for row in mine if finite(row["low"]) and row["low"] > 0]
            x = [row["n"] * shift for row in ends]
            axes.vlines(x, [row["low"] for row in ends], [row["high"] for row in ends], color=drawn["color"], alpha=0.6)
        floors = _floors(here, sizes)
        if min(floors) > 0:
            axes.plot(sizes, floors, color=GREY, linestyle="--", linewidth=1.0, label="floor")
        axes.set_yscale("log")
        look.size_axis(axes, sizes)
    look.label_below(panels, "rows n")
    look.legend(figure)
    return look.settled(figure, "Distance of generated rows to rows drawn anew, 95 % interval over replicates")


def _floors(rows: Sequence[Row], sizes: Sequence[int]) -> list[float]:
    return [next(row["floor"] for row in rows if row["n"] == n) for n in sizes]
