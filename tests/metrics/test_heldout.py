"""Quality on held-out rows: what it is computed from, in which units."""

import numpy as np
import pytest
from tiny import FAST, WAE

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.data.simulated.population import sampler_of
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.metrics.distances import energy_distance
from lwgan_dist.metrics.heldout import MOST_ROWS, held_out_metrics, metrics_by_rank
from lwgan_dist.metrics.registry import METRICS, Metric, default_metrics
from lwgan_dist.run.run import Run
from lwgan_dist.seeding import generator
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


@pytest.mark.parametrize(("method", "what"), [("generate", "generated"), ("decode", "reconstructed")])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_rows_that_are_not_finite_have_no_metrics(one, monkeypatch, method, what, value):
    run, model = one
    monkeypatch.setattr(type(model), method, lambda *_given: np.full((5, run.sample.ambient_dim), value))
    with pytest.raises(NonFiniteLossError, match=f"rows {what} at rank 1 are not finite"):
        held_out_metrics(model, run.sample, 1)


# floors ---------------------------------------------------------------------------------------------------------------


def spots(n=80):
    """Images of one spot each, of random width, shape (n, 10, 10)."""
    pixels, width = np.square(np.arange(10.0) - 4.5), np.random.default_rng(0).uniform(2.0, 20.0, (n, 1, 1))
    return 255 * np.exp(-(pixels[:, None] + pixels) / width)


def auto_encoder(folder, array):
    """Of rows given in Python, at hardly any cost."""
    told = override(WAE, {"data": {"source": "array"}, "model.iterations": 4})
    run = Run(RunConfig.model_validate(told), array)
    return run, run.fit(Folder.at(str(folder)), ExecutionConfig(workers=0)).model


def test_the_floor_on_a_manifold_is_of_fresh_rows_as_many_as_are_generated(one):
    run, model = one
    measured = held_out_metrics(model, run.sample, floors=True)
    assert list(measured) == [
        "energy_distance", "energy_distance_floor", "sliced_wasserstein", "sliced_wasserstein_floor", "reconstruction",
    ]  # fmt: skip
    fresh = sampler_of(run.config.data).draw(generator(run.config.seed, "quality/floor"), MOST_ROWS)
    expected = energy_distance(run.sample.holdout[:], model.standardizer.apply(fresh))
    assert measured["energy_distance_floor"] == pytest.approx(expected)
    assert {name: measured[name] for name in METRICS if name in measured} == held_out_metrics(model, run.sample)


def test_the_floor_on_a_table_is_of_training_rows(tmp_path):
    run, model = auto_encoder(tmp_path / "run", np.random.default_rng(0).standard_normal((60, 3)))
    measured = held_out_metrics(model, run.sample, floors=True)
    expected = energy_distance(run.sample.holdout[:], run.sample.train[:])
    assert measured["energy_distance_floor"] == pytest.approx(expected)


def test_a_named_metric_and_its_floor_are_of_as_many_rows_of_each_kind(one, monkeypatch):
    seen = []

    def sizes(drawn):
        seen.append([len(rows) for rows in (drawn.holdout, drawn.generated, drawn.between, drawn.between.T)])
        return 1.0

    monkeypatch.setitem(METRICS, "sizes", Metric("sizes", "sizes", "sizes", sizes, default=False))
    run, model = one
    assert held_out_metrics(model, run.sample, names=["sizes"], floors=True) == {"sizes": 1.0, "sizes_floor": 1.0}
    held = len(run.sample.holdout)
    assert seen == [[held] * 4] * 2
    assert held_out_metrics(model, run.sample, rows=7, names=["sizes"]) == {"sizes": 1.0}
    assert seen[2] == [7] * 4


def test_floors_are_computed_once_but_for_those_of_codes(one):
    run, model = one
    names = ["sliced_wasserstein", "w1", "latent_mmd"]
    by_rank = metrics_by_rank(model, run.sample, names=names, floors=True)
    assert len(by_rank["w1_floor"]) == model.latent_dim
    assert len(set(by_rank["w1_floor"])) == len(set(by_rank["sliced_wasserstein_floor"])) == 1
    assert len(set(by_rank["latent_mmd_floor"])) == len(set(by_rank["latent_mmd"])) == model.latent_dim
    for rank in range(1, model.latent_dim + 1):
        at = held_out_metrics(model, run.sample, rank, names=names, floors=True)
        assert {name: values[rank - 1] for name, values in by_rank.items()} == at


def test_codes_of_the_latent_distribution_are_at_their_floor(one, monkeypatch):
    """The values of an encoder that gives nothing but noise are those of its floor with other draws."""
    run, model = one
    draws = np.random.default_rng(0)
    monkeypatch.setattr(type(model), "encode", lambda _self, rows, rank: draws.standard_normal((len(rows), rank)))
    normal = held_out_metrics(model, run.sample, names=["latent_mmd"], floors=True)
    assert abs(normal["latent_mmd"]) < 0.1
    assert abs(normal["latent_mmd_floor"]) < 0.1
    monkeypatch.setattr(type(model), "encode", lambda _self, rows, rank: np.full((len(rows), rank), 3.0))
    assert held_out_metrics(model, run.sample, names=["latent_mmd"])["latent_mmd"] > 0.5


def test_metrics_of_images(tmp_path):
    run, model = auto_encoder(tmp_path / "images", spots())
    measured = held_out_metrics(model, run.sample, names=run.metrics, floors=True)
    assert set(run.metrics) == set(METRICS) - {"fid", "inception_score"}
    assert set(measured) == set(run.metrics) | {f"{name}_floor" for name in run.metrics if METRICS[name].has_floor}
    assert np.isfinite(list(measured.values())).all()
    assert measured["fd_cnn"] > measured["fd_cnn_floor"] > 0
    other = Standardizer(np.full((10, 10), -3.0), np.full((10, 10), 7.0))
    assert held_out_metrics(model, run.sample, scale=other, names=["fd_cnn"])["fd_cnn"] == pytest.approx(
        measured["fd_cnn"], rel=1e-6
    ), "pixels are seen in the units of the data"


def test_of_a_table_there_is_no_metric_of_images(one):
    run, model = one
    assert set(run.metrics) == {name for name, metric in METRICS.items() if not metric.needs_images}
    assert held_out_metrics(model, run.sample, names=["fd_cnn"]) == {}
    assert set(held_out_metrics(model, run.sample)) == set(default_metrics())
