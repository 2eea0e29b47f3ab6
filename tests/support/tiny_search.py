"""A search that takes seconds: configurations, and the command line in a process that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tiny_study import TINY as STUDY

from lwgan_dist.configfile import build_config
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.search import Search
from lwgan_dist.storage import Folder

TINY: dict[str, Any] = {
    "run": {**STUDY["run"], "data": {"source": "manifold", "name": "s_curve", "n": 60, "noise": 0.05}},
    "space": {
        "objective.mmd_weight": {"loguniform": [0.1, 10]},
        "networks.width": {"choice": [2, 3]},
        "networks.latent_dim": {"integer": [1, 3]},
    },
    "budget": {"trials": 8},
    "confirm_seeds": 2,
    "execution": {"workers": 0},
}
ASHA = {"name": "asha", "reports_per_seed": 4}


def config(changes: dict[str, Any] | None = None, **told: Any) -> SearchConfig:
    return build_config(SearchConfig, {**TINY, **told}, changes or {})


def search(folder: Path, changes: dict[str, Any] | None = None, **told: Any) -> Search:
    return Search(config(changes, **told), Folder.at(str(folder)))


def command(file: Path, storage: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """``lwgan-dist tune`` in a process group of its own, that Ctrl-C can reach also where the tests run in the
    background (there, a shell has interrupts ignored).
    """
    return subprocess.Popen(
        [sys.executable, "-m", "lwgan_dist", "tune", str(file), "--storage", str(storage), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, **environment}, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def numbers(table: Any) -> Any:
    """A table without what the clock says."""
    return table.drop_columns([name for name in ("cpu_seconds", "wall_seconds") if name in table.column_names])
