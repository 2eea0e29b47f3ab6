"""The head of a RayCluster is lost in the middle of a study, with the driver on it: with the state of the control plane
in Redis, as in the template for spot nodes, and without. Head, worker, Redis and client are pods (`ray_pods`) with the
templates' own commands; the head's Service is its address, which the new one has too.
"""

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator

import pods
import pyarrow.parquet as pq
import pytest
import templates
import tiny_study
from nodes import wait_for
from ray_pods import CLIENT, HEAD, PASSWORD, TOKEN, WORKER, RayPods, ray_pods
from tiny_study import NO_TIME, finished_runs

from lwgan_dist.configfile import to_yaml

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(pods.missing() is not None, reason=str(pods.missing())),
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="needs redis-server, of Debian's package redis-server"
    ),
]

(SPOT, _) = templates.files()["raycluster-gpu-spot.yaml"]
(REDIS, *_) = [one for one in templates.files()["redis.yaml"] if one["kind"] == "StatefulSet"]
REPLICATES = 60
MANY = {"lwgan": {"replicates": REPLICATES}, "classical": {"estimators": ["TwoNN"], "replicates": 3}}
TOTAL = 4 * (REPLICATES + 3)


@pytest.fixture
def cluster() -> Iterator[RayPods]:
    config = to_yaml(tiny_study.config({"execution.workers": 1}, **MANY))
    with ray_pods(SPOT, {"tune_configs/long.yaml": config}) as made:
        yield made


@pytest.mark.parametrize("redis", [True, False], ids=["redis", "no redis"])
def test_head_lost(cluster, redis):
    if redis:
        cluster.start_redis(REDIS)
    cluster.start_head()
    cluster.start_worker()
    before = {node["NodeManagerAddress"]: node["NodeID"] for node in cluster.await_nodes(2)}
    client = cluster.start("worker", CLIENT, "sleep infinity")
    wait_for(lambda: client.execute("test -w /home/ray").returncode == 0, what="the client")

    def told(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = shlex.join(["lwgan-dist", *arguments])
        return client.execute(command, timeout=300, RAY_API_SERVER_ADDRESS=f"http://{HEAD}:8265")

    def call(*arguments: str, code: int = 0) -> str:
        done = told(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    submit = ("submit", "/opt/lwgan/tune_configs/long.yaml", "--name", "long")
    what = ("--", "study", "--storage", "/data")
    folder = cluster.storage / "long"
    wait_for(lambda: told("job", "list").returncode == 0, what="the dashboard")
    call(*submit, *what)
    wait_for(lambda: finished_runs(folder) >= 20, what="the study")
    cluster.head.kill()
    lost = time.monotonic()
    time.sleep(10)  # the operator looks, the new pod is placed
    cluster.start_head()
    if redis:
        after = {node["NodeManagerAddress"]: node["NodeID"] for node in cluster.await_nodes(2)}
        print(f"head lost: the worker is found again after {time.monotonic() - lost:.0f} s")
        assert after[WORKER] == before[WORKER], "the same worker, not another"
        assert after[HEAD] != before[HEAD]
        assert cluster.worker.process.poll() is None
    else:
        wait_for(lambda: cluster.worker.process.poll() is not None, what="end of the worker")
        print(f"head lost: the worker has ended after {time.monotonic() - lost:.0f} s")
        cluster.start_worker()
        after = {node["NodeManagerAddress"]: node["NodeID"] for node in cluster.await_nodes(2)}
        assert after[WORKER] != before[WORKER]
    wait_for(lambda: told("job", "list").returncode == 0, what="the dashboard")  # comes after the control plane
    known = [job["name"] for job in json.loads(call("job", "list", "--json"))]
    assert known == (["long"] if redis else [])
    if redis:
        assert "the node that carried it out is gone" in call("job", "status", "long")
        call("job", "logs", "long", code=5)
    finished = finished_runs(folder)
    assert 20 <= finished < TOTAL
    time.sleep(3)
    assert finished_runs(folder) == finished, "nobody works on"

    said = call("job", "resume", "long", "--follow") if redis else call(*submit, "--follow", *what)
    assert tiny_study.begun(said) == TOTAL - finished, "what is finished is not repeated"
    straight = tiny_study.study(cluster.folder / "straight", **MANY).execute(tiny_study.Silent()).tables.runs
    runs = pq.read_table(folder / "runs.parquet")
    assert runs.drop_columns(NO_TIME).equals(straight.drop_columns(NO_TIME))

    written = [path for path in [*cluster.storage.rglob("*"), *cluster.folder.glob("*/pod/log")] if path.is_file()]
    for secret in (TOKEN, PASSWORD):
        assert [path for path in written if secret.encode() in path.read_bytes()] == []
