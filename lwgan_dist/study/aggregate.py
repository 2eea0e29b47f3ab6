"""From the runs of a study to its tables: cells, comparisons, trends, sensitivity, bootstrap and its coverage.

Every function takes Arrow tables of the schemas in `lwgan_dist.study.tables` and returns one; the statistics are those
of `lwgan_dist.study.statistics`. The order of the rows of a table does not change a bit of what comes out: rows are
sorted first, so that every sum has one order. What is not a number there is null here.

A failed run is an incorrect estimate, and neither below nor above the truth. The unit of every interval and standard
error is the sample: runs on one sample are not independent. The *first* run on a sample is that of initialisation 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lwgan_dist import seeding
from lwgan_dist.study import statistics, tables
from lwgan_dist.study.statistics import Floats, Ints

Flags = NDArray[np.bool_]


def _floats(column: Any) -> Floats:
    """A numeric column, null as nan."""
    return np.asarray(column.cast(pa.float64()).to_numpy())


def _text_ranks(column: Any) -> Ints:
    """Number of every entry in the sorted distinct ones (by code points)."""
    encoded = column.cast(pa.string()).dictionary_encode().combine_chunks()
    ranks = np.empty(len(encoded.dictionary), dtype=np.int64)
    ranks[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(ranks))
    return np.asarray(ranks[encoded.indices.to_numpy()])


def _changes(*columns: Ints) -> Flags:
    """Rows that differ from the row before in any of the columns; the first row does."""
    changed = np.ones(len(columns[0]), dtype=np.bool_)
    changed[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return changed


def _table(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
    """A table of the schema; nan becomes null."""
    if columns.keys() != set(schema.names):
        raise AssertionError(f"columns of the schema: {sorted(columns.keys() ^ set(schema.names))}")

    def column(field: pa.Field) -> Any:
        values = columns[field.name]
        return (pa.array(values, from_pandas=True) if isinstance(values, np.ndarray) else values).cast(field.type)

    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)


def _lists(group: Ints, values: NDArray[Any], groups: int) -> pa.ListArray:
    """The values of every group, in a list each; groups ascend."""
    ends = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=groups))])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values, from_pandas=True).cast(pa.int64()))


@dataclass(frozen=True)
class _Rows:
    """Runs by cell (data, n, LWGAN before others, method), replicate and initialisation.

    Attributes:
        source: the table as it came.
        order: row of the source of every run.
        cell, sample: codes of every run, both ascending.
        replicate, first: of every run; is it the first on its sample.
        dimension: of every run, nan of a failure.
        head: row of the source that names the cell, for every cell.
        truth: of every cell, nan if unknown.
        data, n, other, method: of every cell; texts as ranks, ``other`` is 0 for the LWGAN.
    """

    source: pa.Table
    order: Ints
    cell: Ints
    sample: Ints
    replicate: Ints
    first: Flags
    dimension: Floats
    head: Ints
    truth: Floats
    data: Ints
    n: Ints
    other: Ints
    method: Ints

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.head)

    @property
    def correct(self) -> Flags:
        """Is the run correct; a failure is not, and none is if the truth is unknown."""
        return np.asarray(self.dimension == self.truth[self.cell])

    def floats(self, name: str) -> Floats:
        """A numeric column by run, null as nan."""
        return _floats(self.source.column(name))[self.order]

    def names(self, cell: Ints | slice, *columns: str) -> dict[str, Any]:
        """Columns that name cells."""
        rows = pa.array(self.head[cell])
        return {column: self.source.column(column).take(rows).combine_chunks() for column in columns}


def _sorted(runs: pa.Table) -> _Rows:
    """Runs in the order of the cells.

    Raises:
        ValueError: a run without its place in the design, two runs of one place, or a cell with two truths.
    """
    place = ("data", "n", "method", "replicate", "initialisation", "kind")
    if missing := [name for name in place if runs.column(name).null_count]:
        raise ValueError(f"runs without {', '.join(missing)}")
    data, method = (_text_ranks(runs.column(name)) for name in ("data", "method"))
    n, replicate, initialisation = (np.asarray(runs.column(name).to_numpy()) for name in (place[1], *place[3:5]))
    other = _floats(pc.not_equal(runs.column("kind"), "lwgan")).astype(np.int64)
    order = np.lexsort((initialisation, replicate, method, other, n, data))
    data, n, other, method, replicate, initialisation = (
        column[order] for column in (data, n, other, method, replicate, initialisation)
    )
    starts = _changes(data, n, other, method)
    cell = np.cumsum(starts) - 1
    if not _changes(cell, replicate, initialisation).all():
        raise ValueError("two runs have the same data, n, method, replicate and initialisation")
    truths = _floats(runs.column("intrinsic_dim"))[order]
    truth = truths[starts]
    if not np.array_equal(truths, truth[cell], equal_nan=True):
        raise ValueError("the truth must be one in each cell")
    return _Rows(
        source=runs,
        order=order,
        cell=cell,
        sample=np.cumsum(_changes(cell, replicate)) - 1,
        replicate=replicate,
        first=initialisation == 0,
        dimension=_floats(runs.column("dimension"))[order],
        head=order[starts],
        truth=truth,
        data=data[starts],
        n=n[starts],
        other=other[starts],
        method=method[starts],
    )


def _means(group: Ints, values: Floats, groups: int) -> Floats:
    """Mean of the values of every group that are not nan; nan where there is none."""
    group, values = group[~np.isnan(values)], values[~np.isnan(values)]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(group, weights=values, minlength=groups) / np.bincount(group, minlength=groups))


def _medians(group: Ints, values: Floats, groups: int) -> Floats:
    """Median of the values of every group that are not nan; nan where there is none."""
    group, values = group[~np.isnan(values)], values[~np.isnan(values)]
    values = values[np.lexsort((values, group))]
    counts = np.bincount(group, minlength=groups)
    start, seen = np.cumsum(counts) - counts, counts > 0
    medians = np.full(groups, np.nan)
    low, high = (start + (counts - 1) // 2)[seen], (start + counts // 2)[seen]
    medians[seen] = (values[low] + values[high]) / 2
    return medians


def _clustered(cell: Ints, sample: Ints, values: Floats, cells: int) -> tuple[Floats, Floats]:
    """Mean over the m runs of every cell and its standard error with the G samples as units; nan with G < 2.

    With d the deviations from the mean: SE^2 = G / (G - 1) sum_samples (sum_runs d)^2 / m^2. With equally many runs on
    every sample that is sd(means of the samples) / sqrt(G), with one run on each sd / sqrt(m).

    Source: Cochran 1977, Sampling Techniques, section 2.11 (ratio of cluster totals).
    """
    runs = np.bincount(cell, minlength=cells)
    mean = _means(cell, values, cells)
    units = np.cumsum(_changes(sample)) - 1
    of_unit = cell[_changes(sample)]
    sums = np.bincount(units, weights=values - mean[cell])
    squares = np.bincount(of_unit, weights=sums**2, minlength=cells)
    several = np.bincount(of_unit, minlength=cells).astype(np.float64)
    several[several < 2] = np.nan
    return mean, np.sqrt(squares / (runs * (runs - runs / several)))


def _intervals(correct: Ints, runs: Ints, samples: Ints) -> dict[str, Floats]:
    """95 % intervals of a share of runs, by Wilson and by Clopper and Pearson, with the samples as trials.

    The lower end is that of floor(p samples) successes and the upper that of ceil(p samples), p = correct / runs: as if
    all runs on a sample agreed, in which case they say no more than one; so with several runs a sample the interval is
    too wide rather than too narrow. With one it is the usual one.
    """
    ends = {}
    low, high = correct * samples // np.maximum(runs, 1), -(-correct * samples // np.maximum(runs, 1))
    for name, interval in (("wilson", statistics.wilson_interval), ("exact", statistics.clopper_pearson_interval)):
        ends[f"{name}_low"], ends[f"{name}_high"] = interval(low, samples).lower, interval(high, samples).upper
    return ends


def _prefixes(rows: _Rows) -> tuple[Ints, Ints]:
    """Correct ones among the first runs on replicates 0, 1, 2, ... up to the first gap, and their number, by cell."""
    cell, replicate, correct = rows.cell[rows.first], rows.replicate[rows.first], rows.correct[rows.first]
    counts = np.bincount(cell, minlength=rows.count)
    complete = replicate == np.arange(len(cell)) - (np.cumsum(counts) - counts)[cell]
    return (
        np.bincount(cell[complete & correct], minlength=rows.count),
        np.bincount(cell[complete], minlength=rows.count),
    )


def _agreement(rows: _Rows) -> Floats:
    """Share of pairs of runs on one sample with equal dimension, by cell; a failure equals none. nan without pairs."""
    counts = np.bincount(rows.sample)
    several = counts[rows.sample] > 1
    cell, sample, dimension = rows.cell[several], rows.sample[several], rows.dimension[several]
    starts = _changes(sample)
    times = counts[sample[starts]]
    pairs = np.bincount(cell[starts], weights=times * (times - 1), minlength=rows.count)
    ok = ~np.isnan(dimension)
    code, first = statistics.group_codes(sample[ok], dimension[ok])
    times = np.bincount(code, minlength=len(first))
    equal = np.bincount(cell[ok][first], weights=times * (times - 1), minlength=rows.count)
    return np.asarray(equal / np.where(pairs > 0, pairs, np.nan))


def cells(runs: pa.Table, *, sequence_alpha: float | None = None, sequence_cells: int | None = None) -> pa.Table:
    """What the runs of every cell say. Time N log N for N runs; nothing loops over runs or cells.

    - P(correct) and its 95 % intervals: failures count as incorrect, so correct + under + over + failures = runs. The
      trials of the intervals are the samples: with several runs on a sample the lower end is that of
      floor(p_correct * samples) successes and the upper that of ceil(p_correct * samples), which is conservative.
    - Confidence sequence: of the first runs on replicates 0, 1, 2, ... up to the first that is missing, so that what
      happens to be done has no influence; at level sequence_alpha / (number of cells of known truth).
    - bias, rmse: of ``value``, over the m runs that did not fail; everything else is of ``dimension``. Their standard
      errors are as in `lwgan_dist.study.statistics.summarize_cells`, with the samples as clusters: with e the errors,
      SE^2 = G / (G - 1) sum_samples (sum_runs (e - bias))^2 / m^2 over the G samples with a run that did not fail.
    - agreement: a pair with a failure does not agree.
    - penalty, score_se, margin: medians over the runs that have them.

    Args:
        runs: of schema RUNS.
        sequence_alpha: error probability of all confidence sequences together; without it they are null.
        sequence_cells: number of cells of known truth, also those without runs so far; by default those in ``runs``.

    Raises:
        ValueError: two runs of one (data, n, method, replicate, initialisation), two truths in a cell, or a run with a
            dimension and without a finite value.

    Returns:
        Schema CELLS, in the order of data, n, LWGAN before others, method.
    """
    rows = _sorted(runs)
    known = ~np.isnan(rows.truth)
    truth = np.where(known, rows.truth, 0.0)
    failed = np.isnan(rows.dimension)
    summary = statistics.summarize_cells(rows.cell, rows.dimension, truth[rows.cell], failed, cells=rows.count)
    samples = np.bincount(rows.cell[_changes(rows.sample)], minlength=rows.count)

    values = rows.floats("value")[~failed]
    if not np.isfinite(values).all():
        raise ValueError("a run has a dimension and no finite value")
    cell, sample = rows.cell[~failed], rows.sample[~failed]
    errors = values - truth[cell]
    bias, bias_mcse = _clustered(cell, sample, errors, rows.count)
    mse, mse_mcse = _clustered(cell, sample, errors**2, rows.count)
    rmse = np.sqrt(mse)

    sequence_low = sequence_high = np.full(rows.count, np.nan)
    if sequence_alpha is not None and known.any():
        sequence = statistics.bernoulli_confidence_sequence(
            *_prefixes(rows), sequence_alpha / (sequence_cells or int(known.sum()))
        )
        sequence_low, sequence_high = sequence.lower, sequence.upper

    compared = {
        "correct": summary.correct.successes,
        "p_correct": summary.correct.estimate,
        **_intervals(summary.correct.successes, summary.runs, samples),
        "sequence_low": sequence_low,
        "sequence_high": sequence_high,
        "p_under": summary.under.estimate,
        "p_over": summary.over.estimate,
        "bias": bias,
        "bias_mcse": bias_mcse,
        "rmse": rmse,
        "rmse_mcse": np.where(rmse > 0, mse_mcse / (2 * np.where(rmse > 0, rmse, 1.0)), mse_mcse),
    }
    return _table(
        tables.CELLS,
        {
            **rows.names(slice(None), "data", "n", "method", "kind", "factors", "intrinsic_dim"),
            "runs": summary.runs,
            "samples": samples,
            "failures": summary.failures,
            **{name: np.where(known, column, np.nan) for name, column in compared.items()},
            "modal_dimension": summary.modal_estimate,
            "modal_count": summary.modal_count,
            "mean_value": _means(cell, values, rows.count),
            "agreement": _agreement(rows),
            **{name: _medians(rows.cell, rows.floats(name), rows.count) for name in ("penalty", "score_se", "margin")},
            "cpu_seconds": _means(rows.cell, rows.floats("cpu_seconds"), rows.count),
        },
    )


def comparisons(runs: pa.Table) -> pa.Table:
    """Exact McNemar tests of every two methods on the same samples, adjusted by Holm over all rows.

    Of several runs on a sample the first counts; a failure is incorrect. Methods without a common sample have a row
    with 0 pairs and p-value 1. Time N M for N runs of at most M methods on a (data, n).

    Args:
        runs: of schema RUNS.

    Raises:
        ValueError: see `cells`.

    Returns:
        Schema COMPARISONS, in the order of data, n and both methods (LWGAN before others, then by name).
    """
    rows = _sorted(runs)
    used = rows.first & ~np.isnan(rows.truth[rows.cell])
    cell, replicate, correct = rows.cell[used], rows.replicate[used], rows.correct[used]
    # the methods of a (data, n) are cells that follow one another: numbers 0..m-1 in a block
    kept = np.flatnonzero(np.bincount(cell, minlength=rows.count))
    starts = _changes(rows.data[kept], rows.n[kept])
    block = np.cumsum(starts) - 1
    methods = np.bincount(block)
    number = np.arange(len(kept)) - np.flatnonzero(starts)[block]
    # pairs (i, j), i < j, of a block: those with the first i lie one after the other
    later = methods[block] - 1 - number
    before = np.cumsum(later) - later
    a = np.repeat(np.arange(len(kept)), later)
    b = a + 1 + np.arange(len(a)) - before[a]

    local = np.searchsorted(kept, cell)
    order = np.lexsort((local, replicate, block[local]))
    local, replicate, correct = local[order], replicate[order], correct[order]
    pairs, only_a, only_b = (np.zeros(len(a), dtype=np.int64) for _ in range(3))
    for lag in range(1, int(methods.max(initial=0))):  # runs on one sample follow one another
        i, j = np.arange(max(len(local) - lag, 0)), np.arange(lag, max(len(local), lag))
        same = (block[local[i]] == block[local[j]]) & (replicate[i] == replicate[j])
        i, j = i[same], j[same]
        pair = before[local[i]] + local[j] - local[i] - 1
        np.add.at(pairs, pair, 1)
        np.add.at(only_a, pair[correct[i] & ~correct[j]], 1)
        np.add.at(only_b, pair[correct[j] & ~correct[i]], 1)

    p_value = statistics.mcnemar_exact(only_a, only_b)
    return _table(
        tables.COMPARISONS,
        {
            **rows.names(kept[a], "data", "n"),
            "method_a": rows.names(kept[a], "method")["method"],
            "method_b": rows.names(kept[b], "method")["method"],
            "pairs": pairs,
            "only_a": only_a,
            "only_b": only_b,
            "p_value": p_value,
            "p_holm": statistics.holm(p_value),
        },
    )


def _slopes(rows: _Rows, trend: Ints, trends: int, name: str) -> statistics.PowerLaws:
    """Power laws in n of a column, a point for each sample: the geometric mean over the runs on it that are > 0."""
    values = rows.floats(name)
    used = np.isfinite(values) & (values > 0)
    cell, sample = rows.cell[used], rows.sample[used]
    starts = _changes(sample)
    points = np.exp(_means(np.cumsum(starts) - 1, np.log(values[used]), int(starts.sum())))
    return statistics.loglog_slopes(trend[cell[starts]], rows.n[cell[starts]], points, groups=trends)


def trends(runs: pa.Table, *, level: float = 0.95, seed: int = 0) -> pa.Table:
    """How P(correct), the standard error of the score and lambda depend on n, for every data and method.

    n_level is from the first run on every sample (`lwgan_dist.study.statistics.size_reaching`), null with its interval
    and fit if the truth is unknown, null with its interval where P(correct) is not monotone. Its resamples are a
    function of seed, data and method: other rows do not change it. A slope is from one point for each sample, the
    geometric mean of the positive values of the runs on it (`lwgan_dist.study.statistics.loglog_slopes`).

    Args:
        runs: of schema RUNS.
        level: of P(correct).
        seed: of the bootstrap.

    Raises:
        ValueError: see `cells`.

    Returns:
        Schema TRENDS, in the order of data, LWGAN before others, method.
    """
    rows = _sorted(runs)
    trend, head = statistics.group_codes(rows.data, rows.other, rows.method)
    count = len(head)
    by_size = np.lexsort((rows.n, trend))
    sizes = np.bincount(trend, minlength=count)
    first = np.flatnonzero(rows.first)
    trials = np.bincount(rows.cell[first], minlength=rows.count)
    correct = np.bincount(rows.cell[first[rows.correct[first]]], minlength=rows.count)
    names = rows.names(head, "data", "method")

    n_level, n_low, n_high, reached = (np.full(count, np.nan) for _ in range(4))
    isotonic: list[Floats | None] = [None] * count
    monotone: list[bool | None] = [None] * count
    for code, of_trend in enumerate(np.split(by_size, np.cumsum(sizes)[:-1]) if count else []):
        if np.isnan(rows.truth[of_trend]).any() or not trials[of_trend].any():
            continue
        found = statistics.size_reaching(
            rows.n[of_trend],
            correct[of_trend],
            trials[of_trend],
            seeding.generator(seed, "study/n_level", names["data"][code].as_py(), names["method"][code].as_py()),
            level=level,
        )
        isotonic[code], monotone[code] = found.fit, found.monotone
        if found.monotone:
            n_level[code] = np.nan if found.size is None else found.size
            n_low[code], n_high[code], reached[code] = found.lower, found.upper, found.reached

    errors, penalties = (_slopes(rows, trend, count, name) for name in ("score_se", "penalty"))
    return _table(
        tables.TRENDS,
        {
            **names,
            "sizes": sizes,
            "level": np.full(count, level),
            "n_level": n_level,
            "n_low": n_low,
            "n_high": n_high,
            "reached": reached,
            "monotone": pa.array(monotone, pa.bool_()),
            "isotonic": pa.array(isotonic, pa.list_(pa.float64()), from_pandas=True),
            "se_slope": errors.slope,
            "se_slope_se": errors.slope_standard_error,
            "penalty_slope": penalties.slope,
            "penalty_slope_se": penalties.slope_standard_error,
        },
    )


def _by_rank(lists: Any, padding: float) -> Floats:
    """Lists of a column as rows of a matrix, filled up with the padding."""
    array = lists.combine_chunks()
    lengths = np.asarray(pc.list_value_length(array).to_numpy(zero_copy_only=False)).astype(np.int64)
    matrix = np.full((len(lengths), int(lengths.max(initial=1))), padding)
    matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = pc.list_flatten(array).to_numpy(zero_copy_only=False)
    return matrix


def sensitivity(
    runs: pa.Table,
    methods: Sequence[str],
    *,
    exponents: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9),
    constants: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
) -> pa.Table:
    """What the LWGAN would have said with other penalties c SE^a, from the stored scores.

    The rule is ``reference`` of `lwgan_dist.method.rank_selection.choose_rank`: argmin_r (mean_r + c SE_{r*}^a r) with
    r* = argmin_r mean_r, the smallest rank among equals. All runs with a dimension and scores are judged.

    Args:
        runs: of schema RUNS.
        methods: names of the methods to judge, LWGAN with the rule of the configuration as a rule.
        exponents: a.
        constants: c.

    Raises:
        ValueError: see `cells`; or a run with unequal numbers of means and errors.

    Returns:
        Schema SENSITIVITY, a row for each cell of the methods, exponent and constant, in the order of `cells` and that
        of the arguments.
    """
    rows = _sorted(runs.filter(pc.is_in(runs.column("method"), value_set=pa.array(methods, pa.string()))))
    scores, errors = (rows.source.column(name).take(pa.array(rows.order)) for name in ("score_mean", "score_errors"))
    judged = ~np.isnan(rows.dimension) & (_floats(scores.is_valid()) > 0) & (_floats(errors.is_valid()) > 0)
    mean, error = (_by_rank(column.filter(pa.array(judged)), np.inf) for column in (scores, errors))
    if not np.array_equal(np.isinf(mean), np.isinf(error)):
        raise ValueError("a run has other numbers of mean scores and of their standard errors")
    cell, dimension = rows.cell[judged], rows.dimension[judged]
    known = ~np.isnan(rows.truth)
    truth = np.where(known, rows.truth, 0.0)
    smallest = error[np.arange(len(mean)), mean.argmin(axis=1)]
    ranks = np.arange(1, mean.shape[1] + 1)
    no_failure = np.zeros(len(cell), dtype=np.bool_)

    settings = [(exponent, constant) for exponent in exponents for constant in constants]
    shape = (rows.count, len(settings))
    correct, mode, changed = np.empty(shape), np.empty(shape), np.empty(shape)
    for column, (exponent, constant) in enumerate(settings):
        penalty = constant * smallest**exponent
        rank = ranks[(mean + penalty[:, None] * ranks).argmin(axis=1)]
        summary = statistics.summarize_cells(cell, rank, truth[cell], no_failure, cells=rows.count)
        correct[:, column] = np.where(known, summary.correct.successes, np.nan)
        mode[:, column] = summary.modal_estimate
        changed[:, column] = np.bincount(cell[rank != dimension], minlength=rows.count)
    return _table(
        tables.SENSITIVITY,
        {
            **rows.names(np.repeat(np.arange(rows.count), len(settings)), "data", "n", "method"),
            "exponent": np.tile([float(exponent) for exponent, _ in settings], rows.count),
            "constant": np.tile([float(constant) for _, constant in settings], rows.count),
            "runs": np.repeat(np.bincount(cell, minlength=rows.count), len(settings)),
            "correct": correct.ravel(),
            "modal_dimension": mode.ravel(),
            "changed": changed.ravel(),
        },
    )


def bootstrap_table(base: pa.Table, refits: pa.Table, mass: float) -> pa.Table:
    """What the refits of every run say: their distribution and the smallest set of ranks with the mass.

    With all refits failed the set is empty and does not cover the truth. See
    `lwgan_dist.study.statistics.bootstrap_distributions`.

    Args:
        base: the runs that were bootstrapped, of schema RUNS; a key is there once.
        refits: columns key (of the run), kind (parametric or rows), resample, dimension (null of a failure). Refits of
            runs that are not in ``base`` are passed over.
        mass: least share of the refits in the set.

    Raises:
        ValueError: see `cells`; a key that two runs have, or two refits with one key, kind and resample.

    Returns:
        Schema BOOTSTRAP, a row for each run and kind that there are refits of, in the order of `cells`, replicate,
        initialisation and kind.
    """
    rows = _sorted(base)
    keys = base.column("key").take(pa.array(rows.order)).combine_chunks()
    if keys.null_count or len(keys.unique()) < len(keys):
        raise ValueError("every run that was bootstrapped needs a key of its own")
    runs = _floats(pc.index_in(refits.column("key"), value_set=keys))
    used = ~np.isnan(runs)
    runs, kinds = runs[used].astype(np.int64), _text_ranks(refits.column("kind"))[used]
    group, head = statistics.group_codes(runs, kinds)
    count = len(head)
    if len(statistics.group_codes(group, _floats(refits.column("resample"))[used])[1]) < len(group):
        raise ValueError("two refits have the same key, kind and resample")
    run = runs[head]
    dimension = _floats(refits.column("dimension"))[used]
    ok = ~np.isnan(dimension)
    found = statistics.bootstrap_distributions(group[ok], dimension[ok], mass=mass, groups=count)
    ascending = np.lexsort((found.value, found.group))
    ascending = ascending[found.in_set[ascending]]
    truth = rows.truth[rows.cell[run]]
    holds = np.bincount(found.group[found.in_set & (found.value == truth[found.group])], minlength=count)
    of_base, of_refits = base.take(pa.array(rows.order[run])), refits.take(pa.array(np.flatnonzero(used)[head]))
    names = ("data", "n", "method", "replicate", "initialisation", "key", "intrinsic_dim", "dimension")
    return _table(
        tables.BOOTSTRAP,
        {
            **{name: of_base.column(name).combine_chunks() for name in names},
            "kind": of_refits.column("kind").combine_chunks(),
            "resamples": np.bincount(group[ok], minlength=count),
            "failures": np.bincount(group[~ok], minlength=count),
            "ranks": _lists(found.group, found.value, count),
            "counts": _lists(found.group, found.count, count),
            "mode": found.mode,
            "mode_frequency": found.mode_frequency,
            "rank_set": _lists(found.group[ascending], found.value[ascending], count),
            "mass": found.set_mass,
            "covers": np.where(np.isnan(truth), np.nan, holds > 0),
        },
    )


def coverage(bootstrap: pa.Table) -> pa.Table:
    """How often the rank set holds the truth, over the runs of every cell and kind of bootstrap.

    The intervals take the samples as trials, as those of `cells`. A run all of whose refits failed does not cover and
    has no set size.

    Args:
        bootstrap: of schema BOOTSTRAP.

    Returns:
        Schema COVERAGE, in the order of data, n, method and kind.
    """
    data, method, kind = (_text_ranks(bootstrap.column(name)) for name in ("data", "method", "kind"))
    n, replicate = (np.asarray(bootstrap.column(name).to_numpy()) for name in ("n", "replicate"))
    cell, head = statistics.group_codes(data, n, method, kind)
    count = len(head)
    sample = statistics.group_codes(cell, replicate)[1]
    runs, samples = (np.bincount(codes, minlength=count) for codes in (cell, cell[sample]))
    truth, mode, covers = (_floats(bootstrap.column(name)) for name in ("intrinsic_dim", "mode", "covers"))
    sizes = _floats(pc.list_value_length(bootstrap.column("rank_set")))
    sizes = np.where(sizes > 0, sizes, np.nan)
    hits = np.bincount(cell[covers == 1], minlength=count)
    compared = {
        "covers": hits,
        "p_covers": hits / runs,
        **_intervals(hits, runs, samples),
        "p_mode_correct": np.bincount(cell[mode == truth], minlength=count) / runs,
    }
    names = bootstrap.select(["data", "n", "method", "kind"]).take(pa.array(head))
    return _table(
        tables.COVERAGE,
        {
            **{name: names.column(name).combine_chunks() for name in names.column_names},
            "runs": runs,
            **{name: np.where(np.isnan(truth[head]), np.nan, column) for name, column in compared.items()},
            "mean_set_size": _means(cell, sizes, count),
        },
    )
