"""The first stage goes into another round while the networks have not learned what the start knows."""

import numpy as np
import pytest
import torch
from tiny import FAST, make_trainer, resumed_anywhere

from lwgan_dist.config import RunConfig, override
from lwgan_dist.models.lwgan.model import Lwgan
from lwgan_dist.models.pilot import fit_seconds
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.run.run import Run

ROUND, MATCHING = 8, 6
TWICE = override(
    FAST,
    {
        "data.n": 120,
        "schedule.embedding_iterations": ROUND,
        "schedule.embedding_rounds": 2,
        "schedule.matching_iterations": MATCHING,
        "schedule.plateau": 0,
    },
)
ONCE = override(TWICE, {"schedule.embedding_rounds": 1})


@pytest.fixture
def behind(monkeypatch):
    """Sets by how much more than the start the networks may err."""

    def set_to(value):
        monkeypatch.setattr("lwgan_dist.models.lwgan.model.BEHIND", value)

    return set_to


def finished(config):
    trainer = make_trainer(config)
    for _ in trainer.run():
        pass
    return trainer


def trainer_on(config, rows):
    prepared = Run(RunConfig.model_validate(config), rows)
    return trainer_of(prepared.config, prepared.sample)


def networks(trainer):
    return {name: value.clone() for name, value in trainer.parameters().items()}


def rates_of(config):
    """The learning rates of the encoder-generator updates of the first stage."""
    trainer, rates = make_trainer(config), []
    for progress in trainer.run():
        if progress.stage != "embedding":
            break
        rates.append(trainer.model.encoder_generator.optimizer.param_groups[0]["lr"])
    return rates


def test_networks_that_have_learned_the_start_train_as_if_there_was_one_round(behind):
    behind(1e6)
    twice, once = finished(TWICE), finished(ONCE)
    assert twice.lengths == once.lengths
    assert twice.lengths["embedding"] == ROUND
    ours, theirs = networks(twice), networks(once)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert twice.components == once.components


def test_networks_that_have_not_learn_it_in_another_round_and_match_as_long_as_ever(behind):
    behind(-1e6)
    trainer = finished(TWICE)
    assert trainer.lengths["embedding"] == 2 * ROUND
    assert trainer.lengths["matching"] == MATCHING
    assert trainer.iteration == trainer.iterations


def test_the_last_round_is_the_last(behind):
    behind(-1e6)
    assert finished(ONCE).lengths["embedding"] == ROUND
    assert finished(override(TWICE, {"schedule.embedding_rounds": 3})).lengths["embedding"] == 3 * ROUND


def test_the_rates_of_every_round_run_from_the_first_to_the_second(behind):
    behind(-1e6)
    twice, once = rates_of(TWICE), rates_of(ONCE)
    assert twice == once + once
    assert once == sorted(once, reverse=True)
    assert len(set(once)) == ROUND


def test_what_counts_is_the_error_at_the_rank_that_the_start_needs_beside_its_own(behind, monkeypatch):
    """The S-curve needs rank 2: .7 there is .2 more than .5, and .71 is more than that; higher ranks do not matter."""
    behind(0.2)
    monkeypatch.setattr(Lwgan, "_decoded", lambda _self: 0.5)
    for error, rounds in ((0.69, 1), (0.71, 2)):
        monkeypatch.setattr(Lwgan, "_errors_at_focus", lambda _self, error=error: [error, 9.0, 9.0])
        assert finished(TWICE).lengths["embedding"] == rounds * ROUND


def test_the_start_decodes_by_the_root_mean_square_of_what_it_leaves():
    trainer = make_trainer(TWICE)
    next(trainer.run())
    model = trainer.model
    assert model.batches.focus == 2
    assert model._decoded() == pytest.approx(model.start["decodability"][1] ** 0.5)
    assert 0.0 < model._decoded() < model.start["decodability"][0] ** 0.5


def test_error_and_start_are_compared_in_one_unit(behind, monkeypatch):
    """The start knows the rows in units of their own scale; columns of variance 1 that are one have another."""
    behind(0.2)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 1)) * [1.0, 10.0, 100.0, 1000.0] + rng.normal(size=(120, 4)) * 0.01
    config = override(TWICE, {"data": {"source": "array", "standardize": "per_column"}})
    monkeypatch.setattr(Lwgan, "_decoded", lambda _self: 0.5)
    for error, rounds in ((1.35, 1), (1.45, 2)):  # scale sqrt(tr S^2 / tr S) = 2 for four columns that are one, nearly
        monkeypatch.setattr(Lwgan, "_errors_at_focus", lambda _self, error=error: [error])
        trainer = trainer_on(config, rows)
        for _ in trainer.run():
            pass
        assert trainer.model.start["scale"] == pytest.approx(2.0, abs=0.01)
        assert trainer.lengths["embedding"] == rounds * ROUND


def test_the_pilot_counts_one_round():
    prepared = Run(RunConfig.model_validate(override(TWICE, {"schedule.embedding_rounds": 50})))
    assert fit_seconds(prepared.config, prepared.sample) > 0.0


@pytest.mark.parametrize("error", [0.1, 9.0])
def test_a_plateau_ends_the_stage_unless_another_round_is_due(behind, monkeypatch, error):
    behind(0.2)
    monkeypatch.setattr("lwgan_dist.models.lwgan.stages.PLATEAU_INTERVAL", 2)
    monkeypatch.setattr(Lwgan, "_errors_at_focus", lambda _self: [error])
    config = override(TWICE, {"schedule.plateau": 0.01})
    # flat from the third check on; in the second round the checks begin again
    assert finished(config).lengths["embedding"] == (6 if error < 1 else ROUND + 6)


def test_a_run_that_is_resumed_anywhere_ends_bit_equal(behind):
    behind(-1e6)
    resumed_anywhere(TWICE)
