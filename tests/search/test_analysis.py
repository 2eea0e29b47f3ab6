"""What a search says, against loops in plain Python, closed forms and made up dependences.

What the random forests say is checked on made up trials of which it is known what the target depends on.
"""

import itertools
import math
import statistics as plain
import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from scipy import stats
from sklearn.ensemble import RandomForestRegressor

from lwgan_dist.search import analysis
from lwgan_dist.search.analysis import Facts
from lwgan_dist.search.tables import CONFIRMATION, DIMENSIONS, IMPORTANCES, PARAMETER, RUNS, TRIALS, SearchTables


def trials_table(rows, **parameters):
    """Trials of schema TRIALS; what a row does not say is null. Parameters by path, a value for each row."""
    table = pa.Table.from_pylist([dict.fromkeys(TRIALS.names) | row for row in rows], schema=TRIALS)
    for path, values in parameters.items():
        table = table.append_column(PARAMETER + path.replace("__", "."), pa.array(values))
    return table


def runs_table(rows):
    return pa.Table.from_pylist([dict.fromkeys(RUNS.names) | row for row in rows], schema=RUNS)


def finished(number, objective, dimensions, **more):
    """A finished trial of one objective."""
    own = {"number": number, "key": f"k{number}", "state": "finished", "objective": objective, "best": False}
    return own | {"objectives": [objective], "dimensions": dimensions} | more


def runs_of(trials):
    """A run for each seed of every finished trial, those of trials that repeat another too."""
    return [
        {"number": row["number"], "role": "trial", "index": index, "dimension": dimension, "cpu_seconds": 0.1}
        for row in trials
        if row["state"] == "finished"
        for index, dimension in enumerate(row["dimensions"])
    ]


def shuffled(table, seed):
    return table.take(pa.array(np.random.default_rng(seed).permutation(len(table))))


@hs.composite
def searches(draw):
    """Trials in any state, some repeating another, with equal objectives and a different number of runs."""
    rows = []
    for number in range(draw(hs.integers(0, 45))):
        state = draw(hs.sampled_from(["finished"] * 4 + ["stopped", "failed"]))
        if state != "finished":
            rows.append({"number": number, "key": f"k{number}", "state": state, "best": False})
            continue
        earlier = [row for row in rows if row["state"] == "finished"]
        if earlier and draw(hs.integers(0, 4)) == 0:
            rows.append(draw(hs.sampled_from(earlier)) | {"number": number})
            continue
        dimensions = draw(hs.lists(hs.integers(1, 4), min_size=1, max_size=3))
        rows.append(finished(number, draw(hs.sampled_from([0.5, 1.0, 1.5, 2.0])), dimensions))
    return rows


def distinct(rows):
    """Finished trials, each key once."""
    kept = {}
    for row in rows:
        if row["state"] == "finished":
            kept.setdefault(row["key"], row)
    return list(kept.values())


def distribution(trials):
    """Runs and share of every dimension, by plain counting."""
    counts = Counter(dimension for row in trials for dimension in row["dimensions"])
    return [(dimension, runs, runs / counts.total()) for dimension, runs in sorted(counts.items())]


def told(table, name):
    rows = [row for row in table.to_pylist() if row["trials"] == name]
    return [(row["dimension"], row["runs"], row["share"]) for row in rows]


