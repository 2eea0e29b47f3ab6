"""Folders on a local disk and on an object store: what is written is there whole, or not there, also where the storage
fails for a while at any step, or does what it is asked and the answer is lost.
"""

import errno
import fcntl
import multiprocessing
import os

import fsspec
import pytest
from click.testing import CliRunner
from fake_s3 import FakeS3
from flaky_storage import Clock, Faults, flaky_local, flaky_store
from pyarrow import fs
from tiny import FAST
from tiny_study import Silent, study

from lwgan_dist.cli import main
from lwgan_dist.config import RunConfig
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ConfigError, InUseError
from lwgan_dist.retries import PATIENCE_VARIABLE, StorageError
from lwgan_dist.storage import TEMPORARY, Folder, exclusive, inside
from lwgan_dist.training.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture(params=["local", "object store"])
def folder(request, tmp_path):
    if request.param == "local":
        return Folder.at(str(tmp_path / "run"))
    store = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    return Folder(store, f"/{tmp_path.name}/run", f"memory://{tmp_path.name}/run")


def test_a_folder_that_does_not_exist_is_empty(folder):
    assert folder.names() == []
    assert not folder.has("a")
    with pytest.raises(FileNotFoundError):
        folder.read("a")


def test_a_file_is_read_back_and_replaced(folder):
    folder.write("a", b"old")
    folder.write("a", b"new")
    assert folder.read("a") == b"new"
    assert folder.names() == ["a"]


def test_a_set_of_files_replaces_the_one_before_it(folder):
    folder.write_set("s", {"a": b"1", "last": b"2"})
    folder.write_set("s", {"a": b"3", "last": b"4"})
    assert folder.names() == ["s"]
    assert folder.sub("s").read("a") == b"3"
    assert folder.sub("s").names() == ["a", "last"]


def test_a_removed_set_is_gone(folder):
    folder.write_set("s", {"a": b"1"})
    folder.remove("s")
    assert folder.names() == []


def test_a_write_that_fails_leaves_the_old_content_and_no_trace(folder, monkeypatch):
    if folder.local is None:
        pytest.skip("an object store has no rename to fail")
    folder.write("a", b"old")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lwgan_dist.storage.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write("a", b"new")
    with pytest.raises(OSError, match="No space left"):
        folder.write_set("s", {"a": b"1"})
    assert folder.read("a") == b"old"
    assert folder.names() == ["a"]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    folder = Folder.at(str(tmp_path))
    (tmp_path / f"{TEMPORARY}1").mkdir()
    (tmp_path / f"{TEMPORARY}2").write_bytes(b"half")
    folder.write("a", b"1")
    folder.remove_temporary()
    assert folder.names() == ["a"]


def test_a_uri_that_cannot_be_opened_is_said_to_be():
    with pytest.raises(ConfigError, match="nothing://here: cannot be opened"):
        Folder.at("nothing://here")


def test_a_file_uri_is_the_local_folder(tmp_path):
    assert Folder.at(f"file://{tmp_path}").local == Folder.at(str(tmp_path)).local


def _hold(path, held, release):
    with exclusive(Folder.at(path)):
        held.set()
        release.wait(30)


def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, release))
    other.start()
    assert held.wait(60)
    with pytest.raises(ConfigError, match="another process"), exclusive(Folder.at(str(tmp_path))):
        pass
    other.kill()
    other.join()
    with exclusive(Folder.at(str(tmp_path))):
        pass


# storage that fails for a while ---------------------------------------------------------------------------------------

OLD, NEW = {"a": b"old", "last": b"old"}, {"a": b"new", "b": b"new", "last": b"new"}


def _prepare(folder):
    folder.write("file", b"old")
    folder.write("told.json", b"[1]")
    folder.write_set("set", OLD)


def _content(folder):
    """Everything in it, as far as it counts."""
    told = {}
    for name in folder.names():
        if name.startswith((TEMPORARY, ".lock")):
            continue
        told[name] = folder.read(name) if folder.has(name) else _content(folder.sub(name))
    return told


def _raised(act):
    try:
        act()
    except FileNotFoundError as error:
        return type(error)
    return None


