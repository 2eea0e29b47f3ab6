"""What every family of networks has to give. The rank reaches encoder and critic; the generator does not see it."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from lwgan_dist.config import NetworksConfig

Shape = tuple[int, ...]
"""The shape of a row of the data: (p,) for tables, (height, width) or (channels, height, width) for images."""


class Network(nn.Module):
    """A network whose wide products can be taken in bfloat16, with parameters, inputs and outputs as they are."""

    def autocast(self, on: bool) -> None:
        """Take the products of wide layers in bfloat16, or in full precision."""
        raise NotImplementedError


class Encoder(Network):
    """Q_r: rows -> R^q at rank r: from x of shape (rows, *shape) and ranks of shape () or (rows,) to codes of shape
    (rows, q) whose coordinates after the r-th are 0.
    """


class Generator(Network):
    """G: R^q -> rows, one function for all ranks: from z of shape (rows, q) to shape (rows, *shape).

    Attributes:
        bounded: whether every number of a row is brought into (0, 1).
    """

    bounded = False

    def finished(self, x: Tensor) -> Tensor:
        """The output of the last layer as it is, or through a sigmoid if it is ``bounded``."""
        return torch.sigmoid(x) if self.bounded else x


class Critic(Network):
    """D_r: rows -> R at rank r: from x of shape (rows, *shape) and ranks of shape () or (rows,) to shape (rows,)."""

    def input_gradient(self, x: Tensor, ranks: Tensor) -> Tensor:
        """grad_x D_r(x) of every row, of the shape of x, differentiable with respect to the parameters."""
        raise NotImplementedError


@dataclass(frozen=True)
class Networks:
    """Encoder Q, generator G and critic D; one set holds every rank."""

    encoder: Encoder
    generator: Generator
    critic: Critic

    def decoder(self, rank: int) -> nn.Module:
        """G, for which a coordinate that is cut off is one that is 0."""
        return self.generator

    def named(self) -> dict[str, Network]:
        """The networks by the names under which they are saved."""
        return {"encoder": self.encoder, "generator": self.generator, "critic": self.critic}


class Family(Protocol):
    """Builds networks of one kind from the shape of a row, resolved settings and a source of initial values."""

    def encoder(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> Encoder:
        """A new encoder on the CPU, in float32."""

    def generator(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> Generator:
        """A new generator."""

    def critic(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> Critic:
        """A new critic."""
