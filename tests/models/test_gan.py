"""The GAN: what its discriminator's loss estimates, and where the gradient of its generator comes from."""

import numpy as np
import pytest
import torch
from tiny import mlp_networks
from torch import nn

from lwgan_dist.models.gan.kind import DiscriminatorLoss, GeneratorLoss
from lwgan_dist.seeding import generator
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase
from lwgan_dist.training.stage import Adam, cosine

OF_DATA, GENERATED = ((-1.0, 0.5), (1.0, 0.5)), ((-0.2, 0.8), (1.8, 0.4))
"""Mean and standard deviation of the components, each of weight 1/2, of two mixtures on the line."""

TOLERANCE, STEPS = 0.01, 400
"""Nats, of a divergence of 0.117: what a discriminator falls short of the best one by after so many updates, and the
chance of 200,000 draws (standard error 0.001)."""


class Mixture(nn.Module):
    """z_1 chooses the component, z_2 the place in it."""

    def forward(self, z):
        (a, s), (b, t) = GENERATED
        return torch.where(z[:, :1] > 0, a + s * z[:, 1:], b + t * z[:, 1:])


def drawn(rng, rows):
    means, deviations = np.array(OF_DATA).T
    which = rng.integers(2, size=rows)
    x = means[which] + deviations[which] * rng.standard_normal(rows)
    return torch.tensor(x[:, None], dtype=torch.float32), torch.tensor(rng.standard_normal((rows, 2))).float()


def density(x, mixture):
    return sum(np.exp(-(((x - m) / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi)) for m, s in mixture) / 2


def divergence():
    """JS = (KL(p || m) + KL(q || m)) / 2 for m = (p + q) / 2, integrated over a grid."""
    x = np.linspace(-8, 8, 100_001)
    p, q = density(x, OF_DATA), density(x, GENERATED)
    return float(np.trapezoid(p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q)), x) / 2)


def test_the_loss_of_a_trained_discriminator_tells_the_jensen_shannon_divergence():
    loss = DiscriminatorLoss(mlp_networks(1, 2, 8, "silu").critic, Mixture(), World())
    phase, rng = Phase("discriminator", loss, [], World()), generator(0, "test")
    for step in range(STEPS):
        phase.tune(Adam(cosine(1e-2, 1e-4), 0.5, 0.999), step / STEPS)
        phase.step(*drawn(rng, 256))
    with torch.no_grad():
        estimate = float(loss(*drawn(rng, 200_000))[1]["jensen_shannon"])
    assert divergence() > 10 * TOLERANCE, "else a discriminator that learned nothing would do"
    assert estimate == pytest.approx(divergence(), abs=TOLERANCE)


def test_a_generator_that_is_found_out_learns_on():
    """Of logits D = -20 the loss that saturates has a gradient of e^-20, this one of 1."""

    class Sure(nn.Module):
        def forward(self, x, rank):
            return x[:, 0] - 20

    network = nn.Linear(2, 1)
    loss, _ = GeneratorLoss(network, Sure(), World())(torch.zeros(4, 1), torch.zeros(4, 2))
    loss.backward()
    assert float(network.bias.grad) == pytest.approx(-1, abs=1e-6)
