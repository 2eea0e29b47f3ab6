"""The networks of a model with one latent size: built here, whatever the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from lwgan_dist.config import NetworksConfig, Precision
from lwgan_dist.models.one_size.config import OneSizeModel
from lwgan_dist.networks.base import Critic, Generator, Network, Shape
from lwgan_dist.networks.registry import family_of, in_precision, initial_values


@dataclass(frozen=True)
class Role:
    """What one network of a model does; see `lwgan_dist.networks.base` for the three kinds.

    Attributes:
        kind: an encoder maps rows to numbers, a generator codes to rows, a critic rows to one number.
        outputs: numbers that an encoder gives for every coordinate of a code.
        of_codes: whether the rows that it sees are codes.
    """

    kind: Literal["encoder", "generator", "critic"]
    outputs: int = 1
    of_codes: bool = False


class Constants(Network):
    """Numbers that belong to a model and are saved with its networks, but not trained, by name."""

    def __init__(self, **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_buffer(name, value)

    def autocast(self, on: bool) -> None:
        """They have no products."""


class OneSizeNetworks:
    """The networks of a model by name; see `lwgan_dist.models.base.FittedNetworks`.

    Args:
        networks: with ``generator``, and with ``encoder`` if the model has one.
    """

    def __init__(self, networks: Mapping[str, Network]) -> None:
        self._networks = dict(networks)

    def __getitem__(self, name: str) -> Network:
        return self._networks[name]

    @property
    def encoder(self) -> nn.Module | None:
        """Q(x); None of a model that has no codes of rows."""
        return self._networks.get("encoder")

    @property
    def generator(self) -> nn.Module:
        """G(z)."""
        return self._networks["generator"]

    def decoder(self, rank: int) -> nn.Module:
        """G of codes whose coordinates after the rank-th are cut off."""
        return self.generator

    def bound(self, on: bool) -> None:
        """Let the generator end in a sigmoid, or not; see `lwgan_dist.networks.base.Generator`."""
        generator = self._networks["generator"]
        assert isinstance(generator, Generator)
        generator.bounded = on

    @property
    def critic(self) -> Critic:
        """D(x), of a model that has one."""
        critic = self._networks["critic"]
        assert isinstance(critic, Critic)
        return critic

    def named(self) -> dict[str, Network]:
        """By the names under which they are saved."""
        return self._networks


def build_networks(
    model: OneSizeModel, roles: Mapping[str, Role], shape: Shape, seed: int = 0, precision: Precision = "float32"
) -> dict[str, Network]:
    """New networks on the CPU, whose initial values depend on the seed, the roles and the shapes only.

    Args:
        model: resolved.
        roles: of the networks by name, in the order in which they are built.
        shape: of a row of the data.
        seed: of the initial values.
        precision: see `lwgan_dist.networks.registry.in_precision`.
    """
    networks, rng = {}, initial_values(seed)
    for name, role in roles.items():
        seen, family = ((model.size,), "mlp") if role.of_codes else (shape, model.networks)
        settings = NetworksConfig(
            name=family,
            latent_dim=role.outputs * model.size,
            width=model.width,
            encoder_activation=None if family == "conv" else "silu",
            linear_path=model.linear_path and family == "mlp",
        )
        network: Network = getattr(family_of(settings), role.kind)(seen, settings, rng)
        in_precision(network, precision)
        networks[name] = network
    return networks
