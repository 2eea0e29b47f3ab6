"""A search from the command to its tables: trials are proposed and computed, under Ray Tune or in this process; the
best is compared with the default on fresh seeds; then everything is derived from the ledger.

The folder of a search:

- ``config.yaml``, ``env.json``   the configuration of the last command; versions, machine, precision
- ``ledger/``                     trials that have ended, with all measures and components of the score
- ``best.yaml``                   the best trial, for ``lwgan-dist train``; with several objectives ``front/``
- ``trials.parquet``, ``runs.parquet``, ...  the tables of `lwgan_dist.search.tables`
- ``figures/``, ``tb/``, ``summary.md``, ``report.html``
- ``work/``                       runs under way
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lwgan_dist.campaign.engine import Computes, Engine, of_task
from lwgan_dist.campaign.folder import LEDGER, SCRATCH, claim, read_environment
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.progress import Progress, Standing, Unseen
from lwgan_dist.config import RunConfig, TableData, read_before
from lwgan_dist.configfile import read_config
from lwgan_dist.data.files.tables import read_configured, rows_digest
from lwgan_dist.data.findings.finding import log_findings
from lwgan_dist.data.settle import look_at, settle
from lwgan_dist.errors import ConfigError
from lwgan_dist.launch.prometheus import Ended as Count
from lwgan_dist.launch.task_source import Source
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.run.folder import CONFIG_FILE
from lwgan_dist.run.run import Run
from lwgan_dist.search.config import AshaScheduler, GridSearcher, SearchConfig
from lwgan_dist.search.objective import seeds
from lwgan_dist.search.searchers import Proposal, Searcher
from lwgan_dist.search.space import Space
from lwgan_dist.search.trial_queue import Ended, Queue, context_of
from lwgan_dist.search.trials import EndedTrials, Trial, TrialRecord
from lwgan_dist.search.work import TrialTask, execute
from lwgan_dist.storage import Folder, exclusive

TRIALS_BY_DEFAULT = 30
_NOT_RECORDED = "is not in the ledger"


@dataclass(frozen=True)
class Pair:
    """The best trial's configuration and the default on one fresh seed; None of what did not finish."""

    index: int
    best: TrialRecord | None
    default: TrialRecord | None


@dataclass(frozen=True)
class Outcome:
    """The results of a search.

    Attributes:
        ended: trials in the order of their numbers.
        best: the best finished trial; None with several objectives, or if none has finished.
        pairs: of the comparison with the default.
        unfinished: reasons, by what it is, of what was lost; the same command tries it again.
        judged_again: trials and runs that were recorded under another rank rule.
    """

    ended: list[Ended]
    best: Ended | None
    pairs: list[Pair]
    unfinished: dict[str, str]
    judged_again: int = 0


