"""What the trainer needs to know of a model; `lwgan_dist.models` holds the models."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lwgan_dist.training.phase import Phase
from lwgan_dist.training.stage import Stage

AStage = TypeVar("AStage", bound=Stage)


class NamedNetworks(Protocol):
    """The networks of a model."""

    def named(self) -> Mapping[str, nn.Module]:
        """By the names under which they are saved."""


class Model(Protocol[AStage]):
    """A model in training. All that is random in it is derived from (seed, stage, purpose, iteration), so its state is
    its networks, its optimizers and what `tensors` and `meta` return.
    """

    @property
    def networks(self) -> NamedNetworks:
        """On the device of the world."""

    @property
    def stages(self) -> Sequence[AStage]:
        """The stages of the training, in order."""

    @property
    def phases(self) -> Sequence[Phase]:
        """Losses with what they train, for the moments of their optimizers."""

    @property
    def gathered(self) -> frozenset[str]:
        """Names of terms of the losses that are computed on the rows of all workers, not summands of a mean."""

    def enter(self, stage: AStage) -> None:
        """A stage begins."""

    def prepare(self, stage: AStage, iteration: int) -> None:
        """Make what an iteration needs, counted from 0 within the stage."""

    def steps(self, stage: AStage, iteration: int) -> Iterator[tuple[Phase, tuple[Any, ...]]]:
        """The updates of an iteration: a phase, and what its step takes. Each runs before the next is asked for."""

    def has_ended(self, stage: AStage, iteration: int) -> bool:
        """Whether a stage may end after this iteration; every worker is asked."""

    def evaluate(self, stage: AStage, iteration: int, index: int) -> dict[str, NDArray[np.float64]]:
        """Components of the model's score by part of the rows, each of shape (ranks, components).

        Args:
            stage, iteration: when.
            index: number of this evaluation, from 0.
        """

    def tensors(self, iteration: int) -> dict[str, Tensor]:
        """What a checkpoint after an iteration of the run needs beside networks and optimizers."""

    def meta(self) -> dict[str, Any]:
        """The same that is plain JSON."""

    def load(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Go on from what `tensors` and `meta` gave; networks and optimizers are loaded by the trainer."""
