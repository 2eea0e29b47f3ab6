"""Rows of the table of runs, from what matters to a test."""

import json
from typing import Any

import pyarrow as pa

from lwgan_dist.study.tables import RUNS

Row = dict[str, Any]


def runs_table(rows: list[Row]) -> pa.Table:
    """A table of schema RUNS. A row tells what matters: by default LWGAN is right on sample 0 of data "s", n 100.

    ``dimension``: None is a failure. ``kind`` follows from the method, ``value`` from the dimension, ``correct`` from
    both dimensions, ``key`` from the place in the design.
    """
    return pa.Table.from_pylist([_row(row) for row in rows], schema=RUNS)


def _row(told: Row) -> Row:
    row: Row = {
        "data": "s",
        "n": 100,
        "method": "LWGAN",
        "replicate": 0,
        "initialisation": 0,
        "intrinsic_dim": 2,
    } | told
    row.setdefault("dimension", row["intrinsic_dim"])
    dimension, truth = row["dimension"], row["intrinsic_dim"]
    failed = dimension is None
    lwgan = row["method"].startswith("LWGAN")
    place = [row[name] for name in ("data", "n", "method", "replicate", "initialisation")]
    defaults: Row = {
        "key": "-".join(str(part) for part in place),
        "fingerprint": None if failed else "f" * 16,
        "kind": "lwgan" if lwgan else "classical",
        "factors": json.dumps({}),
        "data_seed": row["replicate"],
        "seed": row["initialisation"],
        "ambient_dim": None if failed else 3,
        "value": None if failed else float(dimension),
        "correct": None if truth is None else dimension == truth,
        "failure": "diverged" if failed else None,
        "cpu_seconds": 1.0,
        "wall_seconds": 1.0,
    }
    if lwgan and not failed:
        ranks = range(1, 5)
        defaults |= {
            "penalty": 0.1,
            "score_se": 0.05,
            "margin": 3.0,
            "score_mean": [float(abs(rank - dimension)) for rank in ranks],
            "score_errors": [0.05 for _ in ranks],
        }
    unknown = row.keys() - set(RUNS.names)
    assert not unknown, unknown
    return {**dict.fromkeys(RUNS.names), **defaults, **row}
