"""Several gloo workers on this machine, each a process; run as a script it is one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from lwgan_dist.training.distributed import World, replicas_differ

HERE = Path(__file__).parent


def trajectories(told: dict, workers: int, folder: Path, fault: str = "none") -> list[dict]:
    """The trajectory that each of the workers sees; ``fault`` breaks something on purpose."""
    meeting = folder / f"meeting-{workers}-{fault}"
    arguments = [str(workers), str(meeting), json.dumps(told), fault]
    processes = [
        subprocess.Popen([sys.executable, __file__, str(i), *arguments], stdout=subprocess.PIPE, text=True)
        for i in range(workers)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * workers
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def main() -> None:
    index, workers, meeting, told, fault = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
    sys.path.insert(0, str(HERE))
    from tiny import make_trainer, trajectory, whole_parameters

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=index, world_size=workers)
    if fault == "local statistics":
        World.gather = lambda self, local, rows: local  # type: ignore[method-assign, assignment]
    told = json.loads(told)
    if fault == "own noise" and index:
        told["seed"] = 1
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


if __name__ == "__main__":
    main()
