"""Statistics of a consistency study: what many estimates of an intrinsic dimension say about a method.

A *cell* is one (manifold, n, method), a *replicate* one seed in it, a run one row of the study's arrays. Cells are
integer codes 0..C-1, and whatever is said of all cells has one entry per code. A cell without runs keeps its entry:
its proportions are nan with the interval [0, 1], its moments nan.
NumPy, SciPy and scikit-learn only.

A failed (diverged, crashed) run is an incorrect estimate: leaving it out would reward a method that fails where it
would have been wrong. It has no error, so bias and RMSE are of the other runs.

Which interval:

- replicates fixed in advance: `wilson_interval` (coverage near 1 - alpha on average) or `clopper_pearson_interval`
  (coverage at least 1 - alpha);
- replicates added until the interval is narrow enough: `bernoulli_confidence_sequence`, and only it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, betaln, ndtri, xlog1py, xlogy
from sklearn.isotonic import isotonic_regression

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
IntervalMethod = Literal["wilson", "clopper_pearson"]

ROUNDING = 1e-9
"""Slack when a computed proportion is compared with a level, so that 0.95 reached is not missed by rounding."""


@dataclass(frozen=True)
class Interval:
    """Ends of intervals for a probability, each of one shape, in [0, 1]."""

    lower: Floats
    upper: Floats

    @property
    def width(self) -> Floats:
        """Upper minus lower end."""
        return self.upper - self.lower


@dataclass(frozen=True)
class Proportion:
    """Successes among trials: the share (nan for 0 of 0) and its interval; arrays of one shape."""

    successes: Ints
    trials: Ints
    estimate: Floats
    interval: Interval


def _counts(*values: ArrayLike) -> tuple[Ints, ...]:
    """Whole numbers, at least 0, in a common shape."""
    arrays = [np.asarray(value) for value in values]
    if any(array.dtype.kind not in "biu" and array.size for array in arrays):
        raise ValueError(f"counts must be integers, got {[str(array.dtype) for array in arrays]}")
    broadcast = np.broadcast_arrays(*(array.astype(np.int64) for array in arrays))
    if any((array < 0).any() for array in broadcast):
        raise ValueError("counts must be at least 0")
    return tuple(broadcast)


def _successes(successes: ArrayLike, trials: ArrayLike) -> tuple[Ints, Ints]:
    k, n = _counts(successes, trials)
    if (k > n).any():
        raise ValueError("more successes than trials")
    return k, n


def _check_probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")


def _codes(code: ArrayLike, count: int | None, *columns: NDArray[Any]) -> tuple[Ints, int]:
    """Codes and their number, checked: whole, in range, one per entry of every column."""
    (codes,) = _counts(code)
    if codes.ndim != 1 or any(column.shape != codes.shape for column in columns):
        raise ValueError(
            f"columns must be one-dimensional and equally long: {[codes.shape, *(c.shape for c in columns)]}"
        )
    largest = int(codes.max(initial=-1))
    if count is not None and largest >= count:
        raise ValueError(f"code {largest} of {count} groups")
    return codes, largest + 1 if count is None else count


def _means(codes: Ints, values: Floats, counts: Ints) -> Floats:
    """Mean of the values of every group, nan for an empty one."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(codes, weights=values, minlength=len(counts)) / counts)


def group_codes(*keys: ArrayLike) -> tuple[Ints, Ints]:
    """Integer codes of the distinct rows of the key columns, in ascending order of the first key, then the second, ...

    Args:
        keys: columns of N entries each, of any type that sorts: manifold, n, method.

    Returns:
        ``code``, shape (N,), 0..C-1, and ``first``, shape (C,), the first row of every group: ``key[first]`` names it.
    """
    columns = [np.asarray(key) for key in keys]
    if not columns or any(column.shape != (len(columns[0]),) for column in columns):
        raise ValueError(
            f"key columns must be one-dimensional and equally long: {[column.shape for column in columns]}"
        )
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, inverse = np.unique(column, return_inverse=True)
        code = np.unique(code * max(len(values), 1) + inverse, return_inverse=True)[1]
    first = np.unique(code, return_index=True)[1]
    return code.astype(np.int64), first.astype(np.int64)


