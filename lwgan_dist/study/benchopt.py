"""A study as a benchopt benchmark: its samples as data sets, its methods as solvers, |estimate - truth| as objective.

The samples are files, so that others need no lwgan-dist to join; benchopt itself is not needed here.
"""

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pprint import pformat
from typing import Any

import numpy as np

from lwgan_dist.campaign.worker import quiet
from lwgan_dist.config import Settings
from lwgan_dist.data.sample import load_sample
from lwgan_dist.errors import ConfigError
from lwgan_dist.reporting.page import rendered
from lwgan_dist.storage import Folder
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.design import LWGAN, Design, Group

MOST_BYTES = 1 << 30
"""Of all samples: a benchmark travels as a repository."""
_FILES = {"objective": ("", "objective.py"), "dataset": ("datasets", "study.py"), "readme": ("", "README.md")}


@dataclass(frozen=True)
class Exported:
    """What was written: samples, solvers, and sentences about what was left out."""

    samples: int
    solvers: list[str]
    left_out: list[str]


def export(config: StudyConfig, precision: str, name: str, out: Folder, draws: int) -> Exported:
    """Write the benchmark.

    Args:
        config: of the study.
        precision: of its runs.
        name: of the study.
        out: new or empty folder.
        draws: samples of each data set and n, the first of the study.

    Raises:
        ConfigError: a folder that is not empty, no data of known dimension, no method, or more than `MOST_BYTES`.
        DataError: data that cannot be drawn from.
    """
    if any(not file.startswith(".") for file in out.names()):
        raise ConfigError(f"{out.location}: is not empty; choose another folder")
    design = Design(config, precision)
    places = _places(design)
    if not places:
        raise ConfigError("data: none is of known dimension, so no estimate could be right; give intrinsic_dim")
    settings, left_out = _settings(config, precision)
    solvers = {"classical": bool(config.classical.estimators and config.classical.replicates), "models": bool(settings)}
    kept = [solver for solver, is_there in solvers.items() if is_there]
    if not kept:
        raise ConfigError(f"no method can be exported: {' '.join(left_out)} Give classical.estimators")
    samples = _samples(design, places, draws)
    rows = [row for row, _ in samples]
    smallest = min(rows, key=lambda row: (row["n"], row["columns"]))
    content = {
        "name": name, "version": version("lwgan-dist"), "rows": rows, "notes": left_out,
        "samples": _literal([(row["data"], row["n"], draw) for row in rows for draw in range(row["draws"])]),
        "smallest": repr({"data": smallest["data"], "n": smallest["n"], "draw": 0}),
        "estimators": _literal(config.classical.estimators),
        "settings": _literal(settings), "methods": _literal(list(settings)),
    }  # fmt: skip
    for row, file in samples:
        out.sub("datasets").sub("samples").write(f"{row['data']}-{row['n']}.npz", file)
    for part, (folder, file_name) in {**_FILES, **{part: ("solvers", f"{part}.py") for part in kept}}.items():
        target = out.sub(folder) if folder else out
        target.write(file_name, rendered(f"study/templates/benchopt_{part}.jinja", content).encode())
    return Exported(sum(row["draws"] for row in rows), kept, left_out)


def _places(design: Design) -> list[Group]:
    """A group for each data set and n of known truth."""
    known = [group for group in design.groups if group.intrinsic_dim is not None]
    return list({(group.data, group.n): group for group in reversed(known)}.values())[::-1]


def _names(places: Sequence[Group]) -> dict[str, str]:
    """Names of data, for files and command lines, by label."""
    names, taken = dict[str, str](), Counter[str]()
    for group in places:
        if group.data not in names:
            plain = re.sub(r"[^A-Za-z0-9.]+", "_", group.data).strip("_.") or "data"
            taken[plain.lower()] += 1
            count = taken[plain.lower()]
            names[group.data] = plain if count == 1 else f"{plain}_{count}"
    return names


def _samples(design: Design, places: Sequence[Group], draws: int) -> list[tuple[dict[str, Any], bytes]]:
    """The rows of the table in the README, each with the content of its file; all are drawn before one is written."""
    drawn, total, names = list[tuple[dict[str, Any], bytes]](), 0, _names(places)
    for group in places:
        samples, seeds = [], []
        for run in design.runs(group, range(1 if group.whole else draws)):
            if run.initialisation:
                continue
            with quiet():
                sample = load_sample(run.config.data)
            samples.append(np.concatenate([sample.train, sample.holdout]).reshape(-1, sample.ambient_dim))
            seeds.append(design.run_seed("classical", group.n, run.replicate))
            total += samples[-1].nbytes
            if total > MOST_BYTES:
                raise ConfigError(f"--draws {draws}: the samples take more than {MOST_BYTES >> 30} GiB; give fewer")
        truth, buffer = np.array(group.intrinsic_dim), io.BytesIO()
        np.savez_compressed(buffer, X=np.stack(samples), seed=np.array(seeds), intrinsic_dim=truth)
        row = {"data": names[group.data], "label": group.data, "truth": group.intrinsic_dim, "n": group.n,
               "draws": len(samples), "columns": samples[0].shape[1]}  # fmt: skip
        drawn.append((row, buffer.getvalue()))
    return drawn


def _settings(config: StudyConfig, precision: str) -> tuple[dict[str, Any], list[str]]:
    """The sections of a run by model, as far as they do not depend on the data, and what is left out."""
    base = config.run if config.run.precision != "auto" else config.run.model_copy(update={"precision": precision})
    settings, left_out = dict[str, Settings](), list[str]()
    of_runs = [path for path in config.factors if not path.startswith("data.")]
    own = [path for item in config.data for path in item.settings]
    if config.lwgan.replicates and (of_runs or own):
        left_out.append(f"{LWGAN} is left out: its settings vary with {', '.join(dict.fromkeys([*of_runs, *own]))}.")
    elif config.lwgan.replicates:
        settings[LWGAN] = base
        if config.lwgan.rules:
            left_out.append(
                f"Of the rank rules, that of run.score alone is there, not {', '.join(config.lwgan.rules)}."
            )
    for model in config.models:
        settings[model.label_with({})] = base.model_copy(update={"model": model.model()})
    return {name: run.model_dump(mode="json") for name, run in settings.items()}, left_out


def _literal(value: Any) -> str:
    """The value in Python, as what a line assigns."""
    text = pformat(value, width=110, sort_dicts=False)
    return text.replace("\n", "\n        ")
