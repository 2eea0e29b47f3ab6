"""A search in one process: what it tries, what it says, that it can be repeated, interrupted and extended."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import stubborn
from tiny_search import ASHA, TINY, config, numbers, search
from tiny_study import Silent

from lwgan_dist.campaign import worker
from lwgan_dist.campaign.folder import SCRATCH
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.config import ExecutionConfig, RunConfig, TrainConfig, override
from lwgan_dist.configfile import read_config, to_yaml
from lwgan_dist.errors import ConfigError, InUseError, NonFiniteLossError, UnreadableError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.heldout import held_out_metrics
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.run.run import Run
from lwgan_dist.search import search as search_module
from lwgan_dist.search import work
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.objective import interim_objective, seeds, unit_of
from lwgan_dist.search.publish import publish, read_published, run_file, search_caveats
from lwgan_dist.search.report import comparison_sentence
from lwgan_dist.search.rows import runs_table, search_tables, spent, trials_table
from lwgan_dist.search.searchers import Proposal
from lwgan_dist.search.trial_queue import Queue
from lwgan_dist.search.trials import TrialRecord
from lwgan_dist.search.work import Report
from lwgan_dist.storage import Folder

pytestmark = pytest.mark.usefixtures("blank_figures", "quick_fits")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An uninterrupted search by Optuna with two seeds a trial, published."""
    prepared = search(tmp_path_factory.mktemp("straight") / "search", searcher={"name": "optuna"}, seeds_per_trial=2)
    progress = Silent()
    published = []
    outcome = prepared.execute(progress, lambda outcome: published.append(publish(prepared, outcome, "title")))
    return prepared, outcome, published[0], progress


def execute(folder, changes=None, **told):
    prepared = search(folder, changes, **told)
    return prepared, prepared.execute(Silent())


def trials(prepared, outcome):
    return trials_table(prepared, outcome.ended)


# what it says ---------------------------------------------------------------------------------------------------------


def test_every_trial_is_there_with_its_runs_and_the_first_are_default_and_paper(straight):
    _, outcome, published, _ = straight
    rows = published.tables.trials.to_pylist()
    assert [row["number"] for row in rows] == list(range(8))
    assert [row["origin"] for row in rows][:3] == ["default", "paper", "proposed"]
    assert rows[0]["parameters.networks.width"] == 2
    assert rows[1]["parameters.networks.width"] == 64 or rows[1]["state"] == "failed"
    assert {row["state"] for row in rows} == {"finished"}
    runs = published.tables.runs.to_pylist()
    assert [(run["number"], run["index"]) for run in runs if run["role"] == "trial"] == [
        (number, index) for number in range(8) for index in range(2)
    ]
    assert sorted(row["place"] for row in rows) == list(range(1, 9))
    assert outcome.best.number == next(row["number"] for row in rows if row["best"])


def test_an_objective_is_the_mean_over_the_seeds_of_the_weighted_measures(straight):
    _, _, published, _ = straight
    for row in published.tables.trials.to_pylist():
        runs = [run for run in published.tables.runs.to_pylist() if run["number"] == row["number"]]
        expected = np.mean([run["energy_distance"] + run["reconstruction"] for run in runs])
        assert row["objective"] == pytest.approx(expected, rel=1e-12)
        assert row["objective"] == row["objectives"][0]
        assert row["miss"] == np.mean([run["dimension"] != 2 for run in runs])
        assert row["dimension_error"] == np.mean([abs(run["dimension"] - 2) for run in runs])


def test_all_trials_have_the_same_samples_and_seeds_and_fresh_seeds_are_others(straight):
    _, _, published, _ = straight
    seeds = {}
    for run in published.tables.runs.to_pylist():
        seeds.setdefault((run["role"] == "trial", run["index"]), set()).add((run["data_seed"], run["seed"]))
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 4


def test_the_comparison_is_paired_on_fresh_seeds(straight):
    _, outcome, published, _ = straight
    rows = published.tables.confirmation.to_pylist()
    assert [row["index"] for row in rows] == [0, 1]
    runs = published.tables.runs.to_pylist()
    for row in rows:
        for role in ("best", "default"):
            (run,) = [run for run in runs if run["role"] == role and run["index"] == row["index"]]
            assert row[role] == run["energy_distance"] + run["reconstruction"]
        assert row["difference"] == row["best"] - row["default"]
    assert published.facts.difference == pytest.approx(np.mean([row["difference"] for row in rows]), rel=1e-12)
    assert outcome.best.proposal.origin != "default", "else nothing is compared and the other asserts are empty"


