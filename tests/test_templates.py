"""Every template in cluster/kubernetes keeps the rules of `templates`, and faults in them are seen. The container file
makes what the templates rely on.
"""

import copy
import json
import re
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import templates
from jsonschema import ValidationError
from ruamel.yaml import YAML

from lwgan_dist.cli import main
from lwgan_dist.config import TrainConfig
from lwgan_dist.configfile import read_config
from lwgan_dist.study.config import StudyConfig

FILES = templates.files()
EVERY = [document for of_file in FILES.values() for document in of_file]
CLUSTERS = [document for document in EVERY if document["kind"] in {"RayCluster", "RayJob"}]
CONTAINER = templates.ROOT / "cluster" / "container"
CPU, SPOT, STUDY, TRAIN = (
    "raycluster-cpu.yaml",
    "raycluster-gpu-spot.yaml",
    "rayjob-cpu-study.yaml",
    "rayjob-gpu-train.yaml",
)
REFUSED = (AssertionError, ValidationError, kubernetes_validate.SchemaNotFoundError)
CUT = object()


def test_every_template_is_in_order():
    templates.check(FILES)


def test_there_are_pods_to_check():
    """A validator that sees no pod sees no fault either."""
    roles = {document["metadata"]["name"]: [pod.role for pod in templates.pods_of(document)] for document in EVERY}
    assert {name: pods for name, pods in roles.items() if pods} == {
        "lwgan-study": ["head", "worker", "submitter"],
        "lwgan-train": ["head", "worker", "submitter"],
        "lwgan-cpu": ["head", "worker"],
        "lwgan-spot": ["head", "worker"],
        "lwgan-redis": ["service"],
    }


def test_the_kinds_of_launch_are_there():
    clusters = [templates.cluster_of(document) for document in CLUSTERS]
    assert sorted(document["kind"] for document in CLUSTERS) == ["RayCluster", "RayCluster", "RayJob", "RayJob"]
    assert sum("gcsFaultToleranceOptions" in cluster for cluster in clusters) == 1
    assert sum("autoscalerOptions" in cluster for cluster in clusters) == 2
    assert sum("nvidia.com/gpu" in str(cluster) for cluster in clusters) == 2
    assert sum("NotIn" in str(cluster["headGroupSpec"]) for cluster in clusters) == 1


def test_the_schemas_are_those_of_the_operator():
    """The condensed file says what the schemas in shared/ say, where they lie beside the checkout."""
    folder = templates.ROOT.parent / "shared" / "schemas"
    if not folder.exists():
        pytest.skip("no shared/schemas beside this checkout")
    condensed = templates.kuberay()

    def written_out(node):
        if isinstance(node, dict):
            if "$ref" in node:
                return written_out(condensed["definitions"][node["$ref"].rsplit("/", 1)[1]])
            return {key: written_out(value) for key, value in node.items()}
        return [written_out(value) for value in node] if isinstance(node, list) else node

    for kind, name in (("RayJob", "rayjob-v1.json"), ("RayCluster", "raycluster-v1.json")):
        whole = json.loads((folder / name).read_text())
        assert written_out(condensed[kind])["properties"] == whole["properties"]


# faults ---------------------------------------------------------------------------------------------------------------


def broken(file: str, index: int, path: str, value: Any) -> dict[str, list[dict[str, Any]]]:
    """All templates, with another value, or none, at a path in one object; sections on the way are made."""
    documents = copy.deepcopy(FILES)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(" ")]
    place = documents[file][index]
    for step in way:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    if value is CUT:
        del place[last]
    else:
        place[last] = value
    return documents


