"""From the runs of a study to its tables: cells, comparisons, trends, sensitivity, bootstrap and its coverage.

Every function takes Arrow tables of the schemas in `lwgan_dist.study.tables` and returns one; Polars groups the rows,
the statistics are those of `lwgan_dist.study.proportions`. The order of the rows of a table does not change a bit of
what comes out: rows are sorted first, so that every sum has one order. What is not a number becomes null.

A failed run is an incorrect estimate, and neither below nor above the truth. The unit of every interval and standard
error is the sample: runs on one sample are not independent. The *first* run on a sample is that of initialisation 0.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
from polars import selectors

from lwgan_dist import seeding
from lwgan_dist.study import proportions, tables

_CELL = ["data", "n", "other", "method"]
"""Columns that name a cell, in the order of the tables; ``other`` is false for the LWGAN."""
_SAMPLE = [*_CELL, "replicate"]
_RUN = [*_SAMPLE, "initialisation"]
_TREND = ["data", "other", "method"]
_ENDS = ["wilson_low", "wilson_high", "exact_low", "exact_high"]
_COMPARED = [
    "correct", "p_correct", *_ENDS, "sequence_low", "sequence_high", "p_under", "p_over",
    "bias", "bias_mcse", "rmse", "rmse_mcse",
]  # fmt: skip
"""Columns of a cell that compare with the truth."""

_DIMENSION, _TRUTH, _CORRECT = pl.col("dimension"), pl.col("intrinsic_dim"), pl.col("correct")
_IS_FINISHED, _IS_FIRST, _IS_KNOWN = _DIMENSION.is_not_null(), pl.col("initialisation") == 0, _TRUTH.is_not_null()


def _frame(table: pa.Table) -> pl.DataFrame:
    """A table in Polars; nan becomes null."""
    return cast(pl.DataFrame, pl.from_arrow(table)).with_columns(selectors.float().fill_nan(None))


def _table(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """The columns of a schema; nan becomes null."""
    return frame.select(schema.names).with_columns(selectors.float().fill_nan(None)).to_arrow().cast(schema)


def _sorted(runs: pa.Table) -> pl.DataFrame:
    """Runs in the order of the cells, with ``other``, and ``correct`` false of a failure and an unknown truth.

    Raises:
        ValueError: a run without its place in the design, two runs of one place, or a cell with two truths.
    """
    place = ("data", "n", "method", "replicate", "initialisation", "kind")
    if missing := [name for name in place if runs.column(name).null_count]:
        raise ValueError(f"runs without {', '.join(missing)}")
    rows = _frame(runs).with_columns(
        other=pl.col("kind") != "lwgan", correct=(_DIMENSION == _TRUTH).fill_null(value=False)
    )
    rows = rows.sort(_RUN)
    if rows.select(_RUN).is_duplicated().any():
        raise ValueError("two runs have the same data, n, method, replicate and initialisation")
    if (rows.group_by(_CELL).agg(_TRUTH.n_unique())["intrinsic_dim"] > 1).any():
        raise ValueError("the truth must be one in each cell")
    return rows


def _mode(column: pl.Expr) -> pl.Expr:
    """The most frequent value of a group, the smallest among equals; null without values."""
    return column.drop_nulls().mode().min()


def _mean_and_error(name: str) -> dict[str, pl.Expr]:
    """Mean over the m values of every cell and its standard error with the G samples as units; null with G < 2.

    With d the deviations from the mean: SE^2 = G / (G - 1) sum_samples (sum_runs d)^2 / m^2. With equally many runs on
    every sample that is sd(means of the samples) / sqrt(G), with one run on each sd / sqrt(m).

    Source: Cochran 1977, Sampling Techniques, section 2.11 (ratio of cluster totals).
    """
    values, samples = pl.col(name), pl.col("replicate").filter(pl.col(name).is_not_null()).n_unique().cast(pl.Float64)
    error = (pl.col(f"{name}_squares").sum() * samples / (samples - 1)).sqrt() / values.count()
    return {name: values.mean(), f"{name}_mcse": pl.when(samples > 1).then(error)}


def _with_squares(rows: pl.DataFrame, *names: str) -> pl.DataFrame:
    """``NAME_squares``: add up over the runs on a sample to the square of their sum of deviations from the cell's mean.

    In two steps, for a window within a window would see no more than the outer one.
    """
    deviations = [(pl.col(name) - pl.col(name).mean().over(_CELL)).alias(f"{name}_squares") for name in names]
    values = pl.col(f"{name}_squares" for name in names)
    squares = values.sum().over(_SAMPLE) ** 2 / values.count().over(_SAMPLE)
    return rows.with_columns(deviations).with_columns(pl.when(values.is_not_null()).then(squares))


def _with_intervals(cells: pl.DataFrame, hits: str) -> pl.DataFrame:
    """95 % intervals of a share of runs, by Wilson and by Clopper and Pearson, with the samples as trials.

    The lower end is that of floor(p samples) successes and the upper that of ceil(p samples), p = hits / runs: as if
    all runs on a sample agreed, in which case they count as one; so with several runs a sample the interval is
    too wide rather than too narrow. With one it is the usual one.
    """
    hit, runs, samples = (cells[name].to_numpy().astype(np.int64) for name in (hits, "runs", "samples"))
    low, high = hit * samples // runs, -(-hit * samples // runs)
    ends = []
    for interval in (proportions.wilson_interval, proportions.clopper_pearson_interval):
        ends += [interval(low, samples).lower, interval(high, samples).upper]
    return cells.with_columns(pl.Series(name, values) for name, values in zip(_ENDS, ends, strict=True))


def cells(runs: pa.Table, *, sequence_alpha: float | None = None, sequence_cells: int | None = None) -> pa.Table:
    """The runs of every cell, summarised.

    - P(correct) and its 95 % intervals: failures count as incorrect, so correct + under + over + failures = runs. The
      trials of the intervals are the samples: with several runs on a sample the lower end is that of
      floor(p_correct * samples) successes and the upper that of ceil(p_correct * samples), which is conservative.
    - Confidence sequence: of the first runs on replicates 0, 1, 2, ... up to the first that is missing, so that what
      happens to be done has no influence; at level sequence_alpha / (number of cells of known truth).
    - bias, rmse: of ``value``, over the m runs that did not fail; everything else is of ``dimension``. With e the
      errors value - truth: bias = mean e, rmse = sqrt(mean e^2). Their Monte Carlo standard errors take the samples as
      clusters: SE(bias)^2 = G / (G - 1) sum_samples (sum_runs (e - bias))^2 / m^2 over the G samples with a run that
      did not fail; that of the rmse is that of mean e^2 over 2 rmse, by the delta method, 0 where every e is 0.
    - agreement: share of pairs of runs on one sample with equal dimension; a pair with a failure does not agree.
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

    Source: Morris, White, Crowther 2019, Statistics in Medicine 38(11), 2074-2102, table 6 (bias and MSE).
    """
    rows = _sorted(runs)
    value = pl.when(_IS_FINISHED).then(pl.col("value"))
    if rows.filter(_IS_FINISHED & ~value.is_finite().fill_null(value=False)).height:
        raise ValueError("a run has a dimension and no finite value")
    rows = rows.with_columns(
        value=value,
        bias=value - _TRUTH,
        mse=(value - _TRUTH) ** 2,
        pairs=pl.len().over(_SAMPLE) - 1,
        equal=pl.when(_IS_FINISHED).then(pl.len().over(*_SAMPLE, "dimension") - 1),
        in_sequence=_IS_FIRST & (_IS_FIRST.cum_sum().over(_CELL) == pl.col("replicate") + 1),
    )
    table = (
        _with_squares(rows, "bias", "mse")
        .group_by(_CELL, maintain_order=True)
        .agg(
            pl.col("kind", "factors", "intrinsic_dim").first(),
            pl.col("penalty", "score_se", "margin").median(),
            pl.col("cpu_seconds").mean(),
            _CORRECT.sum(),
            runs=pl.len(),
            samples=pl.col("replicate").n_unique(),
            failures=_DIMENSION.null_count(),
            p_correct=_CORRECT.mean(),
            p_under=(_DIMENSION < _TRUTH).sum() / pl.len(),
            p_over=(_DIMENSION > _TRUTH).sum() / pl.len(),
            modal_dimension=_mode(_DIMENSION),
            modal_count=(_mode(_DIMENSION) == _DIMENSION).sum(),
            mean_value=pl.col("value").mean(),
            agreement=pl.col("equal").sum() / pl.col("pairs").sum(),
            sequence=pl.col("in_sequence").sum(),
            sequence_correct=(pl.col("in_sequence") & _CORRECT).sum(),
            **_mean_and_error("bias"),
            **_mean_and_error("mse"),
        )
    )
    rmse = pl.col("mse").sqrt()
    table = _with_intervals(_with_sequence(table, sequence_alpha, sequence_cells), "correct").with_columns(
        rmse=rmse, rmse_mcse=pl.when(rmse > 0).then(pl.col("mse_mcse") / (2 * rmse)).otherwise("mse_mcse")
    )
    return _table(table.with_columns(pl.when(_IS_KNOWN).then(pl.col(_COMPARED))), tables.CELLS)


def mean_error(runs: pa.Table) -> pl.DataFrame:
    """``mean_error`` of each (data, n, method), the mean of |value - truth|, and ``mean_error_mcse``, see `cells`.

    Args:
        runs: of schema RUNS, maybe without its later columns.

    Raises:
        ValueError: see `cells`.
    """
    rows = _sorted(runs).with_columns(mean_error=(pl.col("value") - _TRUTH).abs())
    return _with_squares(rows, "mean_error").group_by(_CELL).agg(**_mean_and_error("mean_error"))


def _with_sequence(cells: pl.DataFrame, alpha: float | None, count: int | None) -> pl.DataFrame:
    """The confidence sequence of every cell, at level alpha over the cells of known truth."""
    known = cells.select(_IS_KNOWN.sum()).item()
    if alpha is None or not known:
        return cells.with_columns(sequence_low=pl.lit(math.nan), sequence_high=pl.lit(math.nan))
    ends = proportions.bernoulli_confidence_sequence(
        cells["sequence_correct"].to_numpy(), cells["sequence"].to_numpy(), alpha / (count or known)
    )
    return cells.with_columns(sequence_low=pl.Series(ends.lower), sequence_high=pl.Series(ends.upper))


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
    first = _sorted(runs).filter(_IS_FIRST & _IS_KNOWN).select(*_SAMPLE, "correct")
    first = first.with_columns(a=pl.struct(_CELL).rle_id())
    pair, is_pair = ["a", "a_b"], pl.col("a") < pl.col("a_b")
    methods = first.group_by("a", maintain_order=True).agg(pl.col(_CELL).first())
    pairs = methods.join(methods, on=["data", "n"], suffix="_b").filter(is_pair)
    both = first.join(first, on=["data", "n", "replicate"], suffix="_b").filter(is_pair)
    counted = both.group_by(pair).agg(
        pairs=pl.len(),
        only_a=(_CORRECT & ~pl.col("correct_b")).sum(),
        only_b=(~_CORRECT & pl.col("correct_b")).sum(),
    )
    table = pairs.join(counted, on=pair, how="left").sort(pair).fill_null(0)
    p_value = proportions.mcnemar_exact(table["only_a"].to_numpy(), table["only_b"].to_numpy())
    return _table(
        table.rename({"method": "method_a", "method_b": "method_b"}).with_columns(
            p_value=pl.Series(p_value), p_holm=pl.Series(proportions.holm(p_value))
        ),
        tables.COMPARISONS,
    )


def trends(runs: pa.Table, *, level: float = 0.95, seed: int = 0) -> pa.Table:
    """How P(correct), the standard error of the score and lambda depend on n, for every data and method.

    n_level is from the first run on every sample (`lwgan_dist.study.proportions.size_reaching`), null with its interval
    and fit if the truth is unknown, null with its interval where P(correct) is not monotone. Its resamples are a
    function of seed, data and method: other rows do not change it. A slope is from one point for each sample, the
    geometric mean of the positive values of the runs on it.

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
    cells = rows.group_by(_CELL, maintain_order=True).agg(
        _TRUTH.first(), trials=_IS_FIRST.sum(), correct=(_IS_FIRST & _CORRECT).sum()
    )
    table = (
        cells.sort([*_TREND, "n"])
        .group_by(_TREND, maintain_order=True)
        .agg("n", "trials", "correct", sizes=pl.len(), is_known=_IS_KNOWN.all(), level=pl.lit(level))
    )
    for name, column in (("score_se", "se_slope"), ("penalty", "penalty_slope")):
        table = table.join(_slopes(rows, name, column), on=_TREND, how="left", maintain_order="left")
    reached = [_size_reached(trend, seed) for trend in table.iter_rows(named=True)]
    floats = {name: pl.Float64() for name in ("n_level", "n_low", "n_high", "reached")}
    schema: dict[str, Any] = {**floats, "monotone": pl.Boolean(), "isotonic": pl.List(pl.Float64)}
    return _table(table.hstack(pl.DataFrame(reached, schema=schema)), tables.TRENDS)


