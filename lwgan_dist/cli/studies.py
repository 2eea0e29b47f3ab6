"""``study``: many runs, and their tables."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from lwgan_dist.cli.common import (
    WithForms,
    at_address,
    campaign_options,
    check_device,
    check_name,
    executed,
    guarded,
    json_option,
    located_study,
    overrides,
    recorded_folder,
    tell,
    without_infinities,
)
from lwgan_dist.errors import ConfigError, RunFailedError

if TYPE_CHECKING:
    from lwgan_dist.study.rejudge import Rejudged
    from lwgan_dist.study.study import Study


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR DIR ...")
@click.option("--out", required=True, metavar="DIR", help="New folder of the study that has the runs of all.")
@guarded
def merge(folders: tuple[str, ...], out: str) -> None:
    """Join folders of one study: its parts (study --part), or what two people have computed of it.

    A run that is in several folders counts once. Two results of one run, and studies that differ in configuration,
    precision or versions, are refused with the reason. The command that is shown makes the tables.
    """
    from lwgan_dist.storage import Folder
    from lwgan_dist.study import merge as merging

    target = Folder.at(out)
    counts = merging.merge([Folder.at(folder) for folder in folders], target)
    for folder, count in zip(folders, counts, strict=True):
        click.echo(f"{folder}: {count} runs")
    above = target.location.removesuffix(f"/{target.name}")
    click.echo(f"{target.location}: {sum(counts)} runs; its tables, and what is missing, are made by")
    click.echo(f"lwgan-dist study {target.location}/config.yaml --storage {above} --name {target.name}")


@click.command(short_help="Can a study use this class as an estimator?")
@click.argument("name", metavar="PACKAGE:CLASS")
@guarded
def check(name: str) -> None:
    """Whether a class with fit(X).dimension_ can be an estimator of a study, and what it does not meet.

    In a study: classical: {estimators: [{import: "PACKAGE:CLASS"}]}. Its code is imported and run.
    """
    from lwgan_dist.study.imported import complaints

    if found := complaints(name):
        raise ConfigError("\n".join(f"{name}: {sentence}" for sentence in found))
    click.echo(f"{name}: ok")


@click.command(short_help="What other rules say of the runs that a study has.")
@click.argument("folder", metavar="DIR")
@overrides
@json_option
@guarded
def rejudge(folder: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Judge the runs in the folder of a study again: key=value changes rank rules (run.score, lwgan.rules), the
    stopping rule (stop_when), the search for n (solve), replicates or level. Nothing is fitted or written.

    What the ledger cannot answer is said: a rule that goes on longer than the study did asks for runs that there are
    not. lwgan-dist study with the same changes computes them.
    """
    from lwgan_dist.configfile import read_config
    from lwgan_dist.run.folder import CONFIG_FILE
    from lwgan_dist.study.config import StudyConfig

    source = recorded_folder(folder, "study")
    file = f"{source.location}/{CONFIG_FILE}"
    config = read_config(StudyConfig, file, changes)
    with located_study(config, file, changes):
        from lwgan_dist.study.rejudge import rejudge as judged
        from lwgan_dist.study.study import Study

        prepared = Study(config, source)
    _show_rejudged(prepared, judged(prepared), as_json)


def _show_rejudged(prepared: "Study", result: "Rejudged", as_json: bool) -> None:
    from lwgan_dist.reporting.terminal import cpu_text
    from lwgan_dist.study.publish import study_caveats
    from lwgan_dist.study.terminal import print_solved, print_study

    tables, used, recorded = result.outcome.tables, result.used, result.recorded
    for note in [*study_caveats(prepared, result.outcome), *result.unanswered]:
        tell(f"note: {note}")
    if as_json:
        content = {
            "cells": tables.cells.to_pylist(), "trends": tables.trends.to_pylist(), "used": vars(used),
            "recorded": vars(recorded), "unanswered": result.unanswered,
        }  # fmt: skip
        if tables.solved is not None:
            content["solved"] = tables.solved.to_pylist()
        click.echo(json.dumps(without_infinities(content), allow_nan=False))
        return
    if tables.solved is not None:
        print_solved(tables.solved, {})
    else:
        print_study(tables.cells, {})
    click.echo(
        f"judged again, nothing fitted: {used.runs} runs, {cpu_text(used.cpu_seconds)}, of the {recorded.runs} in the "
        f"ledger, {cpu_text(recorded.cpu_seconds)}"
    )


