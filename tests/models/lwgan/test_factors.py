"""Directions that vary independently are found and laid out by themselves; what belongs together stays together."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lwgan_dist.data.simulated.manifolds import random_rotation, s_curve
from lwgan_dist.data.simulated.population import CHARTS, CLOSED
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.models.lwgan.embedding import geodesic_start, needed
from lwgan_dist.models.lwgan.factors import MOST_COMPONENTS, MOST_MEMBERS, independent_groups

RESOLUTION = 0.08
FACTORS = {factor.name: factor for factor in (*CHARTS, *CLOSED)}


def rng(seed=0):
    return np.random.default_rng(seed)


def product(*names, n=1500, columns=None, noise=0.0, seed=0):
    """Rows of a product of factors, turned into columns at random, in units of their scale; and its dimension."""
    rows = np.hstack([FACTORS[name].draw(rng(seed + k), n) for k, name in enumerate(names)])
    if columns:
        rows = np.pad(rows, ((0, 0), (0, columns - rows.shape[1]))) @ random_rotation(columns, rng(seed))
    rows = rows + noise * rng(seed + 50).standard_normal(rows.shape)
    return np.asarray(Standardizer.fit(rows, "global").apply(rows)), sum(FACTORS[name].dim for name in names)


def spans(groups, owners):
    """Which factors the groups' rows are functions of, each as a set: explained by more than a tenth."""
    found = []
    for group in groups:
        shares = []
        for columns in owners:
            fitted = columns @ np.linalg.lstsq(columns, group.rows, rcond=None)[0]
            shares.append(np.square(fitted).sum() / np.square(group.rows).sum())
        found.append(frozenset(np.flatnonzero(np.array(shares) > 0.1).tolist()))
    return found


# groups ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("circle", "sphere of 3"),
        ("trefoil", "sphere of 4"),
        ("spiral", "torus", "Gauss of 2"),
        ("S", "helix", "circle", "interval"),
    ],
)
def test_the_factors_of_a_turned_product_are_found(names):
    drawn = [FACTORS[name].draw(rng(k), 1500) for k, name in enumerate(names)]
    drawn = [columns - columns.mean(axis=0) for columns in drawn]
    rows, _ = product(*names, columns=20)
    found = independent_groups(rows, RESOLUTION)
    assert found.rest < 1e-20
    groups = [*found.groups, *(both for _, _, both in found.joins)]
    whole = {
        (*owner, len(group.members)) for group, owner in zip(groups, spans(groups, drawn), strict=True)
    }  # groups that are functions of one factor, with their columns
    for k, name in enumerate(names):
        if FACTORS[name].columns > FACTORS[name].dim:
            assert (k, FACTORS[name].columns) in whole


def test_groups_hold_the_variance_of_the_rows():
    rows, _ = product("circle", "spiral", "Gauss of 1", columns=8, noise=0.02)
    found = independent_groups(rows, RESOLUTION)
    assert found.rest > 0
    assert sorted(member for group in found.groups for member in group.members) == list(range(5))
    held = sum(group.rows.var(axis=0).sum() for group in found.groups)
    assert held + found.rest == pytest.approx(rows.var(axis=0).sum(), rel=1e-9)


def test_joins_begin_with_the_groups_and_keep_every_direction():
    rows, _ = product("circle", "spiral", "torus", columns=8)
    found = independent_groups(rows, RESOLUTION)
    there = {group.members for group in found.groups}
    assert found.joins
    for one, other, both in found.joins:
        assert {one.members, other.members} <= there
        assert both.members == tuple(sorted(one.members + other.members))
        assert both.rows.shape == (1500, len(both.members))
        there = there - {one.members, other.members} | {both.members}
    assert sorted(member for members in there for member in members) == list(range(7))


def test_a_sphere_is_one_group_from_the_beginning():
    """Its squares are a linear function of each other, which no two of them show well."""
    rows, _ = product("sphere of 4", "Gauss of 2")
    assert sorted(len(group.members) for group in independent_groups(rows, RESOLUTION).groups) == [1, 1, 5]
    gauss, _ = product("Gauss of 4", "Gauss of 3")
    assert {len(group.members) for group in independent_groups(gauss, RESOLUTION).groups} == {1}  # control


@pytest.mark.parametrize("seed", [3, 5])
def test_two_spheres_are_two_groups(seed):
    """The squares of either are a function of each other, and a circle's two are collinear for the other sphere."""
    rows, _ = product("sphere of 3", "circle", seed=seed)
    assert sorted(len(group.members) for group in independent_groups(rows, RESOLUTION).groups) == [2, 4]


def test_squares_that_do_not_vary_join_nothing():
    """Those of -1 and 1 are 1 up to rounding, of which no group may be made."""
    design = np.stack(np.meshgrid(*[np.array([-1.0, 1.0])] * 7), axis=-1).reshape(-1, 7)
    assert {len(group.members) for group in independent_groups(design, RESOLUTION).groups} == {1}


