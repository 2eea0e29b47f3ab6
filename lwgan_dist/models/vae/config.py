"""The configuration of a variational auto-encoder."""

from typing import Literal

from lwgan_dist.configbase import Fraction, PositiveFloat
from lwgan_dist.models.one_size.config import OneSizeModel


class VaeModel(OneSizeModel):
    """A variational auto-encoder with a latent space of one given size, trained by the evidence lower bound."""

    name: Literal["vae"] = "vae"
    noise: PositiveFloat | None = None
    """Standard deviation of the Gaussian decoder, one for all columns, in units of the standardised data. By default
    the one that makes every batch most likely: the root of its mean squared error."""
    warm_up: Fraction = 0.0
    """Part of the training in which the weight of the KL divergence grows from 0 to 1, for data of which coordinates
    that they need stay unused otherwise."""
