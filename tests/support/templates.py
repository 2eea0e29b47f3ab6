"""What must hold of Kubernetes templates, checked without a cluster: `problems` of one object, `problems_together` of
all.

Four sorts of rules: the schema of the object (of KubeRay's own resources from the operator's CRDs, in
schemas/kuberay-v1.json; of Kubernetes' from the parts of them that occur in there, stricter than the API server); what
the operator alone knows and tells only after an object was accepted; hardening of every pod that an object stands for;
what this project demands.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster" / "kubernetes"
Document = dict[str, Any]

SPOT_LABELS = {
    "cloud.google.com/gke-spot": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""The labels of spot nodes on GKE, EKS, under Karpenter, on AKS."""
UID = 10001
"""The user of cluster/container/Dockerfile."""


@dataclass(frozen=True)
class Problem:
    rule: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'top level'}: {self.message} [{self.rule}]"


@dataclass(frozen=True)
class Pod:
    """A pod that an object stands for."""

    role: str  # head, worker, submitter, service
    path: str  # of the template, in the object
    template: Document

    @property
    def spec(self) -> Document:
        return self.template.get("spec") or {}

    def containers(self) -> Iterator[tuple[str, Document]]:
        for kind in ("initContainers", "containers", "ephemeralContainers"):
            for index, container in enumerate(self.spec.get(kind) or []):
                yield f"{self.path}.spec.{kind}[{index}]", container


# reading --------------------------------------------------------------------------------------------------------------


def read(text: str) -> list[Document]:
    """The objects of a file: no key twice, and nothing that YAML 1.1, which kubectl reads, takes for something else
    (``yes``, ``010``). Anchors are written out.
    """
    strict = list(YAML(typ="safe", pure=True).load_all(text))
    loose = list(yaml.safe_load_all(text))
    if strict != loose:
        raise ValueError(f"means another thing in YAML 1.1: {strict} / {loose}")
    return json.loads(json.dumps(strict))


