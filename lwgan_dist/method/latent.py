"""Latent distributions of every rank, and how the rank is given to a network.

A rank r in 1..q names the latent distribution N(0, diag(1, .., 1, 0, .., 0)) with r ones on R^q.
"""

import torch
from torch import Tensor


def mask_to_rank(z: Tensor, ranks: Tensor) -> Tensor:
    """Set the latent coordinates after the rank to 0: the projection on the first r axes.

    Args:
        z: latent vectors, shape (rows, q).
        ranks: the rank of each row, shape (rows,), or one rank for all rows, shape (); each in 1..q.

    Source: arXiv:2409.18374, section 3 (the latent distribution of rank r).
    """
    return z * (torch.arange(z.shape[-1], device=z.device) < ranks.unsqueeze(-1)).to(z.dtype)


def one_hot_code(ranks: Tensor, latent_dim: int, dtype: torch.dtype) -> Tensor:
    """The code by which the encoder sees the rank: entry r - 1 is 1, the others 0.

    Args:
        ranks: shape (rows,) or (), each in 1..latent_dim.

    Returns:
        Shape (rows, latent_dim) or (latent_dim,).
    """
    positions = torch.arange(1, latent_dim + 1, device=ranks.device)
    return (positions == ranks.unsqueeze(-1)).to(dtype)


def thermometer_code(ranks: Tensor, latent_dim: int, dtype: torch.dtype) -> Tensor:
    """The code by which the critic sees the rank: the first r - 1 entries are 1, the others 0.

    Args:
        ranks: shape (rows,) or (), each in 1..latent_dim.

    Returns:
        Shape (rows, latent_dim) or (latent_dim,).
    """
    positions = torch.arange(1, latent_dim + 1, device=ranks.device)
    return (positions < ranks.unsqueeze(-1)).to(dtype)
