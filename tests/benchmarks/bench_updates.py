"""CPU time and matrix-product flops of one update: the specification written down literally against ours.

``python tests/benchmarks/bench_updates.py [--json FILE]``; about a minute and a half on one core.

One process, one thread. The contenders take turns (A B C A B C ...), so that whatever else the machine does slows all
of them; times are CPU times, medians over the turns. An update is forward, backward and Adam step with everything that
it needs: draws of rows and noise, the passes through frozen networks. Ours runs as in a real run, through
``Trainer.run()``.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from literal_lwgan import LiteralLwgan

from lwgan_dist.config import (
    FastSchedule,
    ManifoldData,
    NetworksConfig,
    PaperSchedule,
    Precision,
    RunConfig,
    ScheduleConfig,
)
from lwgan_dist.data.sample import Sample, load_sample
from lwgan_dist.models.lwgan.stages import Stage, constant
from lwgan_dist.models.registry import trainer_of

BATCH_SIZE, WIDTH, LEARNING_RATE = 512, 64, 2e-4
CRITIC_UPDATES = 20
"""In a row, as in an iteration of the paper's schedule and in stage "critic" of the fast one."""

ENCODER_GENERATOR_UPDATES = 5
TURNS = 15
LONG = 10_000
"""Iterations of a stage: those of the S-curve, so that losses are recorded as rarely as in a real run."""


@dataclass(frozen=True)
class Shape:
    """The S-curve, turned into a space of p columns; q latent dimensions."""

    ambient_dim: int
    latent_dim: int

    def sample(self) -> Sample:
        """5,000 rows."""
        return load_sample(ManifoldData(name="s_curve", ambient_dim=self.ambient_dim, rotate=self.ambient_dim > 3))


@dataclass(frozen=True)
class Contender:
    """One way to make an update; ``turn`` makes ``updates`` of them."""

    update: str
    variant: str
    updates: int
    turn: Callable[[], None]


