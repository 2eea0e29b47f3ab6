"""The bootstrap refits of a study: which there are, and what they gave."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lwgan_dist.study.bootstrap import WARM, Kind
from lwgan_dist.study.config import BootstrapConfig
from lwgan_dist.study.design import Group, PlannedRun, hash_of
from lwgan_dist.study.ledger import Ledger, Record
from lwgan_dist.study.rows import judge

REFITS = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("resample", pa.int64()),
        pa.field("dimension", pa.int64()),
        pa.field("failure", pa.string()),
    ]
)
"""A row for each finished refit: the run that it is of, its kind and number, the rank or why there is none."""


@dataclass(frozen=True)
class Refit:
    """A refit of a run on its resample number ``index`` of a kind; ``dimension`` is the run's estimate."""

    base: PlannedRun
    dimension: int
    kind: Kind
    index: int
    key: str


def refits_of(planned: Sequence[PlannedRun], ledger: Ledger, bootstrap: BootstrapConfig | None) -> list[Refit]:
    """The refits of every LWGAN run that is finished with an estimate, number by number."""
    if bootstrap is None:
        return []
    base = {run.key: run for run in planned if run.group.kind == "lwgan"}
    told = [bootstrap.model_dump(mode="json", include={"start", "settings"}), WARM]
    refits = []
    for record in ledger.records(base):
        if record.failure is None:
            run, dimension = base[record.key], _dimension(base[record.key].group, record)
            for kind in bootstrap.kinds:
                for index in range(bootstrap.resamples):
                    key = hash_of(["refit", run.key, dimension, told, kind, index])
                    refits.append(Refit(run, dimension, kind, index, key))
    return sorted(refits, key=lambda refit: (refit.index, refit.kind, refit.base.key))


def refit_rows(refits: Sequence[Refit], ledger: Ledger) -> pa.Table:
    """What the finished refits gave, by the rule of their group; see `REFITS`."""
    by_key = {refit.key: refit for refit in refits}
    rows = []
    for record in ledger.records(by_key):
        refit = by_key[record.key]
        rows.append(
            {
                "key": refit.base.key,
                "kind": refit.kind,
                "resample": refit.index,
                "dimension": None if record.failure else _dimension(refit.base.group, record),
                "failure": record.failure,
            }
        )
    rows.sort(key=lambda row: (row["key"], row["kind"], row["resample"]))
    return pa.Table.from_pylist(rows, schema=REFITS)


def _dimension(group: Group, record: Record) -> int:
    rule = group.rules[group.method]
    return judge(record.components(), rule, group.config.objective.mmd_weight, group.n).choice.rank
