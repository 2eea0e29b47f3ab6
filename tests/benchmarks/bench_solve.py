"""Solving for n on success curves that are known: is n* in the interval, how far off is the estimate, how many runs
does it take beside a grid study of the same precision?

``python tests/benchmarks/bench_solve.py [--replays 500]``. The grid study has sizes at equal steps of log n over the
same range and a fixed number of replicates at each; its interval is that of `size_reaching`, from the size before its
lower end. Of all grids and numbers tried, the cheapest is shown with which at least half of the studies have an
interval as narrow as the search's.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lwgan_dist.study.config import SolveConfig
from lwgan_dist.study.crossing import Crossing, Goal
from lwgan_dist.study.proportions import size_reaching

LOW, HIGH = 100, 20_000
Curve = Callable[[np.ndarray], np.ndarray]


def logistic(middle: float, slope: float, low: float = 0.0, high: float = 1.0) -> Curve:
    return lambda n: low + (high - low) / (1 + np.exp(-slope * np.log(n / middle)))


CURVES: dict[str, Curve] = {
    "logistic": logistic(400, 2.5),
    "steep": logistic(1000, 6, 0.1, 0.999),
    "step": lambda n: np.where(n < 1500, 0.6, 0.999),
    "flat": lambda n: np.full(np.shape(n), 0.9),
    "high": lambda n: np.full(np.shape(n), 0.99),
    "falling": logistic(1500, -2, 0.29, 0.99),
}
"""P(correct) by n."""
SOLVED = ("logistic", "steep", "step")
"""Curves that reach .95 between the ends."""


@dataclass
class Replay:
    """How a search ended."""

    low: float
    high: float
    estimate: float | None
    outcome: str | None
    runs: int


def goal(target: float, precision: float) -> Goal:
    solve = SolveConfig(target=target, n=[LOW, HIGH], precision=precision)
    first = tuple(solve.grid.index(n) for n in solve.first)
    return Goal(tuple(solve.grid), first, target, precision, solve.alpha)


def replay(aim: Goal, curve: Curve, seed: int, *, step: int = 10, most: int = 4_000) -> Replay:
    """A search with the replicates of a study, ten at every size of the beginning."""
    rng, p, search = np.random.default_rng(seed), curve(np.array(aim.sizes, float)), Crossing(aim)
    batches = dict.fromkeys(aim.first, step)
    while True:
        for place, runs in sorted(batches.items()):
            search.add(place, int(rng.binomial(runs, p[place])), runs)
        standing, total = search.standing(), int(search.runs.sum())
        if standing.outcome or total >= most:
            return Replay(standing.low, standing.high, standing.estimate, standing.outcome, total)
        batches = dict.fromkeys(standing.ask, max(step, total // 10))


def reached(curve: Curve, target: float) -> float:
    sizes = np.arange(LOW, HIGH + 1)
    enough = curve(sizes.astype(float)) >= target
    return float(sizes[enough.argmax()]) if enough.any() else np.inf


def grid_study(curve: Curve, target: float, precision: float, replays: int) -> tuple[int, int, float] | None:
    """Runs, sizes and share of narrow intervals of the cheapest grid study that is as precise; None if none is."""
    best = None
    for per in (1, 2, 3):
        steps = int(np.ceil(per * np.log(HIGH / LOW) / np.log(precision)))
        sizes = np.unique(np.round(np.geomspace(LOW, HIGH, steps + 1)).astype(int))
        for replicates in (20, 30, 40, 60, 80, 120, 160, 240, 320, 480):
            if best and replicates * len(sizes) >= best[0]:
                break
            rng, p = np.random.default_rng(0), curve(sizes.astype(float))
            narrow = 0
            for _ in range(replays):
                counts = rng.binomial(replicates, p)
                found = size_reaching(sizes, counts, np.full(len(sizes), replicates), rng, level=target, resamples=500)
                place = int(np.searchsorted(sizes, found.lower))
                narrow += place > 0 and found.upper <= precision * sizes[place - 1] * (1 + 1e-9)
            if narrow >= replays / 2:
                best = replicates * len(sizes), len(sizes), narrow / replays
                break
    return best


def line(name: str, aim: Goal, replays: int) -> str:
    """What came of the replays on one curve."""
    curve, target = CURVES[name], aim.target
    truth, ends = reached(curve, target), [replay(aim, curve, seed) for seed in range(replays)]
    held = "-" if name == "falling" else f"{np.mean([end.low < truth <= end.high for end in ends]):.3f}"
    counts = Counter(end.outcome or "undecided" for end in ends)
    runs = np.quantile([end.runs for end in ends], [0.5, 0.9])
    errors = [abs(np.log(end.estimate / truth)) for end in ends if end.estimate and np.isfinite(truth)]
    off = "{:.0%}, {:.0%}".format(*np.expm1(np.quantile(errors, [0.5, 0.9]))) if name in SOLVED else "-"
    grid = grid_study(curve, target, aim.precision, min(replays, 60)) if name in SOLVED else None
    beside = f"{grid[0]} runs at {grid[1]} sizes: {runs[0] / grid[0]:.2f}" if grid else "-"
    said = ", ".join(f"{outcome} {count}" for outcome, count in counts.items())
    return f"{name:9s} {truth:6g}  {held:>8s}  {said:26s}  {runs[0]:5.0f}, {runs[1]:5.0f}  {off:>9s}  {beside}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replays", type=int, default=500)
    parser.add_argument("--precision", type=float, default=2.0)
    told = parser.parse_args()
    print(
        f"target .95, n {LOW} to {HIGH}, precision {told.precision:g}, {told.replays} replays; median and 90 % quantile"
    )
    print("curve         n*  holds n*  outcomes                    runs          error of n  grid study: share of it")
    for name in CURVES:
        print(line(name, goal(0.95, told.precision), told.replays), flush=True)


if __name__ == "__main__":
    main()
