"""What the commands share: how they end, options, checks before anything heavy is imported."""

import errno
import logging
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from lwgan_dist import logs
from lwgan_dist.errors import ConfigError, RunFailedError, UserError, interrupts_pass, refuse_client_address
from lwgan_dist.interrupts import INTERRUPTED, AtWork

if TYPE_CHECKING:
    from lwgan_dist.campaign.progress import Standing
    from lwgan_dist.compare.config import CompareConfig
    from lwgan_dist.config import ExecutionConfig, RunConfig, TrainConfig
    from lwgan_dist.reporting.terminal import StudyProgress
    from lwgan_dist.results import RunResult
    from lwgan_dist.search.config import SearchConfig
    from lwgan_dist.storage import Folder
    from lwgan_dist.study.config import StudyConfig

AnyConfig = TypeVar("AnyConfig", "TrainConfig", "StudyConfig", "SearchConfig", "CompareConfig")

UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
"""A folder or file that was named and cannot be used; the person can name another."""
BROKEN = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.ESTALE}
"""A disk that is full or fails under a run."""


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Report what the user can mend as one message, with its exit code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            with AtWork(), interrupts_pass():
                logs.configure(logs.chosen_format())
                command(*args, **kwargs)
        except UserError as error:
            report(str(error))
            sys.exit(error.exit_code)
        except OSError as error:
            if error.errno is not None and error.errno not in UNUSABLE | BROKEN:  # pyarrow's, of a network, have none
                raise
            report(f"{error.filename or 'input or output'}: {error.strerror or error}")
            sys.exit(ConfigError.exit_code if error.errno in UNUSABLE else RunFailedError.exit_code)
        except KeyboardInterrupt:
            goes_on = ": the same command goes on from the last checkpoint, if one was written"
            tell(f"interrupted{goes_on if command.__name__ in ('estimate', 'train') else ''}")
            sys.exit(INTERRUPTED)

    return guarded


def tell(text: str) -> None:
    """Lines for people, on standard error; what names of files and columns hide in them is shown."""
    for line in text.split("\n"):
        click.echo(logs.printable(line), err=True)


def report(message: str) -> None:
    """An error, on standard error."""
    if logs.is_json():
        logs.event(message, level=logging.ERROR)
        return
    for line in message.splitlines():
        tell(f"error: {line}")


overrides = click.argument("changes", nargs=-1, metavar="[key=value ...]")
workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    default=None,
    help="Worker processes under Ray; 0: in this process, without Ray.  [default: 0, or as in the file]",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output and nothing else."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Show the resolved configuration and stop.")
address_option = click.option(
    "--address", metavar="ADDR", help="Ray cluster to join: auto, HOST:PORT.  [default: RAY_ADDRESS, or a local one]"
)
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Show Ray's messages.")


def check_name(name: str | None) -> None:
    """Reject a ``--name`` that is no plain name of a folder."""
    from lwgan_dist.config import NAME_PATTERN

    if name is not None and not re.fullmatch(NAME_PATTERN.rstrip("$"), name):
        raise ConfigError(
            f"--name {name!r}: a name has at most 64 letters, digits, '.', '_', '-', and starts with a letter or digit"
        )


def metric_names(text: str | None) -> list[str]:
    """``"w2, coverage"`` as names; none of no text."""
    return [name for part in (text or "").split(",") if (name := part.strip())]


def check_manifold(config: "RunConfig") -> None:
    """Reject a manifold that cannot be (data.dim, data.ambient_dim) before torch is imported."""
    from lwgan_dist.config import Known
    from lwgan_dist.data.simulated.population import sampler_of

    if isinstance(config.data, Known):
        sampler_of(config.data)


def check_device(execution: "ExecutionConfig") -> None:
    """Reject a GPU that PyTorch does not see; for workers under Ray, the cluster decides."""
    if not execution.use_gpu or execution.workers != 0:
        return
    import torch

    if not torch.cuda.is_available():
        raise ConfigError("execution.use_gpu: PyTorch sees no GPU on this machine")


def at_address(config: AnyConfig, address: str | None) -> AnyConfig:
    """A configuration that joins the cluster at an address, if one is given.

    Raises:
        ConfigError: it has no use for a cluster: with ``--workers 0`` or without Ray in its file.
    """
    if address is not None:
        refuse_client_address(address)
        config = config.model_copy(update={"execution": config.execution.model_copy(update={"address": address})})
    if config.execution.workers == 0 and config.execution.address:
        key = "execution.address" if address is None else "--address"
        raise ConfigError(f"{key}: is of no use with execution.workers = 0, which needs no Ray")
    return config


