"""Cost and noise floor of every metric at n = 2,000, in few columns and on images: the table of docs/guide/metrics.md.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_metrics.py

Two samples of one distribution stand for held-out and generated rows, so values are floors, in units of standardised
data: an S-curve in 3 columns, and images of Fashion-MNIST (Debian's package ``dataset-fashion-mnist``).
"""

import gzip
import time
from pathlib import Path

import numpy as np

from lwgan_dist.config import ManifoldData
from lwgan_dist.data.manifolds import ManifoldSampler
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.metrics.drawn import Drawn
from lwgan_dist.metrics.registry import METRICS

FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
N = 2_000


def s_curve():
    return ManifoldSampler(ManifoldData(name="s_curve")).draw(np.random.default_rng(0), 2 * N)


def images():
    content = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    return content[np.random.default_rng(0).permutation(len(content))[: 2 * N]].astype(np.float64)


def measured(rows):
    """Value and seconds of every metric that applies; each computes the distances that it needs itself."""
    unit = Standardizer.fit(rows, "global")
    held, others = unit.apply(rows[:N]), unit.apply(rows[N:])
    normal = np.random.default_rng(1).standard_normal((2, N, 2))
    for name, metric in METRICS.items():
        if metric.needs_inception or not metric.has_floor or metric.obstacle(True, rows.shape[1:]):
            continue
        drawn, started = Drawn(held, others, held, 0, *normal, unit=unit), time.process_time()
        yield name, metric.compute(drawn), time.process_time() - started


if __name__ == "__main__":
    columns = [{name: rest for name, *rest in measured(rows)} for rows in (s_curve(), images())]
    print("| metric | floor, S-curve | CPU s | floor, Fashion-MNIST | CPU s |\n|---|---|---|---|---|")
    for name in columns[1]:
        cells = [f"{of[name][0]:.4f} | {of[name][1]:.2f}" if name in of else " | " for of in columns]
        print(f"| `{name}` | {' | '.join(cells)} |")
