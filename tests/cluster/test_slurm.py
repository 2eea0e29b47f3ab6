"""The SLURM script on nodes with networks of their own: real Ray nodes, a stand-in for srun."""

import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from slurm_nodes import Allocation, wait_for
from tiny_study import Silent, begun, config, study

from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.configfile import to_yaml
from lwgan_dist.storage import Folder
from lwgan_dist.study.record import RunRecord


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root, for network and PID namespaces"
    missing = [tool for tool in ("ip", "unshare", "nsenter", "getent") if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], check=False, capture_output=True)
    return "" if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(_why_not()), reason=_why_not())]

MANY = {"lwgan": {"replicates": 10}, "classical": {"estimators": ["TwoNN", "MLE"], "replicates": 15}}
RUNS = 4 * (10 + 2 * 15)
WORKER = "^ray::Task"
NOT_EXACT = ["cpu_seconds", "wall_seconds", "value"]
"""Times; and what a classical estimator gave before it was rounded: its last digit depends on the libraries loaded."""

CLIENT = """
import sys
from ray._raylet import GcsClient
try:
    infos = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20)
except Exception as error:
    print("refused:", type(error).__name__, error)
else:
    print("served:", *sorted(info.node_manager_address for info in infos.values()))
"""


@pytest.fixture(scope="module")
def nodes():
    with Allocation(2) as allocation:
        yield allocation


@pytest.fixture
def home(tmp_path):
    (tmp_path / "study.yaml").write_text(to_yaml(config({"execution.workers": 1}, **MANY)))
    return tmp_path


def client(nodes, node, address, **environment):
    """What a program on a node hears from the cluster."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    answer = subprocess.run(
        ["nsenter", f"--net=/run/netns/{nodes.nodes[node]}", "--", sys.executable, "-c", CLIENT, address],
        env={**plain, **environment}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    return answer.stdout + answer.stderr


def rows(storage):
    return set(Ledger(Folder.at(str(storage / "study" / "ledger")), RunRecord).keys())


def test_study_on_two_nodes(nodes, home):
    """Finishes as one process does; on both nodes; only who has the token is served."""
    with nodes.sbatch(home, home / "runs", "study", "study.yaml", DOCTOR="1") as job:
        address = f"{nodes.addresses[0]}:{20000 + int(nodes.job_id) % 10000}"
        wait_for(lambda: len(rows(home / "runs")) > 0, job)

        token = job.private / "token"
        text = token.read_text()
        assert re.fullmatch("[0-9a-f]{64}", text)
        assert token.stat().st_mode & 0o777 == 0o600
        assert job.private.stat().st_mode & 0o777 == job.private.parent.stat().st_mode & 0o777 == 0o700

        busy = set()
        wait_for(lambda: busy.update(i for i in (0, 1) if job.processes(i, WORKER)) or busy == {0, 1}, job)

        there = client(nodes, 1, address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
        assert f"served: {' '.join(nodes.addresses)}\n" in there, "the nodes have the addresses by which they meet"
        for told in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
            answer = client(nodes, 1, address, **told)
            assert "refused: " in answer, answer
            assert "auth" in answer.lower(), answer

        assert job.wait() == 0, job.output
        output = job.output
    runs = pq.read_table(home / "runs" / "study" / "runs.parquet")
    straight = study(home / "straight" / "study", **MANY).execute(Silent()).tables.runs
    assert runs.drop_columns(NOT_EXACT).equals(straight.drop_columns(NOT_EXACT))
    values = [table["value"].to_numpy(zero_copy_only=False) for table in (runs, straight)]
    np.testing.assert_allclose(*values, rtol=1e-9)
    assert len(rows(home / "runs")) == RUNS

    assert not job.private.exists(), "the token goes with its cluster"
    assert [job.processes(i, "ray") for i in (0, 1)] == [[], []]
    assert text not in output
    assert not [file for file in home.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


@pytest.mark.parametrize("event", ["time limit", "power cut"])
def test_interrupted_job_goes_on_and_repeats_nothing(nodes, home, event):
    requeued = nodes.requeued
    with nodes.sbatch(home, home / "runs", "study", "study.yaml") as job:
        wait_for(lambda: len(rows(home / "runs")) > 4, job)
        if event == "time limit":
            job.signal(signal.SIGUSR1)
            assert job.wait() == 130, job.output
            assert "finished runs are kept" in job.output
            assert nodes.requeued == requeued + 1
        else:
            job.kill()
            assert nodes.requeued == requeued
            assert (job.private / "token").exists(), "nobody was there to tidy up"
    finished = rows(home / "runs")
    assert 4 < len(finished) < RUNS, "the event came half-way"
    entered = {file: file.stat().st_mtime_ns for file in (home / "runs" / "study" / "ledger").rglob("*.json")}

    with nodes.sbatch(home, home / "runs", "study", "study.yaml", restarts=1) as again:
        assert again.wait() == 0, again.output
        output = again.output
    todo = begun(output)
    assert todo == RUNS - len(finished), "what is finished is not repeated"
    assert not [file for file, when in entered.items() if file.exists() and file.stat().st_mtime_ns != when]
    runs = pq.read_table(home / "runs" / "study" / "runs.parquet")
    identity = list(zip(*(runs[name].to_pylist() for name in ("data", "n", "method", "replicate")), strict=True))
    assert len(set(identity)) == len(identity)
    assert len(rows(home / "runs")) == RUNS


def test_exit_code_is_that_of_the_command(nodes, home):
    (home / "train.yaml").write_text("data: {source: table, path: missing.parquet}\nexecution: {workers: 1}\n")
    with nodes.sbatch(home, home / "runs", "train", "train.yaml", nodes=1) as job:
        assert job.wait() == 4, job.output
        assert "missing.parquet" in job.output
        assert "127.0.0.1" in job.output, "a node alone listens to itself"


def test_ray_that_does_not_start_is_a_failure(nodes, home):
    """Although symmetric-run ends with 0 then."""
    with nodes.sbatch(home, home / "runs", "study", "study.yaml", nodes=1, RAY_OPTIONS="--no-such-option") as job:
        assert job.wait() == 5, job.output
        assert "Failed to start Ray" in job.output
        assert "Ray did not start on all nodes" in job.output
    assert not (home / "runs").exists()
