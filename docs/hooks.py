"""What mkdocs adds to the files of docs/ (``make docs``): pages that follow from the code, so that they cannot go out
of date, and pages that lie elsewhere in the repository. A page that loads anything from elsewhere ends the build.

Tests look at the pages without mkdocs, which is imported where it is used.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MOVED = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "AGENTS.md": "project/agents.md",
    "cluster/README.md": "project/cluster.md",
}
"""Pages that lie outside docs/, and where they are on the site."""
EXAMPLES = {"train": "Runs", "study": "Studies", "search": "Searches", "compare": "Comparisons"}
"""Folders of tune_configs/, each a page."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
FROM_ELSEWHERE = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="?(?:https?:)?//[^">\s]*""")
TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "section",
}


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """With the pages that are no files of docs/."""
    from mkdocs.structure.files import File

    for uri, content in pages().items():
        files.append(File.generated(config, uri, content=content()))
    return files


def pages() -> dict[str, Callable[[], str]]:
    """What makes each page that is no file of docs/, by its place there."""
    return {
        **{uri: lambda source=source: (ROOT / source).read_text() for source, uri in MOVED.items()},
        **{f"reference/examples/{kind}.md": lambda kind=kind: examples(kind) for kind in EXAMPLES},
        **{f"reference/configuration/{kind}.md": lambda kind=kind: configuration(kind) for kind in _models()},
        "reference/commands.md": commands,
        "reference/columns.md": columns,
    }


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """With links between files of the repository as links between pages; without those that lead to no page."""
    uri = page.file.src_uri
    source = next((ROOT / path for path, place in MOVED.items() if place == uri), DOCS / uri)

    def rewritten(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups()
        if "://" in target:
            return match[0]
        place = _place((source.parent / target).resolve())
        if place is None:
            return text
        return f"{mark}[{text}]({os.path.relpath(place, Path(uri).parent)}{anchor or ''})"

    return LINK.sub(rewritten, markdown)


def _place(target: Path) -> str | None:
    """Where a file of the repository is on the site; None if it is not."""
    path = target.relative_to(ROOT)
    if path.parts[0] == "tune_configs" and path.suffix == ".yaml":
        return f"reference/examples/{path.parts[1]}.md#{path.stem}"
    if path.parts[0] == "docs" and not target.is_dir():
        return path.relative_to("docs").as_posix()
    return {"README.md": "index.md", **MOVED}.get(path.as_posix())


def on_post_build(config: "MkDocsConfig") -> None:
    """Refuses a site that needs anything from elsewhere."""
    from mkdocs.exceptions import PluginError

    for page in sorted(Path(config.site_dir).rglob("*.html")):
        if found := FROM_ELSEWHERE.search(page.read_text()):
            raise PluginError(f"{page}: needs something from elsewhere: {found[0]}")


def examples(kind: str) -> str:
    """The files of one folder of tune_configs/."""
    lines = [f"# {EXAMPLES[kind]}: example configurations", "", f"The files of `tune_configs/{kind}/`."]
    for path in sorted((ROOT / "tune_configs" / kind).glob("*.yaml")):
        lines += [
            "",
            f"## {path.stem}",
            "",
            f'```yaml title="{path.relative_to(ROOT)}"',
            path.read_text().rstrip(),
            "```",
        ]
    return "\n".join(lines)


def commands() -> str:
    """What ``--help`` prints of every command."""
    from lwgan_dist.cli import main

    lines = ["# Commands", "", "What `--help` prints of each."]
    for name, command in _commands(main, "lwgan-dist"):
        context = click.Context(command, info_name=name, **main.context_settings, terminal_width=100)
        lines += ["", f"## {name}", "", "```text", command.get_help(context), "```"]
    return "\n".join(lines)


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        yield from _commands(inner, f"{name} {inner.name}")


def columns() -> str:
    """Every column of every table that a study, search or comparison writes."""
    from lwgan_dist.compare import tables as compare
    from lwgan_dist.search import tables as search
    from lwgan_dist.study import tables as study

    lines = ["# Columns of the tables", "", "Each Parquet file says the same of its columns in its metadata."]
    for title, module in (("study", study), ("search", search), ("comparison", compare)):
        for name, schema in vars(module).items():
            if type(schema).__name__ == "Schema":
                file = "compare" if name == "COMPARED" else name.lower()
                lines += ["", f"## {file}.parquet of a {title}", "", "| column | type | what |", "|---|---|---|"]
                lines += [f"| `{f.name}` | {f.type} | {_cell(f.metadata[b'doc'].decode())} |" for f in schema]
    return "\n".join(lines)


def _models() -> dict[str, tuple[str, str]]:
    """Title of the page and schema of each kind of configuration."""
    from lwgan_dist.compare.config import CompareConfig
    from lwgan_dist.config import TrainConfig
    from lwgan_dist.configfile import json_schema
    from lwgan_dist.search.config import SearchConfig
    from lwgan_dist.study.config import StudyConfig

    return {
        "train": ("Keys of a run", json_schema(TrainConfig)),
        "study": ("Keys of a study", json_schema(StudyConfig)),
        "tune": ("Keys of a search", json_schema(SearchConfig)),
        "compare": ("Keys of a comparison", json_schema(CompareConfig)),
    }


def configuration(kind: str) -> str:
    """The keys of a configuration, from its JSON Schema."""
    title, text = _models()[kind]
    schema = json.loads(text)
    opening = f"From the schema that `lwgan-dist validate --schema --kind {kind}` prints. Dots lead into a section:"
    example = "`schedule.name=fast` on the command line is `schedule: {name: fast}` in the file."
    return "\n".join([f"# {title}", "", opening, example, *_section("", schema, schema)])


def _section(path: str, place: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Lines about a section, the keys in it, and the sections in it."""
    fields = {f"{path}.{name}".lstrip("."): field for name, field in place["properties"].items()}
    yield from ("", _sentence(place), "", "| key | value | default | what |", "|---|---|---|---|")
    required = place.get("required", [])
    for name, field in fields.items():
        value, default = _value(field, schema), _default(field, name.rsplit(".")[-1] in required)
        yield f"| `{name}` | {value} | {default} | {_cell(_sentence(field))} |"
    for name, field in fields.items():
        for title, inner in _inner(field, schema):
            yield from ("", f"## `{name}`{title}")
            yield from _section(name, inner, schema)


