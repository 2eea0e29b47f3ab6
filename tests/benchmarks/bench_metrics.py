"""Cost and noise floor of every metric at n = 2,000, in few columns and on images: the tables of docs/guide/metrics.md.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_metrics.py          costs and floors
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_metrics.py spaces   images spoiled in known ways
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_metrics.py small    floors of small tables

Two samples of one distribution stand for held-out and generated rows, so values are floors, in units of standardised
data: an S-curve in 3 columns, and images of Fashion-MNIST (Debian's package ``dataset-fashion-mnist``).
"""

import gzip
import sys
import time
from pathlib import Path

import numpy as np

from lwgan_dist.config import ManifoldData
from lwgan_dist.data.simulated.manifolds import ManifoldSampler
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.metrics.agreement import SPACES, ranking_agreement
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


def floors():
    """Floors and seconds."""
    columns = [{name: rest for name, *rest in measured(rows)} for rows in (s_curve(), images())]
    print("| metric | floor, S-curve | CPU s | floor, Fashion-MNIST | CPU s |\n|---|---|---|---|---|")
    for name in columns[1]:
        cells = [f"{of[name][0]:.4f} | {of[name][1]:.2f}" if name in of else " | " for of in columns]
        print(f"| `{name}` | {' | '.join(cells)} |")


def small():
    """Floors with as many other rows as are generated, and with the 900 training rows of a table of 1,000."""
    names, counts, values = ("sliced_wasserstein", "energy_distance"), (900, 2_048), []
    for seed in range(60):
        rows = ManifoldSampler(ManifoldData(name="s_curve")).draw(np.random.default_rng(seed), 100 + max(counts))
        rows = Standardizer.fit(rows, "global").apply(rows)
        held = rows[:100]
        drawn = [Drawn(held, rows[100 : 100 + count], held, seed) for count in counts]
        values.append([[METRICS[name].compute(one) for one in drawn] for name in names])
    print("| floor, 100 held-out rows, 60 seeds | other rows | mean | standard deviation |\n|---|---|---|---|")
    for name, of_name in zip(names, np.moveaxis(values, 0, 2), strict=True):
        for count, of_count in zip(counts, of_name, strict=True):
            print(f"| `{name}` | {count:,} | {of_count.mean():.4f} | {of_count.std(ddof=1):.4f} |")


def spoiled(rows):
    """Images as they are, and spoiled in known ways, by a description."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(1)
    yield "floor", rows
    yield "noise of 30 of 255 levels", np.clip(rows + 30 * rng.standard_normal(rows.shape), 0, 255)
    yield "blurred by 1 pixel", gaussian_filter(rows, (0, 1, 1))
    yield "moved by 2 pixels", np.roll(rows, 2, axis=2)
    yield "a tenth of the images ten times", np.repeat(rows[: len(rows) // 10], 10, axis=0)
    yield "mirrored upside down", rows[:, ::-1]


def spaces():
    """Frechet distances in three spaces, and how far their rankings agree."""
    rows, table = images(), {}
    unit = Standardizer.fit(rows, "global")
    held = unit.apply(rows[:N])
    for name, others in spoiled(rows[N:]):
        drawn = Drawn(held, unit.apply(others), held, 0, unit=unit)
        table[name] = {space: METRICS[space].compute(drawn) for space in SPACES}
    print(f"| generated | {' | '.join(f'`{space}`' for space in SPACES)} |\n|---|---|---|---|")
    for name, row in table.items():
        print(f"| {name} | {' | '.join(f'{value:.3g}' for value in row.values())} |")
    print("", *ranking_agreement(table), sep="\n")


if __name__ == "__main__":
    {"spaces": spaces, "small": small}.get(sys.argv[-1], floors)()
