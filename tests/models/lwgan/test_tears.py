"""Closed manifolds are torn open where that lays them flat; what has a chart, or lacks a dimension, is left whole."""

import functools

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from lwgan_dist.data.simulated.manifolds import ball, s_curve, swiss_roll, swissroll_curve
from lwgan_dist.data.simulated.population import CLOSED
from lwgan_dist.models.lwgan.embedding import Tear, distinct, geodesic_start, needed, neighbour_graph
from lwgan_dist.models.lwgan.tears import STRETCH, pieces_side_by_side, scaled, stretched, ways_to_cut

RESOLUTION = 0.08
FACTORS = {factor.name: factor for factor in CLOSED}


def rng(seed=0):
    return np.random.default_rng(seed)


def circle(n):
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def factor(name, n):
    return FACTORS[name].draw(rng(), n)


TORN = {
    "even circle": (lambda: circle(500), 1),
    "trefoil": (lambda: factor("trefoil", 600), 1),
    "sphere": (lambda: factor("sphere of 2", 700), 2),
    "ellipsoid": (lambda: factor("sphere of 2", 700) * [1.0, 1.5, 2.0], 2),
    "torus": (lambda: factor("torus", 700), 2),
    "flat torus": (lambda: factor("flat torus", 700), 2),
    "Klein bottle": (lambda: factor("Klein bottle", 800), 2),
    "sphere of 3": (lambda: factor("sphere of 3", 1000), 3),
    "sphere of 4": (lambda: factor("sphere of 4", 1000), 4),
}
WHOLE = {
    "S-curve": lambda: s_curve(rng(), 600, 2),
    "spiral": lambda: swissroll_curve(rng(), 600, 1),
    "swiss roll": lambda: swiss_roll(rng(), 800, 2),
    "ball of 3": lambda: ball(rng(), 600, 3),
}


def started(rows, tear=True):
    return geodesic_start(rows, min(5, rows.shape[1] + 1), 10, RESOLUTION, tear=tear)


@functools.cache
def start(name, tear=True):
    return started(TORN[name][0]() if name in TORN else WHOLE[name](), tear)


# what is torn, and where ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TORN)
def test_a_closed_manifold_is_torn_at_its_dimension_and_decodable_there(name):
    torn, isomap, at = start(name), start(name, tear=False), TORN[name][1] - 1
    gap = isomap.decodability[at] - isomap.decodability.min()
    assert torn.tear.rank == TORN[name][1]
    assert torn.tear.pieces in (2, 4)
    assert 0 < torn.tear.share < 0.2
    assert torn.decodability[at] < isomap.decodability[at] - 0.85 * gap
    assert (torn.decodability[at:] == torn.decodability[at]).all()  # nothing is missing any more
    assert isomap.tear == Tear()  # control: Isomap needs another rank
    assert gap > 10 * RESOLUTION**2
    assert not isomap.at_tear.any()


@pytest.mark.parametrize("name", WHOLE)
def test_what_has_a_chart_is_left_whole(name):
    whole = start(name)
    assert whole.tear == Tear(pieces=1, rank=0, share=0.0, groups=1)
    assert not whole.at_tear.any()
    np.testing.assert_array_equal(whole.codes, start(name, tear=False).codes)


@pytest.mark.parametrize("name", ["torus", "sphere", "flat torus"])
def test_a_missing_dimension_is_not_had_by_tearing(name):
    """With one coordinate a surface could only be accepted at rank 1, where pieces close some of the gap."""
    found = geodesic_start(start(name).rows, 1, 10, RESOLUTION)
    assert found.tear == Tear()
    assert found.decodability[0] > 10 * RESOLUTION**2


