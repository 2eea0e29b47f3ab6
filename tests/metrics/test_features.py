"""Spaces of the Frechet distance: what the network, random features and principal components see."""

import numpy as np
import pytest

from lwgan_dist.errors import RunFailedError
from lwgan_dist.metrics import features
from lwgan_dist.metrics.features import grey, network_features, principal_components, random_features


def rows(n, p, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p))


def test_images_of_the_size_of_the_network_stay_as_they_are():
    images = rows(3, 28 * 28).reshape(3, 28, 28)
    assert np.allclose(grey(images), images)
    assert np.allclose(grey(np.stack([images - 1, images, images + 1], axis=1)), images), "the mean of the channels"


def test_other_sizes_are_averaged_by_area():
    images = rows(2, 56 * 84).reshape(2, 56, 84)
    assert np.allclose(grey(images), images.reshape(2, 28, 2, 28, 3).mean(axis=(2, 4)))
    small = rows(2, 7 * 14).reshape(2, 7, 14)
    assert np.allclose(grey(small), small.repeat(4, axis=1).repeat(2, axis=2))
    odd = rows(2, 41 * 33).reshape(2, 41, 33)
    assert np.allclose(grey(odd).mean(axis=(1, 2)), odd.mean(axis=(1, 2))), "the mean stays"


def test_the_network_is_that_of_pytorch():
    import torch
    from safetensors.torch import load

    weights, functional = load(features.WEIGHTS.read_bytes()), torch.nn.functional
    images = np.random.default_rng(0).uniform(size=(150, 28, 28))
    x = torch.from_numpy(images).float().unsqueeze(1)
    for name in ("conv1", "conv2", "conv3"):
        x = functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
        x = functional.max_pool2d(functional.relu(x), 2)
    x = functional.relu(functional.linear(x.flatten(1), weights["features.weight"], weights["features.bias"]))
    assert network_features(images).shape == (150, 64)
    assert np.allclose(network_features(images), x.numpy(), atol=1e-4)
    assert x.numpy().std() > 0.1


def test_damaged_weights_are_not_used(tmp_path, monkeypatch):
    (tmp_path / "features.safetensors").write_bytes(features.WEIGHTS.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(features, "WEIGHTS", tmp_path / "features.safetensors")
    features._weights.cache_clear()
    with pytest.raises(RunFailedError, match=r"features\.safetensors: is damaged"):
        network_features(np.zeros((1, 28, 28)))


def test_random_features_have_the_kernel_of_the_total_variance(monkeypatch):
    x, y = rows(20, 3), rows(20, 3, 1)
    assert np.array_equal(random_features(x, y), random_features(x, y))
    monkeypatch.setattr(features, "RANDOM_FEATURES", 100_000)
    products = random_features(x, y) @ random_features(x, y).T
    squares = np.square(x[:, None] - x[None]).sum(axis=2)
    assert np.allclose(products, np.exp(-squares / (2 * y.var(axis=0).sum())), atol=0.02)


@pytest.mark.parametrize(("n", "p"), [(80, 60), (30, 100)])
def test_principal_components_are_those_of_a_decomposition(n, p):
    reference, x = rows(n, p) * np.linspace(1, 3, p), rows(7, p, 1)
    mean = reference.mean(axis=0)
    axes = np.linalg.svd(reference - mean, full_matrices=False)[2][: min(50, n - 1)]
    expected, coordinates = (x - mean) @ axes.T, principal_components(x, reference)
    assert coordinates.shape == expected.shape
    assert np.allclose(np.abs(coordinates[:, ::-1]), np.abs(expected), atol=1e-6)


def test_components_without_variance_do_not_count():
    reference = rows(90, 3) @ rows(3, 60, 1)
    assert principal_components(rows(7, 60, 2), reference).shape == (7, 3)
    assert principal_components(rows(7, 60, 2), reference[:30]).shape == (7, 3)
    few = rows(9, 4)
    assert np.array_equal(principal_components(few, rows(20, 4, 1)), few)
