"""A metric is registered once, and is everywhere."""

import json
from pathlib import Path

import forked
import numpy as np
import pyarrow.parquet as pq
import pytest
from spread import with_spread
from tiny import FAST
from tiny_search import TINY

from lwgan_dist.config import override
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.metrics.drawn import Drawn
from lwgan_dist.metrics.registry import METRICS, default_metrics, refuse_inapplicable
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
    floors = {"energy_distance_floor", "sliced_wasserstein_floor", "spread_floor"}
    assert set(result.metrics) == {*default_metrics(), "spread"} | floors
    assert "ratio of spreads {spread:.4f} (floor {spread_floor:.4f})".format(**result.metrics) in shown


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


def images(n, seed):
    """Spots of random width and brightness, shape (n, 1, 12, 12)."""
    rng, pixels = np.random.default_rng(seed), np.square(np.arange(12.0) - 5.5)
    width, light = rng.uniform(2.0, 20.0, (n, 1, 1, 1)), rng.uniform(0.5, 1.0, (n, 1, 1, 1))
    return light * np.exp(-(pixels[:, None] + pixels) / width)


def inception(rows):
    """In place of the network: features and logits that depend on the width."""
    pixels = rows.reshape(len(rows), -1)
    return pixels[:, ::7], 20.0 * pixels[:, ::9]


def drawn_of(generated, codes, scale=1.0):
    """Spots and rows that were generated, in units in which the data are so many times as large."""
    held, normal = scale * images(60, 0), np.random.default_rng(0).standard_normal((60, 2))
    reconstructed = 0.5 * (held + scale * generated)
    return Drawn(held, scale * generated, reconstructed, 0, codes, normal, inception=inception)


REAL = drawn_of(images(60, 1), np.random.default_rng(1).standard_normal((60, 2)))
DISJOINT = drawn_of(images(1, 2) - 1.0 + 1e-3 * images(60, 3), np.full((60, 2), 9.0) + REAL.codes / 100)
LAWS = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
POWER = {"energy_distance": 1, "sliced_wasserstein": 1, "reconstruction": 1, "w1": 1, "w2": 1, "fd_pca": 2}
"""Of the units of the columns; the others have none."""


@LAWS
def test_a_disjoint_sample_is_worse_than_the_floor(metric):
    floor, value = metric.compute(REAL), metric.compute(DISJOINT)
    assert np.isfinite([floor, value]).all()
    assert metric.badness(floor) < metric.badness(value)


@LAWS
def test_the_order_of_rows_changes_nothing(metric):
    order = np.random.default_rng(2).permutation(60)
    mixed = Drawn(
        REAL.holdout[order], REAL.generated[order[::-1]], REAL.reconstructed[order], 0,
        REAL.codes[order], REAL.latent[order[::-1]], inception=inception,
    )  # fmt: skip
    assert metric.compute(mixed) == pytest.approx(metric.compute(REAL), rel=1e-4, abs=1e-9)


@LAWS
def test_units(metric):
    value, tenfold = metric.compute(REAL), metric.compute(drawn_of(REAL.generated, REAL.codes, 10.0))
    assert tenfold == pytest.approx(10.0 ** POWER.get(metric.name, 0) * value, rel=1e-4)


@LAWS
def test_a_metric_says_what_it_is_and_where_it_applies(metric):
    assert METRICS[metric.name] is metric
    assert metric.doc
    assert metric.phrase
    for has_encoder, shape in ((True, (12, 12)), (True, (3, 12, 12)), (False, (12, 12)), (True, (5,))):
        applies = (has_encoder or not metric.needs_encoder) and (len(shape) > 1 or not metric.needs_images)
        obstacle = metric.obstacle(has_encoder, shape)
        assert (obstacle is None) == (applies and not metric.needs_inception), obstacle


def test_the_guide_describes_every_metric():
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "metrics.md").read_text()
    assert [name for name in METRICS if f"| `{name}` |" not in guide] == []


def test_values_are_those_of_their_definitions():
    errors = np.linalg.norm((REAL.holdout - REAL.reconstructed).reshape(60, -1), axis=1)
    assert METRICS["reconstruction"].compute(REAL) == pytest.approx(errors.mean())
    between = np.linalg.norm(REAL.holdout.reshape(60, 1, -1) - REAL.generated.reshape(1, 60, -1), axis=2)
    assert METRICS["energy_distance"].compute(REAL) == pytest.approx(
        2 * between.mean() - (REAL.within_holdout.sum() + REAL.within_generated.sum()) / (60 * 59)
    )


def test_metrics_that_do_not_apply_or_do_not_exist_are_refused(monkeypatch):
    refuse_inapplicable(["w2", "fd_cnn"], True, (1, 12, 12))
    with pytest.raises(ConfigError, match=r"metric fd_cnn: needs images, .* not \(5,\)"):
        refuse_inapplicable(["w2", "fd_cnn"], True, (5,))
    with pytest.raises(ConfigError, match="metric latent_mmd: needs a model with an encoder"):
        refuse_inapplicable(["latent_mmd"], False, (5,))
    with pytest.raises(ConfigError, match=r"metric fid: needs the weights .* LWGAN_DIST_INCEPTION_WEIGHTS=FILE"):
        refuse_inapplicable(["fid"], True, (1, 12, 12))
    with pytest.raises(ConfigError, match="metric w3: there is none of this name, but energy_distance, "):
        refuse_inapplicable(["w3"], True, (5,))


def test_a_target_is_better_the_nearer():
    accuracy = METRICS["nn_accuracy"]
    assert accuracy.badness(0.25) == accuracy.badness(0.75) > accuracy.badness(0.5) == 0.0


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
