"""``lwgan-dist compare`` as typed: what is shown, what is left, how it ends; the configurations that come along."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny import dots
from tiny_compare import TINY, WAE, config

from lwgan_dist.cli import main
from lwgan_dist.compare.config import CompareConfig
from lwgan_dist.compare.design import Design
from lwgan_dist.configfile import read_config, to_yaml
from lwgan_dist.data.files.loading import Labels
from lwgan_dist.data.importing import Images, write_dataset
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.run.run import Run

pytestmark = pytest.mark.usefixtures("blank_figures")

CONFIGS = sorted((Path(__file__).parents[2] / "tune_configs" / "compare").glob("*.yaml"))


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(to_yaml(config(data=TINY["data"][:1], models=[{"name": "lwgan"}, {**WAE, "label": "WAE"}])))
    return path


def test_a_comparison_shows_its_tables_and_where_its_files_are(file, tmp_path):
    assert call("validate", file).stdout == f"{file}: ok\n"
    plan = call("compare", file, "--storage", tmp_path, "--name", "mine", "--dry-run")
    assert plan.exit_code == 0, plan.output
    assert "4 runs, 4 of them still to be done: some" in plan.stdout
    assert not (tmp_path / "mine").exists()
    result = call("compare", file, "--storage", tmp_path, "--name", "mine")
    assert result.exit_code == 0, result.output
    assert "s_curve, n = 40: difference to lwgan, paired" in result.stdout
    for line in result.stdout.splitlines():
        if line.startswith(("page", "summary", "figure", "runs:", "compare")):
            assert Path(line.split(":", 1)[1].strip()).exists()
    content = json.loads(call("compare", file, "--storage", tmp_path, "--name", "mine", "--json").stdout)
    assert (content["unfinished"], content["failed"]) == ({}, 0)
    assert {(row["model"], row["runs"]) for row in content["compare"]} == {("lwgan", 2), ("WAE", 2)}
    plan = json.loads(call("compare", file, "--storage", tmp_path, "--name", "mine", "--dry-run", "--json").stdout)
    assert (plan["missing"], plan["cpu_seconds"]) == (0, 0)
    shown = json.loads(call("show", tmp_path / "mine", "--json").stdout)
    assert shown["compare"] == content["compare"]
    assert "difference to lwgan" in call("show", tmp_path / "mine").stdout
    other = call("study", file.parents[0] / "study.yaml", "--storage", tmp_path, "--name", "mine")
    assert other.exit_code == 2


def test_interrupts_and_failures_have_their_exit_codes(file, tmp_path, monkeypatch):
    def failing(*_told, **_more):
        raise NonFiniteLossError("a loss is nan")

    def interrupted(*_told, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "fit", interrupted)
    result = call("compare", file, "--storage", tmp_path)
    assert (result.exit_code, "the same command goes on" in result.stderr) == (130, True)
    assert "a comparison under way or interrupted, of which 0 runs" in call("show", tmp_path / "tiny").stderr
    monkeypatch.setattr(Run, "fit", failing)
    result = call("compare", file, "--storage", tmp_path)
    assert (result.exit_code, "4 runs failed" in result.stderr) == (3, True)
    file.write_text("data: [{name: s_curve}]\nsizes: [40]\nmodels:\n  - {name: wae,\n     latent: 3}\n")
    result = call("compare", file, "--storage", tmp_path)
    assert result.exit_code == 2
    assert f"{file}:5:6: models.0.latent: unknown key; did you mean latent_dim?" in result.stderr


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_comparisons_can_be(path, tmp_path, monkeypatch):
    """Commands that a file names make its images first; these here are others, of the same classes."""
    text = path.read_text()
    for name, classes in (("fashion-mnist", {1: "trouser"}), ("mnist-5k", {1: "1", 2: "2"})):
        labels = Labels(np.resize(list(classes), len(dots())), classes, are_in_file=True)
        write_dataset(Images(dots(), labels), name, str(tmp_path / "runs" / name), lambda _: b"")
    monkeypatch.chdir(tmp_path)
    assert text.startswith(f"# lwgan-dist compare tune_configs/compare/{path.name}\n#\n# ")
    design = Design(read_config(CompareConfig, str(path)), "float32")
    assert {cell.model for cell in design.cells} == set(design.labels)


def test_the_guide_says_what_can_be(tmp_path):
    guide = Path(__file__).parents[2] / "docs" / "guide" / "compare.md"
    for place, block in enumerate(guide.read_text().split("```yaml\n")[1:]):
        path = tmp_path / f"{place}.yaml"
        path.write_text(block.split("```")[0])
        Design(read_config(CompareConfig, str(path)), "float32")
