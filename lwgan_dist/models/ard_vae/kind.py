"""The ARD-VAE: a VAE whose prior has a variance for each axis, estimated from codes, and the relevance of the axes.

The prior is hierarchical: p(z | alpha) = N(0, 1 / alpha) with alpha ~ Gamma(a, b) for each axis, a = b = 0 at first.
Given n codes of training rows, a = n / 2 and b = sum z^2 / 2; the Student-t marginal with 2a degrees of freedom is
taken as N(0, b / a), as in the authors' program. The relevance of an axis is its variance b / a times the squared norm
of the mean absolute column of the decoder's Jacobian; relevant are the fewest axes that explain the given share of the
sum.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.functional import jvp

from lwgan_dist.config import Precision
from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.models.ard_vae.config import ArdVaeModel
from lwgan_dist.models.one_size.config import OneSizeModel
from lwgan_dist.models.one_size.kind import OneSizeKind
from lwgan_dist.models.one_size.latent_map import LatentMap, MappedNetworks
from lwgan_dist.models.one_size.model import Values
from lwgan_dist.models.vae.gaussian import kl_divergences, sample_codes
from lwgan_dist.models.vae.kind import SETTLED_ROWS, Vae, VaeNetworks
from lwgan_dist.networks.base import Shape
from lwgan_dist.networks.registry import in_precision
from lwgan_dist.results import RankScore
from lwgan_dist.training.stage import Stage

PRIOR_ROWS = 1_024
"""Training rows, at most, whose codes give the variances of the latent distribution."""

JACOBIAN_ROWS = 100
"""Rows, at most, at which the Jacobian is taken, as published."""


class ArdVaeNetworks(MappedNetworks, VaeNetworks):
    """Codes in units of the latent distribution, the most relevant axis first."""


class ArdVae(Vae):
    """By rank r: the reconstruction error with the r most relevant axes, the relevance of the r-th as a share of all,
    its KL divergence, and the share that the first r leave unexplained.
    """

    components = ("reconstruction", "unexplained", "relevance", "kl")
    rule = "explained"
    model: ArdVaeModel
    networks: ArdVaeNetworks

    @classmethod
    def networks_of(
        cls, model: OneSizeModel, shape: Shape, seed: int = 0, precision: Precision = "float32"
    ) -> ArdVaeNetworks:
        """With a map that changes nothing yet."""
        latent_map = LatentMap(model.size)
        in_precision(latent_map, precision)
        return ArdVaeNetworks(super().networks_of(model, shape, seed, precision).named() | {"map": latent_map})

    @torch.no_grad()
    def prepare(self, stage: Stage, iteration: int) -> None:
        """Estimate the variances of the latent distribution if it is time."""
        super().prepare(stage, iteration)
        if stage.evaluate_after is None and iteration % self.model.prior_interval == 0:
            rng = self._rng(stage, "prior", iteration)
            self.networks.prior.copy_(self._variances(self.some_rows(rng, PRIOR_ROWS), rng))

    def settle(self, rng: np.random.Generator) -> None:
        """The variances of the latent distribution for good, and the axes in the order of their relevance."""
        super().settle(rng)
        x = self.some_rows(rng, SETTLED_ROWS)
        variances = self._variances(x, rng)
        self.networks.prior.copy_(variances)
        order = self._relevances(x, variances).argsort(descending=True, stable=True)
        self.networks.map.set(torch.zeros_like(variances), variances[order].sqrt().diag(), order)

    def measure(self, x: Tensor, rng: np.random.Generator) -> Values:
        """Relevances are those of these rows, in the order of the training rows."""
        order = self.networks.map.get_buffer("order").long()
        relevances = self._relevances(x, self._variances(x, rng))[order]
        shares = (relevances / relevances.sum()).double().cpu().numpy()
        mean, log_variance = self.networks.moments(x)
        kl = kl_divergences(mean, log_variance, self.networks.prior).mean(0)[order].double().cpu().numpy()
        ranks = torch.arange(1, self.latent_dim + 1, device=x.device)
        encode, decoder = self.networks.encoder, self.networks.decoder
        errors = [float(reconstruction_errors(x, decoder(int(rank))(encode(x, rank))).mean()) for rank in ranks]
        return np.column_stack([errors, 1.0 - np.cumsum(shares), shares, kl])

    def _variances(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """B / a = the mean of z^2 of each axis, for draws z of q(z | x)."""
        return sample_codes(*self.networks.moments(x), self.latent(rng, len(x))).square().mean(0)

    def _relevances(self, x: Tensor, variances: Tensor) -> Tensor:
        """|| E |dG / dz_l| ||^2 b_l / a_l of every axis l, at some of the rows."""
        z = self.networks.moments(x[:JACOBIAN_ROWS])[0]
        columns = [
            jvp(self.networks["generator"], z, axis.expand_as(z))[1]  # type: ignore[no-untyped-call]
            for axis in torch.eye(self.latent_dim, dtype=z.dtype, device=z.device)
        ]
        return torch.stack([column.abs().mean(0).square().sum() for column in columns]) * variances

    @staticmethod
    def score(model: Any, components: Mapping[str, Values]) -> Values:
        """The share of the weighted variance that is not explained."""
        return components["unexplained"]

    @staticmethod
    def dimension(model: Any, rank_scores: Sequence[RankScore]) -> int:
        """The fewest axes that explain more than the share."""
        return next((row.rank for row in rank_scores if row.score < 1.0 - model.explained), len(rank_scores))


KIND = OneSizeKind(ArdVae)
