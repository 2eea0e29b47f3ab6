"""Rows that lack a value: left out, filled in or refused. A missing value is a NaN."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.config import Missing
from lwgan_dist.data.blocks import Array, Filling, blocks, chosen, flat
from lwgan_dist.data.files.loading import Loaded, drop_hint, quoted
from lwgan_dist.errors import DataError

LARGEST_SHARE = 0.2
"""Share of the rows that may be left out without having been asked for."""

_DROP = "data.missing=drop leaves such rows out"


def without_missing(loaded: Loaded, how: Missing | None, source: str, *, columns_chosen: bool) -> Loaded:
    """The rows without missing values; themselves where there are none.

    Columns that hold nothing are left out.

    Args:
        loaded: the rows.
        how: see `lwgan_dist.config.TableConfig.missing`.
        source: the file, for messages.
        columns_chosen: whether they were named, so that none may be left out.

    Raises:
        DataError: missing values where they are refused, too many, or nothing else.
    """
    gaps, count = _gaps(loaded.rows)
    if not gaps.any():
        return loaded
    empty = gaps == count
    if empty.all() or (empty.any() and (columns_chosen or loaded.rows.ndim > 2)):
        name = quoted(loaded.columns[int(empty.argmax())])
        raise DataError(f"{source}: column {name} holds no value at all; leave it out")
    if empty.any():
        return without_missing(_without(loaded, empty), how, source, columns_chosen=columns_chosen)
    if how == "refuse" or (how is None and loaded.rows.ndim > 2):
        raise _refusal(loaded, source, "", _DROP)
    if how == "impute":
        return _imputed(loaded, gaps)
    whole = _whole(loaded.rows)
    picks = np.flatnonzero(whole)
    if not len(picks) or (how is None and count - len(picks) > LARGEST_SHARE * count):
        raise _too_many(loaded, gaps, count - len(picks), source)
    reading = replace(loaded.reading, dropped_rows=count - len(picks))
    place = loaded.place
    return loaded._replace(rows=chosen(loaded.rows, picks), place=lambda row: place(int(picks[row])), reading=reading)


def _gaps(rows: Array) -> tuple[NDArray[np.int64], int]:
    """Missing values by column, and the number of rows."""
    gaps = np.zeros(int(np.prod(rows.shape[1:])), np.int64)
    if rows.dtype.kind == "f" and rows.size:
        for _, block in blocks(rows):
            if np.isnan(block.min()):
                gaps += np.isnan(flat(block)).sum(axis=0)
    return gaps, len(rows)


def _whole(rows: Array) -> NDArray[np.bool_]:
    """Which rows lack nothing."""
    return np.concatenate([~np.isnan(flat(block)).any(axis=1) for _, block in blocks(rows)])


def _without(loaded: Loaded, empty: NDArray[np.bool_]) -> Loaded:
    """Without the columns that hold nothing."""
    rows = Filling(len(loaded.rows), (int((~empty).sum()),), loaded.rows.dtype)
    for _, block in blocks(loaded.rows):
        rows.put(block[:, ~empty])
    names = np.array(loaded.columns, dtype=object)
    left_out = {**loaded.reading.left_out, **dict.fromkeys(names[empty], "empty")}
    return loaded._replace(
        rows=rows.rows(), columns=tuple(names[~empty]), reading=replace(loaded.reading, left_out=left_out)
    )


def _imputed(loaded: Loaded, gaps: NDArray[np.int64]) -> Loaded:
    """With the median of the column in place of each missing value."""
    columns, whole = np.flatnonzero(gaps), flat(loaded.rows)
    medians = np.array([np.nanmedian(whole[:, i]) for i in columns], loaded.rows.dtype)
    rows = Filling(len(whole), loaded.rows.shape[1:], loaded.rows.dtype)
    for _, block in blocks(loaded.rows):
        filled = flat(block).copy()
        filled[:, columns] = np.where(np.isnan(filled[:, columns]), medians, filled[:, columns])
        rows.put(filled.reshape(block.shape))
    return loaded._replace(rows=rows.rows(), reading=replace(loaded.reading, imputed=int(gaps.sum())))


def _refusal(loaded: Loaded, source: str, more: str = "", *mends: str) -> DataError:
    """The error that names the first missing value, in the order of reading, and what can be done."""
    start, block = next((start, flat(block)) for start, block in blocks(loaded.rows) if np.isnan(block.min()))
    row, column = np.argwhere(np.isnan(block))[0]
    where = f"column {quoted(loaded.columns[column])}, {loaded.place(start + int(row))}"
    mends = ("data.missing=impute fills in the median of the column", *mends)
    return DataError(f"{source}: {where}: missing value{more}; {', '.join(mends)}")


def _too_many(loaded: Loaded, gaps: NDArray[np.int64], lacking: int, source: str) -> DataError:
    most = sorted(np.flatnonzero(gaps), key=lambda i: -gaps[i])[:5]
    columns = ", ".join(f"{quoted(loaded.columns[i])} {gaps[i]}" for i in most)
    mends = [_DROP] * (len(loaded.rows) - lacking > 1)
    if loaded.are_columns and len(loaded.columns) > 1:
        mends.append(f"{drop_hint(loaded.columns[most[0]])} leaves out the column that lacks most")
    more = f"; {lacking} of {len(loaded.rows)} rows lack one, most often in {columns}"
    return _refusal(loaded, source, more, *mends)
