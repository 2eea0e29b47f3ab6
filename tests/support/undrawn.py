"""What takes longer than a tiny run is spared: figures are made, but neither laid out nor drawn; few rows generated."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def undrawn() -> Iterator[None]:
    """Figures in the block."""
    with (
        patch("lwgan_dist.reporting.look.settled", lambda figure, _title="": figure),
        patch("matplotlib.figure.Figure.draw", lambda _figure, _renderer: None),
    ):
        yield


@contextmanager
def few_rows() -> Iterator[None]:
    """Metrics in the block are computed from 64 generated rows, not from 2,048."""
    with patch("lwgan_dist.metrics.heldout.MOST_ROWS", 64):
        yield
