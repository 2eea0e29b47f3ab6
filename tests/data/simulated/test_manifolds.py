"""Every manifold has the dimension that it claims: counted independently, from the local spread of a dense sample."""

import sys

import numpy as np
import pytest

from lwgan_dist.config import ManifoldData
from lwgan_dist.data.blocks import flat
from lwgan_dist.data.simulated.benchmark import DIMENSIONS
from lwgan_dist.data.simulated.manifolds import MANIFOLDS, ManifoldSampler
from lwgan_dist.errors import ConfigError
from lwgan_dist.seeding import generator


def draw(n=1000, **told):
    return ManifoldSampler(ManifoldData(**told)).draw(generator(0, "test"), n)


@pytest.mark.parametrize("name", sorted(set(MANIFOLDS) - set(DIMENSIONS)))
def test_local_principal_components_count_the_dimension(name):
    """Among the 30 nearest of 60,000 points, directions with over 1 % of the variance: 1 in a line, 2 in a surface.

    Of images, of 5,000. A median over 40 places, since a place may lie at an edge or a bend."""
    sampler = ManifoldSampler(ManifoldData(name=name))
    x = flat(sampler.draw(generator(1, "test"), 60_000 if sampler.ambient_dim < 100 else 5_000))
    counts = []
    for centre in x[:40]:
        nearest = x[np.argsort(np.square(x - centre).sum(1))[:30]]
        variance = np.linalg.svd(nearest - nearest.mean(0), compute_uv=False) ** 2
        counts.append((variance > 0.01 * variance.sum()).sum())
    assert np.median(counts) == sampler.intrinsic_dim
    assert x.shape[1] == sampler.ambient_dim


@pytest.mark.parametrize("name", MANIFOLDS)
def test_a_draw_depends_on_its_generator_alone(name):
    assert np.array_equal(draw(name=name, n=20), draw(name=name, n=20))


@pytest.mark.parametrize("name", DIMENSIONS)
def test_the_benchmark_is_that_of_the_library(name):
    """Its truths and columns are those that scikit-dimension states, and the rows those that it draws."""
    truth = pytest.importorskip("skdim.datasets").BenchmarkManifolds().truth.loc[name]
    sampler = ManifoldSampler(ManifoldData(name=name))
    assert (sampler.intrinsic_dim, sampler.ambient_dim) == (truth.iloc[0], truth.iloc[1])
    x = sampler.draw(generator(1, "test"), 500)
    assert x.shape == (500, truth.iloc[1])
    assert np.linalg.matrix_rank(x - x.mean(0)) >= truth.iloc[0]


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skdim.datasets", None)
    with pytest.raises(ConfigError, match=r"M1_Sphere .* pip install 'lwgan-dist\[classical\]'"):
        draw(name="M1_Sphere", n=20)


def test_sphere_ball_and_torus_lie_where_their_equations_say():
    np.testing.assert_allclose(np.linalg.norm(draw(name="sphere", dim=4), axis=1), 1.0, rtol=1e-12)
    radius = np.linalg.norm(draw(name="ball", dim=3, n=4000), axis=1)
    assert radius.max() <= 1.0
    assert np.mean(radius < 0.5 ** (1 / 3)) == pytest.approx(0.5, abs=0.04)  # five standard deviations
    x, y, z = draw(name="torus").T
    np.testing.assert_allclose((np.hypot(x, y) - 2.0) ** 2 + z**2, 1.0, rtol=1e-9)


@pytest.mark.parametrize("frequency", [3, 6])
def test_waves_bend_a_square_through_all_columns(frequency):
    """Cosines of linear functions of the square whose slopes have the standard deviation of the frequency."""
    sampler = ManifoldSampler(ManifoldData(name=f"waves_{frequency}", ambient_dim=2_000, seed=3))
    u = generator(1, "test").uniform(0.0, 1.0, (50, 2))  # what the sampler draws
    x = sampler.draw(generator(1, "test"), 50)
    assert np.abs(x).max() <= 1.0
    assert np.linalg.matrix_rank(x - x.mean(0), tol=1e-6) > 10
    # the mean of cos(a) cos(b) over random directions and phases is exp(-f^2 |u - v|^2 / 2) / 2
    squared = np.square(u[:, None] - u).sum(2)
    np.testing.assert_allclose(x @ x.T / 2_000, np.exp(-(frequency**2) * squared / 2) / 2, atol=0.08)  # five sd
    again, other = (ManifoldData(name=f"waves_{frequency}", ambient_dim=2_000, seed=seed) for seed in (3, 4))
    assert np.array_equal(ManifoldSampler(again).draw(generator(1, "test"), 50), x)
    assert not np.allclose(ManifoldSampler(other).draw(generator(1, "test"), 50), x)


def test_points_are_uniform_on_the_surface_of_the_torus():
    """The outer half, cos b > 0, has the share (pi R + 2) / (2 pi R) of the area, for R = 2."""
    x, y, _ = draw(name="torus", n=20_000).T
    share = (np.pi * 2.0 + 2.0) / (2.0 * np.pi * 2.0)
    assert np.mean(np.hypot(x, y) > 2.0) == pytest.approx(share, abs=0.017)  # five standard deviations


def test_padding_and_rotation_keep_distances_and_the_manifold():
    plain = draw(name="s_curve", n=50)
    turned = draw(name="s_curve", n=50, ambient_dim=10, rotate=True)
    assert turned.shape == (50, 10)
    assert np.abs(turned).min() > 0
    distances = [np.linalg.norm(x[:, None] - x, axis=2) for x in (plain, turned)]
    np.testing.assert_allclose(*distances, atol=1e-12)
    one, other = (ManifoldSampler(ManifoldData(name="affine", dim=2, seed=seed)) for seed in (0, 1))
    x = np.concatenate([one.draw(generator(i, "test"), 100) for i in (0, 1)])
    assert np.linalg.matrix_rank(x) == 2
    assert np.linalg.matrix_rank(np.concatenate([x, other.draw(generator(0, "test"), 100)])) == 4


def test_noise_has_the_standard_deviation_asked_for_in_every_column():
    noisy = draw(name="affine", dim=1, ambient_dim=3, noise=0.1, n=20_000)
    clean = draw(name="affine", dim=1, ambient_dim=3, n=20_000)
    assert (noisy - clean).std(axis=0) == pytest.approx([0.1] * 3, rel=0.03)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"name": "s_curve", "dim": 3}, "data.dim: s_curve has dimension 2"),
        ({"name": "sphere", "dim": 5, "ambient_dim": 5}, "needs at least 6 columns"),
        ({"name": "decoded_images", "dim": 11}, "data.dim: decoded_images has at most 10 dimensions"),
    ],
)
def test_a_manifold_that_cannot_be_is_refused(told, message):
    with pytest.raises(ConfigError, match=message):
        ManifoldSampler(ManifoldData(**told))