def _held(folder):
    with exclusive(folder):
        with pytest.raises(InUseError), exclusive(folder):
            pass
        return "held"


OPERATIONS = {
    "write": lambda folder: folder.write("new", b"new"),
    "write in a new folder": lambda folder: folder.sub("deep").sub("er").write("new", b"new"),
    "write over": lambda folder: folder.write("file", b"new"),
    "write a set": lambda folder: folder.write_set("new", NEW),
    "write a set over": lambda folder: folder.write_set("set", NEW),
    "read": lambda folder: folder.read("file"),
    "read what is not there": lambda folder: _raised(lambda: folder.read("none")),
    "read JSON": lambda folder: folder.read_json("told.json", list[int]),
    "has": lambda folder: (folder.has("file"), folder.has("none"), folder.has("set")),
    "names": lambda folder: folder.names(),
    "names of nothing": lambda folder: folder.sub("none").names(),
    "remove": lambda folder: folder.remove("set"),
    "remove what is not there": lambda folder: folder.remove("none"),
    "remove a file": lambda folder: folder.remove_file("file"),
    "remove a file that is not there": lambda folder: folder.remove_file("none"),
    "remove what was left": lambda folder: folder.remove_temporary(),
    "hold": _held,
}


class Flaky:
    """A prepared folder, its faults and its clock."""

    def __init__(self, place, path, monkeypatch):
        self.clock, self.faults, self.place, self.path = Clock(monkeypatch), Faults(), place, path
        self.monkeypatch = monkeypatch
        self._count = 0

    def fresh(self):
        """Another folder, prepared."""
        self._count += 1
        self.faults.begin = None
        path = self.path / str(self._count)
        folder = (
            Folder.at(str(path)) if self.place == "local" else flaky_store(self.faults, f"{self.path.name}/{path.name}")
        )
        _prepare(folder)
        if self.place == "local":
            (path / f"{TEMPORARY}left").mkdir()
            (path / f"{TEMPORARY}left" / "x").write_bytes(b"x")
            folder = self.local(path)
        return folder

    def local(self, path):
        """A local folder whose steps can fail."""
        return flaky_local(self.faults, path, self.monkeypatch)


@pytest.fixture(params=["local", "object store"])
def flaky(request, tmp_path, monkeypatch):
    monkeypatch.delenv(PATIENCE_VARIABLE, raising=False)
    return Flaky(request.param, tmp_path, monkeypatch)


def _plain(folder):
    """The same folder without faults."""
    return Folder.at(folder.path) if folder.local else folder


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_outage_at_any_step_changes_nothing_but_the_time(flaky, operation):
    """Every step, failing before it is done or after; for a minute, with all that is tried meanwhile."""
    act = OPERATIONS[operation]
    if operation == "hold" and flaky.place != "local":
        pytest.skip("an object store has no locks")
    folder = flaky.fresh()
    flaky.faults.start_at(None)
    expected = act(folder)
    steps = list(flaky.faults.steps)
    told = _content(_plain(folder))
    assert steps or operation == "remove what was left", "nothing that could fail"
    assert flaky.clock.pauses == []
    for step in range(len(steps)):
        for mode in ("before", "after"):
            folder = flaky.fresh()
            flaky.clock.pauses.clear()
            flaky.faults.start_at(step, mode=mode)
            assert act(folder) == expected, (steps, step, mode)
            hits, flaky.faults.begin = flaky.faults.hits, None
            assert hits >= (5 if mode == "before" else 1), "it has failed, if need be again and again"
            assert sum(flaky.clock.pauses) >= (60 if mode == "before" else 0.05)
            assert _content(_plain(folder)) == told, (steps, step, mode)
            if folder.local and operation != "hold":
                left = [name for name in os.listdir(folder.path) if name.startswith(TEMPORARY)]
                assert set(left) <= {f"{TEMPORARY}left"}
    print(f"{flaky.place}, {operation}: {2 * len(steps)} outages at {steps}")