def wilson_interval(successes: ArrayLike, trials: ArrayLike, alpha: float = 0.05) -> Interval:
    """Wilson score interval for a proportion: {p : |k/n - p| <= z sqrt(p (1 - p) / n)}, z = Phi^-1(1 - alpha / 2).

    Its ends are (k + z^2/2 -+ z sqrt(k (n - k) / n + z^2/4)) / (n + z^2). Coverage is near 1 - alpha on average over p
    and may be below it at single p. [0, 1] for 0 of 0. Valid only where n was fixed before the data.

    Args:
        successes, trials: k and n, whole numbers of any shapes that broadcast.
        alpha: error probability of both sides together.

    Raises:
        ValueError: k > n, a negative count or one that is not whole.

    Source: Wilson 1927, JASA 22, 209-212; Brown, Cai, DasGupta 2001, Statistical Science 16(2), 101-133.
    """
    k, n = _successes(successes, trials)
    _check_probability("alpha", alpha)
    z = -ndtri(alpha / 2)
    half = z * np.sqrt(k * (1 - k / np.maximum(n, 1)) + z**2 / 4)
    lower, upper = ((k + z**2 / 2 + side) / (n + z**2) for side in (-half, half))
    return Interval(np.where(k == 0, 0.0, lower), np.where(k == n, 1.0, upper))


def clopper_pearson_interval(successes: ArrayLike, trials: ArrayLike, alpha: float = 0.05) -> Interval:
    """Clopper-Pearson ("exact") interval for a proportion: every p that neither one-sided binomial test rejects.

    Its ends are the quantiles alpha/2 of Beta(k, n - k + 1) and 1 - alpha/2 of Beta(k + 1, n - k); 0 for k = 0 and 1
    for k = n. Coverage is at least 1 - alpha for every p. [0, 1] for 0 of 0. Valid only where n was fixed before the
    data.

    Args:
        successes, trials: k and n, whole numbers of any shapes that broadcast.
        alpha: error probability of both sides together.

    Raises:
        ValueError: k > n, a negative count or one that is not whole.

    Source: Clopper and Pearson 1934, Biometrika 26(4), 404-413.
    """
    k, n = _successes(successes, trials)
    _check_probability("alpha", alpha)
    lower = np.where(k == 0, 0.0, betaincinv(np.maximum(k, 1), n - k + 1, alpha / 2))
    upper = np.where(k == n, 1.0, betaincinv(k + 1, np.maximum(n - k, 1), 1 - alpha / 2))
    return Interval(lower, upper)


def proportion(
    successes: ArrayLike, trials: ArrayLike, *, method: IntervalMethod = "wilson", alpha: float = 0.05
) -> Proportion:
    """The share k/n with its interval; see `wilson_interval` and `clopper_pearson_interval` for the arguments."""
    k, n = _successes(successes, trials)
    interval = wilson_interval(k, n, alpha) if method == "wilson" else clopper_pearson_interval(k, n, alpha)
    with np.errstate(invalid="ignore"):
        return Proportion(k, n, np.asarray(k / n), interval)


