"""Point or comma: what the fields of a text say, and where they leave it in doubt."""

import numpy as np
import pytest

from lwgan_dist.data.files.tables import read_table
from lwgan_dist.data.files.text.written_numbers import Written, decimal_sign, doubtful_in
from lwgan_dist.errors import DataError

THREE_DIGITS = ["6.229", "7.952", "0.018", "9.425"]
CASES = {
    "points": ([["1.5", "2.25"]], ";", Written(".")),
    "commas": ([["1,5", "2,25"]], ";", Written(",")),
    "commas between columns": ([["1.5", "2.25"], ["7", "1,204"]], ",", Written(".")),
    "a comma in texts": ([["Doe, John", "Roe, Ann"], THREE_DIGITS], "\t", Written(".")),
    "a comma in one word": ([["v1,2", "v1,3"], ["1.659", "6.798"]], ";", Written(".")),
    "points that may be thousands": ([["6.229", "7.418"]], ";", Written(".")),
    "commas that may be thousands": ([["4,606", "9,133"]], ";", Written(",")),
    "no thousands begin with 0": ([["0,118", "0,707"]], ";", Written(",")),
    "thousands and a fraction": ([["1.234,5", "2.117,25"]], ";", Written(",")),
    "thousands with commas": ([["1,234.5", "2,117.25"]], "\t", Written(".")),
    "days and months": ([["01.05", "02.05", "31.12"], ["1,344", "8,474", "0,021"]], ";", Written(",")),
    "thousands among small numbers": ([["447", "2.307", "961", "1.114", "3.400"]], ";", Written(".", 0)),
    "English thousands among small numbers": ([["447", "1,487", "961", "1,114", "3,400"]], "\t", Written(",", 0)),
    "one slip in a column": ([["1,5"] * 19 + ["2.5"]], ";", Written(",")),
    "both signs": ([["0.62", "0.91"], ["0,707", "0,361"]], ";", Written(",", 0)),
    "whole numbers": ([["1", "2"]], ";", Written(".")),
    "nothing": ([[], []], ";", Written(".")),
}


@pytest.mark.parametrize(("columns", "separator", "written"), CASES.values(), ids=CASES)
def test_the_decimal_sign_is_that_for_which_columns_of_numbers_speak(columns, separator, written):
    assert decimal_sign(columns, separator)[:2] == written[:2]


@pytest.mark.parametrize("separator", ["\t", ";"])
@pytest.mark.parametrize("decimals", [1, 2, 3, 4])
def test_points_are_points_whatever_stands_in_texts_and_names(tmp_path, separator, decimals):
    rows = np.round(np.random.default_rng(decimals).uniform(0, 10, (40, 2)), decimals)
    lines = [separator.join(["who, where", "size, mm", "y"])]
    lines += [separator.join(["Doe, Jo", f"{a:.{decimals}f}", f"{b:.{decimals}f}"]) for a, b in rows]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = read_table(str(tmp_path / "t.csv"))
    assert table.columns == ("size, mm", "y")
    np.testing.assert_array_equal(table.rows, rows)


def test_what_is_in_doubt_is_refused_and_both_mends_read_it(tmp_path):
    path = str(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("pop;area\n" + "\n".join(f"{a};{b}" for a, b in
        zip(["447", "2.307", "961", "1.114", "3.400"], [1, 2, 3, 4, 5], strict=True)))  # fmt: skip
    with pytest.raises(DataError, match=r"'pop' leaves in doubt .* data.decimal=point or data.decimal=comma"):
        read_table(path)
    assert read_table(path, decimal="comma").rows[:, 0].tolist() == [447, 2307, 961, 1114, 3400]
    assert read_table(path, decimal="point").rows[:, 0].tolist() == [447, 2.307, 961, 1.114, 3.4]


@pytest.mark.parametrize("late", [["1.234", "2.307", "3.400"], ["1.000", "2.000", "3.000"]])
@pytest.mark.parametrize("more", [[], ["7"] * 5000])
def test_a_doubt_that_begins_behind_the_first_lines_is_one_too(tmp_path, late, more):
    lines = [f"{value};{i}" for i, value in enumerate([*map(str, range(300)), *late, *more])]
    (tmp_path / "t.csv").write_text("\n".join(["pop;area", *lines]))
    with pytest.raises(DataError, match=r"'pop' leaves in doubt"):
        read_table(str(tmp_path / "t.csv"))
    assert read_table(str(tmp_path / "t.csv"), decimal="comma").rows[302, 0] == 1000 * float(late[2])
    (tmp_path / "t.csv").write_text("\n".join(["pop;area", *lines, "1.5;1"]))
    assert read_table(str(tmp_path / "t.csv")).rows[302, 0] == float(late[2])


def test_what_is_seen_part_by_part_is_in_doubt_as_a_whole():
    small, large, sure = [["447"]], [["2.307", "1.114", "3.400"]], [["1.5"]]
    assert doubtful_in([small, large], ";") == doubtful_in([large, small], ";") == 0
    assert doubtful_in([small, large, sure], ";") is None
    assert doubtful_in([small], ";") is doubtful_in([large], ";") is None


def test_days_without_a_year_do_not_make_thousands_of_fractions(tmp_path):
    lines = [f"0{i % 9 + 1}.05;{i},{344 + i}" for i in range(30)]
    (tmp_path / "t.csv").write_text("day;value\n" + "\n".join(lines))
    for decimal in (None, "comma"):
        table = read_table(str(tmp_path / "t.csv"), decimal=decimal)
        assert table.columns == ("value",)
        np.testing.assert_allclose(table.rows[:, 0], [i + (344 + i) / 1000 for i in range(30)])


def test_commas_that_come_late_are_said(tmp_path):
    lines = [f"{i};{i}" for i in range(250)] + ["12345,5;7", "3,25;8"]
    (tmp_path / "t.csv").write_text("x;y\n" + "\n".join(lines))
    with pytest.raises(DataError, match=r"'x', row 251 .* with data.decimal=comma all of its fields are numbers"):
        read_table(str(tmp_path / "t.csv"))
    assert read_table(str(tmp_path / "t.csv"), decimal="comma").rows[-2:, 0].tolist() == [12345.5, 3.25]


def test_years_above_fractions_are_names(tmp_path):
    (tmp_path / "t.csv").write_text("2019,2020,2021\n.5,1.5,2.5\n3.5,4.5,5.5\n")
    table = read_table(str(tmp_path / "t.csv"))
    assert table.columns == ("2019", "2020", "2021")
    assert table.rows.tolist() == [[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]]