def test_the_best_run_reproduces_its_numbers_exactly(straight, tmp_path):
    prepared, outcome, published, _ = straight
    file = prepared.folder.local / "best.yaml"
    told = read_config(TrainConfig, str(file))
    result = Run(told.run()).train(Folder.at(str(tmp_path / "run")), told.execution)
    run = next(
        run for run in published.tables.runs.to_pylist() if (run["number"], run["index"]) == (outcome.best.number, 0)
    )
    measured = {name: value for name, value in result.metrics.items() if name in METRICS}
    assert measured
    assert {**measured, "dimension": result.dimension, "fingerprint": result.fingerprint} == {
        name: run[name]
        for name in ("energy_distance", "sliced_wasserstein", "reconstruction", "dimension", "fingerprint")
    }
    assert repr(result.metrics["energy_distance"]) in file.read_text()


@pytest.mark.parametrize("told", [{}, {"scheduler": ASHA}, {"searcher": {"name": "optuna"}}])
def test_a_configuration_that_is_written_out_is_accepted(tmp_path, told):
    (tmp_path / "search.yaml").write_text(to_yaml(config(**told)))
    assert read_config(SearchConfig, str(tmp_path / "search.yaml")) == config(**told)


def test_what_was_written_is_read_again(straight):
    prepared, _, published, _ = straight
    again = read_published(prepared.folder)
    assert again.facts == published.facts
    assert again.files == published.files
    assert again.tables.trials.equals(published.tables.trials)
    for path in again.files.values():
        assert (prepared.folder.local / path).exists()


def test_progress_tells_phases_and_the_best(straight):
    _, outcome, _, progress = straight
    assert progress.phases == [(8, "trials"), (4, "runs on fresh seeds")]
    standing = progress.updates[7]
    assert (standing.done, standing.failed, standing.stopped) == (8, 0, 0)
    assert standing.best == (outcome.best.outcome.objectives[0], outcome.best.number)
    assert standing.cpu_seconds > 0
    assert standing.running == 0, "in this process"


def test_a_proposal_rests_on_all_trials_but_as_many_as_are_ahead(tmp_path):
    told: list[int] = []

    class Recording:
        ahead = 2

        def propose(self, number):
            assert told == list(range(max(0, number - 1))), "all up to number - ahead, and no more"
            return Proposal({"objective.mmd_weight": 1.0 + number}, "proposed")

        def tell(self, number, _outcome):
            told.append(number)

    prepared = search(tmp_path / "search")
    queue = prepared._queue(Recording(), lambda trial: trial, prepared.ended_trials(), lambda _queue: None)
    ends = TrialRecord(key="", failure="no")
    first, second = queue.take()[0], queue.take()[0]
    assert queue.take() is None
    queue.done(second, replace(ends, key=queue._trials[second].key))
    assert queue.take() is None, "the one before it is still under way"
    queue.done(first, replace(ends, key=queue._trials[first].key))
    assert [queue.take()[0], queue.take()[0]] == [2, 3]
    assert told == [0, 1]


# repeating ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("searcher", ["random", "optuna"])
def test_a_search_that_is_interrupted_anywhere_ends_the_same_and_repeats_nothing(tmp_path, monkeypatch, searcher):
    told = {"searcher": {"name": searcher}, "budget": {"trials": 7}}
    prepared, outcome = execute(tmp_path / "straight", **told)
    expected = numbers(trials(prepared, outcome))
    carried = search_module.execute
    done: list[str] = []

    class KilledError(Exception):
        pass

    for stop in (1, 2, 5, 9, 100):
        budget = iter(range(stop))

        def some(task, budget=budget):
            if next(budget, None) is None:
                raise KilledError
            answer = yield from carried(task)
            done.append(answer.key)
            return answer

        monkeypatch.setattr(search_module, "execute", some)
        try:
            prepared, outcome = execute(tmp_path / "cut", **told)
        except KilledError:
            assert stop < 100
    assert numbers(trials(prepared, outcome)).equals(expected)
    assert len(done) == len(set(done)) == 7 + 4


