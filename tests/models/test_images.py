"""Rows of more than one axis go from the file through every model to what a run leaves, and keep their shape."""

import numpy as np
import pytest
import torch
from tiny import MODELS, dots, make_trainer

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.fitted import FittedModel
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

SIDE = 8
HERE = ExecutionConfig(workers=0, checkpoint_seconds=0)
LONGER = {
    "lwgan": {"schedule.embedding_iterations": 250, "schedule.matching_iterations": 100},
    "wae": {"model.iterations": 400},
}


def on(path, name, family, **changes):
    """A small run of a model on images in a file, with a family of networks."""
    networks = {"networks.name" if name == "lwgan" else "model.networks": family}
    return override(MODELS[name], {"data": {"source": "table", "path": str(path)}, **networks, **changes})


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
        trainer = make_trainer(on(file, name, "mlp"))
        for _ in trainer.run():
            pass
        states.append(trainer.state())
    image, table = states
    assert image.meta["components"] == table.meta["components"]
    assert image.meta["losses"] == table.meta["losses"]
    assert image.tensors.keys() == table.tensors.keys()
    assert all(torch.equal(value, table.tensors[key]) for key, value in image.tensors.items())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("family", ["mlp", "auto"])
def test_a_run_on_images_leaves_a_model_of_images(path, name, family, tmp_path):
    """By itself, with convolutions."""
    told = on(path, name, family, **LONGER[name])
    run, folder = Run(RunConfig.model_validate(told)), Folder.at(str(tmp_path / "run"))
    result = run.train(folder, HERE)
    model = FittedModel.load(folder.sub("model"))
    assert any(parameter.dim() == 4 for parameter in model.networks.generator.parameters()) == (family == "auto")
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


@pytest.mark.parametrize("name", MODELS)
def test_under_the_scale_of_pixels_what_is_generated_are_pixels(path, name, tmp_path):
    """The generator ends in a sigmoid, also in the model that was saved."""
    run = Run(RunConfig.model_validate(override(on(path, name, "auto"), {"data.standardize": "pixels"})))
    run.train(Folder.at(str(tmp_path / "run")), HERE)
    generated = FittedModel.load(Folder.at(str(tmp_path / "run")).sub("model")).generate(50)
    assert generated.min() > -0.3
    assert generated.max() < 255.3
