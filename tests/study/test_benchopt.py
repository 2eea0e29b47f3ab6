"""A benchmark for benchopt holds the samples of the study, and its solvers answer on them as the study did.

benchopt itself is not among the dependencies; its base classes are stood in for by what they do with parameters.
`docs/guide/study.md` has the commands that run its own tests on an export.
"""

import ast
import importlib.util
import math
import sys
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_study import Silent, config
from tiny_study import study as tiny

from lwgan_dist.cli import main
from lwgan_dist.errors import ConfigError
from lwgan_dist.storage import Folder
from lwgan_dist.study import benchopt as exporting

DRAWS = 2
TOLD = {"classical": {"estimators": ["TwoNN", "ABIDE", "skdim.id:MLE"], "replicates": 3}}


class Base:
    def __init__(self, **parameters):
        vars(self).update(parameters)


@pytest.fixture(scope="module", autouse=True)
def benchopt():
    stub = ModuleType("benchopt")
    stub.BaseObjective = stub.BaseDataset = stub.BaseSolver = Base
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "benchopt", stub)
        yield


def call(*arguments):
    return CliRunner().invoke(main, ["study", "export", *map(str, arguments)])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "mine"
    return folder, tiny(folder, **TOLD).execute(Silent())


@pytest.fixture(scope="module")
def bench(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "bench"
    said = call(study[0], "--benchopt", folder, "--draws", DRAWS)
    assert said.exit_code == 0, said.output
    assert "8 samples, solvers classical, models" in said.output
    assert "Of the rank rules, that of run.score alone is there, not rate." in said.output
    return folder


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def places(bench):
    """Data sets by their place in the study."""
    dataset = loaded(bench / "datasets" / "study.py").Dataset
    return {(data, n, draw): dataset(data=data, n=n, draw=draw)
            for data, n, draw in dataset.parameters["data, n, draw"]}  # fmt: skip


LABELS = {"s_curve": "s_curve", "swissroll_curve_noise_0.05": "swissroll_curve, noise 0.05"}


def test_every_sample_is_that_of_its_replicate(study, bench):
    rows = {(r["data"], r["n"], r["replicate"]): r for r in study[1].tables.runs.to_pylist() if r["method"] == "TwoNN"}
    found = places(bench)
    assert {(LABELS[data], n, draw) for data, n, draw in found} == {place for place in rows if place[2] < DRAWS}
    for (data, n, draw), dataset in found.items():
        content = dataset.get_data()
        assert content["X"].shape == (n, rows[LABELS[data], n, draw]["ambient_dim"])
        assert content["intrinsic_dim"] == rows[LABELS[data], n, draw]["intrinsic_dim"]
        assert content["seed"] == rows[LABELS[data], n, draw]["seed"]


def test_a_classical_solver_gives_what_the_study_has(study, bench):
    """Through the objective, bit for bit."""
    rows = {(r["data"], r["n"], r["replicate"], r["method"]): r for r in study[1].tables.runs.to_pylist()}
    solver_class = loaded(bench / "solvers" / "classical.py").Solver
    objective = loaded(bench / "objective.py").Objective()
    assert solver_class.parameters["estimator"] == TOLD["classical"]["estimators"]
    for (data, n, draw), dataset in places(bench).items():
        objective.set_data(**dataset.get_data())
        for estimator in solver_class.parameters["estimator"]:
            solver = solver_class(estimator=estimator)
            solver.set_objective(**objective.get_objective())
            solver.run(None)
            row = rows[LABELS[data], n, draw, estimator]
            answer = solver.get_result()
            if row["failure"]:
                assert answer == {"dimension": None}
                continue
            assert answer == {"dimension": row["value"]}
            metrics = objective.evaluate_result(**answer)
            assert metrics["value"] == abs(row["value"] - row["intrinsic_dim"])
            assert metrics["correct"] == row["correct"]


def test_a_model_is_trained_with_the_settings_of_the_study(bench):
    module = loaded(bench / "solvers" / "models.py")
    assert module.Solver.parameters["method"] == ["LWGAN"]
    content = places(bench)["s_curve", 40, 0].get_data()
    solver = module.Solver(method="LWGAN")
    solver.set_objective(content["X"], content["seed"])
    assert solver.config.networks.latent_dim == 2
    assert solver.config.schedule.critic_iterations == 20
    assert solver.config.precision == "float32"
    solver.run(None)
    assert solver.get_result()["dimension"] in (1.0, 2.0)
    solver.set_objective(np.full_like(content["X"], 1.0), content["seed"])
    solver.run(None)
    assert solver.get_result() == {"dimension": None}, "rows that cannot be estimated from are a failure"


@pytest.mark.parametrize(
    ("dimension", "metrics"),
    [
        (1.6, {"value": pytest.approx(0.4), "correct": 1.0, "failed": 0.0}),
        (2.5, {"value": 0.5, "correct": 0.0, "failed": 0.0}),
        (None, {"value": math.inf, "correct": 0.0, "failed": 1.0}),
        (math.nan, {"value": math.inf, "correct": 0.0, "failed": 1.0}),
    ],
)
def test_the_objective_counts_as_the_study_does(bench, dimension, metrics):
    objective = loaded(bench / "objective.py").Objective()
    objective.set_data(np.zeros((3, 3)), 2, 0)
    assert objective.evaluate_result(dimension) == metrics
    assert objective.evaluate_result(**objective.get_one_result())["value"] == 1.0


def test_others_need_no_package_but_numpy_and_can_list_it_without_importing(bench):
    """benchopt reads the parameters of what cannot be imported from the source."""
    for path in (bench / "objective.py", bench / "datasets" / "study.py"):
        assert "lwgan_dist" not in path.read_text()
    for path in bench.rglob("*.py"):
        assert path.read_text().endswith("\n")
        (kind,) = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef))
        given = {node.targets[0].id: node.value for node in kind.body if isinstance(node, ast.Assign)}
        for name in {"name", "parameters", "test_config"} & given.keys():
            ast.literal_eval(given[name])
    assert "| `s_curve` | s_curve | 2 | 40 | 2 |" in (bench / "README.md").read_text()