@pytest.mark.parametrize("seed", range(3))
def test_two_clumps_are_no_closed_manifold(seed):
    """Halves would be the clumps, each with a thickness that counts."""
    thin = rng(seed + 9).choice([-1.0, 1.0], 1200) + 0.3 * rng(seed + 20).normal(size=1200)
    rows = np.column_stack([rng(seed).normal(size=1200), thin])
    found = geodesic_start(rows, 2, 10, RESOLUTION)
    assert found.tear.rank != 1
    assert needed(found.decodability, RESOLUTION) == 2


@pytest.mark.parametrize(("columns", "latent_dim"), [(30, 5), (30, 10), (60, 10)])
def test_noise_of_many_dimensions_is_not_torn(columns, latent_dim):
    """Hardly anything of it is decoded, and the best of many cuts closes small gaps by chance."""
    found = geodesic_start(rng().normal(size=(400, columns)), latent_dim, 10, RESOLUTION)
    assert found.tear == Tear()
    assert needed(found.decodability, RESOLUTION) == latent_dim


@pytest.mark.parametrize("parts", [1, 2])
def test_one_column_is_laid_out(parts):
    rows = np.concatenate([60.0 * part + rng(part).normal(size=(200, 1)) for part in range(parts)])
    found = geodesic_start(distinct(rows), 1, 10, RESOLUTION)
    assert abs(spearmanr(found.codes[:200, 0], found.rows[:200, 0])[0]) > 0.999
    assert found.tear == Tear()
    assert (found.reach > 0).all()


@pytest.mark.parametrize(("name", "rank"), [("even circle", 1), ("sphere", 2), ("torus", 2)])
def test_what_closes_at_the_last_rank_wanted_is_torn(name, rank):
    found = geodesic_start(start(name).rows, rank, 10, RESOLUTION)
    assert found.tear.rank == rank
    assert found.codes.shape == (len(found.rows), rank)
    np.testing.assert_allclose(np.abs(found.codes), np.abs(start(name).codes[:, :rank]))  # up to a reflection


@pytest.mark.parametrize(("width", "resolution", "rank"), [(0.06, 0.08, 0), (0.06, 0.01, 1), (0.08, 0.08, 1)])
def test_a_gap_below_the_resolution_is_no_reason_to_tear(width, resolution, rank):
    """On a narrow ellipse a line misses the width alone, 1.2 times of it in units of the scale."""
    narrow = circle(400) * [1.0, width]
    assert geodesic_start(narrow, 3, 10, resolution).tear.rank == rank


@pytest.mark.parametrize("name", TORN)
def test_neighbours_whose_codes_lie_apart_are_at_the_tear(name):
    """Both of them, and nobody else: a row is not said to be at the tear that has no torn edge."""
    found, dim = start(name), TORN[name][1]
    graph = neighbour_graph(found.rows, 10).tocoo()
    i, j = graph.coords
    codes = found.codes[:, :dim]
    apart = np.linalg.norm(codes[i] - codes[j], axis=1) > 2.0
    assert apart.any()
    assert found.at_tear[i[apart]].all()
    assert found.at_tear[j[apart]].all()
    assert found.at_tear.mean() < 0.5  # the rows within one edge of a cut
    kept = start(name, tear=False).codes[:, :dim]
    assert not (np.linalg.norm(kept[i] - kept[j], axis=1) > 2.0).any()  # control: Isomap folds, and tears nothing


@pytest.mark.parametrize("name", TORN)
def test_rows_at_the_tear_lie_near_each_other_in_space(name):
    found = start(name)
    rows = found.rows[found.at_tear]
    distances, _ = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors()
    assert (distances[:, 0] <= found.reach[found.at_tear]).all()


def test_a_circle_is_cut_in_two_places_that_lie_opposite():
    (places,) = np.nonzero(start("even circle").at_tear)
    middles = np.flatnonzero(np.diff(places) > 50)
    assert len(places) <= 20
    assert len(middles) <= 2  # runs of neighbours, one of which may go around the end of the list
    opposite = np.abs(places[:, None] - places) % 500
    assert np.abs(np.minimum(opposite, 500 - opposite).max() - 250) <= 10


