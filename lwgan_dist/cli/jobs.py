"""``submit`` and ``job``: the other commands, run on a cluster as Ray jobs."""

import json
import re
import signal
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lwgan_dist.cli.common import (
    check_comparison,
    check_manifold,
    check_name,
    check_search,
    check_study,
    guarded,
    json_option,
    tell,
)
from lwgan_dist.cli.comparisons import compare
from lwgan_dist.cli.runs import train
from lwgan_dist.cli.searches import tune
from lwgan_dist.cli.studies import study
from lwgan_dist.errors import ConfigError, RunFailedError
from lwgan_dist.interrupts import INTERRUPTED, answer
from lwgan_dist.logs import SECRET_IN_URI

if TYPE_CHECKING:
    from lwgan_dist.cluster.jobs import Job, Jobs
    from lwgan_dist.cluster.submission import Submission
    from lwgan_dist.config import ExecutionConfig, SampleConfig

COMMANDS: dict[str, click.Command] = {"study": study, "tune": tune, "compare": compare, "train": train}
"""The commands that a job can run."""

http_address_option = click.option(
    "--address",
    metavar="URL",
    help="Dashboard of the cluster's head, http://HEAD:8265.  [default: RAY_API_SERVER_ADDRESS]",
)
follow_option = click.option("--follow", is_flag=True, help="Show its output until it ends; exit with its code.")
env_file_option = click.option(
    "--env-file",
    metavar="F",
    help="KEY=VALUE lines for the environment of the command and its workers; shown nowhere.",
)
working_dir_option = click.option(
    "--working-dir",
    metavar="DIR",
    help="A checkout whose code the nodes use.  [default: the lwgan_dist that they have installed]",
)


@click.command(
    short_help="Run study, tune, compare or train on a cluster, as a Ray job.",
    context_settings={"ignore_unknown_options": True},  # options of the command behind a -- that was forgotten
)
@click.argument("config_file", metavar="CONFIG.yaml")
@click.argument(
    "command", nargs=-1, type=click.UNPROCESSED, metavar="-- study|tune|compare|train [key=value ...] [OPTIONS]"
)
@http_address_option
@click.option("--name", help="Name of the job, and of the study, search or run.  [default: the configuration's]")
@follow_option
@env_file_option
@working_dir_option
@click.option("--python", default="python", show_default=True, help="The interpreter on the nodes.")
@guarded
def submit(
    config_file: str, command: tuple[str, ...], address: str | None, name: str | None, follow: bool,
    env_file: str | None, working_dir: str | None, python: str,
) -> None:  # fmt: skip
    """Check CONFIG.yaml here, send it to a cluster and run the command behind -- on it.

    \b
    lwgan-dist submit study.yaml --address http://HEAD:8265 --follow -- study --storage s3://bucket/studies

    The storage and any table must be where every node sees them. The same command again, or 'lwgan-dist job resume',
    goes on with what was interrupted. Ctrl-C under --follow leaves the job running.
    """  # noqa: D301
    from lwgan_dist.cluster.jobs import Jobs

    check_name(name)
    prepared = _prepared(config_file, command, name, python)
    prepared = _with_files(prepared, env_file, working_dir)
    jobs = Jobs(address)
    before = jobs.attempts(prepared.name)
    if before and not before[-1].has_ended and follow:
        _attach(jobs, before[-1], prepared)
        return
    _start(jobs, prepared, follow)


