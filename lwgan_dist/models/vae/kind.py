"""The variational auto-encoder: an encoder of mean and variance, a Gaussian decoder with one variance."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lwgan_dist.config import Precision
from lwgan_dist.method.latent import mask_to_rank
from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.models.one_size.config import OneSizeModel
from lwgan_dist.models.one_size.kind import OneSizeKind
from lwgan_dist.models.one_size.model import OneSize, Update, Values
from lwgan_dist.models.one_size.networks import Constants, OneSizeNetworks, Role, build_networks
from lwgan_dist.models.vae.config import VaeModel
from lwgan_dist.models.vae.gaussian import kl_divergences, negative_log_likelihood, sample_codes
from lwgan_dist.networks.base import Network, Shape
from lwgan_dist.networks.registry import in_precision
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase, Terms
from lwgan_dist.training.stage import Stage, ramped

SETTLED_ROWS = 8_192
"""Training rows, at most, from whose errors the variance of the decoder is taken in the end."""


class VaeNetworks(OneSizeNetworks):
    """``encoder`` gives mean and log variance of q(z | x) side by side; ``constants`` has the ``variance`` of the
    decoder and the ``prior``: the variances of the latent distribution, shape (q,).
    """

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | x), each of shape (rows, q)."""
        outputs = torch.tensor(2 * len(self.prior), device=x.device)
        mean, log_variance = self["encoder"](x, outputs).chunk(2, dim=1)
        return mean, log_variance

    @property
    def prior(self) -> Tensor:
        """The variances of the latent distribution."""
        return self["constants"].get_buffer("prior")

    @property
    def encoder(self) -> nn.Module:
        """A code is the mean of q(z | x)."""
        return MeanEncoder(self)


class MeanEncoder(nn.Module):
    """The mean of q(z | x), without the coordinates after the rank."""

    def __init__(self, networks: VaeNetworks) -> None:
        super().__init__()
        self._networks = networks

    def forward(self, x: Tensor, ranks: Tensor) -> Tensor:
        """Codes of shape (rows, q), for x of shape (rows, *shape) and ranks of shape () or (rows,)."""
        return mask_to_rank(self._networks.moments(x)[0], ranks)


class VaeLoss(nn.Module):
    """The negative evidence lower bound on one batch, with one draw of z for each row, in nats for each row."""

    def __init__(self, networks: VaeNetworks, world: World, noise: float | None) -> None:
        super().__init__()
        self.encoder, self.generator = networks["encoder"], networks["generator"]
        self._networks, self._world, self._noise = networks, world, noise
        self.kl_weight = 1.0

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss, from its rows and the draws of N(0, I) for all rows of the batch."""
        size, world, count = len(noise), self._world, math.prod(x.shape[1:])
        mean, log_variance = self._networks.moments(x)
        y = self.generator(sample_codes(mean, log_variance, noise[world.share(size)]))
        error = world.gather((x - y).flatten(1).square().sum(1), size).mean()
        variance = error / count if self._noise is None else self._noise**2
        likelihood = negative_log_likelihood(error, count, variance)
        kl = world.mean(kl_divergences(mean, log_variance, self._networks.prior).sum(1), size)
        terms = {"negative_log_likelihood": likelihood.detach(), "kl": kl.detach()}
        return world.replicated(likelihood) + self.kl_weight * kl, terms


class Vae(OneSize[VaeModel]):
    """E||x - G(mean)||, and the two terms of the evidence lower bound."""

    roles: ClassVar = {"encoder": Role("encoder", outputs=2), "generator": Role("generator")}
    components: ClassVar[tuple[str, ...]] = ("reconstruction", "negative_log_likelihood", "kl")
    gathered = frozenset({"negative_log_likelihood"})
    networks: VaeNetworks

    @classmethod
    def networks_of(
        cls, model: OneSizeModel, shape: Shape, seed: int = 0, precision: Precision = "float32"
    ) -> VaeNetworks:
        """With the constants that they begin with: variances of 1."""
        constants: Network = Constants(variance=torch.ones(()), prior=torch.ones(model.size))
        in_precision(constants, precision)
        return VaeNetworks(build_networks(model, cls.roles, shape, seed, precision) | {"constants": constants})

    def updates_of(self) -> list[Update]:
        """Encoder and generator at once."""
        self._loss = VaeLoss(self.networks, self.world, self.model.noise)
        return [Update(Phase("encoder-generator", self._loss, [], self.world), self.adam())]

    def prepare(self, stage: Stage, iteration: int) -> None:
        """The weight of the KL divergence grows during the warm-up."""
        self._loss.kl_weight = ramped(1.0, self.model.warm_up)(iteration / stage.iterations)

    def settle(self, rng: np.random.Generator) -> None:
        """The variance of the decoder: that of the configuration, or the mean squared error on training rows."""
        variance = self.networks["constants"].get_buffer("variance")
        if self.model.noise is not None:
            variance.fill_(self.model.noise**2)
            return
        x = self.some_rows(rng, SETTLED_ROWS)
        y = self.networks["generator"](sample_codes(*self.networks.moments(x), self.latent(rng, len(x))))
        variance.copy_((x - y).square().mean())

    def measure(self, x: Tensor, rng: np.random.Generator) -> Values:
        """R with the means as codes; the bound with one draw of z for each row."""
        mean, log_variance = self.networks.moments(x)
        generate, variance = self.networks["generator"], self.networks["constants"].get_buffer("variance")
        y = generate(sample_codes(mean, log_variance, self.latent(rng, len(x))))
        errors = (x - y).flatten(1).square().sum(1)
        likelihood = negative_log_likelihood(errors, math.prod(x.shape[1:]), variance)
        kl = kl_divergences(mean, log_variance, self.networks.prior).sum(1)
        means = [values.mean() for values in (reconstruction_errors(x, generate(mean)), likelihood, kl)]
        return np.array([[float(value) for value in means]])

    @staticmethod
    def score(model: Any, components: Mapping[str, Values]) -> Values:
        """The negative evidence lower bound."""
        return np.asarray(components["negative_log_likelihood"] + components["kl"])


KIND = OneSizeKind(Vae)
