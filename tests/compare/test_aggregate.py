"""Means, paired differences and slopes against what one computes by hand."""

import math

import numpy as np
import pyarrow as pa
import pytest

from lwgan_dist.compare.aggregate import comparison_table, mean_estimate, rates_table, slope_estimate
from lwgan_dist.compare.tables import runs_schema

SCHEMA = runs_schema(["reconstruction"])
T3, T1 = 3.182446305284263, 12.706204736432095
"""Quantiles of Student's distribution at .975, from a printed table, for 3 and 1 degrees of freedom."""


def runs(values, **common):
    """A table of runs with a reconstruction error by model and replicate."""
    rows = [
        {"data": "d", "n": 10, "model": model, "replicate": i, "reconstruction": value, **common}
        for model, each in values.items()
        for i, value in enumerate(each)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_a_mean_and_its_interval():
    mean, low, high = mean_estimate([1.0, 2.0, 3.0, 6.0])
    half = T3 * math.sqrt((4 + 1 + 0 + 9) / 3) / 2
    assert (mean, low, high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert mean_estimate([2.0]) == (2.0, None, None)
    assert mean_estimate([]) == (None, None, None)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(1.0, 2.0, (2_000, 5))
    held = np.mean([low <= 1.0 <= high for _, low, high in map(mean_estimate, draws)])
    assert held == pytest.approx(0.95, abs=0.015)  # three standard errors


def test_differences_are_paired_by_replicate():
    """The models differ by about 1 on every replicate, while replicates differ by tens."""
    table = comparison_table(runs({"a": [10.0, 30.0], "b": [11.0, 31.5], "c": [12.0, None]}), "a").to_pylist()
    a, b, c = (row for row in table if row["metric"] == "reconstruction")
    assert (a["pairs"], a["difference"], a["mean"]) == (0, None, 20.0)
    assert (b["pairs"], b["difference"]) == (2, 1.25)
    half = T1 * math.sqrt(2 * 0.25**2) / math.sqrt(2)
    assert (b["difference_low"], b["difference_high"]) == pytest.approx((1.25 - half, 1.25 + half))
    assert (c["runs"], c["pairs"], c["difference"], c["difference_low"]) == (1, 1, 2.0, None)
    (other,) = (row for row in comparison_table(runs({"a": [1.0], "b": [3.0]}), "b").to_pylist() if row["pairs"])
    assert (other["model"], other["difference"], other["reference"]) == ("a", -2.0, "b")


def test_the_floor_is_that_of_the_data_and_metrics_without_values_are_left_out():
    table = comparison_table(runs({"a": [1.0, 2.0], "b": [3.0, 4.0]}, reconstruction_floor=0.5), "a").to_pylist()
    assert {row["metric"] for row in table} == {"reconstruction"}
    assert [row["floor"] for row in table] == [0.5, 0.5]
    assert comparison_table(runs({"a": [1.0]}), "a")["floor"].to_pylist() == [None]


def test_a_slope_and_its_interval():
    x, y = [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0, 6.0, 9.0]  # deviations from 2.2 x - 0.2: .2 0 -.2 -.4 .4
    slope, low, high = slope_estimate(x, y)
    half = T3 * math.sqrt((0.04 + 0 + 0.04 + 0.16 + 0.16) / 3 / 10)
    assert (slope, low, high) == pytest.approx((2.2, 2.2 - half, 2.2 + half))


def fresh(excess, floor=0.1):
    """Runs of one model whose sliced distance is so far above the floor, by n."""
    rows = [
        {"data": "d", "n": n, "model": "m", "replicate": i, "fresh_sliced_wasserstein": floor + value,
         "fresh_sliced_wasserstein_floor": floor}
        for n, values in excess.items()
        for i, value in enumerate(values)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_a_rate_is_that_of_the_distance_above_its_floor():
    (rate,) = rates_table(fresh({n: [2 * n**-0.5, 3 * n**-0.5] for n in (100, 400, 1600)})).to_pylist()
    assert rate["slope"] == pytest.approx(-0.5)
    assert (rate["sizes"], rate["points"], rate["metric"]) == ([100, 400, 1600], 6, "fresh_sliced_wasserstein")
    assert rate["slope_low"] < -0.5 < rate["slope_high"]
    assert rate["last"] == pytest.approx(2.5 / 40)


def test_a_size_with_a_replicate_at_the_floor_says_nothing_about_the_rate():
    excess = {100: [0.2, 0.3], 400: [0.1, 0.15], 1600: [0.05, -0.001]}
    (rate,) = rates_table(fresh(excess)).to_pylist()
    assert (rate["sizes"], rate["slope"], rate["slope_low"]) == ([100, 400], None, None)
    assert rates_table(fresh({100: [0.2, 0.3]})).num_rows == 0
