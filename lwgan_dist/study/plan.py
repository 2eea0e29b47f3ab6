"""The runs of a study, each of which is made when it is asked for: of a million runs, a plan holds a few numbers."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from itertools import accumulate
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.study.design import Design, Group, PlannedRun

Places = NDArray[np.int32]


class Plan(Sequence[PlannedRun]):
    """Some replicates of some groups, in their order; each replicate with all its initialisations.

    Args:
        design: of the study.
        parts: groups, with their replicates.
    """

    def __init__(self, design: Design, parts: Iterable[tuple[Group, Sequence[int]]]) -> None:
        self._design = design
        self._parts = [(group, replicates, design.initialisations(group)) for group, replicates in parts]
        self._ends = list(accumulate((len(replicates) * each for _, replicates, each in self._parts), initial=0))
        self._places: Places | None = None
        """The runs that were chosen of all parts, in this order; None: all of them."""

    def __len__(self) -> int:
        return self._ends[-1] if self._places is None else len(self._places)

    @overload
    def __getitem__(self, place: int) -> PlannedRun: ...

    @overload
    def __getitem__(self, place: slice) -> "Plan": ...

    def __getitem__(self, place: "int | slice") -> "PlannedRun | Plan":
        if isinstance(place, slice):
            return self._chosen(self._all_places()[place])
        at = range(len(self))[place]
        at = at if self._places is None else int(self._places[at])
        part = bisect_right(self._ends, at) - 1
        group, replicates, each = self._parts[part]
        replicate, initialisation = divmod(at - self._ends[part], each)
        return self._design.run(group, replicates[replicate], initialisation)

    def __iter__(self) -> Iterator[PlannedRun]:
        return (self[place] for place in range(len(self)))

    def counts(self) -> dict[int, int]:
        """How many runs are of each group, by its ``id``; those of no run are missing."""
        counts: dict[int, int] = {}
        for part, count in enumerate(np.bincount(self._part_of_each(), minlength=len(self._parts)).tolist()):
            if count:
                group = self._parts[part][0]
                counts[id(group)] = counts.get(id(group), 0) + count
        return counts

    def distinct(self) -> "Plan":
        """Each run once: groups that differ in labels or rank rules share runs."""
        earlier: dict[str, list[Sequence[int]]] = {}
        kept = np.ones(self._ends[-1], bool)
        for (group, replicates, each), begin, end in zip(self._parts, self._ends, self._ends[1:], strict=False):
            known = earlier.setdefault(self._design.identity(group), [])
            if known:
                new = [all(replicate not in others for others in known) for replicate in replicates]
                kept[begin:end] = np.repeat(new, each)
            known.append(replicates)
        places = self._all_places()
        return self._chosen(places[kept[places]])

    def where(self, holds: Callable[[PlannedRun], bool]) -> "Plan":
        """The runs for which something holds."""
        kept = np.fromiter((holds(run) for run in self), bool, len(self))
        return self._chosen(self._all_places()[kept])

    def of_kind(self, kind: str) -> "Plan":
        """The runs of groups of one kind."""
        kept = np.array([group.kind == kind for group, _, _ in self._parts], bool)
        return self._chosen(self._all_places()[kept[self._part_of_each()]])

    def by_replicate(self) -> "Plan":
        """One replicate of all groups after the other."""
        replicates = [np.repeat(np.array(replicates, np.int32), each) for _, replicates, each in self._parts]
        places = self._all_places()
        order = np.argsort(np.concatenate([*replicates, np.empty(0, np.int32)])[places], kind="stable")
        return self._chosen(places[order])

    def _chosen(self, places: Places) -> "Plan":
        plan = copy(self)
        plan._places = places
        return plan

    def _all_places(self) -> Places:
        return np.arange(len(self), dtype=np.int32) if self._places is None else self._places

    def _part_of_each(self) -> Places:
        """The number of the part that each run is of."""
        parts = np.repeat(np.arange(len(self._parts), dtype=np.int32), np.diff(self._ends))
        return parts[self._all_places()]
