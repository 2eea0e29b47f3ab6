"""Peak memory and speed of training on more images than memory would hold, beside the same rows kept in memory.

``python tests/benchmarks/bench_large_images.py [--mib 300] [--folder DIR]``; made, measured, deleted.
For the large case ``--mib 10240 --only mapped``: it needs three times as much disk, for the array, the dataset and the
decoded rows. Fails if a process takes more than the limit.

1. Grey images of 28 x 28 bytes are written as an NPY array, some at a time, and imported by `lwgan-dist data import`.
2. A process of its own prepares a run on the dataset, with the decoded rows mapped from a file, and trains; another one
   the same with the rows in memory. Peak: resident memory beyond the imports. Speed: iterations a second of CPU time,
   and by the clock, from the second iteration on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bench_memory import SIDE, images, run

TRAINING = """
import json, resource, sys, time
from lwgan_dist.config import RunConfig
from lwgan_dist.data import blocks
from lwgan_dist.data.blocks import _mapping
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.run.prepare import Prepared

few, path, spilled, iterations = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
blocks.SPILLED_BYTES = spilled

def trained(path, iterations):
    told = {"data": {"source": "table", "path": path}, "precision": "float32", "score": {"evaluations": 2},
            "networks": {"latent_dim": 4, "width": 16},
            "schedule": {"name": "paper", "iterations": iterations, "critic_updates": 5, "burst_updates": 5,
                         "batch_size": 256}}
    run, clocks = Prepared(RunConfig.model_validate(told)), []
    for progress in trainer_of(run.config, run.sample).run():
        clocks.append((progress.iteration, time.process_time(), time.perf_counter()))
    (first, cpu, wall), (last, cpu_end, wall_end) = clocks[0], clocks[-1]
    return {"cpu": (last - first) / (cpu_end - cpu), "clock": (last - first) / (wall_end - wall),
            "mapped": _mapping(run.sample.train._array) is not None, "digest": run.sample.digest}

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

trained(few, 20)
before = peak()
answer = trained(path, iterations)
unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
print(json.dumps(answer | {"peak_mib": (peak() - before) / unit, "imports_mib": before / unit}))
"""


def write_array(path: Path, mib: int) -> None:
    """An NPY file of so many images, of which no more are in memory than are made at once."""
    count, at_once = (mib << 20) // SIDE**2, 20_000
    rows = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE))
    some = images(min(at_once, count))
    for start in range(0, count, at_once):
        part = some[: min(at_once, count - start)]
        rows[start : start + len(part)] = np.roll(part, start // at_once, axis=2)
        rows.flush()


def measure(folder: Path, path: Path, spilled: int, iterations: int) -> dict[str, Any]:
    """Of a process that trains on a dataset, with decoded rows mapped from ``spilled`` bytes on."""
    few = folder / "few.npy"
    np.save(few, images(400))
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRAINING, few, path, str(spilled), str(iterations)],
        check=True, capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return told


def main() -> None:
    """Measure, print, and compare with the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=300, help="size of the rows")
    parser.add_argument("--folder", help="where to write; by default the folder for temporary files")
    parser.add_argument("--limit-mib", type=float, default=2048.0)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--only", choices=["mapped"], help="leave out the run with rows in memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        write_array(folder / "images.npy", arguments.mib)
        command = [sys.executable, "-m", "lwgan_dist", "data", "import", "images.npy", "--out", "dataset"]
        told = run(command, folder)
        size = sum(path.stat().st_size for path in (folder / "dataset").iterdir()) / (1 << 20)
        print(f"{arguments.mib} MiB of images, {size:.0f} MiB as a dataset")
        print(f"data import: {told['peak_mib']:.0f} MiB peak with the imports, {told['cpu_seconds']:.1f} s CPU")
        peaks = [told["peak_mib"]]
        for name, spilled in (("mapped", 1), ("in memory", sys.maxsize)):
            if arguments.only in (None, name):
                told = measure(folder, folder / "dataset", spilled, arguments.iterations)
                peaks.append(told["peak_mib"] + told["imports_mib"])
                print(
                    f"{name}: {told['peak_mib']:.0f} MiB peak beyond {told['imports_mib']:.0f} of the imports, "
                    f"{told['cpu']:.2f} iterations a CPU second, {told['clock']:.2f} by the clock"
                )
    if max(peaks) > arguments.limit_mib:
        sys.exit(f"a process took {max(peaks):.0f} MiB, more than {arguments.limit_mib:.0f}")


if __name__ == "__main__":
    main()
