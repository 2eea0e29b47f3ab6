"""What Ray Tune costs a study of short real runs: wall time x cores beside the processor time of the runs themselves.

``python tests/benchmarks/bench_study.py [--runs 200] [--out FILE.png]``: LWGAN runs of some seconds each, on all
processors of this machine. Start and end of Ray, imports in the workers, tables and figures are part of the wall time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

STUDY = """
data: [{name: s_curve, noise: 0.05}]
sizes: [400]
run:
  networks: {latent_dim: 3, width: 32}
  schedule: {batch_size: 256, embedding_iterations: 150, matching_iterations: 250, critic_iterations: 100}
  score: {evaluations: 10}
lwgan: {replicates: RUNS}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "study.yaml").write_text(STUDY.replace("RUNS", str(runs)))
        command = [sys.executable, "-m", "lwgan_dist", "study", str(folder / "study.yaml"), "--storage", str(folder)]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - began
        table = pq.read_table(folder / "study" / "runs.parquet")
        assert table.num_rows == runs
        own, correct = pc.sum(table["cpu_seconds"]).as_py(), pc.sum(table["correct"]).as_py()
    print(f"{runs} runs ({correct} correct), {own / runs:.2f} CPU s each, {own:.0f} in all; {wall:.0f} s by the clock")
    print(f"wall x {cores} cores / CPU seconds of the runs = {wall * cores / own:.3f}")


if __name__ == "__main__":
    main()
