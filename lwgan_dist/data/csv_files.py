"""CSV and TSV files, compressed or not. pyarrow reads them; where it cannot, a slow reader says in which line."""

import csv
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from lwgan_dist.data.arrow_files import to_rows
from lwgan_dist.data.loading import (
    CHOOSE_HINT,
    Loaded,
    choose_columns,
    damage_rejected,
    listed,
    numbered_columns,
    quoted,
)
from lwgan_dist.errors import DataError

_MISSING = ("", "NA", "N/A", "n/a", "#N/A", "#NA", "NULL", "null", "None")
"""Fields that stand for a missing value. ``nan`` does not: it is a number that is not finite."""

_BOOLEANS = {"true", "True", "TRUE", "false", "False", "FALSE"}

_NUMBER = re.compile(r"[ \t]*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|inf|infinity)[ \t]*", re.IGNORECASE)

_MIN_BLOCK, _MAX_BLOCK = 1 << 22, 1 << 30
"""Bytes that pyarrow parses in one go; a line must fit."""


@dataclass(frozen=True)
class _Layout:
    """The facts in the first lines of a file.

    Attributes:
        path: the file.
        delimiter: between fields.
        names: of the columns.
        header_lines: lines up to the end of the header, 0 if there is none.
        first: fields of the first row; empty if there are no rows.
    """

    path: str
    delimiter: str
    names: tuple[str, ...]
    header_lines: int
    first: list[str]

    @property
    def booleans(self) -> set[int]:
        """Positions of the boolean columns."""
        return {i for i, field in enumerate(self.first) if field in _BOOLEANS}

    def place(self, row: int) -> str:
        """The line of a row, from reading the file up to it."""
        record = next(islice(_records(self.path, self.delimiter, self.header_lines), row, None), None)
        return f"row {row + 1}" + (f" (line {record[0]})" if record else "")


def read_csv(path: str, columns: list[str] | None, delimiter: str) -> Loaded:
    """The rows of a text file, float64.

    The first line is a header unless all its fields are numbers; then the columns are called x1..xp. Empty lines are
    skipped. A column whose first value is ``true`` or ``false`` is boolean.

    Args:
        path: the file; compressed if it ends in ``.gz``.
        columns: names of the columns to use, in this order; all if None.
        delimiter: between fields.

    Raises:
        DataError: not such a file, lines of unequal length, missing values, text, or columns that do not exist.
    """
    kind = "TSV" if delimiter == "\t" else "CSV"
    with damage_rejected(path, kind):
        layout = _read_layout(path, delimiter)
    chosen = choose_columns(layout.names, columns, path)
    _require_names(layout, chosen)
    names = [layout.names[i] for i in chosen]
    if not layout.first:
        return Loaded(np.empty((0, len(names))), tuple(names))
    _require_a_number(layout, chosen)
    with damage_rejected(path, kind):
        try:
            table = _parse(layout, chosen)
        except pa.ArrowInvalid as error:
            raise _fault(layout, chosen) or error from None
    return to_rows(table.rename_columns(names), path, layout.place)


def _records(path: str, delimiter: str, header_lines: int) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, fields) of each record behind the header; empty lines are no records.

    Bytes that are not UTF-8 become lone surrogates, which no number contains.
    """
    opened = gzip.open if path.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        try:
            for fields in reader:
                if fields and reader.line_num > header_lines:
                    yield reader.line_num, fields
        except csv.Error as error:
            raise DataError(f"{path}: line {reader.line_num}: {error}") from None


def _read_layout(path: str, delimiter: str) -> _Layout:
    records = _records(path, delimiter, 0)
    line, first = next(records, (0, []))
    if not first:
        raise DataError(f"{path}: no rows, nothing but empty lines")
    if all(field in _MISSING[1:] or _NUMBER.fullmatch(field) for field in first):
        return _Layout(path, delimiter, numbered_columns(len(first)), 0, first)
    names = tuple(field.strip() for field in first)
    if not all(map(_is_utf8, names)):
        raise DataError(f"{path}: line {line}: not UTF-8 text")
    return _Layout(path, delimiter, names, line, next(records, (0, []))[1])


def _is_utf8(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _require_names(layout: _Layout, chosen: list[int]) -> None:
    """Left alone, the unnamed row index of pandas and R would become a coordinate."""
    for i in chosen:
        if not layout.names[i]:
            where = f"the header (line {layout.header_lines}) has no name for column {i + 1}"
            raise DataError(f"{layout.path}: {where}; name it or, if it is a row index, leave it out: {CHOOSE_HINT}")


def _require_a_number(layout: _Layout, chosen: list[int]) -> None:
    if len(layout.first) == len(layout.names) and all(_is_text(layout.first[i], boolean=True) for i in chosen):
        names = [layout.names[i] for i in chosen]
        raise DataError(f"{layout.path}: no numeric column: {listed(names)} (row 1: {quoted(layout.first[chosen[0]])})")


def _parse(layout: _Layout, chosen: list[int]) -> pa.Table:
    """The chosen columns in their order, named by position because names in the file may repeat.

    Types are given: pyarrow would infer them from the first block, and reject a column of integers whose first
    fraction comes later.
    """
    booleans = layout.booleans
    types = {str(i): pa.bool_() if i in booleans else pa.float64() for i in chosen}
    length = sum(len(text) + 1 for text in (*layout.names, *layout.first))
    read = arrow_csv.ReadOptions(
        column_names=[str(i) for i in range(len(layout.names))],
        skip_rows=layout.header_lines,
        block_size=min(max(8 * length, _MIN_BLOCK), _MAX_BLOCK),
    )
    parse = arrow_csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True)
    convert = arrow_csv.ConvertOptions(column_types=types, include_columns=list(types), null_values=list(_MISSING))
    compression = "gzip" if layout.path.lower().endswith(".gz") else None
    with pa.input_stream(layout.path, compression=compression) as stream:
        return arrow_csv.read_csv(stream, read, parse, convert)


def _fault(layout: _Layout, chosen: list[int]) -> DataError | None:
    """The first fault in the order of reading; None if only pyarrow sees one."""
    booleans = layout.booleans
    for row, (line, fields) in enumerate(_records(layout.path, layout.delimiter, layout.header_lines), start=1):
        where = f"row {row} (line {line})"
        if len(fields) != len(layout.names):
            return DataError(f"{layout.path}: {where}: {len(fields)} fields, {len(layout.names)} are expected")
        for i in chosen:
            if fields[i].strip() in _MISSING:
                return DataError(f"{layout.path}: column {quoted(layout.names[i])}, {where}: missing value")
            if _is_text(fields[i], boolean=i in booleans):
                what = f"text, not a number (got {quoted(fields[i])}); {CHOOSE_HINT}"
                return DataError(f"{layout.path}: column {quoted(layout.names[i])}, {where}: {what}")
    return None


def _is_text(field: str, *, boolean: bool) -> bool:
    number = field in _MISSING or _NUMBER.fullmatch(field) or (boolean and field in _BOOLEANS)
    return not number
