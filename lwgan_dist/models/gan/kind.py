"""The generative adversarial network: discriminator and generator, updated in turn.

With the discriminator's logit D, the logistic function sigma and s(t) = log(1 + e^t):

- the discriminator minimises L = -E log sigma(D(x)) - E log(1 - sigma(D(G(z)))) = E s(-D(x)) + E s(D(G(z)));
- the generator minimises -E log sigma(D(G(z))) = E s(-D(G(z))), the loss that does not saturate.

The least L is 2 log 2 - 2 JS: log 2 - L / 2 estimates from below the Jensen-Shannon divergence JS, in [0, log 2], of
the distribution of rows from that of generated ones.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lwgan_dist.models.gan.config import GanModel
from lwgan_dist.models.one_size.kind import OneSizeKind
from lwgan_dist.models.one_size.model import OneSize, Update, Values
from lwgan_dist.models.one_size.networks import Role
from lwgan_dist.networks.base import Critic
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase, Terms


class DiscriminatorLoss(nn.Module):
    """L on one batch; its term is the estimate of the Jensen-Shannon divergence."""

    def __init__(self, critic: Critic, generator: nn.Module, world: World) -> None:
        super().__init__()
        self.critic = critic
        self._generator = (generator,)  # in a tuple: not registered, hence neither trained nor synchronised here
        self._world = world

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss, from its rows and the latent draws for all rows of the batch."""
        size, rank, (generator,) = len(z), torch.tensor(z.shape[1], device=x.device), self._generator
        with torch.no_grad():
            generated = generator(z[self._world.share(size)])
        values = softplus(-self.critic(x, rank)) + softplus(self.critic(generated, rank))
        loss = self._world.mean(values, size)
        return loss, {"jensen_shannon": (math.log(2.0) - loss / 2).detach()}


class GeneratorLoss(nn.Module):
    """E s(-D(G(z))) on one batch."""

    def __init__(self, generator: nn.Module, critic: Critic, world: World) -> None:
        super().__init__()
        self.generator = generator
        self._critic = (critic,)
        self._world = world

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss; the rows of the data play no part in it."""
        size, rank, (critic,) = len(z), torch.tensor(z.shape[1], device=z.device), self._critic
        logits = critic(self.generator(z[self._world.share(size)]), rank)
        loss = self._world.mean(softplus(-logits), size)
        return loss, {"loss": loss.detach()}


class Gan(OneSize[GanModel]):
    """One update of the discriminator, then one of the generator."""

    roles: ClassVar = {"critic": Role("critic"), "generator": Role("generator")}
    components = ("jensen_shannon",)

    def updates_of(self) -> list[Update]:
        """Both by Adam with beta1 = 0.5."""
        critic, generator = self.networks.critic, self.networks.generator
        discriminator = Phase("discriminator", DiscriminatorLoss(critic, generator, self.world), [], self.world)
        adversary = Phase("generator", GeneratorLoss(generator, critic, self.world), [critic], self.world)
        return [Update(phase, self.adam(0.5, 0.999)) for phase in (discriminator, adversary)]

    def measure(self, x: Tensor, rng: np.random.Generator) -> Values:
        """The estimate of the Jensen-Shannon divergence of these rows and as many generated ones."""
        loss = DiscriminatorLoss(self.networks.critic, self.networks.generator, World())
        return np.array([[float(loss(x, self.latent(rng, len(x)))[1]["jensen_shannon"])]])

    @staticmethod
    def score(model: GanModel, components: Mapping[str, Values]) -> Values:
        """The estimate itself."""
        return components["jensen_shannon"]


KIND = OneSizeKind(Gan)
