"""A leaderboard says what the tables of the study say, names no machine, and replaces nothing but itself."""

import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import study_tables
from click.testing import CliRunner
from page_reading import Reader, table_of

from lwgan_dist.cli import main
from lwgan_dist.reporting.files import parquet
from lwgan_dist.reporting.values import short
from lwgan_dist.storage import Folder
from lwgan_dist.study.leaderboard import leaderboard, leaderboard_page, publish
from lwgan_dist.study.tables import LEADERBOARD, PROVENANCE

DAY = date(2026, 12, 1)
NOISE = Path(__file__).parents[2] / "docs" / "studies" / "noise"


@pytest.fixture(scope="module")
def made():
    return study_tables.study({"s_curve": 2, "sphere | <b>": 3, "a table": None}, failing=0.1)


@pytest.fixture(scope="module")
def table(made):
    return leaderboard(made.runs, made.cells, made.comparisons)


def test_a_row_for_every_cell_of_known_truth(made, table):
    assert table.schema.equals(LEADERBOARD)
    known = {(c["data"], c["n"], c["method"]): c for c in made.cells.to_pylist() if c["intrinsic_dim"] is not None}
    rows = {(r["data"], r["n"], r["method"]): r for r in table.to_pylist()}
    assert rows.keys() == known.keys()
    for place, row in rows.items():
        cell = known[place]
        assert (row["p_correct"], row["draws"], row["runs"]) == (cell["p_correct"], cell["samples"], cell["runs"])
        assert (row["low"], row["high"], row["interval"]) == (cell["exact_low"], cell["exact_high"], "Clopper-Pearson")


def test_the_best_comes_first_and_the_others_are_tested_against_it(made, table):
    pairs = {}
    for row in made.comparisons.to_pylist():
        for one, other in ((row["method_a"], row["method_b"]), (row["method_b"], row["method_a"])):
            pairs[row["data"], row["n"], one, other] = row["p_holm"]
    before = {}
    for row in table.to_pylist():
        place = row["data"], row["n"]
        if place not in before:
            assert row["best"] == row["method"]
            assert row["p_best"] is None
        else:
            assert row["p_correct"] <= before[place]
            assert row["p_best"] == pairs[*place, row["method"], row["best"]]
        before[place] = row["p_correct"]


def test_the_mean_error_is_that_of_the_runs(made, table):
    runs = made.runs.to_pylist()
    for row in table.to_pylist():
        mine = [r for r in runs if all(r[k] == row[k] for k in ("data", "n", "method")) and r["value"] is not None]
        errors = [abs(r["value"] - r["intrinsic_dim"]) for r in mine]
        assert row["mean_error"] == pytest.approx(np.mean(errors), rel=1e-12)
        if len({r["replicate"] for r in mine}) == len(mine) > 1:
            assert row["mean_error_mcse"] == pytest.approx(np.std(errors, ddof=1) / np.sqrt(len(mine)), rel=1e-9)


def test_confidence_sequences_are_taken_where_there_are_some():
    made = study_tables.study({"s_curve": 2}, on_demand=True)
    row = leaderboard(made.runs, made.cells, made.comparisons).to_pylist()[0]
    (cell,) = (c for c in made.cells.to_pylist() if (c["n"], c["method"]) == (row["n"], row["method"]))
    assert (row["low"], row["interval"]) == (cell["sequence_low"], "confidence sequence")


def test_the_page_holds_the_rows_and_no_name_of_a_machine(table):
    origin = {"commit": "a" * 40, "versions": "torch 2.0", "host": "secret-host", "processor": "P", "processors": 4,
              "platform": "Linux", "accelerator": None, "provenance": "0a", "runs": 7}  # fmt: skip
    provenance = pa.Table.from_pylist([origin], schema=PROVENANCE)
    page = leaderboard_page(table, provenance, "Leaderboard: mine", DAY).html({})
    assert "secret-host" not in page
    assert "torch 2.0" in page
    shown = table_of(Reader(page).tables, ["data", "truth", "n", "method", "P(correct)"])
    rows = table.to_pylist()
    assert [line[:4] for line in shown[1:]] == [
        [row["data"], str(row["intrinsic_dim"]), str(row["n"]), row["method"]] for row in rows
    ]
    for line, row in zip(shown[1:], rows, strict=True):
        assert line[4] == f"{short(row['p_correct'])} [{short(row['low'])}, {short(row['high'])}]"
        assert line[5] == str(row["draws"])
    standings = table_of(Reader(page).tables, ["method", "mean P(correct)"])
    means = [np.mean([r["p_correct"] for r in rows if r["method"] == line[0]]) for line in standings[1:]]
    assert means == sorted(means, reverse=True)
    assert [line[1] for line in standings[1:]] == [short(float(mean)) for mean in means]


def call(*arguments):
    return CliRunner().invoke(main, ["study", "publish", *map(str, arguments)])


@pytest.mark.usefixtures("blank_figures")
def test_the_command_writes_two_files_and_replaces_its_own(tmp_path):
    out = tmp_path / "board"
    for _ in ("new", "again"):
        said = call(NOISE, "--out", out)
        assert said.exit_code == 0, said.output
        assert sorted(path.name for path in out.iterdir()) == ["leaderboard.html", "leaderboard.parquet"]
    assert pq.read_table(out / "leaderboard.parquet").num_rows == pq.read_table(NOISE / "cells.parquet").num_rows
    page = (out / "leaderboard.html").read_text()
    assert 'src="http' not in page
    assert "<link" not in page


@pytest.mark.usefixtures("blank_figures")
def test_tables_that_are_not_there_follow_from_the_runs(tmp_path):
    """As of results that were published without them."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("runs.parquet", "config.yaml", "env.json"):
        shutil.copy(NOISE / name, bare)
    whole = publish(Folder.at(str(NOISE)), Folder.at(str(tmp_path / "whole")), DAY)
    assert publish(Folder.at(str(bare)), Folder.at(str(tmp_path / "out")), DAY).to_pylist() == [
        {**row, "mean_error": pytest.approx(row["mean_error"]), "cpu_seconds": pytest.approx(row["cpu_seconds"]),
         "low": pytest.approx(row["low"]), "high": pytest.approx(row["high"]),
         "p_best": row["p_best"] if row["p_best"] is None else pytest.approx(row["p_best"]),
         "mean_error_mcse": pytest.approx(row["mean_error_mcse"])}
        for row in whole.to_pylist()
    ]  # fmt: skip


def test_what_cannot_be_published_is_refused(tmp_path, made):
    said = call(NOISE, "--out", NOISE)
    assert said.exit_code == 2
    assert "is not empty; choose another --out" in said.output
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("config.yaml", "env.json"):
        shutil.copy(NOISE / name, empty)
    said = call(empty, "--out", tmp_path / "out")
    assert said.exit_code == 2
    assert "has no tables; lwgan-dist study makes them" in said.output
    is_unknown = pa.array([row["data"] == "a table" for row in made.runs.to_pylist()])
    (empty / "runs.parquet").write_bytes(parquet(made.runs.filter(is_unknown)))
    said = call(empty, "--out", tmp_path / "out")
    assert said.exit_code == 2
    assert "has no data of known dimension" in said.output
    assert not (tmp_path / "out").exists()
