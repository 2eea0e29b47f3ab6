import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_limits

from lwgan_dist.config import ArrayData, ManifoldData, TableData
from lwgan_dist.data.sample import load_sample
from lwgan_dist.data.standardize import Picked, Standardizer
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
    train = load_sample(ArrayData(), rows().astype(np.float32)).train
    assert train.dtype == train[:].dtype == np.float32


def whole(x, how):
    """Shift and scale from a copy of all rows, as NumPy computes them at once."""
    x = x.reshape(len(x), -1).astype(np.float32 if x.dtype.kind == "f" and x.dtype.itemsize <= 4 else np.float64)
    shift = x.mean(axis=0, dtype=np.float64)
    if how == "per_column":
        return x, shift, x.std(axis=0, dtype=np.float64)
    centred = x.astype(np.float64) - shift
    largest = np.abs(centred).max()
    centred /= largest
    with threadpool_limits(1):
        gram = centred.T @ centred if x.shape[1] <= len(x) else centred @ centred.T
    return x, shift, np.full(x.shape[1], largest * np.sqrt(np.square(gram).sum() / np.trace(gram) / len(x)))


@pytest.mark.parametrize("how", ["global", "per_column"])
@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("shape", [(300, 3), (20_000, 1), (20, 50), (60, 4, 5), (30, 2, 3, 4)])
def test_blocks_give_the_numbers_that_a_copy_of_all_rows_gives(monkeypatch, how, dtype, shape):
    """Bit by bit, whatever the type: the trajectory of a run depends on every one."""
    monkeypatch.setattr("lwgan_dist.data.blocks.BLOCK_ELEMENTS", 64)
    x = (np.random.default_rng(0).normal(size=shape) * 40 + 100).astype(dtype) * (2**45 if dtype == "i8" else 1)
    table, shift, scale = whole(x, how)
    standardizer = Standardizer.fit(x, how)
    assert standardizer.shift.shape == standardizer.scale.shape == shape[1:]
    np.testing.assert_array_equal(standardizer.shift.ravel(), shift)
    np.testing.assert_array_equal(standardizer.scale.ravel(), scale)
    expected = ((table - shift) / scale).astype(table.dtype)
    applied = standardizer.apply(x)
    assert applied.dtype == table.dtype
    np.testing.assert_array_equal(applied, expected.reshape(shape))
    picks = np.arange(1, len(x), 2)
    read = Picked(x, picks, standardizer)
    assert (read.shape, read.dtype) == ((len(picks), *shape[1:]), applied.dtype)
    for key in (slice(2, 9), np.array([4, 0, 4]), np.arange(len(picks)) % 3 == 0):
        np.testing.assert_array_equal(read[key], applied[picks][key])
    np.testing.assert_array_equal(np.asarray(read), applied[picks])


def test_the_scale_of_many_images_comes_from_fewer_of_them(monkeypatch):
    x = np.random.default_rng(0).normal(size=(4_000, 4, 6)) * np.arange(1, 7)
    every = Standardizer.fit(x, "global").scale
    monkeypatch.setattr("lwgan_dist.data.standardize._NUMBERS_FOR_SCALE", x.size // 4)
    np.testing.assert_allclose(Standardizer.fit(x, "global").scale, every, rtol=0.03)
    assert not np.array_equal(Standardizer.fit(x, "global").scale, every)
    np.testing.assert_array_equal(Standardizer.fit(x.reshape(4_000, 24), "global").scale, every.ravel())


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_images_keep_type_and_shape_and_are_standardised_where_they_are_read(tmp_path, suffix):
    images = np.random.default_rng(0).integers(0, 255, (50, 3, 4), dtype=np.uint8)
    path = tmp_path / f"t{suffix}"
    if suffix == ".npy":
        np.save(path, images)
    else:
        pq.write_table(pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(images)}), path)
    sample = load_sample(TableData(path=str(path), holdout_fraction=0.2))
    assert (sample.shape, sample.ambient_dim, sample.rows) == ((3, 4), 12, 50)
    assert (sample.train.shape, sample.holdout.shape) == ((40, 3, 4), (10, 3, 4))
    drawn = sample.draw(generator(0, "test"), 70)
    assert (drawn.shape, drawn.dtype) == ((70, 3, 4), np.float64)
    read = np.concatenate([sample.train, sample.holdout])
    back = np.rint(sample.standardizer.undo(read)).astype(np.uint8)
    assert {image.tobytes() for image in back} == {image.tobytes() for image in images}
    table = load_sample(ArrayData(holdout_fraction=0.2), images.reshape(50, 12).astype(np.float64))
    assert table.digest != sample.digest, "their results have other shapes"
    np.testing.assert_array_equal(table.train, sample.train[:].reshape(40, 12))


@pytest.mark.parametrize("dtype", [np.float16, object])
def test_arrays_in_memory_of_other_types_become_float64(dtype):
    x = rows().astype(np.float16).astype(dtype)
    sample = load_sample(ArrayData(), x)
    assert sample.train.dtype == np.float64
    assert sample.digest == load_sample(ArrayData(), x.astype(np.float64)).digest


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
    assert np.abs(sample.train[:].mean(axis=0)).max() < 1e-12
    assert np.abs(sample.holdout[:].mean(axis=0)).max() > 1e-3


def test_a_draw_from_a_fixed_sample_takes_every_row_as_often_as_it_can():
    sample = load_sample(ArrayData(holdout_fraction=0.0, standardize="none"), np.arange(20.0).reshape(10, 2))
    drawn = sample.draw(generator(0, "test"), 25)
    _, counts = np.unique(drawn[:, 0], return_counts=True)
    assert sorted(counts) == [2] * 5 + [3] * 5


@pytest.mark.parametrize("part", [slice(3, 9), np.array([0, 24, 7]), slice(0)])
@pytest.mark.parametrize("rows_are", ["fixed", "stream"])
def test_a_part_of_a_draw_is_that_part_and_other_rows_are_not_read(part, rows_are, monkeypatch):
    sample = load_sample(ManifoldData(name="s_curve", n=20, rows=rows_are, holdout_fraction=0.5))
    whole = sample.draw(generator(0, "test"), 25)
    read, apply = [], Standardizer.apply
    monkeypatch.setattr(Standardizer, "apply", lambda self, rows: apply(self, read.append(len(rows)) or rows))
    np.testing.assert_array_equal(sample.draw(generator(0, "test"), 25, part=part), whole[part])
    assert read == [25 if rows_are == "stream" else len(whole[part])]


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
