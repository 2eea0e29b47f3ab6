"""The configuration of a variational auto-encoder that finds the relevant latent dimensions."""

from typing import ClassVar, Literal

from lwgan_dist.configbase import Fraction, PositiveInt
from lwgan_dist.models.vae.config import VaeModel


class ArdVaeModel(VaeModel):
    """A variational auto-encoder whose latent variances are estimated, with more coordinates than the data need."""

    name: Literal["ard_vae"] = "ard_vae"  # type: ignore[assignment]  # another member of the union
    estimates_dimension: ClassVar[bool] = True
    generates_early: ClassVar[bool] = False
    prior_interval: PositiveInt = 25
    """Iterations after which the variances of the latent distribution are estimated again."""
    explained: Fraction = 0.99
    """Share of the weighted variance that the relevant axes explain together."""
