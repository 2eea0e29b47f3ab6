"""The population: what a member is, that it has the dimension that it claims, and which members are for what."""

import itertools
from dataclasses import fields

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist
from tiny_study import config

from lwgan_dist.config import PopulationData, RunConfig
from lwgan_dist.configfile import build_config
from lwgan_dist.data.sample import load_sample
from lwgan_dist.data.simulated.population import (
    CHARTS,
    CLOSED,
    DEVELOPMENT_END,
    MOST_COLUMNS,
    MOST_DIMENSIONS,
    REPORT_START,
    REPORTS,
    PopulationSampler,
    member,
    report_members,
)
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import ConfigError
from lwgan_dist.study.design import Design

FACTORS = {factor.name: factor for factor in (*CHARTS, *CLOSED)}
DEVELOPMENT = range(300)
WIDE = {"run.networks.latent_dim": 10, "run.schedule.batch_size": 32}
"""Runs of a study that could give any dimension of the population."""


def rng(seed=0):
    return np.random.default_rng(seed)


def of(number, **told):
    return member(PopulationData(population=number, **told))


def properties(one, leave=()):
    """A member as something that can be compared."""
    told = {field.name: getattr(one, field.name) for field in fields(one) if field.name not in leave}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in told.items()}


# what a member is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 7, 523, 1_000_000])
def test_a_member_is_a_function_of_its_number(number):
    first = of(number)
    assert properties(first) == properties(of(number))
    assert properties(first) == properties(of(number, seed=5, n=17, noise=0.3, holdout_fraction=0.2))
    np.testing.assert_array_equal(first.draw(rng(), 50), of(number).draw(rng(), 50))
    assert properties(first) != properties(of(number + 1))  # control


def test_members_are_drawn_from_all_that_there_is():
    """A chi-squared test at 1e-6 of every property that is drawn evenly."""
    members = [of(number) for number in DEVELOPMENT]
    count = len(members)
    for values, expected in (
        ([one.intrinsic_dim for one in members], range(1, MOST_DIMENSIONS + 1)),
        ([one.closed for one in members], [False, True]),
        ([one.bending for one in members], ["linear", "turned", "bent"]),
        ([one.density for one in members], ["even", "uneven"]),
    ):
        share = count / len(expected)
        counts = np.array([values.count(value) for value in expected])
        assert counts.sum() == count
        assert np.square(counts - share).sum() / share < 45
    columns = np.log([one.ambient_dim for one in members])
    assert columns.max() > np.log(150)
    assert columns.max() <= np.log(MOST_COLUMNS)
    assert {factor.name for one in members for factor in one.factors} == set(FACTORS)


def test_properties_of_a_member_say_nothing_about_each_other_or_about_the_next():
    members = [of(number) for number in DEVELOPMENT]
    told = np.array(
        [[one.intrinsic_dim, one.closed, one.bending == "bent", one.density == "even", one.aspect[0],
          one.frequencies[0, 0]] for one in members]
    )  # fmt: skip
    here, following = told[:-1], told[1:]
    bound = 5 / np.sqrt(len(members))
    together = np.corrcoef(told.T) - np.eye(told.shape[1])
    drawn_from_it = np.zeros_like(together, dtype=bool)
    drawn_from_it[0, 5] = drawn_from_it[5, 0] = True  # frequencies are shorter in more columns
    assert np.abs(together[~drawn_from_it]).max() < bound
    assert np.abs(np.corrcoef(here.T, following.T)[:6, 6:]).max() < bound


def test_samples_of_different_members_are_independent_draws():
    """At the same seed of the sample, first columns of different members are not the same numbers, turned over."""
    told = {"dim": 1, "ambient_dim": 3, "bending": "linear", "density": "even", "n": 800, "topology": "chart"}
    firsts = [load_sample(PopulationData(population=number, **told)).train[:][:, 0] for number in range(20)]
    assert np.abs(np.corrcoef(firsts) - np.eye(20)).max() < 6 / np.sqrt(800)
    told = PopulationData(population=3, n=50)
    assert load_sample(told).digest == load_sample(told).digest
    assert load_sample(told).digest != load_sample(told.model_copy(update={"seed": 1})).digest


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize(
    "told",
    [
        {"dim": 3},
        {"topology": "chart"},
        {"topology": "closed"},
        {"ambient_dim": 50},
        {"bending": "turned"},
        {"density": "uneven"},
        {"dim": 7, "topology": "closed", "ambient_dim": 8, "bending": "bent", "density": "even"},
    ],
)
def test_what_is_fixed_is_kept(number, told):
    one = of(number, **told)
    has = {"dim": one.intrinsic_dim, "topology": "closed" if one.closed else "chart"}
    has |= {name: getattr(one, name) for name in ("ambient_dim", "bending", "density")}
    assert {name: has[name] for name in told} == told


