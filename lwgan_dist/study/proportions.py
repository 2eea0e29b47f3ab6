"""Statistics of a consistency study: intervals of a probability, the sample size that suffices, tests of two methods.

Which interval:

- replicates fixed in advance: `wilson_interval` (coverage near 1 - alpha on average) or `clopper_pearson_interval`
  (coverage at least 1 - alpha);
- replicates added until the interval is narrow enough: `bernoulli_confidence_sequence`, and only it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, betaln, ndtri, xlog1py, xlogy
from sklearn.isotonic import isotonic_regression

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDING = 1e-9
"""Slack when a computed proportion is compared with a level, so that 0.95 reached is not missed by rounding."""


@dataclass(frozen=True)
class Interval:
    """Ends of intervals for a probability, each of one shape, in [0, 1]."""

    lower: Floats
    upper: Floats


def _counts(*values: ArrayLike) -> tuple[Ints, ...]:
    """The values as whole numbers, checked to be at least 0, in a common shape."""
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


def mcnemar_exact(only_first: ArrayLike, only_second: ArrayLike) -> Floats:
    """Exact two-sided p-value of McNemar's test that two methods are equally often correct, on paired samples.

    Of b + c discordant pairs b are Binomial(b + c, 1/2) under the hypothesis: p = min(1, 2 P(X <= min(b, c))). Pairs on
    which both or neither are correct do not count; 1 without discordant pairs.

    Args:
        only_first, only_second: b and c, samples on which only the first or only the second is correct; whole numbers
            of any shapes that broadcast.

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