def _inner(field: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sections that a key can hold, each with what it is for."""
    from lwgan_dist.configerrors import follow

    several = field.get("items") or field.get("additionalProperties")
    several = next(iter(field.get("patternProperties", {}).values()), several)
    each, field = (", each", several) if isinstance(several, dict) else ("", field)
    branches = field.get("oneOf") or field.get("anyOf") or [field]
    key = field.get("discriminator", {}).get("propertyName")
    for branch in branches:
        place = follow(schema, branch)
        if "properties" in place:
            yield (f"{each}: {place['properties'][key]['const']}" if key else each, place)
        elif place.get("items"):
            yield from _inner(place, schema)


def _sentence(place: dict[str, Any]) -> str:
    return place.get("description", "").strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _default(field: dict[str, Any], required: bool) -> str:
    default = field.get("default")
    if required or default is None or isinstance(default, dict):
        return "required" if required else ""
    return f"`{_cell(json.dumps(default))}`"


def _value(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a key may hold, in words."""
    from lwgan_dist.configerrors import follow

    place = follow(schema, field)
    if branches := place.get("oneOf") or place.get("anyOf"):
        return " or ".join(dict.fromkeys(_value(branch, schema) for branch in branches if branch != {"type": "null"}))
    if "enum" in place:
        return ", ".join(f"`{value}`" for value in place["enum"])
    if "const" in place:
        return f"`{place['const']}`"
    if place.get("type") == "array":
        return f"list of {_value(place.get('items', {}), schema).replace('section', 'sections')}"
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    words = [f"{word} {place[key]:,}" for key, word in limits.items() if key in place]
    return ", ".join([TYPES.get(place.get("type", ""), "any"), *words])
