"""Every template in cluster/kubernetes keeps the rules of `templates`, and a twin of it, broken in one place, does not:
the message names the place. The container file makes what the templates rely on.
"""

import copy
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import templates
from ruamel.yaml import YAML

from lwgan_dist.cli import main
from lwgan_dist.config import TrainConfig
from lwgan_dist.configfile import read_config
from lwgan_dist.study.config import StudyConfig

FILES = templates.files()
DOCUMENTS = [
    pytest.param(document, id=f"{file}:{document['kind']}:{document['metadata']['name']}")
    for file, of_file in FILES.items()
    for document in of_file
]
EVERY = [document for of_file in FILES.values() for document in of_file]
CLUSTERS = [document for document in EVERY if document["kind"] in {"RayCluster", "RayJob"}]
CONTAINER = templates.ROOT / "cluster" / "container"

Change = Callable[[dict[str, Any]], None]
_CUT = object()


def steps(path: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]


def put(document: Any, path: str, value: Any) -> None:
    """Set, or remove, what stands at a path; a section that is not there is made."""
    *way, last = steps(path)
    for step in way:
        document = document.setdefault(step, {}) if isinstance(document, dict) else document[step]
    if value is _CUT:
        del document[last]
    elif callable(value):
        document[last] = value(document[last])
    else:
        document[last] = value


@dataclass(frozen=True)
class Twin:
    """One way to break an object: what stands ``at`` a path becomes ``value``, and ``rule`` finds it at ``found``."""

    rule: str
    at: str
    value: Any
    found: str | None = None

    def __str__(self) -> str:
        return f"{self.rule}-{self.at}-{'cut' if self.value is _CUT else getattr(self.value, '__name__', self.value)}"[
            :100
        ]


def check(document: dict[str, Any], base: str, twin: Twin) -> None:
    broken = copy.deepcopy(document)
    at = f"{base}.{twin.at}" if base else twin.at
    put(broken, at, twin.value)
    found = f"{base}.{twin.found}" if base and twin.found is not None else twin.found or at
    told = templates.problems(broken)
    assert any(one.rule == twin.rule and one.path.startswith(found) for one in told), (at, found, *map(str, told))


# the templates as they are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_template_is_in_order(document):
    assert [str(one) for one in templates.problems(document)] == []


def test_templates_fit_together():
    assert [str(one) for one in templates.problems_together(FILES)] == []


def test_there_are_pods_to_check():
    """A validator that finds no pod finds no fault either."""
    found = {
        document["metadata"]["name"]: [pod.role for pod in templates.pods_of(document)]
        for document in EVERY
        if templates.pods_of(document)
    }
    assert found == {
        "lwgan-study": ["head", "worker", "submitter"],
        "lwgan-train": ["head", "worker", "submitter"],
        "lwgan-cpu": ["head", "worker"],
        "lwgan-spot": ["head", "worker"],
        "lwgan-redis": ["service"],
    }
    assert all(list(pod.containers()) for document in EVERY for pod in templates.pods_of(document))


def test_the_kinds_of_launch_are_there():
    kinds = [(document["kind"], templates.cluster_of(document)[1]) for document in CLUSTERS]
    assert [kind for kind, _ in kinds].count("RayJob") == [kind for kind, _ in kinds].count("RayCluster") == 2
    assert any("gcsFaultToleranceOptions" in cluster for _, cluster in kinds)
    assert any(cluster.get("autoscalerOptions", {}).get("version") == "v2" for _, cluster in kinds)
    gpus = [json.dumps(cluster).count('"nvidia.com/gpu": "1"') for _, cluster in kinds]
    assert sorted(bool(count) for count in gpus) == [False, False, True, True]
    assert "NotIn" in json.dumps([cluster["headGroupSpec"] for _, cluster in kinds])


def test_the_schemas_are_those_of_the_operator():
    """The condensed file says what the schemas in shared/ say, where they lie beside the checkout."""
    folder = templates.ROOT.parent / "shared" / "schemas"
    if not folder.exists():
        pytest.skip("no shared/schemas beside this checkout")
    condensed = json.loads((Path(templates.__file__).parent / "schemas" / "kuberay-v1.json").read_text())

    def written_out(node):
        if isinstance(node, dict):
            if "$ref" in node:
                return written_out(condensed["definitions"][node["$ref"].rsplit("/", 1)[1]])
            return {key: written_out(value) for key, value in node.items()}
        return [written_out(value) for value in node] if isinstance(node, list) else node

    for kind, name in (("RayJob", "rayjob-v1.json"), ("RayCluster", "raycluster-v1.json")):
        whole = json.loads((folder / name).read_text())
        assert written_out(condensed[kind])["properties"] == whole["properties"]


