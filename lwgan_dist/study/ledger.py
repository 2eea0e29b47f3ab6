"""An entry in the ledger of a study: a finished run."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lwgan_dist import ledger
from lwgan_dist.ledger import Entry
from lwgan_dist.results import COMPONENTS, ScoreTables
from lwgan_dist.storage import Folder

Scores = list[float]


@dataclass(frozen=True, kw_only=True)
class Record(Entry):
    """A finished run.

    Attributes:
        key: see `lwgan_dist.study.design.run_key`.
        failure: why there is no estimate, None if there is one.
        kind: lwgan, classical or refit (of a bootstrap).
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

    kind: str
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


class Ledger(ledger.Ledger[Record]):
    """The finished runs of a study; see `lwgan_dist.ledger`."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder, Record, SCHEMA)


def flat(scores: NDArray[np.float64] | None) -> Scores | None:
    """Components of a score as they stand in a record."""
    return None if scores is None else np.asarray(scores, dtype=np.float64).ravel().tolist()