def test_a_trial_goes_on_from_its_finished_runs_and_checkpoints(tmp_path, monkeypatch):
    told = {"budget": {"trials": 1}, "seeds_per_trial": 2, "confirm_seeds": 0}
    prepared, outcome = execute(tmp_path / "straight", **told)
    fit, fits = Run.fit, []

    def broken(self, *args, **kwargs):
        fits.append(self.config.seed)
        if len(fits) == 2:
            raise KeyboardInterrupt
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Run, "fit", broken)
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path / "cut", **told)
    trained = []
    monkeypatch.setattr(Run, "_train_here", counting(Run._train_here, trained))
    prepared, again = execute(tmp_path / "cut", **told)
    assert numbers(trials(prepared, again)).equals(numbers(trials(prepared, outcome)))
    assert len(trained) == 2
    assert trained[0] < 0.5 * trained[1], "the first run was only read"


def counting(train, trained):
    def counted(self, folder, *args, **kwargs):
        before = folder.sub("checkpoints").names()
        train(self, folder, *args, **kwargs)
        trained.append(0 if before else 1)

    return counted


def test_a_larger_budget_computes_only_what_is_new(tmp_path, monkeypatch):
    execute(tmp_path / "search", budget={"trials": 4}, confirm_seeds=0)
    carried, done = search_module.execute, []

    def counted(task):
        done.append(task)
        return (yield from carried(task))

    monkeypatch.setattr(search_module, "execute", counted)
    prepared, outcome = execute(tmp_path / "search", budget={"trials": 6}, confirm_seeds=0)
    assert len(done) == 2
    assert len(outcome.ended) == 6
    straight, expected = execute(tmp_path / "straight", budget={"trials": 6}, confirm_seeds=0)
    assert numbers(trials(prepared, outcome)).equals(numbers(trials(straight, expected)))


def test_equal_configurations_are_carried_out_once(tmp_path, monkeypatch):
    carried, done = search_module.execute, []

    def counted(task):
        done.append(task)
        return (yield from carried(task))

    monkeypatch.setattr(search_module, "execute", counted)
    space = {"networks.width": {"choice": [2, 3]}}
    prepared, outcome = execute(tmp_path / "search", space=space, confirm_seeds=0, initial=["default"])
    table = trials(prepared, outcome)
    assert table.num_rows == 8
    assert len(done) == 2
    assert len(set(table["key"].to_pylist())) == 2


def test_another_objective_needs_no_new_run(tmp_path, monkeypatch):
    execute(tmp_path / "search", confirm_seeds=0)
    monkeypatch.setattr(search_module, "execute", None)
    prepared, outcome = execute(tmp_path / "search", confirm_seeds=0, objective={"sliced_wasserstein": 2.0})
    for row in trials(prepared, outcome).to_pylist():
        assert row["objective"] == 2 * row["sliced_wasserstein"]


# failures -------------------------------------------------------------------------------------------------------------


def test_a_table_that_cannot_be_read_is_no_property_of_a_configuration(tmp_path):
    """Gone on a node for a while: the trial is not finished, and tried again; too few rows: it has failed, for good."""
    run = RunConfig.model_validate({"data": {"source": "table", "path": str(tmp_path / "t.csv")}})
    with pytest.raises(UnreadableError, match="no such file"):
        work._prepared(run)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(work._ImpossibleError):
        work._prepared(run)


def test_a_trial_that_another_worker_ends_while_it_is_waited_for_is_not_computed_again(tmp_path, monkeypatch):
    changes = {"initial": ["default"], "budget": {"trials": 1}, "confirm_seeds": 0}
    straight, _ = execute(tmp_path / "straight", **changes)
    (record,) = straight.ledger.records(straight.ledger.keys())
    asked = []

    def held(*_args, **_kwargs):
        asked.append(1)
        Ledger(Folder.at(str(tmp_path / "search" / "ledger")), TrialRecord).write(record)
        raise InUseError("another process is working in this run folder")

    monkeypatch.setattr(Run, "fit", held)
    _, outcome = execute(tmp_path / "search", **changes)
    assert outcome.unfinished == {}
    assert [item.outcome.state for item in outcome.ended] == ["finished"]
    assert len(asked) == 1


def test_a_fresh_run_that_a_leftover_worker_records_meanwhile_is_not_computed_again(tmp_path, monkeypatch):
    outcome = execute(tmp_path / "search", {"budget.trials": 2, "confirm_seeds": 1, "initial": ["paper"]})[1]
    folder = Folder.at(str(tmp_path / "search"))
    ledger = Ledger(folder.sub("ledger"), TrialRecord)
    fresh = {record.key for pair in outcome.pairs for record in (pair.best, pair.default)}
    records = list(ledger.records(ledger.keys()))
    folder.remove("ledger")
    for record in records:
        if record.key not in fresh:
            ledger.write(record)
    inner = search_module.Search._try

    def meanwhile(self, *given):
        queue = inner(self, *given)
        for record in records:
            if record.key in fresh:
                ledger.write(record)
        return queue

    monkeypatch.setattr(search_module.Search, "_try", meanwhile)
    computed = []
    monkeypatch.setattr(work, "_trial", lambda task, *_rest: computed.append(task))
    again = execute(tmp_path / "search", {"budget.trials": 2, "confirm_seeds": 1, "initial": ["paper"]})[1]
    assert len(fresh) == 2
    assert computed == []
    assert [pair.best.key for pair in again.pairs] == [pair.best.key for pair in outcome.pairs]


