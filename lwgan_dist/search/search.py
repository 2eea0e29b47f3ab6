"""A search from the command to its tables: trials are proposed and carried out, under Ray Tune or in this process; the
best is compared with the default on fresh seeds; then everything is computed from the ledger.

The folder of a search:

- ``config.yaml``, ``env.json``   the configuration of the last command; versions, machine, precision
- ``ledger/``                     trials that have ended, with all measures
- ``best.yaml``                   the best trial, for ``lwgan-dist train``; with several objectives ``front/``
- ``trials.parquet``, ``runs.parquet``, ...  the tables of `lwgan_dist.search.tables`
- ``figures/``, ``tb/``, ``summary.md``, ``report.html``
- ``work/``                       runs under way
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lwgan_dist.config import RunConfig, TableData
from lwgan_dist.configfile import read_config
from lwgan_dist.data.tables import read_table, rows_digest
from lwgan_dist.errors import ConfigError
from lwgan_dist.holding import claim, read_environment
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.runs import CONFIG_FILE, Run
from lwgan_dist.search.config import AshaScheduler, GridSearcher, SearchConfig
from lwgan_dist.search.engine import Engine
from lwgan_dist.search.objective import seeds
from lwgan_dist.search.queue import Ended, Queue, context_of
from lwgan_dist.search.searchers import Proposal, Searcher
from lwgan_dist.search.space import Space
from lwgan_dist.search.trials import Trial, TrialLedger, TrialRecord
from lwgan_dist.search.work import LEDGER, SCRATCH
from lwgan_dist.storage import Folder, exclusive

TRIALS_BY_DEFAULT = 30

Told = dict[str, Any]


class Progress(Protocol):
    """Who is told how a search goes."""

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        """A phase of so many trials or runs begins, of which some have ended before."""

    def update(
        self,
        done: int,
        failed: int,
        stopped: int,
        best: tuple[float, int] | None,
        cpu_seconds: float,
        running: int,
    ) -> None:
        """Where the phase stands; ``best`` is objective and number of the best trial, ``running`` are under way."""


@dataclass(frozen=True)
class Pair:
    """The best trial's configuration and the default on one fresh seed; None of what did not finish."""

    index: int
    best: TrialRecord | None
    default: TrialRecord | None


@dataclass(frozen=True)
class Outcome:
    """What a search has found.

    Attributes:
        ended: trials in the order of their numbers.
        best: the best finished trial; None with several objectives, or if none has finished.
        pairs: of the comparison with the default.
        unfinished: reasons, by what it is, of what was lost; the same command tries it again.
    """

    ended: list[Ended]
    best: Ended | None
    pairs: list[Pair]
    unfinished: dict[str, str]


