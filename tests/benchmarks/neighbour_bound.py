"""What the bound by neighbours does to the answers of published studies that were judged without it.

    python tests/benchmarks/neighbour_bound.py docs/population docs/closed docs/skdim24 ..

Draws the samples of the LWGAN runs in ``runs.parquet`` again and lowers their dimensions to the bound.
"""

import sys
from pathlib import Path

import polars as pl

from lwgan_dist.campaign.drawn import data_section
from lwgan_dist.config import RunConfig, ScoreConfig
from lwgan_dist.configfile import read_config
from lwgan_dist.data.sample import load_sample
from lwgan_dist.method.neighbours import largest_ranks
from lwgan_dist.results import bounded
from lwgan_dist.study.config import StudyConfig


def lowered(folder: Path) -> None:
    """Prints how many answers are right before and after, and those that change."""
    sources = {item.label or item.name: item for item in read_config(StudyConfig, str(folder / "config.yaml")).data}
    runs = pl.read_parquet(folder / "runs.parquet").filter(method="LWGAN").drop_nulls(["dimension", "intrinsic_dim"])
    before = after = lost = 0
    for run in runs.to_dicts():
        data = {**data_section(sources[run["data"]]), "n": run["n"], "seed": run["data_seed"]}
        sample = load_sample(RunConfig.model_validate({"data": data}).data)
        truth, dimension = run["intrinsic_dim"], run["dimension"]
        rank = bounded(dimension, ScoreConfig(), largest_ranks(sample.train, dimension))
        if rank != dimension:
            print(f"  {run['data']}, n = {run['n']}: true {truth}, {dimension} -> {rank}")
        before += dimension == truth
        after += rank == truth
        lost += dimension == truth != rank
    print(
        f"{folder}: {len(runs)} runs, right {before} before, {after} after; right ones made wrong: {lost}", flush=True
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        lowered(Path(name))
