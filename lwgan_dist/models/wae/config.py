"""The configuration of a Wasserstein auto-encoder."""

from typing import Annotated, Literal, Self

from pydantic import Field

from lwgan_dist.configbase import ModelSettings, NonNegativeFloat, PositiveFloat, PositiveInt


class WaeModel(ModelSettings):
    """A Wasserstein auto-encoder with a latent space of one given size, trained by R + w_mmd M with Adam."""

    name: Literal["wae"] = "wae"
    latent_dim: PositiveInt | None = None
    """Coordinates of a code. By default the number of columns, at most 10."""
    width: PositiveInt = 64
    """s, the unit of the hidden widths: encoder 8s, 4s, 2s, s; generator s, 2s, 4s, 8s."""
    mmd_weight: NonNegativeFloat = 1.0
    """w_mmd, weight of the squared MMD between codes and the latent distribution."""
    iterations: PositiveInt = 3_000
    """Updates."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Rows of one batch over all workers; by default 128, or all training rows where there are fewer."""
    learning_rate: PositiveFloat = 2e-3
    """Adam's at the start; a cosine takes it to a fortieth."""
    evaluations: Annotated[int, Field(ge=2)] = 20
    """Evaluations of R and M after the training, each on another part of the rows; parts come again where there are
    fewer than two rows for each."""

    def resolved(self, *, train_rows: int | None, ambient_dim: int) -> Self:
        """With every default that depends on the data written out."""
        return self.model_copy(
            update={
                "latent_dim": self.latent_dim or min(ambient_dim, 10),
                "batch_size": self.batch_size or min(128, train_rows or 128),
            }
        )
