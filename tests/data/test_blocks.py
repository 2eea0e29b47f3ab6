"""Rows read block by block are the rows, and have the identity of the table that they were copied to before."""

import gc
import hashlib
import os

import numpy as np
import pytest

from lwgan_dist.data import blocks as module
from lwgan_dist.data.blocks import blocks, chosen, digest, flat, mapped, precision_of, take

IMAGES = np.random.default_rng(0).integers(0, 255, (23, 3, 4), dtype=np.uint8)


@pytest.fixture(params=[7, 12, 100, 1 << 20])
def elements(request, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", request.param)
    return request.param


def test_blocks_are_all_rows_in_their_order_and_bounded(elements):
    parts = list(blocks(IMAGES))
    np.testing.assert_array_equal(np.concatenate([block for _, block in parts]), IMAGES)
    assert [start for start, _ in parts] == np.cumsum([0, *(len(block) for _, block in parts)])[:-1].tolist()
    assert all(block.size <= elements or len(block) == 1 for _, block in parts)


@pytest.mark.parametrize("dtype", ["u1", "i8", "?", "f2", "f4", ">f4", "f8", ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_digest_is_that_of_shape_and_numbers_in_the_precision_of_the_statistics(elements, dtype, order):
    rows = np.asarray(IMAGES, dtype, order)
    wide = np.float32 if dtype in ("f2", "f4", ">f4") else np.float64
    numbers = np.ascontiguousarray(rows, wide)
    expected = hashlib.sha256(f"{rows.shape}{numbers.dtype}".encode() + numbers.tobytes()).hexdigest()
    assert digest(rows) == expected != digest(flat(rows))
    assert precision_of(rows.dtype) == wide
    changed = rows.copy()
    changed[-1, -1, -1] = not rows[-1, -1, -1]
    assert digest(changed) != expected


def test_no_rows_have_no_blocks_and_are_flat_of_the_same_width():
    assert list(blocks(IMAGES[:0])) == []
    assert flat(IMAGES[:0]).shape == (0, 12)


def test_rows_of_a_mapped_file_are_taken_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAPPED_ROWS", 4)
    np.save(tmp_path / "t.npy", IMAGES)
    mapped = np.asarray(np.load(tmp_path / "t.npy", mmap_mode="r"))
    picks = np.array([22, 3, 3, 0, 7, 1, 21])
    for some in (picks, picks[:4], picks[:0]):
        np.testing.assert_array_equal(take(mapped, some), IMAGES[some])
        np.testing.assert_array_equal(take(IMAGES, some), IMAGES[some])


@pytest.mark.parametrize("dtype", ["u1", "?", ">i4", "f8"])
@pytest.mark.parametrize("start", [0, 5, 5000])
def test_whole_rows_are_read_from_where_they_lie_in_their_file(tmp_path, monkeypatch, dtype, start):
    monkeypatch.setattr(module, "release", None)  # of no page: none was brought into memory
    rows = IMAGES.astype(dtype)
    (tmp_path / "x").write_bytes(b"-" * start + rows.tobytes())
    with (tmp_path / "x").open("rb") as file:
        array = mapped(file, rows.dtype, rows.shape, start)
    picks = np.array([22, 3, 3, 0, 7, 1, 21])
    np.testing.assert_array_equal(take(array, picks), rows[picks])
    np.testing.assert_array_equal(take(array[2:], picks[1:6]), rows[2:][picks[1:6]])
    np.testing.assert_array_equal(take(array[::3], picks[3:6]), rows[::3][picks[3:6]])
    np.testing.assert_array_equal(take(flat(array), picks), flat(rows)[picks])
    np.testing.assert_array_equal(chosen(array, picks), rows[picks])
    assert take(array, picks).dtype == rows.dtype
    assert take(array, picks[:0]).shape == (0, 3, 4)
    for outside in (-1, 5):
        with pytest.raises(IndexError):
            take(array[:5], np.array([0, outside]))


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_in_pieces_are_taken_through_the_mapping(tmp_path, order):
    (tmp_path / "x").write_bytes(IMAGES.tobytes(order))
    with (tmp_path / "x").open("rb") as file:
        array = mapped(file, IMAGES.dtype, IMAGES.shape, order=order)
    picks = np.array([22, 3, 3, 0])
    np.testing.assert_array_equal(take(array, picks), IMAGES[picks])
    np.testing.assert_array_equal(take(np.moveaxis(array, 2, 1), picks), np.moveaxis(IMAGES, 2, 1)[picks])
    np.testing.assert_array_equal(take(array[:, :, 1:], picks), IMAGES[picks, :, 1:])


def test_a_file_that_has_become_shorter_is_an_error_and_closed_with_its_rows(tmp_path):
    (tmp_path / "x").write_bytes(IMAGES.tobytes())
    with (tmp_path / "x").open("rb") as file:
        array = mapped(file, IMAGES.dtype, IMAGES.shape)
    before = len(module._FILES)
    os.truncate(tmp_path / "x", 30)
    with pytest.raises(OSError, match="shorter"):
        take(array, np.array([1, 2]))
    del array
    gc.collect()
    assert len(module._FILES) == before - 1


def test_what_was_written_into_a_private_mapping_is_kept(tmp_path):
    np.save(tmp_path / "t.npy", IMAGES)
    mapped = np.load(tmp_path / "t.npy", mmap_mode="c")
    mapped[5] = 7
    for _ in blocks(mapped):
        pass
    assert (mapped[5] == 7).all()
