"""The bootstrap of a fitted run: the samples of the refits, their configurations, and where they start.

A refit is a run on an array (``data.source: array``) and a function of the run, its model, the section ``bootstrap``,
the kind and the number of the refit: nothing depends on the refits before it.

It repeats the whole estimate on its sample, the split and the standardisation too:

- a sample of rows with replacement has copies of a row on both sides of the split, and networks that it starts from
  have seen nine tenths of its rows: the score on its hold-out rows is in part one on training rows. That on training
  rows means what it means in the run;
- its shift and scale differ from those of the run by the sampling error of a mean and a variance. A warm start leaves
  the networks as they are: in units of the refit they are off by so much, and matching takes that away.

Source: arXiv:2409.18374 (parametric; on fresh rows at every step, where ours are n rows).
"""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lwgan_dist.config import ArrayData, FastSchedule, PaperSchedule, RunConfig, ScheduleConfig
from lwgan_dist.configfile import build_config
from lwgan_dist.data.sample import Sample
from lwgan_dist.errors import ConfigError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.seeding import derive, generator
from lwgan_dist.study.config import BootstrapConfig, RuleConfig

Kind = Literal["parametric", "rows"]

PAPER_ITERATIONS, PAPER_LEARNING_RATE = 2_000, 1e-4
"""Iterations and learning rate of a warm refit by the authors (arXiv:2409.18374, their experiments)."""

FAST_MATCHING_SHARE, FAST_LEARNING_RATE_SHARE = 1 / 3, 0.3
"""Updates of the matching stage and Adam's rate at its start in a warm refit, as parts of those of the run; measured by
``tests/benchmarks/bench_bootstrap.py``."""

WARM = (PAPER_ITERATIONS, PAPER_LEARNING_RATE, FAST_MATCHING_SHARE, FAST_LEARNING_RATE_SHARE)
"""What the settings of warm refits depend on, as a part of the names of refits."""

_KEPT = ("networks.name", "networks.latent_dim", "networks.width", "networks.encoder_activation", "precision")
"""What a warm refit has in common with the run, whose parameters it starts from."""


def resample(kind: Kind, index: int, sample: Sample, model: FittedModel | None, seed: int) -> NDArray[np.float64]:
    """The rows of a refit, shape (n, p), in the units of the data; n is that of the run.

    Args:
        kind: ``parametric`` draws them from the generator at the estimated rank, ``rows`` draws them with replacement
            from all rows, training and hold-out.
        index: number of the refit.
        sample: of the run.
        model: of the run; ``rows`` needs none.
        seed: of the bootstrap.

    Raises:
        ConfigError: a stream, which has no n.
    """
    if sample.rows is None:
        raise ConfigError("bootstrap: draws as many rows as the run has, and data.rows 'stream' has no number")
    if kind == "parametric":
        if model is None:
            raise ValueError("the parametric bootstrap draws from the model of the run")
        return model.generate(sample.rows, seed=derive(seed, "bootstrap/rows", kind, index))
    picks = generator(seed, "bootstrap/rows", kind, index).integers(0, sample.rows, sample.rows)
    return sample.standardizer.undo(np.concatenate([sample.train, sample.holdout])[picks])


def refit_config(config: RunConfig, bootstrap: BootstrapConfig, kind: Kind, index: int, seed: int) -> RunConfig:
    """The configuration of a refit.

    Args:
        config: of the run, resolved, so that what depended on its data stays.
        bootstrap: where refits start and what differs.
        kind, index: which refit.
        seed: of the bootstrap.

    Raises:
        ConfigError: ``bootstrap.settings`` make no configuration of a refit; the message names the key.
    """
    values = config.model_dump(mode="json")
    values["data"] = {
        "source": "array",
        "standardize": config.data.standardize,
        "holdout_fraction": config.data.holdout_fraction,
        "seed": _seed(seed, "data", kind, index),
    }
    values["seed"] = _seed(seed, "run", kind, index)
    changes = dict(_dotted(bootstrap.settings))
    for path in changes:
        if (
            path.split(".")[0] in ("data", "seed", "objective")
            or path.removeprefix("score.") in RuleConfig.model_fields
        ):
            raise ConfigError(f"bootstrap.settings: {path}: is that of the run also in its refits")
    if bootstrap.start == "warm":
        changes = _warm_settings(config.schedule, changes.get("schedule.name")) | changes
    try:
        refit = build_config(RunConfig, values, changes)
    except ConfigError as error:
        raise ConfigError("\n".join(f"bootstrap.settings: {line}" for line in str(error).splitlines())) from None
    if not isinstance(refit.data, ArrayData):
        raise ConfigError("bootstrap.settings: data.source: the rows of a refit are those of its sample")
    if bootstrap.start == "warm":
        for key in _KEPT:
            ours, theirs = _value(refit, key), _value(config, key)
            if ours != theirs:
                raise ConfigError(
                    f"bootstrap.settings: {key}: a refit that starts from the networks of the run keeps its {theirs} "
                    f"(got {ours}); bootstrap.start = cold does not"
                )
    return refit


def warm_start(model: FittedModel) -> dict[str, Tensor]:
    """The parameters of a fitted model, as the initial ones of a refit; see `lwgan_dist.training.trainer.Trainer`."""
    return {
        f"network/{name}/{key}": value.detach().clone()
        for name, network in model.networks.named().items()
        for key, value in network.state_dict().items()
    }


def _warm_settings(schedule: ScheduleConfig, name: str | None) -> dict[str, Any]:
    """What a start from fitted networks changes in the schedule of the run, or in another one that was chosen."""
    if name is not None and name != schedule.name:
        schedule = PaperSchedule() if name == "paper" else FastSchedule()
    if isinstance(schedule, PaperSchedule):
        changes: dict[str, Any] = {
            "iterations": min(PAPER_ITERATIONS, schedule.iterations),
            "learning_rate": min(PAPER_LEARNING_RATE, schedule.learning_rate),
            "mmd_start": 0.0,
            "burst_first": 0,
        }
    else:
        changes = {
            "embedding_iterations": 0,
            "matching_iterations": math.ceil(FAST_MATCHING_SHARE * schedule.matching_iterations),
            "matching_learning_rate": FAST_LEARNING_RATE_SHARE * schedule.matching_learning_rate,
        }
    return {f"schedule.{key}": value for key, value in changes.items()}


def _seed(seed: int, purpose: str, kind: Kind, index: int) -> int:
    return derive(seed, f"bootstrap/{purpose}", kind, index) % 2**63


def _dotted(settings: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted path, also those that are given in a section."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _value(config: RunConfig, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
