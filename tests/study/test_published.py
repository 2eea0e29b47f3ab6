"""The results of studies in docs/: the tables say what the runs say, and the configuration repeats them."""

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from lwgan_dist.configfile import read_config
from lwgan_dist.study import aggregate
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.design import Design

ROOT = Path(__file__).parents[2]
EARLIER = {"noise": 2}
"""Studies that were published by an earlier method, with the schema version of it."""
STUDIES = sorted(path.parent for path in (ROOT / "docs" / "studies").glob("*/config.yaml"))


def test_there_is_one():
    assert STUDIES


@pytest.mark.parametrize("folder", STUDIES, ids=lambda path: path.name)
def test_the_tables_say_what_the_runs_say(folder):
    runs = pq.read_table(folder / "runs.parquet", page_checksum_verification=True)
    config = read_config(StudyConfig, str(folder / "config.yaml"))
    for name, table in {
        "cells": aggregate.cells(runs),
        "comparisons": aggregate.comparisons(runs),
        "trends": aggregate.trends(runs, level=config.level, seed=config.seed),
        "sensitivity": aggregate.sensitivity(runs, ["LWGAN"]),
    }.items():
        published = pq.read_table(folder / f"{name}.parquet")
        assert table.schema.equals(published.schema)
        # Sums have another order than when they were published.
        assert_frame_equal(pl.from_arrow(table), pl.from_arrow(published), rel_tol=1e-12, abs_tol=1e-14)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda path: path.name)
def test_every_run_of_the_configuration_is_there(folder, monkeypatch):
    """By name: what the configurations ask for today are these runs. LWGAN runs of an earlier method have other names;
    their samples and seeds are the same.
    """
    earlier = EARLIER.get(folder.name)
    if earlier:
        monkeypatch.setattr("lwgan_dist.campaign.drawn.SCHEMA_VERSION", earlier)

    precision = json.loads((folder / "env.json").read_text())["study"]["precision"]

    def planned(file):
        design = Design(read_config(StudyConfig, str(file)), precision)
        runs = [run for group in design.groups for run in design.runs(group, range(design.replicates(group)))]
        return [named(run.group.method, run.group.n, run.data_seed, run.seed, run.key) for run in runs]

    def named(method, n, data_seed, seed, key):
        return method, n, data_seed, seed, None if earlier and method == "LWGAN" else key

    columns = ["method", "n", "data_seed", "seed", "key"]
    runs = [named(*row.values()) for row in pq.read_table(folder / "runs.parquet", columns=columns).to_pylist()]
    assert runs == planned(folder / "config.yaml")
    assert set(runs) == set(planned(ROOT / "tune_configs" / "study" / f"{folder.name}.yaml"))
