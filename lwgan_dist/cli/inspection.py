"""``show``, ``metrics`` and ``validate``: what a folder holds, how good its model is, and whether a file is valid."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lwgan_dist.cli.common import (
    check_comparison,
    check_manifold,
    check_search,
    check_study,
    guarded,
    json_option,
    metric_names,
    show_result,
    without_infinities,
)
from lwgan_dist.cli.comparisons import content_of
from lwgan_dist.cli.searches import content_of_search
from lwgan_dist.errors import ConfigError

if TYPE_CHECKING:
    from lwgan_dist.storage import Folder


@click.command()
@click.argument("run_dir")
@json_option
@guarded
def show(run_dir: str, as_json: bool) -> None:
    """Show the configuration and result of a run, or how far it is; of a study, search or comparison its tables."""
    from lwgan_dist.campaign.folder import LEDGER
    from lwgan_dist.campaign.ledger import Ledger
    from lwgan_dist.compare.record import RunRecord
    from lwgan_dist.logs import printable
    from lwgan_dist.run.folder import CONFIG_FILE, ENVIRONMENT_FILE, RESULT_FILE, Environment, read_result
    from lwgan_dist.search.trials import TrialRecord
    from lwgan_dist.storage import Folder, damage_named
    from lwgan_dist.training.loop import PROGRESS_FILE, ProgressRecord

    folder = Folder.at(run_dir)
    tables = {"cells.parquet": _show_study, "compare.parquet": _show_comparison, "facts.json": _show_search}
    for name, show_tables in tables.items():
        if folder.has(name):
            with damage_named(folder.location):
                show_tables(folder, as_json)
            return
    environment = folder.read_json(ENVIRONMENT_FILE, Environment) if folder.has(ENVIRONMENT_FILE) else Environment()
    if environment.comparison is not None:
        ended = len(Ledger(folder.sub(LEDGER), RunRecord).keys())
        raise ConfigError(f"{folder.location}: a comparison under way or interrupted, of which {ended} runs have ended")
    if environment.search is not None:
        ended = len(Ledger(folder.sub(LEDGER), TrialRecord).keys())
        raise ConfigError(f"{folder.location}: a search under way or interrupted, of which {ended} trials have ended")
    if environment.study is not None:
        raise ConfigError(f"{folder.location}: a study under way or interrupted; the same command goes on with it")
    finished = folder.has(RESULT_FILE) or not folder.has(PROGRESS_FILE)
    progress = None if finished else folder.read_json(PROGRESS_FILE, ProgressRecord)
    result = read_result(folder) if progress is None else None
    if not as_json and folder.has(CONFIG_FILE):
        click.echo("\n".join(map(printable, folder.read(CONFIG_FILE).decode(errors="replace").splitlines())) + "\n")
    if result is not None:
        with damage_named(folder.location):
            show_result(result, folder.location, as_json)
    elif progress is not None:
        done = f"not finished: {progress.iteration} of {progress.iterations} iterations ({printable(progress.stage)})"
        click.echo(progress.model_dump_json() if as_json else done)


@click.command(short_help="How good the model of a finished run is.")
@click.argument("run_dir")
@click.option("--names", metavar="NAME,...", help="The metrics.  [default: all that apply]")
@json_option
@guarded
def metrics(run_dir: str, names: str | None, as_json: bool) -> None:
    """Show metrics of a finished run on its hold-out rows, each with its noise floor. Those that its result lacks are
    computed, for which the data are read again, and entered in it. docs/guide/metrics.md says what each is.
    """
    from lwgan_dist.run.run import Run
    from lwgan_dist.storage import Folder

    folder = Folder.at(run_dir)
    run = Run.of(folder)
    show_result(run.measure(folder, metric_names(names) or run.metrics), folder.location, as_json)


@click.command(short_help="One page for a run, study, search or comparison.")
@click.argument("folder")
@click.option("--open", "shown", is_flag=True, help="Open the page in the browser.")
@click.option("--compare", "beside", metavar="RUN_DIR", help="Another finished run, to be set beside this one.")
@guarded
def report(folder: str, shown: bool, beside: str | None) -> None:
    """Write the page of a finished run, report.html in its folder, and say where it is: the answer, the evidence for
    it, the rows and columns that the model explains worst, what it generates. A study, a search and a comparison have
    their page already; of these, it says where it is. A page is one file, with nothing from elsewhere.
    """
    from lwgan_dist.reporting.files import PAGE
    from lwgan_dist.run.folder import RESULT_FILE
    from lwgan_dist.storage import Folder

    place = Folder.at(folder)
    if place.has(PAGE) and not place.has(RESULT_FILE):
        if beside:
            raise ConfigError(f"--compare: {place.location} holds no run; runs are set beside each other")
        location = f"{place.location}/{PAGE}"
    else:
        from lwgan_dist.run.report import write_report

        location = write_report(place, Folder.at(beside) if beside else None)
    click.echo(location)
    if shown and place.local is None:
        raise ConfigError(f"--open: {location} is not on this machine")
    if shown:
        click.launch(location)


def _show_study(folder: "Folder", as_json: bool) -> None:
    from lwgan_dist.study.publish import study_files
    from lwgan_dist.study.tables import CELLS, SOLVED
    from lwgan_dist.study.terminal import print_solved, print_study

    cells, files = folder.read_table("cells.parquet", CELLS), study_files(folder)
    solved = folder.read_table("solved.parquet", SOLVED) if folder.has("solved.parquet") else None
    if as_json:
        content = {"cells": cells.to_pylist(), "files": files}
        content |= {"solved": solved.to_pylist()} if solved else {}
        click.echo(json.dumps(without_infinities(content), allow_nan=False))
    elif solved:
        print_solved(solved, files)
    else:
        print_study(cells, files)


def _show_search(folder: "Folder", as_json: bool) -> None:
    from lwgan_dist.search.publish import read_published
    from lwgan_dist.search.terminal import print_search

    published = read_published(folder)
    if as_json:
        click.echo(json.dumps(without_infinities(content_of_search(published)), allow_nan=False))
    else:
        print_search(published.tables, published.facts, published.files)


def _show_comparison(folder: "Folder", as_json: bool) -> None:
    from lwgan_dist.compare.publish import compare_files, read_tables
    from lwgan_dist.compare.terminal import print_comparison

    tables, files = read_tables(folder), compare_files(folder)
    if as_json:
        click.echo(json.dumps(without_infinities(content_of(tables, files)), allow_nan=False))
    else:
        print_comparison(tables, files)


@click.command()
@click.argument("config_file", metavar="CONFIG.yaml", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of such files, for editors.")
@click.option(
    "--kind",
    type=click.Choice(["train", "study", "tune", "compare"]),
    help="The command it is for.  [default: by its keys]",
)
@guarded
def validate(config_file: str | None, schema: bool, kind: str | None) -> None:
    """Check a configuration for ``lwgan-dist train``, ``study``, ``tune`` or ``compare`` without starting anything."""
    from lwgan_dist.compare.config import CompareConfig
    from lwgan_dist.config import TrainConfig
    from lwgan_dist.configfile import json_schema, located, read_config, read_yaml
    from lwgan_dist.search.config import SearchConfig
    from lwgan_dist.study.config import StudyConfig

    models: dict[str, type[Any]] = {
        "train": TrainConfig, "study": StudyConfig, "tune": SearchConfig, "compare": CompareConfig,
    }  # fmt: skip
    if schema:
        click.echo(json_schema(models[kind or "train"]))
        return
    if config_file is None:
        raise ConfigError("validate needs a CONFIG.yaml, or --schema")
    document = read_yaml(config_file)
    kind = kind or _kind_of(document)
    config = read_config(models[kind], config_file, document=document)
    if kind == "train":
        with located(config_file, ()):
            check_manifold(config)
    else:
        checks: dict[str, Callable[[Any, str, tuple[str, ...]], None]]
        checks = {"tune": check_search, "study": check_study, "compare": check_comparison}
        checks[kind](config, config_file, ())
    click.echo(f"{config_file}: ok")


def _kind_of(config: dict[str, Any]) -> str:
    """The command that a file is for."""
    if "space" in config or ("run" in config and "data" not in config):
        return "tune"
    of_studies = {"lwgan", "classical", "factors", "stop_when", "solve", "bootstrap", "level", "keep_runs"}
    if "models" in config and not of_studies & set(config):
        return "compare"
    return "study" if isinstance(config.get("data"), list) else "train"
