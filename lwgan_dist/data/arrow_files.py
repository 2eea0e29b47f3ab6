"""Parquet files and folders, Arrow IPC files and streams (Feather), and the way from an Arrow table to rows."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lwgan_dist.data.blocks import BLOCK_ELEMENTS, Array, Filling
from lwgan_dist.data.loading import (
    CHOOSE_HINT,
    MAPPED_BYTES,
    Labels,
    Loaded,
    Place,
    choose_columns,
    damage_rejected,
    files_below,
    quoted,
    row_number,
    shortened,
)
from lwgan_dist.data.pictures import PICTURE_SUFFIXES, Picture, decoded
from lwgan_dist.errors import DataError

PARQUET_SUFFIXES = (".parquet", ".pq")
IPC_SUFFIXES = (".arrow", ".feather", ".ipc")

LABEL = "label"
"""The column of the classes of images, or of rows from which some classes are chosen."""

LABEL_NAMES = b"lwgan_dist.label_names"
"""Key of the schema's metadata under which the names of the classes stand: {code: name} as JSON."""

_FILL_ROWS = 4096
"""Rows that are copied from columns into rows in one go: few enough to stay in the cache."""

_PICTURES_AT_ONCE = 64
"""Encoded pictures that are read from a Parquet file in one go."""


class _Layout(NamedTuple):
    """How columns become rows.

    Attributes:
        dtype: of the rows.
        shape: of a row.
        names: of the numbers of a row.
        is_tensor: whether rows are the tensors of a single column.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    names: tuple[str, ...]
    is_tensor: bool


def read_parquet(path: str, columns: list[str] | None) -> Loaded:
    """The rows of a Parquet file, or of all Parquet files in a folder in the order of their names.

    A column of pictures as bytes, or as structures {bytes, path} as Hugging Face writes them, is decoded; if it is the
    only one, it is what is read unless ``columns`` says otherwise, as is a column of tensors beside none but `LABEL`.
    Folders below the folder are entered; what begins with ``.`` or ``_`` is left out; ``name=value`` in the name of a
    folder is not a column. An index that pandas wrote is a column only if ``columns`` names it. Page checksums are
    verified where the file has them. Rows are decoded some at a time, see `to_rows` for their type and shape.

    Args:
        path: file or folder.
        columns: names of the columns to use, in this order; all if None.

    Raises:
        DataError: damaged, differing schemas, or columns that do not exist or are not numeric.
    """
    is_folder = Path(path).is_dir()
    files = sorted(parquet_files(path)) if is_folder else [path]
    if not files:
        raise DataError(
            f"{path}: a folder without Parquet files or pictures ({', '.join(PARQUET_SUFFIXES + PICTURE_SUFFIXES)})"
        )
    schemas, counts = zip(*map(_read_schema, files), strict=True)
    _require_equal(list(schemas), files)
    names = _choose(schemas[0], columns, path)
    if not sum(counts):
        return Loaded(np.empty((0, len(names))), tuple(names))
    place = _place_in_files(files, counts) if is_folder else row_number
    if _holds_pictures(schemas[0], names):
        batches = _batches(files, names, _PICTURES_AT_ONCE)
        return _of_pictures(batches, sum(counts), names[0], path, place)
    layout = _layout(schemas[0], names)
    with damage_rejected(path, "Parquet"):
        size = max(1, min(_FILL_ROWS, BLOCK_ELEMENTS // max(1, len(layout.names)))) if layout else 0
        rows = _fill(_batches(files, names, size), sum(counts), layout) if layout else None
    if layout is None or rows is None:
        raise _fault(pa.concat_tables([_read_parquet_file(file, names) for file in files]), path, place)
    return Loaded(rows, layout.names, place)


def read_ipc(path: str, columns: list[str] | None) -> Loaded:
    """The rows of an Arrow IPC file or stream; see `read_parquet`.

    A large file (`MAPPED_BYTES`) is mapped: if it is not compressed and holds one batch of tensors and nothing else,
    these are the rows, and are not copied.

    Args:
        path: the file.
        columns: names of the columns to use, in this order; all if None.

    Raises:
        DataError: damaged, or columns that do not exist or are not numeric.
    """
    opened = pa.memory_map if Path(path).stat().st_size >= MAPPED_BYTES else pa.OSFile
    with damage_rejected(path, "Arrow IPC"), opened(path) as file:
        schema = _open_ipc(file, None).schema
        names = _choose(schema, columns, path)
        fields = None if names == schema.names else [schema.get_field_index(name) for name in names]  # None: no copy
        table = _open_ipc(file, fields).read_all().select(names)
        table.validate(full=True)
    if table.num_rows and _holds_pictures(table.schema, names):
        return _of_pictures(table.to_batches(), table.num_rows, names[0], path, row_number)
    return to_rows(table, path, row_number)


def arrow_labels(path: str, columns: list[str] | None) -> tuple[Labels | None, list[str]]:
    """The column `LABEL` of a Parquet file or folder, or of an Arrow file, and the columns that are left to be read.

    Names of the classes come from the schema, where `lwgan_dist.data.importing` or Hugging Face's library wrote them.

    Args:
        path: file or folder.
        columns: names of the columns to use; all but the labels if None.

    Raises:
        DataError: damaged, or labels that are neither whole numbers nor texts, or that are missing.
    """
    is_ipc = path.lower().endswith(IPC_SUFFIXES)
    files = [path] if is_ipc or not Path(path).is_dir() else sorted(parquet_files(path))
    schema = _ipc_schema(path) if is_ipc else _read_schema(files[0])[0]
    if schema.names.count(LABEL) != 1:
        return None, _choose(schema, columns, path)
    rest = schema.remove(schema.get_field_index(LABEL)) if columns is None else schema
    with damage_rejected(path, "Arrow IPC" if is_ipc else "Parquet"):
        parts = [_read_ipc_column(path)] if is_ipc else [_read_parquet_file(file, [LABEL]).column(0) for file in files]
        values = pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)
    return _coded(values, _class_names(schema), path), _choose(rest, columns, path)


def _coded(values: pa.ChunkedArray, names: dict[int, str], source: str) -> Labels:
    """Labels of a column; texts are numbered in their order."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if values.null_count:
        raise _missing(values, LABEL, source, row_number)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        texts, codes = np.unique(np.array(values.to_pylist(), dtype=str), return_inverse=True)
        return Labels(codes.astype(np.int64), dict(enumerate(texts.tolist())))
    if not pa.types.is_integer(values.type):
        raise DataError(f"{source}: column {quoted(LABEL)} is {values.type}; labels are whole numbers or texts")
    codes = values.to_numpy().astype(np.int64)
    there = np.unique(codes).tolist()
    return Labels(codes, {code: names.get(code, str(code)) for code in there}, are_in_file=True)


