"""The common parts of all configurations: an immutable base without unknown keys, ranges of numbers, an error."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class Frozen(BaseModel):
    """Base of all configurations: immutable, no unknown keys, no infinities, fields documented by docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )


class ModelSettings(Frozen):
    """Base of the configurations of models, with what can be known of a kind of model before it is loaded."""

    has_encoder: ClassVar[bool] = True
    """Whether rows have codes; without an encoder nothing is reconstructed."""
    estimates_dimension: ClassVar[bool] = False
    """Whether its result is an intrinsic dimension."""


def clash(key: str, message: str) -> PydanticCustomError:
    """The error about a key whose value is at odds with another one's."""
    return PydanticCustomError("clash", "{message}", {"key": key, "message": message})
