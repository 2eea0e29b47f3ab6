"""What a person sees in the terminal: progress on standard error, results on standard output."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lwgan_dist.results import RunResult


class ProgressLine:
    """One line of progress: a bar on a terminal, elsewhere a plain line every tenth of the run or half minute.

    Args:
        label: name of the run.
        shown: False for silence.
    """

    def __init__(self, label: str, shown: bool = True) -> None:
        self._label = label
        self._shown = shown
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._last = (-1.0, 0.0)

    def __enter__(self) -> Self:
        if self._shown and self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(escape(self._label), total=None, state="starting")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, told: dict[str, Any]) -> None:
        """Show a progress record: ``iteration``, ``iterations``, ``stage``, ``losses``, ``scores``."""
        if not self._shown:
            return
        state = f"{told['iteration']}/{told['iterations']}  {told['stage']} {describe_losses(told['losses'])}"
        if self._bar:
            self._bar.update(self._task, completed=told["iteration"], total=told["iterations"], state=state)
            return
        part = told["iteration"] / told["iterations"]
        before, when = self._last
        if part >= 1.0 or part - before >= 0.1 or time.monotonic() - when >= 30.0:
            self._last = (part, time.monotonic())
            self.say(f"{self._label}  {state}")

    def say(self, text: str) -> None:
        """A plain line on standard error."""
        if self._shown:
            print(text, file=sys.stderr, flush=True)  # noqa: T201


def describe_losses(losses: dict[str, float]) -> str:
    """The terms that tell how training goes, short."""
    shown = {
        "reconstruction": losses.get("encoder_generator/reconstruction"),
        "critic": losses.get("critic/critic"),
        "mmd": losses.get("encoder_generator/mmd"),
    }
    return " ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None)


def print_result(result: RunResult, files: dict[str, str]) -> None:
    """The rank-score table, the estimate in one sentence, and where the files are, on standard output."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("rank", "score", "± SE", "penalised", "reconstr.", "critic", "grad.pen.", "MMD²", ""):
        table.add_column(column, justify="right")
    for row in result.rank_scores:
        penalised = row.score + result.penalty * row.rank
        numbers = (row.score, row.se, penalised, row.reconstruction, row.critic, row.gradient_penalty, row.mmd)
        chosen = row.rank == result.dimension
        table.add_row(
            str(row.rank), *(f"{n:.4f}" for n in numbers), "<" if chosen else "", style="bold green" if chosen else ""
        )
    console.print(table)
    truth = "" if result.intrinsic_dim is None else f" (true dimension: {result.intrinsic_dim})"
    console.print(
        f"\nestimated intrinsic dimension: [bold]{result.dimension}[/bold]{truth}, "
        f"of at most {result.max_dimension}, in {result.ambient_dim} columns"
    )
    rows = "a stream of rows" if result.rows is None else f"{result.rows} rows"
    console.print(
        f"{rows}, schedule {result.schedule}, {result.iterations} iterations, {result.cpu_seconds:.0f} CPU seconds, "
        f"{result.wall_seconds:.0f} s by the clock, workers {result.workers}, seed {result.seed}"
    )
    for note in result.notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)
    for name, path in files.items():
        console.print(f"{name + ':':<12} {escape(path)}", soft_wrap=True)
