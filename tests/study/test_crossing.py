"""The search for the n that P(correct) needs, on curves that are known: coverage, error, runs, what it says of P that
is flat or falls. `tests/benchmarks/bench_solve.py` is the same with 500 replays.
"""

import numpy as np
import pytest
from bench_solve import CURVES, goal, reached, replay
from scipy.stats import binom, binomtest

from lwgan_dist.study.crossing import Crossing, Goal

GOAL = goal(0.95, 2.0)
REPLAYS = 20


@pytest.fixture(scope="module")
def replays():
    return {name: [replay(GOAL, curve, seed) for seed in range(REPLAYS)] for name, curve in CURVES.items()}


@pytest.mark.parametrize("name", ["logistic", "steep", "step", "flat", "high"])
def test_the_interval_holds_the_n_in_question(replays, name):
    truth = reached(CURVES[name], 0.95)
    held = sum(run.low < truth <= run.high for run in replays[name])
    assert binomtest(held, REPLAYS, 0.95, alternative="less").pvalue > 0.01


@pytest.mark.parametrize(("name", "runs"), [("logistic", 1_700), ("steep", 600), ("step", 340)])
def test_it_ends_with_an_interval_as_narrow_as_asked_for(replays, name, runs):
    """With half the runs of a grid study of that precision, or fewer (see the benchmark)."""
    ended = [run for run in replays[name] if run.outcome == "solved"]
    assert len(ended) >= 0.8 * REPLAYS
    assert all(run.high <= 2 * run.low * 1.001 for run in ended)
    assert np.median([run.runs for run in replays[name]]) < runs
    errors = np.log([run.estimate / reached(CURVES[name], 0.95) for run in ended])
    assert abs(np.median(errors)) < 0.1
    assert np.abs(errors).max() < np.log(2), "within the precision"


def test_p_that_does_not_reach_the_target_or_falls_gives_no_n(replays):
    for name, outcome in {"flat": "more", "high": "at most", "falling": "falls"}.items():
        outcomes = [run.outcome for run in replays[name]]
        assert outcomes.count(outcome) >= 0.9 * REPLAYS, (name, outcomes)
        assert all(run.estimate is None for run in replays[name] if run.outcome == outcome)


def test_a_false_answer_is_rare_however_often_one_looks():
    """P at the target at one size: whether it is above or below is never shown, but with probability alpha."""
    aim = Goal(sizes=(100, 200), first=(0, 1), target=0.8, precision=1.5, alpha=0.2)
    wrong = 0
    for seed in range(40):
        rng, search, refuted = np.random.default_rng(seed), Crossing(aim), False
        for _ in range(40):
            for place, p in enumerate((0.8, 0.9)):
                search.add(place, int(rng.binomial(5, p)), 5)
            standing = search.standing()
            refuted |= not standing.low < 100 <= standing.high  # n* is the smallest size
        wrong += refuted
    assert binomtest(wrong, 40, aim.alpha, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(("p", "sides"), [(0.6, [0]), (0.9, [0, 1]), (0.97, [1])])
def test_a_wager_does_not_win_where_it_is_wrong(p, sides):
    """The mean of a batch's factor is at most 1 where P is at the target or on its other side, whatever came before."""
    aim = Goal(sizes=(100, 200, 400), first=(0, 1, 2), target=0.9, precision=2, alpha=0.05)
    rng = np.random.default_rng(0)
    for _ in range(5):
        before = [(int(place), int(rng.binomial(10, 0.8)), 10) for place in rng.integers(0, 3, 4)]
        place, runs, means = int(rng.integers(0, 3)), 6, np.zeros(2)
        for correct in range(runs + 1):
            search = Crossing(aim)
            for batch in before:
                search.add(*batch)
            earlier = np.array([search._above[place], search._below[place]])
            search.add(place, correct, runs)
            factors = np.exp(np.array([search._above[place], search._below[place]]) - earlier)
            means += factors * binom.pmf(correct, runs, p)
        assert (means[sides] <= 1 + 1e-9).all()
        assert means[sides].max() > 0.1, "it is a wager"


def test_what_was_refuted_stays_refuted_and_every_size_can_be_asked_for():
    search, seen = Crossing(GOAL), set()
    for place in GOAL.first:
        search.add(place, 10 * (place > GOAL.first[0]), 10)
    low, high = 0.0, np.inf
    for _ in range(40):
        standing = search.standing()
        assert standing.low >= low
        assert standing.high <= high
        low, high = standing.low, standing.high
        if standing.outcome:
            break
        for place in standing.ask:
            seen.add(place)
            search.add(place, 10 if GOAL.sizes[place] >= 700 else 2, 10)
    assert standing.outcome == "solved"
    assert standing.low < 700 <= standing.high
    assert len(seen) > 2
