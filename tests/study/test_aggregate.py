"""Tables of a study against statsmodels, loops in plain Python and the statistics that they are made of.

The numbers of `CONFINT`, `MCNEMAR`, `HOLM` and the slopes come from statsmodels 0.15.0, which the project does not
need::

    python3 -m venv /tmp/venv-sm && /tmp/venv-sm/bin/pip install statsmodels
    /tmp/venv-sm/bin/python -c '
    from statsmodels.stats.proportion import proportion_confint
    for k, n in ((3, 5), (0, 4), (4, 4), (7, 10), (1, 3), (2, 3)):
        print(k, n, *[proportion_confint(k, n, method=method) for method in ("wilson", "beta")])
    from statsmodels.stats.contingency_tables import mcnemar
    p = [mcnemar([[3, b], [c, 2]], exact=True).pvalue for b, c in ((0, 6), (1, 7), (2, 0), (0, 0))]
    from statsmodels.stats.multitest import multipletests
    print(p, multipletests(p, method="holm")[1])
    import numpy as np, statsmodels.api as sm
    for n, y in (([250, 500, 1000, 2000, 4000], [.31, .2, .155, .101, .08]),
                 ([100, 100, 300, 900, 900, 900], [2, 2.5, 1.1, .9, .4, .5])):
        fit = sm.OLS(np.log(y), sm.add_constant(np.log(n))).fit()
        print(fit.params, fit.bse)'
"""

import itertools
import math
import statistics as plain
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from scipy.stats import linregress
from study_rows import runs_table

from lwgan_dist import seeding
from lwgan_dist.method.rank_selection import choose_rank
from lwgan_dist.study import aggregate, tables
from lwgan_dist.study import proportions as st

CONFINT = {
    (3, 5): ((0.2307242812760129, 0.8823792257673522), (0.14663279963467313, 0.9472550494736831)),
    (0, 4): ((0.0, 0.4898908364545974), (0.0, 0.6023646356164747)),
    (4, 4): ((0.5101091635454025, 1.0), (0.3976353643835253, 1.0)),
    (7, 10): ((0.39677814746114537, 0.8922087325936989), (0.3475471499400027, 0.9332604888222655)),
    (1, 3): ((0.06149194472039626, 0.7923403991979523), (0.008403758659612636, 0.9057006759497539)),
    (2, 3): ((0.2076596008020477, 0.9385080552796037), (0.09429932405024609, 0.9915962413403874)),
}
MCNEMAR = {(0, 6): 0.03125, (1, 7): 0.0703125, (2, 0): 0.5, (0, 0): 1.0}
HOLM = {0.03125: 0.125, 0.0703125: 0.2109375, 0.5: 1.0, 1.0: 1.0}

ENDS = ("wilson_low", "wilson_high", "exact_low", "exact_high")
SHARES_AND_ERRORS = ("correct", "p_correct", "p_under", "p_over", "bias", "bias_mcse", "rmse", "rmse_mcse")
COMPARED = (*SHARES_AND_ERRORS, *ENDS, "sequence_low", "sequence_high")


def sample(told, **shared):
    """Rows of one cell: a dimension for each replicate, or a list of them, one for each initialisation."""
    return [
        {"replicate": replicate, "initialisation": initialisation, "dimension": dimension} | shared
        for replicate, of_sample in enumerate(told)
        for initialisation, dimension in enumerate(of_sample if isinstance(of_sample, list) else [of_sample])
    ]


def only(table):
    assert len(table) == 1
    return table.to_pylist()[0]


@hs.composite
def run_rows(draw):
    """Rows of up to 8 cells, with failures, gaps, unknown truths and several runs on some samples."""
    rows = []
    for data, n, method in draw(
        hs.lists(
            hs.tuples(
                hs.sampled_from(["s", "b ü", "unknown"]),
                hs.sampled_from([50, 100, 1000]),
                hs.sampled_from(["LWGAN", "LWGAN (b)", "MLE", "AAA"]),
            ),
            max_size=8,
            unique=True,
        )
    ):
        places = draw(hs.lists(hs.tuples(hs.integers(0, 5), hs.integers(0, 2)), min_size=1, max_size=12, unique=True))
        for replicate, initialisation in places:
            dimension = draw(hs.one_of(hs.none(), hs.integers(1, 4)))
            row = {
                "data": data,
                "n": n,
                "method": method,
                "replicate": replicate,
                "initialisation": initialisation,
                "intrinsic_dim": None if data == "unknown" else {"s": 2, "b ü": 3}[data],
                "dimension": dimension,
                "cpu_seconds": draw(hs.floats(0, 100)),
            }
            if dimension is not None:
                row["value"] = dimension + draw(hs.floats(-0.5, 0.49))
                if method.startswith("LWGAN"):
                    row["score_se"] = draw(hs.floats(1e-6, 10))
                    row["penalty"] = draw(hs.floats(1e-6, 10))
                    row["margin"] = draw(hs.one_of(hs.none(), hs.just(math.inf), hs.floats(0, 10)))
            rows.append(row)
    return rows


