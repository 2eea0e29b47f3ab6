"""The command line. Heavy imports (torch, Ray, matplotlib) happen inside the commands, so that ``--help`` is quick."""

import difflib
import errno
import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lwgan_dist.errors import ConfigError, DataError, RunFailedError, UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lwgan_dist.config import ExecutionConfig, RunConfig
    from lwgan_dist.results import RunResult
    from lwgan_dist.search.config import Parameter, SearchConfig
    from lwgan_dist.search.publish import Published
    from lwgan_dist.search.search import Outcome as SearchOutcome
    from lwgan_dist.search.search import Search
    from lwgan_dist.storage import Folder
    from lwgan_dist.study.config import StudyConfig
    from lwgan_dist.study.study import Outcome, Study

Many = TypeVar("Many", "StudyConfig", "SearchConfig")

INTERRUPTED = 130

UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
"""A folder or file that was named and cannot be used; the person can name another."""
BROKEN = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.ESTALE}
"""A disk that is full or fails under a run."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lwgan-dist")
def main() -> None:
    """Learn the intrinsic dimension of data with latent Wasserstein GANs.

    \b
    lwgan-dist estimate table.parquet          the dimension of a table, with the evidence
    lwgan-dist train CONFIG.yaml               a run as a file says, on any number of workers
    lwgan-dist study CONFIG.yaml               is the estimate right, and from which n on?
    lwgan-dist tune CONFIG.yaml                which settings are best, and does the estimate depend on them?
    lwgan-dist generate RUN_DIR --num 1000 --out new.parquet
    lwgan-dist show RUN_DIR                    what a run was told, what it says
    lwgan-dist validate CONFIG.yaml            check a configuration

    \b
    Exit codes: 0 ok, 2 usage or configuration, 3 a run failed, 4 data rejected,
    5 cluster unreachable or refused, 130 interrupted.
    """  # noqa: D301  (click wants the character)


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Report what the user can mend as one message, with its exit code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
        try:
            command(*args, **kwargs)
        except UserError as error:
            _report(str(error))
            sys.exit(error.exit_code)
        except OSError as error:
            if error.errno is not None and error.errno not in UNUSABLE | BROKEN:  # pyarrow's, of a network, have none
                raise
            _report(f"{error.filename or 'input or output'}: {error.strerror or error}")
            sys.exit(ConfigError.exit_code if error.errno in UNUSABLE else RunFailedError.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on from the last checkpoint, if one was written", err=True)
            sys.exit(INTERRUPTED)

    return guarded


def _report(message: str) -> None:
    for line in message.splitlines():
        click.echo(f"error: {line}", err=True)


_overrides = click.argument("changes", nargs=-1, metavar="[key=value ...]")
_workers = click.option(
    "--workers",
    type=click.IntRange(0),
    default=None,
    help="Worker processes under Ray; 0: in this process, without Ray.  [default: 0, or as the file says]",
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, nothing else there.")
_dry_run = click.option("--dry-run", is_flag=True, help="Show the resolved configuration and stop.")
_verbose = click.option("-v", "--verbose", is_flag=True, help="Show what Ray says.")


@main.command(short_help="Estimate the intrinsic dimension of a table.")
@click.argument("data")
@_overrides
@click.option(
    "--max-dimension", type=click.IntRange(1), help="The largest rank considered.  [default: columns, at most 10]"
)
@click.option("--schedule", type=click.Choice(["fast", "paper"]), default="fast", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the run.")
@click.option("--out", metavar="DIR", help="The run folder.  [default: runs/<data>-<fingerprint>]")
@_workers
@_dry_run
@_json
@_verbose
@_guarded
def estimate(
    data: str, changes: tuple[str, ...], max_dimension: int | None, schedule: str, seed: int, out: str | None,
    workers: int | None, dry_run: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Estimate the intrinsic dimension of DATA, with the evidence for it and a generator.

    DATA is a table (.parquet, .arrow, .feather, .npy, .npz, .csv, .csv.gz, a folder of Parquet files) or the name of a
    manifold of known dimension (s_curve, hyperplane, sphere, ...). Any field of the configuration can be set by
    key=value, for example data.columns=[a,b] schedule.matching_iterations=3000 precision=bfloat16.
    """
    from lwgan_dist.config import TrainConfig
    from lwgan_dist.configfile import build_config, located, parse_overrides

    is_manifold = _is_manifold(data)
    told: dict[str, Any] = {
        "data": {"source": "manifold", "name": data} if is_manifold else {"source": "table", "path": data},
        "schedule": {"name": schedule},
        "seed": seed,
        "execution": {"workers": 0 if workers is None else workers},
    }
    if max_dimension is not None:
        told["networks"] = {"latent_dim": max_dimension}
    config = build_config(TrainConfig, told, parse_overrides(changes))
    name = data if is_manifold else Path(data).name.split(".")[0] or "table"
    with located(None, changes):
        _carry_out(config.run(), config.execution, name, out, dry_run, as_json, verbose)


