"""The tables of a published study: how often each method is right, by data, and how far its values are from the truth.

    lwgan-dist study tune_configs/study/closed.yaml
    python tests/benchmarks/study_tables.py runs/closed docs/closed

Copies ``runs.parquet``, ``config.yaml`` and ``env.json``, and writes ``tables.md``: right answers of all, with the mean
of the values where they are not all the same; over all data the share of right answers with its interval, the mean over
the data of |mean value - d| / d (the mean percentage error of the field), and the share of data with more than 10 %.
Where a study has several n: how lambda_n, the standard error SE_n of the score, and the spread of S_(d+1) - S_d between
the fits of one n fall with n, each as the slope of its logarithm on log n.
"""

import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import binomtest, linregress

from lwgan_dist.study import aggregate

Key = tuple[str, int]


def main(study: Path, out: Path) -> None:
    """Write the tables of a study into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("runs.parquet", "config.yaml", "env.json"):
        shutil.copy(study / name, out / name)
    columns = ["data", "n", "method", "intrinsic_dim", "value", "correct", "cpu_seconds"]
    found: dict[str, dict[Key, list[dict]]] = defaultdict(lambda: defaultdict(list))
    order: dict[Key, int] = {}
    for row in pq.read_table(study / "runs.parquet", columns=columns).to_pylist():
        key = row["data"], row["n"]
        order.setdefault(key, row["intrinsic_dim"])
        found[row["method"]][key].append(row)
    methods = sorted(found, key=lambda method: not method.startswith("LWGAN"))
    lines = ["| data | n | d | " + " | ".join(methods) + " |", "|---|---|---|" + "---|" * len(methods)]
    for key, truth in order.items():
        cells = [_cell(found[method][key]) for method in methods]
        lines.append(f"| {key[0]} | {key[1]} | {truth} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| method | right | 95 % | mean error, % | share above 10 % | median CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for method in methods:
        rows = [row for cell in found[method].values() for row in cell]
        right = sum(bool(row["correct"]) for row in rows)
        interval = binomtest(right, len(rows)).proportion_ci(method="exact")
        errors = [_error(cell, order[key]) for key, cell in found[method].items() if cell]
        lines.append(
            f"| {method} | {right}/{len(rows)} | {interval.low:.2f}-{interval.high:.2f} | {100 * np.mean(errors):.1f} "
            f"| {np.mean(np.array(errors) > 0.1):.2f} | {np.median([row['cpu_seconds'] for row in rows]):.1f} |"
        )
    if len({n for _, n in order}) > 1:
        lines += ["", *_falling(study / "runs.parquet")]
    (out / "tables.md").write_text("\n".join(lines) + "\n")


def _falling(runs: Path) -> list[str]:
    """The slopes against n of each method that has a score."""
    lines = [
        "| data | method | slope of log lambda_n | of log SE_n | of log spread of S_(d+1) - S_d |",
        "|---|---|---|---|---|",
    ]
    table = pq.read_table(runs)
    for row in aggregate.trends(table).to_pylist():
        if row["penalty_slope"] is not None:
            slopes = [_slope(row[f"{name}_slope"], row[f"{name}_slope_se"]) for name in ("penalty", "se")]
            lines.append(f"| {row['data']} | {row['method']} | {' | '.join([*slopes, _spread(table, row)])} |")
    return lines


def _spread(table: pa.Table, row: dict) -> str:
    """The slope of the logarithm of the standard deviation between the fits of one n; at least two fits each."""
    steps = defaultdict(list)
    for run in table.to_pylist():
        d, scores = run["intrinsic_dim"], run["score_mean"]
        if (run["data"], run["method"]) == (row["data"], row["method"]) and scores and d < len(scores):
            steps[run["n"]].append(scores[d] - scores[d - 1])
    spread = {n: np.std(values, ddof=1) for n, values in steps.items() if len(values) > 1}
    if len(spread) < 3:
        return ""
    fit = linregress(np.log(list(spread)), np.log(list(spread.values())))
    return _slope(fit.slope, fit.stderr)


def _slope(slope: float | None, error: float | None) -> str:
    return "" if slope is None else f"{slope:.2f}" + (f" ± {error:.2f}" if error is not None else "")


def _cell(rows: list[dict]) -> str:
    if not rows:
        return ""
    right = sum(bool(row["correct"]) for row in rows)
    values = [row["value"] for row in rows if row["value"] is not None and np.isfinite(row["value"])]
    mean = f" ({np.mean(values):.1f})" if values and right < len(rows) else ""
    return f"{right}/{len(rows)}{mean}"


def _error(rows: list[dict], truth: int) -> float:
    """A failure counts as an error of 1."""
    values = [row["value"] for row in rows if row["value"] is not None and np.isfinite(row["value"])]
    return abs(float(np.mean(values)) - truth) / truth if values else 1.0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