def test_a_trial_is_recorded_though_what_is_left_of_it_cannot_be_removed(tmp_path, monkeypatch):
    stubborn.keep(monkeypatch, SCRATCH)
    _, outcome = execute(tmp_path / "search", initial=["default"])
    assert outcome.unfinished == {}
    assert {item.outcome.state for item in outcome.ended} == {"finished"}


def test_a_trial_that_diverges_is_recorded_with_its_reason_and_never_wins(tmp_path, monkeypatch):
    fit = Run.fit

    def diverges(self, *args, **kwargs):
        if self.config.networks.width == 3:
            raise NonFiniteLossError("iteration 3 (critic): the critic loss is not finite")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Run, "fit", diverges)
    prepared, outcome = execute(tmp_path / "search", searcher={"name": "optuna"}, initial=["default"])
    rows = trials(prepared, outcome).to_pylist()
    failed = [row for row in rows if row["parameters.networks.width"] == 3]
    assert failed
    for row in failed:
        assert row["state"] == "failed"
        assert "critic loss is not finite" in row["failure"]
        assert (row["objective"], row["place"], row["best"], row["dimension"]) == (None, None, False, None)
    assert outcome.best.proposal.values["networks.width"] == 2
    assert outcome.unfinished == {}
    monkeypatch.setattr(search_module, "execute", None)  # failed trials are not tried again
    _, again = execute(tmp_path / "search", searcher={"name": "optuna"}, initial=["default"])
    assert [item.outcome for item in again.ended] == [item.outcome for item in outcome.ended]


def test_a_configuration_that_cannot_be_is_a_failed_trial(tmp_path):
    space = {"networks.latent_dim": {"grid": [2, 9]}}  # 9 ranks do not find place in a batch of 16
    prepared, outcome = execute(tmp_path / "search", space=space, searcher={"name": "grid"}, budget={})
    good, bad = trials(prepared, outcome).to_pylist()
    assert good["state"] == "finished"
    assert bad["state"] == "failed"
    assert "rank" in bad["failure"]


def test_a_folder_that_another_process_holds_is_no_failure_of_the_configuration(tmp_path, monkeypatch):
    def held(*_args, **_kwargs):
        raise InUseError("another process is working in this run folder")

    fit = Run.fit
    monkeypatch.setattr(Run, "fit", held)
    monkeypatch.setattr(worker, "PATIENCE_SECONDS", 0.0)
    _, outcome = execute(tmp_path / "search", budget={"trials": 2}, confirm_seeds=0)
    assert len(outcome.unfinished) == 2
    monkeypatch.setattr(Run, "fit", fit)
    _, again = execute(tmp_path / "search", budget={"trials": 2}, confirm_seeds=0)
    assert [item.outcome.state for item in again.ended] == ["finished", "finished"]


def test_a_trial_whose_schedule_is_too_short_for_the_reports_fails_alone(tmp_path):
    space = {"schedule.critic_iterations": {"grid": [400, 20]}}
    run = override(TINY["run"], {"data.n": 60, "schedule.critic_iterations": 400})
    told = {"space": space, "run": {**run, "data": TINY["run"]["data"]}, "searcher": {"name": "grid"}, "budget": {}}
    prepared, outcome = execute(tmp_path / "search", scheduler={**ASHA, "reports_per_seed": 20}, **told)
    states = {row["parameters.schedule.critic_iterations"]: row for row in trials(prepared, outcome).to_pylist()}
    assert states[400]["state"] == "finished"
    assert "too short to be halted 20 times" in states[20]["failure"]


