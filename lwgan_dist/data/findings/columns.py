"""Findings about columns: constant ones, row numbers, times, codes for missing values, categories, other units."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.data.files.loading import drop_hint
from lwgan_dist.data.findings.finding import Finding, Overview, have_meanings, named, note, warning

_LARGE = 1e15
"""Squares of 1e30 leave 8 decades to the float32 maximum 3e38 for sums over rows and columns, and for products."""

_LEAST_ROWS = 10
"""Rows from which on a column may be told to count them, or to hold a code."""

_WRITTEN_BY_A_PROGRAM = re.compile(r"(unnamed: \d+|__index_level_\d+__|)")
"""Names that programs give to a column of row numbers that has none."""

_ROW_NUMBER = re.compile(r"(index|id|idx|row|row[ _.]?(id|names?|numbers?|nr|no)|level_0|nr\.?|no\.?|#)")
_IDENTITY = re.compile(r"(.*[\W_])?(id|ids|idx|index|key|nr|no|number|uuid)")


def constant_columns(seen: Overview) -> Iterator[Finding]:
    """Columns that hold one value."""
    columns = seen.names(~seen.varying)
    if columns:
        number = f"{len(columns)} of {len(seen.columns)} columns"
        yield note(
            "constant_columns",
            f"{number} {'is' if len(columns) == 1 else 'are'} constant: {named(columns)}",
            "kept, and without influence",
            columns,
        )


def large_values(seen: Overview) -> Iterator[Finding]:
    """Values with which statistics in float32 overflow; times that are counted in small units are said as such."""
    size = np.maximum(np.abs(seen.low), np.abs(seen.high))
    which = (size > _LARGE) & ~np.isin(np.arange(len(size)), [time.position for time in _times(seen)])
    columns = seen.names(which)
    if columns:
        yield warning(
            "large_values",
            f"values above {_LARGE:g}, where float32 statistics overflow, in {len(columns)} of {len(size)} columns: "
            f"{named(columns)} (largest {size[which].max():.3g})",
            "kept; rescale these columns",
            columns,
        )


class Counter(NamedTuple):
    """A column that tells rows apart and measures nothing; its position, what it holds, and whether that is certain."""

    position: int
    what: str
    is_certain: bool


def counters(seen: Overview) -> list[Counter]:
    """Columns that number the rows or hold their names as whole numbers.

    It is certain where the name says so too: ``Unnamed: 0`` with different whole numbers; ``index``, ``id`` and the
    like with 0, 1, 2, .. or 1, 2, 3, .. in this order.
    """
    n = len(seen.rows)
    if n < _LEAST_ROWS or not seen.is_table:
        return []
    consecutive = (seen.high - seen.low == n - 1) & ((seen.low == 0) | (seen.low == 1))
    found = []
    for position, name in enumerate(seen.columns):
        plain = name.strip().casefold()
        program, identity = _WRITTEN_BY_A_PROGRAM.fullmatch(plain), _IDENTITY.fullmatch(plain)
        if not (consecutive[position] or program or identity) or not seen.varying[position]:
            continue
        values = seen.column(position)
        if consecutive[position] and (np.diff(values) == 1).all():
            counts = f"{values[0]:.0f}, {values[1]:.0f}, {values[2]:.0f}, .. in this order"
            found.append(Counter(position, counts, bool(program or _ROW_NUMBER.fullmatch(plain))))
        elif (program or identity) and (values % 1 == 0).all() and len(np.unique(values)) == n:
            found.append(Counter(position, "another whole number in every row", bool(program)))
    return found


def kept_counters(seen: Overview) -> Iterator[Finding]:
    """Columns that seem to number the rows, and were not left out."""
    for counter in counters(seen):
        columns = seen.names([counter.position])
        yield warning(
            "row_numbers",
            f"column {named(columns)} holds {counter.what}: it may number the rows and measure nothing",
            f"kept; leave it out if so: {drop_hint(*columns)}",
            columns,
        )


def left_out_counters(columns: tuple[str, ...], whats: list[str]) -> Finding:
    """Columns that number the rows, and were left out."""
    subject, verb = ("column", "numbers") if len(columns) == 1 else ("columns", "number")
    return warning(
        "row_numbers",
        f"{subject} {named(columns)} only {verb} the rows ({'; '.join(dict.fromkeys(whats))})",
        "left out; name it in data.columns to keep it",
        columns,
    )


class _Time(NamedTuple):
    position: int
    unit: str
    per_second: float


def _times(seen: Overview) -> list[_Time]:
    """Columns of whole numbers that all lie between 1980 and 2100 if they are counted from 1970 in a small unit."""
    found = []
    for unit, per_second in (("nanoseconds", 1e9), ("microseconds", 1e6), ("milliseconds", 1e3)):
        within = (seen.low >= 3.1e8 * per_second) & (seen.high <= 4.1e9 * per_second)
        whole = [i for i in np.flatnonzero(within & (seen.low < seen.high)) if (seen.some[:, i] % 1 == 0).all()]
        found += [_Time(int(i), unit, per_second) for i in whole]
    return found if seen.is_table else []


def times(seen: Overview) -> Iterator[Finding]:
    """Points in time that are counted in a small unit since 1970."""
    for time in _times(seen):
        first, last = (
            datetime.fromtimestamp(value[time.position] / time.per_second, UTC).date()
            for value in (seen.low, seen.high)
        )
        columns = seen.names([time.position])
        yield warning(
            "times",
            f"column {named(columns)} looks like times, in {time.unit} since 1970 ({first} to {last})",
            f"taken as a number; leave it out if the time of a row is no coordinate of it: {drop_hint(*columns)}",
            columns,
        )


_FAR, _FAR_NINES = 3.0, 1.0
"""How far, in units of the range of all other values, a value lies away that may be a code; one of nines alone."""

_CODES_COUNTED, _CODES_SHARE, _CODE_COLUMNS, _LEVELS = 3, 0.002, 256, 5
"""Least rows with a code, and their least share; columns that are looked at whole; least number of other values."""


def missing_codes(seen: Overview) -> Iterator[Finding]:
    """Values such as -999 that stand far away from all others, more than once: codes for a missing value."""
    if not seen.is_table or len(seen.rows) < _LEAST_ROWS:
        return
    holders: dict[float, list[tuple[int, int]]] = {}
    for position in _with_far_ends(seen)[:_CODE_COLUMNS]:
        for code, count in codes_of(seen.column(position)):
            holders.setdefault(code, []).append((int(position), count))
    for code, places in holders.items():
        columns = seen.names([position for position, _ in places])
        counts = {count for _, count in places}
        yield warning(
            "missing_codes",
            f"{code:g} stands in {'' if len(counts) == 1 else 'up to '}{max(counts)} of {len(seen.rows)} rows of "
            f"{'column' if len(places) == 1 else f'{len(places)} columns,'} {named(columns)}, far away from all other "
            "values: it may be a code for a missing value",
            "taken as a number; if it is one, remove these rows, or leave the cells empty",
            columns,
        )


def _with_far_ends(seen: Overview) -> NDArray[np.int64]:
    """Positions of columns whose smallest or largest value lies far outside of what most of the sample holds."""
    first, last = np.quantile(seen.some, [0.1, 0.9], axis=0)
    reach = _FAR_NINES * (last - first)
    return np.flatnonzero(seen.varying & ((seen.low < first - reach) | (seen.high > last + reach)))


def codes_of(values: NDArray[np.float64]) -> list[tuple[float, int]]:
    """Values at the ends of a column that may be codes, with how often they occur, the farthest first."""
    levels, counts = np.unique(values, return_counts=True)
    found: list[tuple[float, int]] = []
    while True:
        for below, above in ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2)):
            inner = levels[below : len(levels) - above]
            if len(inner) < _LEVELS:
                return found
            outer = [*range(below), *range(len(levels) - above, len(levels))]
            if all(_is_code(levels[i], counts[i], inner, len(values)) for i in outer):
                break
        else:
            return found
        found += [(float(levels[i]), int(counts[i])) for i in outer]
        levels, counts = inner, counts[below : len(counts) - above]


def _is_code(value: float, count: int, others: NDArray[np.float64], n: int) -> bool:
    gap, reach = min(abs(value - others[0]), abs(value - others[-1])), others[-1] - others[0]
    digits = f"{abs(value):g}".replace(".", "")
    if re.fullmatch("9{2,}", digits) and count >= (1 if len(digits) > 2 else 2):
        return bool(gap > _FAR_NINES * reach)
    return bool(value != 0 and max(_CODES_COUNTED, _CODES_SHARE * n) <= count <= n / 2 and gap > _FAR * reach)


_CATEGORIES = 64
"""Columns, at most, of one category that are recognised."""


def one_hot_columns(seen: Overview) -> Iterator[Finding]:
    """Neighbouring columns of zeros and ones, exactly one of which is 1 in every row: a category."""
    if not seen.is_table:
        return
    binary = (seen.low == 0) & (seen.high == 1)
    binary[binary] = ((seen.some[:, binary] == 0) | (seen.some[:, binary] == 1)).all(axis=0)
    for group in _groups(binary, seen.some):
        columns = seen.names(group)
        yield warning(
            "one_hot_columns",
            f"columns {named(columns)} hold one category, written as {len(columns)} columns of zeros and ones: its "
            "values lie apart from each other",
            f"kept as numbers; leave them out ({drop_hint(*columns)}), or "
            "estimate from the rows of each category by themselves",
            columns,
        )


def _groups(binary: NDArray[np.bool_], some: NDArray[np.float64]) -> list[list[int]]:
    groups: list[list[int]] = []
    start = 0
    while start < len(binary):
        end = _end_of_group(binary, some, start)
        if end:
            groups.append(list(range(start, end)))
        start = end or start + 1
    return groups


def _end_of_group(binary: NDArray[np.bool_], some: NDArray[np.float64], start: int) -> int | None:
    """Where the columns from ``start`` on add up to 1 in every row."""
    total = np.zeros(len(some))
    for end in range(start, min(start + _CATEGORIES, len(binary))):
        if not binary[end]:
            return None
        total += some[:, end]
        if (total > 1).any():
            return None
        if end > start and (total == 1).all():
            return end + 1
    return None


_DOMINANT = 0.95
"""Share of the variance from which on few columns hold nearly all of it."""


def dominant_columns(seen: Overview) -> Iterator[Finding]:
    """Few columns that hold nearly all of the variance, so that under one scale for all the others hardly count."""
    large = seen.varying & ~seen.drowned
    if not seen.is_table or not seen.drowned.any() or 2 * large.sum() > seen.varying.sum():
        return
    variance = np.square(seen.deviation / seen.deviation.max())
    share, columns = variance[large].sum() / variance.sum(), seen.names(large)
    if share > _DOMINANT:
        holds = f"column {named(columns)} has" if len(columns) == 1 else f"columns {named(columns)} have"
        yield warning(
            "dominant_columns",
            f"{holds} {share:.1%} of the variance, so the {seen.drowned.sum()} others hardly count",
            "all were divided by one scale; if their units differ, data.standardize=per_column weighs them alike",
            columns,
        )


def differing_units(seen: Overview) -> Finding | None:
    """Named columns whose scales differ so much that they must have different units; None of others."""
    if not seen.is_table or not seen.drowned.any() or not have_meanings(seen.columns):
        return None
    deviations = np.where(seen.varying, seen.deviation, np.inf)
    least, most = int(deviations.argmin()), int(seen.deviation.argmax())
    small, large = (named(seen.names([position])) for position in (least, most))
    return note(
        "differing_units",
        f"the columns differ in scale by a factor of {seen.deviation[most] / seen.deviation[least]:.2g} ({large} to "
        f"{small}), so their units differ",
        "each was divided by its own standard deviation; data.standardize=global divides all by one scale",
    )
