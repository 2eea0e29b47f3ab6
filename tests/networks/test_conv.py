"""Convolutional networks: the paper's for 28x28 and 64x64, other sizes, the laws of ranks, gradients, precision."""

import pytest
import torch
from torch.nn import functional

from lwgan_dist.config import NetworksConfig
from lwgan_dist.method.objective import input_gradient
from lwgan_dist.networks.convolution import by_phases
from lwgan_dist.networks.registry import build_networks

RANKS = torch.tensor([1, 2, 3, 3, 2])
SHAPES = [
    (28, 28), (1, 28, 28), (3, 64, 64), (8, 8), (3, 8, 8), (32, 32), (3, 32, 32), (12, 16), (16, 16), (17, 31),
    (48, 48), (96, 96), (28, 9), (2, 10, 40), (5, 3),
]  # fmt: skip


def networks(shape, precision="float64", width=4, latent_dim=3, **more):
    settings = NetworksConfig(name="conv", latent_dim=latent_dim, width=width)
    return build_networks(shape, settings, seed=1, precision=precision, **more)


def rows(shape, count=5):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


def linear(inputs, outputs, code=0):
    return (inputs + code) * outputs + outputs


def convolution(inputs, outputs, side=5):
    return inputs * outputs * side**2 + outputs


@pytest.mark.parametrize(("s", "q"), [(64, 16), (4, 3)])
def test_28x28_has_the_parameters_of_the_paper(s, q):
    """Counted by hand from its layers."""
    built = networks((28, 28), width=s, latent_dim=q)
    down = convolution(1, s) + convolution(s, 2 * s) + convolution(2 * s, 4 * s) + linear(64 * s, 2 * q, q)
    assert size(built.encoder) == down + linear(2 * q, q, q)
    assert size(built.critic) == down + linear(2 * q, 1, q)
    ups = convolution(4 * s, 2 * s) + convolution(2 * s, s) + convolution(s, 1, 8)
    assert size(built.generator) == linear(q, 4 * q) + linear(4 * q, 64 * s) + ups


