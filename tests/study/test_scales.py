"""ABIDE and Gride against DADApy, the library of their authors; principal components; the residual of Isomap."""

import numpy as np
import pytest
from tiny_study import Silent, study

from lwgan_dist.data.simulated.manifolds import s_curve, swissroll_curve
from lwgan_dist.study.classical import classical_estimate
from lwgan_dist.study.scales import GRIDE_SCALE, abide, gride, isomap_residual, principal_components

pytestmark = pytest.mark.usefixtures("blank_figures")


def rng(seed):
    return np.random.Generator(np.random.PCG64(seed))


def gauss(n, dimension, seed=0):
    return rng(seed).standard_normal((n, dimension))


def roll(n):
    u, height = rng(1).random((2, n))
    t = 1.5 * np.pi * (1 + 2 * u)
    return np.column_stack([t * np.cos(t), 20 * height, t * np.sin(t)])


def noisy_sphere(n, noise):
    generator = rng(2)
    x = generator.standard_normal((n, 3))
    padded = np.pad(x / np.linalg.norm(x, axis=1, keepdims=True), ((0, 0), (0, 3)))
    return padded + noise * generator.standard_normal(padded.shape)


SAMPLES = {
    "Gauss of 2": gauss(600, 2),
    "Gauss of 5": gauss(800, 5),
    "swiss roll": roll(1200),
    "noisy sphere": noisy_sphere(700, 0.05),
    "uneven cube": rng(3).random((500, 3)) ** 2,
    "few rows": gauss(140, 4, 4),
}

# DADApy 0.3.4 with NumPy 1.26.4 and SciPy 1.17.1, d = Data(x, maxk=min(len(x) - 1, 1000), n_jobs=1):
#   the sum of x, as a check that the sample is the same
#   d.return_ids_kstar_binomial()[0][-1]
#   d.return_ids_kstar_binomial(initial_id=(n - 1) / sum(log(r_2 / r_1)))[0][-1]: TwoNN as we begin with it, by maximum
#     likelihood, where DADApy fits a line
#   d.return_id_scaling_gride(range_max=128)[0][6], the entry for the neighbours of ranks 64 and 128
DADAPY = {
    "Gauss of 2": (-38.42392628586528, 1.9652735203348741, 1.9648914310436258, 2.0124811453376017),
    "Gauss of 5": (-60.40837727969763, 4.6962199938269285, 4.695854376113784, 4.289638815148298),
    "swiss roll": (14937.742295350112, 2.14997651350225, 2.149950363534468, 2.417003553274407),
    "noisy sphere": (-31.27155964903125, 1.947762324716213, 1.9477642373811932, 2.0826800380692294),
    "uneven cube": (501.23067588134904, 2.1006643129678335, 2.1006404812160056, 2.1458336989845514),
    "few rows": (3.275804075978332, 3.2745255254337233, 3.2775548446645537, 1.6557254089788518),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_abide_is_that_of_its_authors(name):
    rows, (total, as_it_comes, from_our_start, _) = SAMPLES[name], DADAPY[name]
    assert rows.sum() == pytest.approx(total, rel=1e-12)
    assert abide(rows) == pytest.approx(from_our_start, rel=1e-9)
    assert abide(rows) == pytest.approx(as_it_comes, rel=1e-3)


@pytest.mark.parametrize("name", SAMPLES)
def test_gride_is_that_of_its_authors(name):
    """DADApy leaves a little room in a denominator, so the last digits differ."""
    told = DADAPY[name][3]
    assert gride(SAMPLES[name]) == pytest.approx(told, rel=2e-4)
    other = gride(SAMPLES[name], GRIDE_SCALE // 2)
    assert other != pytest.approx(told, rel=1e-3)  # control: the next entry is another number


@pytest.mark.parametrize("dimension", [2, 5])
def test_both_give_the_dimension_of_a_gaussian_on_a_plane_in_many_columns(dimension):
    basis, _ = np.linalg.qr(rng(9).standard_normal((8, 8)))
    rows = gauss(1500, dimension, seed=5) @ basis[:dimension]
    assert abide(rows) == pytest.approx(dimension, abs=0.4)  # that of 5 is some 6 % low, at DADApy too
    assert gride(rows, 4) == pytest.approx(dimension, abs=0.4)


def test_abide_looks_past_noise_by_which_the_nearest_neighbours_are_misled():
    rows = SAMPLES["noisy sphere"]
    assert abide(rows) == pytest.approx(2, abs=0.2)
    assert gride(rows, 1) > 3.5  # control: the first two neighbours see the noise


@pytest.mark.parametrize("estimate", [abide, gride])
@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60, 1000.0])
def test_the_unit_does_not_matter(estimate, unit):
    rows = SAMPLES["few rows"]
    assert estimate(unit * rows) == pytest.approx(estimate(rows), rel=1e-6)