def literal_cell(rows):
    """One cell from rows of `runs_table`, as the definitions read."""
    truth = rows[0]["intrinsic_dim"]
    by_sample = {}
    for row in rows:
        by_sample.setdefault(row["replicate"], []).append(row)
    used = [row for row in rows if row["dimension"] is not None]
    runs, m = len(rows), len(used)
    counts = Counter(row["dimension"] for row in used)
    pairs = [pair for of_sample in by_sample.values() for pair in itertools.combinations(of_sample, 2)]
    agreeing = [a["dimension"] is not None and a["dimension"] == b["dimension"] for a, b in pairs]

    def median(name):
        values = [row[name] for row in used if row[name] is not None]
        return plain.median(values) if values else None

    def moment(power):
        errors = [(row["value"] - truth) ** power for row in used]
        if not errors:
            return None, None
        mean = sum(errors) / m
        sums = {}
        for row, error in zip(used, errors, strict=True):
            sums[row["replicate"]] = sums.get(row["replicate"], 0.0) + error - mean
        g = len(sums)
        return mean, math.sqrt(g / (g - 1) * sum(x * x for x in sums.values())) / m if g > 1 else None

    cell = {
        **{name: rows[0][name] for name in ("data", "n", "method", "kind", "factors", "intrinsic_dim")},
        "runs": runs,
        "samples": len(by_sample),
        "failures": runs - m,
        "modal_dimension": min((d for d in counts if counts[d] == max(counts.values())), default=None),
        "modal_count": max(counts.values(), default=0),
        "mean_value": sum(row["value"] for row in used) / m if m else None,
        "agreement": sum(agreeing) / len(pairs) if pairs else None,
        "penalty": median("penalty"),
        "score_se": median("score_se"),
        "margin": median("margin"),
        "cpu_seconds": sum(row["cpu_seconds"] for row in rows) / runs,
        **dict.fromkeys(COMPARED),
    }
    if truth is not None:
        correct = sum(row["dimension"] == truth for row in used)
        under = sum(row["dimension"] < truth for row in used)
        (bias, bias_mcse), (mse, mse_mcse) = moment(1), moment(2)
        low = math.floor(correct * len(by_sample) / runs + 1e-9)
        high = math.ceil(correct * len(by_sample) / runs - 1e-9)
        firsts = {row["replicate"]: row["dimension"] == truth for row in rows if row["initialisation"] == 0}
        prefix = list(itertools.takewhile(lambda replicate: replicate in firsts, itertools.count()))
        cell |= {
            "correct": correct,
            "p_correct": correct / runs,
            "p_under": under / runs,
            "p_over": (m - correct - under) / runs,
            "bias": bias,
            "bias_mcse": bias_mcse,
            "rmse": None if mse is None else math.sqrt(mse),
            "rmse_mcse": mse_mcse / (2 * math.sqrt(mse)) if mse and mse_mcse is not None else mse_mcse,
            "wilson_low": st.wilson_interval(low, len(by_sample)).lower,
            "wilson_high": st.wilson_interval(high, len(by_sample)).upper,
            "exact_low": st.clopper_pearson_interval(low, len(by_sample)).lower,
            "exact_high": st.clopper_pearson_interval(high, len(by_sample)).upper,
            "sequence": (sum(firsts[replicate] for replicate in prefix), len(prefix)),
        }
    return cell


def place(row):
    return row["data"], row["n"], row["kind"] != "lwgan", row["method"]


# Cells


