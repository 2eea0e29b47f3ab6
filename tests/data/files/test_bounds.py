"""Files that would become more than memory holds are refused before they are read, and in one line."""

import gzip
import io
import json
import resource
import time
import zipfile
from pathlib import Path

import image_files
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_files import xlsx

from lwgan_dist.data.files import bounds
from lwgan_dist.data.files.ipc_bytes import unpacked_bytes
from lwgan_dist.data.files.tables import read_table
from lwgan_dist.data.files.text import csv_layout, excel_files
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


# what a format declares in its own way --------------------------------------------------------------------------------


def compressed(table: pa.Table, new=pa.ipc.new_file, compression="zstd") -> bytes:
    sink = io.BytesIO()
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def repeated(value, count: int, kind=np.int8) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, kind)), pa.array([value]))


TOO_MUCH = {
    "a column of one number": pa.table({"a": np.zeros(5 * MIB), "b": np.ones(5 * MIB)}),
    "a dictionary of one number": pa.table({"a": repeated(1.5, 5 * MIB)}),
    "a list in one row": pa.table({"a": pa.array([np.zeros(MIB), [1.0]])}),
    "lists of one length": pa.table({"a": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(MIB)), MIB // 2)}),
}


@pytest.mark.parametrize("what", TOO_MUCH)
@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip"])
def test_a_parquet_file_that_declares_too_much(tmp_path, what, compression):
    pq.write_table(TOO_MUCH[what], tmp_path / "a.parquet", compression=compression)
    assert (tmp_path / "a.parquet").stat().st_size < MIB
    assert ": it would become more than 200 times the" in refused(tmp_path / "a.parquet")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.parquet").rename(tmp_path / "folder" / "a.parquet")
    assert ": it would become more than 200 times the" in refused(tmp_path / "folder")


@pytest.mark.parametrize("what", TOO_MUCH)
@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_an_arrow_file_that_declares_too_much(tmp_path, what, new, compression):
    (tmp_path / "a.arrow").write_bytes(compressed(TOO_MUCH[what], new, compression))
    assert ": it would become more than 200 times the" in refused(tmp_path / "a.arrow")


@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
@pytest.mark.parametrize("options", [None, "lz4", "zstd"])
def test_what_the_buffers_of_an_arrow_file_become_is_known(tmp_path, new, options):
    numbers = np.random.default_rng(0).normal(size=1000)
    table = pa.table({"a": numbers, "b": pa.array(np.arange(1000) % 7).dictionary_encode(), "c": np.zeros(1000)})
    (tmp_path / "a.arrow").write_bytes(compressed(table, new, options))
    there = table.get_total_buffer_size()
    assert there <= unpacked_bytes(str(tmp_path / "a.arrow")) < there + 8 * 64


def test_the_same_numbers_compressed_are_read(tmp_path):
    table = pa.table({name: np.random.default_rng(i).normal(size=100) for i, name in enumerate("ab")})
    for compression in ("lz4", "zstd"):
        (tmp_path / "a.arrow").write_bytes(compressed(table, compression=compression))
        assert np.array_equal(read_table(str(tmp_path / "a.arrow")).rows[:, 0], table["a"].to_numpy())


def test_a_text_that_a_dictionary_repeats_is_a_label_at_no_cost(tmp_path):
    """Each would take 40 GiB as texts of its own."""
    table = pa.table({"a": np.arange(20_000.0), "label": repeated("x" * 2 * MIB, 20_000)})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.arrow").write_bytes(compressed(table))
    for name in ("a.parquet", "a.arrow"):
        assert len(read_table(str(tmp_path / name), labels=["x" * 2 * MIB]).rows) == 20_000


def test_labels_that_are_too_many(tmp_path):
    pq.write_table(pa.table({"a": repeated(1.0, 100_000), "label": repeated("x", 100_000)}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="its labels would become more than 200 times"):
        read_table(str(tmp_path / "a.parquet"), labels=["x"])


@pytest.mark.parametrize("key", [b"lwgan_dist.label_names", b"huggingface", b"pandas"])
def test_metadata_that_is_nested_deeply(tmp_path, key):
    table = pa.table({"a": [1.0, 2.0, 4.0], "b": [3.0, 1.0, 2.0], "label": [0, 1, 1]})
    pq.write_table(table.replace_schema_metadata({key: b"[" * 100_000}), tmp_path / "a.parquet")
    try:
        assert read_table(str(tmp_path / "a.parquet"), labels=[1]).rows.shape == (2, 2)
    except DataError as error:
        assert key == b"pandas"
        assert "\n" not in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("depth", [90, 1000])
def test_a_schema_that_is_nested_deeply(tmp_path, depth):
    values = pa.array([1.0])
    for _ in range(depth):
        values = pa.StructArray.from_arrays([values], ["b"])
    pq.write_table(pa.table({"a": values}), tmp_path / "a.parquet", store_schema=False)
    assert refused(tmp_path / "a.parquet")


def test_a_picture_that_a_dictionary_repeats(tmp_path):
    blob = image_files.picture(image_files.GREY[0]) + bytes(4 * MIB)
    table = pa.table({"image": repeated(blob, 2000, np.int16)})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", store_schema=False)
    assert "would become more than 200 times" in refused(tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_of_more_pixels_than_its_bytes_can_hold(tmp_path, kind):
    end = "png" if kind == "PNG" else "jpg"
    (tmp_path / f"a.{end}").write_bytes(image_files.picture(np.zeros((4000, 4000), np.uint8), kind, quality=1))
    assert "a picture of 4000 x 4000 pixels would become more than 200 times" in refused(tmp_path)


def test_many_pictures_of_one_colour(tmp_path):
    content = image_files.picture(np.zeros((400, 400), np.uint8))
    for i in range(300):
        (tmp_path / f"{i}.png").write_bytes(content)
    assert ": its 300 pictures would become more than 200 times" in refused(tmp_path)


def test_an_idx_that_unpacks_to_too_much(tmp_path):
    (tmp_path / "a.idx.gz").write_bytes(gzip.compress(image_files.idx(np.zeros((5, MIB), np.uint8))))
    assert ": its array of shape (5, 1048576) would become more than 200 times" in refused(tmp_path / "a.idx.gz")


@pytest.mark.parametrize("shape", [(10**9, 1), (2 * 10**9, 0), (1, 10**8)])
def test_a_sparse_matrix_of_more_rows_than_its_bytes_can_hold(tmp_path, shape):
    none = np.array([], np.int64)
    parts = {"format": np.array(b"coo"), "shape": np.array(shape), "data": none != 0, "row": none, "col": none}
    np.savez(tmp_path / "a.npz", **parts)
    assert "a sparse matrix of shape" in refused(tmp_path / "a.npz")


def test_a_line_of_too_many_fields_or_lines_without_any(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_layout, "MOST_FIELDS", 1000)
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n" + b"3," * 2000 + b"\n")
    assert refused(tmp_path / "a.csv") == ": line 3: 2,000 fields; at most 1,000 are read"
    (tmp_path / "b.csv").write_bytes(b"a,b\n" + b"\n" * 110_000 + b"1,2\n")
    assert refused(tmp_path / "b.csv") == ": more than 100,000 of its first lines are empty; leave them out"


# the cells of a sheet -------------------------------------------------------------------------------------------------


def workbook(path: Path, rows: bytes, text: bytes = b"") -> None:
    """One sheet with rows as XML, and one text that its cells may share."""
    kept = zipfile.ZipFile(io.BytesIO(xlsx({"Sheet1": [["a", "b"], [1.0, 2.0]]})))
    link = b'<Relationship Id="t" Target="sharedStrings.xml" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in kept.namelist():
            content = kept.read(name)
            if name.endswith("s1.xml"):
                content = content.partition(b"<sheetData>")[0] + b"<sheetData>" + rows + b"</sheetData></worksheet>"
            if name.endswith("workbook.xml.rels"):
                content = content.replace(b"</Relationships>", link + b'/sharedStrings"/></Relationships>')
            archive.writestr(name, content)
        main = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        archive.writestr("xl/sharedStrings.xml", b"<sst " + main + b"><si><t>" + text + b"</t></si></sst>")


@pytest.fixture
def _room_for_a_process(monkeypatch):
    monkeypatch.setattr(bounds, "FREE_BYTES", 64 * MIB)
    monkeypatch.setattr(excel_files, "FREE_BYTES", 64 * MIB)


ROW = b"<row>" + b"<c><v>1</v></c>" * 10 + b"</row>"
CELLS = {
    "two that lie far apart": b'<row><c r="A1"><v>1</v></c></row><row><c r="XFD1048576"><v>1</v></c></row>',
    "two in a column": b'<row><c r="A1"><v>1</v></c></row><row><c r="CV1048576"><v>1</v></c></row>',
    "many of one number": ROW * 250_000,
    "many of one text": ROW.replace(b"<c>", b'<c t="s">').replace(b"<v>1", b"<v>0") * 1000,
}


@pytest.mark.usefixtures("_room_for_a_process")
@pytest.mark.parametrize("what", CELLS)
def test_cells_of_a_sheet_that_would_become_too_much(tmp_path, what):
    workbook(tmp_path / "a.xlsx", CELLS[what], b"x" * 500_000)
    assert "take more memory or time than a file of its size may; save it as CSV" in refused(tmp_path / "a.xlsx")


@pytest.mark.usefixtures("_room_for_a_process")
def test_a_workbook_that_unpacks_to_too_much_or_takes_too_long(tmp_path, monkeypatch):
    workbook(tmp_path / "a.xlsx", b"<!--" + b"x" * 90 * MIB + b"-->")
    assert ": it would become more than 200 times" in refused(tmp_path / "a.xlsx")
    monkeypatch.setattr(excel_files, "_SECONDS", 0)
    workbook(tmp_path / "b.xlsx", ROW * 2)
    assert "take more memory or time" in refused(tmp_path / "b.xlsx")


@pytest.mark.usefixtures("_room_for_a_process")
def test_a_workbook_as_people_have_it_is_read(tmp_path):
    workbook(
        tmp_path / "a.xlsx",
        b"<row><c><v>1</v></c><c><v>2.5</v></c></row>" * 2 + ROW[:5] + b"<c><v>3</v></c><c><v>4</v></c></row>",
    )
    assert read_table(str(tmp_path / "a.xlsx")).rows.tolist() == [[1.0, 2.5], [1.0, 2.5], [3.0, 4.0]]
