"""Folders in which runs live: local, on a shared file system, or on any file system that pyarrow knows (s3://, gs://,
hdfs://). What is written is either there whole or not there.

On a local file system a file is written under a temporary name, flushed to disk and renamed; a folder of several files
likewise. An object store shows an object only when its upload is complete, so files are written in place there, and
the file that makes a set of files valid is written last.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from lwgan_dist.errors import ConfigError, InUseError

TEMPORARY = ".tmp-"
"""Prefix of names that are not yet, or no longer, valid."""


@dataclass(frozen=True)
class Folder:
    """A folder on a file system. ``path`` is what the file system calls it, ``location`` what the user does."""

    filesystem: fs.FileSystem
    path: str
    location: str

    @classmethod
    def at(cls, location: str) -> "Folder":
        """The folder at a local path or a URI; it need not exist.

        Raises:
            ConfigError: a URI that pyarrow cannot open.
        """
        if "://" not in location:
            path = str(Path(location).expanduser().absolute())
            return cls(fs.LocalFileSystem(), path, path)
        try:
            filesystem, path = fs.FileSystem.from_uri(location)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{location}: cannot be opened as a storage location ({error})") from error
        return cls(filesystem, path, path if isinstance(filesystem, fs.LocalFileSystem) else location)

    @property
    def local(self) -> Path | None:
        """The folder as a local path; None on another file system."""
        return Path(self.path) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    def sub(self, name: str) -> "Folder":
        """The folder of that name inside."""
        return Folder(self.filesystem, f"{self.path}/{name}", f"{self.location}/{name}")

    def names(self) -> list[str]:
        """Names of the files and folders inside, sorted; empty if the folder does not exist.

        Raises:
            ConfigError: it is a file.
        """
        if self.filesystem.get_file_info(self.path).type == fs.FileType.File:
            raise ConfigError(f"{self.location}: is a file, not a folder")
        selector = fs.FileSelector(self.path, allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self.filesystem.get_file_info(f"{self.path}/{name}").type == fs.FileType.File)

    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
            return bytes(stream.read())

    def read_json(self, name: str) -> Any:
        """The value in a JSON file.

        Raises:
            FileNotFoundError: it is not there.
            ConfigError: it is damaged.
        """
        try:
            return json.loads(self.read(name))
        except ValueError:
            raise ConfigError(f"{self.location}/{name}: is damaged (not JSON)") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing the one before it; a reader sees the old content or the new, whole."""
        local = self.local
        if local is None:
            self._upload(name, content)
            return
        local.mkdir(parents=True, exist_ok=True)
        temporary = local / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            _write_through(temporary, content)
            os.replace(temporary, local / name)
        finally:
            temporary.unlink(missing_ok=True)
        _flush_folder(local)

    def write_set(self, name: str, files: dict[str, bytes]) -> None:
        """Write a folder of files whose last entry makes it valid; it appears at once, replacing the one before it."""
        local = self.local
        if local is None:
            folder = self.sub(name)
            self.filesystem.create_dir(folder.path, recursive=True)
            last = list(files)[-1]
            if folder.has(last):
                self.filesystem.delete_file(f"{folder.path}/{last}")
            for file, content in files.items():
                folder._upload(file, content)
            return
        temporary = local / f"{TEMPORARY}{uuid.uuid4().hex}"
        temporary.mkdir(parents=True)
        try:
            for file, content in files.items():
                _write_through(temporary / file, content)
            _flush_folder(temporary)
            self.remove(name)
            os.rename(temporary, local / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _flush_folder(local)

    def remove(self, name: str) -> None:
        """Remove the folder of that name, if it is there; a crash half-way leaves nothing that is taken for valid."""
        local = self.local
        if local is None:
            if self.filesystem.get_file_info(f"{self.path}/{name}").type == fs.FileType.Directory:
                self.filesystem.delete_dir(f"{self.path}/{name}")
            return
        temporary = local / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            os.rename(local / name, temporary)
        except FileNotFoundError:
            return
        shutil.rmtree(temporary, ignore_errors=True)

    def remove_file(self, name: str) -> None:
        """Remove the file of that name, if it is there."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.path}/{name}")

    def remove_temporary(self) -> None:
        """Remove what a writer that was killed left behind."""
        if self.local is not None:
            for name in self.names():
                if name.startswith(TEMPORARY):
                    path = self.local / name
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _upload(self, name: str, content: bytes) -> None:
        self.filesystem.create_dir(self.path, recursive=True)
        with self.filesystem.open_output_stream(f"{self.path}/{name}") as stream:
            stream.write(content)


@contextmanager
def exclusive(folder: Folder) -> Iterator[None]:
    """Hold a local run folder for this process, so that no second command works in it at the same time.

    Raises:
        InUseError: another process holds it.
    """
    if folder.local is None or os.name != "posix":
        yield
        return
    import fcntl

    folder.local.mkdir(parents=True, exist_ok=True)
    with open(folder.local / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUseError(f"{folder.location}: another process is working in this run folder") from None
        yield


def _write_through(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
