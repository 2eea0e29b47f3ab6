"""The documents: their links lead somewhere, the README can be finished, CONTRIBUTING's map is that of the code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("cluster/**/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


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
