"""NPY and NPZ files, of scipy.sparse too. Nothing is unpickled, and no more memory is taken than the file has bytes
for, or a sparse matrix needs when it is dense, within a bound.
"""

import ast
import math
import re
import zipfile
from pathlib import Path
from typing import IO, Literal

import numpy as np

from lwgan_dist.data.blocks import BLOCK_ELEMENTS, Array, Filling, blocks, flat, mapped
from lwgan_dist.data.files.bounds import require_room, require_width
from lwgan_dist.data.files.loading import (
    MAPPED_BYTES,
    Loaded,
    Reading,
    ReadOptions,
    damage_rejected,
    listed,
    numbered_columns,
    quoted,
    require_numbers,
    used_columns,
)
from lwgan_dist.errors import DataError

_PLAIN_DTYPE = re.compile(r"[<>=|]?[?a-zA-Z][0-9]*(\[(Y|M|W|D|h|m|s|ms|us|ns)\])?")
"""What numpy writes for numbers; also for objects (O), text (U5) and times (M8[ns]), rejected by their kind."""

_MAX_HEADER = 10_000
"""Bytes; numpy's own limit."""

_SPARSE = {"csr": ("data", "indices", "indptr"), "csc": ("data", "indices", "indptr"), "coo": ("data", "row", "col")}
"""What scipy.sparse.save_npz writes, beside ``format`` and ``shape``."""

_POSITION_BYTES = 24
"""Of where a row or column of a sparse matrix begins, in its several copies."""

_DENSE_BYTES = 1 << 30
"""A sparse matrix is read if it takes no more than this when all of its zeros are written out."""

_SAVE_NUMBERS = "save numbers: numpy.save(path, array.astype('f4'))"

_WHYS = {"U": "text", "S": "text", "M": "times", "m": "times"}
"""Why the fields of a structured array are left out, by the kinds of numpy."""


def read_npy(path: str, options: ReadOptions) -> Loaded:
    """The rows of an NPY file, one for each entry of the first axis; the numbers of a row are called x1..xp.

    Rows keep the shape of the further axes, unless columns are chosen. A large file (`MAPPED_BYTES`) is mapped. The
    fields of a structured array are its columns; those that hold no numbers are left out.

    Args:
        path: the file.
        options: the columns to use.

    Raises:
        DataError: damaged, or not an array of real numbers, or columns that do not exist.
    """
    size = Path(path).stat().st_size
    with damage_rejected(path, "NPY"), Path(path).open("rb") as stream:
        array = _map_array(stream, size, path) if size >= MAPPED_BYTES else _read_array(stream, size, path)
    return _loaded(array, options, path)


