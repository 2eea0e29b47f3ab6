"""``lwgan-dist tune`` as typed: what is shown, what is left, how it ends."""

import json
import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import report_searches
from click.testing import CliRunner
from forked import Child, lwgan_dist
from tiny_search import ASHA, config

from lwgan_dist.cli import main
from lwgan_dist.configfile import read_config, to_yaml
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.run.run import Run
from lwgan_dist.search import analysis
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.publish import read_published
from lwgan_dist.search.tables import SearchTables
from lwgan_dist.storage import Folder

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "tune_configs" / "search").glob("*.yaml"))
PUBLISHED = sorted(path for path in (ROOT / "docs" / "searches").iterdir() if path.is_dir())


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(to_yaml(config(budget={"trials": 3}, confirm_seeds=1, initial=["default"])))
    return path


def test_a_search_shows_its_trials_and_where_its_files_are_and_show_shows_them_again(file, tmp_path):
    result = call("tune", file, "--storage", tmp_path / "runs", "--name", "mine")
    assert result.exit_code == 0, result.output
    assert "mine  3/3 trials" in result.stderr
    folder = tmp_path / "runs" / "mine"
    table = pq.read_table(folder / "trials.parquet").to_pylist()
    assert all(f"{row['objective']:.3g}" in result.stdout for row in table)
    for line in result.stdout.splitlines():
        if line.startswith(("page", "summary", "best run", "figure", "trials:", "runs:", "TensorBoard")):
            assert Path(line.split(":", 1)[1].strip()).exists()
    shown = call("show", folder)
    assert shown.stdout == result.stdout
    again = call("tune", file, "--storage", tmp_path / "runs", "--name", "mine", "--json")
    told = json.loads(again.stdout, parse_constant=lambda name: pytest.fail(name))
    assert told["facts"]["finished"] == 3
    assert told["unfinished"] == {}
    assert [trial["key"] for trial in told["trials"]] == [row["key"] for row in table]
    assert json.loads(call("show", folder, "--json").stdout)["facts"] == told["facts"]


def test_another_rank_rule_judges_the_recorded_trials(file, tmp_path, monkeypatch):
    arguments = ("tune", file, "--storage", tmp_path / "runs", "confirm_seeds=0")
    assert "judged again" not in call(*arguments).stderr
    monkeypatch.setattr("lwgan_dist.search.search.execute", None)
    result = call(*arguments, "run.score.resolution=0.5")
    assert result.exit_code == 0, result.output
    assert "note: run: differs from the command before" in result.stderr
    assert "3 trials and runs of earlier commands were judged again by the rank rule of this one" in result.stderr
    assert "resolution: 0.5" in (tmp_path / "runs" / "tiny" / "best.yaml").read_text()


def test_dry_run_plans_and_writes_nothing(file, tmp_path):
    result = call("tune", file, "--storage", tmp_path / "runs", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "loguniform 0.1 .. 10" in result.stdout
    assert "3 trials of 1 run(s) and 2 runs on fresh seeds" in result.stdout
    assert not (tmp_path / "runs").exists()
    told = json.loads(call("tune", file, "--storage", tmp_path / "runs", "--dry-run", "--json").stdout)
    assert (told["trials"], told["runs"], told["ended"]) == (3, 5, 0)
    assert [item["origin"] for item in told["proposals"]] == ["default", "proposed", "proposed"]


def test_failed_trials_end_with_3_and_their_reasons(file, tmp_path, monkeypatch):
    def diverges(self, *args, **kwargs):
        raise NonFiniteLossError("iteration 3 (critic): the critic loss is not finite")

    monkeypatch.setattr(Run, "fit", diverges)
    result = call("tune", file, "--storage", tmp_path, "--name", "mine")
    assert result.exit_code == 3
    assert "3 trials failed" in result.stderr
    assert "critic loss is not finite" in (tmp_path / "mine" / "summary.md").read_text()


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("  objective.mmd_wieght: {loguniform: [0.1, 10]}", "3:3: ", "did you mean objective.mmd_weight"),
        ("  networks.width: {integer: [0, 4]}", "3:3: ", "must be >= 1"),
        ("  networks.width: {uniform: [8, 64]}", "3:3: ", "use integer: [8, 64]"),
        ("  data.noise: {uniform: [0, 1]}", "3:3: ", "space.data.noise"),
        ("  networks.width: {choice: [8], when: {schedule.name: paper}}", "3:3", "is not in the space"),
    ],
)
def test_a_bad_space_is_refused_with_its_place(tmp_path, line, place, message):
    file = tmp_path / "bad.yaml"
    file.write_text(f"run: {{data: {{source: manifold, name: s_curve}}}}\nspace:\n{line}\n")
    for arguments in (("validate", file), ("tune", file)):
        result = call(*arguments)
        assert result.exit_code == 2
        assert f"{file}:{place}" in result.stderr
        assert message in result.stderr