def bernoulli_confidence_sequence(
    successes: ArrayLike, trials: ArrayLike, alpha: float = 0.05, prior: tuple[float, float] = (1.0, 1.0)
) -> Interval:
    """Time-uniform interval for a Bernoulli mean: P(for all n >= 1: p in I_n) >= 1 - alpha. Beta-binomial mixture.

    With k successes in n trials and a Beta(a, b) prior the interval is the closure of::

        {p : M_n(p) < 1 / alpha},   M_n(p) = (B(a + k, b + n - k) / B(a, b)) / (p^k (1 - p)^(n - k))

    the marginal likelihood of the trials over their likelihood at p. At the true p, M_n is a non-negative martingale
    that starts at 1, so by Ville's inequality it ever reaches 1 / alpha with probability at most alpha. Hence the
    interval holds at any data-dependent time: after every run, at a stop once it is narrow, and where the results of
    all cells decide which cell goes on. What it rests on:

    - the trials of a cell are i.i.d.; alpha and the prior are fixed before them;
    - trials are counted in an order fixed in advance (by seed), not as runs finish: where a failing run ends sooner,
      the first results are not a fair sample;
    - one cell each: for C cells at once, pass alpha / C.

    The price: 1.3 times the width of the Clopper-Pearson interval at 20 trials, 1.8 times at 1000 (1.5 and 2.7 times
    where all are successes); it shrinks as sqrt(log(n) / n). The share k/n at a stop is biased; the coverage is not
    affected.

    Args:
        successes, trials: k and n, whole numbers of any shapes that broadcast.
        alpha: error probability over all n together.
        prior: (a, b), both > 0. (1, 1), Robbins' choice, gives {p : (n + 1) C(n, k) p^k (1 - p)^(n - k) > alpha}.
            A prior shifts width between values of p and leaves the coverage.

    Returns:
        Ends from bisection, rounded outwards: error below 1e-15 beyond that of log M_n (about 1e-16 n log n).

    Raises:
        ValueError: k > n, a count that is negative or not whole, or a prior that is not positive.

    Source: Robbins 1970, Statistical methods related to the law of the iterated logarithm, Annals of Mathematical
    Statistics 41(5), 1397-1409 (mixture, uniform prior); Ville 1939 for the inequality; Waudby-Smith and Ramdas 2020,
    Confidence sequences for sampling without replacement, NeurIPS 33, arXiv:2006.04347 (M_n(p) as the ratio of prior to
    posterior density at p).
    """
    k, n = _successes(successes, trials)
    _check_probability("alpha", alpha)
    a, b = prior
    if not (a > 0 and b > 0):
        raise ValueError(f"prior must be positive, got {prior}")
    pairs, inverse = np.unique(np.stack([k.ravel(), n.ravel()]), axis=1, return_inverse=True)
    won, lost = pairs[0], pairs[1] - pairs[0]
    bound = betaln(a + won, b + lost) - betaln(a, b) + np.log(alpha)  # M_n(p) < 1/alpha: log likelihood(p) > bound

    def end(outside: Floats, inside: Floats) -> Floats:
        """The end between a p that is out, or an edge of [0, 1], and one that is in; monotone between the two."""
        for _ in range(64):
            middle = (outside + inside) / 2
            within = xlogy(won, middle) + xlog1py(lost, -middle) > bound
            inside = np.where(within, middle, inside)
            outside = np.where(within, outside, middle)
        return outside

    share = won / np.maximum(pairs[1], 1)
    lower, upper = end(np.zeros(len(share)), share), end(np.ones(len(share)), share)
    return Interval(lower[inverse].reshape(k.shape), upper[inverse].reshape(k.shape))


def cells_to_sample(interval: Interval, width: float) -> Ints:
    """Cells whose interval is wider than ``width``, the widest first and the lowest code first among equals.

    The stopping rule of a cell is "interval no wider than ``width``", the next cell is the first one returned, and the
    study is done when none is. Use it with `bernoulli_confidence_sequence`, whose coverage survives this rule.

    Args:
        interval: of every cell, shape (C,).
        width: w > 0, the width of the whole interval (not of half of it), a difference of probabilities.

    Returns:
        Codes, shape (number of open cells,).
    """
    if not width > 0:
        raise ValueError(f"width must be positive, got {width}")
    order = np.argsort(-interval.width, kind="stable")
    return order[interval.width[order] > width].astype(np.int64)


def _frequencies(group: Ints, value: NDArray[Any]) -> tuple[Ints, NDArray[Any], Ints]:
    """Distinct (group, value) with their counts, by group, then the most frequent first, then the smallest value."""
    values, inverse = np.unique(value, return_inverse=True)
    keys, counts = np.unique(group * max(len(values), 1) + inverse, return_counts=True)
    groups, ranks = np.divmod(keys, max(len(values), 1))
    order = np.lexsort((ranks, -counts, groups))
    return groups[order], values[ranks[order]], counts[order].astype(np.int64)


def _modes(groups: Ints, values: NDArray[Any], counts: Ints, count: int) -> tuple[Floats, Ints]:
    """First row of every group of `_frequencies`: the mode (nan where there is none) and its count."""
    mode, times = np.full(count, np.nan), np.zeros(count, dtype=np.int64)
    present, first = np.unique(groups, return_index=True)
    mode[present], times[present] = values[first], counts[first]
    return mode, times


