"""The page of a search says what its tables and facts say, and no label can break out of it."""

import re
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
import search_tables
from page_reading import Reader, markdown_tables, source_of, table_of, without_its_script

from lwgan_dist.reporting.values import short
from lwgan_dist.search.figures import search_figures
from lwgan_dist.search.report import comparison_sentence, dependence_sentence, search_page

EVIL = "a\"b | <script>alert(1)</script> & 'c' __x__ *y*"
DAY = date(2026, 11, 24)
TWO = ("energy_distance", "cpu_seconds")


@pytest.fixture(scope="module")
def made() -> search_tables.Search:
    return search_tables.search(trials=40, seeds=2)


@pytest.fixture(scope="module")
def markdown(made) -> str:
    return _markdown(made, notes=["Interr_upted."], files={"trials": "trials.parquet"})


def search_markdown(tables, facts, *, figures=None, **told) -> str:
    return search_page(tables, facts, **told).markdown(figures or {})


def _markdown(made: search_tables.Search, **told) -> str:
    return search_markdown(made.tables(), made.facts(), created=DAY, **told)


def _section(text: str, heading: str) -> str:
    start = text.index(f"## {heading}\n")
    end = text.find("\n## ", start + 3)
    return text[start : end if end > 0 else len(text)]


def test_the_best_trial_stands_beside_the_default(made, markdown):
    assert markdown.startswith("# Search, 2026-11-24\n")
    trials = made.trials.to_pylist()
    best, facts = next(row for row in trials if row["best"]), made.facts()
    assert f"40 trials: {facts.finished} finished, {facts.stopped} stopped early, {facts.failed} failed" in markdown
    assert f"Trial {best['number']} (proposed) has the smallest objective, {best['objective']:.3g}" in markdown
    assert f"the default has {trials[0]['objective']:.3g}." in markdown
    table = table_of(markdown_tables(markdown), ["", f"trial {best['number']}", "default"])
    shown = {row[0]: row[1:] for row in table[1:]}
    assert shown["objective.mmd_weight"] == [f"{best['parameters.objective.mmd_weight']:.4g}", "1"]
    assert shown["networks.width"] == [str(best["parameters.networks.width"]), "64"]
    assert shown["schedule.name"] == [best["parameters.schedule.name"], "fast"]
    assert shown["data.rotate"] == [str(best["parameters.data.rotate"]).lower(), "false"]
    assert shown["objective"] == [f"{best['objective']:.3g}", f"{trials[0]['objective']:.3g}"]
    assert shown["true dimension"] == ["2", "2"]
    assert comparison_sentence(facts) in markdown


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-0.3, -0.001, "is better than the default"), (-0.3, 0.0, "is not shown to be better"),
     (-0.3, 0.1, "is not shown to be better"), (0.0, 0.2, "is not shown to be better"),
     (0.001, 0.2, "is worse than the default"), (None, None, "is not shown to be better")],
)  # fmt: skip
def test_better_is_said_only_if_the_interval_excludes_0(made, low, high, words):
    facts = made.facts(difference=-0.0421, difference_low=low, difference_high=high, better=4, worse=1, pairs=5)
    text = comparison_sentence(facts)
    assert words in text
    assert sum(other in text for other in ("is better than", "is not shown", "is worse than")) == 1
    interval = "no interval" if low is None else f"95 % t interval [{low:.3g}, {high:.3g}]"
    assert f"mean difference of the objective -0.0421, {interval}; better on 4, worse on 1" in text


def test_no_comparison_is_said(made):
    assert "was not compared" in comparison_sentence(made.facts(pairs=0, difference=None))


def test_a_best_trial_that_is_the_default_is_said():
    made = search_tables.search(trials=1)
    text = _markdown(made)
    assert "The default, trial 0, has the smallest objective" in text
    assert table_of(markdown_tables(text), [""])[0] == ["", "trial 0"]


def test_the_estimates_on_fresh_seeds_are_counted(made):
    changed = search_tables.changed(made.confirmation, "default_dimension", [3, 2, 3, 3, 2])
    tables = made.tables().__class__(**made.tables().__dict__ | {"confirmation": changed})
    text = search_markdown(tables, made.facts(), created=DAY)
    assert "fresh seeds: the best trial 2 in 5 of 5; the default 3 in 3 of 5, 2 in 2 of 5." in text


