"""``compare``: several models on the same samples."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lwgan_dist.cli.common import at_address, campaign_options, check_device, check_name, executed, without_infinities
from lwgan_dist.errors import RunFailedError

if TYPE_CHECKING:
    from lwgan_dist.compare.comparison import Comparison
    from lwgan_dist.compare.tables import CompareTables


@click.command(short_help="How good are several models on the same data?")
@campaign_options("comparison", "comparisons", "models, number of runs and, from a pilot, their cost")
def compare(
    config_file: str, changes: tuple[str, ...], name: str | None, storage: str, address: str | None,
    dry_run: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Run the comparison that CONFIG.yaml describes: models on the same samples over replicates, their metrics with
    intervals and paired differences, and what they generate beside the data.

    The same command goes on with a comparison that was interrupted; with more models, data, sizes or replicates, only
    what is new is computed. Exit code 3: runs did not finish, or failed.
    """
    from lwgan_dist.compare.config import CompareConfig
    from lwgan_dist.configfile import located, read_config

    check_name(name)
    config = at_address(read_config(CompareConfig, config_file, changes), address)
    check_device(config.execution)
    from lwgan_dist.compare.comparison import Comparison
    from lwgan_dist.storage import Folder, inside

    label = name or Path(config_file).stem
    with located(config_file, changes, CompareConfig):
        prepared = Comparison(config, Folder.at(inside(storage, label)))
    if dry_run:
        _show_plan(prepared, as_json)
        return
    _execute(prepared, label, as_json, verbose)


def _show_plan(prepared: "Comparison", as_json: bool) -> None:
    from lwgan_dist.compare.plan import plan
    from lwgan_dist.compare.terminal import print_plan

    lines = plan(prepared)
    missing = len(prepared.missing())
    seconds = sum(line.cpu_seconds * line.missing for line in lines)
    if as_json:
        content = [vars(line) for line in lines]
        click.echo(json.dumps({"missing": missing, "cpu_seconds": seconds, "plan": content}))
        return
    print_plan(lines)
    click.echo(
        f"{len({run.key for run in prepared.design.runs()})} runs, {missing} of them still to be done: some "
        f"{seconds / 3600:.2g} CPU hours, estimated from a pilot on this machine, in {prepared.folder.location}"
    )


def _execute(prepared: "Comparison", label: str, as_json: bool, verbose: bool) -> None:
    from lwgan_dist.compare.publish import caveats, compare_files, publish
    from lwgan_dist.compare.terminal import print_comparison

    outcome = executed(prepared, label, publish, caveats, verbose=verbose)
    files = compare_files(prepared.folder)
    if as_json:
        content = {**content_of(outcome.tables, files), "unfinished": outcome.unfinished, "failed": outcome.failed}
        click.echo(json.dumps(without_infinities(content), allow_nan=False))
    else:
        print_comparison(outcome.tables, files)
    problems = []
    if outcome.unfinished:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in list(outcome.unfinished.items())[:5])
        problems.append(f"{len(outcome.unfinished)} runs did not finish, the same command tries them again ({reasons})")
    if outcome.failed:
        problems.append(f"{outcome.failed} runs failed; they are listed with their reasons in the summary")
    if problems:
        raise RunFailedError("\n".join(problems))


def content_of(tables: "CompareTables", files: dict[str, str]) -> dict[str, Any]:
    """What ``--json`` prints of a comparison."""
    return {"compare": tables.compare.to_pylist(), "rates": tables.rates.to_pylist(), "files": files}