def _is_manifold(data: str) -> bool:
    """Whether DATA names a manifold and no file.

    Raises:
        DataError: neither, but it looks like the name of one.
    """
    from typing import get_args

    from lwgan_dist.config import ManifoldName

    names = get_args(ManifoldName)
    if os.path.exists(data):
        return False
    if data not in names and re.fullmatch(r"[\w-]+", data):
        close = difflib.get_close_matches(data.lower().replace("-", "_"), names, n=1)
        hint = f"did you mean the manifold {close[0]}?" if close else f"manifolds are {', '.join(names)}"
        raise DataError(f"{data}: no such file or folder; {hint}")
    return data in names


@main.command(short_help="Carry out a run as a file says.")
@click.argument("config_file", metavar="CONFIG.yaml")
@_overrides
@click.option("--name", help="Name of the run; its folder is STORAGE/NAME.  [default: <config>-<fingerprint>]")
@click.option("--storage", metavar="DIR", default="runs", show_default=True, help="Folder or URI that holds runs.")
@_workers
@_dry_run
@_json
@_verbose
@_guarded
def train(
    config_file: str, changes: tuple[str, ...], name: str | None, storage: str,
    workers: int | None, dry_run: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Carry out the run that CONFIG.yaml describes. The same command goes on with a run that was interrupted, and
    answers at once for one that is finished.
    """
    from lwgan_dist.config import TrainConfig
    from lwgan_dist.configfile import located, read_config

    _check_name(name)
    config = read_config(TrainConfig, config_file, changes)
    execution = config.execution
    if workers is not None:
        execution = execution.model_copy(update={"workers": workers})
    out = f"{storage}/{name}" if name else None
    with located(config_file, changes):
        _carry_out(config.run(), execution, Path(config_file).stem, out, dry_run, as_json, verbose, storage)


def _check_name(name: str | None) -> None:
    from lwgan_dist.config import NAME_PATTERN

    if name is not None and not re.fullmatch(NAME_PATTERN.rstrip("$"), name):
        raise ConfigError(
            f"--name {name!r}: a name has at most 64 letters, digits, '.', '_', '-', and starts with a letter or digit"
        )


def _carry_out(
    config: "RunConfig", execution: "ExecutionConfig", name: str, out: str | None,
    dry_run: bool, as_json: bool, verbose: bool, storage: str = "runs",
) -> None:  # fmt: skip
    """Train a run in its folder and show the result."""
    _check_manifold(config)
    _check_device(execution)
    from lwgan_dist.configfile import to_yaml
    from lwgan_dist.reporting.terminal import ProgressLine
    from lwgan_dist.runs import Run
    from lwgan_dist.storage import Folder

    run = Run(config)
    folder = Folder.at(out or f"{storage}/{re.sub('[^A-Za-z0-9._-]+', '-', name)[:40]}-{run.fingerprint}")
    if dry_run:
        iterations = sum(stage.iterations for stage in run.stages)
        click.echo(f"run folder: {folder.location}\niterations: {iterations}\n", err=True)
        click.echo(run.config.model_dump_json() if as_json else to_yaml(run.config), nl=as_json)
        return
    with ProgressLine(name) as line:
        result = run.train(
            folder,
            execution,
            on_progress=line.update,
            notify=lambda told: line.say(f"{name}  {told}"),
            verbose=verbose,
        )
    _show_result(result, folder.location, as_json)


def _check_manifold(config: "RunConfig") -> None:
    """Reject a manifold that cannot be (data.dim, data.ambient_dim) before torch is imported."""
    from lwgan_dist.data.manifolds import ManifoldSampler

    if config.data.source == "manifold":
        ManifoldSampler(config.data)


def _check_device(execution: "ExecutionConfig") -> None:
    """Reject a GPU that is not there; for workers under Ray, the cluster decides."""
    if not execution.use_gpu or execution.workers != 0:
        return
    import torch

    if not torch.cuda.is_available():
        raise ConfigError("execution.use_gpu: PyTorch sees no GPU on this machine")


@main.command(short_help="Is the estimate right, and from which n on?")
@click.argument("config_file", metavar="CONFIG.yaml")
@_overrides
@click.option("--name", help="Name of the study; its folder is STORAGE/NAME.  [default: the configuration's]")
@click.option("--storage", metavar="DIR", default="runs", show_default=True, help="Folder or URI that holds studies.")
@click.option("--address", metavar="ADDR", help="Ray cluster to join.  [default: RAY_ADDRESS, or a local one]")
@click.option("--dry-run", is_flag=True, help="Show cells, number of runs and, from a pilot, their cost, and stop.")
@_json
@_verbose
@_guarded
def study(
    config_file: str, changes: tuple[str, ...], name: str | None, storage: str, address: str | None,
    dry_run: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Carry out the consistency study that CONFIG.yaml describes: many estimates over data, sample sizes, methods and
    replicates, and what they say.

    The same command goes on with a study that was interrupted; with more sizes, data or replicates, only what is new is
    computed. Exit code 3: runs did not finish, or LWGAN runs diverged.
    """
    from lwgan_dist.configfile import read_config
    from lwgan_dist.study.config import StudyConfig

    _check_name(name)
    config = _at_address(read_config(StudyConfig, config_file, changes), address)
    _check_device(config.execution)
    from lwgan_dist.storage import Folder
    from lwgan_dist.study.study import Study

    label = name or Path(config_file).stem
    prepared = Study(config, Folder.at(f"{storage}/{label}"))
    if dry_run:
        _show_plan(prepared, as_json)
        return
    _carry_out_study(prepared, label, as_json, verbose)


def _at_address(config: Many, address: str | None) -> Many:
    """A study or search that joins the cluster at an address."""
    if address is None:
        return config
    if config.execution.workers == 0:
        raise ConfigError("--address: is of no use with execution.workers = 0, which needs no Ray")
    return config.model_copy(update={"execution": config.execution.model_copy(update={"address": address})})


def _show_plan(prepared: "Study", as_json: bool) -> None:
    from dataclasses import asdict

    from lwgan_dist.reporting.terminal import print_plan
    from lwgan_dist.study.pilot import plan

    lines = plan(prepared)
    seconds = sum(line.cpu_seconds_missing for line in lines)
    if as_json:
        told = {"cells": prepared.design.cells(), "cpu_seconds": seconds, "plan": [asdict(line) for line in lines]}
        click.echo(json.dumps(told))
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


def _carry_out_study(prepared: "Study", label: str, as_json: bool, verbose: bool) -> None:
    from lwgan_dist.reporting.terminal import StudyProgress, print_study
    from lwgan_dist.study.publish import publish, study_caveats, study_files

    with StudyProgress(label) as progress:

        def written(outcome: "Outcome") -> None:
            progress.say(f"{label}  writes tables, figures and pages")
            publish(prepared, outcome, label)

        try:
            outcome = prepared.carry_out(progress, written, verbose=verbose)
        except KeyboardInterrupt:
            click.echo("interrupted: finished runs are kept, the same command goes on with the others", err=True)
            sys.exit(INTERRUPTED)
    for note in study_caveats(prepared, outcome):
        click.echo(f"note: {note}", err=True)
    files = study_files(prepared.folder)
    if as_json:
        told = {"cells": outcome.tables.cells.to_pylist(), "trends": outcome.tables.trends.to_pylist(),
                "runs": outcome.planned, "unfinished": outcome.unfinished, "diverged": outcome.diverged,
                "files": files}  # fmt: skip
        click.echo(json.dumps(_without_infinities(told), allow_nan=False))
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
        problems.append(
            f"{outcome.diverged} LWGAN runs diverged; they count as incorrect and are listed in the summary"
        )
    if problems:
        raise RunFailedError("\n".join(problems))


@main.command(short_help="Which settings are best, and does the estimate depend on them?")
@click.argument("config_file", metavar="CONFIG.yaml")
@_overrides
@click.option("--name", help="Name of the search; its folder is STORAGE/NAME.  [default: the configuration's]")
@click.option("--storage", metavar="DIR", default="runs", show_default=True, help="Folder or URI that holds searches.")
@click.option("--address", metavar="ADDR", help="Ray cluster to join.  [default: RAY_ADDRESS, or a local one]")
@click.option("--dry-run", is_flag=True, help="Show the space, the first proposals and the cost of a trial, and stop.")
@_json
@_verbose
@_guarded
def tune(
    config_file: str, changes: tuple[str, ...], name: str | None, storage: str, address: str | None,
    dry_run: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Carry out the search that CONFIG.yaml describes: trials of an LWGAN with other settings on the same data, the
    best of them beside the default on fresh seeds, and how much the estimated dimension depends on the settings.

    The same command goes on with a search that was interrupted; with a larger budget, only what is new is computed.
    Exit code 3: trials did not finish, or failed.
    """
    from lwgan_dist.configfile import read_config
    from lwgan_dist.search.config import SearchConfig
    from lwgan_dist.search.space import located_space

    _check_name(name)
    config = _at_address(read_config(SearchConfig, config_file, changes), address)
    _check_search(config, config_file, changes)
    _check_device(config.execution)
    from lwgan_dist.search.search import Search
    from lwgan_dist.storage import Folder

    label = name or Path(config_file).stem
    with located_space(config_file, changes):
        prepared = Search(config, Folder.at(f"{storage}/{label}"))
    if dry_run:
        _show_search_plan(prepared, as_json)
        return
    _carry_out_search(prepared, label, as_json, verbose)


def _show_search_plan(prepared: "Search", as_json: bool) -> None:
    from lwgan_dist.reporting.terminal import print_search_plan
    from lwgan_dist.training.pilot import fit_seconds

    config = prepared.config
    seconds = fit_seconds(prepared.default, prepared.sample)
    proposals = prepared.first_proposals()
    trials = prepared.trial_count
    runs = trials * config.seeds_per_trial + 2 * config.fresh_seeds
    if as_json:
        told = {"trials": trials, "runs": runs, "cpu_seconds_of_default": seconds, "ended": prepared.ended,
                "proposals": [{"origin": item.origin, "values": item.values} for item in proposals]}  # fmt: skip
        click.echo(json.dumps(told))
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
    told = getattr(parameter, parameter.kind)
    if parameter.kind in ("choice", "grid"):
        return f"{parameter.kind} {', '.join(json.dumps(value) for value in told)}"
    step = f", step {parameter.step}" if parameter.step != 1 else ""
    return f"{parameter.kind} {told[0]:g} .. {told[1]:g}{step}{', log' if parameter.log else ''}"


def _condition_text(parameter: "Parameter") -> str:
    return ", ".join(f"{path} = {json.dumps(value)}" for path, value in parameter.when.items())


def _carry_out_search(prepared: "Search", label: str, as_json: bool, verbose: bool) -> None:
    from lwgan_dist.reporting.terminal import SearchProgress, print_search
    from lwgan_dist.search.publish import publish, search_caveats

    if changed := prepared.changed:
        click.echo(
            f"note: {', '.join(changed)}: differs from the command before in {prepared.folder.location}; trials that "
            "are alike are kept, tables and figures become those of this command (--name keeps both)",
            err=True,
        )
    published: list[Published] = []
    with SearchProgress(label) as progress:

        def written(outcome: "SearchOutcome") -> None:
            progress.say(f"{label}  writes tables, figures and pages")
            published.append(publish(prepared, outcome, label))

        try:
            outcome = prepared.carry_out(progress, written, verbose=verbose)
        except KeyboardInterrupt:
            click.echo("interrupted: finished trials are kept, the same command goes on with the others", err=True)
            sys.exit(INTERRUPTED)
    (result,) = published
    for note in search_caveats(prepared, outcome):
        click.echo(f"note: {note}", err=True)
    if as_json:
        told = {**_told_of_search(result), "unfinished": outcome.unfinished}
        click.echo(json.dumps(_without_infinities(told), allow_nan=False))
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


def _without_infinities(told: Any) -> Any:
    """JSON has no infinity: the text "inf" (n_high: more than the largest n)."""
    if isinstance(told, dict):
        return {key: _without_infinities(value) for key, value in told.items()}
    if isinstance(told, list):
        return [_without_infinities(value) for value in told]
    return str(told) if isinstance(told, float) and not math.isfinite(told) else told


@main.command()
@click.argument("run_dir")
@click.option("--num", type=click.IntRange(1), required=True, help="Rows to generate.")
@click.option("--rank", type=click.IntRange(1), help="Latent rank.  [default: the estimated dimension]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", required=True, metavar="FILE.parquet")
@_guarded
def generate(run_dir: str, num: int, rank: int | None, seed: int, out: str) -> None:
    """Write rows generated by a finished run, in the units and with the columns of its data."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lwgan_dist.model import FittedModel
    from lwgan_dist.storage import Folder

    if not out.endswith(".parquet"):
        raise ConfigError(f"--out {out}: the file name ends in .parquet")
    model = FittedModel.load(Folder.at(run_dir).sub("model"))
    rows = model.generate(num, rank, seed)
    table = pa.table({name: rows[:, i] for i, name in enumerate(model.columns)})
    try:
        pq.write_table(table, out)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error})") from None
    click.echo(f"{num} rows at rank {rank or model.dimension} in {out}", err=True)