@pytest.mark.parametrize("number", range(12))
def test_what_is_fixed_moves_nothing_else(number):
    """Every property has random numbers of its own."""
    free = of(number)
    own = {"dim": free.intrinsic_dim, "topology": "closed" if free.closed else "chart"}
    own |= {name: getattr(free, name) for name in ("ambient_dim", "bending", "density")}
    for name, value in own.items():
        assert properties(of(number, **{name: value})) == properties(free)
    assert properties(of(number, **own)) == properties(free)
    for density in ("even", "uneven"):
        other = of(number, density=density)
        assert properties(other, ["density", "tilt"]) == properties(free, ["density", "tilt"])
    for bending in ("linear", "turned", "bent"):
        other = of(number, bending=bending)
        assert properties(other, ["bending", "rotation"]) == properties(free, ["bending", "rotation"])
    wide = [of(number, ambient_dim=columns) for columns in (60, 120)]
    kept = ["dim", "factors", "aspect", "bending", "density", "frequencies", "phases", "tilt"]
    assert all(properties(wide[0]).get(name) == properties(wide[1]).get(name) for name in kept)


def test_turning_changes_no_distance_and_bending_does():
    straight, turned, bent = (
        pdist(of(5, bending=bending, ambient_dim=20).draw(rng(), 40)) for bending in ("linear", "turned", "bent")
    )
    np.testing.assert_allclose(straight, turned, rtol=1e-9)
    assert (bent > straight).all()


@pytest.mark.parametrize("topology", ["chart", "closed"])
@pytest.mark.parametrize("dim", range(1, MOST_DIMENSIONS + 1))
def test_every_dimension_and_topology_fits_into_one_column_more(dim, topology):
    for number in range(20):
        one = of(number, dim=dim, topology=topology, ambient_dim=dim + 1)
        assert one.intrinsic_dim == sum(factor.dim for factor in one.factors) == dim
        assert sum(factor.columns for factor in one.factors) <= dim + 1
        assert one.closed == (topology == "closed")
        assert all(0.6 <= aspect <= 1.0 for aspect in one.aspect)
        assert one.draw(rng(), 3).shape == (3, dim + 1)


@pytest.mark.parametrize("number", range(30))
def test_a_draw_has_the_columns_as_told(number):
    one = of(number)
    assert one.draw(rng(), 5).shape == (5, one.ambient_dim)
    assert one.intrinsic_dim < one.ambient_dim
    assert one.intrinsic_dim == sum(factor.dim for factor in one.factors)
    assert np.isfinite(one.draw(rng(), 100)).all()
    sampler = PopulationSampler(PopulationData(population=number))
    assert (sampler.intrinsic_dim, sampler.ambient_dim) == (one.intrinsic_dim, one.ambient_dim)
    assert str(one.ambient_dim) in one.description
    assert all(factor.name in one.description for factor in one.factors)


# it has the dimension that it claims ----------------------------------------------------------------------------------


def local_rank(rows, neighbours=30, places=40, share=0.02):
    """Median over some places of the principal directions with over 2 % of the variance in a small neighbourhood."""
    tree = cKDTree(rows)
    ranks = []
    for place in rows[:places]:
        near = rows[tree.query(place, neighbours)[1]]
        variance = np.linalg.svd(near - near.mean(axis=0), compute_uv=False) ** 2
        ranks.append((variance > share * variance.sum()).sum())
    return np.median(ranks)


ROWS = {1: 5_000, 2: 30_000, 3: 120_000, 4: 200_000}


@pytest.mark.parametrize("name", [name for name, factor in FACTORS.items() if factor.dim <= 3])
def test_a_factor_has_its_dimension_and_a_spread_of_order_1(name):
    factor = FACTORS[name]
    rows = factor.draw(rng(), ROWS[factor.dim])
    assert rows.shape[1] == factor.columns >= factor.dim
    assert local_rank(rows) == factor.dim
    spread = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) / np.sqrt(len(rows))
    assert spread.min() > 0.35
    assert spread.max() < 2.0


