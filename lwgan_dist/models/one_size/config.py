"""The fields that the configurations of all models with one latent size have."""

from typing import Annotated, Self

from pydantic import Field

from lwgan_dist.configbase import (
    WHOLE,
    Dimension,
    ModelSettings,
    NetworksName,
    PositiveFloat,
    PositiveInt,
    SeveralInt,
    linear_path_for,
    networks_for,
    width_for,
)


class OneSizeModel(ModelSettings):
    """A model with a latent space of one given size, trained by Adam."""

    name: str
    latent_dim: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None
    """Coordinates of a code. By default the number of columns, at most 10."""
    width: Dimension | None = None
    """s, the unit of the hidden widths, as in ``networks`` of the LWGAN: by default 64, of ``conv`` 16."""
    networks: NetworksName = "auto"
    """``mlp``, ``conv``, or ``auto``: as ``networks.name`` of the LWGAN."""
    linear_path: bool | None = None
    """As in ``networks`` of the LWGAN; by default of ``mlp``."""
    iterations: PositiveInt = 3_000
    """Iterations of the training; each updates every network that is trained."""
    batch_size: SeveralInt | None = None
    """Rows of one batch over all workers; by default 128, or all training rows where there are fewer."""
    learning_rate: PositiveFloat = 2e-3
    """Adam's at the start; a cosine takes it to a fortieth."""
    evaluations: SeveralInt = 20
    """Evaluations after the training, each on another part of the rows; parts come again where there are fewer than two
    rows for each."""

    def on_rows(self, shape: tuple[int, ...]) -> Self:
        """With the networks that are meant for rows of a shape written out."""
        name = networks_for(self.networks, shape, "model.networks")
        path = linear_path_for(self.linear_path, name, "model.linear_path", default=True)
        return self.model_copy(update={"networks": name, "width": width_for(self.width, name), "linear_path": path})

    def resolved(self, *, train_rows: int | None, ambient_dim: int) -> Self:
        """With every default that depends on the data written out."""
        return self.model_copy(
            update={
                "latent_dim": self.latent_dim or min(ambient_dim, 10),
                "batch_size": self.batch_size or min(128, train_rows or 128),
            }
        )

    @property
    def size(self) -> int:
        """q, the latent size of a resolved configuration."""
        assert self.latent_dim is not None
        return self.latent_dim
