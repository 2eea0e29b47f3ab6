"""What a study has finished: the truth about it, whatever happened to the processes that computed it.

A finished run is one immutable file ``rows/<key>.json``, written by the worker that carried it out: whole or not there.
Now and then the command gathers these files into a Parquet file ``part-<hash>.parquet`` and removes them; a command
that is killed between the two leaves a run in both, where it counts once. A damaged file is named and counts as not
there.
"""

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lwgan_dist.results import COMPONENTS, ScoreTables
from lwgan_dist.storage import TEMPORARY, Folder

log = logging.getLogger("lwgan_dist")

Scores = list[float]


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        key: its name, see `lwgan_dist.study.design.run_key`.
        kind: lwgan, classical or refit (of a bootstrap).
        failure: why there is no estimate, None if there is one.
        value: of a classical estimator, as it gave it.
        dimension: of a classical estimator; that of an LWGAN follows from the scores by a rank rule.
        data_sha256: identity of the sample.
        rows: n.
        ambient_dim: columns of the data.
        evaluations, ranks: shape of the scores, of an LWGAN.
        train, holdout: components of the score on either part of the rows: evaluations x ranks x `COMPONENTS`,
            flattened; empty where there are none.
        cpu_seconds, wall_seconds: what it cost.
        version: of the package, or of scikit-dimension.
    """

    key: str
    kind: str
    failure: str | None = None
    value: float | None = None
    dimension: int | None = None
    data_sha256: str | None = None
    rows: int | None = None
    ambient_dim: int | None = None
    evaluations: int | None = None
    ranks: int | None = None
    train: Scores | None = None
    holdout: Scores | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    version: str = ""

    def components(self) -> ScoreTables:
        """The components of the score by part of the rows, shape (evaluations, ranks, 4)."""
        parts = {"train": self.train, "holdout": self.holdout}
        shape = (self.evaluations or 0, self.ranks or 0, len(COMPONENTS))
        return {name: np.asarray(scores).reshape(shape) for name, scores in parts.items() if scores}


_TYPES: dict[str, pa.DataType] = {
    "key": pa.string(), "kind": pa.string(), "failure": pa.string(), "value": pa.float64(), "dimension": pa.int64(),
    "data_sha256": pa.string(), "rows": pa.int64(), "ambient_dim": pa.int64(), "evaluations": pa.int64(),
    "ranks": pa.int64(), "train": pa.list_(pa.float64()), "holdout": pa.list_(pa.float64()),
    "cpu_seconds": pa.float64(), "wall_seconds": pa.float64(), "version": pa.string(),
}  # fmt: skip
SCHEMA = pa.schema([pa.field(field.name, _TYPES[field.name]) for field in fields(Record)])
"""Of the gathered files; see `Record`."""

_ROWS, _PART, _SUFFIX = "rows", "part-", ".json"


class Ledger:
    """The finished runs in a folder.

    Args:
        folder: every worker must see it.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._rows = folder.sub(_ROWS)

    def write(self, record: Record) -> None:
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
            table = self._read_part(name, ["key", "failure"])
            if table:
                states.update(zip(table["key"].to_pylist(), table["failure"].is_null().to_pylist(), strict=True))
        return states

    def records(self, keys: Iterable[str]) -> Iterator[Record]:
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
                    yield Record(**row)

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
        table = pa.Table.from_pylist([asdict(record) for record in records], schema=SCHEMA)
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        content = sink.getvalue()
        self.folder.write(f"{_PART}{_digest(content)}.parquet", content)
        for record in records:
            self._rows.remove_file(f"{record.key}{_SUFFIX}")
        return len(records)

    def _parts(self) -> list[str]:
        return [name for name in self.folder.names() if name.startswith(_PART) and name.endswith(".parquet")]

    def _read_part(self, name: str, columns: list[str] | None = None) -> pa.Table | None:
        content = self.folder.read(name)
        if _digest(content) != name.removeprefix(_PART).removesuffix(".parquet"):
            log.warning("%s/%s: is damaged and passed over; its runs count as not done", self.folder.location, name)
            return None
        return pq.read_table(io.BytesIO(content), columns=columns)

    def _row_records(self) -> Iterator[Record]:
        for name in self._rows.names():
            if name.endswith(_SUFFIX) and not name.startswith(TEMPORARY):
                record = self._read_row(name)
                if record:
                    yield record

    def _read_row(self, name: str) -> Record | None:
        try:
            digest, _, text = self._rows.read(name).decode(errors="replace").partition(" ")
        except FileNotFoundError:
            return None
        if digest != _digest(text):
            log.warning("%s/%s: is damaged; the run counts as not done", self._rows.location, name)
            return None
        return Record(**json.loads(text))


def flat(scores: NDArray[np.float64] | None) -> Scores | None:
    """Components of a score as they stand in a record."""
    return None if scores is None else np.asarray(scores, dtype=np.float64).ravel().tolist()


def _digest(content: Any) -> str:
    content = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:16]