@given(searches(), hs.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_dimensions_are_counted_over_all_and_over_the_best_trials(rows, seed):
    trials, runs = trials_table(rows), runs_table(runs_of(rows))
    table = analysis.dimensions(trials, runs)
    ranked = sorted(distinct(rows), key=lambda row: (row["objective"], row["number"]))
    assert table.schema == DIMENSIONS
    assert told(table, "all") == distribution(ranked)
    assert told(table, "best_decile") == distribution(ranked[: max(3, math.ceil(len(ranked) / 10))])
    assert [row["trials"] for row in table.to_pylist()] == sorted(table["trials"].to_pylist())
    assert analysis.dimensions(shuffled(trials, seed), shuffled(runs, seed)).equals(table)


@pytest.mark.parametrize(("count", "chosen"), [(1, 1), (2, 2), (3, 3), (10, 3), (30, 3), (31, 4), (40, 4), (101, 11)])
def test_the_best_decile_is_rounded_up_and_at_least_three(count, chosen):
    rows = [finished(number, float(number), [number + 1]) for number in range(count)]
    table = analysis.dimensions(trials_table(rows), runs_table(runs_of(rows)))
    assert [dimension for dimension, *_ in told(table, "best_decile")] == list(range(1, chosen + 1))


def test_the_best_trials_of_the_figures_are_those_of_the_table():
    rows = [finished(number, float(-number), [number + 1]) for number in range(31)]
    trials = trials_table([*rows, rows[30] | {"number": 40}])
    assert analysis.best_trials(trials) == {30, 29, 28, 27}
    table = analysis.dimensions(trials, runs_table(runs_of(rows)))
    assert [dimension for dimension, *_ in told(table, "best_decile")] == [28, 29, 30, 31]


def test_with_several_objectives_the_front_is_in_place_of_the_decile():
    rows = [
        finished(number, None, [number + 1], objectives=[1.0 * number, -1.0 * number], best=number in (1, 7))
        for number in range(12)
    ]
    table = analysis.dimensions(trials_table(rows), runs_table(runs_of(rows)))
    assert told(table, "best_decile") == [(2, 1, 0.5), (8, 1, 0.5)]


@given(searches(), hs.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_agreement_is_the_share_of_equal_pairs_of_runs_of_two_trials(rows, seed):
    labelled = [(row["key"], dimension) for row in distinct(rows) for dimension in row["dimensions"]]
    trials, runs = trials_table(rows), runs_table(runs_of(rows))
    for between in (True, False):
        pairs = [(a[1], b[1]) for a, b in itertools.combinations(labelled, 2) if (a[0] != b[0]) == between]
        expected = sum(a == b for a, b in pairs) / len(pairs) if pairs else None
        assert analysis.agreement(trials, runs, between=between) == expected
        assert analysis.agreement(shuffled(trials, seed), shuffled(runs, seed), between=between) == expected


def test_agreement_does_not_need_the_pairs():
    rows = [finished(number, float(number), [number % 5 + 1] * 5) for number in range(20_000)]
    trials, runs = trials_table(rows), runs_table(runs_of(rows))
    start = time.process_time()
    # Of the 19,999 other trials, 3,999 have the same dimension.
    assert analysis.agreement(trials, runs) == pytest.approx(3_999 / 19_999)
    assert time.process_time() - start < 5


def test_only_runs_of_finished_trials_are_counted():
    rows = [finished(0, 1.0, [2]), finished(1, 2.0, [2]), {"number": 2, "key": "k2", "state": "stopped"}]
    runs = runs_of(rows)
    runs += [
        {"number": None, "role": "best", "index": 0, "dimension": 9},
        {"number": None, "role": "default", "index": 0, "dimension": 8},
        {"number": 2, "role": "trial", "index": 0, "dimension": 7},
    ]
    assert analysis.agreement(trials_table(rows), runs_table(runs)) == 1.0
    assert told(analysis.dimensions(trials_table(rows), runs_table(runs)), "all") == [(2, 2, 1.0)]


def test_a_repeated_trial_counts_once_whether_or_not_its_runs_are_repeated():
    rows = [finished(0, 1.0, [2, 3]), finished(1, 2.0, [3, 3])]
    again = [*rows, rows[0] | {"number": 2}, rows[0] | {"number": 3}]
    assert analysis.agreement(trials_table(rows), runs_table(runs_of(rows))) == 0.5
    for runs in (runs_of(rows), runs_of(again), runs_of(again[1:])):
        trials = trials_table(again)
        assert analysis.agreement(trials, runs_table(runs)) == 0.5
        assert told(analysis.dimensions(trials, runs_table(runs)), "all") == [(2, 1, 0.25), (3, 3, 0.75)]


def test_without_finished_trials_there_is_nothing():
    trials, runs = trials_table([]), runs_table([])
    assert analysis.dimensions(trials, runs).equals(DIMENSIONS.empty_table())
    assert analysis.agreement(trials, runs) is None
    one = [finished(0, 1.0, [2, 3])]
    assert analysis.agreement(trials_table(one), runs_table(runs_of(one))) is None


@hs.composite
def objective_rows(draw):
    """Of 1 to 3 objectives, with equal rows and equal entries."""
    row = hs.lists(hs.sampled_from([0, 1, 2, math.inf]), min_size=(k := draw(hs.integers(1, 3))), max_size=k)
    return draw(hs.lists(row, min_size=1, max_size=25))


@given(objective_rows())
def test_the_front_holds_what_no_other_row_dominates(rows):
    def dominates(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    assert analysis.pareto_front(rows).tolist() == [not any(dominates(a, b) for a in rows) for b in rows]


def test_the_front_of_one_objective_is_its_minimum_and_of_none_is_empty():
    assert analysis.pareto_front([[2.0], [1.0], [1.0]]).tolist() == [False, True, True]
    assert analysis.pareto_front(np.empty((0, 2))).tolist() == []
    for wrong in ([1.0, 2.0], [[math.nan, 1.0]]):
        with pytest.raises(ValueError, match="not nan"):
            analysis.pareto_front(wrong)


@given(hs.lists(hs.sampled_from([0.0, 0.5, 1.0, -2.0, math.inf])))
def test_places_are_those_of_a_stable_sort(objectives):
    order = sorted(range(len(objectives)), key=lambda index: objectives[index])
    assert [order[place - 1] for place in sorted(analysis.places(objectives))] == order
    assert [order.index(index) + 1 for index in range(len(objectives))] == analysis.places(objectives)


# Quantiles 0.975 of Student's t, from the table of any textbook.
@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (11, 2.228), (31, 2.042)])
def test_the_paired_interval_is_that_of_the_textbook(n, quantile):
    differences = np.random.default_rng(n).normal(1.0, 3.0, n)
    mean, low, high = analysis.paired_interval(differences)
    half = quantile * plain.stdev(differences.tolist()) / math.sqrt(n)
    assert mean == pytest.approx(plain.fmean(differences))
    assert (mean - low, high - mean) == pytest.approx((half, half), rel=1e-3)
    # It is what the t test does not reject.
    assert stats.ttest_1samp(differences, low).pvalue == pytest.approx(0.05)


def test_the_paired_interval_covers_the_mean_in_95_of_100_samples():
    samples = np.random.default_rng(0).normal(0.3, 2.0, (2_000, 5))
    covered = [low <= 0.3 <= high for _, low, high in map(analysis.paired_interval, samples)]
    # Four standard errors of a share of 2,000.
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2_000))


