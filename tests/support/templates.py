"""The templates of cluster/kubernetes and what must hold of them, checked without a cluster: `check` of all files.

Fields, types and versions are checked by kept validators: kubernetes-validate, and jsonschema with the schemas of
KubeRay's CRDs (schemas/kuberay-v1.json). What the operator alone knows, hardening, and what this project demands are
asserts here.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft7Validator
from ray.scripts.scripts import start
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster" / "kubernetes"
KUBERNETES = "1.29"
"""The oldest version that cluster/README.md names."""
UID = 10001
"""The user of cluster/container/Dockerfile."""
SPOT = {
    "cloud.google.com/gke-spot": "true", "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot", "kubernetes.azure.com/scalesetpriority": "spot",
}  # fmt: skip
"""The labels of spot nodes on GKE, EKS, under Karpenter, on AKS."""
NOT_USED = {
    # no part of a hardened pod
    "hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostPath", "hostPort", "privileged", "sysctls",
    "add", "ephemeralContainers",
    # behind a feature gate of the operator, or refused by it beside what the templates use
    "networkPolicy", "tlsOptions", "historyServerOptions", "deletionStrategy", "suspend", "clusterSelector", "priority",
    "enableK8sTokenAuth", "enableIngress",
    "maxUnavailable",  # not for pods of custom resources
    "stringData",
}  # fmt: skip
OPERATORS_VARIABLES = {
    "RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME", "KUBERAY_GEN_AUTOSCALER_START_CMD",
    "RAY_enable_autoscaler_v2",
}  # fmt: skip
START_OPTIONS = {option.removeprefix("--") for parameter in start.params for option in parameter.opts} - {
    "labels", "redis-password", "redis-username",  # which have fields of their own
}  # fmt: skip
LABEL = r"([a-z0-9.-]+/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?=([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?"
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN|eyJ[\w-]{20,}|\b[0-9a-f]{32,}\b|(--requirepass|--password[= ])\s*['\"]?[\w-]|://[^/\s:@]+:[^@\s]+@"
)
Document = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod that an object stands for."""

    role: str  # head, worker, submitter, service
    template: Document

    @property
    def spec(self) -> Document:
        return self.template["spec"]

    def containers(self) -> Iterator[Document]:
        yield from [*self.spec.get("initContainers", []), *self.spec["containers"]]


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
    match = re.fullmatch(r"([0-9.]+)(m|[kMGT]?|[KMGT]i)", str(quantity))
    assert match, f"{quantity!r} is no quantity"
    factors = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    factors |= {f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGT", start=1)}
    return float(match[1]) * factors[match[2]]


def cluster_of(document: Document) -> Document | None:
    """The specification of the Ray cluster in an object."""
    return {"RayCluster": document.get("spec"), "RayJob": document.get("spec", {}).get("rayClusterSpec")}.get(
        document["kind"]
    )


def pods_of(document: Document) -> list[Pod]:
    """Every pod of an object."""
    pods, spec = [], document.get("spec", {})
    if cluster := cluster_of(document):
        pods.append(Pod("head", cluster["headGroupSpec"]["template"]))
        pods += [Pod("worker", group["template"]) for group in cluster["workerGroupSpecs"]]
    if "submitterPodTemplate" in spec:
        pods.append(Pod("submitter", spec["submitterPodTemplate"]))
    return [*pods, Pod("service", spec["template"])] if "template" in spec else pods


def environment_of(container: Document) -> dict[str, Document]:
    return {one["name"]: one for one in container.get("env", [])}


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in an object, with its key, or that of the list in which it stands."""
    yield key, node
    for inner, value in (
        node.items() if isinstance(node, dict) else ((key, one) for one in node) if isinstance(node, list) else ()
    ):
        yield from walk(value, inner)


# schema ---------------------------------------------------------------------------------------------------------------


@cache
def kuberay() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "schemas" / "kuberay-v1.json").read_text())


def check_schema(document: Document) -> None:
    """Of an object, or of the pods and metadata in one of KubeRay's."""
    if document["apiVersion"] != "ray.io/v1":
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        return
    Draft7Validator({**kuberay()[document["kind"]], "definitions": kuberay()["definitions"]}).validate(document)
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": document["metadata"]}, KUBERNETES, strict=True
    )
    for pod in pods_of(document):
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **pod.template}, KUBERNETES, strict=True)


# our rules: an object -------------------------------------------------------------------------------------------------


def lacks(node: Any, expected: Any) -> bool:
    """Whether something of what is expected, a part of an object, is missing or has another value."""
    if isinstance(expected, dict):
        return not isinstance(node, dict) or any(lacks(node.get(key), value) for key, value in expected.items())
    return node != expected or type(node) is not type(expected)


