"""The sample size n* at which P(correct) reaches a target, searched for: what the runs so far say, and which come next.

On a grid of sizes N_1 < ... < N_G, H_j says that n* is in (N_(j-1), N_j]: P is below the target t at the sizes before
N_j, and at least t from there on; H_(G+1): more than N_G. A batch of runs at one size, with likelihood L_p, multiplies
a wager that P is above t there by the mean of max(1, L_p / L_t) over p > t, one that it is below by that over p < t::

    sum_p w_p r_p,   r_p = L_p(batch) / L_t(batch) where p is on that side of t, 1 elsewhere

with weights w_p from earlier batches alone. Where P is in truth on the other side of t, or at it, the mean of r_p is at
most 1, whatever decided that this size is run next. So under H_j both products are nonnegative supermartingales: of
wagers above t at the sizes before N_j, and below t from N_j on. A third one is against P that does not fall: the
likelihood of independent P at the sizes of the beginning, each uniform, over the largest of any P that does not fall.
The mean E_j of the three ever reaches 1 / alpha with probability at most alpha (Ville). The H_j that are left are an
interval that holds n* at any stop with probability 1 - alpha, at no price for the number of sizes; if none is left, P
falls with n. What it rests on: runs are i.i.d. at each size, independent between sizes, in an order fixed beforehand.

The weights are for speed alone: wrong ones cost runs, not coverage. They are those of Bayes' rule over logistic curves
in log n between two levels, beside independent P with Jeffreys' prior at every size.

Sources: Ville 1939; Robbins 1970, Annals of Mathematical Statistics 41(5), 1397-1409 (mixtures); Wasserman, Ramdas,
Balakrishnan 2020, Universal inference, PNAS 117(29), 16880-16890 (the largest likelihood below the line); Ramdas,
Gruenwald, Vovk, Shafer 2023, Game-theoretic statistics and safe anytime-valid inference, Statistical Science 38(4).
"""

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc, betaln, expit, logit, logsumexp, softmax, xlog1py, xlogy

from lwgan_dist.study.proportions import isotonic_proportions

Floats = NDArray[np.float64]
Outcome = Literal["solved", "at most", "more", "falls"]

_WRONG = (0.05, 0.2, 0.5, 1.5, 4.0)
"""Shares of wrong estimates at which curves level off, in units of 1 - t."""
_LOW = (0.02, 0.4, 0.8)
"""Levels from which they rise, in units of t."""
_SLOPES = (1.0, 2.0, 3.0, 5.0, 8.0, 32.0)
"""Of the logit of P on log n."""
_MARGIN, _MOST_PLACES = 3.0, 120
"""How far beyond the grid they may rise, in units of log n; at how many places."""
_SHARES = np.log([0.45, 0.45, 0.1])
"""Of the wagers above, below and against P that does not fall, in E_j."""
_CHANCE = 2.0
"""Standard errors of a fall that may be chance."""
_LEAST_RATE, _LARGEST = 1e-7, 600.0
"""Evidence of a run, at the least; the logarithm of a ratio, at most."""


@dataclass(frozen=True)
class Goal:
    """What is searched for.

    Attributes:
        sizes: N_1 < ... < N_G, at least two.
        first: indices of the sizes that every search begins with, ascending, the smallest and the largest among them.
        target: t.
        precision: the search ends when the interval's upper end is at most so many times its lower end.
        alpha: error probability of the interval.
    """

    sizes: tuple[int, ...]
    first: tuple[int, ...]
    target: float
    precision: float
    alpha: float

    @cached_property
    def curves(self) -> tuple[Floats, Floats]:
        """P of the logistic curves at every size, shape (curves, G), and the n at which they reach the target."""
        x, t = np.log(self.sizes), self.target
        count = min(_MOST_PLACES, int(1.5 * (1 + 2 * _MARGIN / (x[-1] - x[0])) * len(x)) + 2)
        places = np.linspace(x[0] - _MARGIN, x[-1] + _MARGIN, count)
        wrong, low, slope, place = map(np.array, zip(*itertools.product(_WRONG, _LOW, _SLOPES, places), strict=True))
        high = np.maximum(1 - wrong * (1 - t), 0.02 * t)
        low = np.minimum(low * t, high)
        curves = low[:, None] + (high - low)[:, None] * expit(slope[:, None] * (x - place[:, None]))
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = np.exp(place + logit((t - low) / (high - low)) / slope)
        return np.clip(curves, 1e-6, 1 - 1e-6), np.where(high > t, reached, np.inf)


