"""Statistics of a study against statsmodels, brute force and simulation.

The numbers of `WILSON`, `CLOPPER_PEARSON`, `MCNEMAR`, `HOLM` come from statsmodels 0.15.0, which the
project does not need::

    python3 -m venv /tmp/smvenv && /tmp/smvenv/bin/pip install -c constraints.txt statsmodels
    /tmp/smvenv/bin/python -c '
    from statsmodels.stats.proportion import proportion_confint
    for method in ("wilson", "beta"):
        for alpha in (.05, .01):
            for k, n in ((0, 20), (1, 1), (0, 1), (3, 7), (19, 20), (20, 20), (123, 1000)):
                print(method, alpha, k, n, proportion_confint(k, n, alpha=alpha, method=method))
    from statsmodels.stats.contingency_tables import mcnemar
    for b, c in ((0, 1), (1, 9), (6, 16), (5, 5), (12, 3), (40, 70)):
        print(b, c, mcnemar([[7, b], [c, 11]], exact=True).pvalue)
    from statsmodels.stats.multitest import multipletests
    print(multipletests([.01, .04, .03, .005, .2, .04], method="holm")[1])'
"""

import itertools

import numpy as np
import pytest
from scipy.stats import beta, betabinom, binom

from lwgan_dist.study import proportions as st

WILSON = {
    (0.05, 0, 20): (0.0, 0.1611251580528194),
    (0.05, 1, 1): (0.2065493143772374, 1.0),
    (0.05, 0, 1): (0.0, 0.7934506856227627),
    (0.05, 3, 7): (0.15821985525146964, 0.7495416354723428),
    (0.05, 19, 20): (0.7638688065532577, 0.9911185511992044),
    (0.05, 20, 20): (0.8388748419471804, 1.0),
    (0.05, 123, 1000): (0.10407414325107295, 0.1448112326470356),
    (0.01, 0, 20): (0.0, 0.24910540109875348),
    (0.01, 1, 1): (0.13097754328018574, 1.0),
    (0.01, 0, 1): (0.0, 0.8690224567198142),
    (0.01, 3, 7): (0.11637368051613811, 0.8102850959116126),
    (0.01, 19, 20): (0.6817028880857628, 0.9941022509253589),
    (0.01, 20, 20): (0.7508945989012465, 1.0),
    (0.01, 123, 1000): (0.09870483697890282, 0.1522649013582659),
}
CLOPPER_PEARSON = {
    (0.05, 0, 20): (0.0, 0.16843347098308534),
    (0.05, 1, 1): (0.025, 1.0),
    (0.05, 0, 1): (0.0, 0.975),
    (0.05, 3, 7): (0.09898827844250786, 0.815948432359917),
    (0.05, 19, 20): (0.7512672372279722, 0.9987349105020502),
    (0.05, 20, 20): (0.8315665290169146, 1.0),
    (0.05, 123, 1000): (0.1032769096414177, 0.14497223867356843),
    (0.01, 0, 20): (0.0, 0.2327295009890745),
    (0.01, 1, 1): (0.005, 1.0),
    (0.01, 0, 1): (0.0, 0.995),
    (0.01, 3, 7): (0.055299349980566265, 0.882296248331048),
    (0.01, 19, 20): (0.6828582652429046, 0.9997494043131685),
    (0.01, 20, 20): (0.7672704990109255, 1.0),
    (0.01, 123, 1000): (0.09760131811891933, 0.15206768281164332),
}
MCNEMAR = {
    (0, 1): 1.0,
    (1, 9): 0.021484375,
    (6, 16): 0.052478790283203125,
    (5, 5): 1.0,
    (12, 3): 0.03515625,
    (40, 70): 0.005447429511444476,
}
HOLM = ([0.01, 0.04, 0.03, 0.005, 0.2, 0.04], [0.05, 0.12, 0.12, 0.03, 0.2, 0.12])

INTERVALS = [st.wilson_interval, st.clopper_pearson_interval, st.bernoulli_confidence_sequence]


def triangle(largest):
    """Every (k, n) with 1 <= n <= largest, as matrices indexed [n - 1, k]; k > n is cut to n."""
    n = np.arange(1, largest + 1)[:, None]
    return np.minimum(np.arange(largest + 1)[None, :], n), np.broadcast_to(n, (largest, largest + 1))


