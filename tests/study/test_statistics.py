"""Statistics of a study against statsmodels, brute force and simulation.

The numbers of `WILSON`, `CLOPPER_PEARSON`, `MCNEMAR`, `HOLM` and the slopes come from statsmodels 0.15.0, which the
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
    print(multipletests([.01, .04, .03, .005, .2, .04], method="holm")[1])
    import numpy as np, statsmodels.api as sm
    for n, y in (([250, 500, 1000, 2000, 4000], [.31, .2, .155, .101, .08]),
                 ([100, 100, 300, 900, 900, 900], [2, 2.5, 1.1, .9, .4, .5])):
        fit = sm.OLS(np.log(y), sm.add_constant(np.log(n))).fit()
        print(fit.params, fit.bse)'
"""

import itertools
import time
import tracemalloc

import numpy as np
import pytest
from scipy.stats import beta, betabinom, binom

from lwgan_dist.study import statistics as st

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
    np.testing.assert_allclose(found.width, upper - lower, rtol=1e-12)


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


def test_proportion_has_the_interval_asked_for_and_no_value_for_0_of_0():
    found = st.proportion([0, 19], [0, 20], method="clopper_pearson")
    assert np.isnan(found.estimate[0])
    assert found.estimate[1] == 0.95
    assert found.interval.lower[1] == pytest.approx(CLOPPER_PEARSON[0.05, 19, 20][0])
    assert st.proportion(19, 20).interval.lower == pytest.approx(WILSON[0.05, 19, 20][0])
    assert st.proportion(19, 20, alpha=0.01).interval.lower == pytest.approx(WILSON[0.01, 19, 20][0])


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


def test_widest_cells_come_first_and_narrow_ones_not_at_all():
    interval = st.Interval(np.array([0.2, 0.0, 0.5, 0.1, 0.0]), np.array([0.5, 0.25, 0.75, 0.9, 0.5]))
    assert st.cells_to_sample(interval, 0.25).tolist() == [3, 4, 0]
    assert st.cells_to_sample(interval, 0.1).tolist() == [3, 4, 0, 1, 2]
    assert st.cells_to_sample(interval, 0.9).tolist() == []
    with pytest.raises(ValueError, match="width"):
        st.cells_to_sample(interval, 0.0)


def test_a_study_that_runs_the_widest_cell_ends_and_covers_every_truth():
    truths, width, studies, largest = np.array([0.5, 0.8, 1.0]), 0.4, 200, 100
    table = st.bernoulli_confidence_sequence(*triangle(largest), alpha=0.05 / 3)
    rng = np.random.default_rng(7)
    missed, spent = 0, np.zeros(3)
    for _ in range(studies):
        k, n = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
        interval = st.Interval(np.zeros(3), np.ones(3))
        while len(open_cells := st.cells_to_sample(interval, width)):
            cell = open_cells[0]
            assert interval.width[cell] == interval.width.max()
            k[cell] += rng.random() < truths[cell]
            n[cell] += 1
            interval.lower[cell], interval.upper[cell] = (
                table.lower[n[cell] - 1, k[cell]],
                table.upper[n[cell] - 1, k[cell]],
            )
        assert (interval.width <= width).all()
        missed += ((truths < interval.lower) | (truths > interval.upper)).any()
        spent += n
    assert missed / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)
    assert spent[0] > spent[1] > spent[2] > 0  # the most variable cell gets the most runs


# Cells


def test_codes_name_the_distinct_keys_in_order():
    manifold = np.array(["s", "b", "s", "b", "s", "s"])
    n = np.array([500, 500, 250, 500, 500, 250])
    code, first = st.group_codes(manifold, n)
    assert code.tolist() == [2, 0, 1, 0, 2, 1]
    assert first.tolist() == [1, 2, 0]
    assert [(str(manifold[i]), int(n[i])) for i in first] == [("b", 500), ("s", 250), ("s", 500)]
    assert [len(x) for x in st.group_codes([], [])] == [0, 0]
    with pytest.raises(ValueError, match="equally long"):
        st.group_codes(manifold, n[:1])


