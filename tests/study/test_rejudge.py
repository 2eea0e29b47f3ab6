"""A ledger answers for other rules what a study by them would have said, fits nothing, and says where it ends."""

import json

import pytest
from click.testing import CliRunner
from tiny_study import NO_TIME, Silent
from tiny_study import study as tiny

from lwgan_dist.cli import main
from lwgan_dist.study import engine as engine_module
from lwgan_dist.study.rejudge import rejudge

CLASSICAL = {"lwgan": {"replicates": 0}, "classical": {"estimators": ["TwoNN", "MLE"], "replicates": 30}}
ON_DEMAND = {"classical.replicates": 5, "stop_when": {"interval_width": 0.5, "max_replicates": 30}}
SOLVE = {**CLASSICAL, "sizes": None, "solve": {"target": 0.6, "n": [20, 80], "step": 5, "max_runs": 60},
         "classical": {"estimators": ["TwoNN"], "replicates": 5}}  # fmt: skip


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """A study with LWGAN runs."""
    folder = tmp_path_factory.mktemp("fits") / "study"
    tiny(folder).execute(Silent())
    return folder


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A study of classical estimators with a fixed number of replicates."""
    folder = tmp_path_factory.mktemp("grid") / "study"
    tiny(folder, **CLASSICAL).execute(Silent())
    return folder


@pytest.fixture
def frozen(monkeypatch):
    """Nothing is computed, and no file is written."""
    monkeypatch.setattr(engine_module, "execute", lambda *_: pytest.fail("a run was computed"))

    def content(folder):
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return content


def same(ours, theirs, names=("runs", "cells", "comparisons", "trends")):
    for name in names:
        one, other = getattr(ours, name), getattr(theirs, name)
        costs = [*NO_TIME, "provenance"]
        one, other = (table.drop_columns([c for c in costs if c in table.column_names]) for table in (one, other))
        assert one.equals(other), name


def test_other_rank_rules_are_those_of_a_study_with_them(fits, frozen):
    before, rules = frozen(fits), {"lwgan.rules.half": {"penalty": "resolution", "resolution": 0.5}}
    again = rejudge(tiny(fits, rules))
    assert again.unanswered == []
    assert set(again.outcome.tables.cells["method"].to_pylist()) >= {"LWGAN (half)", "LWGAN (rate)"}
    assert frozen(fits) == before
    straight = tiny(fits, rules).execute(Silent())  # the same ledger, on which no run is repeated
    same(again.outcome.tables, straight.tables, ("runs", "cells", "comparisons", "trends", "sensitivity"))


def test_a_stopping_rule_is_judged_as_it_would_have_stopped(grid, frozen):
    again = rejudge(tiny(grid, ON_DEMAND, **CLASSICAL))
    assert again.unanswered == []
    assert again.used.runs < again.recorded.runs == 2 * 2 * 2 * 30
    assert 0 < again.used.cpu_seconds < again.recorded.cpu_seconds
    cells = again.outcome.tables.cells.to_pylist()
    assert len({cell["runs"] for cell in cells}) > 1, "some go on longer than others"
    for cell in cells:
        assert cell["sequence_high"] - cell["sequence_low"] <= 0.5 or cell["runs"] == 30


def test_a_stopping_rule_is_that_of_a_study_that_stops_by_it(grid, tmp_path):
    again = rejudge(tiny(grid, ON_DEMAND, **CLASSICAL))
    straight = tiny(tmp_path / "straight", ON_DEMAND, **CLASSICAL).execute(Silent())
    same(again.outcome.tables, straight.tables)
    assert again.used.runs == straight.planned


def test_what_the_study_did_not_run_is_said(grid, frozen):
    further = {"classical.replicates": 5, "stop_when": {"interval_width": 0.2, "max_replicates": 100}}
    again = rejudge(tiny(grid, further, **CLASSICAL))
    assert any("replicates 30 to 34 are not in the ledger" in line for line in again.unanswered)
    assert "the stopping rule goes on longer than the study did" in again.unanswered[-1]
    assert max(again.outcome.tables.cells["runs"].to_pylist()) == 30
    assert again.outcome.unfinished == {}, "the same command would not mend it"
    more = rejudge(tiny(grid, {"classical.replicates": 31}, **CLASSICAL))
    assert any("replicate 30 is not in the ledger" in line for line in more.unanswered)
    assert any("3 more groups" in line for line in more.unanswered)


def test_a_search_for_n_is_judged_by_another_target(tmp_path):
    """The first sizes and batches of a search do not depend on the target, so at least these are there."""
    folder = tmp_path / "solve"
    first = tiny(folder, **SOLVE).execute(Silent())
    assert rejudge(tiny(folder, **SOLVE)).outcome.tables.solved.equals(first.tables.solved)
    again = rejudge(tiny(folder, {"solve.target": 0.9}, **SOLVE))
    straight = tiny(tmp_path / "straight", {"solve.target": 0.9}, **SOLVE).execute(Silent())
    for row, other in zip(again.outcome.tables.solved.to_pylist(), straight.tables.solved.to_pylist(), strict=True):
        assert row["outcome"] == "unfinished" or row == other
        assert row["runs"] <= other["runs"]


def test_networks_that_were_not_kept_do_not_matter(fits, frozen):
    again = rejudge(tiny(fits, bootstrap={"resamples": 2}))
    runs = again.outcome.tables.runs.to_pylist()
    lwgan = {row["key"] for row in runs if row["kind"] == "lwgan" and row["failure"] is None}
    assert again.unanswered == [
        f"{2 * len(lwgan)} bootstrap refits are not in the ledger: rank sets rest on the others"
    ]


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("spelled", ["rejudge", "--rejudge"])
def test_the_command_says_it_in_words_and_as_json(grid, frozen, spelled):
    before = frozen(grid)
    changes = ["classical.replicates=5", "stop_when.interval_width=0.2", "stop_when.max_replicates=100"]
    said = call("study", spelled, grid, *changes)
    assert said.exit_code == 0, said.output
    assert "are not in the ledger" in said.output
    assert "judged again, nothing fitted" in said.output
    told = json.loads(call("study", spelled, grid, *changes, "--json").stdout)
    assert told["recorded"]["runs"] == 240
    assert told["unanswered"]
    assert {cell["n"] for cell in told["cells"]} == {40, 60}
    assert frozen(grid) == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [(["seed=9"], "its ledger has no run of this configuration"), (["sizes=[44]"], "change rank rules (run.score")],
)
def test_another_study_is_refused(grid, changes, reason):
    said = call("study", "rejudge", grid, *changes)
    assert said.exit_code == 2
    assert reason in said.output


def test_a_folder_without_a_study_is_refused(tmp_path):
    said = call("study", "rejudge", tmp_path)
    assert said.exit_code == 2
    assert "is no folder of a study on this machine" in said.output
