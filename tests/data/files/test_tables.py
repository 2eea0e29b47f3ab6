"""Laws of reading a user's table: equal in every format, and every rejection is one line that says where."""

import decimal
import errno
import gzip
import io
import json
import mmap
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from table_files import ipc, npy, npz, parquet, written, xlsx

from lwgan_dist.data.checks import check_rows
from lwgan_dist.data.files import arrow_files, numpy_files
from lwgan_dist.data.files.tables import READERS, Table, read_table, rows_digest
from lwgan_dist.data.files.text import csv_files
from lwgan_dist.errors import DataError
from lwgan_dist.retries import StorageError

ROWS = np.random.default_rng(7).normal(size=(40, 3))
NAMES = ("a", "b", "c")


def arrow_table(rows: np.ndarray = ROWS) -> pa.Table:
    return pa.table({name: rows[:, i] for i, name in enumerate(NAMES)})


def idx(array: np.ndarray) -> bytes:
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    shape = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, code, array.ndim]) + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


def text(rows: np.ndarray = ROWS, delimiter: str = ",", header: bool = True) -> bytes:
    lines = [delimiter.join(NAMES)] * header + [delimiter.join(map(str, row)) for row in rows.tolist()]
    return ("\n".join(lines) + "\n").encode()


CONTENT: dict[str, Callable[[np.ndarray], bytes]] = {
    ".parquet": lambda rows: parquet(arrow_table(rows)),
    ".pq": lambda rows: parquet(arrow_table(rows), compression="zstd"),
    ".arrow": lambda rows: ipc(arrow_table(rows)),
    ".feather": lambda rows: ipc(arrow_table(rows), pa.ipc.new_file),
    ".ipc": lambda rows: ipc(arrow_table(rows), pa.ipc.new_stream),
    ".npy": npy,
    ".npz": lambda rows: npz(rows=rows),
    ".csv": text,
    ".csv.gz": lambda rows: gzip.compress(text(rows)),
    ".tsv": lambda rows: text(rows, "\t"),
    **dict.fromkeys((".txt", ".dat", ".data"), text),
    **{f"{suffix}.gz": lambda rows: gzip.compress(text(rows)) for suffix in (".txt", ".dat", ".data")},
    ".xlsx": lambda rows: xlsx({"Sheet1": [NAMES, *rows.tolist()]}),
    ".tsv.gz": lambda rows: gzip.compress(text(rows, "\t")),
    "-ubyte": idx,
    "-ubyte.gz": lambda rows: gzip.compress(idx(rows)),
    ".idx": idx,
    ".idx.gz": lambda rows: gzip.compress(idx(rows)),
}
ARROW: dict[str, Callable[[pa.Table], bytes]] = {
    ".parquet": parquet,
    ".arrow": ipc,
    ".ipc": lambda table: ipc(table, pa.ipc.new_stream),
}
FORMATS = sorted(CONTENT)
NUMPY = (".npy", ".npz")
IDX = ("-ubyte", "-ubyte.gz", ".idx", ".idx.gz")
UNNAMED = (*NUMPY, *IDX)
"""Formats without names of columns."""
TEXT = [suffix for suffix in FORMATS if suffix.startswith((".csv", ".tsv", ".txt", ".dat", ".xlsx"))]
KEEPS_TYPE = [suffix for suffix in FORMATS if suffix not in TEXT and suffix not in IDX]


def same(table: Table, rows: np.ndarray, columns: tuple[str, ...]) -> bool:
    assert table.rows.flags.c_contiguous
    return table.columns == columns and table.rows.dtype == rows.dtype and np.array_equal(table.rows, rows)


# ---------------------------------------------------------------------------------------------------------- formats


def test_every_format_is_tested() -> None:
    assert set(CONTENT) == set(READERS)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_rows_that_were_written(tmp_path: Path, suffix: str) -> None:
    table = read_table(written(tmp_path, f"t{suffix}", CONTENT[suffix](ROWS)))
    assert same(table, ROWS, ("x1", "x2", "x3") if suffix in UNNAMED else NAMES)


@pytest.mark.parametrize("suffix", FORMATS)
def test_case_of_the_suffix_does_not_matter(tmp_path: Path, suffix: str) -> None:
    assert np.array_equal(read_table(written(tmp_path, f"T{suffix.upper()}", CONTENT[suffix](ROWS))).rows, ROWS)


@pytest.mark.parametrize("suffix", KEEPS_TYPE)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint64, np.int64, bool])
def test_rows_keep_the_type_of_the_file(tmp_path: Path, suffix: str, dtype: type[np.generic]) -> None:
    rows = (ROWS > 0 if dtype in (np.uint64, bool) else 100 * ROWS).astype(dtype)
    table = read_table(written(tmp_path, f"t{suffix}", CONTENT[suffix](rows)))
    assert same(table, rows, table.columns)


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_selects_and_orders(tmp_path: Path, suffix: str) -> None:
    names = ["x3", "x1"] if suffix in UNNAMED else ["c", "a"]
    table = read_table(written(tmp_path, f"t{suffix}", CONTENT[suffix](ROWS)), columns=names)
    assert same(table, ROWS[:, [2, 0]], tuple(names))


