"""A run from configuration to folder, in this process."""

import json
import logging
import subprocess
import sys

import fsspec
import numpy as np
import pytest
from pyarrow import fs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import FAST, WAE

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.errors import ConfigError, DataError, NonFiniteLossError, RunFailedError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.results import scores_from_parquet
from lwgan_dist.run import artifacts
from lwgan_dist.run.folder import read_result
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder
from lwgan_dist.training.trainer import TrainingState

pytestmark = pytest.mark.usefixtures("blank_figures")

HERE = ExecutionConfig(workers=0, checkpoint_seconds=0)
FILES = {
    ".lock", "checkpoints", "config.yaml", "env.json", "model", "progress.json", "rank_scores.png", "result.json",
    "samples.png", "scores.parquet", "tb",
}  # fmt: skip


def run_of(**changes):
    return Run(RunConfig.model_validate(override(FAST, changes)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = Folder.at(str(tmp_path_factory.mktemp("run") / "run"))
    told = []
    result = run_of().train(folder, HERE, on_progress=told.append)
    return folder, result, told


def test_the_folder_holds_what_is_promised(finished):
    folder, _, _ = finished
    assert set(folder.names()) == FILES
    assert set(folder.sub("model").names()) == {"model.json", "model.safetensors"}


def test_progress_is_told_to_the_last_iteration(finished):
    _, result, told = finished
    assert [record["iteration"] for record in told] == list(range(1, result.iterations + 1))
    assert told[-1]["stage"] == "scoring"


def test_result_scores_and_checkpoint_tell_the_same(finished):
    folder, result, _ = finished
    assert read_result(folder) == result
    tables = scores_from_parquet(folder.read("scores.parquet"))
    assert set(tables) == {"train", "holdout"}
    mean = tables["train"].mean(axis=0)
    assert [row.reconstruction for row in result.rank_scores] == pytest.approx(mean[:, 1])
    assert result.cpu_seconds > 0


def test_the_environment_says_what_a_repetition_needs(finished):
    folder, result, _ = finished
    told = json.loads(folder.read("env.json"))
    assert told["run"]["fingerprint"] == result.fingerprint
    assert told["seeds"] == {"run": 0, "data": 0}
    assert told["threads"] == 1
    assert {"python", "torch", "ray", "lwgan-dist"} <= told["versions"].keys()


def test_tensorboard_shows_losses_scores_figures_and_hyperparameters(finished):
    folder, result, told = finished
    events = EventAccumulator(f"{folder.location}/tb", size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert {"loss/encoder_generator/reconstruction", "rank/score", "rank/mmd"} <= set(tags["scalars"])
    assert {"rank_scores", "samples"} <= set(tags["images"])
    assert [point.step for point in events.Scalars("rank/score")] == [1, 2, 3]
    assert [point.value for point in events.Scalars("rank/score")] == pytest.approx(
        [row.score for row in result.rank_scores], rel=1e-6
    )
    name = "encoder_generator/reconstruction"
    assert [(point.step, point.value) for point in events.Scalars(f"loss/{name}")] == [
        (record["iteration"], pytest.approx(record["losses"][name], rel=1e-6))
        for record in told
        if name in record["losses"]
    ]


def test_a_loss_is_recorded_in_the_stages_that_have_it_only(finished):
    _, _, told = finished
    with_critic = {record["stage"] for record in told if "critic/critic" in record["losses"]}
    with_reconstruction = {record["stage"] for record in told if "encoder_generator/reconstruction" in record["losses"]}
    assert with_critic == {"critic", "joint", "scoring"}
    assert with_reconstruction == {"embedding", "matching", "joint"}


def test_the_saved_model_is_the_trained_one(finished):
    folder, result, _ = finished
    model = FittedModel.load(folder.sub("model"))
    sample = run_of().sample
    rows = sample.standardizer.undo(sample.train)
    assert model.dimension == result.dimension
    for rank in (1, 3):
        errors = np.linalg.norm(rows - model.decode(model.encode(rows, rank)), axis=1) / sample.standardizer.scale[0]
        assert errors.mean() == pytest.approx(result.rank_scores[rank - 1].reconstruction, rel=0.2)  # batches of 30


def test_an_object_store_holds_the_same_run(finished, tmp_path):
    store = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    folder = Folder(store, f"/{tmp_path.name}/run", f"memory://{tmp_path.name}/run")
    result = run_of().train(folder, HERE)
    assert set(folder.names()) == FILES - {".lock"}
    assert result.rank_scores == finished[1].rank_scores
    assert run_of().train(folder, HERE) == result


def test_damage_of_the_newest_checkpoint_changes_no_result(finished, tmp_path, caplog):
    folder = Folder.at(str(tmp_path / "run"))
    run_of().train(folder, HERE)
    (folder.local / "result.json").unlink()
    newest = sorted((folder.local / "checkpoints").iterdir())[-1] / "tensors.safetensors"
    content = bytearray(newest.read_bytes())
    content[-5] ^= 4
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = run_of().train(folder, HERE)
    assert newest.parent.name in caplog.text
    assert again.rank_scores == finished[1].rank_scores


def test_another_run_in_the_folder_is_refused_and_left_alone(finished):
    folder, result, _ = finished
    with pytest.raises(ConfigError, match="configuration differs"):
        run_of(seed=1).train(folder, HERE)
    with pytest.raises(ConfigError, match="data are others, or have changed"):
        run_of(**{"data.n": 201}).train(folder, HERE)
    assert read_result(folder) == result


def test_a_run_goes_on_in_the_precision_that_it_began_with(tmp_path, monkeypatch):
    """Under precision "auto", a driver on another processor goes on with the run that the folder holds."""
    folder, few = Folder.at(str(tmp_path / "run")), iter(range(5))
    for native in (True, False):
        monkeypatch.setattr("lwgan_dist.run.prepare.bfloat16_pays", lambda native=native: native)
        run = run_of(precision="auto")
        assert run.config.precision == ("bfloat16" if native else "float32")
        if native:
            with pytest.raises(StopIteration):  # interrupted after some iterations
                run.train(folder, HERE, on_progress=lambda _told: next(few))
        else:
            result = run.train(folder, HERE)
    assert result.fingerprint == run_of(precision="bfloat16").fingerprint == run.fingerprint
    assert FittedModel.load(folder.sub("model")).config.precision == "bfloat16"
    with pytest.raises(ConfigError, match="configuration differs"):
        run_of(precision="float32").train(folder, HERE)
    with pytest.raises(ConfigError, match="configuration differs"):
        run_of(precision="auto", seed=1).train(folder, HERE)


@pytest.mark.parametrize(
    "rows",
    [
        np.random.default_rng(5).standard_normal((13, 12))[np.random.default_rng(6).integers(0, 13, 200)],
        np.eye(200),
        np.vstack([np.zeros((2000, 3)), np.eye(3)]),
        np.random.default_rng(0).integers(0, 2, (200, 4)).astype(float),
        np.linspace(0, 1, 200)[:, None] * np.ones((1, 3), dtype=np.float32),
    ],
    ids=["few distinct rows", "corners of a simplex", "all but three rows equal", "binary columns", "a line"],
)
def test_degenerate_tables_are_estimated(tmp_path, rows):
    told = override(FAST, {"data.source": "array", "schedule.embedding_rows": 100, "precision": "float32"})
    assert Run(RunConfig.model_validate(told), rows).train(Folder.at(str(tmp_path / "run")), HERE).dimension >= 1


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="not empty and not a run folder"):
        run_of().train(Folder.at(str(tmp_path)), HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_run_from_before_the_rows_decided_says_how_it_goes_on_and_one_without_names_is_the_same(tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 1000.0, 1.0]
    before = RunConfig.model_validate(override(FAST, {"data": {"source": "array", "standardize": "global"}}))
    now = RunConfig.model_validate(override(FAST, {"data": {"source": "array"}}))
    assert Run(now, rows).fingerprint == Run(before, rows).fingerprint
    decided = Run(now, rows, columns=("length", "mass", "age"))
    assert decided.config.data.standardize == "per_column"
    assert [finding.kind for finding in decided.findings] == ["differing_units"]
    ((asked, config),) = list(decided.as_before())[:1]
    assert asked == ["data.standardize=global"]
    assert config.fingerprint(decided.sample.digest) == Run(before, rows).fingerprint


@pytest.mark.parametrize(
    ("asked", "goes_on_with"),
    [
        (
            {"schedule.embedding_rounds": 1, "networks.linear_path": False},
            r"schedule\.embedding_rounds=1 networks\.linear_path=false score\.neighbours=false",
        ),
        (
            {"schedule.embedding_rounds": 2, "networks.linear_path": False},
            r"networks\.linear_path=false score\.neighbours=false",
        ),
        ({"schedule.embedding_rounds": 2, "networks.linear_path": True}, r"score\.neighbours=false"),
    ],
)
def test_a_run_from_before_there_was_a_setting_says_how_it_goes_on(tmp_path, asked, goes_on_with):
    folder, now = Folder.at(str(tmp_path / "run")), {"schedule.embedding_rounds": 2, "networks.linear_path": True}
    Run(RunConfig.model_validate(override(FAST, {**asked, "score.neighbours": False}))).train(folder, HERE)
    with pytest.raises(ConfigError, match=f"go on with {goes_on_with}, or choose"):
        Run(RunConfig.model_validate(override(FAST, now))).train(folder, HERE)
    with pytest.raises(ConfigError, match="configuration differs"):
        Run(RunConfig.model_validate(override(FAST, {**now, "seed": 1}))).train(folder, HERE)


def test_a_model_from_before_there_were_rounds_and_linear_paths_had_none(tmp_path):
    folder = Folder.at(str(tmp_path / "run"))
    Run(RunConfig.model_validate(override(FAST, {"networks.linear_path": False}))).train(folder, HERE)
    description = folder.sub("model").read_json("model.json", dict)
    del description["config"]["schedule"]["embedding_rounds"], description["config"]["networks"]["linear_path"]
    folder.sub("model").write("model.json", json.dumps(description).encode())
    config = FittedModel.load(folder.sub("model")).config
    assert (config.schedule.embedding_rounds, config.networks.linear_path) == (1, False)


def test_a_run_killed_while_it_claimed_its_folder_can_start_again(finished, tmp_path):
    folder = Folder.at(str(tmp_path / "run"))
    folder.write(
        "env.json", json.dumps({"run": {"fingerprint": run_of().fingerprint, "precision": "float64"}}).encode()
    )
    (folder.local / ".tmp-1").write_bytes(b"half")
    folder.sub(".ray").write("left", b"behind")
    assert run_of().train(folder, HERE).rank_scores == finished[1].rank_scores


def test_a_configuration_of_the_users_is_not_taken_for_a_run(tmp_path):
    (tmp_path / "config.yaml").write_text("# mine\n")
    with pytest.raises(ConfigError, match="not empty and not a run folder"):
        run_of().train(Folder.at(str(tmp_path)), HERE)
    assert (tmp_path / "config.yaml").read_text() == "# mine\n"


def test_a_result_without_floors_gets_them(finished):
    folder, result, _ = finished
    early = {name: value for name, value in result.metrics.items() if not name.endswith("_floor")}
    assert early.keys() < result.metrics.keys()
    folder.write("result.json", result.model_copy(update={"metrics": early}).model_dump_json().encode())
    assert run_of().measure(folder, list(early)).metrics == result.metrics == read_result(folder).metrics


def test_a_diverged_run_leaves_no_result(tmp_path):
    folder = Folder.at(str(tmp_path / "run"))
    with pytest.raises(NonFiniteLossError):
        run_of(**{"schedule.embedding_learning_rate": 1e300}).train(folder, HERE)
    assert not folder.has("result.json")


def test_a_run_that_generates_what_is_not_finite_leaves_no_result(tmp_path, monkeypatch):
    folder = Folder.at(str(tmp_path / "run"))
    monkeypatch.setattr(FittedModel, "generate", lambda *_given, **_more: np.full((5, 3), np.nan))
    with pytest.raises(NonFiniteLossError, match="rows generated at rank"):
        run_of().train(folder, HERE)
    assert not folder.has("result.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule.batch_size": 181}, "180 training rows are fewer than a batch of schedule.batch_size = 181"),
        ({"data.holdout_fraction": 0.015, "score.score_on": "holdout"}, "leaves 3"),
    ],
)
def test_data_that_do_not_fit_the_configuration_are_refused_before_anything_is_written(changes, message):
    with pytest.raises(DataError, match=message):
        run_of(**changes)


