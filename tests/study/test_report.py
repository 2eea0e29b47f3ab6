"""The summary says what the tables say, and no label can break out of it."""

import re
from datetime import date

import pyarrow as pa
import pytest
import study_tables
from page_reading import Reader, markdown_tables, source_of, table_of, without_its_script

from lwgan_dist.reporting.values import short
from lwgan_dist.study.figures import correct_figure, study_figures
from lwgan_dist.study.report import study_page
from lwgan_dist.study.tables import PROVENANCE, StudyTables

EVIL = "a\"b | <script>alert(1)</script> & 'c'"
DAY = date(2026, 11, 24)


def markdown_summary(tables, *, figures=None, **told) -> str:
    return study_page(tables, **told).markdown(figures or {})


@pytest.fixture(scope="module")
def made() -> study_tables.Study:
    return study_tables.study({"s_curve": 2, EVIL: 3, "a table": None}, failing=0.1, reason="broke\n<b>here</b> | now")


@pytest.fixture(scope="module")
def tables(made) -> StudyTables:
    return StudyTables(**made.tables())


@pytest.fixture(scope="module")
def markdown(tables) -> str:
    return markdown_summary(
        tables, created=DAY, title="My study", notes=["Interrupted."], files={"runs": "runs.parquet"}
    )


@pytest.fixture(scope="module")
def page(tables, made) -> str:
    page = study_page(tables, created=DAY, title="My study", notes=["Interrupted."], files={"runs": "runs.parquet"})
    return page.html({"correct": correct_figure(made.cells)})


def test_every_cell_of_p_correct_is_in_both(made, markdown, page):
    methods = list(study_tables.METHODS)
    for table in (table_of(markdown_tables(markdown), ["data", "truth", "n"]),
                  table_of(Reader(page).tables, ["data", "truth", "n"])):  # fmt: skip
        assert table[0] == ["data", "truth", "n", *methods]
        shown = {(row[0], row[2], m): text for row in table[1:] for m, text in zip(methods, row[3:], strict=True)}
        known = [c for c in made.cells.to_pylist() if c["intrinsic_dim"] is not None]
        assert len(shown) == len(known) == 30
        for cell in (c for c in known if c["data"] == "s_curve"):
            text = f"{cell['correct']}/{cell['runs']} [{short(cell['exact_low'])}, {short(cell['exact_high'])}]"
            text += f", {cell['failures']} failed" if cell["failures"] else ""
            assert shown["s_curve", str(cell["n"]), cell["method"]] == text


def test_html_and_markdown_have_the_same_tables(markdown, page):
    one, other = markdown_tables(markdown), Reader(page).tables
    assert [[len(row) for row in table] for table in one] == [[len(row) for row in table] for table in other]
    plain = re.compile(r"[\w .,/\[\]():+±-]*")
    for table, same in zip(one, other, strict=True):
        for row, again in zip(table, same, strict=True):
            assert [a for a, b in zip(row, again, strict=True) if plain.fullmatch(b) and "_" not in b and a != b] == []


def test_title_and_what_was_run(made, markdown, page):
    assert markdown.startswith("# My study, 2026-11-24\n")
    assert "<title>My study, 2026-11-24</title>" in page
    assert "Interrupted." in markdown
    runs = made.runs.to_pylist()
    failed = sum(r["failure"] is not None for r in runs)
    hours = sum(r["cpu_seconds"] for r in runs) / 3600
    assert markdown_tables(markdown)[0][-1] == ["all", "45", str(len(runs)), str(failed), f"{hours:.1f}"]


def test_runs_that_rules_share_count_once(made):
    twice = study_tables.study({"x": 2}, methods=("LWGAN", "LWGAN (rate)"), replicates=8)
    text = markdown_summary(StudyTables(**twice.tables()), created=DAY)
    assert markdown_tables(text)[0][1] == [
        "LWGAN", "6", "24", markdown_tables(text)[0][1][3], f"{24 * 90 / 3600:.3f}"
    ]  # fmt: skip


def test_labels_are_text_in_html(page):
    reader = Reader(without_its_script(page))
    assert reader.open == []
    assert "script" not in reader.tags
    assert "b" not in reader.tags
    assert any(EVIL in row for table in reader.tables for row in table)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


def test_labels_are_text_in_markdown(markdown):
    assert "<" not in markdown
    rows = [row for table in markdown_tables(markdown) for row in table if row[0].startswith('a"b')]
    assert rows
    assert {row[0] for row in rows} == {"a\"b \\| &lt;script&gt;alert(1)&lt;/script&gt; & 'c'"}


