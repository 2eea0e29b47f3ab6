"""IDX files, plain or compressed by gzip, as MNIST and Fashion-MNIST are given out; the labels in a file beside."""

import gzip
import math
import re
from pathlib import Path
from typing import IO

import numpy as np

from lwgan_dist.data.blocks import Array, Filling, flat, mapped
from lwgan_dist.data.files.bounds import require_room, require_width
from lwgan_dist.data.files.loading import (
    MAPPED_BYTES,
    Labels,
    Loaded,
    ReadOptions,
    damage_rejected,
    numbered_columns,
    used_columns,
)
from lwgan_dist.errors import DataError

IDX_SUFFIXES = ("-ubyte", ".idx")
"""Of the files as they are given out (``train-images-idx3-ubyte``), and of others; ``.gz`` may follow."""

_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""The third byte of the file -> type of the numbers."""

_CHUNK = 1 << 22


def read_idx(path: str, options: ReadOptions) -> Loaded:
    """The rows of an IDX file, one for each entry of the first axis; the numbers of a row are called x1..xp.

    Rows keep the shape of the further axes, unless columns are chosen. A large file (`MAPPED_BYTES`) that is not
    compressed is mapped.

    Args:
        path: the file.
        options: the columns to use.

    Raises:
        DataError: damaged, cut, longer than its header says, or columns that do not exist.
    """
    array = _read_array(path)
    rows = array if array.ndim > 1 else array[:, None]
    require_width(math.prod(rows.shape[1:]), path, Path(path).stat().st_size)
    names = numbered_columns(math.prod(rows.shape[1:]))
    if options.columns is None and options.drop is None:
        return Loaded(rows, names)
    chosen = used_columns(names, options, path)
    return Loaded(np.ascontiguousarray(flat(rows)[:, chosen]), tuple(names[i] for i in chosen))


def idx_labels(path: str) -> Labels | None:
    """The labels in the file beside an IDX file of images whose name has ``labels`` for ``images``; None without one.

    Raises:
        DataError: the file of labels is damaged, or does not hold one whole number a row.
    """
    name = re.sub("images", "labels", Path(path).name).replace("idx3", "idx1").replace("idx4", "idx1")
    if name == Path(path).name:
        return None
    plain = str(Path(path).with_name(name)).removesuffix(".gz")
    found = next((file for file in (plain, f"{plain}.gz") if Path(file).is_file()), None)
    if found is None:
        return None
    codes = _read_array(found)
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise DataError(f"{found}: holds no labels: one axis of whole numbers is expected")
    return Labels(codes.astype(np.int64), {int(code): str(code) for code in np.unique(codes)}, are_in_file=True)


def _read_array(path: str) -> Array:
    size = Path(path).stat().st_size
    with damage_rejected(path, "IDX"):
        if path.lower().endswith(".gz"):
            with gzip.open(path) as stream:
                return _inflated(stream, size, path)
        with Path(path).open("rb") as stream:
            dtype, shape = _read_header(stream)
            start = stream.tell()
            _require_size(size - start, dtype, shape)
            if size >= MAPPED_BYTES:
                return _native(mapped(stream, dtype, shape, start))
            return _native(np.frombuffer(stream.read(), dtype).reshape(shape))


def _inflated(stream: gzip.GzipFile, compressed: int, path: str) -> Array:
    """The array in a compressed stream; never more memory than its header declares, and that not if it is too much."""
    dtype, shape = _read_header(stream)
    declared = math.prod(shape) * dtype.itemsize
    require_room(path, declared, compressed, f"its array of shape {shape}")
    values, left = Filling(declared, (), np.dtype(np.uint8)), declared
    while chunk := stream.read(min(_CHUNK, left)):
        values.put(np.frombuffer(chunk, np.uint8))
        left -= len(chunk)
    _require_size(declared - left + len(stream.read(1)), dtype, shape)  # the last read verifies the checksum too
    return _native(values.rows().view(dtype).reshape(shape))


def _native(array: Array) -> Array:
    """In the byte order of this machine; no copy of bytes."""
    return np.asarray(array, array.dtype.newbyteorder("="))


def _read_header(stream: IO[bytes] | gzip.GzipFile) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    """Type and shape of the array in a stream."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= 4:
        raise ValueError("it does not begin as one")
    axes = stream.read(4 * magic[3])
    if len(axes) < 4 * magic[3]:
        raise ValueError("it ends in its header")
    return np.dtype(_DTYPES[magic[2]]), tuple(np.frombuffer(axes, ">u4").tolist())


def _require_size(size: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
    declared = math.prod(shape) * dtype.itemsize
    if size != declared:
        there = "more are" if size > declared else f"{size} are"
        raise ValueError(f"its header declares {declared} bytes of data (shape {shape}), and {there} there")
