"""A study in this process: what it computes, what it keeps, how it grows; failures; replicates on demand; bootstrap."""

import json
from dataclasses import fields

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_study import TINY, Silent, config, study

from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.errors import ConfigError, DataError, NonFiniteLossError
from lwgan_dist.results import scores_from_parquet
from lwgan_dist.runs import Run
from lwgan_dist.storage import Folder
from lwgan_dist.study import work
from lwgan_dist.study.publish import publish
from lwgan_dist.study.tables import CELLS, RUNS

NO_TIME = ["cpu_seconds", "wall_seconds"]


def carry_out(folder, changes=None, **told):
    progress = Silent()
    prepared = study(folder, changes, **told)
    return prepared, prepared.carry_out(progress), progress


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "study"
    return folder, *carry_out(folder)


def numbers(table):
    return table.drop_columns([name for name in NO_TIME if name in table.column_names])


def test_every_run_is_there_once(straight):
    _, _, outcome, progress = straight
    runs = outcome.tables.runs
    assert runs.schema.equals(RUNS)
    assert outcome.unfinished == {}
    assert outcome.diverged == 0
    assert progress.phases == [(32, "runs")]
    assert progress.last[0] == outcome.planned == len(set(runs["key"].to_pylist())) == 32
    names = ("data", "n", "method", "replicate", "initialisation")
    identities = list(zip(*(runs[name].to_pylist() for name in names), strict=True))
    assert len(set(identities)) == len(identities) == 4 * (2 * 2 + 2 * 3)
    assert outcome.tables.cells.num_rows == 16


def test_an_lwgan_row_is_what_the_train_command_says(straight, tmp_path):
    folder, prepared, outcome, _ = straight
    row = next(row for row in outcome.tables.runs.to_pylist() if row["method"] == "LWGAN" and row["n"] == 60)
    told = {
        "data": {"source": "manifold", "name": "s_curve", "n": 60, "seed": row["data_seed"]},
        **TINY["run"],
        "seed": row["seed"],
    }
    result = Run(RunConfig.model_validate(told)).train(Folder.at(str(tmp_path)), ExecutionConfig(workers=0))
    assert (row["dimension"], row["fingerprint"], row["penalty"]) == (
        result.dimension, result.fingerprint, result.penalty,
    )  # fmt: skip
    assert row["score_mean"] == [rank.score for rank in result.rank_scores]
    assert row["score_errors"] == [rank.se for rank in result.rank_scores]
    (kept,) = prepared.ledger.records([row["key"]])
    tables = scores_from_parquet((tmp_path / "scores.parquet").read_bytes())
    for split, table in kept.components().items():
        np.testing.assert_array_equal(table, tables[split])


def test_rules_judge_one_fit(straight):
    _, _, outcome, _ = straight
    by_key = {}
    for row in outcome.tables.runs.to_pylist():
        if row["kind"] == "lwgan":
            by_key.setdefault(row["key"], {})[row["method"]] = row
    for rows in by_key.values():
        assert rows.keys() == {"LWGAN", "LWGAN (rate)"}
        assert rows["LWGAN"]["score_mean"] == rows["LWGAN (rate)"]["score_mean"]
        assert rows["LWGAN (rate)"]["penalty"] == pytest.approx(rows["LWGAN"]["n"] ** -0.4)
        assert rows["LWGAN"]["fingerprint"] != rows["LWGAN (rate)"]["fingerprint"]


def test_margin_is_the_distance_of_the_two_best_ranks_over_its_error(straight):
    _, prepared, outcome, _ = straight
    row = next(row for row in outcome.tables.runs.to_pylist() if row["method"] == "LWGAN")
    (kept,) = prepared.ledger.records([row["key"]])
    scores = kept.components()["train"] @ [1, 1, 1, 1]
    other = 3 - row["dimension"]
    difference = scores[:, other - 1] - scores[:, row["dimension"] - 1]
    distance = difference.mean() + row["penalty"] * (other - row["dimension"])
    assert row["margin"] == pytest.approx(distance / (difference.std(ddof=1) / np.sqrt(3)))
    assert row["margin"] > 0


