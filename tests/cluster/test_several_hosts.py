"""Nodes with addresses of their own: a study that loses them in every way, training whose workers meet across them."""

import json
import os
import secrets
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import templates
from network import needs_root, network
from nodes import checkpoint_iterations, iteration_of, run, wait_for
from safetensors.numpy import load_file
from tiny_study import NO_TIME, finished_runs
from tiny_study import config as study_config

from lwgan_dist.configfile import to_yaml

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800), needs_root]

CUT_SECONDS = 30
RUNS = {
    "lwgan": {"replicates": 12},
    "classical": {"estimators": ["TwoNN"], "replicates": 12},
    "run": {
        "networks": {"width": 4, "latent_dim": 2},
        "schedule": {
            "batch_size": 32, "embedding_iterations": 600, "embedding_rounds": 1,
            "matching_iterations": 200, "critic_iterations": 100,
            "scoring_interval": 2,
        },
        "score": {"evaluations": 4},
        "precision": "float32",
    },
}  # fmt: skip
LONG, PLANNED = 4 * 12, 4 * (12 + 12)
"""LWGAN runs, which come first, and all."""


def records(folder):
    """When each finished run was written, by file."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "ledger").glob("*.parquet")}


def numbers(file):
    table = pq.read_table(file)
    return table.drop_columns([name for name in NO_TIME if name in table.column_names])


def test_a_study_whose_nodes_are_killed_drained_cut_off_and_added(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(to_yaml(study_config({"execution.workers": 1}, **RUNS)))
    done = run(["study", file, "execution.workers=0", "--storage", tmp_path / "straight", "--name", "study"], 1500)
    assert done.returncode == 0, done.stderr

    folder = tmp_path / "storage" / "study"
    shares = sorted(secrets.randbelow(70) / 100 + 0.05 for _ in range(4))
    with network() as net, open(tmp_path / "log", "wb") as log, open(tmp_path / "told", "wb") as out:
        killed, drained, cut = (net.add() for _ in range(3))
        study = net.command("study", file, "--storage", folder.parent, "--name", "study", "--address", net.address,
                            "--json", stdout=out, stderr=log)  # fmt: skip

        def reach(share):
            wait_for(lambda: finished_runs(folder) >= share * LONG or study.poll() is not None, 400, f"{share} of it")
            assert study.poll() is None, (tmp_path / "log").read_text()[-3000:]
            return f"{finished_runs(folder)} of {PLANNED}"

        print(f"\nkills a node after {reach(shares[0])} runs")
        killed.lose()
        print(f"adds a node after {reach(shares[1])}")
        net.add()
        print(f"announces the loss of a node after {reach(shares[2])}")
        net.drain(drained, seconds=10)
        time.sleep(10)
        drained.lose()
        print(f"cuts a node off for {CUT_SECONDS} s after {reach(shares[3])}")
        cut.cut(True)
        time.sleep(CUT_SECONDS)
        there = cut.address in net.alive()
        cut.cut(False)
        print(f"the node that was cut off was {'still' if there else 'no longer'} a member")
        before = records(folder)
        code = study.wait(timeout=500)
        assert code == 0, (tmp_path / "log").read_text()[-3000:]
        alive = net.alive()
        assert killed.address not in alive
        assert drained.address not in alive

    told = json.loads((tmp_path / "told").read_text())
    assert told["unfinished"] == {}
    after = records(folder)
    assert before.items() <= after.items(), "what was finished has been written again"
    runs = pq.read_table(folder / "runs.parquet").to_pylist()
    identities = {(row["data"], row["n"], row["method"], row["replicate"], row["initialisation"]) for row in runs}
    assert len(identities) == len(runs) == PLANNED
    for table in ("runs.parquet", "cells.parquet"):
        assert numbers(folder / table).equals(numbers(tmp_path / "straight" / "study" / table))


SETTINGS = [
    "data.n=300", "networks.width=4", "networks.latent_dim=3", "score.evaluations=4", "schedule.batch_size=32",
    "schedule.embedding_iterations=300", "schedule.embedding_rounds=1",
    "schedule.matching_iterations=20", "schedule.critic_iterations=40",
    "schedule.scoring_interval=2", "precision=float32", "execution.workers=2", "execution.checkpoint_seconds=2",
]  # fmt: skip
ITERATIONS = 300 + 20 + 2 + 4


def final(storage, iterations=ITERATIONS):
    assert checkpoint_iterations(storage / "run")[-1] == iterations
    return load_file(storage / "run" / "checkpoints" / f"iteration-{iterations:012d}" / "tensors.safetensors")


def test_workers_meet_across_hosts_whose_name_is_that_of_the_loopback(tmp_path):
    """Every process here sees /etc/hosts of this machine, and none of the interfaces of another host."""
    file = tmp_path / "run.yaml"
    file.write_text("data: {source: manifold, name: s_curve}\n")
    arguments = ["train", file, *SETTINGS, "--name", "run"]
    with network() as net:
        for _ in range(2):
            net.add()
        with open(tmp_path / "log", "wb") as log:
            process = net.command(*arguments, "--storage", tmp_path / "hosts", "--address", net.address,
                                  stdout=log, stderr=log)  # fmt: skip
            assert process.wait(timeout=400) == 0, (tmp_path / "log").read_text()[-3000:]
    alone = run([*arguments, "--storage", tmp_path / "alone"])
    assert alone.returncode == 0, alone.stderr
    ours, theirs = final(tmp_path / "hosts"), final(tmp_path / "alone")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert os.environ.get("GLOO_SOCKET_IFNAME") is None


HEAD = templates.pods_of(templates.files()["raycluster-gpu-spot.yaml"][0])[0].spec["containers"][0]
SHIPPED = {
    name: one["value"] for name, one in templates.environment_of(HEAD).items() if name.startswith("RAY_health_check_")
}
"""How the templates' head looks after its nodes."""


