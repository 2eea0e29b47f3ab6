import contextlib
import dataclasses
import math
import sys
import time
import warnings

import joblib
import numpy as np
import pytest

from lwgan_dist.errors import ConfigError
from lwgan_dist.study import classical
from lwgan_dist.study.classical import ESTIMATORS, classical_estimate

pytest.importorskip("skdim", reason="needs the extra 'classical'")

NAMES = sorted(ESTIMATORS)


def hyperplane(n, dimension=4, columns=6, seed=0):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    return rng.normal(size=(n, dimension)) @ basis[:dimension]


def circle(n, noise=0.0, columns=3, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    rows = np.zeros((n, columns))
    rows[:, 0], rows[:, 1] = np.cos(angle), np.sin(angle)
    return rows + noise * rng.normal(size=rows.shape)


@contextlib.contextmanager
def registered(monkeypatch, fit, name="Fake", **flags):
    entry = classical.ClassicalEstimator("a fake", lambda skdim_id, rows, seed: fit(rows), **flags)
    with monkeypatch.context() as patch:
        patch.setattr(classical, "ESTIMATORS", {**ESTIMATORS, name: entry})
        yield


def same(one, other):
    """Equal but for the time that they took."""
    fields = [dataclasses.replace(estimate, cpu_seconds=0.0, value=0.0) for estimate in (one, other)]
    return fields[0] == fields[1] and np.array_equal(one.value, other.value, equal_nan=True)


# known answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_dimension_of_a_gaussian_on_a_hyperplane(name):
    estimate = classical_estimate(name, hyperplane(500), seed=1)
    assert estimate.failure is None
    if name == "KNN":
        assert estimate.dimension in (3, 4)
    else:
        assert estimate.value == pytest.approx(4, abs=0.6)
        assert estimate.dimension == math.floor(estimate.value + 0.5)
    assert 0 < estimate.cpu_seconds < 30


@pytest.mark.parametrize("name", NAMES)
def test_dimension_of_a_circle(name):
    estimate = classical_estimate(name, circle(400), seed=1)
    expected = 2 if name in ("PCA", "FisherS", "Isomap") else 1  # these measure what a manifold, or its chart, spans
    assert (estimate.dimension, estimate.failure) == (expected, None)


@pytest.mark.parametrize("name", ["TwoNN", "MLE"])
def test_noise_raises_what_looks_at_the_nearest_neighbours(name):
    values = [classical_estimate(name, circle(400, noise), seed=0).value for noise in (0.0, 0.005, 0.2)]
    assert values[0] < values[1] < values[2]
    assert values[2] > 1.6


@pytest.mark.parametrize("name", NAMES)
def test_neither_the_unit_nor_the_origin_matters(name):
    rows = circle(150, noise=0.01)
    plain = classical_estimate(name, rows, seed=2)
    for changed in (rows * 1e160, rows * 1e-160, rows + 1e6):
        assert classical_estimate(name, changed, seed=2).value == pytest.approx(plain.value, rel=1e-4)


def test_mle_averages_the_inverses():
    rows = hyperplane(200)
    distances = np.sort(np.linalg.norm(rows[:, None] - rows, axis=2), axis=1)[:, 1:21]
    inverses = np.log(distances[:, -1:] / distances).sum(axis=1) / 19
    assert classical_estimate("MLE", rows, seed=0).value == pytest.approx(1 / inverses.mean())


# purity ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_is_a_function_of_rows_and_seed(name):
    rows = hyperplane(120, dimension=2, columns=4)
    kept = rows.copy()
    rows.setflags(write=False)
    np.random.seed(5)
    state, filters, stdout = np.random.get_state(), list(warnings.filters), sys.stdout
    first = classical_estimate(name, rows, seed=3)
    assert repr(np.random.get_state()) == repr(state)
    assert (warnings.filters, sys.stdout) == (filters, stdout)
    np.random.seed(6)
    assert same(first, classical_estimate(name, kept, seed=3))
    assert np.array_equal(rows, kept)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_random_estimators_depend_on_the_seed(name):
    rows = hyperplane(60, dimension=3, columns=5)
    if name == "Isomap":  # draws 800 rows; here it depends on them whether the third column counts
        rows = np.random.default_rng(0).normal(size=(1600, 3)) * [1.0, 0.6, 0.22]
    if name == "Start":  # draws 1,500 rows, likewise
        rows = np.random.default_rng(0).normal(size=(1600, 3)) * [1.0, 0.6, 0.13]
    values = {classical_estimate(name, rows, seed).value for seed in (-1, 0, 1, 2, 2**70, 7, 8, 9)}
    assert (len(values) > 1) == ESTIMATORS[name].random


# isolation ------------------------------------------------------------------------------------------------------------


def not_finite(value):
    rows = hyperplane(150)
    rows[7, 2] = value
    return rows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        pytest.param(np.full((40, 3), 0.1), "all rows are equal", id="constant"),
        pytest.param(np.zeros((40, 3)), "all rows are equal", id="zero"),
        pytest.param(not_finite(np.nan), "the rows are not finite", id="nan"),
        pytest.param(not_finite(np.inf), "the rows are not finite", id="inf"),
        pytest.param(np.zeros((0, 3)), "must have shape", id="empty"),
        pytest.param(np.zeros(5), "must have shape", id="vector"),
        pytest.param(hyperplane(1), "all rows are equal", id="one row"),
        pytest.param(np.array([["a", "b"], ["c", "d"]]), "could not convert", id="text"),
        pytest.param(np.arange(40.0)[:, None], "at least 2 columns", id="one column"),
    ],
)
def test_rows_without_a_dimension_are_a_failure(name, rows, reason):
    estimate = classical_estimate(name, rows, seed=0)
    assert estimate.dimension is None
    assert estimate.failure.startswith("ValueError: ")
    assert reason in estimate.failure
    assert math.isnan(estimate.value)


