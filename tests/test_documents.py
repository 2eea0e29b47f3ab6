"""The documents: their links lead somewhere, the README can be finished, CONTRIBUTING's map is that of the code, every
command that they quote is one of today, the site lists every page, and messages that are explained exist.

Commands and snippets of the tutorials are also executed: tests/test_tutorials.py.
"""

import ast
import re
import runpy
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import click
import pytest
import yaml
from fences import FENCE

from lwgan_dist.cli import main
from lwgan_dist.compare.config import CompareConfig
from lwgan_dist.config import ManifoldName, TrainConfig
from lwgan_dist.configfile import build_config, parse_overrides, read_config
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.tables import CELLS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md"), *ROOT.glob("cluster/**/*.md")])
MODELS = {
    "estimate": TrainConfig,
    "train": TrainConfig,
    "study": StudyConfig,
    "tune": SearchConfig,
    "compare": CompareConfig,
}
HOOKS = runpy.run_path(str(DOCS / "hooks.py"))
MADE = HOOKS["pages"]()
"""Pages of the site that are no files of docs/."""

OPEN = re.compile(r" \.\.|\.\.\.|\||<|=[A-Z]\b| \[")
"""What leaves something open in a command line: a synopsis, a name to be replaced."""


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "llms.txt"], ids=name_of)
def test_links_lead_to_files(path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target:
            place = (path.parent / target).resolve()
            assert place.exists() or (place.is_relative_to(DOCS) and str(place.relative_to(DOCS)) in MADE), target


def test_the_readme_can_be_finished():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_map_names_every_module():
    """Each module of the package stands in CONTRIBUTING's map, below its package, and no other."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = re.search(r"```\nlwgan_dist/\n(.*?)\n\w", text, re.DOTALL).group(1)
    named = set(re.findall(r"\b(\w+)\.py", block))
    there = {path.stem for path in (ROOT / "lwgan_dist").rglob("*.py")} - {"__init__", "__main__"}
    assert there - named == set()
    assert named - there == set()


def pages_of(nav):
    """The pages of a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(item)]


def test_the_navigation_of_the_site_lists_every_page_once():
    nav = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert len(set(nav)) == len(nav)
    assert set(nav) == {str(path.relative_to(DOCS)) for path in DOCS.glob("**/*.md")} | set(MADE)


@pytest.mark.parametrize("kind", ["train", "study", "tune", "compare"])
def test_the_site_describes_every_key(kind):
    page = MADE[f"reference/configuration/{kind}.md"]()
    schema = MODELS[kind].model_json_schema()
    for place in (schema, *schema["$defs"].values()):
        for name, field in place.get("properties", {}).items():
            assert re.search(rf"^\| `([\w.]+\.)?{name}` \|", page, re.MULTILINE), name
            about = " ".join(field.get("description", "").split()).replace("|", "\\|")
            assert about in page, name


def test_the_site_has_every_command_example_and_column():
    names = re.findall(r"^## (.*)$", MADE["reference/commands.md"](), re.MULTILINE)
    assert {"lwgan-dist estimate", "lwgan-dist data import", "lwgan-dist job resume"} < set(names)
    for path in ROOT.glob("tune_configs/*/*.yaml"):
        assert f"\n## {path.stem}\n" in MADE[f"reference/examples/{path.parent.name}.md"](), path
    columns = MADE["reference/columns.md"]()
    assert "## cells.parquet of a study" in columns
    assert "## trials.parquet of a search" in columns
    assert "## compare.parquet of a comparison" in columns
    assert f"| `p_correct` | double | {CELLS.field('p_correct').metadata[b'doc'].decode()} |" in columns


