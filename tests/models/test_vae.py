"""The variational auto-encoder: the terms of its bound against closed forms, and the bound against the evidence."""

import math

import numpy as np
import pytest
import torch
from tiny import MODELS, make_trainer
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from lwgan_dist.config import override
from lwgan_dist.models.vae.gaussian import kl_divergences, negative_log_likelihood, sample_codes

RNG = np.random.default_rng(0)


def normal(*shape):
    return torch.from_numpy(RNG.normal(size=shape))


def test_the_kl_divergence_is_that_of_normal_distributions():
    mean, log_variance, prior = normal(50, 3), normal(50, 3), normal(3).exp()
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros(3), prior.sqrt()))
    torch.testing.assert_close(kl_divergences(mean, log_variance, prior), expected)
    assert float(kl_divergences(torch.zeros(1, 1), torch.zeros(1, 1))) == 0.0
    closed = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
    torch.testing.assert_close(kl_divergences(mean, log_variance), closed)


def test_the_likelihood_is_that_of_a_normal_distribution():
    x, y, variance = normal(50, 4), normal(50, 4), 0.3
    expected = -Normal(y, math.sqrt(variance)).log_prob(x).sum(1)
    torch.testing.assert_close(negative_log_likelihood((x - y).square().sum(1), 4, variance), expected)


def test_draws_have_the_mean_and_the_variance():
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]])
    codes = sample_codes(mean, log_variance, normal(200_000, 2).float())
    assert codes.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=0.03)
    assert codes.var(0).tolist() == pytest.approx([1.0, math.exp(2.0)], rel=0.02)


def linear_gaussian():
    """X = W z + 0.3 e with orthogonal columns of W, so that the coordinates of q(z | x) are independent."""
    w = torch.linalg.qr(normal(5, 2))[0] * torch.tensor([2.0, 0.7], dtype=torch.float64)
    x = normal(200, 2) @ w.T + 0.3 * normal(200, 5)
    evidence = MultivariateNormal(torch.zeros(5).double(), w @ w.T + 0.09 * torch.eye(5).double()).log_prob(x)
    return w, x, evidence


def bound(w, x, mean, log_variance):
    """The evidence lower bound, with E_q ||x - W z||^2 = ||x - W m||^2 + tr(W S W')."""
    error = (x - mean @ w.T).square().sum(1) + log_variance.exp() @ w.square().sum(0)
    return -negative_log_likelihood(error, x.shape[1], 0.09) - kl_divergences(mean, log_variance).sum(1)


def test_the_bound_is_the_evidence_at_the_true_posterior_and_below_it_elsewhere():
    w, x, evidence = linear_gaussian()
    variance = 0.09 / (w.square().sum(0) + 0.09)
    mean, log_variance = x @ w / 0.09 * variance, variance.log().expand(200, 2)
    torch.testing.assert_close(bound(w, x, mean, log_variance), evidence)
    assert (bound(w, x, mean + 0.1, log_variance) < evidence).all()
    assert (bound(w, x, mean, log_variance + 0.5) < evidence).all()


@pytest.mark.parametrize("noise", [None, 0.4])
def test_a_batch_is_weighed_with_the_noise_that_makes_it_most_likely_or_with_the_given_one(noise):
    trainer = make_trainer(override(MODELS["vae"], {"model.noise": noise, "model.warm_up": 0.0}))
    model = trainer.model
    phase, (x, draws) = next(model.steps(model.stages[0], 0))
    with torch.no_grad():
        mean, log_variance = model.networks.moments(x)
        y = model.networks["generator"](sample_codes(mean, log_variance, draws))
    variance = (x - y).square().mean() if noise is None else torch.tensor(noise**2)
    expected = -Normal(y, variance.sqrt().double()).log_prob(x).sum(1).mean()
    model.prepare(model.stages[0], 0)
    terms = phase.step(x, draws)
    torch.testing.assert_close(terms["negative_log_likelihood"], expected)
    torch.testing.assert_close(terms["kl"], kl_divergences(mean, log_variance).sum(1).mean())


def test_the_divergence_counts_little_at_first_and_wholly_after_the_warm_up():
    model = make_trainer(override(MODELS["vae"], {"model.warm_up": 0.5})).model
    weights = []
    for iteration in (0, 9, 18, 35):
        model.prepare(model.stages[0], iteration)
        weights.append(model._loss.kl_weight)
    assert weights == pytest.approx([0.0, 0.5, 1.0, 1.0], abs=0.01)
