"""Folders in which runs live: local, on a shared file system, or on any file system that pyarrow knows (s3://, gs://,
hdfs://). Writes are atomic: a reader sees all of a file or none.

On a local file system a file is written under a temporary name, flushed to disk and renamed; a folder of several files
likewise. An object store shows an object only when its upload is complete, so files are written in place there, and
the file that makes a set of files valid is written last.

Storage that fails for a while is waited for, see `lwgan_dist.retries`: every operation may run twice, also
where the first attempt has succeeded and only its answer was lost. After that time it raises a StorageError.
"""

import errno
import io
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pydantic import TypeAdapter

from lwgan_dist.errors import ClusterError, ConfigError, InUseError, interrupts_pass
from lwgan_dist.logs import SECRET_IN_URI
from lwgan_dist.retries import StorageError, retried

Content = TypeVar("Content")

TEMPORARY = ".tmp-"
"""Prefix of names that are not yet, or no longer, valid."""

MOST_JSON = 1 << 28
"""Size of a JSON file that is read, at most."""

CLAIMS = {"env.json", "config.yaml"}
"""What a command has written into a folder before it has begun; names with a dot are its own too."""

DAMAGE = (
    ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError, ArithmeticError, MemoryError,
    pa.ArrowException,
)  # fmt: skip
"""What comes of content that is not what the program writes."""


