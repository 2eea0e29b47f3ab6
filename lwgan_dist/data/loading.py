"""What the readers of all file formats share: what they return, how columns are chosen, how a rejection is worded."""

import difflib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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

CHOOSE_HINT = "choose the numeric columns with data.columns"

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


class Loaded(NamedTuple):
    """The rows that a reader returns.

    Attributes:
        rows: shape (n, *shape of a row), of the type in the file, C-contiguous, not checked yet.
        columns: names of the numbers of a row, p of them.
        place: where in the file a row stands.
        are_pictures: whether they were decoded from picture files, so that the axis of their colours is known.
    """

    rows: Array
    columns: tuple[str, ...]
    place: Place = row_number
    are_pictures: bool = False


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
        raise UnreadableError(f"{path}: no such file or folder") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and is_numbered_transient(error):
            raise
        raise UnreadableError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None


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


def choose_columns(available: Sequence[str], wanted: Sequence[str] | None, source: str) -> list[int]:
    """Positions of the wanted columns, in the order in which they were asked for; of all columns if None.

    Raises:
        DataError: no column, a column that does not exist, or one that is asked for or exists twice.
    """
    names = available if wanted is None else wanted
    if not names:
        raise DataError(f"{source}: no columns" if wanted is None else f"{source}: an empty list of columns was given")
    position = {name: i for i, name in enumerate(available)}
    for name in names:
        if name not in position:
            raise DataError(f"{source}: no column {quoted(name)}{_suggestion(name, available)}")
    require_unique(names, source)
    chosen = set(names)
    require_unique([name for name in available if name in chosen], source)
    return [position[name] for name in names]


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