def check_object(document: Document) -> None:
    """What holds of any object."""
    kind, spec, name = document["kind"], document.get("spec", {}), document["metadata"]["name"]
    assert kind != "Secret", "a Secret is made by a command (README), it does not lie in a file"
    assert kind == "Namespace" or document["metadata"].get("namespace") == "lwgan", "not in the namespace lwgan"
    if kind == "ServiceAccount":
        assert document.get("automountServiceAccountToken") is False, "a token of Kubernetes for every pod"
    if kind == "Service":
        assert spec.get("type") == "ClusterIP", "open to the outside"
    if kind == "PersistentVolumeClaim":
        assert spec["accessModes"] == ["ReadWriteMany"], "not for several nodes"
        bytes_of(spec["resources"]["requests"]["storage"])
    if kind == "PodDisruptionBudget":
        assert {"minAvailable", "selector"} <= spec.keys()
    if kind == "NetworkPolicy":
        rules = [
            rule.get(peers) for way, peers in (("ingress", "from"), ("egress", "to")) for rule in spec.get(way, [])
        ]
        assert all(rules), "a rule without peers means everyone"
        assert spec["policyTypes"], "a policy of no type"
    for key, node in walk(document):
        used = NOT_USED & node.keys() if isinstance(node, dict) else set()
        assert not used, f"{sorted(used)}: not in our templates"
        if key in {"labels", "matchLabels"} and isinstance(node, dict):
            assert all(re.fullmatch(LABEL, f"{label}={value}") for label, value in node.items()), f"no labels: {node}"
        if isinstance(node, dict) and "value" in node:
            named = re.search(
                r"(?i)TOKEN|PASSWORD|SECRET|CREDENTIAL|ACCESS_KEY|PRIVATE_KEY", f"{key} {node.get('name')}"
            )
            assert not named, f"{named and named[0]}: must come from a Secret"
        if isinstance(node, str) and key != "image":
            assert not SECRET.search(node), f"{key}: looks like a secret"
    if cluster := cluster_of(document):
        assert re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", name), f"{name}: no DNS-1035 label"
        assert len(name) <= {"RayCluster": 53, "RayJob": 47}[kind], f"{name}: the operator appends to it"
        check_cluster(cluster)
    if kind == "RayJob":
        check_job(spec)
    for pod in pods_of(document):
        check_pod(pod)


def check_job(spec: Document) -> None:
    """What the operator asks of a job, and we."""
    assert spec.get("submissionMode") == "K8sJobMode", "the mode that a submitter's pod belongs to"
    assert "submitterPodTemplate" in spec, "the operator's own submitter is not hardened"
    assert spec.get("shutdownAfterJobFinishes") is True, "the cluster would stay and cost; a ttl needs it"
    assert spec.get("ttlSecondsAfterFinished", 0) >= 0 <= spec.get("backoffLimit", 0)
    assert spec.get("activeDeadlineSeconds", 0) > 0, "activeDeadlineSeconds bounds what a mistake costs"
    assert isinstance(yaml.safe_load(spec.get("runtimeEnvYAML", "{}")), dict), "runtimeEnvYAML is no mapping"
    assert {"--storage", "--name"} <= set(shlex.split(spec["entrypoint"])), "it goes on where it stopped by them"


def check_cluster(cluster: Document) -> None:
    """What the operator asks of a cluster, and we."""
    head, groups, options = cluster["headGroupSpec"], cluster["workerGroupSpecs"], cluster.get("autoscalerOptions")
    assert cluster.get("rayVersion") == versions()["ray"], "rayVersion is not that of constraints.txt"
    assert not lacks(cluster.get("authOptions"), {"mode": "token"}), "no token is asked for"
    assert cluster["authOptions"].get("secretName"), "the token of a Secret of ours"
    assert head.get("serviceType") == "ClusterIP", "the head is open to the outside"
    assert head["rayStartParams"].get("num-cpus") == "0", "no runs on the head"
    assert (options is not None) == bool(cluster.get("enableInTreeAutoscaling")), "options of an autoscaler without one"
    for group in [head, *groups]:
        unknown = group["rayStartParams"].keys() - START_OPTIONS
        assert not unknown, f"`ray start` has no options {unknown}, or the operator sets them"
        assert not {"resources", "idleTimeoutSeconds"} & group.keys()
        (shm,) = (one["emptyDir"] for one in group["template"]["spec"]["volumes"] if one["name"] == "shm")
        assert int(group["rayStartParams"]["object-store-memory"]) <= bytes_of(shm["sizeLimit"]), "larger than /dev/shm"
        if options:
            assert group["template"]["spec"].get("restartPolicy") == "Never", "a node of the autoscaler v2 is a pod"
    for group in groups:
        low, high = group["minReplicas"], group["maxReplicas"]
        assert 0 <= low <= group.get("replicas", low) <= high, "replicas out of their bounds"
        check_drain(group["template"]["spec"])
    silence = {
        name: one.get("value") for name, one in environment_of(head["template"]["spec"]["containers"][0]).items()
    }
    assert gives_up_in_time(silence), "a silent node has to be given up after 10 to 20 s"
    if redis := cluster.get("gcsFaultToleranceOptions"):
        assert redis.keys() <= {"backend", "redisAddress", "redisPassword"}
        assert redis["backend"] == "redis", "rocksdb is behind a feature gate"
        assert re.fullmatch(r"rediss?://[a-z0-9.-]+:\d+", redis["redisAddress"]), "redisAddress: redis://HOST:PORT"
    if options:
        check_autoscaler(options, head["template"]["spec"])
    if "spot" in json.dumps(cluster):
        check_spot(head["template"]["spec"], [group["template"]["spec"] for group in groups])


