"""A metric is registered once, and is everywhere."""

import json

import forked
import numpy as np
import pyarrow.parquet as pq
import pytest
from spread import with_spread
from tiny import FAST
from tiny_search import TINY

from lwgan_dist.config import override
from lwgan_dist.configfile import to_yaml
from lwgan_dist.metrics.registry import METRICS, Drawn
from lwgan_dist.results import RunResult
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.objective import weighted


def command(*arguments):
    told = forked.run(with_spread, *map(str, arguments))
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_a_new_metric_is_in_the_result_and_in_the_terminal(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(override(FAST, {})))
    shown = command("train", path, "--workers", 0, "--storage", tmp_path, "--name", "mine")
    result = RunResult.model_validate_json((tmp_path / "mine" / "result.json").read_text())
    assert set(result.metrics) == {*METRICS, "spread"}
    assert f"ratio of spreads {result.metrics['spread']:.4f}" in shown


def test_a_new_metric_can_be_searched_for_and_has_a_column(tmp_path):
    told = override(TINY, {"objective": {"spread": 1.0}, "budget": {"trials": 2}, "confirm_seeds": 0})
    path = tmp_path / "search.yaml"
    path.write_text(to_yaml(SearchConfig.model_validate({**told, "objective": {"reconstruction": 1.0}})))
    command("tune", path, "--storage", tmp_path, "--name", "mine", "objective={spread: 1}")
    trials = pq.read_table(tmp_path / "mine" / "trials.parquet").to_pylist()
    assert len(trials) == 2
    for trial in trials:
        assert trial["spread"] > 0
        assert trial["objective"] == pytest.approx(-trial["spread"])  # larger is better


def test_values_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    held, generated = rng.standard_normal((40, 3)), rng.standard_normal((50, 3))
    drawn = Drawn(held, generated, held + 1.0, 0)
    values = {name: metric.compute(drawn) for name, metric in METRICS.items()}
    assert values["reconstruction"] == pytest.approx(np.sqrt(3.0))
    assert values["energy_distance"] == pytest.approx(
        METRICS["energy_distance"].compute(Drawn(held, generated, held, 1))
    )
    assert all(metric.name == name and metric.doc and metric.phrase for name, metric in METRICS.items())


def test_a_measure_that_is_missing_makes_no_objective():
    assert np.isnan(weighted({"reconstruction": 1.0}, {"reconstruction": 1.0, "energy_distance": 1.0}))
    assert weighted({"reconstruction": 2.0}, {"reconstruction": 0.5}) == 1.0


def test_a_result_of_an_earlier_version_has_its_metrics():
    """They were called quality."""
    told = {
        "dimension": 1, "max_dimension": 1, "rank_scores": [], "penalty": 0.0, "score_on": "train", "rows": 5,
        "ambient_dim": 2, "intrinsic_dim": None, "seed": 0, "schedule": "fast", "workers": 1, "iterations": 1,
        "cpu_seconds": 1.0, "wall_seconds": 1.0, "fingerprint": "", "run_dir": "", "notes": [],
    }  # fmt: skip
    quality = {"energy_distance": 0.1, "sliced_wasserstein": 0.2, "reconstruction": 0.3}
    assert RunResult.model_validate({**told, "quality": quality}).metrics == quality
    assert RunResult.model_validate({**told, "quality": None}).metrics == {}
    assert RunResult.model_validate(told).metrics == {}
