"""NPY and NPZ files. Nothing is unpickled, and no more memory is taken than the file has bytes for."""

import ast
import math
import re
import zipfile
from pathlib import Path
from typing import IO, Literal

import numpy as np

from lwgan_dist.data.blocks import Array, flat
from lwgan_dist.data.bounds import require_width
from lwgan_dist.data.loading import (
    MAPPED_BYTES,
    Loaded,
    choose_columns,
    damage_rejected,
    listed,
    numbered_columns,
    quoted,
)
from lwgan_dist.errors import DataError

_PLAIN_DTYPE = re.compile(r"[<>=|]?[?a-zA-Z][0-9]*")
"""What numpy writes for numbers; also for objects (O) and text (U5), which are rejected by their kind."""

_MAX_HEADER = 10_000
"""Bytes; numpy's own limit."""


def read_npy(path: str, columns: list[str] | None) -> Loaded:
    """The rows of an NPY file, one for each entry of the first axis; the numbers of a row are called x1..xp.

    Rows keep the shape of the further axes, unless columns are chosen. A large file (`MAPPED_BYTES`) is mapped.

    Args:
        path: the file.
        columns: names of the columns to use, in this order; all if None.

    Raises:
        DataError: damaged, or not an array of real numbers, or columns that do not exist.
    """
    size = Path(path).stat().st_size
    with damage_rejected(path, "NPY"), Path(path).open("rb") as stream:
        array = _map_array(stream, size, path) if size >= MAPPED_BYTES else _read_array(stream, size, path)
    return _loaded(array, columns, path)


def read_npz(path: str, columns: list[str] | None, array: str | None = None) -> Loaded:
    """The rows of one array of an NPZ file; see `read_npy`.

    Args:
        path: the file.
        columns: names of the columns to use, in this order; all if None.
        array: name of the array; may be left out if there is only one.

    Raises:
        DataError: as `read_npy`, and if it is not clear which array is meant.
    """
    with damage_rejected(path, "NPZ"), zipfile.ZipFile(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        member = members[_choose_array(list(members), array, path)]
        with archive.open(member) as stream:
            rows = _read_array(stream, member.file_size, path)
    return _loaded(rows, columns, path)


def _choose_array(names: list[str], wanted: str | None, source: str) -> str:
    if not names:
        raise DataError(f"{source}: holds no array")
    if wanted is None and len(names) > 1:
        raise DataError(f"{source}: holds several arrays, name one with data.array or array=...: {listed(names)}")
    if wanted is not None and wanted not in names:
        raise DataError(f"{source}: holds no array {quoted(wanted)}; there are {listed(names)}")
    return names[0] if wanted is None else wanted


def _read_array(stream: IO[bytes], size: int, source: str) -> Array:
    """The array in a stream of ``size`` bytes."""
    _read_header(stream, size, source)
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _map_array(stream: IO[bytes], size: int, source: str) -> Array:
    """The same, where only what is used is read."""
    shape, fortran_order, dtype = _read_header(stream, size, source)
    order: Literal["F", "C"] = "F" if fortran_order else "C"
    return np.asarray(np.memmap(source, dtype, "r", stream.tell(), shape, order))


def _require_plain_dtype(stream: IO[bytes], source: str) -> None:
    """Looks at the dtype before numpy does: its parser ends the process at some, for example ``M8[25s/0]``."""
    version = np.lib.format.read_magic(stream)
    length = int.from_bytes(stream.read(2 if version == (1, 0) else 4), "little")
    header = ast.literal_eval(stream.read(min(length, _MAX_HEADER)).decode("latin-1"))
    if not isinstance(header, dict) or "descr" not in header:
        raise ValueError("the header has no dtype")
    dtype = header["descr"]
    if not (isinstance(dtype, str) and _PLAIN_DTYPE.fullmatch(dtype)):
        raise DataError(f"{source}: not an array of numbers (dtype {quoted(str(dtype))})")


def _read_header(stream: IO[bytes], size: int, source: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is stored column by column, and dtype of the array in a stream of ``size`` bytes."""
    _require_plain_dtype(stream, source)
    stream.seek(0)
    if np.lib.format.read_magic(stream) == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(stream)
    _check_dtype(dtype, source)
    if stream.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} does not have {size} bytes")
    return shape, fortran_order, dtype


def _check_dtype(dtype: np.dtype, source: str) -> None:
    if dtype.hasobject:
        raise DataError(f"{source}: holds Python objects (a pickle), which are not read; save an array of numbers")
    if dtype.kind == "c":
        raise DataError(f"{source}: complex numbers ({dtype}); save real and imaginary parts as columns")
    if dtype.kind not in "biuf":
        raise DataError(f"{source}: not an array of numbers (dtype {dtype})")


def _loaded(array: Array, columns: list[str] | None, source: str) -> Loaded:
    """One row for each entry of the first axis."""
    if array.ndim == 0:
        raise DataError(f"{source}: a single number, rows are expected")
    rows = array if array.ndim > 1 else array[:, None]
    require_width(math.prod(rows.shape[1:]), source)
    names = numbered_columns(math.prod(rows.shape[1:]))
    if columns is not None:
        rows = flat(rows)[:, choose_columns(names, columns, source)]
    with np.errstate(over="ignore"):  # longdouble beyond float64 becomes inf, which is rejected with its place
        rows = np.ascontiguousarray(rows, np.float64 if rows.dtype.itemsize > 8 else rows.dtype)
    return Loaded(rows, names if columns is None else tuple(columns))
