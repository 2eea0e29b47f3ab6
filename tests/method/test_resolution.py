"""The rule with a resolution on tables whose scores are known exactly."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lwgan_dist.method.rank_selection import STAIRCASE, ResolvedRanks, choose_rank


def exact(scores, reconstruction=None, evaluations=2):
    """Evaluations that agree, so that lambda is 0; by default the score is the reconstruction error."""
    reconstruction = scores if reconstruction is None else reconstruction
    return ResolvedRanks(*(np.tile(np.asarray(row, dtype=float), (evaluations, 1)) for row in (scores, reconstruction)))


def noisy(scores, deviation, evaluations=20, seed=0, **told):
    errors = deviation * np.random.default_rng(seed).standard_normal((evaluations, len(scores)))
    table = np.asarray(scores) + errors - errors.mean(axis=0)
    return ResolvedRanks(table, np.tile(scores, (evaluations, 1)), **told)


@pytest.mark.parametrize("level", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("resolution", [0.0, 0.08, 0.5])
def test_flat_scores_give_rank_1(level, resolution):
    assert exact([level] * 5).dimension(resolution) == 1


def test_scores_that_rise_give_rank_1():
    assert exact([0.1, 0.2, 0.4, 0.8]).dimension(0.0) == 1


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_the_rank_after_the_last_fall_is_chosen(rank):
    scores = np.where(np.arange(1, 6) < rank, 1.0 / np.arange(1, 6), 0.01)
    assert exact(scores).dimension(0.08) == rank


@pytest.mark.parametrize("rest", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("resolution", [0.02, 0.08, 0.3])
def test_a_direction_counts_if_its_deviation_is_above_the_resolution(rest, resolution):
    """Beyond rank 2 the residual has the norm ``rest``; the second direction adds its deviation in quadrature."""
    for factor, dimension in ((0.99, 1), (1.01, 2)):
        assert exact([np.hypot(rest, factor * resolution), rest, rest]).dimension(resolution) == dimension


@pytest.mark.parametrize("p", [3, 10, 50, 200])
@pytest.mark.parametrize("q", [2, 5, 12])
def test_isotropic_noise_counts_as_nothing_below_the_resolution_and_as_dimensions_above_it(p, q):
    """R_r = s sqrt(p - r): every further rank explains one direction of deviation s."""
    q = min(q, p - 1)
    errors = np.sqrt(p - np.arange(1, q + 1))
    assert exact(0.0799 * errors).dimension(0.08) == 1
    assert exact(0.0801 * errors).dimension(0.08) == q


@pytest.mark.parametrize("p", [10, 200])
def test_a_threshold_on_the_fall_of_the_error_would_depend_on_the_columns(p):
    """Control: the first rank of the same noise explains s sqrt(p - 1) - s sqrt(p - 2), less and less of s."""
    errors = 0.1 * np.sqrt(p - np.arange(1, 6))
    assert errors[0] - errors[1] < 0.1 / 5
    assert exact(errors).dimension(0.08) == 5


@pytest.mark.parametrize("dimension", [1, 3])
def test_noise_below_the_resolution_hides_no_dimension(dimension):
    """Directions of deviation 1, then isotropic noise in 50 columns."""
    ranks = np.arange(1, 9)
    squared = np.maximum(dimension - ranks, 0) + 0.05**2 * (50 - ranks)
    assert exact(np.sqrt(squared)).dimension(0.08) == dimension
    assert exact(np.sqrt(squared)).dimension(0.04) == 8


def test_what_the_critic_sees_counts_in_full():
    """A gain in another component of the score has no share that noise could explain, beyond a_rs."""
    errors, allowed = np.array([0.3, 0.3]), np.hypot(0.3, 0.08) - 0.3
    for gain, dimension in ((0.99 * allowed, 1), (1.01 * allowed, 2)):
        assert exact(np.add(errors, [gain, 0.0]), errors).dimension(0.08) == dimension


def test_a_gain_of_a_much_higher_rank_is_not_hidden_by_a_flat_stretch():
    """Ranks 2 and 3 explain nothing (a coordinate that closes on itself), rank 4 does."""
    ranks = exact([1.0, 1.0, 1.0, 0.1, 0.1])
    assert ranks.dimension(0.08) == 4
    assert (ranks.excess(0.08)[:3] > 0).all()


def test_allowance_and_excess_are_those_of_the_formula():
    rng = np.random.default_rng(3)
    scores, errors = rng.random((6, 4)), rng.random((6, 4))
    ranks, expected = ResolvedRanks(scores, errors, 0.7, 1.3), []
    for r in range(4):
        gains = [-np.inf]
        for s in range(r + 1, 4):
            difference = scores[:, r] - scores[:, s]
            penalty = 1.3 * (difference.std(ddof=1) / np.sqrt(6)) ** 0.7
            residual = errors[:, s].mean()
            gains.append(difference.mean() - 2.0 * (penalty + np.hypot(residual, np.sqrt(s - r) * 0.1) - residual))
        expected.append(max(gains))
    np.testing.assert_allclose(ranks.excess(0.1, 2.0), expected, rtol=1e-12)


# lambda ---------------------------------------------------------------------------------------------------------------


def test_lambda_goes_to_0_with_the_errors_and_more_slowly():
    deviations = np.array([1e-1, 1e-3, 1e-5])
    penalties = np.array([noisy([1.0, 0.5], deviation).penalties()[0, 1] for deviation in deviations])
    assert (np.diff(penalties) < 0).all()
    assert penalties[-1] < 1e-3
    np.testing.assert_allclose(penalties[:-1] / penalties[1:], 100**0.8, rtol=1e-9)
    assert (np.diff(penalties / deviations) > 0).all()


def test_more_evaluations_lower_lambda():
    few, many = (noisy([1.0, 0.5], 0.1, evaluations=n).penalties()[0, 1] for n in (10, 1000))
    assert many < few / 3


def test_errors_that_all_ranks_share_do_not_enter_lambda():
    shared = np.random.default_rng(0).standard_normal((20, 1))
    ranks = ResolvedRanks(np.array([1.0, 0.5]) + shared, np.tile([1.0, 0.5], (20, 1)))
    np.testing.assert_allclose(ranks.penalties(), 0.0, atol=1e-10)
    assert choose_rank(ranks.scores, "reference").penalty > 0.1  # control: the authors' lambda has them


def test_a_gain_within_lambda_is_not_counted():
    clear, drowned = noisy([0.3, 0.1], 1e-3), noisy([0.3, 0.1], 1.0)
    assert drowned.penalties()[0, 1] > 0.2
    assert (clear.dimension(0.08), drowned.dimension(0.08)) == (2, 1)
    assert noisy([0.3, 0.1], 1.0, constant=0.1).dimension(0.08) == 2


# choice, staircase, rank set ------------------------------------------------------------------------------------------


def test_the_choice_tells_by_how_much_each_rank_is_refused():
    ranks = noisy([1.0, 0.4, 0.1, 0.1], 0.01)
    choice = ranks.choice(0.08)
    assert choice.rank == 3
    assert (choice.slack[:2] > 0).all()
    assert choice.slack[2] <= 0
    assert choice.slack[3] == -np.inf
    np.testing.assert_allclose(choice.mean, [1.0, 0.4, 0.1, 0.1])
    assert choice.penalty == ranks.penalties()[2, 3]
    full = noisy([1.0, 0.4, 0.1], 0.01)
    assert full.choice(0.08).rank == 3
    assert full.choice(0.08).penalty == full.penalties()[2, 1]  # there is none above


@pytest.mark.parametrize("rule", [0.0, 0.08, 0.8])
def test_one_rank_is_chosen_for_want_of_others(rule):
    ranks = noisy([0.5], 0.1)
    choice = ranks.choice(rule)
    assert (choice.rank, choice.penalty, choice.slack.tolist()) == (1, 0.0, [-np.inf])
    assert ranks.rank_set(rule, 2.0) == [1]
    assert {rank for _, rank in ranks.staircase()} == {1}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="finite"):
        exact([1.0, value, 0.5]).choice(0.08)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_reconstruction_errors_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="finite"):
        exact([1.0, 0.7, 0.5], [1.0, value, 0.5]).dimension(0.08)


def test_one_evaluation_is_not_enough():
    with pytest.raises(ValueError, match="at least 2 evaluations"):
        exact([1.0, 0.5], evaluations=1).choice(0.08)


def test_the_staircase_has_a_step_for_each_scale():
    """Three directions of deviation 1, 0.3 and 0.05."""
    ranks = exact(np.sqrt([0.3**2 + 0.05**2, 0.05**2, 0.0]))
    stairs = dict(ranks.staircase())
    assert list(stairs) == list(STAIRCASE)
    assert {rank for resolution, rank in stairs.items() if resolution < 0.049} == {3}
    assert {rank for resolution, rank in stairs.items() if 0.051 < resolution < 0.29} == {2}
    assert {rank for resolution, rank in stairs.items() if resolution > 0.31} == {1}


tables = st.integers(1, 6).flatmap(
    lambda q: st.tuples(
        arrays(float, (4, q), elements=st.floats(-3, 3)), arrays(float, (4, q), elements=st.floats(0, 3))
    )
)
resolutions = st.floats(0, 0.999)


@settings(deadline=None, max_examples=200)
@given(table=tables, one=resolutions, other=resolutions)
def test_the_estimate_never_rises_with_the_resolution(table, one, other):
    ranks = ResolvedRanks(*table)
    low, high = sorted([one, other])
    assert ranks.dimension(low) >= ranks.dimension(high)
    stairs = [rank for _, rank in ranks.staircase()]
    assert stairs == sorted(stairs, reverse=True)


TINY = np.zeros((4, 2))
TINY[0, 1] = 1e-242  # its square is 0


@settings(deadline=None, max_examples=200)
@example(table=(TINY, TINY), resolution=0.0, factors=(1.0, 2.0))
@given(table=tables, resolution=resolutions, factors=st.tuples(st.floats(1, 10), st.floats(1, 10)))
def test_the_rank_set_is_an_interval_around_the_estimate_that_grows_with_the_factor(table, resolution, factors):
    ranks = ResolvedRanks(*table)
    small, large = (ranks.rank_set(resolution, factor) for factor in sorted(factors))
    assert ranks.dimension(resolution) in small
    assert small == list(range(small[0], small[-1] + 1))
    assert set(small) <= set(large)
    assert 1 <= large[0] <= large[-1] <= table[0].shape[1]
    assert ranks.rank_set(resolution, 1.0) == [ranks.dimension(resolution)]


@settings(deadline=None)
@given(table=tables, resolution=resolutions)
def test_the_estimate_is_the_smallest_rank_that_no_higher_one_improves_on(table, resolution):
    ranks = ResolvedRanks(*table)
    rank, excess = ranks.dimension(resolution), ranks.excess(resolution)
    assert excess[rank - 1] <= 0
    assert (excess[: rank - 1] > 0).all()
    assert ranks.choice(resolution).rank == rank


def test_the_rank_set_widens_where_the_evidence_is_weak():
    clear, weak = exact([1.0, 0.01, 0.01]), exact([1.0, 0.01, 0.01] + 0.9 * np.array([0, 0.08, 0]))
    assert clear.rank_set(0.08, 2.0) == [2]
    assert weak.rank_set(0.08, 2.0) == [2, 3]
