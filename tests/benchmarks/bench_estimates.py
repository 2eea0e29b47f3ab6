"""Estimates of known dimensions: is the answer right, what does it cost, and against which other estimators?

    python tests/benchmarks/bench_estimates.py [--suite NAME ...] [--processes 2] [--first N] [--out DIR] [key=value ..]

The cases are in `estimate_cases.py`. Every run is one process with one thread. Finished cases are kept in
DIR/rows and not repeated; `report_estimates.py` turns them into tables and figures. key=value settings hold for
every case (`precision=float32`).
"""

import argparse
import json
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: the estimators beside ours count as one thread too
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
from estimate_cases import SUITES, TOYS, Array, Case, Data

from lwgan_dist.config import ExecutionConfig, RunConfig, TrainConfig
from lwgan_dist.configfile import build_config, parse_overrides, read_config
from lwgan_dist.data.sample import load_sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.distances import energy_distance, sliced_wasserstein
from lwgan_dist.models.lwgan.stages import constant
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.results import scores_from_parquet
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder
from lwgan_dist.study.classical import classical_estimate

CONFIGS = Path(__file__).parents[2] / "tune_configs" / "train"
CLASSICAL = ("TwoNN", "MLE", "CorrInt", "MiND")
COMPARED_ROWS = 2_000
"""Rows of the samples whose distances are taken."""


def config_of(case: Case, overrides: dict[str, Any]) -> RunConfig:
    told = {
        "data": {"source": "array", "seed": case.seed},
        "networks": {"latent_dim": case.data.max_dimension},
        "seed": case.seed,
    }
    return build_config(RunConfig, told, overrides | case.settings)


def classical(rows: Array, seed: int) -> dict[str, dict[str, float]]:
    """The estimate of every other estimator, with its CPU seconds; NaN where it fails."""
    told = {}
    for name in CLASSICAL:
        made = classical_estimate(name, rows, seed)
        value = made.value if made.failure is None else float("nan")
        told[name] = {"estimate": value, "cpu": made.cpu_seconds}
    return told


def quality(model: FittedModel, case: Case) -> dict[str, float]:
    """Distances of generated rows from fresh rows of the same distribution, and of fresh rows from each other.

    In units of the standard deviation along a direction of the data, so that manifolds can be compared."""
    fresh, other = case.rows(10_000 + case.seed, COMPARED_ROWS), case.rows(20_000 + case.seed, COMPARED_ROWS)
    scale = Standardizer.fit(fresh, "global")
    fresh, other, made = (scale.apply(rows) for rows in (fresh, other, model.generate(COMPARED_ROWS, seed=case.seed)))
    return {
        "sliced_w1": sliced_wasserstein(made, fresh, np.random.default_rng(0)),
        "sliced_w1_floor": sliced_wasserstein(other, fresh, np.random.default_rng(0)),
        "energy": energy_distance(made, fresh),
        "energy_floor": energy_distance(other, fresh),
    }


