"""What the readers of all file formats share: what they return, how columns are chosen, how a rejection is worded."""

import difflib
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lwgan_dist.data.blocks import Array
from lwgan_dist.errors import DataError, UnreadableError
from lwgan_dist.retries import is_numbered_transient

Place = Callable[[int], str]
"""0-based row -> where a person finds it, for example ``row 17 (line 18)``."""

MAPPED_BYTES = 1 << 26
"""Files of at least this size are mapped where their format allows: only what is read takes memory, and the file must
not be overwritten meanwhile. Smaller ones are read, so that what becomes of the file afterwards does not matter."""

ROW_NAMES = ("", "Unnamed: 0", "__index_level_0__")
"""Names that pandas and R give the column of the names of the rows, its index, where it has none."""

_DAMAGE = (
    pa.ArrowException, OSError, EOFError, ValueError, TypeError, SyntaxError, MemoryError, RuntimeError,
    AttributeError, LookupError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What pyarrow, numpy, gzip and zipfile raise at files that are not of the format of their suffix (from fuzzing)."""


def row_number(row: int) -> str:
    """The place of a row in a file that has nothing but rows."""
    return f"row {row + 1}"


class Labels(NamedTuple):
    """The classes of rows.

    Attributes:
        codes: of the class of each row, shape (n,).
        names: of the classes by their codes; the code itself where a class has no name.
        are_in_file: whether the codes are those of the file; numbers that were given to names here choose nothing.
    """

    codes: NDArray[np.int64]
    names: dict[int, str]
    are_in_file: bool = False

    def classes(self) -> dict[str, list[int]]:
        """The codes of each name, several where classes are called the same, in the order of the codes."""
        by_name: dict[str, list[int]] = {}
        for code, name in sorted(self.names.items()):
            by_name.setdefault(name, []).append(code)
        return by_name

    def picks(self, wanted: Sequence[str | int], source: str) -> NDArray[np.int64]:
        """Positions of the rows of some classes.

        Each is given by its name, or by its name in another case where only one is so called, or else by its code
        where the file holds codes. All classes that are called the same are meant together.

        Raises:
            DataError: there is no such class, or several have this name in another case.
        """
        codes = [code for one in wanted for code in self._codes(one, source)]
        return np.flatnonzero(np.isin(self.codes, codes))

    def _codes(self, one: str | int, source: str) -> list[int]:
        classes, wanted = self.classes(), str(one)
        folded = [name for name in classes if name.casefold() == wanted.casefold()]
        alike = [wanted] if wanted in classes else folded
        if len(alike) > 1:
            raise DataError(f"{source}: the label {quoted(wanted)} may be each of {listed(alike)}; write it as there")
        if alike:
            return classes[alike[0]]
        if self.are_in_file and one in self.names:
            return [int(one)]
        raise DataError(f"{source}: no label {quoted(wanted)}{_suggestion(wanted, list(classes))}")


class ReadOptions(NamedTuple):
    """What is asked of a reader, see `lwgan_dist.config.TableConfig`.

    Attributes:
        columns: names of the columns to use, in this order; all that hold numbers if None.
        drop: names of the columns to leave out.
        array: of several, in an NPZ or Excel file.
        separator, decimal: of a text file, as the characters themselves; found out if None.
        encoding: of a text file; found out if None.
    """

    columns: Sequence[str] | None = None
    drop: Sequence[str] | None = None
    array: str | None = None
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None


DEFAULTS = ReadOptions()
"""Everything is found out, and all is read."""


@dataclass(frozen=True)
class Reading:
    """How a table was read, as far as it does not go without saying.

    Attributes:
        how: what was found out about the file, in words.
        left_out: why columns were left out that nobody asked to, by name.
        dropped_rows: rows that were left out because they lack a value.
        imputed: values that were filled in.
    """

    how: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    dropped_rows: int = 0
    imputed: int = 0

    @property
    def line(self) -> str:
        """All of it in one line; empty if there is nothing to say."""
        by_why: dict[str, list[str]] = {}
        for name, why in self.left_out.items():
            by_why.setdefault(why, []).append(name)
        left_out = ", ".join(f"{listed(names, 5)} ({why})" for why, names in by_why.items())
        parts = {
            f"read as: {', '.join(self.how)}": self.how,
            f"left out: {left_out}": left_out,
            f"rows dropped that lack a value: {self.dropped_rows}": self.dropped_rows,
            f"missing values filled in with the median of their column: {self.imputed}": self.imputed,
        }
        return "; ".join(part for part, is_so in parts.items() if is_so)


class Loaded(NamedTuple):
    """The rows that a reader returns.

    Attributes:
        rows: shape (n, *shape of a row), of the type in the file, C-contiguous, not checked yet.
        columns: names of the numbers of a row, p of them.
        place: where in the file a row stands.
        are_pictures: whether they were decoded from picture files, so that the axis of their colours is known.
        are_columns: whether the numbers of a row are columns of the file, each of which may be left out.
        reading: how the file was read.
    """

    rows: Array
    columns: tuple[str, ...]
    place: Place = row_number
    are_pictures: bool = False
    are_columns: bool = True
    reading: Reading = Reading()


@contextmanager
def damage_rejected(source: str, kind: str) -> Iterator[None]:
    """Turns whatever a library raises at a damaged file into an UnreadableError; errors of the file system that pass
    remain, to be tried again.

    Args:
        source: the file, for the message.
        kind: the format that it should have, for the message.
    """
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and is_numbered_transient(error):
            raise
        if isinstance(error, PermissionError):
            raise UnreadableError(f"{source}: cannot be opened (Permission denied)") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(f"{source}: not a readable {kind} file ({shortened(reason, 200)})") from None


@contextmanager
def absence_rejected(path: str) -> Iterator[None]:
    """Turns what the file system raises at a path that cannot be used into an UnreadableError; errors that pass remain,
    to be tried again.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableError(f"{path}: no such file or folder{_like(Path(path))}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and is_numbered_transient(error):
            raise
        raise UnreadableError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None


def _like(path: Path) -> str:
    """A name beside a path that is not there which may have been meant; empty if there is none."""
    with suppress(OSError, ValueError):
        close = difflib.get_close_matches(path.name, sorted(os.listdir(path.parent))[:_MOST_LISTED], n=1, cutoff=0.75)
        if close:
            return f"; did you mean {close[0]}?"
    return ""


_MOST_LISTED = 10_000
"""Names in a folder with which one that is not there is compared."""


def files_below(folder: str, suffixes: tuple[str, ...], above: frozenset[str] = frozenset()) -> Iterator[str]:
    """All files with one of the suffixes in a folder and below it, in any order; links are followed.

    What begins with ``.`` or ``_`` is left out.

    Args:
        folder: where to look.
        suffixes: in small letters.
        above: real paths of the folders that were entered on the way to this one.

    Raises:
        DataError: a link to nothing or to a folder that it lies in, a folder that cannot be read, or something with the
            name of a file that is none, for example a pipe.
    """
    real = os.path.realpath(folder)
    if real in above:
        raise DataError(f"{folder}: a link to a folder that it lies in")
    with absence_rejected(folder):
        names = os.listdir(folder)
    for name in names:
        path = str(Path(folder, name))
        if name.startswith((".", "_")):
            continue
        if os.path.isdir(path):
            yield from files_below(path, suffixes, above | {real})
        elif name.lower().endswith(suffixes):
            with absence_rejected(path):
                mode = os.stat(path).st_mode
            if not stat.S_ISREG(mode):
                raise DataError(f"{path}: neither a file nor a folder")
            yield path


def used_columns(available: Sequence[str], options: ReadOptions, source: str) -> list[int]:
    """Positions of the columns that are asked for, in their order, or of those that are not to be left out; see
    `choose_columns`.
    """
    if options.drop is None:
        return choose_columns(available, options.columns, source)
    require_known(options.drop, available, source)
    dropped = set(options.drop)
    rest = [i for i, name in enumerate(available) if name not in dropped]
    if not rest:
        raise DataError(f"{source}: data.drop leaves no column")
    require_unique([available[i] for i in rest], source)
    return rest


def choose_columns(available: Sequence[str], wanted: Sequence[str] | None, source: str) -> list[int]:
    """Positions of the wanted columns, in the order in which they were asked for; of all columns if None.

    Raises:
        DataError: no column, a column that does not exist, or one that is asked for or exists twice.
    """
    names = available if wanted is None else wanted
    if not names:
        raise DataError(f"{source}: no columns" if wanted is None else f"{source}: an empty list of columns was given")
    require_known(names, available, source)
    require_unique(names, source)
    position = {name: i for i, name in enumerate(available)}
    chosen = set(names)
    require_unique([name for name in available if name in chosen], source)
    return [position[name] for name in names]


def require_known(names: Sequence[str], available: Sequence[str], source: str) -> None:
    """Raises DataError if there is no column of one of the names."""
    known = set(available)
    for name in names:
        if name not in known:
            raise DataError(f"{source}: no column {quoted(name)}{_suggestion(name, available)}")


def require_numbers(names: Sequence[str], left_out: Mapping[str, str], source: str, hint: str = "") -> None:
    """Raises DataError if no column is left."""
    if not names:
        those = ", ".join(f"{quoted(name)} ({shortened(why, 60)})" for name, why in left_out.items())
        raise DataError(f"{source}: no numeric column: {shortened(those, 300)}{hint}")


def drop_hint(*names: str) -> str:
    """The setting that leaves columns out, as it can be given."""
    return f"data.drop=[{', '.join(map(_in_yaml, names))}]"


def columns_hint(*names: str) -> str:
    """The setting that uses columns alone, as it can be given."""
    return f"data.columns=[{', '.join(map(_in_yaml, names))}]"


def _in_yaml(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][\w.]*", name) and name.lower() not in ("null", "true", "false")
    return name if plain else json.dumps(name, ensure_ascii=False)


def require_unique(names: Sequence[str], source: str) -> None:
    """Raises DataError if a column name occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{source}: the column name {quoted(name)} occurs more than once")
        seen.add(name)


def quoted(value: str) -> str:
    """A name or value from a file in one line: quotes around it, control characters escaped, at most 60 characters."""
    return shortened(repr(value), 60)


def shortened(text: str, limit: int) -> str:
    """The text, cut at the limit."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Quoted names, at most ``limit`` of them."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(quoted(name) for name in names[:limit]) + more


def numbered_columns(count: int) -> tuple[str, ...]:
    """The names x1..xp of columns that have none."""
    return tuple(f"x{i + 1}" for i in range(count))


def _suggestion(name: str, available: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, available[:10_000])
    meant = f" (did you mean {listed(close)}?)" if close else ""
    return f"{meant}; there are {listed(available)}"
