"""How the tasks of a study or a search are computed: under Ray Tune, many at once, or one after the other in this
process.

What a process has finished is in the ledger, not here.
"""

import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from lwgan_dist import logs
from lwgan_dist.config import ExecutionConfig
from lwgan_dist.errors import interrupts_pass
from lwgan_dist.launch.prometheus import Ended, Meter
from lwgan_dist.launch.task_source import Listed, Source
from lwgan_dist.storage import Folder

if TYPE_CHECKING:
    from lwgan_dist.launch.pool import Pool

Work = Callable[[Any], Any]


def of_task(execution: ExecutionConfig, *, short: bool = False) -> ExecutionConfig:
    """The execution within the process that gets a task; ``short`` tasks take milliseconds and need one CPU."""
    changes: dict[str, Any] = {}
    if short or execution.workers == 1:  # no further process
        changes["workers"] = 0
    if short:
        changes["use_gpu"] = False
    return execution.model_copy(update=changes)


class Computes(Protocol):
    """What a search needs of an engine, see `Engine`."""

    @property
    def running(self) -> int:
        """Tasks that have a place."""

    def serve(self, source: Source) -> None:
        """Compute tasks until their source is dry."""

    def compute(self, tasks: Sequence[Any], on_done: Callable[[int, Any], None]) -> dict[int, str]:
        """Compute tasks that are all given beforehand."""


class Engine:
    """Computes tasks; a context manager, within which one Ray serves all phases.

    Args:
        kind: "study" or "search".
        folder: of the study or search.
        execution: where and how.
        work: computes a task, see `lwgan_dist.launch.pool.pool`.
        ended: what an answer of ``work`` counts as.
        lost: how many runs a task that was lost counts as.
        verbose: show Ray's messages.

    Attributes:
        meter: counts what becomes of the tasks.
    """

    def __init__(
        self, kind: str, folder: Folder, execution: ExecutionConfig, work: Work, *,
        ended: Callable[[Any], Ended], lost: Callable[[Any], int] = lambda _task: 1, verbose: bool,
    ) -> None:  # fmt: skip
        self._kind = kind
        self._folder = folder
        self._execution = execution
        self._work = work
        self._verbose = verbose
        self._stack = ExitStack()
        self._pools: dict[str, Pool] = {}
        self.meter = Meter(kind, folder.name, ended, lost)

    def __enter__(self) -> Self:
        self._stack.enter_context(logs.context(**{self._kind: self._folder.name}))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def running(self) -> int:
        """Tasks that have a place on Ray."""
        return self.meter.running

    def serve(self, source: Source, *, short: bool = False) -> None:
        """Compute tasks until their source is dry.

        Raises:
            ClusterError: no cluster, or one without the resources.
        """
        if self._execution.workers == 0:
            _serve_here(self._work, source)
        else:
            self._pool(short).serve(source)

    def compute(
        self, tasks: Sequence[Any], on_done: Callable[[int, Any], None], *, short: bool = False
    ) -> dict[int, str]:
        """Compute tasks that are all given beforehand; returns reasons, by index, of those that were lost.

        Args:
            tasks: in this order.
            on_done: gets the index of a task and the answer of the work.
            short: they take milliseconds and need one CPU.
        """
        if not tasks:
            return {}
        listed = Listed(tasks, on_done)
        self.serve(listed, short=short)
        return listed.reasons

    def _pool(self, short: bool) -> "Pool":
        """Short tasks have workers of one CPU each; they share those of the others where these are alike."""
        from lwgan_dist.launch.pool import pool

        execution = self._execution
        if short and (execution.workers != 1 or execution.use_gpu or execution.resources_per_worker):
            alone = {"workers": 1, "cpus_per_worker": 1.0, "use_gpu": False, "resources_per_worker": {}}
            execution = execution.model_copy(update=alone)
        name = execution.model_dump_json()
        if name not in self._pools:
            local = self._folder.local
            scratch = local / ".tune" if local else Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._pools[name] = self._stack.enter_context(
                pool(
                    self._work,
                    execution,
                    scratch,
                    verbose=self._verbose,
                    meter=self.meter,
                    dashboard=self._execution.workers != 1,  # of the first pool, which may be that of short tasks
                )
            )
        return self._pools[name]


def _serve_here(work: Work, source: Source) -> None:
    """One task after the other in this process."""
    while not source.is_dry:
        taken = source.take()
        if taken is None:
            return
        index, task = taken
        _compute_here(_steps(work, task), index, source)


def _steps(work: Work, task: Any) -> Generator[Any, None, Any]:
    answer = work(task)
    return (yield from answer) if isinstance(answer, Generator) else answer


def _compute_here(steps: Generator[Any, None, Any], index: int, source: Source) -> None:
    while True:
        try:
            with interrupts_pass():
                report = next(steps)
        except StopIteration as end:
            source.done(index, end.value)
            return
        except Exception as error:  # noqa: BLE001 - as under Ray: one task must not end the others
            source.lost(index, f"{type(error).__name__}: {error}")
            return
        if not source.report(index, report):
            steps.close()
            source.done(index, None)
            return