POD = "spec headGroupSpec template spec"
RAY = f"{POD} containers 0"
WORKER = "spec workerGroupSpecs 0"
JOB_WORKER = "spec rayClusterSpec workerGroupSpecs 0 template spec"
SUBMITTER = "spec submitterPodTemplate spec"
FAULTS = [  # file, object in it, place, value, what is said
    # for the validators: version, field, type, missing field
    (STUDY, 0, "apiVersion", "ray.io/v2", "ray.io/v2"),
    (STUDY, 1, "apiVersion", "policy/v1beta1", "policy/v1beta1"),
    (SPOT, 0, "spec headGroupSpec rayStartParam", {}, "rayStartParam"),
    (CPU, 0, f"{RAY} imagePullPolicyy", "Always", "imagePullPolicyy"),
    ("redis.yaml", 1, "spec template spec containers 0 volumeMount", [], "volumeMount"),
    ("redis.yaml", 1, "spec replicas", "one", "one"),
    (TRAIN, 1, "spec backoffLimit", "2", "integer"),
    (CPU, 0, f"{RAY} ports 0 containerPort", CUT, "containerPort"),
    (CPU, 0, "metadata nmae", "x", "nmae"),
    # for the operator
    (STUDY, 0, "metadata name", "1-study", "DNS-1035"),
    (STUDY, 0, "metadata name", "s" * 48, "appends"),
    (STUDY, 0, "spec shutdownAfterJobFinishes", CUT, "would stay"),
    (STUDY, 0, "spec activeDeadlineSeconds", 0, "bounds"),
    (STUDY, 0, "spec runtimeEnvYAML", "working_dir", "no mapping"),
    (STUDY, 0, "spec suspend", True, "suspend"),
    (STUDY, 0, "spec rayClusterSpec autoscalerOptions", {"version": "v2"}, "without one"),
    (CPU, 0, "spec rayVersion", "2.51.0", "constraints"),
    (CPU, 0, f"{WORKER} minReplicas", 99, "bounds"),
    (CPU, 0, f"{POD} restartPolicy", "Always", "autoscaler v2"),
    (CPU, 0, "spec autoscalerOptions version", "v1", "drain"),
    (CPU, 0, f"{WORKER} template spec containers 0 env 4 name", "RAY_REDIS_ADDRESS", "operator says it"),
    (CPU, 0, "spec autoscalerOptions env 0 name", "KUBERAY_GEN_AUTOSCALER_START_CMD", "operator says it"),
    (SPOT, 0, "spec gcsFaultToleranceOptions redisAddress", "lwgan-redis:6379", "redis://HOST:PORT"),
    (SPOT, 0, "spec headGroupSpec rayStartParams redis-password", "x", "redis-password"),
    # hardening
    (CPU, 0, f"{POD} securityContext runAsNonRoot", False, "securityContext"),
    (CPU, 0, f"{POD} securityContext seccompProfile type", "Unconfined", "securityContext"),
    (STUDY, 0, f"{SUBMITTER} securityContext fsGroup", CUT, "securityContext"),
    ("redis.yaml", 1, "spec template spec securityContext runAsUser", 0, "root"),
    (STUDY, 0, f"{SUBMITTER} automountServiceAccountToken", True, "token of Kubernetes"),
    (CPU, 0, f"{POD} hostNetwork", True, "hostNetwork"),
    (CPU, 0, f"{POD} volumes 0", {"name": "tmp", "hostPath": {"path": "/"}}, "hostPath"),
    (CPU, 0, f"{POD} volumes 0 emptyDir sizeLimit", CUT, "fill the node"),
    (CPU, 0, f"{RAY} securityContext allowPrivilegeEscalation", CUT, "hardened"),
    (CPU, 0, f"{RAY} securityContext readOnlyRootFilesystem", False, "hardened"),
    (CPU, 0, f"{RAY} securityContext capabilities drop", ["NET_RAW"], "hardened"),
    (CPU, 0, f"{RAY} securityContext capabilities add", ["SYS_ADMIN"], "add"),
    (CPU, 0, f"{RAY} securityContext runAsUser", 0, "takes back"),
    (CPU, 0, "spec autoscalerOptions securityContext", CUT, "hardened"),
    (CPU, 0, f"{RAY} resources limits memory", CUT, "limits"),
    (CPU, 0, f"{RAY} resources requests cpu", "1m", "limits are not requests"),
    (CPU, 0, f"{RAY} volumeMounts 0 name", "temp", "no volume"),
    (CPU, 0, f"{RAY} volumeMounts 0 mountPath", "/var/run/secrets/x", "only the autoscaler"),
    (CPU, 0, f"{RAY} volumeMounts 0 mountPath", "/temp", "read-only, without"),
    (STUDY, 0, f"{JOB_WORKER} terminationGracePeriodSeconds", 45, "preStop"),
    ("namespace.yaml", 1, "automountServiceAccountToken", True, "every pod"),
    # what this project demands
    (CPU, 0, "spec authOptions mode", "disabled", "token"),
    (CPU, 0, "spec authOptions secretName", CUT, "Secret"),
    (STUDY, 0, f"{SUBMITTER} containers 0 env 1 value", "1", "USAGE_STATS"),
    (CPU, 0, "spec headGroupSpec serviceType", "LoadBalancer", "open to the outside"),
    ("redis.yaml", 0, "spec type", "NodePort", "open to the outside"),
    (CPU, 0, "spec headGroupSpec rayStartParams num-cpus", "4", "no runs on the head"),
    (CPU, 0, "spec headGroupSpec rayStartParams dashboard-hots", "0.0.0.0", "dashboard-hots"),
    (CPU, 0, f"{WORKER} rayStartParams object-store-memory", "99999999999", "/dev/shm"),
    (CPU, 0, f"{RAY} env 5 value", "10000", "silent node"),
    (CPU, 0, f"{RAY} image", "registry.example.com:5000/lwgan-dist", ""),
    (CPU, 0, f"{RAY} image", "registry.example.com/lwgan-dist:latest", ""),
    (CPU, 0, f"{WORKER} template spec containers 0 lifecycle", CUT, "drain"),
    (CPU, 0, f"{POD} volumes 3 emptyDir medium", CUT, "on no memory"),
    (STUDY, 0, "spec submitterPodTemplate", CUT, "not hardened"),
    (STUDY, 0, "spec entrypoint", "lwgan-dist study study.yaml --storage /data", "goes on"),
    (SPOT, 0, f"{POD} affinity", CUT, "may be on a spot node"),
    (SPOT, 0, f"{POD} tolerations", [{"key": "cloud.google.com/gke-spot"}], "tolerates"),
    (SPOT, 0, f"{WORKER} template spec affinity", CUT, "every cloud"),
    (SPOT, 0, "spec gcsFaultToleranceOptions redisPassword", {"value": "swordfish"}, "Secret"),
    (CPU, 0, f"{RAY} command", ["sh", "-c", "AKIAABCDEFGHIJKLMNOP"], "secret"),
    (TRAIN, 0, "data token", "0123456789abcdef" * 4, "secret"),
    ("storage.yaml", 0, "spec accessModes", ["ReadWriteOnce"], "several nodes"),
    ("storage.yaml", 0, "spec resources requests storage", "many", "no quantity"),
    ("namespace.yaml", 0, "metadata labels x", "a b", "no labels"),
    ("network-policy.yaml", 2, "spec ingress", [{"ports": [{"port": 80}]}], "everyone"),
    # together
    (CPU, 1, "spec selector matchLabels", {"app": "x"}, "no pod wears"),
    ("redis.yaml", 1, "spec template metadata labels", {}, "no pod wears"),
    ("network-policy.yaml", 4, "spec podSelector matchLabels", {"app": "submiter"}, "no pod wears"),
    ("storage.yaml", 0, "metadata name", "other", "no PersistentVolumeClaim"),
    ("namespace.yaml", 1, "metadata name", "other", "no ServiceAccount"),
    (TRAIN, 0, "metadata name", "other", "no ConfigMap"),
    (SPOT, 0, "spec gcsFaultToleranceOptions redisAddress", "redis://no:1", "no Service"),
    ("storage.yaml", 0, "metadata namespace", "default", "namespace"),
    ("network-policy.yaml", 0, "spec policyTypes", ["Ingress"], "default deny"),
    ("namespace.yaml", 0, "metadata labels", {}, "pods may do all"),
]  # fmt: skip


