"""What the bound by neighbours does, see docs/rule.

    python tests/benchmarks/neighbour_bound.py answers docs/population/sixth_block docs/closed ..
    python tests/benchmarks/neighbour_bound.py chance
    python tests/benchmarks/neighbour_bound.py limits

``answers`` draws the samples of the LWGAN runs of published studies again, which were judged without the bound, and
lowers their dimensions to it. ``chance`` counts how often a sample is refused at its own dimension. ``limits`` shows
where the bound is too low, and that it is not on the toys.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import polars as pl

from lwgan_dist.campaign.drawn import data_section
from lwgan_dist.config import RunConfig, ScoreConfig
from lwgan_dist.configfile import read_config
from lwgan_dist.data.sample import load_sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.method.neighbours import bound_at, largest_ranks
from lwgan_dist.results import bounded
from lwgan_dist.seeding import generator
from lwgan_dist.study.config import StudyConfig

RESOLUTION = ScoreConfig().resolution
SAMPLES, SIZES = 360, range(200, 230)
"""Samples of each kind, of as many different sizes, for references are drawn anew for each."""


def lowered(folder: Path) -> None:
    """Prints how many answers are right before and after, and those that change."""
    sources = {item.label or item.name: item for item in read_config(StudyConfig, str(folder / "config.yaml")).data}
    runs = pl.read_parquet(folder / "runs.parquet").filter(method="LWGAN").drop_nulls(["dimension", "intrinsic_dim"])
    before = after = lost = 0
    for run in runs.to_dicts():
        data = {**data_section(sources[run["data"]]), "n": run["n"], "seed": run["data_seed"]}
        truth, dimension = run["intrinsic_dim"], run["dimension"]
        rank = bounded(dimension, ScoreConfig(), largest_ranks(sampled(data).train, dimension))
        if rank != dimension:
            print(f"  {run['data']}, n = {run['n']}: true {truth}, {dimension} -> {rank}")
        before += dimension == truth
        after += rank == truth
        lost += dimension == truth != rank
    print(
        f"{folder}: {len(runs)} runs, right {before} before, {after} after; right ones made wrong: {lost}", flush=True
    )


def sampled(data: dict):
    """The sample of a section ``data``."""
    return load_sample(RunConfig.model_validate({"data": data}).data)


def bound(rows: np.ndarray, latent_dim: int = 12) -> int:
    """Of rows that are divided by one scale."""
    return bound_at(largest_ranks(Standardizer.fit(rows, "global").apply(rows), latent_dim), RESOLUTION)


def drawn(kind: str, dim: int, n: int, seed: int) -> np.ndarray:
    """A sample of one of the three distributions of the references."""
    rng = generator(seed, "chance", kind, dim, n)
    normal = rng.normal(size=(n, dim))
    ball = normal / np.linalg.norm(normal, axis=1, keepdims=True) * rng.random((n, 1)) ** (1.0 / dim)
    return {"cube": rng.random((n, dim)), "ball": ball, "normal": normal}[kind]


def chance() -> None:
    """Prints the share of samples that are refused at their own dimension."""
    for kind, dim in itertools.product(("cube", "ball", "normal"), (2, 8)):
        bounds = [bound(drawn(kind, dim, n, seed)) for n in SIZES for seed in range(SAMPLES // len(SIZES))]
        print(
            f"{kind}, {dim} dimensions: refused in {np.mean(np.array(bounds) < dim):.3f} of {len(bounds)}", flush=True
        )


def limits() -> None:
    """Prints bounds that are too low, and counts those of the toys that are."""
    rng = generator(0, "limits")
    for dim in (2, 3, 5, 8):
        print(f"logarithmic normal, {dim} dimensions: {bound(np.exp(rng.normal(size=(2_000, dim))))}")
    angle = rng.uniform(0.0, 2.0 * np.pi, (2_000, 1)) * np.arange(1, 21)
    circle = 0.05 * np.sqrt(2.0) * np.column_stack([np.cos(angle), np.sin(angle)])
    rows = np.column_stack([rng.normal(size=(2_000, 2)), circle])
    print(f"two normal columns, a circle in 40 columns: {bound_at(largest_ranks(rows, 12), RESOLUTION)} (true 3)")
    bounds = [
        (bound_at(largest_ranks(sampled({**data, "n": n, "noise": noise, "seed": seed}).train, 8), RESOLUTION), dim)
        for (data, dim), noise, n in itertools.product(
            [({"source": "manifold", "name": name}, dim) for name, dim in TOYS], (0.0, 0.02, 0.05), (100, 250, 1_000)
        )
        for seed in range(5_000, 5_008)
    ]
    print(f"toys: {sum(low < dim for low, dim in bounds)} of {len(bounds)} bounds below the dimension")


TOYS = (("swissroll_curve", 1), ("s_curve", 2), ("hyperplane", 4))

if __name__ == "__main__":
    what, *names = sys.argv[1:]
    if what == "answers":
        for name in names:
            lowered(Path(name))
    else:
        {"chance": chance, "limits": limits}[what]()
