"""A run under Ray Train: a group of DDP workers, restarted when one is lost, watched from the driver.

Ray carries processes, not state. Checkpoints and results go to the run folder by our own protocol, so a run may be
begun under Ray and finished without, and Ray's bookkeeping is a folder that is thrown away.
"""

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from ray.train import UserCallback
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError
from torch import Tensor

from lwgan_dist import logs
from lwgan_dist.config import ExecutionConfig, RunConfig, WorkerRange
from lwgan_dist.data.sample import load_sample
from lwgan_dist.errors import ClusterError, ConfigError, DataError, NonFiniteLossError, RunFailedError, UserError
from lwgan_dist.launch.network import GroupConfig
from lwgan_dist.launch.placement import await_places, fewest_workers, resources, waiting_for
from lwgan_dist.launch.private import count_places_anew
from lwgan_dist.launch.prometheus import RunMeter
from lwgan_dist.launch.session import session
from lwgan_dist.launch.worker_logs import configure_worker, settings_of_workers
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.reporting.live import LiveLosses
from lwgan_dist.storage import Folder
from lwgan_dist.training.distributed import World
from lwgan_dist.training.loop import PROGRESS_FILE, ProgressRecord, train_worker

logger = logging.getLogger("lwgan_dist")

REPORTS = 5
"""Reports to Ray Train over a run. Each is a barrier of all workers and may wait for the controller's next poll."""

ELASTIC_START_SECONDS = 8.0
"""How long an elastic group waits for as many workers as there seemed to be places for, before it counts anew."""

COUNT_SECONDS = 60.0
"""For how long places are counted anew after a loss."""

STARTS = 10
"""How often Ray lets a group fail to start until we judge why: workers that crash on the way count as one failure; for
places it goes on waiting."""

_WANT_OF_PLACES = "WorkerGroupStartupTimeoutError"
_CRASH_AT_START = ("WorkerGroupStartupFailedError", "RayActorError", "RayTaskError", "OutOfMemoryError")
"""Errors for which a group does not start, by the names of Ray's classes, or of those that they derive from."""

LEAVE_SECONDS = 5.0
"""How long the end of a run waits for who watches it, who may hang in the storage."""

UNFIT: dict[int, tuple[type[UserError], str]] = {
    1: (ClusterError, "not every node sees the run folder; use a shared folder or a URI"),
    2: (DataError, "a worker reads other data than the command did: the table has changed or differs by node"),
    3: (DataError, "a worker cannot read the data (its log says why): the table has to be on every node"),
}
"""Why workers do not begin, by the number that they tell each other."""

NOTICE_SECONDS = 10.0
"""After how long without progress it is looked whether the workers wait for resources."""

_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # Ray's 2 s delay every report after the second by as much
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",  # of Ray's 5 s, little is left of the 30 s that some clouds give
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # else what a worker prints appears twice
}


