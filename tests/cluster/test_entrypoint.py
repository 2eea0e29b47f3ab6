"""The RayJob's entrypoint in pods as its template and the container file say: another user, no capabilities, a root and
code that cannot be written, the environment of the template and nothing else, the operator's own commands. The pods are
namespaces (`pods`), the image is a wheel of this checkout; there is no Kubernetes here.
"""

import json
import re
import shlex
import time
import zipfile
from collections.abc import Iterator

import pods
import psutil
import pyarrow.parquet as pq
import pytest
import templates
import tiny_study
from ray_pods import HEAD, TOKEN, WORKER, RayPods, ray_pods

from lwgan_dist.configfile import to_yaml

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(pods.missing() is not None, reason=str(pods.missing())),
]

(JOB, _) = templates.files()["rayjob-cpu-study.yaml"]
CONFIG = shlex.split(JOB["spec"]["entrypoint"])[2]
PREEMPTED = 3  # Ray's NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED

PROBE = """
import json, os
def writable(folder):
    try:
        path = os.path.join(folder, "probe")
        open(path, "w").close()
        os.remove(path)
        return True
    except OSError:
        return False
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "uid": os.getuid(),
    "groups": os.getgroups(),
    "capabilities": [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")],
    "new privileges": status["NoNewPrivs"].strip() == "0",
    "writable": sorted(f for f in ("/", "/opt/lwgan", "/opt/lwgan/tune_configs", "/opt/lwgan/venv/bin", "/usr/bin",
        "/etc", os.path.dirname(__import__("lwgan_dist").__file__), "/tmp", "/home/ray", "/dev/shm", "/data")
        if writable(f)),
    "code": os.path.dirname(__import__("lwgan_dist").__file__),
}))
"""


def submit(cluster: RayPods, name: str, entrypoint: str, *options: str, timeout: float = 400) -> tuple[int, str]:
    """The submitter's pod: the operator's command with an entrypoint; its exit code and what it says."""
    command = ["ray", "job", "submit", f"--address=http://{HEAD}:8265", f"--submission-id={name}", *options, "--"]
    pod = cluster.start("submitter", f"10.77.0.{10 + len(name)}", f"{shlex.join(command)} {entrypoint}")
    try:
        return pod.wait(timeout), pod.log.read_text()
    finally:
        pod.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayPods]:
    tiny = to_yaml(tiny_study.config({"execution.workers": 1}))
    with ray_pods(JOB, {CONFIG.removeprefix("/opt/lwgan/"): tiny}) as made:
        made.start_head()
        made.start_worker()
        made.await_nodes(2)
        yield made


def probe(pod: pods.Pod) -> dict:
    told = pod.execute(f"python -c {shlex.quote(PROBE)}")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def test_a_pod_can_write_where_its_template_says_and_nowhere_else(cluster):
    for pod in (cluster.head, cluster.worker):
        told = probe(pod)
        assert re.fullmatch(r"/opt/lwgan/venv/lib/python3\.\d+/site-packages/lwgan_dist", told.pop("code"))
        assert told == {
            "uid": pods.UID, "groups": [], "capabilities": [0, 0, 0, 0], "new privileges": False,
            "writable": ["/data", "/dev/shm", "/home/ray", "/tmp"],
        }  # fmt: skip
    mounted = {mount["mountPath"] for mount in cluster.spec("head")["containers"][0]["volumeMounts"]}
    assert mounted == {"/data", "/dev/shm", "/home/ray", "/tmp"}


def test_what_is_not_hardened_can_write(cluster):
    """The control: the same attempts succeed where nothing forbids them."""
    pod = pods.Pod(cluster.folder / "open", cluster.image, cluster.storage, {}, "sleep 300", hardened=False)
    try:
        time.sleep(1)
        told = probe(pod)
    finally:
        pod.kill()
    assert told["uid"] == 0
    assert told["capabilities"][0] != 0
    assert {"/", "/opt/lwgan", "/opt/lwgan/venv/bin", "/tmp"} <= set(told["writable"])


