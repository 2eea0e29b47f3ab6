"""What docs/explanation/security.md claims: each claim names tests that exist, and those that stand nowhere else."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "security.md"
PACKAGE = ROOT / "lwgan_dist"
BETWEEN_PROCESSES = {"launch/pool.py"}
"""What Ray's processes of one session hand to each other."""


def test_every_claim_names_tests_that_exist():
    claims = [line for line in PAGE.read_text().splitlines() if re.match(r"\| (?!claim)\S", line)]
    assert len(claims) > 15
    for claim in claims:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", claim)
        assert named, claim
        for file, test in named:
            source = (ROOT / file).read_text()
            assert f"def {test}(" in source if test else "def test_" in source, (file, test)


def calls(path: Path) -> set[str]:
    """Dotted names of what a module calls."""
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}


FORBIDDEN = re.compile(
    r"(.*\.)?(pickle|cloudpickle|joblib|dill|marshal|shelve|torch)\.(load|loads|open)|eval|exec|os\.system|"
    r"(np|numpy)\.(load|fromfile)|(yaml|ruamel)\.(load|unsafe_load)"
)


@pytest.mark.parametrize("name", ["pickle.load", "ray.cloudpickle.loads", "torch.load", "eval", "np.load", "os.system"])
def test_the_law_knows_what_it_forbids(name):
    assert FORBIDDEN.fullmatch(name)


def test_nothing_is_unpickled_or_evaluated():
    found = {
        str(path.relative_to(PACKAGE)): {name for name in calls(path) if FORBIDDEN.fullmatch(name)} - {"yaml.load"}
        for path in PACKAGE.rglob("*.py")
    }
    assert {name for name, forbidden in found.items() if forbidden} == BETWEEN_PROCESSES


def test_pages_ask_for_nothing_from_elsewhere():
    for path in PACKAGE.rglob("*.jinja"):
        assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|@import|url\(\s*["']?http""", path.read_text()), (
            path
        )
