"""What a page says, read back from its HTML or Markdown."""

import base64
import re
from html.parser import HTMLParser
from importlib import resources


class Reader(HTMLParser):
    """Tags, attributes, and the cells of every table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._inside = True

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self._inside:
            self.tables[-1][-1][-1] += data


def without_its_script(page: str) -> str:
    """An HTML page without the script of the template, which is the same in every page."""
    template = resources.files("lwgan_dist").joinpath("reporting", "templates", "html.jinja").read_text()
    script = template[template.index("<script>") : template.index("</script>") + len("</script>")]
    assert page.count(script) == 1
    assert not re.search(r"{[{%]", script)  # nothing from data
    return page.replace(script, "")


def source_of(address: str) -> bytes:
    """The file in the address of an image, which is a drawing or a picture."""
    kind, content = re.fullmatch(r"data:image/(png|svg\+xml);base64,([\w+/=]+)", address).groups()
    image = base64.b64decode(content)
    assert image.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    return image


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Cells of the tables, split at the pipes that are not escaped."""
    tables: list[list[list[str]]] = []
    before = False
    for line in text.splitlines():
        row = line.startswith("| ")
        if row and not before:
            tables.append([])
        if row and not re.fullmatch(r"[| :-]+", line.replace("---", "")):
            tables[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        before = row
    return tables


def table_of(tables: list[list[list[str]]], first: list[str]) -> list[list[str]]:
    """The first table whose header begins so."""
    return next(t for t in tables if t[0][: len(first)] == first)
