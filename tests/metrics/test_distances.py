"""Distances between samples, against their definitions."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from lwgan_dist.metrics.distances import (
    MMD_SCALES,
    density_and_coverage,
    energy_distance,
    frechet,
    inception_score,
    mmd_squared,
    nearest_neighbour_accuracy,
    sliced_wasserstein,
    wasserstein,
)


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


def three(x, y):
    """Distances within both samples and between them."""
    return cdist(x, x), cdist(y, y), cdist(x, y)


def is_mean(values, expected):
    """Whether values of independent seeds have this mean, within four standard errors."""
    return abs(np.mean(values) - expected) < 4 * np.std(values, ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("order", [1, 2])
def test_exact_wasserstein_of_a_shift_is_its_length(order):
    x = rows(50, 4)
    y = np.random.default_rng(1).permutation(x) + np.array([2.0, 0.0, -1.0, 2.0])
    assert wasserstein(cdist(x, y), order) == pytest.approx(3.0)


def test_exact_wasserstein_in_one_column_pairs_in_order():
    x, y = rows(60, 1), 3.0 * rows(60, 1, 1) + 1.0
    between = cdist(x, y)
    assert wasserstein(between, 1) == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0]))
    in_order = np.sort(x[:, 0]) - np.sort(y[:, 0])
    assert wasserstein(between, 2) == pytest.approx(np.sqrt(np.square(in_order).mean()))


def test_exact_wasserstein_nears_that_of_normal_distributions():
    """W_2(N(0, 1), N(1, 4)) is the root of (1 - 0)^2 + (2 - 1)^2."""
    values = [wasserstein(cdist(rows(300, 1, seed), 2 * rows(300, 1, 99 + seed) + 1), 2) for seed in range(10)]
    assert np.mean(values) == pytest.approx(np.sqrt(2.0), rel=0.05)


def test_mmd_is_its_definition():
    x, y = rows(6, 2), rows(4, 2, 1) + 1.0
    mean_square = np.mean([np.sum((a - b) ** 2) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])

    def kernel(a, b):
        constants = [scale * mean_square for scale in MMD_SCALES]
        return np.mean([c / (c + np.sum((a - b) ** 2)) for c in constants])

    def within(z):
        return np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j])

    expected = within(x) + within(y) - 2 * np.mean([kernel(a, b) for a in x for b in y])
    assert mmd_squared(*three(x, y)) == pytest.approx(expected)


def test_mmd_is_unbiased_at_zero_and_grows_with_a_shift():
    values = [mmd_squared(*three(rows(40, 2, seed), rows(40, 2, 1000 + seed))) for seed in range(200)]
    assert is_mean(values, 0.0)
    assert min(values) < 0 < max(values)
    near, far = (mmd_squared(*three(rows(40, 2), rows(40, 2, 1) + shift)) for shift in (1.0, 1e6))
    assert max(values) < near < far < 2.0


def test_density_and_coverage_have_their_means_under_equal_distributions():
    """Coverage: 1 - (n - 1) .. (n - k) / ((2 n - 1) .. (2 n - k)), lemma 2 of Naeem et al."""
    n, k = 60, 5
    pairs = [(rows(n, 2, seed), rows(n, 2, 1000 + seed)) for seed in range(200)]
    values = np.array([density_and_coverage(cdist(x, x), cdist(x, y), k) for x, y in pairs])
    missed = np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert is_mean(values[:, 0], 1.0)
    assert is_mean(values[:, 1], 1.0 - missed)


def test_density_and_coverage_of_the_same_and_of_disjoint_samples():
    x = rows(30, 3)
    density, coverage = density_and_coverage(cdist(x, x), cdist(x, x), 5)
    assert coverage == 1.0
    assert density == pytest.approx((30 * 6) / (5 * 30)), "every ball holds its centre and five neighbours"
    assert density_and_coverage(cdist(x, x), cdist(x, x + 100.0)) == (0.0, 0.0)
    assert density_and_coverage(cdist(x, x), cdist(x, x[:1].repeat(30, axis=0)))[1] < 0.5


def test_nearest_neighbours_tell_nothing_of_equal_distributions():
    """The nearest of 2 n - 1 other rows is of the same sample with probability (n - 1) / (2 n - 1)."""
    values = [nearest_neighbour_accuracy(*three(rows(40, 2, seed), rows(40, 2, 500 + seed))) for seed in range(200)]
    assert is_mean(values, 39 / 79)


def test_nearest_neighbours_tell_disjoint_samples_apart_and_are_misled_by_copies():
    x = rows(30, 3)
    assert nearest_neighbour_accuracy(*three(x, x + 100.0)) == 1.0
    assert nearest_neighbour_accuracy(*three(x, x)) == 0.0
    assert nearest_neighbour_accuracy(*three(np.zeros((9, 2)), np.zeros((9, 2)))) == 0.5


def with_moments(n, mean, covariance, seed=0):
    """A sample whose own mean and covariance are these."""
    z = rows(n, len(mean), seed)
    z -= z.mean(axis=0)
    z = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T))).T
    return z @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_known_moments_is_the_closed_form():
    a, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    x, y = with_moments(40, np.zeros(2), a), with_moments(25, np.array([1.0, -2.0]), b, 1)
    expected = 5.0 + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(x, y) == pytest.approx(expected)
    assert frechet(x, x + 3.0) == pytest.approx(18.0)


def test_frechet_distance_of_few_rows_in_many_columns():
    x, y = rows(5, 8), 2.0 * rows(6, 8, 1)
    values = np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T)).astype(complex)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(np.cov(x.T) + np.cov(y.T))
    expected -= 2 * np.sqrt(values).real.sum()
    assert frechet(x, y) == pytest.approx(expected, rel=1e-5)


def test_inception_score_is_the_number_of_classes_that_are_told_apart():
    assert inception_score(np.zeros((10, 7))) == pytest.approx(1.0)
    assert inception_score(1e3 * np.eye(7).repeat(3, axis=0)) == pytest.approx(7.0)
    assert inception_score(1e3 * np.eye(7)[:2].repeat(3, axis=0)) == pytest.approx(2.0)