def _prepared(config_file: str, command: tuple[str, ...], name: str | None, python: str) -> "Submission":
    """The command, checked as far as that is possible here.

    Raises:
        ConfigError: what is wrong with the configuration, or could not work on another machine.
    """
    from lwgan_dist.cluster.submission import Submission, config_hash
    from lwgan_dist.configfile import parse_overrides

    if not command or command[0] not in COMMANDS:
        what = f"{command[0]}: is none of them" if command else "there is none"
        raise ConfigError(f"what to run stands behind --, one of {', '.join(COMMANDS)}; {what}")
    kind, arguments = command[0], list(command[1:])
    given = (
        COMMANDS[kind]
        .make_context(f"submit ... -- {kind}", [config_file, *arguments], help_option_names=["-h", "--help"])
        .params
    )
    check_name(given["name"])
    if given["dry_run"]:
        raise ConfigError("--dry-run: is for this machine; it is no job")
    if given["name"] is None and name is not None:
        arguments += ["--name", name]
    elif given["name"] is not None and name not in (None, given["name"]):
        raise ConfigError(f"--name {name}: the job has the name of its {kind}, which is {given['name']} behind the --")
    name = name or given["name"]
    if given["address"] is not None:
        raise ConfigError("--address: belongs before the --; the command joins the cluster that runs it")
    if "://" not in given["storage"] and not Path(given["storage"]).is_absolute():
        raise ConfigError(
            f"--storage {given['storage']}: would be a folder of the job on one node, and be lost: give an absolute "
            f"path that all nodes share, or a URI (-- {kind} --storage s3://bucket/runs)"
        )
    parse_overrides(given["changes"])
    resolved, execution = _checked(kind, config_file, given["changes"], given.get("workers"))
    _check_execution(execution)
    text = Path(config_file).read_text("utf-8-sig")
    for what, where in [(text, config_file), *((item, "the command") for item in arguments)]:
        if SECRET_IN_URI.search(what):
            raise ConfigError(f"{where}: a URI with a secret would be shown in the Jobs API: use --env-file")
    default = re.sub("[^A-Za-z0-9._-]+", "-", Path(config_file).stem).lstrip("._-")[:64]
    return Submission(
        name=name or default or kind,
        command=kind,
        config_file=Path(config_file).name,
        config=text,
        config_hash=config_hash(resolved),
        arguments=tuple(arguments),
        python=python,
    )


def _checked(
    kind: str, config_file: str, changes: tuple[str, ...], workers: int | None
) -> tuple[str, "ExecutionConfig"]:
    """What ``lwgan-dist validate`` checks; the whole configuration as text, and where it runs."""
    from lwgan_dist.compare.config import CompareConfig
    from lwgan_dist.config import TrainConfig
    from lwgan_dist.configfile import located, read_config
    from lwgan_dist.search.config import SearchConfig
    from lwgan_dist.study.config import StudyConfig

    if kind == "study":
        config = read_config(StudyConfig, config_file, changes)
        present = [data for data in config.data if _is_here(data, config_file)]
        if present:
            check_study(config.model_copy(update={"data": present}), config_file, changes)
        return config.model_dump_json(), config.execution
    if kind == "compare":
        comparison = read_config(CompareConfig, config_file, changes)
        here = [data for data in comparison.data if _is_here(data, config_file)]
        if here:
            check_comparison(comparison.model_copy(update={"data": here}), config_file, changes)
        return comparison.model_dump_json(), comparison.execution
    if kind == "tune":
        search = read_config(SearchConfig, config_file, changes)
        check_search(search, config_file, changes)
        _is_here(search.run.data, config_file)
        return search.model_dump_json(), search.execution
    run = read_config(TrainConfig, config_file, changes)
    with located(config_file, changes):
        check_manifold(run)
    _is_here(run.data, config_file)
    execution = run.execution if workers is None else run.execution.model_copy(update={"workers": workers})
    return run.model_dump_json(), execution


def _is_here(data: "SampleConfig", config_file: str) -> bool:
    """Whether data can be read on this machine too; a note if not.

    Raises:
        ConfigError: a table that cannot be where the nodes look for it.
    """
    from lwgan_dist.config import TableConfig

    if not isinstance(data, TableConfig):
        return True
    if not Path(data.path).is_absolute():
        raise ConfigError(f"{config_file}: the table {data.path}: nodes need an absolute path, the same on all of them")
    here = Path(data.path).exists()
    if not here:
        tell(f"note: {data.path}: is not on this machine, so the nodes check it")
    return here


def _check_execution(execution: "ExecutionConfig") -> None:
    if execution.workers == 0:
        raise ConfigError(
            "execution.workers = 0 would train beside the scheduler on the head: use execution.workers=1 or more"
        )
    if execution.address not in (None, "auto"):
        raise ConfigError(
            f"execution.address = {execution.address}: a job joins the cluster that runs it: leave it out, or "
            "execution.address=null"
        )