def test_a_search_is_no_run_and_no_study(file, tmp_path):
    assert call("tune", file, "--storage", tmp_path, "--name", "mine").exit_code == 0
    run = tmp_path / "run.yaml"
    run.write_text("data: {source: manifold, name: s_curve, n: 60}\nexecution: {workers: 0}\n")
    result = call("train", run, "--storage", tmp_path, "--name", "mine")
    assert result.exit_code == 2
    assert "holds a study or a search, not a run" in result.stderr
    schema = json.loads(call("validate", "--schema", "--kind", "tune").stdout)
    assert "space" in schema["properties"]


def test_ctrl_c_leaves_what_has_ended(tmp_path):
    file = tmp_path / "search.yaml"
    file.write_text(to_yaml(config(scheduler=ASHA, budget={"trials": 300}, confirm_seeds=0)))
    process = Child(lwgan_dist, "tune", file, "--storage", tmp_path)
    ends = time.monotonic() + 120
    while len(list(tmp_path.glob("search/ledger/rows/*.json"))) < 3:
        assert process.is_alive, process.end()
        assert time.monotonic() < ends
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    ended = process.end(60)
    assert ended.returncode == 130, ended
    assert "finished trials are kept, the same command goes on" in ended.stderr


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_of_the_repository_are_searches(path):
    assert call("validate", path).exit_code == 0
    text = path.read_text()
    assert text.startswith(f"# lwgan-dist tune tune_configs/search/{path.name}\n#\n# ")
    assert "execution" in text or read_config(SearchConfig, str(path)).execution.workers == 1


def test_the_guide_names_every_configuration():
    text = (ROOT / "docs" / "guide" / "search.md").read_text()
    assert all(f"`{path.stem}`" in text for path in CONFIGS)


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_what_is_published_follows_from_its_runs(folder):
    """Tables and numbers of docs/searches, from the trials and runs beside them."""
    told = read_published(Folder.at(str(folder)))
    trials, runs = told.tables.trials, told.tables.runs
    assert told.tables.dimensions.equals(analysis.dimensions(trials, runs))
    today = read_config(SearchConfig, str(ROOT / "tune_configs" / "search" / f"{folder.name}.yaml"))
    importances = analysis.importances(trials, list(today.space), today.seed).to_pylist()
    for row, published in zip(importances, told.tables.importances.to_pylist(), strict=True):
        assert row == pytest.approx(published)
    tables = SearchTables(trials, runs, told.tables.confirmation, told.tables.dimensions, told.tables.importances)
    again = analysis.facts(tables, told.facts.objectives, told.facts.cpu_seconds)
    assert again.difference == told.facts.difference
    assert (again.better, again.worse, again.agreement) == (told.facts.better, told.facts.worse, told.facts.agreement)
    rows = {(run["role"], run["index"]): run for run in runs.to_pylist() if run["role"] != "trial"}
    for pair in told.tables.confirmation.to_pylist():
        for role in ("best", "default"):
            run = rows[role, pair["index"]]
            assert pair[role] == run["energy_distance"] + run["reconstruction"]


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_the_published_summary_is_that_of_the_published_tables(folder):
    figures = {path.stem: f"figures/{path.name}" for path in (folder / "figures").iterdir()}
    page = report_searches.page_of(folder, read_published(Folder.at(str(folder))))
    assert page.markdown(figures) == (folder / "summary.md").read_text()