def literal_contenders(shape: Shape, sample: Sample) -> list[Contender]:
    """The literal model with the loop that anyone would write, each update on its own draws."""
    model = LiteralLwgan(shape.ambient_dim, shape.latent_dim, WIDTH)
    encoder_generator = [*model.encoder.parameters(), *model.generator.parameters()]
    critic_adam = torch.optim.Adam(model.critic.parameters(), LEARNING_RATE, betas=(0.5, 0.999))
    encoder_generator_adam = torch.optim.Adam(encoder_generator, LEARNING_RATE, betas=(0.5, 0.999))
    data = torch.from_numpy(sample.train[:]).float()

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        return data[torch.randint(len(data), (BATCH_SIZE,))], torch.randn(BATCH_SIZE, shape.latent_dim)

    def update(adam: torch.optim.Adam, loss: torch.Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()

    def draw_rank() -> int:
        return int(torch.randint(1, shape.latent_dim + 1, ()))

    def critic() -> None:
        rank = draw_rank()
        for _ in range(CRITIC_UPDATES):
            update(critic_adam, model.critic_loss(rank, *draw(), *draw(), torch.rand(BATCH_SIZE, 1), 5.0))

    def both() -> None:
        for _ in range(ENCODER_GENERATOR_UPDATES):
            update(encoder_generator_adam, model.encoder_generator_loss(draw_rank(), *draw(), *draw(), 1.0))

    return [
        Contender("critic", "literal", CRITIC_UPDATES, critic),
        Contender("encoder-generator", "literal", ENCODER_GENERATOR_UPDATES, both),
    ]


def trainer_contender(
    shape: Shape, sample: Sample, schedule: ScheduleConfig, precision: Precision,
    update: str, variant: str, stage_name: str, **changes: Any,
) -> Contender:  # fmt: skip
    """Ours: one stage of a schedule, reduced to one of its two updates.

    Args:
        shape, sample: what is learnt.
        schedule: holds the stage.
        precision: of the run.
        update: "critic" or "encoder-generator".
        variant: name in the table.
        stage_name: which stage.
        changes: fields of the stage to replace.
    """
    networks = NetworksConfig(latent_dim=shape.latent_dim, width=WIDTH)
    config = RunConfig(data=ManifoldData(name="s_curve"), networks=networks, schedule=schedule, precision=precision)
    trainer = trainer_of(config.resolved(train_rows=len(sample.train), ambient_dim=shape.ambient_dim), sample)
    stage: Stage = next(stage for stage in trainer.stages if stage.name == stage_name)
    is_critic = update == "critic"
    updates = CRITIC_UPDATES if is_critic else ENCODER_GENERATOR_UPDATES
    once: dict[str, Any] = {
        "critic_updates": CRITIC_UPDATES if is_critic else 0,
        "encoder_generator_updates": 0 if is_critic else 1,
    }
    trainer.stages = [replace(stage, iterations=LONG, burst=None, evaluate_after=None, **once, **changes)]
    trainer.iterations = LONG
    loop = trainer.run()

    def turn() -> None:
        for _ in range(1 if is_critic else ENCODER_GENERATOR_UPDATES):
            next(loop)

    return Contender(update, variant, updates, turn)


def our_contenders(shape: Shape, sample: Sample) -> Iterator[Contender]:
    """Every variant in float32, then in bfloat16."""
    paper, fast = PaperSchedule(batch_size=BATCH_SIZE), FastSchedule(batch_size=BATCH_SIZE, joint_iterations=LONG)
    with_mmd = {"mmd_weight": constant(1.0)}
    critic, both = "critic", "encoder-generator"
    variants: list[tuple[ScheduleConfig, str, str, str, dict[str, Any]]] = [
        (paper, critic, "paper", "training", {}),
        (paper, critic, "shared batches", "training", {"independent_batches": False}),
        (fast, critic, "fast: recycled batches", "critic", {}),
        (paper, both, "paper", "training", with_mmd),
        (paper, both, "shared batches", "training", with_mmd | {"independent_batches": False}),
        (fast, both, "fast: R + C + M (joint)", "joint", with_mmd),
        (fast, both, "fast: R + M (matching)", "matching", with_mmd | {"guide_weight": None}),
        (fast, both, "fast: R + M, guided (matching)", "matching", with_mmd | {"guide_weight": constant(1.0)}),
        (fast, both, "fast: two regressions (embedding)", "embedding", {}),
    ]
    precisions: tuple[tuple[Precision, str], ...] = (("float32", ""), ("bfloat16", ", bfloat16"))
    for precision, suffix in precisions:
        for schedule, update, variant, stage_name, changes in variants:
            yield trainer_contender(shape, sample, schedule, precision, update, variant + suffix, stage_name, **changes)


def measure(contenders: list[Contender], turns: int) -> list[list[float]]:
    """CPU milliseconds of an update, for every contender and turn."""
    times: list[list[float]] = [[] for _ in contenders]
    for turn in range(turns + 2):
        for contender, spent in zip(contenders, times, strict=True):
            start = time.process_time()
            contender.turn()
            if turn >= 2:  # the first two warm up caches and Adam states
                spent.append(1e3 * (time.process_time() - start) / contender.updates)
    return times


class WithoutModules(nullcontext[None]):
    """In place of the flop counter's module tracker, whose hooks forbid ``autograd.grad`` with respect to an input."""

    parents = frozenset({"Global"})


def megaflops(contender: Contender) -> float:
    """Of the matrix products of an update (a product and a sum count as two)."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = WithoutModules()
    with counter:
        contender.turn()
    return float(counter.get_total_flops()) / contender.updates / 1e6


def compare(shape: Shape, turns: int) -> list[dict[str, Any]]:
    """One row of the table for each contender, literal first, grouped by update."""
    sample = shape.sample()
    contenders = literal_contenders(shape, sample) + list(our_contenders(shape, sample))
    contenders.sort(key=lambda contender: contender.update)
    rows: list[dict[str, Any]] = []
    for contender, times in zip(contenders, measure(contenders, turns), strict=True):
        rows.append(
            {
                "update": contender.update,
                "variant": contender.variant,
                "cpu_ms": statistics.median(times),
                "cpu_ms_min": min(times),
                "cpu_ms_max": max(times),
                "megaflops": megaflops(contender),
            }
        )
    literal = {row["update"]: row for row in rows if row["variant"] == "literal"}
    for row in rows:
        row["speedup"] = literal[row["update"]]["cpu_ms"] / row["cpu_ms"]
    return rows


def show(shape: Shape, rows: list[dict[str, Any]]) -> None:
    """The table, aligned."""
    print(f"\np = {shape.ambient_dim}, q = {shape.latent_dim}, s = {WIDTH}, batch {BATCH_SIZE}")
    print(f"{'update':<18}{'variant':<34}{'CPU ms':>8}{'[min .. max]':>18}{'literal/this':>14}{'Mflop':>8}")
    for row in rows:
        spread = f"[{row['cpu_ms_min']:.2f} .. {row['cpu_ms_max']:.2f}]"
        print(
            f"{row['update']:<18}{row['variant']:<34}{row['cpu_ms']:>8.2f}{spread:>18}"
            f"{row['speedup']:>14.2f}{row['megaflops']:>8.0f}"
        )


def machine() -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure both shapes and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write the numbers here too")
    parser.add_argument("--turns", type=int, default=TURNS, help="turns of each contender (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    told: dict[str, Any] = {"machine": machine(), "turns": arguments.turns, "shapes": []}
    print(", ".join(f"{name} {value}" for name, value in told["machine"].items()))
    for shape in (Shape(3, 5), Shape(64, 10)):
        rows = compare(shape, arguments.turns)
        show(shape, rows)
        told["shapes"].append({"ambient_dim": shape.ambient_dim, "latent_dim": shape.latent_dim, "rows": rows})
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