def judged(tables, **changes):
    """The result of a run whose score tables are given: ranks 1..3, reconstruction errors by split."""
    run = run_of(**{"data.ambient_dim": 4, **changes})
    components = {}
    for split, errors in tables.items():
        components[split] = np.zeros((2, 3, 4))
        components[split][:, :, 1] = errors
    meta = {
        "seconds": {"cpu": 1.0, "wall": 1.0},
        "workers": 1,
        "iteration": 1,
        "lengths": {"scoring": 1},
        "start": None,
    }
    return artifacts.result_of(run, Folder.at("/nowhere"), TrainingState({}, meta), components)


BY_SCORES = {"score.neighbours": False}


def test_the_largest_rank_as_estimate_is_noted():
    result = judged({"train": [0.3, 0.2, 0.01]}, **BY_SCORES)
    assert result.dimension == 3
    assert [note.partition(":")[0] for note in result.notes] == ["the estimate is the largest rank considered (3)"]


def test_an_estimate_that_neighbours_lowered_is_noted():
    result = judged({"train": [0.3, 0.2, 0.01]})
    assert (result.dimension, result.lowered_from) == (2, 3)
    assert result.notes == [
        "networks need rank 3 to explain the rows, but the distances between neighbouring rows are those of no more "
        "than 2 dimensions: the estimate is 2 (score.neighbours)"
    ]
    assert judged({"train": [0.3, 0.01, 0.01]}).lowered_from is None


