"""One worker's part of a run: resume from the newest checkpoint, train to the end, checkpoint on the way."""

import json
import math
import time
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, PositiveInt

from lwgan_dist.errors import RunFailedError
from lwgan_dist.storage import Folder, damage_named
from lwgan_dist.training.checkpoint import Checkpoints
from lwgan_dist.training.distributed import World, replicas_differ
from lwgan_dist.training.trainer import Trainer, TrainingState

PROGRESS_FILE = "progress.json"


class ProgressRecord(BaseModel, extra="allow"):
    """What is read of ``progress.json``."""

    iteration: int
    iterations: PositiveInt
    stage: str
    losses: dict[str, float] = {}


LOOK_SECONDS = 1.0
"""Time between two looks of all workers at the clock and at what is announced."""

LEAVING_SECONDS = 2.0
"""Time between checkpoints from the announcement on that a worker's place will be taken away."""


def train_worker(
    trainer: Trainer,
    folder: Folder,
    *,
    checkpoint_seconds: float,
    checkpoints_kept: int,
    report: Callable[[dict[str, Any]], None] | None,
    until: int | None = None,
    leaving: Callable[[], bool] = lambda: False,
) -> TrainingState:
    """Train a run to its end on this worker, or to an iteration, and return the state there.

    Every worker runs this; the main worker writes checkpoints and, if anyone listens, ``progress.json`` into the run
    folder, which all must be able to read.

    Args:
        trainer: new, the same on every worker; its initial parameters count if there is no checkpoint.
        folder: the run folder.
        checkpoint_seconds: least time between checkpoints.
        checkpoints_kept: of the newest.
        report: called on every worker, at the same iterations, with a progress record; None if nobody listens.
        until: the iteration after which to halt; a run that has come so far stays as it is.
        leaving: asked about once a second, by all workers after the same iterations: is the place of one of them about
            to be taken away? Then a checkpoint is written at once, and often from then on.

    Raises:
        NonFiniteLossError: on every worker; the checkpoints before it remain.
    """
    world = trainer.world
    checkpoints = Checkpoints(folder.sub("checkpoints"), checkpoints_kept)
    if world.is_main:
        checkpoints.folder.remove_temporary()
    _resume(trainer, checkpoints, world)
    begun = trainer.iteration
    if until is not None and begun >= until:
        return trainer.state()
    saved, stage, announced = time.monotonic(), None, False
    looks = _Looks(world)
    for progress in trainer.run():
        if progress.stage != stage:
            stage = progress.stage
            _compare_replicas(trainer, world)
            looks.anew(progress.iteration)
        if until is not None and progress.iteration >= until:
            break
        goes_on = progress.iteration < progress.iterations
        look = goes_on and looks.due(progress.iteration)
        if look and not announced and leaving():
            announced, checkpoint_seconds, saved = True, min(checkpoint_seconds, LEAVING_SECONDS), -math.inf
        due = goes_on and (look or progress.recorded) and time.monotonic() - saved >= checkpoint_seconds
        if due and world.is_main:
            checkpoints.save(trainer.state())
            saved = time.monotonic()
        if progress.recorded and report:
            if world.is_main:
                folder.write(PROGRESS_FILE, json.dumps(progress.as_dict()).encode())
            report(progress.as_dict())
    _compare_replicas(trainer, world)
    state = trainer.state()
    if world.is_main and trainer.iteration > begun:  # else it is saved, and to write it anew would put it at risk
        checkpoints.save(state)
    return state


class _Looks:
    """After which iterations all workers look up: about once a second, by the clock of the main worker."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._anew: tuple[int, float] = (0, 0.0)
        self._next = 0

    def anew(self, iteration: int) -> None:
        """A stage begins, whose iterations may last much longer or shorter."""
        self._anew, self._next = (iteration, time.monotonic()), iteration + 1

    def due(self, iteration: int) -> bool:
        """Whether this iteration is one of them; every worker must call it."""
        if iteration < self._next:
            return False
        before, since = self._anew
        pace = (iteration - before) / max(time.monotonic() - since, 1e-9)
        self._anew = (iteration, time.monotonic())
        self._next = iteration + self._world.agree(max(1, min(int(LOOK_SECONDS * pace), 2 * (iteration - before) + 1)))
        return True


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
        with damage_named(checkpoints.folder.location):
            trainer.load(state)
