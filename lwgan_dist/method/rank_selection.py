"""From the components of the score to the estimated intrinsic dimension. NumPy only: no network, no tensor.

The score of rank r in one evaluation is S_r = C_r + R_r + P_r + w_mmd M_r, with P_r not multiplied by its training
weight. The estimate is argmin_r (mean S_r + lambda r): where S is flat, the penalty picks the smallest rank.
Consistency needs lambda -> 0 more slowly than the error of the score.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PenaltyRule = Literal["reference", "rate", "fixed"]

RATE_EXPONENT = 0.4
"""Exponent of the rule "rate": the 0.8 of the rule "reference" with a standard error of order n^-1/2."""


def rank_scores(
    critic: NDArray[np.float64],
    reconstruction: NDArray[np.float64],
    gradient_penalty: NDArray[np.float64],
    mmd: NDArray[np.float64],
    mmd_weight: float,
) -> NDArray[np.float64]:
    """S_r = C_r + R_r + P_r + w_mmd M_r of every evaluation and rank; each argument has shape (evaluations, ranks).

    Source: arXiv:2409.18374, the score whose penalised minimum is the estimated rank.
    """
    return critic + reconstruction + gradient_penalty + mmd_weight * mmd


@dataclass(frozen=True)
class RankChoice:
    """The estimate and what led to it; arrays have one entry per rank 1..q."""

    rank: int
    penalty: float
    mean: NDArray[np.float64]
    standard_error: NDArray[np.float64]


def choose_rank(
    scores: NDArray[np.float64],
    rule: PenaltyRule = "reference",
    *,
    exponent: float = 0.8,
    constant: float = 1.0,
    rows: int | None = None,
) -> RankChoice:
    """The smallest rank that explains the data: argmin_r (mean S_r + lambda r), ranks counted from 1.

    With E evaluations, SE_r = sd_r / sqrt(E) (sd with E - 1 in the denominator) and r* = argmin_r mean S_r:

    - ``reference``: lambda = constant * SE_{r*}^exponent
    - ``rate``: lambda = constant * n^-0.4
    - ``fixed``: lambda = constant

    Args:
        scores: S, shape (E, q); finite. E >= 2 for ``reference``.
        rule: which lambda.
        exponent: of the rule ``reference``; 0.8 in the authors' experiments. Below 1, so that lambda -> 0 more slowly
            than the standard error.
        constant: factor of the rule, > 0 (for ``fixed`` >= 0).
        rows: n, the rows of the sample; needed for ``rate``.

    Raises:
        ValueError: scores that are not finite, or too few evaluations or no rows for the rule.

    Source: arXiv:2409.18374, the rank estimate; ``rate`` is ours (the authors' toys have no n).
    """
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite with shape (evaluations, ranks), got shape {scores.shape}")
    evaluations = len(scores)
    mean = scores.mean(axis=0)
    deviation = scores.std(axis=0, ddof=1) if evaluations > 1 else np.full(scores.shape[1], np.nan)
    standard_error = deviation / np.sqrt(evaluations)
    if rule == "reference":
        if evaluations < 2:
            raise ValueError(f"rule 'reference' needs at least 2 evaluations, got {evaluations}")
        penalty = constant * float(standard_error[mean.argmin()]) ** exponent
    elif rule == "rate":
        if rows is None or rows < 1:
            raise ValueError(f"rule 'rate' needs the number of rows, at least 1, got {rows}")
        penalty = constant * rows**-RATE_EXPONENT
    else:
        penalty = constant
    ranks = np.arange(1, scores.shape[1] + 1)
    return RankChoice(int(ranks[(mean + penalty * ranks).argmin()]), float(penalty), mean, standard_error)