@pytest.mark.parametrize("name", ["Gauss of 4", "sphere of 4"])
def test_a_factor_of_4_dimensions_has_a_spread_of_1(name):
    factor = FACTORS[name]
    rows = factor.draw(rng(), 20_000)
    assert factor.dim == 4
    np.testing.assert_allclose(np.cov(rows.T), np.eye(factor.columns), atol=0.05)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_local_principal_components_count_the_dimension_of_a_member(dim, number):
    """In d + 1 columns, where the bending has no room, or in 6."""
    for columns in {dim + 1, 6}:
        one = of(number + 10, dim=dim, ambient_dim=columns)
        assert local_rank(one.draw(rng(), ROWS[dim])) == dim
    fat = PopulationSampler(PopulationData(population=number + 10, dim=dim, ambient_dim=6, noise=0.2))
    assert local_rank(fat.draw(rng(), 5_000)) > dim  # control: with noise there are more


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("columns", [4, 12])
def test_a_bent_member_does_not_cross_itself(number, columns):
    """With columns to spare it is a graph over the natural ones, from which these can be read off; else every distance
    is kept up to a half."""
    told = {"dim": 3, "ambient_dim": columns, "density": "even"}
    bent, straight = of(number, bending="bent", **told), of(number, bending="linear", **told)
    natural = sum(factor.columns for factor in bent.factors)
    x = straight.draw(rng(), 300)[:, :natural]
    y = bent.draw(rng(), 300)
    far, image = pdist(x), pdist(y)
    if columns > natural:
        np.testing.assert_allclose((y @ bent.rotation.T)[:, :natural], x, atol=1e-12)
        assert (image >= far - 1e-12).all()
        steepest = np.linalg.norm(bent.frequencies, ord=2) * np.linalg.norm(bent.bend, ord=2)
        assert (image <= np.hypot(1.0, steepest) * far + 1e-12).all()  # near rows stay near
    else:
        assert (image >= 0.5 * far - 1e-12).all()
        assert (image <= 1.5 * far + 1e-12).all()
    assert np.abs(image - far).max() > 0.1  # control: it is bent


def test_an_uneven_member_has_more_rows_on_one_side_and_fourfold_at_most():
    told = {"dim": 2, "topology": "chart", "bending": "linear", "ambient_dim": 6}
    even, uneven = (of(4, density=density, **told) for density in ("even", "uneven"))
    natural = sum(factor.columns for factor in even.factors)
    sides = [one.draw(rng(), 20_000)[:, :natural] @ uneven.tilt for one in (even, uneven)]
    edges = np.quantile(sides[0], [0.05, 0.95])
    ratios = [(side > edges[1]).mean() / (side < edges[0]).mean() for side in sides]
    assert ratios[0] == pytest.approx(1.0, abs=0.15)
    assert 1.5 < ratios[1] < 4.2


# noise ----------------------------------------------------------------------------------------------------------------


def noise_of(**told):
    """The noise on rows of a member, and the rows without it."""
    noisy = PopulationSampler(PopulationData(**told))
    plain = PopulationSampler(PopulationData(**{**told, "noise": 0.0})).draw(rng(), told["n"])
    return noisy.draw(rng(), told["n"]) - plain, plain


@pytest.mark.parametrize("number", range(4))
def test_noise_in_units_of_the_scale(number):
    noise, plain = noise_of(population=number, noise=0.05, ambient_dim=20, n=3000)
    scale = Standardizer.fit(plain, "global").scale[0]
    np.testing.assert_allclose(noise.std(axis=0), 0.05 * scale, rtol=0.1)  # in every column, empty ones too
    assert noise.std() == pytest.approx(0.05 * scale, rel=0.05)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=5 * 0.05 * scale / np.sqrt(3000))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("n", [500, 2000])
def test_noise_in_units_of_the_spacing(number, n):
    """The difference of the noise on two rows is as long as the way to the tenth neighbour."""
    noise, plain = noise_of(population=number, noise=1.0, noise_unit="spacing", ambient_dim=20, n=n)
    tenth = np.median(np.sort(np.linalg.norm(plain[:200, None] - plain, axis=2), axis=1)[:, 10])
    assert noise.std() == pytest.approx(tenth / np.sqrt(40), rel=0.15)
    assert np.median(np.linalg.norm(noise[::2] - noise[1::2], axis=1)) == pytest.approx(tenth, rel=0.2)


def test_without_noise_there_is_none():
    noise, _ = noise_of(population=1, noise=0.0, n=20)
    assert not noise.any()


