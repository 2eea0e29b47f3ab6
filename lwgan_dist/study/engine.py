"""How the runs of a study are carried out: under Ray Tune, many at once, or one after the other in this process.

What a process has done is in the ledger, not here; the engine only counts.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from lwgan_dist import logs
from lwgan_dist.config import ExecutionConfig
from lwgan_dist.launch.metrics import Ended, Meter
from lwgan_dist.storage import Folder
from lwgan_dist.study.ledger import Ledger
from lwgan_dist.study.work import carry_out

if TYPE_CHECKING:
    from lwgan_dist.launch.pool import Pool

PACK = 20
"""Runs of classical estimators in one task of Ray Tune: they take milliseconds."""
BATCH = 8_000
"""Tasks between two gatherings of the ledger. At the end of a batch places wait for its last task, so it is many tasks
for each of a thousand places."""

Planned = TypeVar("Planned")

RunTask = dict[str, Any]
"""What `lwgan_dist.study.work` is told about a run."""


class Progress(Protocol):
    """Who is told how a study goes."""

    def begin(self, total: int, what: str) -> None:
        """A phase of so many runs begins."""

    def update(self, done: int, failed: int, cpu_seconds: float, running: int) -> None:
        """Where the phase stands; ``running`` runs are under way."""


class Engine:
    """Carries out runs of a study; a context manager, within which one Ray serves all phases.

    Args:
        folder: of the study.
        ledger: of the study.
        execution: where and how.
        progress: is told.
        verbose: show what Ray says.
    """

    def __init__(
        self, folder: Folder, ledger: Ledger, execution: ExecutionConfig, progress: Progress, verbose: bool
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._execution = execution
        self._progress = progress
        self._verbose = verbose
        self._stack = ExitStack()
        self._name = folder.name
        self._meter = Meter("study", self._name, _ended, _lost)
        self._pools: dict[str, Pool] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(logs.context(study=self._name))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def finish(
        self,
        runs: Sequence[Planned],
        describe: Callable[[Planned], RunTask],
        what: str,
        *,
        short: bool = False,
    ) -> dict[str, str]:
        """Carry out runs of one kind, a phase; returns reasons by key of those that did not finish.

        Args:
            runs: in this order. They cost about the same: the progress forecasts the others from those that ended.
            describe: what the worker is told about a run.
            what: they are, for the progress.
            short: they take milliseconds and come several in a task.

        Raises:
            ClusterError: no cluster, or one without the resources.
        """
        if not runs:
            return {}
        self._progress.begin(len(runs), what)
        self._meter.begin(len(runs))
        done, failed, seconds = 0, 0, 0.0
        unfinished: dict[str, str] = {}

        size = each = PACK if short else 1

        def count(told: dict[str, Any]) -> None:
            nonlocal done, failed, seconds
            done, failed, seconds = done + told["runs"], failed + told["failed"], seconds + told["cpu_seconds"]
            unfinished.update(told["unfinished"])
            self._progress.update(done, failed, seconds, each * self._meter.running)

        for start in range(0, len(runs), BATCH * size):
            told = [describe(run) for run in runs[start : start + BATCH * size]]
            lost = self._carry_out([told[i : i + size] for i in range(0, len(told), size)], short, count)
            if size > 1 and lost:  # one of them may have taken the process along: each on its own
                each = 1
                lost = self._carry_out([[run] for run in told if run["key"] in lost], short, count)
                each = size
            unfinished |= lost
        return unfinished

    def _carry_out(
        self, packs: Sequence[list[RunTask]], short: bool, count: Callable[[dict[str, Any]], None]
    ) -> dict[str, str]:
        """Reasons by key of runs that were lost with their process, or of which the ledger knows nothing."""
        execution = self._execution
        if short or execution.workers == 1:  # a run is carried out within the process that gets the task
            execution = execution.model_copy(update={"workers": 0})
        if short:
            execution = execution.model_copy(update={"use_gpu": False})
        common = {"study": self._folder.location, "execution": execution.model_dump(mode="json")}
        tasks = [{**common, "runs": pack} for pack in packs]
        reasons: dict[int, str] = {}
        broken: set[str] = set()

        def note(told: dict[str, Any]) -> None:
            broken.update(told["unfinished"])
            count(told)

        if self._execution.workers == 0:
            for task in tasks:
                note(carry_out(task))
        else:
            reasons = self._on_ray(tasks, short, note)
        self._ledger.gather()
        keys = self._ledger.keys()
        lost: dict[str, str] = {}
        for index, pack in enumerate(packs):
            there = {run["key"] for run in pack} & keys
            if index in reasons and there:  # entered before its process was lost
                failures = sum(record.failure is not None for record in self._ledger.records(there))
                told = {"runs": len(there), "failed": failures, "cpu_seconds": 0.0, "unfinished": {}}
                self._meter.ended(told)
                count(told)
            reason = reasons.get(index, "is not in the ledger: workers do not write where this command reads")
            lost |= {run["key"]: reason for run in pack if run["key"] not in keys and run["key"] not in broken}
        return lost

    def _on_ray(
        self, tasks: Sequence[dict[str, Any]], short: bool, count: Callable[[dict[str, Any]], None]
    ) -> dict[int, str]:
        """Short runs have workers of one CPU each; they share those of the others where these are alike."""
        from lwgan_dist.launch.pool import pool

        execution = self._execution
        if short and (execution.workers != 1 or execution.use_gpu or execution.resources_per_worker):
            alone = {"workers": 1, "cpus_per_worker": 1.0, "use_gpu": False, "resources_per_worker": {}}
            execution = execution.model_copy(update=alone)
        told = execution.model_dump_json()
        if told not in self._pools:
            local = self._folder.local
            scratch = local / ".tune" if local else Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._pools[told] = self._stack.enter_context(
                pool(
                    carry_out,
                    execution,
                    scratch,
                    verbose=self._verbose,
                    meter=self._meter,
                    dashboard=self._execution.workers != 1,  # of the first pool, which may be that of short runs
                )
            )
        return self._pools[told].carry_out(tasks, count)


def _ended(answer: Mapping[str, Any]) -> Ended:
    """What `lwgan_dist.study.work` answers."""
    return Ended(answer["runs"], answer["failed"], tuple(answer["unfinished"].values()))


def _lost(task: Mapping[str, Any]) -> int:
    """Runs that are not finished without a task: none if they are tried again, each on its own."""
    return 1 if len(task["runs"]) == 1 else 0
