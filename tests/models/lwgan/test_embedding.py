"""Geodesic coordinates: they unroll what a straight line folds, whatever the graph looks like."""

import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr
from sklearn.manifold import Isomap
from threadpoolctl import threadpool_limits
from tiny import FAST, make_trainer

from lwgan_dist.config import override
from lwgan_dist.data.simulated.manifolds import swiss_roll, swissroll_curve
from lwgan_dist.models.lwgan import embedding
from lwgan_dist.models.lwgan.embedding import Tear, distinct, geodesic_start, neighbour_graph

RESOLUTION = 0.08


def rng(seed=0):
    return np.random.default_rng(seed)


def start(rows, latent_dim, *, tear=True):
    return geodesic_start(rows, latent_dim, 10, RESOLUTION, tear=tear)


@pytest.mark.parametrize("n", [500, 1500])
def test_spiral_is_unrolled_onto_its_arc(n):
    x = swissroll_curve(rng(), n, 1)
    found = start(x, 4)
    assert abs(spearmanr(found.codes[:, 0], np.linalg.norm(x, axis=1))[0]) == pytest.approx(1.0, abs=1e-12)
    assert list(found.weights) == [1.0] * 4
    assert np.ptp(found.decodability) < 1e-3 * RESOLUTION**2  # the first coordinate says all there is to say
    assert found.tear == Tear()
    straight = x @ np.linalg.svd(x - x.mean(0))[2][0]
    assert abs(spearmanr(straight, np.linalg.norm(x, axis=1))[0]) < 0.9  # control: a straight line folds it


def test_swiss_roll_is_unrolled_onto_angle_and_height():
    x = swiss_roll(rng(), 1000, 2)
    found = start(x, 3)
    codes = found.codes
    angle, height = np.hypot(x[:, 0], x[:, 2]), x[:, 1]
    assert abs(spearmanr(codes[:, 0], angle)[0]) > 0.99
    assert abs(spearmanr(codes[:, 1], height)[0]) > 0.95
    straight = x @ np.linalg.svd(x - x.mean(0))[2].T
    assert max(abs(spearmanr(line, angle)[0]) for line in straight.T) < 0.5  # control
    gaps = found.decodability[:-1] - found.decodability[1:]
    assert gaps[0] > RESOLUTION**2 > 5 * gaps[1]  # two coordinates are needed and a third is not
    assert list(found.weights) == [1.0] * 3
    assert found.tear == Tear()


def test_every_coordinate_has_normal_quantiles():
    codes = start(rng().standard_normal((200, 3)), 3).codes
    expected = norm.ppf((np.arange(200) + 0.5) / 200)
    for column in codes.T:
        np.testing.assert_allclose(np.sort(column), expected, atol=1e-12)


def test_neighbourhood_grows_until_the_graph_is_connected():
    """Two clumps of 15 points at either end of a line fall apart at 10 neighbours."""
    line = np.concatenate([np.linspace(0, 1, 15), np.linspace(3, 4, 15)])
    codes = start(np.column_stack([line, np.zeros(30)]), 2).codes
    assert abs(spearmanr(codes[:, 0], line)[0]) == pytest.approx(1.0)


def test_parts_that_no_neighbourhood_connects_are_joined():
    x = np.concatenate([rng(1).standard_normal((100, 2)), rng(2).standard_normal((100, 2)) + 1e3])
    found = start(x, 2)
    codes = found.codes
    assert np.isfinite(codes).all()
    assert list(found.weights) == [1.0, 1.0]
    assert codes[:100, 0].max() < codes[100:, 0].min() or codes[100:, 0].max() < codes[:100, 0].min()


def test_rows_at_no_distance_are_neighbours():
    """A sparse matrix takes a distance of 0 for no edge."""
    graph = neighbour_graph(np.array([[0.0], [0.0], [1.0], [3.0]]), 1).toarray()

    assert 0 < graph[0, 1] < 1e-9


def test_groups_that_find_more_are_kept_where_all_together_are_blind():
    """With a flat curve fewer coordinates are needed, and none of them decodes anything."""

    def laid(*curve):
        return embedding._Laid(np.zeros((4, 4)), None, np.array(curve), Tear(), np.zeros(4, dtype=bool))

    blind, apart = laid(0.90, 0.89, 0.885, 0.884), laid(0.8, 0.4, 0.2, 0.01)
    assert embedding._finds_more(apart, blind, 0.08)
    assert not embedding._finds_more(blind, apart, 0.08)
    assert not embedding._finds_more(laid(0.85, 0.6, 0.3, 0.01), blind, 0.08), "no clearly better at rank 2"
    assert not embedding._finds_more(laid(0.4, 0.39, 0.388, 0.388), blind, 0.08), "finds no more coordinates"


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_coordinates_that_do_not_exist_are_zero_with_weight_zero(rows):
    found = start(rng().standard_normal((rows, 3)), 6)
    codes, weights = found.codes, found.weights
    assert codes.shape == (rows, 6)
    assert not codes[:, rows - 1 :].any()
    assert list(weights) == [1.0] * (rows - 1) + [0.0] * (7 - rows)
    assert np.isfinite(codes).all()


def few_distinct(seed):
    """13 distinct rows: geodesic distances of so few have large negative eigenvalues."""
    generator = rng(seed)
    return distinct(generator.standard_normal((13, 12))[generator.integers(0, 13, 400)])