def test_a_finished_study_answers_at_once_and_equally(straight, monkeypatch):
    folder, _, outcome, _ = straight
    monkeypatch.setattr("lwgan_dist.study.engine.carry_out", None)
    again, repeated, progress = carry_out(folder)
    assert progress.phases == []
    for field in fields(outcome.tables):
        before, after = getattr(outcome.tables, field.name), getattr(repeated.tables, field.name)
        assert before.equals(after), field.name


def test_order_and_growth_change_no_number(straight, tmp_path):
    """Begun with a part, in another order, then grown: the same runs, and only the new ones are computed."""
    _, _, outcome, _ = straight
    _, _, first = carry_out(tmp_path / "grown", sizes=[40], lwgan={"replicates": 1}, data=[TINY["data"][1]])
    assert first.phases == [(1 + 2 * 3, "runs")]
    _, _, second = carry_out(tmp_path / "grown", data=list(reversed(TINY["data"])), lwgan={"replicates": 1})
    assert second.phases == [(3 + 3 * 6, "runs")]
    _, grown, third = carry_out(tmp_path / "grown")
    assert third.phases == [(4, "runs")]
    assert numbers(grown.tables.runs).equals(numbers(outcome.tables.runs))
    assert numbers(grown.tables.cells).equals(numbers(outcome.tables.cells))
    assert grown.tables.comparisons.equals(outcome.tables.comparisons)
    assert grown.tables.trends.equals(outcome.tables.trends)


def test_a_diverged_run_is_recorded_counts_as_incorrect_and_ends_nothing(tmp_path, monkeypatch):
    fit, fitted = Run.fit, []

    def diverging(self, *args, **kwargs):
        fitted.append(self)
        if len(fitted) == 2:
            raise NonFiniteLossError("the critic loss is not finite")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Run, "fit", diverging)
    told = {"data": TINY["data"][:1], "sizes": [40], "classical": {}}
    prepared, outcome, _ = carry_out(tmp_path / "study", **told)
    assert outcome.diverged == 1
    assert outcome.unfinished == {}
    failed = [row for row in outcome.tables.runs.to_pylist() if row["failure"]]
    assert [row["method"] for row in failed] == ["LWGAN", "LWGAN (rate)"]
    assert {(row["dimension"], row["correct"]) for row in failed} == {(None, False)}
    assert "NonFiniteLossError: the critic loss is not finite" in failed[0]["failure"]
    cell = outcome.tables.cells.to_pylist()[0]
    assert (cell["runs"], cell["failures"]) == (2, 1)
    publish(prepared, outcome, "test")
    assert "the critic loss is not finite" in (tmp_path / "study" / "summary.md").read_text()
    _, again, progress = carry_out(tmp_path / "study", **told)  # it would diverge again: not repeated
    assert progress.phases == []
    assert again.diverged == 1


def test_a_run_that_breaks_is_no_result_and_is_tried_again(tmp_path, monkeypatch):
    classical = work._KINDS["classical"]

    def broken(run, *args):
        if run["estimator"] == "MLE" and run["config"]["data"]["n"] == 40:
            raise OSError("no space left")
        return classical(run, *args)

    monkeypatch.setitem(work._KINDS, "classical", broken)
    _, outcome, _ = carry_out(tmp_path / "study", lwgan={"replicates": 0})
    assert set(outcome.unfinished.values()) == {"OSError: no space left"}
    assert outcome.tables.runs.filter(outcome.tables.runs["failure"].is_valid()).num_rows == 0
    monkeypatch.setitem(work._KINDS, "classical", classical)
    _, outcome, progress = carry_out(tmp_path / "study", lwgan={"replicates": 0})
    assert outcome.unfinished == {}
    assert outcome.tables.runs.num_rows == 24


def test_a_run_that_breaks_does_not_take_its_pack_along(tmp_path, monkeypatch):
    """Of twenty short runs in a task, one breaks: the others are finished."""
    classical = work._KINDS["classical"]

    def broken(run, *args):
        if run["estimator"] == "MLE" and run["config"]["data"]["n"] == 40:
            raise OSError("no space left")
        return classical(run, *args)

    monkeypatch.setitem(work._KINDS, "classical", broken)
    _, outcome, _ = carry_out(tmp_path / "study", lwgan={"replicates": 0})
    assert len(outcome.unfinished) == 6
    assert outcome.tables.runs.num_rows == 18


