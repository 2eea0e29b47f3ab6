"""The configuration of an auto-encoder with nested dropout."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lwgan_dist.configbase import NUMBER, Fraction
from lwgan_dist.models.one_size.config import OneSizeModel


class NestedDropoutModel(OneSizeModel):
    """An auto-encoder whose codes are cut off at random ranks in training, so that their coordinates are ordered."""

    name: Literal["nested_dropout"] = "nested_dropout"
    estimates_dimension: ClassVar[bool] = True
    generates_early: ClassVar[bool] = False
    drop: Annotated[float, Field(gt=0, lt=1), NUMBER] = 0.1
    """p of the geometric distribution of the rank at which a code is cut off: P(r) in proportion to (1 - p)^(r - 1) for
    r = 1..latent_dim."""
    explained: Fraction = 0.99
    """Share of the variance of the rows that the codes explain at the estimated dimension."""
