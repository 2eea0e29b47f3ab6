"""Parquet files and folders, Arrow IPC files and streams (Feather), and the way from an Arrow table to rows."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import accumulate, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lwgan_dist.data.blocks import BLOCK_ELEMENTS, Array, Filling
from lwgan_dist.data.files.bounds import require_room, require_width
from lwgan_dist.data.files.ipc_bytes import unpacked_bytes
from lwgan_dist.data.files.loading import (
    MAPPED_BYTES,
    ROW_NAMES,
    Labels,
    Loaded,
    Place,
    Reading,
    ReadOptions,
    columns_hint,
    damage_rejected,
    drop_hint,
    files_below,
    quoted,
    require_numbers,
    row_number,
    shortened,
    used_columns,
)
from lwgan_dist.data.files.pictures import PICTURE_SUFFIXES, Picture, decoded
from lwgan_dist.errors import DataError

PARQUET_SUFFIXES = (".parquet", ".pq")
IPC_SUFFIXES = (".arrow", ".feather", ".ipc")

LABEL = "label"
"""The column of the classes of images, or of rows from which some classes are chosen."""

LABEL_NAMES = b"lwgan_dist.label_names"
"""Key of the schema's metadata under which the names of the classes stand: {code: name} as JSON."""

_FILL_ROWS = 4096
"""Rows that are copied from columns into rows in one go: few enough to stay in the cache."""

_FILL_NUMBERS = 1 << 23
"""Numbers in them at most: tables of many columns are read in few pieces, for each costs something a column."""

_LARGE_AT_ONCE, _AT_ONCE_BYTES = 64, 1 << 26
"""Pictures, lists or texts that are read from a Parquet file in one go, and bytes that they may take if each is as
large as the largest part of a column, for a dictionary repeats one that is stored once.
"""


_LABEL_BYTES = 32
"""Of a label while labels are numbered."""

Batches = Callable[[], Iterable[pa.RecordBatch]]
"""Reads the columns to use, from the first row on."""


class _UnequalError(Exception):
    """Lists of several lengths: which one, and how long it is."""


