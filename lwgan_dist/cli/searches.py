"""``tune``: a search for settings."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from lwgan_dist.cli.common import (
    WithForms,
    at_address,
    campaign_options,
    check_device,
    check_name,
    check_search,
    guarded,
    json_option,
    overrides,
    recorded_folder,
    tell,
    without_infinities,
)
from lwgan_dist.errors import RunFailedError
from lwgan_dist.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from lwgan_dist.campaign.progress import Standing
    from lwgan_dist.reporting.terminal import SearchProgress
    from lwgan_dist.search.config import Parameter
    from lwgan_dist.search.publish import Published
    from lwgan_dist.search.replay import Replayed
    from lwgan_dist.search.search import Outcome as SearchOutcome
    from lwgan_dist.search.search import Search


@click.command(short_help="What other rules say of the trials that a search has.")
@click.argument("folder", metavar="DIR")
@overrides
@json_option
@guarded
def replay(folder: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Judge the trials in the folder of a search again: key=value changes the rank rule (run.score), the objective, the
    settings of successive halving (scheduler) or the end of the search (budget). Nothing is fitted or written.

    What the ledger cannot answer is said: a trial that was stopped, and would have gone on, has no end there.
    """
    from lwgan_dist.configfile import read_config
    from lwgan_dist.run.folder import CONFIG_FILE
    from lwgan_dist.search.config import SearchConfig
    from lwgan_dist.search.space import located_space

    source = recorded_folder(folder, "search")
    file = f"{source.location}/{CONFIG_FILE}"
    before, config = read_config(SearchConfig, file), read_config(SearchConfig, file, changes)
    check_search(config, file, changes)
    with located_space(file, changes):
        from lwgan_dist.search.replay import replay as replayed

        result = replayed(config, before, source)
    _show_replayed(result, as_json)


def _show_replayed(result: "Replayed", as_json: bool) -> None:
    from lwgan_dist.search.publish import drawn, search_caveats
    from lwgan_dist.search.replay import recorded_sentence
    from lwgan_dist.search.terminal import print_search

    published, sentence = drawn(result.search, result.outcome), recorded_sentence(result)
    for note in [*search_caveats(result.search, result.outcome), *result.supposed, *result.unanswered]:
        tell(f"note: {note}")
    if as_json:
        content = {**content_of_search(published), "recorded": sentence, "unanswered": result.unanswered}
        click.echo(json.dumps(without_infinities(content), allow_nan=False))
        return
    print_search(published.tables, published.facts, {})
    click.echo(f"judged again, nothing fitted. {sentence}")


class _Tune(WithForms):
    forms: ClassVar = {"replay": replay}