def _class_names(schema: pa.Schema) -> dict[int, str]:
    """Names of the classes by code: ours, or those of Hugging Face's ``ClassLabel``; none where there are none."""
    metadata = schema.metadata or {}
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        return {int(code): str(name) for code, name in json.loads(metadata[LABEL_NAMES]).items()}
    with suppress(KeyError, TypeError, ValueError):
        return dict(enumerate(map(str, json.loads(metadata[b"huggingface"])["info"]["features"][LABEL]["names"])))
    return {}


def _ipc_schema(path: str) -> pa.Schema:
    with damage_rejected(path, "Arrow IPC"), pa.OSFile(path) as file:
        return _open_ipc(file, None).schema


def _read_ipc_column(path: str) -> pa.ChunkedArray:
    with pa.OSFile(path) as file:
        return _open_ipc(file, [_ipc_schema(path).get_field_index(LABEL)]).read_all().column(0)


def to_rows(table: pa.Table, source: str, place: Place) -> Loaded:
    """The rows of an Arrow table.

    A single column ``name`` of fixed-shape tensors, or of lists of a fixed size, nested or not, gives rows of the shape
    in which they are stored; their numbers are called ``name_0``, ``name_1``, ... Rows are of the type of the columns
    where all are of one, float32 if all are float16 or float32, otherwise float64, as of decimals.

    Args:
        table: the columns to use.
        source: the file, for messages.
        place: names the place of a row in the file.

    Raises:
        DataError: a missing value, or a column that is not numeric.
    """
    if table.num_rows == 0:
        return Loaded(np.empty((0, table.num_columns)), tuple(table.column_names))
    layout = _layout(table.schema, table.column_names)
    rows = _all_rows(table, layout) if layout else None
    if layout is None or rows is None:
        raise _fault(table, source, place)
    return Loaded(rows, layout.names, place)


def _all_rows(table: pa.Table, layout: _Layout) -> Array | None:
    """The rows of a table; None if a value is missing. A single batch of tensors is not copied."""
    if layout.is_tensor and table.column(0).num_chunks == 1:
        values = _numbers(table.column(0).chunk(0))
        return None if values is None else values.reshape(table.num_rows, *layout.shape)
    return _fill(table.to_batches(max_chunksize=_FILL_ROWS), table.num_rows, layout)