def test_an_estimate_that_reduces_nothing_is_noted():
    at_columns = {"data.ambient_dim": 3, **BY_SCORES}  # an S-curve in its own columns, as many as ranks
    assert judged({"train": [0.3, 0.2, 0.01]}, **at_columns).notes == [
        "the estimate is not below the number of columns (3): no reduction"
    ]
    assert judged({"train": [0.3, 0.01, 0.01]}, **at_columns).notes == []


def test_holdout_rows_that_disagree_are_noted():
    agreeing = {"train": [0.4, 0.1, 0.1], "holdout": [0.4, 0.1, 0.1]}
    differing = {"train": [0.4, 0.1, 0.1], "holdout": [0.1, 0.1, 0.1]}
    result = judged(agreeing)
    assert (result.dimension, result.other_dimension, result.notes) == (2, 2, [])
    result = judged(differing)
    assert (result.dimension, result.other_dimension) == (2, 1)
    assert result.notes == ["on the holdout rows the reconstruction errors alone give 1: the evidence is weak"]
    result = judged(differing, **{"score.score_on": "holdout"})
    assert (result.dimension, result.other_dimension) == (1, 2)
    assert result.notes == ["on the train rows the reconstruction errors alone give 2: the evidence is weak"]
    assert judged(agreeing, **{"score.penalty": "reference"}).notes == []
    result = judged(differing, **{"score.penalty": "reference"})
    assert result.notes == ["on the holdout rows the same rule gives 1: the evidence is weak"]


