"""The cost of a study, from a pilot: some iterations of every stage of an LWGAN run, one estimate by every classical
estimator. The cost of a fit does not depend on n, that of an estimator does.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lwgan_dist.campaign.ledger import hash_of
from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import Sample, load_sample
from lwgan_dist.models import pilot as fits
from lwgan_dist.run.run import Run
from lwgan_dist.study.bootstrap import refit_config
from lwgan_dist.study.classical import classical_estimate
from lwgan_dist.study.config import BootstrapConfig
from lwgan_dist.study.design import Group, PlannedRun
from lwgan_dist.study.refits import refits_of
from lwgan_dist.study.study import Study


@dataclass(frozen=True)
class Cost:
    """Processor seconds of one run of a group, and of one bootstrap refit."""

    run: float
    refit: float = 0.0


class Pilot:
    """Measures costs, once for all groups that cost alike."""

    def __init__(self, bootstrap: BootstrapConfig | None) -> None:
        self._bootstrap = bootstrap
        self._known: dict[str, Cost] = {}
        self._fits = fits.Pilot()

    def cost(self, run: PlannedRun) -> Cost:
        """The cost of a run, in processor seconds."""
        group = run.group
        sample = load_sample(run.config.data)
        if group.kind == "classical":
            alike = hash_of([group.estimator, group.n, sample.ambient_dim])
            if alike not in self._known:
                self._known[alike] = Cost(self._classical(group, sample, run.config.seed))
            return self._known[alike]
        settings = group.config.model_dump(mode="json", exclude={"data", "seed"})
        given = hash_of([settings, sample.shape, len(sample.train)])
        if given not in self._known:  # what follows from the data costs more than to draw them
            config = Run(run.config).config
            alike = fits.cost_alike(config, sample)
            if alike not in self._known:
                self._known[alike] = Cost(self._fits.seconds(config, sample), self._refit(group, config, sample))
            self._known[given] = self._known[alike]
        return self._known[given]

    def _classical(self, group: Group, sample: Sample, seed: int) -> float:
        assert group.estimator
        rows = np.concatenate([sample.train, sample.holdout]).reshape(-1, sample.ambient_dim)
        return classical_estimate(group.estimator, rows, seed).cpu_seconds

    def _refit(self, group: Group, config: RunConfig, sample: Sample) -> float:
        if self._bootstrap is None or group.kind != "lwgan":
            return 0.0
        refit = refit_config(config, self._bootstrap, self._bootstrap.kinds[0], 0, config.seed)
        return self._fits.seconds(refit, sample)


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
    """The plan of a study before any further replicates on demand, the runs that are missing, and their cost."""
    bootstrap = study.config.bootstrap
    pilot = Pilot(bootstrap)
    planned = study.first_runs()
    finished = study.ledger.keys()
    todo_runs = study.missing(planned)
    missing, new, refits = todo_runs.counts(), dict[int, int](), Counter[int]()
    if bootstrap:
        new = todo_runs.where(lambda run: run.key not in finished).counts()  # others have their refits below
        refits.update(
            id(refit.base.group) for refit in refits_of(planned, study.ledger, bootstrap) if refit.key not in finished
        )
    lines = []
    for group in study.design.groups:
        replicates = study.design.replicates(group)
        cost = pilot.cost(study.design.run(group, 0, 0))
        todo = refits[id(group)]
        if bootstrap and group.kind == "lwgan":
            todo += new.get(id(group), 0) * bootstrap.resamples * len(bootstrap.kinds)
        lines.append(
            PlanLine(
                group.data, group.n, group.methods, replicates, replicates * study.design.initialisations(group),
                missing.get(id(group), 0), todo, cost.run, cost.refit,
            )
        )  # fmt: skip
    return lines
