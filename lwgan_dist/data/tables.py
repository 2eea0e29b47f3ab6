"""A user's table: Parquet (file or folder), Arrow IPC or Feather, NPY, NPZ, CSV or TSV. Read, checked, as rows."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lwgan_dist.data.arrow_files import read_ipc, read_parquet
from lwgan_dist.data.blocks import Array, Rows, digest
from lwgan_dist.data.checks import check_rows
from lwgan_dist.data.csv_files import read_csv
from lwgan_dist.data.loading import Loaded
from lwgan_dist.data.numpy_files import read_npy, read_npz
from lwgan_dist.errors import DataError, UnreadableError
from lwgan_dist.retries import is_numbered_transient, retried

Reader = Callable[[str, list[str] | None], Loaded]

READERS: dict[str, Reader] = {
    ".parquet": read_parquet,
    ".pq": read_parquet,
    ".arrow": read_ipc,
    ".feather": read_ipc,
    ".ipc": read_ipc,
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": partial(read_csv, delimiter=","),
    ".csv.gz": partial(read_csv, delimiter=","),
    ".tsv": partial(read_csv, delimiter="\t"),
    ".tsv.gz": partial(read_csv, delimiter="\t"),
}
"""Suffix -> reader."""


@dataclass(frozen=True)
class Table:
    """Rows of numbers with names.

    Attributes:
        rows: shape (n, *shape of a row), of the type in the file, C-contiguous, finite; maybe mapped.
        columns: names of the numbers of a row, in the order in which they are stored.
    """

    rows: Array
    columns: tuple[str, ...]


def read_table(path: str, *, columns: list[str] | None = None, array: str | None = None) -> Table:
    """The numeric table in a file or in a folder of Parquet files.

    Rows keep the type of the file, and the shape: that of the tensors in a column, or that of the further axes of a
    NumPy array. Columns of several types become float32 if all are float32 or float16, otherwise float64, as do
    decimals. An NPY file, or an uncompressed Arrow file of a single batch of tensors, is not read but mapped if it has
    at least `lwgan_dist.data.loading.MAPPED_BYTES`.

    Args:
        path: the file, whose suffix tells the format, or the folder.
        columns: names of the columns to use, in this order; all if None.
        array: name of the array in an NPZ file that holds several.

    Raises:
        DataError: anything that cannot be read or estimated from; the message is one line that names the file and,
            where there is one, column and row. UnreadableError if it is missing or damaged.
        StorageError: the file system has failed for longer than the patience of `lwgan_dist.retries`.
    """
    loaded = retried(f"reading {path}", lambda: _reader(path, array)(path, columns))
    check_rows(loaded.rows, loaded.columns, path, place=loaded.place)
    return Table(loaded.rows, loaded.columns)


def _reader(path: str, array: str | None) -> Reader:
    suffix = _suffix(path)
    if array is None:
        return READERS[suffix]
    if suffix != ".npz":
        raise DataError(f"{path}: data.array (array=) names an array of an .npz file; this is {suffix}")
    return partial(read_npz, array=array)


def _suffix(path: str) -> str:
    """The key of READERS; a folder counts as Parquet."""
    status = _status(path)
    if stat.S_ISDIR(status.st_mode):
        return ".parquet"
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: neither a file nor a folder")
    suffix = next((suffix for suffix in READERS if path.lower().endswith(suffix)), None)
    if suffix is None:
        raise DataError(f"{path}: unknown suffix; known are {', '.join(READERS)} and folders of Parquet files")
    if status.st_size == 0:
        raise DataError(f"{path}: an empty file (0 bytes)")
    return suffix


def _status(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableError(f"{path}: no such file or folder") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and is_numbered_transient(error):
            raise
        raise UnreadableError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None


def rows_digest(rows: Rows) -> str:
    """The first 16 hexadecimal digits of `lwgan_dist.data.blocks.digest`."""
    return digest(rows)[:16]
