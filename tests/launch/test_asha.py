"""Successive halving: the rule, and that a trial counts once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from lwgan_dist.launch.asha import Asha


@given(some.lists(some.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_a_trial_goes_on_if_it_is_among_the_best_part_of_those_that_have_come(values):
    asha = Asha(reports=4, grace=1, factor=4)
    for number, value in enumerate(values):
        # Ray's quantile of the negated values, interpolated; the trial itself does not count
        expected = number == 0 or -value >= np.percentile([-other for other in values[:number]], 75)
        assert asha.goes_on(str(number), 1, value) == expected


def test_rungs_are_at_powers_of_the_factor_times_the_grace():
    asha = Asha(reports=8, grace=2, factor=2)
    for report in (1, 2, 3, 4, 5, 6, 7):
        assert asha.goes_on("a", report, 0.0)
    halts = [report for report in range(1, 8) if not asha.goes_on("b", report, 1.0)]
    assert halts == [2, 4]


def test_a_trial_that_is_carried_out_again_counts_once_and_is_not_stopped_where_it_went_on():
    asha = Asha(reports=4, grace=1, factor=2)
    asha.remember("a", [1.0, 1.0])
    asha.remember("a", [1.0, 1.0])
    assert asha.goes_on("b", 1, 0.5)
    assert asha.goes_on("b", 1, 9.0), "it was let through before"
    assert not asha.goes_on("c", 1, 0.9), "the median of 1.0 and 0.5 is 0.75"
    assert asha.goes_on("d", 1, 0.6)