def test_gride_refuses_rows_without_so_many_neighbours():
    rows = gauss(2 * GRIDE_SCALE + 1, 2)
    assert np.isfinite(gride(rows))
    with pytest.raises(ValueError, match="needs more than 128 rows"):
        gride(rows[:-1])
    assert np.isfinite(gride(rows[:-1], GRIDE_SCALE // 2))


@pytest.mark.parametrize(("name", "rows"), [("ABIDE", 3), ("Gride", 128), ("PCA+ABIDE", 2)])
def test_too_few_rows_are_a_failure_of_the_estimate(name, rows):
    pytest.importorskip("skdim")
    estimate = classical_estimate(name, gauss(rows, 3), seed=0)
    assert estimate.dimension is None
    assert estimate.failure


@pytest.mark.parametrize("rows", range(4, 30))
def test_a_handful_of_rows_is_an_estimate_or_a_failure(rows):
    pytest.importorskip("skdim")
    estimate = classical_estimate("ABIDE", gauss(rows, 3), seed=0)
    assert (estimate.dimension is None) == (estimate.failure is not None)


def test_a_study_keeps_the_failure_and_goes_on(tmp_path):
    """Of 130 rows Gride sees enough, of 60 it does not; TwoNN is content with both."""
    pytest.importorskip("skdim")
    classical = {"estimators": ["Gride", "TwoNN"], "replicates": 2}
    data, lwgan = [{"name": "s_curve", "holdout_fraction": 0}], {"replicates": 0}
    tables = study(tmp_path / "study", classical=classical, data=data, lwgan=lwgan, sizes=[60, 130]).execute(Silent())
    failed = {(row["method"], row["n"], row["failure"] is not None) for row in tables.tables.runs.to_pylist()}
    assert failed == {("Gride", 60, True), ("Gride", 130, False), ("TwoNN", 60, False), ("TwoNN", 130, False)}


def test_principal_components_hold_95_per_cent_of_the_variance_and_no_more_than_needed():
    spread = np.array([10.0, 5.0, 3.0, 2.0, 1.0, 0.5])
    basis, _ = np.linalg.qr(rng(1).standard_normal((6, 6)))
    rows = (gauss(400, 6) * spread) @ basis + 7.0
    found = principal_components(rows)
    total = rows.var(axis=0).sum()
    assert found.var(axis=0).sum() >= 0.95 * total
    assert found[:, :-1].var(axis=0).sum() < 0.95 * total
    assert found.shape[1] == 3
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(np.corrcoef(found.T), np.eye(3), atol=1e-10)
    assert principal_components(rows, 0.5).shape[1] == 1


def test_distances_within_a_plane_survive_principal_components():
    rows = np.pad(gauss(100, 2), ((0, 0), (0, 5)))
    found = principal_components(rows)
    assert found.shape == (100, 2)
    for one, other in ((0, 1), (5, 50)):
        distance = np.linalg.norm(found[one] - found[other])
        assert distance == pytest.approx(np.linalg.norm(rows[one] - rows[other]))


def test_the_estimate_after_principal_components_is_of_them():
    pytest.importorskip("skdim")
    rows = np.hstack([gauss(500, 2), 0.05 * gauss(500, 10, seed=8)])
    after = classical_estimate("PCA+TwoNN", rows, seed=0)
    assert after.dimension == 2
    assert classical_estimate("TwoNN", rows, seed=0).value > 3  # control: the small columns mislead it
    line = np.pad(gauss(200, 1), ((0, 0), (0, 3)))
    assert classical_estimate("PCA+ABIDE", line, seed=0).dimension == 1  # one component, to which a second is added


@pytest.mark.parametrize(("draw", "dimension"), [(swissroll_curve, 1), (s_curve, 2)])
def test_isomap_by_itself_unrolls_a_spiral_and_an_s_curve(draw, dimension):
    rows = draw(rng(0), 600, 0)
    assert isomap_residual(rows, np.arange(0, 600, 2)) == dimension


def test_isomap_by_itself_sees_two_dimensions_in_a_circle():
    """Why it is a control: nothing is torn."""
    angles = 2 * np.pi * rng(0).random(300)
    assert isomap_residual(np.column_stack([np.cos(angles), np.sin(angles)]), np.arange(300)) == 2
