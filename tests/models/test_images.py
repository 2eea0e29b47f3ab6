"""Rows of more than one axis go from the file through every model to what a run leaves, and keep their shape."""

import numpy as np
import pytest
import torch
from tiny import MODELS, dots, make_trainer

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.data import blocks
from lwgan_dist.data.importing import Images, write_dataset
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.fitted import FittedModel
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

pytestmark = pytest.mark.usefixtures("blank_figures")

SIDE = 8
HERE = ExecutionConfig(workers=0)
LONGER = {
    "lwgan": {"schedule.embedding_iterations": 250, "schedule.matching_iterations": 100},
    "cyclegan": {"model.iterations": 1_000, "model.learning_rate": 1e-3, "model.width": 16},
}
ONE_SIZE = {"model.iterations": 400}


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
    told = on(path, name, family, **LONGER.get(name, ONE_SIZE))
    run, folder = Run(RunConfig.model_validate(told)), Folder.at(str(tmp_path / "run"))
    result = run.train(folder, HERE)
    model = FittedModel.load(folder.sub("model"))
    assert any(parameter.dim() == 4 for parameter in model.networks.generator.parameters()) == (family == "auto")
    assert (result.shape, result.ambient_dim) == ((1, SIDE, SIDE), SIDE * SIDE)
    assert model.shape == (1, SIDE, SIDE)
    assert model.generate(7).shape == (7, 1, SIDE, SIDE)
    assert model.at_tear(dots()).shape == (200,)
    assert all(np.isfinite(value) for value in result.metrics.values())
    if model.encodes:
        codes = model.encode(dots(), model.latent_dim)
        assert codes.shape == (200, model.latent_dim)
        error = np.square(model.decode(codes) - dots()).mean()
        assert error < 0.7 * np.square(dots() - dots().mean(axis=0)).mean()


def test_a_dataset_in_a_mapped_file_is_learned_bit_by_bit_and_resumed(path, monkeypatch, tmp_path):
    """As the array is in memory; a run that is broken off goes on to the same end."""
    write_dataset(Images(dots(), None), "dots", str(tmp_path / "dataset"), lambda _: b"")
    states = []
    for file in (path, tmp_path / "dataset"):
        monkeypatch.setattr(blocks, "SPILLED_BYTES", 1 if file.is_dir() else 1 << 28)
        trainer = make_trainer(on(file, "lwgan", "mlp"))
        for progress in trainer.run():
            if file.is_dir() and progress.iteration >= 12 and len(states) == 1:
                states.append(trainer.state())
        states.append(trainer.state())
    resumed = make_trainer(on(tmp_path / "dataset", "lwgan", "mlp"))
    resumed.load(states[1])
    for _ in resumed.run():
        pass
    for state in (states[2], resumed.state()):
        assert state.meta["losses"] == states[0].meta["losses"]
        assert all(torch.equal(value, state.tensors[key]) for key, value in states[0].tensors.items())


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


def test_a_run_on_pixels_says_which_share_of_the_scale_the_resolution_is(path, tmp_path):
    told = override(MODELS["lwgan"], {"data": {"source": "table", "path": str(path), "standardize": "pixels"}})
    run = Run(RunConfig.model_validate(told))
    result = run.train(Folder.at(str(tmp_path / "run")), HERE)
    grey = Standardizer.fit(run.sample.standardizer.undo(run.sample.train), "global").scale.flat[0]
    share = 0.08 / (0.998 * grey / 255)
    assert any(f"score.resolution 0.08 is {share:.2g} of it" in note for note in result.notes)
    generated = FittedModel.load(Folder.at(str(tmp_path / "run")).sub("model")).generate(5)
    assert -0.3 < generated.min() < generated.max() < 255.3  # in grey levels