@settings(max_examples=60, deadline=None)
@given(run_rows())
def test_cells_are_those_of_a_loop_over_runs(rows):
    table = runs_table(rows)
    groups = {}
    for row in sorted(table.to_pylist(), key=place):
        groups.setdefault(place(row), []).append(row)
    wanted = [literal_cell(group) for group in groups.values()]
    found = aggregate.cells(table, sequence_alpha=0.1)
    assert found.schema.equals(tables.CELLS, check_metadata=True)
    assert len(found) == len(wanted)
    judged = sum(cell["intrinsic_dim"] is not None for cell in wanted)
    for cell, expected in zip(found.to_pylist(), wanted, strict=True):
        if (counted := expected.pop("sequence", None)) is not None:
            interval = st.bernoulli_confidence_sequence(*counted, 0.1 / judged)
            expected |= {"sequence_low": float(interval.lower), "sequence_high": float(interval.upper)}
        for name, value in expected.items():
            if isinstance(value, float):  # a difference of nearly equal numbers is as exact as they are
                near = "rmse" in name or "bias" in name
                assert cell[name] == pytest.approx(value, rel=1e-9, abs=1e-7 if near else 1e-12), name
            else:
                assert cell[name] == value, name


@settings(max_examples=40, deadline=None)
@given(run_rows(), hs.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_change_a_bit(rows, random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    a, b = runs_table(rows), runs_table(shuffled)
    b = pa.concat_tables([b.slice(0, len(b) // 3), b.slice(len(b) // 3)])  # nor do the chunks
    for make in (
        lambda runs: aggregate.cells(runs, sequence_alpha=0.05),
        aggregate.comparisons,
        lambda runs: aggregate.sensitivity(runs, ["LWGAN"], exponents=[0.5, 0.8], constants=[1.0, 4.0]),
    ):
        assert make(a).equals(make(b), check_metadata=True)


def test_the_order_of_the_rows_does_not_change_a_bit_of_trends():
    rng = np.random.default_rng(3)
    rows = [
        row
        for data, n, method in itertools.product("sb", (100, 200, 400), ("LWGAN", "MLE"))
        for row in sample(rng.integers(1, 3, 8).tolist(), data=data, n=n, method=method, score_se=rng.random())
    ]
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    found = aggregate.trends(runs_table(rows), seed=5)
    assert found.equals(aggregate.trends(runs_table(shuffled), seed=5))
    alone = aggregate.trends(runs_table([row for row in rows if (row["data"], row["method"]) == ("s", "MLE")]), seed=5)
    assert found.slice(3).equals(alone)  # nor do the other rows


@settings(max_examples=60, deadline=None)
@given(run_rows())
def test_every_run_is_correct_under_over_or_failed(rows):
    for cell in aggregate.cells(runs_table(rows)).to_pylist():
        if cell["intrinsic_dim"] is None:
            assert [cell[name] for name in COMPARED] == [None] * len(COMPARED)
            continue
        under, over = (cell[name] * cell["runs"] for name in ("p_under", "p_over"))
        assert cell["correct"] + round(under) + round(over) + cell["failures"] == cell["runs"]
        assert under == pytest.approx(round(under))
        assert cell["wilson_low"] <= cell["p_correct"] + 1e-12
        assert cell["wilson_high"] >= cell["p_correct"] - 1e-12
        assert cell["sequence_low"] is None


@pytest.mark.parametrize(
    ("dimensions", "counts"),
    [
        ([2, 2, 2, 1, None], (3, 5)),
        ([1, 3, None, None], (0, 4)),
        ([2] * 4, (4, 4)),
        ([2] * 7 + [3] * 3, (7, 10)),
    ],
)
def test_intervals_are_those_of_statsmodels(dimensions, counts):
    cell = only(aggregate.cells(runs_table(sample(dimensions))))
    assert (cell["correct"], cell["runs"]) == counts
    assert [cell[name] for name in ENDS] == pytest.approx(list(itertools.chain(*CONFINT[counts])), rel=1e-12)


def test_runs_that_agree_on_their_sample_say_no_more_than_one():
    one, three = (only(aggregate.cells(runs_table(sample(told)))) for told in ([2, 2, 1], [[2] * 3, [2] * 3, [1] * 3]))
    assert (three["runs"], three["samples"], three["correct"], three["agreement"]) == (9, 3, 6, 1.0)
    assert one["agreement"] is None
    for name in (*ENDS, "p_correct", "p_under", "bias", "bias_mcse", "rmse", "rmse_mcse"):
        assert three[name] == pytest.approx(one[name], rel=1e-12), name
    assert [three[name] for name in ENDS] == pytest.approx(list(itertools.chain(*CONFINT[2, 3])))


def test_the_interval_of_a_share_between_two_counts_holds_both():
    cell = only(aggregate.cells(runs_table(sample([[2, 1], [2, 2], [1, None]]))))  # 3 of 6: 1.5 of 3 samples
    assert (cell["p_correct"], cell["samples"]) == (0.5, 3)
    (low, _), (exact_low, _) = CONFINT[1, 3]
    (_, high), (_, exact_high) = CONFINT[2, 3]
    assert [cell[name] for name in ENDS] == pytest.approx([low, high, exact_low, exact_high], rel=1e-12)
    assert cell["agreement"] == pytest.approx(1 / 3)  # a failure agrees with nothing


def test_with_one_run_a_sample_the_errors_are_those_of_a_mean():
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 1, (3, 50))
    rows = [
        {"n": n, "replicate": replicate, "dimension": 2, "value": 2 + float(error)}
        for n, of_cell in zip((10, 20, 30), errors, strict=True)
        for replicate, error in enumerate(of_cell)
    ]
    found = aggregate.cells(runs_table(rows))
    rmse = np.sqrt((errors**2).mean(axis=1))
    for name, values in {
        "bias": errors.mean(axis=1),
        "bias_mcse": errors.std(axis=1, ddof=1) / np.sqrt(50),
        "rmse": rmse,
        "rmse_mcse": (errors**2).std(axis=1, ddof=1) / np.sqrt(50) / (2 * rmse),
    }.items():
        np.testing.assert_allclose(found.column(name).to_numpy(), values, rtol=1e-9)


def test_the_standard_error_is_that_of_the_means_of_the_samples():
    """Over studies with correlated runs on each sample the reported error is the spread; that of runs is not."""
    rng = np.random.default_rng(1)
    rows = []
    for study in range(200):
        of_sample = rng.integers(1, 4, 20)
        dimensions = [[int(d) if rng.random() < 0.8 else 2 for _ in range(3)] for d in of_sample]
        rows += sample(dimensions, data=f"study {study}")
    found = aggregate.cells(runs_table(rows))
    for name in ("bias", "rmse"):
        spread = np.std(found.column(name).to_numpy(), ddof=1)
        assert np.sqrt(np.mean(found.column(f"{name}_mcse").to_numpy() ** 2)) == pytest.approx(spread, rel=0.15)


def test_what_is_correct_is_a_matter_of_the_dimension_and_the_error_one_of_the_value():
    cell = only(aggregate.cells(runs_table([{"intrinsic_dim": 1, "dimension": 1, "value": 0.25, "method": "MLE"}])))
    assert (cell["correct"], cell["p_under"], cell["modal_dimension"]) == (1, 0.0, 1)
    assert (cell["bias"], cell["rmse"], cell["bias_mcse"], cell["rmse_mcse"]) == (-0.75, 0.75, None, None)


def test_a_value_beside_a_failure_is_not_looked_at():
    rows = [*sample([2, 2]), {"replicate": 2, "dimension": None, "value": 1e9}]
    cell = only(aggregate.cells(runs_table(rows)))
    assert (cell["failures"], cell["bias"], cell["mean_value"], cell["p_over"]) == (1, 0.0, 2.0, 0.0)


def test_lwgan_comes_first_and_the_rest_is_sorted():
    rows = [{"data": d, "n": n, "method": m} for d in "ba" for n in (1000, 90) for m in ("MLE", "LWGAN (r)", "DANCo")]
    found = aggregate.cells(runs_table(rows)).to_pylist()
    methods = ["LWGAN (r)", "DANCo", "MLE"]
    assert [(c["data"], c["n"], c["method"]) for c in found] == list(itertools.product("ab", (90, 1000), methods))


def test_confidence_sequence_looks_at_the_first_runs_up_to_a_gap():
    rows = sample([[2, 1], [1, 2], 2, 2])
    rows += [{"replicate": 5, "dimension": 1}, {"replicate": 4, "initialisation": 1}]  # the first of 4 is missing
    rows += sample([3], data="t") + sample([2], data="unknown", intrinsic_dim=None)
    found = aggregate.cells(runs_table(rows), sequence_alpha=0.05).to_pylist()
    wanted = st.bernoulli_confidence_sequence([3, 0], [4, 1], 0.05 / 2)  # two cells of known truth
    assert [cell["sequence_low"] for cell in found] == [*wanted.lower, None]
    assert [cell["sequence_high"] for cell in found] == [*wanted.upper, None]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{}, {}], "two runs"),
        ([{}, {"replicate": 1, "intrinsic_dim": 3}], "truth"),
        ([{}, {"replicate": 1, "intrinsic_dim": None, "dimension": 2}], "truth"),
        ([{"value": None}], "finite value"),
        ([{"value": math.inf}], "finite value"),
        ([{"replicate": None}], "runs without replicate"),
    ],
)
def test_runs_that_contradict_each_other_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        aggregate.cells(runs_table(rows))