def literal_summary(cell, estimate, truth, failed, code):
    """One cell, run by run, as the definitions read."""
    rows = [(e, t) for c, e, t, f in zip(cell, estimate, truth, failed, strict=True) if c == code and not f]
    runs = sum(c == code for c in cell)
    errors = [e - t for e, t in rows]
    m = len(errors)
    nan = float("nan")
    mean = sum(errors) / m if m else nan
    mse = sum(e**2 for e in errors) / m if m else nan
    whole = [int(np.floor(e + 0.5)) for e, _ in rows]
    counts = {v: whole.count(v) for v in whole}
    return {
        "runs": runs,
        "failures": runs - m,
        "correct": sum(v == t for v, (_, t) in zip(whole, rows, strict=True)),
        "under": sum(v < t for v, (_, t) in zip(whole, rows, strict=True)),
        "over": sum(v > t for v, (_, t) in zip(whole, rows, strict=True)),
        "bias": mean,
        "bias_mcse": (sum((e - mean) ** 2 for e in errors) / (m - 1) / m) ** 0.5 if m > 1 else nan,
        "rmse": mse**0.5,
        "rmse_mcse": (
            ((sum((e**2 - mse) ** 2 for e in errors) / (m - 1) / m) ** 0.5 / (2 * mse**0.5) if mse else 0.0)
            if m > 1
            else nan
        ),
        "modal_estimate": min(v for v in counts if counts[v] == max(counts.values())) if m else nan,
        "modal_count": max(counts.values(), default=0),
    }


@pytest.mark.parametrize("whole", [True, False])
def test_summary_is_that_of_a_loop_over_runs(whole):
    rng = np.random.default_rng(3)
    cell = rng.integers(0, 12, 300) * (rng.random(300) < 0.9)
    truth = 2 + cell % 5
    estimate = truth + rng.integers(-2, 3, 300) * 1.0 if whole else truth + rng.normal(0, 1, 300)
    failed = rng.random(300) < 0.2
    failed |= cell == 5
    estimate[failed] = np.nan
    found = st.summarize_cells(cell, estimate, truth, failed, cells=13)  # nobody is in cell 12
    assert set(cell[~failed].tolist()) == set(range(12)) - {5}
    for code in range(13):
        wanted = literal_summary(cell.tolist(), estimate.tolist(), truth.tolist(), failed.tolist(), code)
        for name, value in wanted.items():
            entry = getattr(found, name)
            entry = entry.successes if isinstance(entry, st.Proportion) else entry
            assert entry[code] == pytest.approx(value, nan_ok=True, rel=1e-12), (code, name)


def test_a_failed_run_is_incorrect_but_has_no_error():
    found = st.summarize_cells([0] * 4, [2.0, 2.0, 5.0, np.inf], [2] * 4, [False, False, False, True])
    assert (found.runs[0], found.failures[0]) == (4, 1)
    assert [p.estimate[0] for p in (found.correct, found.under, found.over)] == [0.5, 0.0, 0.25]
    assert found.bias[0] == 1.0  # of three runs
    assert found.rmse[0] == pytest.approx(np.sqrt(3.0))
    assert (found.correct.interval.lower[0], found.correct.interval.upper[0]) == pytest.approx(
        (0.15003898915214947, 0.8499610108478506)  # proportion_confint(2, 4, method="wilson")
    )
    assert found.modal_estimate[0] == 2


def test_estimates_of_failed_runs_are_not_looked_at():
    flags = [False, True]
    a, b = (st.summarize_cells([0, 0], [3.0, other], [3, 3], flags) for other in (3.0, -1e300))
    assert a.correct.estimate[0] == b.correct.estimate[0] == 0.5
    assert (a.bias[0], a.modal_count[0]) == (b.bias[0], b.modal_count[0]) == (0.0, 1)


def test_summary_at_the_edges():
    cell = [0, 1, 1, 2, 2, 3]
    found = st.summarize_cells(cell, [4, 5, 5, 3, 3, np.nan], [5] * 6, [False] * 5 + [True], cells=5)
    # one replicate
    assert (found.bias[0], found.rmse[0]) == (-1, 1)
    assert np.isnan(found.bias_mcse[0])
    assert np.isnan(found.rmse_mcse[0])
    # all correct
    assert (found.correct.estimate[1], found.correct.interval.upper[1], found.rmse[1]) == (1, 1, 0)
    assert (found.bias_mcse[1], found.rmse_mcse[1]) == (0, 0)
    # none correct
    assert (found.correct.estimate[2], found.correct.interval.lower[2], found.under.estimate[2]) == (0, 0, 1)
    # only failures
    assert (found.failures[3], found.correct.estimate[3], found.modal_count[3]) == (1, 0, 0)
    assert np.isnan([found.bias[3], found.rmse[3], found.rmse_mcse[3], found.modal_estimate[3]]).all()
    # no run
    assert (found.runs[4], found.correct.interval.lower[4], found.correct.interval.upper[4]) == (0, 0, 1)
    assert np.isnan([found.correct.estimate[4], found.bias[4]]).all()