def train_on_ray(
    config: RunConfig,
    folder: Folder,
    execution: ExecutionConfig,
    *,
    data_digest: str,
    array: NDArray[Any] | None = None,
    initial: dict[str, Tensor] | None = None,
    until: int | None = None,
    on_progress: Callable[[dict[str, Any]], None],
    verbose: bool = False,
) -> None:
    """Train a run under Ray Train until its final checkpoint, or that of an iteration, is in the run folder.

    Args:
        config: resolved.
        folder: the run folder; every node must see it.
        execution: workers, resources, retries.
        data_digest: of the sample that the driver read; workers refuse another.
        array: the rows of an in-memory run.
        initial: parameters to start from, see `lwgan_dist.training.trainer.Trainer`.
        until: the iteration after which to halt; by default the last.
        on_progress: gets the progress records, in a thread of the driver.
        verbose: show Ray's messages.

    Raises:
        NonFiniteLossError: a loss diverged; not retried.
        ClusterError: no cluster at the address, or one that lacks the resources.
        RunFailedError: the group failed more often than ``max_failures`` allows; the count begins anew when it has
            waited for places for long.
    """
    elastic = isinstance(execution.workers, WorkerRange)
    start_seconds = ELASTIC_START_SECONDS if elastic else execution.start_timeout_seconds
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(start_seconds)
    os.environ["RAY_TRAIN_COLLECTIVE_TIMEOUT_S"] = str(execution.collective_timeout_seconds)
    with session(execution, _ENVIRONMENT, verbose=verbose) as joined:
        await_places(execution, fewest_workers(execution), joined)
        settings = {
            "config": config.model_dump_json(),
            "folder": folder.location,
            "execution": execution.model_dump_json(),
            "data_digest": data_digest,
            "array": None if array is None else ray.put(np.asarray(array)),
            "initial": None if initial is None else ray.put(initial),
            "until": until,
            "logs": settings_of_workers(),
        }
        try:
            with (
                RunMeter(folder) as meter,
                _watched(folder, [meter.progress, on_progress], execution),
                _interruptible(),
            ):
                result = _until_it_starts(
                    lambda: _attempt(settings, folder.sub(".ray"), execution), execution.max_failures
                )
        except (TrainingFailedError, ControllerError) as error:
            raise RunFailedError(f"the training failed under Ray: {_innermost(error)}") from error
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
            raise RunFailedError(f"the process that directs the training was lost: {_innermost(error)}") from error
        answer = result.return_value or {}
        if answer.get("unfit") in UNFIT:
            kind, text = UNFIT[answer["unfit"]]
            raise kind(f"{folder.location}: {text}")
        if answer.get("failure"):
            raise NonFiniteLossError(answer["failure"])
        with suppress(OSError):  # the training is done, whatever is left of it
            folder.remove(".ray")


def _attempt(settings: dict[str, Any], scratch: Folder, execution: ExecutionConfig) -> ray.train.Result:
    """One run of Ray Train's group of workers, from its start to its end."""
    workers = execution.workers
    trainer = ray.train.torch.TorchTrainer(
        _worker,
        train_loop_config=settings,
        torch_config=GroupConfig(timeout_s=int(execution.collective_timeout_seconds)),
        scaling_config=ray.train.ScalingConfig(
            num_workers=(workers.min, workers.max) if isinstance(workers, WorkerRange) else workers,
            use_gpu=execution.use_gpu,
            resources_per_worker=resources(execution),
        ),
        run_config=ray.train.RunConfig(
            name=f"attempt-{uuid.uuid4().hex[:12]}",  # never resumed by Ray: see the module's docstring
            storage_path=scratch.location,
            failure_config=ray.train.FailureConfig(
                max_failures=execution.max_failures,
                max_preemption_failures=-1,
                controller_failure_limit=STARTS,
            ),
            callbacks=[_CountAnew()],
        ),
    )
    return trainer.fit()


def _until_it_starts(attempt: Callable[[], ray.train.Result], max_failures: int) -> ray.train.Result:
    """Let Ray train, again and again while places are wanted, and as often as ``max_failures`` allows when workers
    crash before they train, which Ray does not count among its failures.
    """
    crashes = 0
    while True:
        try:
            return attempt()
        except ControllerError as error:
            names = {kind.__name__ for kind in type(error.controller_failure).__mro__}
            if names.intersection(_CRASH_AT_START):
                crashes += 1
                if 0 <= max_failures < crashes:
                    raise
            elif _WANT_OF_PLACES not in names:
                raise
            logger.debug("begins anew: %s", error)