@pytest.mark.parametrize("suffix", ARROW)
def test_columns_that_are_not_chosen_may_be_anything(tmp_path: Path, suffix: str) -> None:
    table = arrow_table().append_column("name", pa.array(["x"] * len(ROWS))).append_column("c", pa.nulls(len(ROWS)))
    path = written(tmp_path, f"t{suffix}", ARROW[suffix](table))
    assert same(read_table(path, columns=["b", "a"]), ROWS[:, [1, 0]], ("b", "a"))


def test_unchosen_columns_of_a_csv_may_be_anything(tmp_path: Path) -> None:
    content = b'x,name,"a",x\n1,"Ann, ""A""",2,\n3,"two\nlines",5,z\n'
    assert same(read_table(written(tmp_path, "t.csv", content), columns=["a"]), np.array([[2.0], [5.0]]), ("a",))


def test_decimals_become_float64(tmp_path: Path) -> None:
    values = pa.array([decimal.Decimal("1.25"), decimal.Decimal("-3.50")])
    path = written(tmp_path, "t.pq", parquet(pa.table({"d": values})))
    assert same(read_table(path), np.array([[1.25], [-3.5]]), ("d",))


def test_float32_beside_integers_becomes_float64(tmp_path: Path) -> None:
    table = pa.table({"a": np.float32([1, 2]), "b": [3, 5]})
    assert same(read_table(written(tmp_path, "t.pq", parquet(table))), np.array([[1.0, 3.0], [2.0, 5.0]]), ("a", "b"))


def test_narrow_floats_of_several_types_become_float32(tmp_path: Path) -> None:
    table = pa.table({"a": np.float16([1, 2]), "b": np.float32([3, 5])})
    assert same(read_table(written(tmp_path, "t.pq", parquet(table))), np.float32([[1, 3], [2, 5]]), ("a", "b"))


IMAGES = np.random.default_rng(3).integers(0, 255, (20, 2, 3), dtype=np.uint8)


def column_of(images: np.ndarray, kind: str) -> pa.Array:
    """Images as tensors, as flat lists of a fixed size, or as lists of lists."""
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(images))
    if kind != "nested":
        return tensors if kind == "tensor" else tensors.storage
    rows = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), images.shape[2])
    return pa.FixedSizeListArray.from_arrays(rows, images.shape[1])


