"""Findings about rows: few, repeated or almost repeated ones, counts on a grid, some that outweigh all others."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.data.blocks import Array, blocks, flat
from lwgan_dist.data.findings.finding import Finding, Overview, note, warning
from lwgan_dist.seeding import generator

_FEW = 50
"""Rows below which an estimate is called a guess."""


def few_rows(seen: Overview) -> Iterator[Finding]:
    """A sample too small for an estimate, or for the number of its columns."""
    n, p = len(seen.rows), len(seen.columns)
    if n < _FEW:
        yield warning(
            "few_rows", f"{n} rows are few", "taken as they are: the estimate is a guess, whatever its interval says"
        )
    if seen.is_table and p >= n:
        yield note(
            "more_columns_than_rows",
            f"{p} columns, but {n} rows, which lie in at most {n - 1} directions",
            "taken as they are: a dimension near that number of directions cannot be told from noise",
        )


_REPEATED = 0.05
"""Share of rows that repeat another, exactly or almost, from which on it is a warning."""


def repeated_rows(seen: Overview) -> Iterator[Finding]:
    """Rows that repeat an earlier one exactly or almost, and rows of whole numbers on a grid."""
    n, distinct = len(seen.rows), distinct_rows(seen.rows)
    repeated = n - distinct
    if repeated and seen.is_table and repeated > _REPEATED * n and (seen.some % 1 == 0).all():
        yield note(
            "counts_on_a_grid",
            f"all columns hold whole numbers, and {repeated} of {n} rows repeat an earlier row exactly",
            "kept; estimators that look at the nearest neighbours (TwoNN, MLE) fail on such ties",
        )
    elif repeated:
        yield (warning if repeated > _REPEATED * n else note)(
            "repeated_rows",
            f"{repeated} of {n} rows repeat an earlier row exactly",
            "kept; give each row once if the repetition means nothing",
        )
    places = almost_distinct_rows(seen, distinct) if seen.is_table else None
    if places:
        yield warning(
            "almost_repeated_rows",
            f"{n} rows lie at about {places} places: most others repeat one of them up to a tiny difference",
            "kept; the differences within a place look like dimensions: give the mean of each place if they are only "
            "errors of measurement",
        )


def distinct_rows(rows: Array) -> int:
    """The number of different rows."""
    hashes = np.empty(len(rows), np.int64)
    for start, block in blocks(rows):
        hashes[start : start + len(block)] = _row_hashes(block)
    return len(np.unique(hashes))


def _row_hashes(block: Array) -> NDArray[np.int64]:
    """A 64-bit hash of each row (Python's SipHash of its bytes), shape (n,).

    Two of ten million different rows collide with probability 3e-6, which a warning can bear; sorting whole rows takes
    longer and as much memory as the data. Adding 0.0 makes the two zeros one.
    """
    data: Any = np.ascontiguousarray(block + 0.0 if block.dtype.kind == "f" else block).tobytes()
    width = len(data) // len(block)
    return np.fromiter((hash(data[i : i + width]) for i in range(0, len(data), width)), np.int64, len(block))


_CELLS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Sides of the cells in which rows count as almost equal, in standard deviations of a column."""

_NUMBERS_SORTED = 1 << 23
"""Numbers, at most, of the rows that are sorted into cells: the first of them."""

_LEAST_MERGED = 0.02
"""Share of rows that share a cell with another one, from which on it is looked at."""


def almost_distinct_rows(seen: Overview, distinct: int) -> int | None:
    """The number of places at which rows lie that almost repeat each other; None if they do not.

    Rows of a continuous distribution that share a cell come apart in cells of a tenth of the side: at least nine of
    ten pairs do on a curve, more in more dimensions. Copies with a tiny difference stay together, and so does the
    number of cells that are taken.
    """
    count = min(len(seen.rows), max(2, _NUMBERS_SORTED // len(seen.columns)))
    if count < len(seen.rows):
        distinct = distinct_rows(seen.rows[:count])
    weights = generator(0, "cells").integers(1, 1 << 62, len(seen.columns)) * 2 + 1
    taken = [_cells_taken(seen, count, side, weights) for side in _CELLS]
    for coarse, fine in pairwise(taken):
        stay = (distinct - fine) >= 0.5 * (distinct - coarse) and fine <= 2 * coarse
        if stay and distinct - fine > max(5, _LEAST_MERGED * count):
            return coarse
    return None


def _cells_taken(seen: Overview, count: int, side: float, weights: NDArray[np.int64]) -> int:
    """The number of cells of a side that hold a row, of the first ``count`` rows; cells are known by a hash."""
    varying = np.flatnonzero(seen.varying)
    hashes = np.empty(count, np.int64)
    for start, block in blocks(seen.rows[:count]):
        part = (flat(block)[:, varying] - seen.mean[varying]) / (side * seen.deviation[varying])
        hashes[start : start + len(block)] = np.floor(part).astype(np.int64) @ weights[varying]
    return len(np.unique(hashes))


_OUTWEIGHING, _OUTWEIGHING_ROWS = 0.8, 0.01
"""Share of the variance that few rows hold, and the share of rows that is few."""


def outweighing_rows(seen: Overview, *, by_column: bool) -> Iterator[Finding]:
    """A row or some that hold nearly all of the variance of the standardised data.

    Args:
        seen: the rows.
        by_column: whether each column is divided by its own standard deviation.
    """
    n = len(seen.rows)
    if not seen.is_table:
        return
    scale = np.where(seen.varying, seen.deviation, 1.0) if by_column else np.ones(len(seen.columns))
    square = np.empty(n)
    for start, block in blocks(seen.rows):
        centred = (flat(block) - seen.mean) / scale
        square[start : start + len(block)] = np.einsum("np,np->n", centred, centred)
    few = max(1, int(_OUTWEIGHING_ROWS * n))
    largest = np.argsort(-square)[:few]
    share = square[largest] / square.sum()
    if n > 2 and share.sum() > _OUTWEIGHING:
        count = int((share >= 0.01 * share[0]).sum())
        rows = np.sort(largest[:count]) + 1
        shown = ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        yield warning(
            "outweighing_rows",
            f"{len(rows)} of {n} rows hold {share[:count].sum():.1%} of the variance (row {shown})",
            "kept, so the others look like a point; remove them if they are errors",
        )
