"""The Wasserstein auto-encoder: encoder and generator, trained together by one loss."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lwgan_dist.method.mmd import mmd_squared
from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.models.one_size.kind import OneSizeKind
from lwgan_dist.models.one_size.model import OneSize, Update, Values
from lwgan_dist.models.one_size.networks import OneSizeNetworks, Role
from lwgan_dist.models.wae.config import WaeModel
from lwgan_dist.results import COMPONENTS
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase, Terms

MATCHED_ROWS = 1_024
"""Codes, at most, whose MMD one evaluation takes: its time grows with their square."""


class WaeLoss(nn.Module):
    """R + w_mmd M on one batch: E||x - G(Q(x))|| and the squared MMD between Q(x) and the latent distribution."""

    def __init__(self, networks: OneSizeNetworks, world: World, mmd_weight: float) -> None:
        super().__init__()
        self.encoder, self.generator = networks["encoder"], networks["generator"]
        self._world, self._weight = world, mmd_weight

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss, from its rows and the latent draws for all rows of the batch."""
        size, latent_dim = z.shape
        codes = self.encoder(x, torch.tensor(latent_dim, device=x.device))
        reconstruction = self._world.mean(reconstruction_errors(x, self.generator(codes)), size)
        mmd = mmd_squared(self._world.gather(codes, size), z, latent_dim)
        loss = reconstruction + self._weight * self._world.replicated(mmd)
        return loss, {"reconstruction": reconstruction.detach(), "mmd": mmd.detach()}


class Wae(OneSize[WaeModel]):
    """R and M at the one latent size; C and P are 0, for there is no critic."""

    roles: ClassVar = {"encoder": Role("encoder"), "generator": Role("generator")}
    components = COMPONENTS
    gathered = frozenset({"mmd"})

    def updates_of(self) -> list[Update]:
        """Encoder and generator at once."""
        loss = WaeLoss(self.networks, self.world, self.model.mmd_weight)
        return [Update(Phase("encoder-generator", loss, [], self.world), self.adam())]

    def measure(self, x: Tensor, rng: np.random.Generator) -> Values:
        """R of all rows, M of `MATCHED_ROWS` at most."""
        codes = self.networks["encoder"](x, torch.tensor(self.latent_dim, device=x.device))
        z = self.latent(rng, min(len(x), MATCHED_ROWS))
        reconstruction = float(reconstruction_errors(x, self.networks.generator(codes)).mean())
        return np.array([[0.0, reconstruction, 0.0, float(mmd_squared(codes[: len(z)], z, self.latent_dim))]])

    @staticmethod
    def score(model: WaeModel, components: Mapping[str, Any]) -> Values:
        """R + w_mmd M."""
        scores: Values = components["reconstruction"] + model.mmd_weight * components["mmd"]
        return scores


KIND = OneSizeKind(Wae)
