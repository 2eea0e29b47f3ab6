"""What a person sees in the terminal: progress on standard error, results on standard output."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from rich.console import Console, ConsoleOptions
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.reporting.search_figures import PARAMETER, value_text
from lwgan_dist.reporting.search_page import (
    Facts,
    SearchTables,
    comparison_sentence,
    default_trial,
    dependence_sentence,
    number_text,
    parameter_paths,
    ranked,
)
from lwgan_dist.reporting.study_figures import short
from lwgan_dist.reporting.study_page import metric_rows
from lwgan_dist.results import RunResult

_MOST_TRIALS = 5


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
    by_resolution = result.resolution is not None
    judged = "refused by" if by_resolution else "penalised" if result.dimension else ""
    for column in ("rank", "score", "± SE", judged, "reconstr.", "critic", "grad.pen.", "MMD²", ""):
        table.add_column(column, justify="right")
    for row in result.rank_scores:
        if by_resolution:
            verdict = f"{row.refused:.4f}" if row.refused is not None and row.refused > 0 else "-"
        else:
            verdict = f"{row.score + result.penalty * row.rank:.4f}" if result.dimension else ""
        numbers = (row.reconstruction, row.critic, row.gradient_penalty, row.mmd)
        chosen = row.rank == result.dimension
        table.add_row(
            str(row.rank), f"{row.score:.4f}", f"{row.se:.4f}", verdict, *(f"{n:.4f}" for n in numbers),
            "<" if chosen else "", style="bold green" if chosen else "",
        )  # fmt: skip
    console.print(table)
    truth = "" if result.intrinsic_dim is None else f" (true dimension: {result.intrinsic_dim})"
    if result.dimension is None:
        said = f"{result.model} of latent size {result.max_dimension}, which estimates no dimension"
    else:
        said = f"estimated intrinsic dimension: [bold]{result.dimension}[/bold]{_certainty(result)}{truth}, "
        said += f"of at most {result.max_dimension}"
    console.print(f"\n{said}, in {result.ambient_dim} columns", soft_wrap=True)
    for sentence in describe_evidence(result):
        console.print(sentence, soft_wrap=True)
    rows = "a stream of rows" if result.rows is None else f"{result.rows} rows"
    console.print(
        f"{rows}, schedule {result.schedule}, {result.iterations} iterations, {result.cpu_seconds:.0f} CPU seconds, "
        f"{result.wall_seconds:.0f} s by the clock, workers {result.workers}, seed {result.seed}"
    )
    if result.metrics:
        told = ", ".join(
            f"{METRICS[name].phrase} {result.metrics[name]:.4f}" for name in METRICS if name in result.metrics
        )
        console.print(f"on hold-out rows: {told}", soft_wrap=True)
    for note in result.notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)
    for name, path in files.items():
        console.print(f"{name + ':':<12} {escape(path)}", soft_wrap=True)


def _certainty(result: RunResult) -> str:
    """`` (90 %: 2 to 3; hold-out rows: 3)``: the rank set, and what other rows say where they say something else."""
    told = []
    if result.rank_set and result.confidence:
        first, last = result.rank_set[0], result.rank_set[-1]
        told.append(f"{100 * result.confidence:.0f} %: {first if first == last else f'{first} to {last}'}")
    if result.other_dimension not in (None, result.dimension):
        told.append(f"{'hold-out' if result.score_on == 'train' else 'training'} rows: {result.other_dimension}")
    return f" ({'; '.join(told)})" if told else ""


def describe_evidence(result: RunResult) -> list[str]:
    """What stands behind an estimate beside its scores, in sentences."""
    told = []
    if result.resolution is not None:
        told.append(
            f"resolution: variation below {result.resolution:.3g} of the standardised data's scale counts as noise "
            f"(score.resolution); dimension by resolution: {describe_staircase(result)}"
        )
    tear = result.tear
    if tear and tear.groups > 1:
        told.append(f"the directions fall into {tear.groups} groups that vary independently, each laid out by itself")
    if tear and tear.share > 0:
        coordinates = "one coordinate" if tear.rank == 1 else f"{tear.rank} coordinates"
        edges = "edges between neighbours" if tear.groups == 1 else "edges between neighbours within a group, at most"
        told.append(f"closed data were torn open to lay {coordinates} on them: {tear.share:.1%} of the {edges}")
    if result.parts:
        parts = ", ".join(
            f"{part.share:.0%} of the rows ({'too few to say' if part.dimension is None else part.dimension})"
            for part in result.parts
        )
        told.append(f"the data fall into {len(result.parts)} parts; share and dimension of each: {parts}")
    return told


def describe_staircase(result: RunResult) -> str:
    """``3 below .02, 2 up to .32, 1 above``."""
    steps = result.staircase
    if len(steps) < 2:
        return f"{steps[0].dimension} throughout" if steps else "-"
    middle = [f"{step.dimension} up to {step.to_resolution:.3g}" for step in steps[:-1]]
    return ", ".join([*middle, f"{steps[-1].dimension} above"])


class _CountingBar(_Bar):
    """A bar of so many done of so many, elsewhere a plain line every tenth or half minute."""

    def __init__(self, label: str, shown: bool) -> None:
        super().__init__(label, shown)
        self._what = ""
        self._total: int | None = None
        self._start = 0
        self._began = time.monotonic()
        self._last = (0, self._began)

    def _columns(self) -> tuple[ProgressColumn, ...]:
        return TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[state]}")

    def _begin(self, total: int | None, what: str, done: int) -> None:
        self._total, self._what, self._start = total, what, done
        self._began = time.monotonic()
        self._last = (done, self._began)
        if self._bar:
            self._bar.reset(self._task, total=total, completed=done, state=escape(self._count(done)))
        else:
            self.say(f"{self._label}  {self._count(done)}")

    def _count(self, done: int) -> str:
        return f"{done} {self._what}" if self._total is None else f"{done}/{self._total} {self._what}"

    def _show(self, done: int, parts: Sequence[str], running: int) -> None:
        """Show the count with further parts and the time left, on a bar always, else if a line is due."""
        state = ", ".join([self._count(done), *parts])
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

    def begin(self, total: int, what: str, done: int = 0) -> None:
        """Begin a phase, again for a further one.

        Args:
            total: number of its runs.
            what: they are, for example "runs" or "bootstrap refits".
            done: of them, those that an earlier start of the study has left; they do not count for the speed.
        """
        self._begin(total, what, done)

    def update(self, done: int, failed: int, cpu_seconds: float, running: int = 0) -> None:
        """Show how far the phase is.

        Args:
            done: runs that have ended, failed ones among them.
            failed: of them, those without a dimension.
            cpu_seconds: processor time of all of them.
            running: runs that are under way.
        """
        if self._shown:
            self._show(done, [f"{failed} failed", _cpu(cpu_seconds)], running)


class SearchProgress(_CountingBar):
    """The state of a search in one line: a bar on a terminal, elsewhere a plain line every tenth or half minute.

    Args:
        label: name of the search.
        shown: False for silence.
    """

    def __init__(self, label: str = "search", shown: bool = True) -> None:
        super().__init__(label, shown)

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        """Begin a phase, again for a further one.

        Args:
            total: number of its trials; None if it is not known, as of a search that ends by the clock.
            what: they are, for example "trials" or "fresh seeds".
            done: of them, those that an earlier start of the search has left; they do not count for the speed.
        """
        self._begin(total, what, done)

    def update(
        self,
        done: int,
        failed: int,
        stopped: int,
        best: tuple[float, int] | None,
        cpu_seconds: float,
        running: int = 0,
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
        if not self._shown:
            return
        parts = [f"{stopped} stopped"] if stopped else []
        parts += [f"{failed} failed"] if failed else []
        parts += [f"best {number_text(best[0])} (trial {best[1]})"] if best else []
        self._show(done, [*parts, _cpu(cpu_seconds)], running)


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
    """P(correct) by data, n and method, the means of metrics, and where the files are, on standard output.

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
    _print_table(console, table)
    meaning = []
    if True in truths:
        sequence = any(row["sequence_low"] is not None for row in rows)
        interval = "confidence sequence" if sequence else "95 % Clopper-Pearson interval"
        meaning.append(f"correct/runs and {interval} of P(correct), green from {level:g}")
    if False in truths:
        meaning.append("where the truth is unknown, the most frequent estimate and its share of the runs")
    console.print("; ".join(meaning), style="dim", soft_wrap=True)
    _print_metrics(console, rows)
    for name, path in files.items():
        console.print(f"{escape(name) + ':':<12} {escape(path)}", soft_wrap=True)


