"""Peak resident memory and CPU time of ``lwgan-dist estimate`` on a Parquet file of 100,000 rows x 64 columns, float32.

``python tests/benchmarks/bench_memory.py [--json FILE]``; under a minute on one core.

The command runs in a process of its own with the defaults of the fast schedule (batch 128, largest rank 10) and every
stage shortened, the optional joint stage included: see `SCHEDULE`. An iteration frees what it takes, so the length of
the stages does not matter to the peak; ``--longer 4`` shows it. Fails if the peak reaches 2 GiB.
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
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, COLUMNS = 100_000, 64
LIMIT_MIB = 2048.0

SCHEDULE = {
    "schedule.embedding_iterations": 100,
    "schedule.matching_iterations": 100,
    "schedule.critic_iterations": 100,
    "schedule.joint_iterations": 5,
}
EVALUATIONS = 5
"""Of the score."""


def write_table(path: Path) -> None:
    """Rows of a nonlinear map of the cube [-1, 1]^4 into 64 columns."""
    rng = np.random.default_rng(0)
    latent = rng.uniform(-1.0, 1.0, (ROWS, 4)).astype(np.float32)
    rows = np.sin(latent @ rng.standard_normal((4, COLUMNS), dtype=np.float32))
    pq.write_table(pa.table({f"x{i + 1}": rows[:, i] for i in range(COLUMNS)}), path)


def run(command: list[str], folder: Path) -> dict[str, float]:
    """Peak resident MiB and CPU seconds of a command in a fresh process.

    Raises:
        RuntimeError: the command failed; the message holds what it said.
    """
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said.read()}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {"peak_mib": usage.ru_maxrss / unit, "cpu_seconds": usage.ru_utime + usage.ru_stime}


def measure(longer: int) -> dict[str, Any]:
    """The command as it is, and up to where it has read, checked and standardised the table (``--dry-run``)."""
    overrides = [f"{name}={longer * value}" for name, value in SCHEDULE.items()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_table(folder / "table.parquet")
        command = [sys.executable, "-m", "lwgan_dist", "estimate", "table.parquet", *overrides]
        command += [f"score.evaluations={EVALUATIONS}", "--out", "run"]
        reading = run([*command, "--dry-run"], folder)
        whole = run(command, folder)
        size = (folder / "table.parquet").stat().st_size / (1 << 20)
    return {"file_mib": size, "overrides": overrides, "reading": reading, "estimate": whole}


def main() -> None:
    """Measure, print, and compare with the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write the numbers here too")
    parser.add_argument("--longer", type=int, default=1, help="factor of the iterations of every stage")
    arguments = parser.parse_args()
    told = measure(arguments.longer)
    print(f"{ROWS} rows x {COLUMNS} columns, float32, a Parquet file of {told['file_mib']:.0f} MiB")
    print(f"{', '.join(told['overrides'])}, score.evaluations={EVALUATIONS}")
    for name, label in (("reading", "reading and checking alone"), ("estimate", "lwgan-dist estimate")):
        numbers = told[name]
        print(f"{label:<28}{numbers['peak_mib']:>8.0f} MiB peak{numbers['cpu_seconds']:>8.1f} s CPU")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(told, indent=1))
    if told["estimate"]["peak_mib"] >= LIMIT_MIB:
        sys.exit(f"the peak must stay under {LIMIT_MIB:.0f} MiB")


if __name__ == "__main__":
    main()
