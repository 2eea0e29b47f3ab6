"""Terminals that cannot show every character: no command fails for what it has to say."""

import sys
from pathlib import Path

import pytest
import tiny
import tiny_compare
import tiny_search
import tiny_study
from forked import lwgan_dist, run

from lwgan_dist.configfile import to_yaml

LABEL = {"label": "größe ± χ", "name": "s_curve"}
QUICK = [
    "networks.width=2", "networks.latent_dim=2", "schedule.batch_size=16", "schedule.embedding_iterations=2",
    "schedule.matching_iterations=2", "schedule.critic_iterations=20", "score.evaluations=3", "--workers", "0",
]  # fmt: skip
VERBS = {
    "estimate": ["estimate", "table.csv", *QUICK, "--out", "run"],
    "train": ["train", "train.yaml", *QUICK],
    "study": ["study", "study.yaml"],
    "tune": ["tune", "tune.yaml"],
    "compare": ["compare", "compare.yaml"],
    "show": ["show", "run"],
    "metrics": ["metrics", "run"],
    "report": ["report", "run"],
    "data show": ["data", "show", "table.csv"],
    "validate": ["validate", "study.yaml"],
}


def command(encoding: str, *arguments: str) -> None:
    """The command line on a terminal of an encoding."""
    for stream, errors in ((sys.stdout, "strict"), (sys.stderr, "backslashreplace")):
        stream.reconfigure(encoding=encoding, errors=errors)
    lwgan_dist(*arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminals")
    rows = "".join(f"{i}.5,{i * i % 97}.25\n" for i in range(80))
    (folder / "table.csv").write_text(f"größe,χ\n{rows}", "utf-8")
    configs = {
        "study": tiny_study.config(data=[LABEL], sizes=[40], lwgan={"replicates": 1}),
        "tune": tiny_search.config(budget={"trials": 1}, confirm_seeds=0),
        "compare": tiny_compare.config(data=[LABEL], replicates=1),
    }
    for name, config in configs.items():
        (folder / f"{name}.yaml").write_text(to_yaml(config), "utf-8")
    (folder / "train.yaml").write_text(f"data: {tiny.FAST['data']}\n")
    return folder


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_every_command_says_what_it_has_to_say(folder, encoding):
    """One after another: the later ones read what the first writes."""
    for verb, arguments in VERBS.items():
        storage = ["--storage", encoding] if verb in ("train", "study", "tune", "compare") else []
        ended = run(
            command, encoding, *(encoding if part == "run" else part for part in arguments), *storage, cwd=folder
        )
        assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), (verb, ended.stderr)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (4, ["estimate", "größe.csv"]),
        (2, ["estimate", "table.csv", "größe=1"]),
        (2, ["estimäte"]),
        (0, ["--help"]),
    ],
)
def test_an_error_of_what_cannot_be_shown_is_one_too(folder, code, arguments):
    ended = run(command, "ascii", *arguments, cwd=folder)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