def exported(out, draws=1, **told):
    return exporting.export(config(**told), "float32", "mine", Folder.at(str(out)), draws)


def test_labels_that_look_alike_have_names_of_their_own(tmp_path):
    data = [
        {"name": "s_curve", "label": "a, b"},
        {"name": "s_curve", "label": "A; b"},
        {"name": "s_curve", "label": "!"},
    ]
    exported(tmp_path / "out", data=data, sizes=[40])
    assert {data for data, _, _ in places(tmp_path / "out")} == {"a_b", "A_b_2", "data"}


def test_a_whole_table_is_one_sample(tmp_path):
    np.savetxt(tmp_path / "t.csv", np.random.default_rng(0).normal(size=(50, 3)), delimiter=",")
    table = {"path": str(tmp_path / "t.csv"), "intrinsic_dim": 2}
    exported(tmp_path / "out", 3, data=[table], sizes=[20, 50])
    assert set(places(tmp_path / "out")) == {("t", 20, 0), ("t", 20, 1), ("t", 20, 2), ("t", 50, 0)}


def test_what_varies_with_the_data_is_left_out_and_said(tmp_path):
    result = exported(tmp_path / "out", factors={"networks.width": [2, 3]})
    assert result.solvers == ["classical"]
    assert result.left_out == ["LWGAN is left out: its settings vary with networks.width."]
    assert not (tmp_path / "out" / "solvers" / "models.py").exists()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"factors": {"networks.width": [2, 3]}, "classical": {}}, "no method can be exported: LWGAN is left out"),
        ({"sizes": [40], "most": 1000}, "--draws 1: the samples take more than"),
    ],
)
def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch, told, reason):
    monkeypatch.setattr(exporting, "MOST_BYTES", told.pop("most", exporting.MOST_BYTES))
    with pytest.raises(ConfigError, match=reason):
        exported(tmp_path / "out", **told)
    assert not (tmp_path / "out").exists(), "nothing is left behind"


def test_folders_that_cannot_be_used_are_refused(study, bench, tmp_path):
    assert "is not empty; choose another folder" in call(study[0], "--benchopt", bench).output
    assert call(study[0], "--benchopt", bench).exit_code == 2
    assert "is no folder of a study" in call(tmp_path, "--benchopt", tmp_path / "out").output
    np.savetxt(tmp_path / "t.csv", np.random.default_rng(0).normal(size=(50, 3)), delimiter=",")
    with pytest.raises(ConfigError, match="none is of known dimension"):
        exported(tmp_path / "out", data=[{"path": str(tmp_path / "t.csv")}], sizes=[20])