def test_whether_the_estimate_depends_on_the_tuning(made, markdown):
    section = _section(markdown, "Does the estimate depend on the tuning?")
    rows = made.dimensions.to_pylist()
    table = table_of(markdown_tables(section), ["dimension"])
    everything = {row["dimension"]: row for row in rows if row["trials"] == "all"}
    best = {row["dimension"]: row for row in rows if row["trials"] == "best_decile"}
    for line in table[1:]:
        here = everything[int(line[0])]
        assert line[1] == f"{here['runs']} ({short(here['share'])})"
        there = best.get(int(line[0]))
        assert line[2] == (f"{there['runs']} ({short(there['share'])})" if there else "0")
    assert f"Agreement: {short(made.facts().agreement)} of the pairs of runs from different trials" in section
    share = short(everything[2]["share"])
    assert f"Most frequent estimate: 2, a share of {share} of all runs; among the best decile 2, " in section
    assert "of one trial on different seeds" in section
    assert f"2 in {everything[2]['runs']} runs, 3 in {everything[3]['runs']}; among the best decile 2 in " in section
    assert "of one trial on different seeds" not in _markdown(search_tables.search())


def test_sentences_on_the_estimate():
    same = search_tables.search(sensitive=False, failing=0, stopping=0)
    assert dependence_sentence(same.dimensions, 30) == "30 of 30 trials say 2."
    twice = search_tables.search(sensitive=False, failing=0, stopping=0, seeds=2)
    assert dependence_sentence(twice.dimensions, 30) == "30 of 30 trials say 2, in all of their 60 runs."
    one = search_tables.search(trials=1)
    assert dependence_sentence(one.dimensions, 1).startswith("The only finished trial says 2")
    assert dependence_sentence(same.dimensions.slice(0, 0), 0) == "No finished trial has an estimate."


def test_importances(made, markdown):
    section = _section(markdown, "Parameters")
    table = table_of(markdown_tables(section), ["parameter", "importance for the objective"])
    rows = {(row["target"], row["parameter"]): row for row in made.importances.to_pylist()}
    assert len(table) == 6
    for line in table[1:]:
        for place, target in ((1, "objective"), (3, "dimension")):
            row = rows[target, line[0]]
            assert line[place] == f"{row['importance']:.3f} ± {row['importance_sd']:.3f}"
            assert line[place + 1] == ("-" if row["spearman"] is None else f"{row['spearman']:.2f}")
    assert re.search(r"objective: R² .* 0\.63, from \d+ finished trials\.", section)
    assert re.search(r"dimension: R² .* -0\.12, .*; not above 0, so these importances mean little\.", section)


def test_a_target_that_does_not_vary_depends_on_nothing(made):
    rows = [row | {"forest_r2": None} for row in made.importances.to_pylist()]
    tables = replace(made, importances=pa.Table.from_pylist(rows, made.importances.schema))
    section = _section(_markdown(tables), "Parameters")
    assert re.search(r"dimension: the same in all of \d+ finished trials, so it depends on no parameter\.", section)
    assert "mean little" not in section


def test_the_ten_best_trials_and_the_default(made, markdown):
    section = _section(markdown, "Trials")
    table = table_of(markdown_tables(section), ["trial", "origin", "objective.mmd_weight"])
    done = sorted((row for row in made.trials.to_pylist() if row["place"]), key=lambda row: row["place"])
    assert [row[0] for row in table[1:11]] == [str(row["number"]) for row in done[:10]]
    assert table[11][:2] == ["0", "default"]
    assert done.index(next(row for row in done if row["number"] == 0)) > 9
    assert [row[table[0].index("objective")] for row in table[1:11]] == [f"{r['objective']:.3g}" for r in done[:10]]
    counts = table_of(markdown_tables(section), ["origin", "finished"])
    facts = made.facts()
    assert counts[-1] == ["all", str(facts.finished), str(facts.stopped), str(facts.failed)]


def test_failures_are_listed_with_reasons_and_parameters():
    made = search_tables.search(trials=63, failing=1.0, reason="broke\n<b>here</b> | now")
    text = _markdown(made)
    table = table_of(markdown_tables(text), ["trial", "origin", "parameters", "reason"])
    assert len(table) == 51
    assert "and 13 more" in text
    assert {row[3] for row in table[1:]} == {"broke &lt;b&gt;here&lt;/b&gt; \\| now"}
    assert table[1][2].startswith("objective.mmd_weight=1, networks.width=64, schedule.name=fast")
    assert "No trial has finished" in text
    assert "tuning" not in text


