"""Peak resident memory and CPU time of ``lwgan-dist estimate`` on a Parquet file of 100,000 rows x 64 columns, float32;
and what loading 20,000 images of 28 x 28 bytes, and preparing a run on them, takes beyond the imports, by format.

``python tests/benchmarks/bench_memory.py [--json FILE]``; under a minute on one core.

The command runs in a process of its own with the defaults of the fast schedule (batch 128, largest rank 10) and every
stage shortened, the optional joint stage included: see `SCHEDULE`. An iteration frees what it takes, so the length of
the stages does not matter to the peak; ``--longer 4`` shows it. Fails if the peak reaches 2 GiB.

Images are read in a process of its own for each format, after 200 images that bring in what is imported late. A file of
512 MiB, mostly holes, shows what a mapped file takes. ``--images`` measures these alone.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import forked

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

IMAGES, SIDE = 20_000, 28
HOLES_MIB = 512
FORMATS = (".npy", ".npz", ".parquet", ".arrow", ".flat.npy")
"""Of images; the last is a table of as many columns as an image has pixels."""


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


def images(count: int) -> NDArray[np.uint8]:
    """Blurred dots at random places, with noise in the last two bits, shape (count, SIDE, SIDE)."""
    rng, pixels = np.random.default_rng(0), np.arange(float(SIDE))
    centres = rng.uniform(6.0, SIDE - 6.0, (count, 2, 1)).astype(np.float32)
    along = np.exp(-np.square(pixels.astype(np.float32) - centres) / 8)
    dots = (255 * along[:, 0, :, None] * along[:, 1, None, :]).astype(np.uint8)
    return dots ^ rng.integers(0, 4, dots.shape, dtype=np.uint8)


def write_images(path: Path, rows: NDArray[np.uint8]) -> None:
    """Write images in the format of the suffix."""
    if path.suffix == ".npy":
        np.save(path, rows.reshape(len(rows), -1) if ".flat" in path.suffixes else rows)
    elif path.suffix == ".npz":
        np.savez_compressed(path, rows)
    else:
        table = pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(rows)})
        if path.suffix == ".parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table)


def write_holes(path: Path, mib: int) -> None:
    """An NPY file of images of which only the first and the last few are not black; it takes next to no disk."""
    count = (mib << 20) // SIDE**2
    few = images(200)
    rows = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE))
    rows[:200], rows[-200:] = few, few
    rows.flush()


def peak_kib() -> float:
    """Of this process; on Linux not by getrusage, which counts what the parent took before it started this one."""
    if sys.platform == "linux":
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of bytes, on a Mac


def read(few: str, path: str, what: str, spilled: int) -> None:
    """Print by how many KiB the peak grows that loading ``few`` has left, as `mib_beyond_imports` says."""
    from lwgan_dist.config import RunConfig
    from lwgan_dist.data import blocks
    from lwgan_dist.data.sample import load_sample
    from lwgan_dist.run.run import Run

    blocks.SPILLED_BYTES = spilled or blocks.SPILLED_BYTES
    first, second = (RunConfig.model_validate({"data": {"source": "table", "path": file}}) for file in (few, path))

    def prepare(config: RunConfig) -> None:
        load_sample(config.data) if what == "load" else Run(config)

    prepare(first)
    before = peak_kib()
    prepare(second)
    print(peak_kib() - before)


def mib_beyond_imports(few: Path, path: Path, what: str, spilled: int = 0) -> float:
    """Peak resident MiB of loading a file (``load``) or preparing a run on it (``run``) beyond those for few rows.

    Decoded rows are kept in a mapped file from ``spilled`` bytes on; 0 for as many as the package says.
    """
    child = forked.run(read, str(few), str(path), what, spilled, path=Path(__file__).parent)
    if child.returncode:
        raise RuntimeError(child.stderr)
    return float(child.stdout) / 1024


def measure_images() -> dict[str, dict[str, float]]:
    """MiB by file and by what is done."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, rows = Path(temporary), images(IMAGES)
        for suffix in FORMATS:
            write_images(folder / f"few{suffix}", rows[:200])
            write_images(folder / f"images{suffix}", rows)
        write_holes(folder / "holes.npy", HOLES_MIB)
        files = {f"images{suffix}": f"few{suffix}" for suffix in FORMATS} | {"holes.npy": "few.npy"}
        return {
            name: {what: mib_beyond_imports(folder / few, folder / name, what) for what in ("load", "run")}
            for name, few in files.items()
        }


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
    parser.add_argument("--images", action="store_true", help="images alone")
    arguments = parser.parse_args()
    of_images = measure_images()
    print(f"MiB beyond the imports: {IMAGES} images of {SIDE} x {SIDE} bytes, {IMAGES * SIDE**2 / (1 << 20):.1f} MiB")
    print(f"(holes.npy: {HOLES_MIB} MiB)")
    for name, mib in of_images.items():
        print(f"{name:<28}{mib['load']:>8.0f} to load{mib['run']:>8.0f} to prepare a run")
    if arguments.images:
        return
    told = measure(arguments.longer) | {"images": of_images}
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
