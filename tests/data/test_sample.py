import numpy as np
import pytest

from lwgan_dist.config import ArrayData, ManifoldData, TableData
from lwgan_dist.data.sample import load_sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import DataError
from lwgan_dist.seeding import generator


def rows(n=200, p=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p)) * np.arange(1, p + 1) + 5.0


@pytest.mark.parametrize("how", ["global", "per_column", "none"])
def test_standardisation_is_undone(how):
    x = rows()
    standardizer = Standardizer.fit(x, how)
    np.testing.assert_allclose(standardizer.undo(standardizer.apply(x)), x, rtol=1e-12)


def test_global_standardisation_makes_a_normal_sample_on_any_subspace_unit():
    flat = np.random.default_rng(0).normal(0, 7.0, (20_000, 2))
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    for x in (flat, np.pad(flat, ((0, 0), (0, 4))), np.pad(flat, ((0, 0), (0, 4))) @ rotation + 3.0):
        standardizer = Standardizer.fit(x, "global")
        assert standardizer.scale == pytest.approx(np.full(x.shape[1], 7.0), rel=0.02)


def test_global_standardisation_keeps_the_shape_and_per_column_does_not():
    x = rows()
    spread = {how: Standardizer.fit(x, how).apply(x).std(axis=0) for how in ("global", "per_column")}
    np.testing.assert_allclose(spread["global"] / spread["global"][0], x.std(axis=0) / x.std(axis=0)[0], rtol=1e-12)
    np.testing.assert_allclose(spread["per_column"], 1.0, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-100, 1e-3, 1e80])
@pytest.mark.parametrize("shape", [(50, 3), (5, 40)])
def test_global_standardisation_does_not_depend_on_units(scale, shape):
    x = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(
        Standardizer.fit(scale * x, "global").apply(scale * x), Standardizer.fit(x, "global").apply(x), rtol=1e-9
    )


def test_a_constant_column_stays_finite():
    x = rows()
    x[:, 1] = 3.0
    assert np.isfinite(Standardizer.fit(x, "per_column").apply(x)).all()


def test_integers_are_standardised_as_numbers():
    x = np.arange(30).reshape(10, 3)
    sample = load_sample(ArrayData(holdout_fraction=0.0), x)
    np.testing.assert_allclose(sample.standardizer.undo(sample.train), x, atol=1e-12)


def test_float32_rows_stay_float32():
    assert load_sample(ArrayData(), rows().astype(np.float32)).train.dtype == np.float32


def test_split_is_disjoint_complete_and_a_function_of_the_seed():
    x = rows(100, 2)
    sample = load_sample(ArrayData(holdout_fraction=0.2, standardize="none"), x)
    assert (len(sample.train), len(sample.holdout), sample.rows) == (80, 20, 100)
    together = {tuple(row) for row in np.concatenate([sample.train, sample.holdout])}
    assert together == {tuple(row) for row in x}
    again = load_sample(ArrayData(holdout_fraction=0.2, standardize="none"), x)
    other = load_sample(ArrayData(holdout_fraction=0.2, standardize="none", seed=1), x)
    assert np.array_equal(sample.train, again.train)
    assert not np.array_equal(sample.train, other.train)


def test_standardisation_is_fitted_on_the_training_rows_only():
    x = rows(100, 2)
    sample = load_sample(ArrayData(holdout_fraction=0.3), x)
    assert np.abs(sample.train.mean(axis=0)).max() < 1e-12
    assert np.abs(sample.holdout.mean(axis=0)).max() > 1e-3


def test_a_draw_from_a_fixed_sample_takes_every_row_as_often_as_it_can():
    sample = load_sample(ArrayData(holdout_fraction=0.0, standardize="none"), np.arange(20.0).reshape(10, 2))
    drawn = sample.draw(generator(0, "test"), 25)
    _, counts = np.unique(drawn[:, 0], return_counts=True)
    assert sorted(counts) == [2] * 5 + [3] * 5


def test_a_stream_never_repeats_a_row_and_has_no_n():
    sample = load_sample(ManifoldData(name="s_curve", rows="stream"))
    drawn = np.concatenate([sample.draw(generator(0, "test", step), 50) for step in range(4)])
    assert len(np.unique(drawn, axis=0)) == 200
    assert sample.rows is None


def test_the_digest_is_that_of_the_rows():
    x = rows()
    digest = load_sample(ArrayData(), x).digest
    assert digest == load_sample(ArrayData(seed=1, holdout_fraction=0.0), x.copy()).digest
    x[3, 1] += 1e-9
    assert digest != load_sample(ArrayData(), x).digest


def test_arrays_are_checked_like_tables():
    x = rows()
    x[4, 2] = np.nan
    with pytest.raises(DataError, match="X: column 'x3', row 5"):
        load_sample(ArrayData(), x)


def test_a_choice_of_rows_is_a_function_of_the_seed_and_not_more_than_there_are(tmp_path):
    path = str(tmp_path / "t.npy")
    np.save(path, rows(50))
    digests = [load_sample(TableData(path=path, n=10, seed=seed)).digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(DataError, match="60 rows were asked for, but there are 50"):
        load_sample(TableData(path=path, n=60))
