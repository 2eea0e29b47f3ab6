"""What a page is made of, and how it becomes Markdown or one HTML file: all texts are plain and are escaped here."""

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeGuard

from matplotlib.figure import Figure

from lwgan_dist.reporting.figures import png

Row = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first ``left`` columns are flush left, the others right."""

    header: list[str]
    rows: list[list[str]]
    left: int = 1


@dataclass(frozen=True)
class Picture:
    """The place of a figure, if there is one of this name."""

    name: str


Part = str | Grid | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what is below it: paragraphs (plain text), tables, figures."""

    heading: str
    parts: list[Part]


def markdown(
    title: str, created: date, sections: Sequence[Section], figures: Mapping[str, str], captions: Mapping[str, str]
) -> str:
    """The sections in Markdown.

    Args:
        title, created: of the page.
        sections: in order.
        figures: path or relative address of a figure by its name.
        captions: of figures by name; others have their name.
    """
    lines = [f"# {_md(title)}, {created:%Y-%m-%d}", ""]
    for section in sections:
        lines += [f"## {_md(section.heading)}", ""]
        for part in section.parts:
            if isinstance(part, Grid):
                rule = ["---" if place < part.left else "---:" for place in range(len(part.header))]
                rows = [[_md(text) for text in part.header], rule, *([_md(text) for text in row] for row in part.rows)]
                lines += ["| " + " | ".join(row) + " |" for row in rows]
            elif isinstance(part, Picture):
                if part.name not in figures:
                    continue
                address = figures[part.name].replace(" ", "%20").replace("(", "%28").replace(")", "%29")
                lines.append(f"![{_md(captions.get(part.name, part.name))}]({address})")
            else:
                lines.append(_md(part))
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def html_document(
    title: str, created: date, sections: Sequence[Section], figures: Mapping[str, Figure], captions: Mapping[str, str]
) -> str:
    """The sections as one HTML file without scripts and without anything from elsewhere.

    Args:
        title, created, sections, captions: as in `markdown`.
        figures: by name, drawn into the file; those that no section places are shown at the end.
    """
    sections = list(sections)
    placed = {part.name for section in sections for part in section.parts if isinstance(part, Picture)}
    if further := [name for name in figures if name not in placed]:
        sections.append(Section("Further figures", [Picture(name) for name in further]))
    body = [f"<h1>{_html(title)}, {created:%Y-%m-%d}</h1>"]
    for section in sections:
        body.append(f"<section>\n<h2>{_html(section.heading)}</h2>")
        for part in section.parts:
            if isinstance(part, Grid):
                body.append(_html_table(part))
            elif isinstance(part, Picture):
                if part.name in figures:
                    body.append(_html_figure(captions.get(part.name, part.name), figures[part.name]))
            else:
                body.append(f"<p>{_html(part)}</p>")
        body.append("</section>")
    return _PAGE.format(title=f"{_html(title)}, {created:%Y-%m-%d}", style=_STYLE, body="\n".join(body))


def one_line(text: str) -> str:
    """The text on one line, at most 160 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:158] + " …"


def finite(value: float | None) -> TypeGuard[float]:
    """Whether there is a value, and neither infinite nor nan."""
    return value is not None and math.isfinite(value)


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _md(text: str) -> str:
    """The text with what Markdown (or HTML in it) would take as markup escaped, on one line."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    text = re.sub(r"&(?=#|\w+;)", "&amp;", text).replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([|`*$~])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return re.sub(r"\](?=[(\[:])", r"\\]", text)


def _html(text: str) -> str:
    return html.escape(text, quote=True)


def _html_table(grid: Grid) -> str:
    def line(texts: Sequence[str], tag: str) -> str:
        marks = ("" if place < grid.left else ' class="r"' for place in range(len(texts)))
        return "<tr>" + "".join(f"<{tag}{m}>{_html(t)}</{tag}>" for t, m in zip(texts, marks, strict=True)) + "</tr>"

    rows = "\n".join(line(row, "td") for row in grid.rows)
    head = line(grid.header, "th")
    return f'<div class="scroll"><table>\n<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'


def _html_figure(caption: str, figure: Figure) -> str:
    caption = _html(caption)
    data = base64.b64encode(png(figure)).decode()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return (
        f'<figure><img alt="{caption}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --dim: #5b6068; --page: #ffffff; --line: #d8dbe0; --band: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6ea; --dim: #a2a8b2; --page: #16181c; --line: #363a42; --band: #1e2126; }
}
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p { max-width: 48rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { border-bottom-width: 2px; color: var(--dim); font-weight: 600; }
th.r, td.r { text-align: right; padding: .25rem 0 .25rem .9rem; white-space: nowrap; }
th.r { white-space: normal; }
tbody tr:nth-child(even) { background: var(--band); }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption { color: var(--dim); font-size: .85rem; }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
