"""How a text file holds its columns, found out from its first lines: encoding, separator, decimal sign, header, names
of the rows, and what each column holds. Nothing is guessed that cannot be overridden, see `ReadOptions`.
"""

import codecs
import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import IO, Literal

from lwgan_dist.data.files.loading import ROW_NAMES, ReadOptions, numbered_columns, quoted
from lwgan_dist.data.files.text.written_numbers import GROUPED_NUMBER, NUMBER, Sign, Written, decimal_sign, doubtful_in
from lwgan_dist.errors import DataError

MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "#NA", "NULL", "null", "None", "nan", "NaN", "NAN", "-nan", "<NA>", "NaT", "?", ".",
    "-",
)  # fmt: skip
"""Fields that stand for a missing value."""

BOOLEANS = {"true", "True", "TRUE", "false", "False", "FALSE"}

Kind = Literal["number", "loose number", "boolean", "text", "times"]
"""What a column holds. A loose number has marks between its thousands, or is a missing value with blanks around it."""

BLANKS = " "
"""The separator that stands for any number of blanks and tabs."""

_SEPARATORS = (";", "\t", "|", ",", BLANKS)
"""Those that are tried, in this order."""

_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "blanks": BLANKS, "point": "."}
_PHRASES = {"\t": "tabs", BLANKS: "blanks"}

_TIME = re.compile(
    r"\s*([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.]([0-9]{4}|[0-9]{2})|[0-9]{1,2}:[0-9]{2})"
    r"([T ]?[0-9:.,]*(Z|[+-][0-9:]+)?\s*([AaPp][Mm])?)?\s*"
)

_ROWS = 4096
"""Rows that are looked at in one go."""

_LINES, _CHARACTERS = 200, 1 << 20
"""The sample: so many lines of a file at most, of so many characters in all, but three at least."""

MOST_FIELDS, MOST_EMPTY = 2_000_000, 100_000
"""Fields of a line, and empty lines in the sample, at most."""


@dataclass(frozen=True)
class TextSource:
    """A text file, or the text of another one.

    Attributes:
        path: the file.
        separator: what its suffix says; None for a suffix that says nothing.
        content: its text in UTF-8, if it was made from something else.
    """

    path: str
    separator: str | None
    content: bytes | None = None

    @property
    def is_compressed(self) -> bool:
        """By gzip."""
        return self.path.lower().endswith(".gz")

    def binary(self) -> IO[bytes]:
        """Its bytes, decompressed."""
        if self.content is not None:
            return io.BytesIO(self.content)
        return gzip.open(self.path) if self.is_compressed else open(self.path, "rb")  # type: ignore[return-value]

    def lines(self, encoding: str) -> Iterator[str]:
        """Its lines as they are; bytes that are not UTF-8 become lone surrogates, which no number contains."""
        errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
        with self.binary() as stream, io.TextIOWrapper(stream, encoding, errors, newline="") as text:
            yield from text


@dataclass(frozen=True)
class Dialect:
    """How fields are written."""

    separator: str
    decimal: Sign = "."
    encoding: str = "utf-8-sig"

    def records(self, lines: Iterable[str], start: int = 0) -> Iterator[tuple[int, list[str]]]:
        """(number of its last line, fields) of each record behind ``start`` lines; empty lines are no records.

        Raises:
            csv.Error: a record that cannot be.
        """
        lines = islice(lines, start, None)
        if self.separator == BLANKS:
            lines = (f"{collapsed(line)}\n" for line in lines)
        reader = csv.reader(lines, delimiter=self.separator)
        try:
            for fields in reader:
                if fields:
                    yield start + reader.line_num, fields
        except csv.Error as error:
            raise csv.Error(f"line {start + reader.line_num}: {error}") from None

    def kind(self, text: str) -> Kind | None:
        """What a field holds; None of a missing value."""
        if text in MISSING:
            return None
        if NUMBER[self.decimal].fullmatch(text):
            return "number"
        if text in BOOLEANS:
            return "boolean"
        if text.strip() in MISSING or GROUPED_NUMBER[self.decimal].fullmatch(text):
            return "loose number"
        return "times" if _TIME.fullmatch(text) else "text"


def _is_split(text: str, kind: Kind | None) -> bool:
    """Whether a field holds a number between further separators."""
    pieces = re.split(r"[;\t|, ]", text) if kind == "text" else []
    return len(pieces) > 1 and any(map(NUMBER["."].fullmatch, pieces))


def is_void(text: str) -> bool:
    """Whether a line holds nothing, but for blanks or a comment."""
    return not text.strip() or re.match(r"#(\s|$)", text) is not None


