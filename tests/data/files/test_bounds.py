"""Files that would become more than memory holds are refused before they are read, and in one line."""

import gzip
import json
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwgan_dist.data.files import bounds
from lwgan_dist.data.files.tables import read_table
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import DataError

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """The laws are the same where little is allowed; and no test takes memory or time."""
    monkeypatch.setattr(bounds, "FREE_BYTES", MIB)
    monkeypatch.setattr(bounds, "MOST_LINE", MIB)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    assert time.process_time() - began < 5.0


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_table(str(path))
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(path))


def test_a_text_that_unpacks_to_too_much(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 10 * MIB))
    assert "would become more than 200 times the" in refused(tmp_path / "a.csv.gz")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_a_line_without_end(tmp_path, name, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_FACTOR", 10_000)
    content = b"1" * 9 * MIB
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert refused(tmp_path / name) == ": its first line has more than 1 MiB"


def test_a_file_of_holes(tmp_path):
    for name in ("a.csv", "a.npy", "a.parquet", "a.arrow"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(1 << 40)
        assert "has holes: it would become more than 200 times" in refused(tmp_path / name)


def test_an_archive_of_arrays(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", rows=np.zeros((MIB, 8)))
    assert ": the array 'rows' would become more than 200 times the" in refused(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", rows=np.random.default_rng(0).normal(size=(50, 3)))
    assert read_table(str(tmp_path / "b.npz")).rows.shape == (50, 3)


@pytest.mark.parametrize("shape", ["(0, 1000000000)", "(0, 1000000, 1000000)"])
def test_a_header_of_nothing(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    assert refused(tmp_path / "a.npy").endswith("numbers; at most 10,000,000 are read")


@pytest.mark.parametrize("shape", ["(1000000000, 1000)", "(10000000000000000000000, 2)", "(-1, 2)", "(True, 2)"])
def test_a_header_of_what_is_not_there(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    assert ": not a readable NPY file" in refused(tmp_path / "a.npy")


def test_an_archive_whose_directory_says_more_than_there_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("rows.npy", b"\x93NUMPY\x01\x00")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = (2**32 - 2).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content)
    assert "would become more" in refused(tmp_path / "a.npz")


@pytest.mark.parametrize("metadata", [[], 3, "x", {"index_columns": 3}, {"index_columns": [{"kind": []}]}, None])
def test_metadata_of_pandas_of_another_shape(tmp_path, metadata):
    table = pa.table({"a": [1.0, 2.0, 4.0], "b": [3.0, 1.0, 2.0]})
    table = table.replace_schema_metadata({b"pandas": json.dumps(metadata).encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    try:
        assert read_table(str(tmp_path / "a.parquet")).rows.shape == (3, 2)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("how", ["global", "per_column"])
def test_numbers_without_a_mean_or_scale_are_refused(how):
    rows = np.array([[1.7e308, 1.0], [-1.7e308, 2.0], [1.7e308, 3.0], [1.7e308, 3.0]])
    with pytest.raises(DataError, match="is beyond float64 for numbers as large as these; rescale them"):
        Standardizer.fit(rows, how)