@dataclass(frozen=True)
class Folder:
    """A folder on a file system. ``path`` is what the file system calls it, ``location`` what the user does, ``root``
    the folder that was named: it may be a link, but nothing is changed behind a link that lies in it, for other people
    may have put it there.
    """

    filesystem: fs.FileSystem
    path: str
    location: str
    root: str = field(default="", compare=False)

    @classmethod
    def at(cls, location: str) -> "Folder":
        """The folder at a local path or a URI; it need not exist.

        Raises:
            ConfigError: a URI that pyarrow cannot open, or one with a secret.
        """
        if "://" not in location:
            path = str(Path(location).expanduser().absolute())
            return cls(fs.LocalFileSystem(), path, path, path)
        if SECRET_IN_URI.search(location):
            raise ConfigError(
                "a storage location is written into results and logs, so it takes no secret: give it as the client of "
                "the storage wants it, for S3 in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        try:  # may ask for the region of a bucket
            filesystem, path = retried(f"opening {location}", lambda: _opened(location))
        except StorageError:
            raise
        except (OSError, ValueError) as error:
            raise ConfigError(f"{location}: cannot be opened as a storage location ({error})") from error
        return cls(filesystem, path, path if isinstance(filesystem, fs.LocalFileSystem) else location, path)

    @property
    def local(self) -> Path | None:
        """The folder as a local path; None on another file system."""
        return Path(self.path) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    def sub(self, name: str) -> "Folder":
        """The folder of that name inside."""
        return Folder(self.filesystem, f"{self.path}/{name}", inside(self.location, name), self.root)

    def names(self) -> list[str]:
        """Names of the files and folders inside, sorted; empty if the folder does not exist.

        Raises:
            ConfigError: it is a file.
        """

        def attempt() -> list[str]:
            try:
                infos = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
                is_file = not infos and self.filesystem.get_file_info(self.path).type == fs.FileType.File
            except NotADirectoryError:
                is_file = True
            if is_file:
                raise ConfigError(f"{self.location}: is a file, not a folder")
            return sorted(info.base_name for info in infos)

        return retried(f"listing {self.location}", attempt)

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self._type(name) == fs.FileType.File)

    def read(self, name: str, most: int | None = None) -> bytes:
        """A file's content.

        Args:
            name: of the file.
            most: bytes that it may have.

        Raises:
            FileNotFoundError: it does not exist.
            ConfigError: it is a pipe or a device, or has more bytes.
        """
        if self.local is not None and _is_endless(self.local / name):
            raise ConfigError(f"{inside(self.location, name)}: is not a regular file")

        def attempt() -> bytes:
            with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
                return bytes(stream.read(None if most is None else most + 1))

        content = retried(f"reading {inside(self.location, name)}", attempt)
        if most is not None and len(content) > most:
            raise ConfigError(f"{inside(self.location, name)}: has more than {most >> 20} MiB")
        return content

    def read_json(self, name: str, kind: type[Content]) -> Content:
        """The value in a JSON file, of a type that pydantic knows; fields of a model that are not given have defaults.

        Raises:
            FileNotFoundError: it does not exist.
            ConfigError: it is damaged, of another version, or larger than any that is written.
        """
        content = self.read(name, MOST_JSON)
        with damage_named(inside(self.location, name)):
            return TypeAdapter(kind).validate_json(content)

    def read_table(self, name: str, schema: pa.Schema) -> pa.Table:
        """A Parquet file with at least these columns, of these types, in any order; further ones are kept.

        Raises:
            FileNotFoundError: it does not exist.
            ConfigError: it is damaged, or of another version.
        """
        content = self.read(name)
        with damage_named(inside(self.location, name)):
            try:
                table = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
            except OSError as error:  # of pyarrow, about the content
                raise ValueError(error) from None
            for column in schema:
                table = table.set_column(
                    table.schema.names.index(column.name), column.name, table[column.name].cast(column.type)
                )
            return table

    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing the one before it; a reader sees the old content or the new, whole."""
        self._refuse_ways_out(name)
        local = self.local
        if local is None:
            self._upload(name, content)
            return
        temporary = _temporary_in(local)

        def attempt() -> None:  # all of it: a file whose flush has failed may have lost what was written before
            local.mkdir(parents=True, exist_ok=True)
            _write_through(temporary, content)
            try:
                os.replace(temporary, local / name)
            except FileNotFoundError:  # it may have happened, and the answer was lost
                if _content_of(local / name) != content:
                    raise
            _flush_folder(local)

        try:
            retried(f"writing {inside(self.location, name)}", attempt)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def write_set(self, name: str, files: dict[str, bytes]) -> None:
        """Write a folder of files whose last entry makes it valid; it appears at once, replacing the one before it."""
        self._refuse_ways_out(name)
        if self.local is None:
            folder = self.sub(name)
            folder.remove_file(list(files)[-1])
            for file, content in files.items():
                folder._upload(file, content)
            return
        self._write_local_set(self.local, name, files)

    def remove(self, name: str) -> None:
        """Remove the folder of that name, if it exists; a crash half-way leaves nothing that is taken for valid."""
        self._refuse_ways_out(name)
        local = self.local
        if local is None:
            self._delete(name)
            return
        temporary = _temporary_in(local)
        try:
            retried(f"removing {inside(self.location, name)}", lambda: _move_away(local / name, temporary))
        finally:
            remove_tree(temporary, ignore_errors=True)

    def remove_file(self, name: str) -> None:
        """Remove the file of that name, if it exists."""
        self._refuse_ways_out(name)
        with suppress(FileNotFoundError):
            retried(
                f"removing {inside(self.location, name)}", lambda: self.filesystem.delete_file(f"{self.path}/{name}")
            )

    def remove_temporary(self) -> None:
        """Remove what a writer that was killed left behind."""
        local = self.local
        if local is None:
            return
        self._refuse_ways_out(TEMPORARY)

        def attempt(path: Path) -> None:
            with suppress(FileNotFoundError):
                remove_tree(path) if path.is_dir() or path.is_symlink() else path.unlink(missing_ok=True)

        for name in self.names():
            if name.startswith(TEMPORARY):
                retried(f"removing {inside(self.location, name)}", partial(attempt, local / name))

    def _refuse_ways_out(self, name: str) -> None:
        """Whatever is written or removed lies in the folder that was named.

        Raises:
            ConfigError: the name leads out of it, or a link in it does.
        """
        if "/" in name or name in ("", ".", ".."):
            raise ConfigError(f"{self.location}: {name!r} is no name of a file in it")
        local = self.local
        while local is not None and self.root and str(local) != self.root and local != local.parent:
            if local.is_symlink():
                raise ConfigError(f"{local}: is a symbolic link; nothing is changed behind one in {self.root}")
            local = local.parent

    def _write_local_set(self, local: Path, name: str, files: dict[str, bytes]) -> None:
        temporary, old = _temporary_in(local), _temporary_in(local)
        what = f"writing {inside(self.location, name)}"

        def fill() -> None:
            temporary.mkdir(parents=True, exist_ok=True)
            for file, content in files.items():
                _write_through(temporary / file, content)
            _flush_folder(temporary)

        tried = False

        def place() -> None:
            nonlocal tried
            if tried and _is_set(local / name, files):  # it has happened, and the answer was lost
                return
            tried = True
            _move_away(local / name, old)
            try:
                os.rename(temporary, local / name)
            except FileNotFoundError:
                if not _is_set(local / name, files):
                    raise

        try:
            retried(what, fill)
            retried(what, place)
            retried(what, lambda: _flush_folder(local))
        finally:
            with suppress(OSError):
                if old.exists() and not (local / name).exists():  # the new one did not find its place
                    os.rename(old, local / name)
            remove_tree(temporary, ignore_errors=True)
            remove_tree(old, ignore_errors=True)

    def _type(self, name: str) -> Any:
        return retried(
            f"looking for {inside(self.location, name)}",
            lambda: self.filesystem.get_file_info(f"{self.path}/{name}").type,
        )

    def _upload(self, name: str, content: bytes) -> None:
        def attempt() -> None:
            self._make_room()
            with self.filesystem.open_output_stream(f"{self.path}/{name}") as stream:
                stream.write(content)

        retried(f"writing {inside(self.location, name)}", attempt)

    def _make_room(self) -> None:
        """Make the folder, but for S3: there are none, and each that is made would cost a request for every level."""
        if not isinstance(self.filesystem, fs.S3FileSystem):
            self.filesystem.create_dir(self.path, recursive=True)
        elif "allow_bucket_creation=true" in self.location:
            self.filesystem.create_dir(self.path.split("/")[0])

    def _delete(self, name: str) -> None:
        def attempt() -> None:
            if self.filesystem.get_file_info(f"{self.path}/{name}").type == fs.FileType.Directory:
                with suppress(FileNotFoundError):  # another process was faster
                    self.filesystem.delete_dir(f"{self.path}/{name}")

        retried(f"removing {inside(self.location, name)}", attempt)


def inside(location: str, name: str) -> str:
    """The location of what is called ``name`` in a folder; a query stays at the end of a URI."""
    path, mark, query = location.partition("?") if "://" in location else (location, "", "")
    return f"{path}/{name}{mark}{query}"


def remove_tree(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove a local folder and what is in it, see `shutil.rmtree`; Ctrl-C on the way is always a KeyboardInterrupt. Of
    a link, it is the link that is removed.
    """
    with interrupts_pass():
        if not path.is_symlink():
            shutil.rmtree(path, ignore_errors=ignore_errors)
            return
        with suppress(OSError) if ignore_errors else nullcontext():
            path.unlink(missing_ok=True)


