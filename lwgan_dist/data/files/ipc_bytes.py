"""What the compressed buffers of an Arrow IPC file or stream say that they become, read before any is decompressed.

pyarrow gives each message as it lies in the file: its metadata, a flatbuffer that it has verified, and its body. A
compressed buffer in the body begins with its length when it is decompressed, eight bytes, -1 if it is stored as it is.
"""

from typing import Any

import numpy as np
import pyarrow as pa

_MAGIC = b"ARROW1"
_HEADER, _DATA, _BUFFERS, _COMPRESSION = 2, 1, 2, 3
"""Positions of the fields in the tables Message, DictionaryBatch (its data) and RecordBatch, by Arrow's format."""


def unpacked_bytes(path: str) -> int:
    """Bytes that the record batches and dictionaries of a file take when they are decompressed.

    Raises:
        pyarrow.ArrowException, OSError, ValueError: damaged.
    """
    with pa.memory_map(path) as file:
        file.seek(8 if file.read(len(_MAGIC)) == _MAGIC else 0)
        return sum(map(_of_message, pa.ipc.MessageReader.open_stream(file)))


def _of_message(message: Any) -> int:
    body, metadata = message.body, bytes(message.metadata)
    if message.type not in ("record batch", "dictionary") or not body:
        return 0
    batch = _table(metadata, _field(metadata, _table(metadata, 0), _HEADER))
    if message.type == "dictionary":
        batch = _table(metadata, _field(metadata, batch, _DATA))
    if not _field(metadata, batch, _COMPRESSION):
        return int(body.size)
    at = _table(metadata, _field(metadata, batch, _BUFFERS))
    places = np.frombuffer(metadata, "<i8", 2 * _number(metadata, at, 4), at + 4).reshape(-1, 2)
    return sum(_of_buffer(body, *place) for place in places.tolist())


def _of_buffer(body: Any, start: int, length: int) -> int:
    """The length that a buffer declares, or has."""
    if length < 8 or start < 0:
        return 0
    declared = int.from_bytes(body.slice(start, 8).to_pybytes(), "little", signed=True)
    return length if declared < 0 else declared


def _table(metadata: bytes, at: int) -> int:
    """Where the table or vector lies to which the offset at a place leads."""
    return at + _number(metadata, at, 4)


def _field(metadata: bytes, table: int, position: int) -> int:
    """Where a field of a table lies; 0 of one that is left out."""
    fields = table - int.from_bytes(metadata[table : table + 4], "little", signed=True)
    entry = 4 + 2 * position
    offset = _number(metadata, fields + entry, 2) if entry < _number(metadata, fields, 2) else 0
    return table + offset if offset else 0


def _number(metadata: bytes, at: int, size: int) -> int:
    return int.from_bytes(metadata[at : at + size], "little")