def _is_row(fields: list[str], width: int) -> bool:
    """Whether a record is one; a line with nothing in it is none, unless it has as many fields as there are columns."""
    return len(fields) == width or not is_void(fields[0]) or (len(fields) > 1 and not fields[0].strip())


def collapsed(line: str) -> str:
    """A line with one blank where there are blanks and tabs, and none at its ends."""
    return re.sub(r"[ \t]+", " ", line.strip())


@dataclass(frozen=True)
class Layout:
    """The facts in the first lines of a file.

    Attributes:
        source: the file.
        dialect: how fields are written.
        names: of the columns.
        kinds: what each column holds.
        start: lines up to the end of the header, 0 if there is none.
        has_row_names: whether the first column holds names of the rows.
        has_end: whether there is a separator at the end of each line, with nothing behind it: the last column.
        header: where the names of the columns are from: the first row, a line with ``#``, or nowhere.
        first: fields of the first row; empty if there are no rows.
        doubtful: position of a column that leaves the decimal sign in doubt; None of none.
        is_spoken: whether the decimal sign is given, a column speaks for it, or all rows were seen.
        fit: share of the rows of the sample that have as many fields as there are columns.
        whole: share of their fields that no further separator would split.
    """

    source: TextSource
    dialect: Dialect
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    start: int
    has_row_names: bool
    has_end: bool
    header: Literal["first row", "#", "none"]
    first: list[str]
    doubtful: int | None
    is_spoken: bool
    fit: float
    whole: float

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """The rows, see `Dialect.records`.

        Raises:
            DataError: a record that cannot be.
        """
        try:
            for line, fields in self.dialect.records(self.source.lines(self.dialect.encoding), self.start):
                if _is_row(fields, len(self.names)):
                    yield line, fields
        except csv.Error as error:
            raise DataError(f"{self.source.path}: {error}") from None

    def place(self, row: int) -> str:
        """The line of a row, from reading the file up to it."""
        record = next(islice(self.records(), row, None), None)
        return f"row {row + 1}" + (f" (line {record[0]})" if record else "")

    @property
    def numbers(self) -> int:
        """How many columns hold numbers."""
        return sum("number" in kind for kind in self.kinds)

    def how(self) -> Iterator[str]:
        """What was found out, in words, as far as it does not go without saying."""
        separator, encoding = self.dialect.separator, self.dialect.encoding
        if separator != self.source.separator:
            yield f"{_phrase(separator)} between columns"
        if self.dialect.decimal == ",":
            yield "decimal comma"
        if encoding != "utf-8-sig":
            yield "Latin-1 (cp1252)" if encoding == "cp1252" else encoding.upper()
        if any(GROUPED_NUMBER[self.dialect.decimal].fullmatch(text) for text in self.first):
            yield "marks between thousands"
        if self.header != "first row":
            yield "no header" if self.header == "none" else "names from the line with #"
        if self.has_end:
            yield "a separator at the end of each line"


def find_layout(source: TextSource, options: ReadOptions) -> Layout:
    """How a text file holds its columns.

    Raises:
        DataError: no rows, or an option that the file contradicts.
    """
    path, encoding = source.path, _encoding(source, options.encoding)
    lines, is_all = _sample(source.lines(encoding), path)
    if not any(line.strip() for line in lines):
        raise DataError(f"{path}: no rows, nothing but empty lines")
    separator = _character(options.separator)
    decimal: Sign | None = None if options.decimal is None else "," if _character(options.decimal) == "," else "."
    find = partial(_best, source, lines, is_all, encoding)
    free = find(None, None)
    layout = free if separator is None and decimal is None else find(separator, decimal)
    if separator and (layout.fit < 1 == free.fit or len(layout.names) == 1 < len(free.names)):
        mend = f"{_phrase(free.dialect.separator)} does: leave data.separator out"
        raise DataError(f"{path}: data.separator: {_phrase(layout.dialect.separator)} makes no even columns; {mend}")
    if decimal and layout.numbers == 0 < free.numbers:
        mend = f"{free.numbers} do with {quoted(free.dialect.decimal)}: leave data.decimal out"
        raise DataError(f"{path}: data.decimal: no column holds numbers with {quoted(decimal)}; {mend}")
    if not layout.is_spoken and layout.doubtful is None:
        layout = replace(layout, doubtful=_doubtful_anywhere(layout))
    if layout.doubtful is not None:
        name = quoted(layout.names[layout.doubtful])
        mend = "say which with data.decimal=point or data.decimal=comma"
        raise DataError(f"{path}: column {name} leaves in doubt whether the decimal sign is a point or a comma; {mend}")
    if any("\udc80" <= character <= "\udcff" for name in layout.names for character in name):
        raise DataError(f"{path}: line {layout.start}: not UTF-8 text; say which it is with data.encoding")
    return layout


