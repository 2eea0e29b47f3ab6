"""Distances between samples, against their definitions."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from lwgan_dist.metrics.distances import energy_distance, sliced_wasserstein


def rows(n, p, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p))


def test_energy_distance_is_its_definition():
    x, y = rows(7, 3), rows(5, 3, 1) + 1.0

    def mean(a, b, leave_out_diagonal):
        pairs = [np.linalg.norm(u - v) for i, u in enumerate(a) for j, v in enumerate(b)
                 if not (leave_out_diagonal and i == j)]  # fmt: skip
        return sum(pairs) / len(pairs)

    assert energy_distance(x, y) == pytest.approx(2 * mean(x, y, False) - mean(x, x, True) - mean(y, y, True))


def test_energy_distance_is_unbiased_at_zero():
    values = [energy_distance(rows(50, 2, seed), rows(50, 2, 1000 + seed)) for seed in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert min(values) < 0 < max(values)


def test_sliced_wasserstein_of_one_column_is_wasserstein():
    x, y = rows(40, 1), 2.0 * rows(30, 1, 1)
    expected = wasserstein_distance(x[:, 0], y[:, 0])
    assert sliced_wasserstein(x, y, np.random.default_rng(0), 3) == pytest.approx(expected)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection():
    """E |u . c| = ||c|| E |u_1|, and in the plane E |u_1| = 2 / pi."""
    x = rows(60, 2)
    told = sliced_wasserstein(x, x + np.array([3.0, 4.0]), np.random.default_rng(0), 20_000)
    assert told == pytest.approx(5.0 * 2.0 / np.pi, rel=0.02)


def test_units_are_those_of_the_columns():
    x, y = rows(30, 3), rows(30, 3, 1) + 1.0
    for distance in (energy_distance, lambda a, b: sliced_wasserstein(a, b, np.random.default_rng(0), 10)):
        assert distance(10.0 * x, 10.0 * y) == pytest.approx(10.0 * distance(x, y))


def test_rows_of_any_shape_are_seen_as_vectors():
    x, y = rows(20, 12).reshape(20, 3, 4), rows(30, 12, 1).reshape(30, 3, 4)
    assert energy_distance(x, y) == energy_distance(x.reshape(20, 12), y.reshape(30, 12))
    values = [
        sliced_wasserstein(*of, np.random.default_rng(0)) for of in ((x, y), (x.reshape(20, 12), y.reshape(30, 12)))
    ]
    assert values[0] == values[1]