def test_nothing_gives_empty_tables():
    runs = runs_table([])
    assert aggregate.cells(runs, sequence_alpha=0.05).equals(tables.CELLS.empty_table(), check_metadata=True)
    assert aggregate.comparisons(runs).equals(tables.COMPARISONS.empty_table(), check_metadata=True)
    assert aggregate.trends(runs).equals(tables.TRENDS.empty_table(), check_metadata=True)
    assert aggregate.sensitivity(runs, ["LWGAN"]).equals(tables.SENSITIVITY.empty_table(), check_metadata=True)
    empty = aggregate.bootstrap_table(runs, refits_table([]), 0.95)
    assert empty.equals(tables.BOOTSTRAP.empty_table(), check_metadata=True)
    assert aggregate.coverage(empty).equals(tables.COVERAGE.empty_table(), check_metadata=True)


# Comparisons


def paired(only_a, only_b, data):
    """Runs of two methods with so many discordant samples, 3 on which both are right and 2 on which both are wrong."""
    a = [2] * only_a + [1] * only_b + [2] * 3 + [None, 3]
    b = [None] * only_a + [2] * only_b + [2] * 3 + [3, None]
    return sample(a, data=data, method="LWGAN") + sample(b, data=data, method="AAA")


def test_comparisons_are_those_of_statsmodels():
    rows = [row for code, counts in enumerate(MCNEMAR) for row in paired(*counts, f"data {code}")]
    found = aggregate.comparisons(runs_table(rows))
    assert found.schema.equals(tables.COMPARISONS, check_metadata=True)
    for row, (counts, p) in zip(found.to_pylist(), MCNEMAR.items(), strict=True):
        assert (row["method_a"], row["method_b"]) == ("LWGAN", "AAA")
        assert (row["only_a"], row["only_b"]) == counts
        assert row["pairs"] == sum(counts) + 5
        assert (row["p_value"], row["p_holm"]) == pytest.approx((p, HOLM[p]), rel=1e-12)


