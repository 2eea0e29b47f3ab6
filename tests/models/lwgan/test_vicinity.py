"""Points between rows and their neighbours, and what a small sample gains by them."""

import dataclasses

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import load_sample
from lwgan_dist.models.lwgan.stages import stages_of
from lwgan_dist.models.lwgan.vicinity import Vicinity, between
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.seeding import generator


def rng():
    return generator(0, "test")


def test_ends_are_the_nearest_rows_each_as_likely():
    rows = rng().standard_normal((50, 3))
    nearest = NearestNeighbors(n_neighbors=5).fit(rows).kneighbors(rows)[1][:, 1:]
    picks = np.repeat(np.arange(50), 400)
    ends, t = Vicinity(rows, 4).draw(rng(), picks)
    for row in range(50):
        found, counts = np.unique(ends[picks == row], return_counts=True)
        np.testing.assert_array_equal(found, np.sort(nearest[row]))
        assert counts.min() > 60  # of 400 to four ends: five standard deviations below 100
    assert t.min() >= 0
    assert t.max() < 1
    assert np.histogram(t, 10, (0, 1))[0].min() > 1800  # of 20,000 in ten bins


def test_a_point_divides_its_segment_at_t():
    rows = rng().standard_normal((50, 3)).astype(np.float32)
    picks, ends, t = np.array([3, 7]), np.array([4, 7]), np.array([0.25, 0.9])
    x = between(rows, picks, ends, t)
    np.testing.assert_allclose(x, [0.75 * rows[3] + 0.25 * rows[4], rows[7]], rtol=1e-6)
    assert x.dtype == np.float32


def test_fixed_rows_are_neither_moved_nor_moved_to():
    rows = np.arange(10.0)[:, None]
    fixed = np.arange(10) == 5
    picks = np.repeat(np.arange(10), 50)
    ends, _ = Vicinity(rows, 2, fixed).draw(rng(), picks)
    assert (ends[picks == 5] == 5).all()
    assert 5 not in ends[picks != 5]
    assert (ends[picks == 1] != 1).all()


@pytest.mark.parametrize("rows", [np.zeros((6, 2)), np.arange(4.0).reshape(2, 2), np.ones((1, 3))])
def test_equal_rows_two_rows_and_one_have_neighbours(rows):
    ends, _ = Vicinity(rows, 10).draw(rng(), np.repeat(np.arange(len(rows)), 20))
    assert set(ends) <= set(range(len(rows)))


def trainer(neighbours, n=150):
    config = RunConfig.model_validate({
        "data": {"source": "manifold", "name": "ball", "dim": 5, "n": n, "holdout_fraction": 0.5},
        "networks": {"latent_dim": 4, "width": 16},
        "schedule": {
            "interpolation_neighbors": neighbours, "plateau": 0,
            "embedding_iterations": 300, "matching_iterations": 600, "critic_iterations": 20,
        },
        "score": {"evaluations": 4},
    })  # fmt: skip
    sample = load_sample(config.data)
    return trainer_of(config.resolved(train_rows=len(sample.train), ambient_dim=sample.ambient_dim), sample)


def batch(of, stage, step=0):
    planned = next(planned for planned in of.stages if planned.name == stage)
    ranks, parts = of.model.batches.ranks(planned, step)
    return of.model.batches.encoder_generator(planned, (step, 0), ranks, parts, matching=True, guided=False)


def is_a_row(x, rows):
    return np.array([np.isclose(rows, row, atol=1e-6).all(axis=1).any() for row in x.numpy()])


def test_the_stages_that_train_encoder_and_generator_see_points_between():
    small = trainer(10)
    assert is_a_row(batch(small, "matching").x, small.model.sample.train).mean() < 0.1
    assert is_a_row(batch(trainer(0), "matching").x, small.model.sample.train).all()


def test_the_critic_and_what_it_trains_see_rows_as_they_are():
    config = RunConfig.model_validate({"data": {"source": "array"}, "schedule": {"joint_iterations": 5}})
    stages = {stage.name: stage for stage in stages_of(config.resolved(train_rows=200, ambient_dim=3))}
    assert {name: stage.interpolation_neighbors for name, stage in stages.items()} == {
        "embedding": 10, "matching": 10, "critic": 0, "joint": 0, "scoring": 0,
    }  # fmt: skip


def test_large_samples_are_learned_as_they_are():
    large = trainer(10, n=2_002)
    assert len(large.model.sample.train) == 1_001
    assert is_a_row(batch(large, "matching").x, large.model.sample.train).all()


def test_codes_of_points_between_lie_between_codes():
    """In the guided stage, x and its code divide the segments of rows and of codes at the same t."""
    of = trainer(10)
    of.model._embed()
    embedding = of.model.batches.embedding
    # codes that are the first four columns show where the rows of the batch lie
    of.model.batches.embedding = dataclasses.replace(embedding, codes=embedding.rows[:, :4].copy())
    planned = of.stages[0]
    ranks, parts = of.model.batches.ranks(planned, 0)
    drawn = of.model.batches.encoder_generator(planned, (0, 0), ranks, parts, matching=False, guided=True)
    full = ranks == 4
    np.testing.assert_allclose(drawn.guide[full].numpy(), drawn.x[full, :4].numpy(), atol=1e-6)
    assert is_a_row(drawn.x, embedding.rows).mean() < 0.5


def reconstruction(of):
    """On hold-out rows, at the largest rank."""
    for _ in of.run():
        pass
    return np.array(of.components["holdout"])[:, -1, 1].mean()


def test_rows_not_seen_are_reconstructed_better():
    """A ball in five dimensions, 75 rows to learn from: the error at rank 4 on 75 others falls by a tenth and more."""
    assert reconstruction(trainer(10)) < 0.9 * reconstruction(trainer(0))