def _with_files(submission: "Submission", env_file: str | None, working_dir: str | None) -> "Submission":
    """With what only this machine has."""
    from lwgan_dist.cluster.secrets import read_env_file

    if env_file is not None:
        secrets, warning = read_env_file(env_file)
        if warning:
            tell(f"note: {warning}")
        submission = replace(submission, secrets=secrets)
        if working_dir and Path(env_file).resolve().is_relative_to(Path(working_dir, "lwgan_dist").resolve()):
            raise ConfigError(f"{env_file}: lies in the code that is sent to the nodes: keep secrets elsewhere")
    return replace(submission, code=working_dir)


def _start(jobs: "Jobs", submission: "Submission", follow: bool) -> None:
    job = jobs.submit(submission)
    which = "" if job.attempt == 1 else f", attempt {job.attempt} (earlier ones: {job.name}~1 ...)"
    tell(f"{job.name}: submitted to {jobs.address}{which}")
    if follow:
        _follow(jobs, job)
    else:
        tell(f"'lwgan-dist job logs {job.name} --follow' shows its output")


def _attach(jobs: "Jobs", job: "Job", submission: "Submission") -> None:
    """Follow the job that has the name already."""
    from lwgan_dist.cluster.submission import KEY

    same = ("command", "config_sha256", "arguments", "python", "env_file", "working_dir")
    wanted, running = submission.metadata, job.metadata
    if KEY not in running or any(wanted[key] != running.get(key) for key in same):
        raise ConfigError(
            f"{job.name}: runs already, with another command or configuration: 'lwgan-dist job logs {job.name} "
            "--follow' follows it, another --name starts a second one"
        )
    tell(f"{job.name}: runs already, and is followed")
    _follow(jobs, job)


def _follow(jobs: "Jobs", job: "Job") -> None:
    """Show the output of a job until it ends, and end as it did."""

    def write(text: str) -> None:
        click.echo(text, nl=False)

    def notify(text: str) -> None:
        tell(f"note: {text}")

    try:
        ended = jobs.follow(job, write, notify)
    except KeyboardInterrupt:
        tell(
            f"\ndetached: {job.name} goes on; 'lwgan-dist job logs {job.name} --follow' follows it again, "
            f"'lwgan-dist job stop {job.name}' ends it"
        )
        sys.exit(INTERRUPTED)
    _end_as(ended)


def _end_as(job: "Job") -> None:
    if job.status == "SUCCEEDED":
        return
    again = f"'lwgan-dist job resume {job.name}' goes on with what is finished"
    if job.status == "STOPPED":
        tell(f"{job.name}: was stopped; {again}")
        sys.exit(INTERRUPTED)
    if job.exit_code == INTERRUPTED:  # a signal that did not come from `job stop`
        tell(f"{job.name}: was interrupted; {again}")
        sys.exit(INTERRUPTED)
    if job.exit_code == 127 and job.is_ours:
        raise RunFailedError(f"{job.name}: the nodes have no such interpreter: {job.entrypoint.split()[1]} (--python)")
    if job.exit_code is not None and 0 < job.exit_code <= 128:
        tell(f"{job.name}: ended with exit code {job.exit_code}")
        sys.exit(job.exit_code)
    if job.exit_code is not None:
        number = -job.exit_code if job.exit_code < 0 else job.exit_code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        hint = ", maybe for want of memory on the head" if name == "SIGKILL" else ""
        raise RunFailedError(f"{job.name}: was ended by signal {name}{hint}; {again}")
    lines = [line for line in job.message.splitlines() if line.strip()]
    raise RunFailedError(f"{job.name}: {lines[-1].strip() if lines else 'failed without a reason'}; {again}")


@click.group()
def job() -> None:
    """Jobs on a cluster, by name: list, status, logs, stop, resume."""


