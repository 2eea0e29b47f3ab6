"""CPU time and peak memory of the tables of a study: 1,000,000 runs in 1,000 cells.

``python tests/benchmarks/bench_aggregate.py [--cells 1000] [--replicates 1000] [--initialisations 1] [--only NAME]``

All columns of the runs are there, with two lists of ten numbers a row; rows are shuffled. Fails if `cells` takes 10 s
or the process 2 GiB. The peak is that of the process so far and holds the table itself (shown first). ``--only`` does
one of them.
"""

import argparse
import itertools
import os
import resource
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

from lwgan_dist.study import aggregate
from lwgan_dist.study.tables import RUNS

METHODS = (
    "LWGAN",
    "LWGAN (rate)",
    "LWGAN [networks.width=64]",
    "TwoNN",
    "MLE",
    "CorrInt",
    "MiND",
    "lPCA",
    "DANCo",
    "KNN",
)
SIZES = (250, 500, 1000, 2000, 4000)
RANKS = 10
SECONDS, MIB = 10.0, 2048.0


def runs_table(cells: int, replicates: int, initialisations: int) -> pa.Table:
    """Runs of ``cells`` cells in random order: 10 methods, 5 sizes and as many data as it takes."""
    rng = np.random.default_rng(0)
    per_data = len(METHODS) * len(SIZES)
    places = list(itertools.product(range(-(-cells // per_data)), SIZES, METHODS))[:cells]
    per_cell = replicates * initialisations
    rows = cells * per_cell
    order = rng.permutation(rows)
    cell, within = np.divmod(order, per_cell)

    def text(values: list[str], codes: np.ndarray) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values)).cast(pa.string())

    def lists(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * RANKS, pa.int32()), pa.array(values))

    lwgan = np.array([method.startswith("LWGAN") for _, _, method in places])[cell]
    n = np.array([size for _, size, _ in places])[cell]
    failed = rng.random(rows) < 0.02
    error = rng.choice([0, 0, 0, 0, -1, 1], rows)
    value = 4 + error + np.where(lwgan, 0.0, rng.uniform(-0.49, 0.49, rows))
    keys = np.char.add("run-", order.astype(str))
    se = np.exp(rng.normal(0, 0.2, rows)) / np.sqrt(n)
    columns = {
        "data": text([f"manifold {data} [data.noise={data / 10}]" for data, _, _ in places], cell),
        "n": n,
        "method": text([method for _, _, method in places], cell),
        "replicate": within // initialisations,
        "initialisation": within % initialisations,
        "key": pa.array(keys),
        "fingerprint": pa.array(keys),
        "kind": text(["lwgan" if method.startswith("LWGAN") else "classical" for _, _, method in places], cell),
        "factors": text([f'{{"data.noise": {data / 10}}}' for data, _, _ in places], cell),
        "data_seed": within,
        "seed": order,
        "intrinsic_dim": np.full(rows, 4),
        "ambient_dim": np.full(rows, 20),
        "value": pa.array(value, mask=failed),
        "dimension": pa.array(4 + error, mask=failed),
        "correct": ~failed & (error == 0),
        "failure": text(["diverged"], np.zeros(rows, dtype=np.int64)),
        "penalty": pa.array(se**0.8, mask=failed | ~lwgan),
        "score_se": pa.array(se, mask=failed | ~lwgan),
        "margin": pa.array(rng.exponential(3, rows), mask=failed | ~lwgan),
        "score_mean": lists(rng.random(rows * RANKS)),
        "score_errors": lists(rng.random(rows * RANKS)),
        "cpu_seconds": rng.random(rows),
        "wall_seconds": rng.random(rows),
    }
    return pa.Table.from_arrays([pa.array(columns[field.name]).cast(field.type) for field in RUNS], schema=RUNS)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--initialisations", type=int, default=1)
    parser.add_argument("--only", choices=["cells", "comparisons", "trends", "sensitivity"])
    told = parser.parse_args()
    runs = runs_table(told.cells, told.replicates, told.initialisations)
    print(f"{len(runs):,} runs, table {runs.nbytes / 2**20:.0f} MiB, peak {peak_mib():.0f} MiB with it", flush=True)
    failed = False
    for name, make in {
        "cells": lambda: aggregate.cells(runs, sequence_alpha=0.05),
        "comparisons": lambda: aggregate.comparisons(runs),
        "trends": lambda: aggregate.trends(runs),
        "sensitivity": lambda: aggregate.sensitivity(runs, ["LWGAN"]),
    }.items():
        if told.only not in (None, name):
            continue
        start = time.process_time()
        table = make()
        seconds, peak = time.process_time() - start, peak_mib()
        print(f"{name:<12} {len(table):>8,} rows  {seconds:7.2f} s CPU  peak {peak:6.0f} MiB", flush=True)
        failed |= name == "cells" and (seconds >= SECONDS or peak >= MIB)
    sys.exit(failed)


if __name__ == "__main__":
    main()