def test_the_paired_interval_of_few_or_equal_differences():
    assert analysis.paired_interval([0.5]) == (0.5, -math.inf, math.inf)
    mean, low, high = analysis.paired_interval([])
    assert math.isnan(mean)
    assert (low, high) == (-math.inf, math.inf)
    assert analysis.paired_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


def importance_rows(trials, parameters, seed=0):
    """Rows by target and parameter."""
    table = analysis.importances(trials, parameters, seed)
    assert table.schema == IMPORTANCES
    return {(row["target"], row["parameter"]): row for row in table.to_pylist()}


def made_up(objectives, dimensions=None, **parameters):
    dimensions = [[2]] * len(objectives) if dimensions is None else dimensions
    rows = [
        finished(number, float(objective), dimension)
        for number, (objective, dimension) in enumerate(zip(objectives, dimensions, strict=True))
    ]
    return trials_table(rows, **parameters)


@pytest.mark.parametrize("seed", range(4))
def test_the_one_parameter_that_matters_explains_nearly_all(seed):
    """The target is 2 log x and a noise of 1/100 of its variance: whatever a forest makes of the noise is little."""
    generator = np.random.default_rng(seed)
    x = 10 ** generator.uniform(-4, -1, 80)
    signal = 2 * np.log(x)
    noise = {name: generator.random(80) for name in ("b", "c", "d")}
    trials = made_up(signal + signal.std() / 10 * generator.standard_normal(80), lr=x, **noise)
    rows = importance_rows(trials, ["b", "lr", "c", "d"], seed)
    important = rows["objective", "lr"]
    assert 0.9 < important["forest_r2"] <= 1
    assert 0.9 < important["importance"] <= 1
    assert 0 < important["importance_sd"] < 0.05
    assert important["spearman"] == pytest.approx(stats.spearmanr(x, trials["objective"].to_numpy()).statistic)
    assert all(0 <= rows["objective", name]["importance"] < 0.02 for name in "bcd")
    assert {row["trials"] for row in rows.values()} == {80}


