"""From a configuration to the model that it names."""

from importlib import import_module

from torch import Tensor

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import Sample
from lwgan_dist.models.base import Kind
from lwgan_dist.training.distributed import World
from lwgan_dist.training.trainer import Trainer


def kind_of(config: RunConfig) -> Kind:
    """The kind of model of a run."""
    kind: Kind = import_module(f"lwgan_dist.models.{config.model.name}.kind").KIND
    return kind


def trainer_of(
    config: RunConfig, sample: Sample, world: World | None = None, *, initial: dict[str, Tensor] | None = None
) -> Trainer:
    """A trainer of a new model.

    Args:
        config: resolved, see `RunConfig.resolved`.
        sample: what it learns from.
        world: the processes that train together; by default this one alone.
        initial: parameters to start from, see `Trainer`.
    """
    world = world or World()
    return Trainer(kind_of(config).model(config, sample, world), world, initial=initial)
