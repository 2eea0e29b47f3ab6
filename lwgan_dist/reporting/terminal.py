"""What a person sees in the terminal: progress on standard error, results on standard output."""

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from lwgan_dist.logs import printable, visible
from lwgan_dist.metrics.registry import METRICS, floor_of
from lwgan_dist.reporting.answer import answer_sentence
from lwgan_dist.reporting.components import component_words
from lwgan_dist.reporting.opening import standardization
from lwgan_dist.reporting.values import number_text
from lwgan_dist.results import Competitor, RunResult


class Screen(Console):
    """A console on which names of files, columns and labels steer nothing: control characters in texts are written as
    in Python.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text, "\n"), segment.style)


class _Bar:
    """A bar on a terminal, plain lines elsewhere; a context manager."""

    _columns: tuple[str | ProgressColumn, ...] = ()

    def __init__(self, label: str, shown: bool) -> None:
        self._label = printable(label)
        self._shown = shown
        self._console = Screen(stderr=True)
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._shown and self._console.is_terminal:
            self._bar = Progress(*self._columns, console=self._console, transient=True, refresh_per_second=4)
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
            print(printable(text), file=sys.stderr, flush=True)  # noqa: T201


class ProgressLine(_Bar):
    """One line of progress: a bar on a terminal, elsewhere a plain line every tenth of the run or half minute.

    Args:
        label: name of the run.
        shown: False for silence.
    """

    _columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
    )  # fmt: skip

    def __init__(self, label: str, shown: bool = True) -> None:
        super().__init__(label, shown)
        self._last = (-1.0, 0.0)

    def update(self, record: dict[str, Any]) -> None:
        """Show a progress record: ``iteration``, ``iterations``, ``stage``, ``losses``, ``scores``."""
        if not self._shown:
            return
        done, total = record["iteration"], record["iterations"]
        state = f"{done}/{total}  {record['stage']} {describe_losses(record['losses'])}"
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, state=state)
            return
        part = done / total
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


class _CountingBar(_Bar):
    """A bar of so many done of so many, elsewhere a plain line every tenth or half minute."""

    _columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[state]}")

    def __init__(self, label: str, shown: bool) -> None:
        super().__init__(label, shown)
        self._what = ""
        self._total: int | None = None
        self._start = 0
        self._began = time.monotonic()
        self._last = (0, self._began)

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        """Begin a phase, again for a further one.

        Args:
            total: number of its runs or trials; None if it is not known, as of a search that ends by the clock.
            what: they are, for example "runs", "bootstrap refits" or "trials".
            done: of them, those that an earlier start has left; they do not count for the speed.
        """
        self._total, self._what, self._start = total, what, done
        self._began = time.monotonic()
        self._last = (done, self._began)
        if self._bar:
            self._bar.reset(self._task, total=total, completed=done, state=escape(self._count(done)))
        else:
            self.say(f"{self._label}  {self._count(done)}")

    def _count(self, done: int) -> str:
        return f"{done} {self._what}" if self._total is None else f"{done}/{self._total} {self._what}"

    def _show(self, done: int, parts: Sequence[str], cpu_seconds: float, running: int) -> None:
        """Show the count with further parts and the time left, on a bar always, else if a line is due."""
        if not self._shown:
            return
        state = ", ".join([self._count(done), *parts, cpu_text(cpu_seconds)])
        if left := self._left(done, running):
            state += f", {left} left"
        if self._bar:
            self._bar.update(self._task, completed=done, total=self._total, state=escape(state))
            return
        before, when = self._last
        due = time.monotonic() - when >= 30.0
        if self._total is not None:
            due = due or 10 * (done - before) >= self._total or done >= self._total
        if done > before and due:
            self._last = (done, time.monotonic())
            self.say(f"{self._label}  {state}")

    def _left(self, done: int, running: int) -> str:
        """The time that the rest takes at the speed of the phase so far; empty if there is no telling.

        Those under way count as half done: else the first that ends, of many at once, would make the rest seem to take
        as many times too long.
        """
        if self._total is None or not self._start < done < self._total:
            return ""
        half = min(running, self._total - done) / 2
        return _duration((self._total - done - half) * (time.monotonic() - self._began) / (done - self._start + half))


class StudyProgress(_CountingBar):
    """The state of a study in one line: a bar on a terminal, elsewhere a plain line every tenth or half minute.

    Args:
        label: name of the study.
        shown: False for silence.
    """

    def __init__(self, label: str = "study", shown: bool = True) -> None:
        super().__init__(label, shown)

    def update(self, done: int, failed: int, cpu_seconds: float, running: int = 0) -> None:
        """Show how far the phase is.

        Args:
            done: runs that have ended, failed ones among them.
            failed: of them, those without a dimension.
            cpu_seconds: processor time of all of them.
            running: runs that are under way.
        """
        self._show(done, [f"{failed} failed"], cpu_seconds, running)


class SearchProgress(_CountingBar):
    """The state of a search in one line: a bar on a terminal, elsewhere a plain line every tenth or half minute.

    Args:
        label: name of the search.
        shown: False for silence.
    """

    def __init__(self, label: str = "search", shown: bool = True) -> None:
        super().__init__(label, shown)

    def update(
        self, done: int, failed: int, stopped: int, best: tuple[float, int] | None, cpu_seconds: float, running: int = 0
    ) -> None:
        """Show how far the phase is.

        Args:
            done: trials that have ended, failed and stopped ones among them.
            failed: of them, those without an objective.
            stopped: of them, those that the scheduler ended.
            best: smallest objective and number of its trial; None if there is none yet, or several objectives.
            cpu_seconds: processor time of all of them.
            running: trials that are under way.
        """
        parts = [f"{stopped} stopped"] if stopped else []
        parts += [f"{failed} failed"] if failed else []
        parts += [f"best {number_text(best[0])} (trial {best[1]})"] if best else []
        self._show(done, parts, cpu_seconds, running)


def cpu_text(seconds: float) -> str:
    """Processor time, short: ``90 CPU s``, ``1.5 CPU h``."""
    return f"{seconds / 3600:.1f} CPU h" if seconds >= 360 else f"{seconds:.0f} CPU s"


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def print_result(result: RunResult, files: Mapping[str, str]) -> None:
    """Warnings, the answer in a sentence, what stands behind it, the rank-score table, and where the files are, on
    standard output.
    """
    console = Screen(highlight=False, width=None if sys.stdout.isatty() else 100)

    def say(text: Text | str) -> None:
        console.print(text, soft_wrap=not console.is_terminal)

    for finding in result.findings:
        if finding.level == "warning":
            say(Text.assemble(("warning: ", "yellow"), str(finding)))
    say(Text(answer_sentence(result), "bold"))
    for remark in result.notes:
        say(Text.assemble(("note: ", "yellow"), remark))
    for evidence in describe_evidence(result):
        say(evidence)
    say(_describe_run(result))
    if result.metrics:
        say(f"on hold-out rows: {_describe_metrics(result.metrics)}")
    console.print()
    console.print(_score_table(result))
    console.print()
    print_files(console, files)


def _describe_run(result: RunResult) -> str:
    """What the estimate was made from, and what it cost."""
    rows = "a stream of rows" if result.rows is None else f"{result.rows} rows"
    considered = "" if result.dimension is None else f", at most {result.max_dimension} dimensions considered"
    scale = f", {standardization(result.standardize)}" if result.standardize else ""
    return (
        f"{rows} of {result.ambient_dim} columns{scale}{considered}; schedule {result.schedule}, {result.iterations} "
        f"iterations, {result.cpu_seconds:.0f} CPU seconds, {result.wall_seconds:.0f} s by the clock, workers "
        f"{result.workers}, seed {result.seed}"
    )


def _describe_metrics(metrics: Mapping[str, float]) -> str:
    """``energy distance of generated rows 0.0123 (floor 0.0011), reconstruction error 0.1000``."""
    parts = []
    for name in (name for name in METRICS if name in metrics):
        floor = metrics.get(floor_of(name))
        parts.append(f"{METRICS[name].phrase} {metrics[name]:.4f}" + ("" if floor is None else f" (floor {floor:.4f})"))
    return ", ".join(parts)


def _score_table(result: RunResult) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    by_resolution = result.resolution is not None
    judged = "refused by" if by_resolution else "penalised" if result.is_penalised else ""
    components = component_words(result)
    for column in ("rank", "score", "± SE", judged, *(words.heading for words in components.values()), ""):
        table.add_column(column, justify="right")
    for row in result.rank_scores:
        if by_resolution:
            verdict = f"{row.refused:.4f}" if row.refused is not None and row.refused > 0 else "-"
        else:
            verdict = f"{row.score + result.penalty * row.rank:.4f}" if result.is_penalised else ""
        numbers = (row.components[name] for name in components)
        chosen = row.rank == result.dimension
        table.add_row(
            str(row.rank), f"{row.score:.4f}", f"{row.se:.4f}", verdict, *(f"{n:.4f}" for n in numbers),
            "<" if chosen else "", style="bold green" if chosen else "",
        )  # fmt: skip
    return table


def describe_evidence(result: RunResult) -> list[str]:
    """What stands behind an estimate beside its scores, in sentences."""
    sentences = []
    if result.resolution is not None:
        sentences.append(
            f"resolution: variation below {result.resolution:.3g} of the standardised data's scale counts as noise "
            f"(score.resolution); dimension by resolution: {describe_staircase(result)}"
        )
    tear = result.tear
    if tear and tear.groups > 1:
        sentences.append(
            f"the directions fall into {tear.groups} groups that vary independently, each laid out by itself"
        )
    if tear and tear.share > 0:
        coordinates = "one coordinate" if tear.rank == 1 else f"{tear.rank} coordinates"
        edges = "edges between neighbours" if tear.groups == 1 else "edges between neighbours within a group, at most"
        sentences.append(f"closed data were torn open to lay {coordinates} on them: {tear.share:.1%} of the {edges}")
    if result.parts:
        parts = ", ".join(
            f"{part.share:.0%} of the rows ({'too few to say' if part.dimension is None else part.dimension})"
            for part in result.parts
        )
        sentences.append(f"the data fall into {len(result.parts)} parts; share and dimension of each: {parts}")
    return [*sentences, *_describe_competitors(result.competitors)]


def _describe_competitors(competitors: Sequence[Competitor]) -> Iterator[str]:
    """What the competitors were given, and which of them have no estimate."""
    if not competitors:
        return
    given = ", ".join(f"{rows:,}" for rows in sorted({one.rows for one in competitors}))
    failures: dict[str, list[str]] = {}
    for one in competitors:
        if one.failure:
            failures.setdefault(one.failure, []).append(one.name)
    without = "".join(f"; none by {', '.join(names)} ({failure})" for failure, names in failures.items())
    seconds = sum(one.cpu_seconds for one in competitors)
    yield f"classical estimators on {given} distinct rows, as they were fitted, {seconds:.1f} CPU seconds{without}"


def describe_staircase(result: RunResult) -> str:
    """``3 below .02, 2 up to .32, 1 above``."""
    steps = result.staircase
    if len(steps) < 2:
        return f"{steps[0].dimension} throughout" if steps else "-"
    middle = [f"{step.dimension} up to {step.to_resolution:.3g}" for step in steps[:-1]]
    return ", ".join([*middle, f"{steps[-1].dimension} above"])


def result_table() -> Table:
    """An empty table in the look of all results."""
    return Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))


def print_table(console: Console, table: Table) -> None:
    """Print a table, without folding anything where there is no terminal: a file has no width."""
    if console.is_terminal:
        console.print(table)
        return
    Screen(highlight=False, width=max(100, table_width(console, table))).print(table)


def table_width(console: Console, table: Table) -> int:
    """The columns of a terminal in which nothing of the table is folded."""
    unlimited: ConsoleOptions = console.options.update(width=100_000)
    return console.measure(table, options=unlimited).maximum


def print_files(console: Console, files: Mapping[str, str]) -> None:
    """Where the files are, by what is in them."""
    for name, path in files.items():
        console.print(f"{escape(name) + ':':<12} {escape(path)}", soft_wrap=True)
