"""Where the tasks of a pool come from, and what becomes of them; without Ray, for a process alone serves them too.

Tasks, reports and answers are whatever pickle can take to another process and back.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Source(Protocol):
    """Where tasks come from and what becomes of them. Everything is called in the thread that called `Pool.serve`; what
    is raised ends the pool.
    """

    def take(self) -> tuple[int, Any] | None:
        """A further task with a number of its own, or None if there is none now."""

    @property
    def is_dry(self) -> bool:
        """No further task will come, whatever becomes of those that run."""

    def report(self, index: int, report: Any) -> bool:
        """A task's work has yielded something on its way; whether it shall go on."""

    def done(self, index: int, answer: Any) -> None:
        """A task has ended with what its work returned, or None if it was not to go on."""

    def lost(self, index: int, reason: str) -> None:
        """A task could not be finished: its work raised, or its process or node was lost too often."""


class Listed:
    """Tasks that are all given beforehand, none of which is halted.

    Args:
        tasks: in this order; their numbers are their indices.
        on_done: gets the index of a task and what its work returned.

    Attributes:
        reasons: by index, why tasks could not be finished.
    """

    def __init__(self, tasks: Sequence[Any], on_done: Callable[[int, Any], None]) -> None:
        self.reasons: dict[int, str] = {}
        self._tasks = tasks
        self._on_done = on_done
        self._next = 0

    def take(self) -> tuple[int, Any] | None:
        """The next task."""
        if self.is_dry:
            return None
        self._next += 1
        return self._next - 1, self._tasks[self._next - 1]

    @property
    def is_dry(self) -> bool:
        """All have been taken."""
        return self._next == len(self._tasks)

    def report(self, index: int, report: Any) -> bool:
        """Every task goes on to its end."""
        return True

    def done(self, index: int, answer: Any) -> None:
        """Hand on the answer."""
        self._on_done(index, answer)

    def lost(self, index: int, reason: str) -> None:
        """Note the reason."""
        self.reasons[index] = reason