def test_markdown_of_underscores_stars_and_links():
    made = study_tables.study({"__a__ *b* $c$ [d](e) f_g": 2}, methods=("TwoNN",), sizes=(10,), replicates=1)
    text = markdown_summary(StudyTables(**made.tables()), created=DAY)
    assert "\\_\\_a\\_\\_ \\*b\\* \\$c\\$ [d\\](e) f_g" in text


def test_html_needs_nothing_from_elsewhere(page):
    text = re.sub(r"base64,[\w+/=]+", "", page)
    assert not re.search(r"(?i)https?:|//[a-z]|@import|url\(|<link|fetch|XMLHttp|<iframe", text)
    assert "<script" not in without_its_script(page)
    sources = [value for name, value in Reader(page).attributes if name in ("src", "href", "srcset")]
    assert len(sources) == 1
    assert all(source_of(source) for source in sources)
    assert "prefers-color-scheme: dark" in page


def test_unknown_truth_is_a_distribution(made, markdown):
    table = table_of(markdown_tables(markdown), ["data", "n"])
    assert table[1][0] == "a table"
    cell = next(
        c for c in made.cells.to_pylist() if c["data"] == "a table" and c["method"] == "TwoNN" and c["n"] == 250
    )
    text = f"{cell['modal_dimension']} in {cell['modal_count']}/8 ({short(cell['modal_count'] / 8)}), "
    assert table[1][table[0].index("TwoNN")].startswith(text + f"mean {cell['mean_value']:.2f}")
    assert not any(row[0] == "a table" for row in table_of(markdown_tables(markdown), ["data", "truth"]))


def test_only_unknown_truth_says_nothing_of_correctness():
    made = study_tables.study({"a table": None}, replicates=3)
    text = markdown_summary(StudyTables(**made.tables()), created=DAY)
    assert "P(correct)" not in text
    assert "coverage" not in text
    assert "same estimate as under the configured rule" in text


def test_level_of_n_and_its_interval(made, markdown):
    table = table_of(markdown_tables(markdown), ["data", *study_tables.METHODS])
    trend = next(t for t in made.trends.to_pylist() if t["data"] == "s_curve" and t["method"] == "MLE")
    assert trend["n_level"] is None
    assert table[1][table[0].index("MLE")] == "&gt; 4000 [250, more] (.12)"
    assert "n_95 is the smallest n" in markdown


def test_a_single_size_has_no_trend():
    made = study_tables.study({"x": 2}, sizes=(500,), replicates=3)
    text = markdown_summary(StudyTables(**made.tables()), created=DAY)
    assert "isotonic" not in text
    assert "## Rates" not in text


def test_comparisons_are_seen_from_the_lwgan():
    made = study_tables.study({"x": 2}, methods=("TwoNN", "LWGAN"), sizes=(250,), replicates=30)
    row = made.comparisons.to_pylist()[0]
    assert row["method_a"] == "TwoNN"
    assert row["only_a"] != row["only_b"]
    text = markdown_summary(StudyTables(**made.tables()), created=DAY)
    found = re.search(r"\| x \| 250 \| (.*?) \|\n\n## ", text[text.index("## LWGAN against") :])
    assert found
    assert found[1] == f"{row['only_b']} : {row['only_a']}, p {short(row['p_holm'])}"


def test_failed_lwgan_runs_are_listed(made, markdown):
    failed = [r for r in made.runs.to_pylist() if r["kind"] == "lwgan" and r["failure"] is not None]
    table = table_of(markdown_tables(markdown), ["data", "n", "method", "replicate"])
    assert len(table) - 1 == len(failed) > 0
    assert [row[3:5] for row in table[1:]] == [[str(r["replicate"]), str(r["seed"])] for r in failed]
    assert table[1][5] == "broke &lt;b&gt;here&lt;/b&gt; \\| now"
    counts = table_of(markdown_tables(markdown), ["method", "failures"])
    mle = [r for r in made.runs.to_pylist() if r["method"] == "MLE" and r["failure"] is not None]
    assert [row[1] for row in counts if row[0] == "MLE"] == [str(len(mle))]


def test_of_many_failures_fifty_and_a_count():
    made = study_tables.study({"x": 2}, methods=("LWGAN",), sizes=(10,), replicates=63, failing=1.0)
    text = markdown_summary(StudyTables(**made.tables()), created=DAY)
    assert len(table_of(markdown_tables(text), ["data", "n", "method", "replicate"])) == 51
    assert "and 13 more" in text


