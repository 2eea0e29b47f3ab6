"""What is found in rows before the training; every kind in data made here, many times, and nothing in clean data."""

import re

import numpy as np
import pytest
from sklearn import datasets

from lwgan_dist.config import ArrayData, ManifoldData, PopulationData, TableData
from lwgan_dist.data.files.loading import numbered_columns
from lwgan_dist.data.files.tables import Table
from lwgan_dist.data.findings.columns import codes_of
from lwgan_dist.data.findings.finding import have_meanings
from lwgan_dist.data.sample import load_sample
from lwgan_dist.data.settle import look_at, settle
from lwgan_dist.data.simulated.population import sampler_of
from lwgan_dist.seeding import generator

SEEDS = range(8)


def sheet(seed, n=None, columns=None):
    """A bent sheet with random sizes, in a random place."""
    rng = np.random.default_rng(seed)
    n, p = n or int(rng.integers(300, 1500)), columns or int(rng.integers(3, 12))
    u = rng.uniform(-1, 1, (n, 2))
    features = np.column_stack([u, np.sin(2 * u[:, 0]), u.prod(axis=1)])
    return features @ rng.normal(size=(4, p)) + rng.normal(scale=5, size=p)


def found(rows, columns=None, standardize="auto"):
    """The findings on rows in memory by kind."""
    names = columns or numbered_columns(int(np.prod(rows.shape[1:])))
    table, changes, decided = settle(ArrayData(standardize=standardize), Table(rows, tuple(names)))
    findings = [*decided, *look_at(table, changes.get("standardize", standardize))]
    return {finding.kind: finding for finding in findings}


def of_file(tmp_path, rows, names, **settings):
    """The sample of a CSV file."""
    path = tmp_path / "table.csv"
    np.savetxt(path, rows, delimiter=",", header=",".join(names), comments="", fmt="%.17g")
    return load_sample(TableData(path=str(path), **settings))


def letters(count):
    return [f"column {chr(97 + i)}" for i in range(count)]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_found_in_a_clean_sheet(seed):
    rows = sheet(seed)
    assert found(rows) == {}
    assert found(rows.astype(np.float32)) == {}
    assert found(rows[:, ::-1] * 1e6 + 1e7) == {}


def test_nothing_but_what_is_true_is_found_in_generated_manifolds():
    """Zeros that fill up columns are constant; nothing else is said."""
    for member in range(40):
        rows = sampler_of(PopulationData(population=member)).draw(generator(0, "sample", member), 600)
        assert found(rows).keys() <= {"constant_columns"}, member
    for name in ("swissroll_curve", "s_curve", "hyperplane", "sphere", "torus", "helix", "waves_6", "klein_bottle"):
        for n in (200, 2000):
            rows = sampler_of(ManifoldData(name=name, n=n, noise=0.05)).draw(generator(0, "sample"), n)
            assert found(rows) == {}, name


@pytest.mark.parametrize(
    ("name", "kinds", "standardize"),
    [
        ("wine", {"differing_units"}, "per_column"),
        ("breast_cancer", {"differing_units"}, "per_column"),
        ("diabetes", set(), "global"),
        ("iris", {"repeated_rows"}, "global"),
        ("digits", {"constant_columns"}, "global"),
    ],
)
def test_tables_of_scikit_learn(name, kinds, standardize):
    frame = getattr(datasets, f"load_{name}")(as_frame=True).data
    assert found(frame.to_numpy(), tuple(frame.columns)).keys() == kinds
    table = Table(frame.to_numpy(), tuple(frame.columns))
    assert settle(ArrayData(), table).changes == {"standardize": standardize}


# columns --------------------------------------------------------------------------------------------------------------