@pytest.mark.parametrize(("head", "seconds"), [(SHIPPED, 35), ({}, 120)], ids=["template", "default"])
def test_a_node_that_falls_silent(tmp_path, head, seconds):
    """A machine without power: no connection is closed, so Ray gives the node up when it misses health checks."""
    file = tmp_path / "run.yaml"
    file.write_text("data: {source: manifold, name: s_curve}\n")
    more = 5000
    settings = [one for one in SETTINGS if "embedding_iterations" not in one]
    arguments = ["train", file, *settings, f"schedule.embedding_iterations={300 + more}", "--name", "run"]
    with network(**head) as net:
        silent, _ = net.add(), net.add()
        with open(tmp_path / "log", "wb") as log:
            process = net.command(*arguments, "--storage", tmp_path / "hosts", "--address", net.address,
                                  stdout=log, stderr=log)  # fmt: skip
            folder = tmp_path / "hosts" / "run"
            wait_for(lambda: iteration_of(folder) > 300 or process.poll() is not None, 200, "training")
            net.add()  # takes its place
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            silent.cut(True)
            cut = time.monotonic()
            wait_for(lambda: silent.address not in net.alive(), 200, "its loss", pause=1)
            known = time.monotonic() - cut
            at = iteration_of(folder)
            wait_for(lambda: iteration_of(folder) > at, 200, "training")
            again = time.monotonic() - cut
            print(f"\nsilent at iteration {at}: given up after {known:.0f} s, training after {again:.0f} s")
            assert process.wait(timeout=400) == 0, (tmp_path / "log").read_text()[-3000:]
    assert again < seconds
    alone = run([*arguments, "--storage", tmp_path / "alone"])
    assert alone.returncode == 0, alone.stderr
    ours, theirs = final(tmp_path / "hosts", ITERATIONS + more), final(tmp_path / "alone", ITERATIONS + more)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