def test_every_two_of_many_methods_are_compared():
    rng = np.random.default_rng(8)
    methods = ["LWGAN", "LWGAN (b)", "AAA", "MLE", "lPCA"]
    rows = [
        {"n": n, "method": method, "replicate": replicate, "dimension": int(rng.integers(1, 4))}
        for n, method, replicate in itertools.product((50, 60), methods, range(30))
        if rng.random() < 0.8
    ]
    found = compare_with_loop(rows)
    assert len(found) == 20
    assert min(row["pairs"] for row in found) > 10


@settings(max_examples=60, deadline=None)
@given(run_rows())
def test_comparisons_are_those_of_a_loop_over_pairs_of_methods(rows):
    compare_with_loop(rows)


def compare_with_loop(rows):
    table = runs_table(rows)
    firsts = {}
    for row in sorted(table.to_pylist(), key=place):
        if row["initialisation"] == 0 and row["intrinsic_dim"] is not None:
            firsts.setdefault(place(row), {})[row["replicate"]] = row["dimension"] == row["intrinsic_dim"]
    wanted = []
    for a, b in itertools.combinations(firsts, 2):
        if a[:2] == b[:2]:
            common = firsts[a].keys() & firsts[b].keys()
            only_a = sum(firsts[a][r] and not firsts[b][r] for r in common)
            only_b = sum(firsts[b][r] and not firsts[a][r] for r in common)
            wanted.append((*a[:2], a[-1], b[-1], len(common), only_a, only_b))
    found = aggregate.comparisons(table).to_pylist()
    assert [tuple(row.values())[:7] for row in found] == wanted
    assert [row["p_holm"] for row in found] == st.holm([row["p_value"] for row in found]).tolist()
    return found


# Trends