# broken twins: schema -------------------------------------------------------------------------------------------------

_FREE = {"labels", "annotations", "matchLabels", "rayStartParams", "limits", "requests", "data", "selector"}
"""Sections whose keys are free (``selector``: that of a Service)."""


def at(document: Any, way: tuple[str | int, ...]) -> Any:
    for step in way:
        document = document[step]
    return document


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_typing_error_in_any_key_is_found(document):
    """Each key in turn gets a letter too many, but where keys are free."""
    twin, broken = copy.deepcopy(document), 0
    for way, node in templates.steps(document):
        if not isinstance(node, dict) or (way and way[-1] in _FREE and "matchLabels" not in node):
            continue
        place = at(twin, way)
        for key in set(node) - ({"kind"} if not way else set()):
            place[f"{key}x"] = place.pop(key)
            path = templates.path_of(*way)
            found = (one for one in templates.schema_problems(twin) if one.path == path and f"'{key}x'" in one.message)
            assert next(found, None), (path, key)
            place[key] = place.pop(f"{key}x")
            broken += 1
    assert twin == document
    assert broken >= 4


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_wrong_type_is_found(document):
    """Each number and truth value in turn becomes a text, each text and section a number."""
    twin = copy.deepcopy(document)
    for way, node in templates.steps(document):
        if way in {(), ("kind",)} or way[-1] in {"port", "targetPort"}:  # a port may have a name
            continue
        place = at(twin, way[:-1])
        place[way[-1]] = "many" if isinstance(node, bool | int) else 7.5
        path = templates.path_of(*way)
        assert next((one for one in templates.schema_problems(twin) if one.path == path), None), path
        place[way[-1]] = copy.deepcopy(node)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_an_object_that_is_not_whole_is_found(document):
    for key in document:
        twin = {name: value for name, value in document.items() if name != key}
        assert templates.problems(twin), key
    for key in ("kind", "apiVersion"):
        assert templates.problems({**document, key: "Fun"})[0].path == key


# broken twins: what the operator alone knows --------------------------------------------------------------------------


def always(spec: dict[str, Any]) -> dict[str, Any]:
    """The cluster of a job, with a head that is restarted in its pod."""
    cluster = copy.deepcopy(spec["rayClusterSpec"])
    cluster["headGroupSpec"]["template"]["spec"]["restartPolicy"] = "Always"
    return cluster


