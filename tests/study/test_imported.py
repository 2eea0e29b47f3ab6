"""Estimators of other packages: what a study asks of them, said in words; a study with one; names that are refused."""

import json
import sys
import textwrap

import pytest
from click.testing import CliRunner
from pydantic import ValidationError
from tiny_study import TINY, Silent, config, study

from lwgan_dist.cli import main
from lwgan_dist.configfile import build_config, json_schema, to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.imported import complaints, made_by

CLASSES = '''
import numpy as np


class Spectrum:
    """Eigenvalues above 1 % of their sum, written from the documentation alone."""

    def fit(self, X):
        values = np.linalg.eigvalsh(np.cov(np.asarray(X, float).T))
        self.dimension_ = int((values > 0.01 * values.sum()).sum())
        return self


class ReturnsNothing(Spectrum):
    def fit(self, X):
        super().fit(X)


class ByRow(Spectrum):
    def fit(self, X):
        self.dimension_ = np.full(len(X), 2.0)
        return self


class Random(Spectrum):
    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X):
        self.dimension_ = 2 + np.random.default_rng().random()
        return self


class Scales(Spectrum):
    def fit(self, X):
        X -= X.mean(axis=0)
        return super().fit(X)


class FewColumns(Spectrum):
    def fit(self, X):
        if X.shape[1] > 10:
            raise ValueError("at most 10 columns")
        return super().fit(X)


class Remembers(Spectrum):
    def fit(self, X):
        self.seen = getattr(self, "seen", 0) + 1
        self.dimension_ = self.seen
        return self


class NeedsArguments(Spectrum):
    def __init__(self, neighbours):
        pass


class Nameless(Spectrum):
    def fit(self, X):
        return self


no_class = 3
'''


@pytest.fixture(autouse=True, scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    (folder / "other_package.py").write_text(textwrap.dedent(CLASSES))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "path", [str(folder), *sys.path])
        yield
    sys.modules.pop("other_package", None)


@pytest.mark.parametrize("name", ["skdim.id:TwoNN", "skdim.id:MLE", "skdim.id:lPCA", "other_package:Spectrum"])
def test_estimators_that_meet_what_a_study_asks(name):
    assert complaints(name) == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ReturnsNothing", "fit returns nothing, not the estimator itself"),
        ("ByRow", "dimension_ is [2. 2."),
        ("Random", "two fits with the same random_state give 2."),
        ("Scales", "fit changes the rows that it is given"),
        ("FewColumns", "fit refuses rows in 30 columns (ValueError: at most 10 columns)"),
        ("Remembers", "a second fit gives 2, that of a new estimator 1: it remembers the first"),
        ("NeedsArguments", "it cannot be made without arguments (TypeError: "),
        ("Nameless", "after fit it has no dimension_"),
    ],
)
def test_what_is_not_met_is_said_in_a_sentence_of_its_own(name, sentence):
    (said,) = complaints(f"other_package:{name}")
    assert said.startswith(sentence)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other_package:no_class", "is no class with a method fit"),
        ("other_package:Missing", "cannot be imported (AttributeError"),
        ("no_such_package:Class", "cannot be imported (ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_imported_is_refused(name, reason, tmp_path):
    said = CliRunner().invoke(main, ["check", name])
    assert (said.exit_code, reason in said.output) == (2, True)
    with pytest.raises(ConfigError, match=name):
        study(tmp_path / "s", data=TINY["data"][:1], sizes=[40], classical={"estimators": [{"import": name}]})


def test_the_command_says_ok_or_what_is_not_met():
    assert CliRunner().invoke(main, ["check", "other_package:Spectrum"]).output == "other_package:Spectrum: ok\n"
    said = CliRunner().invoke(main, ["check", "other_package:Scales"])
    assert said.exit_code == 2
    assert said.output == "error: other_package:Scales: fit changes the rows that it is given\n"


def test_a_study_runs_it_beside_the_others(tmp_path):
    told = {
        "data": TINY["data"][:1], "sizes": [40], "lwgan": {"replicates": 0},
        "classical": {"estimators": ["TwoNN", {"import": "other_package:Spectrum"}], "replicates": 2},
    }  # fmt: skip
    prepared = study(tmp_path / "s", **told)
    outcome = prepared.execute(Silent())
    rows = [row for row in outcome.tables.runs.to_pylist() if row["method"] == "other_package:Spectrum"]
    assert [(row["replicate"], row["dimension"], row["failure"]) for row in rows] == [(0, 3, None), (1, 3, None)]
    (record,) = prepared.ledger.records([rows[0]["key"]])
    assert record.version == made_by("other_package:Spectrum") == "other_package unversioned"
    again = build_config(StudyConfig, json.loads(prepared.config.model_dump_json()), {})
    assert again == prepared.config


def test_a_configuration_names_it_in_two_ways_and_nothing_else():
    one, other = (config(classical={"estimators": [name]}) for name in ({"import": "skdim.id:TwoNN"}, "skdim.id:TwoNN"))
    assert to_yaml(one) == to_yaml(other)
    for wrong in ("skdim.id:", ":TwoNN", "a b:C", {"import": "TwoNN"}, {"import": "a:b", "label": "x"}, "TwoNo"):
        with pytest.raises((ConfigError, ValidationError), match=r"classical\.estimators"):
            config(classical={"estimators": [wrong]})
    assert '"import"' in json_schema(StudyConfig) or "propertyNames" in json_schema(StudyConfig)


def test_packages_have_their_version():
    assert made_by("skdim.id:TwoNN").startswith("scikit-dimension ")
