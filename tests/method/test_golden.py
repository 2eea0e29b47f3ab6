"""Parity with the authors' implementation (yixuan/LWGAN at 9e8c0a74) on the numbers in golden/, float64, 1e-10.

1e-10 is four digits above the rounding of float64 sums of this size and far below any change of formula."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import mlp_networks

from lwgan_dist.method.latent import mask_to_rank
from lwgan_dist.method.mmd import mmd_squared
from lwgan_dist.method.objective import gradient_penalties, input_gradient, mix, reconstruction_errors
from lwgan_dist.method.rank_selection import choose_rank

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "lwgan_reference_values.json").read_text())
RANKS = [1, 2, 3, 4]


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, tensor(theirs), rtol=1e-10, atol=1e-10)


def load_layer(layer, entries, name):
    weight = tensor(entries[f"{name}.weight"])
    inputs = layer.weight.shape[1]
    layer.weight.data.copy_(weight[:, :inputs])
    if layer.code_weight is not None:
        layer.code_weight.data.copy_(weight[:, inputs:])
    layer.bias.data.copy_(tensor(entries[f"{name}.bias"]))


@pytest.fixture
def networks():
    networks = mlp_networks(
        GOLDEN["ambient_dim"], GOLDEN["latent_dim"], GOLDEN["struct_dim"], "relu", precision="float64"
    )
    for network, entries in ((networks.encoder, GOLDEN["encoder"]), (networks.critic, GOLDEN["critic"])):
        for i, layer in enumerate(network.hidden):
            load_layer(layer, entries, f"main.layers.{i}")
        load_layer(network.last, entries, "main.last_layer")
    for i, layer in enumerate([*networks.generator.hidden, networks.generator.last]):
        load_layer(layer, GOLDEN["generator"], f"main.main.{2 * i}")
    return networks


@pytest.fixture(params=RANKS)
def case(request, networks):
    rank = torch.tensor(request.param)
    x, noise = tensor(GOLDEN["x"]), mask_to_rank(tensor(GOLDEN["noise"]), rank)
    codes = networks.encoder(x, rank)
    return {
        "networks": networks,
        "rank": rank,
        "x": x,
        "codes": codes,
        "z": noise,
        "reconstructed": networks.generator(codes),
        "fake": networks.generator(noise),
        "fake_for_penalty": networks.generator(mask_to_rank(tensor(GOLDEN["noise_gp"]), rank)),
        "golden": GOLDEN["ranks"][str(request.param)],
    }


def penalty(case, gradient_of):
    mixed = mix(tensor(GOLDEN["alpha"]), case["reconstructed"].detach(), case["fake_for_penalty"].detach())
    return gradient_penalties(gradient_of(mixed)).mean()


def critic_difference(case):
    critic, rank = case["networks"].critic, case["rank"]
    return critic(case["reconstructed"], rank).mean() - critic(case["fake"], rank).mean()


def test_codes_equal_the_reference(case):
    close(case["codes"], case["golden"]["encoded"])


def test_critic_values_equal_the_reference(case):
    critic, rank = case["networks"].critic, case["rank"]
    close(critic(case["reconstructed"], rank), case["golden"]["critic_reconstructed"])
    close(critic(case["fake"], rank), case["golden"]["critic_fake"])


def test_critic_loss_is_minus_the_critic_difference(case):
    close(-critic_difference(case), case["golden"]["critic_loss"])


def test_reconstruction_error_equals_the_reference(case):
    close(reconstruction_errors(case["x"], case["reconstructed"]).mean(), case["golden"]["reconstruction_error"])


@pytest.mark.parametrize("how", ["closed form", "automatic"])
def test_gradient_penalty_equals_the_reference(case, how):
    critic, rank = case["networks"].critic, case["rank"]
    gradient_of = {
        "closed form": lambda x: critic.input_gradient(x, rank),
        "automatic": lambda x: input_gradient(lambda v: critic(v, rank), x),
    }[how]
    close(penalty(case, gradient_of), case["golden"]["gradient_penalty"])


def test_mmd_equals_the_reference(case):
    close(mmd_squared(case["codes"], case["z"], GOLDEN["latent_dim"]), case["golden"]["mmd"])


def test_mmd_of_plain_samples_equals_the_reference():
    golden = GOLDEN["mmd_only"]
    encoded, z = tensor(golden["z_encoded"]), tensor(golden["z"])
    close(mmd_squared(encoded, z, z.shape[1]), golden["imq"])


def test_gradient_of_the_critic_loss_equals_the_reference(case):
    critic = case["networks"].critic
    (-critic_difference(case) + 5 * penalty(case, lambda x: critic.input_gradient(x, case["rank"]))).backward()
    ours = torch.cat([critic.last.weight.grad, critic.last.code_weight.grad], dim=1)
    close(ours, case["golden"]["grad_critic_last_weight"])


def test_primal_loss_and_its_gradient_equal_the_reference(case):
    primal = reconstruction_errors(case["x"], case["reconstructed"]).mean() + critic_difference(case)
    close(primal, case["golden"]["primal_loss"])
    primal.backward()
    close(case["networks"].generator.last.weight.grad, case["golden"]["grad_generator_last_weight"])


def test_rank_choice_equals_the_reference():
    golden = GOLDEN["rank_choice"]
    choice = choose_rank(np.array(golden["scores"]), "reference")
    np.testing.assert_allclose(choice.mean, golden["mean"], rtol=1e-10)
    np.testing.assert_allclose(choice.standard_error, golden["se"], rtol=1e-10)
    assert choice.penalty == pytest.approx(golden["penalty"], rel=1e-10)
    assert choice.rank == golden["rank"]


def test_a_wrong_formula_is_noticed(case):
    """Control: the squared norm in place of the norm does not pass."""
    squared = (case["x"] - case["reconstructed"]).square().sum(1).mean()
    assert abs(squared.item() - case["golden"]["reconstruction_error"]) > 1e-3