def test_a_standardisation_that_is_named_is_kept():
    rows = sheet(0) * np.array([1000.0] + [1.0] * (sheet(0).shape[1] - 1))
    for named in ("global", "per_column", "none"):
        assert settle(ArrayData(standardize=named), Table(rows, tuple(letters(rows.shape[1])))).changes == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_named_columns_in_other_units_are_divided_each_by_its_own(seed, tmp_path):
    rng = np.random.default_rng(seed)
    rows = sheet(seed, columns=6) * 10.0 ** rng.permutation([0, 0, 0, 1, 3, 5])
    sample = of_file(tmp_path, rows, letters(6))
    assert sample.config.standardize == "per_column"
    assert "data.standardize=global" in str(sample.findings[0])
    np.testing.assert_allclose(np.asarray(sample.train).std(axis=0), 1.0)
    assert of_file(tmp_path, rows, letters(6), standardize="global").config.standardize == "global"


@pytest.mark.parametrize("seed", SEEDS)
def test_columns_that_are_only_counted_are_divided_by_one_scale_and_warned_of(seed):
    rows = sheet(seed, columns=8) * np.array([1, 1, 3000, 1, 1, 1, 2000, 1])
    finding = found(rows)["dominant_columns"]
    assert (finding.level, finding.columns) == ("warning", ["x3", "x7"])
    assert "data.standardize=per_column" in finding.action
    assert "dominant_columns" not in found(rows, standardize="per_column")


def test_images_are_divided_by_one_scale_and_their_pixels_are_not_columns():
    images = np.random.default_rng(0).uniform(size=(60, 8, 8)) * np.linspace(1e-4, 1, 64).reshape(8, 8)
    assert found(images, letters(26) + [f"other {i}b" for i in range(38)]) == {}


@pytest.mark.parametrize(
    ("columns", "meanings"),
    [
        ("x1 x2 x3", False), ("pixel_0_0 pixel_0_1 pixel_7_7", False), ("PC1 PC2", False), ("0 1 2", False),
        ("acc_x acc_y acc_z", False), ("x y z", False), ("x1 y1 x2 y2", False), ("V1 V2 V3", False),
        ("a b c", False), ("a1 b1", False), ("ab cd", True),
        ("height weight", True), ("x1 weight", True), ("score1 score2 income", True),
    ],
)  # fmt: skip
def test_names_that_are_counted_are_those_of_one_space(columns, meanings):
    assert have_meanings(tuple(columns.split())) == meanings


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["Unnamed: 3", "index", "ID", "row_id"])
def test_row_numbers_are_left_out_and_named(seed, name, tmp_path):
    rows, start = sheet(seed, columns=4), seed % 2
    place = seed % 5
    numbered = np.insert(rows, place, np.arange(len(rows)) + start, axis=1)
    names = letters(4)
    names.insert(place, name)
    sample = of_file(tmp_path, numbered, names)
    assert (sample.config.columns, sample.columns) == (letters(4), tuple(letters(4)))
    (finding,) = sample.findings
    assert (finding.kind, finding.columns, "left out" in finding.action) == ("row_numbers", [name], True)
    np.testing.assert_array_equal(sample.table.rows, rows)
    kept = of_file(tmp_path, numbered, names, columns=names)  # asked for
    assert kept.columns == tuple(names)
    assert {finding.kind for finding in kept.findings} >= {"row_numbers"}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_may_number_the_rows_is_kept_with_a_warning(seed, tmp_path):
    rng, rows = np.random.default_rng(seed), sheet(seed, columns=4)
    counted = np.column_stack([np.arange(len(rows)), rows])
    ids = np.column_stack([rng.permutation(10**6)[: len(rows)], rows])
    for numbered, name in ((counted, "time"), (ids, "customer_id")):
        sample = of_file(tmp_path, numbered, [name, *letters(4)])
        finding = next(finding for finding in sample.findings if finding.kind == "row_numbers")
        assert sample.columns[0] == name
        assert f"data.drop=[{name}]" in finding.action
    assert "row_numbers" in found(counted)


def test_a_table_of_row_numbers_alone_is_not_emptied(tmp_path):
    sample = of_file(tmp_path, np.column_stack([np.arange(60), np.ones(60)]), ["id", "one"])
    assert sample.columns == ("id", "one")


