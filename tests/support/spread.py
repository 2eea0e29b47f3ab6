"""The command line of an installation that has registered one more metric."""

import numpy as np
from forked import lwgan_dist


def with_spread(*arguments: str) -> None:
    """``lwgan-dist`` with these arguments."""
    from lwgan_dist.metrics.registry import METRICS, Metric

    METRICS["spread"] = Metric(
        "spread", "ratio of spreads", "standard deviation of generated rows over that of held-out rows",
        lambda drawn: float(np.std(drawn.generated) / np.std(drawn.holdout)), larger_is_better=True,
    )  # fmt: skip
    lwgan_dist(*arguments)