def without_infinities(content: Any) -> Any:
    """JSON has no infinity: the text "inf" (n_high: more than the largest n)."""
    if isinstance(content, dict):
        return {key: without_infinities(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_infinities(value) for value in content]
    return str(content) if isinstance(content, float) and not math.isfinite(content) else content


def check_search(config: "SearchConfig", config_file: str | None, changes: tuple[str, ...]) -> None:
    """The space of a search and its manifold, before torch is imported."""
    from lwgan_dist.search.searchers import initial_points
    from lwgan_dist.search.space import Space, located_space

    with located_space(config_file, changes):
        space = Space(config)
        initial_points(config, space, config.run)
        if config.searcher.name == "grid":
            space.grid()
        check_manifold(config.run)


class WithForms(click.Command):
    """A command whose first argument may name another form of it: ``study CONFIG.yaml``, ``study merge DIR DIR``."""

    forms: ClassVar[dict[str, click.Command]]

    def make_context(self, info_name: str | None, args: list[str], *further: Any, **extra: Any) -> click.Context:
        """That of the form, if one is named."""
        form = self.forms.get(args[0].removeprefix("--")) if args else None
        if form is None:
            return super().make_context(info_name, args, *further, **extra)
        return form.make_context(f"{info_name} {form.name}", args[1:], *further, **extra)


def recorded_folder(directory: str, kind: str) -> "Folder":
    """The local folder of a study or search that was run.

    Raises:
        ConfigError: it holds none, or is not on this machine.
    """
    from lwgan_dist.campaign.folder import read_environment
    from lwgan_dist.run.folder import CONFIG_FILE, ENVIRONMENT_FILE
    from lwgan_dist.storage import Folder

    folder = Folder.at(directory)
    if folder.local is None or not folder.has(CONFIG_FILE) or not folder.has(ENVIRONMENT_FILE):
        raise ConfigError(f"{directory}: is no folder of a {kind} on this machine; name the one that holds config.yaml")
    read_environment(folder, kind)
    return folder


@contextmanager
def located_study(config: "StudyConfig", config_file: str, changes: tuple[str, ...]) -> Iterator[None]:
    """Refuses fields that no run of a study can have, before torch is imported, and gives these errors, and those of
    its design in the block, the place where the key was given.
    """
    from lwgan_dist.configfile import located
    from lwgan_dist.study.config import StudyConfig
    from lwgan_dist.study.design import check_fields

    with located(config_file, changes, StudyConfig):
        check_fields(config)
        yield


def check_study(config: "StudyConfig", config_file: str, changes: tuple[str, ...]) -> None:
    """The whole design of a study, without a run."""
    from lwgan_dist.study.design import Design

    with located_study(config, config_file, changes):
        Design(config, "float32")


def check_comparison(config: "CompareConfig", config_file: str, changes: tuple[str, ...]) -> None:
    """The whole design of a comparison, without a run."""
    from lwgan_dist.compare.config import CompareConfig
    from lwgan_dist.compare.design import Design
    from lwgan_dist.configfile import located

    with located(config_file, changes, CompareConfig):
        Design(config, "float32")


def campaign_options(kind: str, kinds: str, dry_run: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Argument and options that study, search and comparison have in common, and `guarded`.

    Args:
        kind, kinds: what the command runs, and several of it.
        dry_run: what ``--dry-run`` shows.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        for option in (
            guarded, verbose_option, json_option,
            click.option("--dry-run", is_flag=True, help=f"Show {dry_run}, and stop."),
            address_option,
            click.option(
                "--storage", metavar="DIR", default="runs", show_default=True, help=f"Folder or URI that holds {kinds}."
            ),
            click.option(
                "--name", help=f"Name of the {kind}; its folder is STORAGE/NAME.  [default: the configuration's]"
            ),
            overrides, click.argument("config_file", metavar="CONFIG.yaml"),
        ):  # fmt: skip
            command = option(command)
        return command

    return decorated


def executed(
    prepared: Any, label: str, publish: Callable[[Any, Any, str], object], caveats: Callable[[Any, Any], list[str]],
    *, verbose: bool,
) -> Any:  # fmt: skip
    """The outcome of a study or comparison, with its progress and its notes on standard error; Ctrl-C ends with 130."""
    from lwgan_dist.reporting.terminal import StudyProgress

    with StudyProgress(label) as line:

        def written(outcome: Any) -> None:
            line.say(f"{label}  writes tables, figures and pages")
            publish(prepared, outcome, label)

        try:
            outcome = prepared.execute(RunsShown(line), written, verbose=verbose)
        except KeyboardInterrupt:
            tell("interrupted: finished runs are kept, the same command goes on with the others")
            sys.exit(INTERRUPTED)
    for note in caveats(prepared, outcome):
        tell(f"note: {note}")
    return outcome


class RunsShown:
    """The progress of a study or comparison, see `lwgan_dist.campaign.progress.Progress`, in a line of the terminal."""

    def __init__(self, line: "StudyProgress") -> None:
        self._line = line

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        """A phase begins."""
        self._line.begin(total or 0, what, done)

    def update(self, standing: "Standing") -> None:
        """The phase has got further."""
        self._line.update(standing.done, standing.failed, standing.cpu_seconds, standing.running)


def show_result(result: "RunResult", location: str, as_json: bool) -> None:
    """The result of a run, for people or programs."""
    from lwgan_dist.reporting.terminal import print_result
    from lwgan_dist.run.folder import run_files
    from lwgan_dist.storage import Folder

    if as_json:
        click.echo(result.model_dump_json())
    else:
        print_result(result, run_files(Folder.at(location)))