class Search:
    """A configuration in its folder. Nothing is written before `execute`.

    Args:
        config: the search.
        folder: of the search; every worker must see it.

    Raises:
        ConfigError, DataError: a space, an initial point or a default run that cannot be; a folder that holds something
            else.

    Attributes:
        space: checked.
        default: the default run, resolved.
        base: the same as configured, with the precision of the search.
        sample: of the default run, with its configured seeds.
        intrinsic_dim: the truth, None if unknown.
    """

    def __init__(self, config: SearchConfig, folder: Folder) -> None:
        config, self._table_digest = _with_table(config)
        self.config = config
        self.folder = folder
        self.ledger = Ledger(folder.sub(LEDGER), TrialRecord)
        self.space = Space(config)
        self._environment = read_environment(folder, "search")
        self.base = self._settled(config.run)
        run = Run(self.base)
        self.default, self.sample, self.intrinsic_dim = run.config, run.sample, run.sample.intrinsic_dim
        self.base = self.base.on_rows(self.sample.shape)
        self._check_measures()
        self._check_halts(run)
        self._searcher()

    @property
    def precision(self) -> str:
        """What ``precision: auto`` means in this search, on whatever machine its runs are."""
        return str(self._environment["precision"])

    @property
    def changed(self) -> list[str]:
        """Sections in which the configuration differs from that of the command before, other than its ends."""
        if not self.folder.has(CONFIG_FILE) or self.folder.local is None:
            return []
        try:
            before = read_config(SearchConfig, str(self.folder.local / CONFIG_FILE), fill=_filled)
        except ConfigError:  # of another version
            return []
        names = set(SearchConfig.model_fields) - {"budget", "confirm_seeds", "execution"}
        differing = {name for name in names if getattr(before, name) != getattr(self.config, name)}
        if before.run.identity() == self.config.run.identity():
            differing.discard("run")
        return sorted(differing)

    def _check_measures(self) -> None:
        used = {measure for weights in self.config.objectives for measure in weights}
        if self.intrinsic_dim is None and used & {"miss", "dimension_error"}:
            raise ConfigError("objective: miss and dimension_error need data of known dimension")
        count = len(self.sample.holdout)
        if used & set(METRICS) and self.sample.stream is None and count < 2:
            raise ConfigError(
                f"run.data.holdout_fraction: leaves {count} hold-out rows, and the objective needs 2 or more"
            )

    def _check_halts(self, run: Run) -> None:
        scheduler = self.config.scheduler
        if not isinstance(scheduler, AshaScheduler):
            return
        count = scheduler.reports_per_seed
        if len(run.halts(count)) < count:
            raise ConfigError(
                f"scheduler.reports_per_seed: {count} is too many for the {run.halts(1)[0]} iterations of the default "
                "run"
            )

    def _settled(self, config: RunConfig) -> RunConfig:
        """Without what a worker would decide by its own machine or working folder."""
        if config.precision == "auto":
            config = config.model_copy(update={"precision": self.precision})
        if isinstance(config.data, TableData):
            path = str(Path(config.data.path).absolute())
            config = config.model_copy(update={"data": config.data.model_copy(update={"path": path})})
        return config

    def _searcher(self) -> Searcher:
        return Searcher(self.config, self.space, self.default)

    # trials -----------------------------------------------------------------------------------------------------------

    def trial(self, values: Mapping[str, Any]) -> Trial:
        """The trial of values of the space.

        Raises:
            ConfigError: there can be no such run.
        """
        config = self.base
        if values:
            config = self._settled(self.space.configuration(dict(values))).on_rows(self.sample.shape)
        chosen = tuple(seeds(self.config.seed, "trial", index) for index in range(self.config.seeds_per_trial))
        searched = frozenset(path.removeprefix("score.") for path in self.config.space if path.startswith("score."))
        return Trial(config, chosen, self._table_digest, self.unit, context_of(self.config), searched)

    @property
    def unit(self) -> Any:
        """The standardisation in whose units is measured."""
        return self.config.run.data.standardize

    @property
    def trials(self) -> int | None:
        """Number of trials; None: all that the searcher has."""
        if self.config.budget.trials is None and isinstance(self.config.searcher, GridSearcher):
            return None
        return self.config.budget.trials or TRIALS_BY_DEFAULT

    # what would be done -----------------------------------------------------------------------------------------------

    def first_proposals(self, count: int = 5) -> list[Proposal]:
        """The first proposals, as far as they do not rest on results."""
        chosen = self._searcher()
        count = min(count, self.trial_count, chosen.ahead or count)
        return [proposal for proposal in map(chosen.propose, range(count)) if proposal is not None]

    @property
    def trial_count(self) -> int:
        """Number of trials, if no other end of the search comes before."""
        count = self._searcher().count
        return self.trials or 0 if count is None else min(count, self.trials or count)

    @property
    def ended(self) -> int:
        """Number of trials, from the first on, that have ended already."""
        queue = self._queue(self._searcher(), self._task, self.ended_trials(), lambda _queue: None)
        queue.look_ahead()
        return len(queue.ended)

    def ended_trials(self) -> EndedTrials:
        """The trials in the ledger by name."""
        return EndedTrials(self.ledger, self.intrinsic_dim)

    def _task(self, trial: Trial) -> TrialTask:
        scheduler, execution = self.config.scheduler, self.config.execution
        halted = isinstance(scheduler, AshaScheduler) and trial.context is not None
        return TrialTask(
            location=self.folder.location,
            execution=of_task(execution),
            trial=trial,
            weights=self.config.objectives[0],
            timed=any("cpu_seconds" in weights for weights in self.config.objectives),
            reports_per_seed=scheduler.reports_per_seed if halted else 1,  # type: ignore[union-attr]
        )

    # doing it ---------------------------------------------------------------------------------------------------------

    def execute(
        self, progress: Progress, publish: Callable[[Outcome], None] | None = None, *, verbose: bool = False
    ) -> Outcome:
        """Compute what is missing.

        Args:
            progress: shows the phases.
            publish: gets the outcome, while no other command can work in the folder.
            verbose: show Ray's messages.

        Raises:
            ClusterError: no cluster, or one without the resources.
            KeyboardInterrupt: the same search goes on from the trials that have ended.
        """
        with exclusive(self.folder):
            claim(self.folder, "search", self._environment, self.config, self.ledger)
            recorded = self.ended_trials()
            execution = self.config.execution
            with Engine("search", self.folder, execution, execute, ended=_count, verbose=verbose) as engine:
                queue = self._try(recorded, engine, progress)
                self.ledger.gather()
                ended, best = queue.in_order(), queue.best()
                pairs, lost = self._compare(best, recorded, engine, progress)
            self.ledger.gather()
            unfinished = {f"trial {number}": reason for number, reason in sorted(queue.unfinished.items())} | lost
            if not unfinished:
                self.folder.remove(SCRATCH)
            outcome = Outcome(ended, best, pairs, unfinished, recorded.judged_again)
            if publish:
                publish(outcome)
            return outcome

    def recorded(self) -> tuple[list[Ended], list[int]]:
        """The trials in the ledger, in the order of their numbers, and the numbers of those that it lacks; nothing is
        computed or written.
        """
        queue = self._try(self.ended_trials(), _LedgerOnly(), Unseen())
        return queue.in_order(), sorted(queue.unfinished)

    def recorded_pairs(self, best: Ended | None, recorded: EndedTrials) -> list[Pair]:
        """The comparison of the best trial with the default, as far as the ledger has it."""
        return self._compare(best, recorded, _LedgerOnly(), Unseen())[0]

    def _try(self, recorded: EndedTrials, engine: Computes, progress: Progress) -> Queue:
        """Compute the trials of the searcher."""
        has_begun = False

        def ended(queue: Queue) -> None:
            if has_begun:  # else it was recorded before
                progress.update(_standing(queue, engine.running))

        queue = self._queue(self._searcher(), self._task, recorded, ended)
        queue.look_ahead()
        progress.begin(self.trials, "trials", len(queue.ended))
        has_begun = True
        if not queue.is_dry:
            engine.serve(queue)
        return queue

    def _queue(
        self,
        chosen: Searcher,
        task_of: Callable[[Trial], TrialTask],
        recorded: EndedTrials,
        on_ended: Callable[[Queue], None],
    ) -> Queue:
        scratch = self.folder.sub(SCRATCH)
        return Queue(self.config, chosen, self.trial, task_of, recorded, scratch, self.trials, on_ended)

    def _compare(
        self, best: Ended | None, recorded: EndedTrials, engine: Computes, progress: Progress
    ) -> tuple[list[Pair], dict[str, str]]:
        """Compute the best trial's configuration and the default on fresh seeds."""
        if best is None or not self.config.fresh_seeds:
            return [], {}
        configurations = {"best": self.trial(best.proposal.values), "default": self.trial({})}
        if configurations["best"].config == configurations["default"].config or best.proposal.origin == "default":
            return [], {}
        planned: dict[tuple[int, str], Trial] = {}
        for index in range(self.config.fresh_seeds):
            fresh = (seeds(self.config.seed, "confirm", index),)
            for role, trial in configurations.items():
                planned[index, role] = replace(trial, seeds=fresh, context=None)
        # a worker of a killed command may have recorded some of them while the trials ran
        for record in self.ledger.records({trial.key for trial in planned.values()}, without=("fits",)):
            recorded.add(record)
        missing = {trial.key: trial for trial in planned.values() if recorded.recorded(trial) is None}
        if missing:
            progress.begin(len(missing), "runs on fresh seeds")
        records: list[TrialRecord] = []

        def note(_index: int, record: TrialRecord) -> None:
            recorded.add(record)
            records.append(record)
            failed = sum(record.failure is not None for record in records)
            spent = sum(record.cpu_seconds for record in records)
            progress.update(Standing(done=len(records), failed=failed, cpu_seconds=spent, running=engine.running))

        lost = engine.compute([self._task(trial) for trial in missing.values()], note)
        names = list(missing)
        reasons = {f"comparison, run {names[i]}": reason for i, reason in lost.items()}

        def judged(index: int, role: str) -> TrialRecord | None:
            trial = planned[index, role]
            record = recorded.recorded(trial)
            return recorded.judged(trial, record) if record else None

        pairs = [Pair(i, judged(i, "best"), judged(i, "default")) for i in range(self.config.fresh_seeds)]
        return pairs, reasons