@pytest.mark.parametrize("suffix", [*ARROW, "one batch"])
@pytest.mark.parametrize("kind", ["tensor", "list", "nested"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_column_of_tensors_gives_rows_of_their_shape(
    tmp_path: Path, suffix: str, kind: str, dtype: type[np.generic]
) -> None:
    images = IMAGES.astype(dtype)
    table = pa.table({"label": ["x"] * 20, "image": column_of(images, kind)})
    if suffix == "one batch":
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        path = written(tmp_path, "t.arrow", sink.getvalue())
    else:
        path = written(tmp_path, f"t{suffix}", ARROW[suffix](table))
    expected = images.reshape(20, 6) if kind == "list" else images
    assert same(read_table(path, columns=["image"]), expected, tuple(f"image_{i}" for i in range(6)))


def test_images_in_a_folder_of_parquet_files_follow_each_other(tmp_path: Path) -> None:
    for name, part in [("a.parquet", IMAGES[:13]), ("b.parquet", IMAGES[13:])]:
        written(tmp_path, f"t/{name}", parquet(pa.table({"image": column_of(part, "tensor")})))
    assert np.array_equal(read_table(str(tmp_path / "t")).rows, IMAGES)


@pytest.mark.parametrize("suffix", NUMPY)
@pytest.mark.parametrize("shape", [(20, 2, 3), (10, 2, 2, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_more_axes_keep_the_shape_of_a_row(
    tmp_path: Path, suffix: str, shape: tuple[int, ...], order: Any
) -> None:
    images = np.asarray(IMAGES.reshape(shape), order=order)
    path = written(tmp_path, f"t{suffix}", CONTENT[suffix](images))
    assert same(read_table(path), images, tuple(f"x{i + 1}" for i in range(120 // shape[0])))
    assert same(read_table(path, columns=["x6", "x2"]), images.reshape(shape[0], -1)[:, [5, 1]], ("x6", "x2"))


@pytest.mark.parametrize("array", [
    ROWS, np.asfortranarray(ROWS), ROWS.astype(">f4"), IMAGES, np.asfortranarray(IMAGES), np.arange(5)[:, None],
], ids=["rows", "by column", "byte order", "images", "images by column", "one column"])  # fmt: skip
def test_a_large_npy_file_is_mapped_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, array: np.ndarray
) -> None:
    path = written(tmp_path, "t.npy", npy(array))
    assert not is_mapped(read_table(path).rows)
    monkeypatch.setattr(numpy_files, "MAPPED_BYTES", 1)
    table = read_table(path)
    assert same(table, array, table.columns)
    assert is_mapped(table.rows) == array.flags.c_contiguous
    with pytest.raises(DataError, match="not a readable NPY file"):
        read_table(written(tmp_path, "u.npy", npy(array)[:-1]))


def is_mapped(rows: Any) -> bool:
    while isinstance(rows, np.ndarray):
        rows = rows.base
    return isinstance(rows, mmap.mmap)


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_a_large_arrow_file_of_one_batch_of_tensors_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    images = np.random.default_rng(3).integers(0, 255, (2_000, 10, 10), dtype=np.uint8)
    table, sink = pa.table({"image": column_of(images, "tensor")}), io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    path = written(tmp_path, "t.arrow", sink.getvalue())
    monkeypatch.setattr(arrow_files, "MAPPED_BYTES", 1)
    before = pa.total_allocated_bytes()
    rows = read_table(path).rows
    assert np.array_equal(rows, images)
    assert not rows.flags.owndata
    assert (pa.total_allocated_bytes() - before < images.nbytes) == (compression is None)


def test_an_array_of_one_axis_is_one_column(tmp_path: Path) -> None:
    assert same(read_table(written(tmp_path, "t.npy", npy(np.arange(4)))), np.arange(4)[:, None], ("x1",))


def test_byte_order_does_not_matter(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "t.npy", npy(ROWS.astype(">f4"))))
    assert same(table, ROWS.astype(">f4"), ("x1", "x2", "x3"))
    assert rows_digest(table.rows) == rows_digest(ROWS.astype("f4"))


def test_an_array_of_an_npz_is_chosen_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, "t.npz", npz(train=ROWS, test=ROWS + 1))
    assert np.array_equal(read_table(path, array="test").rows, ROWS + 1)


def test_a_folder_of_parquet_files_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name, part in [("b.parquet", slice(10, 20)), ("a.PARQUET", slice(0, 10)), ("sub/c.pq", slice(20, 40))]:
        written(tmp_path, f"t/{name}", parquet(arrow_table(ROWS[part])))
    for name in ("_metadata.parquet", ".hidden.parquet", "README.txt", "_tmp/d.parquet"):
        written(tmp_path, f"t/{name}", b"left out")
    assert same(read_table(str(tmp_path / "t")), ROWS, NAMES)


def test_files_of_a_folder_may_differ_in_order_of_columns_and_metadata(tmp_path: Path) -> None:
    written(tmp_path, "t/a.parquet", parquet(arrow_table(ROWS[:20])))
    other = arrow_table(ROWS[20:]).select(["c", "a", "b"]).replace_schema_metadata({"written by": "another"})
    written(tmp_path, "t/b.parquet", parquet(other))
    assert same(read_table(str(tmp_path / "t")), ROWS, NAMES)


def test_names_of_folders_are_not_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "label=3/t.parquet", parquet(arrow_table()))
    assert same(read_table(path), ROWS, NAMES)
    assert same(read_table(str(tmp_path)), ROWS, NAMES)


def test_a_pandas_index_is_a_column_only_if_chosen(tmp_path: Path) -> None:
    metadata = {"pandas": json.dumps({"index_columns": ["a"], "columns": []})}
    path = written(tmp_path, "t.parquet", parquet(arrow_table().replace_schema_metadata(metadata)))
    assert same(read_table(path), ROWS[:, 1:], ("b", "c"))
    assert same(read_table(path, columns=["a", "b"]), ROWS[:, :2], ("a", "b"))


# -------------------------------------------------------------------------------------------------------------- CSV


@pytest.mark.parametrize("first", ["1,2e3,-.5", "nan,1,2", "inf,1,2", "NA,1,2"])
def test_a_first_line_of_numbers_is_not_a_header(tmp_path: Path, first: str) -> None:
    path = written(tmp_path, "t.csv", f"{first}\n4,5,7\n".encode())
    if first.startswith("1"):
        assert same(read_table(path), np.array([[1, 2e3, -0.5], [4, 5, 7]]), ("x1", "x2", "x3"))
    else:  # not lost as a header, but found to be missing
        with pytest.raises(DataError, match="column 'x1', row 1"):
            read_table(path)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines_and_empty_lines_do_not_matter(tmp_path: Path, newline: str) -> None:
    lines = ["", "a, b", "", "1,2", "", " 3,+4", ""]
    path = written(tmp_path, "t.csv", b"\xef\xbb\xbf" + newline.join(lines).encode())
    assert same(read_table(path), np.array([[1.0, 2.0], [3.0, 4.0]]), ("a", "b"))


@pytest.mark.parametrize("separator", [",", ";", " "])
@pytest.mark.parametrize("void", ["   ", "# the end", "# of x, y, z; by; me", "#"])
@pytest.mark.parametrize("rows", [10, 500])
def test_lines_with_nothing_in_them_are_skipped_wherever_they_are(tmp_path, separator, void, rows):
    lines = [f"{i}.5{separator}{i}" for i in range(rows)]
    lines[rows // 2 :] = [void, *lines[rows // 2 :], void]
    (tmp_path / "t.csv").write_text("\n".join([f"a{separator}b", *lines]))
    assert read_table(str(tmp_path / "t.csv")).rows[:, 1].tolist() == list(range(rows))
    (tmp_path / "t.csv").write_text("\n".join([f"a{separator}b", *lines, f"x{separator}1"]))
    with pytest.raises(DataError, match=rf"row {rows + 1} \(line {rows + 4}\): text, not a number \(got 'x'\)"):
        read_table(str(tmp_path / "t.csv"))


def test_a_line_of_another_length_is_no_comment(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 300 + "#1,2,3\n")
    with pytest.raises(DataError, match=r"row 301 \(line 302\): 3 fields, 2 are expected"):
        read_table(str(tmp_path / "t.csv"))


@pytest.mark.parametrize("header", ["", "a,b\n"])
def test_a_quote_in_a_comment_above_does_not_shift_the_lines_of_messages(tmp_path, header):
    text = '# by, "me\n# a,b\n' + header + "1.5,2\n" * 10 + "x,1\n"
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=rf"'a', row 11 \(line {len(text.splitlines())}\)"):
        read_table(str(tmp_path / "t.csv"))


def test_a_column_of_true_and_false_is_boolean(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"a,b\nTrue,1\nFalse,3\n")
    assert same(read_table(path), np.array([[1.0, 1.0], [0.0, 3.0]]), ("a", "b"))


def test_integers_may_turn_into_fractions_anywhere(tmp_path: Path) -> None:
    count = 700_000  # the first block that pyarrow would infer types from holds nothing but integers
    content = b"a,b\n" + b"10,200\n" * count + b"0.5,1\n"
    assert len(content) > 1 << 22
    table = read_table(written(tmp_path, "t.csv", content))
    assert table.rows.shape == (count + 1, 2)
    assert table.rows[-1].tolist() == [0.5, 1.0]


def test_numbers_of_a_csv_are_read_to_the_last_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**64, size=20_000, dtype=np.uint64)
    values = bits.view(np.float64)[np.isfinite(bits.view(np.float64))].tolist()
    content = "a\n" + "\n".join(map(repr, [*values, 5e-324, 2.0**-1022, 1.7976931348623157e308, -0.0, 0.1])) + "\n"
    rows = read_table(written(tmp_path, "t.csv", content.encode())).rows
    assert [float(value).hex() for value in rows[:, 0]] == [float(line).hex() for line in content.splitlines()[1:]]


def test_quoted_newlines_may_stand_anywhere(tmp_path: Path) -> None:
    count = 3000  # records of 2 kB with a newline every 100 bytes: some block ends inside one
    note = "\n".join(["2,3," * 25] * 20)
    content = "a,note\n" + "".join(f'{i},"{note}"\n' for i in range(count))
    table = read_table(written(tmp_path, "t.csv", content.encode()), columns=["a"])
    assert same(table, np.arange(float(count))[:, None], ("a",))


def test_a_line_may_be_longer_than_a_block(tmp_path: Path) -> None:
    width = 3000  # lines of 2 MB: fields of 700 digits
    content = "\n".join(",".join(f"{row}.{i:0700d}" for i in range(width)) for row in range(1, 4))
    assert read_table(written(tmp_path, "t.csv", content.encode())).rows.shape == (3, width)


# -------------------------------------------------------------------------------------------------------- rejections


def spoiled(row: int, column: int, value: float, dtype: str = "f8") -> np.ndarray:
    rows = ROWS.astype(dtype)
    rows[row, column] = value
    return rows


def with_nulls(*missing: int) -> pa.Table:
    values = [None if i in missing else float(i) for i in range(len(ROWS))]
    return arrow_table().append_column("d", pa.array(values, pa.float64()))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("value", "word"), [(np.inf, "inf"), (-np.inf, "-inf")])
def test_numbers_that_are_not_finite_are_named(tmp_path: Path, suffix: str, value: float, word: str) -> None:
    path = written(tmp_path, f"t{suffix}", CONTENT[suffix](spoiled(16, 1, value)))
    column = "x2" if suffix in UNNAMED else "b"
    line = " (line 18)" if suffix in TEXT else ""
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == f"{path}: column '{column}', row 17{line}: not a finite number (got {word})"
    assert caught.value.exit_code == 4


TWO_TENSORS = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12.0).reshape(3, 2, 2))
NULL_IN_LIST = pa.array([[1.0, 2.0], [3.0, None]], pa.list_(pa.float32(), 2))
NULL_IN_LISTS = pa.array([[[1.0], [2.0]], [None, [3.0]], [[4.0], [None]]], pa.list_(pa.list_(pa.float32(), 1), 2))
NULL_TENSOR = pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))
NAMED = arrow_table().append_column("name", pa.array(["7", "Ann"] * 20))
NO_TABLE = pa.table({"name": ["a", "b"], "when": pa.array([1, 2], pa.timestamp("us"))})
OBJECTS = np.array([[1, "x"], [None, 2]], dtype=object)
STRUCTURED = np.zeros(3, [("a", "f8"), ("b", "f8", 2)])

