"""What judges a fit and does not change it."""

from lwgan_dist.campaign.judging import RULE_FIELDS
from lwgan_dist.study.config import RuleConfig


def test_the_rules_of_a_study_have_the_fields_that_judge():
    assert set(RULE_FIELDS) == set(RuleConfig.model_fields)