JOB_TWINS = [
    Twin("name", "metadata.name", "1-study"),
    Twin("name", "metadata.name", "Study"),
    Twin("name", "metadata.name", "s" * 48),
    Twin("ttl", "spec.shutdownAfterJobFinishes", False, "spec.ttlSecondsAfterFinished"),
    Twin("ttl", "spec.ttlSecondsAfterFinished", -1),
    Twin("backoff", "spec.backoffLimit", -1),
    Twin("backoff", "spec.submissionMode", "InteractiveMode", "spec.backoffLimit"),
    Twin("backoff", "spec.clusterSelector", {"ray.io/cluster": "other"}, "spec.backoffLimit"),
    Twin("selector", "spec.clusterSelector", {"ray.io/cluster": "other"}, "spec.rayClusterSpec"),
    Twin("selector", "spec.clusterSelector", {"cluster": "other"}),
    Twin("selector", "spec.rayClusterSpec", _CUT),
    Twin("mode", "spec.submissionMode", "K8SJobMode"),
    Twin("sidecar", "spec.submissionMode", "SidecarMode", "spec.submitterPodTemplate"),
    Twin("sidecar", "spec.submissionMode", "SidecarMode", "spec.submitterConfig"),
    Twin(
        "sidecar",
        "spec",
        lambda spec: {**spec, "submissionMode": "SidecarMode", "rayClusterSpec": always(spec)},
        "spec.rayClusterSpec.headGroupSpec.template.spec.restartPolicy",
    ),
    Twin("suspend", "spec", lambda spec: {**spec, "suspend": True, "shutdownAfterJobFinishes": False}, "spec.suspend"),
    Twin("deadline", "spec.activeDeadlineSeconds", 0),
    Twin("schema", "spec.preRunningDeadlineSeconds", -5),
    Twin("gate", "spec.deletionStrategy", {"onSuccess": {"policy": "DeleteCluster"}}),
    Twin("runtime-env", "spec.runtimeEnvYAML", "working_dir"),
    Twin("runtime-env", "spec.runtimeEnvYAML", "{working_dir: ["),
    # and what this project demands of jobs
    Twin("deadline", "spec.activeDeadlineSeconds", _CUT),
    Twin("shutdown", "spec.shutdownAfterJobFinishes", _CUT),
    Twin("submitter", "spec.submitterPodTemplate", _CUT),
    Twin("entrypoint", "spec.entrypoint", "lwgan-dist study study.yaml --storage /data"),
]
CLUSTER_TWINS = [
    Twin("token-version", "rayVersion", "2.51.0"),
    Twin("token-version", "rayVersion", _CUT),
    Twin("token-version", "rayVersion", "newest"),
    Twin("k8s-token", "authOptions.enableK8sTokenAuth", True),
    Twin("gate", "networkPolicy", {"mode": "DenyAll"}),
    Twin("gate", "tlsOptions", {"enabled": True}),
    Twin("gate", "historyServerOptions", {}),
    Twin("gate", "workerGroupSpecs[0].suspend", True),
    Twin("gate", "gcsFaultToleranceOptions", {"backend": "rocksdb"}, "gcsFaultToleranceOptions.backend"),
    Twin("gcs-ft", "gcsFaultToleranceOptions", {"redisAddress": "lwgan-redis:6379"},
         "gcsFaultToleranceOptions.redisAddress"),
    Twin("gcs-ft", "gcsFaultToleranceOptions", {"storage": {}}, "gcsFaultToleranceOptions.storage"),
    Twin("gcs-ft", "headGroupSpec.rayStartParams.redis-password", "x"),
    Twin("gcs-ft", "headGroupSpec.template.spec.containers[0].env[0].name", "RAY_REDIS_ADDRESS",
         "headGroupSpec.template.spec.containers[0].env"),
    Twin("containers", "headGroupSpec.template.spec.containers", []),
    Twin("replicas", "workerGroupSpecs[0].minReplicas", 99),
    Twin("replicas", "workerGroupSpecs[0].minReplicas", -1),
    Twin("replicas", "workerGroupSpecs[0].replicas", 99),
    Twin("resources-twice", "headGroupSpec.resources", {"CPU": "1"}),
    Twin("labels", "headGroupSpec.rayStartParams.labels", "a=b"),
    Twin("labels", "workerGroupSpecs[0].rayStartParams.labels", "a=b"),
    # and what this project demands of clusters
    Twin("token", "authOptions.mode", "disabled", "authOptions"),
    Twin("token", "authOptions.secretName", _CUT, "authOptions"),
    Twin("token", "authOptions", _CUT),
    Twin("ray-version", "rayVersion", "2.59.0"),
    Twin("cluster-ip", "headGroupSpec.serviceType", "LoadBalancer"),
    Twin("cluster-ip", "headGroupSpec.serviceType", _CUT),
    Twin("cluster-ip", "headGroupSpec.enableIngress", True, "headGroupSpec.serviceType"),
    Twin("head-cpus", "headGroupSpec.rayStartParams.num-cpus", _CUT),
    Twin("head-cpus", "headGroupSpec.rayStartParams.num-cpus", "4"),
    Twin("silent-node", "headGroupSpec.template.spec.containers[0].env[4]", _CUT,
         "headGroupSpec.template.spec.containers[0].env"),
    Twin("silent-node", "headGroupSpec.template.spec.containers[0].env[5].value", "10000",
         "headGroupSpec.template.spec.containers[0].env"),
    Twin("silent-node", "headGroupSpec.template.spec.containers[0].env[6].value", "1",
         "headGroupSpec.template.spec.containers[0].env"),
    Twin("ray-start", "headGroupSpec.rayStartParams.dashboard-hots", "0.0.0.0"),
    Twin("ray-start", "workerGroupSpecs[0].rayStartParams.num_cpus", "1"),
    Twin("object-store", "headGroupSpec.rayStartParams.object-store-memory", "99999999999"),
    Twin("object-store", "workerGroupSpecs[0].rayStartParams.object-store-memory", "1Gi"),
    Twin("drain", "workerGroupSpecs[0].template.spec.containers[0].lifecycle", _CUT),
    Twin("drain", "workerGroupSpecs[0].template.spec.containers[0].lifecycle.preStop.exec.command[2]", "sleep 45",
         "workerGroupSpecs[0].template.spec.containers[0].lifecycle"),
    Twin("grace", "workerGroupSpecs[0].template.spec.terminationGracePeriodSeconds", 45),
]  # fmt: skip
FIXED_TWINS = [  # without an autoscaler
    Twin("autoscaler", "autoscalerOptions", {"version": "v2"}),
    Twin("idle-timeout", "workerGroupSpecs[0].idleTimeoutSeconds", 60),
    Twin("priority", "workerGroupSpecs[0].priority", 5),
]
SCALED_TWINS = [
    Twin("restart", "headGroupSpec.template.spec.restartPolicy", "Always"),
    Twin("restart", "workerGroupSpecs[0].template.spec.restartPolicy", "OnFailure"),
    Twin("idle-timeout", "autoscalerOptions.idleTimeoutSeconds", -1),
    Twin("idle-timeout", "workerGroupSpecs[0].idleTimeoutSeconds", -1),
    Twin("autoscaler", "enableInTreeAutoscaling", False, "autoscalerOptions"),
    Twin("autoscaler", "autoscalerOptions.version", "v1"),
    Twin("autoscaler", "autoscalerOptions.env[0].name", "KUBERAY_GEN_AUTOSCALER_START_CMD", "autoscalerOptions.env"),
    Twin("autoscaler", "headGroupSpec.template.spec.containers[0].env[0].name", "RAY_enable_autoscaler_v2",
         "headGroupSpec.template.spec.containers[0].env"),
    Twin("api-token", "autoscalerOptions.volumeMounts[1]", _CUT, "autoscalerOptions.volumeMounts"),
    Twin("writable", "autoscalerOptions.volumeMounts[0]", _CUT, "autoscalerOptions.volumeMounts"),
    Twin("escalation", "autoscalerOptions.securityContext.allowPrivilegeEscalation", True),
    Twin("read-only", "autoscalerOptions.securityContext.readOnlyRootFilesystem", _CUT),
    Twin("capabilities", "autoscalerOptions.securityContext", _CUT),
    Twin("limits", "autoscalerOptions.resources.requests.cpu", "100m", "autoscalerOptions.resources.requests"),
]  # fmt: skip
SPOT_TWINS = [
    Twin("on-demand-head", "headGroupSpec.template.spec.affinity", _CUT),
    Twin("on-demand-head", "headGroupSpec.template.spec.tolerations", [{"key": "cloud.google.com/gke-spot"}]),
    Twin("on-demand-head", "headGroupSpec.template.spec.affinity.nodeAffinity."
         "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1]", _CUT,
         "headGroupSpec.template.spec.affinity"),
    Twin("spot", "workerGroupSpecs[0].template.spec.affinity", _CUT),
    Twin("secret", "gcsFaultToleranceOptions.redisPassword", {"value": "swordfish"},
         "gcsFaultToleranceOptions.redisPassword.value"),
]  # fmt: skip


