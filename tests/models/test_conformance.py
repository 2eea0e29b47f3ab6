"""What every registered model has to keep: each law is tested on a small run of each model."""

import io
import json
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from gloo import trajectories
from tiny import MODELS, make_trainer, on_images, trajectory, whole_parameters

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.errors import ConfigError, DataError, NonFiniteLossError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.registry import METRICS, floor_of
from lwgan_dist.models.configs import ModelConfig
from lwgan_dist.models.registry import kind_of
from lwgan_dist.results import scores_from_parquet
from lwgan_dist.run.folder import read_result
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder
from lwgan_dist.training.phase import Phase

pytestmark = pytest.mark.usefixtures("blank_figures")

ONE_SIZE = {"model.iterations": 400, "model.width": 16, "model.learning_rate": 5e-3}
LONGER = {
    "lwgan": {"schedule.embedding_iterations": 200, "schedule.matching_iterations": 200, "networks.width": 16},
    "vae": {**ONE_SIZE, "model.warm_up": 0.9},
    "ard_vae": {**ONE_SIZE, "model.warm_up": 0.9},
}
"""Enough to learn something: a model with one latent size that is not named needs no more than `ONE_SIZE`."""

HERE = ExecutionConfig(workers=0)


@pytest.fixture(scope="module", params=[*MODELS, "lwgan on images"])
def told(request, tmp_path_factory):
    """Of every model, and of the LWGAN with convolutional networks."""
    return MODELS[request.param] if request.param in MODELS else on_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def straight(told):
    """All states of a training that is left alone."""
    trainer = make_trainer(told)
    return [trainer.state() for _ in trainer.run()]


def run_of(told, **changes):
    return Run(RunConfig.model_validate(override(told, changes)))


def finished(trainer):
    for _ in trainer.run():
        pass
    return trainer.state()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_registered_model_is_tested():
    names = {get_args(model.model_fields["name"].annotation)[0] for model in get_args(get_args(ModelConfig)[0])}
    assert names == set(MODELS)