def _worker(settings: dict[str, Any]) -> dict[str, Any]:
    """The function that every worker runs."""
    configure_worker(settings["logs"])
    execution = ExecutionConfig.model_validate_json(settings["execution"])
    config = RunConfig.model_validate_json(settings["config"])
    array = None if settings["array"] is None else ray.get(settings["array"])
    initial = None if settings["initial"] is None else ray.get(settings["initial"])
    torch.set_num_threads(execution.threads_per_worker)
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())

    folder = Folder.at(settings["folder"])
    sample, here = None, 0 if folder.has("env.json") else 1
    if not here:
        try:
            sample = load_sample(config.data, array)
        except DataError as error:
            logger.error("%s", error)
            here = 3
        else:
            here = 2 if sample.digest != settings["data_digest"] else 0
    unfit = max(int(code) for code in world.collect(torch.tensor([here], device=world.device)))
    if unfit or sample is None:  # all workers leave: a retry would end the same way
        return {"unfit": unfit}
    try:
        with (
            logs.of_run(config.fingerprint(sample.digest)),
            logs.context(worker_index=world.worker_index, num_workers=world.num_workers),
            LiveLosses(folder.local if world.is_main else None) as live,
        ):

            def report(progress: dict[str, Any]) -> None:
                live(progress)
                every = max(1, progress["iterations"] // REPORTS)
                if progress["iteration"] % every == 0:
                    ray.train.report({"iteration": progress["iteration"], **progress["losses"]})

            train_worker(
                trainer_of(config, sample, world, initial=initial),
                folder,
                checkpoint_seconds=execution.checkpoint_seconds,
                checkpoints_kept=execution.checkpoints_kept,
                report=report,
                until=settings["until"],
                leaving=lambda: ray.train.get_preemption_info() is not None,
            )
    except NonFiniteLossError as error:  # every worker gets here: a retry would end the same way
        return {"failure": str(error)}
    return {"failure": None}


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C while Ray trains: Ray's handler stops the workers and exits; make it the interrupt that it is, and give
    the handler back, which Ray does not.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


class _CountAnew(UserCallback):  # type: ignore[misc]
    """In Train's controller: after a loss, the places are counted anew again and again. Otherwise Ray's coordinator,
    which looks at the nodes every 20 s, gives an elastic group back the place on the node that was lost; and a node is
    known to be lost some time after its workers are.
    """

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        threading.Thread(target=self._count, name="count-anew", daemon=True).start()

    @staticmethod
    def _count() -> None:
        with suppress(Exception):  # without it, only slower
            ends = time.monotonic() + COUNT_SECONDS
            while time.monotonic() < ends:
                count_places_anew("lwgan_dist", seconds=5)
                time.sleep(2.0)


@contextmanager
def _watched(
    folder: Folder, listeners: list[Callable[[dict[str, Any]], None]], execution: ExecutionConfig
) -> Iterator[None]:
    """Read the progress that the main worker writes into the run folder, while the driver waits; say what the workers
    wait for if there is none.
    """
    ended = threading.Event()
    pause = 0.5 if folder.local else 5.0

    last: dict[str, Any] = {}
    moved, waits = time.monotonic(), False

    def look() -> None:
        nonlocal last, moved, waits
        try:
            progress = folder.read_json(PROGRESS_FILE, ProgressRecord).model_dump()
        except (OSError, ConfigError):  # not written yet, or half-way through an upload
            return
        if progress != last:
            last, moved, waits = progress, time.monotonic(), False
            for listener in listeners:
                listener(progress)

    def watch() -> None:
        nonlocal moved, waits
        while not ended.wait(pause):
            try:
                look()
                if time.monotonic() > moved + NOTICE_SECONDS:
                    moved = time.monotonic()
                    reason = waiting_for(execution)
                    if reason and not waits:
                        waits = True
                        logger.warning("waiting for %s", reason)
            except Exception:
                logger.debug("progress cannot be read", exc_info=True)

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LEAVE_SECONDS)
    if not thread.is_alive():
        look()


def _innermost(error: BaseException) -> str:
    """The last line of the error that started it: of a worker's, if one failed."""
    failures = getattr(error, "worker_failures", None)
    inner = next(iter(failures.values())) if failures else error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    lines = [line for line in str(inner).splitlines() if line.strip()]
    return f"{type(inner).__name__}: {lines[-1] if lines else ''}"
