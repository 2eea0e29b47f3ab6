"""The configuration of a Wasserstein GAN with gradient penalty."""

from typing import ClassVar, Literal

from lwgan_dist.configbase import NonNegativeFloat, PositiveFloat, PositiveInt
from lwgan_dist.models.one_size.config import OneSizeModel


class WganGpModel(OneSizeModel):
    """A Wasserstein GAN with gradient penalty; it has no encoder."""

    name: Literal["wgan_gp"] = "wgan_gp"
    has_encoder: ClassVar[bool] = False
    critic_updates: PositiveInt = 5
    """K, updates of the critic before each one of the generator."""
    gradient_penalty_weight: NonNegativeFloat = 10.0
    """w_gp, weight of the gradient penalty in the critic loss."""
    learning_rate: PositiveFloat = 1e-3
    """Adam's at the start, of generator and critic; a cosine takes it to a fortieth."""
