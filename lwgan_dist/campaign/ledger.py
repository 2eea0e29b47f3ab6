"""The finished runs of a study or a search: the truth about it, whatever happened to the processes that computed it.

What is finished is one immutable file ``rows/<key>.json``, written atomically by the worker that computed it; short
runs come several in a file, a line each. Now and then the command gathers these files into a Parquet file
``part-<hash>.parquet`` and removes them; a command that is killed between the two leaves a record in both, where it
counts once. A damaged file is named and passed over.
"""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import TypeAdapter

from lwgan_dist.campaign.record import Record, from_row, schema_of, to_json, to_row
from lwgan_dist.storage import DAMAGE, TEMPORARY, Folder

log = logging.getLogger("lwgan_dist")

R = TypeVar("R", bound=Record)
T = TypeVar("T")

AT_ONCE = 32
"""Requests to an object store at once."""

BATCH = 256
"""Records that are Python objects at once: they take several times the memory of their columns."""

_ROWS, _PART, _SUFFIX = "rows", "part-", ".json"


class Ledger(Generic[R]):
    """The records in a folder.

    Args:
        folder: every worker must see it.
        kind: class of the records.
    """

    def __init__(self, folder: Folder, kind: type[R]) -> None:
        self.folder = folder
        self._kind = kind
        self._schema = schema_of(kind)
        self._reader = TypeAdapter(kind)
        self._rows = folder.sub(_ROWS)
        self._states: dict[str, States] = {}
        """Of the gathered files, which never change."""
        self._fields: dict[str, list[str]] = {}
        """The fields that each of them has."""

    def write(self, *records: R) -> None:
        """Enter a finished run, or some that are entered together."""
        texts = [to_json(record) for record in records]
        keys = [record.key for record in records]
        name = keys[0] if len(keys) == 1 else hash_of(keys)
        self._rows.write(f"{name}{_SUFFIX}", "\n".join(f"{_digest(text)} {text}" for text in texts).encode())

    def has_row(self, key: str) -> bool:
        """Whether the run has an undamaged file of its own: it was entered since the last gathering."""
        return self.row(key) is not None

    def row(self, key: str) -> R | None:
        """The record of a run that was entered by itself since the last gathering."""
        return next(iter(self._read_rows(f"{key}{_SUFFIX}")), None)

    def keys(self) -> Set[str]:
        """The names of all finished runs."""
        return self.states().keys()

    def states(self) -> "States":
        """Whether a run ended with an estimate, by the name of every finished run."""
        records = list(self._row_records())
        of_rows = States([record.key for record in records], [record.failure is None for record in records])
        return States.together([of_rows, *map(self._states_of, self._parts())])  # what counts in `records` comes first

    def older(self, field: str) -> Set[str]:
        """The names of gathered runs that are of a version which did not have a field yet."""
        states = {name: self._states_of(name) for name in self._parts()}
        lacking = [part for name, part in states.items() if field not in self._fields.get(name, [field])]
        return States.together(lacking).keys()

    def _states_of(self, name: str) -> "States":
        if name not in self._states:  # a study of many gatherings asks after each
            table = self._read_part(name, ["key", "failure"])
            columns = [[], []] if table is None else [table["key"].to_pylist(), table["failure"].is_null().to_pylist()]
            self._states[name] = States(*columns)
        return self._states[name]

    def records(self, keys: Iterable[str], *, without: Collection[str] = ()) -> Iterator[R]:
        """Those of the named runs that are finished, each once, in no particular order.

        Args:
            keys: names of the runs.
            without: fields that are not read and have their default.
        """
        wanted = set(keys)
        columns = [name for name in self._schema.names if name not in without]
        for record in self._row_records():
            if record.key in wanted:
                wanted.remove(record.key)
                kept = {name: value for name, value in to_row(record).items() if name not in without}
                yield from_row(self._kind, kept)
        for name in self._parts():
            if not wanted:
                return
            table = self._read_part(name, columns)
            for batch in table.to_batches(max_chunksize=BATCH) if table else []:
                mask = [key in wanted for key in batch["key"].to_pylist()]
                for row in batch.filter(pa.array(mask)).to_pylist():
                    entered = self._of_part(name, row)
                    if entered is not None and entered.key in wanted:
                        wanted.remove(entered.key)
                        yield entered

    def remove_temporary(self) -> None:
        """Remove what a command that was killed left behind."""
        self.folder.remove_temporary()
        self._rows.remove_temporary()

    def gather(self) -> int:
        """Move the files of single runs into one Parquet file; returns how many there were.

        Only for the command that has locked the folder, while no worker of it writes a run that is in the ledger.
        """
        files = self._row_files()
        records = self.enter(record for _, entered in files for record in entered)
        self._each(self._rows.remove_file, [name for name, entered in files if entered])
        return len(records)

    def enter(self, records: Iterable[R]) -> list[R]:
        """Enter finished runs in one Parquet file, if there are any; returns them in the order of their keys."""
        records = sorted({record.key: record for record in records}.values(), key=lambda record: record.key)
        if not records:
            return []
        table = pa.Table.from_pylist([to_row(record) for record in records], schema=self._schema)
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        content = sink.getvalue()
        self.folder.write(f"{_PART}{_digest(content)}.parquet", content)
        return records

    def _parts(self) -> list[str]:
        return [name for name in self.folder.names() if name.startswith(_PART) and name.endswith(".parquet")]

    def _read_part(self, name: str, columns: Collection[str]) -> pa.Table | None:
        """The columns of a gathered file; an older one may lack some."""
        content = self.folder.read(name)
        if _digest(content) != name.removeprefix(_PART).removesuffix(".parquet"):
            log.warning("%s/%s: is damaged and passed over; its runs count as not done", self.folder.location, name)
            return None
        try:
            file = pq.ParquetFile(io.BytesIO(content))
            self._fields[name] = file.schema_arrow.names
            table = file.read([column for column in columns if column in file.schema_arrow.names])
            return table.cast(pa.schema([self._schema.field(column) for column in table.schema.names]))
        except (*DAMAGE, OSError) as error:
            log.warning("%s/%s: is not a part of this ledger (%s)", self.folder.location, name, error)
            return None

    def _of_part(self, name: str, row: Mapping[str, Any]) -> R | None:
        try:
            return from_row(self._kind, row)
        except DAMAGE as error:
            log.warning("%s/%s: has a row that is no record (%s)", self.folder.location, name, _first_line(error))
            return None

    def _row_records(self) -> Iterator[R]:
        for _, records in self._row_files():
            yield from records

    def _row_files(self) -> list[tuple[str, list[R]]]:
        """The files of runs that are not gathered, and what is undamaged in each."""
        names = [name for name in self._rows.names() if name.endswith(_SUFFIX) and not name.startswith(TEMPORARY)]
        return list(zip(names, self._each(self._read_rows, names), strict=True))

    def _each(self, act: Callable[[str], T], names: Sequence[str]) -> list[T]:
        """Do something with every file; with many at once where each is a request over a network."""
        if self.folder.local is not None:
            return [act(name) for name in names]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(act, names))

    def _read_rows(self, name: str) -> list[R]:
        try:
            lines = self._rows.read(name).decode(errors="replace").split("\n")
        except FileNotFoundError:
            return []
        records = [record for line in lines if (record := self._of_line(name, line)) is not None]
        if len(lines) == 1 and records and records[0].key != name.removesuffix(_SUFFIX):
            self._refuse_row(name, f"its key is {records[0].key[:60]!r}")
            return []
        return records

    def _of_line(self, name: str, line: str) -> R | None:
        digest, _, text = line.partition(" ")
        if digest != _digest(text):
            log.warning("%s/%s: is damaged; the run counts as not done", self._rows.location, name)
            return None
        try:
            return self._reader.validate_json(text)
        except ValueError as error:
            self._refuse_row(name, _first_line(error))
            return None

    def _refuse_row(self, name: str, reason: str) -> None:
        log.warning("%s/%s: is no record of this ledger (%s)", self._rows.location, name, reason)