@pytest.mark.parametrize("name", NAMES)
def test_three_rows_are_an_estimate_or_a_failure(name):
    estimate = classical_estimate(name, hyperplane(3), seed=0)
    assert (estimate.dimension is None) == (estimate.failure is not None)
    if name not in ("TwoNN", "PCA", "PCA+TwoNN"):  # they take three rows for a sample
        assert estimate.failure


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("distinct", [3, 30, 149], ids=["mostly", "many", "one"])
def test_equal_rows_are_an_estimate_or_a_failure(name, distinct):
    rows = hyperplane(distinct, dimension=2, columns=4)
    estimate = classical_estimate(name, np.resize(rows, (150, 4)), seed=0)
    assert (estimate.dimension is None) == (estimate.failure is not None)
    if ESTIMATORS[name].distinct:
        assert estimate.failure == "ValueError: some rows are equal"
    if distinct == 149 and name == "TwoNN":
        assert estimate.failure.startswith("UserWarning: Dropping 2 points")
        assert estimate.value == pytest.approx(2, abs=0.6)


def test_fewer_neighbours_than_asked_for_are_a_failure():
    assert classical_estimate("MOM", hyperplane(100), seed=0).failure.startswith("UserWarning: n_neighbors >= len(X)")
    assert classical_estimate("MOM", hyperplane(101), seed=0).failure is None


def test_a_straight_line_is_a_failure_of_danco():
    rows = hyperplane(100, dimension=1)  # cosines are rounded below -1
    assert classical_estimate("DANCo", rows, seed=0).failure == "ValueError: the estimate is nan"
    assert classical_estimate("TwoNN", rows, seed=0).dimension == 1


@pytest.mark.parametrize(
    ("value", "dimension", "failure"),
    [
        (0.2, 1, None),
        (1.4999, 1, None),
        (1.5, 2, None),
        (2.5, 3, None),
        (np.float64(7.0), 7, None),
        (0.0, None, "ValueError: the estimate is 0.0, not positive"),
        (-2.0, None, "ValueError: the estimate is -2.0, not positive"),
        (np.nan, None, "ValueError: the estimate is nan"),
        (np.inf, None, "ValueError: the estimate is inf"),
    ],
)
def test_values_round_half_up_to_a_dimension(monkeypatch, value, dimension, failure):
    with registered(monkeypatch, lambda rows: value):
        estimate = classical_estimate("Fake", hyperplane(5), seed=0)
    assert (estimate.dimension, estimate.failure) == (dimension, failure)
    assert np.array_equal(estimate.value, value, equal_nan=True)


def test_an_exception_is_recorded_with_type_message_and_time(monkeypatch):
    def fail(rows):
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        raise np.linalg.LinAlgError("did not\n  converge " + "x" * 300)

    with registered(monkeypatch, fail):
        estimate = classical_estimate("Fake", hyperplane(5), seed=0)
    assert estimate.failure.startswith("LinAlgError: did not converge xxx")
    assert len(estimate.failure) < 220
    assert estimate.cpu_seconds >= 0.02


@pytest.mark.parametrize(
    ("category", "recorded"),
    [(UserWarning, True), (RuntimeWarning, True), (DeprecationWarning, False), (FutureWarning, False)],
)
def test_warnings_about_the_sample_are_recorded(monkeypatch, category, recorded):
    def warn(rows):
        for _ in range(3):
            warnings.warn("take care", category, stacklevel=1)
        return 2.0

    with registered(monkeypatch, warn):
        estimate = classical_estimate("Fake", hyperplane(5), seed=0)
    assert estimate.failure == (f"{category.__name__}: take care" if recorded else None)
    assert estimate.value == 2.0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_interruptions_and_lack_of_memory_pass(monkeypatch, error):
    def fail(rows):
        raise error

    with registered(monkeypatch, fail), pytest.raises(error):
        classical_estimate("Fake", hyperplane(5), seed=0)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_printed_and_one_thread_works(name, monkeypatch, capfd):
    def refuse(*arguments, **options):
        raise AssertionError("a pool was started")

    for backend in ("ThreadingBackend", "LokyBackend", "MultiprocessingBackend"):
        monkeypatch.setattr(f"joblib._parallel_backends.{backend}.configure", refuse)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        classical_estimate(name, np.resize(hyperplane(30), (150, 6)), seed=0)
        assert classical_estimate(name, hyperplane(150), seed=0).failure is None
    assert capfd.readouterr() == ("", "")


# registry -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("twonn", r"no classical estimator 'twonn' \(did you mean TwoNN\?\); there are TwoNN, MLE"),
        ("MiND_ML", "did you mean MiND"),
        ("Danko", "did you mean DANCo"),
        ("xyzzy", "no classical estimator 'xyzzy'; there are"),
    ],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        classical_estimate(name, hyperplane(5), seed=0)


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    classical._library.cache_clear()
    monkeypatch.setitem(sys.modules, "skdim.id", None)
    with pytest.raises(ConfigError, match=r"pip install 'lwgan-dist\[classical\]'"):
        classical_estimate("TwoNN", hyperplane(5), seed=0)


def test_estimators_of_our_own_need_no_scikit_dimension(monkeypatch):
    def missing():
        raise ConfigError("classical estimators need scikit-dimension")

    monkeypatch.setattr(classical, "_library", missing)
    classical.require(classical.OURS)
    for name in classical.OURS:
        assert classical_estimate(name, hyperplane(300), 0).failure is None
    with pytest.raises(ConfigError, match="need scikit-dimension"):
        classical.require(["ABIDE", "TwoNN"])