@pytest.mark.parametrize("twin", JOB_TWINS, ids=str)
def test_broken_jobs_are_found(twin):
    jobs = [document for document in CLUSTERS if document["kind"] == "RayJob"]
    assert jobs
    for document in jobs:
        check(document, "", twin)


@pytest.mark.parametrize("twin", CLUSTER_TWINS, ids=str)
def test_broken_clusters_are_found(twin):
    assert len(CLUSTERS) == 4
    for document in CLUSTERS:
        check(document, templates.cluster_of(document)[0], twin)


@pytest.mark.parametrize("twin", FIXED_TWINS, ids=str)
def test_options_of_an_autoscaler_without_one_are_found(twin):
    fixed = [document for document in CLUSTERS if document["kind"] == "RayJob"]
    for document in fixed:
        check(document, "spec.rayClusterSpec", twin)


@pytest.mark.parametrize("twin", SCALED_TWINS, ids=str)
def test_broken_autoscaled_clusters_are_found(twin):
    scaled = [document for document in CLUSTERS if document["spec"].get("enableInTreeAutoscaling")]
    assert len(scaled) == 2
    for document in scaled:
        check(document, "spec", twin)


@pytest.mark.parametrize("twin", SPOT_TWINS, ids=str)
def test_broken_spot_clusters_are_found(twin):
    (document,) = FILES["raycluster-gpu-spot.yaml"][:1]
    check(document, "spec", twin)


