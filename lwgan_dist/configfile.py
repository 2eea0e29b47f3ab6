"""Configurations as YAML files: reading with errors that name file, line, column and key; overriding by ``a.b=value``;
writing back; the JSON Schema for editors."""

import difflib
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from lwgan_dist.config import Frozen, override
from lwgan_dist.errors import ConfigError

Config = TypeVar("Config", bound=Frozen)
Path_ = tuple[str | int, ...]


def read_config(model: type[Config], file: str, changes: Sequence[str] = ()) -> Config:
    """A configuration from a YAML file, with ``a.b=value`` overrides.

    Raises:
        ConfigError: all errors at once, each as ``file:line:column: key: what is wrong``; for an override, the
            override stands in place of the position.
    """
    told = read_yaml(file)
    return build_config(model, _plain(told), parse_overrides(changes), source=file, positions=told)


def build_config(
    model: type[Config], told: dict[str, Any], changes: dict[str, Any], *, source: str = "", positions: Any = None
) -> Config:
    """A configuration from nested dictionaries, with values set at dotted paths; see `read_config`."""
    try:
        merged = override(told, changes)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, error, source, positions, changes))) from None


def read_yaml(file: str) -> Any:
    """The mapping in a YAML 1.2 file, with positions. Duplicate keys are errors, and ``1e-4`` is a number.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from None
    try:
        told = YAML().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = (error.problem or "cannot be parsed").strip().splitlines()[0]
        raise ConfigError(f"{file}{place}: not valid YAML: {problem}") from None
    except YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {error}") from None
    if not isinstance(told, dict):
        raise ConfigError(f"{file}:1:1: a configuration is a mapping of keys to values, not {_kind(told)}")
    return told


def parse_overrides(changes: Sequence[str]) -> dict[str, Any]:
    """``["schedule.iterations=100"]`` as ``{"schedule.iterations": 100}``; values are YAML.

    Raises:
        ConfigError: not of the form key=value, a value that is not YAML, or the same key twice.
    """
    parsed: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key or not all(part.isidentifier() for part in key.split(".")):
            raise ConfigError(f"{change}: an override has the form key=value, for example schedule.iterations=100")
        if key in parsed:
            raise ConfigError(f"{change}: {key} is given twice")
        try:
            parsed[key] = _plain(YAML(typ="safe", pure=True).load(value))
        except YAMLError:
            raise ConfigError(f"{change}: {value!r} is not a YAML value") from None
    return parsed


def to_yaml(config: BaseModel) -> str:
    """The configuration with every value written out."""
    stream = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def json_schema(model: type[BaseModel]) -> str:
    """JSON Schema of a configuration file, for editors that complete and check YAML."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2)


def _plain(value: Any) -> Any:
    """Without positions, comments and scalar subclasses."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value if value is None else str(value)


def _explain(
    model: type[BaseModel], error: ValidationError, source: str, positions: Any, changes: dict[str, Any]
) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        path = _without_tags(item["loc"])
        dotted = ".".join(str(part) for part in path) or "(whole file)"
        message = _message(item, _siblings(model, item["loc"]))
        changed = next((key for key in changes if dotted == key or dotted.startswith(key + ".")), None)
        if changed:
            place = f"{changed}={json.dumps(changes[changed])}"
        else:
            place = f"{source}:{_position(positions, path)}" if positions is not None else source
        line = f"{place}: {dotted}: {message}" if place else f"{dotted}: {message}"
        if line not in lines:
            lines.append(line)
    return lines


def _message(item: Any, known: list[str]) -> str:
    kind, given = item["type"], item.get("input")
    if kind == "extra_forbidden":
        name = str(item["loc"][-1])
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; known keys: {', '.join(known)}" if known else ""
        return f"unknown key{hint}"
    if kind == "missing":
        return "is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        context = item["ctx"]
        tag = context["discriminator"].strip("'")
        got = f" (got {context['tag']!r})" if "tag" in context else ""
        expected = context.get("expected_tags", "")
        return f"{tag} must be one of {expected}{got}" if expected else f"{tag} is missing"
    text = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if text != item["msg"] and not str(item["msg"]).startswith("Value error"):
        text = f"must be {text}"
        text = text.replace("greater than or equal to", ">=").replace("less than or equal to", "<=")
        text = text.replace("greater than", ">").replace("less than", "<")
    scalar = given is None or isinstance(given, str | int | float | bool)
    shown = f" (got {given!r})" if scalar and "(got" not in text else ""
    return f"{text}{shown}"


def _without_tags(loc: tuple[str | int, ...]) -> Path_:
    """The path as the user wrote it: pydantic inserts the tag of a union member after the field of the union."""
    path: list[str | int] = []
    for part in loc:
        if path and (path[-1], part) in _TAGS:
            continue
        if isinstance(part, str) and ("[" in part or part in ("WorkerRange", "int")):
            continue  # the branch of an untagged union
        path.append(part)
    return tuple(path)


_TAGS = {("data", tag) for tag in ("manifold", "table", "array")} | {("schedule", tag) for tag in ("paper", "fast")}


def _siblings(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Names of the fields where an unknown key stands."""
    schema = model.model_json_schema()
    place: Any = schema
    for part in loc[:-1]:
        place = _descend(schema, place, part)
    place = _follow(schema, place)
    return list(place.get("properties", {}))


def _descend(schema: Any, place: Any, part: str | int) -> Any:
    place = _follow(schema, place)
    if "properties" in place and part in place["properties"]:
        return place["properties"][part]
    mapping = place.get("discriminator", {}).get("mapping", {})
    return {"$ref": mapping[part]} if part in mapping else place


def _follow(schema: Any, place: Any) -> Any:
    while "$ref" in place:
        place = schema["$defs"][place["$ref"].rsplit("/", 1)[-1]]
    return place


def _position(told: Any, path: Path_) -> str:
    """Line and column, from 1, of the key that a path ends at, or of the nearest section above it."""
    line, column = 0, 0
    for part in path:
        data = getattr(told, "lc", None)
        try:
            line, column = data.key(part) if isinstance(told, dict) else data.item(part)  # type: ignore[union-attr]
            told = told[part]
        except (AttributeError, KeyError, TypeError, IndexError):
            break
    return f"{line + 1}:{column + 1}"


def _kind(value: Any) -> str:
    return "an empty file" if value is None else f"a {type(value).__name__}"