@dataclass(frozen=True)
class CellSummary:
    """What the runs of every cell say; arrays of shape (C,).

    ``correct`` + ``under`` + ``over`` + ``failures`` = ``runs``. The three proportions are of all runs. Bias, RMSE,
    their Monte Carlo standard errors (mcse) and the mode are of the runs that did not fail, in dimensions.
    """

    runs: Ints
    failures: Ints
    correct: Proportion
    under: Proportion
    over: Proportion
    bias: Floats
    bias_mcse: Floats
    rmse: Floats
    rmse_mcse: Floats
    modal_estimate: Floats
    modal_count: Ints


def summarize_cells(
    cell: ArrayLike,
    estimate: ArrayLike,
    truth: ArrayLike,
    failed: ArrayLike,
    *,
    cells: int | None = None,
    method: IntervalMethod = "wilson",
    alpha: float = 0.05,
) -> CellSummary:
    """Accuracy of the estimates of every cell. Time N log N for N runs; about 80 bytes a run.

    With e the m errors estimate - truth of the runs that did not fail, and sd with m - 1 in the denominator:

    - bias = mean e, mcse = sd(e) / sqrt(m)
    - rmse = sqrt(mean e^2), mcse = sd(e^2) / (2 rmse sqrt(m)) by the delta method; 0 where every e is 0, as of the bias
    - the mode is the most frequent estimate, the smallest among equals

    An estimate that is not whole is correct, under, over, and enters the mode, as the nearest integer (halves go up);
    its error is that of the estimate itself. m = 0: nan; m = 1: mcse nan.

    Args:
        cell: code 0..C-1 of every run, shape (N,).
        estimate: estimated dimensions, shape (N,); of a failed run not looked at (nan, say).
        truth: intrinsic dimensions, shape (N,), one in each cell.
        failed: flags, shape (N,).
        cells: C, the largest code + 1 if not given.
        method, alpha: of the intervals, for replicates fixed in advance.

    Raises:
        ValueError: columns of several lengths, a run that did not fail with an estimate that is not finite, or a cell
            with two truths.

    Source: Morris, White, Crowther 2019, Statistics in Medicine 38(11), 2074-2102, table 6 (bias and MSE).
    """
    estimates, truths = np.asarray(estimate, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    failures = np.asarray(failed)
    if failures.dtype != np.bool_ and failures.size:
        raise ValueError(f"failed must be flags, got {failures.dtype}")
    failures = failures.astype(np.bool_)
    codes, count = _codes(cell, cells, estimates, truths, failures)
    ok = ~failures
    if not (np.isfinite(estimates) | failures).all():
        raise ValueError("estimates of runs that did not fail must be finite")
    if not np.isfinite(truths).all():
        raise ValueError("truths must be finite")
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, codes, truths)
    np.maximum.at(high, codes, truths)
    if (low < high).any():
        raise ValueError("the truth must be one in each cell")

    runs = np.bincount(codes, minlength=count)
    codes, estimates, truths = codes[ok], estimates[ok], truths[ok]
    used = np.bincount(codes, minlength=count)
    rounded = np.floor(estimates + 0.5)

    def share(flags: NDArray[np.bool_]) -> Proportion:
        return proportion(np.bincount(codes[flags], minlength=count), runs, method=method, alpha=alpha)

    def mean_and_mcse(values: Floats) -> tuple[Floats, Floats]:
        means = _means(codes, values, used)
        squares = np.bincount(codes, weights=(values - means[codes]) ** 2, minlength=count)
        with np.errstate(invalid="ignore"):
            return means, np.sqrt(squares / (used * (used - 1.0)))  # 0 / 0 with fewer than two

    error = estimates - truths
    bias, bias_mcse = mean_and_mcse(error)
    mse, mse_mcse = mean_and_mcse(error**2)
    rmse = np.sqrt(mse)
    modal_estimate, modal_count = _modes(*_frequencies(codes, rounded), count)
    return CellSummary(
        runs=runs,
        failures=runs - used,
        correct=share(rounded == truths),
        under=share(rounded < truths),
        over=share(rounded > truths),
        bias=bias,
        bias_mcse=bias_mcse,
        rmse=rmse,
        rmse_mcse=np.where(rmse > 0, mse_mcse / (2 * np.where(rmse > 0, rmse, 1.0)), mse_mcse),
        modal_estimate=modal_estimate,
        modal_count=modal_count,
    )


