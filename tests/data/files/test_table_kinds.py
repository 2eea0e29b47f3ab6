"""Tables as people have them: each kind of file is read right and says how, or is refused with the mend that works."""

import gzip
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse
from table_files import ipc, npy, npz, parquet, written, xlsx

from lwgan_dist.config import TableConfig
from lwgan_dist.configfile import build_config, parse_overrides
from lwgan_dist.data.files import numpy_files
from lwgan_dist.data.files.tables import Table, read_configured, read_table
from lwgan_dist.data.files.text import excel_files
from lwgan_dist.data.settle import look_at
from lwgan_dist.errors import ConfigError, DataError

ROWS = np.random.default_rng(5).normal(size=(30, 4)).round(6)
NAMES = ("a", "b", "c", "d")
NUMBERED = ("x1", "x2", "x3", "x4")
BIG = (1e5 * ROWS).round(2)


def lines(
    rows: np.ndarray = ROWS, sep: str = ",", header: Any = NAMES, first: Any = None, last: Any = None, how: Any = repr,
    end: str = "", newline: str = "\n",
) -> str:  # fmt: skip
    """A text file; ``first`` and ``last`` are columns of texts beside the numbers."""
    texts = [[how(float(value)) for value in row] for row in rows]
    before, after = ([[str(value)] for value in beside] if beside else [[]] * len(rows) for beside in (first, last))
    texts = [[*left, *row, *right] for left, row, right in zip(before, texts, after, strict=True)]
    return newline.join(sep.join(fields) + end for fields in ([header] if header else []) + texts) + newline


def comma(value: float) -> str:
    return repr(value).replace(".", ",")


def german(value: float) -> str:
    return f"{value:,.2f}".translate({ord(","): ".", ord("."): ","})


def counted(start: int) -> list[int]:
    return list(range(start, start + len(ROWS)))


WORDS = [f"name {i}" for i in range(len(ROWS))]
DAYS = [f"2024-01-{i + 1:02}" for i in range(len(ROWS))]
CLASSES = ["setosa", "virginica"] * 15


def with_gaps(*missing: tuple[int, int], rows: np.ndarray = ROWS) -> np.ndarray:
    rows = rows.copy()
    for row, column in missing:
        rows[row, column] = np.nan
    return rows


def whole(rows: np.ndarray) -> np.ndarray:
    return rows[~np.isnan(rows).any(axis=1)]


FEW = with_gaps((3, 1), (7, 2))
ARROW = pa.table(dict(zip(NAMES, ROWS.T, strict=True)))
VECTORS = ROWS.astype("f4")


def column(values: Any, kind: Any = None, name: str = "more") -> pa.Table:
    return ARROW.append_column(name, pa.array(values, kind))


def vectors(kind: pa.DataType, **more: Any) -> pa.Table:
    return pa.table({**more, "v": pa.array(VECTORS.tolist(), kind)})


def structured(*kinds: str) -> np.ndarray:
    array = np.zeros(len(ROWS), list(zip(NAMES, kinds, strict=False)))
    for i, name in enumerate(NAMES[: len(kinds)]):
        array[name] = ROWS[:, i]
    return array


def sparse_npz(form: str) -> bytes:
    sink = io.BytesIO()
    sparse.save_npz(sink, sparse.csr_array(np.where(ROWS > 0, ROWS, 0)).asformat(form))
    return sink.getvalue()


@dataclass(frozen=True)
class Kind:
    """A kind of file: its suffix and content, how it is asked for, what is read, and what is said."""

    suffix: str
    content: str | bytes
    rows: np.ndarray = field(default_factory=lambda: ROWS)
    said: str = ""
    names: tuple[str, ...] = NAMES
    options: tuple[str, ...] = ()


SEMICOLON, BLANKS = "read as: ';' between columns", "read as: blanks between columns"
ROW_NAMES = "read as: row names in column 1 left out"
ONE_DROPPED, TWO_DROPPED = (f"rows dropped that lack a value: {count}" for count in (1, 2))
IN_LIST = tuple(f"v_{i}" for i in range(4))

