"""An entry of a list of models in a configuration: a name, and beside it the model's own fields. Pure data, as
`lwgan_dist.config`.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lwgan_dist.campaign.sources import Label
from lwgan_dist.configbase import Frozen, ModelSettings, clash
from lwgan_dist.configerrors import Places, explain
from lwgan_dist.models.configs import ModelConfig

MODELS: dict[str, type[ModelSettings]] = {
    kind.model_fields["name"].default: kind for kind in get_args(get_args(ModelConfig)[0])
}
"""The configurations of all models, by name."""

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[tuple(MODELS)]


def as_given(value: Any) -> Any:
    """The value itself."""
    return value


class NamedModel(Frozen):
    """A model: its name, and beside it any field that it has under ``model`` in a run."""

    model_config = ConfigDict(extra="allow")

    name: Name
    """Which model."""
    label: Label | None = None
    """Its name in tables and figures; by default its name with the fields given here."""

    @property
    def kind(self) -> type[ModelSettings]:
        """Its configuration."""
        return MODELS[self.name]

    @property
    def fields(self) -> dict[str, Any]:
        """What is given beside the fields that every entry has."""
        return dict(self.model_extra or {})

    def model(self, number: Callable[[Any], Any] = as_given) -> ModelConfig:
        """Its configuration; ``number`` replaces values that depend on the data.

        Raises:
            ValidationError: there is none.
        """
        values = {"name": self.name, **{name: number(value) for name, value in self.fields.items()}}
        return TypeAdapter[ModelConfig](ModelConfig).validate_python(values)

    def label_with(self, settings: Mapping[str, Any], rank: Any = None) -> str:
        """Its label: ``wae 2``, ``wae truth+1 [width=32]``, ``lwgan at rank 2``.

        Args:
            settings: further ones that tell it from others, by name.
            rank: the same.
        """
        if self.label:
            return self.label
        fields = self.fields
        parts = [self.name, *([str(fields.pop("latent_dim"))] if fields.get("latent_dim") else [])]
        parts += [f"at rank {rank}"] if rank else []
        named = {**fields, **settings}.items()
        given = ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in named
        )
        return " ".join([*parts, *([f"[{given}]"] if given else [])])

    def check(self, key: str, number: Callable[[Any], Any] = as_given) -> None:
        """Refuse fields that the named model does not have, as an error about the key under which it is."""
        values = {name: number(value) for name, value in self.fields.items()}
        try:
            self.kind.model_validate(values)
        except ValidationError as error:
            field, _, message = explain(self.kind, error, values, Places("", None, {}))[0].partition(": ")
            raise clash(f"{key}.{field}", message) from None
