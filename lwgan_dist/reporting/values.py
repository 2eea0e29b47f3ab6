"""Values of tables as readers see them, and the few questions that figures, pages and terminal ask of rows."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

Row = dict[str, Any]


def finite(value: float | None) -> TypeGuard[float]:
    """Whether there is a value, and neither infinite nor nan."""
    return value is not None and math.isfinite(value)


def distinct(rows: Iterable[Row], column: str) -> list[Any]:
    """The values of a column, each once, in the order in which they come."""
    return list(dict.fromkeys(row[column] for row in rows))


def short(p: float | None) -> str:
    """A probability with two digits, more where it would look like 0 or 1: ``.63``, ``1``, ``.996``."""
    if not finite(p):
        return "-"
    if p in (0.0, 1.0):
        return f"{p:.0f}"
    for digits in (2, 3, 4):
        if 0 < float(text := f"{p:.{digits}f}") < 1:
            return text.removeprefix("0")
    return ">.9999" if p > 0.5 else "<.0001"


def number_text(value: float | None) -> str:
    """A measure with three digits; ``-`` for none."""
    return f"{value:.3g}" if finite(value) else "-"


def value_text(value: Any) -> str:
    """A value of a configuration, short: ``true``, ``0.0312``, ``-`` for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def interval_text(low: float | None, high: float | None) -> str:
    """An interval of a probability: ``[.69, 1]``."""
    return f"[{short(low)}, {short(high)}]"


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(values: Sequence[int]) -> str:
    """``250, 1000, 4000``; of many the first two and the last."""
    texts = [str(value) for value in values]
    return ", ".join(texts if len(texts) <= 6 else [*texts[:2], "…", texts[-1]])


def ranges(noun: str, numbers: Iterable[int]) -> str:
    """``replicate 3 is``, ``replicates 3, 5 to 9 are``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    text = ", ".join(" to ".join(map(str, part)) for part in parts)
    return f"{noun} {text} is" if len(parts) == 1 == len(parts[0]) else f"{noun}s {text} are"


def one_line(text: str) -> str:
    """The text on one line, at most 160 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:158] + " …"
