"""The cost of a fit, from a pilot: some iterations of every stage. The cost of a fit does not depend on n."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import Sample
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.training.stage import Stage

ITERATIONS = 8
"""Iterations of every stage that the pilot runs."""


def fit_seconds(config: RunConfig, sample: Sample) -> float:
    """Processor seconds of a fit: those of `ITERATIONS` of every stage, scaled up; what comes once comes once.

    A stage of several rounds counts with one: the others are the exception.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = trainer_of(config, sample)
        stages = trainer.stages
        trainer.stages = [replace(stage, iterations=min(stage.round_length, ITERATIONS), rounds=1) for stage in stages]
        trainer.iterations = sum(stage.iterations for stage in trainer.stages)
        spent: dict[str, list[float]] = {stage.name: [] for stage in stages}
        before = time.process_time()
        for progress in trainer.run():
            now = time.process_time()
            spent[progress.stage].append(now - before)
            before = now
    finally:
        torch.set_num_threads(threads)
    return sum(_stage_seconds(stage, spent[stage.name]) for stage in stages)


def cost_alike(config: RunConfig, sample: Sample) -> str:
    """What the cost of a fit depends on, as a text: fits for which it is equal cost alike.

    Args:
        config: resolved.
        sample: of the run.
    """
    settings = config.model_dump(mode="json", exclude={"data", "seed"})
    return json.dumps(
        [settings, sample.ambient_dim, min(len(sample.train), getattr(config.schedule, "embedding_rows", 0))]
    )


def _stage_seconds(stage: Stage, spent: Sequence[float]) -> float:
    """Processor seconds of a stage; its first iteration holds what comes once, as the geodesic start."""
    usual = statistics.median(spent[1:] or spent)
    once = max(0.0, spent[0] - usual)
    total = sum(stage.updates_at(i) for i in range(stage.round_length))
    usually = statistics.median([stage.updates_at(i) for i in range(1, len(spent))] or [stage.updates_at(0)])
    return once + usual * total / usually