@pytest.mark.parametrize(("per_second", "unit"), [(1e9, "nanoseconds"), (1e6, "microseconds"), (1e3, "milliseconds")])
@pytest.mark.parametrize("seed", SEEDS)
def test_times_since_1970_are_noticed_by_their_scale(seed, per_second, unit):
    rows = sheet(seed, columns=4)
    rows[:, 1] = np.floor((1.6e9 + 1e7 * rows[:, 1]) * per_second)
    findings = found(rows, ["a b", "when", "c d", "e f"])
    assert unit in findings["times"].message
    assert re.search(r"\(20(1|2)\d-\d\d-\d\d to 20(1|2)\d", findings["times"].message)
    assert "data.drop=[when]" in findings["times"].action
    assert "large_values" not in findings


@pytest.mark.parametrize("code", [-999.0, -9999.0, 9999.0, -99.0, 1e6, -1234.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_codes_for_missing_values_are_noticed_in_cells_and_in_rows(seed, code):
    rng = np.random.default_rng(seed)
    rows = sheet(seed, columns=5)
    rows /= rows.std(axis=0)
    whole = rng.choice(len(rows), 5, replace=False)
    in_rows = rows.copy()
    in_rows[whole] = code
    findings = found(in_rows)
    assert f"{code:g} stands in 5 of {len(rows)} rows" in findings["missing_codes"].message
    assert len(findings["missing_codes"].columns) == 5
    in_cells = rows.copy()
    in_cells[whole, 2] = code
    assert found(in_cells)["missing_codes"].columns == ["x3"]


@pytest.mark.parametrize("seed", SEEDS)
def test_several_codes_are_told_apart(seed):
    values = np.random.default_rng(seed).normal(50, 10, 400)
    values[:4], values[10:13], values[20:29] = -999, -9999, 9999
    assert sorted(codes_of(values)) == [(-9999.0, 3), (-999.0, 4), (9999.0, 9)]


@pytest.mark.parametrize("seed", SEEDS)
def test_values_that_are_only_extreme_are_no_codes(seed):
    rng = np.random.default_rng(seed)
    for values in (
        rng.standard_cauchy(500), rng.poisson(0.3, 500).astype(float), np.repeat([0.0, 1.0], 250),
        rng.lognormal(0, 2, 500), np.concatenate([np.zeros(300), rng.uniform(100, 101, 200)]),
    ):  # fmt: skip
        assert codes_of(values) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_categories_in_columns_of_their_own_are_recognised(seed):
    rng, rows = np.random.default_rng(seed), sheet(seed, columns=4)
    count, flag = int(rng.integers(2, 7)), rng.integers(0, 2, len(rows))
    category = rng.integers(0, count, len(rows))
    category[:count] = np.arange(count)
    names = [f"kind_{i}" for i in range(count)]
    table = np.column_stack([rows[:, :2], flag, np.eye(count)[category], rows[:, 2:]])
    finding = found(table, ["a b", "c d", "flag", *names, "e f", "g h"])["one_hot_columns"]
    assert finding.columns == names
    assert "one_hot_columns" not in found(np.column_stack([rows, flag]))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_constant_columns_are_told_and_five_are_named(dtype):
    rows = np.hstack([1000 * sheet(0, n=60, columns=3), np.full((60, 7), 3.0)]).astype(dtype)
    finding = found(rows)["constant_columns"]
    assert finding.message == "7 of 10 columns are constant: 'x4', 'x5', 'x6', 'x7', 'x8' and 2 more"
    assert finding.columns == [f"x{i}" for i in range(4, 11)]


def test_neighbours_beyond_float64_are_not_rejected_as_constant():
    assert "few_rows" in found(np.array([[2**53, 0], [2**53 + 1, 1]], dtype=np.int64))


@pytest.mark.parametrize("value", [2e15, -2e15, 1e308])
def test_large_values_are_warned_of(value):
    rows = sheet(0, columns=3)
    assert "large_values" not in found(rows / np.abs(rows).max() * 1e15)
    rows[3, 1] = value
    findings = found(rows)
    assert "in 1 of 3 columns: 'x2'" in findings["large_values"].message


# rows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_almost_repeated_rows_are_found_by_their_places(seed):
    rng = np.random.default_rng(seed)
    places, times, jitter = int(rng.integers(40, 200)), int(rng.integers(2, 30)), 10.0 ** -rng.integers(5, 9)
    rows = sheet(seed, n=places)
    rows = np.repeat(rows, times, axis=0)
    rows = rng.permutation(rows + jitter * rng.normal(size=rows.shape))
    finding = found(rows)["almost_repeated_rows"]
    assert places <= int(re.search(r"about (\d+) places", finding.message)[1]) < 1.6 * places


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "?"])
def test_repeated_rows_are_counted_exactly(dtype):
    rows = np.random.default_rng(1).integers(0, 2 if dtype == "?" else 9, size=(500, 3)).astype(dtype)
    repeated = 500 - len(np.unique(rows, axis=0))
    assert f"{repeated} of 500 rows repeat an earlier row exactly" in found(rows)["counts_on_a_grid"].message
    halves = (rows.astype("f4") + 0.5) / 10
    assert f"{repeated} of 500 rows repeat" in found(halves)["repeated_rows"].message
    assert "almost_repeated_rows" not in found(halves)


