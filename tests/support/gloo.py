"""Several gloo workers on this machine, each a process."""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from forked import Child
from tiny import make_trainer, trajectory, whole_parameters

from lwgan_dist.models.lwgan import stages
from lwgan_dist.training.distributed import World, replicas_differ

SCORE_INTERVAL = 2
"""Iterations between two evaluations of the authors' schedule, of which 20 would take most of the time."""


def trajectories(told: dict, workers: int, folder: Path, fault: str = "none") -> list[dict]:
    """The trajectory that each of the workers sees; ``fault`` breaks something on purpose."""
    meeting = folder / f"meeting-{workers}-{fault}"
    children = [Child(_worker, i, workers, str(meeting), told, fault) for i in range(workers)]
    ended = [child.end() for child in children]
    assert [child.returncode for child in ended] == [0] * workers, [child.stderr for child in ended]
    return [json.loads(child.stdout.splitlines()[-1]) for child in ended]


def _worker(index: int, workers: int, meeting: str, told: dict, fault: str) -> None:
    torch.set_num_threads(1)
    stages.SCORE_INTERVAL = SCORE_INTERVAL
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=index, world_size=workers)
    if fault == "local statistics":
        World.gather = lambda self, local, rows: local  # type: ignore[method-assign, assignment]
    if fault == "own noise" and index:
        told = {**told, "seed": 1}
    trainer = make_trainer(told, World(index, workers))
    if fault == "local statistics":  # each worker matches its own rows: parts of the batch as if it were whole
        local = trainer.model.batches.ranks

        def shrunk(stage, iteration):
            ranks, _ = local(stage, iteration)
            size = len(range(*trainer.world.share(stage.batch_size).indices(stage.batch_size)))
            return ranks, [(1, slice(0, size))]

        trainer.model.batches.ranks = shrunk  # type: ignore[method-assign]
    seen = trajectory(trainer)
    seen["tensors"] = whole_parameters(trainer)
    seen["differing"] = replicas_differ(trainer.world, trainer.parameters())
    print(json.dumps(seen))
    sys.stdout.flush()
    dist.barrier()
    os._exit(0)  # gloo's threads abort now and then when the interpreter takes them down
