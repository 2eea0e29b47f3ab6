"""Tables of a made-up study that agree with each other, with the schemas of `lwgan_dist.study.tables`."""

import json
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from lwgan_dist.study import proportions
from lwgan_dist.study.tables import BOOTSTRAP, CELLS, COMPARISONS, RUNS, SENSITIVITY, TRENDS

METHODS = ("LWGAN", "TwoNN", "MLE", "lPCA", "DANCo")
COVERAGE = pa.schema(
    [("data", pa.string()), ("n", pa.int64()), ("method", pa.string()), ("kind", pa.string()), ("runs", pa.int64())]
    + [("covers", pa.int64())]
    + [
        (name, pa.float64())
        for name in ("p_covers", "wilson_low", "wilson_high", "exact_low", "exact_high", "mean_set_size")
    ]
    + [("p_mode_correct", pa.float64())]
)
_TRUTHS = {"swiss_roll": 2, "sphere": 4, "s_curve": 2, "torus": 3}


@dataclass(frozen=True)
class Study:
    runs: pa.Table
    cells: pa.Table
    comparisons: pa.Table
    trends: pa.Table
    sensitivity: pa.Table
    bootstrap: pa.Table
    coverage: pa.Table

    def tables(self) -> dict[str, pa.Table]:
        return dict(self.__dict__)


def grid(manifolds: int = 3, noises: tuple[float, ...] = (0.0, 0.05, 0.1)) -> dict[str, int | None]:
    """Labels of data with their truth."""
    return {f"{name} [noise={s:g}]": d for name, d in list(_TRUTHS.items())[:manifolds] for s in noises}


def study(
    data: dict[str, int | None],
    sizes: tuple[int, ...] = (250, 1000, 4000),
    methods: tuple[str, ...] = METHODS,
    replicates: int = 8,
    bootstrapped: int = 2,
    failing: float = 0.04,
    reason: str = "the loss diverged at iteration 300",
    on_demand: bool = False,
    seed: int = 1,
) -> Study:
    """The tables of data x sizes x methods x replicates, with estimates that get better with n."""
    rng = np.random.default_rng(seed)
    runs: list[dict[str, Any]] = []
    for label, truth in data.items():
        noise = float(label.split("=")[-1].rstrip("]")) if "noise=" in label else 0.05
        for n in sizes:
            for method in methods:
                for replicate in range(replicates):
                    runs.append(
                        _run(rng, label, truth or 3, truth is None, n, method, replicate, noise, failing, reason)
                    )
    cells = _cells(runs, on_demand)
    return Study(
        pa.Table.from_pylist(runs, RUNS),
        pa.Table.from_pylist(cells, CELLS),
        pa.Table.from_pylist(_comparisons(runs), COMPARISONS),
        pa.Table.from_pylist(_trends(cells, sizes), TRENDS),
        pa.Table.from_pylist(_sensitivity(rng, runs), SENSITIVITY),
        *_bootstrap(rng, runs, bootstrapped),
    )


def _run(
    rng: np.random.Generator, label: str, truth: int, unknown: bool, n: int, method: str, replicate: int, noise: float,
    failing: float, reason: str,
) -> dict[str, Any]:  # fmt: skip
    lwgan = method.startswith("LWGAN")
    skill = {"LWGAN": 0.9, "TwoNN": 0.75, "MLE": 0.6, "lPCA": 0.9, "DANCo": 0.8}.get(method, 0.85)
    right = min(1.0, skill * (n / 4000) ** 0.15 + 0.12) - (0 if lwgan else 2.5 * noise)
    error = 0 if rng.random() < right else (1 if rng.random() < (0.4 if lwgan else 0.85) else -1)
    failed = rng.random() < failing * (1 if lwgan else 0.5)
    dimension = max(1, truth + error)
    value = float(dimension) if lwgan else dimension + float(rng.normal(0, 0.15))
    se = 0.4 * n**-0.5 * float(np.exp(rng.normal(0, 0.1)))
    ranks = np.arange(1, 8)
    score = 0.3 * np.maximum(dimension - ranks, 0) + 0.002 * np.maximum(ranks - dimension, 0) + 0.05
    score = score * np.exp(rng.normal(0, 0.04, 7))
    return {
        "data": label, "n": n, "method": method, "replicate": replicate, "initialisation": 0,
        "key": f"{'lwgan' if lwgan else method}/{label}/{n}/{replicate}", "fingerprint": None if failed else "f" * 16,
        "kind": "lwgan" if lwgan else "classical", "factors": json.dumps({}), "data_seed": 1000 + replicate,
        "seed": 2000 + replicate, "intrinsic_dim": None if unknown else truth, "ambient_dim": None if failed else 7,
        "value": None if failed else value, "dimension": None if failed else dimension,
        "correct": None if unknown else (not failed and dimension == truth), "failure": reason if failed else None,
        "penalty": se**0.8 if lwgan and not failed else None, "score_se": se if lwgan and not failed else None,
        "margin": 3.0 if lwgan and not failed else None, "score_mean": list(score) if lwgan and not failed else None,
        "score_errors": [se] * 7 if lwgan and not failed else None, "cpu_seconds": 90.0 if lwgan else 0.5,
        "wall_seconds": 45.0 if lwgan else 0.5,
    }  # fmt: skip