@pytest.mark.parametrize("name", ["new", "set"])
def test_whoever_looks_at_a_set_during_an_outage_sees_it_whole_or_not_valid(flaky, name):
    """The set is valid if its last file is there; then all of it is the old one or the new one."""
    folder = flaky.fresh()
    flaky.faults.start_at(None)
    folder.write_set(name, NEW)
    steps, seen = len(flaky.faults.steps), set()

    def look():
        begin, flaky.faults.begin = flaky.faults.begin, None
        place = _plain(folder).sub(name)
        if place.has("last"):
            content = {part: place.read(part) for part in place.names()}
            whole = content in (OLD, NEW) or content == {**OLD, **NEW}
            assert whole, content
            seen.add("new" if content["last"] == b"new" else "old")
        else:
            seen.add("none")
        flaky.faults.begin = begin

    flaky.clock.on_sleep = look
    for step in range(steps):
        for mode in ("before", "after"):
            folder = flaky.fresh()
            flaky.faults.start_at(step, mode=mode)
            folder.write_set(name, NEW)
    assert seen == ({"none", "new"} if name == "new" else {"none", "new", "old"})


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - {"remove what was left"}))
def test_an_outage_that_does_not_end_ends_the_operation_with_a_message(flaky, operation):
    if operation == "hold" and flaky.place != "local":
        pytest.skip("an object store has no locks")
    folder = flaky.fresh()
    before = _content(_plain(folder))
    flaky.faults.start_at(0, seconds=1e9)
    with pytest.raises(StorageError, match=r": the storage has failed for 1[23]\d s \(Input/output error\)") as raised:
        OPERATIONS[operation](folder)
    flaky.faults.begin = None
    assert folder.location in str(raised.value)
    assert sum(flaky.clock.pauses) == pytest.approx(120)
    assert _content(_plain(folder)) == before


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied"), KeyboardInterrupt()])
def test_a_set_that_does_not_find_its_place_leaves_the_one_before(tmp_path, monkeypatch, error):
    folder = Folder.at(str(tmp_path))
    folder.write_set("set", OLD)
    rename, target = os.rename, str(tmp_path / "set")

    def fails(source, destination):  # for all but the old one
        if str(destination) == target and (source / "last").read_bytes() != OLD["last"]:
            raise error
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(type(error)):
        folder.write_set("set", NEW)
    assert {name: folder.sub("set").read(name) for name in folder.sub("set").names()} == OLD
    assert os.listdir(tmp_path) == ["set"]


@pytest.mark.parametrize("step", range(4))
def test_an_outage_that_begins_within_a_set_and_does_not_end_leaves_no_valid_half(flaky, step):
    folder = flaky.fresh()
    flaky.faults.start_at(step, seconds=1e9)
    with pytest.raises(StorageError):
        folder.write_set("new", NEW)
    flaky.faults.begin = None
    assert flaky.faults.hits > 5
    assert not _plain(folder).sub("new").has("last")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EROFS, "Read-only file system"),
        PermissionError(errno.EACCES, "Permission denied"), NotADirectoryError(errno.ENOTDIR, "Not a directory"),
        OSError("When uploading: AWS Error ACCESS_DENIED during PutObject operation: msg"),
        OSError("When uploading: AWS Error NO_SUCH_BUCKET during PutObject operation: msg"),
    ],
    ids=str,
)  # fmt: skip
def test_what_patience_does_not_mend_is_raised_at_once(flaky, error):
    folder = flaky.fresh()
    for operation in ("write", "write a set", "read", "remove", "remove a file", "has"):
        flaky.faults.error = lambda: error
        flaky.faults.start_at(0, seconds=1e9)
        with pytest.raises(type(error)) as raised:
            OPERATIONS[operation](folder)
        assert not isinstance(raised.value, StorageError)
        assert flaky.faults.hits == 1
    assert flaky.clock.pauses == []


@pytest.fixture
def local(tmp_path, monkeypatch):
    return Flaky("local", tmp_path, monkeypatch)