@main.command()
@click.argument("run_dir")
@_json
@_guarded
def show(run_dir: str, as_json: bool) -> None:
    """Show what a run was told and what it says, or where it stands; of a study or search its tables."""
    from lwgan_dist.runs import CONFIG_FILE, RESULT_FILE, read_result
    from lwgan_dist.search.trials import TrialLedger
    from lwgan_dist.storage import Folder
    from lwgan_dist.training.loop import PROGRESS_FILE

    folder = Folder.at(run_dir)
    if folder.has("cells.parquet"):
        _show_study(folder, as_json)
        return
    if folder.has("facts.json"):
        _show_search(folder, as_json)
        return
    if folder.has("env.json") and "search" in folder.read_json("env.json"):
        ended = len(TrialLedger(folder.sub("ledger")).keys())
        raise ConfigError(f"{folder.location}: a search under way or interrupted, of which {ended} trials have ended")
    if not folder.has(RESULT_FILE) and folder.has(PROGRESS_FILE):
        told = json.loads(folder.read(PROGRESS_FILE))
        if as_json:
            click.echo(json.dumps(told))
        else:
            click.echo(folder.read(CONFIG_FILE).decode())
            click.echo(f"not finished: {told['iteration']} of {told['iterations']} iterations ({told['stage']})")
        return
    result = read_result(folder)
    if not as_json and folder.has(CONFIG_FILE):
        click.echo(folder.read(CONFIG_FILE).decode())
    _show_result(result, folder.location, as_json)


