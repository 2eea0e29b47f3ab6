"""Replicates on demand: which groups get more replicates, decided from finished runs alone.

The intervals are confidence sequences (`lwgan_dist.study.proportions.bernoulli_confidence_sequence`; Robbins 1970), so
that looking after every round, and letting all cells decide which one goes on, leaves their coverage. What follows from
a set of finished runs is always the same: neither the cluster nor a resume changes which runs a study consists of.
"""

from collections.abc import Set

import pyarrow as pa

from lwgan_dist.study import aggregate
from lwgan_dist.study.config import StopWhen
from lwgan_dist.study.design import Design


def more_replicates(
    design: Design, runs: pa.Table, replicates: dict[int, int], stop: StopWhen, closed: Set[int]
) -> dict[int, int]:
    """New numbers of replicates, by group, of those that go on; empty when the study is done.

    A group is open while the interval of one of its cells is wider than asked for and it has fewer replicates than
    allowed. Of the open groups those go on whose width is in the upper half between the target and the widest: the
    replicates go where the interval is widest.

    Args:
        design: of the study.
        runs: ``runs.parquet`` of the runs so far.
        replicates: by group, so far.
        stop: the rule.
        closed: groups that cannot go on, as a run of theirs did not finish.
    """
    table = aggregate.cells(runs, sequence_alpha=stop.alpha, sequence_cells=design.cells(known=True))
    widths = {
        (data, n, method): high - low
        for data, n, method, low, high in zip(
            *(table[name].to_pylist() for name in ("data", "n", "method", "sequence_low", "sequence_high")), strict=True
        )
        if low is not None
    }
    open_groups: dict[int, float] = {}
    for i, group in enumerate(design.groups):
        if group.intrinsic_dim is None or group.whole or i in closed:
            continue
        width = max(widths.get((group.data, group.n, method), 1.0) for method in group.methods)
        if width > stop.interval_width and replicates[i] < stop.max_replicates:
            open_groups[i] = width
    if not open_groups:
        return {}
    bar = (max(open_groups.values()) + stop.interval_width) / 2
    return {i: min(replicates[i] + stop.step, stop.max_replicates) for i, width in open_groups.items() if width >= bar}
