"""The cycle-consistent GAN with the latent space as the second domain: its two generators are the generator G, from
codes to rows, and the encoder Q, from rows to codes; a critic D of rows and a critic E of codes.

- the critics minimise E (D(x) - 1)^2 + E D(G(z))^2 + E (E(z) - 1)^2 + E E(Q(x))^2;
- encoder and generator minimise E (D(G(z)) - 1)^2 + E (E(Q(x)) - 1)^2 + w_cycle (E |G(Q(x)) - x| + E |Q(G(z)) - z|),
  where |.| is the mean of the absolute numbers of a row or code.

The least squares in place of logarithms, the absolute error and w_cycle = 10 are those of the published experiments;
the pool of earlier generated images, from which the critics there see half of theirs, is not needed for tables.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.models.cyclegan.config import CycleGanModel
from lwgan_dist.models.one_size.kind import OneSizeKind
from lwgan_dist.models.one_size.model import OneSize, Update, Values
from lwgan_dist.models.one_size.networks import OneSizeNetworks, Role
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase, Terms


class CriticsLoss(nn.Module):
    """The squares of both critics on one batch."""

    def __init__(self, networks: OneSizeNetworks, world: World) -> None:
        super().__init__()
        self.critic, self.code_critic = networks["critic"], networks["code_critic"]
        self._maps = (networks["encoder"], networks["generator"])  # in a tuple: neither trained nor synchronised here
        self._world = world

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss, from its rows and the latent draws for all rows of the batch."""
        size, rank, z = len(z), torch.tensor(z.shape[1], device=x.device), z[self._world.share(len(z))]
        encoder, generator = self._maps
        with torch.no_grad():
            codes, generated = encoder(x, rank), generator(z)
        rows = (self.critic(x, rank) - 1).square() + self.critic(generated, rank).square()
        latent = (self.code_critic(z, rank) - 1).square() + self.code_critic(codes, rank).square()
        terms = {"rows": self._world.mean(rows, size), "codes": self._world.mean(latent, size)}
        return terms["rows"] + terms["codes"], {name: term.detach() for name, term in terms.items()}


class CycleLoss(nn.Module):
    """What the critics say of encoder and generator, and w_cycle times the cycle error, on one batch."""

    def __init__(self, networks: OneSizeNetworks, world: World, cycle_weight: float) -> None:
        super().__init__()
        self.encoder, self.generator = networks["encoder"], networks["generator"]
        self._critics = (networks["critic"], networks["code_critic"])
        self._world, self._weight = world, cycle_weight

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss, from its rows and the latent draws for all rows of the batch."""
        size, rank, z = len(z), torch.tensor(z.shape[1], device=x.device), z[self._world.share(len(z))]
        critic, code_critic = self._critics
        codes, generated = self.encoder(x, rank), self.generator(z)
        reconstructed = self.generator(codes)
        squares = (critic(generated, rank) - 1).square() + (code_critic(codes, rank) - 1).square()
        cycles = (reconstructed - x).abs().flatten(1).mean(1) + (self.encoder(generated, rank) - z).abs().mean(1)
        terms = {
            "reconstruction": self._world.mean(reconstruction_errors(x, reconstructed).detach(), size),
            "adversarial": self._world.mean(squares, size),
            "cycle": self._world.mean(cycles, size),
        }
        loss = terms["adversarial"] + self._weight * terms["cycle"]
        return loss, {name: term.detach() for name, term in terms.items()}


class CycleGan(OneSize[CycleGanModel]):
    """One update of both critics, then one of encoder and generator."""

    roles: ClassVar = {
        "encoder": Role("encoder"), "generator": Role("generator"),
        "critic": Role("critic"), "code_critic": Role("critic", of_codes=True),
    }  # fmt: skip
    components = ("reconstruction", "adversarial", "cycle")

    def updates_of(self) -> list[Update]:
        """Both by Adam with beta1 = 0.5."""
        critics: list[nn.Module] = [self.networks["critic"], self.networks["code_critic"]]
        against = Phase("critics", CriticsLoss(self.networks, self.world), [], self.world)
        both = Phase("encoder-generator", self._cycle_loss(self.world), critics, self.world)
        return [Update(phase, self.adam(0.5, 0.999)) for phase in (against, both)]

    def _cycle_loss(self, world: World) -> CycleLoss:
        return CycleLoss(self.networks, world, self.model.cycle_weight)

    def measure(self, x: Tensor, rng: np.random.Generator) -> Values:
        """The terms of the loss of encoder and generator, and R, on these rows and as many latent draws."""
        _, terms = self._cycle_loss(World())(x, self.latent(rng, len(x)))
        return np.array([[float(terms[name]) for name in self.components]])

    @staticmethod
    def score(model: CycleGanModel, components: Mapping[str, Values]) -> Values:
        """The loss of encoder and generator."""
        return components["adversarial"] + model.cycle_weight * components["cycle"]


KIND = OneSizeKind(CycleGan)