def test_the_importance_of_a_sum_is_in_proportion_to_the_variances():
    """Of a + b / 2, with a and b alike, a explains 4/5 and b 1/5 by itself; of a product of signs neither does."""
    generator = np.random.default_rng(9)
    a, b = generator.random((2, 300))
    rows = importance_rows(made_up(a + b / 2, [[int(x)] for x in 2 + np.sign((a - 0.5) * (b - 0.5))], a=a, b=b), "ab")
    assert rows["objective", "a"]["importance"] == pytest.approx(0.8, abs=0.05)
    assert rows["objective", "b"]["importance"] == pytest.approx(0.2, abs=0.05)
    assert rows["dimension", "a"]["forest_r2"] > 0.7
    assert rows["dimension", "a"]["importance"] + rows["dimension", "b"]["importance"] < 0.2


@pytest.mark.parametrize("trues", [20, 100, 180])
def test_a_value_counts_as_often_as_trials_have_it(trues):
    """Half of the variance is a boolean's, whether it is true in 10 %, half or 90 % of the trials."""
    generator = np.random.default_rng(0)
    flag, other = generator.permutation(np.arange(200) < trues), generator.permutation(200)
    rows = importance_rows(made_up(flag / flag.std() + other / other.std(), flag=flag, other=other), ["flag", "other"])
    assert rows["objective", "flag"]["importance"] == pytest.approx(0.5, abs=0.02)
    assert rows["objective", "other"]["importance"] == pytest.approx(0.5, abs=0.02)


def test_the_shares_of_a_forest_are_those_over_all_combinations_of_the_values():
    """By its predictions for every combination: of a variance, that of the means over all but one parameter."""
    generator = np.random.default_rng(11)
    columns = [generator.integers(0, levels, 9).astype(float) for levels in (2, 4, 9)] + [np.ones(9)]
    values = np.stack(columns, axis=1)
    forest = RandomForestRegressor(5, random_state=0).fit(values, generator.random(9))
    combinations = np.array(list(itertools.product(*columns)))
    shares = []
    for tree in forest.estimators_:
        predicted = tree.predict(combinations).reshape(9, 9, 9, 9)
        means = [predicted.mean(axis=tuple({0, 1, 2, 3} - {axis})) for axis in range(4)]
        shares.append([mean.var() / predicted.var() for mean in means])
    found = analysis.forest_shares(forest, np.sort(values, axis=0))
    assert found == pytest.approx(np.mean(shares, axis=0), abs=1e-12)
    assert min(found[:3]) > 0
    assert found[3] == 0


def test_trees_without_a_split_have_no_share():
    values = np.arange(6.0).reshape(6, 1)
    forest = RandomForestRegressor(3, random_state=0).fit(values, np.ones(6))
    assert analysis.forest_shares(forest, values).tolist() == [0.0]


def test_the_scale_of_a_parameter_does_not_matter():
    """Only ranks count: on a linear axis most of a logarithmic one would be its last decade."""
    generator = np.random.default_rng(10)
    a, b = generator.random((2, 60))
    target = a + b
    plain_rows = importance_rows(made_up(target, a=a, b=b), "ab")
    scaled = importance_rows(made_up(target, a=10 ** (6 * a), b=b), "ab")
    assert {row["importance"] for row in scaled.values()} == {row["importance"] for row in plain_rows.values()}


def test_pure_noise_is_told_by_r2_on_held_out_trials():
    """A forest follows noise as well, so that importances are not 0 there; R^2 on trials it has not seen is below 0."""
    r2 = []
    for seed in range(6):
        generator = np.random.default_rng(100 + seed)
        noise = {name: generator.random(100) for name in "abcd"}
        rows = importance_rows(made_up(generator.standard_normal(100), **noise), list("abcd"), seed)
        assert all(0 <= rows["objective", name]["importance"] < 0.6 for name in "abcd")
        r2.append(rows["objective", "a"]["forest_r2"])
    assert max(r2) < 0.05
    assert np.mean(r2) < 0


def test_a_text_matters_as_a_whole_and_has_no_rank_correlation():
    generator = np.random.default_rng(3)
    kind = generator.choice(["relu", "elu", "tanh", "silu"], 60)
    # The best of the kinds is in the middle of the sorted ones.
    target = np.array([{"elu": 1.0, "relu": -1.0, "silu": 1.0, "tanh": 1.0}[k] for k in kind])
    trials = made_up(target, kind=kind.tolist(), flag=(generator.random(60) < 0.5).tolist())
    rows = importance_rows(trials, ["kind", "flag"])
    assert rows["objective", "kind"]["forest_r2"] > 0.95
    assert rows["objective", "kind"]["importance"] > 0.95
    assert rows["objective", "kind"]["spearman"] is None
    assert rows["objective", "flag"]["importance"] < 0.02
    expected = stats.spearmanr(trials["parameters.flag"].to_pylist(), target).statistic
    assert rows["objective", "flag"]["spearman"] == pytest.approx(expected)