def check_one(documents: dict[str, list[dict[str, Any]]], document: dict[str, Any]) -> None:
    templates.check_schema(document)
    templates.check_object(document)
    templates.check_together(documents)


@pytest.mark.parametrize(("file", "index", "path", "value", "says"), FAULTS)
def test_faults_are_seen(file, index, path, value, says):
    documents = broken(file, index, path, value)
    with pytest.raises(REFUSED) as refusal:
        check_one(documents, documents[file][index])
    assert re.search(says, getattr(refusal.value, "message", str(refusal.value)))


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
    context = main.commands[command].make_context(command, [config, *rest], help_option_names=["-h", "--help"])
    assert (program, context.params["config_file"]) == ("lwgan-dist", config)
    assert context.params["storage"].startswith("/data/")
    if config.startswith("/opt/lwgan/"):
        path = templates.ROOT / Path(config).relative_to("/opt/lwgan")
    else:
        path = tmp_path / "config.yaml"
        path.write_text(next(one for one in of_file if one["kind"] == "ConfigMap")["data"][Path(config).name])
    told = read_config({"study": StudyConfig, "train": TrainConfig}[command], str(path), ())
    if command == "train":
        (group,) = next(one for one in of_file if one["kind"] == "RayJob")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert told.execution.workers <= group["maxReplicas"] * int(limits["nvidia.com/gpu"])
        assert told.execution.cpus_per_worker <= float(limits["cpu"])


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a container file, continued lines joined, comments dropped."""
    text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def test_the_image_is_what_the_pods_suppose():
    lines = instructions(CONTAINER / "Dockerfile")
    last = max(index for index, (name, _) in enumerate(lines) if name == "FROM")
    final = lines[last:]
    user = f"{templates.UID}:{templates.UID}"
    assert [value for name, value in final if name == "USER"] == [user]
    assert not any(name in {"RUN", "COPY", "ADD"} for name, _ in final[final.index(("USER", user)) :])
    assert ("COPY", "--from=build /opt/lwgan /opt/lwgan") in final  # by root: no --chown
    assert not any("chmod" in value or "chown" in value or "sudo" in value for _, value in lines)
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
    assert not any(name == "ADD" for name, _ in lines)


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
        templates.check_schema(job)
        templates.check_object(job)


def test_the_readme_names_every_template_and_makes_every_secret():
    text = (templates.ROOT / "cluster" / "README.md").read_text()
    assert [name for name in FILES if name not in text] == []
    nodes = [(key, node) for document in EVERY for key, node in templates.walk(document)]
    secrets = {node["name"] for key, node in nodes if key == "secretKeyRef"}
    secrets |= {node for key, node in nodes if key == "secretName"}
    assert secrets == {"lwgan-ray-token", "lwgan-redis"}
    for secret in secrets:
        assert f"create secret generic {secret}" in text
