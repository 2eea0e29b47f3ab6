"""What rows take in memory: never a whole copy in float64, and of a mapped file only what is at hand."""

import numpy as np
import pytest
from bench_memory import images, mib_beyond_imports, write_holes, write_images

from lwgan_dist.data.importing import Images, write_dataset

COUNT = 20_000
WHOLE_MIB = COUNT * 28 * 28 * 8 / (1 << 20)
"""A copy of all images in float64: 120 MiB. They are 15 MiB themselves."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("images"), images(COUNT)
    for suffix in (".npy", ".parquet"):
        write_images(folder / f"few{suffix}", rows[:200])
        write_images(folder / f"images{suffix}", rows)
    return folder


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_a_run_on_images_is_prepared_without_a_copy_of_all_in_float64(folder, suffix):
    assert mib_beyond_imports(folder / f"few{suffix}", folder / f"images{suffix}", "run") < 0.9 * WHOLE_MIB


def test_a_mapped_file_takes_less_memory_than_it_is_large(folder):
    """The file has 256 MiB, 2 GiB in float64; every row of it is checked."""
    write_holes(folder / "holes.npy", 256)
    assert mib_beyond_imports(folder / "few.npy", folder / "holes.npy", "run") < 0.9 * WHOLE_MIB


def test_a_large_dataset_takes_less_memory_than_its_rows(folder):
    """Rows in Parquet, decoded some at a time into a mapped file, save the memory that they take where they are kept.

    That is all of them, 128 MiB; half is left for what differs from process to process.
    """
    mib = 128
    write_holes(folder / "holes.npy", mib)
    rows = np.load(folder / "holes.npy", mmap_mode="r")
    write_dataset(Images(rows, None), "holes", str(folder / "dataset"), lambda _: b"")
    mapped, kept = (
        mib_beyond_imports(folder / "few.parquet", folder / "dataset", "load", spilled)
        for spilled in (1 << 20, 1 << 40)
    )
    assert mapped < mib
    assert kept - mapped > mib / 2
