"""Rows of any shape and type, some at once, so that no copy of all is made in the precision of what is computed."""

import hashlib
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import repeat
from typing import IO, Any, Literal, Protocol
from weakref import WeakKeyDictionary, finalize

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.errors import DataError

Array = NDArray[Any]

BLOCK_ELEMENTS = 1 << 20
"""Numbers in one block: 8 MiB of float64."""

MAPPED_ROWS = 256
"""Rows that are read through a mapping before its pages are let go: far apart, each takes some 64 KiB of them."""

SPILLED_BYTES = 1 << 28
"""Rows that do not lie in the file as they are needed (compressed, encoded, chosen) are kept in memory below this size,
and from it on in a mapped file of the folder for temporary files (TMPDIR)."""

_FILES: "WeakKeyDictionary[mmap.mmap, tuple[int, int]]" = WeakKeyDictionary()
"""Of a mapping that `mapped` made: the descriptor of its file, and where in it the address 0 would lie."""


class Rows(Protocol):
    """Rows that are read by slice, positions or mask: an array, or something that makes them when they are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, *shape of a row)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""

    def __len__(self) -> int:
        """The number of rows."""

    def __getitem__(self, key: Any, /) -> Array:
        """Some of the rows."""


class Filling:
    """Rows that are handed in some at a time, in memory or, from `SPILLED_BYTES` on, in a mapped file.

    The file has no name, so nothing is left of it when the process ends, however it ends.

    Args:
        count: of the rows to come.
        shape: of a row.
        dtype: of the numbers.

    Raises:
        DataError: the folder for temporary files has no room for them.
    """

    def __init__(self, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._whole, self._dtype, self._start = (count, *shape), dtype, 0
        size = math.prod(self._whole) * dtype.itemsize
        self._rows = np.empty(self._whole, dtype) if size < SPILLED_BYTES else None
        self._file = _spill_file(size) if size >= SPILLED_BYTES else None

    def put(self, rows: Array) -> None:
        """The next rows, shape (k, *shape).

        Raises:
            ValueError: more than were to come.
        """
        end = self._start + len(rows)
        if end > self._whole[0]:
            raise ValueError(f"{self._whole[0]} rows are expected, and there are more")
        if self._rows is not None:
            self._rows[self._start : end] = rows
        elif self._file is not None:
            self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self._start = end

    def rows(self) -> Array:
        """All of them, shape (count, *shape).

        Raises:
            ValueError: fewer than were to come.
        """
        if self._start != self._whole[0]:
            raise ValueError(f"{self._whole[0]} rows are expected, and there are {self._start}")
        if self._file is not None:
            with self._file as file:
                file.flush()
                self._rows = mapped(file, self._dtype, self._whole)
        assert self._rows is not None
        return self._rows


def _spill_file(size: int) -> IO[bytes]:
    folder = tempfile.gettempdir()
    if size > shutil.disk_usage(folder).free:
        raise DataError(
            f"{folder}: {size >> 20} MiB are needed here for decoded rows; set TMPDIR to a folder on a disk"
        )
    return tempfile.TemporaryFile()


def mapped(
    file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], start: int = 0, order: Literal["C", "F"] = "C"
) -> Array:
    """The array that lies in a file from a byte on, of which only what is used is read; the file may then be closed."""
    rows = np.asarray(np.memmap(file, dtype, "r", start, shape, order))
    mapping = _mapping(rows)
    if mapping is not None and hasattr(os, "preadv"):
        descriptor = os.dup(file.fileno())
        finalize(mapping, os.close, descriptor)
        _FILES[mapping] = descriptor, start - rows.ctypes.data
    return rows


def chosen(rows: Array, picks: NDArray[np.int64]) -> Array:
    """A copy of the rows at these positions, maybe mapped (`Filling`)."""
    copy = Filling(len(picks), rows.shape[1:], rows.dtype)
    step = max(1, BLOCK_ELEMENTS // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(picks), step):
        copy.put(take(rows, picks[start : start + step]))
    return copy.rows()


def precision_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which numbers of a type are computed with: float32 for floats of at most 32 bits, else float64."""
    return np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)


