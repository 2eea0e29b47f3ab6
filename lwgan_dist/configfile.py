"""Configurations as YAML files: reading with errors that name file, line, column and key; overriding by ``a.b=value``;
writing back; the JSON Schema for editors.
"""

import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from lwgan_dist.config import TrainConfig, override
from lwgan_dist.configbase import Frozen
from lwgan_dist.configerrors import Places, explain, follow, one_line, shortened
from lwgan_dist.errors import ConfigError

Config = TypeVar("Config", bound=Frozen)

MOST_BYTES = 1 << 18
"""Size of a configuration file, at most: YAML of so many keys is read in two or three seconds of the processor."""
MOST_VALUES = 100_000
"""Values of a configuration, at most, each alias counted as what it stands for."""
MOST_BRACKETS = 100
"""Brackets that are open at once in a configuration, at most: YAML's scanner takes the square of their number."""


def read_config(
    model: type[Config], file: str, changes: Sequence[str] = (),
    fill: Callable[[dict[str, Any]], dict[str, Any]] = dict, document: Any = None,
) -> Config:  # fmt: skip
    """A configuration from a YAML file, with ``a.b=value`` overrides.

    Args:
        model: of the configuration.
        file: path of the file.
        changes: the overrides.
        fill: adds values that the file was written without.
        document: what `read_yaml` gave for the file, if it was read already.

    Raises:
        ConfigError: all errors at once, each as ``file:line:column: key: what is wrong``; for an override, the
            override stands in place of the position.
    """
    document = read_yaml(file) if document is None else document
    return build_config(model, fill(_plain(document)), parse_overrides(changes), source=file, positions=document)


def build_config(
    model: type[Config], values: dict[str, Any], changes: dict[str, Any], *, source: str = "", positions: Any = None
) -> Config:
    """A configuration from nested dictionaries, with values set at dotted paths; see `read_config`."""
    places = Places(source, positions, changes)
    try:
        merged = override(values, changes)
    except ValueError as error:
        path = str(error).partition(":")[0]
        raise ConfigError(f"{places.of(tuple(path.split('.')))}{error}") from None
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(model, error, merged, places))) from None


def errors_of(model: type[Config], values: dict[str, Any], changes: dict[str, Any]) -> list[str]:
    """What is wrong with nested dictionaries with values set at dotted paths, a line each, that begins with the key."""
    try:
        merged = override(values, changes)
    except ValueError as error:
        return [str(error)]
    try:
        model.model_validate(merged)
    except ValidationError as error:
        return explain(model, error, merged, Places("", None, {}))
    return []


@contextmanager
def located(file: str | None, changes: Sequence[str], model: type[BaseModel] = TrainConfig) -> Iterator[None]:
    """Gives errors about a key that show only later (``data.dim: ...``, with the data), each in a line, the place where
    the key was given.

    Args:
        file: the configuration that was read, None if there is none.
        changes: its overrides.
        model: of which it is; only its keys are meant.
    """
    try:
        yield
    except ConfigError as error:
        lines = str(error).splitlines()
        matches = [re.match(r"([a-z]\w*)(\.\w+)*(?=: )", line) for line in lines]
        keys = [match[0] if match and match[1] in model.model_fields else None for match in matches]
        if not any(keys):
            raise
        places = Places(file or "", read_yaml(file) if file else None, parse_overrides(changes))
        lines = [f"{places.of((key,))}{line}" if key else line for key, line in zip(keys, lines, strict=True)]
        raise ConfigError("\n".join(lines)) from None


def read_yaml(file: str) -> Any:
    """The mapping in a YAML 1.2 file, with positions. Duplicate keys are errors, and ``1e-4`` is a number.

    Raises:
        ConfigError: no such file, no regular one, too large, not YAML, or not a mapping.
    """
    try:
        content = _content_of(file)
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        document = _load(content.decode("utf-8-sig"))
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
    except _TooMuchError as error:
        raise ConfigError(f"{file}:1:1: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file}:1:1: a configuration is a mapping of keys to values, not {_kind(document)}")
    return document


_PUNCTUATION = (",", ";", ":", "|")
"""What stands between the columns of a table; to YAML these are no values."""


def parse_overrides(changes: Sequence[str]) -> dict[str, Any]:
    """``["schedule.iterations=100"]`` as ``{"schedule.iterations": 100}``; values are YAML.

    Raises:
        ConfigError: not of the form key=value, a value that is not YAML, or the same key twice.
    """
    parsed: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key or not all(part.isidentifier() for part in key.split(".")):
            raise ConfigError(f"{one_line(change)}: an override has the form key=value, for example networks.width=32")
        if key in parsed:
            raise ConfigError(f"{one_line(change)}: {key}: is given twice")
        try:
            parsed[key] = value if value in _PUNCTUATION else _plain(_load(value))
        except _TooMuchError as error:
            raise ConfigError(f"{one_line(change)}: {key}: {error}") from None
        except (YAMLError, RecursionError):
            raise ConfigError(f"{one_line(change)}: {key}: {shortened(repr(value))} is not a YAML value") from None
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
                required = follow(schema, {"$ref": reference}).setdefault("required", [])
                required.append(named["propertyName"])
    return json.dumps(schema, indent=2)


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


class _TooMuchError(Exception):
    """YAML beyond the limits."""


def _content_of(file: str) -> bytes:
    """The content of a regular file of at most `MOST_BYTES`; a pipe or a device might never end."""
    if not (stat.S_ISREG(mode := os.stat(file).st_mode) or stat.S_ISDIR(mode)):  # of a folder, open says what it is
        raise ConfigError(f"{file}: is not a regular file, as a configuration has to be")
    with open(file, "rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{file}: has more than {MOST_BYTES >> 10} KiB, the most that a configuration may have")
    return content


def _load(text: str) -> Any:
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = max(0, depth + (1 if bracket in "[{" else -1))
        if depth > MOST_BRACKETS:
            raise RecursionError
    yaml = YAML()
    yaml.Constructor = _Constructor
    document = yaml.load(text)
    if _values_in(document, {}) > MOST_VALUES:
        raise _TooMuchError(f"has more than {MOST_VALUES:,} values, each alias counted as what it stands for")
    return document


def _values_in(value: Any, known: dict[int, float]) -> float:
    """The number of values in a document, in time proportional to what is written, however often aliases repeat it.

    Args:
        value: a part of the document.
        known: the numbers of parts that were counted, by identity.

    Raises:
        RecursionError: a section that holds itself.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.nan  # while its parts are counted
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_values_in(part, known) for part in parts)
    if math.isnan(known[id(value)]):
        raise RecursionError
    return known[id(value)]


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
    problem = one_line((error.problem or "cannot be parsed").strip().splitlines()[0])
    twice = re.match(r'found duplicate key "(.*?)"', problem)
    return f"{twice[1]}: is given twice" if twice else f"not valid YAML: {problem}"


def _kind(value: Any) -> str:
    if value is None:
        return "an empty file"
    return "a list" if isinstance(value, list) else f"a single value ({shortened(repr(_plain(value)))})"


def _line_and_column(text: str | bytes, index: int) -> str:
    newline: Any = "\n" if isinstance(text, str) else b"\n"
    return f"{text.count(newline, 0, index) + 1}:{index - text.rfind(newline, 0, index)}"