def test_trends_are_those_of_the_statistics():
    rng = np.random.default_rng(2)
    sizes, trials, rows = [100, 200, 400, 800], 20, []
    points = {"score_se": [], "penalty": []}
    correct = []
    for n, p in zip(sizes, (0.3, 0.6, 0.9, 1.0), strict=True):
        right = rng.random(trials) < p
        correct.append(int(right.sum()))
        for replicate, is_right in enumerate(right):
            told = {"n": n, "replicate": replicate, "dimension": 2 if is_right else 1}
            for name, law in (("score_se", -0.5), ("penalty", -0.4)):
                told[name] = float(n**law * np.exp(rng.normal(0, 0.1)))
                points[name].append((n, told[name]))
            rows.append(told)
    rows[0]["score_se"], rows[1]["score_se"] = None, 0.0  # no points
    del points["score_se"][:2]
    rows += sample([2, 3], n=100, intrinsic_dim=None, data="unknown", penalty=0.3)
    found = aggregate.trends(runs_table(rows), level=0.9, seed=7)
    assert found.schema.equals(tables.TRENDS, check_metadata=True)
    known, unknown = found.to_pylist()
    wanted = st.size_reaching(
        sizes, correct, [trials] * 4, seeding.generator(7, "study/n_level", "s", "LWGAN"), level=0.9
    )
    assert (known["sizes"], known["level"]) == (4, 0.9)
    assert [known[name] for name in ("n_level", "n_low", "n_high", "reached", "isotonic")] == [
        wanted.size,
        wanted.lower,
        wanted.upper,
        wanted.reached,
        wanted.fit.tolist(),
    ]
    for name, column in (("score_se", "se_slope"), ("penalty", "penalty_slope")):
        line = linregress(*np.log(points[name]).T)
        assert known[column] == pytest.approx(line.slope, rel=1e-12)
        assert known[f"{column}_se"] == pytest.approx(line.stderr, rel=1e-10)
    assert (unknown["data"], unknown["sizes"]) == ("unknown", 1)
    assert [unknown[name] for name in found.column_names[4:]] == [None] * 10


def test_slopes_are_those_of_statsmodels_trend_by_trend():
    told = {
        "a": ([250, 500, 1000, 2000, 4000], [0.31, 0.2, 0.155, 0.101, 0.08]),
        "b": ([100, 100, 300, 900, 900, 900], [2, 2.5, 1.1, 0.9, 0.4, 0.5]),
        "exact": ([250, 500, 4000], [3 * n**-0.4 for n in (250, 500, 4000)]),
        "one size": ([7, 7, 7], [1, 2, 3]),
        "two points": ([10, 20], [1, 2]),
    }
    rows = [
        {"data": data, "n": n, "replicate": replicate, "score_se": float(y)}
        for data, columns in told.items()
        for replicate, (n, y) in enumerate(zip(*columns, strict=True))
    ]
    found = aggregate.trends(runs_table(rows))
    slopes, errors = found.column("se_slope").to_pylist(), found.column("se_slope_se").to_pylist()
    assert slopes[:3] == pytest.approx([-0.4894037327796682, -0.6257225408419596, -0.4], rel=1e-12)
    assert errors[:2] == pytest.approx([0.028295747052467676, 0.12697894386934863], rel=1e-10)
    assert errors[2] == pytest.approx(0, abs=1e-12)
    assert (slopes[3:], errors[3:]) == ([None, pytest.approx(1)], [None, None])


def test_a_method_that_gets_worse_with_n_has_no_sample_size():
    rows = [
        row for n, right in ((100, 20), (200, 20), (400, 0)) for row in sample([2] * right + [3] * (20 - right), n=n)
    ]
    found = only(aggregate.trends(runs_table(rows)))
    assert found["monotone"] is False
    assert [found[name] for name in ("n_level", "n_low", "n_high", "reached")] == [None] * 4


def test_a_level_that_no_size_reaches_has_no_size_and_an_open_interval():
    rows = sample([1] * 5, n=100, method="MLE") + sample([1, 1, 1, [None, 2], 1], n=200, method="MLE")
    found = only(aggregate.trends(runs_table(rows)))
    assert (found["n_level"], found["n_low"], found["n_high"], found["reached"]) == (None, math.inf, math.inf, 0.0)
    assert found["isotonic"] == [0.0, 0.0]  # of the first runs
    assert found["se_slope"] is None


def test_runs_on_one_sample_are_one_point_of_a_slope():
    rows, repeated = [], []
    for n, replicate, se in [(100, 0, 0.4), (100, 1, 0.5), (400, 0, 0.2), (400, 1, 0.22)]:
        rows.append({"n": n, "replicate": replicate, "score_se": se})
        repeated += [rows[-1] | {"initialisation": i, "score_se": se * factor} for i, factor in enumerate((0.5, 1, 2))]
    one, three = (only(aggregate.trends(runs_table(told))) for told in (rows, repeated))
    for name in ("se_slope", "se_slope_se"):
        assert three[name] == pytest.approx(one[name], rel=1e-12)


