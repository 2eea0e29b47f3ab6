"""The configuration of a cycle-consistent GAN."""

from typing import Literal

from lwgan_dist.configbase import NonNegativeFloat, PositiveFloat
from lwgan_dist.models.one_size.config import OneSizeModel


class CycleGanModel(OneSizeModel):
    """A cycle-consistent GAN between data and latent space: an encoder, a generator, and a critic of either side."""

    name: Literal["cyclegan"] = "cyclegan"
    cycle_weight: NonNegativeFloat = 10.0
    """w_cycle, weight of the cycle error of rows and of codes in the loss of encoder and generator."""
    learning_rate: PositiveFloat = 2e-4
    """Adam's at the start, of all networks; a cosine takes it to a fortieth."""
