"""The common parts of all configurations: an immutable base without unknown keys, ranges of numbers, an error."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError, PydanticKnownError

from lwgan_dist.errors import ConfigError

MOST = 10**9
"""The largest count that a configuration can ask for; what several of them take together is refused where it does not
fit into memory.
"""


def _whole(value: Any) -> Any:
    """What may be a whole number, also 1e4; not true, and not text with digits."""
    if isinstance(value, bool | str):
        raise PydanticKnownError("int_type")
    return value


def _number(value: Any) -> Any:
    """What may be a number; not true, and not text with digits."""
    if isinstance(value, bool | str):
        raise PydanticKnownError("float_type")
    return value


WHOLE, NUMBER = BeforeValidator(_whole), BeforeValidator(_number)
"""The last part of the annotation of every number of a configuration: pydantic alone takes true for 1."""
WholeNumber = Annotated[int, WHOLE]
NonNegativeInt = Annotated[int, Field(ge=0, le=MOST), WHOLE]
PositiveInt = Annotated[int, Field(ge=1, le=MOST), WHOLE]
SeveralInt = Annotated[int, Field(ge=2, le=MOST), WHOLE]
Dimension = Annotated[int, Field(ge=1, le=1_000_000), WHOLE]
"""A number of columns, coordinates or units of a network."""
Number = Annotated[float, NUMBER]
PositiveFloat = Annotated[float, Field(gt=0), NUMBER]
NonNegativeFloat = Annotated[float, Field(ge=0), NUMBER]
Fraction = Annotated[float, Field(ge=0, le=1), NUMBER]
Beta = Annotated[float, Field(ge=0, lt=1), NUMBER]
NetworksName = Literal["auto", "mlp", "conv"]
"""A family of networks; ``auto``: ``conv`` for images, ``mlp`` for other rows."""

WIDTH = 64
"""s, the unit of the hidden widths: the authors'."""

CPU_WIDTH = 16
"""s of convolutions by default, but for the authors' schedule: what a CPU trains in minutes."""

LEAST_SIDE = 8
"""Sides from which on rows of shape (height, width) or (channels, height, width) count as images."""


class Frozen(BaseModel):
    """Base of all configurations: immutable, no unknown keys, no infinities, fields documented by docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )


class ModelSettings(Frozen):
    """Base of the configurations of models, with what can be known of a kind of model before it is loaded."""

    has_encoder: ClassVar[bool] = True
    """Whether rows have codes; without an encoder nothing is reconstructed."""
    generates_early: ClassVar[bool] = True
    """Whether its networks generate rows before the training has ended."""
    estimates_dimension: ClassVar[bool] = False
    """Whether its result is an intrinsic dimension."""


def clash(key: str, message: str) -> PydanticCustomError:
    """The error about a key, seen from the section that is validated, whose value is at odds with another one's."""
    return PydanticCustomError("clash", "{message}", {"key": key, "message": message})


def networks_for(name: NetworksName, shape: tuple[int, ...], key: str) -> NetworksName:
    """The family that is meant for rows of a shape.

    Args:
        name: as configured, under ``key``.
        shape: of a row.
        key: for the error.

    Raises:
        ConfigError: convolutions on rows that have no height and width.
    """
    has_sides = len(shape) in (2, 3)
    if name == "conv" and not has_sides:
        raise ConfigError(
            f"{key}: conv is for rows of shape (height, width) or (channels, height, width), and these have "
            f"shape {shape}; choose mlp"
        )
    if name != "auto":
        return name
    return "conv" if has_sides and min(shape[-2:]) >= LEAST_SIDE else "mlp"


def width_for(given: int | None, name: NetworksName, *, paper: bool = False) -> int:
    """The unit of the hidden widths of networks of a family, under the authors' schedule or another one."""
    return given or (CPU_WIDTH if name == "conv" and not paper else WIDTH)


def linear_path_for(given: bool | None, name: NetworksName, key: str, *, default: bool) -> bool:
    """Whether networks of a family have a linear map beside their layers; ``key`` is that of what was given.

    Raises:
        ConfigError: one was asked of convolutions.
    """
    if name == "conv":
        if given:
            raise ConfigError(f"{key}: is of perceptrons (mlp); convolutions have none")
        return False
    return default if given is None else given