def _show_study(folder: "Folder", as_json: bool) -> None:
    import io

    import pyarrow.parquet as pq

    from lwgan_dist.reporting.terminal import print_study
    from lwgan_dist.study.publish import study_files

    cells, files = pq.read_table(io.BytesIO(folder.read("cells.parquet"))), study_files(folder)
    if as_json:
        click.echo(json.dumps(_without_infinities({"cells": cells.to_pylist(), "files": files}), allow_nan=False))
    else:
        print_study(cells, files)


def _show_search(folder: "Folder", as_json: bool) -> None:
    from lwgan_dist.reporting.terminal import print_search
    from lwgan_dist.search.publish import read_published

    published = read_published(folder)
    if as_json:
        click.echo(json.dumps(_without_infinities(_told_of_search(published)), allow_nan=False))
    else:
        print_search(published.tables, published.facts, published.files)


def _told_of_search(published: "Published") -> dict[str, Any]:
    """What ``--json`` says about a search."""
    from dataclasses import asdict

    tables = {name: table.to_pylist() for name, table in vars(published.tables).items() if name != "runs"}
    return {"facts": asdict(published.facts), **tables, "files": published.files}


def _show_result(result: "RunResult", location: str, as_json: bool) -> None:
    from lwgan_dist.reporting.terminal import print_result
    from lwgan_dist.runs import run_files
    from lwgan_dist.storage import Folder

    if as_json:
        click.echo(result.model_dump_json())
    else:
        print_result(result, run_files(Folder.at(location)))


