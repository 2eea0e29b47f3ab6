"""Decoded images have the dimension that they claim everywhere: the Jacobian of the decoder says so, pixel by pixel."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from lwgan_dist.config import ManifoldData
from lwgan_dist.data.simulated.decoded_images import MOST_DIMENSIONS, SIDE, decode
from lwgan_dist.data.simulated.manifolds import ManifoldSampler
from lwgan_dist.seeding import generator

DIMENSIONS = range(1, MOST_DIMENSIONS + 1)


def latent(dim, n):
    """Points of the unit ball, half of them on its surface, where the blobs are farthest from home."""
    u = np.random.default_rng(dim).standard_normal((n, dim))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    u[: n // 2] *= np.random.default_rng(dim).uniform(size=(n // 2, 1)) ** (1 / dim)
    return u


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_the_jacobian_has_the_rank_of_the_dimension_and_is_well_conditioned(dim):
    u, step = latent(dim, 60), 1e-5
    columns = [(decode(u + step * e) - decode(u - step * e)).reshape(60, -1) / (2 * step) for e in np.eye(dim)]
    values = np.linalg.svd(np.stack(columns, axis=2), compute_uv=False)
    assert values.shape == (60, dim)
    assert values.min() > 2.5
    assert values.max() < 7.0
    assert (values[:, 0] / values[:, -1]).max() < 2.0


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_images_of_distant_points_are_distant(dim):
    """The map is injective: no two of 300 images are nearer than 1.5 times the distance of their points."""
    u = np.unique(latent(dim, 300), axis=0)
    ratio = pdist(decode(u).reshape(len(u), -1)) / pdist(u)
    assert ratio.min() > 1.5


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_pixels_lie_between_0_and_1_and_every_image_is_light_somewhere(dim):
    images = ManifoldSampler(ManifoldData(name="decoded_images", dim=dim)).draw(generator(0, "test"), 200)
    assert images.shape == (200, SIDE, SIDE)
    assert images.min() >= 0.0
    assert images.max() <= 1.0
    assert images.max(axis=(1, 2)).min() > 0.8


def test_the_decoder_is_the_same_for_every_seed_of_the_sample():
    one, other = (ManifoldSampler(ManifoldData(name="decoded_images", dim=3, seed=seed)) for seed in (0, 1))
    assert np.array_equal(one.draw(generator(0, "test"), 5), other.draw(generator(0, "test"), 5))
