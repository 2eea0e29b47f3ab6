"""A study in this process: what it computes, what it keeps, how it grows; failures; replicates on demand; bootstrap."""

import json
from contextlib import contextmanager
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stubborn
from tiny_study import TINY, Silent, config, study

from lwgan_dist.campaign import engine, worker
from lwgan_dist.campaign.folder import SCRATCH
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.errors import ClusterError, ConfigError, DataError, InUseError, NonFiniteLossError
from lwgan_dist.results import scores_from_parquet
from lwgan_dist.run.folder import read_result
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder
from lwgan_dist.study import work
from lwgan_dist.study.adaptive import more_replicates
from lwgan_dist.study.config import StopWhen
from lwgan_dist.study.publish import publish
from lwgan_dist.study.tables import CELLS, RUNS
from lwgan_dist.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("blank_figures", "quick_fits")

NO_TIME = ["cpu_seconds", "wall_seconds"]


def execute(folder, changes=None, **told):
    progress = Silent()
    prepared = study(folder, changes, **told)
    return prepared, prepared.execute(progress), progress


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "study"
    return folder, *execute(folder)


def numbers(table):
    return table.drop_columns([name for name in NO_TIME if name in table.column_names])


def test_every_run_is_there_once(straight):
    _, _, outcome, progress = straight
    runs = outcome.tables.runs
    assert runs.schema.equals(RUNS)
    assert outcome.unfinished == {}
    assert outcome.diverged == 0
    assert progress.phases == [(8, "LWGAN runs"), (24, "classical runs")]
    assert progress.updates[-1].done == 24
    assert outcome.planned == len(set(runs["key"].to_pylist())) == 32
    names = ("data", "n", "method", "replicate", "initialisation")
    identities = list(zip(*(runs[name].to_pylist() for name in names), strict=True))
    assert len(set(identities)) == len(identities) == 4 * (2 * 2 + 2 * 3)
    assert outcome.tables.cells.num_rows == 16


def test_an_lwgan_row_is_what_the_train_command_says(straight, tmp_path):
    _folder, prepared, outcome, _ = straight
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


@pytest.mark.parametrize("method", ["LWGAN", "LWGAN (rate)"])
def test_margin_is_the_distance_of_the_two_best_ranks_over_its_error(straight, method):
    """With what a direction at the resolution would explain, for the rule that has one."""
    _, prepared, outcome, _ = straight
    row = next(row for row in outcome.tables.runs.to_pylist() if row["method"] == method)
    (kept,) = prepared.ledger.records([row["key"]])
    components = kept.components()["train"]
    scores = components @ [1, 1, 1, 1]
    other = 3 - row["dimension"]
    difference = scores[:, other - 1] - scores[:, row["dimension"] - 1]
    error = components[:, 1, 1].mean()
    allowed = np.hypot(error, 0.08) - error if method == "LWGAN" else 0.0
    distance = difference.mean() + (row["penalty"] + allowed) * (other - row["dimension"])
    assert row["margin"] == pytest.approx(distance / (difference.std(ddof=1) / np.sqrt(3)))
    assert row["margin"] > 0


def test_a_finished_study_answers_at_once_and_equally(straight, monkeypatch):
    folder, _, outcome, _ = straight
    monkeypatch.setattr("lwgan_dist.study.engine.execute", None)
    _again, repeated, progress = execute(folder)
    assert progress.phases == []
    for field in fields(outcome.tables):
        before, after = getattr(outcome.tables, field.name), getattr(repeated.tables, field.name)
        assert before is after is None or before.equals(after), field.name


def test_order_and_growth_change_no_number(straight, tmp_path):
    """Begun with a part, in another order, then grown: the same runs, and only the new ones are computed."""
    _, _, outcome, _ = straight
    _, _, first = execute(tmp_path / "grown", sizes=[40], lwgan={"replicates": 1}, data=[TINY["data"][1]])
    assert first.phases == [(1, "LWGAN runs"), (2 * 3, "classical runs")]
    _, _, second = execute(tmp_path / "grown", data=list(reversed(TINY["data"])), lwgan={"replicates": 1})
    assert second.phases == [(3, "LWGAN runs"), (3 * 6, "classical runs")]
    _, grown, third = execute(tmp_path / "grown")
    assert third.phases == [(4, "LWGAN runs")]
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
    prepared, outcome, _ = execute(tmp_path / "study", **told)
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
    _, again, progress = execute(tmp_path / "study", **told)  # it would diverge again: not repeated
    assert progress.phases == []
    assert again.diverged == 1


