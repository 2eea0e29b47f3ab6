"""A comparison in this process: what it computes, what it keeps, how it goes on; failures."""

import numpy as np
import pyarrow as pa
import pytest
from tiny_compare import TINY, WAE, comparison
from tiny_study import Silent

from lwgan_dist.campaign.folder import SCRATCH
from lwgan_dist.compare import work
from lwgan_dist.compare.measure import fresh_distances
from lwgan_dist.compare.work import MODELS, kept
from lwgan_dist.config import ManifoldData
from lwgan_dist.data.simulated.population import sampler_of
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import ClusterError, ConfigError, NonFiniteLossError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.distances import energy_distance
from lwgan_dist.metrics.heldout import held_out_metrics
from lwgan_dist.run.run import Run
from lwgan_dist.seeding import derive, generator

NO_TIME = ["cpu_seconds", "wall_seconds"]


def execute(folder, **given):
    progress, prepared = Silent(), comparison(folder, **given)
    return prepared, prepared.execute(progress), progress


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return execute(tmp_path_factory.mktemp("straight") / "comparison")


def rows(outcome: object, **wanted):
    table: pa.Table = outcome.tables.runs
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def test_every_run_is_there_once(straight):
    prepared, outcome, progress = straight
    assert (outcome.unfinished, outcome.failed) == ({}, 0)
    assert progress.phases == [(10, "runs")]
    assert (progress.updates[-1].done, progress.updates[-1].failed) == (10, 0)
    assert [(row["data"], row["model"], row["replicate"]) for row in rows(outcome)] == [
        (run.cell.data, run.cell.model, run.replicate) for run in prepared.design.runs()
    ]
    assert not prepared.folder.sub(SCRATCH).names()


def test_a_model_is_measured_at_its_estimate_or_at_the_rank_asked_for(straight):
    prepared, outcome, _ = straight
    estimated, given = rows(outcome, model="lwgan"), rows(outcome, model="lwgan at rank truth")
    assert [row["rank"] for row in estimated] == [row["dimension"] for row in estimated]
    assert [row["rank"] for row in given] == [2, 2, 1, 1]
    assert {row["dimension"] for row in rows(outcome, model="WAE")} == {None}
    assert [row["rank"] for row in rows(outcome, model="WAE")] == [2, 2, 1, 1]
    (row,) = rows(outcome, data="s_curve", model="lwgan at rank truth", replicate=0)
    model, losses = kept(prepared.folder.sub(MODELS).sub(row["key"]))
    run = Run(model.config)
    assert run.fingerprint == row["fingerprint"]
    direct = held_out_metrics(model, run.sample, 2, floors=True)
    assert "energy_distance_floor" in direct
    assert {name: row[name] for name in direct} == pytest.approx(direct)
    assert losses[-1]["iteration"] > losses[0]["iteration"]


def test_distances_are_to_rows_of_the_same_distribution_that_nobody_saw(straight):
    prepared, outcome, _ = straight
    (row,) = rows(outcome, data="s_curve", model="WAE", replicate=0)
    model, _ = kept(prepared.folder.sub(MODELS).sub(row["key"]))
    sampler = sampler_of(ManifoldData(name="s_curve", n=40, seed=row["data_seed"]))
    fresh, other = (sampler.draw(generator(row["seed"], "compare/fresh", i), 64) for i in range(2))
    unit = Standardizer.fit(fresh, "global")
    generated = model.generate(64, 2, derive(row["seed"], "compare/codes"))
    assert row["fresh_energy_distance"] == pytest.approx(energy_distance(unit.apply(fresh), unit.apply(generated)))
    assert row["fresh_energy_distance_floor"] == pytest.approx(energy_distance(unit.apply(fresh), unit.apply(other)))
    floors = {row["fresh_energy_distance_floor"] for row in rows(outcome, data="s_curve", replicate=0)}
    assert len(floors) == 1
    assert fresh_distances(model, [1, 2], 64)["fresh_energy_distance"][1] == row["fresh_energy_distance"]


def test_an_interrupted_comparison_goes_on_and_repeats_nothing(tmp_path, straight, monkeypatch):
    begun, fit = [], Run.fit

    def interrupted(run, *given, **more):
        begun.append(run.fingerprint)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return fit(run, *given, **more)

    monkeypatch.setattr(Run, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path / "comparison")
    _, outcome, progress = execute(tmp_path / "comparison")
    assert progress.phases == [(7, "runs")]
    assert len(begun) == 3 + 1 + 7
    whole = straight[1].tables
    assert outcome.tables.runs.drop_columns(NO_TIME).equals(whole.runs.drop_columns(NO_TIME))
    assert outcome.tables.compare.equals(whole.compare)
    _, again, silent = execute(tmp_path / "comparison")
    assert (silent.phases, len(begun)) == ([], 11)
    assert again.tables.compare.equals(whole.compare)
    _, more, further = execute(tmp_path / "comparison", replicates=3, models=[*TINY["models"], {**WAE, "label": "new"}])
    assert further.phases == [(5 + 6, "runs")]
    assert rows(more, model="lwgan", replicate=0) == rows(again, model="lwgan", replicate=0)