def isotonic_proportions(successes: ArrayLike, trials: ArrayLike) -> Floats:
    """Success probabilities f_1 <= f_2 <= ... of maximum likelihood: argmin_f sum_i n_i (k_i / n_i - f_i)^2.

    Args:
        successes, trials: k and n at ascending sample sizes, shape (G,); n_i replicates, the weights.

    Returns:
        f, shape (G,); nan where n_i = 0, which weighs nothing.

    Source: Barlow, Bartholomew, Bremner, Brunk 1972, Statistical Inference under Order Restrictions (least squares with
    these weights is the binomial maximum likelihood); scikit-learn's isotonic_regression.
    """
    k, n = _successes(successes, trials)
    if k.ndim != 1:
        raise ValueError(f"counts must have shape (sizes,), got {k.shape}")
    fit = np.full(len(k), np.nan)
    seen = n > 0
    if seen.any():
        weights = n[seen].astype(np.float64)
        fit[seen] = isotonic_regression(k[seen] / weights, sample_weight=weights, increasing=True)
    return fit


@dataclass(frozen=True)
class SizeReached:
    """The smallest sample size at which P(correct) reaches a level, and a bootstrap interval.

    ``size`` is None where the level is not reached on the grid, and an end of the interval is inf there: "more than the
    largest size". The smallest size of the grid means "at most". ``reached`` is the share of resamples that reach it.
    ``monotone`` is False where the fit leaves the 95 % Clopper-Pearson interval of some size: P(correct) falls with n,
    so nothing of this describes it.
    """

    size: int | None
    lower: float
    upper: float
    reached: float
    monotone: bool
    fit: Floats


def size_reaching(
    sizes: ArrayLike,
    successes: ArrayLike,
    trials: ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    alpha: float = 0.05,
) -> SizeReached:
    """n_95: the smallest sample size of the grid at which the isotonic fit of P(correct) is at least ``level``.

    On the grid, not interpolated: the answer is a size that was run, and no shape of P between sizes is assumed. So it
    errs upwards by up to one step of the grid.

    The interval is a smoothed parametric bootstrap: P(correct) at size i is drawn from Beta(k_i + 1/2, n_i - k_i + 1/2)
    (Jeffreys' posterior), each draw of all sizes is fitted and read off alike, and the ends are order statistics number
    ceil(B alpha/2) and ceil(B (1 - alpha/2)) of the B sizes. Drawing replicates again, k*_i ~ Binomial(n_i, k_i / n_i),
    would have no variance where all or no replicates are correct, the usual case: 5 of 5 would be certain to reach .95.

    Args:
        sizes: n in rows, strictly ascending, shape (G,).
        successes, trials: correct estimates and replicates at each size, shape (G,). A size without replicates is
            passed over.
        rng: draws the resamples.
        level: of P(correct).
        resamples: B.
        alpha: error probability of the interval.

    Raises:
        ValueError: sizes that do not ascend, shapes that differ, or no resample.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3 (percentile interval); Brown, Cai,
    DasGupta 2001, Statistical Science 16(2), 101-133 (Jeffreys' prior).
    """
    (n,) = _counts(sizes)
    k, m = _successes(successes, trials)
    _check_probability("level", level)
    _check_probability("alpha", alpha)
    if n.ndim != 1 or n.shape != k.shape or (np.diff(n) <= 0).any():
        raise ValueError("sizes must ascend, with one count of successes and of trials each")
    if resamples < 1:
        raise ValueError(f"at least 1 resample is needed, got {resamples}")
    seen = m > 0
    n, k, m = n[seen], k[seen], m[seen]
    beyond = np.append(n.astype(np.float64), np.inf)
    fit = isotonic_proportions(successes, trials)
    first = int((fit[seen] < level - ROUNDING).sum())
    draws = rng.beta(k + 0.5, m - k + 0.5, size=(resamples, len(n)))
    reached = np.sort(beyond[_crossings(draws * m, m, level - ROUNDING)])
    within = clopper_pearson_interval(k, m)
    monotone = bool(((within.lower <= fit[seen]) & (fit[seen] <= within.upper)).all())
    lower, upper = (
        float(reached[max(int(np.ceil(resamples * share - ROUNDING)), 1) - 1]) for share in (alpha / 2, 1 - alpha / 2)
    )
    return SizeReached(
        int(n[first]) if first < len(n) else None, lower, upper, float(np.isfinite(reached).mean()), monotone, fit
    )


