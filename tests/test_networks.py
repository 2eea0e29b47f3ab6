"""Networks under bfloat16: close to full precision, exact where layers are thin, and never rounding what comes out; the
linear path beside their layers.
"""

import pytest
import torch
from tiny import mlp_networks

from lwgan_dist.method.latent import mask_to_rank

RANKS = torch.tensor([1, 2, 3, 3, 2] * 20)


def pair(width, ambient_dim=3):
    return [mlp_networks(ambient_dim, 3, width, "silu", seed=1, precision=p) for p in ("float32", "bfloat16")]


def outputs(networks, ambient_dim=3):
    x = torch.randn(100, ambient_dim, generator=torch.Generator().manual_seed(2))
    codes = networks.encoder(x, RANKS)
    return {
        "codes": codes,
        "rows": networks.generator(codes),
        "values": networks.critic(x, RANKS),
        "gradient": networks.critic.input_gradient(x, RANKS),
    }


def relative_distance(value, reference):
    """In the Frobenius norm: an activity that flips moves one row's gradient by more than rounding."""
    return ((value - reference).norm() / reference.norm()).item()


def test_wide_layers_are_rounded_and_stay_close():
    full, low = (outputs(networks) for networks in pair(64))
    for name in full:
        assert 1e-5 < relative_distance(low[name], full[name]) < 0.1, name


def test_thin_layers_are_exact():
    full, low = (outputs(networks) for networks in pair(4))
    for name in full:
        assert torch.equal(full[name], low[name]), name


@pytest.mark.parametrize("name", ["codes", "rows", "values"])
def test_outputs_are_not_rounded_to_eight_bits(name):
    value = outputs(pair(64)[1])[name].detach()
    kept = value[value != 0]
    assert (kept.bfloat16().float() != kept).double().mean() > 0.9


def test_many_columns_are_rounded_too():
    full, low = (outputs(networks, 100)["rows"] for networks in pair(64, 100))
    assert 1e-4 < relative_distance(low, full) < 0.03


def test_parameters_get_gradients_in_their_own_precision():
    _, low = pair(64)
    told = outputs(low)
    sum(value.square().mean() for value in told.values()).backward()
    for network in low.named().values():
        for name, parameter in network.named_parameters():
            assert parameter.dtype == torch.float32
            assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("ranks", [torch.tensor(2), RANKS])
def test_rows_of_any_shape_are_seen_as_vectors(ranks):
    """The same initial values for the same number of columns: outputs differ in nothing but their shape."""
    image, vector = (mlp_networks(shape, 3, 4, "silu", seed=1) for shape in ((2, 3, 4), 24))
    x = torch.randn(100, 2, 3, 4, generator=torch.Generator().manual_seed(2))
    codes = image.encoder(x, ranks)
    assert torch.equal(codes, vector.encoder(x.flatten(1), ranks))
    assert image.generator(codes).shape == x.shape
    assert torch.equal(image.generator(codes).flatten(1), vector.generator(codes))
    assert torch.equal(image.critic(x, ranks), vector.critic(x.flatten(1), ranks))
    gradient = image.critic.input_gradient(x, ranks)
    assert gradient.shape == x.shape
    assert torch.equal(gradient.flatten(1), vector.critic.input_gradient(x.flatten(1), ranks))


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_a_linear_path_adds_a_linear_map_that_begins_at_zero(precision):
    plain, with_path = (
        mlp_networks(5, 3, 4, "silu", seed=1, precision=precision, linear_path=path) for path in (False, True)
    )
    dtype = torch.float64 if precision == "float64" else torch.float32
    x, z, ranks = torch.randn(7, 5, dtype=dtype), torch.randn(7, 3, dtype=dtype), torch.tensor([1, 2, 3, 1, 2, 3, 3])
    assert torch.equal(plain.encoder(x, ranks), with_path.encoder(x, ranks))
    assert torch.equal(plain.generator(z), with_path.generator(z))
    with torch.no_grad():
        for network in (with_path.encoder, with_path.generator):
            network.linear_path.normal_()
    codes = with_path.encoder(x, ranks) - plain.encoder(x, ranks)
    assert torch.allclose(codes, mask_to_rank(x @ with_path.encoder.linear_path.T, ranks), atol=1e-5)
    rows = with_path.generator(z) - plain.generator(z)
    assert torch.allclose(rows, z @ with_path.generator.linear_path.T, atol=1e-5)
