"""The fingerprint in the table of runs is that of ``lwgan-dist train``, so a row leads to its run and back."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tiny_study import TINY, config

from lwgan_dist.cli import main
from lwgan_dist.config import override
from lwgan_dist.configfile import to_yaml

pytestmark = pytest.mark.usefixtures("blank_figures")

FREE = {**TINY["run"], "networks": {"width": 2}, "precision": "auto"}
FREE["schedule"] = {name: value for name, value in FREE["schedule"].items() if name != "batch_size"}
"""Latent size, size of a batch and precision follow from data and machine."""
PENALTIES = {"LWGAN": {}, "LWGAN (rate)": {"score.penalty": "rate"}}


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("source", ["manifold", "table"])
def test_a_fingerprint_is_that_of_the_train_command(tmp_path, source):
    np.save(tmp_path / "t.npy", np.random.default_rng(0).standard_normal((60, 3)))
    data = {"name": "s_curve"} if source == "manifold" else {"path": str(tmp_path / "t.npy")}
    told = {
        "data": [data], "sizes": [37, 40], "run": FREE, "factors": {"data.holdout_fraction": [0.1, 0.4]},
        "classical": {}, "lwgan": {**TINY["lwgan"], "replicates": 1},
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(to_yaml(config(**told)))
    study = call("study", tmp_path / "study.yaml", "--storage", tmp_path)
    assert study.exit_code == 0, study.output
    rows = pq.read_table(tmp_path / "study" / "runs.parquet").to_pylist()
    assert len({row["fingerprint"] for row in rows}) == len(rows) == 2 * 2 * 2
    for row in rows:
        own = {"source": source, **data, "n": row["n"], "seed": row["data_seed"]}
        run = override(
            {**FREE, "data": own, "seed": row["seed"]}, {**json.loads(row["factors"]), **PENALTIES[row["method"]]}
        )
        (tmp_path / "run.yaml").write_text(json.dumps(run))
        shown = call("train", tmp_path / "run.yaml", "--dry-run")
        assert shown.exit_code == 0, shown.output
        assert shown.stderr.splitlines()[0].rpartition("-")[2] == row["fingerprint"], row
