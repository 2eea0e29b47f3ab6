"""A user's table or images: Parquet (file or folder), Arrow IPC or Feather, NPY, NPZ, CSV and other text, Excel, IDX, a
folder of pictures. Read, checked, as rows.
"""

import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lwgan_dist.config import Missing, TableConfig
from lwgan_dist.data.blocks import Array, Filling, Rows, blocks, chosen, digest
from lwgan_dist.data.checks import check_rows
from lwgan_dist.data.files.arrow_files import (
    IPC_SUFFIXES,
    PARQUET_SUFFIXES,
    arrow_labels,
    parquet_files,
    read_ipc,
    read_parquet,
)
from lwgan_dist.data.files.bounds import refuse_bombs
from lwgan_dist.data.files.idx_files import IDX_SUFFIXES, idx_labels, read_idx
from lwgan_dist.data.files.loading import (
    DEFAULTS,
    Labels,
    Loaded,
    Reading,
    ReadOptions,
    absence_rejected,
    numbered_columns,
)
from lwgan_dist.data.files.numpy_files import read_npy, read_npz
from lwgan_dist.data.files.pictures import folder_labels, picture_files, read_pictures
from lwgan_dist.data.files.text.csv_files import read_csv
from lwgan_dist.data.files.text.excel_files import read_excel
from lwgan_dist.data.missing import without_missing
from lwgan_dist.errors import DataError
from lwgan_dist.logs import SECRET_IN_URI
from lwgan_dist.retries import retried

Reader = Callable[[str, ReadOptions], Loaded]

READERS: dict[str, Reader] = {
    ".parquet": read_parquet,
    ".pq": read_parquet,
    ".arrow": read_ipc,
    ".feather": read_ipc,
    ".ipc": read_ipc,
    ".npy": read_npy,
    ".npz": read_npz,
    **{
        f"{suffix}{end}": partial(read_csv, separator=separator)
        for suffix, separator in ((".csv", ","), (".tsv", "\t"), (".txt", None), (".dat", None), (".data", None))
        for end in ("", ".gz")
    },
    ".xlsx": read_excel,
    **{f"{suffix}{end}": read_idx for suffix in IDX_SUFFIXES for end in ("", ".gz")},
}
"""Suffix -> reader."""

_ELSEWHERE = {
    ".h5ad": "numpy.save('rows.npy', anndata.read_h5ad(path).obsm['X_pca']), or .X, with .toarray() if it is sparse",
    ".h5": "numpy.save('rows.npy', h5py.File(path)[name][:])",
    ".hdf5": "numpy.save('rows.npy', h5py.File(path)[name][:])",
    ".mat": "numpy.save('rows.npy', scipy.io.loadmat(path)[name])",
    ".xls": "save it as .xlsx or CSV",
    ".ods": "save it as .xlsx or CSV",
    ".pkl": "pandas.read_pickle(path).to_parquet('table.parquet')",
    ".rds": "in R: arrow::write_parquet(readRDS(path), 'table.parquet')",
}
"""Suffixes of files of numbers that are not read, and how to write one that is."""

PICTURES = "a folder of pictures"
"""What counts as the suffix of one."""


@dataclass(frozen=True)
class Table:
    """Rows of numbers with names.

    Attributes:
        rows: shape (n, *shape of a row), of the type in the file, C-contiguous, finite; maybe mapped.
        columns: names of the numbers of a row, in the order in which they are stored.
        reading: what was found out about the file, and what was left out.
    """

    rows: Array
    columns: tuple[str, ...]
    reading: Reading = field(default_factory=Reading)


def read_configured(config: TableConfig) -> Table:
    """The table or images that a configuration names, with all the rows of the labels that it asks for; see
    `read_table`.
    """
    return read_table(
        config.path, columns=config.columns, drop=config.drop, separator=config.separator, decimal=config.decimal,
        encoding=config.encoding, missing=config.missing, array=config.array, labels=config.labels,
        channels=config.channels,
    )  # fmt: skip


def read_table(
    path: str,
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    missing: Missing | None = None,
    array: str | None = None,
    labels: Sequence[str | int] | None = None,
    channels: Literal["first", "last"] = "first",
) -> Table:
    """The numeric table or the images in a file, in a folder of Parquet files or in a folder of pictures.

    Rows keep the type of the file, and the shape: that of the tensors in a column, or that of the further axes of a
    NumPy array. Columns of several types become float32 if all are float32 or float16, otherwise float64, as do
    decimals. An NPY file, or an uncompressed Arrow file of a single batch of tensors, is not read but mapped if it has
    at least `lwgan_dist.data.files.loading.MAPPED_BYTES`. How the file was read, as far as it does not go without
    saying, is ``reading`` of the table.

    Args:
        path: the file, whose suffix tells the format, or the folder.
        columns: names of the columns to use, in this order; all that hold numbers if None.
        drop: names of the columns to leave out.
        separator, decimal, encoding: of a text file; found out if None.
        missing: what is done with rows that lack a value, see `lwgan_dist.config.TableConfig`.
        array: name of the array in an NPZ file, or of the sheet in an Excel file, that holds several.
        labels: the classes whose rows are used, by name or code; all if None.
        channels: where an array or a column of tensors keeps the colours; ``last`` moves them to the front.

    Raises:
        DataError: anything that cannot be read or estimated from; the message is one line that names the file and,
            where there is one, column and row. UnreadableError if it is missing or damaged.
        StorageError: the file system has failed for longer than the patience of `lwgan_dist.retries`.
    """
    options = ReadOptions(columns, drop, array, separator, decimal, encoding)
    loaded = retried(f"reading {path}", lambda: _loaded(path, options, labels))
    if channels == "last":
        loaded = _channels_first(loaded, path)
    loaded = without_missing(loaded, missing, path, columns_chosen=columns is not None)
    check_rows(loaded.rows, loaded.columns, path, place=loaded.place)
    return Table(loaded.rows, loaded.columns, loaded.reading)


