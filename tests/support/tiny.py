"""Runs small enough for tests: seconds, not minutes. Every stage of both schedules occurs in them."""

from pathlib import Path

import numpy as np
import torch

from lwgan_dist.config import NetworksConfig, RunConfig, override
from lwgan_dist.data.sample import load_sample
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.networks.registry import build_networks
from lwgan_dist.training.distributed import World
from lwgan_dist.training.trainer import Trainer, TrainingState

_SHARED = {
    "data": {"source": "manifold", "name": "s_curve", "n": 200},
    "networks": {"latent_dim": 3, "width": 4},
    "score": {"evaluations": 2},
    "precision": "float64",
}
PAPER = override(
    _SHARED,
    {
        "schedule.name": "paper",
        "schedule.iterations": 18,
        "schedule.batch_size": 30,
        "schedule.critic_updates": 2,
        "schedule.encoder_generator_updates": 2,
        "schedule.burst_updates": 3,
        "schedule.burst_first": 2,
        "schedule.burst_every": 5,
    },
)
FAST = override(
    _SHARED,
    {
        "schedule.name": "fast",
        "schedule.batch_size": 30,
        "schedule.embedding_iterations": 6,
        "schedule.embedding_rounds": 1,
        "schedule.matching_iterations": 5,
        "schedule.critic_iterations": 40,
        "schedule.joint_iterations": 5,
        "schedule.joint_critic_updates": 3,
        "schedule.scoring_interval": 2,
    },
)
CONFIGS = {"paper": PAPER, "fast": FAST}
WAE = {
    "data": _SHARED["data"],
    "model": {"name": "wae", "latent_dim": 2, "width": 4, "iterations": 36, "batch_size": 30, "evaluations": 4},
    "precision": "float64",
}


def _like_wae(name: str, **fields: object) -> dict:
    return {**WAE, "model": {**WAE["model"], "name": name, **fields}}


MODELS = {
    "lwgan": FAST,
    "wae": WAE,
    "vae": _like_wae("vae"),
    "ard_vae": _like_wae("ard_vae", prior_interval=10),
    "nested_dropout": _like_wae("nested_dropout"),
    "gan": _like_wae("gan"),
    "wgan_gp": _like_wae("wgan_gp", critic_updates=2),
    "cyclegan": _like_wae("cyclegan"),
}
"""A run of every model that is registered."""


def dots(n: int = 200, side: int = 8) -> np.ndarray:
    """Images of blurred dots at random places, shape (n, 1, side, side), of two dimensions."""
    rng, pixels = np.random.default_rng(0), np.arange(float(side))
    along = np.exp(-np.square(pixels - rng.uniform(2.0, side - 3.0, (n, 2, 1))) / 4)
    return (255 * along[:, 0, :, None] * along[:, 1, None, :]).astype(np.uint8)[:, None]


def on_images(folder: Path) -> dict:
    """The LWGAN on images in a file, with convolutional networks."""
    np.save(folder / "dots.npy", dots())
    return override(FAST, {"data": {"source": "table", "path": str(folder / "dots.npy")}})


def make_trainer(told: dict, world: World | None = None) -> Trainer:
    """A trainer as a run would make it."""
    config = RunConfig.model_validate(told)
    sample = load_sample(config.data)
    rows = None if sample.stream else len(sample.train)
    return trainer_of(
        config.resolved(train_rows=rows, ambient_dim=sample.ambient_dim, shape=sample.shape), sample, world
    )


def mlp_networks(shape, latent_dim, width, activation, seed=0, precision="float32", linear_path=False):
    """Perceptrons of these sizes, for rows of so many columns or of a shape."""
    settings = NetworksConfig(
        name="mlp", latent_dim=latent_dim, width=width, encoder_activation=activation, linear_path=linear_path
    )
    return build_networks(shape if isinstance(shape, tuple) else (shape,), settings, seed, precision)


def trajectory(trainer: Trainer, iterations: int = 40) -> dict:
    """Recorded losses, score components and the mean of every parameter after some iterations, as plain lists.

    40 iterations reach the first evaluation of the score in both."""
    for progress in trainer.run():
        if progress.iteration >= iterations:
            break
    parameters = trainer.state().tensors
    return {
        "losses": trainer.losses,
        "components": trainer.components,
        "parameters": {name: t.double().mean().item() for name, t in sorted(parameters.items()) if "network/" in name},
    }


def resumed_anywhere(told: dict, apart: int = 4) -> None:
    """Whatever state a run is stopped in, going on from it gives the next state that it had, bit for bit: however often
    it is stopped, it ends alike. From every fourth state it goes on to the end without another stop, as what a trainer
    keeps beside its state may count only later.
    """
    straight = make_trainer(told)
    states = [straight.state()] + [straight.state() for _ in straight.run()]
    for place, state in enumerate(states[:-1]):
        resumed = make_trainer(told)
        resumed.load(state)
        iterations = resumed.run()
        next(iterations)
        _equal(resumed.state(), states[place + 1])
        if place % apart == 0:
            for _ in iterations:
                pass
            _equal(resumed.state(), states[-1])


def _equal(one: TrainingState, other: TrainingState) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    assert one.meta | {"seconds": None} == other.meta | {"seconds": None}


NULL_DIRECTIONS = (
    "network/critic/last.bias", "network/critic/last.code_weight",
    "network/critic/linear.1.bias", "network/critic/linear.1.code_weight",
)  # fmt: skip
"""Parameters that no loss depends on when a batch has one rank: the critic enters as a difference. Their gradient is
rounding noise, which Adam scales up, so they say nothing about what was computed."""


def whole_parameters(trainer: Trainer) -> list[float]:
    """Every number of every parameter, but for `NULL_DIRECTIONS`."""
    named = sorted(trainer.parameters().items())
    return [value for name, tensor in named if name not in NULL_DIRECTIONS for value in tensor.flatten().tolist()]
