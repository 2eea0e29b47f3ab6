"""What a person sees in the terminal: progress on standard error, results on standard output."""

import math
import sys
import time
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lwgan_dist.reporting.study_figures import short
from lwgan_dist.results import RunResult


class _Bar:
    """A bar on a terminal, plain lines elsewhere; a context manager."""

    def __init__(self, label: str, shown: bool) -> None:
        self._label = label
        self._shown = shown
        self._console = Console(stderr=True)
        self._bar: Progress | None = None

    def _columns(self) -> tuple[ProgressColumn, ...]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self._shown and self._console.is_terminal:
            self._bar = Progress(*self._columns(), console=self._console, transient=True, refresh_per_second=4)
            self._task = self._bar.add_task(escape(self._label), total=None, state="starting")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A plain line on standard error."""
        if self._shown:
            print(text, file=sys.stderr, flush=True)  # noqa: T201


class ProgressLine(_Bar):
    """One line of progress: a bar on a terminal, elsewhere a plain line every tenth of the run or half minute.

    Args:
        label: name of the run.
        shown: False for silence.
    """

    def __init__(self, label: str, shown: bool = True) -> None:
        super().__init__(label, shown)
        self._last = (-1.0, 0.0)

    def _columns(self) -> tuple[ProgressColumn, ...]:
        return (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
        )  # fmt: skip

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


class StudyProgress(_Bar):
    """The state of a study in one line: a bar on a terminal, elsewhere a plain line every tenth or half minute.

    Args:
        label: name of the study.
        shown: False for silence.
    """

    def __init__(self, label: str = "study", shown: bool = True) -> None:
        super().__init__(label, shown)
        self._what = ""
        self._total = self._start = 0
        self._began = time.monotonic()
        self._last = (0, self._began)

    def _columns(self) -> tuple[ProgressColumn, ...]:
        return TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[state]}")

    def begin(self, total: int, what: str, done: int = 0) -> None:
        """Begin a phase, again for a further one.

        Args:
            total: number of its runs.
            what: they are, for example "runs" or "bootstrap refits".
            done: of them, those that an earlier start of the study has left; they do not count for the speed.
        """
        self._total, self._what, self._start = total, what, done
        self._began = time.monotonic()
        self._last = (done, self._began)
        state = f"{done}/{total} {what}"
        if self._bar:
            self._bar.reset(self._task, total=total, completed=done, state=escape(state))
        else:
            self.say(f"{self._label}  {state}")

    def update(self, done: int, failed: int, cpu_seconds: float) -> None:
        """Show how far the phase is.

        Args:
            done: runs that have ended, failed ones among them.
            failed: of them, those without a dimension.
            cpu_seconds: processor time of all of them.
        """
        if not self._shown:
            return
        state = f"{done}/{self._total} {self._what}, {failed} failed, {_cpu(cpu_seconds)}"
        if left := self._left(done):
            state += f", {left} left"
        if self._bar:
            self._bar.update(self._task, completed=done, total=self._total, state=escape(state))
            return
        before, when = self._last
        changed = done > before
        due = 10 * (done - before) >= self._total or done >= self._total or time.monotonic() - when >= 30.0
        if changed and due:
            self._last = (done, time.monotonic())
            self.say(f"{self._label}  {state}")

    def _left(self, done: int) -> str:
        """The time that the rest takes at the speed of the phase so far; empty if there is no telling."""
        if not self._start < done < self._total:
            return ""
        return _duration((self._total - done) * (time.monotonic() - self._began) / (done - self._start))


def _cpu(seconds: float) -> str:
    return f"{seconds / 3600:.1f} CPU h" if seconds >= 360 else f"{seconds:.0f} CPU s"


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def print_study(cells: pa.Table, files: dict[str, str], level: float = 0.95) -> None:
    """P(correct) by data, n and method, and where the files are, on standard output.

    Where the truth is unknown: the most frequent estimate and its share.

    Args:
        cells: the table of cells.
        files: path by what is in it.
        level: P(correct) from which a cell is green.
    """
    rows = cells.to_pylist()
    methods = list(dict.fromkeys(row["method"] for row in rows))
    truths = {row["intrinsic_dim"] is not None for row in rows}
    labels = [str(row["data"]) for row in rows]
    console = Console(highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    room = console.width - 15 - 11 * len(methods)  # a cell needs 11 columns, truth and n together 15
    table.add_column("data", overflow="fold", min_width=max(4, min(18, room, max(map(len, labels), default=0))))
    for column in (*(["truth"] if True in truths else []), "n"):
        table.add_column(column, justify="right")
    for method in methods:
        table.add_column(Text(method), overflow="fold")
    before = None
    for (label, n), here in _by_data_and_n(rows).items():
        first = next(iter(here.values()))
        texts = [Text("" if label == before and console.is_terminal else label)]
        if True in truths:
            texts.append(Text("" if first["intrinsic_dim"] is None else str(first["intrinsic_dim"])))
        texts.append(Text(str(n)))
        texts += [_cell(here[method], level) if method in here else Text("") for method in methods]
        table.add_row(*texts)
        before = label
    if not console.is_terminal:  # a file has no width: nothing is folded
        options = console.options.update(width=100_000)
        console = Console(highlight=False, width=max(100, console.measure(table, options=options).maximum))
    console.print(table)
    meaning = []
    if True in truths:
        sequence = any(row["sequence_low"] is not None for row in rows)
        interval = "confidence sequence" if sequence else "95 % Clopper-Pearson interval"
        meaning.append(f"correct/runs and {interval} of P(correct), green from {level:g}")
    if False in truths:
        meaning.append("where the truth is unknown, the most frequent estimate and its share of the runs")
    console.print("; ".join(meaning), style="dim", soft_wrap=True)
    for name, path in files.items():
        console.print(f"{escape(name) + ':':<12} {escape(path)}", soft_wrap=True)


def _by_data_and_n(rows: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, dict[str, Any]]]:
    lines: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        lines.setdefault((row["data"], row["n"]), {})[row["method"]] = row
    return lines


def _cell(row: dict[str, Any], level: float) -> Text:
    failed = f" {row['failures']} failed" if row["failures"] else ""
    if row["intrinsic_dim"] is None:
        if row["modal_dimension"] is None:
            return Text("-" + failed)
        share = row["modal_count"] / row["runs"]
        return Text(f"{row['modal_dimension']} in {row['modal_count']}/{row['runs']} ({short(share)}){failed}")
    name = "exact" if row["sequence_low"] is None else "sequence"
    text = f"{row['correct']}/{row['runs']} {short(row[name + '_low'])}-{short(row[name + '_high'])}{failed}"
    good = row["p_correct"] is not None and row["p_correct"] >= level - 1e-9
    return Text(text, style="green" if good else "")


def print_plan(lines: list[dict[str, Any]]) -> None:
    """What a study consists of and what it costs: a row for each data, n and method."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, justify in (("data", "left"), ("n", "right"), ("method", "left"), ("replicates", "right"),
                            ("runs", "right"), ("to do", "right"), ("CPU s a run", "right")):  # fmt: skip
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for line in lines:
        table.add_row(
            escape(line["data"]), str(line["n"]), escape(", ".join(line["methods"])), str(line["replicates"]),
            str(line["runs"]), str(line["missing"]), f"{line['cpu_seconds']:.3g}",
        )  # fmt: skip
    console.print(table)