@dataclass(frozen=True)
class Standing:
    """What the runs so far say.

    Attributes:
        low, high: n* is in (low, high] with confidence 1 - alpha at any stop; 0 and inf lie beyond the grid, nan where
            P falls.
        estimate: of n*, the median of the curves' within the interval; None where it is not between sizes of the grid.
        outcome: None while the search goes on. ``solved``: high is at most ``precision`` times low; ``at most``: P has
            reached the target at the smallest size; ``more``: it has not at the largest; ``falls``: P falls with n.
        ask: indices of sizes that are to get more runs; none at the end.
    """

    low: float
    high: float
    estimate: float | None
    outcome: Outcome | None
    ask: tuple[int, ...]


@dataclass
class Crossing:
    """The state of a search. What it says is a function of the goal and of the batches in their order.

    Attributes:
        goal: what is searched for.
        correct, runs: right estimates and runs at each size so far, shape (G,).
    """

    goal: Goal
    correct: NDArray[np.int64] = field(init=False)
    runs: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing has been run, and every hypothesis is left."""
        count = len(self.goal.sizes)
        self.correct, self.runs = np.zeros((2, count), np.int64)
        self._above, self._below = np.zeros((2, count))
        self._left = np.ones(count + 1, bool)
        self._curves, self._apart = np.zeros(len(self.goal.curves[0])), 0.0
        self._evidence = np.zeros(count + 1)

    def add(self, place: int, correct: int, runs: int) -> None:
        """Enter a batch of runs at the size with this index."""
        t, p, wrong = self.goal.target, self.goal.curves[0][:, place], runs - correct
        at_target = xlogy(correct, t) + xlog1py(wrong, -t)
        fits = xlogy(correct, p) + xlog1py(wrong, -p)
        ratio, weights = np.exp(np.minimum(fits - at_target, _LARGEST)), softmax(self._curves)
        a, b = 0.5 + self.correct[place], 0.5 + self.runs[place] - self.correct[place]
        after = a + correct, b + wrong
        apart = float(betaln(*after) - betaln(a, b))
        alone = np.exp(min(apart - at_target, _LARGEST))
        share = expit(logsumexp(self._curves) - np.log(len(p)) - self._apart)
        high = p > t
        above = share * np.where(high, ratio, 1.0) @ weights
        above += (1 - share) * (alone * betaincc(*after, t) + betainc(a, b, t))
        below = share * np.where(high, 1.0, ratio) @ weights
        below += (1 - share) * (alone * betainc(*after, t) + betaincc(a, b, t))
        self._above[place] += np.log(above)
        self._below[place] += np.log(below)
        self._curves, self._apart = self._curves + fits, self._apart + apart
        self.correct[place] += correct
        self.runs[place] += runs
        self._evidence = self._evidence_now()
        self._left &= self._evidence < -np.log(self.goal.alpha)

    def _evidence_now(self) -> Floats:
        """The logarithm of E_j, shape (G + 1,)."""
        above = np.concatenate([[0.0], np.cumsum(self._above)])
        below = np.concatenate([np.cumsum(self._below[::-1])[::-1], [0.0]])
        parts = [above, below, np.full(len(above), self._falling())]
        return np.asarray(logsumexp(np.stack(parts) + _SHARES[:, None], axis=0))

    def _falling(self) -> float:
        """The logarithm of the evidence against P that does not fall, from the sizes of the beginning."""
        k, m = self.correct[[*self.goal.first]], self.runs[[*self.goal.first]]
        fit = np.nan_to_num(isotonic_proportions(k, m))
        return float((betaln(1 + k, 1 + m - k) - xlogy(k, fit) - xlog1py(m - k, -fit)).sum())

    def standing(self) -> Standing:
        """What the runs so far say."""
        left, sizes = np.flatnonzero(self._left), self.goal.sizes
        if not left.size:
            return Standing(np.nan, np.nan, None, "falls", ())
        ends = [0.0, *map(float, sizes), np.inf]
        low, high = ends[left[0]], ends[left[-1] + 1]
        outcome: Outcome | None = "at most" if left[-1] == 0 else "more" if left[0] == len(sizes) else None
        if outcome is None and high <= low * self._widest:
            outcome = "solved"
        weights = softmax(self._curves)
        ask = self._doubts()
        if outcome is None and not ask:
            ask = self._next(weights)
        estimate = None if outcome in ("at most", "more") else self._estimate(weights, low, high)
        return Standing(low, high, estimate, None if ask else outcome, ask)

    @property
    def _widest(self) -> float:
        return self.goal.precision * (1 + 1e-9)

    def _doubts(self) -> tuple[int, ...]:
        """Sizes of the beginning that need runs first: those with too few for an error to be expected where P is at the
        target; the two between which the share of right estimates falls by over two standard errors.
        """
        first = np.array(self.goal.first)
        k, m = self.correct[first], self.runs[first]
        if (few := first[m < 1 / (1 - self.goal.target) - 1e-9]).size:
            return tuple(few.tolist())
        pooled = k.sum() / m.sum()
        errors = np.sqrt(pooled * (1 - pooled) * (1 / m[:, None] + 1 / m))
        falls = np.triu((k / m)[:, None] - k / m - _CHANCE * errors, 1)
        return tuple(first[[*np.unravel_index(int(falls.argmax()), falls.shape)]].tolist()) if falls.max() > 0 else ()

    def _next(self, weights: Floats) -> tuple[int, ...]:
        """The sizes l < u, N_u at most ``precision`` times N_l, of which it is soonest shown that P(N_l) < t < P(N_u).

        If P were the mean of the curves, the evidence would grow with every run by the Kullback-Leibler divergence from
        t. Beyond either end of the grid nothing has to be shown.
        """
        p, t, sizes = weights @ self.goal.curves[0], self.goal.target, np.array(self.goal.sizes)
        rate = np.maximum(xlogy(p, p / t) + xlog1py(1 - p, -p) - (1 - p) * np.log1p(-t), _LEAST_RATE)
        lacking = np.where(self._left, -np.log(self.goal.alpha) - self._evidence, 0.0)
        # H_1 .. H_(l+1) are refuted at the size of index l, H_(u+2) .. at that of index u
        below = np.maximum.accumulate(lacking)[:-1] / np.where(p < t, rate, _LEAST_RATE)
        above = np.maximum.accumulate(lacking[::-1])[::-1][1:] / np.where(p > t, rate, _LEAST_RATE)
        upper = np.searchsorted(sizes, sizes * self._widest, side="right") - 1
        upper[-1] = len(sizes)
        costs = np.concatenate([[above[0]], below + np.append(above, 0.0)[upper]])
        best = int(costs.argmin())
        pair = (best - 1, 0 if best == 0 else int(upper[best - 1]))
        is_open = [pair[0] >= 0 and below[pair[0]] > 0, pair[1] < len(sizes) and above[pair[1]] > 0]
        return tuple(place for place, shown in zip(pair, is_open, strict=True) if shown)

    def _estimate(self, weights: Floats, low: float, high: float) -> float | None:
        reached = self.goal.curves[1]
        order = np.argsort(reached)
        inside = np.where((reached > low) & (reached <= high), weights, 0.0)[order]
        if not inside.sum() > 0:
            return None
        middle = float(reached[order][np.searchsorted(np.cumsum(inside), inside.sum() / 2)])
        return middle if np.isfinite(middle) else None
