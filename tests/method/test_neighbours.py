"""The largest rank that neighbours allow: never below the truth where the density is constant, and near it."""

import numpy as np
import pytest

from lwgan_dist.method import neighbours
from lwgan_dist.method.neighbours import GAP, NEIGHBOURS, bound_at, largest_ranks, neighbour_dimensions
from lwgan_dist.method.rank_selection import STAIRCASE
from lwgan_dist.seeding import generator

RESOLUTION = 0.08


def bound(rows, latent_dim=8):
    rows = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0).mean())
    return bound_at(largest_ranks(rows, latent_dim), RESOLUTION)


def cube(dim, n=800, seed=0):
    return generator(seed, "cube", dim).random((n, dim))


def sphere(dim, n, seed):
    rows = generator(seed, "sphere", dim).normal(size=(n, dim + 1))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


SAMPLES = {
    "cube": cube,
    "normal": lambda dim, n=800, seed=0: generator(seed, "normal", dim).normal(size=(n, dim)),
    "sphere": sphere,
}


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", SAMPLES)
def test_the_truth_is_not_refused_and_the_next_rank_is(kind, dim):
    bounds = [bound(SAMPLES[kind](dim, 800, seed)) for seed in range(5)]
    assert min(bounds) == dim
    assert max(bounds) <= dim + (dim > 3)


def test_distances_at_their_expected_places_give_the_dimension():
    """In d dimensions the mean of log(T_k / T_j) over j < k is a Gamma variable with its median at F_k / d."""
    rng = generator(0, "distances")
    for dim in (1.0, 2.5, 7.0):
        volumes = rng.exponential(size=(40_000, NEIGHBOURS[-1])).cumsum(axis=1)
        assert neighbour_dimensions(volumes ** (1 / dim)) == pytest.approx([dim] * len(NEIGHBOURS), rel=0.02)


def test_bending_in_more_columns_is_not_dimension():
    t = cube(2, 1_500)
    waves = np.column_stack([np.cos(k * t[:, 0] + m * t[:, 1]) for k in range(1, 4) for m in range(1, 4)])
    assert bound(waves) == 2


def test_noise_raises_the_bound_and_never_lowers_it():
    rows = np.column_stack([cube(2, 1_500), np.zeros((1_500, 4))])
    noise = generator(1, "noise").normal(size=rows.shape)
    bounds = [bound(rows + sigma * noise) for sigma in (0.0, 0.005, 0.02, 0.05)]
    assert bounds == sorted(bounds)
    assert bounds[0] == 2 < bounds[-1]


def test_directions_below_the_resolution_do_not_count():
    wide, narrow = (cube(2, 1_500) * [1.0, width] for width in (0.5, 0.02))
    assert bound(wide) == 2
    assert bound(narrow) == 1
    scaled = (narrow - narrow.mean(axis=0)) / np.sqrt(narrow.var(axis=0).mean())
    assert bound_at(largest_ranks(scaled, 8), 0.005) == 2


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_copies_refuse_nothing(share):
    """Pairs a thousandth apart: the nearest neighbour is no neighbour."""
    rows = cube(3)
    copies = rows[: round(share * len(rows))] + 1e-5 * generator(2, "copies").normal(size=(round(share * len(rows)), 3))
    assert bound(np.concatenate([rows, copies])[generator(3, "order").permutation(len(rows) + len(copies))]) == 8


def test_a_few_copies_do_not_decide():
    rows = cube(3)
    copies = rows[:24] + 1e-5
    assert bound(np.concatenate([rows, copies])) == 3


def test_exact_copies_count_once():
    rows = cube(2)
    assert bound(np.concatenate([rows, rows, rows])) == bound(rows) == 2


def test_of_a_path_that_was_recorded_step_by_step_neighbours_show_the_path():
    t = np.linspace(0.0, 30.0, 2_000)
    path = np.column_stack([np.cos(t), np.sin(t), np.cos(np.sqrt(2) * t), np.sin(np.sqrt(2) * t)])  # fills a torus
    assert bound(path) == 8


def test_few_rows_refuse_nothing():
    assert largest_ranks(cube(1, 59), 5) is None
    assert largest_ranks(np.tile(cube(2, 50), (10, 1)), 5) is None
    assert bound_at(None, RESOLUTION) is None


def test_the_bound_is_a_function_of_the_rows_alone():
    rows = cube(3, 300)
    assert largest_ranks(rows, 6) == largest_ranks(rows.astype(np.float32).astype(np.float64), 6)
    assert largest_ranks(rows, 6) == largest_ranks(rows.reshape(300, 3, 1), 6)


@pytest.mark.parametrize("latent_dim", [1, 2, 6])
def test_no_rank_above_the_largest_is_given(latent_dim):
    ranks = largest_ranks(cube(4, 300), latent_dim)
    assert len(ranks) == len(STAIRCASE)
    assert all(1 <= rank <= latent_dim for rank in ranks)


def test_rows_in_more_columns_than_rows_are_seen_by_the_same_components():
    rows = cube(2, 120) - 0.5
    wide = np.column_stack([rows, np.zeros((120, 300))])
    assert largest_ranks(wide, 8) == largest_ranks(rows, 8)


def test_a_sample_of_many_rows_is_looked_at_in_part(monkeypatch):
    seen = []
    monkeypatch.setattr(neighbours, "MOST_ROWS", 300)
    monkeypatch.setattr(neighbours, "_largest", lambda rows, latent_dim: seen.append(len(rows)) or latent_dim)
    largest_ranks(cube(2, 1_000), 4)
    assert set(seen) == {300}


@pytest.mark.parametrize("rank", [1, 2, 6])
def test_what_refuses_a_rank_stays_below_it(rank):
    """So that the truth is not refused once what neighbours show is near to it."""
    assert (neighbours._least(rank, 400) <= rank - GAP).all()


@pytest.mark.parametrize(("resolution", "index"), [(0.004, None), (STAIRCASE[0], 0), (0.08, 24), (0.9, -1)])
def test_the_bound_at_a_resolution_is_that_of_the_next_smaller_one(resolution, index):
    ranks = list(range(len(STAIRCASE)))
    assert bound_at(ranks, resolution) == (None if index is None else ranks[index])
