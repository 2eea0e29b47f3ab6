"""Data that fall apart are found to, data in one piece are not; each part has a dimension of its own."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny import FAST

from lwgan_dist.config import ExecutionConfig, RunConfig, ScoreConfig, override
from lwgan_dist.data.parts import LEAST_ROWS, MOST_ROWS, parts_of
from lwgan_dist.data.simulated.manifolds import MANIFOLDS, swissroll_curve
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.models.lwgan.kind import LEAST_PART_ROWS, dimensions_by_part
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder


def rng(seed=0):
    return np.random.default_rng(seed)


def clusters(*sizes, gap=12.0, columns=3, seed=0):
    """Gaussian clusters in a row, in a random order of rows; with the number of each row's cluster."""
    number = np.repeat(np.arange(len(sizes)), sizes)
    x = rng(seed).standard_normal((len(number), columns))
    x[:, 0] += gap * number
    order = rng(seed + 1).permutation(len(number))
    return x[order], number[order]


@pytest.mark.parametrize("columns", [2, 3, 10])
@pytest.mark.parametrize("sizes", [(300, 200), (300, 250, 200, 150)])
def test_clusters_are_parts_in_the_order_of_falling_size(sizes, columns):
    x, number = clusters(*sizes, columns=columns)
    np.testing.assert_array_equal(parts_of(x), number)
    x, number = clusters(*reversed(sizes), columns=columns)
    np.testing.assert_array_equal(parts_of(x), len(sizes) - 1 - number)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_a_connected_manifold_is_one_piece(name):
    manifold = MANIFOLDS[name]
    assert not parts_of(manifold.sample(rng(), 600, manifold.default_dim)).any()


@pytest.mark.parametrize(
    "x",
    [
        rng().standard_t(2, (1000, 3)),  # rows far out
        rng().standard_normal((1000, 20)),
        rng().integers(0, 3, (1000, 3)).astype(float),
        clusters(300, 200, gap=2.0)[0],  # they overlap
    ],
)
def test_rows_in_one_piece_are_all_of_part_0(x):
    parts = parts_of(x)
    assert parts.shape == (len(x),)
    assert parts.dtype == np.int64
    assert not parts.any()


def test_a_thin_bridge_joins_two_clusters():
    x, _ = clusters(300, 200)
    bridge = np.column_stack([np.linspace(0, 12, 40), np.zeros((40, 2))])
    assert not parts_of(np.concatenate([x, bridge])).any()
    half = bridge[:15]
    assert parts_of(np.concatenate([x, half])).max() == 1  # control: a pier joins nothing


def test_a_few_stray_rows_belong_to_the_part_that_they_are_near():
    x, number = clusters(300, 200)
    stray = np.array([[-9.0, 0, 0], [0, 9.0, 0], [21.0, 0, 0]])
    np.testing.assert_array_equal(parts_of(np.concatenate([x, stray])), [*number, 0, 0, 1])


@pytest.mark.parametrize(("rows", "part"), [(LEAST_ROWS - 1, -1), (LEAST_ROWS, 2)])
def test_a_clump_of_few_rows_is_stray_and_no_part(rows, part):
    x, number = clusters(300, 200)
    clump = 0.1 * rng(5).standard_normal((rows, 3)) + [0, 40.0, 0]
    np.testing.assert_array_equal(parts_of(np.concatenate([x, clump])), [*number, *[part] * rows])
    one = np.concatenate([x[number == 0], clump])
    assert set(parts_of(one)) == ({0} if part < 0 else {0, 1})  # beside a single part nothing is stray


def test_a_clump_of_a_small_share_is_stray():
    x, _ = clusters(900, 600)
    clump = 0.1 * rng(5).standard_normal((40, 3)) + [0, 40.0, 0]
    assert (parts_of(np.concatenate([x, clump]))[1500:] == -1).all()
    assert (parts_of(np.concatenate([x[:600], clump]))[600:] == 2).all()  # control: the same clump among fewer rows


def test_repeated_rows_are_no_part_by_themselves():
    """Without the distinct rows, 40 equal ones would have no neighbour but each other."""
    x = rng().standard_normal((300, 3))
    assert not parts_of(np.concatenate([x, np.repeat(x[:5], 40, axis=0)])).any()
    two, number = clusters(300, 200)
    np.testing.assert_array_equal(parts_of(np.repeat(two, 2, axis=0)), np.repeat(number, 2))


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 11, 12, 30])
def test_few_rows_are_one_piece(rows):
    assert parts_of(clusters(rows)[0]).tolist() == [0] * rows


@pytest.mark.parametrize("x", [np.ones((100, 3)), np.repeat(np.eye(10), 40, axis=0)])
def test_few_distinct_rows_are_one_piece(x):
    assert not parts_of(x).any()


