"""Metrics of the LWGAN runs of a study: in the record at every rank, in the tables at the estimated one."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_study import TINY, Silent, study

from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.errors import ConfigError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder
from lwgan_dist.study.publish import publish
from lwgan_dist.study.terminal import print_study

TOLD = {
    "data": TINY["data"][:1],
    "sizes": [40],
    "lwgan": {"replicates": 2, "rules": {"least": {"penalty": "fixed", "penalty_constant": 0.0}}},
    "classical": {"estimators": ["TwoNN"], "replicates": 2},
}
NAMES = ["energy_distance", "reconstruction"]
COLUMNS = ["energy_distance", "energy_distance_floor", "reconstruction"]
"""Those and the floor of the first."""


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    prepared = study(tmp_path_factory.mktemp("metrics") / "study", metrics=NAMES, **TOLD)
    return prepared, prepared.execute(Silent())


def test_a_row_has_the_metrics_of_the_train_command_at_its_own_dimension(carried, tmp_path):
    prepared, outcome = carried
    rows = outcome.tables.runs.to_pylist()
    lwgan = [row for row in rows if row["kind"] == "lwgan"]
    records = {record.key: record for record in prepared.ledger.records({row["key"] for row in lwgan})}
    for row in lwgan:
        metrics = records[row["key"]].metrics
        assert list(metrics) == COLUMNS
        assert {name: row[name] for name in COLUMNS} == {name: metrics[name][row["dimension"] - 1] for name in COLUMNS}
    row = next(row for row in lwgan if row["method"] == "LWGAN")
    data = {"source": "manifold", "name": "s_curve", "n": 40, "seed": row["data_seed"]}
    config = RunConfig.model_validate({"data": data, **TINY["run"], "seed": row["seed"]})
    result = Run(config).train(Folder.at(str(tmp_path)), ExecutionConfig(workers=0))
    assert {name: row[name] for name in COLUMNS} == {name: result.metrics[name] for name in COLUMNS}
    assert {row[name] for row in rows if row["kind"] == "classical" for name in COLUMNS} == {None}


def test_cells_hold_the_means_and_say_what_they_are(carried):
    _, outcome = carried
    runs, cells = outcome.tables.runs.to_pylist(), outcome.tables.cells
    for cell in cells.to_pylist():
        values = [row["reconstruction"] for row in runs if row["method"] == cell["method"]]
        expected = None if cell["kind"] == "classical" else pytest.approx(np.mean(values))
        assert cell["reconstruction"] == expected
    assert "noise floor of energy_distance" in cells.schema.field("energy_distance_floor").metadata[b"doc"].decode()
    assert METRICS["reconstruction"].doc in cells.schema.field("reconstruction").metadata[b"doc"].decode()
    assert "sliced_wasserstein" not in cells.column_names


def test_terminal_and_page_show_them(carried, capsys):
    prepared, outcome = carried
    print_study(outcome.tables.cells, {})
    lines = capsys.readouterr().out.splitlines()
    (cell,) = [cell for cell in outcome.tables.cells.to_pylist() if cell["method"] == "LWGAN"]
    texts = [f"{cell[name]:.3g}" for name in COLUMNS]
    assert any(line.split()[-3:] == COLUMNS for line in lines)
    assert any(line.split() == ["s_curve", "LWGAN", "40", *texts] for line in lines)
    publish(prepared, outcome, "test")
    for name in ("summary.md", "report.html"):
        content = prepared.folder.read(name).decode()
        assert METRICS["energy_distance"].doc in content
        assert all(text in content for text in texts)


def test_without_metrics_nothing_of_them_is_computed_or_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lwgan_dist.metrics.heldout.held_out_metrics", None)
    prepared = study(tmp_path / "study", **TOLD)
    outcome = prepared.execute(Silent())
    assert not {*outcome.tables.runs.column_names, *outcome.tables.cells.column_names} & set(METRICS)
    print_study(outcome.tables.cells, {})
    assert "metrics" not in capsys.readouterr().out
    progress = Silent()
    later = study(tmp_path / "study", metrics=NAMES, **TOLD).execute(progress)
    assert progress.phases == [], "no run is repeated for a metric"
    assert set(later.tables.cells["reconstruction"].to_pylist()) == {None}


def test_without_hold_out_rows_there_are_none(tmp_path):
    told = {**TOLD, "data": [{"name": "s_curve", "holdout_fraction": 0}], "lwgan": {"replicates": 1}, "classical": {}}
    outcome = study(tmp_path / "study", metrics=NAMES, **told).execute(Silent())
    assert outcome.tables.runs["reconstruction"].to_pylist() == [None]


def test_a_run_that_generates_what_is_not_finite_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(FittedModel, "generate", lambda *_given: np.full((5, 3), np.nan))
    told = {**TOLD, "lwgan": {"replicates": 1}, "classical": {}}
    outcome = study(tmp_path / "study", metrics=NAMES, **told).execute(Silent())
    (row,) = outcome.tables.runs.to_pylist()
    assert row["failure"] == "NonFiniteLossError: rows generated at rank 1 are not finite"


def test_a_metric_that_does_not_apply_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="s_curve, n = 40, LWGAN: metric fd_cnn: needs images"):
        study(tmp_path, metrics=["fd_cnn"], **TOLD)


def test_names_that_are_no_metrics_or_come_twice_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"metrics.*quality"):
        study(tmp_path, metrics=["quality"])
    with pytest.raises(ConfigError, match="metrics: a metric is given twice"):
        study(tmp_path, metrics=["reconstruction", "reconstruction"])


def test_runs_that_are_fitted_again_for_their_networks_keep_their_records(tmp_path):
    """Two records of a run, with metrics and without, would leave it to chance which counts."""
    study(tmp_path / "study", **TOLD).execute(Silent())
    progress = Silent()
    prepared = study(tmp_path / "study", metrics=NAMES, bootstrap={"resamples": 1}, **TOLD)
    outcome = prepared.execute(progress)
    assert progress.phases[0] == (2, "LWGAN runs")
    assert outcome.tables.bootstrap.num_rows > 0
    assert set(outcome.tables.runs["reconstruction"].to_pylist()) == {None}
    parts = (tmp_path / "study" / "ledger").glob("part-*.parquet")
    keys = [key for part in parts for key in pq.read_table(part)["key"].to_pylist()]
    assert len(keys) == len(set(keys))
