"""What stands behind an estimate, in sentences."""

import pytest

from lwgan_dist.reporting.terminal import answer_sentence, describe_evidence
from lwgan_dist.results import RunResult, TearSummary


def told(**tear):
    result = RunResult.model_construct(resolution=None, tear=TearSummary(**tear), parts=[])
    return " ".join(describe_evidence(result))


def test_data_that_one_chart_covers_are_not_spoken_of():
    assert told(rank=0, share=0.0) == ""


@pytest.mark.parametrize("groups", [1, 4])
def test_a_tear_is_told_with_its_share(groups):
    said = told(pieces=2, rank=3, share=0.0761, groups=groups)
    assert "torn open to lay 3 coordinates" in said
    assert "7.6% of the edges" in said
    assert ("4 groups that vary independently" in said) == (groups == 4)
    assert ("within a group, at most" in said) == (groups == 4)


def test_groups_without_a_tear_are_told_alone():
    said = told(rank=0, share=0.0, groups=5)
    assert "5 groups" in said
    assert "torn" not in said


def answer(**told):
    told = {
        "dimension": 5, "rank_set": [4, 5, 6], "confidence": 0.9, "other_dimension": 5, "score_on": "train",
        "intrinsic_dim": None, **told,
    }  # fmt: skip
    return answer_sentence(RunResult.model_construct(**told))


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({}, "The data look 5-dimensional (90 %: 4 to 6), and so do the rows held out."),
        ({"rank_set": [5]}, "The data look 5-dimensional (90 %: 5), and so do the rows held out."),
        ({"other_dimension": 3}, "The data look 5-dimensional (90 %: 4 to 6), but the rows held out say 3."),
        (
            {"other_dimension": 3, "score_on": "holdout"},
            "The data look 5-dimensional (90 %: 4 to 6), but the training rows say 3.",
        ),
        ({"confidence": None, "other_dimension": None}, "The data look 5-dimensional."),
        ({"other_dimension": None, "intrinsic_dim": 4},
         "The data look 5-dimensional (90 %: 4 to 6); they are 4-dimensional."),
    ],
)  # fmt: skip
def test_the_answer_is_a_sentence(told, sentence):
    assert answer(**told) == sentence
