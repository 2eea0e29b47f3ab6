"""The auto-encoder with nested dropout: squared errors of codes that are cut off at a random rank, row by row.

Published with unit sweeping, for the last of a thousand coordinates gets too small a gradient; of some ten coordinates,
as here, each is trained from the beginning. No rule for a dimension was published. The one here is that of principal
components: the least rank at which the codes explain the given share of the variance.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwgan_dist.config import Precision
from lwgan_dist.method.latent import mask_to_rank
from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.models.nested_dropout.config import NestedDropoutModel
from lwgan_dist.models.one_size.config import OneSizeModel
from lwgan_dist.models.one_size.kind import OneSizeKind
from lwgan_dist.models.one_size.latent_map import LatentMap, MappedNetworks
from lwgan_dist.models.one_size.model import OneSize, Update, Values
from lwgan_dist.models.one_size.networks import OneSizeNetworks, Role, build_networks
from lwgan_dist.networks.base import Shape
from lwgan_dist.networks.registry import in_precision
from lwgan_dist.results import RankScore
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase, Terms

SETTLED_ROWS = 8_192
"""Training rows, at most, to whose codes a normal distribution is fitted in the end."""


class NestedDropoutLoss(nn.Module):
    """E ||x - G(Q(x) cut off at rank r)||^2 with r drawn for every row."""

    def __init__(self, networks: OneSizeNetworks, world: World, latent_dim: int) -> None:
        super().__init__()
        self.encoder, self.generator = networks["encoder"], networks["generator"]
        self._world, self._latent_dim = world, latent_dim

    def forward(self, x: Tensor, ranks: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss, from its rows and the ranks of all rows of the batch."""
        size = len(ranks)
        codes = self.encoder(x, torch.tensor(self._latent_dim, device=x.device))
        y = self.generator(mask_to_rank(codes, ranks[self._world.share(size)]))
        loss = self._world.mean((x - y).flatten(1).square().sum(1), size)
        return loss, {"squared_error": loss.detach()}


class NestedDropout(OneSize[NestedDropoutModel]):
    """By rank r, with codes cut off there: the reconstruction error, and the share of the variance of the rows that the
    squared error leaves unexplained.
    """

    roles: ClassVar = {"encoder": Role("encoder"), "generator": Role("generator")}
    components = ("reconstruction", "unexplained")
    rule = "explained"
    networks: MappedNetworks

    @classmethod
    def networks_of(
        cls, model: OneSizeModel, shape: Shape, seed: int = 0, precision: Precision = "float32"
    ) -> MappedNetworks:
        """With a map that changes nothing yet."""
        latent_map = LatentMap(model.size)
        in_precision(latent_map, precision)
        return MappedNetworks(build_networks(model, cls.roles, shape, seed, precision) | {"map": latent_map})

    def updates_of(self) -> list[Update]:
        """Encoder and generator at once."""
        loss = NestedDropoutLoss(self.networks, self.world, self.latent_dim)
        return [Update(Phase("encoder-generator", loss, [], self.world), self.adam())]

    def noise(self, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        """The ranks at which the codes of a batch are cut off, shape (batch,)."""
        ranks = np.arange(1, self.latent_dim + 1)
        weights = (1.0 - self.model.drop) ** ranks
        return (rng.choice(ranks, self.batch_size, p=weights / weights.sum()),)

    def settle(self, rng: np.random.Generator) -> None:
        """A normal distribution of the codes of training rows: auto-encoders of this kind have none of their own."""
        x = self.some_rows(rng, SETTLED_ROWS)
        codes = self.networks["encoder"](x, torch.tensor(self.latent_dim, device=x.device)).double()
        covariance = codes.T.cov().reshape(self.latent_dim, self.latent_dim)
        floor = 1e-6 * covariance.trace() / self.latent_dim  # of coordinates that are constant
        factor = torch.linalg.cholesky(covariance + floor * torch.eye(self.latent_dim, device=x.device))
        self.networks.map.set(codes.mean(0), factor, self.networks.map.get_buffer("order"))

    def measure(self, x: Tensor, rng: np.random.Generator) -> Values:
        """On these rows; the variance is theirs."""
        codes = self.networks["encoder"](x, torch.tensor(self.latent_dim, device=x.device))
        variance = (x - x.mean(0)).square().sum()
        table = []
        for rank in torch.arange(1, self.latent_dim + 1, device=x.device):
            y = self.networks["generator"](mask_to_rank(codes, rank))
            table.append([float(reconstruction_errors(x, y).mean()), float((x - y).square().sum() / variance)])
        return np.array(table)

    @staticmethod
    def score(model: Any, components: Mapping[str, Values]) -> Values:
        """The share of the variance that is not explained."""
        return components["unexplained"]

    @staticmethod
    def dimension(model: Any, rank_scores: Sequence[RankScore]) -> int:
        """The least rank at which the codes explain the share."""
        return next((row.rank for row in rank_scores if row.score <= 1.0 - model.explained), len(rank_scores))


KIND = OneSizeKind(NestedDropout)