@pytest.mark.parametrize("operation", ["write", "write over", "write a set", "write a set over", "remove"])
def test_a_rename_that_happened_and_is_said_to_have_found_nothing(local, operation):
    """A network file system that sends a request again, whose answer was lost, finds nothing left to rename."""
    control = local.fresh()
    local.faults.start_at(None)
    OPERATIONS[operation](control)
    renames = [i for i, step in enumerate(local.faults.steps) if step in ("rename", "replace")]
    local.faults.error = lambda: FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert renames
    for step in renames:
        folder = local.fresh()
        local.faults.start_at(step, mode="after", seconds=1e-9)
        local.faults._fails = lambda number, step=step: number == step
        OPERATIONS[operation](folder)
        del local.faults._fails
        assert local.faults.hits == 1
        assert _content(_plain(folder)) == _content(_plain(control))


@pytest.mark.parametrize(("operation", "name"), [("write over", "replace"), ("write a set", "rename")])
def test_a_rename_that_found_nothing_and_did_not_happen_is_an_error(local, operation, name):
    other = local.fresh()
    local.faults.start_at(None)
    OPERATIONS[operation](other)
    step = len(local.faults.steps) - 1 - local.faults.steps[::-1].index(name)
    folder = local.fresh()
    before = _content(_plain(folder))
    local.faults.error = lambda: FileNotFoundError(errno.ENOENT, "No such file or directory")
    local.faults.start_at(step, seconds=1e9)
    local.faults._fails = lambda number: number == step
    with pytest.raises(FileNotFoundError):
        OPERATIONS[operation](folder)
    assert local.faults.hits == 1
    assert _content(_plain(folder)) == before


def test_a_set_that_is_there_is_not_taken_away_again_for_a_lost_answer(local):
    """Else an outage between the two renames of the second attempt could lose a checkpoint that was whole."""
    folder = local.fresh()
    local.faults.start_at(None)
    folder.write_set("new", NEW)
    step = len(local.faults.steps) - 1 - local.faults.steps[::-1].index("rename")
    folder = local.fresh()
    local.faults.start_at(step, mode="after")
    inodes = []
    local.clock.on_sleep = lambda: inodes.append(os.stat(f"{folder.path}/new").st_ino)
    folder.write_set("new", NEW)
    assert len(inodes) > 5
    assert set(inodes) == {os.stat(f"{folder.path}/new").st_ino}


def test_content_and_name_are_flushed_to_the_disk(local):
    folder = local.fresh()
    local.faults.start_at(None)
    folder.write("file", b"new")
    flush = ["open folder", "fsync"]
    assert local.faults.steps == ["mkdir", "open file", "fsync", "replace", *flush]
    local.faults.start_at(None)
    folder.write_set("new", {"last": b"new"})
    assert local.faults.steps == ["mkdir", "open file", "fsync", *flush, "rename", "rename", *flush]


def test_what_could_not_be_cleaned_up_is_no_error_of_the_write(local, monkeypatch):
    folder = local.fresh()

    def fails(*_arguments, **_more):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("pathlib.Path.unlink", fails)
    folder.write("file", b"new")
    assert folder.read("file") == b"new"


def test_a_lock_that_fails_for_a_while_is_waited_for_and_one_that_is_held_is_not(local, monkeypatch):
    folder = local.fresh()
    with exclusive(folder):
        with pytest.raises(InUseError), exclusive(folder):
            pass
        assert local.clock.pauses == []
    flock, answers = fcntl.flock, iter([errno.ESTALE, errno.EIO, errno.ENOLCK])

    def fails(*arguments):
        number = next(answers, None)
        if number:
            raise OSError(number, "told to")
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", fails)
    with exclusive(folder):
        assert len(local.clock.pauses) == 3
    answers = iter([errno.ENOSYS])
    with pytest.raises(ConfigError, match="without locks"), exclusive(folder):
        pass
    assert len(local.clock.pauses) == 3


# S3 -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with FakeS3() as server:
        yield server


def test_requests_to_s3(s3):
    """What every run of a study pays for; pyarrow by itself makes five of a small file, and more for its folder."""
    folder = Folder.at(s3.uri("runs/a"))

    def counts(act):
        s3.counts.clear()
        act()
        return dict(s3.counts)

    assert counts(lambda: folder.write("x", b"1")) == {"PUT": 1}
    assert counts(lambda: folder.read("x")) == {"HEAD": 1, "GET": 1}
    assert counts(lambda: folder.has("x")) == {"HEAD": 1}
    assert counts(folder.names) == {"LIST": 1}
    assert counts(lambda: folder.write_set("set", NEW)) == {"HEAD": 1, "PUT": 3}
    assert {key: content for key, content in s3.objects.items() if not key.endswith("/")} == {
        "runs/a/x": b"1", **{f"runs/a/set/{name}": content for name, content in NEW.items()}
    }  # fmt: skip


