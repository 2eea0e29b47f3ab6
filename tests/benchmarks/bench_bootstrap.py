"""Ranks and CPU time of bootstrap refits that start warm and cold, on one sample of a manifold.

``python tests/benchmarks/bench_bootstrap.py s_curve 800 8 [SETTING=VALUE ...]``; a setting ``warm.KEY=VALUE`` is one
of ``bootstrap.settings`` of the warm refits, any other one of the run. One process, one thread; a minute and a
half for this command. It prints every refit, then a table.
"""

import argparse
import time
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lwgan_dist.config import RunConfig
from lwgan_dist.configfile import build_config, parse_overrides
from lwgan_dist.data.sample import load_sample
from lwgan_dist.fitted import FittedModel, networks_of
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.results import Judgement
from lwgan_dist.seeding import derive
from lwgan_dist.study.bootstrap import refit_config, resample, warm_start
from lwgan_dist.study.config import BootstrapConfig
from lwgan_dist.training.trainer import Trainer

SMALL: dict[str, Any] = {
    "networks.latent_dim": 3, "networks.width": 32, "precision": "float32", "score.evaluations": 20,
    "schedule.batch_size": 256, "schedule.embedding_iterations": 300, "schedule.matching_iterations": 500,
    "schedule.critic_iterations": 200,
}  # fmt: skip
"""The settings of tests/test_estimates.py: right in seconds."""


class Fit(NamedTuple):
    """What a run gave and cost, without what `Run.train` writes."""

    trainer: Trainer
    config: RunConfig
    judgement: Judgement
    cpu: float


def fit(config: RunConfig, rows: Any = None, initial: dict[str, Tensor] | None = None) -> Fit:
    """Train and judge."""
    start = time.process_time()
    sample = load_sample(config.data, rows)
    config = config.resolved(train_rows=len(sample.train), ambient_dim=sample.ambient_dim)
    trainer = trainer_of(config, sample, initial=initial)
    for _ in trainer.run():
        pass
    tables = {split: np.array(table) for split, table in trainer.components.items()}
    judgement = Judgement.of(tables, config.objective, config.score, sample.rows)
    return Fit(trainer, config, judgement, time.process_time() - start)


def shown(judgement: Judgement) -> str:
    """Rank, and by rank the mean score (reconstruction, critic difference, MMD)."""
    means = "  ".join(
        f"{row.score:.3f} ({row.reconstruction:.3f} {row.critic:+.3f} {row.mmd:.3f})" for row in judgement.rank_scores
    )
    return f"rank {judgement.dimension}, lambda {judgement.penalty:.4f}: {means}"


def main() -> None:
    """Fit, refit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="name of a manifold")
    parser.add_argument("n", type=int, help="rows")
    parser.add_argument("resamples", type=int, help="refits of each kind and start")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--starts", nargs="*", default=["warm", "cold"])
    parser.add_argument("--kinds", nargs="*", default=["parametric", "rows"])
    told = parser.parse_args()
    torch.set_num_threads(1)
    given = parse_overrides(told.settings)
    warm = {key.removeprefix("warm."): value for key, value in given.items() if key.startswith("warm.")}
    run = {key: value for key, value in given.items() if not key.startswith("warm.")}
    data = {"source": "manifold", "name": told.data, "n": told.n, "noise": 0.05}
    base = fit(build_config(RunConfig, {"data": data}, SMALL | run))
    sample, seed = base.trainer.model.sample, derive(base.config.seed, "bootstrap")
    networks = networks_of(base.config, sample.shape, base.trainer.state().tensors)
    model = FittedModel(networks, base.config, sample.standardizer, sample.columns, base.judgement.dimension)
    print(f"{told.data}, n = {told.n}, noise {getattr(base.config.data, 'noise', 0)}: {base.cpu:.1f} CPU s, ", end="")
    print(shown(base.judgement), flush=True)
    table = []
    for kind in told.kinds:
        for start in told.starts:
            bootstrap = BootstrapConfig(kinds=[kind], start=start, settings=warm if start == "warm" else {})
            fits = []
            for index in range(told.resamples):
                rows = resample(kind, index, sample, model, seed)
                config = refit_config(base.config, bootstrap, kind, index, seed)
                fits.append(fit(config, rows, warm_start(model) if start == "warm" else None))
                print(f"{kind} {start} {index}: {fits[-1].cpu:.1f} CPU s, {shown(fits[-1].judgement)}", flush=True)
            ranks = Counter(each.judgement.dimension for each in fits)
            seconds = [each.cpu for each in fits]
            steps = np.diff([[row.score for row in each.judgement.rank_scores] for each in fits], axis=1)
            moments = zip(steps.mean(axis=0), steps.std(axis=0, ddof=1), strict=True)
            penalty = np.mean([each.judgement.penalty for each in fits])
            table.append(
                f"{kind:<12}{start:<6}{np.mean(seconds):>6.1f}{penalty:>8.4f}  {dict(sorted(ranks.items()))!s:<24}"
                f"{'  '.join(f'{mean:+.3f} ({deviation:.3f})' for mean, deviation in moments)}"
            )
    print(f"\n{'kind':<12}{'start':<6}{'CPU s':>6}{'lambda':>8}  {'refits by rank':<24}", end="")
    print("score of rank r + 1 less that of r, mean (standard deviation)")
    print("\n".join(table))


if __name__ == "__main__":
    main()
