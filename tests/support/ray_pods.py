"""A Ray cluster in pods (`pods`): head and worker of a template, started as the operator starts them; there is no
Kubernetes here. All pods have the image that `pods.build_image` makes, and one storage.
"""

import json
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pods
import psutil
import templates

TOKEN = secrets.token_hex(32)
PASSWORD = secrets.token_hex(32)
HEAD, WORKER, CLIENT, REDIS = (f"10.77.0.{host}" for host in (2, 3, 4, 5))
WORKER_CPUS = 2


class RayPods:
    """Pods of one template.

    Attributes:
        image: what the pods see as /opt/lwgan.
        folder: of all pods; every user may enter it.
        storage: what the pods see as /data.
        network: what they are on.
        head, worker: the pods that run now.
        redis: what keeps the state of the control plane, as the operator is told by ``gcsFaultToleranceOptions``.
    """

    head: pods.Pod
    worker: pods.Pod

    def __init__(self, document: templates.Document, configs: dict[str, str]) -> None:
        cluster = templates.cluster_of(document)
        assert cluster is not None, "no Ray cluster"
        self._cluster, self._templates = cluster, templates.pods_of(document)
        self.folder = pods.short_folder()
        build = self.folder / "build"
        build.mkdir()
        self.image = pods.build_image(build, configs)
        self.storage = self.folder / "data"
        self.storage.mkdir()
        shutil.chown(self.storage, pods.UID, pods.UID)
        self.network = pods.Network()
        self.redis: pods.Pod | None = None
        self._started: list[pods.Pod] = []

    def close(self) -> None:
        for pod in self._started:
            pod.kill()
        self.network.close()
        shutil.rmtree(self.folder)
        assert not any(psutil.pid_exists(pod.pid) for pod in self._started)  # and with it all others of its namespace

    def spec(self, role: str) -> templates.Document:
        """The pod's specification in the template."""
        return next(pod for pod in self._templates if pod.role == role).spec

    def environment(self, role: str) -> dict[str, str]:
        """Of a container, the Secrets put in, and what the operator adds."""
        told = templates.environment_of(self.spec(role)["containers"][0])
        found = {name: one.get("value", TOKEN) for name, one in told.items()} | {"RAY_ADDRESS": f"{HEAD}:6379"}
        if self.redis is not None and role == "head":
            found |= {"RAY_REDIS_ADDRESS": f"redis://{REDIS}:6379", "REDIS_PASSWORD": PASSWORD}
            found |= {"RAY_external_storage_namespace": "uid-of-the-cluster"}
        if self.redis is not None and role == "worker":
            found |= {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
        return found

    def start(self, role: str, address: str, command: str) -> pods.Pod:
        """A pod that runs until the end, or until it is killed."""
        return self._start(role, address, command, self.environment(role), self.storage)

    def _start(self, role: str, address: str, command: str, environment: dict[str, str], storage: Path) -> pods.Pod:
        folder = Path(tempfile.mkdtemp(prefix=role[0], dir=self.folder))
        folder.chmod(0o755)
        pod = pods.Pod(folder / "pod", self.image, storage, environment, command, self.network, address)
        self._started.append(pod)
        return pod

    def start_head(self) -> None:
        options = "" if self.redis is None else ' --redis-password="$REDIS_PASSWORD"'
        self.head = self.start("head", HEAD, self._ray_start("head", HEAD) + options)

    def start_worker(self) -> None:
        """With the operator's init container."""
        awaited = f"until ray health-check --address {HEAD}:6379; do sleep 1; done; "
        self.worker = self.start("worker", WORKER, awaited + self._ray_start("worker", WORKER))

    def start_redis(self, document: templates.Document) -> None:
        """The StatefulSet's pod."""
        ((container,),) = [pod.spec["containers"] for pod in templates.pods_of(document)]
        command = shlex.join([*container["command"], *container["args"]])
        volume = self.folder / "redis"
        volume.mkdir()
        shutil.chown(volume, pods.UID, pods.UID)
        self.redis = self._start("redis", REDIS, command, {"REDIS_PASSWORD": PASSWORD}, volume)

    def _ray_start(self, role: str, address: str) -> str:
        """The command that the operator makes of rayStartParams and limits; GPUs are left out."""
        head, group = self._cluster["headGroupSpec"], self._cluster["workerGroupSpecs"][0]
        group = head if role == "head" else group
        memory = group["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        params = {"num-cpus": str(WORKER_CPUS), "memory": str(int(templates.bytes_of(memory)))}
        params |= group["rayStartParams"] | {"node-ip-address": address}
        params |= {"metrics-export-port": "8080", "dashboard-agent-listen-port": "52365"}
        first = "--head" if role == "head" else f"--address={HEAD}:6379"
        options = " ".join(f"--{name}={value}" for name, value in params.items())
        return f"ulimit -n 65536; exec ray start {first} --block {options}"

    def nodes(self) -> list[dict[str, Any]]:
        """What Ray says of its nodes."""
        told = self.head.execute(
            "python -c 'import ray, json; ray.init(log_to_driver=False); print(json.dumps(ray.nodes()))'"
        )
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout.splitlines()[-1])

    def await_nodes(self, count: int, seconds: float = 180) -> list[dict[str, Any]]:
        """The nodes, once so many are alive."""
        deadline, told = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            told = self.head.execute(f"ray health-check --address {HEAD}:6379")
            if told.returncode == 0:
                alive = [node for node in self.nodes() if node["Alive"]]
                if len(alive) == count:
                    return alive
            time.sleep(1)
        raise TimeoutError(f"{told}\n{self.head.log.read_text()}\n{self.worker.log.read_text()}")


@contextmanager
def ray_pods(document: templates.Document, configs: dict[str, str]) -> Iterator[RayPods]:
    """Pods for the length of the block; none is started yet.

    Args:
        document: the RayCluster or RayJob.
        configs: texts of configurations, to put over those of the image, by their path in it.
    """
    made = RayPods(document, configs)
    try:
        yield made
    finally:
        made.close()