def test_reach_is_the_distance_to_the_farthest_neighbour_in_units_of_the_rows():
    found = started(7.0 * circle(200))
    np.testing.assert_allclose(found.reach, 7.0 * 2 * np.sin(5 * np.pi / 200), rtol=1e-9)


# nothing else matters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["even circle", "sphere", "torus"])
def test_the_unit_does_not_matter(name):
    found, other = start(name), started(2.0**40 * start(name).rows)
    np.testing.assert_array_equal(found.codes, other.codes)
    np.testing.assert_array_equal(found.at_tear, other.at_tear)
    np.testing.assert_array_equal(2.0**40 * found.reach, other.reach)
    assert found.tear == other.tear


@pytest.mark.parametrize("name", ["even circle", "sphere", "torus"])
def test_threads_do_not_matter(name):
    with threadpool_limits(2):
        found = started(start(name).rows)
    np.testing.assert_array_equal(found.codes, start(name).codes)
    np.testing.assert_array_equal(found.decodability, start(name).decodability)
    assert found.tear == start(name).tear


# parts ----------------------------------------------------------------------------------------------------------------


def beside(*parts, gap=20.0):
    """Parts in three columns, far apart along the last one."""
    padded = [np.pad(part, ((0, 0), (0, 3 - part.shape[1]))) for part in parts]
    for k, part in enumerate(padded):
        part[:, 2] += k * gap
    return np.concatenate(padded)


def uneven_circle(n):
    angles = 2 * np.pi * rng(5).random(n)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def disc(n, seed=1):
    return ball(rng(seed), n, 2)


def test_parts_lie_side_by_side_along_the_first_coordinate():
    found = started(beside(uneven_circle(300), disc(250), disc(200, seed=2)))
    first = found.codes[:, 0]
    ends = sorted((first[part].min(), first[part].max()) for part in (slice(300), slice(300, 550), slice(550, 750)))
    assert ends[0][1] < ends[1][0]
    assert ends[1][1] < ends[2][0]
    assert not (found.codes[:300, 1].max() < found.codes[300:550, 1].min())  # control: not along the second
    assert not (found.codes[:300, 1].min() > found.codes[300:550, 1].max())


def test_every_part_is_torn_as_if_it_were_alone():
    alone, isomap = started(uneven_circle(300)), started(uneven_circle(300), tear=False)
    both = started(beside(uneven_circle(300), disc(250)))
    assert alone.tear.rank == both.tear.rank == 1
    assert abs(spearmanr(alone.codes[:, 0], both.codes[:300, 0])[0]) > 0.999
    np.testing.assert_array_equal(alone.at_tear, both.at_tear[:300])
    assert not both.at_tear[300:].any()
    assert abs(spearmanr(isomap.codes[:, 0], both.codes[:300, 0])[0]) < 0.9  # control: without a tear it is folded


def test_the_tear_of_one_part_does_not_depend_on_that_of_another():
    """The same circle beside a disc, and beside a circle that is torn too."""
    discs = started(beside(uneven_circle(300), disc(250)))
    circles = started(beside(uneven_circle(300), circle(250)))
    np.testing.assert_array_equal(discs.at_tear[:300], circles.at_tear[:300])
    assert not discs.at_tear[300:].any()
    assert circles.at_tear[300:].any()
    assert abs(spearmanr(discs.codes[:300, 0], circles.codes[:300, 0])[0]) > 0.999


def test_parts_without_a_tear_have_none():
    found = started(beside(disc(250), disc(200, seed=2)))
    assert found.tear == Tear()
    assert not found.at_tear.any()


def test_stray_rows_take_the_coordinates_of_the_nearest_row_of_a_part():
    """A clump of its own, too small to be a part, nearer to the second of two discs."""
    clump = 0.01 * rng(3).standard_normal((25, 3)) + [0.0, 0.0, 13.0]
    rows = np.concatenate([beside(disc(300), disc(200, seed=2)), clump])
    found = started(rows)
    nearest = np.square(rows[:500, None] - clump).sum(axis=2).argmin(axis=0)
    assert (nearest >= 300).all()
    np.testing.assert_allclose(found.codes[500:, :2], found.codes[nearest, :2], atol=1e-12)
    assert not found.at_tear[500:].any()
    assert np.isfinite(found.codes).all()


