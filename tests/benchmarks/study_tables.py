"""The tables of a published study: how often each method is right, by data, and how far its values are from the truth.

    lwgan-dist study tune_configs/study/closed.yaml
    python tests/benchmarks/study_tables.py runs/closed docs/closed

Copies ``runs.parquet``, ``config.yaml`` and ``env.json``, and writes ``tables.md``: right answers of all, with the mean
of the values where they are not all the same; over all data the share of right answers with its interval, the mean over
the data of |mean value - d| / d (the mean percentage error of the field), and the share of data with more than 10 %.
"""

import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import binomtest

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
    (out / "tables.md").write_text("\n".join(lines) + "\n")


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