def _print_metrics(console: Console, cells: list[dict[str, Any]]) -> None:
    header, rows = metric_rows(cells)
    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < 2 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    _print_table(console, table)
    console.print("means over the runs, of metrics on hold-out rows at the estimated rank", style="dim", soft_wrap=True)


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


def print_search(tables: SearchTables, facts: Facts, files: Mapping[str, str]) -> None:
    """The best 5 finished trials beside the default, what they amount to, and where the files are, on standard output.

    Args:
        tables, facts: of the search.
        files: path by what is in it.
    """
    trials = tables.trials.to_pylist()
    done, paths = ranked(trials), parameter_paths(tables.trials)
    shown = done[:_MOST_TRIALS]
    default = default_trial(trials)
    if default is not None and default not in shown:
        shown.append(default)
    columns = []
    for row in shown:
        goals = row["objectives"] or [None] * len(facts.objectives)
        found = [row["origin"] if row["state"] == "finished" else row["state"]]
        found += [value_text(row[PARAMETER + path]) for path in paths]
        columns.append((str(row["number"]), [*found, *map(number_text, goals), value_text(row["dimension"])]))
    single = len(facts.objectives) == 1
    goal_names = ["objective"] if single else [f"objective {n + 1}" for n in range(len(facts.objectives))]
    console = Console(highlight=False)
    if columns:
        _print_columns(console, "trial", ["origin", *paths, *goal_names, "dimension"], columns, paths)
        console.print()
    names = facts.objectives[0] if single else "; ".join(f"{n + 1}: {o}" for n, o in enumerate(facts.objectives))
    counts = f"{facts.finished} finished, {facts.stopped} stopped, {facts.failed} failed trials"
    console.print(escape(f"objective {names}; {counts}, {_cpu(facts.cpu_seconds)}"), style="dim", soft_wrap=True)
    if facts.pairs or facts.best_number is not None:
        console.print(escape(comparison_sentence(facts)), soft_wrap=True)
    console.print(escape(dependence_sentence(tables.dimensions, facts.finished)), soft_wrap=True)
    for name, path in files.items():
        console.print(f"{escape(name) + ':':<12} {escape(path)}", soft_wrap=True)


