"""The progress of a study or a search, as its phases report it to whoever shows it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a phase stands.

    Attributes:
        done: runs or trials that have ended, failed and stopped ones among them.
        failed: of them, those without a result.
        stopped: of them, those that a scheduler stopped.
        cpu_seconds: processor time of all of them.
        running: that are under way.
        best: objective and number of the best trial; None if there is none.
    """

    done: int
    failed: int
    cpu_seconds: float
    running: int
    stopped: int = 0
    best: tuple[float, int] | None = None


class Progress(Protocol):
    """Shows phases."""

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        """A phase begins.

        Args:
            total: its runs or trials; None if their number is not known.
            what: they are, for example "LWGAN runs".
            done: of them, those that earlier commands have finished.
        """

    def update(self, standing: Standing) -> None:
        """The phase has got further."""


class Unseen:
    """Progress that is not shown."""

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        """Nothing is shown."""

    def update(self, standing: Standing) -> None:
        """Nothing is shown."""
