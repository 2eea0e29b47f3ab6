"""The Wasserstein GAN with gradient penalty: K updates of the critic, then one of the generator.

With critic D, generator G and x_mix uniform on the segments between rows and generated rows:

- the critic minimises -C + w_gp P for C = E D(x) - E D(G(z)) and P = E (||grad D(x_mix)|| - 1)^2;
- the generator minimises -E D(G(z)).

At its best C estimates the Wasserstein-1 distance W of the two distributions, a little from above: a critic of slope
1 + W / (2 w_gp) pays less for its slope than it gains if the rows are shifted against each other by W.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwgan_dist.method.objective import gradient_penalties, mix
from lwgan_dist.models.one_size.kind import OneSizeKind
from lwgan_dist.models.one_size.model import OneSize, Update, Values
from lwgan_dist.models.one_size.networks import Role
from lwgan_dist.models.wgan_gp.config import WganGpModel
from lwgan_dist.networks.base import Critic
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase, Terms


class CriticLoss(nn.Module):
    """-C + w_gp P on one batch."""

    def __init__(self, critic: Critic, generator: nn.Module, world: World, gradient_penalty_weight: float) -> None:
        super().__init__()
        self.critic = critic
        self._generator = (generator,)  # in a tuple: not registered, hence neither trained nor synchronised here
        self._world, self._weight = world, gradient_penalty_weight

    def forward(self, x: Tensor, z: Tensor, alpha: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss, from its rows and, for all rows of the batch, latent draws and places on
        the segments, shape (rows, 1).
        """
        size, rank, share = len(z), torch.tensor(z.shape[1], device=x.device), self._world.share(len(z))
        (generator,) = self._generator
        with torch.no_grad():
            generated = generator(z[share])
        difference = self._world.mean(self.critic(x, rank) - self.critic(generated, rank), size)
        gradient = self.critic.input_gradient(mix(alpha[share], x, generated), rank)
        penalty = self._world.mean(gradient_penalties(gradient), size)
        terms = {"critic": difference.detach(), "gradient_penalty": penalty.detach()}
        return -difference + self._weight * penalty, terms


class GeneratorLoss(nn.Module):
    """-E D(G(z)) on one batch."""

    def __init__(self, generator: nn.Module, critic: Critic, world: World) -> None:
        super().__init__()
        self.generator = generator
        self._critic = (critic,)
        self._world = world

    def forward(self, x: Tensor, z: Tensor, alpha: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss; nothing but the latent draws plays a part in it."""
        size, rank, (critic,) = len(z), torch.tensor(z.shape[1], device=z.device), self._critic
        loss = -self._world.mean(critic(self.generator(z[self._world.share(size)]), rank), size)
        return loss, {"loss": loss.detach()}


class WganGp(OneSize[WganGpModel]):
    """A critic that is ahead of its generator."""

    roles: ClassVar = {"critic": Role("critic"), "generator": Role("generator")}
    components = ("critic", "gradient_penalty")

    def updates_of(self) -> list[Update]:
        """Both by Adam with beta1 = 0, beta2 = 0.9."""
        critic, generator, adam = self.networks.critic, self.networks.generator, self.adam(0.0, 0.9)
        adversary = Phase("generator", GeneratorLoss(generator, critic, self.world), [critic], self.world)
        return [
            Update(Phase("critic", self._critic_loss(self.world), [], self.world), adam, self.model.critic_updates),
            Update(adversary, adam),
        ]

    def _critic_loss(self, world: World) -> CriticLoss:
        weight = self.model.gradient_penalty_weight
        return CriticLoss(self.networks.critic, self.networks.generator, world, weight)

    def noise(self, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        """Latent draws, then places on the segments, shape (batch, 1)."""
        return (*super().noise(rng), rng.uniform(size=(self.batch_size, 1)))

    def measure(self, x: Tensor, rng: np.random.Generator) -> Values:
        """C and P of these rows and as many generated ones."""
        z, alpha = self.latent(rng, len(x)), self.tensor(rng.uniform(size=(len(x), 1)))
        _, terms = self._critic_loss(World())(x, z, alpha)
        return np.array([[float(terms[name]) for name in self.components]])

    @staticmethod
    def score(model: WganGpModel, components: Mapping[str, Values]) -> Values:
        """C, the estimate of the Wasserstein-1 distance."""
        return components["critic"]


KIND = OneSizeKind(WganGp)
