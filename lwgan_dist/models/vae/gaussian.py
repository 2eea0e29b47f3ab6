"""The two terms of the evidence lower bound of a Gaussian auto-encoder, in nats.

log p(x) >= E_q log N(x; G(z), v I) - KL(q(z | x) || p(z)) with q(z | x) = N(mean, diag exp(log_variance)).
"""

import math

import torch
from torch import Tensor


def kl_divergences(mean: Tensor, log_variance: Tensor, prior_variance: Tensor | float = 1.0) -> Tensor:
    """KL(N(m, s^2) || N(0, v)) = (s^2 + m^2) / 2v - 1/2 + log(v / s^2) / 2 of every row and coordinate.

    Args:
        mean, log_variance: m and log s^2, shape (rows, q).
        prior_variance: v, shape (q,) or one for all coordinates.

    Returns:
        Shape (rows, q).
    """
    prior = torch.as_tensor(prior_variance, dtype=mean.dtype, device=mean.device)
    return 0.5 * ((log_variance.exp() + mean.square()) / prior - 1.0 + prior.log() - log_variance)


def negative_log_likelihood(squared_error: Tensor, count: int, variance: Tensor | float) -> Tensor:
    """-log N(x; y, v I) = ||x - y||^2 / 2v + (p / 2) log(2 pi v).

    Args:
        squared_error: ||x - y||^2, of any shape.
        count: p, numbers in a row.
        variance: v.
    """
    v = torch.as_tensor(variance, dtype=squared_error.dtype, device=squared_error.device)
    return squared_error / (2.0 * v) + 0.5 * count * (2.0 * math.pi * v).log()


def sample_codes(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """M + s noise: draws of q(z | x) from draws of N(0, I), all of shape (rows, q)."""
    return mean + (0.5 * log_variance).exp() * noise