def test_a_state_holds_all_that_goes_on(told, straight):
    """At any iteration: what goes on from its state ends bit for bit as what was left alone."""
    total = straight[-1].meta["iteration"]
    for stop in (1, total // 3, total // 2, total - 2):
        state = next(state for state in straight if state.meta["iteration"] >= stop)
        json.dumps(state.meta)
        again = make_trainer(told)
        again.load(state)
        end = finished(again)
        assert same(end.tensors, straight[-1].tensors)
        assert end.meta["components"] == straight[-1].meta["components"]


def test_the_number_of_workers_changes_nothing_but_rounding(told, tmp_path):
    trainer = make_trainer(told)
    expected = flat(trajectory(trainer) | {"tensors": whole_parameters(trainer)})
    for seen in trajectories(told, 2, tmp_path):
        assert seen["differing"] == []
        assert flat(seen) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def flat(seen):
    numbers = [value for row in seen["losses"] for value in row.values()]
    numbers += [value for tables in seen["components"].values() for table in tables for row in table for value in row]
    return numbers + seen["tensors"]


def test_the_seed_is_all_that_chance_depends_on(told, straight):
    again, other = (finished(make_trainer(override(told, changes))) for changes in ({}, {"seed": 2}))
    assert same(again.tensors, straight[-1].tensors)
    assert not same(other.tensors, straight[-1].tensors)


def test_components_are_evaluated_on_both_parts_of_the_rows(told, straight):
    components = straight[-1].meta["components"]
    assert set(components) == {"train", "holdout"}
    tables = {split: np.array(table) for split, table in components.items()}
    assert tables["train"].shape == tables["holdout"].shape
    assert tables["train"].shape[2] == len(kind_of(RunConfig.model_validate(told)).components)
    assert all(np.isfinite(table).all() for table in tables.values())
    assert not np.array_equal(tables["train"], tables["holdout"])


def test_every_parameter_of_encoder_and_generator_is_trained(told):
    trainer = make_trainer(told)
    before = {name: value.clone() for name, value in trainer.parameters().items()}
    finished(trainer)
    moved = {name for name, value in trainer.parameters().items() if not torch.equal(value, before[name])}
    assert {name for name in before if name.startswith(("network/encoder", "network/generator"))} <= moved


@pytest.mark.parametrize("name", MODELS)
def test_rows_not_seen_are_reconstructed(name):
    """An S-curve in three columns, at the largest rank: less than half of what a constant leaves."""
    components = kind_of(RunConfig.model_validate(MODELS[name])).components
    if "reconstruction" not in components:
        pytest.skip("it has no encoder")
    trainer = make_trainer(override(MODELS[name], {"data.n": 400, **LONGER.get(name, ONE_SIZE)}))
    table = np.array(finished(trainer).meta["components"]["holdout"])
    constant = np.linalg.norm(trainer.model.sample.holdout, axis=1).mean()
    assert table[:, -1, components.index("reconstruction")].mean() < 0.5 * constant


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_parameters_have_the_precision_that_was_asked_for(told, precision):
    dtype = torch.float64 if precision == "float64" else torch.float32
    trainer = make_trainer(override(told, {"precision": precision}))
    assert {value.dtype for value in trainer.parameters().values()} == {dtype}
    assert next(iter(trainer.run())).iteration == 1


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_of_rows_is_learned_from(name):
    components = finished(make_trainer(override(MODELS[name], {"data.rows": "stream"}))).meta["components"]
    assert set(components) == {"train"}


@pytest.mark.parametrize("name", MODELS)
def test_every_loss_that_is_nan_ends_the_training_in_one_line(name, monkeypatch):
    step, trained = Phase.step, list[str]()

    def watched(phase, *batch):
        trained.append(phase.name)
        return step(phase, *batch)

    monkeypatch.setattr(Phase, "step", watched)
    finished(make_trainer(MODELS[name]))
    assert trained, "a model that trains nothing"
    for broken in dict.fromkeys(trained):

        def spoiled(phase, *batch, broken=broken):
            if phase.name == broken:
                loss = phase._loss
                phase._loss = lambda *parts: (loss(*parts)[0] * torch.nan, {})
            return step(phase, *batch)

        monkeypatch.setattr(Phase, "step", spoiled)
        with pytest.raises(
            NonFiniteLossError, match=rf"iteration \d+ .*: the {broken} loss is not finite: nan"
        ) as error:
            finished(make_trainer(MODELS[name]))
        assert len(str(error.value).splitlines()) == 1


def test_a_loss_that_is_not_finite_is_named_with_its_iteration(told):
    trainer = make_trainer(told)
    with torch.no_grad():
        next(trainer.model.networks.generator.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match="iteration 1"):
        finished(trainer)


def test_too_few_rows_are_refused(told):
    with pytest.raises(DataError, match="training rows are fewer than a batch"):
        run_of(told, **{"data.n": 20})


def test_a_run_leaves_a_result_and_a_model_that_maps_both_ways(told, tmp_path):
    run, folder = run_of(told), Folder.at(str(tmp_path / "run"))
    result = run.train(folder, HERE)
    assert read_result(folder) == result
    assert result.model == run.config.model.name
    assert result.dimension is None or 1 <= result.dimension <= result.max_dimension
    assert result.rank_scores[-1].rank == result.max_dimension
    scores = pq.read_table(io.BytesIO(folder.read("scores.parquet")))
    assert set(scores["rank"].to_pylist()) == {row.rank for row in result.rank_scores}
    tables = scores_from_parquet(folder.read("scores.parquet"))
    means = dict(zip(kind_of(run.config).components, tables["train"][:, -1].mean(axis=0), strict=True))
    assert means == pytest.approx(result.rank_scores[-1].components)
    model = FittedModel.load(folder.sub("model"))
    fitting = [metric for metric in METRICS.values() if model.encodes or not metric.needs_encoder]
    by_default = [metric for metric in fitting if metric.default]
    floors = {floor_of(metric.name) for metric in by_default if metric.has_floor}
    assert set(result.metrics) == {metric.name for metric in by_default} | floors
    q = model.latent_dim
    assert q == result.max_dimension == kind_of(run.config).latent_dim(run.config)
    rows = run.sample.standardizer.undo(run.sample.train[:7])
    if model.encodes:
        assert model.encode(rows, q).shape == (7, q)
    else:
        with pytest.raises(ConfigError, match=f"a {result.model} has no encoder"):
            model.encode(rows, q)
    assert model.decode(np.zeros((7, q))).shape == rows.shape
    assert np.array_equal(model.generate(5, seed=1), model.generate(5, seed=1))
    assert model.generate(5).shape == (5, *rows.shape[1:])
    assert run.train(folder, HERE) == result, "a finished run is there"


def test_a_configuration_survives_its_file(told):
    config = RunConfig.model_validate(told)
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
