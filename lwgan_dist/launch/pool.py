"""Many independent tasks on Ray Tune: thousands of small ones, each in one process or in a group of its own.

Tune schedules, places and restarts. What a task finds out it writes to shared storage itself, so Tune's own state is
never read again: it goes to a scratch folder that is thrown away.
"""

import gc
import logging
import math
import pickle
import shutil
import signal
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import ray
import ray.tune
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher, SearchGenerator

from lwgan_dist.config import ExecutionConfig, WorkerRange
from lwgan_dist.interrupts import answer
from lwgan_dist.launch.placement import autoscaler_refuses, await_places, resources, slots, waiting_for
from lwgan_dist.launch.private import memory_kills_as
from lwgan_dist.launch.prometheus import Meter
from lwgan_dist.launch.session import interrupt, session
from lwgan_dist.launch.task_source import Source
from lwgan_dist.launch.worker_logs import configure_worker, settings_of_workers

CHUNK = 256
"""Tasks that pass through one Tuner, at least: what a Tuner holds grows with its trials and is freed at its end."""

CHUNK_PER_SLOT = 8
"""The same for each task that can run at once: at the end of a Tuner, places wait for its last task."""

REPORT = "outcome/report"
"""Where a scheduler of Tune finds a report: it gets results flattened."""

REFRESH_SECONDS = 5.0
"""How often the nodes of a cluster are counted anew."""

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0: prints nothing
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else Ctrl-C waits for the tasks that run
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # its state is never read
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # `_Chunk.suggest` holds back what has no place
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}

_log = logging.getLogger("lwgan_dist")

AHEAD = 8
"""Tasks that wait beyond twice the places there are, for an autoscaler to see."""

Work = Callable[[Any], Any]
"""From a task to its answer; a generator yields reports on its way and returns the answer."""


@contextmanager
def pool(
    work: Work,
    execution: ExecutionConfig,
    scratch: Path,
    *,
    verbose: bool = False,
    meter: Meter | None = None,
    dashboard: bool = False,
) -> "Iterator[Pool]":
    """A pool of places for tasks, for the length of the block.

    Args:
        work: computes a task and returns its answer. It may be called again for a task that was lost half-way. With
            several workers it starts their group itself and needs no CPU of its own.
        execution: workers and resources of one task, restarts, address.
        scratch: a local folder for Tune's state, emptied after use.
        verbose: show Ray's messages.
        meter: counts what becomes of the tasks.
        dashboard: a local session that this pool starts has one, for pools of tasks of several workers that follow.

    Raises:
        ClusterError: no cluster at the address, or one in which no task would ever find a place.
    """
    nested = _workers(execution) > 1
    with (
        session(execution, _ENVIRONMENT, verbose=verbose, dashboard=nested or dashboard) as joined,
        meter or Meter("pool", "") as counting,
    ):
        await_places(execution, _workers(execution), joined)
        yield Pool(work, execution, scratch, counting, joined=joined, verbose=verbose)


