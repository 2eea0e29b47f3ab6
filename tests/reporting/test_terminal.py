"""What stands behind an estimate, in sentences."""

import pytest

from lwgan_dist.reporting.terminal import describe_evidence
from lwgan_dist.results import Competitor, RunResult, TearSummary


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


def test_competitors_without_an_estimate_are_named_with_the_reason():
    competitors = [
        Competitor(name="ABIDE", value=2.0, dimension=2, rows=1978, cpu_seconds=0.4),
        Competitor(name="MLE", rows=1978, failure="far"),
        Competitor(name="DANCo", rows=1978, failure="far"),
    ]
    result = RunResult.model_construct(resolution=None, tear=None, competitors=competitors)
    assert describe_evidence(result) == [
        "classical estimators on 1,978 distinct rows, as they were fitted, 0.4 CPU seconds; none by MLE, DANCo (far)"
    ]
