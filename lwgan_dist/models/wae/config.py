"""The configuration of a Wasserstein auto-encoder."""

from typing import Literal

from lwgan_dist.configbase import NonNegativeFloat
from lwgan_dist.models.one_size.config import OneSizeModel


class WaeModel(OneSizeModel):
    """A Wasserstein auto-encoder with a latent space of one given size, trained by R + w_mmd M with Adam."""

    name: Literal["wae"] = "wae"
    mmd_weight: NonNegativeFloat = 1.0
    """w_mmd, weight of the squared MMD between codes and the latent distribution."""