def test_networks_behind_principal_components_are_noted():
    (note,) = judged({"train": [3.0, 1.0, 1.0]}).notes
    assert note.startswith("at rank 1, 2 principal components reconstruct the rows better than networks")


@pytest.mark.parametrize("file", ["env.json", "result.json", "model/model.json"])
def test_a_damaged_file_of_a_run_is_named(tmp_path, file):
    folder = Folder.at(str(tmp_path / "run"))
    run_of().train(folder, HERE)
    (folder.local / file).write_bytes(b"{")
    with pytest.raises(ConfigError, match=f"{file}: is damaged"):
        FittedModel.load(folder.sub("model")) if "model" in file else run_of().train(folder, HERE)


# halts ----------------------------------------------------------------------------------------------------------------


def test_a_run_that_is_halted_on_its_way_ends_as_if_it_had_not_been(tmp_path):
    whole, halted = Folder.at(str(tmp_path / "whole")), Folder.at(str(tmp_path / "halted"))
    straight = run_of().fit(whole, HERE)
    run = run_of()
    halts = run.halts(4)
    assert halts[-1] == straight.result.iterations
    assert halts == sorted(set(halts))
    seconds = 0.0
    for iteration in halts:
        halt = run.fit_until(halted, HERE, iteration)
        assert halt.cpu_seconds > seconds
        seconds = halt.cpu_seconds
        names = halted.sub("checkpoints").names()
        assert names[-1] == f"iteration-{iteration:012d}"
        assert run.fit_until(halted, HERE, iteration).cpu_seconds == seconds, "it is there already"
    fit = run.fit(halted, HERE)
    assert fit.result.dimension == straight.result.dimension
    assert {split: table.tolist() for split, table in fit.components.items()} == {
        split: table.tolist() for split, table in straight.components.items()
    }
    for name, network in fit.model.networks.named().items():
        other = straight.model.networks.named()[name].state_dict()
        assert all((value == other[key]).all() for key, value in network.state_dict().items())