@pytest.mark.parametrize(
    ("rows", "latent_dim"),
    [
        *[(few_distinct(seed), 10) for seed in range(6)],
        (rng().standard_normal((30, 30)), 30),
        (np.eye(100), 3),
        (np.eye(500), 8),
        (1e25 * rng().standard_normal((40, 3)).astype(np.float32), 3),
        (1e160 * rng().standard_normal((40, 3)), 3),
        (1e-170 * rng().standard_normal((40, 3)), 3),
        (np.zeros((1, 4)), 3),
    ],
)
def test_degenerate_rows_have_finite_codes(rows, latent_dim):
    found = start(rows, latent_dim)
    codes, weights = found.codes, found.weights
    assert np.isfinite(codes).all()
    assert np.isfinite(found.decodability).all()
    assert np.isfinite(found.reach).all()
    assert (found.reach > 0).all() == (len(rows) > 1)
    assert np.isin(weights, [0.0, 1.0]).all()
    assert (codes[:, weights == 0] == 0).all()
    assert (np.ptp(codes[:, weights == 1], axis=0) > 0).all()
    assert weights[0] == (1.0 if len(rows) > 1 else 0.0)


def test_units_do_not_matter():
    x = rng().standard_normal((200, 3))
    np.testing.assert_array_equal(start(x, 3).codes, start(2.0**80 * x, 3).codes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_straight_line_has_one_coordinate(dtype):
    line = np.linspace(0, 1, 600)[:, None] * np.array([[1.0, 2.0, -0.5]])
    found = start(line.astype(dtype), 3)
    assert list(found.weights) == [1.0, 0.0, 0.0]
    assert not found.codes[:, 1:].any()


def test_codes_are_those_of_isomap():
    """Against scikit-learn's, up to sign."""
    x = swiss_roll(rng(), 400, 2)
    isomap = Isomap(n_neighbors=10, n_components=2, eigen_solver="dense").fit_transform(x)
    codes = start(x, 2).codes
    for ours, theirs in zip(codes.T, isomap.T, strict=True):
        assert abs(spearmanr(ours, theirs)[0]) == pytest.approx(1.0, abs=1e-9)


def test_codes_do_not_depend_on_threads():
    angles = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(start(circle, 2).codes)
    np.testing.assert_array_equal(*found)


def test_repeated_rows_count_once():
    x = rng().integers(0, 2, (300, 4)).astype(float)
    assert len(distinct(x)) == 16
    assert np.isfinite(start(distinct(x), 4).codes).all()


def test_codes_are_a_function_of_the_rows():
    x = rng().standard_normal((400, 5))
    np.testing.assert_array_equal(start(x, 5).codes, start(x, 5).codes)


def guided_batches(told):
    """Whether each encoder-generator batch of a run was guided, with its stage and rows."""
    trainer, seen = make_trainer(told), []
    inner = trainer.model.encoder_generator.step

    def step(batch, weights):
        seen.append((batch, weights))
        return inner(batch, weights)

    trainer.model.encoder_generator.step = step
    for _ in trainer.run():
        pass
    return trainer, seen


def test_first_half_of_matching_is_guided_and_the_second_uses_all_rows():
    told = override(
        FAST,
        {"schedule.matching_iterations": 10, "schedule.embedding_rows": 40, "schedule.interpolation_neighbors": 0},
    )
    trainer, seen = guided_batches(told)
    embedding = trainer.model.batches.embedding
    guides = [weights.guide for _, weights in seen[:16]]
    np.testing.assert_allclose(guides, [1.0] * 6 + [1.0, 0.8, 0.6, 0.4, 0.2] + [0.0] * 5)
    assert [weights.decode_guide for _, weights in seen[:16]] == [True] * 6 + [False] * 10
    known = {row.tobytes() for row in embedding.rows}
    assert len(known) == 40
    for batch, weights in seen[:16]:
        rows = [row.tobytes() for row in batch.x.numpy()]
        assert all(row in known for row in rows) == bool(weights.guide)
        if weights.guide:
            beyond = torch.arange(3) >= batch.ranks.unsqueeze(1)
            assert not batch.guide[beyond].any()


def test_zero_embedding_iterations_leave_the_codes_to_chance():
    trainer, seen = guided_batches(override(FAST, {"schedule.embedding_iterations": 0}))
    assert trainer.model.batches.embedding is None
    assert not any(weights.guide for _, weights in seen)
    assert trainer.stages[0].name == "matching"


def test_embedding_learns_the_codes_and_how_to_decode_them():
    told = override(
        FAST,
        {
            "data.name": "swissroll_curve",
            "data.n": 500,
            "networks.width": 32,
            "schedule.batch_size": 128,
            "schedule.embedding_iterations": 400,
            "schedule.matching_iterations": 1,
        },
    )
    trainer, seen = make_trainer(told), []
    for progress in trainer.run():
        if progress.recorded:
            seen.append(progress.losses)
        if progress.iteration == 400:
            break
    assert seen[-1]["encoder_generator/guide"] < 0.1 * seen[0]["encoder_generator/guide"]
    assert seen[-1]["encoder_generator/reconstruction"] < 0.3 * seen[0]["encoder_generator/reconstruction"]
