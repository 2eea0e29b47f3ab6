"""What judges a fit and does not change it."""

import numpy as np

from lwgan_dist.campaign.judging import RULE_FIELDS, judge
from lwgan_dist.campaign.record import Fit
from lwgan_dist.config import ScoreConfig
from lwgan_dist.method.rank_selection import STAIRCASE
from lwgan_dist.results import COMPONENTS
from lwgan_dist.study.config import RuleConfig


def test_the_rules_of_a_study_have_the_fields_that_judge():
    assert set(RULE_FIELDS) == set(RuleConfig.model_fields)


def test_a_rank_that_neighbours_lowered_has_no_margin_of_the_scores():
    table = 1e-3 * np.random.default_rng(0).normal(size=(5, 4, len(COMPONENTS)))
    table[:, :2, 1] += 1.0
    fits = [
        Fit(data_sha256="", evaluations=5, ranks=4, train=table.ravel().tolist(), neighbours=neighbours)
        for neighbours in (None, [4] * len(STAIRCASE), [2] * len(STAIRCASE))
    ]
    free, same, lowered = (judge(fit, ScoreConfig(), 1.0, 100) for fit in fits)
    assert (free.choice.rank, same.choice.rank, lowered.choice.rank) == (3, 3, 2)
    assert free.margin == same.margin > 0
    assert lowered.margin is None
    assert judge(fits[2], ScoreConfig(neighbours=False), 1.0, 100).choice.rank == 3
