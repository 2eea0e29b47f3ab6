"""Rows that an intrinsic dimension can be estimated from: what is rejected, and what is only suspicious."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.data.blocks import Array, blocks, flat
from lwgan_dist.data.loading import Place, listed, quoted, require_unique, row_number
from lwgan_dist.errors import DataError

_log = logging.getLogger("lwgan_dist")

_LARGE = 1e15
"""Squares of 1e30 leave 8 decades to the float32 maximum 3e38 for sums over rows and columns, and for products."""

_NAMED = 5
"""Columns that a warning names."""


def check_rows(rows: Array, columns: tuple[str, ...], source: str, *, place: Place = row_number) -> None:
    """Rejects rows that cannot be estimated from, and warns (logger ``lwgan_dist``) of suspicious ones.

    Warned of: constant columns, rows that repeat an earlier row exactly, values above 1e15.

    Args:
        rows: shape (n, *shape of a row).
        columns: names of the numbers of a row, p of them.
        source: where the rows come from, for messages: a path, or ``X``.
        place: names the place of a row in the source.

    Raises:
        DataError: of one axis, not real numbers, no columns, fewer than 2 rows, equal column names, a number
            that is not finite, or nothing but constant columns.
    """
    _check_layout(rows, source)
    require_unique(columns, source)
    low, high = _extremes(rows)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise _not_finite(rows, columns, source, place)
    constant = low == high
    if constant.all():
        raise DataError(f"{source}: every column is constant, there is nothing to estimate ({len(columns)} columns)")
    _warn_of_constant(constant, columns, source)
    _warn_of_large(np.maximum(np.abs(low.astype(np.float64)), np.abs(high.astype(np.float64))), columns, source)
    _warn_of_repeated(rows, source)


def _check_layout(rows: Array, source: str) -> None:
    if np.iscomplexobj(rows):
        raise DataError(f"{source}: complex numbers ({rows.dtype}); give real and imaginary parts as columns")
    if rows.dtype.kind not in "biuf":
        raise DataError(f"{source}: not numbers (dtype {rows.dtype})")
    if rows.ndim < 2:
        raise DataError(f"{source}: rows and columns are expected, the shape is {rows.shape}")
    if len(rows) == 0:
        raise DataError(f"{source}: no rows")
    if 0 in rows.shape[1:]:
        raise DataError(f"{source}: no columns")
    if len(rows) == 1:
        raise DataError(f"{source}: at least 2 rows are needed (got 1)")


def _extremes(rows: Array) -> tuple[Array, Array]:
    """Minimum and maximum of each column, shapes (p,); NaN where the column holds one."""
    low, high = rows[0].flatten(), rows[0].flatten()
    with np.errstate(invalid="ignore"):
        for _, block in blocks(rows):
            np.minimum(low, flat(block).min(axis=0), out=low)
            np.maximum(high, flat(block).max(axis=0), out=high)
    return low, high


def _not_finite(rows: Array, columns: tuple[str, ...], source: str, place: Place) -> DataError:
    """The error that names the first number that is not finite, in the order of reading."""
    start, block = next((start, flat(block)) for start, block in blocks(rows) if not np.isfinite(block).all())
    row, column = np.argwhere(~np.isfinite(block))[0]
    where = f"column {quoted(columns[column])}, {place(start + int(row))}"
    return DataError(f"{source}: {where}: not a finite number (got {block[row, column]})")


def _warn_of_constant(constant: NDArray[np.bool_], columns: tuple[str, ...], source: str) -> None:
    names = [columns[i] for i in np.flatnonzero(constant)]
    if names:
        _log.warning("%s: %d of %d columns are constant: %s", source, len(names), len(columns), listed(names, _NAMED))


def _warn_of_large(size: NDArray[np.float64], columns: tuple[str, ...], source: str) -> None:
    names = [columns[i] for i in np.flatnonzero(size > _LARGE)]
    if names:
        _log.warning(
            "%s: values above %g, where float32 statistics overflow, in %d of %d columns: %s (largest %.3g); rescale",
            source, _LARGE, len(names), len(columns), listed(names, _NAMED), size.max(),
        )  # fmt: skip


def _warn_of_repeated(rows: Array, source: str) -> None:
    hashes = np.empty(len(rows), np.int64)
    for start, block in blocks(rows):
        hashes[start : start + len(block)] = _row_hashes(block)
    repeated = len(rows) - len(np.unique(hashes))
    if repeated:
        _log.warning("%s: %d of %d rows repeat an earlier row exactly", source, repeated, len(rows))


def _row_hashes(block: Array) -> NDArray[np.int64]:
    """A 64-bit hash of each row (Python's SipHash of its bytes), shape (n,).

    Two of ten million different rows collide with probability 3e-6, which a warning can bear; sorting whole rows takes
    longer and as much memory as the data. Adding 0.0 makes the two zeros one.
    """
    data: Any = np.ascontiguousarray(block + 0.0 if block.dtype.kind == "f" else block).tobytes()
    width = len(data) // len(block)
    return np.fromiter((hash(data[i : i + width]) for i in range(0, len(data), width)), np.int64, len(block))