def test_a_stream_draws_the_same_manifold_afresh():
    told = {"population": 2, "dim": 1, "ambient_dim": 3, "bending": "linear"}
    sample = load_sample(PopulationData(rows="stream", n=200, **told))
    assert sample.intrinsic_dim == 1
    one, other = (sample.draw(rng(seed), 100) for seed in (0, 1))
    assert not np.array_equal(one, other)
    dense = cKDTree(sample.standardizer.apply(PopulationSampler(PopulationData(**told)).draw(rng(3), 20_000)))
    for rows in (one, other):
        assert np.quantile(dense.query(rows)[0], 0.9) < 0.01
    foreign = PopulationSampler(PopulationData(**{**told, "population": 3})).draw(rng(), 100)
    assert np.quantile(dense.query(sample.standardizer.apply(foreign))[0], 0.9) > 0.01  # control


# who may use which, and how they are named ----------------------------------------------------------------------------


def test_members_of_published_tables_do_not_overlap_and_none_may_be_looked_at():
    reserved = [number for table in REPORTS for number in report_members(table, len(REPORTS[table]))]
    assert len(set(reserved)) == len(reserved) > 0
    assert min(reserved) >= REPORT_START > DEVELOPMENT_END
    for one, other in itertools.combinations(REPORTS.values(), 2):
        assert one.stop <= other.start or other.stop <= one.start


def test_only_as_many_are_given_as_are_reserved():
    assert report_members("population", 3) == list(REPORTS["population"])[:3]
    for table, count in (("population", len(REPORTS["population"]) + 1), ("no such table", 1)):
        with pytest.raises(ValueError, match="has not reserved"):
            report_members(table, count)


@pytest.mark.parametrize(("dim", "columns"), [(5, 5), (3, 2), (10, 10)])
def test_as_many_dimensions_as_columns_are_refused(dim, columns):
    with pytest.raises(ConfigError, match=rf"data.ambient_dim: .* dimension {dim} needs at least {dim + 1} columns"):
        PopulationSampler(PopulationData(population=0, dim=dim, ambient_dim=columns))


def test_columns_are_checked_against_the_dimension_that_is_drawn():
    high = next(number for number in DEVELOPMENT if of(number).intrinsic_dim == 9)
    with pytest.raises(ConfigError, match="dimension 9 needs at least 10 columns"):
        load_sample(PopulationData(population=high, ambient_dim=9))


@pytest.mark.parametrize(
    "told",
    [{"population": -1}, {"dim": 11}, {"dim": 0}, {"ambient_dim": 201}, {"topology": "open"}, {"noise": -0.1},
     {"name": "sphere"}],
)  # fmt: skip
def test_what_no_member_has_is_refused(told):
    with pytest.raises(ValidationError):
        RunConfig.model_validate({"data": {"population": 7, **told}})


def test_data_with_a_member_need_no_source():
    short = RunConfig.model_validate({"data": {"population": 7, "dim": 2}})
    assert isinstance(short.data, PopulationData)
    assert short == RunConfig.model_validate({"data": {"source": "population", "population": 7, "dim": 2}})
    assert build_config(RunConfig, {"data": {"population": 7}}, {"data.population": 8}).data.population == 8
    assert short.fingerprint("x") != RunConfig.model_validate({"data": {"population": 8, "dim": 2}}).fingerprint("x")


def test_a_study_accepts_a_member():
    groups = Design(config(WIDE, data=[{"population": 7}], sizes=[100]), "float32").groups
    assert {group.data for group in groups} == {"member 7"}
    assert {group.intrinsic_dim for group in groups} == {of(7).intrinsic_dim}


def test_a_study_takes_several_members_as_a_factor():
    factors = {"data.population": [3, 4, 5], "data.noise": [0.0, 0.05]}
    told = config(WIDE, data=[{"population": 0, "topology": "closed"}], sizes=[100], factors=factors)
    groups = Design(told, "float32").groups
    found = {(group.config.data.population, group.config.data.noise): group.intrinsic_dim for group in groups}
    assert found == {(n, noise): of(n).intrinsic_dim for n in (3, 4, 5) for noise in (0.0, 0.05)}
    assert len({group.data for group in groups}) == 6
    assert all(group.config.data.topology == "closed" for group in groups)


def test_a_member_that_cannot_be_is_refused_before_the_study_begins():
    told = config(WIDE, data=[{"population": 3, "dim": 4}], sizes=[100], factors={"data.ambient_dim": [9, 4]})
    with pytest.raises(ConfigError, match=r"member 3, dim 4.*needs at least 5 columns"):
        Design(told, "float32")
