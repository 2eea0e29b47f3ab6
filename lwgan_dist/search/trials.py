"""A trial: a configuration with the seeds it is run with, its names in the ledger, and what is recorded there."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from lwgan_dist.campaign.judging import RULE_FIELDS, fingerprint_of, judge
from lwgan_dist.campaign.ledger import Ledger, hash_of
from lwgan_dist.campaign.record import Fit, Record
from lwgan_dist.config import SCHEMA_VERSION, RunConfig, Standardization
from lwgan_dist.models.configs import LwganModel
from lwgan_dist.search.objective import measures_of
from lwgan_dist.search.tables import MEASURES

Seeds = tuple[int, int]
"""The seed of the sample and that of the run."""

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


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Record):
    """A trial that has ended.

    Attributes:
        key: of a stopped trial `Trial.stopped_key`, else `Trial.key`.
        failure: why there is no objective: a run diverged, or cannot be.
        stopped: by the scheduler.
        context: `Trial.context`: what the reports are of.
        reports: interim objectives that the scheduler saw.
        runs: for each seed ``index``, ``data_seed``, ``seed``, ``fingerprint``, ``dimension`` and the measures; none of
            a stopped trial.
        alike: `Trial.alike`; None of a record that says nothing about other rank rules.
        fits: of the runs, for other rank rules to judge; empty where they cannot, and of models without ranks.
        cpu_seconds: of the runs that ended, and of a stopped trial up to there.
        wall_seconds: of the task that ended it.
        threads, workers, use_gpu: with which its numbers were computed; others change them by rounding.
    """

    stopped: bool = False
    context: str | None = None
    reports: list[float] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list, metadata={"arrow": pa.list_(_RUN)})
    alike: str | None = None
    fits: list[Fit] = field(default_factory=list)
    threads: int = 1
    workers: int = 0
    use_gpu: bool = False


@dataclass(frozen=True)
class Trial:
    """A configuration to be tried.

    Attributes:
        config: with seeds of 0.
        seeds: of its runs.
        table_digest: identity of the whole table, where the data are one.
        unit: standardisation in whose units is measured.
        context: of the scheduler that may stop it, and what it compares; None if there is none.
        searched: fields of the rank rule that are searched, and so a part of the trial.
    """

    config: RunConfig
    seeds: tuple[Seeds, ...]
    table_digest: str | None
    unit: Standardization
    context: str | None = None
    searched: frozenset[str] = frozenset()

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits of the SHA-256 of everything that the numbers of the trial depend on."""
        return self._name(frozenset())

    @cached_property
    def alike(self) -> str:
        """The same without the rank rule as far as it is not searched: trials that are alike have the same fits. Models
        other than the LWGAN have no rank rule.
        """
        return self._name(frozenset(RULE_FIELDS) - self.searched) if self.has_rank_rule else self.key

    @property
    def has_rank_rule(self) -> bool:
        """Whether a rule chooses among the ranks that were fitted, so that another one can judge the same fits."""
        return isinstance(self.config.model, LwganModel)

    def _name(self, left_out: frozenset[str]) -> str:
        content = self.config.identity()
        if self.table_digest:
            content["data"]["path"] = self.table_digest
        for name in left_out:
            content["score"].pop(name, None)
        return hash_of([SCHEMA_VERSION, content, self.seeds, self.unit])

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


class EndedTrials:
    """The trials in a ledger. One that differs from a finished trial by the rank rule alone is that trial, judged by
    its own rule; what failed or was stopped did so under any rule.

    Args:
        ledger: of the search.
        truth: the true dimension, None if unknown.
    """

    def __init__(self, ledger: Ledger[TrialRecord], truth: int | None) -> None:
        self._ledger = ledger
        self._truth = truth
        self._records: dict[str, TrialRecord] = {}
        self._alike: dict[tuple[str, str | None], str] = {}
        self._again: dict[str, TrialRecord] = {}
        for record in sorted(ledger.records(ledger.keys(), without=("fits",)), key=lambda record: record.key):
            self.add(record)

    def enter(self, record: TrialRecord) -> None:
        """Record a trial that has ended."""
        self._ledger.write(record)
        self.add(record)

    def add(self, record: TrialRecord) -> None:
        """A trial has ended, and is recorded."""
        self._records[record.key] = record
        if record.alike:
            self._alike.setdefault((record.alike, record.context if record.stopped else None), record.key)

    def recorded(self, trial: Trial) -> TrialRecord | None:
        """The record of a trial, or else of one that is alike, under the rule of that one."""
        record = self._records.get(trial.key) or self._records.get(trial.stopped_key)
        if record is not None:
            return record
        key = self._alike.get((trial.alike, None)) or self._alike.get((trial.alike, trial.context))
        return self._records[key] if key and self.judged(trial, self._records[key]) else None

    def judged(self, trial: Trial, record: TrialRecord) -> TrialRecord | None:
        """The record that `recorded` returned, under the rule of the trial; None if it cannot be judged by it."""
        if record.key in (trial.key, trial.stopped_key):
            return record
        if trial.key not in self._again:
            if record.stopped or record.failure:  # under any rule
                again = replace(record, key=trial.stopped_key if record.stopped else trial.key)
            elif len(fits := self._fits.pop(record.key, [])) == len(record.runs):
                again = judged_by(record, fits, trial, self._truth)
            else:
                return None
            self._again[trial.key] = again
        return self._again[trial.key]

    @property
    def judged_again(self) -> int:
        """Number of trials that were judged by another rule than when they were recorded."""
        return len(self._again)

    @cached_property
    def _fits(self) -> dict[str, list[Fit]]:
        """Read only if they are needed: they are most of a ledger."""
        return {record.key: record.fits for record in self._ledger.records(set(self._alike.values()))}


def judged_by(record: TrialRecord, fits: list[Fit], trial: Trial, truth: int | None) -> TrialRecord:
    """The record of a finished trial with the same fits, under the rank rule of this one.

    Args:
        record: of the other trial.
        fits: of its runs.
        trial: this one.
        truth: the true dimension, None if unknown.
    """
    runs = [_run_judged_by(run, fit, trial, truth) for run, fit in zip(record.runs, fits, strict=True)]
    return replace(record, key=trial.key, runs=runs)


def _run_judged_by(run: Mapping[str, Any], fit: Fit, trial: Trial, truth: int | None) -> dict[str, Any]:
    config = trial.run(run["index"])
    rank = judge(fit, config.score, config.objective.mmd_weight, fit.rows).choice.rank
    measures = measures_of(fit.metrics_at(rank), rank, truth, run["cpu_seconds"])
    return {**run, "dimension": rank, "fingerprint": fingerprint_of(config, fit), **measures}