def _crossings(successes: Floats, trials: Ints, level: float) -> Ints:
    """Index of the first size at which the isotonic fit of every row reaches the level, the number of sizes if none.

    By the min-max formula the fit at size i is max_{a <= i} min_{b >= i} of the share of a..b. With S_j the sum of
    k - level m over the first j sizes it is at least the level where min_{b >= i} S_b >= min_{a < i} S_a.

    Args:
        successes: shape (B, G).
        trials: > 0, shape (G,).
    """
    sums = np.cumsum(successes - level * trials, axis=1)
    before = np.minimum.accumulate(np.pad(sums[:, :-1], ((0, 0), (1, 0))), axis=1)
    after = np.minimum.accumulate(sums[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((after < before).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class PowerLaws:
    """Least-squares lines log y = intercept + slope log n, one per group; arrays of shape (groups,), without unit."""

    points: Ints
    slope: Floats
    intercept: Floats
    slope_standard_error: Floats


def loglog_slopes(group: ArrayLike, n: ArrayLike, y: ArrayLike, *, groups: int | None = None) -> PowerLaws:
    """Exponent of y ~ n^slope by least squares of log y on log n (natural logarithms), with its standard error.

    With x = log n, S = sum (x - mean x)^2 and RSS the squared residuals of m points: SE = sqrt(RSS / (m - 2) / S),
    which supposes independent errors of log y with one variance. For lambda_n and SE_n: the rate at which they vanish.

    Args:
        group: code of every point, shape (N,).
        n: sample sizes, > 0, shape (N,).
        y: values, > 0, shape (N,).
        groups: number of groups, the largest code + 1 if not given.

    Returns:
        nan for a group with fewer than two distinct n; the standard error nan with fewer than three points.

    Raises:
        ValueError: n or y not finite and positive, or columns of several lengths.
    """
    sizes, values = np.asarray(n, dtype=np.float64), np.asarray(y, dtype=np.float64)
    codes, count = _codes(group, groups, sizes, values)
    if not all(np.isfinite(column).all() and (column > 0).all() for column in (sizes, values)):
        raise ValueError("n and y must be finite and positive")
    log_n, log_y = np.log(sizes), np.log(values)
    points = np.bincount(codes, minlength=count)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, codes, sizes)
    np.maximum.at(high, codes, sizes)
    mean_x, mean_y = _means(codes, log_n, points), _means(codes, log_y, points)
    x, z = log_n - mean_x[codes], log_y - mean_y[codes]
    sxx = np.bincount(codes, weights=x * x, minlength=count)
    sxy = np.bincount(codes, weights=x * z, minlength=count)
    slope = np.where(low < high, sxy / np.where(low < high, sxx, 1.0), np.nan)
    rss = np.bincount(codes, weights=(z - slope[codes] * x) ** 2, minlength=count)
    degrees = np.where(points > 2, points - 2.0, np.nan)
    return PowerLaws(points, slope, mean_y - slope * mean_x, np.sqrt(rss / degrees / np.where(low < high, sxx, np.nan)))


def discordant_pairs(
    cell: ArrayLike, first: ArrayLike, second: ArrayLike, *, cells: int | None = None
) -> tuple[Ints, Ints]:
    """Samples of every cell on which only the first method is correct, and those on which only the second is.

    Args:
        cell: code of every sample, shape (N,); here a cell has no method.
        first, second: is the method correct on this very sample, flags of shape (N,); a failed run is not.
        cells: C, the largest code + 1 if not given.

    Returns:
        Two counts, each of shape (C,).
    """
    a, b = np.asarray(first), np.asarray(second)
    if any(flags.dtype != np.bool_ and flags.size for flags in (a, b)):
        raise ValueError(f"first and second must be flags, got {a.dtype} and {b.dtype}")
    a, b = a.astype(np.bool_), b.astype(np.bool_)
    codes, count = _codes(cell, cells, a, b)
    return np.bincount(codes[a & ~b], minlength=count), np.bincount(codes[b & ~a], minlength=count)


def mcnemar_exact(only_first: ArrayLike, only_second: ArrayLike) -> Floats:
    """Exact two-sided p-value of McNemar's test that two methods are equally often correct, on paired samples.

    Of b + c discordant pairs b are Binomial(b + c, 1/2) under the hypothesis: p = min(1, 2 P(X <= min(b, c))). Pairs on
    which both or neither are correct do not count; 1 without discordant pairs.

    Args:
        only_first, only_second: b and c, whole numbers of any shapes that broadcast; see `discordant_pairs`.

    Source: McNemar 1947, Psychometrika 12(2), 153-157; Fay 2010, Biostatistics 11(2), 373-374 (exact form).
    """
    b, c = _counts(only_first, only_second)
    return np.asarray(np.minimum(1.0, 2.0 * bdtr(np.minimum(b, c).astype(np.float64), b + c, 0.5)))


def holm(p_values: ArrayLike) -> Floats:
    """P-values adjusted by Holm's step-down: rejecting those <= alpha keeps the familywise error rate at alpha.

    In ascending order p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)), under any dependence of the tests.

    Args:
        p_values: of one family, shape (m,), in [0, 1].

    Returns:
        Adjusted, shape (m,), in the order given.

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2), 65-70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must have shape (tests,) and lie in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


@dataclass(frozen=True)
class BootstrapDistributions:
    """Distributions of bootstrap estimates, one per group.

    The rows, shape (distinct (group, value),), are by group, the most frequent value first and the smallest first among
    equals: ``group``, ``value``, ``count``, ``frequency`` and ``in_set``, whether the value is in the group's smallest
    set. Per group, shape (groups,): ``mode``, its ``mode_frequency``, ``set_size`` and ``set_mass`` (at least the mass
    asked for); nan and 0 for a group without estimates.
    """

    group: Ints
    value: NDArray[Any]
    count: Ints
    frequency: Floats
    in_set: NDArray[np.bool_]
    mode: Floats
    mode_frequency: Floats
    set_size: Ints
    set_mass: Floats


def bootstrap_distributions(
    group: ArrayLike, estimate: ArrayLike, *, mass: float = 0.95, groups: int | None = None
) -> BootstrapDistributions:
    """Modal estimate of every group of bootstrap estimates, and the smallest set of values with at least ``mass``.

    The set takes the values from the most frequent on until they hold the mass; of equally frequent ones the smaller
    goes first, so there is one answer. Its values need not be neighbours. It describes the bootstrap and is not by
    itself a confidence set: its coverage of the true dimension is a question to the study.

    Args:
        group: code of every estimate, shape (N,): one sample, or one cell.
        estimate: estimates, whole as a rule, shape (N,); the caller leaves failed ones out and reports their number.
        mass: of the set, between 0 and 1.
        groups: number of groups, the largest code + 1 if not given.

    Raises:
        ValueError: an estimate that is not finite, or columns of several lengths.
    """
    values = np.asarray(estimate)
    codes, size = _codes(group, groups, values)
    _check_probability("mass", mass)
    if not np.isfinite(values).all():
        raise ValueError("estimates must be finite")
    group_row, value, count = _frequencies(codes, values)
    totals = np.bincount(codes, minlength=size)
    before = np.cumsum(count) - count - np.concatenate([[0], np.cumsum(totals)[:-1]])[group_row]
    in_set = before < (mass - ROUNDING) * totals[group_row]
    mode, mode_count = _modes(group_row, value, count, size)
    held = np.bincount(group_row[in_set], weights=count[in_set], minlength=size)
    with np.errstate(invalid="ignore"):
        return BootstrapDistributions(
            group=group_row,
            value=value,
            count=count,
            frequency=count / totals[group_row],
            in_set=in_set,
            mode=mode,
            mode_frequency=mode_count / totals,
            set_size=np.bincount(group_row[in_set], minlength=size),
            set_mass=held / totals,
        )