def test_a_table_that_changes_while_the_study_runs_is_not_mixed(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    np.save(tmp_path / "a.npy", rows)
    told = {"data": [{"path": str(tmp_path / "a.npy")}], "lwgan": {"replicates": 0}, "sizes": [40]}
    prepared = study(tmp_path / "study", **told)
    rows[0, 0] += 1
    np.save(tmp_path / "a.npy", rows)
    outcome = prepared.carry_out(Silent())
    assert len(outcome.unfinished) == 6
    assert all("has changed since the study began" in reason for reason in outcome.unfinished.values())


def test_unknown_truth(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    np.save(tmp_path / "a.npy", rows)
    told = {"data": [{"path": str(tmp_path / "a.npy"), "label": "mine"}], "sizes": [40]}
    prepared, outcome, _ = carry_out(tmp_path / "study", **told)
    assert set(outcome.tables.runs["correct"].to_pylist()) == {None}
    assert outcome.tables.comparisons.num_rows == 0
    assert all(cell["modal_dimension"] and cell["p_correct"] is None for cell in outcome.tables.cells.to_pylist())
    publish(prepared, outcome, "test")
    assert "mine" in (tmp_path / "study" / "report.html").read_text()


def test_what_is_published_is_what_was_computed(straight):
    folder, prepared, outcome, _ = straight
    publish(prepared, outcome, "tiny <b>")
    cells = pq.read_table(folder / "cells.parquet", page_checksum_verification=True)
    assert cells.schema.equals(CELLS)
    assert cells.equals(outcome.tables.cells)
    assert pq.read_table(folder / "runs.parquet").equals(outcome.tables.runs)
    for name in ("correct", "outcomes", "scores", "rates", "sensitivity"):
        assert (folder / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    page = (folder / "report.html").read_text()
    assert "tiny &lt;b&gt;" in page
    assert "tiny <b>" not in page
    assert list((folder / "tb").rglob("events*"))
    publish(prepared, outcome, "again")  # replaces, and nothing is left over
    assert len([path for path in (folder / "tb").iterdir() if path.is_file()]) == 1
    assert json.loads((folder / "env.json").read_text())["study"] == {"precision": prepared.precision}


def test_a_study_keeps_its_precision_on_another_machine(tmp_path, monkeypatch):
    run = {name: value for name, value in TINY["run"].items() if name != "precision"}
    told = {"run": run, "classical": {}, "sizes": [40], "data": TINY["data"][:1]}
    monkeypatch.setattr("lwgan_dist.study.study.native_bfloat16", lambda: True)
    carry_out(tmp_path / "study", **told)
    monkeypatch.setattr("lwgan_dist.study.study.native_bfloat16", lambda: False)
    prepared, _, progress = carry_out(tmp_path / "study", **told)
    assert progress.phases == []
    assert prepared.precision == "bfloat16"


def test_whole_run_folders_are_kept_if_asked_for(straight, tmp_path):
    _, _, outcome, _ = straight
    told = {"data": TINY["data"][:1], "sizes": [60], "classical": {}}
    prepared, kept, _ = carry_out(tmp_path / "study", {"keep_runs": True}, **told)
    keys = set(kept.tables.runs["key"].to_pylist())
    assert {path.name for path in (tmp_path / "study" / "runs").iterdir()} == keys
    assert all((tmp_path / "study" / "runs" / key / "model" / "model.json").exists() for key in keys)
    before = outcome.tables.runs.filter([key in keys for key in outcome.tables.runs["key"].to_pylist()])
    assert numbers(before).equals(numbers(kept.tables.runs))
    assert not (tmp_path / "study" / "work").exists()


def test_folders_that_hold_something_else_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty and not a study"):
        study(tmp_path)
    Run(RunConfig.model_validate({"data": {"source": "manifold", "name": "s_curve", "n": 40}, **TINY["run"]})).train(
        Folder.at(str(tmp_path / "run")), ExecutionConfig(workers=0)
    )
    with pytest.raises(ConfigError, match="holds a run, not a study"):
        study(tmp_path / "run")


def test_cells_that_cannot_be_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match=r"s_curve, n = 10, LWGAN: .*fewer than a batch"):
        study(tmp_path, sizes=[10])
    assert not list(tmp_path.iterdir())


# replicates on demand -------------------------------------------------------------------------------------------------


def on_demand(folder, **stop):
    return carry_out(
        folder, {"stop_when": {"interval_width": 0.6, "step": 4, "max_replicates": 60, **stop}},
        lwgan={"replicates": 0}, sizes=[40], data=[{"name": "s_curve"}, {"name": "swissroll_curve", "noise": 0.1}],
        classical={"estimators": ["TwoNN", "MLE", "CorrInt"], "replicates": 2},
    )  # fmt: skip


def test_replicates_are_added_until_every_interval_is_narrow(tmp_path):
    _, outcome, progress = on_demand(tmp_path / "study")
    cells = outcome.tables.cells.to_pylist()
    assert all(cell["sequence_high"] - cell["sequence_low"] <= 0.6 for cell in cells)
    runs = {cell["method"] + cell["data"]: cell["runs"] for cell in cells}
    assert len(set(runs.values())) > 1, "cells that are clear need fewer"
    assert all((count - 2) % 4 == 0 for count in runs.values())
    assert len(progress.phases) > 2
    assert sum(total for total, _ in progress.phases) == outcome.planned == sum(runs.values())


def test_no_cell_gets_more_than_the_most_replicates(tmp_path):
    _, outcome, _ = on_demand(tmp_path / "study", interval_width=0.01, max_replicates=7)
    assert {cell["runs"] for cell in outcome.tables.cells.to_pylist()} == {7}


def test_a_resume_takes_the_same_decisions(tmp_path, monkeypatch):
    _, straight, _ = on_demand(tmp_path / "straight")
    carried, done = work.carry_out, []

    def interrupted(task):
        if len(done) == 9:
            raise KeyboardInterrupt
        done.append(task)
        return carried(task)

    monkeypatch.setattr("lwgan_dist.study.engine.carry_out", interrupted)
    monkeypatch.setattr("lwgan_dist.study.engine.PACK", 1)
    with pytest.raises(KeyboardInterrupt):
        on_demand(tmp_path / "resumed")
    monkeypatch.setattr("lwgan_dist.study.engine.carry_out", carried)
    _, resumed, progress = on_demand(tmp_path / "resumed")
    assert sum(total for total, _ in progress.phases) == straight.planned - 9
    assert numbers(resumed.tables.cells).equals(numbers(straight.tables.cells))


# bootstrap ------------------------------------------------------------------------------------------------------------

BOOTSTRAP = {"bootstrap": {"kinds": ["parametric", "rows"], "resamples": 3}}


def test_the_bootstrap_refits_every_run_and_a_resume_repeats_none(tmp_path):
    told = {"data": TINY["data"][:1], "sizes": [40], "classical": {}}
    _, first, _ = carry_out(tmp_path / "study", **told)
    prepared, outcome, progress = carry_out(tmp_path / "study", BOOTSTRAP, **told)
    assert progress.phases == [(2, "runs"), (2 * 2 * 3, "bootstrap refits")], "once more for the networks"
    assert numbers(outcome.tables.runs).equals(numbers(first.tables.runs))
    rows = outcome.tables.bootstrap.to_pylist()
    assert len(rows) == 4
    for row in rows:
        assert row["resamples"] + row["failures"] == sum(row["counts"]) + row["failures"] == 3
        assert row["covers"] == (2 in row["rank_set"])
    coverage = outcome.tables.coverage.to_pylist()
    assert [(row["kind"], row["runs"]) for row in coverage] == [("parametric", 2), ("rows", 2)]
    _, again, progress = carry_out(tmp_path / "study", BOOTSTRAP, **told)
    assert progress.phases == []
    assert again.tables.bootstrap.equals(outcome.tables.bootstrap)
    _, more, progress = carry_out(tmp_path / "study", {"bootstrap": {**BOOTSTRAP["bootstrap"], "resamples": 4}}, **told)
    assert progress.phases == [(4, "bootstrap refits")]
    publish(prepared, outcome, "test")
    assert (tmp_path / "study" / "figures" / "bootstrap.png").exists()


def test_the_configuration_is_written_as_it_was_told(straight):
    from lwgan_dist.configfile import read_config
    from lwgan_dist.study.config import StudyConfig

    folder, _, _, _ = straight
    assert read_config(StudyConfig, str(folder / "config.yaml")) == config()