def test_replicates_on_demand_name_the_confidence_sequence():
    made = study_tables.study({"x": 2}, on_demand=True, methods=("LWGAN",), sizes=(250,))
    text = markdown_summary(StudyTables(**made.tables()), created=DAY)
    cell = made.cells.to_pylist()[0]
    assert f"{cell['correct']}/8 [{short(cell['sequence_low'])}, {short(cell['sequence_high'])}]" in text
    assert "confidence sequence" in text


def test_optional_tables_may_be_missing_or_empty(made):
    told = made.tables()
    for name in ("sensitivity", "bootstrap", "coverage"):
        told[name] = told[name].slice(0, 0)
    empty = markdown_summary(StudyTables(**told), created=DAY)
    none = markdown_summary(StudyTables(made.runs, made.cells, made.comparisons, made.trends), created=DAY)
    assert empty == none
    for heading in ("Sensitivity", "Bootstrap", "Files"):
        assert f"## {heading}" not in none


def test_coverage_and_sensitivity(made, markdown):
    cover = made.coverage.to_pylist()[0]
    assert (
        f"| {cover['covers']}/{cover['runs']} [{short(cover['exact_low'])}, {short(cover['exact_high'])}] "
        f"| {cover['mean_set_size']:.2f} | {short(cover['p_mode_correct'])} |" in markdown
    )
    table = table_of(markdown_tables(markdown), ["data", "n", "method", "kind"])
    assert {row[4] for row in table if row[0] == "a table"} == {"-"}
    rows = [r for r in made.sensitivity.to_pylist() if r["correct"] is not None]
    rows = [r for r in rows if (r["exponent"], r["constant"]) == (0.8, 1.0)]
    share = sum(r["correct"] for r in rows) / sum(r["runs"] for r in rows)
    table = table_of(markdown_tables(markdown), ["exponent a"])
    assert next(row for row in table if row[0] == "0.8")[3] == short(share)


def test_figures_are_linked_in_markdown(tables):
    text = markdown_summary(tables, created=DAY, figures={"correct": "figures/my correct.png"})
    assert "![P(correct) against n](figures/my%20correct.png)" in text
    assert text.count("![") == 1


def test_the_page_has_every_figure(tables):
    figures = study_figures(tables)
    assert len(figures) == 6
    page = study_page(tables, created=DAY).html(figures)
    images = [value for name, value in Reader(page).attributes if name == "src"]
    assert len(set(images)) == len(figures)
    alternatives = [value for name, value in Reader(page).attributes if name == "alt"]
    assert "P(correct) against n" in alternatives
    assert all(alternatives)


def test_headers_of_tables_say_that_they_head_a_column(page):
    assert "<td" in page
    assert page.count("<th ") == page.count('<th scope="col"') == len(re.findall("<th[ >]", page))


def test_several_runs_on_a_sample_are_told():
    made = study_tables.study({"x": 2}, methods=("LWGAN",), sizes=(250,))
    assert "trials of the intervals are samples" not in markdown_summary(StudyTables(**made.tables()), created=DAY)
    cells = [cell | {"samples": 4, "agreement": 0.75} for cell in made.cells.to_pylist()]
    told = made.tables() | {"cells": pa.Table.from_pylist(cells, made.cells.schema)}
    text = markdown_summary(StudyTables(**told), created=DAY)
    assert "trials of the intervals are samples" in text
    assert "| x | 250 | .75 |" in text[text.index("## Agreement") :]


def test_who_computed_what_is_shown_if_it_was_recorded(made):
    origin = {"commit": "a" * 40 + "+", "versions": "torch 2.0", "host": EVIL, "processor": "P", "processors": 4,
              "platform": "Linux", "accelerator": "G", "provenance": "0a", "runs": 7}  # fmt: skip
    rows = [origin, {"provenance": None, "runs": 2}]
    tables = StudyTables(**made.tables(), provenance=pa.Table.from_pylist(rows, schema=PROVENANCE))
    page = study_page(tables, created=DAY).html({})
    shown = table_of(Reader(page).tables, ["commit", "versions", "host", "machine", "runs"])
    assert shown[1:] == [
        ["a" * 12 + "+", "torch 2.0", EVIL, "4 x P, G, Linux", "7"],
        ["-", "not recorded", "-", "-", "2"],
    ]
    unknown = StudyTables(**made.tables(), provenance=pa.Table.from_pylist(rows[1:], schema=PROVENANCE))
    assert "Who computed it" not in markdown_summary(unknown, created=DAY)
