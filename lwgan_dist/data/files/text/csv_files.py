"""Text files: CSV, TSV and their like, compressed or not. pyarrow reads them as
`lwgan_dist.data.files.text.csv_layout` found out; where it cannot, a slow reader says in which line.
"""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from lwgan_dist.data.files.arrow_files import to_rows
from lwgan_dist.data.files.loading import (
    Loaded,
    Reading,
    ReadOptions,
    columns_hint,
    damage_rejected,
    drop_hint,
    quoted,
    require_numbers,
    used_columns,
)
from lwgan_dist.data.files.text.csv_layout import (
    BLANKS,
    MISSING,
    Kind,
    Layout,
    TextSource,
    collapsed,
    find_layout,
    is_void,
    kind_of,
)
from lwgan_dist.data.files.text.written_numbers import GROUPED
from lwgan_dist.errors import DataError

_MIN_BLOCK, _MAX_BLOCK = 1 << 22, 1 << 30
"""Bytes that pyarrow parses in one go; a line must fit."""

_LINES_AT_ONCE = 4096
"""Lines that are rewritten in one go where any number of blanks separates the columns."""

_TYPES = {"number": pa.float64(), "loose number": pa.string(), "boolean": pa.bool_()}


def read_csv(path: str, options: ReadOptions, separator: str | None) -> Loaded:
    """The rows of a text file; see `read_text`.

    Args:
        path: the file; compressed if it ends in ``.gz``.
        options: the columns to use, and what is not to be found out.
        separator: what the suffix says; None if it says nothing.
    """
    return read_text(TextSource(path, separator), options, "TSV" if separator == "\t" else "CSV")


def read_text(source: TextSource, options: ReadOptions, kind: str) -> Loaded:
    """The rows of a text, float64; boolean if all columns are.

    The first line is a header unless all its fields are numbers; then the columns are called x1..xp, or as the comment
    says that stands before it. Empty lines are skipped, and lines of blanks or behind a ``#`` that have not as many
    fields as there are columns. Columns of which more than half of the fields are text are left out, as are names of
    the rows; a column of which fewer are is refused.

    Args:
        source: the text.
        options: the columns to use, and what is not to be found out.
        kind: of file, for messages.

    Raises:
        DataError: not such a file, lines of unequal length, text among numbers, or columns that do not exist.
    """
    with damage_rejected(source.path, kind):
        layout = find_layout(source, options)
        chosen, reading = _choose(layout, options)
        names = [layout.names[i] for i in chosen]
        if not layout.first:
            return Loaded(np.empty((0, len(names))), tuple(names))
        try:
            table = _parse(layout, chosen)
        except pa.ArrowInvalid as error:
            layout = _looked_through(layout, chosen, error)
            chosen, reading = _choose(layout, options)
            table = _parse(layout, chosen)
        names = [layout.names[i] for i in chosen]
    return to_rows(table.rename_columns(names), source.path, layout.place)._replace(reading=reading)


def _choose(layout: Layout, options: ReadOptions) -> tuple[list[int], Reading]:
    """Positions of the columns to use, and what is to be said."""
    path, names = layout.source.path, layout.names
    wanted = options.columns or ()
    first = 1 if layout.has_row_names and (names[0] not in wanted or not names[0]) else 0
    positions = range(first, len(names) - layout.has_end)
    chosen = [positions[i] for i in used_columns([names[i] for i in positions], options, path)]
    how = (*layout.how(), *["row names in column 1 left out"] * first)
    if options.columns is not None:
        for i in chosen:
            if layout.kinds[i] in ("text", "times") and layout.first:
                raise _text_fault(layout, i, "leave it out of data.columns")
        return chosen, Reading(how)
    for i in chosen:  # left alone, a row index would become a coordinate
        if not names[i]:
            named = columns_hint(*(name for name in names if name))
            where = f"the header (line {layout.start}) has no name for column {i + 1}"
            raise DataError(f"{path}: {where}; name it, or leave it out: {named}")
    left_out = {names[i]: layout.kinds[i] for i in chosen if layout.kinds[i] in ("text", "times") and layout.first}
    chosen = [i for i in chosen if names[i] not in left_out]
    hint = "; say what separates its columns with data.separator" if len(names) == 1 else ""
    require_numbers([names[i] for i in chosen], left_out, path, hint)
    return chosen, Reading(how, left_out)