def _fill(batches: Iterable[pa.RecordBatch], count: int, layout: _Layout) -> Array | None:
    """The rows of so many in batches; None if a value is missing.

    Raises:
        ValueError: more or fewer rows.
    """
    rows = Filling(count, layout.shape, layout.dtype)
    for batch in batches:
        part = np.empty((batch.num_rows, *layout.shape), layout.dtype)
        for i, column in enumerate(batch.columns):
            values = _numbers(column)
            if values is None:
                return None
            if layout.is_tensor:
                part = values.reshape(part.shape)
            else:
                part[:, i] = values
        rows.put(part)
    return rows.rows()


def _layout(schema: pa.Schema, names: Sequence[str]) -> _Layout | None:
    """How the columns of these names become rows; None if they do not."""
    types = [schema.field(name).type for name in names]
    elements, shape = [_element_type(kind) for kind in types], _shape(types[0])
    if not all(map(_is_number, elements)) or (len(types) > 1 and any(map(_shape, types))):
        return None
    narrow = all(pa.types.is_float16(kind) or pa.types.is_float32(kind) for kind in elements)
    dtype = np.dtype(np.float32 if narrow else np.float64)
    if len(set(elements)) == 1 and not pa.types.is_decimal(elements[0]):
        dtype = np.dtype(elements[0].to_pandas_dtype())
    if not shape:
        return _Layout(dtype, (len(names),), tuple(names), is_tensor=False)
    return _Layout(dtype, shape, tuple(f"{names[0]}_{i}" for i in range(math.prod(shape))), is_tensor=True)


def parquet_files(folder: str) -> Iterator[str]:
    """All Parquet files in a folder and below it, in any order; what begins with ``.`` or ``_`` is left out."""
    return files_below(folder, PARQUET_SUFFIXES)


def _read_schema(path: str) -> tuple[pa.Schema, int]:
    """Columns and number of rows."""
    with damage_rejected(path, "Parquet"), pa.memory_map(path) as file:
        opened = pq.ParquetFile(file)
        return opened.schema_arrow, opened.metadata.num_rows


def _batches(files: Sequence[str], names: list[str], size: int) -> Iterator[pa.RecordBatch]:
    """The named columns, so many rows at once: decoding takes several times the memory of what it gives."""
    for path in files:
        with damage_rejected(path, "Parquet"), pa.memory_map(path) as file:
            opened = pq.ParquetFile(file, page_checksum_verification=True)
            for batch in opened.iter_batches(size, columns=names):
                yield batch.select(names)


def _read_parquet_file(path: str, names: list[str]) -> pa.Table:
    with damage_rejected(path, "Parquet"), pa.memory_map(path) as file:
        table = pq.ParquetFile(file, page_checksum_verification=True).read(columns=names)
        return pa.table([table.column(name) for name in names], names=names)  # without metadata, which may differ


