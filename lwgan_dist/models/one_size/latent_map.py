"""Codes in which a latent distribution that was estimated is N(0, I): an affine map before the generator and after the
encoder, fixed when the training has ended.
"""

import torch
from torch import Tensor, nn

from lwgan_dist.method.latent import mask_to_rank
from lwgan_dist.models.one_size.networks import Constants, OneSizeNetworks


class LatentMap(Constants):
    """From a code e to the generator's coordinates z: with s = shift + L e, z of axis order[j] is s_j.

    L is lower triangular, so that the first r coordinates of e are those of the first r axes in the order; axes after
    the rank-th are 0. As it is made, the map changes nothing.

    Args:
        latent_dim: q.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__(
            shift=torch.zeros(latent_dim), factor=torch.eye(latent_dim), order=torch.arange(float(latent_dim))
        )

    @property
    def size(self) -> int:
        """Q."""
        return len(self.get_buffer("shift"))

    def set(self, shift: Tensor, factor: Tensor, order: Tensor) -> None:
        """Fix the map: shift of shape (q,), L of shape (q, q), the axes in their order, shape (q,)."""
        for name, value in (("shift", shift), ("factor", factor), ("order", order)):
            self.get_buffer(name).copy_(value)

    def to_axes(self, codes: Tensor, rank: int) -> Tensor:
        """Z of codes that are cut off at a rank, each of shape (rows, q)."""
        ordered = self.get_buffer("shift") + codes @ self.get_buffer("factor").T
        kept = mask_to_rank(ordered, torch.tensor(rank, device=codes.device))
        return kept[:, self.get_buffer("order").long().argsort()]

    def to_codes(self, axes: Tensor) -> Tensor:
        """The inverse of `to_axes` at the largest rank."""
        ordered = axes[:, self.get_buffer("order").long()] - self.get_buffer("shift")
        codes: Tensor = torch.linalg.solve_triangular(self.get_buffer("factor"), ordered.T, upper=False).T
        return codes


class MappedEncoder(nn.Module):
    """An encoder whose codes are mapped."""

    def __init__(self, encoder: nn.Module, latent_map: LatentMap) -> None:
        super().__init__()
        self.encoder, self.latent_map = encoder, latent_map

    def forward(self, x: Tensor, ranks: Tensor) -> Tensor:
        """Codes of shape (rows, q), for x of shape (rows, *shape) and ranks of shape () or (rows,)."""
        all_axes = torch.tensor(self.latent_map.size, device=x.device)
        return mask_to_rank(self.latent_map.to_codes(self.encoder(x, all_axes)), ranks)


class MappedGenerator(nn.Module):
    """A generator of mapped codes that are cut off at a rank."""

    def __init__(self, generator: nn.Module, latent_map: LatentMap, rank: int) -> None:
        super().__init__()
        self.generator, self.latent_map, self.rank = generator, latent_map, rank

    def forward(self, codes: Tensor) -> Tensor:
        """Rows of shape (rows, *shape), for codes of shape (rows, q)."""
        rows: Tensor = self.generator(self.latent_map.to_axes(codes, self.rank))
        return rows


class MappedNetworks(OneSizeNetworks):
    """Networks with a ``map``, in whose codes the latent distribution that was estimated is N(0, I)."""

    @property
    def map(self) -> LatentMap:
        """From codes to the generator's coordinates."""
        latent_map = self["map"]
        assert isinstance(latent_map, LatentMap)
        return latent_map

    @property
    def encoder(self) -> nn.Module:
        """Q(x), mapped."""
        encoder = super().encoder
        assert encoder is not None
        return MappedEncoder(encoder, self.map)

    @property
    def generator(self) -> nn.Module:
        """G of mapped codes."""
        return self.decoder(self.map.size)

    def decoder(self, rank: int) -> nn.Module:
        """G of mapped codes, cut off at a rank."""
        return MappedGenerator(self["generator"], self.map, rank)