def test_fresh_seeds_on_which_the_best_fails_count_against_it(tmp_path, monkeypatch):
    fit = Run.fit
    fails = [seeds(0, "confirm", index)[1] for index in range(3)]

    def diverges(self, *args, **kwargs):
        if self.config.networks.width == 3 and self.config.seed in fails:
            raise NonFiniteLossError("the critic loss is not finite")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Run, "fit", diverges)
    measured = work.fitted_metrics

    def better_with_width(model, *args):
        return {**measured(model, *args), "energy_distance": [-float(model.config.networks.width)] * model.latent_dim}

    monkeypatch.setattr(work, "fitted_metrics", better_with_width)
    told = {"space": {"networks.width": {"grid": [2, 3]}}, "searcher": {"name": "grid"}, "budget": {}}
    prepared = search(
        tmp_path / "search", initial=["default"], confirm_seeds=4, objective={"energy_distance": 1}, **told
    )
    outcome = prepared.execute(Silent())
    assert outcome.best.proposal.values == {"networks.width": 3}
    facts = publish(prepared, outcome, "title").facts
    assert (facts.pairs, facts.better, facts.worse, facts.best_failures, facts.default_failures) == (1, 1, 3, 3, 0)
    told = comparison_sentence(facts)
    assert "not shown to be better" in told
    assert "failed on 3 more" in told
    assert any("3 runs of the comparison" in note for note in search_caveats(prepared, outcome))


def test_an_objective_that_is_not_finite_fails(tmp_path, monkeypatch):
    measured = work.fitted_metrics
    monkeypatch.setattr(work, "fitted_metrics", lambda *args: {**measured(*args), "energy_distance": [math.nan] * 3})
    prepared, outcome = execute(tmp_path / "search", budget={"trials": 2})
    assert outcome.best is None
    assert set(trials(prepared, outcome)["failure"].to_pylist()) == {"the objective is not finite"}


def test_a_lost_trial_is_no_result_and_is_tried_again(tmp_path, monkeypatch):
    fit = Run.fit

    def full(self, *args, **kwargs):
        if self.config.networks.width == 3:
            raise OSError(28, "No space left on device")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Run, "fit", full)
    prepared, outcome = execute(tmp_path / "search", initial=["default"])
    assert outcome.unfinished
    assert all("No space left" in reason for reason in outcome.unfinished.values())
    assert len(outcome.ended) + sum(name.startswith("trial") for name in outcome.unfinished) == 8
    monkeypatch.setattr(Run, "fit", fit)
    prepared, again = execute(tmp_path / "search", initial=["default"])
    assert again.unfinished == {}
    straight, expected = execute(tmp_path / "straight", initial=["default"])
    assert numbers(trials(prepared, again)).equals(numbers(trials(straight, expected)))


@pytest.mark.parametrize(("searcher", "ends"), [("optuna", True), ("random", False)])
def test_a_lost_trial_ends_a_queue_whose_proposals_rest_on_results(tmp_path, searcher, ends):
    """Else a pool would wait for results that never come."""
    prepared = search(tmp_path / "search", searcher={"name": searcher})
    queue = prepared._queue(prepared._searcher(), lambda trial: trial, prepared.ended_trials(), lambda _queue: None)
    number, _ = queue.take()
    queue.lost(number, "its node is gone")
    assert queue.is_dry == ends


def test_after_a_lost_trial_nothing_is_proposed_that_would_rest_on_it(tmp_path, monkeypatch):
    fit, broken = Run.fit, []

    def full(self, *args, **kwargs):
        if len(broken) < 3:
            broken.append(1)
            if len(broken) == 3:
                raise OSError(28, "No space left on device")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Run, "fit", full)
    told = {"searcher": {"name": "optuna", "ahead": 1}, "confirm_seeds": 0}
    _, outcome = execute(tmp_path / "search", **told)
    assert [item.number for item in outcome.ended] == [0, 1]
    assert list(outcome.unfinished) == ["trial 2"]
    prepared, again = execute(tmp_path / "search", **told)
    straight, expected = execute(tmp_path / "straight", **told)
    assert numbers(trials(prepared, again)).equals(numbers(trials(straight, expected)))


# ends -----------------------------------------------------------------------------------------------------------------


