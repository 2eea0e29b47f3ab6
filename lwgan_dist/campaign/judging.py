"""A rank rule judges recorded fits: the dimension, and by what margin. Nothing is fitted."""

from dataclasses import dataclass

import numpy as np

from lwgan_dist.campaign.record import Fit
from lwgan_dist.config import RunConfig, ScoreConfig
from lwgan_dist.method.rank_selection import RankChoice
from lwgan_dist.results import choice_of, scores_of

_EVALUATED = ("evaluations", "batch_size")
RULE_FIELDS = tuple(name for name in ScoreConfig.model_fields if name not in _EVALUATED)
"""Fields of ``score`` that judge a fit and do not change it."""


@dataclass(frozen=True)
class Judged:
    """The judgement of a rule on the scores of a fit.

    Attributes:
        choice: the rank and the penalised scores.
        margin: by how many standard errors the choice differs from the next best one; None with one rank, a standard
            error of 0, or where neighbours lowered the rank. It is (D + lambda (s - r)) / SE(D) for the two ranks r, s
            of the smallest penalised scores, where D is the mean over the evaluations of S_s - S_r and SE(D) its
            standard error; under the rule ``resolution`` the smaller of two slacks over SE(D): that of the estimate,
            and that by which the rank before it is refused.
    """

    choice: RankChoice
    margin: float | None


def judge(fit: Fit, rule: ScoreConfig, mmd_weight: float, rows: int | None) -> Judged:
    """The rank that a rule chooses for a fit, and by what margin.

    Args:
        fit: its components of the score, and what neighbours refuse.
        rule: the rule.
        mmd_weight: w_mmd of the score.
        rows: n; None for a stream.
    """
    table = fit.components()[rule.score_on]
    choice = choice_of(table, mmd_weight, rule, rows, fit.neighbours)
    scores = scores_of(table, mmd_weight, critic=rule.critic)
    is_lowered = rule.penalty == "resolution" and choice.slack[choice.rank - 1] > 0
    if scores.shape[1] < 2 or is_lowered:
        return Judged(choice, None)
    second, distance = _next_best(choice, is_resolution=rule.penalty == "resolution")
    difference = scores[:, second] - scores[:, choice.rank - 1]
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return Judged(choice, distance / error if error > 0 else None)


def _next_best(choice: RankChoice, *, is_resolution: bool) -> tuple[int, float]:
    """Index of the rank that would come next, and how far it is from being chosen."""
    if not is_resolution:
        second = int(np.argsort(choice.slack, kind="stable")[1])
        return second, float(choice.slack[second])
    best, distances = choice.rank - 1, {}
    if best > 0:
        distances[best - 1] = float(choice.slack[best - 1])
    if best + 1 < len(choice.slack):
        distances[best + 1] = -float(choice.slack[best])
    second = min(distances, key=lambda rank: distances[rank])
    return second, distances[second]


def fingerprint_of(config: RunConfig, fit: Fit) -> str:
    """The fingerprint that ``lwgan-dist train`` gives a run of this configuration on the sample of a fit."""
    assert fit.data_sha256 is not None
    assert fit.ambient_dim is not None
    train_rows = None
    if fit.rows is not None:
        train_rows = fit.rows - min(round(config.data.holdout_fraction * fit.rows), fit.rows - 2)
    return config.resolved(train_rows=train_rows, ambient_dim=fit.ambient_dim).fingerprint(fit.data_sha256)
