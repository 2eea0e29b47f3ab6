"""Whether a run fits into the memory of this machine, by arithmetic: nothing of its size is allocated to know it."""

import math
from collections.abc import Iterable

import torch

from lwgan_dist.config import RunConfig
from lwgan_dist.limits import refuse_bytes
from lwgan_dist.models.configs import LwganModel
from lwgan_dist.models.registry import kind_of
from lwgan_dist.networks.base import Shape

BYTES_OF_PARAMETER = 16
"""Of a parameter in training: itself, its gradient and Adam's two moments, in float32."""


def refuse_run(config: RunConfig, shape: Shape, train_rows: int | None) -> None:
    """Refuse a resolved run that cannot fit, whatever else the machine does.

    Args:
        config: resolved.
        shape: of a row.
        train_rows: None for a stream.

    Raises:
        ConfigError: its networks, a batch of rows or the table of its scores are larger than the memory.
    """
    of_lwgan = isinstance(config.model, LwganModel)
    with torch.device("meta"):
        networks = kind_of(config).networks(config, shape)
    parameters = sum(p.numel() for network in networks.named().values() for p in network.parameters())
    key = "networks.width" if of_lwgan else "model.width"
    refuse_bytes(key, f"training {parameters:,} parameters", float(BYTES_OF_PARAMETER * parameters))
    for key, rows in _batches(config):
        if train_rows is None or rows <= train_rows:  # a larger one is refused or cut down for the want of rows
            refuse_bytes(key, f"a batch of {rows:,} rows", 4.0 * rows * math.prod(shape))
    ranks = kind_of(config).latent_dim(config) if of_lwgan else 1
    evaluations = (config.score.evaluations if of_lwgan else getattr(config.model, "evaluations", 0)) or 0
    values = evaluations * ranks * len(kind_of(config).components)
    section = "score" if of_lwgan else "model"
    refuse_bytes(f"{section}.evaluations", f"the scores of {evaluations:,} evaluations", 8.0 * values)


def _batches(config: RunConfig) -> Iterable[tuple[str, int]]:
    """The numbers of rows of all batches, by key."""
    sections = ("schedule", "score") if isinstance(config.model, LwganModel) else ("model",)
    for section in sections:
        rows = getattr(getattr(config, section), "batch_size", None)
        if rows is not None:
            yield f"{section}.batch_size", rows