def _holds_pictures(schema: pa.Schema, names: Sequence[str]) -> bool:
    """Whether what is chosen is a column of encoded pictures."""
    return len(names) == 1 and _is_picture(schema.field(names[0]).type)


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_picture(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _of_pictures(batches: Iterable[pa.RecordBatch], count: int, name: str, source: str, place: Place) -> Loaded:
    """The rows of a column of encoded pictures."""

    def pictures() -> Iterator[Picture]:
        row = 0
        for batch in batches:
            for value in batch.column(0):
                where = f"{source}: column {quoted(name)}, {place(row)}"
                content = value.as_py()
                content = content.get("bytes") if isinstance(content, dict) else content
                if content is None:
                    raise DataError(f"{where}: missing value (no bytes of a picture)")
                yield Picture(content, where)
                row += 1

    rows = decoded(pictures(), count, source)
    return Loaded(rows, tuple(f"{name}_{i}" for i in range(rows[0].size)), place, are_pictures=True)


def _require_equal(schemas: list[pa.Schema], files: list[str]) -> None:
    first = dict(zip(schemas[0].names, schemas[0].types, strict=True))
    for schema, file in zip(schemas, files, strict=True):
        other = dict(zip(schema.names, schema.types, strict=True))
        for name in [*first, *other]:
            if first.get(name) != other.get(name):
                type_here, type_in_first = other.get(name, "missing"), first.get(name, "missing")
                raise DataError(f"{file}: column {quoted(name)} is {type_here}, but {type_in_first} in {files[0]}")


def _place_in_files(files: Sequence[str], counts: Sequence[int]) -> Place:
    ends = list(accumulate(counts))

    def place(row: int) -> str:
        i = int(np.searchsorted(ends, row, side="right"))
        return f"row {row + 1} (row {row + 1 - ends[i] + counts[i]} of {files[i]})"

    return place


def _open_ipc(file: Any, fields: list[int] | None) -> Any:
    """A reader of the fields at the given positions, of all if None."""
    file.seek(0)
    opened = pa.ipc.open_file if file.read(6) == b"ARROW1" else pa.ipc.open_stream
    file.seek(0)
    return opened(file, options=pa.ipc.IpcReadOptions(included_fields=fields))


def _choose(schema: pa.Schema, columns: list[str] | None, source: str) -> list[str]:
    if columns is None:
        with damage_rejected(source, "pandas metadata"):
            metadata = schema.pandas_metadata
            index = metadata.get("index_columns", []) if isinstance(metadata, dict) else []
            columns = _values(schema, [name for name in schema.names if name not in index]) or None
    return [schema.names[i] for i in choose_columns(schema.names, columns, source)]


def _values(schema: pa.Schema, names: list[str]) -> list[str]:
    """The columns to use if none are named: the only one of pictures, or of tensors beside `LABEL`, or else all."""
    pictures = [field.name for field in schema if field.name in names and _is_picture(field.type)]
    if len(pictures) == 1:
        return pictures
    tensors = [field.name for field in schema if field.name in names and _shape(field.type)]
    return tensors if len(tensors) == 1 and {*names} == {*tensors, LABEL} else names


def _storage(values: pa.Array) -> pa.Array:
    """Tensors of a fixed shape as the lists that they are stored as; any other values as they are."""
    return values.storage if isinstance(values.type, pa.FixedShapeTensorType) else values


def _shape(kind: pa.DataType) -> tuple[int, ...]:
    """The shape of what a column of this type holds; () of single values."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return tuple(kind.shape) or (1,)
    return (kind.list_size, *_shape(kind.value_type)) if pa.types.is_fixed_size_list(kind) else ()


def _element_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.FixedShapeTensorType) or pa.types.is_fixed_size_list(kind):
        return _element_type(kind.value_type)
    return kind


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def _fault(table: pa.Table, source: str, place: Place) -> DataError:
    """Why a table cannot become rows."""
    names, types = table.column_names, [_element_type(kind) for kind in table.schema.types]
    if not any(map(_is_number, types)):
        listed = ", ".join(f"{quoted(name)} ({kind})" for name, kind in zip(names, types, strict=True))
        return DataError(f"{source}: no numeric column: {shortened(listed, 300)}")
    for name, column, element in zip(names, table.columns, types, strict=True):
        if _shape(column.type) and len(names) > 1:
            return DataError(f"{source}: column {quoted(name)} holds tensors and must stand alone; {CHOOSE_HINT}")
        if not _is_number(element) and not pa.types.is_null(element):
            return _not_numeric(column, name, source, place)
        if column.null_count:
            return _missing(column, name, source, place)
    return _missing_in_tensor(table.column(0), names[0], source, place)


def _missing(column: pa.ChunkedArray, name: str, source: str, place: Place) -> DataError:
    row = _first_null(column)
    more = f" ({column.null_count} in this column)" if column.null_count > 1 else ""
    return DataError(f"{source}: column {quoted(name)}, {place(row)}: missing value{more}")


def _missing_in_tensor(column: pa.ChunkedArray, name: str, source: str, place: Place) -> DataError:
    size, start = math.prod(_shape(column.type)), 0
    for chunk in column.chunks:
        values, inside = _storage(chunk), size
        while pa.types.is_fixed_size_list(values.type):
            inside //= values.type.list_size
            values = values.flatten()
            if values.null_count:
                row, element = divmod(_first_null(values) * inside, size)
                where = f"column {quoted(f'{name}_{element}')}, {place(start + row)}"
                return DataError(f"{source}: {where}: missing value")
        start += len(chunk)
    raise AssertionError("no value is missing")


def _first_null(values: pa.Array | pa.ChunkedArray) -> int:
    return int(pc.index(values.is_null(), True).as_py())


def _not_numeric(column: pa.ChunkedArray, name: str, source: str, place: Place) -> DataError:
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return DataError(f"{source}: column {quoted(name)} is {shortened(str(kind), 60)}, not numeric; {CHOOSE_HINT}")
    row = next((i for i, value in enumerate(column) if not _reads_as_number(value.as_py())), 0)
    where = f"column {quoted(name)}, {place(row)}"
    return DataError(f"{source}: {where}: text, not a number (got {quoted(column[row].as_py())}); {CHOOSE_HINT}")


def _reads_as_number(text: str | None) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _numbers(values: pa.Array) -> Array | None:
    """All numbers in an array of numbers or of tensors, in a row; None if one is missing. Not copied where possible."""
    values = _storage(values)
    while not values.null_count and pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    if values.null_count:
        return None
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False))
