"""One of two workers of a run whose first stage may end at a plateau, in a process of its own."""

import json
import os
import sys

import torch
import torch.distributed as dist
from tiny import make_trainer

from lwgan_dist.models.lwgan import stages
from lwgan_dist.training.distributed import World, replicas_differ


def plateau_worker(index: int, meeting: str, interval: int, told: dict) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=index, world_size=2)
    stages.PLATEAU_INTERVAL = interval
    trainer = make_trainer(told, World(index, 2))
    iterations = [progress.iteration for progress in trainer.run()]
    seen = {"lengths": trainer.lengths, "iterations": iterations, "losses": trainer.losses}
    print(json.dumps(seen | {"differing": replicas_differ(trainer.world, trainer.parameters())}))
    sys.stdout.flush()
    dist.barrier()
    os._exit(0)  # as in gloo.py
