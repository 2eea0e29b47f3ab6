"""Parquet files and folders, Arrow IPC files and streams (Feather), and the way from an Arrow table to rows."""

import os
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lwgan_dist.data.loading import (
    CHOOSE_HINT,
    Array,
    Loaded,
    Place,
    choose_columns,
    damage_rejected,
    quoted,
    row_number,
    shortened,
)
from lwgan_dist.errors import DataError

PARQUET_SUFFIXES = (".parquet", ".pq")

_FILL_ROWS = 4096
"""Rows that are copied from columns into rows in one go: few enough to stay in the cache."""


def read_parquet(path: str, columns: list[str] | None) -> Loaded:
    """The rows of a Parquet file, or of all Parquet files in a folder in the order of their names.

    Folders below the folder are entered; what begins with ``.`` or ``_`` is left out; ``name=value`` in the name of a
    folder is not a column. An index that pandas wrote is a column only if ``columns`` names it. Page checksums are
    verified where the file has them.

    Args:
        path: file or folder.
        columns: names of the columns to use, in this order; all if None.

    Raises:
        DataError: damaged, differing schemas, or columns that do not exist or are not numeric.
    """
    is_folder = Path(path).is_dir()
    files = sorted(_parquet_files(path)) if is_folder else [path]
    if not files:
        raise DataError(f"{path}: a folder without Parquet files ({', '.join(PARQUET_SUFFIXES)})")
    schemas = [_read_schema(file) for file in files]
    _require_equal(schemas, files)
    names = _choose(schemas[0], columns, path)
    tables = [_read_parquet_file(file, names) for file in files]
    place = _place_in_files(files, tables) if is_folder else row_number
    return to_rows(pa.concat_tables(tables), path, place)


def read_ipc(path: str, columns: list[str] | None) -> Loaded:
    """The rows of an Arrow IPC file or stream; see `read_parquet`.

    Args:
        path: the file.
        columns: names of the columns to use, in this order; all if None.

    Raises:
        DataError: damaged, or columns that do not exist or are not numeric.
    """
    with damage_rejected(path, "Arrow IPC"), pa.memory_map(path) as file:
        schema = _open_ipc(file, None).schema
        names = _choose(schema, columns, path)
        table = _open_ipc(file, [schema.get_field_index(name) for name in names]).read_all().select(names)
        table.validate(full=True)
    return to_rows(table, path, row_number)


def to_rows(table: pa.Table, source: str, place: Place) -> Loaded:
    """The rows of an Arrow table.

    A single column of fixed-shape tensors ``name`` gives the columns ``name_0``, ``name_1``, ... in the order in which
    the elements are stored. Rows are float32 if all columns are float16 or float32, otherwise float64.

    Args:
        table: the columns to use.
        source: the file, for messages.
        place: names the place of a row in the file.

    Raises:
        DataError: a missing value, or a column that is not numeric.
    """
    names = table.column_names
    if table.num_rows == 0:
        return Loaded(np.empty((0, len(names))), tuple(names))
    columns = [_storage(column) for column in table.columns]
    types = [_element_type(column.type) for column in columns]
    _require_numbers(columns, types, names, source, place)
    dtype = np.float32 if all(pa.types.is_float16(t) or pa.types.is_float32(t) for t in types) else np.float64
    if pa.types.is_fixed_size_list(columns[0].type):
        return _tensor_rows(columns[0], names[0], dtype, source, place)
    return Loaded(_fill(columns, names, dtype), tuple(names), place)