@pytest.mark.parametrize("name", ["write", "write over", "write a set over", "read", "names", "has", "remove"])
def test_a_folder_in_s3_is_the_same_after_failures_of_all_kinds(s3, monkeypatch, name):
    """Of a real client, with refusals, lost answers and closed connections in turn."""
    clock, folder = Clock(monkeypatch), s3.impatient("runs/a")
    _prepare(folder)
    expected = OPERATIONS[name](folder)
    told = _content(folder)
    failures = iter([(503, "SlowDown"), "drop", "lose", (500, "InternalError"), "lose"])
    s3.objects.clear()
    _prepare(folder)
    s3.fail = lambda _kind, _key: next(failures, None)
    assert OPERATIONS[name](folder) == expected
    assert next(failures, None) is None
    assert len(clock.pauses) >= 3, "the client itself opens a closed connection anew"
    assert _content(folder) == told


def test_a_refusal_of_s3_is_told_at_once(s3, monkeypatch):
    clock, folder = Clock(monkeypatch), s3.impatient("runs/a")
    s3.fail = lambda _kind, _key: (403, "AccessDenied")
    for name in ("write", "write a set", "read", "names", "has", "remove", "remove a file"):
        with pytest.raises(OSError, match="ACCESS_DENIED") as raised:
            OPERATIONS[name](folder)
        assert not isinstance(raised.value, StorageError)
    s3.fail = lambda _kind, _key: None
    other = Folder.at(s3.uri("runs/a").replace("bucket", "tekcub"))
    with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
        other.write("a", b"1")
    assert clock.pauses == []


def test_an_upload_that_breaks_off_shows_no_half_of_it(s3, monkeypatch):
    Clock(monkeypatch)
    monkeypatch.setenv(PATIENCE_VARIABLE, "0")
    folder = s3.impatient("runs/a")
    large = bytes(12 << 20)  # in parts
    folder.write("x", large)
    assert folder.read("x") == large
    s3.fail = lambda kind, _key: (500, "InternalError") if len(s3.parts.get("upload-1", ())) and kind == "PUT" else None
    with pytest.raises(StorageError):
        folder.write("y", large)
    s3.fail = lambda _kind, _key: None
    assert s3.parts["upload-1"], "it had begun"
    assert not folder.has("y")


def test_a_query_stays_at_the_end_of_a_location(s3):
    folder = Folder.at(s3.uri("runs"))
    folder.sub("a").sub("b").write("x", b"1")
    assert Folder.at(folder.sub("a").sub("b").location).read("x") == b"1"
    assert inside("s3://b/p?region=x", "a") == "s3://b/p/a?region=x"
    assert inside("/tmp/what?", "a") == "/tmp/what?/a"


def test_opening_a_location_is_tried_again(monkeypatch):
    """It may ask for the region of the bucket."""
    clock, errors = (
        Clock(monkeypatch),
        [OSError("AWS Error NETWORK_CONNECTION during HeadBucket operation: curlCode: 6")],
    )
    opened = fs.SubTreeFileSystem("/tmp", fs.LocalFileSystem())

    def from_uri(_location):
        if len(clock.pauses) < 4:
            raise errors[0]
        return opened, "bucket/a"

    monkeypatch.setattr("lwgan_dist.storage._opened", from_uri)
    assert Folder.at("s3://bucket/a").path == "bucket/a"
    assert len(clock.pauses) == 4
    clock.pauses.clear()
    errors[0] = OSError("Bucket 'bucket' not found")
    with pytest.raises(ConfigError, match="cannot be opened as a storage location"):
        Folder.at("s3://bucket/a")
    assert clock.pauses == []
    errors[0] = OSError("AWS Error SLOW_DOWN")
    monkeypatch.setenv(PATIENCE_VARIABLE, "0")
    with pytest.raises(StorageError, match="opening s3://bucket/a"):
        Folder.at("s3://bucket/a")


