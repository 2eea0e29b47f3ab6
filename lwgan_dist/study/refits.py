"""The bootstrap refits of a study: which there are, and what they gave."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lwgan_dist.campaign.judging import judge
from lwgan_dist.campaign.ledger import Ledger, hash_of
from lwgan_dist.study import aggregate
from lwgan_dist.study.bootstrap import WARM, Kind
from lwgan_dist.study.config import BootstrapConfig
from lwgan_dist.study.design import Group, PlannedRun
from lwgan_dist.study.record import RunRecord

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


def refits_of(
    planned: Sequence[PlannedRun], ledger: Ledger[RunRecord], bootstrap: BootstrapConfig | None
) -> list[Refit]:
    """The refits of every LWGAN run that is finished with an estimate, number by number."""
    if bootstrap is None:
        return []
    base: dict[str, list[PlannedRun]] = {}
    for run in planned:
        if run.group.kind == "lwgan":
            base.setdefault(run.key, []).append(run)
    start = [bootstrap.model_dump(mode="json", include={"start", "settings"}), WARM]
    refits = []
    for record in ledger.records(base):
        for run in base[record.key] if record.failure is None else []:
            dimension = _dimension(run.group, record)
            for kind in bootstrap.kinds:
                of = [dimension] if kind == "parametric" else []  # rows are drawn whatever the estimate
                for index in range(bootstrap.resamples):
                    key = hash_of(["refit", run.key, *of, start, kind, index])
                    refits.append(Refit(run, dimension, kind, index, key))
    return sorted(refits, key=lambda refit: (refit.index, refit.kind, refit.base.key))


def bootstrap_rows(runs: pa.Table, refits: Sequence[Refit], ledger: Ledger[RunRecord], mass: float) -> pa.Table:
    """``bootstrap.parquet``: what the finished refits gave, by the rule of their group.

    Args:
        runs: the rows of ``runs.parquet`` that were bootstrapped.
        refits: of the study.
        ledger: of the study.
        mass: of the rank sets.
    """
    by_key: dict[str, list[Refit]] = {}
    for refit in refits:
        by_key.setdefault(refit.key, []).append(refit)
    rows = []
    for record in ledger.records(by_key):
        for refit in by_key[record.key]:
            dimension = None if record.failure else _dimension(refit.base.group, record)
            identity = _name(refit.base.group.data, refit.base.group.method, refit.base.key)
            rows.append({"key": identity, "kind": refit.kind, "resample": refit.index, "dimension": dimension,
                         "failure": record.failure})  # fmt: skip
    rows.sort(key=lambda row: (row["key"], row["kind"], row["resample"]))
    names = [_name(*row) for row in zip(*(runs[c].to_pylist() for c in ("data", "method", "key")), strict=True)]
    place = runs.schema.get_field_index("key")
    named = runs.set_column(place, runs.schema.field("key"), pa.array(names, pa.string()))
    table = aggregate.bootstrap_table(named, pa.Table.from_pylist(rows, schema=REFITS), mass)
    keys = pa.array([name.rpartition(_SEPARATOR)[2] for name in table["key"].to_pylist()], pa.string())
    return table.set_column(table.schema.get_field_index("key"), table.schema.field("key"), keys)


_SEPARATOR = "\x1f"


def _name(data: str, method: str, key: str) -> str:
    """A run with the rule that judges it: several groups may share a fit."""
    return _SEPARATOR.join((data, method, key))


def _dimension(group: Group, record: RunRecord) -> int:
    rule = group.rules[group.method]
    return judge(record, rule, group.config.objective.mmd_weight, group.n).choice.rank