@job.command("list")
@http_address_option
@json_option
@guarded
def list_jobs(address: str | None, as_json: bool) -> None:
    """List the jobs of a cluster, the newest last. NAME~1, NAME~2, ... are the attempts of one name."""
    from lwgan_dist.cluster.jobs import Jobs

    jobs = Jobs(address).all()
    if as_json:
        click.echo(json.dumps([job.as_dict() for job in jobs]))
        return
    several = {job.name for job in jobs if job.attempt > 1}
    rows = [["NAME", "STATUS", "COMMAND", "STARTED", "TOOK"]]
    for job in jobs:
        label = f"{job.name}~{job.attempt}" if job.name in several else job.name
        rows.append([label, _status(job), job.metadata.get("command", "-"), _clock(job.started), _took(job)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@job.command()
@click.argument("name")
@http_address_option
@json_option
@guarded
def status(name: str, address: str | None, as_json: bool) -> None:
    """Show where the newest attempt of NAME stands, or the attempt NAME~2."""
    from lwgan_dist.cluster.jobs import Jobs

    job = Jobs(address).find(name)
    details = job.as_dict()
    if as_json:
        click.echo(json.dumps(details))
        return
    click.echo(f"{job.name}: {_status(job)}" + (f", attempt {job.attempt}" if job.attempt > 1 else ""))
    click.echo(f"  {job.metadata.get('command', 'command')}  {job.entrypoint}")
    took = f", took {_took(job)}" if job.ended else ""
    click.echo(f"  started {_clock(job.started)}{took}")
    if details["message"]:
        click.echo(f"  {details['message']}")


@job.command()
@click.argument("name")
@http_address_option
@follow_option
@guarded
def logs(name: str, address: str | None, follow: bool) -> None:
    """Show the output of NAME (or of the attempt NAME~1)."""
    from lwgan_dist.cluster.jobs import Jobs

    jobs = Jobs(address)
    job = jobs.find(name)
    if follow:
        _follow(jobs, job)
    else:
        click.echo(jobs.logs(job), nl=False)


@job.command()
@click.argument("name")
@http_address_option
@guarded
def stop(name: str, address: str | None) -> None:
    """Stop NAME; what is finished is kept."""
    from lwgan_dist.cluster.jobs import Jobs

    jobs = Jobs(address)
    job = jobs.find(name)
    if job.has_ended:
        tell(f"{job.name}: has ended already ({_status(job)})")
        return
    now = jobs.stop(job)
    tell(f"{job.name}: {_status(now)}; 'lwgan-dist job resume {job.name}' goes on")


@job.command()
@click.argument("name")
@http_address_option
@follow_option
@env_file_option
@working_dir_option
@guarded
def resume(name: str, address: str | None, follow: bool, env_file: str | None, working_dir: str | None) -> None:
    """Start NAME again as it was submitted last; it goes on with what is finished.

    A cluster keeps neither secrets nor code of a job that has ended: if it was submitted with --env-file or
    --working-dir, give them again.
    """
    from lwgan_dist.cluster.jobs import Jobs, still_running
    from lwgan_dist.cluster.submission import Submission

    jobs = Jobs(address)
    job = jobs.find(name)
    if not job.is_ours:
        raise ConfigError(f"{job.name}: was not submitted by lwgan-dist, so there is nothing to submit again")
    if not job.has_ended:
        if not follow:
            raise ConfigError(still_running(job))
        tell(f"{job.name}: runs already, and is followed")
        _follow(jobs, job)
        return
    for option, given in (("env_file", env_file), ("working_dir", working_dir)):
        if job.metadata[option] == "yes" and given is None:
            flag = f"--{option.replace('_', '-')}"
            raise ConfigError(f"{job.name}: was submitted with {flag}, which the cluster does not keep: give it again")
    _start(jobs, _with_files(Submission.again(job.metadata), env_file, working_dir), follow)


def _status(job: "Job") -> str:
    word = job.status.lower()
    return f"{word} (exit code {job.exit_code})" if job.exit_code else word


def _clock(seconds: float | None) -> str:
    return "-" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _took(job: "Job") -> str:
    if job.started is None or job.ended is None:
        return "-"
    seconds = round(job.ended - job.started)
    return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


@job.command("run", hidden=True, add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@guarded
def run_job(command: tuple[str, ...]) -> None:
    """What a job's entrypoint calls: the command, with the secrets of the job and a working Ctrl-C."""
    from lwgan_dist.cluster.secrets import FILE, load_secrets

    signal.signal(signal.SIGINT, answer)  # of nodes started in the background, it is ignored
    if Path(FILE).is_file():
        load_secrets()
    ours: Any = COMMANDS[command[0]]
    ours.main(args=list(command[1:]), prog_name=f"lwgan-dist {command[0]}", help_option_names=["-h", "--help"])