def _size_reached(trend: dict[str, Any], seed: int) -> dict[str, Any]:
    """The columns of `trends` about n_level; none if the truth is unknown."""
    if not trend["is_known"] or not any(trend["trials"]):
        return {}
    rng = seeding.generator(seed, "study/n_level", trend["data"], trend["method"])
    result = proportions.size_reaching(trend["n"], trend["correct"], trend["trials"], rng, level=trend["level"])
    fit = [None if math.isnan(share) else share for share in result.fit.tolist()]
    sizes = {"n_level": result.size, "n_low": result.lower, "n_high": result.upper, "reached": result.reached}
    return {"isotonic": fit, "monotone": result.monotone, **(sizes if result.monotone else {})}


def _slopes(rows: pl.DataFrame, name: str, column: str) -> pl.DataFrame:
    """Exponent of a power law in n by least squares of log y on log n, with its standard error, of every trend.

    With x = log n, S = sum (x - mean x)^2 and RSS the squared residuals of m points: SE = sqrt(RSS / (m - 2) / S),
    which supposes independent errors of log y with one variance. Null with fewer than two distinct n; the standard
    error null with fewer than three points.
    """
    y, x, z = pl.col(name), pl.col("x") - pl.col("x").mean(), pl.col("y") - pl.col("y").mean()
    points = (
        rows.filter(y.is_finite() & (y > 0))
        .group_by(_SAMPLE, maintain_order=True)
        .agg(y=y.log().mean(), x=pl.col("n").first().log())
    )
    slope, degrees = (x * z).sum() / (x * x).sum(), pl.len().cast(pl.Float64) - 2
    error = (((z - slope * x) ** 2).sum() / degrees / (x * x).sum()).sqrt()
    has_slope = pl.col("n").n_unique() > 1
    return points.group_by(_TREND, maintain_order=True).agg(
        pl.when(has_slope).then(slope).alias(column),
        pl.when(has_slope & (degrees > 0)).then(error).alias(f"{column}_se"),
    )


