"""The trials of a search in the order of their proposals: which comes next, which is recorded already, which goes on.

Proposals are a function of the seed and of the outcomes that the searcher gets at fixed points of the order, so a
search is replayed from its ledger: after an interruption the same trials are proposed, and are recorded already. The
searcher, and the end of the search, go by the outcomes as they were recorded, so another rank rule judges the same
trials.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lwgan_dist.campaign.ledger import hash_of
from lwgan_dist.errors import ConfigError
from lwgan_dist.search.config import AshaScheduler, SearchConfig
from lwgan_dist.search.objective import mean_objective
from lwgan_dist.search.searchers import Outcome, Proposal, Searcher
from lwgan_dist.search.trials import EndedTrials, Trial, TrialRecord
from lwgan_dist.search.work import Report, TrialTask, computed_with
from lwgan_dist.storage import Folder

if TYPE_CHECKING:
    from lwgan_dist.launch.asha import Asha


@dataclass(frozen=True)
class Ended:
    """A trial that has ended, by the rank rule of this search.

    Attributes:
        record: None of a configuration that cannot be.
        outcome: what follows from the record.
        failure: why there is no objective.
        as_recorded: the outcome by the rank rule under which the trial was recorded.
    """

    number: int
    proposal: Proposal
    key: str
    record: TrialRecord | None
    outcome: Outcome
    failure: str | None
    as_recorded: Outcome


class Queue:
    """A source of tasks (see `lwgan_dist.launch.task_source.Source`).

    Args:
        config: of the search.
        searcher: proposes.
        build: the trial of a proposal; raises ConfigError if it cannot be.
        task_of: the task of a trial.
        trials: that have ended.
        scratch: folder of runs under way.
        limit: number of trials; None for all that the searcher has.
        on_ended: is called whenever a trial ends, or is recorded already.
    """

    def __init__(
        self,
        config: SearchConfig,
        searcher: Searcher,
        build: Callable[[Mapping[str, Any]], Trial],
        task_of: Callable[[Trial], TrialTask],
        trials: EndedTrials,
        scratch: Folder,
        limit: int | None,
        on_ended: Callable[["Queue"], None],
    ) -> None:
        self._config = config
        self._searcher = searcher
        self._build = build
        self._task_of = task_of
        self._scratch = scratch
        self._limit = limit
        self._on_ended = on_ended
        self._recorded = trials
        self._asha = _asha(config)
        self._context = context_of(config)
        self._began = time.monotonic()
        self._next = self._heard = 0
        self._proposals: dict[int, Proposal] = {}
        self._under_way: dict[str, list[int]] = {}
        self._trials: dict[int, Trial] = {}
        self._reports: dict[int, list[Report]] = {}
        self._ready: tuple[int, TrialTask] | None = None
        self.is_exhausted = False
        self.ended: dict[int, Ended] = {}
        self.unfinished: dict[int, str] = {}
        """Reasons, by number, of trials that were lost; nothing is known about their configurations."""

    # as a source ------------------------------------------------------------------------------------------------------

    @property
    def is_dry(self) -> bool:
        """No further task will come, as far as `look_ahead` has seen."""
        return self.is_exhausted and self._ready is None

    def look_ahead(self) -> None:
        """Go through the proposals up to the next one that has to be computed, or waits for results."""
        if self._ready is None:
            self._ready = self._find()

    def take(self) -> tuple[int, TrialTask] | None:
        """The next trial that is to be computed."""
        self.look_ahead()
        taken, self._ready = self._ready, None
        return taken

    def report(self, index: int, report: Report) -> bool:
        """Whether a trial goes on after a report."""
        number = report.report
        self._reports[index] = [*self._reports.get(index, [])[: number - 1], report]  # a trial may be begun anew
        return self._asha is None or self._asha.goes_on(self._trials[index].key, number, report.value)

    def done(self, index: int, answer: TrialRecord | None) -> None:
        """A trial has ended, or was stopped."""
        trial = self._trials.pop(index)
        reports = self._reports.pop(index, [])
        if answer is None:
            record = self._stopped(trial, reports)
            self._recorded.enter(record)
            self._scratch.remove(trial.folder)
        else:
            record = answer
            self._recorded.add(record)
        for number in self._under_way.pop(trial.key):
            self._end(number, trial, record)

    def lost(self, index: int, reason: str) -> None:
        """A trial could not be finished, which says nothing about its configuration."""
        trial = self._trials.pop(index)
        self._reports.pop(index, None)
        for number in self._under_way.pop(trial.key):
            self.unfinished[number] = reason
        if self._searcher.ahead is not None:  # what comes next would rest on its result
            self.is_exhausted = True
        self._on_ended(self)

    # proposals --------------------------------------------------------------------------------------------------------

    def _find(self) -> tuple[int, TrialTask] | None:
        while not self.is_exhausted:
            number = self._next
            proposal = self._proposal(number)
            if proposal is None:
                return None
            try:
                trial = self._build(proposal.values)
            except ConfigError as error:
                self._next += 1
                self._refuse(number, str(error))
                continue
            if self._ends_at_once(number, trial):
                self._next += 1
                continue
            if self._is_over():
                self.is_exhausted = True
                return None
            self._next += 1
            self._under_way[trial.key] = [number]
            self._trials[number] = trial
            return number, self._task_of(trial)
        return None

    def _proposal(self, number: int) -> Proposal | None:
        """None if there are no more, or it rests on results that are still to come."""
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
        return self._proposals[number]

    def _ends_at_once(self, number: int, trial: Trial) -> bool:
        """Whether a trial is recorded already, or an equal one is under way, which ends both."""
        record = self._recorded.recorded(trial)
        if record is None:
            if trial.key in self._under_way:
                self._under_way[trial.key].append(number)
            return trial.key in self._under_way
        if self._asha is not None and record.context == trial.context:
            self._asha.remember(trial.key, record.reports)
        self._end(number, trial, record)
        return True

    def _tell(self, number: int) -> bool:
        """Tell the searcher all outcomes that the proposal rests on; False if some are still to come."""
        if self._searcher.ahead is None:
            return True
        while self._heard <= number - self._searcher.ahead:
            if self._heard not in self.ended:
                return False
            self._searcher.tell(self._heard, self.ended[self._heard].as_recorded)
            self._heard += 1
        return True

    def _is_over(self) -> bool:
        """Whether time is up, or the objective has not become better for long."""
        budget = self._config.budget
        if budget.hours is not None and time.monotonic() - self._began > 3600 * budget.hours:
            return True
        return budget.plateau is not None and self._is_on_plateau(budget.plateau.patience, budget.plateau.tolerance)

    def _is_on_plateau(self, patience: int, tolerance: float) -> bool:
        """In the order of the numbers, up to the first trial that is under way; once on a plateau, always."""
        objectives = []
        for number in range(self._next):
            if number in self.unfinished:
                continue
            if number not in self.ended:
                break
            objectives.append(self.ended[number].as_recorded.objectives)
        return plateau_after(objectives, patience, tolerance) is not None

    # ends -------------------------------------------------------------------------------------------------------------

    def _stopped(self, trial: Trial, reports: list[Report]) -> TrialRecord:
        return TrialRecord(
            key=trial.stopped_key,
            stopped=True,
            context=trial.context,
            reports=[report.value for report in reports],
            alike=trial.alike,
            cpu_seconds=reports[-1].cpu_seconds,
            **computed_with(self._config.execution),
        )

    def _refuse(self, number: int, failure: str) -> None:
        """A configuration that cannot be has failed."""
        proposal, outcome = self._proposals[number], Outcome("failed", None, [])
        key = hash_of(["refused", dict(proposal.values)])
        self.ended[number] = Ended(number, proposal, key, None, outcome, failure, outcome)
        self._on_ended(self)

    def _end(self, number: int, trial: Trial, record: TrialRecord) -> None:
        judged = self._recorded.judged(trial, record)
        assert judged is not None  # else it would not be recorded
        outcome, failure = ending_of(judged, self._config.objectives, self._context)
        as_recorded = outcome
        if judged is not record:
            as_recorded, _ = ending_of(record, self._config.objectives, self._context)
        proposal = self._proposals[number]
        self.ended[number] = Ended(number, proposal, trial.key, judged, outcome, failure, as_recorded)
        self._on_ended(self)

    def best(self) -> Ended | None:
        """The finished trial of the least objective, of equal ones the first; None with several objectives."""
        return best_of(self.in_order())

    def in_order(self) -> list[Ended]:
        """The trials that have ended, in the order of their numbers."""
        return [ended for _, ended in sorted(self.ended.items())]


def ending_of(
    record: TrialRecord, objectives: Sequence[Mapping[Any, float]], context: str | None
) -> tuple[Outcome, str | None]:
    """The outcome that follows from a record, and why there is no objective.

    Args:
        record: of a trial, judged by the rule of the search.
        objectives: weights of the measures of each.
        context: of the reports that the search sees, see `context_of`.
    """
    reports = record.reports if record.context == context else []
    if record.failure or record.stopped:
        return Outcome("failed" if record.failure else "stopped", None, reports), record.failure
    values = [mean_objective(record.runs, weights) for weights in objectives]
    if not all(map(math.isfinite, values)):
        return Outcome("failed", None, reports), "the objective is not finite"
    return Outcome("finished", values, reports), None


def best_of(ended: Sequence[Ended]) -> Ended | None:
    """The finished trial of the least objective, of equal ones the first; None with several objectives."""
    finished = [(item.outcome.objectives, item) for item in ended if item.outcome.objectives is not None]
    single = [(values[0], item) for values, item in finished if len(values) == 1]
    return min(single, key=lambda pair: pair[0], default=(math.inf, None))[1]


def plateau_after(objectives: Sequence[list[float] | None], patience: int, tolerance: float) -> int | None:
    """Number of trials after which the objective has not become better by the tolerance for ``patience`` of them; None
    if it goes on to become better.
    """
    best, since = math.inf, 0
    for count, values in enumerate(objectives, 1):
        since += 1
        if values is not None and values[0] < best - tolerance:
            best, since = values[0], 0
        if since >= patience:
            return count
    return None


def context_of(config: SearchConfig) -> str | None:
    """Identity of the reports of trials and of the rule that stops them; None for a scheduler that stops none."""
    if not isinstance(config.scheduler, AshaScheduler):
        return None
    content = [config.scheduler.model_dump(mode="json"), config.objectives, config.seeds_per_trial]
    return json.dumps(content, sort_keys=True)


def _asha(config: SearchConfig) -> "Asha | None":
    scheduler = config.scheduler
    if not isinstance(scheduler, AshaScheduler):
        return None
    from lwgan_dist.launch.asha import Asha

    reports = config.seeds_per_trial * scheduler.reports_per_seed
    return Asha(reports, scheduler.grace_reports, scheduler.reduction_factor)
