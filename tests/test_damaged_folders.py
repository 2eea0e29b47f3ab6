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
from lwgan_dist.config import TrainConfig
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ClusterError, ConfigError
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


def flipped(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "flipped": lambda content: flipped(content),
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


# going on -------------------------------------------------------------------------------------------------------------

CONTINUED = {
    "run": ["result.json", "env.json", "config.yaml", "model/model.json"],
    "study": ["env.json", "config.yaml", "cells.parquet", "ledger/part-*.parquet"],
    "search": ["env.json", "config.yaml", "facts.json", "ledger/part-*.parquet"],
    "comparison": ["env.json", "ledger/part-*.parquet", "models/*/model.json", "models/*/losses.json"],
}
SOME = ("empty", "cut", "types", "huge", "deep")


@pytest.mark.parametrize(
    ("kind", "pattern", "damage"),
    [(kind, pattern, SOME[place % 5]) for kind, files in CONTINUED.items() for place, pattern in enumerate(files)],
)
def test_the_same_command_says_what_is_damaged_or_makes_it_good(storage, kind, pattern, damage):
    file = sorted((storage / kind).glob(pattern))[-1]
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    ends_well(call(*again(kind, storage)))


def results_of(folder: Path) -> dict[str, Any]:
    """Without what it cost and where it lies."""
    result = json.loads((folder / "result.json").read_bytes())
    return {name: value for name, value in result.items() if name not in ("cpu_seconds", "wall_seconds", "run_dir")}


def consistent(checkpoint: Path, name: str, content: bytes) -> None:
    """Replace a file of a checkpoint and what the manifest says of it."""
    (checkpoint / name).write_bytes(content)
    manifest = json.loads((checkpoint / "manifest.json").read_bytes())
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("damage", SOME)
@pytest.mark.parametrize("name", ["manifest.json", "state.json", "tensors.safetensors"])
def test_a_run_begins_again_where_its_checkpoints_are_damaged(storage, monkeypatch, name, damage):
    monkeypatch.chdir(storage)
    before = results_of(storage / "run")
    shutil.rmtree("run")
    Path("begun").rename("run")
    (checkpoint,) = Path("run/checkpoints").iterdir()
    (checkpoint / name).write_bytes(DAMAGES[damage]((checkpoint / name).read_bytes()))
    assert call(*again("run", storage)).exit_code == 0
    assert results_of(storage / "run") == before


@pytest.mark.parametrize("damage", ["empty", "types", "huge", "deep", "null", "half"])
@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
def test_a_checkpoint_of_something_else_ends_in_one_line(storage, monkeypatch, name, damage):
    monkeypatch.chdir(storage)
    shutil.rmtree("run")
    Path("begun").rename("run")
    (checkpoint,) = Path("run/checkpoints").iterdir()
    consistent(checkpoint, name, DAMAGES[damage]((checkpoint / name).read_bytes()))
    ends_well(call(*again("run", storage)))


# ledgers --------------------------------------------------------------------------------------------------------------

ROW = {
    "key": "a" * 16,
    "kind": "classical",
    "value": 1.0,
    "dimension": 1,
    "data_sha256": "x",
    "rows": 60,
    "ambient_dim": 3,
}


def enter(study: Path, row: Any, name: str = "a" * 16) -> Path:
    """A row whose digest is right."""
    text = row if isinstance(row, str) else json.dumps(row)
    file = study / "ledger" / "rows" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{hashlib.sha256(text.encode()).hexdigest()[:16]} {text}")
    return file


@pytest.mark.parametrize(
    "row",
    [
        "", "null", "[]", "{}", "[" * 100_000, {**ROW, "key": "b" * 16}, {**ROW, "rows": "sixty"}, {**ROW, "rows": [1]},
        {**ROW, "train": [1.0, 2.0], "evaluations": 10**12, "ranks": 10**12}, {**ROW, "train": "x"},
        {**ROW, "metrics": {"w2": "x"}}, {**ROW, "version": {"a": 1}}, {**ROW, "key": "../../victim"},
    ],
    ids=lambda row: str(row)[:20] + str(row)[-25:],
)  # fmt: skip
def test_a_row_that_is_no_record_is_named_and_counts_as_not_done(tmp_path, caplog, row):
    (tmp_path / "victim.json").write_text("precious")
    enter(tmp_path, row)
    ledger = Ledger(Folder.at(str(tmp_path / "ledger")), RunRecord)
    assert ledger.keys() == set()
    assert list(ledger.records(["a" * 16, "b" * 16])) == []
    assert ledger.gather() == 0
    assert f"{'a' * 16}.json: is no record of this ledger" in caplog.text
    assert (tmp_path / "victim.json").read_text() == "precious"


def test_a_row_of_a_record_is_read(tmp_path):
    enter(tmp_path, ROW)
    assert Ledger(Folder.at(str(tmp_path / "ledger")), RunRecord).keys() == {"a" * 16}


# links ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else's, with files that look like this program's."""
    folder = tmp_path / "outside"
    (folder / ".tmp-x").mkdir(parents=True)
    for name in ("precious.txt", ".tmp-y", ".tmp-x/z", "iteration-000000000001"):
        (folder / name).write_text("precious")
    return folder


def untouched(outside: Path) -> bool:
    return {str(path.relative_to(outside)) for path in outside.rglob("*")} == {
        "precious.txt", ".tmp-y", ".tmp-x", ".tmp-x/z", "iteration-000000000001",
    } and all(path.read_text() == "precious" for path in outside.rglob("*") if path.is_file())  # fmt: skip


@pytest.mark.parametrize("name", ["checkpoints", "model", "tb", ".ray", ".tmp-link", ".tmp-"])
def test_a_run_changes_nothing_behind_a_link(storage, outside, monkeypatch, name):
    monkeypatch.chdir(storage)
    shutil.rmtree("run")
    Path("begun").rename("run")
    if os.path.isdir(f"run/{name}"):
        shutil.rmtree(f"run/{name}")
    Path(f"run/{name}").symlink_to(outside)
    ends_well(call(*again("run", storage)))
    assert untouched(outside)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("study", "ledger"), ("study", "ledger/rows"), ("study", "figures"), ("study", "work"), ("study", ".tmp-a"),
     ("search", "front"), ("search", "tb"), ("comparison", "models"), ("comparison", "figures")],
)  # fmt: skip
def test_nor_does_a_campaign(storage, outside, monkeypatch, kind, name):
    monkeypatch.chdir(storage)
    remove_tree(storage / kind / name, ignore_errors=True)
    (storage / kind / name).parent.mkdir(exist_ok=True)
    (storage / kind / name).symlink_to(outside)
    ends_well(call(*again(kind, storage)))
    assert untouched(outside)