def test_the_dimension_is_its_mean_over_the_seeds():
    generator = np.random.default_rng(4)
    width = generator.integers(8, 65, 60)
    dimensions = [[2, 2] if w < 30 else [3, 4] for w in width]
    trials = made_up(generator.standard_normal(60), dimensions, width=width.tolist(), other=generator.random(60))
    rows = importance_rows(trials, ["width", "other"])
    means = [np.mean(d) for d in dimensions]
    assert rows["dimension", "width"]["forest_r2"] > 0.8
    assert rows["dimension", "width"]["importance"] > 0.9
    assert rows["dimension", "width"]["spearman"] == pytest.approx(stats.spearmanr(width, means).statistic)


def test_a_value_that_is_missing_is_a_value():
    """A condition excludes the field from half of the trials, and those are better."""
    generator = np.random.default_rng(5)
    rate = [float(value) if value < 0.5 else None for value in generator.random(60)]
    target = np.array([0.0 if value is None else 1.0 for value in rate])
    trials = made_up(target, rate=rate, never=pa.nulls(60), other=generator.random(60))
    rows = importance_rows(trials, ["rate", "never", "other"])
    assert rows["objective", "rate"]["importance"] > 0.9
    # Of those that have a value the target is constant.
    assert rows["objective", "rate"]["spearman"] is None
    assert rows["objective", "never"]["importance"] == 0.0
    assert rows["objective", "never"]["spearman"] is None


def test_what_does_not_vary_has_no_importance():
    generator = np.random.default_rng(6)
    trials = made_up(generator.random(20), one=[0.1] * 20, text=["a"] * 20, x=generator.random(20))
    rows = importance_rows(trials, ["one", "text", "x"])
    for name in ("one", "text"):
        row = rows["objective", name]
        assert (row["importance"], row["importance_sd"], row["spearman"]) == (0.0, 0.0, None)
    # The dimension is constant.
    for name in ("one", "text", "x"):
        row = rows["dimension", name]
        assert (row["importance"], row["importance_sd"], row["spearman"]) == (0.0, 0.0, None)
        assert row["forest_r2"] is None
    alone = importance_rows(trials, ["one", "text"])["objective", "one"]
    assert (alone["importance"], alone["importance_sd"]) == (0.0, 0.0)


def test_importances_rest_on_enough_finished_trials_each_once():
    generator = np.random.default_rng(7)
    rows = [finished(number, value, [1 + number % 3]) for number, value in enumerate(generator.random(14))]
    values = generator.random(14).tolist()
    whole = analysis.importances(trials_table(rows, x=values), ["x"], 0)
    extra = [
        *(row | {"number": 14 + index} for index, row in enumerate(rows[:4])),
        {"number": 20, "key": "k20", "state": "stopped"},
        {"number": 21, "key": "k21", "state": "failed"},
    ]
    more = trials_table([*rows, *extra], x=[*values, *values[:4], 0.5, 0.5])
    assert analysis.importances(more, ["x"], 0).equals(whole)
    assert analysis.importances(shuffled(more, 1), ["x"], 0).equals(whole)
    assert not analysis.importances(more, ["x"], 1).equals(whole)  # by seed
    assert set(whole["trials"].to_pylist()) == {14}
    assert len(analysis.importances(trials_table(rows[:10], x=values[:10]), ["x"], 0)) == 2
    few = trials_table([*rows[:9], rows[0] | {"number": 30}, *extra[-2:]], x=values[:12])
    assert analysis.importances(few, ["x"], 0).equals(IMPORTANCES.empty_table())
    assert analysis.importances(more, [], 0).equals(IMPORTANCES.empty_table())


def test_with_several_objectives_only_the_dimension_is_a_target():
    rows = [finished(number, None, [number % 2 + 1], objectives=[1.0, 2.0]) for number in range(12)]
    table = analysis.importances(trials_table(rows, x=list(range(12))), ["x"], 0)
    assert table["target"].to_pylist() == ["dimension"]


