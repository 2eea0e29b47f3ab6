"""Files that the program has written are data like any other: damaged in every way, each is named in one line, with the
exit code for it, or made good from what is whole. Nothing outside of a folder is changed.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_compare
import tiny_search
import tiny_study
from click.testing import CliRunner, Result

from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.cli import main
from lwgan_dist.config import RunConfig, TrainConfig
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.storage import Folder, exclusive, remove_tree
from lwgan_dist.study.record import RunRecord

RUN = TrainConfig.model_validate({**tiny.FAST, "precision": "float32", "execution": {"workers": 0}})
CONFIGS = {
    "run": RUN,
    "study": tiny_study.config(sizes=[40], data=[{"name": "s_curve"}]),
    "search": tiny_search.config(budget={"trials": 2}, confirm_seeds=0),
    "comparison": tiny_compare.config(replicates=1, data=[{"name": "s_curve"}]),
}
COMMANDS = {"run": "train", "study": "study", "search": "tune", "comparison": "compare"}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def again(kind: str, storage: Path) -> list[str]:
    """The command that a folder is of."""
    return [COMMANDS[kind], str(storage / f"{kind}.yaml"), "--name", kind, "--storage", str(storage)]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder of each kind, and one of a run that is under way."""
    storage = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.draw", lambda _figure, _renderer: None)
        for kind, config in CONFIGS.items():
            (storage / f"{kind}.yaml").write_text(to_yaml(config))
            assert call(*again(kind, storage)).exit_code == 0
    shutil.copytree(storage / "run", storage / "begun")
    for name in ("result.json", "model/model.json"):
        (storage / "begun" / name).unlink()
    return storage


@pytest.fixture
def storage(whole: Path, tmp_path: Path, blank_figures: None) -> Path:
    return shutil.copytree(whole, tmp_path / "storage")


def other(value: Any) -> Any:
    """A value of another type in the place of each leaf and section."""
    if isinstance(value, dict):
        return {key: other(item) for key, item in value.items()}
    return {"a": 1} if isinstance(value, list | str) else "x"


def leaves(content: bytes, change: Any) -> bytes:
    try:
        return json.dumps(change(json.loads(content))).encode()
    except ValueError:
        return content[::-1]


def huge(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: huge(item) for key, item in value.items()}
    if isinstance(value, list):
        return [huge(item) for item in value]
    return 10**30 if isinstance(value, int | float) and not isinstance(value, bool) else value


def without_half(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_half(item) for key, item in list(value.items())[::2]}
    return value[: len(value) // 2] if isinstance(value, list) else value


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "flipped": lambda content: content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 255]) + content[len(content) // 2 + 1 :],
    "noise": lambda content: bytes(range(256)) * 4,
    "null": lambda content: b"null",
    "list": lambda content: b"[1, 2]",
    "empty section": lambda content: b"{}",
    "deep": lambda content: b"[" * 100_000,
    "deep sections": lambda content: b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "types": lambda content: leaves(content, other),
    "huge": lambda content: leaves(content, huge),
    "half": lambda content: leaves(content, without_half),
}  # fmt: skip

FILES = {
    "run": ["result.json", "env.json", "config.yaml", "model/model.json", "model/model.safetensors", "scores.parquet",
            "checkpoints/*/manifest.json", "checkpoints/*/state.json", "checkpoints/*/tensors.safetensors"],
    "begun": ["progress.json", "env.json", "config.yaml"],
    "study": ["env.json", "config.yaml", "cells.parquet", "runs.parquet", "ledger/part-*.parquet"],
    "search": ["env.json", "config.yaml", "trials.parquet", "runs.parquet", "facts.json", "best.yaml",
               "dimensions.parquet", "ledger/part-*.parquet"],
    "comparison": ["env.json", "config.yaml", "compare.parquet", "runs.parquet", "ledger/part-*.parquet",
                   "models/*/model.json", "models/*/model.safetensors", "models/*/losses.json"],
}  # fmt: skip
READERS = {
    "run": [["show", "run"], ["show", "run", "--json"], ["generate", "run", "--num", "3", "--out", "g.parquet"],
            ["metrics", "run", "--names", "energy_distance"]],
    "begun": [["show", "begun"], ["show", "begun", "--json"]],
    **{kind: [["show", kind], ["show", kind, "--json"]] for kind in ("study", "search", "comparison")},
}  # fmt: skip


def ends_well(result: Result) -> bool:
    """With a documented exit code, in few lines, without a traceback."""
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    assert result.exit_code in (0, 2, 3, 4), result.output
    assert "Traceback" not in result.output
    if result.exit_code:
        assert any(line.startswith("error: ") for line in result.stderr.splitlines())
    return result.exit_code == 0


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", FILES)
def test_whoever_reads_a_damaged_folder_says_so(storage, monkeypatch, kind, damage):
    monkeypatch.chdir(storage)
    for pattern in FILES[kind]:
        files = sorted((storage / kind).glob(pattern))
        assert files, pattern
        before = files[-1].read_bytes()
        files[-1].write_bytes(DAMAGES[damage](before))
        for arguments in READERS[kind]:
            ends_well(call(*arguments))
        files[-1].write_bytes(before)
