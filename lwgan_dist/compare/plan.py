"""What a comparison would do and cost, from a pilot: some iterations of every stage of a run."""

from dataclasses import dataclass

from lwgan_dist.compare.comparison import Comparison
from lwgan_dist.models.pilot import cost_alike, fit_seconds
from lwgan_dist.run.run import Run


@dataclass(frozen=True)
class PlanLine:
    """A cell in a plan: its runs, those still to be done that no cell before it has, and processor seconds of each."""

    data: str
    n: int
    model: str
    runs: int
    missing: int
    cpu_seconds: float


def plan(comparison: Comparison) -> list[PlanLine]:
    """A line for each cell."""
    design, todo = comparison.design, {run.key for run in comparison.missing()}
    known: dict[str, float] = {}
    lines = []
    for cell in design.cells:
        runs = [design.run(cell, replicate) for replicate in range(comparison.config.replicates)]
        mine = {run.key for run in runs} & todo
        todo -= mine
        run = Run(runs[0].config)
        alike = cost_alike(run.config, run.sample)
        if alike not in known:
            known[alike] = fit_seconds(run.config, run.sample)
        lines.append(PlanLine(cell.data, cell.n, cell.model, len(runs), len(mine), known[alike]))
    return lines
