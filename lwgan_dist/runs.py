"""train(RunConfig) -> RunResult, the one thing the platform does: opens the run folder, trains in this process or under
Ray, judges the scores, writes what a reader needs.

The run folder:

- ``config.yaml``         the resolved configuration
- ``env.json``            versions, machine, threads, seeds, identity of the data
- ``checkpoints/``        the newest states
- ``progress.json``       where it stands
- ``scores.parquet``      every component of the score, by split, evaluation and rank
- ``model/``              the networks, enough to encode and generate anywhere
- ``rank_scores.png``, ``samples.png``, ``tb/``
- ``result.json``         written last: the run is finished
"""

import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from lwgan_dist import logs
from lwgan_dist.config import ExecutionConfig, RunConfig, TableData
from lwgan_dist.configfile import to_yaml
from lwgan_dist.data.blocks import flat
from lwgan_dist.data.parts import parts_of
from lwgan_dist.data.sample import load_sample
from lwgan_dist.data.standardize import moments
from lwgan_dist.errors import ConfigError, RunFailedError
from lwgan_dist.metrics.heldout import held_out_metrics
from lwgan_dist.model import FittedModel, networks_of, tear_of
from lwgan_dist.models.base import Finished
from lwgan_dist.models.registry import kind_of, trainer_of
from lwgan_dist.networks.bfloat16 import bfloat16_pays
from lwgan_dist.reporting.live import LiveLosses
from lwgan_dist.results import RunResult, ScoreTables, scores_to_parquet
from lwgan_dist.seeding import generator
from lwgan_dist.storage import Folder, exclusive, remove_tree
from lwgan_dist.training.checkpoint import Checkpoints
from lwgan_dist.training.distributed import World
from lwgan_dist.training.loop import train_worker
from lwgan_dist.training.trainer import LOG_POINTS, TrainingState

CONFIG_FILE, ENVIRONMENT_FILE, RESULT_FILE = "config.yaml", "env.json", "result.json"
SCORES_FILE, RANK_SCORES_PNG, SAMPLES_PNG = "scores.parquet", "rank_scores.png", "samples.png"
SAMPLE_ROWS = 2_000
"""Rows shown in the sample figure."""

DOMINANT_SHARE = 0.95
"""Share of the variance in one column from which a note says that the columns may have different units."""

_log = logging.getLogger("lwgan_dist")

OnProgress = Callable[[dict[str, Any]], None]


class Fit(NamedTuple):
    """What `Run.fit` gives: the result, every component of the score, the networks."""

    result: RunResult
    components: ScoreTables
    model: FittedModel


class Halt(NamedTuple):
    """What `Run.fit_until` gives: the networks on their way, and the processor time spent so far."""

    model: FittedModel
    cpu_seconds: float


