"""train(RunConfig) -> RunResult, the one thing the platform does: trains in this process or under Ray, judges the
scores, writes what a reader needs.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from lwgan_dist import logs
from lwgan_dist.config import ArrayData, ExecutionConfig
from lwgan_dist.errors import ConfigError, RunFailedError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.reporting.live import LiveLosses
from lwgan_dist.results import RunResult, ScoreTables
from lwgan_dist.run import artifacts
from lwgan_dist.run.folder import (
    ENVIRONMENT_FILE,
    RESULT_FILE,
    Environment,
    claim,
    claim_lean,
    identity_in,
    read_result,
    refuse_foreign,
)
from lwgan_dist.run.prepare import Prepared
from lwgan_dist.storage import Folder, exclusive
from lwgan_dist.training.checkpoint import Checkpoints
from lwgan_dist.training.distributed import World
from lwgan_dist.training.loop import train_worker
from lwgan_dist.training.trainer import TrainingState

OnProgress = Callable[[dict[str, Any]], None]


class FittedRun(NamedTuple):
    """The outcome of `Run.fit`: the result, every component of the score, the networks, the losses on the way as the
    trainer recorded them.
    """

    result: RunResult
    components: ScoreTables
    model: FittedModel
    losses: Sequence[Mapping[str, float]] = ()


class Halt(NamedTuple):
    """The outcome of `Run.fit_until`: the networks on their way, and the processor time spent so far."""

    model: FittedModel
    cpu_seconds: float


class Run(Prepared):
    """A prepared run that can be trained. Nothing is written before `train`, `fit` or `fit_until`."""

    def train(
        self,
        folder: Folder,
        execution: ExecutionConfig,
        *,
        on_progress: OnProgress = lambda _progress: None,
        notify: Callable[[str], None] = lambda _sentence: None,
        on_findings: Callable[[], None] | None = None,
        metrics: Collection[str] = (),
        verbose: bool = False,
    ) -> RunResult:
        """The result of the run in a folder: at once if it exists, else after training on from its last checkpoint.

        Args:
            folder: the run folder; made if it does not exist.
            execution: where and how.
            on_progress: gets progress records.
            notify: gets a sentence if the folder already holds a part or the whole of the run.
            on_findings: called in place of logging the findings.
            metrics: names of those that the result has beside the default ones; of a finished run they are added.
            verbose: show Ray's messages.

        Raises:
            ConfigError: the folder holds another run, or is in use; a metric that does not apply.
            RunFailedError, ClusterError: see `lwgan_dist.errors`.
        """
        self.refuse_metrics(metrics)
        if folder.has(ENVIRONMENT_FILE):
            self.adopt_precision(identity_in(folder))
        refuse_foreign(folder, self)
        with logs.of_run(self.fingerprint), exclusive(folder):
            claim(folder, self, execution)
            (on_findings or self.report_findings)()
            if folder.has(RESULT_FILE):
                notify(f"is finished already, in {folder.location}")
                with torch_threads(execution.threads_per_worker):
                    return artifacts.add_metrics(self, folder, metrics)
            if Checkpoints(folder.sub("checkpoints")).names():
                notify(f"goes on from the newest whole checkpoint in {folder.location}")
            logs.event("run begins", folder=folder.location)
            if execution.workers == 0:
                with LiveLosses(folder.local) as live:
                    self._train_here(folder, execution, report=_both(live, on_progress))
            else:
                self._train_on_ray(folder, execution, on_progress=on_progress, verbose=verbose)
            with torch_threads(execution.threads_per_worker):
                result = artifacts.write_all(self, folder, self._final_state(folder), metrics)
            logs.event(
                "run finished", folder=folder.location, dimension=result.dimension, cpu_seconds=result.cpu_seconds
            )
            return result

    @classmethod
    def of(cls, folder: Folder) -> Self:
        """The finished run of a folder; its data are read again.

        Raises:
            ConfigError: no finished run, or its data cannot be read again or have changed.
        """
        read_result(folder)
        config = FittedModel.load(folder.sub("model")).config
        if isinstance(config.data, ArrayData):
            raise ConfigError(f"{folder.location}: the rows were given in Python, so they cannot be read again")
        run = cls(config)
        refuse_foreign(folder, run)
        return run

    def measure(self, folder: Folder, names: Collection[str]) -> RunResult:
        """The result in the folder of this finished run, with these metrics; those that it lacks are computed, and
        written.

        Raises:
            ConfigError: a metric does not apply.
        """
        self.refuse_metrics(names)
        threads = folder.read_json(ENVIRONMENT_FILE, Environment).threads
        with logs.of_run(self.fingerprint), exclusive(folder), torch_threads(threads):
            return artifacts.add_metrics(self, folder, names)

    def fit(self, folder: Folder, execution: ExecutionConfig, *, initial: dict[str, Tensor] | None = None) -> FittedRun:
        """The result of the run alone, without the files that a reader wants: for studies and searches.

        Args:
            folder: holds the checkpoints while the run lasts; a run that was cut off goes on from them. The caller
                removes it.
            execution: where and how.
            initial: parameters to start from in place of random ones, see `lwgan_dist.training.trainer.Trainer`. They
                are not part of the fingerprint.

        Raises:
            ConfigError: the folder holds another run, or is in use.
            RunFailedError, ClusterError: see `lwgan_dist.errors`.
        """
        with self._lean(folder):
            self._advance(folder, execution, initial=initial)
            state = self._final_state(folder)
            components = artifacts.components_of(state)
            result = artifacts.result_of(self, folder, state, components)
            return FittedRun(
                result, components, artifacts.model_of(self, state, result.dimension), state.meta["losses"]
            )

    def fit_until(self, folder: Folder, execution: ExecutionConfig, iteration: int) -> Halt:
        """The networks after an iteration, for those who look at a run on its way. `fit` and `fit_until` go on from
        there, and end as if the run had not been halted.

        Args:
            folder, execution: as for `fit`.
            iteration: see `halts` for those at which the time spent is known.

        Returns:
            The model, whose ``dimension`` is the largest rank, for there is no estimate yet.

        Raises:
            ConfigError: the folder holds another run, or is in use.
            RunFailedError: the run is beyond the iteration; or, as ClusterError, see `lwgan_dist.errors`.
        """
        with self._lean(folder):
            checkpoints = Checkpoints(folder.sub("checkpoints"))
            state = checkpoints.newest()
            if state is None or state.meta["iteration"] < iteration:
                self._advance(folder, execution, until=iteration)
                state = checkpoints.newest()
            if state is None or state.meta["iteration"] < iteration:
                raise RunFailedError(f"{folder.location}: the workers do not write where this command reads")
            if not _passed(state, iteration):
                raise RunFailedError(f"{folder.location}: is beyond iteration {iteration}")
            model = artifacts.model_of(self, state, None)
            return Halt(model, state.meta["seconds"]["cpu"])

    @contextmanager
    def _lean(self, folder: Folder) -> Iterator[None]:
        """Hold a folder that is this run's, or no run's yet."""
        refuse_foreign(folder, self)
        with logs.of_run(self.fingerprint), exclusive(folder):
            claim_lean(folder, self)
            yield

    def _advance(
        self,
        folder: Folder,
        execution: ExecutionConfig,
        *,
        initial: dict[str, Tensor] | None = None,
        until: int | None = None,
    ) -> None:
        if execution.workers == 0:
            self._train_here(folder, execution, initial=initial, until=until)
        else:
            self._train_on_ray(folder, execution, initial=initial, until=until)

    def _train_on_ray(
        self,
        folder: Folder,
        execution: ExecutionConfig,
        *,
        on_progress: OnProgress = lambda _progress: None,
        initial: dict[str, Tensor] | None = None,
        until: int | None = None,
        verbose: bool = False,
    ) -> None:
        from lwgan_dist.launch.train import train_on_ray

        train_on_ray(
            self.config,
            folder,
            execution,
            data_digest=self.sample.digest,
            array=self.array,
            initial=initial,
            until=until,
            on_progress=on_progress,
            verbose=verbose,
        )

    def _train_here(
        self,
        folder: Folder,
        execution: ExecutionConfig,
        *,
        report: OnProgress | None = None,
        initial: dict[str, Tensor] | None = None,
        until: int | None = None,
    ) -> None:
        device = torch.device("cuda") if execution.use_gpu else torch.device("cpu")
        with torch_threads(execution.threads_per_worker):
            train_worker(
                trainer_of(self.config, self.sample, World(device=device), initial=initial),
                folder,
                checkpoint_seconds=execution.checkpoint_seconds,
                checkpoints_kept=execution.checkpoints_kept,
                report=report,
                until=until,
            )

    def _final_state(self, folder: Folder) -> TrainingState:
        state = Checkpoints(folder.sub("checkpoints")).newest()
        iterations = sum(stage.iterations for stage in self.stages)
        if state is None or state.meta["iteration"] != iterations:
            raise RunFailedError(
                f"{folder.location}: the final checkpoint is missing or damaged; the same command trains on from the "
                "one before it. If this comes again, the workers do not write where this command reads: use a shared "
                "folder or a URI as storage"
            )
        return state


def _both(first: OnProgress, second: OnProgress) -> OnProgress:
    def report(progress: dict[str, Any]) -> None:
        first(progress)
        second(progress)

    return report


def _passed(state: TrainingState, iteration: int) -> bool:
    """Whether a state is that after an iteration, or after the end of the stage in which the iteration was left out."""
    meta = state.meta
    return bool(meta["iteration"] == iteration or meta["skipped"] < iteration <= meta["iteration"])


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """A fixed number of threads, part of what makes a result reproducible bit by bit; then what it was before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
