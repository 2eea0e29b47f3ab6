"""What the platform needs to know of a kind of model: how it is built, used when it is fitted, and judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import Sample
from lwgan_dist.networks.base import Shape
from lwgan_dist.results import Judgement, Part, ScoreTables, TearSummary
from lwgan_dist.training.distributed import World
from lwgan_dist.training.model import Model
from lwgan_dist.training.stage import Stage
from lwgan_dist.training.trainer import under


class FittedNetworks(Protocol):
    """Networks that map rows to codes and back; see `lwgan_dist.networks.base` for the shapes."""

    @property
    def encoder(self) -> nn.Module | None:
        """Q_r(x) for x of shape (rows, *shape) and a rank of shape (); coordinates after the r-th are 0. None of a
        model that has no codes of rows.
        """

    @property
    def generator(self) -> nn.Module:
        """G(z) for z of shape (rows, q)."""

    def decoder(self, rank: int) -> nn.Module:
        """G of codes, shape (rows, q), whose coordinates after the rank-th are cut off: they are 0."""

    def named(self) -> Mapping[str, nn.Module]:
        """By the names under which they are saved."""


class Codec(Protocol):
    """A fitted model as far as judging needs it, see `lwgan_dist.fitted.FittedModel`."""

    def encode(self, rows: NDArray[Any], rank: int | None = None) -> NDArray[np.float64]:
        """Codes of rows of the data."""

    def decode(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Rows in the units of the data."""


@dataclass(frozen=True)
class Finished:
    """A training that has come to its end.

    Attributes:
        config: resolved.
        sample: that was trained on.
        tables: components of the score by split, each of shape (evaluations, ranks, components).
        start: the part of the model's ``meta`` about its start; None of a model without one.
        parts: the part of each training row, of data that fall apart.
        fitted: makes the fitted model.
    """

    config: RunConfig
    sample: Sample
    tables: ScoreTables
    start: Mapping[str, Any] | None
    parts: NDArray[np.int64] | None
    fitted: Callable[[], Codec]


@dataclass(frozen=True)
class Verdict:
    """The outcome of a finished training.

    Attributes:
        judgement: the dimension, if the model estimates one, and the scores.
        notes: what a reader of it should know.
        tear: of the start, for models with one that tears.
        parts: of data that fall apart, with the dimension of each.
    """

    judgement: Judgement
    notes: list[str] = field(default_factory=list)
    tear: TearSummary | None = None
    parts: list[Part] = field(default_factory=list)


class Kind(Protocol):
    """A kind of model; ``KIND`` in the module ``lwgan_dist.models.<name>.kind`` is its one object."""

    @property
    def finds_parts(self) -> bool:
        """Whether it judges each part of data that fall apart."""

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components of its score, in the order of the last axis of its tables."""

    def schedule(self, config: RunConfig) -> str:
        """How it is optimised, in a word."""

    def check(self, config: RunConfig, given: RunConfig, sample: Sample, source: str) -> None:
        """Refuse a configuration, resolved and as given, or a sample that cannot be trained on.

        Raises:
            DataError, ConfigError: with ``source`` in front, the file that the data are from, or nothing.
        """

    def stages(self, config: RunConfig) -> Sequence[Stage]:
        """The stages of the training of a resolved configuration."""

    def model(self, config: RunConfig, sample: Sample, world: World) -> Model[Any]:
        """A new model of a resolved configuration."""

    def networks(self, config: RunConfig, shape: Shape) -> FittedNetworks:
        """Networks on the CPU for the parameters of a checkpoint or a saved model, in full precision."""

    def latent_dim(self, config: RunConfig) -> int:
        """q, the most coordinates of a code."""

    def judge(self, finished: Finished) -> Verdict:
        """The verdict from the evaluations."""


def load_parameters(networks: FittedNetworks, tensors: Mapping[str, Tensor]) -> None:
    """Load the parameters of all networks from the tensors of a checkpoint or a saved model."""
    for name, network in networks.named().items():
        network.load_state_dict(under(tensors, f"network/{name}/"))