class _Layout(NamedTuple):
    """How columns become rows.

    Attributes:
        dtype: of the rows.
        shape: of a row.
        names: of the numbers of a row.
        lists: lengths of the lists, one in the other, in which the numbers of a row are stored; () of a column each.
        has_gaps: whether values are missing; they become NaN.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    names: tuple[str, ...]
    lists: tuple[int, ...] = ()
    has_gaps: bool = False


def read_parquet(path: str, options: ReadOptions) -> Loaded:
    """The rows of a Parquet file, or of all Parquet files in a folder in the order of their names.

    A column of pictures as bytes, or as structures {bytes, path} as Hugging Face writes them, is decoded; if it is the
    only one, it is what is read unless columns are chosen, as is a column of tensors or of lists of one length beside
    none but `LABEL` and what holds no numbers. Otherwise columns that hold no numbers are left out, as is an index of
    pandas; categories of numbers are numbers. Folders below the folder are entered; what begins with ``.`` or ``_`` is
    left out; ``name=value`` in the name of a folder is not a column. Page checksums are verified where the file has
    them. Rows are decoded some at a time, see `to_rows` for their type and shape.

    Args:
        path: file or folder.
        options: the columns to use.

    Raises:
        DataError: damaged, differing schemas, or columns that do not exist or that were chosen and are not numeric.
    """
    is_folder = Path(path).is_dir()
    files = sorted(parquet_files(path)) if is_folder else [path]
    if not files:
        raise DataError(
            f"{path}: a folder without Parquet files or pictures ({', '.join(PARQUET_SUFFIXES + PICTURE_SUFFIXES)})"
        )
    if is_folder:
        _refuse_results(path, files)
    schemas, counts = zip(*map(_read_schema, files), strict=True)
    _require_equal(list(schemas), files)
    names, left_out = _choose(schemas[0], options, path)
    if not sum(counts):
        return Loaded(np.empty((0, len(names))), tuple(names))
    place = _place_in_files(files, counts) if is_folder else row_number
    large = [name for name in names if not _is_number(schemas[0].field(name).type)]
    packed, few = _on_disk(files), _at_once(files, large, path)
    if _holds_pictures(schemas[0], names):
        return _of_pictures(_batches(files, names, few), sum(counts), names[0], packed, path, place)
    layout = _layout(schemas[0], names, path, place, lambda: _batches(files, names, few))
    _require_room(layout, sum(counts), path, packed)
    limit = BLOCK_ELEMENTS if layout.lists else _FILL_NUMBERS
    size = max(1, min(_FILL_ROWS, limit // len(layout.names)))
    with damage_rejected(path, "Parquet"):
        rows = _fill(lambda: _batches(files, names, size), sum(counts), layout, path, place)
    return Loaded(rows, layout.names, place, are_columns=not layout.lists, reading=Reading(left_out=left_out))


def read_ipc(path: str, options: ReadOptions) -> Loaded:
    """The rows of an Arrow IPC file or stream; see `read_parquet`.

    A large file (`MAPPED_BYTES`) is mapped: if it is not compressed and holds one batch of tensors and nothing else,
    these are the rows, and are not copied.

    Args:
        path: the file.
        options: the columns to use.

    Raises:
        DataError: damaged, or columns that do not exist or that were chosen and are not numeric.
    """
    packed = Path(path).stat().st_size
    opened = pa.memory_map if packed >= MAPPED_BYTES else pa.OSFile
    with damage_rejected(path, "Arrow IPC"), opened(path) as file:
        require_room(path, unpacked_bytes(path), packed)
        schema = _open_ipc(file, None).schema
        names, left_out = _choose(schema, options, path)
        fields = None if names == schema.names else [schema.get_field_index(name) for name in names]  # None: no copy
        table = _read_ipc(_open_ipc(file, fields), path, packed).select(names)
        table.validate(full=True)
    if table.num_rows and _holds_pictures(table.schema, names):
        return _of_pictures(table.to_batches(), table.num_rows, names[0], packed, path, row_number)
    return to_rows(table, path, row_number, packed)._replace(reading=Reading(left_out=left_out))


def arrow_labels(path: str, options: ReadOptions) -> tuple[Labels | None, ReadOptions]:
    """The column `LABEL` of a Parquet file or folder, or of an Arrow file, and what is left to be read.

    Names of the classes come from the schema, where `lwgan_dist.data.importing` or Hugging Face's library wrote them.

    Args:
        path: file or folder.
        options: the columns to use; of all, that of the labels is left out.

    Raises:
        DataError: damaged, or labels that are neither whole numbers nor texts, or that are missing.
    """
    is_ipc = path.lower().endswith(IPC_SUFFIXES)
    files = [path] if is_ipc or not Path(path).is_dir() else sorted(parquet_files(path))
    schema = _ipc_schema(path) if is_ipc else _read_schema(files[0])[0]
    if schema.names.count(LABEL) != 1:
        return None, options
    if options.columns is None:
        options = options._replace(drop=[*(options.drop or []), LABEL])
    if not is_ipc:
        _at_once(files, [LABEL], path)  # refuses texts that would become too much
        require_room(path, _LABEL_BYTES * sum(_read_schema(file)[1] for file in files), _on_disk(files), "its labels")
    with damage_rejected(path, "Arrow IPC" if is_ipc else "Parquet"):
        parts = [_read_ipc_column(path)] if is_ipc else list(map(_read_parquet_labels, files))
        values = pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)
    require_room(path, _LABEL_BYTES * len(values), _on_disk(files), "its labels")
    return _coded(values, _class_names(schema), path), options


def _coded(values: pa.ChunkedArray, names: dict[int, str], source: str) -> Labels:
    """Labels of a column; texts are numbered in their order."""
    if _is_text(_element_type(values.type)):
        return _numbered(values, source)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if values.null_count:
        raise _missing_label(values, source)
    if not pa.types.is_integer(values.type):
        raise DataError(f"{source}: column {quoted(LABEL)} is {values.type}; labels are whole numbers or texts")
    codes = values.to_numpy().astype(np.int64)
    there = np.unique(codes).tolist()
    return Labels(codes, {code: names.get(code, str(code)) for code in there}, are_in_file=True)


def _numbered(values: pa.ChunkedArray, source: str) -> Labels:
    """Labels that are texts, each of which is looked at once, however often it is repeated."""
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    indices, texts = list[pa.Array](), list[str | None]()
    for chunk in encoded.chunks:
        indices.append(pc.add(chunk.indices.cast(pa.int64()), len(texts)))
        texts += chunk.dictionary.to_pylist()
    places = pa.chunked_array(indices, pa.int64())
    used = {texts[i] if i is not None else None for i in places.unique().to_pylist()}
    if None in used:
        missing = [i for i, text in enumerate(texts) if text is None]
        raise _missing_label(pc.if_else(pc.is_in(places, pa.array(missing, pa.int64())), None, places), source)
    names = sorted(text for text in used if text is not None)
    code = {text: i for i, text in enumerate(names)}
    codes = np.array([code.get(text or "", 0) for text in texts], np.int64)
    return Labels(codes[places.to_numpy()], dict(enumerate(names)))


def _class_names(schema: pa.Schema) -> dict[int, str]:
    """Names of the classes by code: ours, or those of Hugging Face's ``ClassLabel``; none where there are none."""
    metadata = schema.metadata or {}
    with suppress(KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {int(code): str(name) for code, name in json.loads(metadata[LABEL_NAMES]).items()}
    with suppress(KeyError, TypeError, ValueError, RecursionError):
        return dict(enumerate(map(str, json.loads(metadata[b"huggingface"])["info"]["features"][LABEL]["names"])))
    return {}


def _ipc_schema(path: str) -> pa.Schema:
    with damage_rejected(path, "Arrow IPC"), pa.OSFile(path) as file:
        return _open_ipc(file, None).schema


def _read_ipc_column(path: str) -> pa.ChunkedArray:
    packed = Path(path).stat().st_size
    require_room(path, unpacked_bytes(path), packed)
    with pa.OSFile(path) as file:
        reader = _open_ipc(file, [_ipc_schema(path).get_field_index(LABEL)])
        return _read_ipc(reader, path, packed).column(0)


def _read_ipc(reader: Any, path: str, packed: int) -> pa.Table:
    """All batches; a file may name one any number of times."""
    is_stream, batches, size = isinstance(reader, pa.ipc.RecordBatchStreamReader), list[pa.RecordBatch](), 0
    for batch in reader if is_stream else map(reader.get_batch, range(reader.num_record_batches)):
        size += sum(_own_values(column).get_total_buffer_size() for column in batch.columns)
        require_room(path, size, packed)
        batches.append(batch)
    return pa.Table.from_batches(batches, batches[0].schema if batches else reader.schema)


def _own_values(column: pa.Array) -> pa.Array:
    """What a batch alone holds of a column: batches share a dictionary."""
    return column.indices if pa.types.is_dictionary(column.type) else column


def to_rows(table: pa.Table, source: str, place: Place, packed: int | None = None) -> Loaded:
    """The rows of an Arrow table.

    A single column ``name`` of fixed-shape tensors, or of lists of one length, nested or not, gives rows of the shape
    in which they are stored; their numbers are called ``name_0``, ``name_1``, ... Rows are of the type of the columns
    where all are of one, float32 if all are float16 or float32, otherwise float64, as of decimals and of whole numbers
    of which one is missing. What is missing becomes NaN.

    Args:
        table: the columns to use.
        source: the file, for messages.
        place: names the place of a row in the file.
        packed: bytes that it takes on the disk, where it may become too much.

    Raises:
        DataError: a column that is not numeric, lists of several lengths, or rows that would become too much.
    """
    if table.num_rows == 0:
        return Loaded(np.empty((0, table.num_columns)), tuple(table.column_names))
    layout = _layout(table.schema, table.column_names, source, place, table.to_batches)
    if packed is not None:
        _require_room(layout, table.num_rows, source, packed)
    if layout.lists and table.column(0).num_chunks == 1:
        with _unequal_rejected(layout, source, place):
            values = _numbers(table.column(0).chunk(0), layout.lists, has_gaps=False)
        if values is not None:  # not copied
            return Loaded(values.reshape(table.num_rows, *layout.shape), layout.names, place, are_columns=False)
    batches = partial(table.to_batches, max_chunksize=_FILL_ROWS)
    rows = _fill(batches, table.num_rows, layout, source, place)
    return Loaded(rows, layout.names, place, are_columns=not layout.lists)


def _fill(batches: Batches, count: int, layout: _Layout, source: str, place: Place) -> Array:
    """The rows of so many in batches, which are read again, into floats, if one turns out to lack a value.

    Raises:
        DataError: lists of several lengths.
        ValueError: more or fewer rows.
    """
    rows, start = Filling(count, layout.shape, layout.dtype), 0
    for batch in batches():
        part = np.empty((batch.num_rows, *layout.shape), layout.dtype)
        for i, column in enumerate(batch.columns):
            with _unequal_rejected(layout, source, place, start):
                values = _numbers(column, layout.lists, layout.has_gaps)
            if values is None:
                dtype = layout.dtype if layout.dtype.kind == "f" else np.dtype(np.float64)
                return _fill(batches, count, layout._replace(dtype=dtype, has_gaps=True), source, place)
            if layout.lists:
                part = values.reshape(part.shape)
            else:
                part[:, i] = values
        rows.put(part)
        start += batch.num_rows
    return rows.rows()


def _layout(schema: pa.Schema, names: Sequence[str], source: str, place: Place, batches: Batches) -> _Layout:
    """How the columns of these names become rows.

    Raises:
        DataError: one is not numeric, or there are tensors and more.
    """
    types = [schema.field(name).type for name in names]
    elements = list(map(_element_type, types))
    for name, kind, element in zip(names, types, elements, strict=True):
        if not _is_number(element):
            raise _not_numeric(name, kind, source, place, batches)
        if _is_list(kind) and len(names) > 1:
            what = f"holds tensors and must stand alone: {columns_hint(name)}, or without it {drop_hint(name)}"
            raise DataError(f"{source}: column {quoted(name)} {what}")
    narrow = all(pa.types.is_float16(kind) or pa.types.is_float32(kind) for kind in elements)
    dtype = np.dtype(np.float32 if narrow else np.float64)
    if len(set(elements)) == 1 and not pa.types.is_decimal(elements[0]):
        dtype = np.dtype(elements[0].to_pandas_dtype())
    if not _is_list(types[0]):
        return _Layout(dtype, (len(names),), tuple(names))
    shape = _shape(types[0], batches)
    size = math.prod(shape)
    if not size:
        raise DataError(f"{source}: column {quoted(names[0])} holds no numbers, its lists are empty")
    lists = (size,) if isinstance(types[0], pa.FixedShapeTensorType) else shape
    return _Layout(dtype, shape, tuple(f"{names[0]}_{i}" for i in range(size)), lists)


def _require_room(layout: _Layout, count: int, source: str, packed: int) -> None:
    """Refuse rows that would become too much."""
    require_width(len(layout.names), source, packed)
    require_room(source, count * len(layout.names) * layout.dtype.itemsize, packed)


_OF_RESULTS = ("config.yaml", "env.json")
"""Files in every folder in which this program leaves results."""


def _refuse_results(path: str, files: Sequence[str]) -> None:
    """Refuse folders that hold tables of results, such as scores, which would be read as if they were data.

    Raises:
        DataError: a file lies in a folder of a run, study, search or comparison.
    """
    for folder in sorted({Path(file).parent for file in files}):
        if all((folder / name).is_file() for name in _OF_RESULTS):
            raise DataError(
                f"{path}: {folder} holds results of lwgan-dist, not data; name the file or folder of the data, or "
                "one of the result's tables by its own name"
            )


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


def _at_once(files: Sequence[str], names: list[str], source: str) -> int:
    """How many rows are decoded in one go of columns of pictures, lists or texts.

    Raises:
        DataError: they would become too much, by what the files say of them.
    """
    sizes = [size for path in files for name in names for size in _chunk_bytes(path, name)]
    require_room(source, sum(sizes), _on_disk(files))
    return max(1, min(_LARGE_AT_ONCE, _AT_ONCE_BYTES // max([1, *sizes])))


def _chunk_bytes(path: str, name: str) -> Iterator[int]:
    """Bytes that each part of a column becomes, as the file has it."""
    with damage_rejected(path, "Parquet"), pa.memory_map(path) as file:
        opened = pq.ParquetFile(file)
        element = _element_type(opened.schema_arrow.field(name).type)
        width = element.byte_width if pa.types.is_integer(element) or pa.types.is_floating(element) else 1
        leaves = [opened.schema.column(i).path for i in range(len(opened.schema))]
        used = [i for i, leaf in enumerate(leaves) if leaf == name or leaf.startswith(f"{name}.")]
        for group, i in product(range(opened.num_row_groups), used):
            chunk = opened.metadata.row_group(group).column(i)
            yield max(chunk.num_values * width, chunk.total_uncompressed_size)


def _on_disk(files: Sequence[str]) -> int:
    return sum(map(os.path.getsize, files))


def _read_parquet_labels(path: str) -> pa.ChunkedArray:
    """The column `LABEL`; texts as codes, for one may be repeated any number of times."""
    with damage_rejected(path, "Parquet"), pa.memory_map(path) as file:
        opened = pq.ParquetFile(file, page_checksum_verification=True, read_dictionary=[LABEL])
        return opened.read(columns=[LABEL]).column(LABEL)


def _holds_pictures(schema: pa.Schema, names: Sequence[str]) -> bool:
    """Whether what is chosen is a column of encoded pictures."""
    return len(names) == 1 and _is_picture(schema.field(names[0]).type)


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_picture(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _of_pictures(
    batches: Iterable[pa.RecordBatch], count: int, name: str, packed: int, source: str, place: Place
) -> Loaded:
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

    rows = decoded(pictures(), count, packed, source)
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


def _choose(schema: pa.Schema, options: ReadOptions, source: str) -> tuple[list[str], dict[str, str]]:
    """The columns to use, and why others were left out."""
    names = schema.names  # made anew at every look
    chosen = used_columns(names, options, source)
    if options.columns is not None:
        return [names[i] for i in chosen], {}
    fields, index = [schema.field(i) for i in chosen], _pandas_index(schema, source)
    whys = {field.name: "an index" if field.name in index else _why_not(field) for field in fields}
    pictures = [name for name, why in whys.items() if why == _PICTURES]
    if len(pictures) == 1:
        return pictures, {}
    left_out = {name: why for name, why in whys.items() if why}
    used = [field.name for field in fields if not whys[field.name]]
    tensors = [field.name for field in fields if not whys[field.name] and _is_list(field.type)]
    if len(tensors) == 1 and {*used} == {*tensors, LABEL}:
        return tensors, left_out
    require_numbers(used, left_out, source)
    return used, left_out


def _pandas_index(schema: pa.Schema, source: str) -> set[str]:
    with damage_rejected(source, "pandas metadata"):
        metadata = schema.pandas_metadata
        index = metadata.get("index_columns", []) if isinstance(metadata, dict) else []
        return {name for name in index if isinstance(name, str)}


_PICTURES = "pictures"


def _why_not(field: pa.Field) -> str:
    """Why a column is not read unless it is chosen; empty if it is."""
    kind = _element_type(field.type)
    if field.name in ROW_NAMES:
        return "row names"
    if _is_number(kind):
        return ""
    if _is_picture(field.type):
        return _PICTURES
    if pa.types.is_temporal(kind):
        return "times"
    if pa.types.is_null(kind):
        return "empty"
    return "text" if _is_text(kind) else shortened(str(field.type), 60)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _storage(values: pa.Array) -> pa.Array:
    """Tensors of a fixed shape as the lists that they are stored as; any other values as they are."""
    return values.storage if isinstance(values.type, pa.FixedShapeTensorType) else values


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(is_list or isinstance(kind, pa.FixedShapeTensorType))


def _shape(kind: pa.DataType, batches: Batches) -> tuple[int, ...]:
    """The shape of what a column of tensors or lists holds: by its type or, of lists of any length, its first one."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return tuple(kind.shape) or (1,)
    shape, inner = list[int](), kind
    while pa.types.is_fixed_size_list(inner):
        shape, inner = [*shape, inner.list_size], inner.value_type
    if not _is_list(inner):
        return tuple(shape)
    values = next((part for batch in batches() if len(part := _valid(batch.column(0)))), None)
    shape = []
    while values is not None and _is_list(values.type):
        first = values[0].values  # not as Python has it, which takes many times the memory
        shape.append(len(first))
        values = _valid(first) if first.null_count < len(first) else None
    return tuple(shape)


def _valid(values: pa.Array) -> pa.Array:
    return values.drop_null() if values.null_count else values


def _element_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind) or _is_list(kind):
        return _element_type(kind.value_type)
    return kind


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def _missing_label(column: pa.ChunkedArray, source: str) -> DataError:
    row = int(pc.index(column.is_null(), True).as_py())
    return DataError(f"{source}: column {quoted(LABEL)}, {row_number(row)}: missing value")


@contextmanager
def _unequal_rejected(layout: _Layout, source: str, place: Place, start: int = 0) -> Iterator[None]:
    """Names the row, counted from ``start``, of a list of another length."""
    try:
        yield
    except _UnequalError as error:
        row, length, expected = error.args
        name = layout.names[0].removesuffix("_0")
        what = f"a list of {length}, {expected} are expected; leave the column out: {drop_hint(name)}"
        raise DataError(f"{source}: column {quoted(name)}, {place(start + row)}: {what}") from None


def _not_numeric(name: str, kind: pa.DataType, source: str, place: Place, batches: Batches) -> DataError:
    hint = "leave it out of data.columns"
    if not _is_text(kind):
        return DataError(f"{source}: column {quoted(name)} is {shortened(str(kind), 60)}, not numeric; {hint}")
    values = (value.as_py() for batch in batches() for value in batch.column(name))
    row, value = next(((i, value) for i, value in enumerate(values) if not _reads_as_number(value)), (0, ""))
    where = f"column {quoted(name)}, {place(row)}"
    return DataError(f"{source}: {where}: text, not a number (got {quoted(value)}); {hint}")


def _reads_as_number(text: str | None) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _numbers(values: pa.Array, lists: tuple[int, ...], has_gaps: bool) -> Array | None:
    """All numbers in an array of numbers, or of lists of these lengths, in a row. Not copied where possible.

    A missing one is NaN or, unless there may be gaps, makes it None.

    Raises:
        _UnequalError: a list of another length, with its row.
    """
    values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else _storage(values)
    if values.null_count and not has_gaps:
        return None
    if not lists:
        return _plain_numbers(values)
    if not pa.types.is_fixed_size_list(values.type):
        _require_length(values, lists[0])
    try:
        numbers = _numbers(values.flatten(), lists[1:], has_gaps)
    except _UnequalError as error:
        row, *lengths = error.args
        raise _UnequalError(int(np.flatnonzero(values.is_valid())[row // lists[0]]), *lengths) from None
    if numbers is None or not values.null_count:
        return numbers
    filled = np.full((len(values), math.prod(lists)), np.nan, np.result_type(numbers, np.float16))
    filled[np.asarray(values.is_valid())] = numbers.reshape(-1, filled.shape[1])
    return filled.ravel()


def _plain_numbers(values: pa.Array) -> Array:
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if values.null_count and pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _require_length(lists: pa.Array, length: int) -> None:
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    unequal = np.flatnonzero((lengths != length) & ~np.isnan(lengths.astype(np.float64)))
    if len(unequal):
        raise _UnequalError(int(unequal[0]), int(lengths[unequal[0]]), length)