class States(Mapping[str, bool]):
    """Whether runs ended with an estimate, by name: of a million of them arrays, not objects.

    Args:
        keys: names.
        finished: of each, whether it has an estimate.
    """

    def __init__(self, keys: Sequence[str], finished: Sequence[bool]) -> None:
        names = [str(key).encode() for key in keys]  # of a damaged file, whatever they are
        self._place(np.array(names) if names else np.empty(0, "S1"), np.array(finished, bool))

    @classmethod
    def together(cls, parts: Sequence["States"]) -> "States":
        """Those of all; of a run in several, that of the first counts."""
        states = cls([], [])
        filled = [part for part in parts if len(part)]
        if filled:
            states._place(
                *(np.concatenate([getattr(part, name) for part in filled]) for name in ("_keys", "_finished"))
            )
        return states

    def _place(self, keys: NDArray[np.bytes_], finished: NDArray[np.bool_]) -> None:
        self._keys, first = np.unique(keys, return_index=True)
        self._finished = finished[first]

    def __getitem__(self, key: str) -> bool:
        name = key.encode()
        place = int(self._keys.searchsorted(name))
        if place == len(self._keys) or self._keys[place] != name:
            raise KeyError(key)
        return bool(self._finished[place])

    def __iter__(self) -> Iterator[str]:
        return (key.decode() for key in self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200]


def hash_of(content: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of plain data: the name of a record that depends on it."""
    return _digest(canonical(content))


def canonical(content: Any) -> str:
    """Plain data as JSON, of which there is one for equal data."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _digest(content: str | bytes) -> str:
    content = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:16]