def test_several_objectives_have_a_front_and_no_best():
    made = search_tables.search(objectives=TWO, trials=40)
    text = _markdown(made)
    front = [row for row in made.trials.to_pylist() if row["best"]]
    assert f"a Pareto front of {len(front)} trials" in text
    table = table_of(markdown_tables(_section(text, "Pareto front")), ["trial"])
    front.sort(key=lambda row: row["objectives"])
    assert [row[0] for row in table[1:]] == [str(row["number"]) for row in front]
    place = table[0].index("energy_distance")
    assert [row[place : place + 2] for row in table[1:]] == [[f"{g:.3g}" for g in row["objectives"]] for row in front]
    assert "smallest objective" not in text
    assert "Pareto" not in _markdown(search_tables.search())


def test_notes_and_files(markdown):
    assert "Interr_upted." in _section(markdown, "Notes")
    assert "| trials | trials.parquet |" in _section(markdown, "Files")
    assert "## Notes" not in _markdown(search_tables.search(trials=2))


def test_labels_reasons_and_values_are_text():
    odd = [
        search_tables.parameter("objective.mmd_weight", 1.0, lambda r, _: float(r.uniform(0.1, 2))),
        search_tables.parameter(EVIL, EVIL, lambda r, _: f"{EVIL}{r.integers(3)}", categorical=True),
    ]
    made = search_tables.search(parameters=odd, reason=EVIL, failing=0.2, objectives=(EVIL,))
    figures = search_figures(made.tables(), made.axes, made.objectives)
    page = search_page(made.tables(), made.facts(), created=DAY, title=EVIL, notes=[EVIL], files={EVIL: EVIL})
    reader = Reader(without_its_script(page.html(figures)))
    assert reader.open == []
    assert "script" not in reader.tags
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    cells = [cell for table in reader.tables for row in table for cell in row]
    assert EVIL in cells
    text = _markdown(made, title=EVIL, notes=[EVIL], files={EVIL: EVIL})
    assert "<" not in text
    one, other = markdown_tables(text), reader.tables
    assert [[len(row) for row in table] for table in one] == [[len(row) for row in table] for table in other]


def test_the_page_holds_all_figures_and_needs_nothing_from_elsewhere():
    made = search_tables.search(objectives=TWO, trials=20)
    figures = search_figures(made.tables(), made.axes, made.objectives)
    page = search_page(made.tables(), made.facts(), created=DAY).html(figures)
    sources = [value for name, value in Reader(page).attributes if name in ("src", "href", "srcset")]
    assert len(set(sources)) == len(figures) == 7
    for source in sources:
        assert not re.search(rb'(?i)href="(?!#)|<script|@import', source_of(source).replace(b'xlink:href="data:', b""))
    page = re.sub(r"base64,[\w+/=]+", "", page)
    assert not re.search(r"(?i)https?:|//[a-z]|@import|url\(|<link|fetch|XMLHttp", page)
    assert "<script" not in without_its_script(page)
    assert all(value for name, value in Reader(page).attributes if name == "alt")
    assert "Objective 2 against each parameter" in page


def test_figures_are_linked_in_markdown(made):
    names = search_figures(made.tables(), made.axes, made.objectives)
    text = _markdown(made, figures={name: f"figures/{name}.png" for name in names})
    assert sorted(re.findall(r"\(figures/(\w+)\.png\)", text)) == sorted(names)
    assert "![Estimated dimension against each parameter](figures/dimension.png)" in text


def test_a_search_without_a_default_has_no_column_for_it():
    made = search_tables.search(trials=12)
    origins = ["given", *made.trials["origin"].to_pylist()[1:]]
    tables = made.tables().__class__(**made.tables().__dict__ | {
        "trials": search_tables.changed(made.trials, "origin", origins), "confirmation": made.confirmation.slice(0, 0),
    })  # fmt: skip
    text = search_markdown(tables, made.facts(pairs=0, difference=None, default_objective=None), created=DAY)
    assert len(table_of(markdown_tables(text), [""])[0]) == 2
    assert "the default has" not in text
