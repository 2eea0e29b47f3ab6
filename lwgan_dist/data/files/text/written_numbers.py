"""How numbers are written in a text: the patterns, and which of point and comma is the decimal sign."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Sign = Literal[".", ","]

_NUMBERS = {
    sign: rf"[ \t]*[+-]?(([0-9]+{re.escape(sign)}?[0-9]*|{re.escape(sign)}[0-9]+)([eE][+-]?[0-9]+)?|[iI][nN][fF]([iI]"
    r"[nN][iI][tT][yY])?)[ \t]*"
    for sign in ".,"
}
_MARKS = ("'", "\u2019", "[ \u00a0\u202f]")

GROUPED = {
    sign: rf"[ \t]*[+-]?({'|'.join(rf'[1-9][0-9]{{0,2}}({mark}[0-9]{{3}})+' for mark in marks)})"
    rf"({re.escape(sign)}[0-9]*)?[ \t]*"
    for sign, marks in {".": (",", *_MARKS), ",": (r"\.", *_MARKS)}.items()
}
"""Pattern of a number with marks between its thousands, by decimal sign; for pyarrow too."""

NUMBER, GROUPED_NUMBER = ({sign: re.compile(text) for sign, text in of.items()} for of in (_NUMBERS, GROUPED))

_EITHER = re.compile(r"\s*[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}\s*")
"""1,234 or 1.234: thousands or three decimals."""
_DAY = re.compile(r"\s*0[0-9]\.[0-9]{2}\s*")
"""A field of days and months, dd.mm, some of which begin with 0, as numbers do not."""

_SURE, _LEAST_DOUBTFUL = 0.9, 3
"""Share of the fields of a column that are numbers under a sign for which it speaks; fields that make a doubt."""


class Written(NamedTuple):
    """The decimal sign of a text, the position of a column that leaves it in doubt, None of none, and whether a column
    speaks for the sign.
    """

    sign: Sign
    doubtful: int | None = None
    is_spoken: bool = True


def decimal_sign(columns: Sequence[Sequence[str]], separator: str) -> Written:
    """The decimal sign of a text from the fields of its columns, without names and missing values.

    A column of numbers speaks for a sign if one of its fields is no number under the other, such as 0,5 or 1.234,5 for
    the comma. Texts do not speak. Where both are spoken for, it is in doubt. Where none is, 1.234 has a point and 1,234
    a comma, unless commas separate the columns; that is in doubt where such fields stand among whole numbers below
    1,000, as thousands do.
    """
    of_numbers = [i for i, fields in enumerate(columns) if _are_numbers(fields, ".") or _are_numbers(fields, ",")]
    comma, point = ([i for i in of_numbers if _speaks(columns[i], sign)] for sign in (",", "."))
    if separator == ",":
        return Written("," if comma and not point else ".")
    if comma or point:
        return Written("," if comma else ".", doubtful=point[0] if comma and point else None)
    doubtful = next((i for i in of_numbers if _may_be_thousands(columns[i])), None)
    has_comma = any("," in text for i in of_numbers for text in columns[i])
    return Written("," if has_comma else ".", doubtful, is_spoken=False)


def doubtful_in(parts: Iterable[Sequence[Sequence[str]]], separator: str) -> int | None:
    """The position of a column that leaves the decimal sign in doubt, of a text whose columns are seen part by part;
    None of none, or if a column speaks for a sign.
    """
    seen: dict[int, set[str]] = {}
    for columns in parts:
        if decimal_sign(columns, separator).is_spoken:
            return None
        for i, fields in enumerate(columns):
            seen.setdefault(i, set()).update(fields)
    return next((i for i, fields in sorted(seen.items()) if _may_be_thousands(list(fields))), None)


def _are_numbers(fields: Sequence[str], sign: Sign) -> bool:
    return len(fields) > 0 and sum(_is_number(text, sign) for text in fields) >= _SURE * len(fields)


def _is_number(text: str, sign: Sign) -> bool:
    return bool(NUMBER[sign].fullmatch(text) or GROUPED_NUMBER[sign].fullmatch(text))


def _speaks(fields: Sequence[str], sign: Sign) -> bool:
    """Whether fields are numbers under a sign, and one of them has it and is none under the other."""
    other: Sign = "," if sign == "." else "."
    if not _are_numbers(fields, sign) or (sign == "." and any(map(_DAY.fullmatch, fields))):
        return False
    return any(sign in text and _is_number(text, sign) and not _is_number(text, other) for text in fields)


def _may_be_thousands(fields: Sequence[str]) -> bool:
    """Whether all fractions have three digits, and there are whole numbers, none of which has more."""
    either = [text for text in fields if _EITHER.fullmatch(text)]
    rest = [text.strip().lstrip("+-") for text in fields if not _EITHER.fullmatch(text)]
    return len(either) >= _LEAST_DOUBTFUL and len(rest) > 0 and all(t.isdigit() and len(t) <= 3 for t in rest)
