"""Matching of the codes Q_r(x) to the latent distribution: maximum mean discrepancy.

The kernel is a sum of inverse multiquadrics, k(a, b) = sum_s C_s / (C_s + ||a - b||^2) with C_s = 2 q s and
s in {0.1, 0.2, 0.5, 1, 2, 5, 10}; q is the latent dimension, whatever the rank.
"""

import torch
from torch import Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""The multiples s of the base scale 2 q: those of the authors' experiments (and of Tolstikhin et al. 2018)."""

_BLOCK_ELEMENTS = 1 << 16
"""Elements of one block of the kernel matrix: with its two companions it stays in a core's second-level cache."""


def mmd_squared(codes: Tensor, z: Tensor, latent_dim: int) -> Tensor:
    """Squared maximum mean discrepancy of the codes against draws of the latent distribution.

    M = sum_{i != j} k(a_i, a_j) / (n (n - 1)) + sum_{i != j} k(z_i, z_j) / (m (m - 1)) - 2 sum_{ij} k(a_i, z_j) / (n m)

    The within-sample sums leave out the diagonal and the cross sum does not, as in the authors' experiments: for
    identical samples the value is 2 (kbar - k(0)) / n with kbar the mean of k off the diagonal, not 0. A statistic of
    all pairs: it is not a mean over shards of a batch.

    Args:
        codes: Q_r(x), shape (n, q) with n >= 2; the value can be differentiated once with respect to them.
        z: draws of the latent distribution, shape (m, q) with m >= 2; taken as constants.
        latent_dim: q of the kernel scales C_s.

    Returns:
        Scalar. Memory is linear in n and m: kernel matrices are visited in blocks of rows.

    Source: arXiv:2409.18374, the penalty between Q(x) and z; Gretton et al. 2012 for the estimator.
    """
    value: Tensor = _MmdSquared.apply(codes, z, latent_dim)  # type: ignore[no-untyped-call]
    return value


class _MmdSquared(torch.autograd.Function):
    """Value and gradient in one pass over blocks of the kernel matrices.

    With S = dk/d(squared distance), the derivative of sum_j k(a_i, b_j) with respect to a_i is
    2 (sum_j S_ij) a_i - 2 sum_j S_ij b_j: matrix products, where a graph of the seven kernels would keep and read again
    fourteen matrices of n^2 elements.
    """

    @staticmethod
    def forward(ctx, codes: Tensor, z: Tensor, latent_dim: int) -> Tensor:  # type: ignore[no-untyped-def]
        n, m = len(codes), len(z)
        with_gradient = ctx.needs_input_grad[0]
        within, within_gradient = _kernel_sum(codes, codes, latent_dim, skip_diagonal=True, with_gradient=with_gradient)
        cross, cross_gradient = _kernel_sum(codes, z, latent_dim, skip_diagonal=False, with_gradient=with_gradient)
        latent, _ = _kernel_sum(z, z, latent_dim, skip_diagonal=True, with_gradient=False)
        if with_gradient:  # each pair (i, j) of the within-sample sum moves with a_i and with a_j: hence the 2
            ctx.save_for_backward(2.0 / (n * (n - 1)) * within_gradient - 2.0 / (n * m) * cross_gradient)
        return within / (n * (n - 1)) + latent / (m * (m - 1)) - 2.0 * cross / (n * m)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None


def _kernel_sum(
    a: Tensor, b: Tensor, latent_dim: int, *, skip_diagonal: bool, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """sum_ij k(a_i, b_j) and, if asked for, its derivative with respect to a (b held fixed), shape of a."""
    a_squared, b_squared = a.square().sum(1), b.square().sum(1)
    total = a.new_zeros(())
    gradient = torch.empty_like(a) if with_gradient else a
    step = max(1, _BLOCK_ELEMENTS // len(b))
    for start in range(0, len(a), step):
        rows = a[start : start + step]
        distances = torch.addmm(b_squared, rows, b.T, alpha=-2.0)
        distances.add_(a_squared[start : start + step].unsqueeze(1)).clamp_min_(0.0)
        kernel, slope = _inverse_multiquadrics(distances, latent_dim, with_gradient)
        total += kernel.sum()
        if skip_diagonal:
            total -= kernel.diagonal(start).sum()
        if with_gradient:
            torch.addmm(rows * slope.sum(1, keepdim=True), slope, b, alpha=-1.0, out=gradient[start : start + step])
    return total, gradient.mul_(2.0) if with_gradient else gradient


def _inverse_multiquadrics(distances: Tensor, latent_dim: int, with_slope: bool) -> tuple[Tensor, Tensor]:
    """K and dk/d(squared distance), elementwise; the derivative of C / (C + d) is -(C / (C + d))^2 / C."""
    kernel, slope = torch.zeros_like(distances), torch.zeros_like(distances)
    term = torch.empty_like(distances)
    for scale in SCALES:
        constant = 2.0 * latent_dim * scale
        torch.add(distances, constant, out=term).reciprocal_().mul_(constant)
        kernel += term
        if with_slope:
            slope.addcmul_(term, term, value=-1.0 / constant)
    return kernel, slope