# Sensitivity


def test_sensitivity_judges_as_choose_rank_does():
    rng = np.random.default_rng(11)
    exponents, constants = (0.5, 0.8), (0.25, 1.0, 8.0)
    rows, scores = [], []
    for data, ranks in (("s", 5), ("wide", 9)):  # latent dimensions differ
        for replicate in range(40):
            of_run = rng.normal(0, 0.3, (4, ranks)) + np.maximum(2 - np.arange(ranks), 0)
            choice = choose_rank(of_run)
            scores.append((data, of_run))
            rows.append(
                {
                    "data": data,
                    "replicate": replicate,
                    "dimension": choice.rank,
                    "score_mean": choice.mean.tolist(),
                    "score_errors": choice.standard_error.tolist(),
                }
            )
    failed = [{"replicate": 90, "dimension": None}, {"data": "lost", "dimension": None}]
    others = [{"method": "MLE"}, {"method": "LWGAN (b)"}]
    found = aggregate.sensitivity(
        runs_table([*rows, *failed, *others]), ["LWGAN"], exponents=exponents, constants=constants
    )
    assert found.schema.equals(tables.SENSITIVITY, check_metadata=True)
    wanted = []
    for data, (exponent, constant) in itertools.product(("lost", "s", "wide"), itertools.product(exponents, constants)):
        of_cell = [score for name, score in scores if name == data]
        ranks = [choose_rank(score, exponent=exponent, constant=constant).rank for score in of_cell]
        own = [row["dimension"] for row in rows if row["data"] == data]
        counts = Counter(ranks)
        wanted.append(
            {
                "data": data,
                "n": 100,
                "method": "LWGAN",
                "exponent": exponent,
                "constant": constant,
                "runs": len(ranks),
                "correct": counts[2],
                "modal_dimension": min((r for r in counts if counts[r] == max(counts.values())), default=None),
                "changed": sum(a != b for a, b in zip(ranks, own, strict=True)),
            }
        )
    assert found.to_pylist() == wanted
    assert {row["changed"] for row in wanted if (row["exponent"], row["constant"]) == (0.8, 1.0)} == {0}
    assert max(row["changed"] for row in wanted) > 0


def test_ties_go_to_the_smallest_rank_and_an_unknown_truth_has_no_correct_ones():
    row = {"intrinsic_dim": None, "dimension": 2, "score_mean": [1.0, 0.5, 0.0], "score_errors": [0.1, 0.1, 0.25]}
    found = aggregate.sensitivity(runs_table([row]), ["LWGAN"], exponents=[0.5], constants=[1.0, 0.0, 2.0])
    assert found.column("modal_dimension").to_pylist() == [1, 3, 1]  # lambda 0.5: all are 1.5
    assert found.column("correct").to_pylist() == [None] * 3
    with pytest.raises(ValueError, match="other numbers"):
        aggregate.sensitivity(runs_table([row | {"score_errors": [0.1]}]), ["LWGAN"])


# Bootstrap


def refits_table(rows):
    schema = pa.schema(
        {
            "key": pa.string(),
            "kind": pa.string(),
            "resample": pa.int64(),
            "dimension": pa.int64(),
            "failure": pa.string(),
        }
    )
    return pa.Table.from_pylist(rows, schema)


def refits(key, kind, dimensions):
    return [
        {"key": key, "kind": kind, "resample": i, "dimension": d, "failure": "diverged" if d is None else None}
        for i, d in enumerate(dimensions)
    ]


BASE = [
    {"key": "a", "replicate": 0},
    {"key": "b", "replicate": 1, "dimension": 3},
    {"key": "c", "replicate": 2},
    {"key": "u", "data": "unknown", "intrinsic_dim": None, "dimension": 2},
    {"key": "none", "replicate": 3, "dimension": None},
]
REFITS = [
    *refits("b", "rows", [1, 3, 3, 3]),
    *refits("u", "parametric", [4, 4]),
    *refits("a", "parametric", [3] * 5 + [2] * 5 + [1, None]),
    *refits("b", "parametric", [3] * 9 + [2]),
    *refits("c", "parametric", [None, None]),
    *refits("gone", "parametric", [1]),
]


