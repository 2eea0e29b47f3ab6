"""Secrets of a job: variables from a file that travel in the job's package, and from there into the environment of its
driver and of each of its workers. They are in no runtime environment, which the Jobs API and the dashboard show.

Imports nothing that is slow: every worker of a job calls `load_secrets` when it starts.
"""

import io
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from lwgan_dist.errors import ConfigError

FOLDER = "lwgan-job"
"""Folder of the package that holds what we put there: the configuration, and this file."""

FILE = f"{FOLDER}/environment.json"

HOOK = "lwgan_dist.cluster.secrets.load_secrets"
"""As a ``worker_process_setup_hook``."""

_TOO_LATE = ("PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED")


def read_env_file(file: str) -> tuple[dict[str, str], str | None]:
    r"""The variables in a file of ``KEY=VALUE`` lines, as python-dotenv reads it, and a warning if others can read it.

    Quotes (``'as it is'``, ``"with \n"``, both over several lines), comments and ``export`` are understood; ``$NAME``
    is not replaced.

    Raises:
        ConfigError: no such file, a line of another form, a name given twice, or a name that has no effect in a
            process that runs already; no message contains a value.
    """
    try:
        content = Path(file).read_text("utf-8-sig")
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file (--env-file)") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{file}: cannot be read ({reason})") from None
    others = stat.S_ISREG(mode) and mode & 0o077
    return parse(content, file), f"{file}: others can read it; 'chmod 600 {file}' changes that" if others else None


def parse(content: str, source: str) -> dict[str, str]:
    """The variables in the text of such a file; see `read_env_file`."""
    from dotenv.parser import parse_stream  # `dotenv_values` skips what it cannot read and takes the last of two

    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(content)):
        text = binding.original.string
        place = f"{source}:{binding.original.line + text[: len(text) - len(text.lstrip())].count(chr(10))}"
        if binding.error or (binding.key is not None and (binding.value is None or not _is_name(binding.key))):
            raise ConfigError(f"{place}: not of the form KEY=VALUE, or a quote that is not closed (--env-file)")
        if binding.key is None or binding.value is None:  # a comment, or blank lines
            continue
        if binding.key in values:
            raise ConfigError(f"{place}: {binding.key}: is given twice")
        _check_effect(binding.key, place)
        if "\0" in binding.value:
            raise ConfigError(f"{place}: {binding.key}: a variable cannot contain the character NUL")
        values[binding.key] = binding.value
    return values


def _is_name(key: str) -> bool:
    return key.isascii() and key.isidentifier()


def _check_effect(name: str, place: str) -> None:
    if name.startswith("RAY_AUTH"):
        raise ConfigError(
            f"{place}: {name}: the nodes of the cluster have its token already, and a job's package is no place for "
            "it: remove the line; for this command, set it in your shell"
        )
    if name.startswith("RAY_"):
        raise ConfigError(f"{place}: {name}: variables of Ray are set where its nodes start, not by a job")
    if name in _TOO_LATE or name.startswith("LD_"):
        raise ConfigError(f"{place}: {name}: has an effect only before a process starts, and workers have by then")


def packed(values: Mapping[str, str]) -> str:
    """The content of `FILE`. The package's hash is public; a random part keeps it from giving the values away."""
    return json.dumps({"nonce": secrets.token_hex(16), "values": dict(values)})


def load_secrets() -> None:
    """Put the variables into the environment of this process of a job.

    Raises:
        FileNotFoundError: the package is in none of the folders of the job.
    """
    folders = [os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    paths = [path for folder in folders if folder and (path := Path(folder, FILE)).is_file()]
    if not paths:
        raise FileNotFoundError(f"{FILE}: is in none of the folders of the job")
    os.environ.update(json.loads(paths[0].read_text())["values"])
