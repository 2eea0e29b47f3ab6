"""Searches of models other than the LWGAN: what can be asked of them, and nothing is said that they do not know."""

import pyarrow.parquet as pq
import pytest
from tiny import MODELS
from tiny_search import ASHA, config, search
from tiny_study import Silent

from lwgan_dist.config import TrainConfig
from lwgan_dist.configfile import read_config
from lwgan_dist.errors import ConfigError
from lwgan_dist.run.run import Run
from lwgan_dist.search import search as search_module
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.publish import publish
from lwgan_dist.search.space import Space
from lwgan_dist.search.terminal import print_search
from lwgan_dist.storage import Folder

pytestmark = pytest.mark.usefixtures("blank_figures", "quick_fits")

OTHERS = [name for name in MODELS if name != "lwgan"]
SPACE = {"model.latent_dim": {"integer": [1, 3]}, "model.learning_rate": {"loguniform": [1e-4, 1e-2]}}
WAE = {"data": MODELS["wae"]["data"], "model": {"name": "wae", "latent_dim": 2}}


def told_of(name, **told):
    return {"run": {**MODELS[name], "precision": "float32"}, "space": SPACE, "budget": {"trials": 3}, **told}


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_is_searched_by_its_metrics(name, tmp_path, monkeypatch, capsys):
    told = told_of(name, confirm_seeds=1, initial=[{"model.learning_rate": 1e-3}, "default"])
    prepared, published = search(tmp_path / "search", **told), []
    model = prepared.config.run.model
    outcome = prepared.execute(Silent(), lambda outcome: published.append(publish(prepared, outcome, "title")))
    rows = pq.read_table(tmp_path / "search" / "trials.parquet").to_pylist()
    assert [row["state"] for row in rows] == ["finished"] * 3
    assert {row["parameters.model.latent_dim"] for row in rows} <= {1, 2, 3}
    assert all((row["reconstruction"] is not None) == model.has_encoder for row in rows)
    assert all((row["dimension"] is not None) == model.estimates_dimension for row in rows)
    for row in rows:
        assert row["objective"] == pytest.approx(row["energy_distance"] + (row["reconstruction"] or 0.0))
    print_search(published[0].tables, published[0].facts, {})
    summary = (tmp_path / "search" / "summary.md").read_text()
    for text in (summary, capsys.readouterr().out):
        assert ("dimension" in text or "stimate" in text) == model.estimates_dimension
    best = read_config(TrainConfig, str(tmp_path / "search" / "best.yaml"))
    result = Run(best.run()).train(Folder.at(str(tmp_path / "run")), best.execution)
    (first,) = [run for run in outcome.best.record.runs if run["index"] == 0]
    floorless = {name: value for name, value in result.metrics.items() if not name.endswith("_floor")}
    assert floorless == {name: first[name] for name in floorless}
    assert (result.fingerprint, result.dimension) == (first["fingerprint"], first["dimension"])
    monkeypatch.setattr(search_module, "execute", None)
    again = search(tmp_path / "search", **told).execute(Silent())
    assert [item.outcome for item in again.ended] == [item.outcome for item in outcome.ended], "nothing is run again"


def test_trials_of_a_model_are_halted_and_stopped(tmp_path):
    told = told_of("wae", scheduler=ASHA, budget={"trials": 6}, confirm_seeds=0, objective={"energy_distance": 1.0})
    outcome = search(tmp_path / "search", **told).execute(Silent())
    states = [item.outcome.state for item in outcome.ended]
    assert set(states) == {"finished", "stopped"}
    assert all(len(item.outcome.reports) in (1, 2, 3, 4) for item in outcome.ended)


# what is refused ------------------------------------------------------------------------------------------------------

RUN = "run:\n  data: {source: manifold, name: s_curve}\n  model: {name: wae, latent_dim: 2}\n"
RANKED = "space:\n  model.latent_dim: {integer: [1, 3]}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("objective: {miss: 1}", "6:1: objective: miss needs a model that estimates a dimension, and a wae does not"),
        ("initial: [default, paper]", "6:1: initial: the authors' values (paper) are of an lwgan, not of a wae"),
    ],
)
def test_what_a_model_cannot_give_is_refused_with_its_place(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text(f"{RUN}{RANKED}{content}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(SearchConfig, str(tmp_path / "c.yaml"))
    assert str(caught.value) == f"{tmp_path}/c.yaml:{message}"


def test_reconstruction_is_no_objective_without_encoder(tmp_path):
    (tmp_path / "c.yaml").write_text(f"{RUN.replace('wae', 'gan')}{RANKED}objective: {{reconstruction: 1}}\n")
    with pytest.raises(ConfigError, match="6:1: objective: reconstruction needs a model with an encoder, and a gan"):
        read_config(SearchConfig, str(tmp_path / "c.yaml"))


def test_another_rank_rule_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text(f"{RUN}{RANKED}")
    with pytest.raises(ConfigError, match=r"^run.score.resolution=0.15: run.score: is of the lwgan"):
        read_config(SearchConfig, str(tmp_path / "c.yaml"), ["run.score.resolution=0.15"])


ONE = {"choice": [1]}


@pytest.mark.parametrize(
    ("space", "line"),
    [
        ({"networks.width": ONE}, "networks.width: unknown field; did you mean model.width?"),
        ({"schedule.name": {"choice": ["fast", "paper"]}, "model.width": ONE}, "schedule.name: unknown field"),
        ({"score.penalty": {"choice": ["rate"]}}, "score.penalty: unknown field; known: model.name, "),
        ({"model.width": {"integer": [0, 8]}}, "model.width: must be >= 1 (got 0)"),
        ({"model.name": {"choice": ["wae"]}}, "model.name: is not searched; a search is of one model"),
        ({"model": ONE}, "model: is a section; name its fields, for example model."),
    ],
)
def test_fields_that_a_model_does_not_have_are_refused(space, line):
    with pytest.raises(ConfigError) as caught:
        Space(config(run=WAE, space=space))
    assert str(caught.value).startswith(f"space.{line}")
    assert len(str(caught.value).splitlines()) == 1


def test_the_fields_of_a_model_are_not_those_of_an_lwgan():
    with pytest.raises(ConfigError, match=r"^space.model.latent_dim: unknown field; did you mean networks.latent_dim"):
        Space(config(space={"model.latent_dim": ONE}))


def test_fields_of_a_model_may_stand_in_its_section():
    nested = {"model": {name.removeprefix("model."): value for name, value in SPACE.items()}}
    assert config(run=WAE, space=nested) == config(run=WAE, space=SPACE)