# Intervals for replicates fixed in advance


@pytest.mark.parametrize(
    ("interval", "known"), [(st.wilson_interval, WILSON), (st.clopper_pearson_interval, CLOPPER_PEARSON)]
)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_intervals_are_those_of_statsmodels_for_all_cells_at_once(interval, known, alpha):
    rows = [(k, n, *ends) for (a, k, n), ends in known.items() if a == alpha]
    k, n, lower, upper = np.array(rows).T
    found = interval(k.astype(int), n.astype(int), alpha)
    np.testing.assert_allclose(found.lower, lower, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.upper, upper, rtol=1e-12)


@pytest.mark.parametrize("interval", INTERVALS)
def test_nothing_is_known_after_0_of_0_and_ends_are_exact_at_none_and_all(interval):
    found = interval([0, 0, 3], [0, 3, 3])
    assert found.lower[0] == 0
    assert found.upper[0] == 1
    assert found.lower[1] == 0 < found.upper[1] < 1
    assert found.upper[2] == 1 > found.lower[2] > 0
    n = np.arange(1, 300)
    assert (interval(0 * n, n).lower == 0).all()
    assert (interval(n, n).upper == 1).all()


@pytest.mark.parametrize("interval", INTERVALS)
def test_failures_mirror_successes(interval):
    k, n = np.array([0, 3, 19, 4]), np.array([5, 7, 20, 4])
    found, mirrored = interval(k, n), interval(n - k, n)
    np.testing.assert_allclose(found.lower, 1 - mirrored.upper, atol=1e-12)


@pytest.mark.parametrize("interval", INTERVALS)
def test_intervals_broadcast_and_keep_the_shape(interval):
    found = interval([[0], [2]], [2, 4, 8])
    assert found.lower.shape == found.upper.shape == (2, 3)
    alone = interval(2, 8)
    assert alone.lower.shape == ()
    assert (found.lower[1, 2], found.upper[1, 2]) == (alone.lower, alone.upper)


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize(
    ("k", "n", "alpha", "message"),
    [
        (3, 2, 0.05, "more successes"),
        (-1, 2, 0.05, "at least 0"),
        (0.5, 2, 0.05, "integers"),
        (1, 2, 0.0, "alpha"),
        (1, 2, 95, "alpha"),
    ],
)
def test_impossible_counts_are_refused(interval, k, n, alpha, message):
    with pytest.raises(ValueError, match=message):
        interval(k, n, alpha)


def test_clopper_pearson_covers_at_least_and_wilson_about_95_percent():
    n, probabilities = 30, np.linspace(0.01, 0.99, 197)
    k = np.arange(n + 1)
    likelihood = binom.pmf(k, n, probabilities[:, None])

    def coverage(interval):
        found = interval(k, n)
        inside = (found.lower <= probabilities[:, None]) & (probabilities[:, None] <= found.upper)
        return (likelihood * inside).sum(axis=1)

    exact, score = coverage(st.clopper_pearson_interval), coverage(st.wilson_interval)
    assert exact.min() >= 0.95
    assert score.min() < 0.95
    assert 0.945 < score.mean() < 0.96 < exact.mean()


# Confidence sequence


@pytest.mark.parametrize("prior", [(1.0, 1.0), (0.5, 0.5), (8.0, 1.0)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 12), (7, 12), (12, 12), (190, 200), (1000, 20_000)])
def test_confidence_sequence_is_where_the_mixture_over_the_likelihood_is_small(k, n, alpha, prior):
    found = st.bernoulli_confidence_sequence(k, n, alpha, prior)
    p = np.linspace(0, 1, 20_001)
    inside = p[betabinom.pmf(k, n, *prior) < binom.pmf(k, n, p) / alpha]
    assert found.lower <= inside[0] <= found.lower + 5e-5
    assert found.upper - 5e-5 <= inside[-1] <= found.upper


def test_confidence_sequence_without_failures_has_a_closed_form():
    n = np.array([1, 2, 10, 1000, 1_000_000])
    found = st.bernoulli_confidence_sequence(n, n)
    np.testing.assert_allclose(found.lower, (0.05 / (n + 1)) ** (1 / n), rtol=1e-12)


