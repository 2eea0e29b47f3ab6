"""What is wrong with a configuration, in one line for each error: where the key was given, which key, which law."""

import difflib
import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]
"""Keys and indices from the top of a configuration."""


class Places(NamedTuple):
    """Where keys were given.

    Attributes:
        source: the file, "" if there is none.
        positions: what `lwgan_dist.configfile.read_yaml` returned for it, None if there is none.
        changes: overrides by key.
    """

    source: str
    positions: Any
    changes: dict[str, Any]

    def of(self, path: Path) -> str:
        """The place of a key, to begin a message with: the override that gave it, or its position in the file. For a
        key that is nowhere, the same of the nearest section above it.
        """
        path = tuple(part for key in path for part in (key.split(".") if isinstance(key, str) else [key]))
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


def _position(value: Any, path: Path) -> str | None:
    """Line and column, from 1, of the key that a path ends at; None if there is no such key. A key of the file that has
    dots (``objective.mmd_weight`` in a search space) stands for several parts of the path.
    """
    line, column = 0, 0
    while path:
        data, taken = getattr(value, "lc", None), 1
        try:
            if isinstance(value, dict):
                starts = {".".join(str(part) for part in path[:end]): end for end in range(len(path), 0, -1)}
                keys = value if any(start in value for start in starts) else {str(key): key for key in value}
                start, taken = next(item for item in starts.items() if item[0] in keys)
                key = start if keys is value else keys[start]
                (line, column), value = data.key(key), value[key]  # type: ignore[union-attr]
            else:
                (line, column), value = data.item(int(path[0])), value[int(path[0])]  # type: ignore[union-attr]
        except (AttributeError, KeyError, TypeError, ValueError, IndexError, StopIteration):
            return None
        path = path[taken:]
    return f"{line + 1}:{column + 1}"


MOST_ERRORS = 100
"""Errors that are told of a configuration, at most."""


# messages -------------------------------------------------------------------------------------------------------------


def explain(model: type[BaseModel], error: ValidationError, merged: Any, places: Places) -> list[str]:
    """A line for each error of a validation; of more than `MOST_ERRORS` the last says how many there are.

    Args:
        model: what was to be built.
        error: pydantic's.
        merged: the value that was validated, file and overrides together.
        places: where its keys were given.
    """
    schema = model.model_json_schema()
    lines = list[str]()
    for item in error.errors(include_url=False):
        if len(lines) == MOST_ERRORS:
            return [*lines, f"{places.of(())}and further ones: {error.error_count()} errors in all"]
        loc = item["loc"][:-1] if item["loc"][-1:] == ("[key]",) else item["loc"]  # the key itself, not its value
        where = _resolve(schema, loc, merged)
        if where is None or item["type"] == "default_factory_not_called":  # for another error's sake
            continue
        path = where.path
        if item["type"] == "clash":
            path = (*path, *item["ctx"]["key"].split("."))
        if item["type"].startswith("union_tag"):
            path = (*path, item["ctx"]["discriminator"].strip("'"))
        dotted = ".".join(one_line(part) or "''" for part in path) or "(whole file)"
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
    if kind == "too_short":
        least = item["ctx"]["min_length"]
        return f"must have at least {least} item{'s' * (least > 1)} (got {item['ctx']['actual_length']})"
    text = str(item["msg"]).removeprefix("Value error, ")
    if text.startswith("Input should be "):
        text = f"must be {text.removeprefix('Input should be ')}"
        text = text.replace("greater than or equal to", ">=").replace("less than or equal to", "<=")
        text = text.replace("greater than", ">").replace("less than", "<")
    text = _KINDS.get(kind, text)
    scalar = given is None or isinstance(given, str | int | float | bool)
    return one_line(f"{text}{_got(given)}" if scalar and kind != "clash" else text, 400)


def _got(given: Any, known: Sequence[str] = ()) -> str:
    close = difflib.get_close_matches(given, known, n=1) if isinstance(given, str) else []
    hint = f"; did you mean {close[0]}?" if close else ""
    shown = json.dumps(given) if given is None or isinstance(given, bool) else repr(given)
    return f" (got {shortened(shown)}){hint}"