@click.command(cls=_Tune, short_help="Which settings are best, and does the estimate depend on them?")
@campaign_options("search", "searches", "the space, the first proposals and the cost of a trial")
def tune(
    config_file: str, changes: tuple[str, ...], name: str | None, storage: str, address: str | None,
    dry_run: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Run the search that CONFIG.yaml describes: trials of a model with other settings on the same data, the best of
    them beside the default on fresh seeds, and of an LWGAN how much the estimated dimension depends on the settings.

    The same command goes on with a search that was interrupted; with a larger budget, only what is new is computed.
    Exit code 3: trials did not finish, or failed.

    lwgan-dist tune replay DIR [key=value ...] asks what other rules say of its trials.
    """
    from lwgan_dist.configfile import read_config
    from lwgan_dist.search.config import SearchConfig
    from lwgan_dist.search.space import located_space

    check_name(name)
    config = at_address(read_config(SearchConfig, config_file, changes), address)
    check_search(config, config_file, changes)
    check_device(config.execution)
    from lwgan_dist.search.search import Search
    from lwgan_dist.storage import Folder, inside

    label = name or Path(config_file).stem
    with located_space(config_file, changes):
        prepared = Search(config, Folder.at(inside(storage, label)))
    if dry_run:
        _show_search_plan(prepared, as_json)
        return
    _execute_search(prepared, label, as_json, verbose)


def _show_search_plan(prepared: "Search", as_json: bool) -> None:
    from lwgan_dist.models.pilot import fit_seconds
    from lwgan_dist.search.terminal import print_search_plan

    config = prepared.config
    seconds = fit_seconds(prepared.default, prepared.sample)
    proposals = prepared.first_proposals()
    trials = prepared.trial_count
    runs = trials * config.seeds_per_trial + 2 * config.fresh_seeds
    if as_json:
        content = {"trials": trials, "runs": runs, "cpu_seconds_of_default": seconds, "ended": prepared.ended,
                   "proposals": [{"origin": item.origin, "values": item.values} for item in proposals]}  # fmt: skip
        click.echo(json.dumps(content))
        return
    print_search_plan(
        [(path, _values_text(item), _condition_text(item)) for path, item in config.space.items()],
        [(item.origin, item.values or prepared.space.values_of(prepared.default)) for item in proposals],
    )
    cpus = config.execution.cpus_per_worker * max(1, int(config.execution.workers))  # type: ignore[arg-type]
    click.echo(
        f"\n{trials} trials of {config.seeds_per_trial} run(s) and {2 * config.fresh_seeds} runs on fresh seeds at "
        f"the end (none if the default is best); the first {prepared.ended} have ended already. The default takes "
        f"some {seconds:.2g} CPU seconds, estimated from a pilot on this machine: {runs * seconds / 3600:.2g} "
        f"CPU hours if all are like it. A trial needs {cpus:g} CPU(s). In {prepared.folder.location}"
    )


def _values_text(parameter: "Parameter") -> str:
    """``loguniform 0.1 .. 10``."""
    values = getattr(parameter, parameter.kind)
    if parameter.kind in ("choice", "grid"):
        return f"{parameter.kind} {', '.join(json.dumps(value) for value in values)}"
    step = f", step {parameter.step}" if parameter.step != 1 else ""
    return f"{parameter.kind} {values[0]:g} .. {values[1]:g}{step}{', log' if parameter.log else ''}"


def _condition_text(parameter: "Parameter") -> str:
    return ", ".join(f"{path} = {json.dumps(value)}" for path, value in parameter.when.items())


class _Shown:
    """The progress of a search, see `lwgan_dist.campaign.progress.Progress`, in a line of the terminal."""

    def __init__(self, line: "SearchProgress") -> None:
        self._line = line

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        self._line.begin(total, what, done)

    def update(self, standing: "Standing") -> None:
        self._line.update(**vars(standing))


def _execute_search(prepared: "Search", label: str, as_json: bool, verbose: bool) -> None:
    from lwgan_dist.reporting.terminal import SearchProgress
    from lwgan_dist.search.publish import publish, search_caveats
    from lwgan_dist.search.terminal import print_search

    if changed := prepared.changed:
        tell(
            f"note: {', '.join(changed)}: differs from the command before in {prepared.folder.location}; trials that "
            "are alike are kept, tables and figures become those of this command (--name keeps both)"
        )
    published: list[Published] = []
    with SearchProgress(label) as line:

        def written(outcome: "SearchOutcome") -> None:
            line.say(f"{label}  writes tables, figures and pages")
            published.append(publish(prepared, outcome, label))

        try:
            outcome = prepared.execute(_Shown(line), written, verbose=verbose)
        except KeyboardInterrupt:
            tell("interrupted: finished trials are kept, the same command goes on with the others")
            sys.exit(INTERRUPTED)
    (result,) = published
    if outcome.judged_again:
        tell(
            f"note: {outcome.judged_again} trials and runs of earlier commands were judged again by the rank rule of "
            "this one, from their recorded scores"
        )
    for note in search_caveats(prepared, outcome):
        tell(f"note: {note}")
    if as_json:
        content = {**content_of_search(result), "unfinished": outcome.unfinished}
        click.echo(json.dumps(without_infinities(content), allow_nan=False))
    else:
        print_search(result.tables, result.facts, result.files)
    problems = []
    if outcome.unfinished:
        reasons = "; ".join(f"{what}: {reason}" for what, reason in list(outcome.unfinished.items())[:5])
        problems.append(
            f"{len(outcome.unfinished)} trials or runs did not finish, the same command tries them again ({reasons})"
        )
    if result.facts.failed:
        problems.append(f"{result.facts.failed} trials failed; they are listed with their reasons in the summary")
    failures = result.facts.best_failures + result.facts.default_failures
    if failures:
        problems.append(f"{failures} runs of the comparison on fresh seeds failed")
    if problems:
        raise RunFailedError("\n".join(problems))


def content_of_search(published: "Published") -> dict[str, Any]:
    """What ``--json`` prints of a search."""
    from dataclasses import asdict

    tables = {name: table.to_pylist() for name, table in vars(published.tables).items() if name != "runs"}
    return {"facts": asdict(published.facts), **tables, "files": published.files}
