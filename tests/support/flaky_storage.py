"""File systems that fail for a while: an object store in memory, and the local one as `lwgan_dist.storage` uses it."""

import builtins
import fcntl
import os
import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
from pyarrow import fs

from lwgan_dist import retries, storage
from lwgan_dist.storage import Folder

_FLOCK, _MKDIR = fcntl.flock, Path.mkdir


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch):
        self.now, self.pauses, self.on_sleep = 1000.0, [], lambda: None
        monkeypatch.setattr(retries, "_clock", lambda: self.now)
        monkeypatch.setattr(retries, "_sleep", self.sleep)

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.on_sleep()
        self.now += seconds


class Faults:
    """Makes steps of a storage fail.

    Attributes:
        steps: names of the steps so far, failed ones included.
        hits: how many have failed.
        begin, seconds: from this step on (None: never), for so long by the clock of `retries`.
        mode: "before" a step is carried out, or "after" it was and its answer is lost.
        error: makes the error.
    """

    def __init__(self):
        self.steps, self.hits, self.begin, self.seconds, self.mode = [], 0, None, 60.0, "before"
        self.error = lambda: OSError(5, "Input/output error")
        self._until = None

    def start_at(self, step, *, mode="before", seconds=60.0):
        """Count anew, and fail from a step on."""
        self.steps, self.hits, self.begin, self.mode, self.seconds = [], 0, step, mode, seconds
        self._until = None

    def step(self, name, act, mode=None):
        """Carry out a step, or not."""
        mode = mode or self.mode
        number = len(self.steps)
        self.steps.append(name)
        if self._fails(number) and mode == "before":
            self.hits += 1
            raise self.error()
        try:
            result = act()
        except OSError:
            if not self._fails(number):
                raise
        if self._fails(number) and mode == "after":
            self.hits += 1
            raise self.error()
        return result

    def _fails(self, number):
        if self.begin is None or number < self.begin:
            return False
        if self._until is None:
            self._until = retries._clock() + self.seconds
        return retries._clock() < self._until


class FlakyStore(fs.FSSpecHandler):
    """An object store."""

    def __init__(self, faults, filesystem):
        super().__init__(filesystem)
        self.faults = faults

    def get_file_info(self, paths):
        return self.faults.step("info", lambda: fs.FSSpecHandler.get_file_info(self, paths))

    def get_file_info_selector(self, selector):
        return self.faults.step("list", lambda: fs.FSSpecHandler.get_file_info_selector(self, selector))

    def create_dir(self, path, recursive):
        return self.faults.step("create_dir", lambda: fs.FSSpecHandler.create_dir(self, path, recursive))

    def delete_dir(self, path):
        return self.faults.step("delete_dir", lambda: fs.FSSpecHandler.delete_dir(self, path))

    def delete_file(self, path):
        return self.faults.step("delete_file", lambda: fs.FSSpecHandler.delete_file(self, path))

    def open_input_stream(self, path):
        return self.faults.step("read", lambda: fs.FSSpecHandler.open_input_stream(self, path))

    def open_output_stream(self, path, metadata):
        """Shown whole when it is closed, as an object store does."""
        return self.faults.step("open", lambda: pa.PythonFile(_Upload(self, path), "w"))


class _Upload:
    def __init__(self, store, path):
        self._store, self._path, self._content, self.closed = store, path, b"", False

    def write(self, content):
        self._content += bytes(content)
        return len(content)

    def flush(self):
        pass

    def close(self):
        if not self.closed:
            self.closed = True
            self._store.faults.step("upload", lambda: self._store.fs.pipe_file(self._path, self._content))


def flaky_store(faults, path):
    """A folder in an object store in memory."""
    store = fs.PyFileSystem(FlakyStore(faults, fsspec.filesystem("memory")))
    return Folder(store, f"/{path}", f"memory://{path}")


class _FlakyLocal(fs.LocalFileSystem):
    faults: Faults

    def get_file_info(self, told):
        return self.faults.step("info", lambda: fs.LocalFileSystem.get_file_info(self, told))

    def open_input_stream(self, path):
        return self.faults.step("read", lambda: fs.LocalFileSystem.open_input_stream(self, path))

    def delete_file(self, path):
        return self.faults.step("delete_file", lambda: fs.LocalFileSystem.delete_file(self, path))


def flaky_local(faults, path, monkeypatch):
    """A local folder, all of whose steps but those that clean up can fail."""

    def flaky(name, call, mode=None):
        return lambda *args, **kwargs: faults.step(name, lambda: call(*args, **kwargs), mode)

    class Os:
        """`os`, as `lwgan_dist.storage` sees it."""

        replace, rename = staticmethod(flaky("replace", os.replace)), staticmethod(flaky("rename", os.rename))
        fsync, open = staticmethod(flaky("fsync", os.fsync)), staticmethod(flaky("open folder", os.open, "before"))

        def __getattr__(self, name):
            return getattr(os, name)

    class Shutil:
        def rmtree(self, path, ignore_errors=False):
            assert Path(path).name.startswith(storage.TEMPORARY), "what may be valid is moved away first"
            if ignore_errors:
                shutil.rmtree(path, ignore_errors=True)
            else:
                faults.step("rmtree", lambda: shutil.rmtree(path))

    monkeypatch.setattr(storage, "os", Os())
    monkeypatch.setattr(storage, "shutil", Shutil())
    monkeypatch.setattr(storage, "open", flaky("open file", builtins.open, "before"), raising=False)
    monkeypatch.setattr(fcntl, "flock", flaky("flock", _FLOCK, "before"))
    monkeypatch.setattr(Path, "mkdir", lambda self, *args, **kwargs: flaky("mkdir", _MKDIR)(self, *args, **kwargs))
    filesystem = _FlakyLocal()
    filesystem.faults = faults
    return Folder(filesystem, str(path), str(path))
