"""The LWGAN written down literally, in plain torch: what the fast code in ``lwgan_dist`` is checked and timed against.

Every linear layer of encoder and critic is a ``torch.nn.Linear`` on the concatenation of its input and the rank code.
The gradient penalty differentiates twice, the MMD adds up seven kernels on whole distance matrices, and penalty and MMD
make their own passes through the networks, on their own batch if they are given one. A frozen network is used as it
is and its output detached. Nothing is kept from one expectation to the next, except that the reconstruction error and
the critic difference of the encoder-generator loss are both about the same G(Q_r(x)).

Shares no code with ``lwgan_dist``: only `paired_layers` knows how the layers of the two correspond.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lwgan_dist.networks.base import Networks

MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class CodedPerceptron(nn.Module):
    """A multilayer perceptron that sees a code beside the input of every linear layer.

    Args:
        widths: of the input, of the hidden layers and of the output.
        code_dim: entries of the code.
        activation: after every layer but the last.
    """

    def __init__(self, widths: list[int], code_dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a + code_dim, b) for a, b in pairwise(widths))
        self.activation = activation

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Args: x of shape (rows, widths[0]); code of shape (rows, code_dim)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(torch.cat([x, code], dim=1)))
        return last(torch.cat([x, code], dim=1))


class LiteralLwgan(nn.Module):
    """Encoder, generator, critic, and the two losses at one rank.

    Args:
        ambient_dim: p.
        latent_dim: q.
        width: s; encoder 8s, 4s, 2s, s; generator s, 2s, 4s, 8s; critic 4s, 2s, s.
        encoder_activation: ``relu`` or ``silu``.
    """

    def __init__(self, ambient_dim: int, latent_dim: int, width: int, encoder_activation: str = "relu") -> None:
        super().__init__()
        p, q, s = ambient_dim, latent_dim, width
        activation = {"relu": nn.ReLU(), "silu": nn.SiLU()}[encoder_activation]
        self.latent_dim = latent_dim
        self.encoder = CodedPerceptron([p, 8 * s, 4 * s, 2 * s, s, q], q, activation)
        self.generator = nn.Sequential(
            nn.Linear(q, s), nn.SiLU(), nn.Linear(s, 2 * s), nn.SiLU(), nn.Linear(2 * s, 4 * s), nn.SiLU(),
            nn.Linear(4 * s, 8 * s), nn.SiLU(), nn.Linear(8 * s, p),
        )  # fmt: skip
        self.critic = CodedPerceptron([p, 4 * s, 2 * s, s, 1], q, nn.ReLU())

    def encode(self, x: Tensor, rank: int) -> Tensor:
        """Q_r(x), shape (rows, q): sees the rank as a one-hot code; coordinates after the r-th are 0."""
        code = torch.zeros(len(x), self.latent_dim, dtype=x.dtype)
        code[:, rank - 1] = 1.0
        return self.at_rank(self.encoder(x, code), rank)

    def criticise(self, x: Tensor, rank: int) -> Tensor:
        """D_r(x), shape (rows,): sees the rank as a thermometer code."""
        code = torch.zeros(len(x), self.latent_dim, dtype=x.dtype)
        code[:, : rank - 1] = 1.0
        return self.critic(x, code).squeeze(1)

    @staticmethod
    def at_rank(z: Tensor, rank: int) -> Tensor:
        """The rows of z with their coordinates after the r-th set to 0."""
        mask = torch.zeros(z.shape[1], dtype=z.dtype)
        mask[:rank] = 1.0
        return z * mask

    def critic_loss(
        self, rank: int, x: Tensor, z: Tensor, x_penalty: Tensor, z_penalty: Tensor, alpha: Tensor, weight: float
    ) -> Tensor:
        """-C_r + w_gp P_r.

        Args:
            rank: r.
            x, z: rows of data and standard normal draws for C_r, shapes (rows, p) and (rows, q).
            x_penalty, z_penalty: the same for P_r.
            alpha: uniform on (0, 1), shape (rows, 1).
            weight: w_gp.
        """
        x_reconstructed = self.generator(self.encode(x, rank)).detach()
        x_fake = self.generator(self.at_rank(z, rank)).detach()
        difference = self.criticise(x_reconstructed, rank).mean() - self.criticise(x_fake, rank).mean()
        return -difference + weight * self.gradient_penalty(rank, x_penalty, z_penalty, alpha)

    def gradient_penalty(self, rank: int, x: Tensor, z: Tensor, alpha: Tensor) -> Tensor:
        """P_r: the gradient is taken by differentiation, and kept differentiable."""
        x_reconstructed = self.generator(self.encode(x, rank)).detach()
        x_fake = self.generator(self.at_rank(z, rank)).detach()
        x_mixed = (alpha * x_reconstructed + (1.0 - alpha) * x_fake).requires_grad_(True)
        values = self.criticise(x_mixed, rank)
        (gradient,) = torch.autograd.grad(values, x_mixed, torch.ones_like(values), create_graph=True)
        return ((gradient.norm(dim=1) - 1.0) ** 2).mean()

    def encoder_generator_loss(
        self, rank: int, x: Tensor, z: Tensor, x_match: Tensor, z_match: Tensor, mmd_weight: float
    ) -> Tensor:
        """R_r + C_r + w_mmd M_r.

        Args:
            rank: r.
            x, z: rows of data and standard normal draws for R_r and C_r, shapes (rows, p) and (rows, q).
            x_match, z_match: the same for M_r.
            mmd_weight: w_mmd.
        """
        x_reconstructed = self.generator(self.encode(x, rank))
        x_fake = self.generator(self.at_rank(z, rank))
        reconstruction = (x - x_reconstructed).norm(dim=1).mean()
        difference = self.criticise(x_reconstructed, rank).mean() - self.criticise(x_fake, rank).mean()
        mmd = mmd_squared(self.encode(x_match, rank), self.at_rank(z_match, rank))
        return reconstruction + difference + mmd_weight * mmd


def mmd_squared(a: Tensor, b: Tensor) -> Tensor:
    """MMD^2 of two samples, shapes (n, q) and (m, q); within-sample sums without the diagonal."""
    n, m, q = len(a), len(b), a.shape[1]
    within_a, within_b, cross = squared_distances(a, a), squared_distances(b, b), squared_distances(a, b)
    total = torch.zeros((), dtype=a.dtype)
    for scale in MMD_SCALES:
        c = 2.0 * q * scale
        k_a, k_b, k_cross = c / (c + within_a), c / (c + within_b), c / (c + cross)
        total = total + (k_a.sum() - k_a.diagonal().sum()) / (n * (n - 1))
        total = total + (k_b.sum() - k_b.diagonal().sum()) / (m * (m - 1))
        total = total - 2.0 * k_cross.sum() / (n * m)
    return total


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """||a_i - b_j||^2, shape (n, m)."""
    return (a**2).sum(1, keepdim=True) + (b**2).sum(1) - 2.0 * a @ b.T


def paired_layers(networks: "Networks", literal: LiteralLwgan) -> list[tuple[Any, nn.Linear]]:
    """The linear layers of ``lwgan_dist`` networks with those here, from input to output of each network."""
    pairs: list[tuple[Any, nn.Linear]] = []
    theirs = (literal.encoder.layers, [m for m in literal.generator if isinstance(m, nn.Linear)], literal.critic.layers)
    for ours, layers in zip((networks.encoder, networks.generator, networks.critic), theirs, strict=True):
        pairs += zip([*ours.hidden, ours.last], layers, strict=True)
    return pairs


def joined(weight: Tensor, code_weight: Tensor | None) -> Tensor:
    """The weights of a layer, or their gradients, as those of a linear layer on the concatenation of input and code."""
    return weight if code_weight is None else torch.cat([weight, code_weight], dim=1)


@torch.no_grad()
def copy_parameters(networks: "Networks", literal: LiteralLwgan) -> None:
    """Give the literal model, of the same shapes and type, the parameters of the networks."""
    for ours, layer in paired_layers(networks, literal):
        layer.weight.copy_(joined(ours.weight, ours.code_weight))
        layer.bias.copy_(ours.bias)