def test_a_run_that_is_beyond_an_iteration_does_not_pass_for_one_that_is_there(tmp_path):
    folder, run = Folder.at(str(tmp_path / "run")), run_of()
    first = run.stages[0].iterations
    run.fit_until(folder, HERE, first + 3)
    for iteration in (1, first, first + 2):
        with pytest.raises(RunFailedError, match=f"is beyond iteration {iteration}$"):
            run.fit_until(folder, HERE, iteration)


def test_a_worker_imports_nothing_that_only_draws_or_embeds():
    """Figures, TensorBoard and scikit-learn are imported where they are used: they take as long as all the rest."""
    late = ["matplotlib", "tensorboard", "sklearn", "scipy.stats", "pandas", "ray"]
    code = f"import sys, lwgan_dist.run.run; print(sorted(set({late}) & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


# tables ---------------------------------------------------------------------------------------------------------------


def test_the_result_says_how_a_table_was_read_and_the_same_rows_are_the_same_run(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    text = "\n".join(";".join([*map(str, row), "w"]) for row in rows.tolist())
    files = {"plain.csv": text.replace(";w", "").replace(";", ","), "other.csv": text.replace(".", ",") + "\n1;;3;w"}
    names = {"plain.csv": "a,b,c", "other.csv": "a;b;c;n"}
    runs = {}
    for file, content in files.items():
        (tmp_path / file).write_text(f"{names[file]}\n{content}\n")
        data = {"source": "table", "path": str(tmp_path / file)}
        runs[file] = Run(RunConfig.model_validate({**WAE, "data": data}))
    assert runs["other.csv"].fingerprint == runs["plain.csv"].fingerprint
    folder = Folder.at(str(tmp_path / "run"))
    runs["other.csv"].train(folder, HERE)
    reading = read_result(folder).reading
    assert reading.how == ["';' between columns", "decimal comma"]
    assert reading.left_out == {"n": "text"}
    assert reading.dropped_rows == 1