# constructions --------------------------------------------------------------------------------------------------------


def lattice(points, step=1.0):
    """The graph that joins points at a distance of up to 1.5 steps: a grid with its diagonals."""
    distances = squareform(pdist(points))
    return csr_array(np.where((distances > 0) & (distances < 1.5 * step), distances, 0.0))


def square(side=15):
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2).astype(float)


def arcs(n=101):
    """Squared geodesic distances on a circle, and its coordinates cos and sin."""
    t = 2 * np.pi * np.arange(n) / n
    apart = np.abs(t[:, None] - t)
    return np.minimum(apart, 2 * np.pi - apart) ** 2, np.column_stack([np.cos(t), np.sin(t)])


def test_a_cut_circle_is_two_arcs_side_by_side_that_touch():
    squared, coordinates = arcs()
    laid, piece = pieces_side_by_side(squared, coordinates, (1,), 1)
    upper = coordinates[:, 1] > np.median(coordinates[:, 1])
    assert laid.shape == (101, 1)
    assert (piece == upper).all()
    for arc in (upper, ~upper):
        steps = np.abs(np.diff(np.sort(laid[arc, 0])))
        np.testing.assert_allclose(steps, 2 * np.pi / 101, rtol=0.02)  # the arc length
    assert laid[upper].min() > laid[~upper].max()
    near = [int(laid[upper].argmin()), int(laid[~upper].argmax())]
    ends = coordinates[upper][near[0]], coordinates[~upper][near[1]]
    assert np.linalg.norm(ends[0] - ends[1]) < 0.15  # what touches in the code touches on the circle


def test_two_cuts_give_four_pieces_that_do_not_overlap():
    rows = factor("flat torus", 400)
    squared = squareform(pdist(rows, "sqeuclidean"))
    laid, piece = pieces_side_by_side(squared, scaled(squared, 4), (0, 1), 2)
    assert set(piece) == {0, 1, 2, 3}
    boxes = [(laid[piece == k].min(axis=0), laid[piece == k].max(axis=0)) for k in range(4)]
    for k, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[k + 1 :]:
            assert (high <= other_low).any() or (other_high <= low).any()


def test_pieces_of_a_flat_patch_keep_their_shape():
    """A square that is cut needlessly has the distances of before within each half."""
    flat = square() + 0.01 * rng().standard_normal((225, 2))
    squared = squareform(pdist(flat, "sqeuclidean"))
    laid, piece = pieces_side_by_side(squared, np.pad(scaled(squared, 2), ((0, 0), (0, 1))), (1,), 2)
    for k in (0, 1):
        np.testing.assert_allclose(pdist(laid[piece == k]), pdist(flat[piece == k]), atol=1e-9)


def test_every_set_of_coordinates_is_cut_across_that_leaves_the_rank():
    assert ways_to_cut(1, 1, 5) == [(0,), (1,)]
    assert ways_to_cut(2, 2, 5) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert ways_to_cut(3, 1, 2) == [(0,), (1,)]  # no more than there are


def test_edges_are_torn_that_coordinates_stretch_more_than_others():
    graph = lattice(square(8))
    flat = square(8)
    assert not stretched(graph, flat).any()
    assert not stretched(graph, 100.0 * flat).any()
    i, j = coo_array(graph).coords
    opened = flat + np.where(flat[:, :1] > 3.5, 2 * STRETCH, 0.0) * [1.0, 0.0]
    across = (flat[i, 0] > 3.5) != (flat[j, 0] > 3.5)
    np.testing.assert_array_equal(stretched(graph, opened), across)