def test_equally_frequent_estimates_have_the_smallest_as_mode():
    found = st.summarize_cells([0] * 5, [7, 7, 3, 3, 9], [3] * 5, [False] * 5)
    assert (found.modal_estimate[0], found.modal_count[0]) == (3, 2)


def test_an_estimate_that_is_not_whole_counts_as_the_nearest_integer():
    found = st.summarize_cells([0] * 4, [1.49, 1.5, 2.4, 2.5], [2] * 4, [False] * 4)
    assert [p.successes[0] for p in (found.under, found.correct, found.over)] == [1, 2, 1]
    assert found.bias[0] == pytest.approx(-0.0275)


def test_summary_passes_the_interval_on():
    found = st.summarize_cells([0] * 20, [1] * 19 + [2], [1] * 20, [False] * 20, method="clopper_pearson", alpha=0.01)
    assert found.correct.interval.lower[0] == pytest.approx(CLOPPER_PEARSON[0.01, 19, 20][0])


def test_standard_errors_are_the_spread_of_bias_and_rmse_over_studies():
    rng = np.random.default_rng(11)
    studies, replicates = 4000, 60
    cell = np.repeat(np.arange(studies), replicates)
    estimate = rng.choice([3, 4, 5, 7], p=[0.1, 0.6, 0.2, 0.1], size=len(cell))
    found = st.summarize_cells(cell, estimate, np.full(len(cell), 4), np.zeros(len(cell), dtype=bool))
    assert found.bias_mcse.mean() == pytest.approx(found.bias.std(), rel=0.05)
    assert found.rmse_mcse.mean() == pytest.approx(found.rmse.std(), rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimate": [2.0, np.nan]}, "did not fail must be finite"),
        ({"truth": [2, 3]}, "one in each cell"),
        ({"truth": [2, np.nan]}, "truths must be finite"),
        ({"failed": [0, 1]}, "flags"),
        ({"failed": [False]}, "equally long"),
        ({"cell": [0, -1]}, "at least 0"),
        ({"cell": [0, 2], "cells": 2}, "code 2 of 2"),
        ({"cell": [0.0, 1.0]}, "integers"),
    ],
)
def test_runs_that_make_no_sense_are_refused(change, message):
    runs = {"cell": [0, 0], "estimate": [2.0, 2.0], "truth": [2, 2], "failed": [False, False]}
    assert st.summarize_cells(**runs).correct.estimate[0] == 1
    with pytest.raises(ValueError, match=message):
        st.summarize_cells(**(runs | change))


def test_a_million_runs_take_seconds_and_little_memory():
    rng = np.random.default_rng(0)
    rows = 1_000_000
    manifold = np.array(["sphere", "torus", "swiss roll", "moebius strip"])[rng.integers(0, 4, rows)]
    n, method = 250 * 2 ** rng.integers(0, 8, rows), rng.integers(0, 30, rows)
    truth = np.full(rows, 3)
    estimate, failed = truth + rng.integers(-2, 3, rows), rng.random(rows) < 0.05
    tracemalloc.start()
    started = time.perf_counter()
    code, first = st.group_codes(manifold, n, method)
    found = st.summarize_cells(code, estimate, truth, failed)
    seconds, peak = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(first) == 4 * 8 * 30
    assert found.runs.sum() == rows
    assert seconds < 10
    assert peak < 512 * 2**20


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


# Rates


def test_slopes_are_those_of_statsmodels_group_by_group():
    n = [250, 100, 500, 100, 1000, 300, 2000, 900, 4000, 900, 900]
    y = [0.31, 2.0, 0.2, 2.5, 0.155, 1.1, 0.101, 0.9, 0.08, 0.4, 0.5]
    found = st.loglog_slopes([2, 0] * 5 + [0], n, y, groups=4)
    assert found.points.tolist() == [6, 0, 5, 0]
    np.testing.assert_allclose(found.slope[[2, 0]], [-0.4894037327796682, -0.6257225408419596], rtol=1e-12)
    np.testing.assert_allclose(found.intercept[[2, 0]], [1.488018326172502, 3.6818812852537377], rtol=1e-12)
    np.testing.assert_allclose(
        found.slope_standard_error[[2, 0]], [0.028295747052467676, 0.12697894386934863], rtol=1e-10
    )
    assert np.isnan([found.slope[1], found.intercept[3], found.slope_standard_error[1]]).all()


