"""A study that takes seconds: configurations, and the command line in a process that is killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lwgan_dist.campaign.folder import LEDGER
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.progress import Standing
from lwgan_dist.configfile import build_config
from lwgan_dist.storage import Folder
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.study import Study

TINY: dict[str, Any] = {
    "data": [{"name": "s_curve"}, {"name": "swissroll_curve", "noise": 0.05}],
    "sizes": [60, 40],
    "run": {
        "networks": {"width": 2, "latent_dim": 2},
        "schedule": {
            "batch_size": 16, "embedding_iterations": 2, "embedding_rounds": 1, "matching_iterations": 2,
            "critic_iterations": 20,
            "scoring_interval": 1,
        },
        "score": {"evaluations": 3},
        "precision": "float32",
    },
    "lwgan": {"replicates": 2, "rules": {"rate": {"penalty": "rate"}}},
    "classical": {"estimators": ["TwoNN", "MLE"], "replicates": 3},
    "execution": {"workers": 0},
}  # fmt: skip


class Silent:
    """Progress that nobody sees, but a test may read."""

    def __init__(self) -> None:
        self.phases: list[tuple[int | None, str]] = []
        self.updates: list[Standing] = []

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        self.phases.append((total, what))

    def update(self, standing: Standing) -> None:
        self.updates.append(standing)


def config(changes: dict[str, Any] | None = None, **told: Any) -> StudyConfig:
    return build_config(StudyConfig, {**TINY, **told}, changes or {})


def study(folder: Path, changes: dict[str, Any] | None = None, **told: Any) -> Study:
    return Study(config(changes, **told), Folder.at(str(folder)))


NO_TIME = ["cpu_seconds", "wall_seconds"]
"""Columns in which two equal studies differ."""


def finished_runs(folder: Path) -> int:
    """Runs in the ledger of a study."""
    return len(Ledger(Folder.at(str(folder / LEDGER)), RunRecord).keys())


def begun(told: str) -> int:
    """Runs that ``lwgan-dist study`` said it began, of both kinds."""
    return sum(int(count) for count in re.findall(r"  0/(\d+) (?:LWGAN|classical) runs", told))


def command(file: Path, storage: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """``lwgan-dist study`` in a process group of its own, that Ctrl-C can reach also where the tests run in the
    background (there, a shell has interrupts ignored).
    """
    return subprocess.Popen(
        [sys.executable, "-m", "lwgan_dist", "study", str(file), "--storage", str(storage), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, **environment}, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
