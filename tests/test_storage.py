"""Folders on a local disk and on an object store: what is written is there whole, or not there."""

import multiprocessing

import fsspec
import pytest
from pyarrow import fs

from lwgan_dist.errors import ConfigError
from lwgan_dist.storage import TEMPORARY, Folder, exclusive


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
