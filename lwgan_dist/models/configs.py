"""The configurations of all models. A model is registered by its name here, and its code is in the folder of this name:
``lwgan_dist.models.<name>.kind``.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lwgan_dist.configbase import ModelSettings
from lwgan_dist.models.wae.config import WaeModel


class LwganModel(ModelSettings):
    """The latent Wasserstein GAN. Its settings are the sections ``networks``, ``objective``, ``schedule`` and
    ``score`` of a run.
    """

    name: Literal["lwgan"] = "lwgan"
    estimates_dimension: ClassVar[bool] = True


ModelConfig = Annotated[LwganModel | WaeModel, Field(discriminator="name")]
