"""Closed manifolds are torn open where that lays them flat; what has a chart, or lacks a dimension, is left whole."""

import functools

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, shortest_path
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from lwgan_dist.data.manifolds import ball, random_rotation, s_curve, swiss_roll, swissroll_curve
from lwgan_dist.data.population import CLOSED
from lwgan_dist.training.embedding import Tear, geodesic_start, neighbour_graph
from lwgan_dist.training.tears import STRETCH, cut, essential_loops, log_map, stretched

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
    assert torn.tear.rank == TORN[name][1]
    assert 0 < torn.tear.share < 0.1
    assert torn.decodability[at] < 0.15 * isomap.decodability[at]
    assert torn.decodability[at] - torn.decodability.min() < 2 * RESOLUTION**2
    assert isomap.tear == Tear()  # control: Isomap needs another rank
    assert isomap.decodability[at] - isomap.decodability.min() > 10 * RESOLUTION**2
    assert not isomap.at_tear.any()


@pytest.mark.parametrize("name", WHOLE)
def test_what_has_a_chart_is_left_whole(name):
    whole = start(name)
    assert whole.tear == Tear("none", 0, 0.0)
    assert not whole.at_tear.any()
    np.testing.assert_array_equal(whole.codes, start(name, tear=False).codes)


@pytest.mark.parametrize("name", ["torus", "sphere"])
def test_a_missing_dimension_is_not_had_by_tearing(name):
    """With two coordinates a torn surface could only be accepted at rank 1, where a tear closes some of the gap."""
    found = geodesic_start(start(name).rows, 2, 10, RESOLUTION)
    assert found.tear == Tear()
    assert found.decodability[0] > 10 * RESOLUTION**2
    assert start(name).decodability[0] > 10 * RESOLUTION**2
    line = geodesic_start(circle(300), 2, 10, RESOLUTION)
    assert line.tear.rank == 1  # control: two coordinates are enough to see that a curve is closed


def test_with_one_coordinate_nothing_is_torn():
    found = geodesic_start(circle(200), 1, 10, RESOLUTION)
    assert found.tear == Tear()
    assert found.codes.shape == (200, 1)


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
    assert found.at_tear.mean() < 0.3
    kept = start(name, tear=False).codes[:, :dim]
    assert not (np.linalg.norm(kept[i] - kept[j], axis=1) > 2.0).any()  # control: Isomap folds, and tears nothing


@pytest.mark.parametrize("name", TORN)
def test_rows_at_the_tear_lie_near_each_other_in_space(name):
    found = start(name)
    rows = found.rows[found.at_tear]
    distances, _ = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors()
    assert (distances[:, 0] <= found.reach[found.at_tear]).all()


def test_a_circle_is_torn_in_one_place():
    (places,) = np.nonzero(start("even circle").at_tear)
    assert len(places) == 10
    turned = np.sort((places - places[0] + 250) % 500)
    assert np.ptp(turned) == 9


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


def annulus():
    points = square(21)
    radius = np.linalg.norm(points - 10.0, axis=1)
    return points[(radius > 5.0) & (radius < 9.0)]


def loops_cut(points, reach=8.0):
    graph = lattice(points)
    return graph, essential_loops(graph, shortest_path(graph, directed=False), reach)


def test_loops_of_a_square_are_all_kept():
    assert not loops_cut(square())[1].any()


def test_a_loop_around_a_hole_is_cut():
    graph, torn = loops_cut(annulus())
    assert 0 < torn.mean() < 0.1
    edges = coo_array(graph)
    there, back = (
        set(zip(*np.array(edges.coords)[order][:, torn].tolist(), strict=True)) for order in ([0, 1], [1, 0])
    )
    assert there == back  # both directions of an edge
    _, longer = loops_cut(annulus(), reach=60.0)
    assert not longer.any()  # control: a longer loop than that around the hole may remain