@main.command()
@click.argument("config_file", metavar="CONFIG.yaml", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of such files, for editors.")
@click.option(
    "--kind",
    type=click.Choice(["train", "study", "tune"]),
    help="The command it is for.  [default: by its keys]",
)
@_guarded
def validate(config_file: str | None, schema: bool, kind: str | None) -> None:
    """Check a configuration for ``lwgan-dist train``, ``study`` or ``tune`` without starting anything."""
    from lwgan_dist.config import TrainConfig
    from lwgan_dist.configfile import json_schema, located, read_config, read_yaml
    from lwgan_dist.search.config import SearchConfig
    from lwgan_dist.study.config import StudyConfig

    if schema:
        models: dict[str, type[BaseModel]] = {"train": TrainConfig, "study": StudyConfig, "tune": SearchConfig}
        click.echo(json_schema(models[kind or "train"]))
        return
    if config_file is None:
        raise ConfigError("validate needs a CONFIG.yaml, or --schema")
    kind = kind or _kind_of(read_yaml(config_file))
    if kind == "tune":
        _check_search(read_config(SearchConfig, config_file), config_file, ())
        click.echo(f"{config_file}: ok")
        return
    if kind == "study":
        _check_study(read_config(StudyConfig, config_file))
        click.echo(f"{config_file}: ok")
        return
    config = read_config(TrainConfig, config_file)
    with located(config_file, ()):
        _check_manifold(config)
    click.echo(f"{config_file}: ok")


def _kind_of(told: dict[str, Any]) -> str:
    """The command that a file is for."""
    if "space" in told or ("run" in told and "data" not in told):
        return "tune"
    return "study" if isinstance(told.get("data"), list) else "train"


def _check_search(config: "SearchConfig", config_file: str, changes: tuple[str, ...]) -> None:
    """The space of a search and its manifold, before torch is imported."""
    from lwgan_dist.search.searchers import initial_points
    from lwgan_dist.search.space import Space, located_space

    with located_space(config_file, changes):
        initial_points(config, Space(config), config.run)
        _check_manifold(config.run)


def _check_study(config: "StudyConfig") -> None:
    """The whole design of a study, without a run."""
    from lwgan_dist.study.design import Design

    Design(config, "float32")
