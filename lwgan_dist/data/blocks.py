"""Rows of any shape and type, some at once, so that no copy of all is made in the precision of what is computed."""

import hashlib
import math
import mmap
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK_ELEMENTS = 1 << 20
"""Numbers in one block: 8 MiB of float64."""

MAPPED_ROWS = 256
"""Rows that are read from a mapped file before its pages are let go: far apart, each takes some 64 KiB of them."""


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


def precision_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which numbers of a type are computed with: float32 for floats of at most 32 bits, else float64."""
    return np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)


def flat(rows: Array) -> Array:
    """Each row as a vector, shape (n, p) with p the numbers in a row; no copy of contiguous rows."""
    return rows.reshape(len(rows), math.prod(rows.shape[1:]))


def blocks(rows: Rows) -> Iterator[tuple[int, Array]]:
    """(number of the first row, block of rows) over all rows; blocks of `BLOCK_ELEMENTS`, or of one row."""
    step = max(1, BLOCK_ELEMENTS // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]
        if isinstance(rows, np.ndarray):
            release(rows)


def take(rows: Array, picks: NDArray[np.int64]) -> Array:
    """The rows at these positions; of a mapped file some at a time, for each brings pages around it into memory."""
    if _mapping(rows) is None:
        return np.asarray(rows[picks])
    result = np.empty((len(picks), *rows.shape[1:]), rows.dtype)
    for start in range(0, len(picks), MAPPED_ROWS):
        result[start : start + MAPPED_ROWS] = rows[picks[start : start + MAPPED_ROWS]]
        release(rows)
    return result


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
