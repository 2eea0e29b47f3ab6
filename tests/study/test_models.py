"""Other models that estimate a dimension, as methods of a study."""

from dataclasses import replace

import pytest
from tiny_study import Silent, study

from lwgan_dist.errors import ConfigError, NonFiniteLossError
from lwgan_dist.models.wae.config import WaeModel
from lwgan_dist.models.wae.kind import KIND
from lwgan_dist.run.run import Run
from lwgan_dist.study.publish import publish

pytestmark = pytest.mark.usefixtures("blank_figures", "quick_fits")

MODEL = {"name": "wae", "width": 2, "latent_dim": 2, "iterations": 4, "batch_size": 16, "evaluations": 2}
GIVEN = {
    "sizes": [40], "lwgan": {"replicates": 1}, "classical": {"estimators": ["TwoNN"], "replicates": 3},
    "models": [{**MODEL, "replicates": 2, "label": "two"}],
}  # fmt: skip


@pytest.fixture
def _says_two(monkeypatch):
    """An auto-encoder that estimates two dimensions of anything."""
    judge = type(KIND).judge

    def judged(kind, finished):
        verdict = judge(kind, finished)
        return replace(verdict, judgement=verdict.judgement.model_copy(update={"dimension": 2}))

    monkeypatch.setattr(WaeModel, "estimates_dimension", True)
    monkeypatch.setattr(type(KIND), "judge", judged)


@pytest.mark.usefixtures("_says_two")
def test_its_dimension_is_a_method_on_the_same_samples(tmp_path):
    progress, prepared = Silent(), study(tmp_path / "study", **GIVEN)
    outcome = prepared.execute(progress, lambda outcome: publish(prepared, outcome, "with models"))
    assert progress.phases == [(2, "LWGAN runs"), (4, "runs of other models"), (6, "classical runs")]
    runs = outcome.tables.runs.to_pylist()
    mine = [row for row in runs if row["kind"] == "model"]
    assert [(row["method"], row["dimension"], row["correct"]) for row in mine] == [("two", 2, True)] * 2 + [
        ("two", 2, False)
    ] * 2
    seeds = {(row["data"], row["replicate"]): row["data_seed"] for row in runs if row["kind"] == "classical"}
    assert all(seeds[row["data"], row["replicate"]] == row["data_seed"] for row in mine)
    (run,) = prepared.design.runs(prepared.design.groups[1], range(1))
    assert mine[0]["fingerprint"] == Run(run.config).fingerprint
    cells = {(cell["data"], cell["method"]): cell for cell in outcome.tables.cells.to_pylist()}
    assert (cells["s_curve", "two"]["correct"], cells["s_curve", "two"]["runs"]) == (2, 2)
    assert "other models" in (tmp_path / "study" / "summary.md").read_text()
    again = Silent()
    assert study(tmp_path / "study", **GIVEN).execute(again).tables.runs.equals(outcome.tables.runs)
    assert again.phases == []


@pytest.mark.usefixtures("_says_two")
def test_one_that_diverges_is_incorrect(tmp_path, monkeypatch):
    def failing(*_given, **_more):
        raise NonFiniteLossError("a loss is nan")

    monkeypatch.setattr(Run, "fit", failing)
    given = {**GIVEN, "lwgan": {"replicates": 0}, "classical": {"estimators": []}}
    prepared = study(tmp_path / "study", **given)
    outcome = prepared.execute(Silent(), lambda outcome: publish(prepared, outcome, "failing"))
    assert outcome.diverged == 4
    assert {cell["failures"] for cell in outcome.tables.cells.to_pylist()} == {2}
    assert "4 runs gave no dimension" in (tmp_path / "study" / "summary.md").read_text()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (MODEL, "models.0.name: a wae estimates no dimension; see lwgan-dist compare"),
        ({"name": "lwgan"}, "models.0.name: the lwgan is the section lwgan of a study"),
    ],
)
def test_a_model_without_an_estimate_is_referred_to_comparisons(tmp_path, model, says):
    with pytest.raises(ConfigError, match=says):
        study(tmp_path / "study", **{**GIVEN, "models": [model]})
