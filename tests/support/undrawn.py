"""Figures that are made, but neither laid out nor drawn: both take longer than a tiny run."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def undrawn() -> Iterator[None]:
    """In the block."""
    with (
        patch("lwgan_dist.reporting.look.settled", lambda figure, _title="": figure),
        patch("matplotlib.figure.Figure.draw", lambda _figure, _renderer: None),
    ):
        yield
