"""What a study or a search has finished: the truth about it, whatever happened to the processes that computed it.

What is finished is one immutable file ``rows/<key>.json``, written by the worker that carried it out: whole or not
there. Now and then the command gathers these files into a Parquet file ``part-<hash>.parquet`` and removes them; a
command that is killed between the two leaves an entry in both, where it counts once. A damaged file is named and counts
as not there.
"""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from lwgan_dist.storage import TEMPORARY, Folder

log = logging.getLogger("lwgan_dist")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is entered; subclasses add fields of plain JSON values.

    Attributes:
        key: its name.
        failure: why there is no result, None if there is one.
    """

    key: str
    failure: str | None = None


E = TypeVar("E", bound=Entry)
R = TypeVar("R")

AT_ONCE = 32
"""Requests to an object store at once."""

_ROWS, _PART, _SUFFIX = "rows", "part-", ".json"


class Ledger(Generic[E]):
    """The entries in a folder.

    Args:
        folder: every worker must see it.
        kind: class of the entries.
        schema: of the gathered files, with the fields of ``kind``.
    """

    def __init__(self, folder: Folder, kind: type[E], schema: pa.Schema) -> None:
        self.folder = folder
        self._kind = kind
        self._schema = schema
        self._rows = folder.sub(_ROWS)
        self._known: dict[str, tuple[pa.ChunkedArray, pa.ChunkedArray] | None] = {}
        """Of gathered files: keys, and whether there is a result."""

    def write(self, record: E) -> None:
        """Enter a finished run."""
        text = json.dumps(asdict(record), separators=(",", ":"))
        self._rows.write(f"{record.key}{_SUFFIX}", f"{_digest(text)} {text}".encode())

    def has_row(self, key: str) -> bool:
        """Whether the run has a file of its own, whole: it was finished since the last gathering."""
        return self._read_row(f"{key}{_SUFFIX}") is not None

    def keys(self) -> set[str]:
        """The names of all finished runs."""
        return set(self.states())

    def states(self) -> dict[str, bool]:
        """Whether a run ended with an estimate, by the name of every finished run."""
        states = {record.key: record.failure is None for record in self._row_records()}
        for name in self._parts():
            if name not in self._known:  # they never change, and a study of many gatherings asks after each
                table = self._read_part(name, ["key", "failure"])
                self._known[name] = None if table is None else (table["key"], table["failure"].is_null())
            known = self._known[name]
            if known:
                states.update(zip(known[0].to_pylist(), known[1].to_pylist(), strict=True))
        return states

    def records(self, keys: Iterable[str]) -> Iterator[E]:
        """Those of the named runs that are finished, each once, in no particular order."""
        wanted = set(keys)
        for record in self._row_records():
            if record.key in wanted:
                wanted.remove(record.key)
                yield record
        for name in self._parts():
            if not wanted:
                return
            table = self._read_part(name)
            for row in table.to_pylist() if table else []:
                if row["key"] in wanted:
                    wanted.remove(row["key"])
                    yield self._kind(**row)

    def remove_temporary(self) -> None:
        """Remove what a command that was killed left behind."""
        self.folder.remove_temporary()
        self._rows.remove_temporary()

    def gather(self) -> int:
        """Move the files of single runs into one Parquet file; returns how many there were.

        Only for the command that holds the study, while no worker of it writes a run that is already there.
        """
        records = sorted(self._row_records(), key=lambda record: record.key)
        if not records:
            return 0
        table = pa.Table.from_pylist([asdict(record) for record in records], schema=self._schema)
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        content = sink.getvalue()
        self.folder.write(f"{_PART}{_digest(content)}.parquet", content)
        self._each(self._rows.remove_file, [f"{record.key}{_SUFFIX}" for record in records])
        return len(records)

    def _parts(self) -> list[str]:
        return [name for name in self.folder.names() if name.startswith(_PART) and name.endswith(".parquet")]

    def _read_part(self, name: str, columns: list[str] | None = None) -> pa.Table | None:
        content = self.folder.read(name)
        if _digest(content) != name.removeprefix(_PART).removesuffix(".parquet"):
            log.warning("%s/%s: is damaged and passed over; its runs count as not done", self.folder.location, name)
            return None
        return pq.read_table(io.BytesIO(content), columns=columns)

    def _row_records(self) -> Iterator[E]:
        names = [name for name in self._rows.names() if name.endswith(_SUFFIX) and not name.startswith(TEMPORARY)]
        yield from filter(None, self._each(self._read_row, names))

    def _each(self, act: Callable[[str], R], names: Sequence[str]) -> list[R]:
        """Do something with every file; with many at once where each is a request over a network."""
        if self.folder.local is not None:
            return [act(name) for name in names]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(act, names))

    def _read_row(self, name: str) -> E | None:
        try:
            digest, _, text = self._rows.read(name).decode(errors="replace").partition(" ")
        except FileNotFoundError:
            return None
        if digest != _digest(text):
            log.warning("%s/%s: is damaged; the run counts as not done", self._rows.location, name)
            return None
        return self._kind(**json.loads(text))


def hash_of(told: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of plain data: the name of an entry that depends on it."""
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(content: Any) -> str:
    content = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:16]
