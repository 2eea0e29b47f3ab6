"""The trials of a search in the order of their proposals: which comes next, which is known already, which goes on.

Proposals are a function of the seed and of the outcomes that are told to the searcher at fixed points of the order, so
a search is replayed from its ledger: after an interruption the same trials are proposed, and found to be finished.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lwgan_dist.errors import ConfigError
from lwgan_dist.ledger import hash_of
from lwgan_dist.search.config import AshaScheduler, SearchConfig
from lwgan_dist.search.objective import mean_objective
from lwgan_dist.search.searchers import Outcome, Proposal, Searcher
from lwgan_dist.search.trials import Trial, TrialLedger, TrialRecord
from lwgan_dist.search.work import computed_with
from lwgan_dist.storage import Folder

if TYPE_CHECKING:
    from lwgan_dist.launch.asha import Asha

Told = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """A trial that has ended.

    Attributes:
        record: None of a configuration that cannot be.
        outcome: as the searcher is told.
        failure: why there is no objective.
    """

    number: int
    proposal: Proposal
    key: str
    record: TrialRecord | None
    outcome: Outcome
    failure: str | None


class Queue:
    """A source of tasks (see `lwgan_dist.launch.source.Source`).

    Args:
        config: of the search.
        searcher: proposes.
        build: the trial of a proposal; raises ConfigError if it cannot be.
        task_of: what the worker is told about a trial.
        ledger: of the search.
        scratch: folder of runs under way.
        limit: number of trials; None for all that the searcher has.
        on_ended: is told of every trial that ends or is found to have ended.
    """

    def __init__(
        self,
        config: SearchConfig,
        searcher: Searcher,
        build: Callable[[Mapping[str, Any]], Trial],
        task_of: Callable[[Trial], Told],
        ledger: TrialLedger,
        scratch: Folder,
        limit: int | None,
        on_ended: Callable[["Queue"], None],
    ) -> None:
        self._config = config
        self._searcher = searcher
        self._build = build
        self._task_of = task_of
        self._ledger = ledger
        self._scratch = scratch
        self._limit = limit
        self._on_ended = on_ended
        self._known = {record.key: record for record in ledger.records(ledger.keys())}
        self._asha = _asha(config)
        self._context = context_of(config)
        self._began = time.monotonic()
        self._next = self._told = 0
        self._proposals: dict[int, Proposal] = {}
        self._under_way: dict[str, list[int]] = {}
        self._trials: dict[int, Trial] = {}
        self._reports: dict[int, list[Told]] = {}
        self._ready: tuple[int, Told] | None = None
        self.is_exhausted = False
        self.ended: dict[int, Ended] = {}
        self.unfinished: dict[int, str] = {}
        """Reasons, by number, of trials that were lost; nothing is known about their configurations."""

    # as a source ------------------------------------------------------------------------------------------------------

    @property
    def is_dry(self) -> bool:
        """No further task will come, as far as is known; see `look_ahead`."""
        return self.is_exhausted and self._ready is None

    def look_ahead(self) -> None:
        """Go through the proposals up to the next one that has to be carried out, or waits for results."""
        if self._ready is None:
            self._ready = self._find()

    def take(self) -> tuple[int, Told] | None:
        """The next trial that is to be carried out."""
        self.look_ahead()
        taken, self._ready = self._ready, None
        return taken

    def report(self, index: int, told: Told) -> bool:
        """Whether a trial goes on after a report."""
        number = told["report"]
        self._reports[index] = [*self._reports.get(index, [])[: number - 1], told]  # a trial may be begun anew
        return self._asha is None or self._asha.goes_on(self._trials[index].key, number, told["value"])

    def done(self, index: int, answer: Told | None) -> None:
        """A trial has ended, or was stopped."""
        trial = self._trials.pop(index)
        record = self._stopped(trial, self._reports[index]) if answer is None else TrialRecord(**answer)
        self._reports.pop(index, None)
        self._known[record.key] = record
        for number in self._under_way.pop(trial.key):
            self._end(number, trial.key, record)

    def lost(self, index: int, reason: str) -> None:
        """A trial could not be finished; that says nothing about its configuration."""
        trial = self._trials.pop(index)
        self._reports.pop(index, None)
        for number in self._under_way.pop(trial.key):
            self.unfinished[number] = reason
        if self._searcher.ahead is not None:  # what comes next would rest on its result
            self.is_exhausted = True
        self._on_ended(self)

    # proposals --------------------------------------------------------------------------------------------------------

    def _find(self) -> tuple[int, Told] | None:
        while not self.is_exhausted:
            number = self._next
            if self._limit is not None and number >= self._limit:
                self.is_exhausted = True
                return None
            if number not in self._proposals:
                if not self._tell(number):
                    return None
                proposal = self._searcher.propose(number)
                if proposal is None:
                    self.is_exhausted = True
                    return None
                self._proposals[number] = proposal
            try:
                trial = self._build(self._proposals[number].values)
            except ConfigError as error:
                self._next += 1
                self._end(number, hash_of(["refused", dict(self._proposals[number].values)]), None, str(error))
                continue
            record = self._known.get(trial.key) or self._known.get(trial.stopped_key)
            if record is not None:
                self._next += 1
                if self._asha is not None and record.context == trial.context:
                    self._asha.remember(trial.key, record.reports)
                self._end(number, trial.key, record)
                continue
            if trial.key in self._under_way:
                self._next += 1
                self._under_way[trial.key].append(number)
                continue
            if self._is_over():
                self.is_exhausted = True
                return None
            self._next += 1
            self._under_way[trial.key] = [number]
            self._trials[number] = trial
            return number, self._task_of(trial)
        return None

    def _tell(self, number: int) -> bool:
        """Tell the searcher all outcomes that the proposal rests on; False if they are not there yet."""
        if self._searcher.ahead is None:
            return True
        while self._told <= number - self._searcher.ahead:
            if self._told not in self.ended:
                return False
            self._searcher.tell(self._told, self.ended[self._told].outcome)
            self._told += 1
        return True

    def _is_over(self) -> bool:
        """Whether time is up, or the objective has not become better for long."""
        budget = self._config.budget
        if budget.hours is not None and time.monotonic() - self._began > 3600 * budget.hours:
            return True
        return budget.plateau is not None and self._is_on_plateau(budget.plateau.patience, budget.plateau.tolerance)

    def _is_on_plateau(self, patience: int, tolerance: float) -> bool:
        """In the order of the numbers, up to the first trial that is under way; once on a plateau, always."""
        best, since = math.inf, 0
        for number in range(self._next):
            if number in self.unfinished:
                continue
            if number not in self.ended:
                break
            objectives = self.ended[number].outcome.objectives
            since += 1
            if objectives is not None and objectives[0] < best - tolerance:
                best, since = objectives[0], 0
            if since >= patience:
                return True
        return False

    # ends -------------------------------------------------------------------------------------------------------------

    def _stopped(self, trial: Trial, reports: list[Told]) -> TrialRecord:
        record = TrialRecord(
            key=trial.stopped_key,
            stopped=True,
            context=trial.context,
            reports=[told["value"] for told in reports],
            cpu_seconds=reports[-1]["cpu_seconds"],
            **computed_with(self._config.execution),
        )
        self._ledger.write(record)
        self._scratch.remove(trial.folder)
        return record

    def _end(self, number: int, key: str, record: TrialRecord | None, failure: str | None = None) -> None:
        if record is not None:
            failure = record.failure
        objectives: list[float] | None = None
        if record is not None and failure is None and not record.stopped:
            objectives = [mean_objective(record.runs, weights) for weights in self._config.objectives]
            if not all(map(math.isfinite, objectives)):
                objectives, failure = None, "the objective is not finite"
        stopped = record is not None and record.stopped
        state = "failed" if failure else "stopped" if stopped else "finished"
        reports = record.reports if record and record.context == self._context else []
        outcome = Outcome(state, objectives, reports)  # type: ignore[arg-type]
        self.ended[number] = Ended(number, self._proposals[number], key, record, outcome, failure)
        self._on_ended(self)

    def best(self) -> Ended | None:
        """The finished trial of the least objective, of equal ones the first; None with several objectives."""
        if len(self._config.objectives) > 1:
            return None
        finished = [ended for _, ended in sorted(self.ended.items()) if ended.outcome.objectives]
        return min(finished, key=lambda ended: (ended.outcome.objectives or [math.inf])[0], default=None)


def context_of(config: SearchConfig) -> str | None:
    """Of a search with a scheduler that stops trials: what their reports are of, and by which rule they are stopped."""
    if not isinstance(config.scheduler, AshaScheduler):
        return None
    told = [config.scheduler.model_dump(mode="json"), config.objectives, config.seeds_per_trial]
    return json.dumps(told, sort_keys=True)


def _asha(config: SearchConfig) -> "Asha | None":
    scheduler = config.scheduler
    if not isinstance(scheduler, AshaScheduler):
        return None
    from lwgan_dist.launch.asha import Asha

    reports = config.seeds_per_trial * scheduler.reports_per_seed
    return Asha(reports, scheduler.grace_reports, scheduler.reduction_factor)
