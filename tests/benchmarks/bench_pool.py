"""What a task costs beyond its work when thousands pass through `lwgan_dist.launch.pool`, and what stays in memory.

``python tests/benchmarks/bench_pool.py [--tasks N] [--out FIGURE.png]``; one to two minutes on 2 cores for 1,000 tasks.

Every task is a trial of Ray Tune whose work returns at once; the time counts from the first task's start to the return
of the last, starts of processes and of a new Tuner every chunk included, and leaves out the start of Ray. Resident
memory is that of the driver after each chunk. Fails if a task costs more than 0.15 s or the memory after the last
chunk is more than 5 MiB per 1,000 tasks above that after the second.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a local ray.init would write ~/.ray/auth_token

from matplotlib.figure import Figure

from lwgan_dist.config import ExecutionConfig
from lwgan_dist.launch import pool as module
from lwgan_dist.launch.task_source import Listed

LIMIT_SECONDS = 0.15
LIMIT_MIB_PER_1000 = 5.0


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Nothing."""
    return task


def resident_mib() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def measure(tasks: int, cpus_per_worker: float) -> dict[str, Any]:
    """Seconds in all, and rows (tasks done, seconds so far, resident MiB) by chunk."""
    rows, done = [], []
    with (
        tempfile.TemporaryDirectory() as scratch,
        module.pool(work, ExecutionConfig(cpus_per_worker=cpus_per_worker), Path(scratch)) as pool,
    ):
        began = time.monotonic()
        rows.append((0, 0.0, resident_mib()))
        pass_through = pool._pass_through_tune

        def watched(chunk: Any) -> None:
            pass_through(chunk)
            rows.append((len(done), time.monotonic() - began, resident_mib()))

        pool._pass_through_tune = watched  # type: ignore[method-assign]
        pool.serve(listed := Listed([{"n": n} for n in range(tasks)], lambda _index, answer: done.append(answer)))
        reasons = listed.reasons
        seconds = time.monotonic() - began
        slots = pool.slots
    if reasons or sorted(task["n"] for task in done) != list(range(tasks)):
        sys.exit(f"{len(done)} of {tasks} tasks arrived; {reasons}")
    return {"seconds": seconds, "rows": rows, "slots": slots}


def figure(rows: list[tuple[int, float, float]]) -> Figure:
    """Resident memory by tasks done."""
    drawn = Figure(figsize=(6, 3.5), layout="constrained")
    axes = drawn.subplots()
    axes.plot([row[0] for row in rows], [row[2] for row in rows], marker="o")
    axes.set(xlabel="tasks done", ylabel="resident memory of the driver (MiB)", ylim=(0, 1.2 * rows[-1][2]))
    axes.grid(alpha=0.3)
    return drawn


def main() -> None:
    """Measure, print, and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--cpus-per-worker", type=float, default=1.0)
    parser.add_argument("--out", metavar="PNG", help="draw the memory here")
    arguments = parser.parse_args()
    told = measure(arguments.tasks, arguments.cpus_per_worker)
    rows, each = told["rows"], told["seconds"] / arguments.tasks
    print(f"{arguments.tasks} tasks, {told['slots']} at once, {module.CHUNK} to a Tuner")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{told['seconds']:.1f} s in all, {each:.3f} s per task")
    print(f"{'tasks done':>12}{'s per task of the chunk':>26}{'resident MiB':>16}")
    for before, row in zip([None, *rows], rows, strict=False):
        speed = f"{(row[1] - before[1]) / (row[0] - before[0]):.3f}" if before else ""
        print(f"{row[0]:>12}{speed:>26}{row[2]:>16.1f}")
    if arguments.out:
        figure(rows).savefig(arguments.out, dpi=150)
    growth = 1000 * (rows[-1][2] - rows[2][2]) / (rows[-1][0] - rows[2][0]) if len(rows) > 3 else 0.0
    print(f"memory from the second chunk on: {growth:+.1f} MiB per 1,000 tasks")
    if each > LIMIT_SECONDS or growth > LIMIT_MIB_PER_1000:
        sys.exit(f"at most {LIMIT_SECONDS} s per task and {LIMIT_MIB_PER_1000:g} MiB per 1,000 tasks are allowed")


if __name__ == "__main__":
    main()
