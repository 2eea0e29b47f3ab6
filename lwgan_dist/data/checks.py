"""Rows that an intrinsic dimension can be estimated from: what is rejected."""

import numpy as np

from lwgan_dist.data.blocks import Array, blocks, extremes, flat
from lwgan_dist.data.files.loading import Place, quoted, require_unique, row_number
from lwgan_dist.errors import DataError


def check_rows(rows: Array, columns: tuple[str, ...], source: str, *, place: Place = row_number) -> None:
    """Rejects rows that cannot be estimated from; what is only suspicious is a finding, see `lwgan_dist.data.settle`.

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
    low, high = extremes(rows)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise _not_finite(rows, columns, source, place)
    if np.array_equal(low, high):
        raise DataError(f"{source}: every column is constant, there is nothing to estimate ({len(columns)} columns)")


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


def _not_finite(rows: Array, columns: tuple[str, ...], source: str, place: Place) -> DataError:
    """The error that names the first number that is not finite, in the order of reading."""
    start, block = next((start, flat(block)) for start, block in blocks(rows) if not np.isfinite(block).all())
    row, column = np.argwhere(~np.isfinite(block))[0]
    where = f"column {quoted(columns[column])}, {place(start + int(row))}"
    return DataError(f"{source}: {where}: not a finite number (got {block[row, column]})")