def run_case(case: Case, overrides: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One run and everything that the report needs of it."""
    torch.set_num_threads(1)
    rows = case.rows()
    spent = time.process_time()
    run = Run(config_of(case, overrides), rows)
    where = folder / "runs" / case.key.replace("/", "-").replace(" ", "_")
    shutil.rmtree(where, ignore_errors=True)
    result = run.train(Folder.at(str(where)), ExecutionConfig(workers=0))
    spent = time.process_time() - spent
    told = {
        "key": case.key, "suite": case.suite, "data": case.data.name, "variant": case.variant, "n": case.n,
        "noise": case.noise, "seed": case.seed, "truth": case.data.truth, "estimate": result.dimension,
        "columns": result.ambient_dim, "max_dimension": result.max_dimension, "precision": run.config.precision,
        "cpu": result.cpu_seconds, "cpu_with_files": spent,
        "components": {
            split: table.astype(np.float32).tolist()
            for split, table in scores_from_parquet((where / "scores.parquet").read_bytes()).items()
        },
    }  # fmt: skip
    if case.suite in ("toys", "others"):
        told["classical"] = classical(rows, case.seed)
    if case.suite in ("toys", "others", "stream"):
        told["quality"] = quality(FittedModel.load(Folder.at(str(where / "model"))), case)
    shutil.rmtree(where)
    return told


def paper_seconds(data: Data, precision: str) -> float:
    """CPU seconds of the authors' schedule on this manifold: its cost per update times its numbers of updates."""
    told = read_config(TrainConfig, str(CONFIGS / f"{data.paper}.yaml"), [f"precision={precision}"])
    sample = load_sample(told.data)
    config = told.run().resolved(train_rows=None, ambient_dim=sample.ambient_dim)
    stages = trainer_of(config, sample).stages

    def seconds(updates: int, iterations: int, **changes: Any) -> float:
        """Of one update, over some iterations after the first."""
        trainer = trainer_of(config, sample)
        trainer.stages = [replace(stages[0], burst=None, iterations=1_000_000, **changes)]
        trainer.iterations = 1_000_000
        loop = trainer.run()
        next(loop)
        start = time.process_time()
        for _ in range(iterations):
            next(loop)
        return (time.process_time() - start) / (iterations * updates)

    rest: dict[str, Any] = {"encoder_generator_updates": 0}
    critic = seconds(20, 10, critic_updates=20, **rest)
    without, with_mmd = (
        seconds(5, 10, critic_updates=0, encoder_generator_updates=5, mmd_weight=constant(weight))
        for weight in (0.0, 1.0)
    )
    total = 0.0
    for stage in stages:
        for iteration in range(stage.iterations):
            matching = stage.mmd_weight(iteration / stage.iterations) > 0
            total += stage.critic_updates_at(iteration) * critic
            total += stage.encoder_generator_updates * (with_mmd if matching else without)
    return total


def paper_quality(storage: Path) -> list[dict[str, Any]]:
    """Quality of the rows that finished runs of `paper` generate, of each manifold whose run is there."""
    told = []
    for place in sorted(storage.glob("*/model")):
        model = FittedModel.load(Folder.at(str(place)))
        data = next(data for data in TOYS if data.name == getattr(model.config.data, "name", None))
        told.append({"data": data.name, "estimate": model.dimension, "quality": quality(model, Case("paper", data))})
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", nargs="*", choices=[*SUITES, "paper"], default=[*SUITES, "paper"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--first", type=int, help="only so many cases of every suite")
    parser.add_argument("--out", default="runs/estimates")
    parser.add_argument("--paper-runs", help="storage of finished runs of tune_configs/train/paper_*.yaml")
    parser.add_argument("settings", nargs="*")
    told = parser.parse_args()
    folder, overrides = Path(told.out), parse_overrides(told.settings)
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    if told.paper_runs:
        (folder / "paper_quality.json").write_text(json.dumps(paper_quality(Path(told.paper_runs)), indent=1))
    if "paper" in told.suite:
        torch.set_num_threads(1)
        costs = {d.name: {p: paper_seconds(d, p) for p in ("float32", "bfloat16")} for d in TOYS}
        (folder / "paper_seconds.json").write_text(json.dumps(costs, indent=1))
        print("CPU seconds of `paper`:", costs, flush=True)
    cases = {case.key: case for name in told.suite if name != "paper" for case in islice(SUITES[name](), told.first)}
    files = {key: folder / "rows" / f"{key.replace('/', '--').replace(' ', '_')}.json" for key in cases}
    waiting = [case for case in cases.values() if not files[case.key].exists()]
    print(f"{len(cases)} cases, {len(cases) - len(waiting)} done", flush=True)
    with ProcessPoolExecutor(told.processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run_key, case.key, case.suite, overrides, folder): case.key for case in waiting}
        for future in as_completed(futures):
            if future.exception():
                print(f"{futures[future]}: FAILED, {future.exception()!r}", flush=True)
                continue
            row = future.result()
            files[row["key"]].write_text(json.dumps(row))
            right = "right" if row["estimate"] == row["truth"] else "WRONG"
            print(f"{row['key']}: {row['estimate']} ({right}), {row['cpu']:.0f} CPU s", flush=True)


def run_key(key: str, suite: str, overrides: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`run_case` by name: functions that draw data do not travel between processes."""
    return run_case(next(case for case in SUITES[suite]() if case.key == key), overrides, folder)


if __name__ == "__main__":
    main()
