"""One worker's part of a run: resume from the newest checkpoint, train to the end, checkpoint on the way."""

import json
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import Sample
from lwgan_dist.errors import RunFailedError
from lwgan_dist.storage import Folder
from lwgan_dist.training.checkpoint import Checkpoints
from lwgan_dist.training.distributed import World, replicas_differ
from lwgan_dist.training.trainer import Trainer, TrainingState

PROGRESS_FILE = "progress.json"


def train_worker(
    config: RunConfig,
    sample: Sample,
    folder: Folder,
    world: World,
    *,
    checkpoint_seconds: float,
    checkpoints_kept: int,
    report: Callable[[dict[str, Any]], None] | None,
    initial: dict[str, Tensor] | None = None,
    until: int | None = None,
) -> TrainingState:
    """Train a run to its end on this worker, or to an iteration, and return the state there.

    Every worker runs this; the main worker writes checkpoints and, if anyone listens, ``progress.json`` into the run
    folder, which all must be able to read.

    Args:
        config: resolved.
        sample: the same on every worker.
        folder: the run folder.
        world: the processes that train together.
        checkpoint_seconds: least time between checkpoints.
        checkpoints_kept: of the newest.
        report: called on every worker, at the same iterations, with a progress record; None if nobody listens.
        initial: parameters to start from if there is no checkpoint; see `Trainer`.
        until: the iteration after which to halt; a run that is there already stays as it is.

    Raises:
        NonFiniteLossError: on every worker; the checkpoints before it remain.
    """
    trainer = Trainer(config, sample, world, initial=initial)
    checkpoints = Checkpoints(folder.sub("checkpoints"), checkpoints_kept)
    if world.is_main:
        checkpoints.folder.remove_temporary()
    _resume(trainer, checkpoints, world)
    saved, stage = time.monotonic(), None
    if until is not None and trainer.iteration >= until:
        return trainer.state()
    for progress in trainer.run():
        if progress.stage != stage:
            stage = progress.stage
            _compare_replicas(trainer, world)
        if progress.iteration == until:
            break
        if not progress.recorded:
            continue
        if world.is_main:
            if progress.iteration < progress.iterations and time.monotonic() - saved >= checkpoint_seconds:
                checkpoints.save(trainer.state())
                saved = time.monotonic()
            if report:
                folder.write(PROGRESS_FILE, json.dumps(progress.told()).encode())
        if report:
            report(progress.told())
    _compare_replicas(trainer, world)
    state = trainer.state()
    if world.is_main:
        checkpoints.save(state)
    return state


def _compare_replicas(trainer: Trainer, world: World) -> None:
    differing = replicas_differ(world, trainer.parameters())
    if differing:
        raise RunFailedError(
            f"after iteration {trainer.iteration} the networks differ between workers (first {differing[0]}): "
            "the workers do not compute alike; use nodes of one kind"
        )


def _resume(trainer: Trainer, checkpoints: Checkpoints, world: World) -> None:
    """Load the newest whole checkpoint, the same on every worker."""
    state = checkpoints.newest() if world.is_main else None
    iteration = world.agree(state.meta["iteration"] if state else 0)
    if world.is_main:
        checkpoints.drop_after(iteration)
    if iteration and state is None:
        state = checkpoints.read(f"iteration-{iteration:012d}")
    if state:
        trainer.load(state)
