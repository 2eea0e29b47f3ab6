"""One template gives a page as Markdown and as one HTML file, without anything from elsewhere. Its one script, which is
in the template, sorts tables and filters long ones; without it the page shows the same.

The template of a page is included by ``templates/html.jinja`` or ``templates/markdown.jinja``, which define the macros
``section``, ``p``, ``lead``, ``table``, ``picture``, ``source`` and ``file_table`` for their format. Whatever it
interpolates is plain text, escaped by Jinja2 or, of Markdown, by these macros.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from lwgan_dist.reporting import values
from lwgan_dist.reporting.look import holds_pictures, png, svg

_LARGEST_DRAWING = 1 << 19
"""Bytes of an SVG file beyond which a figure is put into a page as a PNG file: it opens more quickly."""


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first ``left`` columns are flush left, the others right."""

    header: list[str]
    rows: list[list[str]]
    left: int = 1


@dataclass(frozen=True)
class Page:
    """The content of a page.

    Attributes:
        template: its path in the package.
        title, created: of the page.
        content: what the template asks for.
        captions: of figures, by name.
    """

    template: str
    title: str
    created: date
    content: Mapping[str, Any]
    captions: Mapping[str, str]

    def markdown(self, figures: Mapping[str, str]) -> str:
        """The page in Markdown; figures are links to a path or relative address by name."""
        return re.sub(r"\n{3,}", "\n\n", self._render(_MARKDOWN, "markdown", figures)).strip() + "\n"

    def html(self, figures: Mapping[str, Figure]) -> str:
        """The page as one HTML file; figures, by name, are drawn into it."""
        return self._render(_HTML, "html", {name: _image(figure) for name, figure in figures.items()})

    def _render(self, environment: Environment, base: str, figures: Mapping[str, Any]) -> str:
        return environment.get_template(f"reporting/templates/{base}.jinja").render(
            **self.content, page=self.template, title=self.title,
            created=f"{self.created:%Y-%m-%d}", captions=self.captions, figures=figures,
        )  # fmt: skip


def rendered(template: str, content: Mapping[str, Any]) -> str:
    """A file from a template of plain text, by its path in the package; what it interpolates is not escaped."""
    return _MARKDOWN.get_template(template).render(**content) + "\n"


def escaped(text: str) -> str:
    """The text with what Markdown (or HTML in it) would take as markup escaped, on one line.

    GitHub makes links of bare addresses as well. It looks for those of mail only after it has replaced entities, so an
    empty comment parts these.
    """
    text = " ".join(text.split()).replace("\\", "\\\\")
    text = re.sub(r"&(?=#|\w+;)", "&amp;", text).replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([|`*$~])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)
    text = re.sub(r"(?i)(www)\.", r"\1&#46;", text)
    text = re.sub(r"(?i)(https?|ftp)://", r"\1&#58;//", text)
    return re.sub(r"(?<=\S)@", "<!-- -->@", text)


def _image(figure: Figure) -> dict[str, Any]:
    """A drawing as SVG, which stays sharp and may be turned dark; with pictures in it as PNG, as they are."""
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    kind = "picture" if holds_pictures(figure) else "drawing"
    name, content = "png", b""
    if kind == "drawing":
        name, content = "svg+xml", svg(figure)
    if kind == "picture" or len(content) > _LARGEST_DRAWING:
        name, content = "png", png(figure)
    return {"data": base64.b64encode(content).decode(), "width": width, "height": height, "format": name, "kind": kind}


def _environment(*, html: bool) -> Environment:
    made = Environment(
        loader=PackageLoader("lwgan_dist", "."),
        autoescape=html,  # noqa: S701  # the macros escape for Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"md": escaped, "short": values.short, "number": values.number_text, "counted": values.counted}
    return made


_HTML, _MARKDOWN = _environment(html=True), _environment(html=False)
