"""A comparison that takes seconds."""

from pathlib import Path
from typing import Any

from tiny_study import TINY as STUDY

from lwgan_dist.compare.comparison import Comparison
from lwgan_dist.compare.config import CompareConfig
from lwgan_dist.configfile import build_config
from lwgan_dist.storage import Folder

WAE = {"name": "wae", "width": 2, "iterations": 6, "batch_size": 16, "evaluations": 2}
TINY: dict[str, Any] = {
    "data": [{"name": "s_curve"}, {"name": "swissroll_curve", "noise": 0.05}],
    "sizes": [40],
    "models": [
        {"name": "lwgan"},
        {"name": "lwgan", "rank": "truth"},
        {**WAE, "latent_dim": "truth", "label": "WAE"},
        {**WAE, "latent_dim": "truth-1", "label": "small <WAE>"},
    ],
    "replicates": 2,
    "fresh_rows": 64,
    "run": STUDY["run"],
    "execution": {"workers": 0},
}


def config(**given: Any) -> CompareConfig:
    return build_config(CompareConfig, {**TINY, **given}, {})


def comparison(folder: Path, **given: Any) -> Comparison:
    return Comparison(config(**given), Folder.at(str(folder)))