def test_a_power_law_gives_its_exponent():
    n = np.array([250.0, 500.0, 4000.0])
    found = st.loglog_slopes([0] * 3, n, 3 * n**-0.4)
    assert found.slope[0] == pytest.approx(-0.4)
    assert found.intercept[0] == pytest.approx(np.log(3))
    assert found.slope_standard_error[0] == pytest.approx(0, abs=1e-12)


def test_too_few_sizes_have_no_slope_and_two_points_no_standard_error():
    found = st.loglog_slopes([0, 1, 1, 2, 2, 2], [10, 10, 20, 7, 7, 7], [1, 1, 2, 1, 2, 3])
    np.testing.assert_allclose(found.slope, [np.nan, 1.0, np.nan])
    assert np.isnan(found.slope_standard_error).all()


@pytest.mark.parametrize(("n", "y"), [([1, 2], [0, 1]), ([0, 2], [1, 1]), ([1, 2], [np.nan, 1]), ([1, np.inf], [1, 1])])
def test_logarithms_that_do_not_exist_are_refused(n, y):
    with pytest.raises(ValueError, match="positive"):
        st.loglog_slopes([0, 0], n, y)


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


def test_pairs_are_counted_in_their_cell():
    first = np.array([True, True, False, False, True, True, False])
    second = np.array([False, True, True, False, False, False, True])
    only_first, only_second = st.discordant_pairs([0, 0, 0, 0, 2, 2, 2], first, second, cells=4)
    assert only_first.tolist() == [1, 0, 2, 0]
    assert only_second.tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match="flags"):
        st.discordant_pairs([0], [2], [3])
    with pytest.raises(ValueError, match="equally long"):
        st.discordant_pairs([0, 0], first[:2], second[:3])


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


# Bootstrap distributions


def test_distribution_of_a_bootstrap_by_hand():
    estimates = [4] * 60 + [5] * 30 + [3] * 5 + [9] * 5
    found = st.bootstrap_distributions([1] * 100 + [2], [*estimates, 7], groups=4)
    assert found.value[found.group == 1].tolist() == [4, 5, 3, 9]
    assert found.frequency[found.group == 1].tolist() == [0.6, 0.3, 0.05, 0.05]
    assert found.in_set[found.group == 1].tolist() == [True, True, True, False]  # the tie goes to 3
    np.testing.assert_array_equal(found.mode, [np.nan, 4, 7, np.nan])
    np.testing.assert_array_equal(found.mode_frequency, [np.nan, 0.6, 1.0, np.nan])
    np.testing.assert_array_equal(found.set_mass, [np.nan, 0.95, 1.0, np.nan])
    assert found.set_size.tolist() == [0, 3, 1, 0]


def test_smallest_set_is_the_smallest_of_all_subsets():
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(40), 20)
    estimate = rng.poisson(rng.uniform(0.2, 3, 40)[group])
    for mass in (0.5, 0.8, 0.95):
        found = st.bootstrap_distributions(group, estimate, mass=mass)
        for code in range(40):
            values, counts = np.unique(estimate[group == code], return_counts=True)
            rows = found.group == code
            assert sorted(found.value[rows].tolist()) == values.tolist()
            size = next(
                size
                for size in range(1, len(values) + 1)
                if any(sum(subset) >= mass * 20 - 1e-9 for subset in itertools.combinations(counts, size))
            )
            heaviest = max(sum(subset) for subset in itertools.combinations(counts, size))
            assert found.set_size[code] == size == found.in_set[rows].sum()
            assert found.set_mass[code] == heaviest / 20
            assert found.mode[code] == values[counts.argmax()]  # argmax is the first, the smallest value


def test_distribution_depends_on_the_counts_and_not_on_the_order():
    rng = np.random.default_rng(9)
    group, estimate = rng.integers(0, 5, 200), rng.integers(0, 4, 200)
    shuffled = rng.permutation(200)
    a = st.bootstrap_distributions(group, estimate)
    b = st.bootstrap_distributions(group[shuffled], estimate[shuffled])
    for name in ("group", "value", "count", "in_set", "mode"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist(), name


def test_a_failed_bootstrap_run_is_not_a_value():
    with pytest.raises(ValueError, match="finite"):
        st.bootstrap_distributions([0, 0], [1.0, np.nan])
    with pytest.raises(ValueError, match="mass"):
        st.bootstrap_distributions([0], [1], mass=1.0)
