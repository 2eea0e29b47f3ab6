"""The commands, from what is typed to what is printed and written, on a run of 11 iterations."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lwgan_dist.cli import main
from lwgan_dist.config import RunConfig, TrainConfig
from lwgan_dist.configfile import read_config
from lwgan_dist.errors import ClusterError, RunFailedError
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.results import Competitor, scores_from_parquet
from lwgan_dist.run import run as run_module
from lwgan_dist.storage import Folder, exclusive
from lwgan_dist.study import competitors

pytestmark = pytest.mark.usefixtures("blank_figures")

TINY = ["data.n=200", "schedule.embedding_iterations=5", "schedule.embedding_rounds=1",
        "schedule.matching_iterations=3", "schedule.critic_iterations=20", "schedule.scoring_interval=1",
        "score.evaluations=2", "networks.width=4", "--max-dimension", "3", "--no-competitors"]  # fmt: skip
ESTIMATE = ["estimate", "s_curve", *TINY]
KEYS = {
    *("dimension", "max_dimension", "rank_scores", "penalty", "score_on", "rows", "ambient_dim", "intrinsic_dim"),
    *("seed", "schedule", "workers", "iterations", "cpu_seconds", "wall_seconds", "fingerprint", "run_dir", "notes"),
    *(
        "rule",
        "resolution",
        "staircase",
        "rank_set",
        "confidence",
        "other_dimension",
        "tear",
        "parts",
        "metrics",
        "model",
        "shape",
        "standardize",
        "findings",
        "reading",
        "competitors",
        "neighbours",
        "lowered_from",
        "fits",
    ),
}
RANK_KEYS = {"rank", "score", "se", "refused", "critic", "reconstruction", "gradient_penalty", "mmd"}
FILES = {"config.yaml", "env.json", "progress.json", "result.json", "scores.parquet", "rank_scores.png", "samples.png"}
FOLDERS = {"checkpoints", "model", "tb"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def succeeded(*arguments: str) -> Result:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def rejected(*arguments: str) -> str:
    """The only line of a command that ends with 2."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (line,) = result.stderr.splitlines()
    return line


def told(result: Result) -> dict:
    """The JSON object that is all of standard output."""
    (line,) = result.stdout.splitlines()
    return json.loads(line)


def contents(folder: Path) -> dict[str, int]:
    """Every file with the time of its last change."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Result]:
    """A finished run, not to be changed, and what the command gave."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    return run_dir, succeeded(*ESTIMATE, "--out", str(run_dir), "--json")


@pytest.fixture
def run_dir(finished, tmp_path) -> Path:
    """A copy of the finished run."""
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


# estimate -------------------------------------------------------------------------------------------------------------


def test_json_is_one_object_with_the_estimate_the_evidence_and_the_cost(finished):
    run_dir, result = finished
    said = told(result)
    assert set(said) == KEYS
    assert [set(row) for row in said["rank_scores"]] == [RANK_KEYS] * 3
    assert [row["rank"] for row in said["rank_scores"]] == [1, 2, 3]
    facts = {"max_dimension": 3, "rows": 200, "ambient_dim": 3, "intrinsic_dim": 2, "seed": 0, "workers": 1,
             "schedule": "fast", "iterations": 5 + 3 + 1 + 2, "run_dir": str(run_dir)}  # fmt: skip
    assert {key: said[key] for key in facts} == facts
    assert said["cpu_seconds"] > 0
    assert said["wall_seconds"] > 0


def test_the_estimate_is_the_smallest_rank_that_the_rule_does_not_refuse(finished):
    said = told(finished[1])
    refused = [row["refused"] for row in said["rank_scores"]]
    assert refused[-1] is None  # no rank is above the largest
    assert said["dimension"] == 1 + next(i for i, by in enumerate(refused) if by is None or by <= 0)
    assert (said["rule"], said["resolution"], said["confidence"]) == ("resolution", 0.08, 0.9)
    assert said["dimension"] in said["rank_set"]
    finer = [step["dimension"] for step in said["staircase"] if step["from_resolution"] <= 0.08]
    coarser = [step["dimension"] for step in said["staircase"] if step["to_resolution"] >= 0.08]
    assert finer[-1] >= said["dimension"] >= coarser[0]