def test_bootstrap_by_hand():
    found = aggregate.bootstrap_table(runs_table(BASE), refits_table(REFITS), 0.8)
    assert found.schema.equals(tables.BOOTSTRAP, check_metadata=True)
    names = ("key", "kind", "dimension", "resamples", "failures", "ranks", "counts", "mode", "rank_set", "covers")
    assert [tuple(row[name] for name in names) for row in found.to_pylist()] == [
        ("a", "parametric", 2, 11, 1, [2, 3, 1], [5, 5, 1], 2, [2, 3], True),
        ("b", "parametric", 3, 10, 0, [3, 2], [9, 1], 3, [3], False),
        ("b", "rows", 3, 4, 0, [3, 1], [3, 1], 3, [1, 3], False),
        ("c", "parametric", 2, 0, 2, [], [], None, [], False),
        ("u", "parametric", 2, 2, 0, [4], [2], 4, [4], None),
    ]
    assert found.column("mode_frequency").to_pylist() == pytest.approx([5 / 11, 0.9, 0.75, None, 1.0])
    assert found.column("mass").to_pylist() == pytest.approx([10 / 11, 0.9, 1.0, None, 1.0])
    shuffled = refits_table([REFITS[i] for i in np.random.default_rng(0).permutation(len(REFITS))])
    assert found.equals(aggregate.bootstrap_table(runs_table(BASE[::-1]), shuffled, 0.8))


@pytest.mark.parametrize("mass", [0.5, 0.8, 0.95])
def test_the_rank_set_is_the_smallest_of_all_subsets(mass):
    rng = np.random.default_rng(6)
    drawn = {str(i): rng.poisson(rng.uniform(0.2, 3), 20).tolist() for i in range(40)}
    base = runs_table([{"key": key, "replicate": int(key)} for key in drawn])
    rows = itertools.chain.from_iterable(refits(key, "rows", dimensions) for key, dimensions in drawn.items())
    found = aggregate.bootstrap_table(base, refits_table(list(rows)), mass)
    for row in found.to_pylist():
        values, counts = np.unique(drawn[row["key"]], return_counts=True)
        size = next(
            size
            for size in range(1, len(values) + 1)
            if any(sum(subset) >= mass * 20 - 1e-9 for subset in itertools.combinations(counts, size))
        )
        heaviest = max(sum(subset) for subset in itertools.combinations(counts, size))
        assert sorted(row["ranks"]) == values.tolist()
        assert len(row["rank_set"]) == size
        assert row["mass"] == heaviest / 20
        assert row["mode"] == values[counts.argmax()]  # argmax is the first, the smallest value


def test_a_mass_is_a_share():
    with pytest.raises(ValueError, match="mass"):
        aggregate.bootstrap_table(runs_table(BASE), refits_table(REFITS), 1.0)


def test_coverage_counts_the_sets_that_hold_the_truth():
    bootstrap = aggregate.bootstrap_table(runs_table(BASE), refits_table(REFITS), 0.8)
    found = aggregate.coverage(bootstrap.take([3, 0, 4, 2, 1]))
    assert found.equals(aggregate.coverage(bootstrap))
    assert found.schema.equals(tables.COVERAGE, check_metadata=True)
    parametric, rows, unknown = found.to_pylist()
    assert (parametric["kind"], parametric["runs"], parametric["covers"]) == ("parametric", 3, 1)
    assert [parametric[name] for name in ENDS] == pytest.approx(list(itertools.chain(*CONFINT[1, 3])), rel=1e-12)
    assert parametric["p_covers"] == parametric["p_mode_correct"] == pytest.approx(1 / 3)
    assert parametric["mean_set_size"] == 1.5  # of the two sets that there are
    assert (rows["kind"], rows["runs"], rows["covers"], rows["mean_set_size"]) == ("rows", 1, 0, 2.0)
    assert [unknown[name] for name in ("covers", "p_covers", *ENDS, "p_mode_correct")] == [None] * 7
    assert (unknown["runs"], unknown["mean_set_size"]) == (1, 1.0)


def test_keys_and_refits_are_there_once():
    with pytest.raises(ValueError, match="key of its own"):
        aggregate.bootstrap_table(runs_table([{"key": "a"}, {"key": "a", "replicate": 1}]), refits_table(REFITS), 0.9)
    with pytest.raises(ValueError, match="two refits"):
        aggregate.bootstrap_table(runs_table(BASE), refits_table(REFITS[:2] * 2), 0.9)
