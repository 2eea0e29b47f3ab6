"""A study from the command to its tables: what is missing is computed, under Ray Tune or in this process, until nothing
is; then everything is derived again from the ledger.

The folder of a study:

- ``config.yaml``, ``env.json``  the configuration of the last command; versions, machine, precision
- ``ledger/``                    finished runs, with every component of the score
- ``runs.parquet``, ``cells.parquet``, ...  the tables of `lwgan_dist.study.tables`
- ``figures/``, ``tb/``, ``summary.md``, ``report.html``
- ``work/``, ``models/``, ``runs/``  runs under way; networks for the bootstrap; whole run folders, if they are kept
"""

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from lwgan_dist.campaign.folder import LEDGER, SCRATCH, claim, read_environment
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.progress import Progress
from lwgan_dist.errors import ConfigError, DataError
from lwgan_dist.metrics.registry import refuse_inapplicable
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder, exclusive
from lwgan_dist.study import aggregate
from lwgan_dist.study.adaptive import more_replicates
from lwgan_dist.study.bootstrap import refit_config
from lwgan_dist.study.classical import require
from lwgan_dist.study.config import StopWhen, StudyConfig
from lwgan_dist.study.design import Design, Group, PlannedRun
from lwgan_dist.study.engine import Finisher, Phases
from lwgan_dist.study.metrics import with_means
from lwgan_dist.study.plan import Plan
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.refits import Refit, bootstrap_rows, refits_of
from lwgan_dist.study.rows import provenance_table, runs_table
from lwgan_dist.study.solving import Searches
from lwgan_dist.study.tables import BOOTSTRAP, StudyTables
from lwgan_dist.study.work import ClassicalTask, LwganTask, ModelTask, RefitTask, RunTask, has_model


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command.

    Attributes:
        planned: runs that the study consists of now, bootstrap refits included.
        unfinished: reasons by run, of those that did not finish; the same command tries them again.
        diverged: runs of models that ended without an estimate.
    """

    tables: StudyTables
    planned: int
    unfinished: dict[str, str]
    diverged: int


class Study:
    """A configuration in its folder. Nothing is written before `execute`.

    Args:
        config: the study.
        folder: of the study; every worker must see it.
        part: (k, N): of the replicates every N-th, from number k - 1 on; N folders make the study, see
            `lwgan_dist.study.merge`.

    Raises:
        ConfigError, DataError: see `Design`; a folder that holds something else; runs that cannot be; a part of a study
            whose replicates follow from results.
    """

    def __init__(self, config: StudyConfig, folder: Folder, part: tuple[int, int] = (1, 1)) -> None:
        if part != (1, 1) and (config.stop_when or config.solve):
            raise ConfigError("--part: with stop_when or solve it follows from all results which replicates there are")
        self.config = config
        self.part = part
        self.folder = folder
        self.ledger = Ledger(folder.sub(LEDGER), RunRecord)
        self._environment = read_environment(folder, "study")
        self.design = Design(config, self.precision)
        self._check()

    @property
    def precision(self) -> str:
        """What ``precision: auto`` means in this study, on whatever machine its runs are."""
        return str(self._environment["precision"])

    def _check(self) -> None:
        """Refuse what every replicate of a group would be refused for."""
        require(group.estimator for group in self.design.groups if group.estimator)
        for group in self.design.groups:
            if group.kind != "classical":
                (run, *_) = self.design.runs(group, range(1))
                try:
                    self._check_run(run)
                except (ConfigError, DataError) as error:
                    raise type(error)(f"{group.data}, n = {group.n}, {group.method}: {error}") from None

    def _check_run(self, run: PlannedRun) -> None:
        prepared = Run(run.config)
        config = prepared.config
        refuse_inapplicable(self.config.metrics, config.model.has_encoder, prepared.sample.shape)
        if any(rule.score_on == "holdout" for rule in run.group.rules.values()):
            score = run.config.score.model_copy(update={"score_on": "holdout"})
            Run(run.config.model_copy(update={"score": score}))
        if self.config.bootstrap and run.group.kind == "lwgan":
            for kind in self.config.bootstrap.kinds:
                refit_config(config, self.config.bootstrap, kind, 0, config.seed)

    # what is to be done ----------------------------------------------------------------------------------------------

    def first_runs(self) -> Plan:
        """The runs that the study begins with."""
        return self._runs({i: self.design.replicates(group) for i, group in enumerate(self.design.groups)})

    def _runs(self, replicates: dict[int, int]) -> Plan:
        """The runs of the first replicates of every group."""
        first, step = self.part
        return Plan(
            self.design,
            ((group, range(first - 1, replicates[i], step)) for i, group in enumerate(self.design.groups)),
        )

    def missing(self, planned: Plan) -> Plan:
        """Those that are not finished, each key once, in the order in which they are best computed: one replicate of
        all groups after the other, so that what is finished is balanced.
        """
        states, todo = self.ledger.states(), planned.distinct()
        if states:
            todo = todo.where(lambda run: run.key not in states or (states[run.key] and self._lacks_model(run)))
        return todo.by_replicate()

    def _lacks_model(self, run: PlannedRun) -> bool:
        """A bootstrap needs the networks, which were not kept if it was not asked for before."""
        return bool(self.config.bootstrap and run.group.kind == "lwgan" and not has_model(self.folder, run.key))

    # doing it --------------------------------------------------------------------------------------------------------

    def execute(
        self, progress: Progress, publish: Callable[[Outcome], None] | None = None, *, verbose: bool = False
    ) -> Outcome:
        """Compute what is missing, and the tables.

        Args:
            progress: shows the phases.
            publish: gets the outcome, while no other command can work in the folder.
            verbose: show Ray's messages.

        Raises:
            ClusterError: no cluster, or one without the resources.
            KeyboardInterrupt: the same study goes on from the runs that are finished.
        """
        with exclusive(self.folder):
            self._refuse_mixture()
            claim(self.folder, "study", self._environment, self.config, self.ledger)
            with Phases(self.folder, self.ledger, self.config.execution, progress, verbose) as phases:
                computed = self._compute(phases)
            outcome = self._outcome(*computed)
            if not outcome.unfinished:
                self.folder.remove(SCRATCH)
            if publish:
                publish(outcome)
            return outcome

    def outcome(self, phases: Finisher) -> Outcome:
        """What the study comes to with the runs that ``phases`` finishes; beside these nothing is written."""
        return self._outcome(*self._compute(phases))

    def _compute(self, phases: Finisher) -> tuple[Plan, list[Refit], Searches | None, dict[str, str]]:
        """Have every run finished that the study asks for; returns these, and the reasons of those that did not."""
        searches = Searches(self.design, self.config.solve) if self.config.solve else None
        planned, unfinished = self._solve(searches, phases) if searches else self._replicate(phases)
        refits = refits_of(planned, self.ledger, self.config.bootstrap)
        keys = self.ledger.keys() if refits else set[str]()
        todo = list({refit.key: refit for refit in refits if refit.key not in keys}.values())
        unfinished |= phases.finish(todo, self._refit_task, "bootstrap refits")
        return planned, refits, searches, unfinished

    def _outcome(
        self, planned: Plan, refits: list[Refit], searches: Searches | None, unfinished: dict[str, str]
    ) -> Outcome:
        tables = self.tables(planned, refits, searches)
        count = len(planned.distinct()) + len({refit.key for refit in refits})
        return Outcome(tables, count, unfinished, _diverged(tables.runs))

    def without_neighbours(self) -> int:
        """How many LWGAN runs that the study begins with are of a version that did not look at neighbours, though a
        rank rule does.
        """
        rules = [rule for group in self.design.groups for rule in group.rules.values()]
        if not any(rule.neighbours for rule in rules):
            return 0
        older = self.ledger.older("neighbours")
        return len(self.first_runs().of_kind("lwgan").where(lambda run: run.key in older)) if older else 0

    def _refuse_mixture(self) -> None:
        """Refuse to add runs to those of an older version that a rank rule would judge by less.

        Raises:
            ConfigError: there are such runs, and others are missing.
        """
        count = self.without_neighbours()
        if count and (self.config.stop_when or self.config.solve or self.missing(self.first_runs()).of_kind("lwgan")):
            raise ConfigError(
                f"{self.folder.location}: {count} LWGAN runs are of a version that did not look at neighbours, and new "
                "ones would be judged by them; run.score.neighbours=false judges all alike, another --name begins anew"
            )

    def _replicate(self, phases: Finisher) -> tuple[Plan, dict[str, str]]:
        """Compute the first replicates, then, on demand, further ones."""
        replicates = {i: self.design.replicates(group) for i, group in enumerate(self.design.groups)}
        unfinished: dict[str, str] = {}
        while True:
            planned = self._runs(replicates)
            unfinished |= self._finish(self._still_missing(planned, unfinished), phases)
            stop = self.config.stop_when
            if stop is None:
                return planned, unfinished
            closed = {
                i for i, group in enumerate(self.design.groups) if self._is_broken(group, replicates[i], unfinished)
            }
            runs = self._runs_table(planned)
            more = more_replicates(self.design, runs, replicates, stop, closed)
            if not more:
                return self._runs(replicates | self._finished_before(closed, replicates, stop)), unfinished
            replicates |= more

    def _solve(self, searches: Searches, phases: Finisher) -> tuple[Plan, dict[str, str]]:
        """Compute what the searches ask for, until they have ended."""
        unfinished: dict[str, str] = {}
        while asked := searches.asked():
            unfinished |= self._finish(self._still_missing(asked, unfinished), phases)
            searches.enter(self._runs_table(asked))
        return searches.planned(), unfinished

    def _still_missing(self, planned: Plan, unfinished: Collection[str]) -> Plan:
        """Those that are missing and have not been tried."""
        missing = self.missing(planned)
        return missing.where(lambda run: run.key not in unfinished) if unfinished else missing

    def _finish(self, todo: Plan, phases: Finisher) -> dict[str, str]:
        """Compute runs, the long ones first; returns reasons by key of those that did not finish."""
        recorded = self.ledger.keys() if self.config.bootstrap else set[str]()
        task = partial(self._task, recorded=recorded)
        unfinished = phases.finish(todo.of_kind("lwgan"), task, "LWGAN runs")
        unfinished |= phases.finish(todo.of_kind("model"), task, "runs of other models")
        return unfinished | phases.finish(todo.of_kind("classical"), self._task, "classical runs", short=True)

    def _runs_table(self, planned: Plan) -> pa.Table:
        """``runs.parquet`` of those that are finished."""
        return runs_table(planned, self.ledger.records({run.key for run in planned}), self.config.metrics)

    def _is_broken(self, group: Group, replicates: int, unfinished: dict[str, str]) -> bool:
        """Whether a run of the group did not finish: what would come next cannot be known."""
        return bool(unfinished) and any(run.key in unfinished for run in self.design.runs(group, range(replicates)))

    def _finished_before(self, closed: Set[int], replicates: dict[int, int], stop: StopWhen) -> dict[int, int]:
        """Replicates of broken groups that an earlier command has finished: they are not lost."""
        keys, further = self.ledger.keys() if closed else set[str](), {}
        for i in closed:
            count, group = replicates[i], self.design.groups[i]
            while count < stop.max_replicates and all(
                run.key in keys for run in self.design.runs(group, range(count, count + 1))
            ):
                count += 1
            further[i] = count
        return further

    def _task(self, run: PlannedRun, recorded: Collection[str] = ()) -> RunTask:
        group = run.group
        if group.estimator:
            return ClassicalTask(
                key=run.key, config=run.config, table_digest=group.table_digest, estimator=group.estimator
            )
        if group.kind == "model":
            return ModelTask(key=run.key, config=run.config, table_digest=group.table_digest)
        return LwganTask(
            key=run.key, config=run.config, table_digest=group.table_digest, keep=self.config.keep_runs,
            model=self.config.bootstrap is not None, metrics=tuple(self.config.metrics),
            is_recorded=run.key in recorded,
        )  # fmt: skip

    def _refit_task(self, refit: Refit) -> RefitTask:
        base = refit.base
        assert self.config.bootstrap
        return RefitTask(
            key=refit.key, config=base.config, table_digest=base.group.table_digest, bootstrap=self.config.bootstrap,
            base=base.key, dimension=refit.dimension, resample=refit.kind, index=refit.index,
        )  # fmt: skip

    # results ---------------------------------------------------------------------------------------------------------

    def tables(self, planned: Plan, refits: Sequence[Refit] = (), searches: Searches | None = None) -> StudyTables:
        """All tables, from the ledger."""
        metrics, runs = self.config.metrics, self._runs_table(planned)
        stop, mass = self.config.stop_when, self.config.bootstrap.mass if self.config.bootstrap else 0.95
        methods = sorted({group.method for group in self.design.groups if group.kind == "lwgan"})
        own = runs.filter(pc.is_in(runs["method"], pa.array(methods, pa.string())))
        bootstrap = bootstrap_rows(own, refits, self.ledger, mass) if refits else BOOTSTRAP.empty_table()
        fixed = self._fixed(runs)
        alpha, known = stop.alpha if stop else None, self.design.cells(known=True)
        if searches and self.config.solve:
            alpha, known = self.config.solve.alpha, len(searches) * len(self.config.solve.grid)
        cells = aggregate.cells(runs, sequence_alpha=alpha, sequence_cells=known)
        return StudyTables(
            runs=runs,
            cells=with_means(cells, runs, metrics),
            comparisons=aggregate.comparisons(fixed),
            trends=aggregate.trends(fixed, level=self.config.level, seed=self.config.seed),
            sensitivity=aggregate.sensitivity(runs, methods),
            bootstrap=bootstrap,
            coverage=aggregate.coverage(self._fixed_bootstrap(bootstrap)),
            solved=searches.table() if searches else None,
            provenance=provenance_table(runs, self.ledger.folder),
        )

    def _fixed_bootstrap(self, bootstrap: pa.Table) -> pa.Table:
        if self.config.stop_when is None:
            return bootstrap
        return bootstrap.filter(pc.less(bootstrap["replicate"], self.config.lwgan.replicates))

    def _fixed(self, runs: pa.Table) -> pa.Table:
        """The replicates whose number was fixed beforehand: tests and n_95 suppose that."""
        if self.config.solve:
            runs = runs.filter(pc.is_in(runs["n"], pa.array(self.config.solve.first, pa.int64())))
        elif self.config.stop_when is None:
            return runs
        first = {method: group.replicates for group in self.design.groups for method in group.methods}
        counts = pa.array([first[method] for method in runs["method"].to_pylist()], pa.int64())
        return runs.filter(pc.less(runs["replicate"], counts))


def _diverged(runs: pa.Table) -> int:
    failed = runs.filter(pc.and_(pc.not_equal(runs["kind"], "classical"), pc.is_valid(runs["failure"])))
    return len(set(failed["key"].to_pylist()))