def test_what_is_left_of_an_annulus_has_no_way_around():
    """The angle can be followed through the cut graph without ever jumping."""
    points = annulus()
    opened, _ = cut(*loops_cut(points))
    i, j = coo_array(opened).coords
    angle = np.arctan2(*(points - 10.0).T)
    steps = (angle[j] - angle[i] + np.pi) % (2 * np.pi) - np.pi
    unrolled, seen, queue = {0: 0.0}, {0}, [0]
    while queue:
        here = queue.pop()
        for k in np.flatnonzero(i == here):
            if j[k] not in seen:
                seen.add(j[k])
                queue.append(j[k])
                unrolled[j[k]] = unrolled[here] + steps[k]
    assert len(seen) == len(points)
    followed = np.array([unrolled[k] for k in range(len(points))])
    np.testing.assert_allclose(followed[j] - followed[i], steps, atol=1e-9)
    i, j = coo_array(lattice(points)).coords
    steps = (angle[j] - angle[i] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(followed[j] - followed[i] - steps).max() > 6  # control: in the whole graph it jumps by 2 pi


def ring(lengths):
    """A cycle with edges of these lengths, and which of its entries lie between k and k + 1."""
    m = len(lengths)
    k = np.arange(m)
    graph = coo_array((lengths, (k, (k + 1) % m)), shape=(m, m)).tocsr()
    graph = csr_array(graph.maximum(graph.T))
    i, j = coo_array(graph).coords
    return graph, np.where((i + 1) % m == j, i, j)


def test_cutting_a_cycle_in_two_places_sews_the_shorter_edge():
    graph, edge = ring([1.0, 1, 5, 1, 1, 3, 1, 1])
    opened, torn = cut(graph, np.isin(edge, [2, 5]))
    assert set(edge[torn]) == {2}
    assert connected_components(opened, directed=False, return_labels=False) == 1
    opened, torn = cut(graph, edge == 5)
    assert set(edge[torn]) == {5}  # one cut leaves it connected, so nothing is sewn


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_a_cut_graph_is_connected_and_as_few_edges_are_sewn_as_can_be(seed, share):
    graph = neighbour_graph(rng(seed).standard_normal((80, 2)), 5)
    i, j = coo_array(graph).coords
    chance = rng(seed + 50).random((80, 80))
    told = np.minimum(chance[i, j], chance[j, i]) < share
    lengths = coo_array(graph).data
    parts = connected_components(csr_array((lengths[~told], (i[~told], j[~told])), graph.shape), return_labels=False)
    before = told.copy()
    opened, torn = cut(graph, told)
    np.testing.assert_array_equal(told, before)  # the argument is left alone
    assert connected_components(opened, directed=False, return_labels=False) == 1
    assert not (torn & ~told).any()
    assert (told & ~torn).sum() == 2 * (parts - 1)
    assert opened.nnz == graph.nnz - torn.sum()


def aligned(found, truth):
    """Coordinates turned onto the truth, both centred."""
    found, truth = found - found.mean(axis=0), truth - truth.mean(axis=0)
    left, _, right = np.linalg.svd(found.T @ truth)
    return found @ left @ right, truth


@pytest.mark.parametrize("base", [0, 112, 200])
def test_a_log_map_of_a_flat_patch_gives_its_coordinates(base):
    flat = square()
    rows = np.pad(flat, ((0, 0), (0, 2))) @ random_rotation(4, rng())
    found, truth = aligned(log_map(squareform(pdist(flat, "sqeuclidean")), rows, base, 2), flat)
    np.testing.assert_allclose(found, truth, atol=1e-8)


def test_a_log_map_gives_the_direction_and_the_geodesic_distance():
    """On a half circle, the arc length to either side."""
    t = np.linspace(0, np.pi, 101)
    found = log_map(np.square(t[:, None] - t), np.column_stack([np.cos(t), np.sin(t)]), 50, 1)
    assert abs(np.corrcoef(found[:, 0], t)[0, 1]) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(np.abs(np.diff(found[:, 0])), np.pi / 100, rtol=1e-6)


def test_a_log_map_of_one_dimension_too_few_is_not_flat():
    """Control: a line through a square leaves out the other side."""
    flat = square()
    found = log_map(squareform(pdist(flat, "sqeuclidean")), flat, 112, 1)
    assert abs(spearmanr(found[:, 0], flat[:, 0])[0]) < 0.99
    assert abs(spearmanr(found[:, 0], flat[:, 1])[0]) < 0.99


def test_edges_are_torn_that_coordinates_stretch_more_than_others():
    graph = lattice(square(8))
    flat = square(8)
    assert not stretched(graph, flat).any()
    assert not stretched(graph, 100.0 * flat).any()
    i, j = coo_array(graph).coords
    opened = flat + np.where(flat[:, :1] > 3.5, 2 * STRETCH, 0.0) * [1.0, 0.0]
    across = (flat[i, 0] > 3.5) != (flat[j, 0] > 3.5)
    np.testing.assert_array_equal(stretched(graph, opened), across)
