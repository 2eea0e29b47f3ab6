"""Pictures side by side, a line for each class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lwgan_dist.reporting import look

Array = NDArray[Any]


def image_grid(lines: Sequence[tuple[str, Array]]) -> Figure:
    """Lines of pictures, black to white from their smallest number to their largest.

    Args:
        lines: a title, maybe empty, and pictures of shape (k, h, w), (k, 1, h, w) or (k, 3, h, w), k >= 1; of any other
            number of channels the first is shown.
    """
    numbers = np.concatenate([pictures.reshape(-1) for _, pictures in lines])
    low, high = float(numbers.min()), float(numbers.max())
    shown = [[(_channels_last(one) - low) / max(high - low, 1e-300) for one in pictures] for _, pictures in lines]
    height, width = shown[0][0].shape[:2]
    most = max(map(len, shown))
    canvas = np.ones((len(lines) * (height + 1) - 1, most * (width + 1) - 1, 3))
    for i, line in enumerate(shown):
        for j, one in enumerate(line):
            top, left = i * (height + 1), j * (width + 1)
            canvas[top : top + height, left : left + width] = one if one.ndim == 3 else one[:, :, None]
    made = look.figure(1.4 + 0.55 * most, max(1.0, 0.55 * len(lines) * height / width))
    axes = made.subplots()
    axes.imshow(canvas, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([i * (height + 1) + (height - 1) / 2 for i in range(len(lines))], [title for title, _ in lines])
    axes.tick_params(length=0, labelsize=8)
    for side in axes.spines.values():
        side.set_visible(False)
    return look.settled(made)


def _channels_last(picture: Array) -> NDArray[np.float64]:
    """One picture as (h, w) or (h, w, 3)."""
    if picture.ndim == 3:
        picture = np.moveaxis(picture, 0, -1) if len(picture) == 3 else picture[0]
    return picture.astype(np.float64)