READ = {
    "plain": Kind(".csv", lines()),
    "semicolons, decimal comma": Kind(".csv", lines(sep=";", how=comma), said=f"{SEMICOLON}, decimal comma"),
    "semicolons": Kind(".csv", lines(sep=";"), said=SEMICOLON),
    "semicolons, texts with commas": Kind(
        ".csv",
        lines(sep=";", how=comma, header=("n", *NAMES), first=[f"Ann, B. {i}" for i in range(30)]),
        said=f"{SEMICOLON}, decimal comma; left out: 'n' (text)",
    ),
    "tabs, decimal comma": Kind(".tsv", lines(sep="\t", how=comma), said="read as: decimal comma"),
    "tabs in .csv": Kind(".csv", lines(sep="\t"), said="read as: tabs between columns"),
    "pipes": Kind(".txt", lines(sep="|"), said="read as: '|' between columns"),
    "blanks": Kind(".dat", lines(sep="   ", header=None), said=BLANKS + ", no header", names=NUMBERED),
    "blanks before": Kind(".txt", lines(sep=" ").replace("\n", "  \n ").strip(" "), said=BLANKS),
    "blanks and tabs": Kind(".txt", lines(sep=" ").replace(" ", "\t ", 9), said=BLANKS),
    "blanks, decimal comma": Kind(".txt", lines(sep=" ", how=comma), said=BLANKS + ", decimal comma"),
    "numpy.savetxt": Kind(
        ".csv", lines(sep=" ", header=("# a", *NAMES[1:])), said=BLANKS + ", names from the line with #"
    ),
    "numpy.savetxt with a comment": Kind(
        ".csv", "# by hand\n#\n" + lines(header=("# a", *NAMES[1:])), said="read as: names from the line with #"
    ),
    "comment": Kind(".csv", "# by hand\n" + lines()),
    "headerless": Kind(".csv", lines(header=None), said="read as: no header", names=NUMBERED),
    "pandas' numbers of columns": Kind(".csv", lines(header=tuple("0123")), names=tuple("0123")),
    "a last column of nothing": Kind(
        ".tsv", lines(sep="\t", header=(*NAMES, "e"), last=[""] * 30), said="left out: 'e' (empty)"
    ),
    "UCI": Kind(
        ".data",
        lines(header=None, last=CLASSES),
        said="read as: ',' between columns, no header; left out: 'x5' (text)",
        names=NUMBERED,
    ),
    "pandas' index": Kind(".csv", lines(header=("", *NAMES), first=counted(0)), said=ROW_NAMES),
    "pandas' index of texts": Kind(".csv", lines(header=("", *NAMES), first=WORDS), said=ROW_NAMES),
    "pandas' index written again": Kind(".csv", lines(header=("Unnamed: 0", *NAMES), first=counted(0)), said=ROW_NAMES),
    "R's row names": Kind(".csv", lines(first=[f'"{i}"' for i in counted(1)]), said=ROW_NAMES),
    "R's write.table": Kind(
        ".txt",
        lines(sep=" ", first=[f'"{word}"' for word in WORDS], header=[f'"{name}"' for name in NAMES]),
        said=BLANKS + ", row names in column 1 left out",
    ),
    "separators at the ends": Kind(".csv", lines(end=","), said="read as: a separator at the end of each line"),
    "separators at all ends": Kind(
        ".csv",
        lines(end=",", header=(*NAMES, "")).replace("d,,", "d,"),
        said="read as: a separator at the end of each line",
    ),
    "separators at the ends, headerless": Kind(
        ".csv",
        lines(end=",", header=None),
        said="read as: no header, a separator at the end of each line",
        names=NUMBERED,
    ),
    "Latin-1": Kind(
        ".csv",
        lines(header=("Größe", *NAMES[1:])).encode("latin-1"),
        said="read as: Latin-1 (cp1252)",
        names=("Größe", *NAMES[1:]),
    ),
    "UTF-8 with its mark": Kind(".csv", lines().encode("utf-8-sig")),
    "UTF-16": Kind(".csv", lines().encode("utf-16"), said="read as: UTF-16"),
    "UTF-16 without its mark": Kind(".csv", lines().encode("utf-16-le"), said="read as: UTF-16-LE"),
    "UTF-16, tabs (Excel's Unicode text)": Kind(
        ".txt", lines(sep="\t", newline="\r\n").encode("utf-16"), said="read as: tabs between columns, UTF-16"
    ),
    "line ends of Windows": Kind(".csv", lines(newline="\r\n")),
    "line ends of Windows, twice": Kind(".csv", lines(newline="\r\r\n")),
    "line ends of old": Kind(".csv", lines(newline="\r")),
    "thousands": Kind(".csv", lines(BIG, how=lambda x: f'"{x:,.2f}"'), BIG, "read as: marks between thousands"),
    "German thousands": Kind(
        ".csv", lines(BIG, ";", how=german), BIG, f"{SEMICOLON}, decimal comma, marks between thousands"
    ),
    "thousands only far down": Kind(
        ".csv",
        lines(np.vstack([ROWS] * 9 + [BIG]), how=lambda x: f'"{x:,.6f}"' if abs(x) > 999 else repr(x)),
        np.vstack([ROWS] * 9 + [BIG]),
    ),
    "everything in quotes": Kind(".csv", lines(how=lambda x: f'"{x!r}"', header=[f'"{name}"' for name in NAMES])),
    "blanks around": Kind(".csv", lines(sep=" , ")),
    "blanks around what is missing": Kind(".csv", lines(FEW, sep=" , ").replace("nan", "NA"), whole(FEW), TWO_DROPPED),
    "text column": Kind(".csv", lines(header=(*NAMES, "species"), last=CLASSES), said="left out: 'species' (text)"),
    "dates": Kind(".csv", lines(header=("day", *NAMES), first=DAYS), said="left out: 'day' (times)"),
    "missing": Kind(".csv", lines(FEW).replace("nan", ""), whole(FEW), TWO_DROPPED),
    "missing as ?": Kind(".csv", lines(FEW).replace("nan", "?"), whole(FEW), TWO_DROPPED),
    "missing, filled in": Kind(
        ".csv",
        lines(FEW),
        np.where(np.isnan(FEW), np.nanmedian(FEW, axis=0), FEW),
        "missing values filled in with the median of their column: 2",
        options=("data.missing=impute",),
    ),
    "many missing, dropped": Kind(
        ".csv",
        lines(with_gaps(*[(i, 0) for i in range(9)])),
        ROWS[9:],
        "rows dropped that lack a value: 9",
        options=("data.missing=drop",),
    ),
    "empty column": Kind(
        ".csv",
        lines(with_gaps(*[(i, 2) for i in range(30)])),
        ROWS[:, [0, 1, 3]],
        "left out: 'c' (empty)",
        ("a", "b", "d"),
    ),
    "left out": Kind(
        ".csv",
        lines(header=("yes", "mean, radius", "#c", "null")).replace("mean, radius", '"mean, radius"'),
        ROWS[:, [0, 2]],
        names=("yes", "#c"),
        options=('data.drop=["mean, radius","null"]',),
    ),
    "compressed": Kind(
        ".csv.gz", gzip.compress(lines(sep=";", how=comma).encode()), said=f"{SEMICOLON}, decimal comma"
    ),
    "said": Kind(
        ".csv",
        lines(sep=":", how=comma),
        said="read as: ':' between columns, decimal comma",
        options=("data.separator=:", "data.decimal=comma", "data.encoding=utf-8"),
    ),
    "row names asked for": Kind(
        ".csv",
        lines(header=("Unnamed: 0", *NAMES), first=counted(0)),
        np.arange(30.0)[:, None],
        names=("Unnamed: 0",),
        options=('data.columns=["Unnamed: 0"]',),
    ),
    "Excel": Kind(
        ".xlsx",
        xlsx({"S": [(*NAMES, "n"), *[[*row, f"w {i}"] for i, row in enumerate(ROWS.tolist())]], "T": []}),
        said="left out: 'n' (text)",
    ),
    "Excel, a sheet of two": Kind(
        ".xlsx", xlsx({"S": [["x"], [1]], "T": [NAMES, *ROWS.tolist()]}), options=("data.array=T",)
    ),
    "index of pandas": Kind(
        ".parquet",
        parquet(
            column(counted(7), name="cell").replace_schema_metadata({"pandas": json.dumps({"index_columns": ["cell"]})})
        ),
        said="left out: 'cell' (an index)",
    ),
    "index that lost its name": Kind(
        ".feather", ipc(column(counted(0), name="__index_level_0__")), said="left out: '__index_level_0__' (row names)"
    ),
    "texts in Parquet": Kind(".parquet", parquet(column(WORDS)), said="left out: 'more' (text)"),
    "categories of texts": Kind(
        ".parquet", parquet(column(CLASSES, pa.dictionary(pa.int8(), pa.string()))), said="left out: 'more' (text)"
    ),
    "times": Kind(".feather", ipc(column(counted(0), pa.timestamp("us"))), said="left out: 'more' (times)"),
    "structures": Kind(".parquet", parquet(column([{"x": 1}] * 30)), said="left out: 'more' (struct<x: int64>)"),
    "nulls": Kind(".parquet", parquet(column([None] * 30, pa.null())), said="left out: 'more' (empty)"),
    "numbers, all missing": Kind(".feather", ipc(column([None] * 30, pa.int32())), said="left out: 'more' (empty)"),
    **{
        f"{what} of {suffix}": Kind(
            suffix, write(column(values, kind)), np.column_stack([ROWS, values]), said, (*NAMES, "more")
        )
        for suffix, write in ((".parquet", parquet), (".feather", ipc))
        for what, values, kind, said in [
            ("categories", [10 * (i % 3) for i in range(30)], pa.dictionary(pa.int8(), pa.int64()), ""),
            ("nullable integers", counted(3), pa.int64(), ""),
        ]
    },
    "nullable, one missing": Kind(
        ".parquet",
        parquet(column([None, *counted(0)[1:]], pa.int64())),
        np.column_stack([ROWS, counted(0)])[1:],
        ONE_DROPPED,
        (*NAMES, "more"),
    ),
    "booleans, one missing": Kind(
        ".feather",
        ipc(column([None] + [True] * 9 + [False] * 20)),
        np.column_stack([ROWS, np.arange(30) < 10])[1:],
        ONE_DROPPED,
        (*NAMES, "more"),
    ),
    **{
        f"{kind}{suffix}": Kind(suffix, write(vectors(kind, text=WORDS)), VECTORS, "left out: 'text' (text)", IN_LIST)
        for suffix, write in ((".parquet", parquet), (".feather", ipc))
        for kind in (pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 4))
    },
    "lists beside a label": Kind(
        ".parquet", parquet(vectors(pa.list_(pa.float32()), label=counted(0))), VECTORS, names=IN_LIST
    ),
    "a list is missing": Kind(
        ".parquet",
        parquet(pa.table({"v": pa.array([None, *VECTORS.tolist()[1:]], pa.list_(pa.float32()))})),
        VECTORS[1:],
        ONE_DROPPED,
        IN_LIST,
    ),
    "lists of lists": Kind(
        ".parquet",
        parquet(pa.table({"v": VECTORS.reshape(30, 2, 2).tolist()})),
        VECTORS.reshape(30, 2, 2).astype(float),
        names=IN_LIST,
    ),
    "nan in .npy": Kind(".npy", npy(FEW), whole(FEW), TWO_DROPPED, NUMBERED),
    "column of .npy left out": Kind(
        ".npy", npy(ROWS), ROWS[:, [0, 1, 3]], names=("x1", "x2", "x4"), options=("data.drop=[x3]",)
    ),
    "big-endian": Kind(".npy", npy(ROWS.astype(">f8")), names=NUMBERED),
    "Fortran order": Kind(".npy", npy(np.asfortranarray(ROWS)), names=NUMBERED),
    "float16": Kind(".npy", npy(ROWS.astype("f2")), ROWS.astype("f2"), names=NUMBERED),
    "structured": Kind(
        ".npy", npy(structured("f8", ">f8", "f8", "f8")), said="read as: the fields of a structured array"
    ),
    "structured, with text": Kind(
        ".npy",
        npy(structured("f4", "f2", "U9", "f4")),
        structured("f4", "f2", "f4", "f4")["a"][:, None] * [1, 0, 0]
        + np.stack([0 * ROWS[:, 0], ROWS[:, 1].astype("f2"), ROWS[:, 3].astype("f4")], axis=1).astype("f4"),
        "read as: the fields of a structured array; left out: 'c' (text)",
        ("a", "b", "d"),
    ),
    **{
        form: Kind(".npz", sparse_npz(form), np.where(ROWS > 0, ROWS, 0), "read as: a sparse matrix", NUMBERED)
        for form in ("csr", "csc", "coo")
    },
}


