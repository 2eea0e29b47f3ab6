"""Pages: the templates are part of the package, and nothing from data is markup."""

import re
import subprocess
import sys
import zipfile
from datetime import date
from importlib import resources
from pathlib import Path

import pytest
from page_reading import Reader, without_its_script

from lwgan_dist.reporting.page import Grid, Page, escaped

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted(path.relative_to(ROOT / "lwgan_dist") for path in (ROOT / "lwgan_dist").rglob("*.jinja"))


BENCHOPT = ("classical", "dataset", "models", "objective", "readme")


def test_the_templates_are_in_the_package():
    assert [str(path) for path in TEMPLATES] == [
        "compare/templates/compare.jinja", "reporting/templates/html.jinja", "reporting/templates/markdown.jinja",
        "run/templates/run.jinja", "search/templates/search.jinja",
        *(f"study/templates/benchopt_{name}.jinja" for name in BENCHOPT),
        "study/templates/leaderboard.jinja", "study/templates/study.jinja",
    ]  # fmt: skip
    for path in TEMPLATES:
        assert resources.files("lwgan_dist").joinpath(*path.parts).is_file()


def test_the_templates_are_in_a_wheel(tmp_path):
    """An editable installation would have them whatever pyproject.toml says."""
    pytest.importorskip("setuptools")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "lwgan_dist").rglob("*"):
        if path.suffix in (".py", ".jinja", ".typed"):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    build = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as wheel:
        assert {f"lwgan_dist/{path}" for path in TEMPLATES} <= set(wheel.namelist())


@pytest.mark.parametrize("path", TEMPLATES, ids=str)
def test_no_template_switches_escaping_off_for_data(path):
    """``safe`` stands once, for an attribute that the base template itself passes."""
    text = (ROOT / "lwgan_dist" / path).read_text()
    assert re.findall(r"[^{}]*\|\s*safe", text) == ([" scope|safe"] if path.name == "html.jinja" else [])
    assert "autoescape" not in text


def _page(**content) -> Page:
    return Page("study/templates/study.jinja", "<b>", date(2026, 11, 24), content, {})


def test_a_name_that_a_template_asks_for_and_nobody_gave_is_an_error():
    with pytest.raises(Exception, match="'data' is undefined"):
        _page().markdown({})


EVIL = "</td><script>x</script> \"' {{ 7 * 7 }} {% raw %} &amp;"


def _made() -> Page:
    names = (
        "correct",
        "unknown",
        "agreement",
        "metrics",
        "levels",
        "compared",
        "rates",
        "sensitivity",
        "bootstrap",
        "coverage",
        "solved",
        "provenance",
    )
    return _page(
        data=[EVIL], sizes=[1], methods=[EVIL], notes=[EVIL], files={EVIL: EVIL}, failures=None, level=None,
        sequences=set(), repeated=False, counts=Grid(["", EVIL], [[EVIL, EVIL]]), **dict.fromkeys(names),
    )  # fmt: skip


def test_data_are_text_in_html_and_are_no_template():
    reader = Reader(without_its_script(_made().html({})))
    assert reader.open == []
    assert "script" not in reader.tags
    assert "b" not in reader.tags
    assert [row for table in reader.tables for row in table].count([EVIL, EVIL]) == 2


def test_data_are_text_in_markdown_and_are_no_template():
    text = _made().markdown({})
    assert "<" not in text
    assert text.count("{{ 7 \\* 7 }} {% raw %} &amp;amp;") == text.count("script&gt;") / 2 == 7
    assert "\n\n\n" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "markdown"),
    [("a|b", "a\\|b"), ("_a_ b_c", "\\_a\\_ b_c"), ("[x](y)", "[x\\](y)"), ("a\n  b", "a b"), ("&lt;", "&amp;lt;"),
     ("$x$", "\\$x\\$"), ("a\\b", "a\\\\b")],
)  # fmt: skip
def test_markup_of_markdown_is_escaped(text, markdown):
    assert escaped(text) == markdown


@pytest.mark.parametrize(
    ("text", "markdown"),
    [("www.evil.com", "www&#46;evil.com"), ("http://b", "http&#58;//b"), ("see HTTPS://b.c", "see HTTPS&#58;//b.c"),
     ("ftp://www.b", "ftp&#58;//www&#46;b"), ("a.x@b.c", "a.x<!-- -->@b.c"), ("mailto:_@b.c", "mailto:\\_<!-- -->@b.c"),
     ("xmpp:@b.c", "xmpp:<!-- -->@b.c"), ("www.@b.c", "www&#46;<!-- -->@b.c"),
     ("s3://bucket/a www @ 5", "s3://bucket/a www @ 5")],
)  # fmt: skip
def test_bare_addresses_are_no_links(text, markdown):
    """GitHub makes links of them: of www and schemes before it replaces entities, of mail only after that."""
    assert escaped(text) == markdown
