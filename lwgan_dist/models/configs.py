"""The configurations of all models. A model is registered by its name here, and its code is in the folder of this name:
``lwgan_dist.models.<name>.kind``.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lwgan_dist.configbase import ModelSettings
from lwgan_dist.models.ard_vae.config import ArdVaeModel
from lwgan_dist.models.cyclegan.config import CycleGanModel
from lwgan_dist.models.gan.config import GanModel
from lwgan_dist.models.nested_dropout.config import NestedDropoutModel
from lwgan_dist.models.vae.config import VaeModel
from lwgan_dist.models.wae.config import WaeModel
from lwgan_dist.models.wgan_gp.config import WganGpModel


class LwganModel(ModelSettings):
    """The latent Wasserstein GAN. Its settings are the sections ``networks``, ``objective``, ``schedule`` and
    ``score`` of a run.
    """

    name: Literal["lwgan"] = "lwgan"
    estimates_dimension: ClassVar[bool] = True


ModelConfig = Annotated[
    LwganModel | WaeModel | VaeModel | ArdVaeModel | NestedDropoutModel | GanModel | WganGpModel | CycleGanModel,
    Field(discriminator="name"),
]