def test_a_group_without_bounds_needs_an_autoscaler():
    """The schema demands both bounds too; an operator whose schema does not refuses them nevertheless."""
    group = {"minReplicas": 1, "template": {}}
    (problem,) = templates._group_problems(
        "spec.workerGroupSpecs[0]", group, scales=False, second=False, version=(2, 60)
    )
    assert str(problem) == (
        "spec.workerGroupSpecs[0]: needs minReplicas and maxReplicas where there is no autoscaler [replicas]"
    )


# broken twins: every pod ----------------------------------------------------------------------------------------------

POD_TWINS = [
    Twin("user", "spec.securityContext", _CUT),
    Twin("user", "spec.securityContext.runAsNonRoot", False, "spec.securityContext"),
    Twin("user", "spec.securityContext.runAsUser", 0, "spec.securityContext"),
    Twin("user", "spec.containers[0].securityContext.runAsUser", 0, "spec.containers[0].securityContext"),
    Twin("user", "spec.containers[0].securityContext.runAsNonRoot", _CUT, "spec.containers[0].securityContext"),
    Twin("seccomp", "spec.securityContext.seccompProfile", _CUT),
    Twin("seccomp", "spec.securityContext.seccompProfile.type", "Unconfined", "spec.securityContext.seccompProfile"),
    Twin("seccomp", "spec.containers[0].securityContext.seccompProfile", {"type": "Unconfined"}),
    Twin("api-token", "spec.automountServiceAccountToken", _CUT),
    Twin("api-token", "spec.automountServiceAccountToken", True),
    Twin("api-token", "spec.containers[0].volumeMounts[0].mountPath", "/var/run/secrets/kubernetes.io/serviceaccount",
         "spec.containers[0].volumeMounts[0]"),
    Twin("host", "spec.hostNetwork", True),
    Twin("host", "spec.hostPID", True),
    Twin("host", "spec.hostIPC", True),
    Twin("host", "spec.shareProcessNamespace", True),
    Twin("host", "spec.securityContext.sysctls", [{"name": "kernel.shm_rmid_forced", "value": "1"}]),
    Twin("host", "spec.volumes[0]", {"name": "tmp", "hostPath": {"path": "/"}}),
    Twin("host", "spec.containers[0].ports", [{"containerPort": 8265, "hostPort": 8265}]),
    Twin("grace", "spec.terminationGracePeriodSeconds", 5),
    Twin("grace", "spec.terminationGracePeriodSeconds", _CUT),
    Twin("escalation", "spec.containers[0].securityContext.privileged", True),
    Twin("escalation", "spec.containers[0].securityContext.allowPrivilegeEscalation", True),
    Twin("escalation", "spec.containers[0].securityContext.allowPrivilegeEscalation", _CUT),
    Twin("capabilities", "spec.containers[0].securityContext.capabilities", _CUT),
    Twin("capabilities", "spec.containers[0].securityContext.capabilities.drop", ["NET_RAW"],
         "spec.containers[0].securityContext.capabilities"),
    Twin("capabilities", "spec.containers[0].securityContext.capabilities.add", ["SYS_ADMIN"],
         "spec.containers[0].securityContext.capabilities"),
    Twin("read-only", "spec.containers[0].securityContext.readOnlyRootFilesystem", False),
    Twin("read-only", "spec.containers[0].securityContext.readOnlyRootFilesystem", _CUT),
    Twin("writable", "spec.containers[0].volumeMounts", _CUT),
    Twin("writable", "spec.volumes[0]", {"name": "tmp", "secret": {"secretName": "other"}},
         "spec.containers[0].volumeMounts"),
    Twin("mounts", "spec.containers[0].volumeMounts[0].name", "temp"),
    Twin("limits", "spec.volumes[0].emptyDir.sizeLimit", _CUT),
    Twin("limits", "spec.containers[0].resources", _CUT),
    Twin("limits", "spec.containers[0].resources.limits.memory", _CUT, "spec.containers[0].resources"),
    Twin("limits", "spec.containers[0].resources.requests.cpu", "1m", "spec.containers[0].resources.requests"),
    Twin("image", "spec.containers[0].image", "registry.example.com/lwgan-dist"),
    Twin("image", "spec.containers[0].image", "registry.example.com:5000/lwgan-dist"),
    Twin("image", "spec.containers[0].image", "registry.example.com/lwgan-dist:latest"),
    Twin("image", "spec.containers[0].image", _CUT),
    Twin("secret", "spec.containers[0].env[0]", {"name": "DB_PASSWORD", "value": "swordfish"},
         "spec.containers[0].env[0].value"),
    Twin("secret", "spec.containers[0].command", ["sh", "-c", "AKIAABCDEFGHIJKLMNOP"]),
    Twin("secret", "spec.containers[0].args", ["--requirepass swordfish"]),
    Twin("escalation", "spec.initContainers", [{"name": "init", "image": "busybox:1.36"}]),
]  # fmt: skip
RAY_TWINS = [  # of heads, workers and submitters
    Twin("user", "spec.securityContext.runAsUser", 1234, "spec.securityContext"),
    Twin("user", "spec.securityContext.fsGroup", _CUT, "spec.securityContext"),
    Twin("usage-stats", "spec.containers[0].env[1].value", "1", "spec.containers[0].env"),
    Twin("token", "spec.containers[0].env[2].value", "disabled", "spec.containers[0].env"),
    Twin("token", "spec.containers[0].env[3].valueFrom.secretKeyRef.key", "token", "spec.containers[0].env"),
    Twin("secret", "spec.containers[0].env[3]", {"name": "RAY_AUTH_TOKEN", "value": "x"}, "spec.containers[0].env[3]"),
    Twin("writable", "spec.containers[0].env[0].value", "/root", "spec.containers[0].volumeMounts"),
]
NODE_TWINS = [  # of heads and workers
    Twin("shared-memory", "spec.containers[0].volumeMounts[2].mountPath", "/shm", "spec.containers[0].volumeMounts"),
    Twin("shared-memory", "spec.volumes", lambda volumes: [
        {**one, "emptyDir": {"sizeLimit": "2Gi"}} if one["name"] == "shm" else one for one in volumes
    ], "spec.containers[0].volumeMounts"),
    Twin("shared-memory", "spec.containers[0].resources", {
        kind: {"cpu": "4", "memory": "3Gi", "ephemeral-storage": "9Gi"} for kind in ("limits", "requests")
    }, "spec.containers[0].resources.limits.memory"),
]  # fmt: skip