def crossing_probability(interval, p, largest):
    """P(p is outside the interval at some n <= largest), exactly, by recursion over the number of successes."""
    found = interval(*triangle(largest))
    outside = (p < found.lower) | (p > found.upper)
    alive, crossed = np.zeros(largest + 1), 0.0
    alive[0] = 1.0
    for out in outside:
        alive = alive * (1 - p) + np.concatenate([[0.0], alive[:-1] * p])
        crossed += alive[out].sum()
        alive[out] = 0.0
    return crossed


@pytest.mark.parametrize("p", [0.3, 0.8, 0.95])
def test_exact_probability_of_ever_missing_is_below_alpha_only_for_the_confidence_sequence(p):
    assert 0.003 < crossing_probability(st.bernoulli_confidence_sequence, p, 250) <= 0.05
    assert crossing_probability(st.clopper_pearson_interval, p, 250) > 0.1
    assert crossing_probability(st.wilson_interval, p, 250) > 0.2


@pytest.mark.parametrize("prior", [(0.5, 0.5), (20.0, 1.0)])
def test_coverage_holds_whatever_the_prior(prior):
    def interval(k, n):
        return st.bernoulli_confidence_sequence(k, n, 0.1, prior)

    assert 0.001 < crossing_probability(interval, 0.6, 200) <= 0.1


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_an_analyst_who_stops_when_the_truth_is_excluded_seldom_can(p):
    draws = np.random.default_rng(20240917).random((1000, 800)) < p
    k, n = draws.cumsum(axis=1), np.arange(1, 801)

    def ever_missed(interval):
        found = interval(k, n)
        return ((p < found.lower) | (p > found.upper)).any(axis=1).mean()

    standard_error = np.sqrt(0.05 * 0.95 / 1000)
    assert ever_missed(st.bernoulli_confidence_sequence) <= 0.05 + 3 * standard_error
    assert ever_missed(st.clopper_pearson_interval) > 0.05 + 10 * standard_error
    assert ever_missed(st.wilson_interval) > 0.05 + 10 * standard_error


@pytest.mark.parametrize("prior", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_improper_priors_are_refused(prior):
    with pytest.raises(ValueError, match="prior"):
        st.bernoulli_confidence_sequence(1, 2, prior=prior)


def test_a_study_that_runs_the_widest_cell_ends_and_covers_every_truth():
    truths, width, studies, largest = np.array([0.5, 0.8, 1.0]), 0.4, 200, 100
    table = st.bernoulli_confidence_sequence(*triangle(largest), alpha=0.05 / 3)
    rng = np.random.default_rng(7)
    missed, spent = 0, np.zeros(3)
    for _ in range(studies):
        k, n = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
        lower, upper = np.zeros(3), np.ones(3)
        while (upper - lower).max() > width:
            cell = (upper - lower).argmax()
            k[cell] += rng.random() < truths[cell]
            n[cell] += 1
            lower[cell], upper[cell] = table.lower[n[cell] - 1, k[cell]], table.upper[n[cell] - 1, k[cell]]
        missed += ((truths < lower) | (truths > upper)).any()
        spent += n
    assert missed / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)
    assert spent[0] > spent[1] > spent[2] > 0  # the most variable cell gets the most runs


# n_95


def brute_isotonic(successes, trials):
    """Min-max formula: f_i = max_{a <= i} min_{b >= i} of the pooled share of sizes a..b."""
    k, n = np.asarray(successes), np.asarray(trials)
    size = len(k)
    return [
        max(min(k[a : b + 1].sum() / n[a : b + 1].sum() for b in range(i, size)) for a in range(i + 1))
        for i in range(size)
    ]


def test_isotonic_fit_is_the_min_max_formula_weighted_by_replicates():
    rng = np.random.default_rng(5)
    for _ in range(50):
        trials = rng.integers(1, 40, 7)
        successes = rng.binomial(trials, 0.6)
        np.testing.assert_allclose(
            st.isotonic_proportions(successes, trials), brute_isotonic(successes, trials), rtol=1e-12
        )


