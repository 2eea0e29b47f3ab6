"""Secrets of a job: variables from a file that travel in the job's package, and from there into the environment of its
driver and of each of its workers. They are in no runtime environment, which the Jobs API and the dashboard show.

Imports nothing that is slow: every worker of a job calls `load_environment` when it starts.
"""

import json
import os
import re
import secrets
import stat
from pathlib import Path

from lwgan_dist.errors import ConfigError

FOLDER = "lwgan-job"
"""Folder of the package that holds what we put there: the configuration, and this file."""

FILE = f"{FOLDER}/environment.json"

HOOK = "lwgan_dist.launch.environment.load_environment"
"""As a ``worker_process_setup_hook``."""

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_VALUE = re.compile(
    r"""(?:'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<plain>[^\s'"#](?:[^\n\r]*?))?)"""
    r"[ \t]*(?:(?<=[ \t'\"])#[^\n\r]*)?(?=[\n\r]|\Z)",
    re.DOTALL,
)
_NOTHING = re.compile(r"[ \t]*(?:#[^\n\r]*)?(?=[\n\r]|\Z)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_TOO_LATE = ("PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED")


def read_env_file(file: str) -> tuple[dict[str, str], str | None]:
    r"""The variables in a file of ``KEY=VALUE`` lines, and a warning if others can read it.

    Quotes (``'as it is'``, ``"with \n"``, both over several lines), comments and ``export`` are known; ``$NAME`` is
    not replaced.

    Raises:
        ConfigError: no such file, a line of another form, or a name that is of no use there; no message holds a value.
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
    values: dict[str, str] = {}
    position = 0
    while position < len(content):
        place = f"{source}:{content.count(chr(10), 0, position) + 1}"
        if nothing := _NOTHING.match(content, position):
            position = nothing.end() + 1
            continue
        name = _NAME.match(content, position)
        value = _VALUE.match(content, name.end()) if name else None
        if name is None or value is None:
            raise ConfigError(f"{place}: not of the form KEY=VALUE, or a quote that is not closed (--env-file)")
        key = name["name"]
        if key in values:
            raise ConfigError(f"{place}: {key}: is given twice")
        _check_of_use(key, place)
        values[key] = _text(value)
        if "\0" in values[key]:
            raise ConfigError(f"{place}: {key}: a variable cannot hold the character NUL")
        position = value.end() + 1
    return values


def _text(value: re.Match[str]) -> str:
    if value["single"] is not None:
        return value["single"]
    if value["double"] is not None:
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), value["double"], flags=re.DOTALL)
    return value["plain"] or ""


def _check_of_use(name: str, place: str) -> None:
    if name.startswith("RAY_AUTH"):
        raise ConfigError(
            f"{place}: {name}: the nodes of the cluster have its token already, and a job's package is no place for "
            "it: remove the line; for this command, set it in your shell"
        )
    if name.startswith("RAY_"):
        raise ConfigError(f"{place}: {name}: variables of Ray are set where its nodes start, not by a job")
    if name in _TOO_LATE or name.startswith("LD_"):
        raise ConfigError(f"{place}: {name}: has an effect only before a process starts, and workers have by then")


def packed(values: dict[str, str]) -> bytes:
    """The content of `FILE`. Its random part keeps the package's hash, which everyone sees, from telling the values."""
    return json.dumps({"nonce": secrets.token_hex(16), "values": values}).encode()


def load_environment() -> None:
    """Put the variables into the environment of this process; in a process of a job, wherever it runs.

    Raises:
        FileNotFoundError: the package is not there.
    """
    folders = [os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    found = [path for folder in folders if folder and (path := Path(folder, FILE)).is_file()]
    if not found:
        raise FileNotFoundError(f"{FILE}: is in none of the folders of the job")
    os.environ.update(json.loads(found[0].read_text())["values"])
