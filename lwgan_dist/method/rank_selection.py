"""From the components of the score to the estimated intrinsic dimension. NumPy only: no network, no tensor.

The score of rank r in one evaluation is S_r = C_r + R_r + P_r + w_mmd M_r, with P_r not multiplied by its training
weight. The authors' estimate is argmin_r (mean S_r + lambda r): where S is flat, the penalty picks the smallest rank.
Consistency needs lambda -> 0 more slowly than the error of the score.

The rule ``resolution`` adds what the data cannot say by themselves: how small a variation counts as noise.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PenaltyRule = Literal["resolution", "reference", "rate", "fixed"]

RATE_EXPONENT = 0.4
"""Exponent of the rule "rate": the 0.8 of the rule "reference" with a standard error of order n^-1/2."""

STAIRCASE = tuple(float(f"{value:.3g}") for value in np.geomspace(0.005, 0.8, 45))
"""Resolutions at which `staircase` judges the scores."""

Array = NDArray[np.float64]


def rank_scores(critic: Array, reconstruction: Array, gradient_penalty: Array, mmd: Array, mmd_weight: float) -> Array:
    """S_r = C_r + R_r + P_r + w_mmd M_r of every evaluation and rank; each argument has shape (evaluations, ranks).

    Source: arXiv:2409.18374, the score whose penalised minimum is the estimated rank.
    """
    return critic + reconstruction + gradient_penalty + mmd_weight * mmd


@dataclass(frozen=True)
class RankChoice:
    """The estimate and what led to it; arrays have one entry per rank 1..q.

    Attributes:
        rank: the estimate.
        penalty: lambda; under ``resolution`` that between the estimate and the next rank (the rank before, for the
            largest one).
        mean, standard_error: of the score over the evaluations.
        slack: by how much each rank is refused; at most 0 where it is not. Under ``resolution`` the largest of
            S_r - S_s - lambda_rs - a_rs over s > r (-infinity for the largest rank); under the other rules
            S_r + lambda r minus its minimum.
    """

    rank: int
    penalty: float
    mean: Array
    standard_error: Array
    slack: Array


def choose_rank(
    scores: Array, rule: Literal["reference", "rate", "fixed"] = "reference", *,
    exponent: float = 0.8, constant: float = 1.0, rows: int | None = None,
) -> RankChoice:  # fmt: skip
    """The rank by a rule of the paper's form, argmin_r (mean S_r + lambda r), ranks counted from 1.

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
    mean, standard_error = _moments(scores)
    if rule == "reference":
        _require_evaluations(rule, scores)
        penalty = constant * float(standard_error[mean.argmin()]) ** exponent
    elif rule == "rate":
        if rows is None or rows < 1:
            raise ValueError(f"rule 'rate' needs the number of rows, at least 1, got {rows}")
        penalty = constant * rows**-RATE_EXPONENT
    else:
        penalty = constant
    penalised = mean + penalty * np.arange(1, scores.shape[1] + 1)
    return RankChoice(1 + int(penalised.argmin()), float(penalty), mean, standard_error, penalised - penalised.min())


@dataclass(frozen=True)
class ResolvedRanks:
    """The rule ``resolution`` on the scores of a fit, at any resolution: the smallest rank that no higher one improves
    on.

    The estimate at the resolution rho is the smallest r such that for all s > r

        S_r - S_s <= lambda_rs + a_rs,   lambda_rs = constant * SE(S_r - S_s)^exponent,
        a_rs = sqrt(R_s^2 + (s - r) rho^2) - R_s.

    SE(S_r - S_s) is the standard error of the mean difference over the evaluations, which see the same rows at every
    rank; lambda_rs -> 0 more slowly than it. a_rs is what s - r directions of standard deviation rho add to a residual
    of norm R_s: a higher rank that explains no more than such directions does not count.

    Attributes:
        scores, reconstruction: S and R of every evaluation, shape (E, q), E >= 2; finite.
        exponent, constant: of lambda.

    Source: ours; the form of lambda is that of arXiv:2409.18374.
    """

    scores: Array
    reconstruction: Array
    exponent: float = 0.8
    constant: float = 1.0

    def penalties(self) -> Array:
        """lambda_rs of all pairs of ranks, shape (q, q)."""
        _require_evaluations("resolution", self.scores)
        differences = self.scores[:, :, None] - self.scores[:, None, :]
        errors = differences.std(axis=0, ddof=1) / np.sqrt(len(self.scores))
        return np.asarray(self.constant * errors**self.exponent)

    def excess(self, resolution: float, factor: float = 1.0) -> Array:
        """For each rank the largest gain of a higher rank beyond ``factor`` times what is allowed, shape (q,).

        Minus infinity for the largest rank.

        Raises:
            ValueError: scores or reconstruction errors that are not finite, or less than two evaluations.
        """
        (mean, _), (errors, _) = _moments(self.scores), _moments(self.reconstruction)
        ranks = np.arange(len(mean))
        more = ranks[None, :] - ranks[:, None]
        noise = resolution * np.sqrt(np.maximum(more, 0))
        allowed = self.penalties() + np.hypot(errors, noise) - errors  # hypot: squares of tiny errors would be 0
        gains = mean[:, None] - mean[None, :] - factor * allowed
        return np.asarray(np.where(more > 0, gains, -np.inf).max(axis=1))

    def dimension(self, resolution: float, factor: float = 1.0) -> int:
        """The estimate at a resolution, with ``factor`` times what is allowed."""
        return 1 + int(np.flatnonzero(self.excess(resolution, factor) <= 0)[0])

    def choice(self, resolution: float) -> RankChoice:
        """The estimate at a resolution and what led to it.

        Raises:
            ValueError: scores that are not finite, or less than two evaluations.
        """
        mean, standard_error = _moments(self.scores)
        rank, last = self.dimension(resolution), len(mean)
        neighbour = rank + 1 if rank < last else max(1, rank - 1)
        penalty = float(self.penalties()[rank - 1, neighbour - 1])
        return RankChoice(rank, penalty, mean, standard_error, self.excess(resolution))

    def staircase(self) -> list[tuple[float, int]]:
        """(resolution, dimension) at every value of `STAIRCASE`."""
        return [(resolution, self.dimension(resolution)) for resolution in STAIRCASE]

    def rank_set(self, resolution: float, lower: float, upper: float | None = None) -> list[int]:
        """All ranks from the estimate with ``lower`` times to that with 1/``upper`` of what is allowed to a gain.

        Args:
            resolution: of the estimate.
            lower, upper: at least 1; the latter by default the former. How large they have to be for a confidence is a
                matter of calibration.
        """
        first, last = self.dimension(resolution, lower), self.dimension(resolution, 1.0 / (upper or lower))
        return list(range(first, last + 1))


def _moments(scores: Array) -> tuple[Array, Array]:
    """Mean and standard error of every rank."""
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite with shape (evaluations, ranks), got shape {scores.shape}")
    deviation = scores.std(axis=0, ddof=1) if len(scores) > 1 else np.full(scores.shape[1], np.nan)
    return scores.mean(axis=0), deviation / np.sqrt(len(scores))


def _require_evaluations(rule: str, scores: Array) -> None:
    if len(scores) < 2:
        raise ValueError(f"rule {rule!r} needs at least 2 evaluations, got {len(scores)}")
