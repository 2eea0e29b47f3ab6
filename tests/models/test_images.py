"""Rows of more than one axis go from the file through every model to what a run leaves, and keep their shape."""

import numpy as np
import pytest
import torch
from tiny import MODELS, make_trainer
from torch import nn

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.fitted import FittedModel
from lwgan_dist.method.latent import mask_to_rank, one_hot_code
from lwgan_dist.method.objective import input_gradient
from lwgan_dist.networks.base import Critic, Encoder, Generator
from lwgan_dist.networks.registry import FAMILIES
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

SIDE = 8
HERE = ExecutionConfig(workers=0, checkpoint_seconds=0)
LONGER = {
    "lwgan": {"schedule.embedding_iterations": 250, "schedule.matching_iterations": 100},
}
ONE_SIZE = {"model.iterations": 400}


def dots(n=200):
    """Blurred dots at random places, shape (n, 1, SIDE, SIDE)."""
    rng, pixels = np.random.default_rng(0), np.arange(float(SIDE))
    along = np.exp(-np.square(pixels - rng.uniform(2.0, SIDE - 3.0, (n, 2, 1))) / 4)
    return (255 * along[:, 0, :, None] * along[:, 1, None, :]).astype(np.uint8)[:, None]


class _Convolutional:
    """Convolutions of stride 2, to and from four channels; what the tests need of a second family."""

    def autocast(self, on):
        pass

    def inner(self, rng):
        torch.manual_seed(int(torch.randint(2**31, (), generator=rng)))
        self.low = nn.Conv2d(1, 4, 4, stride=2, padding=1)
        return 4 * (SIDE // 2) ** 2


class ConvolutionalEncoder(_Convolutional, Encoder):
    def __init__(self, latent_dim, rng):
        super().__init__()
        self.latent_dim = latent_dim
        self.last = nn.Linear(self.inner(rng) + latent_dim, latent_dim)

    def forward(self, x, ranks):
        code = one_hot_code(ranks, self.latent_dim, x.dtype).expand(len(x), -1)
        features = nn.functional.silu(self.low(x)).flatten(1)
        return mask_to_rank(self.last(torch.cat([features, code], dim=1)), ranks)


class ConvolutionalGenerator(_Convolutional, Generator):
    def __init__(self, latent_dim, rng):
        super().__init__()
        self.first = nn.Linear(latent_dim, self.inner(rng))
        self.low = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

    def forward(self, z):
        return self.low(nn.functional.silu(self.first(z)).unflatten(1, (4, SIDE // 2, SIDE // 2)))


class ConvolutionalCritic(_Convolutional, Critic):
    def __init__(self, latent_dim, rng):
        super().__init__()
        self.latent_dim = latent_dim
        self.last = nn.Linear(self.inner(rng) + latent_dim, 1)

    def forward(self, x, ranks):
        code = one_hot_code(ranks, self.latent_dim, x.dtype).expand(len(x), -1)
        return self.last(torch.cat([nn.functional.silu(self.low(x)).flatten(1), code], dim=1)).squeeze(1)

    def input_gradient(self, x, ranks):
        return input_gradient(lambda x: self(x, ranks), x)


class Convolutional:
    """The family."""

    def encoder(self, shape, settings, rng):
        assert shape == (1, SIDE, SIDE)
        return ConvolutionalEncoder(settings.latent_dim, rng)

    def generator(self, shape, settings, rng):
        return ConvolutionalGenerator(settings.latent_dim, rng)

    def critic(self, shape, settings, rng):
        return ConvolutionalCritic(settings.latent_dim, rng)


def on(path, name, **changes):
    return override(MODELS[name], {"data": {"source": "table", "path": str(path)}, **changes})


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "dots.npy", dots())
    return tmp_path / "dots.npy"


@pytest.mark.parametrize("name", MODELS)
def test_images_are_learned_bit_by_bit_as_the_table_of_their_pixels(path, name):
    """Every draw, start, loss and evaluation is the same: perceptrons see an image as a vector."""
    np.save(path.with_name("table.npy"), dots().reshape(200, -1).astype(np.float64))
    states = []
    for file in (path, path.with_name("table.npy")):
        trainer = make_trainer(on(file, name))
        for _ in trainer.run():
            pass
        states.append(trainer.state())
    image, table = states
    assert image.meta["components"] == table.meta["components"]
    assert image.meta["losses"] == table.meta["losses"]
    assert image.tensors.keys() == table.tensors.keys()
    assert all(torch.equal(value, table.tensors[key]) for key, value in image.tensors.items())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("family", ["mlp", "convolutional"])
def test_a_run_on_images_leaves_a_model_of_images(path, name, family, monkeypatch, tmp_path):
    if family == "convolutional":
        monkeypatch.setitem(FAMILIES, "mlp", Convolutional())
    run, folder = (
        Run(RunConfig.model_validate(on(path, name, **LONGER.get(name, ONE_SIZE)))),
        Folder.at(str(tmp_path / "run")),
    )
    with torch.random.fork_rng():
        result = run.train(folder, HERE)
        model = FittedModel.load(folder.sub("model"))
    assert (result.shape, result.ambient_dim) == ((1, SIDE, SIDE), SIDE * SIDE)
    assert model.shape == (1, SIDE, SIDE)
    codes = model.encode(dots(), model.latent_dim)
    assert codes.shape == (200, model.latent_dim)
    assert model.generate(7).shape == (7, 1, SIDE, SIDE)
    assert model.at_tear(dots()).shape == (200,)
    error = np.square(model.decode(codes) - dots()).mean()
    assert error < 0.7 * np.square(dots() - dots().mean(axis=0)).mean()
    assert all(np.isfinite(value) for value in result.metrics.values())


def test_images_that_fall_apart_have_parts(tmp_path):
    """Dots, and their negatives."""
    images = np.concatenate([dots(120), 255 - dots(120)])
    run = Run(RunConfig.model_validate(override(MODELS["lwgan"], {"data": {"source": "array"}})), images)
    result = run.train(Folder.at(str(tmp_path)), HERE)
    assert len(result.parts) == 2
    assert all(part.dimension in (1, 2, 3) for part in result.parts)