def gives_up_in_time(environment: Mapping[str, str]) -> bool:
    """Whether a head gives up a node that has fallen silent after 10 to 20 s; Ray's default is 70."""
    period, timeout, threshold = (
        int(environment.get(f"RAY_health_check_{name}") or 0)
        for name in ("period_ms", "timeout_ms", "failure_threshold")
    )
    return 10 <= (period + timeout) * threshold / 1000 <= 20


def check_drain(spec: Document) -> None:
    """A pod that is about to go tells Ray, and has the time for a checkpoint."""
    command = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [""])[-1]
    waits = re.search(
        r"ray drain-node .*PREEMPTION .*--deadline-remaining-seconds (\d+); for .* second < (\d+); .* sleep 1; done$",
        command,
    )
    assert waits, "preStop has to drain the node and to wait: Ray is not told else"
    assert waits[1] == waits[2], "preStop waits as long as it announces"
    assert spec["terminationGracePeriodSeconds"] >= int(waits[2]) + 30, "killed within its preStop"


def check_autoscaler(options: Document, head: Document) -> None:
    """It is hardened as any container, and alone has the right to ask the API server."""
    assert options["version"] == "v2", "v1 does not drain nodes before it removes them"
    assert options.get("idleTimeoutSeconds", 0) >= 0
    assert not OPERATORS_VARIABLES & environment_of(options).keys(), "a field of the operator says it"
    volumes = {one["name"]: one for one in head["volumes"]}
    mounts = {one["mountPath"]: volumes[one["name"]] for one in options["volumeMounts"]}
    assert "serviceAccountToken" in json.dumps(mounts["/var/run/secrets/kubernetes.io/serviceaccount"]["projected"])
    assert "emptyDir" in mounts["/tmp"], "its root is read-only"
    check_container(options)


def check_spot(head: Document, workers: list[Document]) -> None:
    """Where workers are on spot nodes, the head is not."""

    def terms(spec: Document) -> list[list[Document]]:
        affinity = spec.get("affinity", {}).get("nodeAffinity", {})
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
        return [term["matchExpressions"] for term in required.get("nodeSelectorTerms", [])]

    labels = [{"key": key, "operator": "NotIn", "values": [value]} for key, value in SPOT.items()]
    assert terms(head), "the head may be on a spot node"
    assert all(label in term for term in terms(head) for label in labels), "the head may be on a spot node"
    assert "spot" not in json.dumps(head.get("tolerations", [])), "the head tolerates a spot node"
    for spec in workers:
        asked = {label["key"] for term in terms(spec) for label in term if label["operator"] == "In"}
        assert asked == SPOT.keys(), "workers ask for spot nodes by the labels of every cloud"


# our rules: a pod -----------------------------------------------------------------------------------------------------