def test_a_run_that_diverges_is_recorded_and_one_that_breaks_is_tried_again(tmp_path, monkeypatch):
    given = {"data": TINY["data"][:1], "models": [TINY["models"][2]]}
    fit, seen = Run.fit, []

    def failing(run, *told, **more):
        seen.append(run.config.seed)
        if len(seen) == 1:
            raise NonFiniteLossError("a loss is nan")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "fit", failing)
    prepared, outcome, _ = execute(tmp_path / "comparison", **given)
    assert (outcome.failed, len(outcome.unfinished)) == (1, 1)
    assert "No space left" in next(iter(outcome.unfinished.values()))
    (row,) = rows(outcome)
    assert (row["failure"], row["rank"], row["reconstruction"]) == ("NonFiniteLossError: a loss is nan", None, None)
    assert outcome.tables.compare.num_rows == 0
    monkeypatch.setattr(Run, "fit", fit)
    _, again, progress = execute(tmp_path / "comparison", **given)
    assert progress.phases == [(1, "runs")]
    assert (again.failed, again.unfinished) == (1, {})
    assert prepared.ledger.states().keys() == {run.key for run in prepared.design.runs()}


@pytest.mark.parametrize("metric", ["w1", "nn_accuracy", "mmd", "fd_pca"])
def test_a_model_that_generates_what_is_not_finite_has_failed(tmp_path, monkeypatch, metric):
    given = {"data": TINY["data"][:1], "models": [TINY["models"][2]], "replicates": 1, "metrics": [metric]}
    monkeypatch.setattr(FittedModel, "generate", lambda *_given: np.full((64, 3), np.nan))
    _, outcome, _ = execute(tmp_path / "comparison", **given)
    assert outcome.unfinished == {}
    assert rows(outcome)[0]["failure"] == "NonFiniteLossError: rows generated at rank 2 are not finite"


def test_fresh_distances_are_of_finite_rows(straight, monkeypatch):
    prepared, outcome, _ = straight
    (row,) = rows(outcome, data="s_curve", model="WAE", replicate=0)
    model, _ = kept(prepared.folder.sub(MODELS).sub(row["key"]))
    monkeypatch.setattr(FittedModel, "generate", lambda *_given: np.full((64, 3), np.inf))
    with pytest.raises(NonFiniteLossError):
        fresh_distances(model, [2], 64)


def test_a_folder_is_of_one_thing(straight, tmp_path):
    prepared, *_ = straight
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and not a comparison"):
        comparison(tmp_path / "other")
    config = prepared.design.runs()[0].config
    with pytest.raises(ConfigError, match="holds a comparison, not a run"):
        Run(config).train(prepared.folder, prepared.config.execution)
    with pytest.raises(ClusterError, match="does not see the comparison"):
        work.execute(work.RunTask(
            location=str(tmp_path / "elsewhere"), execution=prepared.config.execution, key="k", config=config,
            table_digest=None, metrics=(), fresh_rows=None, keep=False,
        ))  # fmt: skip


def test_runs_that_cannot_be_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"s_curve, n = 40, lwgan at rank 3: rank 3 is more than the latent size 2"):
        comparison(tmp_path / "new", models=[{"name": "lwgan", "rank": 3}])
    with pytest.raises(ConfigError, match="metrics: fd_cnn needs images"):
        comparison(tmp_path / "new", metrics=["reconstruction", "fd_cnn"])
    with pytest.raises(ConfigError, match="metrics: latent_mmd needs a model with an encoder"):
        comparison(tmp_path / "new", metrics=["latent_mmd"], models=[{"name": "gan"}])
    with pytest.raises(ConfigError, match="models: no model is left on any data"):
        comparison(tmp_path / "new", data=TINY["data"][1:], models=[TINY["models"][3]])
    assert not (tmp_path / "new").exists()


def test_default_metrics_are_no_demand(tmp_path):
    gans = [{"name": "gan", "latent_dim": 2}]
    assert comparison(tmp_path / "new", models=gans).config.metrics == [
        "energy_distance",
        "sliced_wasserstein",
        "reconstruction",
    ]
    with pytest.raises(ConfigError, match="metrics: reconstruction needs a model with an encoder"):
        comparison(tmp_path / "new", models=gans, metrics=["reconstruction"])