def test_importances_are_quick():
    generator = np.random.default_rng(8)
    dimensions = [[int(value)] for value in generator.integers(1, 4, 30)]
    trials = made_up(generator.random(30), dimensions, **{name: generator.random(30) for name in "abcdef"})
    start = time.process_time()
    analysis.importances(trials, list("abcdef"), 0)
    assert time.process_time() - start < 4


def search_tables(rows, confirmation, extra_runs=()):
    trials, runs = trials_table(rows), runs_table([*runs_of(rows), *extra_runs])
    pairs = [dict.fromkeys(CONFIRMATION.names) | {"index": i, "difference": d} for i, d in enumerate(confirmation)]
    return SearchTables(
        trials=trials,
        runs=runs,
        confirmation=pa.Table.from_pylist(pairs, schema=CONFIRMATION),
        dimensions=analysis.dimensions(trials, runs),
        importances=IMPORTANCES.empty_table(),
    )


def test_the_facts_of_a_search():
    rows = [
        finished(0, 3.0, [2, 2], origin="default", intrinsic_dim=2),
        finished(1, 1.0, [3, 3], origin="proposed", best=True, intrinsic_dim=2),
        {"number": 2, "key": "k2", "state": "stopped", "origin": "proposed", "best": False},
        {"number": 3, "key": "k3", "state": "failed", "origin": "proposed", "best": False},
        finished(4, 2.0, [3, 2], origin="proposed", intrinsic_dim=2),
        finished(5, 4.0, [2, 2], origin="proposed", intrinsic_dim=2),
    ]
    rows.append(rows[1] | {"number": 6})
    compared = [
        {"role": role, "index": index, "dimension": 2, "cpu_seconds": 10.0}
        for role in ("best", "default")
        for index in range(3)
    ]
    tables = search_tables(rows, [-1.0, 0.5, -2.5], compared)
    mean, low, high = analysis.paired_interval([-1.0, 0.5, -2.5])
    expected = Facts(
        finished=5,
        stopped=1,
        failed=1,
        agreement=10 / 24,
        modal_dimension=2,
        modal_share=5 / 8,
        best_modal_dimension=2,
        best_modal_share=0.5,
        difference=mean,
        difference_low=low,
        difference_high=high,
        better=2,
        worse=1,
        best_failures=0,
        default_failures=0,
        pairs=3,
        best_number=1,
        default_objective=3.0,
        best_objective=1.0,
        cpu_seconds=60.8,
        objectives=("distance",),
        intrinsic_dim=2,
    )
    assert analysis.facts(tables, ["distance"], 60.8) == expected
    mixed = SearchTables(
        **{name: shuffled(getattr(tables, name), 2) for name in ("trials", "runs", "confirmation", "dimensions")},
        importances=tables.importances,
    )
    assert analysis.facts(mixed, ["distance"], 60.8) == expected


def test_the_facts_of_a_search_without_an_end():
    told_ = analysis.facts(search_tables([{"number": 0, "key": "k", "state": "failed"}], []), ["distance"], 0.0)
    assert (told_.finished, told_.failed, told_.pairs, told_.cpu_seconds) == (0, 1, 0, 0.0)
    none = ("agreement", "modal_dimension", "modal_share", "best_modal_dimension", "best_modal_share", "difference")
    none += ("difference_low", "difference_high", "best_number", "default_objective", "best_objective", "intrinsic_dim")
    assert {getattr(told_, name) for name in none} == {None}


def test_the_facts_of_a_search_with_several_objectives_name_no_single_best():
    rows = [
        finished(n, None, [n + 1], objectives=[float(n), -float(n)], best=n < 2, origin="default") for n in range(3)
    ]
    told_ = analysis.facts(search_tables(rows, [], []), ["distance", "time"], 0.0)
    assert (told_.best_number, told_.best_objective, told_.default_objective) == (None, None, None)
    assert (told_.best_modal_dimension, told_.best_modal_share) == (1, 0.5)
    assert told_.objectives == ("distance", "time")


def test_a_pair_without_a_difference_is_left_out():
    told_ = analysis.facts(search_tables([], [0.0, None, 1.0]), ["distance"], 0.0)
    assert (told_.better, told_.worse, told_.pairs, told_.difference) == (0, 1, 2, 0.5)
