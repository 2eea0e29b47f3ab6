"""The linear layer that may see a rank code beside its input; every network of the package is made of it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConditionedLinear(nn.Module):
    """y = W x + U c + b: a linear layer on the concatenation of its input x and a rank code c.

    Keeping the columns of the code apart (U) spares the concatenation: with one code for all rows, U c + b is one bias
    vector. The initial distribution is that of ``torch.nn.Linear`` on the concatenated input, uniform on
    +-1/sqrt(in_features + code_dim) for weights and bias.

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

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Args: x of shape (rows, in_features); code of shape (code_dim,) for all rows, or (rows, code_dim)."""
        if self.code_weight is None or code is None:
            return functional.linear(x, self.weight, self.bias)
        shift = functional.linear(code, self.code_weight, self.bias)
        if code.dim() == 1:
            return functional.linear(x, self.weight, shift)
        return torch.addmm(shift, x, self.weight.T)