def flat(rows: Array) -> Array:
    """Each row as a vector, shape (n, p) with p the numbers in a row; no copy of contiguous rows."""
    return rows.reshape(len(rows), math.prod(rows.shape[1:]))


def blocks(rows: Rows, elements: int | None = None) -> Iterator[tuple[int, Array]]:
    """(number of the first row, block of rows) over all rows; blocks of ``elements``, or of one row.

    Args:
        rows: to be read from the first to the last.
        elements: numbers in a block, by default `BLOCK_ELEMENTS`.
    """
    step = max(1, (elements or BLOCK_ELEMENTS) // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]
        if isinstance(rows, np.ndarray):
            release(rows)


def extremes(rows: Array) -> tuple[Array, Array]:
    """Minimum and maximum of each column, shapes (p,); NaN where the column holds one."""
    low, high = rows[0].flatten(), rows[0].flatten()
    with np.errstate(invalid="ignore"):
        for _, block in blocks(rows):
            np.minimum(low, flat(block).min(axis=0), out=low)
            np.maximum(high, flat(block).max(axis=0), out=high)
    return low, high


def take(rows: Array, picks: NDArray[np.int64]) -> Array:
    """The rows at these positions, of a mapped file too without bringing more than them into memory.

    Where a row is whole in its file, it is read from there: to bring the pages around it into memory and to let go of
    them again takes three times as long.

    Args:
        rows: in memory or mapped.
        picks: each in 0..n-1.

    Raises:
        OSError: the file of the rows has become shorter.
    """
    mapping = _mapping(rows)
    if mapping is None:
        return np.asarray(rows[picks])
    result = np.empty((len(picks), *rows.shape[1:]), rows.dtype)
    if mapping in _FILES and rows[:1].flags.c_contiguous:
        _read(*_FILES[mapping], rows, picks, result)
        return result
    for start in range(0, len(picks), MAPPED_ROWS):
        result[start : start + MAPPED_ROWS] = rows[picks[start : start + MAPPED_ROWS]]
        release(rows)
    return result


def _read(descriptor: int, origin: int, rows: Array, picks: NDArray[np.int64], result: Array) -> None:
    """Fill ``result`` with rows from their file, each by a call of the system."""
    if len(picks) and not 0 <= picks.min() <= picks.max() < len(rows):
        raise IndexError(f"rows {picks.min()} to {picks.max()} are asked for, and there are {len(rows)}")
    places = (origin + rows.ctypes.data + rows.strides[0] * picks).tolist()
    parts = zip(flat(result).view(np.uint8))
    if sum(map(os.preadv, repeat(descriptor), parts, places)) != result.nbytes:
        raise OSError("a file of rows has become shorter since it was opened")


def release(rows: Array) -> None:
    """Let go of the pages of a file that is mapped for reading: what has been read from it stays in the system's cache,
    and does not count as memory of this process. Nothing happens to other arrays.
    """
    mapping = _mapping(rows)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(rows: Array) -> mmap.mmap | None:
    """The file that an array is mapped from for reading; None of any other, also one whose changes would be lost."""
    mode: str | None = None
    owner: Any = rows
    while isinstance(owner, np.ndarray):
        mode, owner = getattr(owner, "mode", mode), owner.base
    return owner if mode == "r" and isinstance(owner, mmap.mmap) and hasattr(owner, "madvise") else None


def digest(rows: Rows) -> str:
    """SHA-256 of the shape of rows and of their numbers, in the precision in which they are computed with."""
    dtype = precision_of(rows.dtype)
    sha256 = hashlib.sha256(f"{rows.shape}{dtype}".encode())
    for _, block in blocks(rows):
        sha256.update(np.ascontiguousarray(block, dtype).data)
    return sha256.hexdigest()
