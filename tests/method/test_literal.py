"""Our losses and their parameter gradients are those of the specification written down literally, in float64.

1e-10: four digits above the rounding of float64 sums of this size, and far below any change of formula.
"""

import pytest
import torch
from literal_lwgan import LiteralLwgan, copy_parameters, joined, paired_layers
from tiny import mlp_networks

from lwgan_dist.method.latent import mask_to_rank
from lwgan_dist.method.objective import mix
from lwgan_dist.models.lwgan.losses import CriticBatch, CriticLoss, EncoderGeneratorBatch, EncoderGeneratorLoss, Weights
from lwgan_dist.training.distributed import World

AMBIENT_DIM, LATENT_DIM, WIDTH, ROWS = 3, 4, 3, 24
RANKS = range(1, LATENT_DIM + 1)
PENALTY_WEIGHT, MMD_WEIGHT = 5.0, 0.7


def close(ours, literal):
    torch.testing.assert_close(ours, literal, rtol=1e-10, atol=1e-10)


def draw(columns, seed):
    return torch.randn(ROWS, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X, X_SECOND, Z, Z_SECOND = draw(AMBIENT_DIM, 1), draw(AMBIENT_DIM, 2), draw(LATENT_DIM, 3), draw(LATENT_DIM, 4)
ALPHA = torch.rand(ROWS, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=["relu", "silu"])
def models(request):
    networks = mlp_networks(AMBIENT_DIM, LATENT_DIM, WIDTH, request.param, seed=6, precision="float64")
    for parameter in (p for network in networks.named().values() for p in network.parameters()):
        parameter.data.mul_(3.0)  # as initialised, networks this small are nearly constant
    literal = LiteralLwgan(AMBIENT_DIM, LATENT_DIM, WIDTH, request.param).double()
    copy_parameters(networks, literal)
    return networks, literal


@pytest.fixture(params=["shared", "independent"])
def second(request):
    """Rows of data and noise for penalty and code matching."""
    return (X, Z) if request.param == "shared" else (X_SECOND, Z_SECOND)


@torch.no_grad()
def frozen(networks, ranks, x, z):
    return networks.generator(networks.encoder(x, ranks)), networks.generator(mask_to_rank(z, ranks))


def critic_loss(networks, ranks, x_second, z_second):
    x_mixed = mix(ALPHA, *frozen(networks, ranks, x_second, z_second))
    batch = CriticBatch(ROWS, ranks, *frozen(networks, ranks, X, Z), x_mixed)
    return CriticLoss(networks, World(), PENALTY_WEIGHT)(batch)[0]


def encoder_generator_loss(networks, ranks, parts, x_match, z_match):
    batch = EncoderGeneratorBatch(
        ROWS, ranks, X, mask_to_rank(Z, ranks), None if x_match is X else x_match, mask_to_rank(z_match, ranks), parts
    )
    return EncoderGeneratorLoss(networks, World())(batch, Weights(critic=1.0, mmd=MMD_WEIGHT))[0]


def assert_equal(ours, literal, models, trained):
    """Equal losses, and after a backward pass of both equal gradients of all parameters of the trained networks."""
    close(ours, literal)
    ours.backward()
    literal.backward()
    networks = models[0]
    layers = {id(layer) for name in trained for layer in networks.named()[name].modules()}
    pairs = [(layer, reference) for layer, reference in paired_layers(*models) if id(layer) in layers]
    assert len(pairs) == 4 if trained == ["critic"] else 10
    for layer, reference in pairs:
        code_gradient = None if layer.code_weight is None else layer.code_weight.grad
        close(joined(layer.weight.grad, code_gradient), reference.weight.grad)
        close(layer.bias.grad, reference.bias.grad)


@pytest.mark.parametrize("rank", RANKS)
def test_the_critic_of_these_tests_has_a_gradient_that_varies_over_the_mixed_points(models, second, rank):
    critic, ranks = models[0].critic, torch.tensor(rank)
    gradient = critic.input_gradient(mix(ALPHA, *frozen(models[0], ranks, *second)), ranks)
    assert gradient.norm(dim=1).min() > 0
    assert len(torch.unique(gradient.round(decimals=8), dim=0)) > 2


@pytest.mark.parametrize("rank", RANKS)
def test_critic_loss_and_its_gradients_are_the_literal_ones(models, second, rank):
    networks, literal = models
    ours = critic_loss(networks, torch.tensor(rank), *second)
    assert_equal(ours, literal.critic_loss(rank, X, Z, *second, ALPHA, PENALTY_WEIGHT), models, ["critic"])


@pytest.mark.parametrize("rank", RANKS)
def test_encoder_generator_loss_and_its_gradients_are_the_literal_ones(models, second, rank):
    networks, literal = models
    ours = encoder_generator_loss(networks, torch.tensor(rank), [(rank, slice(0, ROWS))], *second)
    reference = literal.encoder_generator_loss(rank, X, Z, *second, MMD_WEIGHT)
    assert_equal(ours, reference, models, ["encoder", "generator"])


PARTS = list(zip(RANKS, (slice(0, 9), slice(9, 15), slice(15, 22), slice(22, 24)), strict=True))
MIXED = torch.tensor([rank for rank, part in PARTS for _ in range(ROWS)[part]])


def mean_over_ranks(loss_of):
    return sum(loss_of(rank, part) * (part.stop - part.start) for rank, part in PARTS) / ROWS


def test_critic_loss_of_mixed_ranks_is_the_mean_of_the_literal_ones_by_rows(models, second):
    def literal_loss(rank, part):
        batches = [tensor[part] for tensor in (X, Z, *second, ALPHA)]
        return models[1].critic_loss(rank, *batches, PENALTY_WEIGHT)

    assert_equal(critic_loss(models[0], MIXED, *second), mean_over_ranks(literal_loss), models, ["critic"])


def test_encoder_generator_loss_of_mixed_ranks_is_the_mean_of_the_literal_ones_by_rows(models, second):
    def literal_loss(rank, part):
        return models[1].encoder_generator_loss(rank, *[tensor[part] for tensor in (X, Z, *second)], MMD_WEIGHT)

    ours = encoder_generator_loss(models[0], MIXED, PARTS, *second)
    assert_equal(ours, mean_over_ranks(literal_loss), models, ["encoder", "generator"])