def test_a_run_that_breaks_is_no_result_and_is_tried_again(tmp_path, monkeypatch):
    classical = work._KINDS["classical"]

    def broken(run, *args):
        if run.estimator == "MLE" and run.config.data.n == 40:
            raise OSError("no space left")
        return classical(run, *args)

    monkeypatch.setitem(work._KINDS, "classical", broken)
    _, outcome, _ = execute(tmp_path / "study", lwgan={"replicates": 0})
    assert list(outcome.unfinished.values()) == ["OSError: no space left"] * 6
    assert outcome.tables.runs.num_rows == 18, "of the same packs, the others are finished"
    assert outcome.tables.runs["failure"].null_count == 18
    monkeypatch.setitem(work._KINDS, "classical", classical)
    _, outcome, _progress = execute(tmp_path / "study", lwgan={"replicates": 0})
    assert outcome.unfinished == {}
    assert outcome.tables.runs.num_rows == 24


def test_a_table_that_changes_while_the_study_runs_is_not_mixed(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    np.save(tmp_path / "a.npy", rows)
    told = {"data": [{"path": str(tmp_path / "a.npy")}], "lwgan": {"replicates": 0}, "sizes": [40]}
    prepared = study(tmp_path / "study", **told)
    rows[0, 0] += 1
    np.save(tmp_path / "a.npy", rows)
    outcome = prepared.execute(Silent())
    assert len(outcome.unfinished) == 6
    assert all("has changed meanwhile" in reason for reason in outcome.unfinished.values())


def test_unknown_truth(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    np.save(tmp_path / "a.npy", rows)
    told = {"data": [{"path": str(tmp_path / "a.npy"), "label": "mine"}], "sizes": [40]}
    prepared, outcome, _ = execute(tmp_path / "study", **told)
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
    monkeypatch.setattr("lwgan_dist.campaign.folder.bfloat16_pays", lambda: True)
    execute(tmp_path / "study", **told)
    monkeypatch.setattr("lwgan_dist.campaign.folder.bfloat16_pays", lambda: False)
    prepared, _, progress = execute(tmp_path / "study", **told)
    assert progress.phases == []
    assert prepared.precision == "bfloat16"


def test_whole_run_folders_are_kept_if_asked_for(straight, tmp_path):
    _, _, outcome, _ = straight
    told = {"data": TINY["data"][:1], "sizes": [60], "classical": {}}
    _, kept, _ = execute(tmp_path / "study", {"keep_runs": True}, **told)
    rows = kept.tables.runs.to_pylist()
    names = {row["fingerprint"]: row["dimension"] for row in rows if row["method"] == "LWGAN"}
    folders = {
        path.name: read_result(Folder.at(str(path))).dimension for path in (tmp_path / "study" / "runs").iterdir()
    }
    assert folders == names
    keys = {row["key"] for row in rows}
    before = outcome.tables.runs.filter([key in keys for key in outcome.tables.runs["key"].to_pylist()])
    assert numbers(before).equals(numbers(kept.tables.runs))
    assert not (tmp_path / "study" / "work").exists()


@pytest.mark.parametrize("when", ["between the last checkpoint and the ledger", "in the middle"])
def test_a_run_that_was_cut_off_goes_on_from_its_checkpoint(straight, tmp_path, monkeypatch, when):
    _, _, outcome, _ = straight
    told = {"data": TINY["data"][:1], "sizes": [60], "lwgan": {"replicates": 1}, "classical": {}}
    iterate, done = Trainer._iterate, []

    def cut_off(*args):
        raise KeyboardInterrupt

    def counted(self, stage, iteration):
        done.append(stage.name)
        if len(done) == 4 and when == "in the middle":
            raise KeyboardInterrupt
        iterate(self, stage, iteration)

    monkeypatch.setattr(Trainer, "_iterate", counted)
    if when != "in the middle":
        monkeypatch.setattr(Ledger, "write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path / "study", {"execution.checkpoint_seconds": 0}, **told)
    monkeypatch.undo()
    before, left = len(done), 5 if when == "in the middle" else 0  # of 8 iterations; the fourth was cut off
    monkeypatch.setattr(Trainer, "_iterate", counted)
    when = "later"
    # another rank rule does not stand in the way
    _, resumed, _ = execute(tmp_path / "study", {"run.score.penalty_constant": 2.0}, **told)
    assert resumed.unfinished == {}
    assert len(done) - before == left, "not from the start"
    ours, theirs = resumed.tables.runs.to_pylist()[0], outcome.tables.runs.to_pylist()
    assert ours["score_mean"] == next(row["score_mean"] for row in theirs if row["key"] == ours["key"])


def test_folders_that_hold_something_else_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty and not a study"):
        study(tmp_path)
    Run(RunConfig.model_validate({"data": {"source": "manifold", "name": "s_curve", "n": 40}, **TINY["run"]})).train(
        Folder.at(str(tmp_path / "run")), ExecutionConfig(workers=0)
    )
    with pytest.raises(ConfigError, match="holds no study, but a run or a search"):
        study(tmp_path / "run")


def test_cells_that_cannot_be_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match=r"s_curve, n = 10, LWGAN: .*fewer than a batch"):
        study(tmp_path, sizes=[10])
    assert not list(tmp_path.iterdir())


def test_groups_that_share_fits_share_them(tmp_path):
    """The rank rule as a factor: one fit, judged twice, and bootstrapped twice."""
    told = {"data": TINY["data"][:1], "sizes": [40], "classical": {}, "lwgan": {"replicates": 2}}
    changes = {"factors": {"score.penalty": ["reference", "rate"]}, "bootstrap": {"kinds": ["rows"], "resamples": 2}}
    _, outcome, progress = execute(tmp_path / "study", changes, **told)
    assert progress.phases == [(2, "LWGAN runs"), (4, "bootstrap refits")]
    assert outcome.tables.runs.num_rows == 4
    assert len(set(outcome.tables.runs["key"].to_pylist())) == 2
    assert [(row["method"], row["resamples"]) for row in outcome.tables.bootstrap.to_pylist()] == [
        ("LWGAN [score.penalty=rate]", 2), ("LWGAN [score.penalty=rate]", 2),
        ("LWGAN [score.penalty=reference]", 2), ("LWGAN [score.penalty=reference]", 2),
    ]  # fmt: skip
    assert set(outcome.tables.bootstrap["key"].to_pylist()) == set(outcome.tables.runs["key"].to_pylist())


def test_a_whole_table_is_one_sample(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(80, 3)))
    told = {"data": [{"path": str(tmp_path / "a.npy"), "intrinsic_dim": 2}], "sizes": None}
    prepared, outcome, _ = execute(tmp_path / "study", **told)
    runs = outcome.tables.runs.to_pylist()
    assert {(row["method"], row["replicate"], row["initialisation"]) for row in runs} == {
        ("LWGAN", 0, 0), ("LWGAN", 0, 1), ("LWGAN (rate)", 0, 0), ("LWGAN (rate)", 0, 1), ("TwoNN", 0, 0), ("MLE", 0, 0)
    }  # fmt: skip
    assert {cell["samples"] for cell in outcome.tables.cells.to_pylist()} == {1}
    publish(prepared, outcome, "test")
    assert "The whole table is one sample" in (tmp_path / "study" / "summary.md").read_text()


def test_what_an_earlier_configuration_left_does_not_stay(straight, tmp_path):
    told = {"sizes": [40], "lwgan": {"replicates": 0}}
    prepared, outcome, _ = execute(tmp_path / "study", **told)
    publish(prepared, outcome, "test")
    assert (tmp_path / "study" / "comparisons.parquet").exists()
    prepared, outcome, _ = execute(tmp_path / "study", classical={"estimators": ["MLE"], "replicates": 2}, **told)
    publish(prepared, outcome, "test")
    assert not (tmp_path / "study" / "comparisons.parquet").exists()
    assert "comparisons.parquet" not in (tmp_path / "study" / "summary.md").read_text()


def test_workers_that_write_elsewhere_are_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(Ledger, "write", lambda *_: None)
    _, outcome, _ = execute(tmp_path / "study", sizes=[40], lwgan={"replicates": 0})
    assert len(outcome.unfinished) == 12
    assert all("is not in the ledger" in reason for reason in outcome.unfinished.values())
    with pytest.raises(ClusterError, match="does not see the study"):
        work.execute(work.Pack(location=str(tmp_path / "elsewhere"), execution=ExecutionConfig(), runs=()))


def test_a_run_that_takes_its_process_along_is_found_among_its_pack(tmp_path, monkeypatch):
    """The pool reports the task as lost: every run of it is tried on its own."""
    fatal = []

    def on_ray(self, tasks, on_done, *, short):
        reasons = {}
        for index, task in enumerate(tasks):
            if any(run.estimator == "MLE" and run.config.data.seed == fatal[0] for run in task.runs):
                reasons[index] = "the process died"
            else:
                on_done(index, work.execute(task))
        return reasons

    monkeypatch.setattr(engine.Engine, "compute", on_ray)
    prepared = study(tmp_path / "study", {"execution.workers": 1}, sizes=[40], lwgan={"replicates": 0})
    fatal.append(prepared.first_runs()[0].data_seed)
    outcome = prepared.execute(Silent())
    assert list(outcome.unfinished.values()) == ["the process died"] * 2, "one for each of the two manifolds"
    assert outcome.tables.runs.num_rows == 12 - 2


def test_runs_of_a_lost_pack_that_were_entered_before_are_counted(tmp_path, monkeypatch):
    lost = []

    def on_ray(self, tasks, on_done, *, short):
        reasons = {}
        for index, task in enumerate(tasks):
            if len(task.runs) > 2:  # 3 of a pack are entered when its process dies
                work.execute(replace(task, runs=task.runs[:3]))
                reasons[index] = "the process died"
                lost.append(index)
            else:
                on_done(index, work.execute(task))
        return reasons

    monkeypatch.setattr(engine.Engine, "compute", on_ray)
    progress = Silent()
    outcome = study(tmp_path / "study", {"execution.workers": 1}, lwgan={"replicates": 0}).execute(progress)
    assert lost
    assert outcome.unfinished == {}
    assert progress.phases == [(24, "classical runs")]
    assert progress.updates[-1].done == 24


def test_a_run_is_recorded_though_what_is_left_of_it_cannot_be_removed(tmp_path, monkeypatch):
    stubborn.keep(monkeypatch, SCRATCH)
    _, outcome, progress = execute(tmp_path / "study", sizes=[40], classical={})
    assert outcome.unfinished == {}
    assert progress.updates[-1].done == outcome.tables.runs.num_rows // 2 == 4, "two rules judge each"


@pytest.mark.parametrize(
    ("changes", "told", "message"),
    [
        ({"bootstrap": {"settings": {"schedule.nonsense": 1}}}, {}, "bootstrap.settings: .*nonsense: unknown key"),
        ({"bootstrap": {"settings": {"objective.mmd_weight": 2}}}, {}, "bootstrap.settings: objective.mmd_weight"),
        ({"bootstrap": {"settings": {"score.penalty": "rate"}}}, {}, "bootstrap.settings: score.penalty"),
        ({"bootstrap": {"settings": {"seed": 1}}}, {}, "bootstrap.settings: seed"),
        ({"level": 1.0}, {}, "level: must be < 1"),
        ({"execution": {"workers": {"min": 1, "max": 2}}}, {}, "execution.workers: a study takes a number"),
        ({"execution": {"workers": 0, "address": "1.2.3.4:6379"}}, {}, "execution.address: is of no use"),
        ({}, {"data": [{"name": "s_curve", "settings": {"data.name": "sphere"}}]}, "settings.data.name"),
        ({}, {"factors": {"data": [{"name": "sphere"}]}}, "factors.data: is not a field"),
    ],
)
def test_configurations_that_would_break_later_are_refused_at_once(tmp_path, changes, told, message):
    with pytest.raises(ConfigError, match=message):
        study(tmp_path, changes, **told)


def test_a_rule_on_too_few_holdout_rows_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="at least 4 hold-out rows"):
        study(tmp_path, sizes=[20], lwgan={"rules": {"hold-out": {"score_on": "holdout"}}})