def _grouped(rows: list[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _mean(values: list[Any]) -> float | None:
    told = [value for value in values if value is not None]
    return float(np.mean(told)) if told else None


def _cells(runs: list[dict[str, Any]], on_demand: bool) -> list[dict[str, Any]]:
    cells = []
    for (label, n, method), rows in _grouped(runs, "data", "n", "method").items():
        truth = rows[0]["intrinsic_dim"]
        good = [row for row in rows if row["failure"] is None]
        mode = Counter(row["dimension"] for row in good).most_common(1)
        cell = {
            "data": label, "n": n, "method": method, "kind": rows[0]["kind"], "factors": "{}", "intrinsic_dim": truth,
            "runs": len(rows), "samples": len(rows), "failures": len(rows) - len(good),
            "modal_dimension": mode[0][0] if mode else None, "modal_count": mode[0][1] if mode else 0,
            "mean_value": _mean([row["value"] for row in good]), "agreement": None,
            "penalty": _mean([row["penalty"] for row in rows]), "score_se": _mean([row["score_se"] for row in rows]),
            "margin": _mean([row["margin"] for row in rows]), "cpu_seconds": _mean([r["cpu_seconds"] for r in rows]),
        }  # fmt: skip
        if truth is not None:
            k, m = sum(row["correct"] for row in rows), len(rows)
            wilson, exact = proportions.wilson_interval(k, m), proportions.clopper_pearson_interval(k, m)
            errors = np.array([row["value"] - truth for row in good])
            cell |= {
                "correct": k, "p_correct": k / m,
                "wilson_low": float(wilson.lower), "wilson_high": float(wilson.upper),
                "exact_low": float(exact.lower), "exact_high": float(exact.upper),
                "p_under": sum(row["dimension"] < truth for row in good) / m,
                "p_over": sum(row["dimension"] > truth for row in good) / m,
                "bias": float(errors.mean()) if len(good) else None,
                "rmse": float(np.sqrt((errors**2).mean())) if len(good) else None,
            }  # fmt: skip
            if on_demand:
                sequence = proportions.bernoulli_confidence_sequence(k, m, 0.01)
                cell |= {"sequence_low": float(sequence.lower), "sequence_high": float(sequence.upper)}
        cells.append(cell)
    return cells


def _comparisons(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = [row for row in runs if row["intrinsic_dim"] is not None]
    rows = []
    for (label, n), here in _grouped(known, "data", "n").items():
        correct = {key[0]: {row["replicate"]: row["correct"] for row in group} for key, group in
                   _grouped(here, "method").items()}  # fmt: skip
        for a, b in combinations(correct, 2):
            only_a = sum(correct[a][r] and not correct[b][r] for r in correct[a])
            only_b = sum(correct[b][r] and not correct[a][r] for r in correct[a])
            p = min(1.0, 2 * 0.5 ** (only_a + only_b)) if min(only_a, only_b) == 0 and only_a + only_b else 1.0
            rows.append({"data": label, "n": n, "method_a": a, "method_b": b, "pairs": len(correct[a]),
                         "only_a": only_a, "only_b": only_b, "p_value": p})  # fmt: skip
    order = sorted(range(len(rows)), key=lambda i: rows[i]["p_value"])
    running = 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, (len(rows) - place) * rows[i]["p_value"]))
        rows[i]["p_holm"] = running
    return rows


def _trends(cells: list[dict[str, Any]], sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    rows = []
    for (label, method), group in _grouped(cells, "data", "method").items():
        lwgan = group[0]["kind"] == "lwgan"
        row: dict[str, Any] = {"data": label, "method": method, "sizes": len(sizes), "level": 0.95}
        if group[0]["intrinsic_dim"] is not None:
            fit = [
                float(f)
                for f in proportions.isotonic_proportions([c["correct"] for c in group], [c["runs"] for c in group])
            ]
            reached = [n for n, f in zip(sizes, fit, strict=True) if f >= 0.95]
            row |= {"isotonic": fit, "n_level": reached[0] if reached else None, "n_low": float(sizes[0]),
                    "n_high": float("inf") if not reached else float(sizes[-1]),
                    "reached": 0.9 if reached else 0.125, "monotone": True}  # fmt: skip
        if lwgan and len(sizes) > 1:
            row |= {"se_slope": -0.503, "se_slope_se": 0.021, "penalty_slope": -0.402, "penalty_slope_se": 0.017}
        rows.append(row)
    return rows


def _sensitivity(rng: np.random.Generator, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    lwgan = [row for row in runs if row["method"] == "LWGAN" and row["failure"] is None]
    for (label, n, method), group in _grouped(lwgan, "data", "n", "method").items():
        for exponent in (0.5, 0.6, 0.7, 0.8, 0.9):
            for constant in (0.25, 0.5, 1.0, 2.0, 4.0):
                off = abs(exponent - 0.8) + 0.15 * abs(np.log2(constant))
                m = len(group)
                correct = None if group[0]["intrinsic_dim"] is None else int(rng.binomial(m, max(0.02, 0.97 - off)))
                rows.append({"data": label, "n": n, "method": method, "exponent": exponent, "constant": constant,
                             "runs": m, "correct": correct, "modal_dimension": group[0]["dimension"],
                             "changed": int(rng.binomial(m, min(0.9, off)))})  # fmt: skip
    return rows


def _bootstrap(rng: np.random.Generator, runs: list[dict[str, Any]], replicates: int) -> tuple[pa.Table, pa.Table]:
    rows = []
    for run in runs:
        if run["method"] != "LWGAN" or run["failure"] is not None or run["replicate"] >= replicates:
            continue
        for kind in ("parametric", "rows"):
            drawn = run["dimension"] + rng.choice([-1, 0, 1], 50, p=[0.04, 0.84, 0.12])
            ranks, counts = zip(*Counter(map(int, np.maximum(drawn, 1))).most_common(), strict=True)
            total = np.cumsum(counts)
            kept = int(np.argmax(total >= 0.95 * 50)) + 1
            truth = run["intrinsic_dim"]
            rows.append({
                **{name: run[name] for name in
                   ("data", "n", "method", "replicate", "initialisation", "key", "intrinsic_dim", "dimension")},
                "kind": kind, "resamples": 50, "failures": 0, "ranks": list(ranks), "counts": list(counts),
                "mode": ranks[0], "mode_frequency": counts[0] / 50, "rank_set": sorted(ranks[:kept]),
                "mass": float(total[kept - 1] / 50), "covers": None if truth is None else truth in ranks[:kept],
            })  # fmt: skip
    cover = []
    for (label, n, method, kind), group in _grouped(rows, "data", "n", "method", "kind").items():
        m, size = len(group), float(np.mean([len(row["rank_set"]) for row in group]))
        row = {"data": label, "n": n, "method": method, "kind": kind, "runs": m, "mean_set_size": size}
        if group[0]["intrinsic_dim"] is not None:
            k = sum(row["covers"] for row in group)
            wilson, exact = proportions.wilson_interval(k, m), proportions.clopper_pearson_interval(k, m)
            row |= {
                "covers": k, "p_covers": k / m, "wilson_low": float(wilson.lower), "wilson_high": float(wilson.upper),
                "exact_low": float(exact.lower), "exact_high": float(exact.upper),
                "p_mode_correct": sum(row["mode"] == row["intrinsic_dim"] for row in group) / m,
            }  # fmt: skip
        cover.append(row)
    return pa.Table.from_pylist(rows, BOOTSTRAP), pa.Table.from_pylist(cover, COVERAGE)