def test_too_few_or_too_many_directions_are_left_alone():
    line = np.linspace(-1, 1, 200)[:, None] * [1.0, 0.0, 0.0]
    assert independent_groups(line, RESOLUTION).groups == []
    many = rng().standard_normal((400, MOST_COMPONENTS + 1))
    assert independent_groups(many, RESOLUTION).groups == []
    assert len(independent_groups(many[:, :-1], RESOLUTION).groups) == MOST_COMPONENTS  # control
    assert independent_groups(many[:40, :5], RESOLUTION).groups == []


def test_no_join_is_larger_than_can_be_looked_at():
    rows = rng().standard_normal((600, 1)) ** 2 * np.ones((1, 14)) + 0.3 * rng(1).standard_normal((600, 14))
    found = independent_groups(rows, 0.01)
    assert found.joins
    assert max(len(both.members) for _, _, both in found.joins) <= MOST_MEMBERS


# the start ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "noise", "n"),
    [
        (("circle", "sphere of 3"), 0.0, 900),
        (("spiral", "Gauss of 4", "ball of 3"), 0.02, 1500),
        (("flat torus", "Gauss of 4", "helix"), 0.05, 900),
        (("trefoil", "Gauss of 2", "sphere of 3"), 0.02, 900),
    ],
)
def test_a_product_of_many_dimensions_needs_its_dimension(names, noise, n):
    rows, dim = product(*names, n=n, columns=20, noise=noise)
    found = geodesic_start(rows, 12, 10, RESOLUTION)
    assert needed(found.decodability, RESOLUTION) == dim
    assert found.tear.groups > 1
    assert found.codes.shape == (n, 12)
    without = geodesic_start(rows, 12, 10, RESOLUTION, tear=False)
    assert needed(without.decodability, RESOLUTION) > dim  # control: Isomap


def test_what_coordinates_lay_out_together_stays_together():
    """In few dimensions nothing is won by groups, so the codes are Isomap's."""
    rows = np.asarray(Standardizer.fit(s_curve(rng(), 800, 2), "global").apply(s_curve(rng(), 800, 2)))
    found = geodesic_start(rows, 3, 10, RESOLUTION)
    assert found.tear.groups == 1
    np.testing.assert_array_equal(found.codes, geodesic_start(rows, 3, 10, RESOLUTION, tear=False).codes)


def test_directions_that_depend_on_each_other_are_not_taken_apart():
    """A Gaussian on a bent graph: the third column is a function of the first two."""
    flat = rng().standard_normal((1000, 2))
    rows = np.column_stack([flat, np.cos(2.0 * flat.sum(axis=1))])
    found = geodesic_start(np.asarray(Standardizer.fit(rows, "global").apply(rows)), 3, 10, RESOLUTION)
    assert needed(found.decodability, RESOLUTION) == 2


@pytest.fixture(scope="module")
def laid_in_groups():
    rows, _ = product("circle", "Gauss of 4", "helix", "torus", n=600)
    found = geodesic_start(rows, 11, 10, RESOLUTION)
    assert found.tear.groups > 1
    return rows, found


@pytest.mark.parametrize("change", ["threads", "unit"])
def test_nothing_else_matters(laid_in_groups, change):
    rows, found = laid_in_groups
    with threadpool_limits(2 if change == "threads" else 1):
        other = geodesic_start(rows * (2.0**30 if change == "unit" else 1.0), 11, 10, RESOLUTION)
    np.testing.assert_array_equal(found.codes, other.codes)
    assert found.tear == other.tear


def test_rows_that_are_equal_along_a_group_of_directions_are_no_obstacle():
    """Coordinates with few values: the rows differ, but in a group of directions many of them are equal."""
    levels = rng().integers(0, 4, (600, 2)).astype(float)
    rows = np.unique(np.column_stack([levels, FACTORS["sphere of 3"].draw(rng(1), 600)]), axis=0)
    found = geodesic_start(rows, 6, 10, RESOLUTION)
    assert np.isfinite(found.codes).all()
    assert np.isfinite(found.decodability).all()


@pytest.mark.parametrize("levels", [2, 7])
def test_a_lattice_keeps_its_dimension(levels):
    """Rows that are equal along some directions would decode each other; squares of -1 and 1 are constant."""
    dim = 7 if levels == 2 else 3
    grid = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, levels)] * dim), axis=-1).reshape(-1, dim)
    assert needed(geodesic_start(grid, dim, 10, RESOLUTION).decodability, RESOLUTION) == dim


def test_needed_allows_twice_the_squared_resolution():
    curve = np.array([1.0, 0.5, 0.1 + 1.9 * RESOLUTION**2, 0.1])
    assert needed(curve, RESOLUTION) == 3
    assert needed(curve, 0.9 * RESOLUTION) == 4
