"""A comparison under Ray Tune has the numbers of one in this process."""

import pytest
from tiny_compare import TINY, comparison
from tiny_study import Silent

pytestmark = pytest.mark.ray

NO_TIME = ["cpu_seconds", "wall_seconds"]


def test_it_has_the_same_numbers(tmp_path):
    given = {"data": TINY["data"][:1], "replicates": 1}
    here = comparison(tmp_path / "here", **given).execute(Silent())
    there = comparison(tmp_path / "there", **given, execution={"workers": 1, "cpus_per_worker": 0.5})
    outcome = there.execute(Silent())
    assert (outcome.unfinished, outcome.failed) == ({}, 0)
    assert outcome.tables.runs.drop_columns(NO_TIME).equals(here.tables.runs.drop_columns(NO_TIME))
    assert outcome.tables.compare.equals(here.tables.compare)