def test_by_the_authors_rule_it_is_the_rank_of_the_least_penalised_score():
    said = told(succeeded(*ESTIMATE, "score.penalty=reference", "--json"))
    penalised = [row["score"] + said["penalty"] * row["rank"] for row in said["rank_scores"]]
    assert said["dimension"] == 1 + int(np.argmin(penalised))
    refused = [row["refused"] for row in said["rank_scores"]]
    assert refused == pytest.approx([value - min(penalised) for value in penalised])
    assert (said["rule"], said["resolution"], said["staircase"]) == ("reference", None, [])
    assert (said["rank_set"], said["confidence"]) == (None, None)


def test_progress_goes_to_standard_error(finished):
    assert "11/11" in finished[1].stderr


def test_the_run_folder_holds_what_a_reader_needs(finished):
    run_dir, result = finished
    assert {path.name for path in run_dir.iterdir() if path.name[0] != "."} == FILES | FOLDERS
    assert all((run_dir / name).read_bytes().startswith(b"\x89PNG") for name in ("rank_scores.png", "samples.png"))
    assert {path.name for path in (run_dir / "model").iterdir()} == {"model.json", "model.safetensors"}
    assert any(path.name.startswith("events.out.tfevents") for path in (run_dir / "tb").iterdir())
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["iteration-000000000011"]
    assert json.loads((run_dir / "result.json").read_text()) == told(result)
    assert json.loads((run_dir / "env.json").read_text())["run"]["fingerprint"] == told(result)["fingerprint"]


def test_the_score_components_are_kept_by_split_evaluation_and_rank(finished):
    tables = scores_from_parquet((finished[0] / "scores.parquet").read_bytes())
    assert {split: table.shape for split, table in tables.items()} == {"train": (2, 3, 4), "holdout": (2, 3, 4)}
    row = told(finished[1])["rank_scores"][0]
    means = [row["critic"], row["reconstruction"], row["gradient_penalty"], row["mmd"]]
    assert tables["train"][:, 0].mean(axis=0).tolist() == means


def test_what_was_found_is_said_before_the_training_and_above_the_answer(folder):
    rows = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 1000.0, 1.0]
    table = np.column_stack([np.arange(60), rows])
    np.savetxt(folder / "t.csv", table, delimiter=",", header="index,length,mass,age", comments="")
    result = succeeded("estimate", "t.csv", *TINY[1:], "--out", "r")
    opening = result.stderr.splitlines()
    assert opening[0].startswith("t.csv: 60 rows of 3 columns; standardised: each column divided by its own")
    assert opening[1].startswith("warning: column 'index' only numbers the rows")
    assert opening[2].startswith("note: the columns differ in scale by a factor of ")
    shown = result.stdout.splitlines()
    assert shown[0] == opening[1]
    assert shown[1].startswith("The data look ")
    said = json.loads((folder / "r" / "result.json").read_text())
    assert (said["standardize"], [finding["kind"] for finding in said["findings"]]) == (
        "per_column", ["row_numbers", "differing_units"],
    )  # fmt: skip
    assert read_config(RunConfig, str(folder / "r" / "config.yaml")).data.columns == ["length", "mass", "age"]
    again = succeeded("estimate", "t.csv", *TINY[1:], "--out", "r")
    assert "is finished already" in again.stderr


