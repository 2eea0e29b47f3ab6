"""Throughput of the 28x28 networks on two workers against one: batch 256, one thread each, gloo.

``python tests/benchmarks/bench_images.py [--width 64] [--updates 30]``; some minutes on two cores. With ``--profile``,
in their place: which operators of torch one worker's processor time goes into.

Processes of this machine, without Ray. Printed for each update: rows a second of wall time by the number of workers and
their ratio, which needs a core for each worker; beside it, because other work on the machine slows wall time, the
ratio of the processor time of one worker to the largest one of two, which is what two undisturbed cores would give but
for the waiting. Of a worker's processor time, two parts stand apart from the update with its communication: drawing,
of the numbers of the whole batch on every worker and of its own rows, and the critic's frozen batches, which are
reconstructions and fakes of its own rows.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from forked import Child

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import load_sample
from lwgan_dist.models.lwgan.batches import Batches
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase

BATCH_SIZE, WARM_UP = 256, 3
UPDATES = {"encoder-generator (R + M)": ("matching", 0, 1), "critic": ("critic", 5, 0)}
"""Stage of the fast schedule, critic and encoder-generator updates of an iteration."""


def config_of(width: int) -> RunConfig:
    """The LWGAN on images of known dimension, 28x28."""
    told: dict[str, Any] = {
        "data": {"source": "manifold", "name": "decoded_images", "n": 2_000},
        "networks": {"name": "conv", "width": width, "latent_dim": 10},
        "schedule": {"name": "fast", "batch_size": BATCH_SIZE, "embedding_iterations": 0},
    }
    return RunConfig.model_validate(told)


def measured(config: RunConfig, world: World, update: str, updates: int) -> dict[str, float]:
    """Milliseconds of one update on this worker: wall time, processor time, and of that the two parts."""
    sample = load_sample(config.data)
    resolved = config.resolved(train_rows=len(sample.train), ambient_dim=sample.ambient_dim, shape=sample.shape,
                               bfloat16_pays=world.device.type == "cuda")  # fmt: skip
    trainer = trainer_of(resolved, sample, world)
    name, critic, both = UPDATES[update]
    stage = next(stage for stage in trainer.stages if stage.name == name)
    trainer.stages = [replace(stage, iterations=10_000, critic_updates=critic, encoder_generator_updates=both)]
    trainer.iterations = 10_000
    originals, inside = (Phase.step, Batches._frozen), [0.0, 0.0]

    def timed(place: int) -> Any:
        def function(*arguments: Any) -> Any:
            before = time.process_time()
            result = originals[place](*arguments)
            inside[place] += time.process_time() - before
            return result

        return function

    Phase.step, Batches._frozen = timed(0), timed(1)  # type: ignore[method-assign]
    loop, rows, each = trainer.run(), [], critic + both
    for turn in range(WARM_UP + -(-updates // each)):
        before = time.perf_counter(), time.process_time(), *inside
        next(loop)
        if world.device.type == "cuda":
            torch.cuda.synchronize()
        spent = time.perf_counter() - before[0], time.process_time() - before[1]
        if turn >= WARM_UP:
            stepping, frozen = inside[0] - before[2], inside[1] - before[3]
            rows.append([1e3 * value / each for value in (*spent, frozen, spent[1] - stepping - frozen)])
    Phase.step, Batches._frozen = originals  # type: ignore[method-assign]
    wall, cpu, frozen, drawing = (statistics.median(column) for column in zip(*rows, strict=True))
    return {"wall": wall, "cpu": cpu, "frozen": frozen, "drawing": drawing}


def profiled(config: RunConfig, update: str, updates: int) -> str:
    """``convolution_backward 40 %, ...``: operators with at least 2 % of the processor time of some updates."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        measured(config, World(0, 1), update, updates)
    spent: dict[str, float] = {}
    for event in profiler.key_averages():
        spent[event.key.removeprefix("aten::")] = event.self_cpu_time_total
    shares = sorted(((time / sum(spent.values()), name) for name, time in spent.items()), reverse=True)
    return ", ".join(f"{name} {share:.0%}" for share, name in shares if share >= 0.02)


def _worker(index: int, workers: int, meeting: str, width: int, updates: int) -> None:
    torch.set_num_threads(1)
    if workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=index, world_size=workers)
    world, config = World(index, workers), config_of(width)
    print(json.dumps({update: measured(config, world, update, updates) for update in UPDATES}), flush=True)
    os._exit(0)  # gloo's threads abort now and then when the interpreter takes them down


def of_workers(workers: int, width: int, updates: int) -> list[dict[str, dict[str, float]]]:
    """What each of some workers that train together measures."""
    with tempfile.TemporaryDirectory() as folder:
        here, meeting = Path(__file__).parent, str(Path(folder, "meeting"))
        children = [Child(_worker, i, workers, meeting, width, updates, path=here) for i in range(workers)]
        ended = [child.end() for child in children]
    if any(child.returncode for child in ended):
        raise SystemExit("\n".join(child.stderr for child in ended))
    return [json.loads(child.stdout.splitlines()[-1]) for child in ended]


def main() -> None:
    """Measure one worker and two, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="s of the networks (default %(default)s)")
    parser.add_argument("--updates", type=int, default=30, help="of each kind (default %(default)s)")
    parser.add_argument("--profile", action="store_true", help="which operators one worker's time goes into")
    arguments = parser.parse_args()
    print(f"28x28, batch {BATCH_SIZE}, s = {arguments.width}; load of the machine {os.getloadavg()[0]:.1f}", flush=True)
    if arguments.profile:
        torch.set_num_threads(1)
        for update in UPDATES:
            print(f"{update}: {profiled(config_of(arguments.width), update, arguments.updates)}", flush=True)
        return
    one, two = ([*of_workers(workers, arguments.width, arguments.updates)] for workers in (1, 2))
    for update in UPDATES:
        alone, together = one[0][update], {key: max(told[update][key] for told in two) for key in one[0][update]}
        print(f"{update}, ms an update: one worker {shown(alone)}; two workers {shown(together)}")
        rates = [1e3 * BATCH_SIZE / told["wall"] for told in (alone, together)]
        print(f"  rows a second {rates[0]:.0f} and {rates[1]:.0f}, ratio {rates[1] / rates[0]:.2f}; "
              f"by processor time {alone['cpu'] / together['cpu']:.2f}")  # fmt: skip


def shown(told: dict[str, float]) -> str:
    """``wall 80.1, processor 79.9 (frozen batches 0.0, drawing 2.1)``."""
    parts = f"frozen batches {told['frozen']:.1f}, drawing {told['drawing']:.1f}"
    return f"wall {told['wall']:.1f}, processor {told['cpu']:.1f} ({parts})"


if __name__ == "__main__":
    main()