def configured(path: str, options: tuple[str, ...]) -> Table:
    """What a command would read."""
    changes = {key.removeprefix("data."): value for key, value in parse_overrides(options).items()}
    return read_configured(build_config(TableConfig, {"path": path}, changes))


def lasting(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()


@pytest.mark.parametrize("kind", READ)
def test_a_table_is_read_as_it_is_and_one_line_says_how(tmp_path: Path, kind: str) -> None:
    case = READ[kind]
    path = written(tmp_path, f"t{case.suffix}", lasting(case.content))
    table = configured(path, case.options)
    assert table.columns == case.names
    np.testing.assert_array_equal(table.rows, case.rows)
    assert table.reading.line == case.said
    said = [finding.message for finding in look_at(table, "global") if finding.kind == "reading"]
    assert said == [case.said] * bool(case.said)


REFUSED = {
    "many missing": Kind(".csv", lines(with_gaps(*[(i, 1) for i in range(9)])), said="9 of 30 rows lack one"),
    "missing, refused": Kind(".npy", npy(FEW), said="row 4: missing value", options=("data.missing=refuse",)),
    "text among numbers": Kind(".csv", lines().replace(repr(float(ROWS[4, 2])), "3kg"), said="row 5 (line 6): text"),
    "text far down": Kind(".csv", lines(np.tile(ROWS, (20, 1))) + "1,2,x,4\n", said="row 601 (line 602): text"),
    "a column without a name": Kind(".csv", lines(header=("a", "", "c", "d")), said="no name for column 2"),
    "lists and numbers": Kind(
        ".parquet", parquet(vectors(pa.list_(pa.float32()), id=counted(0))), said="must stand alone"
    ),
    "wrong separator": Kind(".csv", lines(), said="makes no even columns", options=("data.separator=;",)),
    "wrong separator of blanks": Kind(".txt", lines(sep=" "), said="blanks does", options=("data.separator=,",)),
    "wrong decimal sign": Kind(".csv", lines(sep=";"), said="data.decimal", options=("data.decimal=comma",)),
    "wrong encoding": Kind(
        ".csv", lines(header=("ß", *NAMES[1:])).encode("latin-1"), said="is not utf-8", options=("data.encoding=utf-8",)
    ),
    "other wrong encoding": Kind(".csv", lines().encode("utf-16"), said="utf-16", options=("data.encoding=latin-1",)),
    "separator of Parquet": Kind(".parquet", parquet(ARROW), said="is of text files", options=("data.separator=tab",)),
    "two sheets": Kind(".xlsx", xlsx({"S": [NAMES, *ROWS.tolist()], "T": [["x"], [1]]}), said="several sheets"),
    "two arrays": Kind(".npz", npz(u=ROWS, v=ROWS), said="several arrays"),
    "lists of two lengths": Kind(
        ".parquet",
        parquet(column([[1.0, 2.0]] * 29 + [[1.0]], name="more").select(["more"])),
        said="row 30: a list of 1, 2",
    ),
}


def mends(message: str, options: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The settings that a message proposes."""
    without = re.findall(r"leave (data\.\w+) out|(data\.\w+) \(\w+=\) is of text files", message)
    kept = [tuple(option for option in options if not option.startswith(f"{one or other}=")) for one, other in without]
    rest = tuple(option for option in options if "missing" not in option)
    given = [(*rest, setting) for setting in re.findall(r"data\.\w+=(?:\[[^\]]*\]|\w+)", message)]
    arrays = re.findall(r"data\.array or array=\.\.\.: '(\w+)'", message)
    return kept + given + [(*rest, f"data.array={name}") for name in arrays]


@pytest.mark.parametrize("kind", [name for name in REFUSED if name != "lists of two lengths"])
def test_a_table_is_refused_with_mends_that_work(tmp_path: Path, kind: str) -> None:
    case = REFUSED[kind]
    path = written(tmp_path, f"t{case.suffix}", lasting(case.content))
    with pytest.raises(DataError, match=re.escape(case.said)) as caught:
        configured(path, case.options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    proposed = mends(message, case.options)
    assert proposed, message
    for options in proposed:
        assert np.isfinite(configured(path, options).rows).all()


def test_lists_of_two_lengths_are_refused_with_their_row(tmp_path: Path) -> None:
    case = REFUSED["lists of two lengths"]
    with pytest.raises(DataError, match=re.escape(case.said)):
        read_table(written(tmp_path, "t.parquet", lasting(case.content)))
    both = pa.table({**{name: ARROW[name] for name in NAMES}, "v": [[1.0]] * 29 + [[]]})
    assert read_table(written(tmp_path, "u.parquet", parquet(both)), drop=["v"]).columns == NAMES


SENT_ELSEWHERE = {
    "t.h5ad": "obsm",
    "t.mat": "loadmat",
    "t.xls": "xlsx",
    "t.rds": "write_parquet",
    "s3://bucket/t.parquet": "copy it",
}


@pytest.mark.parametrize("name", SENT_ELSEWHERE)
def test_what_is_not_read_is_refused_with_a_way_to_what_is(tmp_path: Path, name: str) -> None:
    path = name if "://" in name else written(tmp_path, name, b"x")
    with pytest.raises(DataError, match=SENT_ELSEWHERE[name]) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_credentials_in_an_address_are_not_repeated() -> None:
    with pytest.raises(DataError, match="copy it") as caught:
        read_table("s3://me:secret@bucket/t.csv")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "word"), [("V2", "bfloat16"), ("M8[s]", "times"), ("O", "pickle"), ("U3", "not an array")]
)
def test_arrays_of_other_types_are_refused_by_name(tmp_path: Path, dtype: str, word: str) -> None:
    with pytest.raises(DataError, match=word):
        read_table(written(tmp_path, "t.npy", npy(np.zeros((4, 2), dtype))))


def test_a_sparse_matrix_that_does_not_fit_is_refused_before_it_takes_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_files, "_DENSE_BYTES", ROWS.nbytes - 1)
    with pytest.raises(DataError, match=r"a sparse matrix of shape \(30, 4\), which takes .*TruncatedSVD"):
        read_table(written(tmp_path, "t.npz", sparse_npz("csr")))


@pytest.mark.parametrize("spoil", ["indices", "indptr", "shape", "format"])
def test_a_damaged_sparse_matrix_is_refused(tmp_path: Path, spoil: str) -> None:
    with np.load(io.BytesIO(sparse_npz("csr"))) as file:
        parts = dict(file)
    parts[spoil] = np.array(b"bsr") if spoil == "format" else parts[spoil][::-1] + 7
    with pytest.raises(DataError):
        read_table(written(tmp_path, "t.npz", npz(**parts)))


def test_an_excel_file_that_grows_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_files, "_MAX_BYTES", 1000)
    with pytest.raises(DataError, match="save it as CSV"):
        read_table(written(tmp_path, "t.xlsx", xlsx({"S": [NAMES, *ROWS.tolist()]})))


def test_without_its_library_an_excel_file_is_refused_with_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    with pytest.raises(ConfigError, match="pip install 'lwgan-dist"):
        read_table(written(tmp_path, "t.xlsx", xlsx({"S": [NAMES]})))


@pytest.mark.parametrize(
    "names", [("yes", "no", "null", "2024-01-01"), ("mean, radius", "x: y", "#c", "d'"), ("1", "2", "~", "")]
)
def test_columns_of_any_name_can_be_chosen_and_left_out(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = written(tmp_path, "t.parquet", parquet(ARROW.rename_columns(list(names))))
    assert configured(path, (f"data.columns={json.dumps(names[::-1])}",)).columns == names[::-1]
    assert configured(path, (f"data.drop={json.dumps(names[:2])}",)).columns == tuple(
        name for name in names[2:] if name
    )


def test_a_column_that_is_not_there_cannot_be_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", lines().encode())
    with pytest.raises(DataError, match=r"no column 'aa' \(did you mean 'a'\?\)"):
        read_table(path, drop=["aa"])
    with pytest.raises(DataError, match=r"data\.drop leaves no column"):
        read_table(path, drop=list(NAMES))


def test_images_with_missing_values_are_refused_unless_asked_otherwise(tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(9, 3, 3))
    images[2, 0, 1] = np.nan
    path = written(tmp_path, "t.npy", npy(images))
    with pytest.raises(DataError, match="row 3: missing value"):
        read_table(path)
    assert np.array_equal(read_table(path, missing="drop").rows, np.delete(images, 2, axis=0))


def test_many_columns_are_read_in_few_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(1).normal(size=(500, 3_000))
    path = written(tmp_path, "t.parquet", parquet(pa.table({f"c{i}": rows[:, i] for i in range(3_000)}), 500))
    pieces: list[int] = []
    numbers = numpy_files.Filling.put
    monkeypatch.setattr(
        numpy_files.Filling, "put", lambda self, part: (pieces.append(len(part)), numbers(self, part))[1]
    )
    assert np.array_equal(read_table(path).rows, rows)
    assert len(pieces) == 1