def _doubtful_anywhere(layout: Layout) -> int | None:
    """The position of a column that leaves the decimal sign in doubt when all rows are looked at; None of none."""
    with layout.source.binary() as stream:
        if not any(b"." in block or b"," in block for block in iter(partial(stream.read, _CHARACTERS), b"")):
            return None
    rows = (fields for _, fields in layout.records())
    return doubtful_in(map(_columns, iter(lambda: list(islice(rows, _ROWS)), [])), layout.dialect.separator)


def _character(given: str | None) -> str | None:
    return None if given is None else _WORDS.get(given, given)


def _phrase(separator: str) -> str:
    return _PHRASES.get(separator, quoted(separator))


def _encoding(source: TextSource, given: str | None) -> str:
    """The encoding of a file: by its first bytes; where these are no UTF-8, that of Windows in the west, cp1252."""
    with source.binary() as stream:
        head = stream.read(_CHARACTERS)
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    found = next((name for mark, name in marks.items() if head.startswith(mark)), None)
    if found is None and head[1:200:2].count(0) > 50:
        found = "utf-16-le"
    if found is None:
        found = next(name for name in ("utf-8-sig", "cp1252", "latin-1") if _decodes(head, name))
    if given is None:
        return found
    wanted = "utf-8-sig" if codecs.lookup(given).name == "utf-8" else given
    if not _decodes(head, wanted) or (found.startswith("utf-16") and "16" not in wanted):
        raise DataError(
            f"{source.path}: data.encoding: the file is not {given}; leave data.encoding out (it reads as {found})"
        )
    return wanted


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(head)  # a character may be cut at the end
    except UnicodeError:
        return False
    return True


def _sample(lines: Iterator[str], path: str) -> tuple[list[str], bool]:
    """The first lines of a file, and whether there are no more.

    Raises:
        DataError: a line of too many fields, or too many lines with nothing in them.
    """
    sample, size, filled = list[str](), 0, 0
    for line in lines:
        if len(line) > MOST_FIELDS and (fields := max(map(line.count, _SEPARATORS))) > MOST_FIELDS:
            raise DataError(f"{path}: line {len(sample) + 1}: {fields:,} fields; at most {MOST_FIELDS:,} are read")
        if len(sample) - filled > MOST_EMPTY:
            raise DataError(f"{path}: more than {MOST_EMPTY:,} of its first lines are empty; leave them out")
        sample.append(line)
        size, filled = size + len(line), filled + bool(line.strip())
        if filled >= _LINES or (size > _CHARACTERS and filled >= 3):
            return sample, False
    return sample, True


def _best(
    source: TextSource, lines: list[str], is_all: bool, encoding: str, separator: str | None, decimal: Sign | None
) -> Layout:
    """The layout with the separator that makes even columns of fields that no other one splits."""
    own = separator or source.separator or ","
    tried = (own,) if separator or source.content else _SEPARATORS
    problems, layouts = list[str](), dict[str, Layout]()
    for each in tried:
        try:
            layouts[each] = _framed(source, lines, is_all, Dialect(each, encoding=encoding), decimal)
        except csv.Error as error:  # of a wrong separator, fields of a million characters
            problems.append(f"{source.path}: {error}")
    if not layouts:
        raise DataError(problems[0])
    several = [layout for layout in layouts.values() if len(layout.names) > 1 and (layout.numbers or len(tried) == 1)]
    even = [layout for layout in several if layout.fit == 1]
    if even:
        return max(even, key=lambda layout: layout.whole)
    uneven = [layout for layout in several if layout.fit >= 0.5]
    if uneven and (own not in layouts or max(layout.whole for layout in uneven) > layouts[own].whole):
        return max(uneven, key=lambda layout: (layout.fit, layout.whole))
    return layouts.get(own) or next(iter(layouts.values()))