class Run:
    """A configuration with its data: resolved, checked, identified. Nothing is written before `train`.

    Args:
        config: as told.
        array: the rows of an in-memory run (``data.source: array``).

    Attributes:
        config: resolved.
        sample: the data.
        fingerprint: identity of both.

    Raises:
        DataError: data that cannot be estimated from, or too few rows for a batch.
        ConfigError: a configuration that does not fit the data.
    """

    def __init__(self, config: RunConfig, array: NDArray[Any] | None = None) -> None:
        self._array = array
        self._source = f"{config.data.path}: " if isinstance(config.data, TableData) else ""
        with logs.held() as is_of_run:
            self.sample = load_sample(config.data, array)
            if isinstance(config.data, TableData):  # for workers of Ray, which have another working folder
                path = str(Path(config.data.path).absolute())
                config = config.model_copy(update={"data": config.data.model_copy(update={"path": path})})
            train_rows = None if self.sample.stream else len(self.sample.train)
            self.config = config.resolved(
                train_rows=train_rows, ambient_dim=self.sample.ambient_dim, bfloat16_pays=bfloat16_pays()
            )
            self.fingerprint = self.config.fingerprint(self.sample.digest)
            is_of_run(self.fingerprint)
            self.parts = self._find_parts() if kind_of(self.config).finds_parts else None
        self._precision_is_free = config.precision == "auto"
        kind = kind_of(self.config)
        kind.check(self.config, config, self.sample, self._source)
        self.stages = kind.stages(self.config)

    def _find_parts(self) -> NDArray[np.int64] | None:
        """The part of each training row of data that fall apart, said before training; None for data in one piece."""
        if self.sample.stream is not None:
            return None
        parts = parts_of(self.sample.train)
        count = int(parts.max()) + 1
        if count < 2:
            return None
        shares = ", ".join(f"{float((parts == part).mean()):.0%}" for part in range(min(count, 8)))
        _log.warning(
            "%sthe data fall into %d parts that no chain of neighbours joins (%s%s of the rows): the dimension is "
            "estimated for each", self._source, count, shares, ", ..." if count > 8 else "",
        )  # fmt: skip
        return parts

    def train(
        self,
        folder: Folder,
        execution: ExecutionConfig,
        *,
        on_progress: OnProgress = lambda _told: None,
        notify: Callable[[str], None] = lambda _told: None,
        verbose: bool = False,
    ) -> RunResult:
        """The result of the run in a folder: at once if it is there, else after training on from what is there.

        Args:
            folder: the run folder; made if it does not exist.
            execution: where and how.
            on_progress: gets progress records.
            notify: gets a sentence if the folder already holds a part or the whole of the run.
            verbose: show what Ray says.

        Raises:
            ConfigError: the folder holds another run, or is in use.
            RunFailedError, ClusterError: see `lwgan_dist.errors`.
        """
        self._adopt_precision(folder)
        self._refuse_foreign(folder)
        with logs.of_run(self.fingerprint), exclusive(folder):
            self._claim(folder, execution)
            if folder.has(RESULT_FILE):
                notify(f"is finished already, in {folder.location}")
                return read_result(folder)
            if Checkpoints(folder.sub("checkpoints")).names():
                notify(f"goes on from the newest whole checkpoint in {folder.location}")
            logs.event("run begins", folder=folder.location)
            self._train(folder, execution, on_progress=on_progress, verbose=verbose)
            with torch_threads(execution.threads_per_worker):
                result = self._finish(folder)
            logs.event(
                "run finished", folder=folder.location, dimension=result.dimension, cpu_seconds=result.cpu_seconds
            )
            return result

    def fit(self, folder: Folder, execution: ExecutionConfig, *, initial: dict[str, Tensor] | None = None) -> Fit:
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
            components = _components(state)
            result = self._result(folder, state, components)
            return Fit(result, components, self._model(state, result.dimension))

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
            model = self._model(state, None)
            return Halt(model, state.meta["seconds"]["cpu"])

    def halts(self, count: int) -> list[int]:
        """``count`` iterations at equal distances, the last of which is the end of the run; less if it is short."""
        iterations = sum(stage.iterations for stage in self.stages)
        every = max(1, iterations // LOG_POINTS)
        halts = [round(i * iterations / count / every) * every for i in range(1, count)]
        return sorted({halt for halt in halts if 0 < halt < iterations} | {iterations})

    @contextmanager
    def _lean(self, folder: Folder) -> Iterator[None]:
        """Hold a folder that is this run's, or no run's yet."""
        self._refuse_foreign(folder)
        with logs.of_run(self.fingerprint), exclusive(folder):
            self._refuse_foreign(folder)  # it may have become another's meanwhile
            folder.remove_temporary()
            if not folder.has(ENVIRONMENT_FILE):
                folder.write(ENVIRONMENT_FILE, json.dumps({"run": self._identity()}).encode())
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

    def _train(self, folder: Folder, execution: ExecutionConfig, *, on_progress: OnProgress, verbose: bool) -> None:
        if execution.workers == 0:
            with LiveLosses(folder.local) as live:

                def report(told: dict[str, Any]) -> None:
                    live(told)
                    on_progress(told)

                self._train_here(folder, execution, report=report)
            return
        self._train_on_ray(folder, execution, on_progress=on_progress, verbose=verbose)

    def _train_on_ray(
        self,
        folder: Folder,
        execution: ExecutionConfig,
        *,
        on_progress: OnProgress = lambda _told: None,
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
            array=self._array,
            initial=initial,
            until=until,
            on_progress=on_progress,
            verbose=verbose,
        )

    def _adopt_precision(self, folder: Folder) -> None:
        """Under ``precision: auto``, go on in the precision that this run began with, maybe on another processor."""
        if not self._precision_is_free or not folder.has(ENVIRONMENT_FILE):
            return
        before = self._identity_in(folder)
        began = self.config.model_copy(update={"precision": before.get("precision", self.config.precision)})
        if began.fingerprint(self.sample.digest) == before["fingerprint"]:
            self.config, self.fingerprint = began, before["fingerprint"]

    def _refuse_foreign(self, folder: Folder) -> None:
        """Leave a folder alone that is another run's, or no run's."""
        if folder.has(ENVIRONMENT_FILE):
            before = self._identity_in(folder)
            if before["fingerprint"] != self.fingerprint:
                what = (
                    "the data has changed since"
                    if before["data_sha256"] != self.sample.digest
                    else "its configuration differs (see its config.yaml)"
                )
                raise ConfigError(f"{folder.location}: holds another run: {what}; choose another folder")
            return
        if any(not name.startswith(".") for name in folder.names()):
            raise ConfigError(f"{folder.location}: is not empty and not a run folder; choose another folder")

    @staticmethod
    def _identity_in(folder: Folder) -> dict[str, Any]:
        """The run that a folder holds.

        Raises:
            ConfigError: it holds a study or a search.
        """
        told = folder.read_json(ENVIRONMENT_FILE)
        if "run" not in told:
            raise ConfigError(f"{folder.location}: holds a study or a search, not a run; choose another folder")
        return dict(told["run"])

    def _claim(self, folder: Folder, execution: ExecutionConfig) -> None:
        """Mark the folder as this run's, unless it is already, and clear away what a killed command left."""
        self._refuse_foreign(folder)  # it may have become another's meanwhile
        folder.remove_temporary()
        folder.remove(".ray")
        if not folder.has(ENVIRONMENT_FILE):
            folder.write(ENVIRONMENT_FILE, json.dumps(self._environment(execution), indent=1).encode())
        if not folder.has(CONFIG_FILE):
            folder.write(CONFIG_FILE, to_yaml(self.config).encode())

    def _identity(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "data_sha256": self.sample.digest,
            "precision": self.config.precision,
        }

    def _environment(self, execution: ExecutionConfig) -> dict[str, Any]:
        return {
            "run": self._identity(),
            "seeds": {"run": self.config.seed, "data": self.config.data.seed},
            "execution": execution.model_dump(mode="json"),
            "threads": execution.threads_per_worker,
            "versions": versions(),
            "git": _git_commit(),
            "machine": {"platform": platform.platform(), "processors": os.cpu_count()},
            "command": sys.argv,
        }

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
                f"{folder.location}: the final checkpoint is not there or damaged; the same command trains on from the "
                "one before it. If this comes again, the workers do not write where this command reads: use a shared "
                "folder or a URI as storage"
            )
        return state

    def _model(self, state: TrainingState, dimension: int | None) -> FittedModel:
        """The fitted model at a rank, by default the largest."""
        dimension = dimension or kind_of(self.config).latent_dim(self.config)
        networks = networks_of(self.config, self.sample.shape, state.tensors)
        return FittedModel(
            networks, self.config, self.sample.standardizer, self.sample.columns, dimension, tear_of(state.tensors)
        )

    def _finish(self, folder: Folder) -> RunResult:
        """Write everything that is drawn from the final state; ``result.json`` comes last."""
        from lwgan_dist.reporting.figures import rank_score_figure  # here: a worker draws nothing
        from lwgan_dist.reporting.look import png

        state = self._final_state(folder)
        tables = _components(state)
        result = self._result(folder, state, tables)
        model = self._model(state, result.dimension)
        result = result.model_copy(update={"metrics": held_out_metrics(model, self.sample) or {}})
        model.save(folder.sub("model"))
        folder.write(
            SCORES_FILE,
            scores_to_parquet(tables, [row.rank for row in result.rank_scores], {"fingerprint": self.fingerprint}),
        )
        figures = {"rank_scores": rank_score_figure(result), "samples": self._sample_figure(model)}
        folder.write(RANK_SCORES_PNG, png(figures["rank_scores"]))
        folder.write(SAMPLES_PNG, png(figures["samples"]))
        self._write_tensorboard(folder, result, state.meta["losses"], figures)
        folder.write(RESULT_FILE, result.model_dump_json(indent=1).encode())
        return result

    def _result(self, folder: Folder, state: TrainingState, tables: ScoreTables) -> RunResult:
        kind = kind_of(self.config)
        verdict = kind.judge(
            Finished(
                config=self.config,
                sample=self.sample,
                tables=tables,
                start=state.meta.get("start"),
                parts=self.parts,
                fitted=lambda: self._model(state, None),
            )
        )
        return RunResult(
            **verdict.judgement.model_dump(),
            model=self.config.model.name,
            max_dimension=kind.latent_dim(self.config),
            score_on=self.config.score.score_on,
            rows=self.sample.rows,
            ambient_dim=self.sample.ambient_dim,
            shape=self.sample.shape,
            intrinsic_dim=self.sample.intrinsic_dim,
            seed=self.config.seed,
            schedule=kind.schedule(self.config),
            workers=state.meta["workers"],
            tear=verdict.tear,
            parts=verdict.parts,
            iterations=sum(state.meta["lengths"].values()),
            cpu_seconds=round(state.meta["seconds"]["cpu"], 2),
            wall_seconds=round(state.meta["seconds"]["wall"], 2),
            fingerprint=self.fingerprint,
            run_dir=folder.location,
            notes=verdict.notes + self._notes(),
        )

    def _notes(self) -> list[str]:
        """What the reader of a result should know about the data."""
        notes = []
        if self.config.data.standardize == "global" and not self.sample.stream and self.sample.ambient_dim > 1:
            _, variance = moments(self.sample.train)
            share = float(variance.max() / variance.sum())
            if share > DOMINANT_SHARE and (variance > 0).sum() > 1:
                notes.append(
                    f"column {self.sample.columns[variance.argmax()]!r} has {share:.1%} of the variance, so the others "
                    "hardly count; data.standardize=per_column gives every column the same weight"
                )
        return notes

    def _sample_figure(self, model: FittedModel) -> Any:
        from lwgan_dist.reporting.figures import sample_figure

        rng = generator(self.config.seed, "sample figure")
        rows = self.sample.draw(rng, min(SAMPLE_ROWS, len(self.sample.train) or SAMPLE_ROWS))
        data, generated = self.sample.standardizer.undo(rows), model.generate(len(rows), seed=self.config.seed)
        return sample_figure(flat(data), flat(generated), model.dimension, model.columns)

    def _write_tensorboard(self, folder: Folder, result: RunResult, losses: Any, figures: dict[str, Any]) -> None:
        """From the recorded history, replacing what was written live: no step appears twice after a resume."""
        from lwgan_dist.reporting.tensorboard import write_run

        with tempfile.TemporaryDirectory() as temporary:
            write_run(Path(temporary), self.config, result, losses, figures)
            if folder.local is not None:
                remove_tree(folder.local / "tb", ignore_errors=True)
            for path in sorted(Path(temporary).rglob("*")):
                if path.is_file():
                    folder.sub("tb").write(path.name, path.read_bytes())


