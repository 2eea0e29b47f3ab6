"""The tutorials in an empty folder: files are written, commands and snippets executed, as they stand but for fewer rows
and trainings of a few iterations. Commands that need a cluster are tried by tests of their own; here, whether Ray knows
their options.
"""

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fences import FENCE

from lwgan_dist import estimator
from lwgan_dist.cli import main
from lwgan_dist.config import RunConfig, override

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
SHORT = {
    "embedding_iterations": 5,
    "embedding_rounds": 1,
    "matching_iterations": 3,
    "critic_iterations": 20,
    "scoring_interval": 1,
}
LWGAN = {f"schedule.{key}": value for key, value in SHORT.items()} | {"score.evaluations": 2, "networks.width": 4}
OTHER = {"model.iterations": 12, "model.batch_size": 30, "model.evaluations": 2, "model.width": 4}
STUDY = {f"run.{key}": value for key, value in LWGAN.items()} | {"lwgan.replicates": 1, "classical.replicates": 2}
TINY = {"estimate": LWGAN, "study": STUDY, "train": LWGAN}
"""What makes a command short; the rest of it is as it stands."""
FEWER = {"(1000, 2)": "(80, 2)", "data.n=1000": "data.n=80", "[300, 600]": "[60, 80]", "[300,600,900]": "[60,80,100]"}
"""Numbers of rows in the tutorials, and smaller ones."""

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture(autouse=True)
def _briefly(monkeypatch, tmp_path):
    """Trainings of a few iterations for the Python classes, too, in an empty folder."""
    as_given = estimator.ModelEstimator._config

    def short(self):
        config = as_given(self)
        tiny = LWGAN if config.model.name == "lwgan" else OTHER
        return RunConfig.model_validate(override(config.model_dump(), tiny))

    monkeypatch.setattr(estimator.ModelEstimator, "_config", short)
    monkeypatch.chdir(tmp_path)


def execute(line):
    """A line of a shell."""
    program, *words = shlex.split(line)
    if program == "python":
        runpy.run_path(words[0])
        return
    assert program == "lwgan-dist", line
    tiny = [f"{key}={value}" for key, value in TINY.get(words[0], {}).items()]
    result = CliRunner().invoke(main, [*words, *tiny], catch_exceptions=False)
    assert result.exit_code == 0, f"{line}: {result.output}"


def follow(page):
    """Do what a tutorial says, from its beginning to its end; what its Python snippets define."""
    text, names = (TUTORIALS / page).read_text(), {}
    for number, fewer in FEWER.items():
        text = text.replace(number, fewer)
    for _, info, block in FENCE.findall(text):
        if title := re.search('title="(.+)"', info):
            Path(title[1]).write_text(block)
        elif info == "python":
            exec(compile(block, page, "exec"), names)
        elif info == "bash":
            for line in block.splitlines():
                execute(line)
    return names


@pytest.mark.filterwarnings("ignore::lwgan_dist.DataWarning")
def test_my_table():
    names = follow("table.md")
    assert len(names["codes"]) == 178
    assert names["estimator"].model_.columns == tuple(names["table"])
    assert Path("runs/wine/report.html").exists()
    assert Path("new.parquet").exists()


def test_many_columns_with_noise():
    follow("noise.md")
    assert Path("runs/quiet/result.json").exists()
    assert Path("runs/loud/result.json").exists()


def test_images():
    follow("images.md")
    assert Path("preview.png").exists()
    assert Path("new.parquet").exists()


def test_a_consistency_study():
    _, info, wine = FENCE.search((TUTORIALS / "table.md").read_text()).groups()
    assert "wine.py" in info
    exec(compile(wine, "wine.py", "exec"), {})
    names = follow("study.md")
    assert set(names["cells"]["n"]) == {60, 80, 100}


@pytest.mark.filterwarnings("ignore::lwgan_dist.DataWarning")
@pytest.mark.parametrize("page", ["README.md", "docs/guide/models.md", "docs/reference/python.md"])
def test_snippets_of_python(page):
    names = {"X": np.random.default_rng(0).normal(size=(120, 6))}
    snippets = [block for _, info, block in FENCE.findall((ROOT / page).read_text()) if info == "python"]
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, page, "exec"), names)


def test_commands_of_ray():
    """Options of ``ray`` in the tutorial of clusters are those of the Ray that is installed."""
    from ray.scripts.scripts import cli

    lines = re.findall(r"^ray (.*?)(?: &&.*)?$", (TUTORIALS / "cluster.md").read_text(), re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        command, *words = shlex.split(line)
        cli.commands[command].make_context(command, words, help_option_names=["-h", "--help"])
