"""What Prometheus would read: metrics in its text format, and the metrics and labels that a query asks for."""

import re
from typing import NamedTuple

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_OF_LABELS = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)"
_METRIC = r"([a-zA-Z_:][\w:]*)(?![\w:])\s*(\{[^}]*\})?(?!\s*\()"
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


def samples(text: str) -> list[Sample]:
    """All samples of a page of metrics."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [_SAMPLE.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match][:3]
    return [Sample(m[1], dict(_LABEL.findall(m[2] or "")), float(m[3])) for m in found if m]


def asked(query: str) -> dict[str, set[str]]:
    """The metrics that a query names, with the labels it selects or groups by."""
    query = re.sub(r'"[^"]*"', '""', query)
    assert query.count("(") == query.count(")"), query
    if values := re.fullmatch(r"label_values\((.*), (\w+)\)", query):
        query, labels = values[1], {values[2]}
    else:
        labels = {label.strip() for group in re.findall(_OF_LABELS, query) for label in group.split(",")}
    told: dict[str, set[str]] = {}
    for name, matchers in re.findall(_METRIC, re.sub(r"\[[^\]]*\]", " ", re.sub(_OF_LABELS, " ", query))):
        if name not in _WORDS:
            told.setdefault(name, set()).update(labels, re.findall(r"(\w+)\s*[=!]", matchers))
    return told