def test_no_trial_begins_when_time_is_up(tmp_path, monkeypatch):
    from lwgan_dist.search import trial_queue

    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(trial_queue, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    _, outcome = execute(tmp_path / "search", budget={"trials": 8, "hours": 0.1}, confirm_seeds=0)
    assert len(outcome.ended) == 3  # at 100, 200 and 300 s of 360


def test_a_plateau_ends_the_search_and_a_resume_ends_there_too(tmp_path):
    told = {"budget": {"trials": 40, "plateau": {"patience": 3, "tolerance": 1e9}}, "confirm_seeds": 0}
    _, outcome = execute(tmp_path / "search", **told)
    assert len(outcome.ended) == 4, "the first is better than nothing, three are not better"
    _, again = execute(tmp_path / "search", **told)
    assert [item.key for item in again.ended] == [item.key for item in outcome.ended]


def test_a_grid_ends_by_itself(tmp_path):
    space = {"networks.width": {"grid": [2, 3]}, "networks.latent_dim": {"integer": [1, 3]}}
    prepared = search(tmp_path / "search", space=space, searcher={"name": "grid"}, budget={}, initial=["default"])
    assert prepared.trial_count == 6
    outcome = prepared.execute(Silent())
    points = {tuple(sorted(item.proposal.values.items())) for item in outcome.ended}
    assert len(points) == len(outcome.ended) == 6


# successive halving ---------------------------------------------------------------------------------------------------


def test_halving_stops_the_worst_at_their_rungs_and_leaves_the_others_as_they_were(tmp_path):
    prepared, outcome = execute(tmp_path / "asha", scheduler=ASHA, budget={"trials": 12}, confirm_seeds=0)
    rows = trials(prepared, outcome).to_pylist()
    stopped = [row for row in rows if row["state"] == "stopped"]
    assert 3 <= len(stopped) <= 9
    assert all(row["dimension"] is None and row["objective"] is None for row in stopped)
    assert all(len(row["reports"]) in (1, 2) for row in stopped), "rungs are at reports 1, 2 and 4 (the end)"
    assert all(len(row["reports"]) == 3 for row in rows if row["state"] == "finished")
    seen = []
    for row in rows:  # one after the other: the rule can be applied by hand
        first = row["reports"][0]
        if len(row["reports"]) == 1:
            assert first > np.percentile(seen, 50)
        seen.append(first)
    straight, whole = execute(tmp_path / "none", budget={"trials": 12}, confirm_seeds=0)
    for row, other in zip(rows, trials(straight, whole).to_pylist(), strict=True):
        if row["state"] == "finished":
            assert row["objective"] == other["objective"], "halts on the way change nothing"
            assert row["dimensions"] == other["dimensions"]


def test_a_resume_knows_who_was_stopped(tmp_path, monkeypatch):
    told = {"scheduler": ASHA, "confirm_seeds": 0}
    _, outcome = execute(tmp_path / "search", **told)
    monkeypatch.setattr(search_module, "execute", None)
    _, again = execute(tmp_path / "search", **told)
    assert [item.outcome for item in again.ended] == [item.outcome for item in outcome.ended]
    assert "stopped" in {item.outcome.state for item in again.ended}


def test_without_the_scheduler_stopped_trials_are_carried_out(tmp_path):
    _, outcome = execute(tmp_path / "search", scheduler=ASHA, confirm_seeds=0)
    assert "stopped" in {item.outcome.state for item in outcome.ended}
    _, again = execute(tmp_path / "search", confirm_seeds=0)
    assert {item.outcome.state for item in again.ended} == {"finished"}


def test_reports_of_several_seeds_are_means_so_far(tmp_path):
    told = {"scheduler": {"name": "asha", "reports_per_seed": 1, "reduction_factor": 1.0001}, "seeds_per_trial": 2}
    prepared, outcome = execute(tmp_path / "search", budget={"trials": 1}, confirm_seeds=0, **told)
    (row,) = trials(prepared, outcome).to_pylist()
    first = runs_table(outcome.ended, []).to_pylist()[0]
    assert row["reports"] == [first["energy_distance"] + first["reconstruction"]]


def test_reports_are_the_same_after_an_interruption_at_any_of_them(tmp_path, monkeypatch):
    told = {"scheduler": ASHA, "budget": {"trials": 4}, "confirm_seeds": 0}
    _, straight = execute(tmp_path / "straight", **told)
    report = Queue.report
    count = itertools.count()
    monkeypatch.setattr(Queue, "report", lambda *args: report(*args) if next(count) % 5 != 4 else interrupt())
    for _ in range(20):
        try:
            _, outcome = execute(tmp_path / "cut", **told)
            break
        except KeyboardInterrupt:
            pass
    assert next(count) > 8
    assert [item.outcome for item in outcome.ended] == [item.outcome for item in straight.ended]


def interrupt():
    raise KeyboardInterrupt


def test_a_trial_that_is_begun_anew_is_not_counted_twice(tmp_path):
    """Its process was lost after its report number 3: it reports 1, 2, 3 again."""
    prepared = search(tmp_path / "search", scheduler={**ASHA, "reports_per_seed": 8})
    queue = prepared._queue(prepared._searcher(), lambda trial: trial, prepared.ended_trials(), lambda _queue: None)
    first, second = queue.take()[0], queue.take()[0]
    for number in range(1, 8):
        assert queue.report(first, Report(number, 1 - number / 10, 0.0))
    for number in (1, 2, 3, 1, 2, 3, 4, 5):
        assert queue.report(second, Report(number, 0.99 - number / 10, 0.0))
    assert [report.report for report in queue._reports[second]] == [1, 2, 3, 4, 5]


def test_finished_trials_of_another_objective_set_no_rung(tmp_path, monkeypatch):
    told = {"scheduler": ASHA, "confirm_seeds": 0, "budget": {"trials": 3}}
    execute(tmp_path / "search", **told)
    remembered = []
    monkeypatch.setattr("lwgan_dist.launch.asha.Asha.remember", lambda _self, name, values: remembered.append(name))
    _, outcome = execute(tmp_path / "search", objective={"energy_distance": 10.0}, **told)
    assert remembered == []
    assert [item.outcome.reports for item in outcome.ended if item.record.context is None] == []
    execute(tmp_path / "search", **told)
    assert remembered


# cost ---------------------------------------------------------------------------------------------------------------


def test_processor_time_counts_each_trial_and_fresh_run_once(tmp_path):
    prepared, outcome = execute(tmp_path / "search")
    assert spent(outcome) == pytest.approx(sum(r.cpu_seconds for r in prepared.ledger.records(prepared.ledger.keys())))
    assert outcome.pairs


# objectives -----------------------------------------------------------------------------------------------------------


def test_several_objectives_have_a_front_and_a_file_for_each_of_it(tmp_path):
    told = {
        "objective": [{"energy_distance": 1}, {"reconstruction": 1}],
        "searcher": {"name": "optuna", "sampler": "nsga2", "population": 4},
        "confirm_seeds": 0,
    }
    prepared = search(tmp_path / "search", **told)
    outcome = prepared.execute(Silent(), lambda outcome: publish(prepared, outcome, "two"))
    rows = trials(prepared, outcome).to_pylist()
    front = [row for row in rows if row["best"]]
    for row in rows:
        dominated = any(
            all(a <= b for a, b in zip(other["objectives"], row["objectives"], strict=True))
            and other["objectives"] != row["objectives"]
            for other in rows
        )
        assert row["best"] == (not dominated)
        assert row["objective"] is None
    assert sorted(path.name for path in (tmp_path / "search" / "front").iterdir()) == [
        f"trial-{row['number']:04d}.yaml" for row in front
    ]
    assert not (tmp_path / "search" / "best.yaml").exists()
    assert outcome.pairs == []


def test_the_objective_is_measured_in_the_units_of_the_default_whatever_is_searched(tmp_path):
    told = {
        "run": run_on(standardize="none"),
        "space": {"data.standardize": {"choice": ["none", "global"]}},
        "budget": {"trials": 2},
    }
    prepared, outcome = execute(tmp_path / "search", initial=["default", {"data.standardize": "global"}], **told)
    _, other = outcome.ended
    assert other.proposal.values == {"data.standardize": "global"}
    trial = prepared.trial(other.proposal.values)
    fitted = Run(trial.run(0))
    fit = fitted.fit(Folder.at(str(tmp_path / "run")), ExecutionConfig(workers=0))
    x = fitted.sample.standardizer.undo(fitted.sample.holdout)
    expected = np.linalg.norm(x - fit.model.decode(fit.model.encode(x)), axis=1).mean()
    assert other.record.runs[0]["reconstruction"] == pytest.approx(expected, rel=1e-6)
    text = run_file(prepared, other)
    assert "train` measures in its own" in text


def test_an_interim_objective_is_the_least_over_the_ranks(tmp_path):
    run = Run(search(tmp_path / "search").trial({}).run(0))
    model = run.fit_until(Folder.at(str(tmp_path / "run")), ExecutionConfig(workers=0), run.halts(2)[0]).model
    weights = {"energy_distance": 1.0, "reconstruction": 0.5}
    values = []
    for rank in (1, 2):
        metrics = held_out_metrics(model, run.sample, rank, unit_of(model, run.sample, "global"), 512)
        values.append(metrics["energy_distance"] + 0.5 * metrics["reconstruction"])
    assert interim_objective(model, run.sample, "global", weights) == min(values)


def test_a_trial_that_generates_what_is_not_finite_has_failed(tmp_path, monkeypatch):
    prepared = search(tmp_path / "search")
    run = Run(prepared.trial({}).run(0))
    model = run.fit_until(Folder.at(str(tmp_path / "run")), ExecutionConfig(workers=0), run.halts(2)[0]).model
    monkeypatch.setattr(FittedModel, "generate", lambda *_given: np.full((5, 3), np.nan))
    assert interim_objective(model, run.sample, "global", {"energy_distance": 1.0}) == np.inf
    told = {
        "space": {"networks.width": {"grid": [2]}},
        "searcher": {"name": "grid"},
        "budget": {},
        "initial": ["default"],
    }
    other, outcome = execute(tmp_path / "other", **told)
    (row,) = trials(other, outcome).to_pylist()
    assert row["failure"] == "NonFiniteLossError: rows generated at rank 1 are not finite"


TABLE = {"source": "table", "path": "x.csv"}


def run_on(**data):
    return {**TINY["run"], "data": {**TINY["run"]["data"], **data}}


# refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"run": {**TINY["run"], "seed": 3}}, "run.seed: .*derived"),
        ({"run": run_on(holdout_fraction=0)}, "objective: .*holdout_fraction"),
        ({"objective": {"miss": 1}, "run": {**TINY["run"], "data": TABLE}}, "known dimension"),
        ({"searcher": {"name": "grid"}}, "loguniform has no end"),
        ({"searcher": {"name": "optuna"}, "space": {"networks.width": {"grid": [2]}}}, "grid goes with"),
        ({"searcher": {"name": "random"}, "space": {"networks.width": {"grid": [2]}}}, "the searcher grid; use choice"),
        ({"scheduler": {"name": "asha", "reports_per_seed": 1}}, "grace_reports: must be below the 1"),
        ({"scheduler": ASHA, "objective": {"miss": 1}}, "only at its end"),
        ({"searcher": {"name": "optuna", "sampler": "nsga2", "startup_trials": 3}}, "startup_trials does not go with"),
        ({"searcher": {"name": "optuna", "sampler": "gp", "population": 3}}, "population does not go with"),
        ({"objective": [{"miss": 1}, {"cpu_seconds": 1}], "confirm_seeds": 3}, "no single best trial"),
        ({"initial": ["paper", "default"], "budget": {"trials": 1}}, "fewer than the 2 initial points"),
        ({"run": run_on(rows="stream"), "space": {"data.standardize": {"choice": ["none"]}}}, "on a stream"),
        ({"space": {"networks.width": {"integer": [1, 10**23]}}}, "at most 2"),
        ({"scheduler": ASHA, "objective": [{"miss": 1}, {"cpu_seconds": 1}], "confirm_seeds": 0}, "one objective"),
        ({"execution": {"workers": {"min": 1, "max": 2}}}, "takes a number"),
        ({"execution": {"workers": 0, "address": "auto"}}, "needs no Ray"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(told, message):
    with pytest.raises(ConfigError, match=message):
        config(**told)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"scheduler": {**ASHA, "reports_per_seed": 100}}, "reports_per_seed: 100 is too many"),
        ({"run": run_on(n=40, holdout_fraction=0.03)}, "leaves 1 hold-out rows"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_or_the_run_is_refused(tmp_path, told, message):
    with pytest.raises(ConfigError, match=message):
        search(tmp_path / "search", **told)


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty and not a search"):
        search(tmp_path / "search")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "env.json").write_text(json.dumps({"study": {}}))
    with pytest.raises(ConfigError, match="holds no search, but a run or a study"):
        search(tmp_path / "study")


def test_tables_of_a_search_in_which_nothing_finished(tmp_path, monkeypatch):
    def diverges(self, *args, **kwargs):
        raise NonFiniteLossError("the critic loss is not finite")

    monkeypatch.setattr(Run, "fit", diverges)
    prepared = search(tmp_path / "search", budget={"trials": 2})
    outcome = prepared.execute(Silent(), lambda outcome: publish(prepared, outcome, "none"))
    tables = search_tables(prepared, outcome)
    assert outcome.best is None
    assert tables.dimensions.num_rows == tables.importances.num_rows == tables.confirmation.num_rows == 0
    assert not (tmp_path / "search" / "best.yaml").exists()
    assert "critic loss is not finite" in (tmp_path / "search" / "summary.md").read_text()
    assert pq.read_table(tmp_path / "search" / "trials.parquet").num_rows == 2
    assert search_module.TRIALS_BY_DEFAULT == 30