def _parse(layout: Layout, chosen: list[int]) -> pa.Table:
    """The chosen columns in their order, named by position because names in the file may repeat.

    Types are given: pyarrow would infer them from the first block, and reject a column of integers whose first
    fraction comes later.
    """
    types = {str(i): _TYPES[layout.kinds[i]] for i in chosen}
    ends = {str(len(layout.names) - 1): pa.null()} if layout.has_end else {}
    length = sum(len(text) + 1 for text in (*layout.names, *layout.first))
    is_utf8 = layout.dialect.separator == BLANKS or layout.dialect.encoding == "utf-8-sig"
    read = arrow_csv.ReadOptions(
        column_names=[str(i) for i in range(len(layout.names))],
        skip_rows=layout.start,
        block_size=min(max(8 * length, _MIN_BLOCK), _MAX_BLOCK),
        encoding="utf8" if is_utf8 else layout.dialect.encoding,
    )
    parse = arrow_csv.ParseOptions(
        delimiter=layout.dialect.separator, newlines_in_values=True,
        invalid_row_handler=lambda row: "skip" if is_void(row.text) else "error",
    )  # fmt: skip
    convert = arrow_csv.ConvertOptions(
        column_types=types | ends, include_columns=[*types, *ends], null_values=list(MISSING), strings_can_be_null=True,
        decimal_point=layout.dialect.decimal,
    )  # fmt: skip
    with _stream(layout) as stream:
        table = arrow_csv.read_csv(stream, read, parse, convert).select(list(types))
    for at, i in enumerate(chosen):
        if layout.kinds[i] == "loose number":
            table = table.set_column(at, str(i), _tightened(table.column(at), layout.dialect.decimal))
    return table


def _stream(layout: Layout) -> pa.NativeFile:
    source = layout.source
    if layout.dialect.separator == BLANKS:
        return pa.PythonFile(_Collapsed(source.lines(layout.dialect.encoding)), mode="r")
    if source.content is not None:
        return pa.BufferReader(source.content)
    return pa.input_stream(source.path, compression="gzip" if source.is_compressed else None)


class _Collapsed(io.RawIOBase):
    """Lines with one blank where there are several, or tabs, as bytes in UTF-8."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._rest = lines, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        while len(self._rest) < size and (lines := list(islice(self._lines, _LINES_AT_ONCE))):
            self._rest += "".join(f"{collapsed(line)}\n" for line in lines).encode(errors="surrogateescape")
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


def _tightened(texts: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Numbers with marks between their thousands, or with blanks around what is missing.

    Raises:
        pyarrow.ArrowInvalid: one of them is no number.
    """
    texts = pc.utf8_trim_whitespace(texts)
    texts = pc.if_else(pc.is_in(texts, pa.array(MISSING)), pa.scalar(None, pa.string()), texts)
    grouped = pc.match_substring_regex(texts, f"^({GROUPED[decimal]})$")
    bare = pc.replace_substring_regex(texts, f"[^0-9+{decimal}-]", "")
    texts = pc.if_else(grouped, bare, texts)
    return pc.replace_substring(texts, decimal, ".").cast(pa.float64())


def _looked_through(layout: Layout, chosen: list[int], error: pa.ArrowInvalid) -> Layout:
    """The layout with the kinds that columns turn out to be of when all of their fields are looked at.

    Raises:
        DataError: the first line of another length, or text in a column of numbers.
        pyarrow.ArrowInvalid: the one that is given, if all is as it was thought to be.
    """
    counts: list[Counter[Kind | None]] = [Counter() for _ in layout.names]
    other = replace(layout.dialect, decimal="." if layout.dialect.decimal == "," else ",")
    otherwise: list[Counter[Kind | None]] = [Counter() for _ in layout.names]
    for row, (line, fields) in enumerate(layout.records(), start=1):
        expected = len(layout.names) - layout.has_end
        if len(fields) != len(layout.names) or (layout.has_end and fields[-1].strip()):
            where = f"{layout.source.path}: row {row} (line {line})"
            raise DataError(
                f"{where}: {len(fields)} fields, {expected} are expected; mend it, or what stands above the names"
            )
        for i in chosen:
            counts[i][layout.dialect.kind(fields[i])] += 1
            otherwise[i][other.kind(fields[i])] += 1
    kinds = [kind_of(counts[i]) if i in set(chosen) else kind for i, kind in enumerate(layout.kinds)]
    for i in chosen:
        if otherwise[i]["text"] + otherwise[i]["times"] == 0 < counts[i]["text"]:
            word = "comma" if other.decimal == "," else "point"
            mend = f"with data.decimal={word} all of its fields are numbers"
            raise _text_fault(layout, i, mend)
        allowed = ("boolean",) if kinds[i] == "boolean" else ("number", "loose number")
        if kinds[i] not in ("text", "times") and any(kind not in allowed for kind in counts[i] if kind):
            raise _text_fault(layout, i, f"mend it, or leave the column out: {drop_hint(layout.names[i])}", allowed)
    if kinds == list(layout.kinds):
        raise error
    return replace(layout, kinds=tuple(kinds))


def _text_fault(layout: Layout, i: int, mend: str, allowed: tuple[str, ...] = ("number", "loose number")) -> DataError:
    """The first text in a column."""
    for row, (line, fields) in enumerate(layout.records(), start=1):
        if i < len(fields) and layout.dialect.kind(fields[i]) not in (None, *allowed):
            where = f"{layout.source.path}: column {quoted(layout.names[i])}, row {row} (line {line})"
            return DataError(f"{where}: text, not a number (got {quoted(fields[i])}); {mend}")
    raise AssertionError("there is no text")
