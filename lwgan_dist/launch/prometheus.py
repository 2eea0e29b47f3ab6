"""Numbers of a driver for Prometheus: by way of Ray, the agent of its node exports those of `METRICS`, with ``ray_``
before their names and ``_total`` behind those of counters.

Counting is a matter of this process; a thread passes the numbers to Ray. Without Ray, or where it refuses them,
nothing is exported and nothing else happens.
"""

import logging
import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

from lwgan_dist.storage import Folder

PERIOD_SECONDS = 5.0
"""Between two exports. A gauge that is not set anew is gone after two of Ray's own periods, which are 10 s."""

WINDOW_SECONDS = 600.0
"""Over which estimates per hour are counted."""

PATIENCE_SECONDS = 5.0
"""How long the end of a command waits for a thread that hangs in Ray or in the storage."""

_PREFIX = "lwgan_dist_"
_NAME = re.compile(r"[^A-Za-z0-9._-]")
_log = logging.getLogger("lwgan_dist")


class Metric(NamedTuple):
    """A metric that is exported under a name."""

    kind: Literal["counter", "gauge"]
    what: str
    tags: tuple[str, ...] = ("kind", "name")

    def exported(self, name: str) -> str:
        """The name at Ray's agent."""
        return f"ray_{_PREFIX}{name}{'_total' if self.kind == 'counter' else ''}"


METRICS: dict[str, Metric] = {
    "runs_done": Metric("counter", "Runs that have ended and are recorded, diverged ones included."),
    "runs_diverged": Metric("counter", "Of these, runs without an estimate; in a search, trials that failed."),
    "runs_failed": Metric(
        "counter", "Runs that were not finished; the same command tries them again.", ("kind", "name", "reason")
    ),
    "tasks_retried": Metric("counter", "Tasks begun anew after their process was lost.", ("kind", "name", "reason")),
    "tasks_running": Metric("gauge", "Tasks that have a place; a task is a run, some short ones, or a trial."),
    "tasks_waiting": Metric("gauge", "Tasks that Ray has been given and has no place for yet."),
    "runs_remaining": Metric("gauge", "Runs of the phase of a study that have not ended."),
    "estimates_per_hour": Metric("gauge", f"Runs with an estimate, over the last {WINDOW_SECONDS / 60:.0f} minutes."),
    "seconds_since_checkpoint": Metric(
        "gauge", "Since what is computed was last made safe: a checkpoint; in a study or search, the end of a task."
    ),
    "iteration": Metric("gauge", "Where a run stands."),
    "iterations": Metric("gauge", "Where it ends."),
}
"""By name, without prefix. Tags have few values: a command has one kind and one name, and reasons are `REASONS`."""

REASONS = {
    "preempted": r"preempt",
    "node_lost": r"node (has )?died|NodeDied|node was (drained|terminated)",
    "out_of_memory": r"OutOfMemory|MemoryError|out of memory",
    "process_lost": r"^(Actor|Worker|Task\w*)\w*Error|SIGKILL",
    "storage": r"^(\w*OS|Storage|FileNotFound|FileExists|NotADirectory|Permission|Timeout|Arrow\w*|InUse)Error",
    "data": r"^(Data|Unreadable)Error",
    "configuration": r"^ConfigError|^ModuleNotFoundError|^ImportError",
    "cluster": r"^(Cluster|RunFailed)Error",
}
"""Classes of reasons why a run was not finished, each with its pattern: the first that fits, or else ``other``."""


def reason_class(reason: str) -> str:
    """The class of a reason: one of `REASONS`, or ``other``."""
    return next((name for name, pattern in REASONS.items() if re.search(pattern, reason)), "other")


@dataclass(frozen=True)
class Ended:
    """The counts in a task's answer.

    Attributes:
        done: runs that are recorded.
        diverged: those of them without an estimate.
        unfinished: reasons of runs that are not recorded.
    """

    done: int
    diverged: int = 0
    unfinished: tuple[str, ...] = ()