def check_pod(pod: Pod) -> None:
    """Hardening, and what Ray needs."""
    spec, is_ray, is_node = pod.spec, pod.role != "service", pod.role in {"head", "worker"}
    user = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), UID) if is_ray else {}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **user}
    assert not lacks(spec.get("securityContext"), security), f"securityContext: not {security}"
    assert spec["securityContext"].get("runAsUser"), "root, or whoever the image wants"
    assert spec.get("automountServiceAccountToken") is False, "a token of Kubernetes"
    assert spec.get("terminationGracePeriodSeconds", 0) >= 30, "terminationGracePeriodSeconds below 30"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    kinds = {kind for volume in volumes.values() for kind in volume} - {"name"}
    assert kinds <= {"emptyDir", "persistentVolumeClaim", "projected", "configMap", "secret", "downwardAPI"}, kinds
    assert all(one["emptyDir"].get("sizeLimit") for one in volumes.values() if "emptyDir" in one), (
        "it can fill the node"
    )
    for container in pod.containers():
        check_container(container)
        assert re.fullmatch(r"[\w./-]+(:[0-9]+/)?[\w./-]*(:[\w.-]*\d[\w.-]*|@sha256:[0-9a-f]{64})", container["image"])
        mounts = {one["mountPath"]: volumes.get(one["name"]) for one in container.get("volumeMounts", [])}
        assert all(mounts.values()) or not is_ray, "a mount of no volume"
        assert not any("/secrets/" in path for path in mounts), "only the autoscaler's container has a token"
        environment = environment_of(container)
        writable = ["/tmp", environment.get("HOME", {}).get("value")] if is_ray else ["/tmp"]
        assert all("emptyDir" in (mounts.get(path) or {}) for path in writable), f"read-only, without {writable}"
        if is_ray:
            reference = {"valueFrom": {"secretKeyRef": {"key": "auth_token"}}}
            told = {
                "RAY_USAGE_STATS_ENABLED": {"value": "0"},
                "RAY_AUTH_MODE": {"value": "token"},
                "RAY_AUTH_TOKEN": reference,
            }
            assert not lacks(environment, told), f"environment: not {told}"
            assert not OPERATORS_VARIABLES & environment.keys(), "a field of the operator says it"
        if is_node:
            shm = (mounts.get("/dev/shm") or {}).get("emptyDir", {})
            assert shm.get("medium") == "Memory", "/dev/shm lies on no memory"
            assert 2 * bytes_of(shm["sizeLimit"]) <= bytes_of(container["resources"]["limits"]["memory"]), (
                "/dev/shm counts"
            )


def check_container(container: Document) -> None:
    """What holds of any container, also of the autoscaler's."""
    security = container.get("securityContext", {})
    hardened = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True}
    assert not lacks(security, {**hardened, "capabilities": {"drop": ["ALL"]}}), f"not hardened: {security}"
    assert security.keys() <= {*hardened, "capabilities"}, "takes back what holds of its pod"
    resources = container.get("resources", {})
    assert resources.get("limits", {}).keys() >= {"cpu", "memory", "ephemeral-storage"}, "without limits"
    assert resources["limits"] == resources.get("requests"), "limits are not requests"


# our rules: all together ----------------------------------------------------------------------------------------------


def check_together(documents: dict[str, list[Document]]) -> None:
    """Names that are referred to exist, what selects pods selects some, the namespace is closed."""
    every = [document for of_file in documents.values() for document in of_file]
    named = {(document["kind"], document["metadata"]["name"]) for document in every}
    named |= {("ConfigMap", "kube-root-ca.crt")}  # Kubernetes puts it into every namespace
    for key, node in (pair for document in every for pair in walk(document)):
        match key:
            case "claimName":
                assert ("PersistentVolumeClaim", node) in named, f"no PersistentVolumeClaim {node}"
            case "serviceAccountName":
                assert ("ServiceAccount", node) in named, f"no ServiceAccount {node}"
            case "configMap":
                assert ("ConfigMap", node["name"]) in named, f"no ConfigMap {node['name']}"
            case "redisAddress":
                assert ("Service", re.sub(r"^\w+://|:\d+$", "", node)) in named, f"no Service {node}"
    worn = {("ray.io/is-ray-node", "yes"), ("ray.io/node-type", "head")}  # by the operator
    worn |= {("app.kubernetes.io/name", "kuberay-operator"), ("k8s-app", "kube-dns")}
    worn |= {("kubernetes.io/metadata.name", name) for name in ("kube-system", "kuberay-system", "monitoring")}
    for pod in (pod for document in every for pod in pods_of(document)):
        worn |= set(pod.template.get("metadata", {}).get("labels", {}).items())
    for document in every:
        selectors = [node for key, node in walk(document) if key == "matchLabels"]
        selectors += [document["spec"]["selector"]] if document["kind"] == "Service" else []
        for label in {label for selector in selectors for label in selector.items()} - worn:
            raise AssertionError(f"{document['metadata']['name']}: no pod wears {label}")
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert any(document["kind"] == "NetworkPolicy" and document["spec"] == deny for document in every), (
        "no default deny"
    )
    (namespace,) = (document for document in every if document["kind"] == "Namespace")
    assert namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") == "restricted", "pods may do all"


def check(documents: dict[str, list[Document]]) -> None:
    """All of it."""
    for document in (document for of_file in documents.values() for document in of_file):
        check_schema(document)
        check_object(document)
    check_together(documents)
