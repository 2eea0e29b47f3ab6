"""The terms of the LWGAN objective at one rank: per-row values, so that any batch, share of a batch or mixture of
ranks can average them. ``||.||`` is the Euclidean norm of a flattened row.

With encoder Q, generator G and critic D, at rank r:

- reconstruction error  R_r = E ||x - G(Q_r(x))||
- critic difference     C_r = E D_r(G(Q_r(x))) - E D_r(G(z_r))
- gradient penalty      P_r = E (||grad_x D_r(x_mix)|| - 1)^2
- code matching         M_r = MMD^2(Q_r(x), z_r), in `lwgan_dist.method.mmd`

The critic minimises -C_r + w_gp P_r; encoder and generator minimise R_r + C_r + w_mmd M_r. The rank term w_rank r has
no gradient: it enters when the rank is chosen (`lwgan_dist.method.rank_selection`).

Source: arXiv:2409.18374, the objective of the latent Wasserstein GAN; the penalty is that of Gulrajani et al. 2017.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def reconstruction_errors(x: Tensor, x_reconstructed: Tensor) -> Tensor:
    """||x - G(Q_r(x))|| of every row (not squared); its gradient at 0 is 0.

    Args:
        x, x_reconstructed: shape (rows, ...).

    Returns:
        Shape (rows,).
    """
    errors: Tensor = torch.linalg.vector_norm((x - x_reconstructed).flatten(1), dim=1)
    return errors


def mix(alpha: Tensor, x_reconstructed: Tensor, x_fake: Tensor) -> Tensor:
    """The points at which the gradient penalty is taken: alpha u + (1 - alpha) v for paired rows u, v.

    Args:
        alpha: uniform on (0, 1), one for each row, shape (rows, 1).
        x_reconstructed, x_fake: independent rows of G(Q_r(x)) and of G(z_r), shape (rows, *shape).
    """
    alpha = alpha.view(-1, *[1] * (x_fake.dim() - 1))
    return x_fake + alpha * (x_reconstructed - x_fake)


def input_gradient(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """grad_x D(x) of every row by automatic differentiation, itself differentiable.

    Args:
        critic: maps (rows, ...) to (rows,), each value a function of its own row only.
        x: shape (rows, ...).
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True) if not x.requires_grad else x
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient


def gradient_penalties(gradient: Tensor) -> Tensor:
    """(||g|| - 1)^2 of every row, the two-sided penalty.

    Args:
        gradient: gradient of the critic with respect to its input, shape (rows, ...).

    Returns:
        Shape (rows,).
    """
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (norms - 1.0).square()