def read_npz(path: str, options: ReadOptions) -> Loaded:
    """The rows of one array of an NPZ file, see `read_npy`; or of a sparse matrix that scipy.sparse wrote.

    Args:
        path: the file.
        options: the columns to use, and the array; it may be left out if there is only one.

    Raises:
        DataError: as `read_npy`, and if it is not clear which array is meant, or a sparse matrix is too large.
    """
    with damage_rejected(path, "NPZ"), zipfile.ZipFile(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if options.array is None and {"format", "shape", "data"} <= members.keys():
            return _loaded(_read_sparse(archive, members, path), options, path, ("a sparse matrix",))
        member = members[_choose_array(list(members), options.array, path)]
        with archive.open(member) as stream:
            rows = _read_array(stream, member.file_size, path)
    return _loaded(rows, options, path)


def _read_sparse(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], source: str) -> Array:
    """A matrix that scipy.sparse wrote, with all of its zeros."""
    from scipy import sparse

    def part(name: str, kinds: str = "biuf") -> Array:
        with archive.open(members[name]) as stream:
            return _read_array(stream, members[name].file_size, source, kinds)

    form = part("format", "SU").item()
    form = form.decode("ascii") if isinstance(form, bytes) else str(form)
    names = _SPARSE.get(form, ())
    if not names or not members.keys() >= {*names}:
        raise DataError(f"{source}: a sparse matrix of the format {quoted(form)}: write matrix.tocsr() in its place")
    values, *where = (part(name) for name in names)
    shape = tuple(map(int, part("shape")))
    if len(shape) != 2:
        raise ValueError(f"a sparse matrix of shape {shape}")
    require_room(source, _POSITION_BYTES * sum(shape), Path(source).stat().st_size, f"a sparse matrix of shape {shape}")
    if math.prod(shape) * values.dtype.itemsize > _DENSE_BYTES:
        raise DataError(
            f"{source}: a sparse matrix of shape {shape}, which takes {math.prod(shape) * values.dtype.itemsize >> 20} "
            f"MiB with its zeros, and {_DENSE_BYTES >> 20} are the most: choose rows or columns, or reduce them "
            "(sklearn.decomposition.TruncatedSVD), and save them with numpy.save"
        )
    if form == "coo":
        matrix = sparse.coo_array((values, tuple(where)), shape).tocsr()
    else:
        matrix = (sparse.csr_array if form == "csr" else sparse.csc_array)((values, *where), shape)
        matrix.check_format(full_check=True)
        matrix = matrix.tocsr()
    rows, step = Filling(shape[0], shape[1:], values.dtype), max(1, BLOCK_ELEMENTS // max(1, shape[1]))
    for start in range(0, shape[0], step):
        rows.put(matrix[start : start + step].toarray())
    return rows.rows()


def _choose_array(names: list[str], wanted: str | None, source: str) -> str:
    if not names:
        raise DataError(f"{source}: holds no array")
    if wanted is None and len(names) > 1:
        raise DataError(f"{source}: holds several arrays, name one with data.array or array=...: {listed(names)}")
    if wanted is not None and wanted not in names:
        raise DataError(f"{source}: holds no array {quoted(wanted)}; there are {listed(names)}")
    return names[0] if wanted is None else wanted


def _read_array(stream: IO[bytes], size: int, source: str, kinds: str = "biuf") -> Array:
    """The array in a stream of ``size`` bytes, of one of these kinds of numpy."""
    _read_header(stream, size, source, kinds)
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _map_array(stream: IO[bytes], size: int, source: str) -> Array:
    """The same, where only what is used is read."""
    shape, fortran_order, dtype = _read_header(stream, size, source)
    order: Literal["F", "C"] = "F" if fortran_order else "C"
    return mapped(stream, dtype, shape, stream.tell(), order)


def _require_plain_dtype(stream: IO[bytes], source: str) -> None:
    """Looks at the dtype before numpy does: its parser ends the process at some, for example ``M8[25s/0]``."""
    version = np.lib.format.read_magic(stream)
    length = int.from_bytes(stream.read(2 if version == (1, 0) else 4), "little")
    header = ast.literal_eval(stream.read(min(length, _MAX_HEADER)).decode("latin-1"))
    if not isinstance(header, dict) or "descr" not in header:
        raise ValueError("the header has no dtype")
    dtype = header["descr"]
    fields = [dtype]
    if isinstance(dtype, list):  # of a structured array: (name, dtype), more of one with a shape
        fields = [field[1] if isinstance(field, tuple) and len(field) == 2 else field for field in dtype]
    if not all(isinstance(field, str) and _PLAIN_DTYPE.fullmatch(field) for field in fields):
        raise DataError(f"{source}: not an array of numbers (dtype {quoted(str(dtype))}); {_SAVE_NUMBERS}")


def _read_header(
    stream: IO[bytes], size: int, source: str, kinds: str = "biuf"
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is stored column by column, and dtype of the array in a stream of ``size`` bytes."""
    _require_plain_dtype(stream, source)
    stream.seek(0)
    if np.lib.format.read_magic(stream) == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(stream)
    _check_dtype(dtype, source, kinds)
    if stream.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} does not have {size} bytes")
    return shape, fortran_order, dtype


def _check_dtype(dtype: np.dtype, source: str, kinds: str) -> None:
    if dtype.hasobject:
        raise DataError(f"{source}: holds Python objects (a pickle), which are not read; {_SAVE_NUMBERS}")
    if dtype.kind == "c":
        raise DataError(f"{source}: complex numbers ({dtype}); save real and imaginary parts as columns")
    if dtype.kind == "V" and not dtype.names and dtype.itemsize == 2:
        raise DataError(f"{source}: bfloat16, or another type of 2 bytes that numpy does not know; {_SAVE_NUMBERS}")
    if dtype.kind in "mM":
        raise DataError(f"{source}: times ({dtype}); save them as numbers: array.astype('i8')")
    if dtype.kind not in kinds and not dtype.names:
        raise DataError(f"{source}: not an array of numbers (dtype {dtype}); {_SAVE_NUMBERS}")


def _loaded(array: Array, options: ReadOptions, source: str, how: tuple[str, ...] = ()) -> Loaded:
    """One row for each entry of the first axis."""
    if array.ndim == 0:
        raise DataError(f"{source}: a single number, rows are expected")
    if array.dtype.names:
        return _of_fields(array, options, source)
    rows = array if array.ndim > 1 else array[:, None]
    require_width(math.prod(rows.shape[1:]), source, Path(source).stat().st_size)
    names = numbered_columns(math.prod(rows.shape[1:]))
    if options.columns is not None or options.drop is not None:
        chosen = used_columns(names, options, source)
        rows, names = flat(rows)[:, chosen], tuple(names[i] for i in chosen)
    with np.errstate(over="ignore"):  # longdouble beyond float64 becomes inf, which is rejected with its place
        rows = np.ascontiguousarray(rows, np.float64 if rows.dtype.itemsize > 8 else rows.dtype)
    return Loaded(rows, names, reading=Reading(how))


def _of_fields(array: Array, options: ReadOptions, source: str) -> Loaded:
    """The rows of a structured array."""
    array, dtype = array.ravel(), array.dtype
    names = [(dtype.names or ())[i] for i in used_columns(dtype.names or (), options, source)]
    whys = {name: "" if dtype[name].kind in "biuf" else _WHYS.get(dtype[name].kind, str(dtype[name])) for name in names}
    left_out = {name: why for name, why in whys.items() if why}
    if left_out and options.columns is not None:
        name, why = next(iter(left_out.items()))
        raise DataError(f"{source}: column {quoted(name)} is {why}, not numeric; leave it out of data.columns")
    used = [name for name in names if not whys[name]]
    require_numbers(used, left_out, source)
    types = {dtype[name].newbyteorder("=") for name in used}
    narrow = all(kind.kind == "f" and kind.itemsize <= 4 for kind in types)
    common = types.pop() if len(types) == 1 else np.dtype(np.float32 if narrow else np.float64)
    rows = Filling(len(array), (len(used),), np.dtype(np.float64) if common.itemsize > 8 else common)
    for _, block in blocks(array):
        rows.put(np.stack([block[name] for name in used], axis=1))
    return Loaded(rows.rows(), tuple(used), reading=Reading(("the fields of a structured array",), left_out))
