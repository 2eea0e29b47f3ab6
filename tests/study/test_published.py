"""The results of studies in docs/: the tables say what the runs say, and the configuration repeats them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lwgan_dist.configfile import read_config
from lwgan_dist.study import aggregate
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.design import Design

ROOT = Path(__file__).parents[2]
STUDIES = sorted(path.parent for path in (ROOT / "docs" / "studies").glob("*/config.yaml"))


def test_there_is_one():
    assert STUDIES


@pytest.mark.parametrize("folder", STUDIES, ids=lambda path: path.name)
def test_the_tables_say_what_the_runs_say(folder):
    runs = pq.read_table(folder / "runs.parquet", page_checksum_verification=True)
    config = read_config(StudyConfig, str(folder / "config.yaml"))
    assert aggregate.cells(runs).equals(pq.read_table(folder / "cells.parquet"))
    assert aggregate.comparisons(runs).equals(pq.read_table(folder / "comparisons.parquet"))
    trends = aggregate.trends(runs, level=config.level, seed=config.seed)
    assert trends.equals(pq.read_table(folder / "trends.parquet"))
    assert aggregate.sensitivity(runs, ["LWGAN"]).equals(pq.read_table(folder / "sensitivity.parquet"))


@pytest.mark.parametrize("folder", STUDIES, ids=lambda path: path.name)
def test_every_run_of_the_configuration_is_there(folder):
    """By name: what the configurations ask for today are these runs."""
    runs = pq.read_table(folder / "runs.parquet", columns=["key", "method", "seed", "data_seed"])
    design = Design(read_config(StudyConfig, str(folder / "config.yaml")), "bfloat16")
    planned = [run for group in design.groups for run in design.runs(group, range(design.replicates(group)))]
    assert [(run.key, run.data_seed, run.seed) for run in planned] == list(
        zip(*(runs[name].to_pylist() for name in ("key", "data_seed", "seed")), strict=True)
    )
    today = Design(read_config(StudyConfig, str(ROOT / "tune_configs" / "study" / f"{folder.name}.yaml")), "bfloat16")
    keys = {run.key for group in today.groups for run in today.runs(group, range(today.replicates(group)))}
    assert keys == {run.key for run in planned}
