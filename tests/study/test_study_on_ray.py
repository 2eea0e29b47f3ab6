"""A study under Ray Tune: the same numbers as in one process; killed, on nodes that die, with runs of several workers.

``KILLS`` in the environment sets how often the command is killed (``make test-faults`` takes ten).
"""

import os
import random
import signal
import time

import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster
from tiny_study import TINY, Silent, begun, command, config, study

from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.configfile import to_yaml
from lwgan_dist.storage import Folder
from lwgan_dist.study.record import RunRecord

pytestmark = pytest.mark.ray

KILLS = int(os.environ.get("KILLS", "1"))
SEED = int(os.environ.get("KILL_SEED", "0"))
REPLICATES = max(10, 6 * KILLS)
MANY = {"lwgan": {"replicates": REPLICATES}, "classical": {"estimators": ["TwoNN", "MLE"], "replicates": 15}}
LWGAN_RUNS, RUNS = 4 * REPLICATES, 4 * (REPLICATES + 2 * 15)
NO_TIME = ["cpu_seconds", "wall_seconds"]


def numbers(table):
    return table.drop_columns([name for name in NO_TIME if name in table.column_names])


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """In this process, without Ray and without interruption."""
    outcome = study(tmp_path_factory.mktemp("straight") / "study", **MANY).execute(Silent())
    assert outcome.planned == RUNS
    return outcome.tables


def identities(runs):
    names = ("data", "n", "method", "replicate", "initialisation")
    return list(zip(*(runs[name].to_pylist() for name in names), strict=True))


def is_that_of(folder, straight):
    runs, cells = pq.read_table(folder / "runs.parquet"), pq.read_table(folder / "cells.parquet")
    assert len(set(identities(runs))) == runs.num_rows == RUNS
    assert numbers(runs).equals(numbers(straight.runs))
    assert numbers(cells).equals(numbers(straight.cells))


def rows(folder):
    return len(Ledger(Folder.at(str(folder / "ledger")), RunRecord).keys())


def wait_for(condition, process, seconds=240):
    ends = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < ends, "nothing happens"
        time.sleep(0.1)


def test_killed_again_and_again_every_run_is_there_once(straight, tmp_path):
    """SIGKILL to the command after a random number of new rows; Tune's state is cut in half each time."""
    file, folder = tmp_path / "study.yaml", tmp_path / "study"
    file.write_text(to_yaml(config({"execution.workers": 1}, **MANY)))
    draw = random.Random(SEED)
    killed, cut = [], 0
    for _ in range(KILLS):
        process = command(file, tmp_path, "--name", "study")
        before, more = rows(folder), draw.randint(1, LWGAN_RUNS // KILLS - 4)
        wait_for(lambda before=before, more=more: rows(folder) >= before + more, process)
        time.sleep(draw.uniform(0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        killed.append(rows(folder))
        for state in folder.glob(".tune/**/*"):
            if state.is_file():
                state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
                cut += 1
    print(f"kill seed {SEED}: killed with {killed} of {RUNS} rows, {cut} files of Tune's state cut")
    assert len(killed) == KILLS
    assert max(killed) < RUNS, "killed before it was done"
    finished = rows(folder)
    process = command(file, tmp_path, "--name", "study")
    told = process.communicate(timeout=300)[0]
    assert process.returncode == 0, told
    todo = begun(told)  # a worker may have finished one more before it noticed
    assert 0 < todo <= RUNS - finished, "what is finished is not repeated"
    is_that_of(folder, straight)


@pytest.mark.faults
def test_ctrl_c_leaves_a_state_that_resumes(straight, tmp_path):
    file, folder = tmp_path / "study.yaml", tmp_path / "study"
    file.write_text(to_yaml(config({"execution.workers": 1}, **MANY)))
    process = command(file, tmp_path, "--name", "study")
    wait_for(lambda: rows(folder) >= 3, process)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 130, told
    assert "finished runs are kept, the same command goes on" in told
    assert 3 <= rows(folder) < RUNS
    process = command(file, tmp_path, "--name", "study", "execution.workers=0")
    told = process.communicate(timeout=300)[0]
    assert process.returncode == 0, told
    is_that_of(folder, straight)


@pytest.mark.faults
def test_a_node_of_two_dies(straight, tmp_path):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        file, folder = tmp_path / "study.yaml", tmp_path / "study"
        file.write_text(to_yaml(config({"execution.workers": 1}, **MANY)))
        process = command(file, tmp_path, "--name", "study", "--address", cluster.address)
        wait_for(lambda: rows(folder) >= 5, process)
        before = rows(folder)
        cluster.remove_node(node, allow_graceful=False)
        told = process.communicate(timeout=300)[0]
        assert process.returncode == 0, told
        assert before < RUNS
        is_that_of(folder, straight)
    finally:
        cluster.shutdown()


@pytest.mark.faults
def test_runs_of_two_workers_are_nested_and_leave_nothing(tmp_path):
    told = {"data": TINY["data"][:1], "sizes": [40], "lwgan": {"replicates": 1}, "bootstrap": {"resamples": 1}}
    ray.init(address="local", num_cpus=4, include_dashboard=True, log_to_driver=False)
    try:
        outcome = study(tmp_path / "two", {"execution.workers": 2}, **told).execute(Silent())
        groups = ray.util.placement_group_table()
        assert {group["state"] for group in groups.values()} <= {"REMOVED"}
    finally:
        ray.shutdown()
    assert outcome.unfinished == {}
    one = study(tmp_path / "one", **told).execute(Silent()).tables.runs.to_pylist()
    two = outcome.tables.runs.to_pylist()
    assert identities(outcome.tables.runs) == [
        (row["data"], row["n"], row["method"], row["replicate"], row["initialisation"]) for row in one
    ]
    for ours, theirs in zip(two, one, strict=True):
        if ours["kind"] == "lwgan":
            assert ours["score_mean"] == pytest.approx(theirs["score_mean"], rel=1e-3), "equal but for rounding"
        else:
            assert ours["value"] == theirs["value"]
    ours, theirs = refits(tmp_path / "two"), refits(tmp_path / "one")
    assert ours.keys() == theirs.keys()
    assert len(ours) == 1
    for key, refit in ours.items():  # from the networks of the run, with two workers too
        assert refit.train == pytest.approx(theirs[key].train, rel=1e-2, abs=1e-4)


def refits(folder):
    ledger = Ledger(Folder.at(str(folder / "ledger")), RunRecord)
    return {record.key: record for record in ledger.records(ledger.keys()) if record.kind == "refit"}