def sensitivity(
    runs: pa.Table,
    methods: Sequence[str],
    *,
    exponents: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9),
    constants: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
) -> pa.Table:
    """The estimates of the LWGAN with other penalties c SE^a, from the stored scores.

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
    means, errors, rank = pl.col("score_mean"), pl.col("score_errors"), pl.col("rank")
    rows = _sorted(runs).filter(pl.col("method").is_in(list(methods)))
    if rows.filter(_IS_FINISHED & (means.list.len() != errors.list.len())).height:
        raise ValueError("a run has other numbers of mean scores and of their standard errors")
    rows = rows.with_columns(
        smallest=errors.list.get(means.list.arg_min()), ranks=pl.int_ranges(1, means.list.len() + 1)
    )
    judged = []
    for setting, (exponent, constant) in enumerate(itertools.product(exponents, constants)):
        penalised = means + constant * pl.col("smallest") ** exponent * pl.col("ranks")
        judged.append(
            rows.with_columns(rank=pl.when(_IS_FINISHED).then(penalised.list.arg_min().cast(pl.Int64) + 1))
            .group_by(_CELL, maintain_order=True)
            .agg(
                exponent=pl.lit(float(exponent)),
                constant=pl.lit(float(constant)),
                setting=pl.lit(setting),
                runs=rank.count(),
                correct=pl.when(_IS_KNOWN.first()).then((rank == _TRUTH).sum()),
                modal_dimension=_mode(rank),
                changed=(rank != _DIMENSION).sum(),
            )
        )
    return _table(pl.concat(judged).sort([*_CELL, "setting"]), tables.SENSITIVITY)


def bootstrap_table(base: pa.Table, refits: pa.Table, mass: float) -> pa.Table:
    """The refits of every run, summarised: their distribution and the smallest set of ranks with the mass.

    The set takes the ranks from the most frequent on until they hold the mass; of equally frequent ones the smaller
    goes first, so the answer is one. Its ranks need not be neighbours. It describes the bootstrap and is not by
    itself a confidence set: its coverage of the true dimension is a question to the study. With all refits failed the
    set is empty and does not cover the truth.

    Args:
        base: the runs that were bootstrapped, of schema RUNS; a key occurs once.
        refits: columns key (of the run), kind (parametric or rows), resample, dimension (null of a failure). Refits of
            runs that are not in ``base`` are passed over.
        mass: least share of the refits in the set, between 0 and 1.

    Raises:
        ValueError: see `cells`; a key that two runs have, or two refits with one key, kind and resample.

    Returns:
        Schema BOOTSTRAP, a row for each run and kind that there are refits of, in the order of `cells`, replicate,
        initialisation and kind.
    """
    if not 0 < mass < 1:
        raise ValueError(f"mass must be between 0 and 1, got {mass}")
    rows = _sorted(base).drop("kind")
    if rows["key"].null_count() or rows["key"].is_duplicated().any():
        raise ValueError("every run that was bootstrapped needs a key of its own")
    group, rank, count = [*_RUN, "key", "kind"], pl.col("rank"), pl.col("count")
    drawn = _frame(refits).rename({"dimension": "rank"})
    drawn = rows.join(drawn, on="key").select(*group, "resample", "rank", "dimension", "intrinsic_dim")
    if drawn.select(*group, "resample").is_duplicated().any():
        raise ValueError("two refits have the same key, kind and resample")
    counted = drawn.drop_nulls("rank").group_by(*group, "rank").agg(count=pl.len().cast(pl.Int64))
    counted = counted.sort([*group, "count", "rank"], descending=[*[False] * len(group), True, False])
    total = count.sum().over(group)
    counted = counted.with_columns(
        total=total, in_set=count.cum_sum().over(group) - count < (mass - proportions.ROUNDING) * total
    )
    sets = counted.group_by(group).agg(
        ranks=rank,
        counts=count,
        mode=rank.first(),
        mode_frequency=count.first() / pl.col("total").first(),
        rank_set=rank.filter("in_set").sort(),
        mass=count.filter("in_set").sum() / pl.col("total").first(),
    )
    table = drawn.group_by(group).agg(
        pl.col("dimension", "intrinsic_dim").first(), resamples=rank.count(), failures=rank.null_count()
    )
    lists = pl.col("ranks", "counts", "rank_set").fill_null([])
    table = table.join(sets, on=group, how="left").sort(group).with_columns(lists)
    covers = pl.when(_IS_KNOWN).then(pl.col("rank_set").list.contains(_TRUTH))
    return _table(table.with_columns(covers=covers), tables.BOOTSTRAP)


def coverage(bootstrap: pa.Table) -> pa.Table:
    """How often the rank set holds the truth, over the runs of every cell and kind of bootstrap.

    The intervals take the samples as trials, as those of `cells`. A run all of whose refits failed does not cover and
    has no set size.

    Args:
        bootstrap: of schema BOOTSTRAP.

    Returns:
        Schema COVERAGE, in the order of data, n, method and kind.
    """
    cell, size = ["data", "n", "method", "kind"], pl.col("rank_set").list.len()
    table = (
        _frame(bootstrap)
        .group_by(cell)
        .agg(
            _TRUTH.first(),
            pl.col("covers").sum(),
            runs=pl.len(),
            samples=pl.col("replicate").n_unique(),
            p_covers=pl.col("covers").sum() / pl.len(),
            p_mode_correct=(pl.col("mode") == _TRUTH).sum() / pl.len(),
            mean_set_size=size.filter(size > 0).mean(),
        )
        .sort(cell)
    )
    compared = ["covers", "p_covers", *_ENDS, "p_mode_correct"]
    table = _with_intervals(table, "covers").with_columns(pl.when(_IS_KNOWN).then(pl.col(compared)))
    return _table(table, tables.COVERAGE)
