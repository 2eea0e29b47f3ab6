import numpy as np
import pytest
import torch
from tiny import CONFIGS, FAST, PAPER, make_trainer, mlp_networks

from lwgan_dist.config import override
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.method.objective import gradient_penalties
from lwgan_dist.models.lwgan.stages import cosine, milestones, ramped, switched_on


def finish(trainer):
    for _ in trainer.run():
        pass
    return trainer


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_every_schedule_evaluates_the_score_as_often_as_asked(name, monkeypatch):
    monkeypatch.setattr("lwgan_dist.models.lwgan.stages.SCORE_INTERVAL", 2)
    told = override(CONFIGS[name], {"score.evaluations": 3})
    if name == "paper":
        told = override(told, {"schedule.critic_updates": 1, "schedule.iterations": 1})
    trainer = finish(make_trainer(told))
    assert {split: len(tables) for split, tables in trainer.components.items()} == {"train": 3, "holdout": 3}
    assert len(trainer.components["train"][0]) == 3  # ranks


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    first, again = finish(make_trainer(FAST)), finish(make_trainer(FAST))
    other = finish(make_trainer(override(FAST, {"seed": 1})))
    assert first.components == again.components
    assert first.components != other.components


def test_training_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    finish(make_trainer(FAST))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_a_loss_that_is_not_finite_stops_before_the_step(name):
    trainer = make_trainer(CONFIGS[name])
    with torch.no_grad():
        trainer.model.networks.generator.last.bias[0] = float("nan")
    before = {key: value.clone() for key, value in trainer.state().tensors.items() if "last.bias" not in key}
    with pytest.raises(NonFiniteLossError, match=r"iteration 1 \("):
        finish(trainer)
    after = trainer.state().tensors
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_an_infinite_loss_of_finite_gradient_stops_too():
    """The norm of a row of 3e19 overflows float32 to infinity, and its gradient is 0."""
    trainer = make_trainer(override(PAPER, {"precision": "float32", "data.standardize": "none"}))
    sample = trainer.model.sample
    object.__setattr__(sample, "train", np.full((len(sample.train), *sample.shape), 3e19))
    with pytest.raises(NonFiniteLossError, match="loss is not finite: inf"):
        finish(trainer)


def test_coordinates_that_cannot_be_computed_end_the_run_on_every_worker(monkeypatch):
    def fails(*_, **__):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    monkeypatch.setattr("lwgan_dist.models.lwgan.model.geodesic_start", fails)
    with pytest.raises(NonFiniteLossError, match="geodesic coordinates"):
        finish(make_trainer(FAST))


def test_bfloat16_gradients_of_the_penalty_are_those_of_float32_rounded():
    """Weights of every layer get one; 8 bits of mantissa through four layers leave a few per cent."""
    gradients = {}
    for precision in ("float32", "bfloat16"):
        critic = mlp_networks(3, 4, 16, "silu", seed=3, precision=precision).critic
        x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        gradient_penalties(critic.input_gradient(x, torch.tensor(2))).mean().backward()
        gradients[precision] = [layer.weight.grad for layer in [*critic.hidden, critic.last]]
    for ours, reference in zip(gradients["bfloat16"], gradients["float32"], strict=True):
        assert reference.abs().max() > 0
        assert (ours - reference).norm() < 0.05 * reference.norm()


def test_the_two_batches_of_an_evaluation_share_no_row():
    trainer = make_trainer(override(FAST, {"score.batch_size": 180}))
    for split, rows in (("train", 90), ("holdout", 10)):
        (first, second), _, _ = trainer.model.batches.score(trainer.stages[-1], 0, 180, split, (0, 2))
        assert len(first) == len(second) == rows
        assert len(torch.unique(torch.cat([first, second]), dim=0)) == 2 * rows


def test_a_large_learning_rate_diverges_into_a_clear_error():
    told = override(FAST, {"schedule.embedding_learning_rate": 1e30, "precision": "float32"})
    with pytest.raises(NonFiniteLossError, match="not finite"):
        finish(make_trainer(told))


def test_bfloat16_stays_near_float32():
    told = override(FAST, {"networks.width": 16, "precision": "float32"})
    losses = {}
    for precision in ("float32", "bfloat16"):
        trainer = finish(make_trainer(override(told, {"precision": precision})))
        assert next(trainer.model.networks.encoder.parameters()).dtype == torch.float32
        losses[precision] = trainer.losses[5]["encoder_generator/reconstruction"]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)  # 8 bits of mantissa, six steps


def test_mixed_batches_hold_every_rank_in_proportion():
    trainer = make_trainer(override(FAST, {"schedule.batch_size": 120, "schedule.rank_share_exponent": 1.0}))
    stage = trainer.stages[0]
    ranks, parts = trainer.model.batches.ranks(stage, 0)
    sizes = [part.stop - part.start for _, part in parts]
    assert sum(sizes) == len(ranks) == 120
    assert sizes == [(ranks == rank).sum().item() for rank, _ in parts]
    assert sizes[0] > sizes[1] > sizes[2] >= 2


def test_one_rank_an_iteration_is_drawn_uniformly():
    trainer = make_trainer(PAPER)
    drawn = [trainer.model.batches.ranks(trainer.stages[0], iteration)[0].item() for iteration in range(3000)]
    for rank in (1, 2, 3):
        assert drawn.count(rank) == pytest.approx(1000, abs=130)  # five standard deviations


def test_paper_bursts_and_switches_as_specified():
    told = {
        "data": {"source": "manifold", "name": "s_curve", "rows": "stream"},
        "networks": {"latent_dim": 5},
        "schedule": {"name": "paper"},
    }
    training, scoring = make_trainer(told).stages
    assert [training.critic_updates_at(i) for i in (0, 99, 100, 101, 199, 200)] == [100, 100, 100, 20, 20, 100]
    assert [training.mmd_weight(i / 10_000) for i in (0, 4999, 5000, 9999)] == [0, 0, 1, 1]
    rates = [training.critic.learning_rate(i / 10_000) for i in (0, 7999, 8000, 8500, 9000, 9500)]
    assert rates == pytest.approx([2e-4, 2e-4, 1.8e-4, 1.62e-4, 1.458e-4, 1.3122e-4])
    assert (training.critic.beta1, training.critic.beta2) == (0.5, 0.999)
    assert scoring.iterations == 1000
    assert [i for i in range(1000) if scoring.evaluates_at(i)] == list(range(19, 1000, 20))
    assert scoring.critic_updates_at(0) == 20


def test_curves_have_their_end_values():
    assert cosine(1.0, 0.1)(0.0) == pytest.approx(1.0)
    assert cosine(1.0, 0.1)(1.0) == pytest.approx(0.1)
    assert milestones(1.0, 0.5, [0.5, 0.9])(0.9) == 0.25
    assert switched_on(3.0, 0.5)(0.49) == 0.0
    assert 0 < ramped(2.0, 0.5)(0.0) < 0.01
    assert ramped(2.0, 0.5)(0.7) == 2.0
