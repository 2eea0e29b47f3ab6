"""How the runs of a study are carried out: under Ray Tune, many at once, or one after the other in this process.

What a process has done is in the ledger, not here; the engine only counts.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from lwgan_dist.config import ExecutionConfig
from lwgan_dist.storage import Folder
from lwgan_dist.study.ledger import Ledger
from lwgan_dist.study.work import carry_out

if TYPE_CHECKING:
    from lwgan_dist.launch.pool import Pool

PACK = 20
"""Runs of classical estimators in one task of Ray Tune: they take milliseconds."""
BATCH = 2_000
"""Tasks between two gatherings of the ledger."""

RunTask = dict[str, Any]
"""What `lwgan_dist.study.work` is told about a run."""


class Progress(Protocol):
    """Who is told how a study goes."""

    def begin(self, total: int, what: str) -> None:
        """A phase of so many runs begins."""

    def update(self, done: int, failed: int, cpu_seconds: float) -> None:
        """Where the phase stands."""


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
        self._pool: Pool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def finish(self, runs: Sequence[RunTask], what: str) -> dict[str, str]:
        """Carry out runs; returns reasons by key of those that did not finish.

        Raises:
            ClusterError: no cluster, or one without the resources.
        """
        if not runs:
            return {}
        self._progress.begin(len(runs), what)
        done, failed, seconds = 0, 0, 0.0
        unfinished: dict[str, str] = {}

        def count(told: dict[str, Any]) -> None:
            nonlocal done, failed, seconds
            done, failed, seconds = done + told["runs"], failed + told["failed"], seconds + told["cpu_seconds"]
            unfinished.update(told["unfinished"])
            self._progress.update(done, failed, seconds)

        tasks = self._tasks(runs)
        for start in range(0, len(tasks), BATCH):
            batch = tasks[start : start + BATCH]
            reasons: dict[int, str] = {}
            if self._execution.workers == 0:
                for task in batch:
                    count(carry_out(task))
            else:
                reasons = self._on_ray(batch, count)
            if reasons:
                keys = self._ledger.keys()  # of a task whose process was lost, the runs before are finished
                for index, reason in reasons.items():
                    unfinished |= {run["key"]: reason for run in batch[index]["runs"] if run["key"] not in keys}
            self._ledger.gather()
        return unfinished

    def _tasks(self, runs: Sequence[RunTask]) -> list[dict[str, Any]]:
        """One task for each long run, one for several short ones."""
        execution = self._execution
        if execution.workers in (0, 1):  # a run is carried out within the process that gets the task
            execution = execution.model_copy(update={"workers": 0})
        common = {"study": self._folder.location, "execution": execution.model_dump(mode="json")}
        long = [run for run in runs if run["kind"] != "classical"]
        short = [run for run in runs if run["kind"] == "classical"]
        packs = [[run] for run in long] + [short[i : i + PACK] for i in range(0, len(short), PACK)]
        return [{**common, "runs": pack} for pack in packs]

    def _on_ray(self, tasks: Sequence[dict[str, Any]], count: Any) -> dict[int, str]:
        from lwgan_dist.launch.pool import pool

        if self._pool is None:
            local = self._folder.local
            scratch = local / ".tune" if local else Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._pool = self._stack.enter_context(pool(carry_out, self._execution, scratch, verbose=self._verbose))
        return self._pool.carry_out(tasks, count)
