"""Quality on held-out rows: what it is computed from, in which units."""

import numpy as np
import pytest
from tiny import FAST

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.metrics.distances import energy_distance
from lwgan_dist.metrics.heldout import MOST_ROWS, held_out_metrics
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder


def fitted(folder, **changes):
    run = Run(RunConfig.model_validate(override(FAST, changes)))
    return run, run.fit(Folder.at(str(folder)), ExecutionConfig(workers=0)).model


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("run") / "run")


def test_it_is_of_the_hold_out_rows_in_standardised_units_at_the_estimated_rank(one):
    run, model = one
    metrics = held_out_metrics(model, run.sample)
    x = run.sample.holdout[:]
    codes = model.encode(run.sample.standardizer.undo(x))
    assert codes.shape == (len(x), model.dimension)
    reconstructed = run.sample.standardizer.apply(model.decode(codes))
    assert metrics["reconstruction"] == pytest.approx(np.linalg.norm(x - reconstructed, axis=1).mean(), rel=1e-6)
    generated = run.sample.standardizer.apply(model.generate(MOST_ROWS, seed=run.config.seed))
    assert metrics["energy_distance"] == pytest.approx(energy_distance(x, generated), rel=1e-6)
    other = held_out_metrics(model, run.sample, rank=1 if model.dimension > 1 else 2)
    assert other != metrics


def test_units_scale_all_of_it(one):
    run, model = one
    p = run.sample.ambient_dim
    plain = held_out_metrics(model, run.sample, scale=Standardizer(np.zeros(p), np.ones(p)))
    twice = held_out_metrics(model, run.sample, scale=Standardizer(np.zeros(p), np.full(p, 0.5)))
    for name, value in plain.items():
        assert twice[name] == pytest.approx(2 * value, rel=1e-9)


def test_training_rows_do_not_enter(one):
    run, model = one
    before = run.sample.train
    object.__setattr__(run.sample, "train", before[:] + 100.0)
    try:
        assert held_out_metrics(model, run.sample) == held_out_metrics(model, run.sample)
        moved = held_out_metrics(model, run.sample)
    finally:
        object.__setattr__(run.sample, "train", before)
    assert moved == held_out_metrics(model, run.sample)


def test_without_hold_out_rows_there_is_none_and_a_stream_draws_fresh_ones(tmp_path):
    run, model = fitted(tmp_path / "none", **{"data.holdout_fraction": 0.0})
    assert held_out_metrics(model, run.sample) is None
    run, model = fitted(tmp_path / "stream", **{"data.rows": "stream"})
    assert held_out_metrics(model, run.sample) is not None