class _Exporter(ABC):
    """Passes numbers to Ray, from a thread, for the length of a block, which may be entered again within itself."""

    def __init__(self, kind: str, name: str) -> None:
        self._tags = {"kind": kind, "name": _NAME.sub("_", name)[:64]}
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._exported: Counter[tuple[str, str]] = Counter()
        self._metrics: dict[str, Any] = {}
        self._entered = 0
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._entered += 1
        if self._entered == 1:
            self._ended.clear()
            self._metrics.clear()  # of an earlier session of Ray
            self._threads = [
                threading.Thread(target=self._every, args=(period, act), name=f"metrics-{act.__name__}", daemon=True)
                for period, act in self._acts()
            ]
            for thread in self._threads:
                thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._entered -= 1
        if self._entered == 0:
            self._ended.set()
            ends = time.monotonic() + PATIENCE_SECONDS
            for thread in self._threads:
                thread.join(max(0.0, ends - time.monotonic()))
            if not any(thread.is_alive() for thread in self._threads):
                self._safely(self._export)  # what came after the last time; Ray sends it on as it shuts down

    def _acts(self) -> list[tuple[float, Callable[[], None]]]:
        """What is done how often, each in a thread of its own: one may hang."""
        return [(PERIOD_SECONDS, self._export)]

    def _every(self, period: float, act: Callable[[], None]) -> None:
        while True:
            self._safely(act)
            if self._ended.wait(period):
                return

    @staticmethod
    def _safely(act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - no run fails because it cannot be counted
            _log.debug("metrics: %s: %s", type(error).__name__, error)

    def _count(self, name: str, times: int = 1, reason: str = "") -> None:
        if times:
            with self._lock:
                self._counts[name, reason] += times

    @abstractmethod
    def _gauges(self) -> Mapping[str, float]:
        """Their values now; at the end of the block, those that remain."""

    def _export(self) -> None:
        if not _is_driver():
            return
        for name, value in self._gauges().items():
            self._metric(name).set(float(value), self._tags)
        with self._lock:
            counts = self._counts.copy()
        for (name, reason), times in (counts - self._exported).items():
            self._metric(name).inc(times, {**self._tags, "reason": reason} if reason else self._tags)
            self._exported[name, reason] += times

    def _metric(self, name: str) -> Any:
        import ray.util.metrics

        if name not in self._metrics:
            made = METRICS[name]
            maker = ray.util.metrics.Counter if made.kind == "counter" else ray.util.metrics.Gauge
            self._metrics[name] = maker(_PREFIX + name, made.what, made.tags)
        return self._metrics[name]


def _is_driver() -> bool:
    """Not in Ray's workers: a number of each would be a series of each, and there may be a million runs."""
    ray = sys.modules.get("ray")  # whoever started it has imported it
    if ray is None or not ray.is_initialized():
        return False
    return bool(ray.get_runtime_context().worker.mode == ray.SCRIPT_MODE)


class Meter(_Exporter):
    """Counts what becomes of the runs of a study or search. Its block may be entered by several pools.

    Args:
        kind: ``study`` or ``search``.
        name: of its folder.
        ended: counts the runs in the answer of a task.
        lost: runs that are not finished if a task is lost; by default 1.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        ended: Callable[[Any], Ended] = lambda _answer: Ended(1),
        lost: Callable[[Any], int] = lambda _task: 1,
    ) -> None:
        super().__init__(kind, name)
        self._read, self._lost = ended, lost
        self._running = self._waiting = 0
        self._remaining: int | None = None
        self._safe = time.monotonic()
        self._rate = _Rate()

    def begin(self, runs: int) -> None:
        """A phase of so many runs begins."""
        with self._lock:
            self._remaining = runs

    @property
    def running(self) -> int:
        """Tasks that have a place."""
        return self._running

    def tasks(self, running: int, waiting: int) -> None:
        """How many there are now."""
        self._running, self._waiting = running, waiting

    def ended(self, answer: Any) -> None:
        """A task has ended, with an answer, or None if it was stopped."""
        self._safe = time.monotonic()
        if answer is None:
            return
        try:
            counts = self._read(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            _log.debug("metrics: an answer cannot be counted: %s", error)
            return
        self._count("runs_done", counts.done)
        self._count("runs_diverged", counts.diverged)
        for reason in counts.unfinished:
            self._count("runs_failed", 1, reason_class(reason))
        self._less(counts.done + len(counts.unfinished))

    def lost(self, task: Any, reason: str) -> None:
        """A task was not finished."""
        runs = self._lost(task)
        self._count("runs_failed", runs, reason_class(reason))
        self._less(runs)

    def retried(self, reason: str) -> None:
        """A task whose process was lost begins anew."""
        self._count("tasks_retried", 1, reason_class(reason))

    def _less(self, runs: int) -> None:
        with self._lock:
            if self._remaining is not None:
                self._remaining = max(0, self._remaining - runs)

    def _gauges(self) -> Mapping[str, float]:
        with self._lock:
            estimates = self._counts["runs_done", ""] - self._counts["runs_diverged", ""]
        values = {
            "tasks_running": self._running,
            "tasks_waiting": self._waiting,
            "estimates_per_hour": self._rate.per_hour(estimates, time.monotonic()),
            "seconds_since_checkpoint": time.monotonic() - self._safe,
        }
        return values if self._remaining is None else {**values, "runs_remaining": self._remaining}


@dataclass
class _Rate:
    """How fast a count has grown over a window."""

    looked: deque[tuple[float, int]] = field(default_factory=deque)

    def per_hour(self, count: int, now: float) -> float:
        """Given the count now."""
        self.looked.append((now, count))
        while len(self.looked) > 2 and self.looked[1][0] <= now - WINDOW_SECONDS:
            self.looked.popleft()
        then, before = self.looked[0]
        return 3600 * (count - before) / (now - then) if now > then else 0.0


class RunMeter(_Exporter):
    """Follows a run from its driver, also while its workers hang.

    Args:
        folder: of the run.
        kind: of the command.
    """

    def __init__(self, folder: Folder, kind: str = "train") -> None:
        super().__init__(kind, folder.name)
        self._checkpoints = folder.sub("checkpoints")
        self._newest: str | None = None
        self._safe = time.monotonic()
        self._progress: tuple[int, int] | None = None

    def progress(self, record: Mapping[str, Any]) -> None:
        """The run has got further; ``record`` has its ``iteration`` and ``iterations``."""
        self._progress = int(record["iteration"]), int(record["iterations"])

    def look(self) -> None:
        """Note whether there is a new checkpoint. By the clock of this process: those of others may be wrong."""
        newest = max((name for name in self._checkpoints.names() if name.startswith("iteration-")), default=None)
        if newest != self._newest:
            self._newest, self._safe = newest, time.monotonic()

    def _acts(self) -> list[tuple[float, Callable[[], None]]]:
        return [*super()._acts(), (PERIOD_SECONDS, self.look)]

    def _gauges(self) -> Mapping[str, float]:
        values = {"seconds_since_checkpoint": time.monotonic() - self._safe}
        if self._progress is None:
            return values
        return {**values, "iteration": self._progress[0], "iterations": self._progress[1]}
