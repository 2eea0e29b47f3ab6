"""Training from given parameters in place of random ones."""

import pytest
import torch
from tiny import CONFIGS, FAST, make_trainer

from lwgan_dist.config import override
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.storage import Folder
from lwgan_dist.training.checkpoint import Checkpoints
from lwgan_dist.training.loop import train_worker


def warm(told, initial):
    cold = make_trainer(told)
    return trainer_of(cold.model.config, cold.model.sample, initial=initial)


def finish(trainer):
    for _ in trainer.run():
        pass
    return trainer


def parameters(trainer):
    return {name: value.detach().clone() for name, value in trainer.parameters().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def other_parameters(told=FAST):
    """Those of another seed."""
    return parameters(make_trainer(override(told, {"seed": 1})))


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_iteration_0_has_the_given_parameters_and_training_leaves_those_alone(name):
    initial = other_parameters(CONFIGS[name])
    kept = {key: value.clone() for key, value in initial.items()}
    trainer = warm(CONFIGS[name], initial)
    assert trainer.iteration == 0
    assert same(parameters(trainer), kept)
    assert not same(parameters(make_trainer(CONFIGS[name])), kept)  # control
    next(trainer.run())
    assert same(initial, kept)
    assert not same(parameters(trainer), kept)


def test_the_start_matters_and_is_all_that_a_warm_run_differs_in():
    cold = finish(make_trainer(FAST))
    assert finish(warm(FAST, parameters(make_trainer(FAST)))).components == cold.components
    assert finish(warm(FAST, other_parameters())).components != cold.components


def test_a_warm_trainer_resumes_to_the_same_state():
    straight, first = (warm(FAST, other_parameters()) for _ in range(2))
    finish(straight)
    for progress in first.run():
        if progress.iteration == 9:
            break
    resumed = make_trainer(FAST)
    resumed.load(first.state())
    assert same(parameters(finish(resumed)), parameters(straight))


def train_in(folder, initial=None):
    cold = make_trainer(FAST).model
    trainer = trainer_of(cold.config, cold.sample, initial=initial)
    return train_worker(trainer, folder, checkpoint_seconds=0, checkpoints_kept=2, report=lambda _told: None)


def test_a_worker_starts_from_the_given_parameters_and_a_checkpoint_wins_over_them(tmp_path):
    begun, fresh = (Folder.at(str(tmp_path / name)) for name in ("begun", "fresh"))
    before = warm(FAST, other_parameters())
    for progress in before.run():
        if progress.iteration == 9:
            break
    Checkpoints(begun.sub("checkpoints")).save(before.state())
    other_still = parameters(make_trainer(override(FAST, {"seed": 2})))
    resumed, straight = train_in(begun, other_still), finish(warm(FAST, other_parameters())).state()
    assert same(resumed.tensors, straight.tensors)
    assert resumed.meta["components"] == straight.meta["components"]
    assert same(train_in(fresh, other_parameters()).tensors, straight.tensors)
    assert not same(train_in(Folder.at(str(tmp_path / "other")), other_still).tensors, straight.tensors)  # control


@pytest.mark.parametrize("missing", ["network/encoder/", "network/critic/last.bias", "network/"])
def test_missing_parameters_are_an_error(missing):
    initial = {name: value for name, value in other_parameters().items() if not name.startswith(missing)}
    with pytest.raises(ValueError, match=rf"differ, {missing}.*shape none"):
        warm(FAST, initial)


def test_unknown_and_misshapen_parameters_are_an_error():
    with pytest.raises(
        ValueError, match=r"1 differ, network/decoder/bias for one \(shape \(2,\), of the networks none"
    ):
        warm(FAST, {**other_parameters(), "network/decoder/bias": torch.zeros(2)})
    wider = other_parameters(override(FAST, {"networks.width": 8}))
    with pytest.raises(ValueError, match="differ, network/critic/hidden"):
        warm(FAST, wider)
