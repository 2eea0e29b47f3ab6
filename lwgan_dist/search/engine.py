"""How trials are carried out: under Ray Tune, many at once, or one after the other in this process."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lwgan_dist import logs
from lwgan_dist.config import ExecutionConfig
from lwgan_dist.errors import interrupts_pass
from lwgan_dist.launch.metrics import Ended, Meter
from lwgan_dist.launch.source import Listed, Source
from lwgan_dist.search.work import carry_out
from lwgan_dist.storage import Folder

if TYPE_CHECKING:
    from lwgan_dist.launch.pool import Pool

Told = dict[str, Any]


class Engine:
    """Carries out tasks of `lwgan_dist.search.work`; a context manager, within which one Ray serves all phases.

    Args:
        folder: of the search.
        execution: where and how.
        verbose: show what Ray says.
    """

    def __init__(self, folder: Folder, execution: ExecutionConfig, verbose: bool) -> None:
        self._folder = folder
        self._execution = execution
        self._verbose = verbose
        self._stack = ExitStack()
        self._pool: Pool | None = None
        self._name = folder.name
        self._meter = Meter("search", self._name, _ended)

    def __enter__(self) -> Self:
        self._stack.enter_context(logs.context(search=self._name))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def common(self) -> Told:
        """What every task holds."""
        execution = self._execution
        if execution.workers == 1:  # a run is carried out within the process that gets the task
            execution = execution.model_copy(update={"workers": 0})
        return {"search": self._folder.location, "execution": execution.model_dump(mode="json")}

    @property
    def running(self) -> int:
        """Tasks that have a place on Ray."""
        return self._meter.running

    def serve(self, source: Source) -> None:
        """Carry out tasks until their source is dry.

        Raises:
            ClusterError: no cluster, or one without the resources.
        """
        if self._execution.workers == 0:
            _serve_here(source)
            return
        if self._pool is None:
            from lwgan_dist.launch.pool import pool

            local = self._folder.local
            scratch = local / ".tune" if local else Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._pool = self._stack.enter_context(
                pool(carry_out, self._execution, scratch, verbose=self._verbose, meter=self._meter)
            )
        self._pool.serve(source)

    def finish(self, tasks: Sequence[Told], on_done: Callable[[int, Told], None]) -> dict[int, str]:
        """Carry out tasks that are all known; returns reasons, by index, of those that did not finish."""
        if not tasks:
            return {}
        listed = Listed(tasks, on_done)
        self.serve(listed)
        return listed.reasons


def _ended(answer: Mapping[str, Any]) -> Ended:
    """What `lwgan_dist.search.work` answers, the record of a trial, as it is counted."""
    failed = answer["failure"] is not None
    return Ended(len(answer["runs"]) + failed, failed)


def _serve_here(source: Source) -> None:
    """One task after the other in this process."""
    while not source.is_dry:
        taken = source.take()
        if taken is None:
            return
        _carry_out_here(*taken, source)


def _carry_out_here(index: int, task: Told, source: Source) -> None:
    work = carry_out(task)
    while True:
        try:
            with interrupts_pass():
                told = next(work)
        except StopIteration as end:
            source.done(index, end.value)
            return
        except Exception as error:  # noqa: BLE001 - as under Ray: one task must not end the others
            source.lost(index, f"{type(error).__name__}: {error}")
            return
        if not source.report(index, told):
            work.close()
            source.done(index, None)
            return