def test_isotonic_fit_pools_what_decreases_and_skips_sizes_without_replicates():
    fit = st.isotonic_proportions([1, 9, 0, 4, 10], [10, 10, 0, 20, 10])
    np.testing.assert_allclose(fit, [0.1, 13 / 30, np.nan, 13 / 30, 1.0])
    assert np.isnan(st.isotonic_proportions([0, 0], [0, 0])).all()
    with pytest.raises(ValueError, match="shape"):
        st.isotonic_proportions(1, 2)


def test_size_reached_is_the_first_of_the_grid_where_the_fit_is_at_the_level():
    sizes, rng = [250, 500, 1000, 2000], np.random.default_rng(0)
    assert st.size_reaching(sizes, [3, 10, 19, 20], [20] * 4, rng).size == 1000
    assert st.size_reaching(sizes, [3, 10, 18, 20], [20] * 4, rng).size == 2000
    assert st.size_reaching(sizes, [3, 10, 18, 20], [20] * 4, rng, level=0.9).size == 1000
    # 20 of 20 at 500 and 16 of 20 at 1000 pool to 0.9: once reached is not enough
    assert st.size_reaching(sizes, [3, 20, 16, 20], [20] * 4, rng).size == 2000
    # 19 of 20 at 500 counts, whatever the empty size before it would be
    assert st.size_reaching(sizes, [0, 19, 19, 20], [0, 20, 20, 20], rng).size == 500


@pytest.mark.parametrize(("successes", "trials", "level"), [([6, 5, 43], [8, 8, 74], 0.6), ([31, 15], [43, 26], 2 / 3)])
def test_a_level_reached_exactly_is_not_missed_by_rounding(successes, trials, level):
    assert sum(successes) / sum(trials) == level > st.isotonic_proportions(successes, trials)[0]
    sizes = range(1, len(trials) + 1)
    assert st.size_reaching(sizes, successes, trials, np.random.default_rng(0), level=level, resamples=1).size == 1


def test_a_level_out_of_reach_is_none_and_open_above():
    found = st.size_reaching([250, 500], [0, 1], [20, 20], np.random.default_rng(0))
    assert found.size is None
    assert (found.lower, found.upper, found.reached) == (np.inf, np.inf, 0.0)
    empty = st.size_reaching([250, 500], [0, 0], [0, 0], np.random.default_rng(0), resamples=3)
    assert (empty.size, empty.lower, empty.reached) == (None, np.inf, 0.0)


def test_bootstrap_interval_is_the_order_statistics_of_draws_from_the_posterior():
    sizes, successes, trials = [250, 500, 1000, 2000], [10, 17, 19, 40], [20, 20, 20, 40]
    found = st.size_reaching(sizes, successes, trials, np.random.default_rng(1), resamples=1500)
    rng = np.random.default_rng(2)  # another stream, one size after the other
    reached = []
    for _ in range(1500):
        draws = [rng.beta(k + 0.5, m - k + 0.5) * m for k, m in zip(successes, trials, strict=True)]
        fit = brute_isotonic(draws, trials)
        reached.append(next((n for n, f in zip(sizes, fit, strict=True) if f >= 0.95 - 1e-9), np.inf))
    assert (found.size, found.lower, found.upper) == (1000, *np.sort(reached)[[37, 1462]])
    assert found.lower <= found.size < found.upper
    assert found.reached == pytest.approx(np.isfinite(reached).mean(), abs=0.02)


def test_bootstrap_interval_may_be_open_above_and_depends_on_the_generator_alone():
    def interval(seed, alpha=0.05):
        found = st.size_reaching(
            [250, 500, 1000], [5, 12, 40], [20, 20, 40], np.random.default_rng(seed), alpha=alpha, resamples=400
        )
        return found.size, found.lower, found.upper, found.reached

    assert interval(0) == interval(0)
    assert interval(0)[3] != interval(1)[3]
    assert interval(0)[:3] == (1000, 1000.0, np.inf)
    assert 0.9 < interval(0)[3] < 1
    assert interval(0, alpha=0.9)[2] == 1000.0