def files() -> dict[str, list[Document]]:
    """All templates, by the name of their file."""
    return {path.name: read(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}


def versions() -> dict[str, str]:
    """The pinned version of every package."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def bytes_of(quantity: str) -> float:
    """A quantity of Kubernetes as a number: ``2Gi``, ``500m``, ``4``."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(quantity)).groups()
    factors = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    factors |= {f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGT", start=1)}
    return float(number) * factors[unit]


def cluster_of(document: Document) -> tuple[str, Document] | None:
    """The path and specification of the Ray cluster in an object."""
    spec = document.get("spec") or {}
    if document.get("kind") == "RayCluster":
        return "spec", spec
    if document.get("kind") == "RayJob" and spec.get("rayClusterSpec") is not None:
        return "spec.rayClusterSpec", spec["rayClusterSpec"]
    return None


def groups_of(path: str, cluster: Document) -> Iterator[tuple[str, Document]]:
    for index, group in enumerate(cluster.get("workerGroupSpecs") or []):
        yield f"{path}.workerGroupSpecs[{index}]", group


def pods_of(document: Document) -> list[Pod]:
    """Every pod template of an object."""
    found, spec = [], document.get("spec") or {}
    if here := cluster_of(document):
        path, cluster = here
        head = cluster.get("headGroupSpec") or {}
        found.append(Pod("head", f"{path}.headGroupSpec.template", head.get("template") or {}))
        for where, group in groups_of(path, cluster):
            found.append(Pod("worker", f"{where}.template", group.get("template") or {}))
    if "submitterPodTemplate" in spec:
        found.append(Pod("submitter", "spec.submitterPodTemplate", spec["submitterPodTemplate"]))
    if document.get("kind") in {"StatefulSet", "Deployment", "DaemonSet", "Job"}:
        found.append(Pod("service", "spec.template", spec.get("template") or {}))
    return found


def path_of(*steps: str | int) -> str:
    """``spec.containers[0].name``"""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def steps(node: Any, *way: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Everything in an object, with the keys and indices that lead to it."""
    yield way, node
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, value in inside:
        yield from steps(value, *way, step)


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Everything in an object, with its path."""
    for way, value in steps(node):
        yield path_of(*way), value


# schema ---------------------------------------------------------------------------------------------------------------

_LABELS = {
    "type": "object",
    "propertyNames": {"pattern": r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"},
    "additionalProperties": {"type": "string", "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"},
}
_ANNOTATIONS = {**_LABELS, "additionalProperties": {"type": "string"}}


def _strict(properties: Document, required: list[str]) -> Document:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@cache
def _validators() -> dict[str, Draft7Validator]:
    """A validator for every kind of object that there is among the templates; another kind needs its rules here."""
    kuberay = json.loads((Path(__file__).parent / "schemas" / "kuberay-v1.json").read_text())
    defined = kuberay["definitions"]
    text, whole = {"type": "string"}, {"type": "integer", "minimum": 0}
    metadata = {"name": text, "namespace": text, "labels": _LABELS, "annotations": _ANNOTATIONS}
    defined["metadata"] = _strict(metadata, [])  # of pod templates and claims
    rule = {"type": "array", "minItems": 1}
    ports = defined["ports7"] | {"minItems": 1}
    peers = defined["to"] | {"minItems": 1}
    kinds = {
        "Namespace": ("v1", {}, []),
        "ServiceAccount": ("v1", {"automountServiceAccountToken": {"const": False}}, ["automountServiceAccountToken"]),
        "ConfigMap": ("v1", {"data": {"type": "object", "additionalProperties": text}}, ["data"]),
        "PersistentVolumeClaim": (
            "v1",
            {"spec": defined["spec2"] | {"required": ["accessModes", "resources"]}},
            ["spec"],
        ),
        "Service": ("v1", {"spec": defined["spec3"] | {"required": ["type", "selector", "ports"]}}, ["spec"]),
        "StatefulSet": (
            "apps/v1",
            {
                "spec": _strict(
                    {
                        "replicas": whole,
                        "serviceName": text,
                        "selector": {"$ref": "#/definitions/labelSelector"},
                        "template": {"$ref": "#/definitions/template"},
                        "volumeClaimTemplates": rule | {"items": {"$ref": "#/definitions/volumeClaimTemplate"}},
                    },
                    ["serviceName", "selector", "template"],
                )
            },
            ["spec"],
        ),
        "PodDisruptionBudget": (
            "policy/v1",
            # no maxUnavailable: it is not for pods of custom resources
            {
                "spec": _strict(
                    {"minAvailable": whole, "selector": {"$ref": "#/definitions/labelSelector"}},
                    ["minAvailable", "selector"],
                )
            },
            ["spec"],
        ),
        "NetworkPolicy": (
            "networking.k8s.io/v1",
            {
                "spec": _strict(
                    {
                        "podSelector": {"$ref": "#/definitions/labelSelector"},
                        "policyTypes": rule | {"items": {"enum": ["Ingress", "Egress"]}},
                        # a rule without peers or without ports would mean all of them
                        "ingress": rule | {"items": _strict({"from": peers, "ports": ports}, ["from"])},
                        "egress": rule | {"items": _strict({"to": peers, "ports": ports}, ["to"])},
                    },
                    ["podSelector", "policyTypes"],
                )
            },
            ["spec"],
        ),
        "RayCluster": ("ray.io/v1", {"spec": kuberay["RayCluster"]["properties"]["spec"]}, ["spec"]),
        "RayJob": ("ray.io/v1", {"spec": kuberay["RayJob"]["properties"]["spec"]}, ["spec"]),
    }
    top = _strict(metadata, ["name"])
    return {
        kind: Draft7Validator(
            {
                **_strict(
                    {"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": top, **properties},
                    ["apiVersion", "kind", "metadata", *required],
                ),
                "definitions": defined,
            }
        )
        for kind, (version, properties, required) in kinds.items()
    }


def schema_problems(document: Document) -> Iterator[Problem]:
    kind = document.get("kind")
    if kind not in _validators():
        yield Problem("schema", "kind", f"no rules for objects of kind {kind}")
        return
    for error in _validators()[kind].iter_errors(document):
        missing = re.match(r"'(.*)' is a required property", error.message)
        yield Problem(
            "schema", path_of(*error.absolute_path, *(missing.groups() if missing else ())), error.message[:300]
        )


# what only the operator knows -----------------------------------------------------------------------------------------

_LONGEST = {"RayCluster": 53, "RayJob": 47}
"""The operator appends to names: a longer one would be cut, and its Service not be found."""
_GATED = {
    "networkPolicy": "RayClusterNetworkPolicy", "tlsOptions": "RayClusterMTLS",
    "historyServerOptions": "RayClusterHistoryServer",
}  # fmt: skip


def operator_problems(document: Document) -> Iterator[Problem]:
    kind, spec = document["kind"], document["spec"]
    name = document["metadata"]["name"]
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield Problem("name", "metadata.name", f"{name!r} is no DNS-1035 label: a-z, 0-9, -, beginning with a letter")
    if len(name) > _LONGEST[kind]:
        yield Problem("name", "metadata.name", f"has {len(name)} characters, at most {_LONGEST[kind]} are taken")
    if kind == "RayJob":
        yield from _job_problems(spec)
    if here := cluster_of(document):
        yield from _cluster_problems(*here, in_job=kind == "RayJob")


def _job_problems(spec: Document) -> Iterator[Problem]:
    ends, selects = spec.get("shutdownAfterJobFinishes", False), bool(spec.get("clusterSelector"))
    mode, retries = spec.get("submissionMode", "K8sJobMode"), spec.get("backoffLimit", 0)
    if mode not in {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"}:
        yield Problem("mode", "spec.submissionMode", f"there is no mode {mode}")
    if spec.get("ttlSecondsAfterFinished", 0) < 0:
        yield Problem("ttl", "spec.ttlSecondsAfterFinished", "must be >= 0")
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not ends:
        yield Problem("ttl", "spec.ttlSecondsAfterFinished", "needs shutdownAfterJobFinishes: true")
    if spec.get("suspend") and (not ends or selects):
        yield Problem("suspend", "spec.suspend", "needs shutdownAfterJobFinishes: true and no clusterSelector")
    if "deletionStrategy" in spec:
        yield Problem("gate", "spec.deletionStrategy", "needs the feature gate RayJobDeletionPolicy")
    if selects == ("rayClusterSpec" in spec):
        yield Problem("selector", "spec.rayClusterSpec", "one of rayClusterSpec and clusterSelector must be there")
    if selects and not spec["clusterSelector"].get("ray.io/cluster"):
        yield Problem("selector", "spec.clusterSelector", "must name a cluster by ray.io/cluster")
    if retries < 0:
        yield Problem("backoff", "spec.backoffLimit", "must be >= 0")
    if retries > 0 and (selects or mode == "InteractiveMode"):
        yield Problem("backoff", "spec.backoffLimit", "not with clusterSelector or InteractiveMode")
    for deadline in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(deadline, 1) <= 0:
            yield Problem("deadline", f"spec.{deadline}", "must be > 0")
    if mode == "SidecarMode":
        for field in ("submitterPodTemplate", "submitterConfig", "clusterSelector"):
            if field in spec:
                yield Problem("sidecar", f"spec.{field}", "not with SidecarMode")
        head = spec.get("rayClusterSpec", {}).get("headGroupSpec", {}).get("template", {}).get("spec", {})
        if head.get("restartPolicy", "Never") != "Never":
            path = "spec.rayClusterSpec.headGroupSpec.template.spec.restartPolicy"
            yield Problem("sidecar", path, "must be Never with SidecarMode")
    try:
        told = yaml.safe_load(spec.get("runtimeEnvYAML", "{}"))
        if not isinstance(told, dict):
            yield Problem("runtime-env", "spec.runtimeEnvYAML", "must be a mapping")
    except yaml.YAMLError as error:
        yield Problem("runtime-env", "spec.runtimeEnvYAML", f"is no YAML: {error}")


def _cluster_problems(path: str, cluster: Document, in_job: bool) -> Iterator[Problem]:
    head = cluster["headGroupSpec"]
    options = cluster.get("autoscalerOptions") or {}
    scales = cluster.get("enableInTreeAutoscaling", False)
    second = scales and options.get("version") == "v2"
    numbers = [int(part) for part in re.findall(r"\d+", str(cluster.get("rayVersion", "")))[:2]]
    version = tuple(numbers) if len(numbers) == 2 else (0, 0)
    for gated, gate in _GATED.items():
        if gated in cluster:
            yield Problem("gate", f"{path}.{gated}", f"needs the feature gate {gate}")
    yield from _auth_problems(path, cluster.get("authOptions") or {}, version, in_job)
    yield from _fault_tolerance_problems(path, cluster)
    if options and not scales:
        yield Problem("autoscaler", f"{path}.autoscalerOptions", "does nothing without enableInTreeAutoscaling: true")
    if options.get("idleTimeoutSeconds", 0) < 0:
        yield Problem("idle-timeout", f"{path}.autoscalerOptions.idleTimeoutSeconds", "must be >= 0")
    if any(one["name"] == "KUBERAY_GEN_AUTOSCALER_START_CMD" for one in options.get("env") or []):
        yield Problem(
            "autoscaler", f"{path}.autoscalerOptions.env", "KUBERAY_GEN_AUTOSCALER_START_CMD is the operator's"
        )
    groups = [(f"{path}.headGroupSpec", head), *groups_of(path, cluster)]
    for where, group in groups:
        template, params = group["template"].get("spec") or {}, group.get("rayStartParams") or {}
        if not template.get("containers"):
            yield Problem("containers", f"{where}.template.spec.containers", "must hold Ray's container")
            continue
        if second and template.get("restartPolicy", "Never") != "Never":
            yield Problem("restart", f"{where}.template.spec.restartPolicy", "must be Never with the autoscaler v2")
        if group.get("resources") and params.keys() & {"num-cpus", "num-gpus", "memory", "resources"}:
            yield Problem("resources-twice", f"{where}.resources", "not beside resources in rayStartParams")
        if "labels" in params:
            yield Problem("labels", f"{where}.rayStartParams.labels", "belongs into the field labels of the group")
        if any(one["name"] == "RAY_enable_autoscaler_v2" for one in template["containers"][0].get("env") or []):
            yield Problem("autoscaler", f"{where}.template.spec.containers[0].env", "autoscalerOptions.version says it")
    for where, group in groups_of(path, cluster):
        yield from _group_problems(where, group, scales, second, version)


def _auth_problems(path: str, auth: Document, version: tuple[int, ...], in_job: bool) -> Iterator[Problem]:
    token, by_kubernetes = auth.get("mode") == "token", auth.get("enableK8sTokenAuth", False)
    if token and version < (2, 52):
        yield Problem("token-version", f"{path}.rayVersion", "authOptions.mode token needs 2.52 or newer")
    if by_kubernetes and (in_job or not token or auth.get("secretName") or version < (2, 55)):
        yield Problem(
            "k8s-token", f"{path}.authOptions.enableK8sTokenAuth", "needs a RayCluster, mode token, no secret"
        )


def _fault_tolerance_problems(path: str, cluster: Document) -> Iterator[Problem]:
    options = cluster.get("gcsFaultToleranceOptions")
    head = cluster["headGroupSpec"]
    containers = head["template"].get("spec", {}).get("containers") or [{}]
    names = {one["name"] for one in containers[0].get("env") or []}
    params = head.get("rayStartParams") or {}
    here = f"{path}.headGroupSpec"
    for name in sorted(names & {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME"}):
        yield Problem("gcs-ft", f"{here}.template.spec.containers[0].env", f"{name}: gcsFaultToleranceOptions says it")
    for name in sorted(params.keys() & {"redis-password", "redis-username"}):
        yield Problem("gcs-ft", f"{here}.rayStartParams.{name}", "gcsFaultToleranceOptions says it")
    if options is None:
        return
    where = f"{path}.gcsFaultToleranceOptions"
    if options.get("backend", "redis") != "redis":
        yield Problem("gate", f"{where}.backend", "rocksdb is alpha: needs GCSFaultToleranceEmbeddedStorage")
        return
    if "storage" in options:
        yield Problem("gcs-ft", f"{where}.storage", "is rocksdb's, not redis'")
    if not re.fullmatch(r"rediss?://[a-z0-9.-]+:\d+", options.get("redisAddress", "")):
        yield Problem("gcs-ft", f"{where}.redisAddress", "must be redis://HOST:PORT")


def _group_problems(
    where: str, group: Document, scales: bool, second: bool, version: tuple[int, ...]
) -> Iterator[Problem]:
    low, high = group.get("minReplicas"), group.get("maxReplicas")
    if not scales and (low is None or high is None):
        yield Problem("replicas", where, "needs minReplicas and maxReplicas where there is no autoscaler")
    low, high = low or 0, 2**31 - 1 if high is None else high
    if not 0 <= low <= high:
        yield Problem("replicas", f"{where}.minReplicas", f"0 <= minReplicas <= maxReplicas must hold ({low}, {high})")
    elif not low <= group.get("replicas", low) <= high:
        yield Problem("replicas", f"{where}.replicas", f"must lie in {low} .. {high}")
    if "idleTimeoutSeconds" in group and (not second or group["idleTimeoutSeconds"] < 0):
        yield Problem("idle-timeout", f"{where}.idleTimeoutSeconds", "needs the autoscaler v2, and >= 0")
    if group.get("priority", 0) != 0 and (not second or version < (2, 56)):
        yield Problem("priority", f"{where}.priority", "needs the autoscaler v2 and Ray 2.56")
    if group.get("suspend"):
        yield Problem("gate", f"{where}.suspend", "needs the feature gate RayJobDeletionPolicy")


# hardening of every pod -----------------------------------------------------------------------------------------------


def pod_problems(pod: Pod) -> Iterator[Problem]:
    spec, path = pod.spec, f"{pod.path}.spec"
    security = spec.get("securityContext") or {}
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield Problem(
            "user", f"{path}.securityContext", "runAsNonRoot: true and a runAsUser other than 0 must be there"
        )
    elif pod.role != "service" and any(security.get(who) != UID for who in ("runAsUser", "runAsGroup", "fsGroup")):
        yield Problem(
            "user", f"{path}.securityContext", f"runAsUser, runAsGroup, fsGroup must be {UID}, as in the image"
        )
    if (security.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield Problem("seccomp", f"{path}.securityContext.seccompProfile", "type: RuntimeDefault must be there")
    if security.get("sysctls"):
        yield Problem("host", f"{path}.securityContext.sysctls", "not for pods")
    if spec.get("automountServiceAccountToken") is not False:
        yield Problem("api-token", f"{path}.automountServiceAccountToken", "must be false")
    for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(field):
            yield Problem("host", f"{path}.{field}", "must not be set")
    for index, volume in enumerate(spec.get("volumes") or []):
        allowed = {"emptyDir", "persistentVolumeClaim", "projected", "configMap", "secret", "downwardAPI"}
        if not volume.keys() - {"name"} <= allowed:
            yield Problem(
                "host", f"{path}.volumes[{index}]", f"{sorted(volume.keys() - {'name'})}: not in a hardened pod"
            )
        if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
            yield Problem(
                "limits", f"{path}.volumes[{index}].emptyDir.sizeLimit", "must be there: it can fill the node"
            )
    if not spec.get("terminationGracePeriodSeconds", 0) >= 30:
        yield Problem("grace", f"{path}.terminationGracePeriodSeconds", "must be at least 30")
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
    for where, container in pod.containers():
        yield from container_problems(where, container)
        yield from _mount_problems(where, container, volumes, pod.role)


def container_problems(path: str, container: Document) -> Iterator[Problem]:
    """What holds of any container, also of the autoscaler's."""
    security = container.get("securityContext") or {}
    here = f"{path}.securityContext"
    if security.get("privileged"):
        yield Problem("escalation", f"{here}.privileged", "must not be set")
    if security.get("allowPrivilegeEscalation") is not False:
        yield Problem("escalation", f"{here}.allowPrivilegeEscalation", "must be false")
    if security.get("readOnlyRootFilesystem") is not True:
        yield Problem("read-only", f"{here}.readOnlyRootFilesystem", "must be true")
    capabilities = security.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield Problem("capabilities", f"{here}.capabilities", "drop: [ALL] must be there, and no add")
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
        yield Problem("user", here, "runAsNonRoot: true must be there")
    if (security.get("seccompProfile") or {"type": "RuntimeDefault"}).get("type") != "RuntimeDefault":
        yield Problem("seccomp", f"{here}.seccompProfile", "must be RuntimeDefault")
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if not limits.keys() >= {"cpu", "memory", "ephemeral-storage"}:
        yield Problem("limits", f"{path}.resources.limits", "must hold cpu, memory and ephemeral-storage")
    if limits != requests:
        yield Problem("limits", f"{path}.resources.requests", "must equal the limits")
    for index, port in enumerate(container.get("ports") or []):
        if "hostPort" in port:
            yield Problem("host", f"{path}.ports[{index}].hostPort", "must not be set")


def _mount_problems(path: str, container: Document, volumes: Document, role: str) -> Iterator[Problem]:
    mounted: Document = {}
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount["name"] not in volumes and not (role == "service" and mount["name"] == "data"):
            yield Problem("mounts", f"{path}.volumeMounts[{index}].name", f"the pod has no volume {mount['name']}")
        mounted[mount["mountPath"]] = volumes.get(mount["name"], {})
        if mount["mountPath"].startswith("/var/run/secrets"):
            yield Problem("api-token", f"{path}.volumeMounts[{index}]", "only the autoscaler's container gets a token")
    home = environment_of(container).get("HOME", {}).get("value")
    for needed in ["/tmp"] + ([home or "$HOME"] if role != "service" else []):
        if "emptyDir" not in mounted.get(needed, {}):
            yield Problem(
                "writable", f"{path}.volumeMounts", f"an emptyDir must be mounted at {needed}: the root is read-only"
            )
    if role not in {"head", "worker"}:
        return
    shared = mounted.get("/dev/shm", {}).get("emptyDir") or {}
    memory = (container.get("resources") or {}).get("limits", {}).get("memory", "0")
    if shared.get("medium") != "Memory" or not shared.get("sizeLimit"):
        yield Problem("shared-memory", f"{path}.volumeMounts", "a memory emptyDir of limited size must be at /dev/shm")
    elif bytes_of(shared["sizeLimit"]) > bytes_of(memory) / 2:
        yield Problem(
            "shared-memory", f"{path}.resources.limits.memory", "/dev/shm counts in it: must be twice its size"
        )


def environment_of(container: Document) -> dict[str, Document]:
    return {one["name"]: one for one in container.get("env") or []}


# what this project demands --------------------------------------------------------------------------------------------


def our_problems(document: Document) -> Iterator[Problem]:
    yield from _secret_problems(document)
    for pod in pods_of(document):
        for where, container in pod.containers():
            if not re.fullmatch(
                r"[\w./-]+(:[0-9]+)?[\w./-]*(:[\w.-]*\d[\w.-]*|@sha256:[0-9a-f]{64})", container.get("image", "")
            ):
                yield Problem("image", f"{where}.image", "must be pinned by a tag with a version, or by digest")
            if pod.role != "service":
                yield from _ray_environment_problems(where, container)
    if document.get("kind") == "RayJob":
        spec = document["spec"]
        if spec.get("submissionMode", "K8sJobMode") == "K8sJobMode" and "submitterPodTemplate" not in spec:
            yield Problem("submitter", "spec.submitterPodTemplate", "must be there: the operator's own is not hardened")
        if not spec.get("shutdownAfterJobFinishes"):
            yield Problem("shutdown", "spec.shutdownAfterJobFinishes", "must be true: the cluster would stay and cost")
        if "activeDeadlineSeconds" not in spec:
            yield Problem("deadline", "spec.activeDeadlineSeconds", "must bound what a mistake costs")
        words = shlex.split(spec.get("entrypoint", ""))
        if not {"--storage", "--name"} <= set(words):
            yield Problem(
                "entrypoint", "spec.entrypoint", "needs --storage and --name: it goes on where it stopped by them"
            )
    if document.get("kind") == "Service" and document["spec"].get("type") != "ClusterIP":
        yield Problem("cluster-ip", "spec.type", "must be ClusterIP")
    if here := cluster_of(document):
        yield from _our_cluster_problems(*here)


def _ray_environment_problems(where: str, container: Document) -> Iterator[Problem]:
    told = environment_of(container)
    if told.get("RAY_USAGE_STATS_ENABLED", {}).get("value") != "0":
        yield Problem("usage-stats", f"{where}.env", 'RAY_USAGE_STATS_ENABLED must be "0"')
    reference = told.get("RAY_AUTH_TOKEN", {}).get("valueFrom", {}).get("secretKeyRef", {})
    if told.get("RAY_AUTH_MODE", {}).get("value") != "token" or reference.get("key") != "auth_token":
        yield Problem("token", f"{where}.env", "RAY_AUTH_MODE: token and RAY_AUTH_TOKEN from a Secret must be there")


_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|SECRET|CREDENTIAL|ACCESS_KEY|PRIVATE_KEY", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN|eyJ[\w-]{20,}|\b[0-9a-f]{32,}\b|(--requirepass|--password[= ])\s*['\"]?[\w-]|://[^/\s:@]+:[^@\s]+@"
)


def _secret_problems(document: Document) -> Iterator[Problem]:
    """No secret stands in a template; it is referred to."""
    if document.get("kind") == "Secret":
        yield Problem("secret", "kind", "a Secret is made by a command (README), it does not lie in a file")
    for path, node in walk(document):
        if (
            isinstance(node, dict)
            and isinstance(node.get("name"), str)
            and _SECRET_NAME.search(node["name"])
            and "value" in node
        ):
            yield Problem("secret", f"{path}.value", f"{node['name']} must come from a Secret: valueFrom.secretKeyRef")
        if path.endswith(("redisPassword.value", "redisUsername.value")):
            yield Problem("secret", path, "must come from a Secret: valueFrom.secretKeyRef")
        if isinstance(node, str) and not re.search(r"image$", path) and _SECRET_TEXT.search(node):
            yield Problem("secret", path, "looks like a secret")


@cache
def _start_options() -> frozenset[str]:
    from ray.scripts.scripts import start

    return frozenset(option.removeprefix("--") for parameter in start.params for option in parameter.opts)


def _our_cluster_problems(path: str, cluster: Document) -> Iterator[Problem]:
    auth, head = cluster.get("authOptions") or {}, cluster["headGroupSpec"]
    if auth.get("mode") != "token" or not auth.get("secretName"):
        yield Problem("token", f"{path}.authOptions", "mode: token and a secretName must be there")
    if cluster.get("rayVersion") != versions()["ray"]:
        yield Problem("ray-version", f"{path}.rayVersion", f"must be {versions()['ray']}, as in constraints.txt")
    if head.get("serviceType") != "ClusterIP" or head.get("enableIngress"):
        yield Problem("cluster-ip", f"{path}.headGroupSpec.serviceType", "must be ClusterIP, without ingress")
    if (head.get("rayStartParams") or {}).get("num-cpus") != "0":
        yield Problem("head-cpus", f"{path}.headGroupSpec.rayStartParams.num-cpus", 'must be "0": no runs on the head')
    yield from _silence_problems(path, head)
    for where, group in [(f"{path}.headGroupSpec", head), *groups_of(path, cluster)]:
        for name in sorted((group.get("rayStartParams") or {}).keys() - _start_options()):
            yield Problem("ray-start", f"{where}.rayStartParams.{name}", "`ray start` has no such option")
        yield from _object_store_problems(where, group)
    if cluster.get("enableInTreeAutoscaling"):
        yield from _autoscaler_problems(path, cluster)
    yield from _spot_problems(path, cluster)
    for where, group in groups_of(path, cluster):
        yield from _drain_problems(f"{where}.template.spec", group["template"].get("spec") or {})


def silence_problem(environment: Mapping[str, str]) -> str | None:
    """What is wrong with how long a head waits for a node that has fallen silent."""
    try:
        period, timeout, threshold = (
            int(environment[f"RAY_health_check_{name}"]) for name in ("period_ms", "timeout_ms", "failure_threshold")
        )
        seconds = (period + timeout) * threshold / 1000
    except (KeyError, ValueError):
        seconds = None  # as long as Ray likes
    if seconds is not None and 10 <= seconds <= 20:
        return None
    return "RAY_health_check_*: a silent node has to be given up after 10 to 20 s"


def _silence_problems(path: str, head: Document) -> Iterator[Problem]:
    for i, container in enumerate(head["template"].get("spec", {}).get("containers") or []):
        told = {name: str(one.get("value")) for name, one in environment_of(container).items()}
        if wrong := silence_problem(told):
            yield Problem("silent-node", f"{path}.headGroupSpec.template.spec.containers[{i}].env", wrong)


def _object_store_problems(where: str, group: Document) -> Iterator[Problem]:
    size = (group.get("rayStartParams") or {}).get("object-store-memory")
    volumes = (group["template"].get("spec") or {}).get("volumes") or []
    shared = [one["emptyDir"].get("sizeLimit", "0") for one in volumes if (one.get("emptyDir") or {}).get("medium")]
    if size is None or not size.isdigit() or not shared or int(size) > bytes_of(shared[0]):
        yield Problem(
            "object-store",
            f"{where}.rayStartParams.object-store-memory",
            "must be there, in bytes, and fit into /dev/shm",
        )


def _autoscaler_problems(path: str, cluster: Document) -> Iterator[Problem]:
    """The autoscaler's container is hardened as any other, and alone has the right to ask the API server."""
    options, where = cluster.get("autoscalerOptions") or {}, f"{path}.autoscalerOptions"
    if options.get("version") != "v2":
        yield Problem("autoscaler", f"{where}.version", "must be v2: it drains nodes before it removes them")
    yield from container_problems(where, options)
    volumes = {one["name"]: one for one in cluster["headGroupSpec"]["template"].get("spec", {}).get("volumes") or []}
    mounts = {one["mountPath"]: volumes.get(one["name"]) or {} for one in options.get("volumeMounts") or []}
    token = mounts.get("/var/run/secrets/kubernetes.io/serviceaccount", {}).get("projected")
    if token is None or not any("serviceAccountToken" in source for source in token["sources"]):
        yield Problem(
            "api-token", f"{where}.volumeMounts", "the autoscaler needs a projected token of the head's account"
        )
    if "emptyDir" not in mounts.get("/tmp", {}):
        yield Problem("writable", f"{where}.volumeMounts", "an emptyDir must be mounted at /tmp: the root is read-only")


def _expressions(spec: Document) -> list[list[Document]]:
    required = (
        (spec.get("affinity") or {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    )
    return [term.get("matchExpressions") or [] for term in (required or {}).get("nodeSelectorTerms") or []]


def _spot_problems(path: str, cluster: Document) -> Iterator[Problem]:
    """Where workers are on spot nodes, the head is not."""
    on_spot = False
    for where, group in groups_of(path, cluster):
        spec = group["template"].get("spec") or {}
        tolerates = any("spot" in one.get("value", "") + one.get("key", "") for one in spec.get("tolerations") or [])
        asked = {one["key"] for term in _expressions(spec) for one in term if one["operator"] == "In"}
        on_spot = on_spot or tolerates or bool(asked & SPOT_LABELS.keys())
        if (tolerates or asked & SPOT_LABELS.keys()) and asked != SPOT_LABELS.keys():
            yield Problem(
                "spot", f"{where}.template.spec.affinity", f"must ask for spot by each of {sorted(SPOT_LABELS)}"
            )
    if not on_spot:
        return
    spec, here = cluster["headGroupSpec"]["template"].get("spec") or {}, f"{path}.headGroupSpec.template.spec"
    terms = _expressions(spec)
    told = [{one["key"]: one["values"] for one in term if one["operator"] == "NotIn"} for term in terms]
    if not terms or any(term.get(key) != [value] for term in told for key, value in SPOT_LABELS.items()):
        yield Problem("on-demand-head", f"{here}.affinity", f"must be NotIn for each of {sorted(SPOT_LABELS)}")
    if any("spot" in one.get("value", "") + one.get("key", "") for one in spec.get("tolerations") or []):
        yield Problem("on-demand-head", f"{here}.tolerations", "a head tolerates no spot node")


def _drain_problems(path: str, spec: Document) -> Iterator[Problem]:
    """A pod that is about to go tells Ray, and is given the time for a checkpoint."""
    command = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command") or [""]
    waits = re.search(r"--deadline-remaining-seconds (\d+); for .* second < (\d+); .* sleep 1; done$", command[-1])
    if waits is None or "ray drain-node" not in command[-1] or "DRAIN_NODE_REASON_PREEMPTION" not in command[-1]:
        yield Problem(
            "drain", f"{path}.containers[0].lifecycle.preStop", "must drain the node and wait: Ray is not told else"
        )
    elif spec.get("terminationGracePeriodSeconds", 0) < int(waits[2]) + 30 or waits[1] != waits[2]:
        yield Problem(
            "grace", f"{path}.terminationGracePeriodSeconds", f"must be 30 more than the {waits[2]} s of preStop"
        )


# all together ---------------------------------------------------------------------------------------------------------


def problems(document: Document) -> list[Problem]:
    """What is wrong with one object. What rests on its shape is looked at only where the schema finds it in order."""
    found = list(schema_problems(document))
    if found:
        return found
    checks: list[Callable[[Document], Iterator[Problem]]] = [our_problems]
    if document["kind"] in _LONGEST:
        checks.append(operator_problems)
    found = [problem for check in checks for problem in check(document)]
    return found + [problem for pod in pods_of(document) for problem in pod_problems(pod)]


def problems_together(documents: dict[str, list[Document]]) -> list[Problem]:
    """What is wrong between objects: names that nothing has, ports that stay closed, a namespace that is open."""
    found: list[Problem] = []
    every = [(file, document) for file, of_file in documents.items() for document in of_file]
    have = {(document["kind"], document["metadata"]["name"]) for _, document in every}
    have |= {("ConfigMap", "kube-root-ca.crt")}  # Kubernetes puts it into every namespace
    refers = {"claimName": "PersistentVolumeClaim", "serviceAccountName": "ServiceAccount"}
    for file, document in every:
        for path, node in walk(document):
            key = path.rsplit(".", 1)[-1]
            if key in refers and (refers[key], node) not in have:
                found.append(Problem("reference", f"{file}: {path}", f"no template makes the {refers[key]} {node}"))
            if key == "configMap" and ("ConfigMap", node["name"]) not in have:
                found.append(
                    Problem("reference", f"{file}: {path}.name", f"no template makes the ConfigMap {node['name']}")
                )
            if key == "redisAddress" and ("Service", re.sub(r"^\w+://|:\d+$", "", node)) not in have:
                found.append(Problem("reference", f"{file}: {path}", f"no template makes a Service for {node}"))
        if document["kind"] != "Namespace" and document["metadata"].get("namespace") != "lwgan":
            found.append(Problem("namespace", f"{file}: metadata.namespace", "must be lwgan"))
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if not any(document["kind"] == "NetworkPolicy" and document["spec"] == deny for _, document in every):
        found.append(Problem("default-deny", "network-policy.yaml", "a policy that denies all must be there"))
    levels = [document["metadata"].get("labels", {}) for _, document in every if document["kind"] == "Namespace"]
    if [level.get("pod-security.kubernetes.io/enforce") for level in levels] != ["restricted"]:
        found.append(
            Problem("restricted", "namespace.yaml: metadata.labels", "pod security must be enforced: restricted")
        )
    return found + _policy_problems(every)


def _policy_problems(every: list[tuple[str, Document]]) -> list[Problem]:
    """Every label that something selects by is worn by a pod: a selector with a typing error selects nothing."""
    worn = {("ray.io/is-ray-node", "yes"), ("ray.io/node-type", "head")}  # by the operator
    worn |= {("app.kubernetes.io/name", "kuberay-operator"), ("k8s-app", "kube-dns")}
    for _, document in every:
        for pod in pods_of(document):
            worn |= set((pod.template.get("metadata") or {}).get("labels", {}).items())
    found = []
    for file, document in every:
        if document["kind"] not in {"NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"}:
            continue
        for path, node in walk(document):
            parts = path.split(".")
            of_pods = parts[-1] == "matchLabels" and parts[-2] != "namespaceSelector"
            if (of_pods or path == "spec.selector") and isinstance(node, dict) and "matchLabels" not in node:
                for label in set(node.items()) - worn:
                    found.append(Problem("selected", f"{file}: {path}", f"no pod wears {label[0]}: {label[1]}"))
    return found
