"""The linear layer that may see a rank code beside its input, of which every network of the package is made, and what
is applied between layers.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1
"""Slope of LeakyReLU."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "silu": functional.silu,
    "leaky": lambda x: functional.leaky_relu(x, SLOPE),
}
"""By name; those of ``NetworksConfig.encoder_activation`` are among them."""

THIN = 64
"""A layer with fewer inputs or outputs than this is computed in full precision under ``autocast``."""

_AS_IT_IS = nullcontext()


def in_context(x: Tensor, weight: Tensor, low: bool) -> tuple[Tensor, AbstractContextManager[Any]]:
    """The input of a layer and the context for its product with the weight: in bfloat16, or in the weight's precision
    also where the caller has switched autocast on.
    """
    if low:
        return x, torch.autocast(x.device.type, torch.bfloat16)
    x, device = x.to(weight.dtype), x.device.type
    # to enter a context costs more than the product of a small layer
    return x, torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else _AS_IT_IS


class ConditionedLinear(nn.Module):
    """y = W x + U c + b: a linear layer on the concatenation of its input x and a rank code c.

    Keeping the columns of the code apart (U) spares the concatenation: with one code for all rows, U c + b is one bias
    vector. The initial distribution is that of ``torch.nn.Linear`` on the concatenated input, uniform on
    +-1/sqrt(in_features + code_dim) for weights and bias.

    With ``autocast``, products are taken in bfloat16, unless the layer is `THIN`: such products cost little, and with
    few columns they are the first and the last, where rounding to 8 bits would show in reconstruction errors and in
    generated rows.

    Args:
        in_features, out_features: width of x and of y.
        code_dim: length of c; 0 for a layer that sees no code.
        generator: source of the initial values.
    """

    def __init__(self, in_features: int, out_features: int, code_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(in_features + code_dim)

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound, generator=generator))

        self.weight = uniform(out_features, in_features)
        self.code_weight = uniform(out_features, code_dim) if code_dim else None
        self.bias = uniform(out_features)
        self.autocast = False

    def _precision(self, x: Tensor) -> tuple[Tensor, AbstractContextManager[Any]]:
        """The input and the context for a product."""
        return in_context(x, self.weight, self.autocast and min(self.weight.shape) >= THIN)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to x, shape (rows, in_features), from that with respect to y."""
        gradient, precision = self._precision(gradient)
        with precision:
            return gradient @ self.weight

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Args: x of shape (rows, in_features); code of shape (code_dim,) for all rows, or (rows, code_dim)."""
        x, precision = self._precision(x)
        with precision:
            if self.code_weight is None or code is None:
                return functional.linear(x, self.weight, self.bias)
            shift = functional.linear(code, self.code_weight, self.bias)
            if code.dim() == 1:
                return functional.linear(x, self.weight, shift)
            return torch.addmm(shift, x, self.weight.T)
