"""Estimates of manifolds of known dimension: is the answer right, and what does it cost in CPU seconds?

    python tests/benchmarks/bench_estimates.py [--seeds 3] [--n 5000] [--only NAME] [--out FOLDER] [key=value ...]

One run after another, in this process, on one thread. Runs are kept in the folder given by --out and are not repeated.
Prints a Markdown table: a row for each manifold and seed.
"""

import argparse

from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.configfile import build_config, parse_overrides
from lwgan_dist.runs import Run
from lwgan_dist.storage import Folder

MANIFOLDS = {"s_curve": 5, "hyperplane": 7}
"""The manifold with the largest rank considered, as in the experiments of arXiv:2409.18374."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--only", choices=[*MANIFOLDS, "swissroll_curve"])
    parser.add_argument("--out", default="runs/estimates")
    parser.add_argument("settings", nargs="*")
    told = parser.parse_args()
    chosen = {told.only: MANIFOLDS.get(told.only, 5)} if told.only else MANIFOLDS
    print("| manifold | truth | seed | estimate | lambda | score by rank | reconstruction error by rank | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, latent_dim in chosen.items():
        for seed in range(told.seeds):
            config = build_config(
                RunConfig,
                {
                    "data": {"source": "manifold", "name": name, "n": told.n, "seed": seed},
                    "networks": {"latent_dim": latent_dim},
                    "seed": seed,
                },
                parse_overrides(told.settings),
            )
            run = Run(config)
            result = run.train(Folder.at(told.out).sub(f"{name}-{run.fingerprint}"), ExecutionConfig(workers=0))
            scores = " ".join(f"{row.score:.3f}" for row in result.rank_scores)
            errors = " ".join(f"{row.reconstruction:.3f}" for row in result.rank_scores)
            print(
                f"| {name} | {result.intrinsic_dim} | {seed} | {result.dimension} | {result.penalty:.4f} | {scores} "
                f"| {errors} | {result.cpu_seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