def read_labels(path: str, options: ReadOptions = DEFAULTS) -> tuple[Labels | None, ReadOptions]:
    """The classes of the rows of a file or folder, and what is left to be read.

    They are in the column ``label`` of a Parquet or Arrow file, in the file beside an IDX file of images, or are the
    names of the folders in which pictures lie. None where there are none.
    """
    suffix = _suffix(path)
    if suffix in PARQUET_SUFFIXES or suffix in IPC_SUFFIXES:
        return arrow_labels(path, options)
    if suffix == PICTURES:
        return folder_labels(path), options
    return idx_labels(path) if READERS[suffix] is read_idx else None, options


def _loaded(path: str, options: ReadOptions, wanted: Sequence[str | int] | None) -> Loaded:
    """What a reader gives, or of that the rows of the wanted classes."""
    refuse_bombs(path)
    read = _reader(path, options)
    if wanted is None:
        return read(path, options)
    labels, options = read_labels(path, options)
    if labels is None:
        raise DataError(
            f"{path}: holds no labels for data.labels: they are a column 'label' of a Parquet or Arrow file, a file "
            "beside an IDX file, or folders of pictures"
        )
    loaded = read(path, options)
    if len(labels.codes) != len(loaded.rows):
        raise DataError(f"{path}: has {len(loaded.rows)} rows, but {len(labels.codes)} labels")
    picks = labels.picks(wanted, path)
    return loaded._replace(rows=chosen(loaded.rows, picks), place=lambda row: loaded.place(int(picks[row])))


def _channels_first(loaded: Loaded, source: str) -> Loaded:
    """Rows of shape (h, w, c) as (c, h, w); their numbers are numbered anew."""
    rows = loaded.rows
    if loaded.are_pictures or rows.ndim != 4:
        what = "pictures in files say it themselves" if loaded.are_pictures else f"these have shape {rows.shape[1:]}"
        raise DataError(f"{source}: data.channels: last is of arrays of shape (n, h, w, c); {what}")
    moved = Filling(len(rows), (rows.shape[3], *rows.shape[1:3]), rows.dtype)
    for _, block in blocks(rows):
        moved.put(np.moveaxis(block, 3, 1))
    return loaded._replace(rows=moved.rows(), columns=numbered_columns(len(loaded.columns)))


def _reader(path: str, options: ReadOptions) -> Reader:
    """The reader of a file or folder.

    Raises:
        DataError: there is none, or an option that is not of such files.
    """
    suffix = _suffix(path)
    read = read_pictures if suffix == PICTURES else READERS[suffix]
    if options.array is not None and read not in (read_npz, read_excel):
        raise DataError(f"{path}: data.array (array=) names an array of an .npz file or a sheet; this is {suffix}")
    of_text = [name for name in ("separator", "decimal", "encoding") if getattr(options, name) is not None]
    if of_text and not isinstance(read, partial):
        raise DataError(f"{path}: data.{of_text[0]} ({of_text[0]}=) is of text files; this is {suffix}: leave it out")
    return read


def _suffix(path: str) -> str:
    """The key of READERS, or PICTURES; a folder counts as Parquet unless it holds pictures and no Parquet file."""
    if re.match(r"[a-z][a-z0-9+.-]+://", path):
        shown = f"{path.partition(':')[0]}://..." if SECRET_IN_URI.search(path) else path
        raise DataError(
            f"{shown}: tables are read from a disk: copy it to one that all nodes have, or mount its storage"
        )
    with absence_rejected(path):
        status = Path(path).stat()
    if stat.S_ISDIR(status.st_mode):
        return PICTURES if next(parquet_files(path), None) is None and picture_files(path) else ".parquet"
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: neither a file nor a folder")
    suffix = next((suffix for suffix in READERS if path.lower().endswith(suffix)), None)
    mend = next((mend for suffix, mend in _ELSEWHERE.items() if path.lower().endswith(suffix)), None)
    if suffix is None and mend:
        raise DataError(f"{path}: {Path(path).suffix} files are not read; write one that is: {mend}")
    if suffix is None:
        raise DataError(
            f"{path}: unknown suffix; known are {', '.join(READERS)} and folders of Parquet files or pictures"
        )
    if status.st_size == 0:
        raise DataError(f"{path}: an empty file (0 bytes)")
    return suffix


def rows_digest(rows: Rows) -> str:
    """The first 16 hexadecimal digits of `lwgan_dist.data.blocks.digest`."""
    return digest(rows)[:16]