@pytest.mark.parametrize("kind", ["run", "study"])
def test_a_lock_that_is_a_link_is_refused(storage, outside, monkeypatch, kind):
    (storage / kind / ".lock").unlink(missing_ok=True)
    (storage / kind / ".lock").symlink_to(outside / "precious.txt")
    (line,) = [line for line in call(*again(kind, storage)).stderr.splitlines() if line.startswith("error: ")]
    assert line == f"error: {storage / kind / '.lock'}: is no regular file; remove it"
    assert untouched(outside)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_lock_that_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / ".lock")
    if make is os.mkfifo:
        with exclusive(Folder.at(str(tmp_path))):  # never read or written, so as good as a file
            return
    with pytest.raises(ConfigError, match="is no regular file"), exclusive(Folder.at(str(tmp_path))):
        pytest.fail("is held")


def test_the_folder_that_is_named_may_be_a_link(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "scratch")
    folder = Folder.at(str(tmp_path / "run"))
    folder.sub("a").write("b", b"c")
    assert (tmp_path / "scratch" / "a" / "b").read_bytes() == b"c"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", ".", "", "/x"])
def test_names_lead_nowhere_else(tmp_path, name):
    folder = Folder.at(str(tmp_path / "f"))
    for change in (lambda: folder.write(name, b""), lambda: folder.remove(name), lambda: folder.remove_file(name)):
        with pytest.raises(ConfigError, match="is no name of a file in it"):
            change()


def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(ConfigError, match="is not a regular file"):
        Folder.at(str(tmp_path)).read("result.json")


# nothing is left ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["train", "study"])
def test_a_command_without_a_cluster_leaves_nothing(storage, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    config = storage / f"{'run' if kind == 'train' else kind}.yaml"
    arguments = [kind, str(config), "execution.workers=1", "--address", "127.0.0.1:1", "--storage", "a/b"]
    result = call(*arguments, "--name", "c")
    assert result.exit_code == 5
    assert not Path("a").exists()
    Path("a/b").mkdir(parents=True)
    assert call(*arguments, "--name", "c").exit_code == 5
    assert list(Path("a/b").iterdir()) == []


def test_what_was_begun_stays_without_a_cluster(tmp_path):
    folder = Folder.at(str(tmp_path / "run"))

    def begin() -> None:
        with exclusive(folder):
            folder.sub("checkpoints").write("a", b"")
            raise ClusterError("gone")

    for _ in range(2):
        with pytest.raises(ClusterError):
            begin()
    assert folder.sub("checkpoints").has("a")
