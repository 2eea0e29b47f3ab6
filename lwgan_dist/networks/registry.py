"""The families of networks, by the names in a configuration."""

import torch

from lwgan_dist.config import NetworksConfig, Precision
from lwgan_dist.networks.base import Family, Network, Networks, Shape
from lwgan_dist.networks.conv import Conv
from lwgan_dist.networks.mlp import Mlp
from lwgan_dist.seeding import derive

FAMILIES: dict[str, Family] = {"mlp": Mlp(), "conv": Conv()}
"""By name; `lwgan_dist.config.NetworksConfig.name` has the same."""


def family_of(settings: NetworksConfig) -> Family:
    """The family that a resolved configuration names."""
    return FAMILIES[settings.name]


def initial_values(seed: int) -> torch.Generator:
    """The source of initial values of a run: they depend on its seed and on the shapes only."""
    return torch.Generator().manual_seed(derive(seed, "networks") % 2**63)


def in_precision(network: Network, precision: Precision) -> None:
    """``float32``, ``float64``, or ``bfloat16`` for float32 parameters with products in bfloat16."""
    network.to(torch.float64 if precision == "float64" else torch.float32)
    network.autocast(precision == "bfloat16")


def build_networks(
    shape: Shape, settings: NetworksConfig, seed: int = 0, precision: Precision = "float32", *, bounded: bool = False
) -> Networks:
    """New networks on the CPU.

    Args:
        shape: of a row of the data.
        settings: resolved.
        seed: of the initial values.
        precision: see `in_precision`.
        bounded: of the generator, see `lwgan_dist.networks.base.Generator`.
    """
    family, rng = family_of(settings), initial_values(seed)
    networks = Networks(
        encoder=family.encoder(shape, settings, rng),
        generator=family.generator(shape, settings, rng),
        critic=family.critic(shape, settings, rng),
    )
    networks.generator.bounded = bounded
    for network in networks.named().values():
        in_precision(network, precision)
    return networks
