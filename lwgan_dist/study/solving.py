"""Solving for n: each (data, method) of a study has a search of its own, see `lwgan_dist.study.crossing`.

The searches go on together, in rounds: what all of them ask for is computed, then each enters its batches in the order
of the sizes. So what is asked for next follows from results alone, not from the order in which they arrive, and a
command that goes on asks again for what is finished and finds it. Runs at one n are replicates 0, 1, 2, ..., whose
samples all methods share.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from lwgan_dist.study.config import SolveConfig
from lwgan_dist.study.crossing import Crossing, Goal, Outcome
from lwgan_dist.study.design import Design, Group
from lwgan_dist.study.plan import Plan
from lwgan_dist.study.tables import SOLVED

End = Outcome | Literal["undecided", "unfinished"]


@dataclass
class Search:
    """The search of one method on one data set.

    Attributes:
        group: of the method on the data, at any n.
        method: of the group's.
        crossing: what it knows.
        batches: replicates that are asked for, by index of the size, in ascending order.
        end: how it ended; None while it goes on.
    """

    group: Group
    method: str
    crossing: Crossing
    batches: dict[int, range] = field(default_factory=dict)
    end: End | None = None


class Searches:
    """The searches of a study.

    Args:
        design: of the study.
        solve: what is searched for.
    """

    def __init__(self, design: Design, solve: SolveConfig) -> None:
        self._design, self._solve = design, solve
        grid = solve.grid
        first = tuple(grid.index(n) for n in solve.first)
        goal = Goal(tuple(grid), first, solve.target, solve.precision, solve.alpha)
        self._searches = [
            Search(group, method, Crossing(goal))
            for group in design.groups
            if group.n == grid[0]
            for method in group.methods
        ]
        for search in self._searches:
            search.batches = {place: range(search.group.replicates) for place in first}

    def __len__(self) -> int:
        return len(self._searches)

    def asked(self) -> Plan:
        """The runs that all searches ask for, each once; none at the end."""
        parts = (
            (self._design.at(search.group, self._solve.grid[place]), batch)
            for search in self._searches
            for place, batch in search.batches.items()
            if not search.end
        )
        return Plan(self._design, parts).distinct()

    def planned(self) -> Plan:
        """All runs so far, each once for every group, in the order of the groups, n and replicates."""
        groups = {id(search.group): search.group for search in self._searches}
        counts = {name: [0] * len(self._solve.grid) for name in groups}
        for search in self._searches:
            most = counts[id(search.group)]
            for place, runs in enumerate(search.crossing.runs.tolist()):
                most[place] = max(most[place], search.batches.get(place, range(runs)).stop)
        parts = (
            (self._design.at(group, n), range(count))
            for name, group in groups.items()
            for n, count in zip(self._solve.grid, counts[name], strict=True)
        )
        return Plan(self._design, parts)

    def enter(self, runs: pa.Table) -> None:
        """Let every search that asked go on.

        Args:
            runs: ``runs.parquet`` of what was asked for; of runs that did not finish there is no row, and what would
                come next in their search cannot be known.
        """
        names = ("data", "n", "method", "replicate")
        places = zip(*(runs[name].to_pylist() for name in names), strict=True)
        correct = dict(zip(places, runs["correct"].to_pylist(), strict=True))
        for search in self._searches:
            batches = {place: list(self._results(search, place, correct)) for place in search.batches}
            if any(result is None for results in batches.values() for result in results):
                search.end = "unfinished"  # with its batches, whose finished runs are not lost
                continue
            for place, results in batches.items():
                search.crossing.add(place, sum(map(bool, results)), len(results))
            search.batches = {}
            if batches:
                self._go_on(search)

    def _results(
        self, search: Search, place: int, correct: dict[tuple[str, int, str, int], bool]
    ) -> Iterator[bool | None]:
        for replicate in search.batches[place]:
            yield correct.get((search.group.data, self._solve.grid[place], search.method, replicate))

    def _go_on(self, search: Search) -> None:
        standing, runs = search.crossing.standing(), search.crossing.runs
        search.end, total = standing.outcome, int(runs.sum())
        if search.end:
            return
        room = self._solve.max_runs - total
        size = min(max(self._solve.step, total // 10), room // len(standing.ask))
        if size < 1:
            search.end = "undecided"
        else:
            search.batches = {place: range(int(runs[place]), int(runs[place]) + size) for place in sorted(standing.ask)}

    def table(self) -> pa.Table:
        """``solved.parquet``."""
        return pa.Table.from_pylist([self._row(search) for search in self._searches], schema=SOLVED)

    def _row(self, search: Search) -> dict[str, object]:
        crossing, grid = search.crossing, self._solve.grid
        standing = crossing.standing() if crossing.runs.any() else None
        seen = [place for place, runs in enumerate(crossing.runs) if runs]
        is_interval = standing is not None and standing.outcome != "falls"
        return {
            "data": search.group.data, "method": search.method, "intrinsic_dim": search.group.intrinsic_dim,
            "target": self._solve.target, "outcome": search.end, "confidence": 1 - self._solve.alpha,
            "n": None if standing is None or standing.estimate is None else round(standing.estimate),
            "n_low": standing.low if standing and is_interval else None,
            "n_high": standing.high if standing and is_interval else None,
            "runs": int(crossing.runs.sum()), "sizes": [grid[place] for place in seen],
            "size_runs": crossing.runs[seen].tolist(), "size_correct": crossing.correct[seen].tolist(),
        }  # fmt: skip
