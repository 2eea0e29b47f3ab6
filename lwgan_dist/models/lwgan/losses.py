"""The losses of the two phases of the alternation, critic and encoder-generator, and the batches that they take."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lwgan_dist.method.mmd import mmd_squared
from lwgan_dist.method.objective import gradient_penalties, reconstruction_errors
from lwgan_dist.networks.base import Networks
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Terms


@dataclass(frozen=True)
class CriticBatch:
    """One critic update; rows are this worker's, shape (local rows, *shape), and carry no gradient.

    Attributes:
        size: rows of the batch over all workers.
        ranks: rank of the rows, shape () or (local rows,).
        x_reconstructed, x_fake: rows of G(Q_r(x)) and of G(z_r), for the critic difference.
        x_mixed: points of the gradient penalty.
    """

    size: int
    ranks: Tensor
    x_reconstructed: Tensor
    x_fake: Tensor
    x_mixed: Tensor


@dataclass(frozen=True)
class EncoderGeneratorBatch:
    """One encoder-generator update.

    Attributes:
        size: rows of the batch over all workers.
        ranks: rank of this worker's rows, shape () or (local rows,).
        x: this worker's rows of data, shape (local rows, *shape).
        z: this worker's latent draws at the ranks of the rows, shape (local rows, q).
        x_match: this worker's rows for the code matching; None to match the codes of ``x``.
        z_match: latent draws of the code matching for *all* rows of the batch, shape (size, q).
        parts: each rank in the batch, with its rows among all.
        guide: codes given for this worker's rows, 0 after the rank, shape (local rows, q); None where rows have none.
        guide_weights: what each coordinate of them counts, shape (q,).
    """

    size: int
    ranks: Tensor
    x: Tensor
    z: Tensor
    x_match: Tensor | None
    z_match: Tensor
    parts: list[tuple[int, slice]]
    guide: Tensor | None = None
    guide_weights: Tensor | None = None


@dataclass(frozen=True)
class Weights:
    """Weights of the encoder-generator loss beside the reconstruction error; a term of weight 0 is not computed.

    Attributes:
        critic: of the critic difference C.
        mmd: w_mmd.
        guide: of the squared distance of the codes from the given ones.
        decode_guide: the generator decodes the given codes, not those of the encoder: two regressions.
    """

    critic: float
    mmd: float
    guide: float = 0.0
    decode_guide: bool = False


class CriticLoss(nn.Module):
    """-C + w_gp P on one batch."""

    def __init__(self, networks: Networks, world: World, gradient_penalty_weight: float) -> None:
        super().__init__()
        self.critic = networks.critic
        self._world = world
        self._weight = gradient_penalty_weight

    def forward(self, batch: CriticBatch) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss of the batch, and its terms."""
        values = self.critic(batch.x_reconstructed, batch.ranks) - self.critic(batch.x_fake, batch.ranks)
        difference = self._world.mean(values, batch.size)
        gradient = self.critic.input_gradient(batch.x_mixed, batch.ranks)
        penalty = self._world.mean(gradient_penalties(gradient), batch.size)
        terms = {"critic": difference.detach(), "gradient_penalty": penalty.detach()}
        return -difference + self._weight * penalty, terms


class EncoderGeneratorLoss(nn.Module):
    """R + C + w_mmd M on one batch, and E sum_k w_k (Q_r(x)_k - t_k)^2 for given codes t with weights w."""

    def __init__(self, networks: Networks, world: World) -> None:
        super().__init__()
        self.encoder = networks.encoder
        self.generator = networks.generator
        self._critic = (networks.critic,)  # in a tuple: not registered, hence neither trained nor synchronised here
        self._world = world

    def forward(self, batch: EncoderGeneratorBatch, weights: Weights) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss of the batch, and its terms."""
        codes = self.encoder(batch.x, batch.ranks)
        x_reconstructed = self.generator(batch.guide if weights.decode_guide else codes)
        errors = reconstruction_errors(batch.x, x_reconstructed)
        terms = {"reconstruction": self._world.mean(errors, batch.size)}
        loss = terms["reconstruction"]
        if weights.critic:
            (critic,) = self._critic
            values = critic(x_reconstructed, batch.ranks) - critic(self.generator(batch.z), batch.ranks)
            terms["critic"] = self._world.mean(values, batch.size)
            loss = loss + weights.critic * terms["critic"]
        if weights.guide:
            assert batch.guide is not None
            assert batch.guide_weights is not None
            distances = ((codes - batch.guide).square() * batch.guide_weights).sum(1)
            terms["guide"] = self._world.mean(distances, batch.size)
            loss = loss + weights.guide * terms["guide"]
        if weights.mmd:
            if batch.x_match is not None:
                codes = self.encoder(batch.x_match, batch.ranks)
            terms["mmd"] = self._mmd(self._world.gather(codes, batch.size), batch)
            loss = loss + weights.mmd * self._world.replicated(terms["mmd"])
        return loss, {name: term.detach() for name, term in terms.items()}

    @staticmethod
    def _mmd(codes: Tensor, batch: EncoderGeneratorBatch) -> Tensor:
        """Mean over the rows of the batch of the squared MMD within the row's rank."""
        latent_dim = codes.shape[1]
        values = [mmd_squared(codes[p], batch.z_match[p], latent_dim) * len(codes[p]) for _, p in batch.parts]
        return torch.stack(values).sum() / batch.size