@click.command(short_help="The leaderboard of a study, as a table and a page.")
@click.argument("folder", metavar="DIR")
@click.option("--out", required=True, metavar="DIR", help="Folder of the leaderboard; an earlier one is replaced.")
@guarded
def publish(folder: str, out: str) -> None:
    """Write leaderboard.parquet and leaderboard.html, a single file, from the tables of a study: of each method on each
    data set P(correct) with its interval, mean error, CPU seconds and the number of independent draws.
    """
    from datetime import UTC, datetime

    from lwgan_dist.storage import Folder
    from lwgan_dist.study import leaderboard

    target = Folder.at(out)
    table = leaderboard.publish(recorded_folder(folder, "study"), target, datetime.now(UTC).date())
    click.echo(f"{table.num_rows} rows, methods by data: {target.location}/{leaderboard.TABLE}")
    click.echo(f"page: {target.location}/{leaderboard.PAGE}")


@click.command(short_help="The samples and methods of a study as a benchmark that others can join.")
@click.argument("folder", metavar="DIR")
@click.option("--benchopt", "out", required=True, metavar="DIR", help="New folder of the benchmark.")
@click.option(
    "--draws", type=click.IntRange(1), default=3, show_default=True, help="Samples of each data set and n, the first."
)
@guarded
def export(folder: str, out: str, draws: int) -> None:
    """Write a study as a benchopt benchmark: its samples of known dimension as data sets, its methods as solvers,
    |estimate - truth| as objective.
    """
    from lwgan_dist.campaign.folder import read_environment
    from lwgan_dist.configfile import read_config
    from lwgan_dist.run.folder import CONFIG_FILE
    from lwgan_dist.storage import Folder
    from lwgan_dist.study.benchopt import export as write
    from lwgan_dist.study.config import StudyConfig

    source, target = recorded_folder(folder, "study"), Folder.at(out)
    file = f"{source.location}/{CONFIG_FILE}"
    config = read_config(StudyConfig, file)
    with located_study(config, file, ()):
        result = write(config, read_environment(source, "study")["precision"], source.name, target, draws)
    for sentence in result.left_out:
        tell(f"note: {sentence}")
    click.echo(f"{target.location}: {result.samples} samples, solvers {', '.join(result.solvers)}; with benchopt,")
    click.echo(f"benchopt test {target.location} --skip-install")


class _Study(WithForms):
    forms: ClassVar = {"merge": merge, "rejudge": rejudge, "publish": publish, "export": export}


def _part(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int]:
    """``2/3`` as numbers."""
    if text is None:
        return 1, 1
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise click.BadParameter(f"{text!r}: is K/N with K from 1 to N, as 1/2 and 2/2")
    return int(part), int(parts)