def test_links_between_files_become_links_between_pages():
    def linked(uri, text):
        return HOOKS["on_page_markdown"](text, SimpleNamespace(file=SimpleNamespace(src_uri=uri)), None, None)

    example = "[x](../../tune_configs/study/noise.yaml)"
    assert linked("guide/study.md", example) == "[x](../reference/examples/study.md#noise)"
    assert linked("project/contributing.md", "[x](docs/extension.md)") == "[x](../extension.md)"
    assert linked("guide/cluster.md", "[x](../../cluster/README.md#a)") == "[x](../project/cluster.md#a)"
    assert linked("project/cluster.md", "see [x](vm/aws.yaml)") == "see x", "no page of the site"
    assert linked("index.md", "![x](a.png) [y](https://example.org)") == "![x](a.png) [y](https://example.org)"


def commands_in(text):
    """The command lines of ``lwgan-dist`` in a document, in blocks and in sentences, as lists of words; without those
    that leave something open.
    """
    blocks = "\n".join(block for _, _, block in FENCE.findall(text)).replace("\\\n", " ").splitlines()
    spans = re.findall(r"`(lwgan-dist [^`]+)`", FENCE.sub("", text))
    for line in [*blocks, *(span.replace("\n", " ") for span in spans)]:
        if line.strip().startswith("lwgan-dist ") and not OPEN.search(line.partition(" #")[0]):
            words = shlex.split(line, comments=True)[1:]
            if len(words) > 2 or not words[-1].startswith("--"):  # else an option is mentioned
                yield words


def check_command(words):
    """Refuse what the command line of today would refuse before it looks at data."""
    command, rest = main, list(words)
    while isinstance(command, click.Group):
        if rest[0].startswith("-") or len(rest) == 1:  # lwgan-dist --help, or a mention of a command
            return
        command = command.commands[rest.pop(0)]
    # as from the command line: Click keeps the help option that a command is first asked for
    context = command.make_context(command.name, rest, help_option_names=["-h", "--help"])
    command, given = context.command, context.params  # study merge is a command of its own
    if command.name == "submit":
        check_command([given["command"][0], given["config_file"], *given["command"][1:]])
    if command.name not in MODELS:
        return
    file = given.get("config_file")
    if command.name == "estimate":
        is_manifold = given["data"] in get_args(ManifoldName)
        data = {"source": "manifold", "name": given["data"]} if is_manifold else {"source": "table", "path": "any"}
        build_config(TrainConfig, {"data": data}, parse_overrides(given["changes"]))
    elif Path(file).exists():
        read_config(MODELS[command.name], file, given["changes"])
    else:
        assert not file.startswith(("tune_configs/", "docs/")), file


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_command_is_one_of_today(path, monkeypatch):
    """Options, arguments, files of the repository, and the keys and values of overrides."""
    monkeypatch.chdir(ROOT)
    for words in commands_in(path.read_text()):
        try:
            check_command(words)
        except (click.UsageError, KeyError) as error:
            pytest.fail(f"{shlex.join(words)}: {error}")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_script_and_target_exists(path):
    text = path.read_text()
    for script in re.findall(r"python (tests/[\w/]+\.py)", text):
        assert (ROOT / script).exists(), script
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`|&& )make ([a-z-]+)", text, re.MULTILINE)) - targets == set()


def test_every_configuration_in_the_guides_is_valid():
    kinds = {"study.md": StudyConfig, "search.md": SearchConfig, "compare.md": CompareConfig, "models.md": TrainConfig}
    for name, model in kinds.items():
        blocks = [block for _, info, block in FENCE.findall((DOCS / "guide" / name).read_text()) if info == "yaml"]
        assert blocks
        for block in blocks:
            build_config(model, yaml.safe_load(block), {})


def texts_of_the_package():
    """Every text in the code, a place for what is put into it as a zero byte."""
    for path in sorted((ROOT / "lwgan_dist").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_messages_that_are_explained_exist():
    """Each message is a text of the package, ``..`` whatever stands there."""
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "guide" / "messages.md").read_text(), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 50
    texts = list(texts_of_the_package())
    for message in messages:
        parts = [re.escape(part.strip()) for part in re.split(r" ?\.\.", message) if part.strip()]
        pattern = re.compile(".*".join(parts), re.DOTALL)
        assert any(pattern.search(text) for text in texts), message