@pytest.mark.parametrize(("s", "q"), [(8, 16), (4, 3)])
def test_64x64_has_the_parameters_of_the_paper(s, q):
    """The critic has s/2 and one layer more; a norm has two numbers a channel."""
    built = networks((3, 64, 64), width=s, latent_dim=q)

    def down(s):
        channels = (3, s, 2 * s, 4 * s, 8 * s)
        return sum(map(convolution, channels, channels[1:])) + 2 * (2 + 4 + 8) * s

    assert size(built.encoder) == down(s) + linear(128 * s, 2 * q, q) + linear(2 * q, q, q)
    assert size(built.critic) == down(s // 2) + linear(64 * s, 2 * q) + linear(2 * q, 2 * q, q) + linear(2 * q, 1, q)
    channels = (8 * s, 4 * s, 2 * s, s, 3)
    ups = sum(map(convolution, channels, channels[1:]))
    assert size(built.generator) == linear(q, 4 * q) + linear(4 * q, 128 * s) + ups


def sides(network, x, *ranks):
    """The grids of what the convolutions of a network give."""
    seen = []
    for layer in network.convolutions:
        layer.register_forward_hook(lambda _layer, _input, output: seen.append(tuple(output.shape[2:])))
    network(x, *ranks)
    return seen


def test_the_grids_are_those_of_the_paper():
    built = networks((28, 28))
    assert sides(built.encoder, rows((28, 28)), RANKS) == [(14, 14), (7, 7), (4, 4)]
    assert built.generator.first == (16, 4, 4)
    assert sides(built.generator, rows((3,))) == [(7, 7), (11, 11), (28, 28)]
    large = networks((64, 64))
    assert sides(large.encoder, rows((64, 64)), RANKS) == [(32, 32), (16, 16), (8, 8), (4, 4)]
    assert sides(large.generator, rows((3,))) == [(8, 8), (16, 16), (32, 32), (64, 64)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_of_any_size_go_through_and_every_parameter_counts(shape):
    built, x = networks(shape), rows(shape)
    codes = built.encoder(x, RANKS)
    decoded, values = built.generator(codes), built.critic(x, RANKS)
    assert (codes.shape, decoded.shape, values.shape) == ((5, 3), (5, *shape), (5,))
    assert torch.equal(codes != 0, torch.arange(3) < RANKS[:, None])
    (decoded.square().sum() + values.square().sum()).backward()
    for network in built.named().values():
        assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("shape", [(28, 28), (3, 40, 40)])
def test_the_rank_is_seen_by_encoder_and_critic_and_each_row_alone_counts(shape):
    built, x = networks(shape), rows(shape)
    for network in (built.encoder, built.critic):
        together = network(x, RANKS)
        alone = torch.cat([network(x[i : i + 1], RANKS[i]) for i in range(5)])
        torch.testing.assert_close(together, alone)
        assert not torch.isclose(network(x, torch.tensor(2))[0], network(x, torch.tensor(3))[0]).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_gradient_of_the_critic_is_that_of_automatic_differentiation(shape):
    """And so is what the gradient penalty differentiates it to."""
    critic, x = networks(shape).critic, rows(shape)
    ours, theirs = critic.input_gradient(x, RANKS), input_gradient(lambda y: critic(y, RANKS), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)
    weights = [parameter for name, parameter in critic.named_parameters() if name.endswith("weight")]
    squares = [gradient.square().sum() for gradient in (ours, theirs)]
    one, other = (torch.autograd.grad(square, weights, materialize_grads=True) for square in squares)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape", [(2, 12, 20), (28, 28), (3, 40, 40)])
def test_the_gradient_of_the_critic_is_its_slope(shape):
    critic, x, step = networks(shape).critic, rows(shape), 1e-6 * rows(shape, 10)[5:]
    slope = (critic(x + step, RANKS) - critic(x - step, RANKS)) / 2
    torch.testing.assert_close((critic.input_gradient(x, RANKS) * step).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("shape", [(28, 28), (3, 40, 40)])
def test_wide_layers_are_rounded_in_bfloat16_and_nothing_that_comes_out(shape):
    full, low = (networks(shape, precision, width=16) for precision in ("float32", "bfloat16"))
    x = rows(shape).float()
    outputs = []
    for built in (full, low):
        codes = built.encoder(x, RANKS)
        values = built.critic(x, RANKS)
        outputs.append((codes, built.generator(codes), values, built.critic.input_gradient(x, RANKS)))
    for one, other in zip(*outputs, strict=True):
        assert other.dtype == torch.float32
        assert 1e-5 < (one - other).norm() / one.norm() < 0.1
        kept = other[other != 0]
        assert (kept.bfloat16().float() != kept).double().mean() > 0.9


@pytest.mark.parametrize(("kernel", "padding"), [(5, 2), (8, 0), (5, 0), (7, 2), (4, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_by_phases_is_one(kernel, padding, bias):
    """And so are its gradients."""
    rng = torch.Generator().manual_seed(3)
    x, weight, b = (
        torch.randn(*shape, generator=rng, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 4, 5, 3), (4, 3, kernel, kernel), (3,))
    )
    given = [x, weight, b] if bias else [x, weight]
    theirs = functional.conv_transpose2d(*given, stride=2, padding=padding)
    height, width = theirs.shape[2:]
    ours = by_phases(x, weight, b if bias else None, padding)[..., :height, :width]
    torch.testing.assert_close(ours, theirs)
    factors = torch.randn(theirs.shape, generator=rng, dtype=torch.float64)
    for one, other in zip(*(torch.autograd.grad((y * factors).sum(), given) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other)


def test_initial_values_depend_on_the_seed_alone():
    torch.manual_seed(5)
    first = networks((28, 28))
    torch.manual_seed(6)
    again, other = networks((28, 28)), build_networks((28, 28), NetworksConfig(name="conv", latent_dim=3, width=4), 2)
    for name, network in first.named().items():
        for parameter, same, different in zip(
            network.parameters(), again.named()[name].parameters(), other.named()[name].parameters(), strict=True
        ):
            assert torch.equal(parameter, same)
            assert not torch.equal(parameter, different.double())


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_bounded_rows_lie_in_reach_of_a_sigmoid(name):
    settings = NetworksConfig(name=name, latent_dim=3, width=4, encoder_activation="silu")
    linear, bounded = (build_networks((8, 8), settings, bounded=on).generator for on in (False, True))
    z = 30 * rows((3,)).float()
    torch.testing.assert_close(bounded(z), torch.sigmoid(linear(z)))
    assert not ((linear(z) > 0) & (linear(z) < 1)).all()


@pytest.mark.parametrize("shape", [(8, 8), (1, 28, 28), (3, 33, 20)])
def test_a_worker_without_rows_of_a_batch_gets_none(shape):
    three = networks(shape)
    rank = torch.tensor(2)
    none = rows(shape, 0)
    assert three.encoder(none, rank).shape == (0, 3)
    assert three.generator(rows((3,), 0)).shape == (0, *shape)
    assert three.critic(none, rank).shape == (0,)
    assert three.critic.input_gradient(none, rank).shape == (0, *shape)