def test_bootstrap_ends_leave_half_of_alpha_on_each_side():
    # one size: it is reached with the probability that Beta(19.5, 1.5) is above 0.95
    def ends(alpha, resamples=4000, seed=0):
        found = st.size_reaching([250], [19], [20], np.random.default_rng(seed), alpha=alpha, resamples=resamples)
        return found.lower, found.upper

    assert beta.sf(0.95, 19.5, 1.5).round(3) == 0.433
    assert ends(0.7) == (250, np.inf)  # shares 0.35 and 0.65
    assert ends(0.98) == (np.inf, np.inf)  # 0.49 and 0.51
    # of 4 resamples a quarter on the left is the first, as is the smallest share
    assert [ends(0.5, 4, seed)[0] for seed in range(20)] == [ends(1e-6, 4, seed)[0] for seed in range(20)]


def test_a_share_that_falls_with_n_is_told_from_one_that_may_rise():
    def monotone(successes, trials):
        return st.size_reaching(range(1, len(trials) + 1), successes, trials, np.random.default_rng(0)).monotone

    assert monotone([3, 10, 18, 20], [20] * 4)
    assert monotone([20, 19, 20], [20] * 3), "by chance"
    assert monotone([5, 4], [5, 5])
    assert not monotone([5, 5, 0], [5, 5, 5])
    assert not monotone([100, 100, 55], [100] * 3)
    assert monotone([0, 5, 0], [0, 5, 0]), "a size without replicates says nothing"


def test_bootstrap_interval_covers_the_true_size():
    sizes = [250, 500, 1000, 2000, 4000]
    truth = [0.3, 0.6, 0.85, 0.98, 1.0]
    rng = np.random.default_rng(8)
    hits = []
    for _ in range(60):
        found = st.size_reaching(sizes, rng.binomial(200, truth), [200] * 5, rng, resamples=100)
        hits.append(found.lower <= 2000 <= found.upper)
    assert np.mean(hits) >= 0.9


def test_few_replicates_that_all_agree_are_not_taken_for_certainty():
    def interval(trials):
        found = st.size_reaching([250, 500], [trials] * 2, [trials] * 2, np.random.default_rng(0))
        return found.size, found.lower, found.upper

    assert interval(5) == (250, 250, np.inf)
    assert interval(200) == (250, 250, 250)


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ([500, 250], {}, "ascend"),
        ([250, 250], {}, "ascend"),
        ([250], {}, "ascend"),
        ([250, 500], {"resamples": 0}, "resample"),
        ([250, 500], {"level": 95}, "level"),
        ([250, 500], {"alpha": 1}, "alpha"),
    ],
)
def test_size_reached_refuses_what_it_cannot_answer(sizes, options, message):
    with pytest.raises(ValueError, match=message):
        st.size_reaching(sizes, [1, 2], [2, 2], np.random.default_rng(0), **options)


# Two methods


def test_mcnemar_is_that_of_statsmodels():
    b, c = np.array(list(MCNEMAR)).T
    np.testing.assert_allclose(st.mcnemar_exact(b, c), list(MCNEMAR.values()), rtol=1e-12)
    assert st.mcnemar_exact(0, 0) == 1


def test_mcnemar_is_the_chance_of_a_split_as_uneven():
    for b, c in itertools.product(range(7), repeat=2):
        splits = list(itertools.product([0, 1], repeat=b + c))
        extreme = sum(abs(2 * sum(split) - b - c) >= abs(b - c) for split in splits)
        assert st.mcnemar_exact(b, c) == pytest.approx(extreme / len(splits)), (b, c)


def test_holm_is_that_of_statsmodels():
    np.testing.assert_allclose(st.holm(HOLM[0]), HOLM[1], rtol=1e-12)
    assert st.holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert st.holm([]).tolist() == []


def test_holm_rejects_what_the_step_down_rejects():
    rng = np.random.default_rng(4)
    for _ in range(200):
        p = rng.beta(0.3, 3, 6)
        rejected = np.zeros(6, dtype=bool)
        for step, test in enumerate(np.argsort(p)):
            if p[test] > 0.05 / (6 - step):
                break
            rejected[test] = True
        assert ((st.holm(p) <= 0.05) == rejected).all()


@pytest.mark.parametrize("p", [[0.1, np.nan], [1.1], [-0.1], 0.5])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(ValueError, match="p-values"):
        st.holm(p)