class _LedgerOnly:
    """In place of an engine: computes nothing, so a trial that is not in the ledger is lost."""

    running = 0

    def serve(self, source: Source) -> None:
        """Lose every task."""
        while (taken := source.take()) is not None:
            source.lost(taken[0], _NOT_RECORDED)

    def compute(self, tasks: Sequence[TrialTask], on_done: Callable[[int, Any], None]) -> dict[int, str]:
        """Lose every task."""
        return dict.fromkeys(range(len(tasks)), _NOT_RECORDED)


def _standing(queue: Queue, running: int) -> Standing:
    states = [item.outcome.state for item in queue.ended.values()]
    best = queue.best()
    return Standing(
        done=len(states) + len(queue.unfinished),
        failed=states.count("failed") + len(queue.unfinished),
        stopped=states.count("stopped"),
        best=(best.outcome.objectives[0], best.number) if best and best.outcome.objectives else None,
        cpu_seconds=sum(item.record.cpu_seconds for item in queue.ended.values() if item.record),
        running=running,
    )


def _count(record: TrialRecord) -> Count:
    """Runs of a trial that has ended, of which one without an estimate has no entry, and how many failed."""
    failed = record.failure is not None
    return Count(len(record.runs) + failed, failed)


def _filled(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "run": read_before(stored.get("run", {}))}


def _with_table(config: SearchConfig) -> tuple[SearchConfig, str | None]:
    """The search with what the rows of its table decide written out, once for all trials, and their identity."""
    data = config.run.data
    if not isinstance(data, TableData):
        return config, None
    table, changes, findings = settle(data, read_configured(data))
    data = data.model_copy(update=changes)
    log_findings([*findings, *look_at(table, data.standardize)], data.path)
    run = config.run.model_copy(update={"data": data})
    return config.model_copy(update={"run": run}), rows_digest(table.rows)