REFUSE = {"missing": "refuse"}

BAD: dict[str, tuple[str, bytes, dict[str, Any], list[str]]] = {
    "unknown suffix": ("t.doc", b"x", {}, ["unknown suffix", ".parquet", ".csv.gz", ".npz", "folders"]),
    "no suffix": ("t", b"x", {}, ["unknown suffix"]),
    "array of a table that has none": ("t.csv", text(), {"array": "x"}, ["array", ".npz", ".csv"]),
    "missing column": ("t.pq", parquet(arrow_table()), {"columns": ["bb"]}, ["'bb'", "mean 'b'?", "'a', 'b', 'c'"]),
    "missing column of csv": ("t.csv", text(), {"columns": ["z"]}, ["no column 'z'", "'a', 'b', 'c'"]),
    "missing column of npy": ("t.npy", npy(ROWS), {"columns": ["x4"]}, ["no column 'x4'", "'x1', 'x2', 'x3'"]),
    "empty list of columns": ("t.pq", parquet(arrow_table()), {"columns": []}, ["empty list of columns"]),
    "column chosen twice": ("t.pq", parquet(arrow_table()), {"columns": ["a", "a"]}, ["'a'", "more than once"]),
    "column chosen twice in csv": ("t.csv", text(), {"columns": ["a", "a"]}, ["'a'", "more than once"]),
    "duplicate names": ("t.arrow", ipc(arrow_table().append_column("a", [ROWS[:, 0]])), {}, ["'a'", "more than once"]),
    "duplicate names in csv": ("t.csv", b"a,b,a\n1,2,3\n4,5,6\n", {}, ["'a'", "more than once"]),
    "chosen name is duplicate": ("t.csv", b"a,b,a\n1,2,3\n4,5,6\n", {"columns": ["a"]}, ["'a'", "more than once"]),
    "unnamed column in csv": ("t.csv", b"a,,b\n0,2,3\n1,5,6\n", {}, ["no name for column 2", "data.columns=[a, b]"]),
    "text": ("t.pq", parquet(NAMED), {"columns": ["a", "name"]}, ["column 'name', row 2", "'Ann'", "data.columns"]),
    "text in csv": ("t.csv", b"a,n\n1,2\n2,x y\n3,3\n", {}, ["column 'n', row 2 (line 3)", "'x y'", "data.drop=[n]"]),
    "text in first row of csv": ("t.csv", b"n,a\nAnn,2\n1,3\n", {}, ["column 'n', row 1 (line 2)", "'Ann'"]),
    "text column of csv": ("t.csv", b"n,a\nAnn,2\n", {"columns": ["n"]}, ["column 'n', row 1 (line 2)", "'Ann'"]),
    "text after an empty line": ("t.csv", b"a,n\n\n1,2\n\n2,x\n", {}, ["column 'n', row 2 (line 5)", "'x'"]),
    "number with a unit": ("t.tsv", b"a\tb\n1\t2\n1\t3kg\n", {}, ["column 'b', row 2 (line 3)", "'3kg'"]),
    "complex in csv": ("t.csv", b"a,b\n1,2\n1,3+2j\n", {}, ["column 'b', row 2 (line 3)", "'3+2j'"]),
    "text in boolean column": ("t.csv", b"a,b\n1,true\n1,maybe\n", {}, ["column 'b', row 2 (line 3)", "'maybe'"]),
    "no numeric column": ("t.pq", parquet(NO_TABLE), {}, ["no numeric column", "'name' (text)", "'when' (times)"]),
    "no numeric column in csv": ("t.csv", b"a,b\nx,y\nz,u\n", {}, ["no numeric column", "'a' (text), 'b' (text)"]),
    "time": ("t.ipc", ipc(NO_TABLE.append_column("a", [[1, 2]])), {"columns": ["a", "when"]}, ["'when' is timestamp"]),
    "null": ("t.pq", parquet(with_nulls(3, 30)), REFUSE, ["column 'd', row 4: missing value; data.missing=impute"]),
    "null in arrow": ("t.arrow", ipc(with_nulls(20)), REFUSE, ["column 'd', row 21: missing value"]),
    "many nulls": ("t.pq", parquet(with_nulls(*range(9))), {}, [
        "column 'd', row 1: missing value; 9 of 40 rows lack one", "data.missing=drop", "data.drop=[d]"
    ]),
    "nothing but nulls": ("t.pq", parquet(arrow_table().append_column("z", pa.nulls(40, pa.float32()))),
                          {"columns": ["a", "z"]}, ["column 'z' holds no value at all"]),
    "nan": ("t.npy", npy(np.where(np.eye(40, 3) > 0, np.nan, 1.0)), REFUSE, ["column 'x1', row 1: missing value"]),
    "empty field": ("t.csv", b"a,b\n1,2\n3,\n", {}, ["column 'b', row 2 (line 3): missing value"]),
    "NA": ("t.csv", b"a,b\n1,2\n3,4\nNA,\n", {}, ["column 'a', row 3 (line 4): missing value"]),
    "blank field": ("t.csv", b"a,b\n1,2\n3,  \n", {}, ["column 'b', row 2 (line 3): missing value"]),
    "null tensor": ("t.arrow", ipc(pa.table({"v": NULL_TENSOR})), {}, ["column 'v_0', row 2: missing value"]),
    "null in tensor": ("t.arrow", ipc(pa.table({"v": NULL_IN_LIST})), {}, ["column 'v_1', row 2: missing value"]),
    "null in nested list": ("t.arrow", ipc(pa.table({"v": NULL_IN_LISTS})), {}, ["column 'v_0', row 2: missing value"]),
    "null in list in nested list": ("t.arrow", ipc(pa.table({"v": NULL_IN_LISTS.take([0, 2])})), {},
                                    ["column 'v_1', row 2: missing value"]),
    "null in tensor of parquet": ("t.pq", parquet(pa.table({"v": NULL_IN_LIST})), {}, ["'v_1', row 2: missing value"]),
    "nan in images": ("t.npy", npy(np.where(np.arange(12).reshape(3, 2, 2) == 6, np.nan, 1.0)), {},
                      ["column 'x3', row 2: missing value"]),
    "nan in tensor": ("t.arrow", ipc(pa.table({"v": pa.array([[1, 2], [3, np.nan]], pa.list_(pa.float32(), 2))})), {},
                      ["column 'v_1', row 2: missing value"]),
    "two tensors": ("t.pq", parquet(pa.table({"u": TWO_TENSORS, "v": TWO_TENSORS})), {}, ["'u' holds tensors"]),
    "tensor beside numbers": ("t.pq", parquet(pa.table({"n": [1, 2, 3], "v": TWO_TENSORS})), {}, ["'v' holds tensors"]),
    "ragged": ("t.csv", b"a,b\n1,2\n3,4,5\n", {}, ["row 2 (line 3): 3 fields, 2 are expected"]),
    "ragged and short": ("t.csv.gz", gzip.compress(b"a,b\n1,2\n\n3\n"), {}, ["row 2 (line 4): 1 fields"]),
    "ragged at the first row": ("t.csv", b"written by hand\n1,2\n3,4\n", {}, ["row 1 (line 2): 2 fields, 1"]),
    "ragged behind the sample": ("t.csv", b"a;b\n" + b"1;2\n" * 300 + b"3;4;5\n", {}, ["(line 302): 3 fields, 2"]),
    "ragged at a separator at the end": ("t.csv", b"a,b\n" + b"1,2,\n" * 300 + b"3,4,5\n", {}, ["row 301 (line 302)"]),
    "header only": ("t.csv", b"a,b\n", {}, ["no rows"]),
    "empty lines only": ("t.csv", b"\n\n\r\n", {}, ["no rows"]),
    "nothing compressed": ("t.csv.gz", gzip.compress(b""), {}, ["no rows"]),
    "zero rows": ("t.pq", parquet(arrow_table(ROWS[:0])), {}, ["no rows"]),
    "zero rows with text": ("t.arrow", ipc(NAMED.slice(0, 0)), {}, ["no rows"]),
    "zero rows of npy": ("t.npy", npy(ROWS[:0]), {}, ["no rows"]),
    "zero columns of npy": ("t.npy", npy(ROWS[:, :0]), {}, ["no columns"]),
    "zero columns": ("t.pq", parquet(pa.table({})), {}, ["no columns"]),
    "one row": ("t.csv", b"a,b\n1,2\n", {}, ["at least 2 rows", "got 1"]),
    "one row of npz": ("t.npz", npz(x=ROWS[:1]), {}, ["at least 2 rows", "got 1"]),
    "a number": ("t.npy", npy(np.float64(3)), {}, ["a single number"]),
    "complex": ("t.npy", npy(ROWS * 1j), {}, ["complex numbers"]),
    "objects": ("t.npy", npy(OBJECTS), {}, ["Python objects"]),
    "objects in npz": ("t.npz", npz(x=OBJECTS), {}, ["Python objects"]),
    "structured": ("t.npy", npy(STRUCTURED), {}, ["not an array of numbers"]),
    "text of a structured array": ("t.npy", npy(np.zeros(3, [("b", "U3")])), {"columns": ["b"]}, ["'b' is text"]),
    "text of numpy": ("t.npy", npy(np.array([["a", "b"]])), {}, ["not an array of numbers", "<U1"]),
    "two arrays in npy": ("t.npy", npy(ROWS) + npy(ROWS), {}, ["NPY", "bytes"]),
    "several arrays": ("t.npz", npz(u=ROWS, v=ROWS), {}, ["several arrays", "'u', 'v'"]),
    "no such array": ("t.npz", npz(u=ROWS, v=ROWS), {"array": "w"}, ["no array 'w'", "'u', 'v'"]),
    "no array": ("t.npz", npz(), {}, ["no array"]),
    "constant": ("t.csv", b"a,b\n1,2\n1,2\n1,2\n", {}, ["every column is constant"]),
    "csv under parquet": ("t.parquet", text(), {}, ["not a readable Parquet file"]),
    "parquet under csv": ("t.csv", parquet(arrow_table()), {}, ["t.csv: "]),
    "latin-1 value": ("t.csv", "a,b\n1,2\n3,4µ\n".encode("latin-1"), {}, ["column 'b', row 2 (line 3)", "'4µ'"]),
    "not compressed": ("t.csv.gz", text(), {}, ["not a readable CSV file"]),
    "truncated gzip": ("t.csv.gz", gzip.compress(text())[:-20], {}, ["not a readable CSV file"]),
    "hostile name": ("t.csv", b'"a\nb",c\n1,2\n,3\n', {}, [r"column 'a\nb', row 2 (line 4)"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_estimated_from_is_rejected_in_one_line_that_says_where(tmp_path: Path, case: str) -> None:
    name, content, options, parts = BAD[case]
    path = written(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


def test_no_traceback_of_a_library_hangs_on_a_rejection(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_table(written(tmp_path, "t.parquet", b"PAR1 nothing"))
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "folder/", "file.csv/below.csv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    written(tmp_path, "file.csv", text())
    with pytest.raises(DataError, match=f"{name}: no such file or folder"):
        read_table(f"{tmp_path}/{name}")


@pytest.mark.parametrize("place", ["status", "content"])
def test_a_file_system_that_fails_for_a_while_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path, failures = written(tmp_path, "t.csv", text()), [errno.EIO, errno.ESTALE]
    straight = read_table(path)

    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        def fails(*args: Any, **kwargs: Any) -> Any:
            if failures:
                raise OSError(failures.pop(), "for a while")
            return call(*args, **kwargs)

        return fails

    monkeypatch.setattr("lwgan_dist.retries._sleep", lambda _: None)
    if place == "status":
        monkeypatch.setattr(Path, "stat", failing(Path.stat))
    else:  # within the block that turns what libraries raise into a rejection
        rejected = csv_files.damage_rejected

        @contextmanager
        def fails_within(source: str, kind: str) -> Iterator[None]:
            with rejected(source, kind):
                failing(lambda: None)()
                yield

        monkeypatch.setattr(csv_files, "damage_rejected", fails_within)
    assert np.array_equal(read_table(path).rows, straight.rows)
    assert not failures
    failures += [errno.EIO] * 1000
    monkeypatch.setenv("LWGAN_STORAGE_PATIENCE_SECONDS", "0")
    with pytest.raises(StorageError, match=r"t\.csv: the storage has failed"):
        read_table(path)
    failures.clear()


def test_a_path_that_cannot_be_is_rejected() -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        read_table("a\0b.csv")


def test_what_is_neither_file_nor_folder_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"t\.csv: neither a file nor a folder"):
        read_table(str(tmp_path / "t.csv"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_empty_file_is_rejected(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match="empty file"):
        read_table(written(tmp_path, f"t{suffix}", b""))


def test_a_name_that_is_like_one_that_is_not_there_is_suggested(tmp_path: Path) -> None:
    written(tmp_path, "german.csv", b"a,b\n1,2\n")
    with pytest.raises(DataError, match=r"germn.csv: no such file or folder; did you mean german.csv\?"):
        read_table(str(tmp_path / "germn.csv"))
    with pytest.raises(DataError, match=r"other.parquet: no such file or folder$"):
        read_table(str(tmp_path / "other.parquet"))


@pytest.mark.parametrize("folder", ["results", "results/run"])
def test_a_folder_of_results_is_no_table(tmp_path: Path, folder: str) -> None:
    written(tmp_path, f"{folder}/scores.parquet", parquet(arrow_table()))
    assert len(read_table(str(tmp_path / "results")).rows)
    for name in ("config.yaml", "env.json"):
        written(tmp_path, f"{folder}/{name}", b"{}")
    with pytest.raises(DataError, match="holds results of lwgan-dist, not data"):
        read_table(str(tmp_path / "results"))


def test_a_folder_without_parquet_files_is_rejected(tmp_path: Path) -> None:
    written(tmp_path, "t/_a.parquet", parquet(arrow_table()))
    with pytest.raises(DataError, match="t: a folder without Parquet files"):
        read_table(str(tmp_path / "t"))


@pytest.mark.parametrize(("other", "law"), [
    (arrow_table(ROWS.astype("f4")), "b.parquet: column 'a' is float, but double in .*a.parquet"),
    (arrow_table().drop_columns(["b"]), "b.parquet: column 'b' is missing, but double"),
    (NAMED, "b.parquet: column 'name' is string, but missing"),
])  # fmt: skip
def test_a_folder_of_differing_schemas_is_rejected(tmp_path: Path, other: pa.Table, law: str) -> None:
    written(tmp_path, "a.parquet", parquet(arrow_table()))
    written(tmp_path, "b.parquet", parquet(other))
    with pytest.raises(DataError, match=law):
        read_table(str(tmp_path))


def test_a_row_of_a_folder_is_named_in_its_file(tmp_path: Path) -> None:
    for name, rows in [("a", ROWS[:15]), ("b", ROWS[:0]), ("c", spoiled(4, 2, np.nan))]:
        written(tmp_path, f"{name}.parquet", parquet(arrow_table(rows)))
    with pytest.raises(DataError, match=r"column 'c', row 20 \(row 5 of .*c\.parquet\): missing"):
        read_table(str(tmp_path), missing="refuse")


def test_a_damaged_file_of_a_folder_is_named(tmp_path: Path) -> None:
    written(tmp_path, "a.parquet", parquet(arrow_table()))
    written(tmp_path, "b.parquet", b"")
    with pytest.raises(DataError, match=r"b\.parquet: not a readable Parquet file"):
        read_table(str(tmp_path))


def test_a_flipped_bit_in_a_parquet_page_is_found(tmp_path: Path) -> None:
    content = bytearray(parquet(arrow_table(), compression="none", use_dictionary=False, row_group_size=64))
    values = content.index(ROWS[:, 1].tobytes())
    content[values + 3] ^= 1
    with pytest.raises(DataError, match="checksum"):
        read_table(written(tmp_path, "t.parquet", bytes(content)))


def test_a_flipped_bit_in_an_npz_is_found(tmp_path: Path) -> None:
    sink = io.BytesIO()
    np.savez(sink, ROWS)
    content = bytearray(sink.getvalue())
    content[content.index(ROWS.tobytes()) + 3] ^= 1
    with pytest.raises(DataError, match="CRC"):
        read_table(written(tmp_path, "t.npz", bytes(content)))


def test_the_checksum_of_a_compressed_npz_is_compared(tmp_path: Path) -> None:
    content = bytearray(npz(x=ROWS))
    content[content.rindex(b"PK\x01\x02") + 16] ^= 1
    with pytest.raises(DataError, match="CRC"):
        read_table(written(tmp_path, "t.npz", bytes(content)))


@pytest.mark.parametrize("shape", [(10**13, 3), (-40, -3), (39, 3), (2**32, 2**32)])
def test_an_npy_that_promises_more_than_it_holds_takes_no_memory(tmp_path: Path, shape: tuple[int, int]) -> None:
    header = npy(ROWS)[:128].replace(b"(40, 3)", str(shape).encode())
    with pytest.raises(DataError, match="not a readable NPY file"):
        read_table(written(tmp_path, "t.npy", header[:127].ljust(127) + b"\n" + ROWS.tobytes()))


def test_an_encrypted_npz_is_rejected(tmp_path: Path) -> None:
    content = bytearray(npz(x=ROWS))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1  # the flag "encrypted"
    with pytest.raises(DataError, match="NPZ"):
        read_table(written(tmp_path, "t.npz", bytes(content)))


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pickle.load", lambda *_args, **_options: pytest.fail("unpickled"))
    for name, content in [("t.npy", npy(OBJECTS)), ("u.npy", OBJECTS.dumps()), ("t.npz", npz(x=OBJECTS))]:
        with pytest.raises(DataError):
            read_table(written(tmp_path, name, content))


def damaged(rng: random.Random, good: bytes) -> bytes:
    """Noise, a truncated file, or a file with a few bytes changed, more often near its ends."""
    how = rng.randrange(4)
    if how == 0:
        return rng.randbytes(rng.randint(1, 2000))
    if how == 1:
        return good[: rng.randint(1, len(good) - 1)]
    content = bytearray(good)
    for _ in range(rng.choice([1, 3, 30])):
        i = rng.choice([rng.randrange(min(len(good), 160)), rng.randrange(len(good)), -rng.randint(1, 160)])
        content[i] = rng.choice([rng.randrange(256), 0, 255, ord("-"), content[i] ^ 1 << rng.randrange(8)])
    return bytes(content)


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_but_a_data_error_escapes_from_damaged_files(tmp_path: Path, suffix: str) -> None:
    messages = []
    for seed in range(120):
        path = written(tmp_path, f"t{suffix}", damaged(random.Random(seed), CONTENT[suffix](ROWS)))
        try:
            table = read_table(path)
        except DataError as error:
            messages.append(str(error))
        else:  # damage that no format can see: a changed digit
            assert np.isfinite(table.rows).all()
    assert len(messages) > 60
    assert [message for message in messages if "\n" in message or not message.startswith(path)] == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_noise_is_rejected_under_every_suffix(tmp_path: Path, suffix: str) -> None:
    for seed in range(30):
        path = written(tmp_path, f"t{suffix}", random.Random(seed).randbytes(1 + 50 * seed))
        with pytest.raises(DataError):
            read_table(path)


GARBLED = [
    b"{'descr': '<f8', (", b"'''", b"{0or 1}", b"{}", b"[]", b"{[]: 1}", b"\0", b"-" * 9000 + b"1", b"(" * 9000,
    b"9" * 9000, b" " * 60_000, b"{'descr': '<f8', 1: 2}",
]  # fmt: skip


@pytest.mark.parametrize("header", GARBLED, ids=[str(header[:8]) for header in GARBLED])
def test_a_garbled_npy_header_is_rejected(tmp_path: Path, header: bytes) -> None:
    """The header is a Python expression, and errors of Python's tokenizer and parser come through numpy."""
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + ROWS.tobytes()
    with pytest.raises(DataError, match="NPY"):
        read_table(written(tmp_path, "t.npy", content))


DTYPES = ["", "M8[25s/0]", "M8[s]", "m8", "f99", "V" + "9" * 30, "S9999999999", "(0or 1)f8", "f8,f8", "O", "c16", "U3"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ["(2, 2)", "(2, 1e3)", "'ab'", "(True, 2)"])
def test_other_dtypes_and_shapes_are_rejected_and_end_no_process(tmp_path: Path, dtype: str, shape: str) -> None:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + ROWS.tobytes()
    with pytest.raises(DataError):
        read_table(written(tmp_path, "t.npy", content))


def test_a_zip_that_is_no_npz_is_rejected(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="not a readable NPZ file"):
        read_table(written(tmp_path, "t.npz", sink.getvalue()))


# ------------------------------------------------------------------------------------------------- rows in memory


@pytest.mark.parametrize(("rows", "law"), [
    (ROWS[0], r"X: rows and columns are expected, the shape is \(3,\)"),
    (ROWS[:0], "X: no rows"),
    (ROWS[:1], r"X: at least 2 rows are needed \(got 1\)"),
    (ROWS[:, :0], "X: no columns"),
    (ROWS * 1j, "X: complex numbers"),
    (np.ones((5, 3, 0)), "X: no columns"),
    (np.where(np.arange(12).reshape(4, 1, 3) == 8, np.nan, ROWS[0]), r"X: column 'c', row 3: not a finite number"),
    (OBJECTS, r"X: not numbers \(dtype object\)"),
    (np.array([["a"], ["b"]]), "X: not numbers"),
    (np.ones((5, 3)), "X: every column is constant"),
    (spoiled(2, 1, np.nan), r"X: column 'b', row 3: not a finite number \(got nan\)"),
    (spoiled(2, 1, np.inf, "f4"), r"X: column 'b', row 3: not a finite number \(got inf\)"),
])  # fmt: skip
def test_rows_in_memory_are_checked_by_the_same_laws(rows: np.ndarray, law: str) -> None:
    with pytest.raises(DataError, match=law):
        check_rows(rows, NAMES[: rows.shape[-1]], "X")


def test_the_first_of_several_bad_numbers_is_named_across_blocks() -> None:
    rows = np.random.default_rng(0).normal(size=(800_000, 3)).astype(np.float32)
    rows[700_001, 2] = rows[700_001, 1] = rows[700_002, 0] = np.nan
    with pytest.raises(DataError, match="column 'b', row 700002:"):
        check_rows(rows, NAMES, "X")


def test_equal_names_of_columns_in_memory_are_rejected() -> None:
    with pytest.raises(DataError, match="X: the column name 'a' occurs more than once"):
        check_rows(ROWS, ("a", "b", "a"), "X")
