"""A ledger answers for other settings what a search with them would have said, fits nothing, and says where it ends."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from tiny_search import config, numbers, search
from tiny_study import Silent

from lwgan_dist.cli import main
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.search import search as search_module
from lwgan_dist.search.replay import recorded_sentence, replay
from lwgan_dist.search.rows import search_tables
from lwgan_dist.storage import Folder

LENIENT = {"name": "asha", "reports_per_seed": 4, "grace_reports": 3}
"""Every trial has three reports at least."""
SPACE = {"objective.mmd_weight": {"loguniform": [0.1, 10]}, "networks.width": {"choice": [2, 3, 8]}}
SMALL = {"space": SPACE, "budget": {"trials": 8}, "confirm_seeds": 1, "scheduler": LENIENT}
STRICT = {"scheduler.grace_reports": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("search") / "search"
    search(place, **SMALL).execute(Silent())
    return place


@pytest.fixture
def frozen(folder, monkeypatch):
    """Nothing is fitted in the test, and no file of the folder changes."""

    def content():
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = content()
    monkeypatch.setattr(search_module, "execute", lambda *_: pytest.fail("a trial was computed"))
    yield
    assert content() == before


def replayed(folder, changes=None, before=SMALL):
    return replay(config(changes, **before), config(**before), Folder.at(str(folder)))


def states(ended):
    return [(item.number, item.outcome.state, item.outcome.objectives) for item in ended]


@pytest.mark.usefixtures("frozen")
def test_the_configuration_that_was_run_says_what_it_said(folder):
    again = replayed(folder)
    assert again.unanswered == again.supposed == []
    prepared = search(folder, **SMALL)
    ended, missing = prepared.recorded()
    assert states(again.outcome.ended) == states(ended)
    assert missing == []
    assert {state for _, state, _ in states(ended)} == {"finished", "stopped"}
    assert [pair.best.key for pair in again.outcome.pairs]


def test_a_setting_of_halving_is_judged_as_it_would_have_stopped(folder, tmp_path):
    """One place and one process: the trials come in the same order."""
    again = replayed(folder, STRICT)
    straight = search(tmp_path / "straight", STRICT, **SMALL).execute(Silent())
    lost = {item.number for item in straight.ended} - {item.number for item in again.outcome.ended}
    theirs = [item for item in straight.ended if item.number not in lost]
    assert states(again.outcome.ended) == states(theirs)
    reports = [item.outcome.reports for item in again.outcome.ended]
    assert reports == [item.outcome.reports for item in theirs]
    assert len([said for said in again.unanswered if "lets it go on" in said]) == len(lost)
    assert {len(item.outcome.reports) for item in again.outcome.ended} >= {1, 3}, "some stop at once"
    spent = [sum(item.record.cpu_seconds for item in ended) for ended in (again.outcome.ended, again.recorded)]
    assert spent[0] < spent[1]
    assert "one at a time" in again.supposed[0]


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("changes", [{"scheduler": {"name": "none"}}, {"scheduler.reduction_factor": 1.01}])
def test_a_trial_that_was_stopped_and_goes_on_has_no_end(folder, changes):
    again = replayed(folder, changes)
    stopped = [item.number for item in again.recorded if item.outcome.state == "stopped"]
    left_out = {item.number for item in again.recorded} - {item.number for item in again.outcome.ended}
    assert left_out
    assert left_out <= set(stopped)
    for number in left_out:
        said = f"trial {number} was stopped after 3 of its reports, and this setting lets it go on"
        assert any(line.startswith(said) for line in again.unanswered)
    assert "the best trial may be one of them" in again.unanswered[len(left_out)]


@pytest.mark.usefixtures("frozen")
def test_reports_that_were_never_measured_are_refused(folder):
    with pytest.raises(ConfigError, match="the ledger has interim objectives at 4 reports of a seed; replay 4 or 1"):
        replayed(folder, {"scheduler.reports_per_seed": 2, "scheduler.grace_reports": 1})


def test_without_a_scheduler_the_ends_of_seeds_are_reports(tmp_path):
    plain = {**SMALL, "scheduler": {"name": "none"}, "seeds_per_trial": 2, "confirm_seeds": 0}
    search(tmp_path / "plain", **plain).execute(Silent())
    halving = {"scheduler": {"name": "asha", "reports_per_seed": 1}}
    again = replayed(tmp_path / "plain", halving, plain)
    straight = search(tmp_path / "straight", halving, **plain).execute(Silent())
    assert states(again.outcome.ended) == states(straight.ended)
    assert "stopped" in {item.outcome.state for item in again.outcome.ended}
    with pytest.raises(ConfigError, match="interim objectives at 1 report of a seed; replay 1"):
        replayed(tmp_path / "plain", {"scheduler": {"name": "asha"}}, plain)


@pytest.mark.usefixtures("frozen")
def test_another_objective_and_rule_judge_the_trials_that_were_tried(folder):
    again = replayed(folder, {"objective": {"reconstruction": 1.0}})
    measured = {item.number: item.record.runs[0]["reconstruction"] for item in again.recorded if item.record.runs}
    assert {item.number: item.outcome.objectives for item in again.outcome.ended} == {
        number: [value] for number, value in measured.items()
    }
    assert "left out: stopped by the objective that was run" in again.unanswered[0]
    ruled = replayed(folder, {"run.score.penalty": "fixed"})
    assert ruled.outcome.judged_again
    assert states(ruled.outcome.ended) == states(ruled.recorded), "no objective depends on the estimate but by its rank"


@pytest.mark.usefixtures("frozen")
def test_an_end_of_the_search_is_judged(folder):
    early = replayed(folder, {"budget.plateau": {"patience": 2}})
    objectives = [item.outcome.objectives for item in early.recorded]
    count = next(
        n for n in range(2, 9)
        if min([o[0] for o in objectives[: n - 2] if o], default=9e9)
        <= min([o[0] for o in objectives[n - 2 : n] if o], default=9e9)
    )  # fmt: skip
    assert [item.number for item in early.outcome.ended] == list(range(count))
    assert count < 8
    assert [item.number for item in replayed(folder, {"budget.trials": 3}).outcome.ended] == [0, 1, 2]
    more = replayed(folder, {"budget.trials": 11})
    assert [item.number for item in more.outcome.ended] == list(range(8))
    assert "trials 8 to 10 are not in the ledger" in more.unanswered[0]


@pytest.mark.usefixtures("frozen")
def test_the_tables_can_be_made_and_the_run_is_named(folder):
    again = replayed(folder, {"budget.hours": 1.0})
    assert "budget.hours is not judged" in again.supposed[-1]
    best = search_tables(again.search, again.outcome).trials.to_pylist()
    (number,) = (row["number"] for row in best if row["best"])
    assert f"trial {number} the best" in recorded_sentence(again)
    other = replace(again.outcome, ended=again.outcome.ended[:2])
    assert numbers(search_tables(again.search, other).trials).num_rows == 2


def test_the_command_says_it_and_refuses_another_search(folder, monkeypatch):
    (folder / "config.yaml").write_text(to_yaml(config(**SMALL)))
    monkeypatch.setattr(search_module, "execute", lambda *_: pytest.fail("a trial was computed"))

    def call(*arguments):
        return CliRunner().invoke(main, ["tune", *map(str, arguments)])

    for spelled in ("replay", "--replay"):
        said = call(spelled, folder, "scheduler.grace_reports=1")
        assert said.exit_code == 0, said.output
        assert "judged again, nothing fitted. As it was run:" in said.output
    told = json.loads(call("replay", folder, "budget.trials=9", "--json").stdout)
    assert told["unanswered"] == ["trial 8 is not in the ledger: with what result the search goes on, it cannot say"]
    assert len(told["trials"]) == 8
    refused = call("replay", folder, "seed=9")
    assert refused.exit_code == 2
    assert "its ledger has no trial of this configuration" in refused.output
    assert call("replay", folder / "nowhere").exit_code == 2
