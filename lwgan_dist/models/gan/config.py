"""The configuration of a generative adversarial network."""

from typing import ClassVar, Literal

from lwgan_dist.configbase import PositiveFloat
from lwgan_dist.models.one_size.config import OneSizeModel


class GanModel(OneSizeModel):
    """A generative adversarial network with the non-saturating loss; it has no encoder."""

    name: Literal["gan"] = "gan"
    has_encoder: ClassVar[bool] = False
    learning_rate: PositiveFloat = 3e-4
    """Adam's at the start, of generator and discriminator; a cosine takes it to a fortieth."""