def _framed(source: TextSource, lines: list[str], is_all: bool, dialect: Dialect, decimal: Sign | None) -> Layout:
    """The layout with a separator."""
    count = _comments(lines)
    records = list(dialect.records(lines, count))
    if not is_all and len(records) > 2:
        del records[-1]  # it may go on
    if not records:
        raise DataError(f"{source.path}: no rows, nothing but comments")
    width, _ = Counter(len(fields) for _, fields in records).most_common(1)[0]
    rows = [fields for i, (_, fields) in enumerate(records) if i == 0 or _is_row(fields, width)]
    written = _decimal(dialect, rows)
    dialect = replace(dialect, decimal=decimal or written.sign)
    has_end = len(rows[-1]) > 1 and all(fields[-1] == "" for fields in rows[1:] or rows)
    has_end = has_end and (rows[0][-1] == "" or len(rows[0]) < len(rows[-1]))
    names, header = _names(dialect, rows, lines[:count], has_end)
    body = rows[header == "first row" :]
    if header == "first row" and {len(fields) for fields in body} == {len(names) + 1} and _name_rows(body):
        names = ("", *names)
    kinds = [[dialect.kind(text) for text in fields] for fields in body]
    fields = [(text, kind) for texts, of in zip(body, kinds, strict=True) for text, kind in zip(texts, of, strict=True)]
    return Layout(
        source, dialect, names,
        kinds=tuple(kind_of(Counter(of[i] for of in kinds if i < len(of))) for i in range(len(names))),
        start=records[0][0] if header == "first row" else count,
        has_row_names=header == "first row" and names[0] in ROW_NAMES,
        has_end=has_end,
        header=header,
        first=body[0] if body else [],
        doubtful=None if decimal else written.doubtful,
        is_spoken=bool(decimal) or is_all or written.is_spoken,
        fit=sum(len(fields) == len(names) for fields in body) / max(1, len(body)),
        whole=1 - sum(_is_split(text, kind) for text, kind in fields) / max(1, len(fields)),
    )  # fmt: skip


def kind_of(counts: Counter[Kind | None]) -> Kind:
    """What a column holds, from how many of its fields hold what: text where more than half of them do."""
    filled, texts = sum(counts.values()) - counts[None], counts["text"] + counts["times"]
    if 2 * texts > filled:
        return "times" if counts["times"] >= counts["text"] else "text"
    if counts["boolean"] and 2 * counts["boolean"] >= filled:
        return "boolean"
    return "loose number" if counts["loose number"] else "number"


def _comments(lines: list[str]) -> int:
    """How many lines at the beginning are comments, as `numpy.savetxt` writes the names of the columns."""
    count = 0
    for number, line in enumerate(lines, start=1):
        if re.match(r"#(\s|$)", line):
            count = number
        elif line.strip():
            break
    return count


def _decimal(dialect: Dialect, rows: list[list[str]]) -> Written:
    """The decimal sign of rows, the first of which may hold names."""
    return decimal_sign(_columns(rows[1:] or rows), dialect.separator)


def _columns(rows: list[list[str]]) -> list[list[str]]:
    """What is not missing in each column."""
    columns = [[fields[i] for fields in rows if i < len(fields)] for i in range(max(map(len, rows)))]
    return [[text for text in of if text.strip() not in MISSING] for of in columns]


def _names(
    dialect: Dialect, rows: list[list[str]], comments: list[str], has_end: bool
) -> tuple[tuple[str, ...], Literal["first row", "#", "none"]]:
    """Names of the columns, and where they are from; of what is behind the last separator, an empty one.

    The first row holds them unless all of it are numbers, or there are some beside texts that recur below; or if it
    counts the columns, as pandas calls those without names.
    """
    end = ("",) if has_end else ()
    first = rows[0][:-1] if has_end and rows[0][-1] == "" else rows[0]
    kinds = [None if text in MISSING[1:] else dialect.kind(text) or "text" for text in first]
    recurs = any(text and kinds[i] == "text" and _recurs(text, i, rows) for i, text in enumerate(first))
    is_text = not all(kind in (None, "number") for kind in kinds) and not ("number" in kinds and recurs)
    if is_text or _counts_columns(first, rows[1:]):
        return (*(text.strip() for text in first), *end), "first row"
    if comments:
        said = next(iter(dialect.records([comments[-1][1:].strip()])), (0, []))[1]
        if len(said) == len(first):
            return (*(text.strip() for text in said), *end), "#"
    return (*numbered_columns(len(first)), *end), "none"


def _recurs(text: str, column: int, rows: list[list[str]]) -> bool:
    """Whether a text of the first row is in its column again, as classes are and names of columns are not."""
    return any(column < len(fields) and fields[column] == text for fields in rows[1:])


def _counts_columns(first: list[str], rows: list[list[str]]) -> bool:
    """Whether a row is 0, 1, 2, ... or other whole numbers that follow each other, such as years, of at least three
    columns, with fractions below.
    """
    start = int(first[0]) if first[0].isdigit() else -1
    is_count = len(first) > 2 and start >= 0 and first == [str(start + i) for i in range(len(first))]
    return is_count and any(text and not text.strip().lstrip("+-").isdigit() for fields in rows for text in fields)


def _name_rows(rows: list[list[str]]) -> bool:
    """Whether the first fields name the rows: they differ, and are no numbers or count the rows."""
    names = [fields[0] for fields in rows]
    if len(set(names)) < len(names):
        return False
    counts = [[str(i + start) for i in range(len(names))] for start in (0, 1)]
    return names in counts or not any(NUMBER["."].fullmatch(name) for name in names)
