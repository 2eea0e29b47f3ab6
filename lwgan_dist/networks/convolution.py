"""Convolutions that halve the sides of an image, and transposed ones that enlarge them; the convolutional networks are
made of these and of linear layers.
"""

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwgan_dist.networks.conditioned import in_context

KERNEL = 5
"""Side of the kernels, but for the last one of some generators."""

THIN = 16
"""A convolution with fewer channels on either side is computed in full precision under ``autocast``."""

FEW = 8
"""A transposed convolution of stride 2 to fewer channels is computed by phases (`by_phases`)."""

Grid = tuple[int, int]
"""Height and width."""


def transposed(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, grid: Grid) -> Tensor:
    """A transposed convolution, cropped to a grid of at most ``stride`` times the sides of x, without padding ``kernel
    - stride`` more.
    """
    if stride == 2 and weight.shape[1] < FEW:
        y = by_phases(x, weight, bias, padding)
    else:
        y = functional.conv_transpose2d(x, weight, bias, stride, padding, stride - 1 if padding else 0)
    return y[..., : grid[0], : grid[1]]


def by_phases(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """A transposed convolution of stride 2 as a convolution: pixels of one parity are a convolution of x with the
    weights of that parity, so the four parities are four channels of one, which are then interleaved. With few output
    channels the CPU's kernels for the transposed one are slower.

    Args:
        x: shape (rows, inputs, h, w).
        weight: shape (inputs, outputs, kernel, kernel).
        bias: shape (outputs,).
        padding: what is cut off at the start of either side; even.
    """
    inputs, outputs, kernel, _ = weight.shape
    half = -(-kernel // 2)
    phases = functional.pad(weight, [0, 2 * half - kernel] * 2).view(inputs, outputs, half, 2, half, 2)
    phases = phases.permute(1, 3, 5, 0, 2, 4).reshape(4 * outputs, inputs, half, half).flip(2, 3)
    bias = bias if bias is None else bias.repeat_interleave(4)
    return functional.pixel_shuffle(functional.conv2d(x, phases, bias, padding=half - 1 - padding // 2), 2)


class _Convolution(nn.Module):
    """Weight of shape (first, second, kernel, kernel) and bias, with the initial distribution of ``torch.nn.Conv2d``
    and ``ConvTranspose2d``: uniform on +-1/(kernel sqrt(second)).
    """

    def __init__(self, first: int, second: int, kernel: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1.0 / (kernel * math.sqrt(second))

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound, generator=generator))

        self.weight = uniform(first, second, kernel, kernel)
        self.bias = uniform(outputs)
        self.autocast = False

    def _precision(self, x: Tensor) -> tuple[Tensor, AbstractContextManager[Any]]:
        """The input and the context for a product."""
        return in_context(x, self.weight, self.autocast and min(self.weight.shape[:2]) >= THIN)


class Down(_Convolution):
    """A convolution 5x5 of stride 2 that halves the sides, rounded up."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__(outputs, inputs, KERNEL, outputs, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (rows, outputs, ceil(h / 2), ceil(w / 2)), for x of shape (rows, inputs, h, w)."""
        x, precision = self._precision(x)
        with precision:
            return functional.conv2d(x, self.weight, self.bias, stride=2, padding=KERNEL // 2)

    def pull_back(self, gradient: Tensor, grid: Grid) -> Tensor:
        """Gradient with respect to x, of sides ``grid``, from that with respect to the output."""
        gradient, precision = self._precision(gradient)
        with precision:
            return transposed(gradient, self.weight, None, 2, KERNEL // 2, grid)


class Up(_Convolution):
    """A transposed convolution whose output is cropped to a grid.

    Args:
        inputs, outputs: channels.
        grid: sides of the output.
        kind: side of the kernel, stride, padding; see `transposed`.
        generator: source of the initial values.
    """

    def __init__(
        self, inputs: int, outputs: int, grid: Grid, kind: tuple[int, int, int], generator: torch.Generator
    ) -> None:
        super().__init__(inputs, outputs, kind[0], outputs, generator)
        _, self.stride, self.padding = kind
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Shape (rows, outputs, *grid), for x of shape (rows, inputs, h, w)."""
        x, precision = self._precision(x)
        with precision:
            return transposed(x, self.weight, self.bias, self.stride, self.padding, self.grid)
