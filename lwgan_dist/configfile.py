"""Configurations as YAML files: reading with errors that name file, line, column and key; overriding by ``a.b=value``;
writing back; the JSON Schema for editors.
"""

import difflib
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from lwgan_dist.config import Frozen, TrainConfig, override
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
    places = _Places(source, positions, changes)
    try:
        merged = override(told, changes)
    except ValueError as error:
        path = str(error).partition(":")[0]
        raise ConfigError(f"{places.of(tuple(path.split('.')))}{error}") from None
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, error, merged, places))) from None


@contextmanager
def located(file: str | None, changes: Sequence[str]) -> Iterator[None]:
    """Gives errors about a key that show only with the data (``data.dim: ...``) the place where the key was given.

    Args:
        file: the configuration that was read, None if there is none.
        changes: its overrides.
    """
    try:
        yield
    except ConfigError as error:
        key = re.match(r"([a-z]\w*)(\.\w+)*(?=: )", str(error))
        if key is None or key[1] not in TrainConfig.model_fields:
            raise
        places = _Places(file or "", read_yaml(file) if file else None, parse_overrides(changes))
        raise ConfigError(f"{places.of(tuple(key[0].split('.')))}{error}") from None


def read_yaml(file: str) -> Any:
    """The mapping in a YAML 1.2 file, with positions. Duplicate keys are errors, and ``1e-4`` is a number.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    try:
        content = Path(file).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        told = _load(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}:{_line_and_column(content, error.start)}: not UTF-8 text") from None
    except ReaderError as error:
        place = _line_and_column(content.decode("utf-8-sig"), error.position)
        raise ConfigError(f"{file}:{place}: not valid YAML: the character #x{error.character:02x}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise ConfigError(f"{file}:{place}: {_yaml_problem(error)}") from None
    except RecursionError:
        raise ConfigError(f"{file}:1:1: not valid YAML: nested too deeply, or a section that holds itself") from None
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
            raise ConfigError(f"{_one_line(change)}: an override has the form key=value, for example networks.width=32")
        if key in parsed:
            raise ConfigError(f"{_one_line(change)}: {key}: is given twice")
        try:
            parsed[key] = _plain(_load(value))
        except (YAMLError, RecursionError):
            raise ConfigError(f"{_one_line(change)}: {key}: {_shortened(repr(value))} is not a YAML value") from None
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
    for union in schema["properties"].values():
        named = union.get("discriminator", {"mapping": {}})
        for member, reference in named["mapping"].items():
            if member != union.get("default", {}).get(named["propertyName"]):  # only the default need not be named
                required = _follow(schema, {"$ref": reference}).setdefault("required", [])
                required.append(named["propertyName"])
    return json.dumps(schema, indent=2)


# YAML -----------------------------------------------------------------------------------------------------------------

_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "seq", "map", "merge")
}


class _Constructor(RoundTripConstructor):
    """ruamel.yaml's, with a position for values that cannot be (2020-13-45), and without tags of Python or others."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if node.tag not in _TAGS:
            raise ConstructorError(None, None, f"the tag {node.tag} is not known here", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise ConstructorError(None, None, f"not a value ({error})", node.start_mark) from None


def _load(text: str) -> Any:
    yaml = YAML()
    yaml.Constructor = _Constructor
    told = yaml.load(text)
    _plain(told)  # a section that holds itself would be endless
    return told


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


def _yaml_problem(error: MarkedYAMLError) -> str:
    problem = _one_line((error.problem or "cannot be parsed").strip().splitlines()[0])
    twice = re.match(r'found duplicate key "(.*?)"', problem)
    return f"{twice[1]}: is given twice" if twice else f"not valid YAML: {problem}"


def _kind(value: Any) -> str:
    if value is None:
        return "an empty file"
    return "a list" if isinstance(value, list) else f"a single value ({_shortened(repr(_plain(value)))})"


def _line_and_column(text: str | bytes, index: int) -> str:
    newline: Any = "\n" if isinstance(text, str) else b"\n"
    return f"{text.count(newline, 0, index) + 1}:{index - text.rfind(newline, 0, index)}"


# places ---------------------------------------------------------------------------------------------------------------


class _Places(NamedTuple):
    """Where keys were given.

    Attributes:
        source: the file, "" if there is none.
        positions: what `read_yaml` returned for it, None if there is none.
        changes: overrides by key.
    """

    source: str
    positions: Any
    changes: dict[str, Any]

    def of(self, path: Path_) -> str:
        """The place of a key, to begin a message with: the override that gave it, or its position in the file. For a
        key that is nowhere, the same of the nearest section above it.
        """
        for end in range(len(path), 0, -1):
            dotted = ".".join(str(part) for part in path[:end])
            above = [key for key in self.changes if f"{dotted}.".startswith(f"{key}.")]
            position = _position(self.positions, path[:end])
            within = [key for key in self.changes if key.startswith(f"{dotted}.")]
            if position and not above:
                return f"{self.source}:{position}: "
            if above or within:
                key = max(above, key=len) if above else within[0]
                return f"{key}={_given(self.changes[key])}: "
        if self.positions is not None:
            return f"{self.source}:1:1: "
        return f"{self.source}: " if self.source else ""


def _position(told: Any, path: Path_) -> str | None:
    """Line and column, from 1, of the key that a path ends at; None if there is no such key."""
    line, column = 0, 0
    for part in path:
        data = getattr(told, "lc", None)
        try:
            if isinstance(told, dict):
                key = next(key for key in told if str(key) == str(part))
                (line, column), told = data.key(key), told[key]  # type: ignore[union-attr]
            else:
                (line, column), told = data.item(part), told[part]  # type: ignore[union-attr]
        except (AttributeError, KeyError, TypeError, IndexError, StopIteration):
            return None
    return f"{line + 1}:{column + 1}"


# messages -------------------------------------------------------------------------------------------------------------


def _explain(model: type[BaseModel], error: ValidationError, merged: Any, places: _Places) -> list[str]:
    schema = model.model_json_schema()
    lines = []
    for item in error.errors(include_url=False):
        where = _resolve(schema, item["loc"], merged)
        if where is None:
            continue
        path = where.path
        if item["type"] == "clash":
            path = tuple(item["ctx"]["key"].split("."))
        if item["type"].startswith("union_tag"):
            path = (*path, item["ctx"]["discriminator"].strip("'"))
        dotted = ".".join(_one_line(part) or "''" for part in path) or "(whole file)"
        line = f"{places.of(path)}{dotted}: {_message(item, where)}"
        if line not in lines:
            lines.append(line)
    return lines


_KINDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text (put it in quotes)",
    "list_type": "must be a list",
    "dict_type": "must be a section of keys and values",
    "model_type": "must be a section of keys and values",
    "model_attributes_type": "must be a section of keys and values",
    "missing": "is missing",
}
"""Better words than pydantic's, by its type of error."""


