"""The models that estimate a dimension beside the LWGAN: three of five latents on a linear space of dimension 3."""

import numpy as np
import pytest
import torch
from tiny import MODELS, make_trainer

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.fitted import FittedModel
from lwgan_dist.models.one_size.latent_map import LatentMap
from lwgan_dist.results import RankScore
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

QUICK = {"latent_dim": 5, "iterations": 900, "batch_size": 64, "learning_rate": 3e-3, "evaluations": 4}
"""Some six seconds. With narrower networks, or less of it, a third direction is not learned in time."""


def rows(seed):
    """400 rows of three dimensions of unequal spread in ten columns."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(400, 3)) * [2.0, 1.4, 1.0]) @ np.linalg.qr(rng.normal(size=(10, 3)))[0].T


@pytest.mark.parametrize(("name", "seed"), [("ard_vae", 0), ("nested_dropout", 1)])
def test_three_of_five_latents_on_a_linear_space_of_three_dimensions(name, seed, tmp_path, blank_figures):
    x = rows(seed)
    model = {"name": name, **QUICK}
    config = {"data": {"source": "array"}, "model": model, "precision": "float32", "seed": seed}
    run, folder = Run(RunConfig.model_validate(config), x), Folder.at(str(tmp_path))
    result = run.train(folder, ExecutionConfig(workers=0))
    assert result.dimension == 3
    assert result.rule == "explained"
    fitted = FittedModel.load(folder.sub("model"))
    codes = fitted.encode(x)
    assert codes.shape == (400, 3)
    error = np.linalg.norm(fitted.decode(codes) - x, axis=1).mean()
    assert error < 0.12 * np.linalg.norm(x, axis=1).mean()
    np.testing.assert_allclose(codes, fitted.encode(x, 5)[:, :3], rtol=1e-4, atol=1e-5)
    assert np.square(codes).mean(axis=0) == pytest.approx(np.ones(3), abs=0.15), "in units of the latent distribution"


@pytest.mark.parametrize(("name", "scores", "dimension"), [
    ("ard_vae", [0.4, 0.009, 0.0], 2), ("ard_vae", [0.4, 0.011, 0.0], 3), ("ard_vae", [0.002, 0.001, 0.0], 1),
    ("nested_dropout", [0.4, 0.009, 0.008], 2), ("nested_dropout", [0.4, 0.3, 0.2], 3),
])  # fmt: skip
def test_the_dimension_is_the_least_that_explains_99_percent(name, scores, dimension):
    trainer = make_trainer(MODELS[name])
    rank_scores = [RankScore(rank=i + 1, score=score, se=0.0) for i, score in enumerate(scores)]
    assert trainer.model.dimension(trainer.model.model, rank_scores) == dimension


def test_the_relevance_of_an_axis_is_its_variance_times_the_square_of_its_column_in_the_jacobian():
    model = make_trainer(MODELS["ard_vae"]).model
    w = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.5, 0.0]], dtype=torch.float64)
    model.networks.named()["generator"] = torch.nn.Linear(2, 3, dtype=torch.float64)
    model.networks["generator"].weight.data = w.T
    with torch.no_grad():
        relevances = model._relevances(model.some_rows(np.random.default_rng(0), 50), torch.tensor([0.1, 4.0]))
    assert relevances.tolist() == pytest.approx([2.5, 1.0])


def test_the_prior_of_a_relevant_vae_is_the_spread_of_its_codes():
    model = make_trainer(MODELS["ard_vae"]).model
    model.prepare(model.stages[0], 0)
    x = model.some_rows(np.random.default_rng(0), 10_000)
    with torch.no_grad():
        mean, log_variance = model.networks.moments(x)
    torch.testing.assert_close(model.networks.prior, (mean.square() + log_variance.exp()).mean(0), rtol=0.3, atol=0.0)
    before = model.networks.prior.clone()
    model.prepare(model.stages[0], 1)
    assert torch.equal(model.networks.prior, before)


def test_ranks_are_cut_off_by_a_geometric_distribution():
    trainer = make_trainer(override(MODELS["nested_dropout"], {"model.latent_dim": 3, "model.drop": 0.5}))
    rng = np.random.default_rng(0)
    ranks = np.concatenate([trainer.model.noise(rng)[0] for _ in range(1_000)])
    assert np.bincount(ranks, minlength=4)[1:] / len(ranks) == pytest.approx(np.array([4, 2, 1]) / 7, abs=0.01)


def test_a_latent_map_orders_axes_keeps_what_is_cut_off_and_is_undone():
    latent_map = LatentMap(3).double()
    codes = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)))
    torch.testing.assert_close(latent_map.to_axes(codes, 3), codes)
    factor = torch.tensor([[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.5, 0.5, 0.1]]).double()
    latent_map.set(torch.tensor([1.0, 2.0, 3.0]), factor, torch.tensor([2, 0, 1]))
    axes = latent_map.to_axes(codes, 3)
    torch.testing.assert_close(axes[:, 2], 1.0 + 2.0 * codes[:, 0])
    torch.testing.assert_close(axes[:, 0], 2.0 + codes[:, 0] + 3.0 * codes[:, 1])
    torch.testing.assert_close(latent_map.to_codes(axes), codes)
    cut = codes * torch.tensor([1.0, 1.0, 0.0])
    torch.testing.assert_close(latent_map.to_axes(cut, 2)[:, :1], axes[:, :1])
    assert (latent_map.to_axes(cut, 2)[:, 1] == 0).all()
    origin = torch.zeros(1, 3, dtype=torch.float64)
    assert latent_map.to_axes(origin, 3).tolist() == [[2.0, 3.0, 1.0]], "0 is a code like any other"
