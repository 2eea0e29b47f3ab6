"""Another rank rule judges the recorded trials again, and fits nothing."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tiny_search import ASHA, TINY, numbers, search
from tiny_study import Silent

from lwgan_dist.campaign.judging import judge
from lwgan_dist.campaign.record import Fit
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.method.rank_selection import STAIRCASE
from lwgan_dist.results import Part
from lwgan_dist.run.run import Run
from lwgan_dist.search import search as search_module
from lwgan_dist.search.rows import search_tables, spent, trials_table
from lwgan_dist.seeding import generator

OTHER = {"run.score.penalty": "fixed", "run.score.penalty_constant": 0.0}
"""The smallest mean score: another rank than the rule ``resolution`` mostly."""

NO_PAIRS = {"confirm_seeds": 0}


def execute(folder, changes=None, **told):
    prepared = search(folder, changes, **told)
    return prepared, prepared.execute(Silent())


def dimensions(outcome):
    return [run["dimension"] for item in outcome.ended for run in item.record.runs]


@pytest.fixture
def fitted(monkeypatch):
    """Configurations of the runs that were fitted, with scores that are drawn and fall with the rank, as those of tiny
    fits all say 1.
    """
    fit, runs = Run.fit, []

    def drawn(self, *args, **kwargs):
        runs.append(self.config)
        told = fit(self, *args, **kwargs)
        rng = generator(self.config.seed, repr(self.config.networks), repr(self.config.objective))
        components = {
            part: rng.normal(size=table.shape) - np.arange(table.shape[1])[:, None]
            for part, table in told.components.items()
        }
        neighbours = [2] * len(STAIRCASE)
        recorded = Fit.of(self.sample, components, neighbours, {})
        rank = judge(recorded, self.config.score, self.config.objective.mmd_weight, 60).choice.rank
        result = told.result.model_copy(update={"dimension": rank, "neighbours": neighbours})
        return told._replace(result=result, components=components, model=replace(told.model, dimension=rank))

    monkeypatch.setattr(Run, "fit", drawn)
    return runs


def test_all_tables_are_those_of_a_search_with_the_other_rule(tmp_path, fitted):
    told = {"seeds_per_trial": 2, "budget": {"trials": 5}, "objective": {"energy_distance": 1.0, "miss": 0.5}}
    _, before = execute(tmp_path / "search", **told)
    assert len(fitted) == 5 * 2 + 2 * 2
    fitted.clear()
    prepared, outcome = execute(tmp_path / "search", OTHER, **told)
    of_trials = {tuple(seeds) for ended in outcome.ended for seeds in prepared.trial(ended.proposal.values).seeds}
    assert not {(run.data.seed, run.seed) for run in fitted} & of_trials, "only another best trial on fresh seeds"
    assert outcome.judged_again >= 5
    straight, expected = execute(tmp_path / "straight", OTHER, **told)
    again, whole = search_tables(prepared, outcome), search_tables(straight, expected)
    assert numbers(again.trials).equals(numbers(whole.trials))
    assert numbers(again.runs).equals(numbers(whole.runs)), "with their fingerprints"
    assert again.confirmation.equals(whole.confirmation)
    assert again.dimensions.equals(whole.dimensions)
    assert dimensions(outcome) != dimensions(before), "else the rule is no other one"
    records = prepared.ledger.records(prepared.ledger.keys())
    assert spent(outcome) <= sum(record.cpu_seconds for record in records) + 1e-9
    assert all(item.record.fits == [] for item in outcome.ended), "the driver does not keep them"


@pytest.mark.parametrize("told", [{"searcher": {"name": "optuna"}}, {"scheduler": ASHA}], ids=["optuna", "asha"])
def test_the_trials_stay_those_that_were_proposed_and_stopped(tmp_path, monkeypatch, fitted, told):
    told = {**told, **NO_PAIRS, "budget": {"trials": 8}, "objective": {"energy_distance": 1.0}}
    _, before = execute(tmp_path / "search", **told)
    monkeypatch.setattr(search_module, "execute", None)
    prepared, outcome = execute(tmp_path / "search", OTHER, **told)
    assert [item.proposal for item in outcome.ended] == [item.proposal for item in before.ended]
    assert [item.outcome.state for item in outcome.ended] == [item.outcome.state for item in before.ended]
    assert [item.as_recorded for item in outcome.ended] == [item.outcome for item in before.ended]
    assert outcome.judged_again == 8
    assert search(tmp_path / "search", OTHER, **told).ended == 8, "as --dry-run says"
    if "searcher" in told:  # what is proposed next rests on the results as they were recorded
        assert [item.outcome.objectives for item in outcome.ended] != [item.outcome.objectives for item in before.ended]
    _, once_more = execute(tmp_path / "search", **told)
    assert trials_table(prepared, once_more.ended).equals(trials_table(prepared, before.ended)), "and back"


def test_a_rule_that_is_searched_is_a_part_of_the_trial(tmp_path, fitted):
    space = {"score.penalty": {"grid": ["reference", "rate"]}, "networks.width": {"grid": [2, 3]}}
    told = {"space": space, "searcher": {"name": "grid"}, "budget": {}, "initial": ["default"], **NO_PAIRS}
    _, before = execute(tmp_path / "search", **told)
    fits = len(fitted)
    prepared, outcome = execute(tmp_path / "search", {"run.score.penalty_constant": 9.0}, **told)
    assert len(fitted) == fits
    assert dimensions(outcome) != dimensions(before)
    straight, expected = execute(tmp_path / "straight", {"run.score.penalty_constant": 9.0}, **told)
    again = trials_table(prepared, outcome.ended)
    assert numbers(again).equals(numbers(trials_table(straight, expected.ended)))
    assert Counter(again["parameters.score.penalty"].to_pylist()).keys() >= {"reference", "rate"}


def test_a_trial_that_diverged_has_failed_under_any_rule(tmp_path, monkeypatch):
    def diverges(*_args, **_kwargs):
        raise NonFiniteLossError("the critic loss is not finite")

    monkeypatch.setattr(Run, "fit", diverges)
    told = {"budget": {"trials": 2}, **NO_PAIRS}
    execute(tmp_path / "search", **told)
    monkeypatch.setattr(search_module, "execute", None)
    _, outcome = execute(tmp_path / "search", OTHER, **told)
    assert ["not finite" in item.failure for item in outcome.ended] == [True, True]


def test_a_configuration_that_cannot_be_is_tried_under_another_rule(tmp_path):
    """It may be the rule that made it impossible: too few hold-out rows for it, say."""
    run = {**TINY["run"], "data": {**TINY["run"]["data"], "n": 40, "holdout_fraction": 0.05}}
    told = {"run": run, "space": {"score.score_on": {"grid": ["train", "holdout"]}}, "searcher": {"name": "grid"}}
    told |= {"budget": {}, "initial": ["default"], **NO_PAIRS}
    _, outcome = execute(tmp_path / "search", **told)
    failed = [item for item in outcome.ended if item.failure]
    assert ["hold-out rows" in item.failure for item in failed] == [True]
    assert [item.record.alike for item in failed] == [None]


def test_data_that_fall_apart_are_fitted_again(tmp_path, monkeypatch, fitted):
    """Each part is judged by its own errors, which the components of the whole do not hold."""
    fit = Run.fit

    def in_parts(self, *args, **kwargs):
        told = fit(self, *args, **kwargs)
        return told._replace(result=told.result.model_copy(update={"parts": [Part(rows=9, share=1.0, dimension=2)]}))

    monkeypatch.setattr(Run, "fit", in_parts)
    told = {"budget": {"trials": 1}, **NO_PAIRS}
    for changes in ({}, OTHER):
        fitted.clear()
        _, outcome = execute(tmp_path / "search", changes, **told)
        assert len(fitted) == 1
        assert outcome.judged_again == 0
