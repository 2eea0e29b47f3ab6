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


class Pilot:
    """Costs of fits. What an iteration of a stage costs is measured once for all fits that differ in nothing but n;
    what comes once in a fit, as the geodesic start, for each that is asked for.
    """

    def __init__(self) -> None:
        self._usual: dict[str, dict[str, tuple[float, float]]] = {}

    def seconds(self, config: RunConfig, sample: Sample) -> float:
        """Processor seconds of a fit: those of `ITERATIONS` of every stage, scaled up; what comes once comes once.

        A stage of several rounds counts with one: the others are the exception.

        Args:
            config: resolved.
            sample: of the run.
        """
        alike = _settings(config, sample)
        stages, spent = _tried(config, sample, 1 if alike in self._usual else ITERATIONS)
        usual = self._usual.setdefault(alike, {stage.name: _usual(stage, spent[stage.name]) for stage in stages})
        return sum(_stage_seconds(stage, spent[stage.name][0], *usual[stage.name]) for stage in stages)


def fit_seconds(config: RunConfig, sample: Sample) -> float:
    """Processor seconds of one fit, see `Pilot.seconds`."""
    return Pilot().seconds(config, sample)


def cost_alike(config: RunConfig, sample: Sample) -> str:
    """What the cost of a fit depends on, as a text: fits for which it is equal cost alike.

    Args:
        config: resolved.
        sample: of the run.
    """
    return f"{_settings(config, sample)} {min(len(sample.train), getattr(config.schedule, 'embedding_rows', 0))}"


def _settings(config: RunConfig, sample: Sample) -> str:
    """What the cost of an iteration depends on."""
    return json.dumps([config.model_dump(mode="json", exclude={"data", "seed"}), sample.ambient_dim])


def _tried(config: RunConfig, sample: Sample, iterations: int) -> tuple[list[Stage], dict[str, list[float]]]:
    """The stages of a fit, and processor seconds of the first iterations of each, by its name."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = trainer_of(config, sample)
        stages = trainer.stages
        trainer.stages = [replace(stage, iterations=min(stage.round_length, iterations), rounds=1) for stage in stages]
        trainer.iterations = sum(stage.iterations for stage in trainer.stages)
        spent: dict[str, list[float]] = {stage.name: [] for stage in stages}
        before = time.process_time()
        for progress in trainer.run():
            now = time.process_time()
            spent[progress.stage].append(now - before)
            before = now
    finally:
        torch.set_num_threads(threads)
    return stages, spent


def _usual(stage: Stage, spent: Sequence[float]) -> tuple[float, float]:
    """Processor seconds and updates of an iteration that is not the first."""
    updates = statistics.median([stage.updates_at(i) for i in range(1, len(spent))] or [stage.updates_at(0)])
    return statistics.median(spent[1:] or spent), updates


def _stage_seconds(stage: Stage, first: float, usual: float, updates: float) -> float:
    """Processor seconds of a stage, of which the first iteration holds what comes once."""
    total = sum(stage.updates_at(i) for i in range(stage.round_length))
    return max(0.0, first - usual) + usual * total / updates