@pytest.mark.parametrize("twin", POD_TWINS + RAY_TWINS + NODE_TWINS, ids=str)
def test_broken_pods_are_found_in_every_template(twin):
    roles = {"head", "worker"} | ({"submitter"} if twin not in NODE_TWINS else set())
    roles |= {"service"} if twin in POD_TWINS else set()
    broken = 0
    for document in EVERY:
        for pod in templates.pods_of(document):
            if pod.role in roles:
                check(document, pod.path, twin)
                broken += 1
    assert broken == {4: 11, 3: 10, 2: 8}[len(roles)]


# broken twins: Kubernetes' own objects, and all together --------------------------------------------------------------

PLAIN_TWINS = {
    "ServiceAccount": [
        Twin("schema", "automountServiceAccountToken", True), Twin("schema", "automountServiceAccountToken", _CUT),
    ],
    "Namespace": [
        Twin("schema", "metadata.labels", {"pod-security": True}), Twin("schema", "metadata.labels", {"a b": "c"}),
    ],
    "PersistentVolumeClaim": [
        Twin("schema", "spec.accessModes", "ReadWriteMany"), Twin("schema", "spec.resources", _CUT, "spec"),
        Twin("schema", "spec.resources.requests.storage", "many"),
    ],
    "Service": [
        Twin("cluster-ip", "spec.type", "LoadBalancer"), Twin("cluster-ip", "spec.type", "NodePort"),
        Twin("schema", "spec.type", _CUT, "spec"), Twin("schema", "spec.ports[0].port", _CUT, "spec.ports[0]"),
    ],
    "StatefulSet": [Twin("schema", "spec.replicas", -1), Twin("schema", "spec.selector", _CUT, "spec")],
    "PodDisruptionBudget": [
        Twin("schema", "spec", {"maxUnavailable": 0, "selector": {}}), Twin("schema", "spec.selector", _CUT),
    ],
    "ConfigMap": [Twin("schema", "data", {"train.yaml": 1}), Twin("secret", "data.token", "0123456789abcdef" * 4)],
    "NetworkPolicy": [
        Twin("schema", "spec.policyTypes", ["ingress"]), Twin("schema", "spec.podSelector", _CUT, "spec"),
        Twin("schema", "spec.ingress", [{}]), Twin("schema", "spec.egress", [{"ports": [{"port": 443}]}]),
        Twin("schema", "spec.ingress", [{"from": []}]), Twin("schema", "spec.egress", [{"to": [{"ipBlock": {}}]}]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", PLAIN_TWINS)
def test_broken_objects_of_kubernetes_are_found(kind):
    documents = [document for document in EVERY if document["kind"] == kind]
    assert documents
    for document in documents:
        for twin in PLAIN_TWINS[kind]:
            check(document, "", twin)


def test_a_secret_in_a_file_is_found():
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"auth_token": "x"}}
    assert [one.rule for one in templates.our_problems(secret)] == ["secret"]
    assert [str(one) for one in templates.problems(secret)] == ["kind: no rules for objects of kind Secret [schema]"]


TOGETHER = [
    ("reference", "storage.yaml", 0, "metadata.name", "other", "claimName"),
    ("reference", "namespace.yaml", 1, "metadata.name", "other", "serviceAccountName"),
    ("reference", "rayjob-gpu-train.yaml", 0, "metadata.name", "other", "configMap.name"),
    ("reference", "raycluster-gpu-spot.yaml", 0, "spec.gcsFaultToleranceOptions.redisAddress", "redis://no:1",
     "redisAddress"),
    ("namespace", "storage.yaml", 0, "metadata.namespace", "default", "storage.yaml: metadata.namespace"),
    ("default-deny", "network-policy.yaml", 0, "spec.policyTypes", ["Ingress"], "network-policy.yaml"),
    ("default-deny", "network-policy.yaml", 0, "spec.egress", [{"to": [{"podSelector": {}}]}], "network-policy.yaml"),
    ("restricted", "namespace.yaml", 0, "metadata.labels", {}, "namespace.yaml: metadata.labels"),
    ("selected", "network-policy.yaml", 4, "spec.podSelector.matchLabels", {"app": "submiter"},
     "network-policy.yaml: spec.podSelector"),
    ("selected", "redis.yaml", 0, "spec.selector", {"app": "redis"}, "redis.yaml: spec.selector"),
    ("selected", "rayjob-cpu-study.yaml", 1, "spec.selector.matchLabels", {"app": "x"},
     "rayjob-cpu-study.yaml: spec.selector"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "file", "index", "at", "value", "found"), TOGETHER)
def test_objects_that_do_not_fit_together_are_found(rule, file, index, at, value, found):
    broken = copy.deepcopy(FILES)
    put(broken[file][index], at, value)
    told = [one for one in templates.problems_together(broken) if one.rule == rule]
    assert told, rule
    assert any(found in str(one) for one in told), [*map(str, told)]


def test_every_kind_and_every_rule_has_broken_twins():
    assert {document["kind"] for document in EVERY} == PLAIN_TWINS.keys() | {"RayJob", "RayCluster"}
    rules = set(re.findall(r'Problem\(\s*"([\w-]+)"', Path(templates.__file__).read_text()))
    twins = [JOB_TWINS, CLUSTER_TWINS, FIXED_TWINS, SCALED_TWINS, SPOT_TWINS, POD_TWINS, RAY_TWINS, NODE_TWINS]
    broken = {twin.rule for some in [*twins, *PLAIN_TWINS.values()] for twin in some} | {case[0] for case in TOGETHER}
    assert len(rules) > 40
    assert rules == broken


@pytest.mark.parametrize("text", ["a: yes\n", "a: 010\n", "a: 1\na: 2\n"])
def test_yaml_that_kubectl_reads_otherwise_is_refused(text):
    with pytest.raises(Exception, match=r"YAML 1\.1|duplicate key"):
        templates.read(text)


# what the templates start, and in which image -------------------------------------------------------------------------


def entrypoints() -> dict[str, tuple[list[str], list[dict[str, Any]]]]:
    return {
        document["metadata"]["name"]: (shlex.split(document["spec"]["entrypoint"]), of_file)
        for of_file in FILES.values()
        for document in of_file
        if document["kind"] == "RayJob"
    }


@pytest.mark.parametrize("name", entrypoints())
def test_an_entrypoint_is_a_command_of_ours_on_a_configuration_that_is_valid(name, tmp_path):
    (program, command, config, *rest), of_file = entrypoints()[name]
    context = main.commands[command].make_context(command, [config, *rest])
    assert (program, context.params["config_file"]) == ("lwgan-dist", config)
    assert context.params["storage"].startswith("/data/")
    if config.startswith("/opt/lwgan/"):
        path = templates.ROOT / Path(config).relative_to("/opt/lwgan")
    else:
        path = tmp_path / "config.yaml"
        path.write_text(next(one for one in of_file if one["kind"] == "ConfigMap")["data"][Path(config).name])
    told = read_config({"study": StudyConfig, "train": TrainConfig}[command], str(path), ())
    if command == "train":
        cluster = next(one for one in of_file if one["kind"] == "RayJob")["spec"]["rayClusterSpec"]
        (group,) = cluster["workerGroupSpecs"]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert told.execution.workers <= group["maxReplicas"] * int(limits["nvidia.com/gpu"])
        assert told.execution.cpus_per_worker <= float(limits["cpu"])


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a container file, continued lines joined, comments dropped."""
    text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def test_the_image_is_what_the_pods_suppose():
    told = instructions(CONTAINER / "Dockerfile")
    last = max(index for index, (name, _) in enumerate(told) if name == "FROM")
    final = told[last:]
    user = f"{templates.UID}:{templates.UID}"
    assert [value for name, value in final if name == "USER"] == [user]
    assert not any(name in {"RUN", "COPY", "ADD"} for name, _ in final[final.index(("USER", user)) :])
    assert ("COPY", "--from=build /opt/lwgan /opt/lwgan") in final  # by root: no --chown
    assert not any("chmod" in value or "chown" in value or "sudo" in value for _, value in told)
    assert any(f"useradd --uid {templates.UID} " in value for _, value in final)
    (environment,) = [value for name, value in final if name == "ENV"]
    (home,) = {
        one["value"]
        for pod in map(templates.pods_of, CLUSTERS)
        for one in pod[0].spec["containers"][0]["env"]
        if one["name"] == "HOME"
    }
    assert f"HOME={home} " in environment
    assert "RAY_USAGE_STATS_ENABLED=0" in environment
    assert not any(name == "ADD" for name, _ in told)


def test_the_build_is_sent_only_what_the_image_takes():
    """Git, runs and tokens that lie around stay here: all is ignored but what is copied."""
    lines = [
        line for line in (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in {"#", ""}
    ]
    assert lines[0] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = set()
    for name, value in instructions(CONTAINER / "Dockerfile"):
        if name == "COPY" and "--from" not in value:
            copied |= set(value.split()[:-1])
    assert sent == copied
    assert all((templates.ROOT / name).exists() for name in sent)


def test_the_readme_shows_code_as_a_working_dir_of_a_valid_job():
    """The block of the README is merged into the job it is shown for."""
    text = (templates.ROOT / "cluster" / "README.md").read_text()
    blocks = [YAML(typ="safe", pure=True).load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    patches = [block for block in blocks if "runtimeEnvYAML" in (block.get("spec") or {})]
    assert patches
    for patch in patches:
        job = copy.deepcopy(FILES["rayjob-cpu-study.yaml"][0])
        job["spec"] |= patch["spec"]
        assert [str(one) for one in templates.problems(job)] == []


def test_the_readme_names_every_template_and_makes_every_secret():
    text = (templates.ROOT / "cluster" / "README.md").read_text()
    assert [name for name in FILES if name not in text] == []
    secrets = {
        node["name"] for document in EVERY for path, node in templates.walk(document) if path.endswith("secretKeyRef")
    }
    secrets |= {templates.cluster_of(document)[1]["authOptions"]["secretName"] for document in CLUSTERS}
    assert secrets == {"lwgan-ray-token", "lwgan-redis"}
    for secret in secrets:
        assert f"create secret generic {secret}" in text