def _unknown_key(name: str, where: "_Where") -> str:
    elsewhere = {key: member for member, keys in where.others.items() for key in keys if key not in where.known}
    for close in difflib.get_close_matches(name, [*where.known, *elsewhere], n=1):
        if close in where.known:
            return f"unknown key; did you mean {close}?"
        return f"unknown key; {close} goes with {elsewhere[close]}"
    return "unknown key" + (f"; known keys: {', '.join(where.known)}" if where.known else "")


class _Where(NamedTuple):
    """The place of an error.

    Attributes:
        path: keys and indices, as the user wrote them.
        known: fields beside the end of the path.
        members: names of the members, if a union stands there.
        others: fields of the other members of the union that the end of the path is in, by ``key 'member'``.
    """

    path: Path
    known: list[str]
    members: list[str]
    others: dict[str, list[str]]


def _resolve(schema: Any, loc: tuple[str | int, ...], value: Any) -> _Where | None:
    """Follow an error's location through the JSON Schema and the value.

    pydantic puts the member of a union that it tried into the location. Of a union without a discriminator it tries
    every member: None for an error of one that the value was not meant for.
    """
    place, path = schema, list[str | int]()
    known: list[str] = []
    others: dict[str, list[str]] = {}
    pending: dict[str, list[str]] = {}
    for part in loc:
        place = follow(schema, place)
        union = place.get("discriminator", {})
        branches = [branch for branch in place.get("anyOf", []) if branch.get("type") != "null"]
        if part in union.get("mapping", {}):
            pending = {
                f"{path[-1]}.{union['propertyName']} {member!r}": list(follow(schema, {"$ref": ref})["properties"])
                for member, ref in union["mapping"].items()
                if member != part
            }
            place = {"$ref": union["mapping"][part]}
            continue
        if len(branches) > 1:
            forms = {_form(follow(schema, branch)): branch for branch in reversed(branches)}
            meant = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "value"
            if meant not in forms:
                meant = _form(follow(schema, branches[0]))
            if _tried(str(part), branches) != meant:
                return None
            place = forms[meant]
            continue
        place = follow(schema, branches[0]) if branches else place
        fields = place.get("properties", {})
        known, (others, pending) = list(fields), (pending, {})
        path.append(part)
        place = fields.get(part) or place.get("items") or place.get("additionalProperties") or {}
        if isinstance(value, dict):
            value = value.get(part)
        else:
            value = value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None
    members = list(follow(schema, place).get("discriminator", {}).get("mapping", {}))
    return _Where(tuple(path), known, members, others)


def _form(branch: Any) -> str:
    """What a member of a union without a discriminator is: ``object``, ``array`` or ``value``."""
    kind = branch.get("type")
    return kind if kind in ("object", "array") else "value"


def _tried(part: str, branches: list[Any]) -> str:
    """The form of the member that pydantic tried, from its part of the location."""
    models = [branch["$ref"].rsplit("/", 1)[-1] for branch in branches if "$ref" in branch]
    if part.startswith("dict[") or any(model in part for model in models):
        return "object"
    return "array" if part.startswith(("list[", "constrained-list[")) else "value"


def follow(schema: Any, place: Any) -> Any:
    """The definition that a place in a JSON Schema refers to, or the place itself."""
    while "$ref" in place:
        place = schema["$defs"][place["$ref"].rsplit("/", 1)[-1]]
    return place


def _given(value: Any) -> str:
    """The value of an override as one could type it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value).replace("nan", ".nan").replace("inf", ".inf")
    return one_line(value if isinstance(value, str) else json.dumps(value, default=str))


def shortened(text: str, limit: int = 60) -> str:
    """The text, cut at the limit."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def one_line(text: Any, limit: int = 200) -> str:
    """Text from outside as a part of a message: control characters escaped, cut at the limit."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return shortened(printable, limit)
