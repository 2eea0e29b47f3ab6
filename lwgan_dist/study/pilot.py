"""What a study will cost, from a pilot: some iterations of every stage of an LWGAN run, one estimate by every classical
estimator. The cost of a fit does not depend on n, that of an estimator does.
"""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import Sample, load_sample
from lwgan_dist.runs import Run
from lwgan_dist.study.bootstrap import refit_config
from lwgan_dist.study.classical import classical_estimate
from lwgan_dist.study.config import BootstrapConfig
from lwgan_dist.study.design import Group, PlannedRun, hash_of
from lwgan_dist.study.refits import refits_of
from lwgan_dist.study.study import Study
from lwgan_dist.training.stages import Stage
from lwgan_dist.training.trainer import Trainer

ITERATIONS = 8
"""Of every stage in the pilot."""


@dataclass(frozen=True)
class Cost:
    """Of a group: processor seconds of one of its runs, and of one bootstrap refit."""

    run: float
    refit: float = 0.0


class Pilot:
    """Measures costs, once for all groups that cost alike."""

    def __init__(self, bootstrap: BootstrapConfig | None) -> None:
        self._bootstrap = bootstrap
        self._known: dict[str, Cost] = {}

    def cost(self, run: PlannedRun) -> Cost:
        """What a run costs, in processor seconds."""
        group = run.group
        sample = load_sample(run.config.data)
        if group.kind == "classical":
            alike = hash_of([group.estimator, group.n, sample.ambient_dim])
            if alike not in self._known:
                self._known[alike] = Cost(self._classical(group, sample, run.config.seed))
            return self._known[alike]
        config = Run(run.config).config
        told = config.model_dump(mode="json", exclude={"data", "seed"})
        alike = hash_of(
            [told, sample.ambient_dim, min(len(sample.train), getattr(config.schedule, "embedding_rows", 0))]
        )
        if alike not in self._known:
            self._known[alike] = Cost(_fit_seconds(config, sample), self._refit(config, sample))
        return self._known[alike]

    def _classical(self, group: Group, sample: Sample, seed: int) -> float:
        assert group.estimator
        rows = np.concatenate([sample.train, sample.holdout])
        return classical_estimate(group.estimator, rows, seed).cpu_seconds

    def _refit(self, config: RunConfig, sample: Sample) -> float:
        if self._bootstrap is None:
            return 0.0
        return _fit_seconds(refit_config(config, self._bootstrap, self._bootstrap.kinds[0], 0, config.seed), sample)


def _fit_seconds(config: RunConfig, sample: Sample) -> float:
    """Processor seconds of a fit: those of `ITERATIONS` of every stage, scaled up; what comes once comes once."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = Trainer(config, sample)
        stages = trainer.stages
        trainer.stages = [replace(stage, iterations=min(stage.iterations, ITERATIONS)) for stage in stages]
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


def _stage_seconds(stage: Stage, spent: Sequence[float]) -> float:
    """Of the iterations of a stage; the first one holds what comes once, as the geodesic start."""
    usual = statistics.median(spent[1:] or spent)
    once = max(0.0, spent[0] - usual)
    updates = 1.0
    if stage.critic_updates and stage.burst:
        total = sum(stage.critic_updates_at(i) for i in range(stage.iterations))
        done = sum(stage.critic_updates_at(i) for i in range(1, len(spent))) / max(1, len(spent) - 1)
        updates = total / stage.iterations / done
    return once + usual * updates * stage.iterations


@dataclass(frozen=True)
class PlanLine:
    """A group in a plan.

    Attributes:
        methods: the cells that its runs make.
        replicates, runs, missing: samples, runs on them, runs that are still to be done.
        refits: bootstrap refits that are still to be done, at least (of runs that are still to be done, all).
        cpu_seconds: of one run.
        cpu_seconds_refit: of one refit.
    """

    data: str
    n: int
    methods: list[str]
    replicates: int
    runs: int
    missing: int
    refits: int
    cpu_seconds: float
    cpu_seconds_refit: float

    @property
    def cpu_seconds_missing(self) -> float:
        """Processor time of what is still to be done."""
        return self.missing * self.cpu_seconds + self.refits * self.cpu_seconds_refit


def plan(study: Study) -> list[PlanLine]:
    """What a study consists of before any further replicates on demand, what of it is missing, and what that costs."""
    bootstrap = study.config.bootstrap
    pilot = Pilot(bootstrap)
    planned = study.first_runs()
    missing = Counter(id(run.group) for run in study.missing(planned))
    finished = study.ledger.keys()
    refits = Counter(
        id(refit.base.group) for refit in refits_of(planned, study.ledger, bootstrap) if refit.key not in finished
    )
    lines = []
    for group in study.design.groups:
        runs = study.design.runs(group, range(study.design.replicates(group)))
        cost = pilot.cost(runs[0])
        todo = refits[id(group)]
        if bootstrap and group.kind == "lwgan":
            todo += missing[id(group)] * bootstrap.resamples * len(bootstrap.kinds)
        lines.append(
            PlanLine(
                group.data, group.n, group.methods, study.design.replicates(group), len(runs), missing[id(group)], todo,
                cost.run, cost.refit,
            )
        )  # fmt: skip
    return lines
