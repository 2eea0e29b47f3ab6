"""The folder of a run: what it holds, whose it is, and how it is read.

- ``config.yaml``         the resolved configuration
- ``env.json``            versions, machine, threads, seeds, identity of the data
- ``checkpoints/``        the newest states
- ``progress.json``       where it stands
- ``scores.parquet``      every component of the score, by split, evaluation and rank
- ``model/``              the networks, enough to encode and generate anywhere
- ``rank_scores.png``, ``samples.png``, ``tb/``
- ``result.json``         written last: the run is finished
"""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lwgan_dist.config import ExecutionConfig, Precision
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.results import RunResult
from lwgan_dist.run.prepare import Prepared
from lwgan_dist.storage import Folder, exclusive

CONFIG_FILE, ENVIRONMENT_FILE, RESULT_FILE = "config.yaml", "env.json", "result.json"
SCORES_FILE, RANK_SCORES_PNG, SAMPLES_PNG = "scores.parquet", "rank_scores.png", "samples.png"


class Identity(BaseModel):
    """The identity of a run, see `lwgan_dist.run.prepare.Prepared.identity`."""

    fingerprint: str
    data_sha256: str | None = None
    precision: Precision | None = None


class Environment(BaseModel):
    """What is read of ``env.json``: whose the folder is, and of a run its threads and how it came to be."""

    run: Identity | None = None
    study: dict[str, Any] | None = None
    search: dict[str, Any] | None = None
    comparison: dict[str, Any] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    command: list[str] = []
    git: str | None = None
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}


def claim(folder: Folder, run: Prepared, execution: ExecutionConfig) -> None:
    """Mark a folder as this run's, unless it is already, and remove what a killed command left.

    Raises:
        ConfigError: it holds something else.
    """
    refuse_foreign(folder, run)  # it may have become another's meanwhile
    folder.remove_temporary()
    folder.remove(".ray")
    if not folder.has(ENVIRONMENT_FILE):
        folder.write(ENVIRONMENT_FILE, json.dumps(_environment(run, execution), indent=1).encode())
    if not folder.has(CONFIG_FILE):
        folder.write(CONFIG_FILE, to_yaml(run.config).encode())


def claim_lean(folder: Folder, run: Prepared) -> None:
    """The same for a folder that holds nothing but checkpoints, of a run whose files nobody will read."""
    refuse_foreign(folder, run)
    folder.remove_temporary()
    if not folder.has(ENVIRONMENT_FILE):
        folder.write(ENVIRONMENT_FILE, json.dumps({"run": run.identity()}).encode())


def refuse_foreign(folder: Folder, run: Prepared) -> None:
    """Leave a folder alone that is another run's, or no run's.

    Raises:
        ConfigError: it is.
    """
    if folder.has(ENVIRONMENT_FILE):
        before = identity_in(folder)
        if before["fingerprint"] != run.fingerprint:
            raise ConfigError(f"{folder.location}: {_difference(run, before)} choose another folder")
        return
    if any(not name.startswith(".") for name in folder.names()):
        raise ConfigError(f"{folder.location}: is not empty and not a run folder; choose another folder")


def _difference(run: Prepared, before: dict[str, Any]) -> str:
    if before.get("data_sha256") != run.sample.digest:
        if any(finding.kind == "row_numbers" for finding in run.sample.decided):
            mend = "go on with data.standardize=global, or"
            return f"its run was begun before row numbers were left out, or the data has changed since: {mend}"
        return "holds another run: its data are others, or have changed since;"
    for given, config in run.as_before():
        if config.fingerprint(run.sample.digest) == before["fingerprint"]:
            settings = " ".join(given)
            return f"its run was begun before a setting existed that would change it: go on with {settings}, or"
    return "holds another run: its configuration differs (see its config.yaml);"


def identity_in(folder: Folder) -> dict[str, Any]:
    """``fingerprint``, ``data_sha256`` and ``precision`` of the run in a folder that has an ``env.json``.

    Raises:
        ConfigError: it holds a study, a search or a comparison.
    """
    environment = folder.read_json(ENVIRONMENT_FILE, Environment)
    if environment.run is None:
        what = "a comparison" if environment.comparison is not None else "a study or a search"
        raise ConfigError(f"{folder.location}: holds {what}, not a run; choose another folder")
    return environment.run.model_dump(exclude_none=True)


def _environment(run: Prepared, execution: ExecutionConfig) -> dict[str, Any]:
    return {
        "run": run.identity(),
        "seeds": {"run": run.config.seed, "data": run.config.data.seed},
        "execution": execution.model_dump(mode="json"),
        "threads": execution.threads_per_worker,
        "versions": versions(),
        "git": git_commit(),
        "machine": {"platform": platform.platform(), "processors": os.cpu_count()},
        "command": sys.argv,
    }


def read_result(folder: Folder) -> RunResult:
    """The result of a finished run; its ``run_dir`` is where the folder is now.

    Raises:
        ConfigError: not a run folder, or a run that is not finished.
    """
    if not folder.has(RESULT_FILE):
        state = "a run that is not finished" if folder.has(CONFIG_FILE) else "no run"
        raise ConfigError(f"{folder.location}: holds {state} (no {RESULT_FILE})")
    result = folder.read_json(RESULT_FILE, RunResult)
    return result.model_copy(update={"run_dir": folder.location})


def amend_result(folder: Folder, **changes: Any) -> RunResult:
    """The result of a finished run with changes, written.

    Raises:
        ConfigError: as `read_result`; or another process works in the folder.
    """
    with exclusive(folder):
        result = read_result(folder).model_copy(update=changes)
        folder.write(RESULT_FILE, result.model_dump_json(indent=1).encode())
        return result


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a number may depend on."""
    packages = ("lwgan-dist", "torch", "numpy", "ray", "pyarrow", "safetensors", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def run_files(folder: Folder) -> dict[str, str]:
    """The files of a finished run for its readers, by a description."""
    names = {"rank scores": RANK_SCORES_PNG, "samples": SAMPLES_PNG, "scores": SCORES_FILE, "model": "model"}
    return {what: f"{folder.location}/{name}" for what, name in names.items()}


def git_commit() -> str | None:
    """Commit of the checkout that the package is run from, with "+" for local changes; None outside a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
