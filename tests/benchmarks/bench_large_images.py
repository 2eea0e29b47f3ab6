"""Peak memory and speed of training on more images than memory would hold, beside the same rows kept in memory.

``python tests/benchmarks/bench_large_images.py [--mib 300] [--folder DIR]``; made, measured, deleted; two minutes of a
core. For the large case ``--mib 10240 --only mapped``: of so many MiB, the array and the dataset or the dataset and the
decoded rows lie on the disk at once. Fails if a process takes more than the limit.

1. Grey images of 28 x 28 bytes are written as an NPY array, some at a time, and imported by `lwgan-dist data import`.
2. A process of its own prepares a run on the dataset, with the decoded rows mapped from a file, and trains; another one
   the same with the rows in memory. Peak: resident memory beyond the imports.
3. The latter then prepares the run with mapped rows too, and trains both in turn, an iteration of the one and then one
   of the other. Speed: iterations a second of processor time, from the second iteration on; their ratio with twice its
   standard error over the pairs of iterations.

The smaller the network, the larger the share of reading: by default perceptrons of width 16, the `paper` schedule, and
batches of 256, of which an iteration reads twelve.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bench_memory import SIDE, images, run

TRAINING = """
import json, resource, sys, time
import numpy as np
from lwgan_dist.config import RunConfig
from lwgan_dist.data import blocks
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.run.prepare import Prepared

few, path, names, iterations, networks, width = sys.argv[1:]
SPILLED = {"mapped": 1, "in memory": sys.maxsize}

def loop(name, path):
    blocks.SPILLED_BYTES = SPILLED[name]
    told = {"data": {"source": "table", "path": path}, "precision": "float32",
            "networks": {"name": networks, "latent_dim": 4, "width": int(width)},
            "schedule": {"name": "paper", "iterations": 100_000, "critic_updates": 5, "burst_updates": 5,
                         "batch_size": 256}}
    run = Prepared(RunConfig.model_validate(told))
    assert (blocks._mapping(run.sample.train._array) is not None) == (name == "mapped" and path != few)
    return trainer_of(run.config, run.sample).run()

def seconds(loops, iterations):
    spent = []
    for turn in range(iterations + 1):
        row = {}
        for name in sorted(loops, reverse=bool(turn % 2)):
            before = time.process_time()
            next(loops[name])
            row[name] = time.process_time() - before
        spent.append(row)
    return {name: np.array([row[name] for row in spent[1:]]) for name in loops}

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)

first, *further = names.split(",")
seconds({first: loop(first, few)}, 5)
before = peak()
loops = {first: loop(first, path)}
seconds(loops, 10)
answer = {"peak_mib": peak() - before, "imports_mib": before}
spent = seconds(loops | {name: loop(name, path) for name in further}, int(iterations))
answer["rates"] = {name: 1 / values.mean() for name, values in spent.items()}
if further:
    one, other = spent["in memory"], spent["mapped"]
    ratio = one.mean() / other.mean()
    error = np.std(one - ratio * other, ddof=1) / np.sqrt(len(one)) / other.mean()
    answer |= {"ratio": ratio, "error": error}
print(json.dumps(answer))
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


def measure(folder: Path, names: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Of a process that trains on the dataset: the peak with the first kind of rows, the speed with each."""
    few = folder / "few.npy"
    np.save(few, images(400))
    told = [few, folder / "dataset", names, str(arguments.iterations), arguments.networks, str(arguments.width)]
    command = [sys.executable, "-W", "ignore", "-c", TRAINING, *told]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, env=environment)
    answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Measure, print, and compare with the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=300, help="size of the rows")
    parser.add_argument("--folder", help="where to write; by default the folder for temporary files")
    parser.add_argument("--limit-mib", type=float, default=2048.0)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--networks", choices=["mlp", "conv"], default="mlp")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--only", choices=["mapped"], help="leave out the runs with rows in memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        write_array(folder / "images.npy", arguments.mib)
        command = [sys.executable, "-m", "lwgan_dist", "data", "import", "images.npy", "--out", "dataset"]
        told = run(command, folder)
        (folder / "images.npy").unlink()
        size = sum(path.stat().st_size for path in (folder / "dataset").iterdir()) / (1 << 20)
        print(f"{arguments.mib} MiB of images, {size:.0f} MiB as a dataset")
        print(f"data import: {told['peak_mib']:.0f} MiB peak with the imports, {told['cpu_seconds']:.1f} s CPU")
        peaks = [told["peak_mib"]]
        for names in ["mapped"] if arguments.only else ["mapped", "in memory,mapped"]:
            told = measure(folder, names, arguments)
            peaks.append(told["peak_mib"] + told["imports_mib"])
            print(f"{names.split(',')[0]}: {told['peak_mib']:.0f} MiB peak beyond {told['imports_mib']:.0f} of imports")
            rates = ", ".join(f"{name} {rate:.2f}" for name, rate in told["rates"].items())
            print(f"  iterations a second of processor time: {rates}", flush=True)
            if "ratio" in told:
                print(f"  mapped over in memory {told['ratio']:.3f} +- {2 * told['error']:.3f}")
    if max(peaks) > arguments.limit_mib:
        sys.exit(f"a process took {max(peaks):.0f} MiB, more than {arguments.limit_mib:.0f}")


if __name__ == "__main__":
    main()