def print_search_plan(
    parameters: Sequence[tuple[str, str, str]], proposals: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """What a search would try, on standard output.

    Args:
        parameters: path, values as text, and condition (empty for none) of each searched field.
        proposals: the first trials: origin, and value by path; at most 5 are shown.
    """
    console = Console(highlight=False)
    conditional = any(condition for _, _, condition in parameters)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("parameter", "values", *(["only where"] if conditional else [])):
        table.add_column(column, overflow="fold")
    for texts in parameters:
        table.add_row(*(Text(text) for text in texts[: 3 if conditional else 2]))
    _print_table(console, table)
    if not proposals:
        return
    console.print()
    paths = [path for path, _, _ in parameters]
    columns = [
        (str(number), [origin, *(value_text(values.get(path)) for path in paths)])
        for number, (origin, values) in enumerate(proposals[:_MOST_TRIALS])
    ]
    _print_columns(console, "trial", ["origin", *paths], columns, paths)


def _print_columns(
    console: Console,
    corner: str,
    names: Sequence[str],
    columns: Sequence[tuple[str, Sequence[str]]],
    paths: Sequence[str],
) -> None:
    """A table with a column for each trial, as there may be many parameters; their paths are cut where it is narrow."""

    def table(cut: Mapping[str, str]) -> Table:
        made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        made.add_column(corner, overflow="fold")
        for heading, _ in columns:
            made.add_column(Text(heading), justify="right", overflow="fold")
        for place, name in enumerate(names):
            made.add_row(Text(cut.get(name, name)), *(Text(texts[place]) for _, texts in columns))
        return made

    whole = table({})
    if console.is_terminal and console.measure(whole, options=_unlimited(console)).maximum > console.width:
        whole = table(_short_paths(paths))
    _print_table(console, whole)


def _print_table(console: Console, table: Table) -> None:
    """Print a table, without folding anything where there is no terminal: a file has no width."""
    if console.is_terminal:
        console.print(table)
        return
    width = console.measure(table, options=_unlimited(console)).maximum
    Console(highlight=False, width=max(100, width)).print(table)


def _unlimited(console: Console) -> ConsoleOptions:
    return console.options.update(width=100_000)


def _short_paths(paths: Sequence[str]) -> dict[str, str]:
    """The last part of each path, as many parts as tell it from the others."""
    cut = {}
    for path in paths:
        parts = path.split(".")
        for kept in range(1, len(parts) + 1):
            tail = parts[-kept:]
            if sum(other.split(".")[-kept:] == tail for other in paths) == 1:
                break
        cut[path] = ".".join(tail)
    return cut