def _message(item: Any, where: "_Where") -> str:
    kind, given = item["type"], item.get("input")
    if kind == "missing":
        return _KINDS[kind]
    if kind == "extra_forbidden":
        return _unknown_key(str(item["loc"][-1]), where)
    if kind.startswith("union_tag"):
        members, tag = where.members, item["ctx"].get("tag")
        if tag is None:
            return f"is missing; it is one of {', '.join(members)}"
        return f"must be one of {', '.join(members)}{_got(tag, members)}"
    if kind == "literal_error":
        members = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        if len(members) > 1:
            return f"must be one of {', '.join(members)}{_got(given, members)}"
    text = str(item["msg"]).removeprefix("Value error, ")
    if text.startswith("Input should be "):
        text = f"must be {text.removeprefix('Input should be ')}"
        text = text.replace("greater than or equal to", ">=").replace("less than or equal to", "<=")
        text = text.replace("greater than", ">").replace("less than", "<")
    text = _KINDS.get(kind, text)
    scalar = given is None or isinstance(given, str | int | float | bool)
    return _one_line(f"{text}{_got(given)}" if scalar and kind != "clash" else text, 400)


def _got(given: Any, known: Sequence[str] = ()) -> str:
    close = difflib.get_close_matches(given, known, n=1) if isinstance(given, str) else []
    hint = f"; did you mean {close[0]}?" if close else ""
    shown = json.dumps(given) if given is None or isinstance(given, bool) else repr(given)
    return f" (got {_shortened(shown)}){hint}"


def _unknown_key(name: str, where: "_Where") -> str:
    elsewhere = {key: member for member, keys in where.others.items() for key in keys if key not in where.known}
    for close in difflib.get_close_matches(name, [*where.known, *elsewhere], n=1):
        if close in where.known:
            return f"unknown key; did you mean {close}?"
        return f"unknown key; {close} goes with {elsewhere[close]}"
    return "unknown key" + (f"; known keys: {', '.join(where.known)}" if where.known else "")


class _Where(NamedTuple):
    """What stands at the place of an error.

    Attributes:
        path: keys and indices, as the user wrote them.
        known: fields beside the end of the path.
        members: names of the members, if a union stands there.
        others: fields of the other members of the union that the end of the path is in, by ``key 'member'``.
    """

    path: Path_
    known: list[str]
    members: list[str]
    others: dict[str, list[str]]


def _resolve(schema: Any, loc: tuple[str | int, ...], told: Any) -> _Where | None:
    """Follow an error's location through the JSON Schema and the value.

    pydantic puts the member of a union that it tried into the location. Of a union without a discriminator it tries
    every member: None for an error of one that the value was not meant for.
    """
    place, path = schema, list[str | int]()
    known: list[str] = []
    others: dict[str, list[str]] = {}
    pending: dict[str, list[str]] = {}
    for part in loc:
        place = _follow(schema, place)
        union = place.get("discriminator", {})
        branches = [branch for branch in place.get("anyOf", []) if branch.get("type") != "null"]
        if part in union.get("mapping", {}):
            pending = {
                f"{path[-1]}.{union['propertyName']} {member!r}": list(_follow(schema, {"$ref": ref})["properties"])
                for member, ref in union["mapping"].items()
                if member != part
            }
            place = {"$ref": union["mapping"][part]}
            continue
        if len(branches) > 1:
            section: Any = next((branch for branch in branches if "$ref" in branch), {})
            is_section = bool(section) and section["$ref"].rsplit("/", 1)[-1] in str(part)
            if is_section != isinstance(told, dict):
                return None
            place = section if is_section else {}
            continue
        place = _follow(schema, branches[0]) if branches else place
        fields = place.get("properties", {})
        known, (others, pending) = list(fields), (pending, {})
        path.append(part)
        place = fields.get(part) or place.get("items") or place.get("additionalProperties") or {}
        told = told.get(part) if isinstance(told, dict) else None
    members = list(_follow(schema, place).get("discriminator", {}).get("mapping", {}))
    return _Where(tuple(path), known, members, others)


def _follow(schema: Any, place: Any) -> Any:
    while "$ref" in place:
        place = schema["$defs"][place["$ref"].rsplit("/", 1)[-1]]
    return place


def _given(value: Any) -> str:
    """The value of an override as one could type it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value).replace("nan", ".nan").replace("inf", ".inf")
    return _one_line(value if isinstance(value, str) else json.dumps(value, default=str))


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _one_line(text: Any, limit: int = 200) -> str:
    """Text from outside as a part of a message: control characters escaped, cut at the limit."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return _shortened(printable, limit)