@contextmanager
def damage_named(location: str) -> Iterator[None]:
    """Turns what comes of content that is not what the program writes into an error that names the file or folder.

    Raises:
        ConfigError: such content.
    """
    try:
        yield
    except DAMAGE as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{location}: is damaged, or of another version ({first[:200]})") from error


@contextmanager
def exclusive(folder: Folder) -> Iterator[None]:
    """Hold a local run folder for this process, so that no second command works in it at the same time. Of a folder
    that the block has made, and in which nothing was begun for want of a cluster, nothing stays.

    Raises:
        InUseError: another process holds it.
        ConfigError: the lock is a link, a folder or a pipe.
    """
    with _nothing_left(folder), _locked(folder):
        yield


@contextmanager
def _nothing_left(folder: Folder) -> Iterator[None]:
    """Removes a local folder that was not there before, with no more than `CLAIMS` in it, if the block has met no
    cluster.
    """
    local = folder.local
    missing = [] if local is None else [path for path in (local, *local.parents) if not path.exists()]
    try:
        yield
    except ClusterError:
        if missing and all(name in CLAIMS or name.startswith(".") for name in folder.names()):
            remove_tree(missing[0], ignore_errors=True)
            for path in missing[1:]:
                with suppress(OSError):
                    path.rmdir()
        raise


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    if folder.local is None or os.name != "posix":
        yield
        return
    import fcntl

    local = folder.local

    def attempt() -> IO[str]:
        local.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(local / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                raise ConfigError(f"{local / '.lock'}: is no regular file; remove it") from None
            raise
        lock = open(descriptor, "w")  # noqa: SIM115 - closed below
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                raise InUseError(f"{folder.location}: another process is working in this run folder") from None
            if error.errno in {errno.ENOSYS, errno.EOPNOTSUPP}:
                raise ConfigError(f"{folder.location}: lies on a file system without locks; choose another") from None
            raise
        return lock

    with retried(f"locking {folder.location}", attempt):
        yield


def _opened(location: str) -> Any:
    """File system and path. A small file is one request to S3, in place of the three of an upload in parts."""
    if location.startswith("s3://") and "allow_delayed_open" not in location:
        with suppress(ValueError):  # an older pyarrow does not know it
            return fs.FileSystem.from_uri(f"{location}{'&' if '?' in location else '?'}allow_delayed_open=true")
    return fs.FileSystem.from_uri(location)


def _temporary_in(folder: Path) -> Path:
    return folder / f"{TEMPORARY}{uuid.uuid4().hex}"


def _move_away(path: Path, temporary: Path) -> None:
    """Give a folder, if it exists, a name under which it is not valid."""
    with suppress(FileNotFoundError):
        os.rename(path, temporary)


def _is_endless(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, to read which may take for ever."""
    with suppress(OSError):
        return stat.S_IFMT(os.stat(path).st_mode) not in (stat.S_IFREG, stat.S_IFDIR)
    return False


def _content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_set(path: Path, files: dict[str, bytes]) -> bool:
    return all(_content_of(path / name) == content for name, content in files.items())


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
