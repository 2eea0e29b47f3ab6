"""A comparison from the command to its tables: what is missing is computed, under Ray Tune or in this process; then
everything is derived again from the ledger.

The folder of a comparison:

- ``config.yaml``, ``env.json``  the configuration of the last command; versions, machine, precision
- ``ledger/``                    finished runs, with their metrics
- ``models/``                    networks and losses of the first replicate of every cell
- ``runs.parquet``, ``compare.parquet``, ``rates.parquet``  the tables of `lwgan_dist.compare.tables`
- ``figures/``, ``tb/``, ``summary.md``, ``report.html``
- ``work/``                      runs under way
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lwgan_dist.campaign.engine import Engine, of_task
from lwgan_dist.campaign.folder import LEDGER, SCRATCH, claim, read_environment
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.progress import Progress, Standing
from lwgan_dist.compare.aggregate import comparison_table, rates_table, runs_table
from lwgan_dist.compare.config import CompareConfig
from lwgan_dist.compare.design import Design, PlannedRun
from lwgan_dist.compare.record import RunRecord
from lwgan_dist.compare.tables import CompareTables
from lwgan_dist.compare.work import RunTask, execute
from lwgan_dist.errors import ConfigError, DataError
from lwgan_dist.launch.prometheus import Ended
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.models.registry import kind_of
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder, exclusive


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command.

    Attributes:
        planned: the comparison's runs.
        unfinished: reasons by run, of those that did not finish; the same command tries them again.
        failed: runs that ended without a result.
    """

    tables: CompareTables
    planned: Sequence[PlannedRun]
    unfinished: Mapping[str, str]
    failed: int


class Comparison:
    """A configuration in its folder. Nothing is written before `execute`.

    Args:
        config: the comparison.
        folder: of the comparison; every worker must see it.

    Raises:
        ConfigError, DataError: see `Design`; a folder that holds something else; runs that cannot be.
    """

    def __init__(self, config: CompareConfig, folder: Folder) -> None:
        self.config = config
        self.folder = folder
        self.ledger = Ledger(folder.sub(LEDGER), RunRecord)
        self._environment = read_environment(folder, "comparison")
        self.design = Design(config, self.precision)
        obstacles: dict[str, set[str | None]] = {name: set() for name in config.metrics}
        for cell in self.design.cells:
            try:
                run = _checked(self.design.run(cell, 0))
            except (ConfigError, DataError) as error:
                raise type(error)(f"{cell.data}, n = {cell.n}, {cell.model}: {error}") from None
            for name, reasons in obstacles.items():
                reasons.add(METRICS[name].obstacle(run.config.model.has_encoder, run.sample.shape))
        for name, reasons in obstacles.items():  # of the default metrics some may be of no model
            if None not in reasons and "metrics" in config.model_fields_set:
                raise ConfigError(f"metrics: {name} {' or '.join(sorted(filter(None, reasons)))}")

    @property
    def precision(self) -> str:
        """What ``precision: auto`` means in this comparison, on whatever machine its runs are."""
        return str(self._environment["precision"])

    def missing(self) -> list[PlannedRun]:
        """The runs that are not finished, each key once: one replicate of all cells after the other, so that what is
        finished is balanced.
        """
        states = self.ledger.states()
        missing = {run.key: run for run in self.design.runs() if run.key not in states}
        return sorted(missing.values(), key=lambda run: run.replicate)

    def execute(
        self, progress: Progress, publish: Callable[[Outcome], None] | None = None, *, verbose: bool = False
    ) -> Outcome:
        """Compute what is missing, and the tables.

        Args:
            progress: shows how far it is.
            publish: gets the outcome, while no other command can work in the folder.
            verbose: show Ray's messages.

        Raises:
            ClusterError: no cluster, or one without the resources.
            KeyboardInterrupt: the same comparison goes on from the runs that are finished.
        """
        with exclusive(self.folder):
            claim(self.folder, "comparison", self._environment, self.config, self.ledger)
            execution = self.config.execution
            with Engine("comparison", self.folder, execution, execute, ended=_ended, verbose=verbose) as engine:
                unfinished = self._finish(engine, progress)
            if not unfinished:
                self.folder.remove(SCRATCH)
            planned = self.design.runs()
            records = {record.key: record for record in self.ledger.records({run.key for run in planned})}
            failed = sum(record.failure is not None for record in records.values())
            outcome = Outcome(self.tables(records), planned, unfinished, failed)
            if publish:
                publish(outcome)
            return outcome

    def _finish(self, engine: Engine, progress: Progress) -> dict[str, str]:
        """Compute the missing runs; reasons by key of those that did not finish."""
        missing, records = self.missing(), list[RunRecord]()
        if not missing:
            return {}
        progress.begin(len(missing), "runs")
        engine.meter.begin(len(missing))

        def note(_index: int, record: RunRecord) -> None:
            records.append(record)
            failed = sum(record.failure is not None for record in records)
            spent = sum(record.cpu_seconds for record in records)
            progress.update(Standing(done=len(records), failed=failed, cpu_seconds=spent, running=engine.running))

        lost = engine.compute([self._task(run) for run in missing], note)
        self.ledger.gather()
        states = self.ledger.states()
        reason = "is not in the ledger: workers do not write where this command reads"
        return {run.key: lost.get(i, reason) for i, run in enumerate(missing) if run.key not in states}

    def _task(self, run: PlannedRun) -> RunTask:
        return RunTask(
            location=self.folder.location, execution=of_task(self.config.execution), key=run.key, config=run.config,
            table_digest=run.cell.table_digest, metrics=tuple(self.config.metrics), fresh_rows=self.config.fresh_rows,
            keep=run.replicate == 0,
        )  # fmt: skip

    def tables(self, records: Mapping[str, RunRecord]) -> CompareTables:
        """All tables, from the records by key."""
        runs = runs_table(self.design.runs(), records, self.config.metrics)
        compared = comparison_table(runs, self.design.reference)
        return CompareTables(runs, compared, rates_table(runs))


def _checked(planned: PlannedRun) -> Run:
    """The run, refused for what every replicate of its cell would be refused for."""
    run, rank = Run(planned.config), planned.cell.rank
    most = kind_of(run.config).latent_dim(run.config)
    if rank is not None and rank > most:
        raise ConfigError(f"rank {rank} is more than the latent size {most}")
    return run


def _ended(record: RunRecord) -> Ended:
    return Ended(1, int(record.failure is not None))