def test_repeated_rows_are_found_across_blocks_and_layouts():
    rows = np.random.default_rng(1).normal(size=(600_000, 2))
    rows[-1] = rows[0]
    for layout in (rows, np.asfortranarray(rows)):
        assert [str(finding) for finding in look_at(Table(layout, ("x1", "x2")), "global")] == [
            "1 of 600000 rows repeat an earlier row exactly; kept; give each row once if the repetition means nothing"
        ]


def test_the_two_zeros_are_equal():
    rows = np.array([[0.0, 1.5], [-0.0, 1.5], [2.0, 3.0]])
    assert found(rows)["repeated_rows"].message == "1 of 3 rows repeat an earlier row exactly"


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_that_outweigh_all_others_are_numbered(seed):
    rng, rows = np.random.default_rng(seed), sheet(seed)
    wild = np.sort(rng.choice(len(rows), int(rng.integers(1, 3)), replace=False))
    rows[wild] += 1e4 * rng.normal(size=(len(wild), rows.shape[1]))
    findings = found(rows)
    assert findings["outweighing_rows"].level == "warning"
    assert f"(row {', '.join(map(str, wild + 1))})" in findings["outweighing_rows"].message


@pytest.mark.parametrize("n", [5, 20, 49, 50])
def test_few_rows_and_more_columns_than_rows_are_told(n):
    findings = found(np.random.default_rng(0).normal(size=(n, 50)))
    assert ("few_rows" in findings) == (n < 50)
    assert "more_columns_than_rows" in findings


def test_warnings_come_first():
    rows = np.column_stack([np.ones(30), np.random.default_rng(0).normal(size=(30, 3))])
    assert [finding.level for finding in look_at(Table(rows, numbered_columns(4)), "global")] == ["warning", "note"]


def test_a_row_that_lacks_only_its_number_is_read_with_the_columns_that_are_left(tmp_path):
    """Whoever reads the table again, with the columns written out, reads the same rows."""
    rows = np.random.default_rng(0).normal(size=(60, 2)) * [1.0, 50.0]
    lines = ["id,height,weight", *(f"{i},{a!r},{b!r}" for i, (a, b) in enumerate(rows.tolist())), ",1.5,70.25"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    first = load_sample(TableData(path=str(tmp_path / "t.csv")))
    again = load_sample(first.config)
    assert first.config.columns == ["height", "weight"]
    assert (first.rows, first.digest) == (61, again.digest)