# replicates on demand -------------------------------------------------------------------------------------------------


def on_demand(folder, **stop):
    return execute(
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


def test_tests_and_sample_sizes_are_of_the_replicates_fixed_beforehand(tmp_path):
    _, outcome, _ = on_demand(tmp_path / "study")
    assert outcome.tables.runs.num_rows > 6 * 2
    assert set(outcome.tables.comparisons["pairs"].to_pylist()) == {2}
    _, fixed, _ = execute(
        tmp_path / "fixed", lwgan={"replicates": 0}, sizes=[40],
        data=[{"name": "s_curve"}, {"name": "swissroll_curve", "noise": 0.1}],
        classical={"estimators": ["TwoNN", "MLE", "CorrInt"], "replicates": 2},
    )  # fmt: skip
    assert outcome.tables.trends.equals(fixed.tables.trends)


def test_replicates_go_where_the_interval_is_widest(tmp_path):
    prepared, outcome, _ = execute(
        tmp_path / "study", lwgan={"replicates": 0}, sizes=[40], data=[{"name": "s_curve"}],
        classical={"estimators": ["MLE", "CorrInt", "lPCA"], "replicates": 20},
    )  # fmt: skip
    runs = outcome.tables.runs.to_pylist()
    for row in runs:  # 20 of 20, 10 of 20 and 18 of 20: widths .30, .65, .45
        right = {"MLE": 20, "CorrInt": 10, "lPCA": 18}[row["method"]]
        row["dimension"], row["value"], row["failure"] = (2, 2.0, None) if row["replicate"] < right else (3, 3.0, None)
    told = {group.method: i for i, group in enumerate(prepared.design.groups)}
    table, counts = pa.Table.from_pylist(runs, schema=RUNS), dict.fromkeys(told.values(), 20)

    def more(width, closed=frozenset()):
        stop = StopWhen(interval_width=width, step=5)
        return more_replicates(prepared.design, table, counts, stop, closed)

    assert more(0.1) == {told["CorrInt"]: 25, told["lPCA"]: 25}
    assert more(0.1, {told["CorrInt"]}) == {told["MLE"]: 25, told["lPCA"]: 25}, "the widest is another one"
    assert more(0.45) == {told["CorrInt"]: 25}
    assert more(0.9) == {}


def test_no_cell_gets_more_than_the_most_replicates(tmp_path):
    _, outcome, _ = on_demand(tmp_path / "study", interval_width=0.01, max_replicates=7)
    assert {cell["runs"] for cell in outcome.tables.cells.to_pylist()} == {7}


def test_a_resume_takes_the_same_decisions(tmp_path, monkeypatch):
    _, straight, _ = on_demand(tmp_path / "straight")
    carried, done = work.execute, []

    def interrupted(task):
        if len(done) == 9:
            raise KeyboardInterrupt
        done.append(task)
        return carried(task)

    monkeypatch.setattr("lwgan_dist.study.engine.execute", interrupted)
    monkeypatch.setattr("lwgan_dist.study.engine.PACK", 1)
    with pytest.raises(KeyboardInterrupt):
        on_demand(tmp_path / "resumed")
    monkeypatch.setattr("lwgan_dist.study.engine.execute", carried)
    _, resumed, progress = on_demand(tmp_path / "resumed")
    assert sum(total for total, _ in progress.phases) == straight.planned - 9
    assert numbers(resumed.tables.cells).equals(numbers(straight.tables.cells))


# bootstrap ------------------------------------------------------------------------------------------------------------

BOOTSTRAP = {"bootstrap": {"kinds": ["parametric", "rows"], "resamples": 3}}


def test_the_bootstrap_refits_every_run_and_a_resume_repeats_none(tmp_path):
    told = {"data": TINY["data"][:1], "sizes": [40], "classical": {}}
    _, first, _ = execute(tmp_path / "study", **told)
    prepared, outcome, progress = execute(tmp_path / "study", BOOTSTRAP, **told)
    assert progress.phases == [(2, "LWGAN runs"), (2 * 2 * 3, "bootstrap refits")], "once more for the networks"
    assert numbers(outcome.tables.runs).equals(numbers(first.tables.runs))
    rows = outcome.tables.bootstrap.to_pylist()
    assert len(rows) == 4
    for row in rows:
        assert row["resamples"] + row["failures"] == sum(row["counts"]) + row["failures"] == 3
        assert row["covers"] == (2 in row["rank_set"])
    coverage = outcome.tables.coverage.to_pylist()
    assert [(row["kind"], row["runs"]) for row in coverage] == [("parametric", 2), ("rows", 2)]
    _, again, progress = execute(tmp_path / "study", BOOTSTRAP, **told)
    assert progress.phases == []
    assert again.tables.bootstrap.equals(outcome.tables.bootstrap)
    further = {"bootstrap": {**BOOTSTRAP["bootstrap"], "resamples": 4}}
    _, _, progress = execute(tmp_path / "study", further, **told)
    assert progress.phases == [(4, "bootstrap refits")]
    publish(prepared, outcome, "test")
    assert (tmp_path / "study" / "figures" / "bootstrap.png").exists()


@pytest.mark.parametrize("kind", ["runs", "refits"])
def test_a_folder_that_another_process_holds_is_no_failure_of_the_method(tmp_path, monkeypatch, kind):
    told = {"data": TINY["data"][:1], "sizes": [40], "classical": {}, "lwgan": {"replicates": 1}}
    if kind == "refits":
        execute(tmp_path / "study", {"bootstrap": {"resamples": 1}}, **told)
    waits = []

    def held(*_args, **_kwargs):
        waits.append(1)
        raise InUseError("another process is working in this run folder")

    monkeypatch.setattr(Run, "fit", held)
    monkeypatch.setattr(worker, "PATIENCE_SECONDS", 0.6)
    _, outcome, _ = execute(tmp_path / "study", {"bootstrap": {"resamples": 2}}, **told)
    assert len(outcome.unfinished) == 1
    assert "another process" in next(iter(outcome.unfinished.values()))
    assert outcome.tables.runs["failure"].null_count == outcome.tables.runs.num_rows
    assert sum(row["failures"] for row in outcome.tables.bootstrap.to_pylist()) == 0
    assert len(waits) >= 2, "waited for it"


def test_a_run_that_another_worker_ends_while_it_is_waited_for_is_not_computed_again(tmp_path, monkeypatch):
    """A worker of a killed command, say: it holds the folder of the run, enters it and goes."""
    told = {"data": TINY["data"][:1], "sizes": [40], "classical": {}, "lwgan": {"replicates": 1}}
    straight, *_ = execute(tmp_path / "straight", **told)
    (record,) = straight.ledger.records(straight.ledger.keys())
    asked = []

    def held(*_args, **_kwargs):
        asked.append(1)
        Ledger(Folder.at(str(tmp_path / "study" / "ledger")), type(record)).write(record)
        raise InUseError("another process is working in this run folder")

    monkeypatch.setattr(Run, "fit", held)
    _, outcome, progress = execute(tmp_path / "study", **told)
    assert outcome.unfinished == {}
    assert progress.updates[-1].done == len(asked) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_pool_of_a_study_has_the_dashboard_that_later_ones_need(tmp_path, monkeypatch, workers):
    """Without it, Ray keeps what a killed run of several workers held; the first one may be that of classical runs."""
    told = []

    class Pool:
        @staticmethod
        def serve(source):
            while not source.is_dry:
                index, task = source.take()
                source.done(index, work.execute(task))

    @contextmanager
    def pool(*_, dashboard, **__):
        told.append(dashboard)
        yield Pool

    monkeypatch.setattr("lwgan_dist.launch.pool.pool", pool)
    changes = {"execution.workers": workers}
    execute(tmp_path / "study", changes, data=TINY["data"][:1], sizes=[40], lwgan={"replicates": 0})
    assert told == [workers > 1]


def test_a_refit_that_diverges_is_counted(tmp_path, monkeypatch):
    told = {"data": TINY["data"][:1], "sizes": [40], "classical": {}, "lwgan": {"replicates": 1}}
    fit = Run.fit

    def diverges(self, *args, initial=None, **kwargs):
        if initial is not None:
            raise NonFiniteLossError("the critic loss is not finite")
        return fit(self, *args, initial=initial, **kwargs)

    monkeypatch.setattr(Run, "fit", diverges)
    _, outcome, _ = execute(tmp_path / "study", {"bootstrap": {"resamples": 2}}, **told)
    (row,) = outcome.tables.bootstrap.to_pylist()
    assert (row["resamples"], row["failures"], row["rank_set"]) == (0, 2, [])
    assert outcome.unfinished == {}


def test_the_configuration_is_written_as_it_was_told(straight):
    from lwgan_dist.configfile import read_config
    from lwgan_dist.study.config import StudyConfig

    folder, _, _, _ = straight
    assert read_config(StudyConfig, str(folder / "config.yaml")) == config()