@click.command(cls=_Study, short_help="Is the estimate right, and from which n on?")
@click.option(
    "--part", metavar="K/N", callback=_part,
    help="Compute every N-th replicate only, from number K on: N machines share a study, study merge joins them.",
)  # fmt: skip
@campaign_options("study", "studies", "cells, number of runs and, from a pilot, their cost")
def study(
    config_file: str, changes: tuple[str, ...], name: str | None, storage: str, address: str | None,
    dry_run: bool, as_json: bool, verbose: bool, part: tuple[int, int],
) -> None:  # fmt: skip
    """Run the consistency study that CONFIG.yaml describes: many estimates over data, sample sizes, methods and
    replicates, and how often they are right.

    The same command goes on with a study that was interrupted; with more sizes, data or replicates, only what is new is
    computed. With solve in the configuration, the n that P(correct) needs is searched for. Exit code 3: runs did not
    finish, or runs of models diverged.

    lwgan-dist study merge DIR DIR --out DIR joins what several machines have computed of one study; study rejudge DIR
    [key=value ...] asks what other rules say of its runs; study publish DIR --out DIR makes a leaderboard,
    study export DIR --benchopt DIR a benchmark that others can join.
    """
    from lwgan_dist.configfile import read_config
    from lwgan_dist.study.config import StudyConfig

    check_name(name)
    config = at_address(read_config(StudyConfig, config_file, changes), address)
    label = name or Path(config_file).stem
    with located_study(config, config_file, changes):
        check_device(config.execution)
        from lwgan_dist.storage import Folder, inside
        from lwgan_dist.study.study import Study

        prepared = Study(config, Folder.at(inside(storage, label)), part)
    if dry_run:
        _show_plan(prepared, as_json)
        return
    _execute_study(prepared, label, as_json, verbose)


def _show_plan(prepared: "Study", as_json: bool) -> None:
    from dataclasses import asdict

    from lwgan_dist.study.pilot import plan
    from lwgan_dist.study.terminal import print_plan

    lines = plan(prepared)
    seconds = sum(line.cpu_seconds_missing for line in lines)
    if as_json:
        content = {"cells": prepared.design.cells(), "cpu_seconds": seconds, "plan": [asdict(line) for line in lines]}
        click.echo(json.dumps(content))
        return
    print_plan([asdict(line) for line in lines])
    runs, missing = sum(line.runs for line in lines), sum(line.missing for line in lines)
    refits = sum(line.refits for line in lines)
    also = f" and {refits} bootstrap refits" if refits else ""
    click.echo(
        f"{prepared.design.cells()} cells, {runs} runs, {missing} of them{also} still to be done: some "
        f"{seconds / 3600:.2g} CPU hours, estimated from a pilot on this machine, in {prepared.folder.location}"
    )
    if prepared.config.stop_when:
        click.echo("and further replicates on demand (stop_when)")
    if solve := prepared.config.solve:
        click.echo(
            f"and what the searches for n ask for (solve), at most {solve.max_runs} runs for each data and method"
        )


def _execute_study(prepared: "Study", label: str, as_json: bool, verbose: bool) -> None:
    from lwgan_dist.study.publish import publish as publish_study
    from lwgan_dist.study.publish import study_caveats, study_files
    from lwgan_dist.study.terminal import print_solved, print_study

    outcome = executed(prepared, label, publish_study, study_caveats, verbose=verbose)
    files = study_files(prepared.folder)
    if as_json:
        content = {"cells": outcome.tables.cells.to_pylist(), "trends": outcome.tables.trends.to_pylist(),
                   "runs": outcome.planned, "unfinished": outcome.unfinished, "diverged": outcome.diverged,
                   "files": files}  # fmt: skip
        if outcome.tables.solved is not None:
            content["solved"] = outcome.tables.solved.to_pylist()
        click.echo(json.dumps(without_infinities(content), allow_nan=False))
    elif outcome.tables.solved is not None:
        print_solved(outcome.tables.solved, files)
    else:
        print_study(outcome.tables.cells, files)
    problems = []
    if outcome.unfinished:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in list(outcome.unfinished.items())[:5])
        problems.append(
            f"{len(outcome.unfinished)} of {outcome.planned} runs did not finish, the same command tries them again "
            f"({reasons})"
        )
    if outcome.diverged:
        what = "runs" if prepared.config.models else "LWGAN runs"
        problems.append(f"{outcome.diverged} {what} diverged; they count as incorrect and are listed in the summary")
    if problems:
        raise RunFailedError("\n".join(problems))
