"""``lwgan-dist study`` as typed: what is shown, what is left, how it ends."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tiny_study import TINY, config

from lwgan_dist.cli import main
from lwgan_dist.configfile import read_config, to_yaml
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.run.run import Run
from lwgan_dist.study import work
from lwgan_dist.study.config import StudyConfig

pytestmark = pytest.mark.usefixtures("blank_figures")

CONFIGS = sorted((Path(__file__).parents[2] / "tune_configs" / "study").glob("*.yaml"))


GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    told = {"data": TINY["data"][:1], "sizes": [40], "classical": {"estimators": ["TwoNN"], "replicates": 3}}
    path.write_text(to_yaml(config(**told)))
    return path


def test_a_study_shows_its_table_and_where_its_files_are(file, tmp_path):
    result = call("study", file, "--storage", tmp_path / "runs", "--name", "mine")
    assert result.exit_code == 0, result.output
    assert "s_curve" in result.stdout
    cells = {cell["method"]: cell for cell in pq.read_table(tmp_path / "runs" / "mine" / "cells.parquet").to_pylist()}
    for cell in cells.values():
        assert f"{cell['correct']}/{cell['runs']} " in result.stdout
    for line in result.stdout.splitlines():
        if line.startswith(("page", "summary", "figure", "runs:", "cells")):
            assert Path(line.split(":", 1)[1].strip()).exists()
    assert (tmp_path / "runs" / "mine" / "figures" / "correct.png").exists()
    again = call("study", file, "--storage", tmp_path / "runs", "--name", "mine", "--json")
    told = json.loads(again.stdout)
    assert (told["runs"], told["unfinished"], told["diverged"]) == (5, {}, 0)
    assert {cell["method"] for cell in told["cells"]} == {"LWGAN", "LWGAN (rate)", "TwoNN"}


def test_json_has_no_infinity(file, tmp_path):
    """n_high is infinite where the level is not reached."""
    result = call("study", file, "--storage", tmp_path, "lwgan.replicates=0", "data.0.noise=1", "--json")
    assert result.exit_code == 2, "an index is no key"
    result = call("study", file, "--storage", tmp_path, "lwgan.replicates=0", "factors={data.noise: [3.0]}", "--json")
    trend = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))["trends"][0]
    assert (trend["n_level"], trend["n_high"]) == (None, "inf")


def test_dry_run_plans_and_writes_nothing(file, tmp_path):
    result = call("study", file, "--storage", tmp_path / "runs", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "3 cells, 5 runs, 5 of them still to be done: some" in result.stdout
    assert not (tmp_path / "runs").exists()
    told = json.loads(call("study", file, "--storage", tmp_path / "runs", "--dry-run", "--json").stdout)
    lwgan = next(line for line in told["plan"] if "LWGAN" in line["methods"])
    assert lwgan["methods"] == ["LWGAN", "LWGAN (rate)"]
    assert told["cpu_seconds"] == pytest.approx(sum(line["missing"] * line["cpu_seconds"] for line in told["plan"]))
    call("study", file, "--storage", tmp_path / "runs")
    assert (
        "5 runs, 0 of them still to be done" in call("study", file, "--storage", tmp_path / "runs", "--dry-run").stdout
    )


def test_the_pilot_is_right_about_the_cost(tmp_path):
    """Within a factor of three, for a run of a second; machines are noisy."""
    path = tmp_path / "pilot.yaml"
    run = {**TINY["run"], "networks": {"width": 16, "latent_dim": 3}, "schedule": {
        "batch_size": 64, "embedding_iterations": 60, "embedding_rounds": 1,
        "matching_iterations": 120, "critic_iterations": 100,
    }}  # fmt: skip
    path.write_text(to_yaml(config(run=run, sizes=[400], classical={}, data=TINY["data"][:1])))
    (line,) = json.loads(call("study", path, "--storage", tmp_path, "--dry-run", "--json").stdout)["plan"]
    (cell, *_) = json.loads(call("study", path, "--storage", tmp_path, "--json").stdout)["cells"]
    assert cell["cpu_seconds"] / 3 < line["cpu_seconds"] < cell["cpu_seconds"] * 3


def test_a_refit_is_part_of_the_plan(file, tmp_path):
    result = call("study", file, "--storage", tmp_path, "--dry-run", "bootstrap={resamples: 7}")
    assert "and 14 bootstrap refits" in result.stdout


def test_diverged_runs_are_reported_with_exit_code_3(file, tmp_path, monkeypatch):
    def diverges(*_args, **_kwargs):
        raise NonFiniteLossError("the critic loss is not finite")

    monkeypatch.setattr(Run, "fit", diverges)
    result = call("study", file, "--storage", tmp_path)
    assert result.exit_code == 3
    assert "2 LWGAN runs diverged; they count as incorrect" in result.stderr
    assert "0/2" in result.stdout


def test_unfinished_runs_are_reported_with_exit_code_3(file, tmp_path, monkeypatch):
    def fails(*_args):
        raise OSError("no space left")

    monkeypatch.setitem(work._KINDS, "classical", fails)
    result = call("study", file, "--storage", tmp_path)
    assert result.exit_code == 3
    assert "3 of 5 runs did not finish, the same command tries them again" in result.stderr
    assert "no space left" in result.stderr
    assert "LWGAN" in result.stdout, "what is there is shown"


@pytest.mark.parametrize(
    ("text", "arguments", "message", "code"),
    [
        ("data: [{name: s_cure}]\nsizes: [40]\n", (), "study.yaml:1:9: data.0.name: must be one of", 2),
        ("data: [{name: s_curve}]\n", (), "sizes: is missing", 2),
        ("data: [{name: s_curve}]\nsizes: [40]\nlwgan: {replicate: 3}\n", (), "did you mean replicates", 2),
        ("data: [{path: no.csv}]\n", (), "no.csv: no such file", 4),
        ("data: [{name: s_curve}]\nsizes: [4]\n", (), "4", 4),
        ("data: [{name: s_curve}]\nsizes: [40]\nclassical: {estimators: [TwoNo]}\n", (), "did you mean TwoNN", 2),
        ("data: [{name: s_curve}]\nsizes: [40]\n", ("--name", "../x"), "--name '../x'", 2),
        ("data: [{name: s_curve}]\nsizes: [40]\n", ("execution.workers=0", "--address", "a:1"), "--address", 2),
        ("data: [{name: s_curve}]\nsizes: [80]\n", ("--address", "127.0.0.1:1"), "could be reached at", 5),
        ("data: [{name: s_curve}]\nsizes: [80]\n", ("execution.cpus_per_worker=1000",), "1000 CPU", 5),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_message(tmp_path, text, arguments, message, code):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    result = call("study", path, "--storage", tmp_path / "runs", *arguments)
    assert (result.exit_code, message in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output


def test_validate_knows_studies(file, tmp_path):
    assert call("validate", file).stdout == f"{file}: ok\n"
    bad = tmp_path / "bad.yaml"
    bad.write_text("data: [{name: s_curve}]\nsizes: [40]\nfactors: {networks.widht: [1]}\n")
    result = call("validate", bad)
    assert (result.exit_code, "did you mean width" in result.stderr) == (2, True)
    schema = json.loads(call("validate", "--schema", "--kind", "study").stdout)
    assert "stop_when" in schema["properties"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_of_the_repository_are_studies(path):
    text = path.read_text()
    if "path: runs/" not in text:  # else a command that the file names makes its tables first
        assert call("validate", path).exit_code == 0
    assert text.startswith(f"# lwgan-dist study tune_configs/study/{path.name}")
    read_config(StudyConfig, str(path))


def test_show_shows_a_study(file, tmp_path):
    shown = call("study", file, "--storage", tmp_path, "--name", "mine").stdout
    assert call("show", tmp_path / "mine").stdout == shown
    told = json.loads(call("show", tmp_path / "mine", "--json").stdout)
    assert {cell["method"] for cell in told["cells"]} == {"LWGAN", "LWGAN (rate)", "TwoNN"}


def test_a_cap_that_ends_replicates_on_demand_is_told(file, tmp_path):
    stop = "stop_when={interval_width: 0.1, max_replicates: 4}"
    result = call("study", file, "--storage", tmp_path, "lwgan.replicates=0", stop)
    assert result.exit_code == 0
    assert "1 of 1 cells have an interval wider than 0.1 still: they have 4 replicates" in result.stderr
    assert "those of the first 3 (classical) replicates" in (tmp_path / "tiny" / "summary.md").read_text()


def test_the_guide_names_every_configuration():
    text = (GUIDE / "study.md").read_text()
    assert all(f"`{path.stem}`" in text for path in CONFIGS)


def test_the_example_of_the_guide_is_a_study(tmp_path):
    text = (GUIDE / "study.md").read_text()
    (tmp_path / "example.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    result = call("validate", tmp_path / "example.yaml")
    assert result.exit_code == 0, result.output