def test_the_entrypoint_finishes_and_writes_the_storage(cluster):
    code, said = submit(cluster, "study", JOB["spec"]["entrypoint"], "--entrypoint-num-cpus=0")
    assert code == 0, said
    assert "s_curve" in said
    folder = cluster.storage / "runs" / "quickstart"
    table = pq.read_table(folder / "runs.parquet")
    assert table.num_rows == 2 * 2 * (2 * 2 + 2 * 3)  # data x sizes x (replicates x rules + estimators x replicates)
    assert table["failure"].null_count == table.num_rows
    assert len(list((folder / "ledger").glob("*.parquet"))) > 0
    written = [path for path in cluster.storage.rglob("*") if path.is_file()]
    assert {path.stat().st_uid for path in written} == {pods.UID}
    assert (folder / "report.html") in written
    # and the secret is in nothing that was written or said
    logs = [*cluster.folder.glob("*/pod/log")]
    assert [path for path in [*written, *logs] if TOKEN.encode() in path.read_bytes()] == []


def test_all_processes_of_the_pods_are_the_users(cluster):
    """Drivers and workers too: Ray starts none as another user."""
    for pod in (cluster.head, cluster.worker):
        inside = psutil.Process(pod.process.pid).children(recursive=True)
        users = {process.uids().effective for process in inside if process.is_running()}
        assert len(inside) > 3
        assert users == {pods.UID}


def test_without_the_token_no_job_is_taken(cluster):
    told = cluster.worker.execute(f"ray job list --address http://{HEAD}:8265", RAY_AUTH_TOKEN="0" * 64)
    assert told.returncode != 0
    assert "s_curve" not in told.stdout
    assert re.search("401|403|[Uu]nauth|[Ii]nvalid.*token", told.stdout + told.stderr)
    assert cluster.worker.execute(f"ray job list --address http://{HEAD}:8265").returncode == 0


def test_a_working_dir_takes_the_place_of_the_code_in_the_image(cluster):
    """As the README shows it: a zip on the storage, named by runtimeEnvYAML."""
    text = (templates.ROOT / "cluster" / "README.md").read_text()
    (told,) = set(re.findall(r"working_dir: (file:///data/\S+\.zip)", text))
    archive = cluster.storage / told.removeprefix("file:///data/")
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in (templates.ROOT / "lwgan_dist").rglob("*.py"):
            text = path.read_text()
            if path == templates.ROOT / "lwgan_dist" / "__init__.py":
                text += "\nprint('changed code', __file__)\n"
            zipped.writestr(f"lwgan-dist/{path.relative_to(templates.ROOT)}", text)  # Ray takes off a first folder
    for path in (archive, archive.parent):
        path.chmod(0o755)
    runtime = json.dumps({"working_dir": told})
    code, said = submit(cluster, "changed", "lwgan-dist --help", f"--runtime-env-json={runtime}")
    assert code == 0, said
    assert re.search(r"changed code /tmp/ray/.*working_dir_files.*/lwgan_dist/__init__.py", said), said
    code, said = submit(cluster, "unchanged", "lwgan-dist --help")  # the control
    assert (code, "changed code" in said) == (0, False), said


def test_a_pod_that_is_deleted_tells_ray(cluster):
    """The preStop command of the template, in the worker's container: Ray counts its node as preempted, no other."""
    command = cluster.spec("worker")["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["/bin/bash", "-c"]
    assert {node["NodeManagerAddress"]: node["Alive"] for node in cluster.nodes()} == {HEAD: True, WORKER: True}
    begun = time.monotonic()
    told = cluster.worker.execute(command[2], timeout=180)
    assert told.returncode == 0, told.stderr
    assert time.monotonic() - begun < 45 + 60  # an idle node leaves at once; Ray's command may starve beside other load
    (node,) = [one for one in cluster.nodes() if one["NodeManagerAddress"] == WORKER]
    assert not node["Alive"]
    assert (node["DeathReason"], node["DeathReasonMessage"]) == (PREEMPTED, "the pod is being deleted"), node
    assert [one["Alive"] for one in cluster.nodes() if one["NodeManagerAddress"] == HEAD] == [True]
