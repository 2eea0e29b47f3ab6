"""What Ray Tune costs a search: wall time for a trial beside the time in its task, on processes that are used again.

``python tests/benchmarks/bench_search.py [--trials 200]``: trials of a fraction of a second on all processors of this
machine, with torch. From the first to the last end of a trial, so without start and end of Ray.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from lwgan_dist.configfile import build_config
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.search import Search
from lwgan_dist.storage import Folder

TOLD = {
    "run": {
        "data": {"source": "manifold", "name": "s_curve", "noise": 0.05, "n": 100},
        "networks": {"latent_dim": 2, "width": 4},
        "schedule": {
            "batch_size": 32,
            "embedding_iterations": 2,
            "embedding_rounds": 1,
            "matching_iterations": 20,
            "critic_iterations": 20,
        },
        "score": {"evaluations": 3},
    },
    "space": {"objective.mmd_weight": {"loguniform": [0.1, 10]}},
    "confirm_seeds": 0,
}


class Clock:
    """Progress that notes when trials end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        pass

    def update(self, *_told: object) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    cores = len(os.sched_getaffinity(0))
    config = build_config(SearchConfig, {**TOLD, "budget": {"trials": trials}}, {})
    with tempfile.TemporaryDirectory() as temporary:
        search = Search(config, Folder.at(str(Path(temporary) / "search")))
        clock = Clock()
        outcome = search.execute(clock)
    inside = sum(item.record.wall_seconds for item in outcome.ended if item.record) / trials
    training = sum(item.record.cpu_seconds for item in outcome.ended if item.record) / trials
    skipped = 2 * cores  # in which processes start and import torch
    wall = (clock.ends[-1] - clock.ends[skipped]) / (len(clock.ends) - 1 - skipped) * cores
    print(
        f"{len(outcome.ended)} trials: {wall:.3f} s of a processor each by the clock, {inside:.3f} s of it the task: "
        f"{wall - inside:.3f} s for Ray and the search; {wall - training:.3f} s for all but training ({training:.3f} s)"
    )


if __name__ == "__main__":
    main()