class Pool:
    """Places for tasks; made by `pool`."""

    def __init__(
        self, work: Work, execution: ExecutionConfig, scratch: Path, meter: Meter, *, joined: bool, verbose: bool
    ) -> None:
        self._trainable = _trainable(work)
        self._execution = execution
        self._scratch = scratch
        self._meter = meter
        self._joined = joined
        self._verbose = verbose

    @property
    def slots(self) -> int:
        """Tasks that can run at once with the resources present now."""
        return slots(self._execution) // _workers(self._execution)

    def serve(self, source: Source) -> None:
        """Execute tasks until their source is dry.

        Raises:
            KeyboardInterrupt: at once; tasks that run are lost.
        """
        with _interruptible() as interrupted:
            while not source.is_dry:
                size = max(CHUNK, CHUNK_PER_SLOT * self.slots)
                chunk = _Chunk(source, size, self._limit(), self._execution.max_failures, interrupted, self._meter)
                self._pass_through_tune(chunk)
                del chunk
                gc.collect()  # a Tuner is full of cycles

    def _limit(self) -> Callable[[], int]:
        """How many tasks may be on their way at once; looked up anew now and then, as nodes come and go."""
        several = _workers(self._execution) > 1
        looked, limit, waits = -math.inf, 0, False

        def current() -> int:
            nonlocal looked, limit, waits
            if time.monotonic() > looked + REFRESH_SECONDS:
                looked, places = time.monotonic(), self.slots
                if not self._joined:
                    limit = places
                elif several:  # few wait beyond: a group that waits for long gives up
                    limit = places + 1
                elif autoscaler_refuses(self._execution) is None:
                    limit = places + max(1, places // 4)
                else:  # what waits calls the autoscaler
                    limit = 2 * places + AHEAD
                if waits != (places == 0):
                    waits = places == 0
                    if waits:
                        _log.warning("waiting for %s", waiting_for(self._execution) or "nodes that hold a task")
                    else:
                        _log.warning("goes on: there is place for tasks again")
            return limit

        return current

    def _pass_through_tune(self, chunk: "_Chunk") -> None:
        name = f"tune-{uuid.uuid4().hex[:12]}"
        several = _workers(self._execution) > 1
        # Tune refuses an empty request, and any part of a CPU would be missing where workers need them all.
        bundle = {"memory": 1} if several else resources(self._execution)
        logger = logging.getLogger("ray.tune")
        level = logger.level
        if not self._verbose:
            logger.setLevel(logging.CRITICAL)
        try:
            with memory_kills_as(ProcessOutOfMemoryError):
                ray.tune.run(
                    self._trainable,
                    name=name,
                    storage_path=str(self._scratch.absolute()),
                    num_samples=-1,
                    search_alg=SearchGenerator(_Searcher(chunk)),
                    scheduler=_Scheduler(chunk),
                    callbacks=[_Callback(chunk)],
                    resources_per_trial=ray.tune.PlacementGroupFactory([bundle]),
                    reuse_actors=not several,
                    checkpoint_config=ray.tune.CheckpointConfig(checkpoint_at_end=False),
                    raise_on_failed_trial=False,
                    trial_dirname_creator=_trial_id,
                    verbose=0,
                )
        finally:
            logger.setLevel(level)
            shutil.rmtree(self._scratch / name, ignore_errors=True)
            if chunk.staging:
                shutil.rmtree(chunk.staging, ignore_errors=True)
        chunk.deliver()


class ProcessOutOfMemoryError(OutOfMemoryError, RayActorError):  # type: ignore[misc]
    """Ray's memory monitor has ended a process: a loss of it like any other. To Tune, Ray's own error is an unknown
    one, for which it ends all tasks.
    """

    def __init__(self, message: str) -> None:
        RayActorError.__init__(self)
        self.message = message.strip().partition("\n")[0]


def _trial_id(trial: Any) -> str:
    return str(trial.trial_id)


def _workers(execution: ExecutionConfig) -> int:
    workers = execution.workers
    return workers.max if isinstance(workers, WorkerRange) else workers


class _Chunk:
    """The tasks that wait, run and have ended, of those that pass through one Tuner."""

    def __init__(
        self,
        source: Source,
        size: int,
        limit: Callable[[], int],
        max_failures: int,
        interrupted: threading.Event,
        meter: Meter,
    ) -> None:
        self.source = source
        self.left = size
        self.limit = limit
        self.max_failures = max_failures
        self.interrupted = interrupted
        self.meter = meter
        self.tasks: dict[int, Any] = {}
        self.waiting: deque[int] = deque()
        self.running: dict[str, int] = {}
        self.placed: set[str] = set()
        """The trials among `running` that have a place."""
        self.ends: deque[tuple[int, dict[str, Any]]] = deque()
        self.deaths: Counter[int] = Counter()
        self.error: Exception | None = None
        """The error that the source raised within Tune's handling of trials, which would make something else of it."""
        self.staging: Path | None = None
        """Tune's folder on this machine beside the scratch one."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next task for Tune; nothing if all places are taken, or there is no task now."""
        try:
            if len(self.running) < self.limit():
                if not self.waiting:
                    self._fetch()
                if self.waiting:
                    index = self.waiting.popleft()
                    self.running[trial_id] = index
                    return {"task": str(pickle.dumps(self.tasks[index]), "latin-1")}  # Tune looks into no text
            more = self.waiting or self.running or (self.left and not self.source.is_dry)
        except Exception as error:  # noqa: BLE001 - raised again by `deliver`
            self.error, more = error, False
        return None if more and not self.error else str(Searcher.FINISHED)

    def _fetch(self) -> None:
        """Take a task from the source."""
        taken = self.source.take() if self.left and not self.error and not self.source.is_dry else None
        if taken is not None:
            index, self.tasks[index] = taken
            self.left -= 1
            self.waiting.append(index)

    def reported(self, trial: Any, result: dict[str, Any]) -> bool:
        """Whether a task that has yielded something goes on."""
        if self.error or REPORT not in result:
            return True
        try:
            report = ray.cloudpickle.loads(result[REPORT].encode("latin-1"))
            return self.source.report(self.running[trial.trial_id], report)
        except Exception as error:  # noqa: BLE001 - raised again by `deliver`
            self.error = error
            return True

    def started(self, trial: Any) -> None:
        """A task has its place."""
        self.placed.add(trial.trial_id)

    def completed(self, trial: Any) -> None:
        """A task has ended, well or not."""
        self.placed.discard(trial.trial_id)
        self.ends.append((self.running.pop(trial.trial_id), trial.last_result["outcome"]))

    def died(self, trial: Any) -> None:
        """A task's process is lost. It becomes another trial: Tune's own restart of a trial whose reused process died
        at the wrong moment waits for ever.
        """
        self.placed.discard(trial.trial_id)
        index = self.running.pop(trial.trial_id)
        with open(trial.pickled_error_file, "rb") as file:
            error = ray.cloudpickle.load(file)
        lost = isinstance(error, RayActorError)
        if not (lost and error.preempted):
            self.deaths[index] += 1
        if lost and not 0 <= self.max_failures < self.deaths[index]:
            self.waiting.append(index)
            self.meter.retried(f"{type(error).__name__}: {error}")
            return
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        times = f" (lost {self.deaths[index]} times)" if lost else ""
        reason = f"{type(error).__name__}: {lines[-1][:500] if lines else ''}{times}"
        self.ends.append((index, {"reason": reason}))

    def deliver(self) -> None:
        """Tell the source what has ended. Here, outside of Tune's handling of trials, an error reaches the caller."""
        if self.interrupted.is_set():
            raise KeyboardInterrupt
        if self.error:
            raise self.error
        while self.ends:
            index, outcome = self.ends.popleft()
            task = self.tasks.pop(index)
            if "reason" in outcome:
                self.meter.lost(task, outcome["reason"])
                self.source.lost(index, outcome["reason"])
            else:
                self.meter.ended(outcome.get("answer"))
                self.source.done(index, outcome.get("answer"))
        self.meter.tasks(len(self.placed), len(self.running) - len(self.placed) + len(self.waiting))


class _Searcher(Searcher):  # type: ignore[misc]
    """Hands the tasks of a chunk to Tune."""

    def __init__(self, chunk: _Chunk) -> None:
        super().__init__()
        self._chunk = chunk

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return self._chunk.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass


class _Scheduler(FIFOScheduler):  # type: ignore[misc]
    """Ends a task that is not to go on."""

    def __init__(self, chunk: _Chunk) -> None:
        super().__init__()
        self._chunk = chunk

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = self._chunk.reported(trial, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Callback(ray.tune.Callback):  # type: ignore[misc]
    """Hears from Tune what becomes of them."""

    def __init__(self, chunk: _Chunk) -> None:
        self._chunk = chunk

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._chunk.staging = Path(trial.local_experiment_path).parent
        self._chunk.started(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._chunk.completed(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._chunk.staging = Path(trial.local_experiment_path).parent
        self._chunk.died(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        self._chunk.deliver()


def _trainable(work: Work) -> type:
    """What a process of Tune's runs. A class, not a function: `work` is in the main thread, and a task takes one call,
    or one for each report.

    What `work` raises is an answer like any other, as is that it cannot be imported: only a lost process is a failure
    to Tune. So the class refers to nothing but Ray, and tasks and reports pass through Tune as pickled text.
    """
    pickled = ray.cloudpickle.dumps((work, configure_worker, settings_of_workers()))

    class Task(ray.tune.Trainable):  # type: ignore[misc]
        under_way: Generator[Any, None, Any] | None = None

        def step(self) -> dict[str, Any]:
            try:
                outcome = self._advance()
            except Exception as error:  # noqa: BLE001
                outcome = {"reason": f"{type(error).__name__}: {error}"}
            return {"outcome": outcome, "done": "report" not in outcome}

        def _advance(self) -> dict[str, Any]:
            if self.under_way is None:
                work, configure, logging_of_driver = ray.cloudpickle.loads(pickled)
                configure(logging_of_driver)
                answer = work(ray.cloudpickle.loads(self.config["task"].encode("latin-1")))
                if not isinstance(answer, Generator):
                    return {"answer": answer}
                self.under_way = answer
            try:
                return {"report": str(ray.cloudpickle.dumps(next(self.under_way)), "latin-1")}
            except StopIteration as end:
                return {"answer": end.value}

        def _leave(self) -> None:
            if self.under_way is not None:
                self.under_way.close()
                self.under_way = None

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._leave()
            return True

        def cleanup(self) -> None:
            self._leave()

    return Task


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C, or SIGTERM where that is ignored, may strike where Python can only ignore it, in a finaliser: note it, to
    be raised again.
    """
    noted = threading.Event()
    number = signal.SIGINT if callable(signal.getsignal(signal.SIGINT)) else signal.SIGTERM
    before = signal.getsignal(number)
    ours = callable(before) and before in (signal.default_int_handler, answer, interrupt)
    if threading.current_thread() is not threading.main_thread() or not ours:
        yield noted
        return
    first: Callable[[int, FrameType | None], Any] = before  # type: ignore[assignment]

    def note(number: int, frame: FrameType | None) -> None:
        noted.set()
        first(number, frame)

    signal.signal(number, note)
    try:
        yield noted
    finally:
        signal.signal(number, before)
