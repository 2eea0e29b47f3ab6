"""How much a file may become: a few bytes can unpack to more than any memory, as gzip and zip archives, as files with
holes, as one line without an end. They are refused before they are read. What a format declares in its own way is
handed to `require_room` by its reader.
"""

import gzip
import os
import stat
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO

from lwgan_dist.errors import DataError

MOST_FACTOR, FREE_BYTES = 200, 1 << 28
"""A file may become so many times its size on the disk, and that much more."""

MOST_LINE = 1 << 28
"""Bytes of a line of text, at most."""

MOST_NUMBERS = 10_000_000
"""Numbers of a row, at most: each has a name."""

_NAME_BYTES = 80
"""Of a name in memory."""

_TEXT = tuple(f"{kind}{end}" for kind in (".csv", ".tsv", ".txt", ".dat", ".data") for end in ("", ".gz"))
_CHUNK = 1 << 22


def refuse_bombs(path: str) -> None:
    """Refuse a file that would become too much; what is no regular file, or is damaged, is left to its reader.

    Raises:
        DataError: it would.
    """
    with suppress(OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError):
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return
        on_disk = 512 * getattr(status, "st_blocks", status.st_size)
        if _has_hole(path, status.st_size):  # some file systems count blocks late, or not at all
            require_room(path, status.st_size, max(on_disk, 4096), "has holes: it")
        name = path.lower()
        if name.endswith(".npz"):
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    packed = min(member.compress_size, status.st_size)
                    require_room(path, member.file_size, packed, f"the array {Path(member.filename).stem!r}")
        elif name.endswith(_TEXT):
            with gzip.open(path) if name.endswith(".gz") else open(path, "rb") as stream:
                _require_lines(path, stream, status.st_size)


def _has_hole(path: str, size: int) -> bool:
    """Whether the file system knows of a hole in a file."""
    with open(path, "rb") as stream:
        return os.lseek(stream.fileno(), 0, getattr(os, "SEEK_HOLE", os.SEEK_END)) < size


def require_width(numbers: int, path: str, packed: int) -> None:
    """Refuse rows of more numbers than can be named.

    Args:
        numbers: of a row.
        path: the file, for the error.
        packed: bytes that it takes on the disk.

    Raises:
        DataError: they have.
    """
    if numbers > MOST_NUMBERS:
        raise DataError(f"{path}: rows of {numbers:,} numbers; at most {MOST_NUMBERS:,} are read")
    require_room(path, _NAME_BYTES * numbers, packed, "the names of its numbers")


def _require_lines(path: str, stream: IO[bytes] | gzip.GzipFile, size: int) -> None:
    """Refuse a text that unpacks to too much, or that has no end of a line early on; of a text that is not compressed
    no more is read.
    """
    packed, total, has_line = isinstance(stream, gzip.GzipFile), 0, False
    while chunk := stream.read(_CHUNK):
        total += len(chunk)
        has_line = has_line or b"\n" in chunk or b"\r" in chunk
        if not has_line and total > MOST_LINE:
            raise DataError(f"{path}: its first line has more than {MOST_LINE >> 20} MiB")
        if packed:
            require_room(path, total, size)
        elif has_line:
            return


def require_room(path: str, size: int, packed: int, what: str = "it") -> None:
    """Refuse what would become too much, by what a file declares of itself.

    Args:
        path: the file, for the error.
        size: bytes that it would become.
        packed: bytes that it takes on the disk.
        what: would become so much, for the error.

    Raises:
        DataError: it is more than `MOST_FACTOR` times what it takes, and `FREE_BYTES`.
    """
    if size > MOST_FACTOR * packed + FREE_BYTES:
        factor = f"more than {MOST_FACTOR} times the {packed:,} bytes that it takes"
        raise DataError(f"{path}: {what} would become {factor}, and is not read")