def _passed(state: TrainingState, iteration: int) -> bool:
    """Whether a state is that after an iteration, or after the end of the stage in which the iteration was left out."""
    meta = state.meta
    return bool(meta["iteration"] == iteration or meta["skipped"] < iteration <= meta["iteration"])


def _components(state: TrainingState) -> ScoreTables:
    return {split: np.array(table) for split, table in state.meta["components"].items()}


def read_result(folder: Folder) -> RunResult:
    """The result of a finished run; its ``run_dir`` is where the folder is now.

    Raises:
        ConfigError: not a run folder, or a run that is not finished.
    """
    if not folder.has(RESULT_FILE):
        state = "a run that is not finished" if folder.has(CONFIG_FILE) else "no run"
        raise ConfigError(f"{folder.location}: holds {state} (no {RESULT_FILE})")
    try:
        result = RunResult.model_validate(folder.read_json(RESULT_FILE))
    except ValidationError:
        raise ConfigError(f"{folder.location}/{RESULT_FILE}: is damaged, or of another version") from None
    return result.model_copy(update={"run_dir": folder.location})


def versions() -> dict[str, str]:
    """Of Python and of the packages that a number may depend on."""
    packages = ("lwgan-dist", "torch", "numpy", "ray", "pyarrow", "safetensors", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def run_files(folder: Folder) -> dict[str, str]:
    """What a reader of a finished run may want to open, by what it is."""
    names = {"rank scores": RANK_SCORES_PNG, "samples": SAMPLES_PNG, "scores": SCORES_FILE, "model": "model"}
    return {what: f"{folder.location}/{name}" for what, name in names.items()}


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """A fixed number of threads, part of what makes a result reproducible bit by bit; then what it was before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _git_commit() -> str | None:
    """Commit of the checkout that the package is run from, with "+" for local changes; None outside a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None if told.returncode == 0 else None
