"""A trial: a configuration with the seeds it is run with, its names in the ledger, and what is entered there."""

from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa

from lwgan_dist import ledger
from lwgan_dist.config import SCHEMA_VERSION, RunConfig, Standardization
from lwgan_dist.ledger import Entry, hash_of
from lwgan_dist.search.tables import MEASURES
from lwgan_dist.storage import Folder

Seeds = tuple[int, int]
"""Of the sample and of the run."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Entry):
    """A trial that has ended.

    Attributes:
        key: of a stopped trial `Trial.stopped_key`, else `Trial.key`.
        failure: why there is no objective: a run diverged, or cannot be.
        stopped: by the scheduler.
        context: `Trial.context`: what the reports are of.
        reports: interim objectives that the scheduler saw.
        runs: for each seed ``index``, ``data_seed``, ``seed``, ``fingerprint``, ``dimension`` and the measures; none of
            a stopped trial.
        cpu_seconds: of the runs that ended, and of a stopped trial up to there.
        wall_seconds: of the task that ended it.
        threads, workers, use_gpu: with which its numbers were computed; others change them by rounding.
        version: of the package.
    """

    stopped: bool = False
    context: str | None = None
    reports: list[float] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    threads: int = 1
    workers: int = 0
    use_gpu: bool = False
    version: str = ""


_RUN = pa.struct(
    [
        pa.field("index", pa.int64()),
        pa.field("data_seed", pa.int64()),
        pa.field("seed", pa.int64()),
        pa.field("fingerprint", pa.string()),
        pa.field("dimension", pa.int64()),
        *(pa.field(name, kind) for name, (kind, _) in MEASURES.items()),
    ]
)
_TYPES: dict[str, pa.DataType] = {
    "key": pa.string(), "failure": pa.string(), "stopped": pa.bool_(), "context": pa.string(),
    "reports": pa.list_(pa.float64()),
    "runs": pa.list_(_RUN), "cpu_seconds": pa.float64(), "wall_seconds": pa.float64(),
    "threads": pa.int64(), "workers": pa.int64(), "use_gpu": pa.bool_(), "version": pa.string(),
}  # fmt: skip
SCHEMA = pa.schema([pa.field(item.name, _TYPES[item.name]) for item in fields(TrialRecord)])


class TrialLedger(ledger.Ledger[TrialRecord]):
    """The trials of a search that have ended; see `lwgan_dist.ledger`."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder, TrialRecord, SCHEMA)


@dataclass(frozen=True)
class Trial:
    """A configuration to be tried.

    Attributes:
        config: with seeds of 0.
        seeds: of its runs.
        table_digest: identity of the whole table, where the data are one.
        unit: standardisation in whose units is measured.
        context: of the scheduler that may stop it, and what it compares; None if there is none.
    """

    config: RunConfig
    seeds: tuple[Seeds, ...]
    table_digest: str | None
    unit: Standardization
    context: str | None = None

    @property
    def key(self) -> str:
        """16 hexadecimal digits of the SHA-256 of everything that the numbers of the trial depend on."""
        told = self.config.model_dump(mode="json")
        if self.table_digest:
            told["data"]["path"] = self.table_digest
        return hash_of([SCHEMA_VERSION, told, self.seeds, self.unit])

    @property
    def stopped_key(self) -> str:
        """The name if it was stopped: that depends on the scheduler too."""
        return hash_of([self.key, self.context])

    @property
    def folder(self) -> str:
        """Name of its folder while it is under way: the reports in it are of one scheduler and objective."""
        return self.stopped_key if self.context else self.key

    def run(self, index: int) -> RunConfig:
        """The configuration of its run number ``index``."""
        data_seed, seed = self.seeds[index]
        data = self.config.data.model_copy(update={"seed": data_seed})
        return self.config.model_copy(update={"data": data, "seed": seed})
