"""Encoder, generator and critic of convolutions, for images of shape (height, width) or (channels, height, width).

The networks of arXiv:2409.18374 for 28x28 and for 64x64 as two cases of one rule. With width unit s and latent size q,
the sides are halved, rounded up, until none is above 4: those of 28 three times (14, 7, 4), those of 64 four times. The
k-th halving is a convolution 5x5 of stride 2 to s 2^(k-1) channels, at most 8s.

- Up to three halvings (sides up to 32): LeakyReLU of slope .1. Encoder and critic end in two linear layers, to 2q, then
  to q or 1.
- From four halvings on: ReLU, and instance norms with affine parameters after all convolutions but the first. The
  critic has the unit s/2, and a layer from the whole last grid to 2q before its two linear ones.
- The generator: linear layers q to 4q to the last grid, then transposed convolutions, each cropped to its grid; ReLU.
  They are 5x5 of stride 2, through the grids of the halvings; but with three halvings two 5x5 of stride 1, each of
  which can add 4 to a side, then one 8x8 of stride 2: sides 4, 7, 11, 28.

The rank reaches the last two linear layers of encoder and critic; the generator does not see it. With ``autocast``,
products are taken in bfloat16, thin layers excepted: those at the pixels are.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwgan_dist.config import NetworksConfig
from lwgan_dist.method.latent import mask_to_rank, one_hot_code, thermometer_code
from lwgan_dist.method.objective import input_gradient
from lwgan_dist.networks.base import Critic, Encoder, Generator, Network, Shape
from lwgan_dist.networks.conditioned import ACTIVATIONS, SLOPE, ConditionedLinear
from lwgan_dist.networks.convolution import KERNEL, Down, Grid, Up

LAST_SIDE, MOST_CHANNELS = 4, 8
"""Sides at which halving ends; most channels, in units of s."""

SMALL = 3
"""Halvings up to which networks are those of the smaller images."""

LAST_KERNEL = 8
"""Side of the last kernel of a generator with three halvings."""


def image_of(shape: Shape) -> tuple[int, Grid]:
    """Channels and sides of an image."""
    return math.prod(shape[:-2]), (shape[-2], shape[-1])


def halved(grid: Grid) -> list[Grid]:
    """The grid and those that come from it by halving, at least once, until no side is above 4."""
    grids = [grid]
    while len(grids) == 1 or max(grids[-1]) > LAST_SIDE:
        grids.append((-(-grids[-1][0] // 2), -(-grids[-1][1] // 2)))
    return grids


def channels_of(unit: int, halvings: int) -> list[int]:
    """Channels after each halving."""
    return [unit * min(2**k, MOST_CHANNELS) for k in range(halvings)]


class _Downward(Network):
    """Convolutions to the smallest grid, then linear layers, of which the last two see a rank code.

    Args:
        shape: of a row.
        unit: channels of the first convolution.
        widths: of the linear layers, at least two.
        code_dim: entries of the code.
        generator: source of the initial values.
    """

    def __init__(self, shape: Shape, unit: int, widths: list[int], code_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.channels, grid = image_of(shape)
        self.grids = halved(grid)
        counts = [self.channels, *channels_of(unit, len(self.grids) - 1)]
        self.last = (counts[-1], *self.grids[-1])
        self.convolutions = nn.ModuleList(Down(a, b, generator) for a, b in pairwise(counts))
        is_small = len(self.convolutions) <= SMALL
        self.norms = nn.ModuleList(nn.InstanceNorm2d(count, affine=True) for count in counts[2:] if not is_small)
        self.activation = ACTIVATIONS["leaky" if is_small else "relu"]
        widths = [math.prod(self.last), *widths]
        codes = [0] * (len(widths) - 3) + [code_dim] * 2
        self.linear = nn.ModuleList(
            ConditionedLinear(a, b, code, generator) for (a, b), code in zip(pairwise(widths), codes, strict=True)
        )

    def autocast(self, on: bool) -> None:
        """Take the products of wide layers in bfloat16, or in full precision."""
        for layer in (*self.convolutions, *self.linear):
            layer.autocast = on

    def layers(self, x: Tensor, code: Tensor) -> list[Tensor]:
        """What every layer gives, the last one in the precision of x."""
        dtype, given = x.dtype, []
        x = x.reshape(-1, self.channels, *self.grids[0])
        for number, layer in enumerate(self.convolutions):
            x = layer(x)
            if number and self.norms and len(x):  # a worker may have no rows of a small batch
                x = self.norms[number - 1](x.to(dtype))
            given.append(x := self.activation(x))
        x = x.flatten(1)
        for layer in self.linear[:-1]:
            given.append(x := self.activation(layer(x, code)))
        return [*given, self.linear[-1](x, code).to(dtype)]


class ConvEncoder(_Downward, Encoder):
    """Q_r: images -> R^q at rank r; output coordinates after the r-th are 0."""

    def __init__(
        self, shape: Shape, latent_dim: int, width: int, activation: str | None, generator: torch.Generator
    ) -> None:
        super().__init__(shape, width, [2 * latent_dim, latent_dim], latent_dim, generator)
        self.latent_dim = latent_dim
        if activation:
            self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, ranks: Tensor) -> Tensor:
        """Codes of shape (rows, q), for x of shape (rows, *shape) and ranks of shape () or (rows,)."""
        return mask_to_rank(self.layers(x, one_hot_code(ranks, self.latent_dim, x.dtype))[-1], ranks)


class ConvGenerator(Generator):
    """G: R^q -> images, one function for all ranks."""

    def __init__(self, latent_dim: int, shape: Shape, width: int, generator: torch.Generator) -> None:
        super().__init__()
        channels, grid = image_of(shape)
        grids = halved(grid)
        halvings = len(grids) - 1
        counts = [*channels_of(width, halvings)[::-1], channels]
        steps, kinds = grids[::-1], [(KERNEL, 2, KERNEL // 2)] * halvings
        if halvings == SMALL:
            (a, b, c), (d, e, f) = (_of_stride_one(side) for side in grid)
            steps, kinds = [(a, d), (b, e), (c, f), grid], [(KERNEL, 1, 0), (KERNEL, 1, 0), (LAST_KERNEL, 2, 0)]
        self.first = (counts[0], *steps[0])
        self.linear = nn.ModuleList([
            ConditionedLinear(latent_dim, 4 * latent_dim, 0, generator),
            ConditionedLinear(4 * latent_dim, math.prod(self.first), 0, generator),
        ])  # fmt: skip
        self.convolutions = nn.ModuleList(
            Up(a, b, step, kind, generator)
            for (a, b), step, kind in zip(pairwise(counts), steps[1:], kinds, strict=True)
        )
        self.shape = shape

    def autocast(self, on: bool) -> None:
        """Take the products of wide layers in bfloat16, or in full precision."""
        for layer in (*self.linear, *self.convolutions):
            layer.autocast = on

    def forward(self, z: Tensor) -> Tensor:
        """Rows of shape (rows, *shape), for z of shape (rows, q)."""
        x = z
        for layer in self.linear:
            x = functional.relu(layer(x))
        x = x.view(-1, *self.first).contiguous(memory_format=torch.channels_last)
        for layer in self.convolutions[:-1]:
            x = functional.relu(layer(x))
        x = self.convolutions[-1](x).to(z.dtype)
        return self.finished(x).reshape(-1, *self.shape)


def _of_stride_one(side: int) -> tuple[int, int, int]:
    """Sides before, between and after two convolutions 5x5 of stride 1, from which one 8x8 of stride 2 gives a side."""
    after = max(1, -(-(side - LAST_KERNEL + 2) // 2))
    before = max(-(-side // 8), after - 2 * (KERNEL - 1))
    return before, (before + after) // 2, after


class ConvCritic(_Downward, Critic):
    """D_r: images -> R at rank r."""

    def __init__(self, shape: Shape, latent_dim: int, width: int, generator: torch.Generator) -> None:
        is_small = len(halved(image_of(shape)[1])) - 1 <= SMALL
        unit, widths = (width, []) if is_small else (max(1, width // 2), [2 * latent_dim])
        super().__init__(shape, unit, [*widths, 2 * latent_dim, 1], latent_dim, generator)
        self.latent_dim, self.is_small = latent_dim, is_small

    def forward(self, x: Tensor, ranks: Tensor) -> Tensor:
        """Values of shape (rows,), for x of shape (rows, *shape) and ranks of shape () or (rows,)."""
        return self.layers(x, thermometer_code(ranks, self.latent_dim, x.dtype))[-1].squeeze(-1)

    def input_gradient(self, x: Tensor, ranks: Tensor) -> Tensor:
        """grad_x D_r(x) of every row.

        Without norms the critic is piecewise linear in x, and this is the closed form of
        `lwgan_dist.networks.mlp.MlpCritic.input_gradient`, with transposed convolutions; with norms it is found by
        automatic differentiation.

        Args:
            x: shape (rows, *shape); ranks: shape () or (rows,).

        Returns:
            The shape of x.
        """
        if not self.is_small:
            return input_gradient(lambda rows: self(rows, ranks), x)
        with torch.no_grad():
            given = self.layers(x, thermometer_code(ranks, self.latent_dim, x.dtype))[:-1]
            slopes = [torch.full_like(values, SLOPE, dtype=x.dtype).masked_fill_(values > 0, 1.0) for values in given]
        head, last = self.linear
        gradient: Tensor = head.pull_back(last.weight * slopes.pop())  # type: ignore[operator]
        gradient = gradient.view(-1, *self.last)
        for layer, grid, slope in zip(reversed(self.convolutions), self.grids[-2::-1], reversed(slopes), strict=True):
            gradient = layer.pull_back(gradient * slope, grid)  # type: ignore[operator]
        return gradient.to(x.dtype).reshape(x.shape)


class Conv:
    """The family of convolutional networks; see `lwgan_dist.networks.base.Family`."""

    def encoder(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> ConvEncoder:
        """An encoder of unit s."""
        assert settings.latent_dim is not None  # resolved
        return ConvEncoder(shape, settings.latent_dim, settings.unit, settings.encoder_activation, rng)

    def generator(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> ConvGenerator:
        """A generator of unit s."""
        assert settings.latent_dim is not None
        return ConvGenerator(settings.latent_dim, shape, settings.unit, rng)

    def critic(self, shape: Shape, settings: NetworksConfig, rng: torch.Generator) -> ConvCritic:
        """A critic of unit s, for larger images of s/2."""
        assert settings.latent_dim is not None
        return ConvCritic(shape, settings.latent_dim, settings.unit, rng)