@pytest.mark.parametrize(
    "location",
    ["s3://me:hunter2@bucket/runs", "s3://me:hun/hunter2@bucket/runs", "abfss://c@a.net/p?sv=1&sig=hunter2"],
)
def test_a_location_with_a_secret_is_refused_without_repeating_it(location):
    with pytest.raises(ConfigError, match="takes no secret") as raised:
        Folder.at(location)
    assert "hunter2" not in str(raised.value)


# training and studies -------------------------------------------------------------------------------------------------


def _persistent(faults, path):
    """An object store that keeps its objects in files."""
    from flaky_storage import FlakyStore

    store = fs.PyFileSystem(FlakyStore(faults, fsspec.filesystem("dir", path=str(path), fs=fsspec.filesystem("file"))))
    return Folder(store, "run", "flaky://run")


@pytest.mark.parametrize("patience", ["default", "0"])
def test_a_training_outlives_an_outage_bit_for_bit(tmp_path, monkeypatch, patience):
    """By the real clock: the storage fails for two seconds from a step within a checkpoint on. Without patience the
    command ends, and the same command goes on.
    """
    monkeypatch.delenv(PATIENCE_VARIABLE, raising=False)
    file, faults = tmp_path / "run.yaml", Faults()
    file.write_text(to_yaml(RunConfig.model_validate(FAST)))
    folders = {name: _persistent(faults, tmp_path / name) for name in ("straight", "through")}
    at = Folder.at

    def train(name):
        monkeypatch.setattr(Folder, "at", lambda told: folders[name] if told.startswith("flaky") else at(told))
        return CliRunner().invoke(
            main,
            [
                "train",
                str(file),
                "--workers",
                "0",
                "execution.checkpoint_seconds=0",
                "--storage",
                "flaky:/",
                "--name",
                "run",
            ],
        )

    faults.start_at(None)
    assert train("straight").exit_code == 0
    middle = len(faults.steps) // 2
    checkpoint = faults.steps.index("upload", middle)
    if patience != "default":
        monkeypatch.setenv(PATIENCE_VARIABLE, patience)
    faults.start_at(checkpoint, mode="after", seconds=2.0)
    ended = train("through")
    assert faults.hits > (3 if patience == "default" else 0)
    faults.begin = None
    if patience == "default":
        assert ended.exit_code == 0, ended.output
    else:
        assert ended.exit_code == 3, ended.output
        assert "the storage has failed for 0 s (Input/output error)" in ended.output
        assert "flaky://run/" in ended.output
        assert not folders["through"].has("result.json")
        assert train("through").exit_code == 0
    for part, name in (("model", "model.safetensors"), ("", "scores.parquet")):
        one, two = ((folder.sub(part) if part else folder).read(name) for folder in folders.values())
        assert one == two


def test_a_lost_storage_is_no_incorrect_estimate(tmp_path, monkeypatch):
    """A run of a study that could not write its checkpoint has not been finished; the same command finishes it."""
    Clock(monkeypatch)
    straight = study(tmp_path / "straight").execute(Silent())
    prepared, save, broken = study(tmp_path / "through"), Checkpoints.save, []

    def fails(self, state):
        if len(broken) < 1:
            broken.append(self.folder.location)
            raise StorageError(f"writing {self.folder.location}: the storage has failed for 120 s (x)")
        save(self, state)

    monkeypatch.setattr(Checkpoints, "save", fails)
    outcome = prepared.execute(Silent())
    assert len(broken) == 1
    assert len(outcome.unfinished) == 1
    assert "StorageError: writing" in next(iter(outcome.unfinished.values()))
    assert outcome.diverged == 0
    assert set(straight.tables.runs["key"].to_pylist()) - set(outcome.tables.runs["key"].to_pylist()) == set(
        outcome.unfinished
    )
    again = study(tmp_path / "through").execute(Silent())
    assert not again.unfinished
    assert again.tables.runs.drop_columns(["cpu_seconds", "wall_seconds"]).equals(
        straight.tables.runs.drop_columns(["cpu_seconds", "wall_seconds"])
    )