def test_what_is_said_before_the_training_needs_neither_torch_nor_scikit_learn(folder):
    np.save(folder / "t.npy", np.random.default_rng(0).normal(size=(60, 3)))
    code = """
import sys
from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import load_sample
from lwgan_dist.reporting.opening import say_opening
config = RunConfig.model_validate({"data": {"source": "table", "path": "t.npy"}})
say_opening(config, load_sample(config.data))
print(sorted({"torch", "ray", "matplotlib", "sklearn", "scipy"} & set(sys.modules)))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"
    assert child.stderr.splitlines()[0].startswith("t.npy: 60 rows of 3 columns")
    assert child.stderr.splitlines()[1] == "training takes about 25 to 55 s of a core of its own"


def test_without_json_the_table_the_estimate_and_the_files_are_printed(run_dir):
    result = succeeded(*ESTIMATE, "--out", str(run_dir))
    said = told(succeeded(*ESTIMATE, "--out", str(run_dir), "--json"))
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("The data look"))
    first, last = said["rank_set"][0], said["rank_set"][-1]
    assert line.startswith(f"The data look {said['dimension']}-dimensional (90 %: {first}")
    assert (f" to {last}" in line) == (first < last)
    differs = said["other_dimension"] != said["dimension"]
    assert (f", but the rows held out say {said['other_dimension']};" in line) == differs
    assert (", and so do the rows held out;" in line) == (not differs)
    assert line.endswith("; they are 2-dimensional.")
    assert f"{said['rank_scores'][2]['score']:.4f}" in result.stdout
    refused = [row["refused"] for row in said["rank_scores"]]
    assert all(f"{by:.4f}" in result.stdout for by in refused if by is not None and by > 0)
    assert "below 0.08 of the standardised data's scale counts as noise" in result.stdout
    assert f"{run_dir}/rank_scores.png" in result.stdout


def test_the_same_command_again_answers_from_the_folder_without_training(run_dir, finished, monkeypatch):
    monkeypatch.setattr(run_module, "train_worker", None)  # calling it would fail
    before = contents(run_dir)
    said = told(succeeded(*ESTIMATE, "--out", str(run_dir), "--json"))
    assert said == {**told(finished[1]), "run_dir": str(run_dir)}
    assert contents(run_dir) == before


@pytest.mark.parametrize("change", ["score.evaluations=3", "seed=1", "data.seed=1", "precision=float64"])
def test_another_configuration_in_the_same_folder_is_refused(run_dir, change):
    arguments = [argument for argument in ESTIMATE if argument.partition("=")[0] != change.partition("=")[0]]
    before = contents(run_dir)
    line = rejected(*arguments, change, "--out", str(run_dir))
    assert line.startswith(f"error: {run_dir}: holds another run: ")
    assert contents(run_dir) == before


def test_changed_data_in_the_same_folder_are_refused(folder):
    rows = np.random.default_rng(0).standard_normal((60, 2))
    np.save("t.npy", rows)
    arguments = ["estimate", "t.npy", *TINY[1:], "--out", "r"]
    succeeded(*arguments)
    rows[0] += 1.0
    np.save("t.npy", rows)
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == (
        f"error: {folder}/r: holds another run: its data are others, or have changed since; choose another folder"
    )


def test_a_second_command_in_the_same_folder_at_the_same_time_is_refused(run_dir):
    with exclusive(Folder.at(str(run_dir))):
        line = rejected(*ESTIMATE, "--out", str(run_dir))
    assert line == f"error: {run_dir}: another process is working in this run folder"


def test_the_default_folder_is_named_after_data_and_fingerprint(folder):
    np.save("my data.v2.npy", np.random.default_rng(0).standard_normal((60, 2)))
    for data, stem in (("s_curve", "s_curve"), ("my data.v2.npy", "my-data")):
        line = succeeded("estimate", data, "--dry-run").stderr.splitlines()[0]
        path, _, fingerprint = line.removeprefix("run folder: ").rpartition("-")
        assert path == f"{folder}/runs/{stem}"
        assert len(fingerprint) == 12


def test_options_are_short_for_fields_of_the_configuration():
    options = succeeded(
        "estimate", "s_curve", "--max-dimension", "2", "--schedule", "paper", "--seed", "3", "--dry-run"
    )
    fields = succeeded("estimate", "s_curve", "networks.latent_dim=2", "schedule.name=paper", "seed=3", "--dry-run")
    assert options.output == fields.output


def test_a_dry_run_writes_nothing_and_shows_the_configuration_of_the_run(folder, finished):
    result = succeeded(*ESTIMATE, "--dry-run", "--out", "r")
    assert result.stdout == (finished[0] / "config.yaml").read_text()
    assert result.stderr.splitlines()[:2] == [f"run folder: {folder}/r", "iterations: 11"]
    assert contents(folder) == {}


@pytest.fixture
def rivals(monkeypatch) -> list[str]:
    """The names of competitors, whose estimates cost nothing here, each time that they are asked for."""
    asked: list[str] = []

    def estimates(sample, seed, names):
        asked.extend(names)
        return [Competitor(name=name, value=1.6, dimension=2, rows=sample.rows) for name in names]

    monkeypatch.setattr(competitors, "competitors_of", estimates)
    return asked


WITH_RIVALS = [argument for argument in ESTIMATE if argument != "--no-competitors"]


def test_competitors_stand_beside_the_answer(run_dir, rivals):
    assert told(succeeded(*ESTIMATE, "--out", str(run_dir), "--json"))["competitors"] == []
    assert rivals == []
    shown = succeeded(*WITH_RIVALS, "--out", str(run_dir))
    assert "ABIDE says 1.6, TwoNN 1.6, MLE 1.6, DANCo 1.6: they " in " ".join(shown.stdout.split())
    assert shown.stderr.splitlines()[-1] == "s_curve  ABIDE, TwoNN, MLE, DANCo on the same rows"
    said = told(succeeded(*WITH_RIVALS, "--out", str(run_dir), "--json"))
    assert rivals == ["ABIDE", "TwoNN", "MLE", "DANCo"]  # once: the second command reads them
    assert said == json.loads((run_dir / "result.json").read_text())
    assert said["competitors"][0] == {
        "name": "ABIDE", "value": 1.6, "dimension": 2, "rows": 200, "cpu_seconds": 0.0, "failure": None,
    }  # fmt: skip
    assert told(succeeded("show", str(run_dir), "--json"))["competitors"] == said["competitors"]


def test_what_would_have_to_be_installed_for_competitors_is_said(run_dir, rivals, monkeypatch):
    monkeypatch.setattr(competitors, "find_spec", lambda name: None)
    result = succeeded(*WITH_RIVALS, "--out", str(run_dir), "--json")
    assert rivals == ["ABIDE"]
    assert result.stderr.splitlines()[-2:] == [
        "note: TwoNN, MLE, DANCo beside the answer: pip install 'lwgan-dist[classical]'",
        "s_curve  ABIDE on the same rows",
    ]


def test_a_run_has_no_competitors_unless_it_is_an_estimate(run_dir, folder, rivals):
    said = told(succeeded("train", str(run_dir / "config.yaml"), "--storage", str(folder), "--name", "run", "--json"))
    assert (said["competitors"], rivals) == ([], [])


def test_replicates_are_further_fits_beneath_the_first(run_dir):
    result = succeeded(*ESTIMATE, "--out", str(run_dir), "--replicates", "2")
    said = told(succeeded(*ESTIMATE, "--out", str(run_dir), "--json"))
    assert said == json.loads((run_dir / "result.json").read_text())
    (one,) = said["fits"]["replicates"]
    other = json.loads((run_dir / one["run_dir"] / "result.json").read_text())
    assert (one["seed"], one["dimension"]) == (1, other["dimension"])
    assert f"look {said['fits']['dimension']}-dimensional (at least 90 %" in result.stdout
    assert "s_curve, fit 2 of 2  11/11" in result.stderr
    assert "iterations: 11 of each of 2 fits" in succeeded(*ESTIMATE, "--replicates", "2", "--dry-run").stderr


def test_replicates_are_of_models_that_estimate_a_dimension():
    line = rejected("estimate", "s_curve", "model.name=wae", "--replicates", "2")
    assert line == "error: --replicates: a wae estimates no dimension"


def test_a_demo_leaves_a_table_its_answer_and_a_page(folder, rivals, monkeypatch):
    tiny = [setting for setting in TINY if "=" in setting and not setting.startswith("data.n")]
    monkeypatch.setattr(sys.modules["lwgan_dist.cli.demo"], "SETTINGS", tuple(tiny))
    result = succeeded("demo")
    assert "The data look " in result.stdout
    assert f"page:  {folder}/lwgan-demo/run/report.html" in result.stdout
    assert (folder / "lwgan-demo" / "run" / "report.html").read_text().startswith("<!DOCTYPE html>")
    lines = (folder / "lwgan-demo" / "table.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == ("x1,x2,x3,x4,x5", 501)
    assert "is finished already" in succeeded("demo").stderr


# train ----------------------------------------------------------------------------------------------------------------


def test_train_puts_a_run_into_storage_under_its_name_and_gives_what_estimate_gave(folder, finished):
    shutil.copy(finished[0] / "config.yaml", "c.yaml")
    said = told(succeeded("train", "c.yaml", "--name", "first", "--storage", "shelf", "--workers", "0", "--json"))
    assert said["run_dir"] == f"{folder}/shelf/first"
    assert {path.name for path in (folder / "shelf").iterdir()} == {"first"}
    same = KEYS - {"run_dir", "cpu_seconds", "wall_seconds"}
    assert {key: said[key] for key in same} == {key: told(finished[1])[key] for key in same}


def test_the_resolved_configuration_is_a_configuration_of_the_same_run(run_dir, folder, finished):
    said = told(succeeded("train", str(run_dir / "config.yaml"), "--storage", str(folder), "--name", "run", "--json"))
    assert said == {**told(finished[1]), "run_dir": str(run_dir)}
    assert succeeded("validate", str(run_dir / "config.yaml")).stdout == f"{run_dir}/config.yaml: ok\n"


def test_the_resolved_configuration_of_a_table_is_a_configuration_of_the_same_run(folder):
    np.save("t.npy", np.random.default_rng(0).standard_normal((60, 2)))
    first = succeeded("estimate", "t.npy", "--schedule", "paper", "schedule.batch_size=16", "--dry-run", "--out", "r")
    Path("c.yaml").write_text(first.stdout)
    assert succeeded("train", "c.yaml", "--dry-run", "--storage", ".", "--name", "r").output == first.output


def test_an_override_of_the_command_line_wins_over_the_file(finished):
    config = str(finished[0] / "config.yaml")
    changes = ["seed=7", "schedule.name=paper", "schedule.batch_size=16"]
    Path("c.yaml").write_text(succeeded("train", config, *changes, "--dry-run").stdout)
    run = read_config(TrainConfig, "c.yaml")
    assert (run.seed, run.schedule.name, run.networks.width) == (7, "paper", 4)


@pytest.mark.parametrize("workers", [0, 3])
def test_workers_of_the_command_line_win_over_the_file_and_change_no_fingerprint(finished, monkeypatch, workers):
    seen = {}

    def train(run, folder, execution, **_options):
        seen.update(workers=execution.workers, fingerprint=run.fingerprint)
        raise RunFailedError("enough")

    monkeypatch.setattr(run_module.Run, "train", train)
    call("train", str(finished[0] / "config.yaml"), "execution.workers=2", "--workers", str(workers))
    assert seen == {"workers": workers, "fingerprint": told(finished[1])["fingerprint"]}


# generate -------------------------------------------------------------------------------------------------------------


def generated(run_dir: Path, *arguments: str) -> np.ndarray:
    succeeded("generate", str(run_dir), "--out", "g.parquet", *arguments)
    table = pq.read_table("g.parquet")
    assert table.column_names == ["x1", "x2", "x3"]
    return np.column_stack([column.to_numpy() for column in table.columns])


def test_generate_writes_rows_with_the_columns_of_the_data(finished):
    rows = generated(finished[0], "--num", "50")
    assert rows.shape == (50, 3)
    assert np.isfinite(rows).all()


def test_generated_rows_depend_on_the_seed_and_on_nothing_else(finished):
    first, again, other = (generated(finished[0], "--num", "9", "--seed", seed) for seed in ("1", "1", "2"))
    assert np.array_equal(first, again)
    assert not np.isclose(first, other).any()


def test_rows_are_generated_at_the_estimated_rank_unless_another_is_given(finished):
    estimated = told(finished[1])["dimension"]
    by_rank = {rank: generated(finished[0], "--num", "9", "--rank", str(rank)) for rank in (1, 2, 3)}
    assert np.array_equal(generated(finished[0], "--num", "9"), by_rank[estimated])
    assert not np.array_equal(by_rank[1], by_rank[3])


def test_a_rank_above_the_largest_is_refused(finished, folder):
    line = rejected("generate", str(finished[0]), "--num", "9", "--rank", "4", "--out", "g.parquet")
    assert line == "error: the rank must be in 1..3 (got 4)"
    assert contents(folder) == {}


@pytest.mark.parametrize("out", ["g.csv", "absent/g.parquet"])
def test_generated_rows_go_into_a_parquet_file_that_can_be_written(finished, folder, out):
    assert rejected("generate", str(finished[0]), "--num", "9", "--out", out).startswith(f"error: --out {out}: ")
    assert contents(folder) == {}


# show -----------------------------------------------------------------------------------------------------------------


def test_show_prints_configuration_and_result_of_a_finished_run(finished):
    run_dir, result = finished
    shown = succeeded("show", str(run_dir)).stdout
    assert (run_dir / "config.yaml").read_text() in shown
    assert f"The data look {told(result)['dimension']}-dimensional" in shown
    assert told(succeeded("show", str(run_dir), "--json")) == told(result)


def test_show_tells_where_a_run_under_way_stands(run_dir):
    (run_dir / "result.json").unlink()
    progress = {"iteration": 7, "iterations": 11, "stage": "matching", "losses": {}, "scores": 0, "recorded": True}
    (run_dir / "progress.json").write_text(json.dumps(progress))
    shown = succeeded("show", str(run_dir)).stdout
    assert (run_dir / "config.yaml").read_text() in shown
    assert "not finished: 7 of 11 iterations (matching)" in shown
    assert told(succeeded("show", str(run_dir), "--json")) == progress


def test_show_refuses_a_run_that_has_not_begun_and_a_folder_without_a_run(run_dir, folder):
    (run_dir / "result.json").unlink()
    (run_dir / "progress.json").unlink()
    assert rejected("show", str(run_dir)) == f"error: {run_dir}: holds a run that is not finished (no result.json)"
    assert rejected("show", "absent") == f"error: {folder}/absent: holds no run (no result.json)"


def test_show_reads_what_the_python_class_saves(run_dir):
    (run_dir / "config.yaml").unlink()
    assert "The data look" in succeeded("show", str(run_dir)).stdout


# metrics --------------------------------------------------------------------------------------------------------------


def test_metrics_of_a_finished_run_are_computed_and_entered_in_its_result(run_dir, finished):
    said = told(succeeded("metrics", str(run_dir), "--names", "w1, nn_accuracy", "--json"))
    added = {"w1", "w1_floor", "nn_accuracy", "nn_accuracy_floor"}
    assert set(said["metrics"]) == set(told(finished[1])["metrics"]) | added
    assert told(succeeded("show", str(run_dir), "--json")) == said
    before = contents(run_dir)
    shown = succeeded("metrics", str(run_dir), "--names", "w1").stdout
    assert "Wasserstein distance W1 {w1:.4f} (floor {w1_floor:.4f})".format(**said["metrics"]) in shown
    assert contents(run_dir) == before, "nothing was left to compute"
    everything = told(succeeded("metrics", str(run_dir), "--json"))["metrics"]
    assert {name for name, metric in METRICS.items() if not metric.needs_images} <= set(everything)


def test_metrics_that_cannot_be_are_refused(run_dir, folder):
    line = rejected("metrics", str(run_dir), "--names", "w1,fd_cnn")
    assert line.startswith("error: metric fd_cnn: needs images")
    assert rejected("metrics", str(run_dir), "--names", "w3").startswith("error: metric w3: there is none of this name")
    assert rejected("metrics", "absent") == f"error: {folder}/absent: holds no run (no result.json)"


def test_metrics_are_not_of_other_data(folder):
    np.save("t.npy", np.random.default_rng(0).standard_normal((200, 3)))
    succeeded("estimate", "t.npy", *TINY[1:], "--out", "r")
    assert "w1_floor" in told(succeeded("metrics", "r", "--names", "w1", "--json"))["metrics"]
    np.save("t.npy", np.random.default_rng(1).standard_normal((200, 3)))
    assert "holds another run: its data are others, or have changed since" in rejected("metrics", "r", "--names", "w2")


def test_train_computes_the_metrics_that_are_named(run_dir, folder):
    """For a finished run too; those that cannot be are refused before anything is trained."""
    config = str(run_dir / "config.yaml")
    arguments = ["train", config, "--storage", str(folder), "--workers", "0"]
    assert "needs images" in rejected(*arguments, "--name", "new", "--metrics", "fd_cnn")
    bare = [*arguments, "data.holdout_fraction=0", "--name", "new", "--metrics", "w2"]
    assert rejected(*bare).startswith("error: metric w2: needs two hold-out rows")
    assert not (folder / "new").exists()
    first = told(succeeded(*arguments, "--name", "new", "--metrics", "w2", "--json"))["metrics"]
    assert {"energy_distance", "w2", "w2_floor"} <= set(first)
    again = told(succeeded(*arguments, "--name", "new", "--metrics", "w2,coverage", "--json"))["metrics"]
    assert again == {**first, **{name: again[name] for name in ("coverage", "coverage_floor")}}


# the rest -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RunFailedError("a worker was lost"), 3, "error: a worker was lost"),
        (ClusterError("no cluster"), 5, "error: no cluster"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted: the same command goes on from the last checkpoint, if one was written",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "/runs/a"), 3, "error: /runs/a: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/runs"), 2, "error: /runs: Permission denied"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_way_to_end_has_its_exit_code_and_one_line(monkeypatch, error, code, message):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(run_module.Run, "train", fail)
    result = call(*ESTIMATE)
    assert (result.exit_code, result.stdout, result.stderr.splitlines()) == (code, "", [message])


@pytest.mark.parametrize("error", [ZeroDivisionError("a defect"), FileNotFoundError(errno.ENOENT, "a defect")], ids=str)
def test_a_defect_of_the_program_keeps_its_traceback(monkeypatch, error):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(run_module.Run, "train", fail)
    assert call(*ESTIMATE).exception is error


def test_validate_says_that_a_configuration_is_good(folder):
    Path("c.yaml").write_text("data: {source: manifold, name: torus}\n")
    assert succeeded("validate", "c.yaml").output == "c.yaml: ok\n"
    assert set(contents(folder)) == {"c.yaml"}


def test_validate_prints_the_schema():
    schema = json.loads(succeeded("validate", "--schema").stdout)
    assert set(RunConfig.model_fields) < set(schema["properties"])


def test_help_names_every_command_and_exit_code():
    shown = succeeded("--help").stdout
    assert all(f"  {name} " in shown for name in main.commands)
    assert all(f"{code} " in shown for code in (0, 2, 3, 4, 5, 130))
    for name in main.commands:
        assert succeeded(name, "-h").stdout.startswith(f"Usage: main {name} ")


def test_a_terminal_that_cannot_show_a_character_shows_another(finished):
    """``±`` in ASCII: the folder is not called damaged for it."""
    code = f"from lwgan_dist.cli import main; main(['show', {str(finished[0])!r}])"
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stderr) == (0, "")
    assert "? SE" in child.stdout
