"""A search judged again from its ledger: other rank rules, objectives, settings of successive halving, ends of the
search. Nothing is fitted or written.

Rank rules and objectives follow from what is recorded of every finished trial. Settings of successive halving are
replayed on the interim objectives that are recorded: the trials come in the order of their numbers, one at a time, and
each goes on as long as the setting lets it. A trial that was stopped, and would have gone on, has no end: what it would
have come to is not known, and so it is left out and named.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lwgan_dist.errors import ConfigError
from lwgan_dist.reporting.values import counted, ranges
from lwgan_dist.search.config import AshaScheduler, SearchConfig
from lwgan_dist.search.objective import finite, mean_objective
from lwgan_dist.search.rows import spent
from lwgan_dist.search.search import Outcome, Search
from lwgan_dist.search.searchers import Outcome as Ending
from lwgan_dist.search.trial_queue import Ended, best_of, ending_of, plateau_after
from lwgan_dist.search.trials import EndedTrials
from lwgan_dist.storage import Folder

if TYPE_CHECKING:
    from lwgan_dist.launch.asha import Asha

_MOST_NAMED = 5


@dataclass(frozen=True)
class Replayed:
    """The answer of a ledger.

    Attributes:
        search: the configuration that judges.
        outcome: by it, as far as the ledger has it.
        recorded: trials as the search that was run has judged and stopped them.
        unanswered: sentences about what the ledger cannot say.
        supposed: sentences about what the answers rest on.
    """

    search: Search
    outcome: Outcome
    recorded: list[Ended]
    unanswered: list[str]
    supposed: list[str]


def replay(config: SearchConfig, before: SearchConfig, folder: Folder) -> Replayed:
    """What a configuration says of the ledger of a search; nothing is fitted or written.

    Args:
        config: the configuration.
        before: that which was run.
        folder: of the search.

    Raises:
        ConfigError: the ledger holds no trial of the configuration, or no interim objectives that its scheduler sees.
    """
    search, halving = Search(config, folder), _Halving(config, before)
    recorded, missing = Search(before, folder).recorded()
    if (config.budget.trials, config.budget.plateau) != (before.budget.trials, before.budget.plateau):
        missing = [*missing, *range(len(recorded) + len(missing), search.trial_count)]
    under = Search(config.model_copy(update={"scheduler": before.scheduler}), folder)  # by which trials are named
    trials = under.ended_trials()
    judged, without = _judged(under, trials, [item for item in recorded if item.number < search.trial_count])
    ended = halving.of(judged) if config.scheduler != before.scheduler else judged
    kept = _to_the_end(ended, config) if config.budget.plateau != before.budget.plateau else ended
    if not kept:
        raise ConfigError(
            f"{folder.location}: its ledger has no trial of this configuration. What is judged again has the same "
            "data, seed, space and fits: change the rank rule (run.score), objective, scheduler or budget"
        )
    last = kept[-1].number if len(kept) < len(ended) else search.trial_count
    best = best_of(kept)
    outcome = Outcome(kept, best, under.recorded_pairs(best, trials), {}, trials.judged_again)
    unknown = {number: report for number, report in halving.unknown.items() if number <= last}
    open_ends = [number for number in missing if number < last], [number for number in without if number < last]
    unanswered = [*_unknown(unknown), *_missing(*open_ends, outcome)]
    return Replayed(search, outcome, recorded, unanswered, list(_supposed(config, before)))


def _judged(search: Search, trials: EndedTrials, recorded: Sequence[Ended]) -> tuple[list[Ended], list[int]]:
    """The recorded trials by the rank rule and the objectives of a search, and the numbers of those that were not
    measured for it.
    """
    ended, without = [], []
    for item in recorded:
        if item.record is None:  # cannot be, whatever judges it
            ended.append(item)
            continue
        trial = search.trial(item.proposal.values)
        record = trials.recorded(trial)
        judged = trials.judged(trial, record) if record else None
        if judged is None:
            without.append(item.number)
            continue
        outcome, failure = ending_of(judged, search.config.objectives, trial.context)
        ended.append(Ended(item.number, item.proposal, trial.key, judged, outcome, failure, outcome))
    return ended, without


class _Halving:
    """A setting of successive halving, or none, decides on trials that another one has seen.

    Args:
        config: with the setting.
        before: that which was run.

    Attributes:
        unknown: after which report a trial was stopped that goes on, by its number.
    """

    def __init__(self, config: SearchConfig, before: SearchConfig) -> None:
        self._config, self._before = config, before
        self.unknown: dict[int, int] = {}
        self._asha, self._decided = self._new(), dict[str, Ended | int]()

    def _new(self) -> "Asha | None":
        scheduler, seen = self._config.scheduler, self._before.scheduler
        if not isinstance(scheduler, AshaScheduler):
            return None
        each = seen.reports_per_seed if isinstance(seen, AshaScheduler) else 1
        if scheduler.reports_per_seed not in (1, each):
            raise ConfigError(
                f"scheduler.reports_per_seed: the ledger has interim objectives at {counted(each, 'report')} of a "
                f"seed; replay {each}{' or 1' if each > 1 else ''}"
            )
        from lwgan_dist.launch.asha import Asha

        return Asha(self.reports, scheduler.grace_reports, scheduler.reduction_factor)

    @property
    def reports(self) -> int:
        """Reports of a whole trial, the last of which is its end."""
        return self._config.seeds_per_trial * self._each(self._config)

    @staticmethod
    def _each(config: SearchConfig) -> int:
        return config.scheduler.reports_per_seed if isinstance(config.scheduler, AshaScheduler) else 1

    def of(self, ended: Sequence[Ended]) -> list[Ended]:
        """The trials as this setting would have ended them; without those of which that is not known."""
        return [decided for item in ended if (decided := self._decide(item)) is not None]

    def _decide(self, item: Ended) -> Ended | None:
        if item.outcome.state == "failed":
            return item
        if item.key not in self._decided:  # equal trials are one
            self._decided[item.key] = self._go_through(item)
        decided = self._decided[item.key]
        if isinstance(decided, int):
            self.unknown[item.number] = decided
            return None
        return replace(decided, number=item.number, proposal=item.proposal)

    def _go_through(self, item: Ended) -> Ended | int:
        reports, is_finished = self._reports(item), item.outcome.state == "finished"
        for number, value in enumerate(reports, 1):
            if self._asha and not self._asha.goes_on(item.key, number, value):
                return _stopped(item, reports[:number], self.reports if is_finished else len(reports))
        is_whole = self._asha is None or len(reports) == self.reports - 1
        return item if is_finished and is_whole else len(reports)

    def _reports(self, item: Ended) -> list[float]:
        """The interim objectives at the reports of this setting."""
        assert item.record is not None
        each, seen = self._each(self._config), self._each(self._before)
        if self._asha is None or (each == seen and isinstance(self._before.scheduler, AshaScheduler)):
            return item.outcome.reports
        if item.outcome.state == "finished":  # at the ends of its seeds
            runs, weights = item.record.runs, self._config.objectives[0]
            return [finite(mean_objective(runs[:count], weights)) for count in range(1, len(runs))]
        return item.outcome.reports[seen - 1 :: seen]


def _stopped(item: Ended, reports: list[float], of: int) -> Ended:
    """A trial that was stopped after some of the reports that it had, at their share of its cost."""
    assert item.record is not None
    seconds = item.record.cpu_seconds * len(reports) / of
    record = replace(item.record, stopped=True, runs=[], reports=reports, cpu_seconds=seconds)
    ending = Ending("stopped", None, reports)
    return replace(item, record=record, outcome=ending, as_recorded=ending, failure=None)


def _to_the_end(ended: list[Ended], config: SearchConfig) -> list[Ended]:
    """The trials up to the plateau at which the search ends, or all."""
    plateau = config.budget.plateau
    if plateau is None:
        return ended
    objectives = [item.outcome.objectives for item in ended]
    return ended[: plateau_after(objectives, plateau.patience, plateau.tolerance)]


def _unknown(unknown: Mapping[int, int]) -> Iterator[str]:
    """What is said of trials that were stopped after so many reports, by number, and would have gone on."""
    for number, report in list(unknown.items())[:_MOST_NAMED]:
        yield (
            f"trial {number} was stopped after {report} of its reports, and this setting lets it go on: what it would "
            "have come to was never trained, and it is left out"
        )
    if len(unknown) > _MOST_NAMED:
        yield f"and {len(unknown) - _MOST_NAMED} more trials that were stopped go on"
    if unknown:
        yield "decisions at later rungs lack the objectives of these trials, and the best trial may be one of them"


def _missing(missing: Sequence[int], without: Sequence[int], outcome: Outcome) -> Iterator[str]:
    if without:
        yield (
            f"{ranges('trial', without)} left out: stopped by the objective that was run, or other fits than these "
            "settings ask for"
        )
    if missing:
        yield f"{ranges('trial', missing)} not in the ledger: with what result the search goes on, it cannot say"
    absent = sum(record is None for pair in outcome.pairs for record in (pair.best, pair.default))
    if absent:
        yield f"{absent} of the {2 * len(outcome.pairs)} runs on fresh seeds are not in the ledger"


def _supposed(config: SearchConfig, before: SearchConfig) -> Iterator[str]:
    """What the answers rest on."""
    if isinstance(config.scheduler, AshaScheduler) and config.scheduler != before.scheduler:
        yield "trials come one at a time, in the order of their numbers; with many at once others are stopped"
    if config.searcher.name == "optuna":
        yield "the trials are those that were tried: a sampler that goes by results might have proposed others"
    if config.budget.hours is not None:
        yield "budget.hours is not judged: a replay takes no time"


def recorded_sentence(result: Replayed) -> str:
    """How the search ended that was run, beside which the replay is read."""
    states = Counter(item.outcome.state for item in result.recorded)
    counts = ", ".join(f"{states[state]} {state}" for state in ("finished", "stopped", "failed") if states[state])
    before, now = (spent(Outcome(ended, None, [], {})) for ended in (result.recorded, result.outcome.ended))
    best = best_of(result.recorded)
    of_best = f", trial {best.number} the best" if best else ""
    return f"As it was run: {counts}{of_best}, {before:.3g} CPU s in its trials; so judged some {now:.3g}"
