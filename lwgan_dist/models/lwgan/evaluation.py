"""The components of the score at every rank, on the same draws, as a table: evaluations x ranks x components."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwgan_dist.method.latent import mask_to_rank
from lwgan_dist.method.mmd import mmd_squared
from lwgan_dist.method.objective import gradient_penalties, mix, reconstruction_errors
from lwgan_dist.networks.base import Networks
from lwgan_dist.results import COMPONENTS
from lwgan_dist.training.distributed import World

MATCHED_ROWS = 1_024
"""Codes, at most, whose MMD one evaluation takes: its time grows with their square."""


@torch.no_grad()
def score_components(
    networks: Networks, x: tuple[Tensor, Tensor], z: tuple[Tensor, Tensor], alpha: Tensor, world: World
) -> NDArray[np.float64]:
    """C, R, P and M of every rank on one set of draws, shape (q, 4), columns as in `COMPONENTS`.

    Each worker evaluates its share of the ranks; every worker must call this and gets the whole table, whose numbers
    do not depend on how many there are.

    Args:
        networks: evaluated as they are.
        x: rows for critic difference and reconstruction, and independent rows for penalty and code matching; each
            (rows, *shape).
        z: standard normal draws for the same two purposes, each (rows, q).
        alpha: uniform on (0, 1), shape (rows, 1).
        world: the processes that train together.
    """
    latent_dim = z[0].shape[1]
    table = torch.zeros(latent_dim, len(COMPONENTS), dtype=torch.float64, device=x[0].device)
    share = world.share(latent_dim)
    for rank in range(share.start + 1, share.stop + 1):
        table[rank - 1] = _components_at(networks, rank, x, z, alpha)
    return torch.stack(world.collect(table)).sum(0).cpu().numpy()


def _components_at(
    networks: Networks, rank: int, x: tuple[Tensor, Tensor], z: tuple[Tensor, Tensor], alpha: Tensor
) -> Tensor:
    ranks = torch.tensor(rank, device=x[0].device)
    encoder, generator, critic = networks.encoder, networks.generator, networks.critic
    z_first, z_second = mask_to_rank(z[0], ranks), mask_to_rank(z[1], ranks)
    reconstructed = generator(encoder(x[0], ranks))
    difference = critic(reconstructed, ranks).mean() - critic(generator(z_first), ranks).mean()
    codes = encoder(x[1], ranks)
    mixed = mix(alpha, generator(codes), generator(z_second))
    return torch.stack(
        [
            difference,
            reconstruction_errors(x[0], reconstructed).mean(),
            gradient_penalties(critic.input_gradient(mixed, ranks)).mean(),
            mmd_squared(codes[:MATCHED_ROWS], z_second[:MATCHED_ROWS], z_second.shape[1]),
        ]
    ).double()
