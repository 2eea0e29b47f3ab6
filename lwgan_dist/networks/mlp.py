"""Encoder, generator and critic as multilayer perceptrons, which see a row of any shape as a vector.

With width unit s: encoder 8s, 4s, 2s, s; generator s, 2s, 4s, 8s with SiLU; critic 4s, 2s, s with ReLU (the toy
networks of arXiv:2409.18374). The rank reaches every layer of encoder and critic; the generator does not see it.

With ``linear_path``, a linear map runs beside the layers of encoder and generator, Q_r(x) = mlp_r(x) + A x and
G(z) = mlp(z) + B z, with A = B = 0 at the start. Perceptrons alone learn many linear directions by heart before they
learn that they are linear.

With ``autocast``, matrix products are taken in bfloat16, thin layers excepted; parameters, inputs and outputs keep
their precision, so that losses never see the difference in type.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwgan_dist.config import NetworksConfig
from lwgan_dist.method.latent import mask_to_rank, one_hot_code, thermometer_code
from lwgan_dist.networks.base import Critic, Encoder, Generator, Network, Shape
from lwgan_dist.networks.conditioned import ACTIVATIONS, ConditionedLinear


class _Perceptron(Network):
    """Layers of the given widths, each with a rank code of ``code_dim`` entries (0: none)."""

    def __init__(self, widths: list[int], code_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(ConditionedLinear(a, b, code_dim, generator) for a, b in pairwise(widths[:-1]))
        self.last = ConditionedLinear(widths[-2], widths[-1], code_dim, generator)

    def autocast(self, on: bool) -> None:
        """Take the products of wide layers in bfloat16, or in full precision."""
        for layer in (*self.hidden, self.last):
            layer.autocast = on


class MlpEncoder(_Perceptron, Encoder):
    """Q_r: rows of p numbers -> R^q at rank r; output coordinates after the r-th are 0."""

    def __init__(
        self,
        ambient_dim: int,
        latent_dim: int,
        width: int,
        activation: str,
        generator: torch.Generator,
        *,
        linear_path: bool = False,
    ) -> None:
        super().__init__([ambient_dim, 8 * width, 4 * width, 2 * width, width, latent_dim], latent_dim, generator)
        self.linear_path = nn.Parameter(torch.zeros(latent_dim, ambient_dim)) if linear_path else None
        self.latent_dim = latent_dim
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, ranks: Tensor) -> Tensor:
        """Codes of shape (rows, q), for x of shape (rows, *shape) and ranks of shape () or (rows,)."""
        code, dtype = one_hot_code(ranks, self.latent_dim, x.dtype), x.dtype
        hidden = x = x.flatten(1)
        for layer in self.hidden:
            hidden = self.activation(layer(hidden, code))
        codes = self.last(hidden, code).to(dtype)
        if self.linear_path is not None:
            codes = codes + functional.linear(x, self.linear_path)
        return mask_to_rank(codes, ranks)


class MlpGenerator(_Perceptron, Generator):
    """G: R^q -> rows of a shape, one function for all ranks."""

    def __init__(
        self, latent_dim: int, shape: Shape, width: int, generator: torch.Generator, *, linear_path: bool = False
    ) -> None:
        super().__init__([latent_dim, width, 2 * width, 4 * width, 8 * width, math.prod(shape)], 0, generator)
        self.linear_path = nn.Parameter(torch.zeros(math.prod(shape), latent_dim)) if linear_path else None
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        """Rows of shape (rows, *shape), for z of shape (rows, q)."""
        hidden = z
        for layer in self.hidden:
            hidden = functional.silu(layer(hidden))
        x: Tensor = self.last(hidden).to(z.dtype)
        if self.linear_path is not None:
            x = x + functional.linear(z, self.linear_path)
        return self.finished(x).view(-1, *self.shape)


class MlpCritic(_Perceptron, Critic):
    """D_r: rows of p numbers -> R at rank r, piecewise linear in x."""

    def __init__(self, ambient_dim: int, latent_dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__([ambient_dim, 4 * width, 2 * width, width, 1], latent_dim, generator)
        self.latent_dim = latent_dim

    def forward(self, x: Tensor, ranks: Tensor) -> Tensor:
        """Values of shape (rows,), for x of shape (rows, *shape) and ranks of shape () or (rows,)."""
        code, dtype = thermometer_code(ranks, self.latent_dim, x.dtype), x.dtype
        x = x.flatten(1)
        for layer in self.hidden:
            x = functional.relu(layer(x, code))
        values: Tensor = self.last(x, code).squeeze(-1).to(dtype)
        return values

    def input_gradient(self, x: Tensor, ranks: Tensor) -> Tensor:
        """grad_x D_r(x) of every row in closed form: W_1^T M_1 W_2^T M_2 .. W_L^T with M_l the 0/1 activity of layer l.

        The activities are constant almost everywhere, so one forward pass without a graph finds them and the product
        can be differentiated with respect to the weights by one ordinary backward pass: the gradient penalty needs no
        double differentiation. Equal to automatic differentiation, on the kinks too (both take 0 there).

        Args:
            x: shape (rows, *shape); ranks: shape () or (rows,).

        Returns:
            The shape of x.
        """
        code, dtype, active = thermometer_code(ranks, self.latent_dim, x.dtype), x.dtype, []
        shape, x = x.shape, x.flatten(1)
        with torch.no_grad():
            for layer in self.hidden:
                x = functional.relu(layer(x, code))
                active.append(x > 0)
        gradient: Tensor = self.last.weight
        for layer, mask in zip(reversed(self.hidden), reversed(active), strict=True):
            gradient = layer.pull_back(gradient * mask)  # type: ignore[operator]
        return gradient.to(dtype).view(shape)


class Mlp:
    """The family of multilayer perceptrons; see `lwgan_dist.networks.base.Family`."""

    def encoder(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> MlpEncoder:
        """An encoder of widths 8s, 4s, 2s, s."""
        assert settings.latent_dim is not None  # resolved
        assert settings.encoder_activation is not None
        return MlpEncoder(
            math.prod(shape),
            settings.latent_dim,
            settings.unit,
            settings.encoder_activation,
            rng,
            linear_path=bool(settings.linear_path),
        )

    def generator(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> MlpGenerator:
        """A generator of widths s, 2s, 4s, 8s."""
        assert settings.latent_dim is not None
        return MlpGenerator(settings.latent_dim, shape, settings.unit, rng, linear_path=bool(settings.linear_path))

    def critic(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> MlpCritic:
        """A critic of widths 4s, 2s, s."""
        assert settings.latent_dim is not None
        return MlpCritic(math.prod(shape), settings.latent_dim, settings.unit, rng)