class Search:
    """A configuration in its folder. Nothing is written before `carry_out`.

    Args:
        config: the search.
        folder: of the search; every worker must see it.

    Raises:
        ConfigError, DataError: a space, an initial point or a default run that cannot be; a folder that holds something
            else.

    Attributes:
        space: checked.
        default: the default run, resolved.
        base: the same as told, with the precision of the search.
        sample: of the default run, with the seeds as told.
        intrinsic_dim: the truth, None if unknown.
    """

    def __init__(self, config: SearchConfig, folder: Folder) -> None:
        self.config = config
        self.folder = folder
        self.ledger = TrialLedger(folder.sub(LEDGER))
        self.space = Space(config)
        self._environment = read_environment(folder, "search")
        self._table_digest = _table_digest(config.run)
        self.base = self._settled(config.run)
        run = Run(self.base)
        self.default, self.sample, self.intrinsic_dim = run.config, run.sample, run.sample.intrinsic_dim
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
            before = read_config(SearchConfig, str(self.folder.local / CONFIG_FILE))
        except ConfigError:  # of another version
            return []
        names = set(SearchConfig.model_fields) - {"budget", "confirm_seeds", "execution"}
        return sorted(name for name in names if getattr(before, name) != getattr(self.config, name))

    def _check_measures(self) -> None:
        used = {measure for weights in self.config.objectives for measure in weights}
        if self.intrinsic_dim is None and used & {"miss", "dimension_error"}:
            raise ConfigError("objective: miss and dimension_error need data of known dimension")
        held = len(self.sample.holdout)
        if used & set(METRICS) and self.sample.stream is None and held < 2:
            raise ConfigError(
                f"run.data.holdout_fraction: leaves {held} hold-out rows, and the objective needs 2 or more"
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
        config = self.base if not values else self._settled(self.space.configuration(dict(values)))
        chosen = tuple(seeds(self.config.seed, "trial", index) for index in range(self.config.seeds_per_trial))
        return Trial(config, chosen, self._table_digest, self.unit, context_of(self.config))

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
        """Of the trials the first so many have ended already."""
        queue = self._queue(self._searcher(), lambda _trial: {}, self.trials, lambda _queue: None)
        queue.look_ahead()
        return len(queue.ended)

    def _task(self, engine: Engine, trial: Trial) -> Told:
        """What `lwgan_dist.search.work` is told about a trial."""
        scheduler = self.config.scheduler
        halted = isinstance(scheduler, AshaScheduler) and trial.context is not None
        return {
            **engine.common,
            "config": trial.config.model_dump(mode="json"),
            "seeds": trial.seeds,
            "table_digest": trial.table_digest,
            "unit": trial.unit,
            "weights": self.config.objectives[0],
            "context": trial.context,
            "timed": any("cpu_seconds" in weights for weights in self.config.objectives),
            "reports_per_seed": scheduler.reports_per_seed if halted else 1,  # type: ignore[union-attr]
        }

    # doing it ---------------------------------------------------------------------------------------------------------

    def carry_out(
        self, progress: Progress, publish: Callable[[Outcome], None] | None = None, *, verbose: bool = False
    ) -> Outcome:
        """Carry out what is missing.

        Args:
            progress: is told.
            publish: gets the outcome, while no other command can work in the folder.
            verbose: show what Ray says.

        Raises:
            ClusterError: no cluster, or one without the resources.
            KeyboardInterrupt: the same search goes on from the trials that have ended.
        """
        with exclusive(self.folder):
            claim(self.folder, "search", self._environment, self.config, self.ledger)
            with Engine(self.folder, self.config.execution, verbose) as engine:
                queue = self._try(engine, progress)
                self.ledger.gather()
                best = queue.best()
                pairs, lost = self._compare(best, engine, progress)
            self.ledger.gather()
            unfinished = {f"trial {number}": reason for number, reason in sorted(queue.unfinished.items())} | lost
            if not unfinished:
                self.folder.remove(SCRATCH)
            outcome = Outcome([ended for _, ended in sorted(queue.ended.items())], best, pairs, unfinished)
            if publish:
                publish(outcome)
            return outcome

    def _try(self, engine: Engine, progress: Progress) -> Queue:
        """Carry out the trials of the searcher."""
        has_begun = False

        def ended(queue: Queue) -> None:
            if not has_begun:  # found in the ledger
                return
            states = [item.outcome.state for item in queue.ended.values()]
            best = queue.best()
            progress.update(
                len(states) + len(queue.unfinished),
                states.count("failed") + len(queue.unfinished),
                states.count("stopped"),
                (best.outcome.objectives[0], best.number) if best and best.outcome.objectives else None,
                sum(item.record.cpu_seconds for item in queue.ended.values() if item.record),
                engine.running,
            )

        queue = self._queue(self._searcher(), lambda trial: self._task(engine, trial), self.trials, ended)
        queue.look_ahead()
        progress.begin(self.trials, "trials", len(queue.ended))
        has_begun = True
        if not queue.is_dry:
            engine.serve(queue)
        return queue

    def _queue(
        self,
        chosen: Searcher,
        task_of: Callable[[Trial], Told],
        limit: int | None,
        on_ended: Callable[[Queue], None],
    ) -> Queue:
        scratch = self.folder.sub(SCRATCH)
        return Queue(self.config, chosen, self.trial, task_of, self.ledger, scratch, limit, on_ended)

    def _compare(self, best: Ended | None, engine: Engine, progress: Progress) -> tuple[list[Pair], dict[str, str]]:
        """Carry out the best trial's configuration and the default on fresh seeds."""
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
        known = {record.key: record for record in self.ledger.records({trial.key for trial in planned.values()})}
        missing = {trial.key: trial for trial in planned.values() if trial.key not in known}
        if missing:
            progress.begin(len(missing), "runs on fresh seeds")
        spent = failed = 0.0

        def note(_index: int, answer: Told) -> None:
            nonlocal spent, failed
            record = known[answer["key"]] = TrialRecord(**answer)
            spent, failed = spent + record.cpu_seconds, failed + (record.failure is not None)
            done = len(known.keys() & missing.keys())
            progress.update(done, int(failed), 0, None, spent, engine.running)

        lost = engine.finish([self._task(engine, trial) for trial in missing.values()], note)
        names = list(missing)
        reasons = {f"comparison, run {names[i]}": reason for i, reason in lost.items()}
        pairs = [
            Pair(index, *(known.get(planned[index, role].key) for role in ("best", "default")))
            for index in range(self.config.fresh_seeds)
        ]
        return pairs, reasons


def _table_digest(config: RunConfig) -> str | None:
    data = config.data
    if not isinstance(data, TableData):
        return None
    return rows_digest(read_table(data.path, columns=data.columns, array=data.array).rows)
