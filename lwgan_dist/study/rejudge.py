"""A study judged again from its ledger: other rank rules, stopping rules and searches for n, without a fit.

It is the same study, see `lwgan_dist.study.study`, in which nothing can be computed: what the configuration asks for
and the ledger does not hold is missing, and what would have followed from it stays open. So the answers are those that
the study would have given, as far as they go.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lwgan_dist.errors import ConfigError
from lwgan_dist.reporting.values import ranges
from lwgan_dist.study.design import PlannedRun
from lwgan_dist.study.engine import Planned
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.refits import Refit
from lwgan_dist.study.study import Outcome, Study
from lwgan_dist.study.work import RunTask

_MOST_NAMED = 5


@dataclass(frozen=True)
class Cost:
    """Runs, without refits of a bootstrap, and their processor seconds."""

    runs: int
    cpu_seconds: float


@dataclass(frozen=True)
class Rejudged:
    """The answer of a ledger.

    Attributes:
        outcome: of the study; what is missing does not count as unfinished.
        used: what this study would have cost, of the runs that there are.
        recorded: what the whole ledger cost.
        unanswered: a sentence for each group of runs that the ledger does not hold.
    """

    outcome: Outcome
    used: Cost
    recorded: Cost
    unanswered: list[str]


class _FromLedger:
    """In place of the phases of a study: finishes nothing, and notes what is missing in the ledger."""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys
        self.missing: list[object] = []

    def finish(
        self, runs: Sequence[Planned], describe: Callable[[Planned], RunTask], what: str, *, short: bool = False
    ) -> dict[str, str]:
        """Reasons by key of the runs that are not in the ledger; of finished ones nothing else is needed."""
        missing = [run for run in runs if run.key not in self._keys]
        self.missing += missing
        return dict.fromkeys((run.key for run in missing), "is not in the ledger")


def rejudge(study: Study) -> Rejudged:
    """What a configuration says of the ledger in its folder; nothing is fitted or written.

    Args:
        study: the configuration, which may judge otherwise than the one that was run, in the folder of that one.

    Raises:
        ConfigError: the ledger holds no run of the configuration.
    """
    records = {record.key: record for record in study.ledger.records(study.ledger.keys(), without=_HEAVY)}
    phases = _FromLedger(set(records))
    outcome = study.outcome(phases)
    if not outcome.tables.runs.num_rows:
        raise ConfigError(
            f"{study.folder.location}: its ledger has no run of this configuration. What is judged again has the same "
            "data, seed and fits: change rank rules (run.score, lwgan.rules), replicates, stop_when, solve or level"
        )
    used = (records[key] for key in set(outcome.tables.runs["key"].to_pylist()))
    return Rejudged(
        replace(outcome, unfinished={}), _cost(used), _cost(records.values()), list(_unanswered(study, phases.missing))
    )


_HEAVY = ("train", "holdout", "metrics")
"""Fields of a record that a cost does not need."""


def _cost(records: Iterable[RunRecord]) -> Cost:
    seconds = [record.cpu_seconds for record in records if record.kind != "refit"]
    return Cost(len(seconds), sum(seconds))


def _unanswered(study: Study, missing: Sequence[object]) -> Iterator[str]:
    """Which runs are missing, by group, and what that leaves open."""
    replicates: dict[tuple[str, int, str], set[int]] = {}
    for run in missing:
        if isinstance(run, PlannedRun):
            replicates.setdefault((run.group.data, run.group.n, run.group.method), set()).add(run.replicate)
    for (data, n, method), numbers in list(replicates.items())[:_MOST_NAMED]:
        yield f"{data}, n = {n}, {method}: {ranges('replicate', numbers)} not in the ledger"
    if len(replicates) > _MOST_NAMED:
        yield f"and replicates of {len(replicates) - _MOST_NAMED} more groups are not in the ledger"
    if replicates:
        yield _consequence(study)
    refits = sum(isinstance(run, Refit) for run in missing)
    if refits:
        yield f"{refits} bootstrap refits are not in the ledger: rank sets rest on the others"


def _consequence(study: Study) -> str:
    if study.config.solve:
        return "a search that asks for them ends there as unfinished: how it would have gone on, the ledger cannot say"
    if study.config.stop_when:
        return (
            "the stopping rule goes on longer than the study did: with what result, the ledger cannot say; their cells "
            "stand with the replicates that there are"
        )
    return "their cells stand with the replicates that there are"
