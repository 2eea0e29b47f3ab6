"""Inception with weights that the user supplies. The library is a stand-in here: its network has 24 million weights."""

import sys
import types

import numpy as np
import pytest
import torch
from tiny import WAE

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.errors import ConfigError
from lwgan_dist.metrics import inception as module
from lwgan_dist.metrics.heldout import metrics_by_rank
from lwgan_dist.metrics.inception import inception
from lwgan_dist.metrics.registry import INCEPTION_WEIGHTS, METRICS
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

NAME = "torch_fidelity.feature_extractor_inceptionv3"


class Extractor:
    """As torch-fidelity's: reads a file, takes bytes of three channels, returns what was named."""

    def __init__(self, name, features, path):
        assert features == ["2048", "logits_unbiased"]
        self.scale = torch.load(path)["scale"]

    def __call__(self, images):
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        means = images.float().mean(dim=(2, 3))
        return self.scale * means, means[:, :2]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    library = types.ModuleType(NAME)
    library.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, NAME, library)
    torch.save({"scale": torch.tensor(2.0)}, tmp_path / "weights.pth")
    monkeypatch.setenv(INCEPTION_WEIGHTS, str(tmp_path / "weights.pth"))
    module._network.cache_clear()
    return tmp_path / "weights.pth"


def test_images_are_bytes_of_three_channels(weights):
    colours = np.random.default_rng(0).uniform(size=(40, 3, 5, 6))
    features, scores = inception()(colours)
    assert features == pytest.approx(2 * np.rint(255 * colours).mean(axis=(2, 3)), rel=1e-5)
    assert scores.shape == (40, 2)
    grey = inception()(colours[:, :1])[0]
    assert np.array_equal(grey, inception()(colours[:, 0])[0])
    assert grey[:, 0] == pytest.approx(grey[:, 2])


def test_with_weights_the_metrics_apply_to_images(weights):
    assert METRICS["fid"].obstacle(False, (3, 8, 8)) is None
    assert "needs images" in METRICS["fid"].obstacle(False, (64,))


def test_a_run_that_names_neither_does_not_read_the_weights(weights, tmp_path):
    weights.unlink()
    run = Run(RunConfig.model_validate(override(WAE, {"model.iterations": 2})))
    assert "reconstruction" in run.train(Folder.at(str(tmp_path / "run")), ExecutionConfig(workers=0)).metrics


def test_a_worker_without_the_weights_does_not_leave_a_named_metric_out(monkeypatch, tmp_path):
    monkeypatch.delenv(INCEPTION_WEIGHTS, raising=False)
    told = override(WAE, {"data": {"source": "array"}, "model.iterations": 2})
    run = Run(RunConfig.model_validate(told), np.random.default_rng(0).uniform(size=(80, 9, 9)))
    model = run.fit(Folder.at(str(tmp_path / "run")), ExecutionConfig(workers=0)).model
    with pytest.raises(ConfigError, match="need the weights of the network, on every node: LWGAN_DIST_INCEPTION"):
        metrics_by_rank(model, run.sample, names=["fid"], ranks=[1])
    assert "fid" not in run.metrics


def test_a_file_that_is_not_the_weights_is_refused(weights):
    weights.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"LWGAN_DIST_INCEPTION_WEIGHTS=.*weights\.pth: not the weights of Inception"):
        inception()


def test_without_the_library_the_extra_is_named(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, NAME, None)
    with pytest.raises(ConfigError, match=r"pip install 'lwgan-dist\[inception\]'"):
        inception()
