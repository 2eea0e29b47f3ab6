"""Convolutions that halve the sides of an image, and transposed ones that enlarge them; the convolutional networks are
made of these and of linear layers.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL = 5
"""Side of the kernels, but for the last one of some generators."""

THIN = 16
"""A convolution with fewer channels on either side is computed in full precision under ``autocast``."""

Grid = tuple[int, int]
"""Height and width."""


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

    def _precision(self, x: Tensor) -> tuple[Tensor, torch.autocast]:
        """The input and the context for a product."""
        low = self.autocast and min(self.weight.shape[:2]) >= THIN
        return x if low else x.to(self.weight.dtype), torch.autocast(x.device.type, torch.bfloat16, enabled=low)


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
        odd = [(side + 1) % 2 for side in grid]
        with precision:
            return functional.conv_transpose2d(gradient, self.weight, None, 2, KERNEL // 2, odd)


class Up(_Convolution):
    """A transposed convolution whose output is cropped to a grid.

    Args:
        inputs, outputs: channels.
        grid: sides of the output.
        kind: side of the kernel, stride, padding. Before it is cropped, the output has ``stride`` times the sides of
            the input, without padding ``kernel - stride`` more.
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
        more = self.stride - 1 if self.padding else 0
        with precision:
            x = functional.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding, more)
        return x[..., : self.grid[0], : self.grid[1]]