def test_of_many_rows_those_without_a_place_in_the_graph_belong_to_the_nearest():
    x, number = clusters(MOST_ROWS, MOST_ROWS + 500, seed=3)
    np.testing.assert_array_equal(parts_of(x), 1 - number)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neither_the_unit_nor_the_origin_matters(dtype):
    x, number = clusters(300, 200)
    for changed in (2.0**30 * x, 2.0**-30 * x, x + 100.0):
        np.testing.assert_array_equal(parts_of(changed.astype(dtype)), number)


# the dimension of each part -------------------------------------------------------------------------------------------


class Columns:
    """A stand-in for networks that keep the first r columns and lose the others."""

    def __init__(self, q):
        self.latent_dim = q

    def encode(self, rows, rank):
        return rows[:, :rank]

    def decode(self, codes):
        return np.pad(codes, ((0, 0), (0, self.latent_dim - codes.shape[1])))


def config_of(q, score=None):
    return SimpleNamespace(score=score or ScoreConfig(), seed=0, networks=SimpleNamespace(latent_dim=q))


def by_part(dims, sizes, scales, score=None):
    """Balls of some dimensions along the first of four columns, far apart, each with a scale of its own."""
    drawn = []
    for k, (dim, size, scale) in enumerate(zip(dims, sizes, scales, strict=True)):
        x = np.zeros((size, 4))
        x[:, :dim] = scale * rng(k).standard_normal((size, dim))
        x[:, 0] += 100.0 * k
        drawn.append(x)
    rows = np.concatenate(drawn)
    sample = SimpleNamespace(train=rows, standardizer=Standardizer(np.zeros(4), np.ones(4)))
    parts = np.repeat(np.arange(len(sizes)), sizes)
    return dimensions_by_part(Columns(4), config_of(4, score), sample, parts)


@pytest.mark.parametrize("dims", [(1, 2), (2, 1), (1, 3, 2), (4, 4)])
def test_every_part_has_its_own_dimension(dims):
    sizes = (400, 300, 200)[: len(dims)]
    found = by_part(dims, sizes, [1.0] * len(dims))
    assert [part.dimension for part in found] == list(dims)
    assert [part.rows for part in found] == list(sizes)
    assert [part.share for part in found] == pytest.approx([size / sum(sizes) for size in sizes])


def test_the_resolution_is_a_share_of_the_scale_of_the_part():
    """A disc of a thousandth of the size of the other part is a disc."""
    assert [part.dimension for part in by_part((3, 2), (300, 300), (1.0, 1e-3))] == [3, 2]
    coarse = ScoreConfig(resolution=0.95, penalty_constant=5.0)
    assert [part.dimension for part in by_part((3, 2), (300, 300), (1.0, 1e-3), coarse)] != [3, 2]  # control


def test_a_part_of_few_rows_says_nothing_about_its_dimension():
    enough, few = by_part((2, 2), (LEAST_PART_ROWS, LEAST_PART_ROWS - 1), (1.0, 1.0))
    assert enough.dimension == 2
    assert few.dimension is None
    assert few.rows == LEAST_PART_ROWS - 1


def test_stray_rows_count_in_no_part():
    x, number = clusters(300, 200)
    parts = np.where(np.arange(500) % 50 == 0, -1, number)
    sample = SimpleNamespace(train=x, standardizer=Standardizer(np.zeros(3), np.ones(3)))
    found = dimensions_by_part(Columns(3), config_of(3), sample, parts)
    assert sum(part.rows for part in found) == 490
    assert sum(part.share for part in found) == pytest.approx(0.98)


def fit(x, folder):
    told = override(FAST, {"data": {"source": "array", "holdout_fraction": 0.1}})
    run = Run(RunConfig.model_validate(told), x)
    run.report_findings()
    return run.fit(Folder.at(str(folder)), ExecutionConfig(workers=0)).result


def test_a_run_on_clusters_tells_of_its_parts(tmp_path, caplog):
    x, _ = clusters(240, 160)
    result = fit(x, tmp_path / "two")
    assert len(result.parts) == 2
    assert sum(part.rows for part in result.parts) == 360
    assert result.parts[0].rows > result.parts[1].rows
    assert "fall into 2 parts" in caplog.text
    said = {part.dimension for part in result.parts}
    if len(said) == 1:
        assert result.dimension in said
    else:
        assert any("parts of different dimensions" in note for note in result.notes)


def test_a_run_in_one_piece_has_no_parts(tmp_path, caplog):
    assert fit(rng().standard_normal((300, 3)), tmp_path / "one").parts == []
    assert "parts" not in caplog.text


def test_a_sampled_curve_is_in_one_piece(monkeypatch):
    """By chance, some gaps on a curve are many times the mean; with 10 neighbours it often falls apart there."""
    samples = [swissroll_curve(rng(seed), 1000, 1) for seed in range(30)]
    assert not any(parts_of(x).any() for x in samples)
    monkeypatch.setattr("lwgan_dist.data.parts.NEIGHBORS", 10)
    assert any(parts_of(x).any() for x in samples)  # control
