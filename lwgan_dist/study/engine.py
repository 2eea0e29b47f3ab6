"""How the runs of a study are computed: phases of packs of runs, between which the ledger is gathered."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, overload

from lwgan_dist.campaign.engine import Engine, of_task
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.progress import Progress, Standing
from lwgan_dist.config import ExecutionConfig
from lwgan_dist.launch.prometheus import Ended
from lwgan_dist.storage import Folder
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.work import Done, Pack, RunTask, execute

PACK = 20
"""Runs of classical estimators in one task of Ray Tune: they take milliseconds."""
BATCH = 8_000
"""Tasks between two gatherings of the ledger. At the end of a batch places wait for its last task, so it is many tasks
for each of a thousand places."""


class Named(Protocol):
    """A run or refit by its name in the ledger."""

    @property
    def key(self) -> str:
        """The name."""


Planned = TypeVar("Planned", bound=Named)


class Finisher(Protocol):
    """Computes runs of a study, or tells why not; see `Phases.finish`."""

    def finish(
        self, runs: Sequence[Planned], describe: Callable[[Planned], RunTask], what: str, *, short: bool = False
    ) -> dict[str, str]:
        """Reasons by key of the runs that did not finish."""


class Phases(Engine):
    """Computes runs of a study; a context manager, within which one Ray serves all phases.

    Args:
        folder: of the study.
        ledger: of the study.
        execution: where and how.
        progress: shows the phases.
        verbose: show Ray's messages.
    """

    def __init__(
        self, folder: Folder, ledger: Ledger[RunRecord], execution: ExecutionConfig, progress: Progress, verbose: bool
    ) -> None:
        super().__init__("study", folder, execution, execute, ended=_ended, lost=_lost, verbose=verbose)
        self._ledger = ledger
        self._progress = progress

    def finish(
        self, runs: Sequence[Planned], describe: Callable[[Planned], RunTask], what: str, *, short: bool = False
    ) -> dict[str, str]:
        """Compute runs of one kind, a phase; returns reasons by key of those that did not finish.

        Args:
            runs: in this order. They cost about the same: the progress forecasts the others from those that ended.
            describe: the task of a run.
            what: they are, for the progress.
            short: they take milliseconds and come several in a task.

        Raises:
            ClusterError: no cluster, or one without the resources.
        """
        if not runs:
            return {}
        self._progress.begin(len(runs), what)
        self.meter.begin(len(runs))
        total, size = Done(), PACK if short else 1

        def count(done: Done, each: int) -> None:
            total.runs, total.failed = total.runs + done.runs, total.failed + done.failed
            total.cpu_seconds += done.cpu_seconds
            total.unfinished.update(done.unfinished)
            standing = Standing(
                done=total.runs, failed=total.failed, cpu_seconds=total.cpu_seconds,
                running=each * self.running,
            )  # fmt: skip
            self._progress.update(standing)

        for start in range(0, len(runs), BATCH * size):
            batch = runs[start : start + BATCH * size]
            lost = self._packs(batch, describe, size, count, short=short)
            if size > 1 and lost:  # one of them may have taken the process along: each on its own
                alone = [run for run in batch if run.key in lost]
                lost = self._packs(alone, describe, 1, count, short=short)
            total.unfinished |= lost
        return total.unfinished

    def _packs(
        self, runs: Sequence[Planned], describe: Callable[[Planned], RunTask], size: int,
        count: Callable[[Done, int], None], *, short: bool,
    ) -> dict[str, str]:  # fmt: skip
        """Reasons by key of runs that were lost with their process, or are missing in the ledger."""
        execution = of_task(self._execution, short=short)

        def pack(of: Sequence[Planned]) -> Pack:
            return Pack(location=self._folder.location, execution=execution, runs=tuple(map(describe, of)))

        packs = _Packs(runs, size, pack)
        broken: set[str] = set()

        def note(_index: int, done: Done) -> None:
            broken.update(done.unfinished)
            count(done, size)

        reasons = self.compute(packs, note, short=short)
        self._ledger.gather()
        states = self._ledger.states()
        lost: dict[str, str] = {}
        for start in range(0, len(runs), size):
            keys, index = [run.key for run in runs[start : start + size]], start // size
            recorded = [states[key] for key in keys if key in states]
            if index in reasons and recorded:  # entered before its process was lost
                done = Done(len(recorded), recorded.count(False))
                self.meter.ended(done)
                count(done, size)
            reason = reasons.get(index, "is not in the ledger: workers do not write where this command reads")
            lost |= {key: reason for key in keys if key not in states and key not in broken}
        return lost


class _Packs(Sequence[Pack]):
    """Tasks of so many runs, each made when it is handed out: a million of them take no memory."""

    def __init__(self, runs: Sequence[Planned], size: int, make: Callable[[Sequence[Planned]], Pack]) -> None:
        self._runs, self._size, self._make = runs, size, make

    def __len__(self) -> int:
        return -(-len(self._runs) // self._size)

    @overload
    def __getitem__(self, index: int) -> Pack: ...

    @overload
    def __getitem__(self, index: slice) -> list[Pack]: ...

    def __getitem__(self, index: int | slice) -> Pack | list[Pack]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]  # past the end an IndexError, at which whoever goes through them stops
        return self._make(self._runs[place * self._size : (place + 1) * self._size])


def _ended(done: Done) -> Ended:
    return Ended(done.runs, done.failed, tuple(done.unfinished.values()))


def _lost(pack: Pack) -> int:
    """Runs that are not finished without a task: none if they are tried again, each on its own."""
    return 1 if len(pack.runs) == 1 else 0