def _parquet_files(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in files:
            if name.lower().endswith(PARQUET_SUFFIXES) and not name.startswith((".", "_")):
                yield str(Path(parent, name))


def _read_schema(path: str) -> pa.Schema:
    with damage_rejected(path, "Parquet"), pa.memory_map(path) as file:
        return pq.ParquetFile(file).schema_arrow


def _read_parquet_file(path: str, names: list[str]) -> pa.Table:
    with damage_rejected(path, "Parquet"), pa.memory_map(path) as file:
        table = pq.ParquetFile(file, page_checksum_verification=True).read(columns=names)
        return pa.table([table.column(name) for name in names], names=names)  # without metadata, which may differ


def _require_equal(schemas: list[pa.Schema], files: list[str]) -> None:
    first = dict(zip(schemas[0].names, schemas[0].types, strict=True))
    for schema, file in zip(schemas, files, strict=True):
        other = dict(zip(schema.names, schema.types, strict=True))
        for name in [*first, *other]:
            if first.get(name) != other.get(name):
                here, there = other.get(name, "missing"), first.get(name, "missing")
                raise DataError(f"{file}: column {quoted(name)} is {here}, but {there} in {files[0]}")


def _place_in_files(files: list[str], tables: list[pa.Table]) -> Place:
    ends = list(accumulate(table.num_rows for table in tables))

    def place(row: int) -> str:
        i = int(np.searchsorted(ends, row, side="right"))
        return f"row {row + 1} (row {row + 1 - ends[i] + tables[i].num_rows} of {files[i]})"

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
            index = (schema.pandas_metadata or {}).get("index_columns", [])
            columns = [name for name in schema.names if name not in index] or None
    return [schema.names[i] for i in choose_columns(schema.names, columns, source)]


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of fixed-shape tensors as the lists that it is stored as; any other column as it is."""
    if not isinstance(column.type, pa.FixedShapeTensorType):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _element_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_fixed_size_list(kind) else kind


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def _require_numbers(
    columns: list[pa.ChunkedArray], types: list[pa.DataType], names: list[str], source: str, place: Place
) -> None:
    if not any(map(_is_number, types)):
        held = ", ".join(f"{quoted(name)} ({kind})" for name, kind in zip(names, types, strict=True))
        raise DataError(f"{source}: no numeric column: {shortened(held, 300)}")
    for name, column, element in zip(names, columns, types, strict=True):
        if pa.types.is_fixed_size_list(column.type) and len(columns) > 1:
            raise DataError(f"{source}: column {quoted(name)} holds tensors and must stand alone; {CHOOSE_HINT}")
        if not _is_number(element) and not pa.types.is_null(element):
            raise _not_numeric(column, name, source, place)
        if column.null_count:
            raise _missing(column, name, source, place)


def _missing(column: pa.ChunkedArray, name: str, source: str, place: Place) -> DataError:
    row = pc.index(column.is_null(), True).as_py()
    more = f" ({column.null_count} in this column)" if column.null_count > 1 else ""
    return DataError(f"{source}: column {quoted(name)}, {place(row)}: missing value{more}")


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


def _numbers(values: pa.Array) -> Array:
    """Values without nulls, shape (n,)."""
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _fill(columns: list[pa.ChunkedArray], names: list[str], dtype: type[np.floating[Any]]) -> Array:
    """The columns side by side, shape (n, p)."""
    rows = np.empty((len(columns[0]), len(columns)), dtype)
    start = 0
    for batch in pa.table(columns, names=names).to_batches(max_chunksize=_FILL_ROWS):
        for i, column in enumerate(batch.columns):
            rows[start : start + batch.num_rows, i] = _numbers(column)
        start += batch.num_rows
    return rows


def _tensor_rows(
    column: pa.ChunkedArray, name: str, dtype: type[np.floating[Any]], source: str, place: Place
) -> Loaded:
    size = column.type.list_size
    rows = np.empty((len(column), size), dtype)
    start = 0
    for chunk in column.chunks:
        values = chunk.flatten()
        if values.null_count:
            row, element = divmod(pc.index(values.is_null(), True).as_py(), size)
            where = f"column {quoted(f'{name}_{element}')}, {place(start + row)}"
            raise DataError(f"{source}: {where}: missing value")
        rows[start : start + len(chunk)] = _numbers(values).reshape(len(chunk), size)
        start += len(chunk)
    return Loaded(rows, tuple(f"{name}_{i}" for i in range(size)), place)
