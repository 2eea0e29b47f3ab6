"""The record of a finished run, and how a record is written as JSON and Parquet and read again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Self, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa

from lwgan_dist.method.rank_selection import STAIRCASE
from lwgan_dist.results import COMPONENTS, ScoreTables

if TYPE_CHECKING:
    from lwgan_dist.data.sample import Sample

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a run or trial that has ended, as in a ledger; subclasses add fields.

    A field is a bool, int, float or str, None where it is optional, a list or a dictionary of them, or a list of
    dataclasses of such fields. New fields need a default, which older ledgers are read with.

    Attributes:
        key: its name in the ledger.
        failure: why it has no result; None if it has one.
        cpu_seconds, wall_seconds: what it cost.
        version: of the package that computed it.
        provenance: see `lwgan_dist.campaign.provenance`; empty in records of older versions, and of a trial that was
            stopped on its way.
    """

    key: str
    failure: str | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    version: str = ""
    provenance: str = ""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The scores of a fitted LWGAN, from which any rank rule judges it again; see `lwgan_dist.campaign.judging`.

    Attributes:
        data_sha256: identity of the sample.
        rows: n; None for a stream.
        ambient_dim: columns of the data.
        evaluations, ranks: shape of the scores.
        train, holdout: components of the score on either part of the rows: evaluations x ranks x `COMPONENTS`,
            flattened; None or empty where there are none.
        metrics: values of each metric at the ranks 1..q, by name; of those that were computed.
        neighbours: the largest rank that neighbours allow, see `lwgan_dist.method.neighbours.largest_ranks`; None where
            they say nothing, and in fits of older versions.
    """

    data_sha256: str | None = None
    rows: int | None = None
    ambient_dim: int | None = None
    evaluations: int | None = None
    ranks: int | None = None
    train: list[float] | None = None
    holdout: list[float] | None = None
    metrics: dict[str, list[float]] = field(default_factory=dict)
    neighbours: list[int] | None = None

    def __post_init__(self) -> None:
        """Refuse scores and metrics that are not of the shape."""
        count = (self.evaluations or 0) * (self.ranks or 0) * len(COMPONENTS)
        if any(scores and len(scores) != count for scores in (self.train, self.holdout)):
            raise ValueError(f"scores are not those of {self.evaluations} evaluations of {self.ranks} ranks")
        if self.neighbours is not None and len(self.neighbours) != len(STAIRCASE):
            raise ValueError(f"neighbours are asked at {len(STAIRCASE)} resolutions, not {len(self.neighbours)}")

    @classmethod
    def of(
        cls, sample: "Sample", components: ScoreTables, neighbours: list[int] | None,
        metrics: Mapping[str, list[float]],
    ) -> Self:  # fmt: skip
        """The fit of a run on a sample, from the components by part of the rows, shape (evaluations, ranks, 4)."""
        evaluations, ranks, _ = components["train"].shape
        parts = {part: table.astype(np.float64).ravel().tolist() for part, table in components.items()}
        return cls(
            data_sha256=sample.digest, rows=sample.rows, ambient_dim=sample.ambient_dim,
            evaluations=evaluations, ranks=ranks, metrics=dict(metrics), neighbours=neighbours, **parts,
        )  # fmt: skip

    def components(self) -> ScoreTables:
        """The components of the score by part of the rows, shape (evaluations, ranks, 4)."""
        parts = {"train": self.train, "holdout": self.holdout}
        shape = (self.evaluations or 0, self.ranks or 0, len(COMPONENTS))
        return {name: np.asarray(scores).reshape(shape) for name, scores in parts.items() if scores}

    def metrics_at(self, rank: int) -> dict[str, float]:
        """The metrics at a rank, by name."""
        return {name: values[rank - 1] for name, values in self.metrics.items()}


def to_json(record: Record) -> str:
    """The record on one line."""
    return json.dumps(vars(record), separators=(",", ":"), default=vars)


def to_row(record: Any) -> dict[str, Any]:
    """The record as pyarrow takes it, in which a map is a list of pairs."""
    return {name: _plain(value) for name, value in vars(record).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.items())
    return [to_row(item) for item in value] if isinstance(value, list) and value and is_dataclass(value[0]) else value


def from_row(kind: type[T], row: Mapping[str, Any]) -> T:
    """A record from its JSON or from a row of Parquet; fields that are missing have their defaults."""
    readers = _readers(kind)  # type: ignore[arg-type]  # classes are hashable
    return kind(**{name: restore(row[name]) for name, restore in readers.items() if name in row})


@cache
def _readers(kind: Any) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(kind)
    return {item.name: _reader(hints[item.name]) for item in fields(kind)}


def _reader(hint: Any) -> Callable[[Any], Any]:
    if get_origin(hint) is dict:
        return dict
    inner: Any = next(iter(get_args(hint)), None)
    are_records: bool = is_dataclass(inner)
    if get_origin(hint) is list and are_records:
        return lambda rows: [from_row(inner, row) for row in rows]
    return lambda value: value


def schema_of(kind: type[Any]) -> pa.Schema:
    """The columns of records in Parquet; a field whose type does not determine its column has it as ``arrow`` in its
    metadata.
    """
    hints = get_type_hints(kind)
    return pa.schema(
        [pa.field(item.name, item.metadata.get("arrow") or _arrow(hints[item.name])) for item in fields(kind)]
    )


_SCALARS = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}


def _arrow(hint: Any) -> pa.DataType:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if is_dataclass(hint):
        return pa.struct(list(schema_of(hint)))  # type: ignore[arg-type]
    inner = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is list:
        return pa.list_(_arrow(inner[0]))
    if get_origin(hint) is dict:
        return pa.map_(pa.string(), _arrow(inner[1]))
    return _arrow(inner[0])
