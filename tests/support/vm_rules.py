"""What a `ray up` template has to fulfil: what Ray's own validator asks, offline, and what only we ask."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray.autoscaler._private.util import prepare_config, validate_config
from templates import silence_problem

REPOSITORY = Path(__file__).parents[2]
TOKEN = "RAY_AUTH_MODE=token"
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN|aws_credentials|gcp_credentials|\b[0-9a-f]{64}\b|RAY_AUTH_TOKEN=|(?i:password|secret)\w*\s*[:=]"
)
MOST_IDLE_MINUTES = 60


def problems(template: dict[str, Any], text: str) -> list[str]:
    """What is wrong with a template, given as it was read and as it stands in its file; nothing if it is right."""
    try:
        validate_config(prepare_config(copy.deepcopy(template)))
    except Exception as error:  # noqa: BLE001  # jsonschema's, click's and Ray's own, all of them a refusal
        return [f"Ray refuses it: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}"]
    return [*_nodes(template), *_access(template, text), *_software(template)]


def _nodes(template: dict[str, Any]) -> Iterator[str]:
    types = template["available_node_types"]
    head = types[template["head_node_type"]]
    if _is_spot(head["node_config"]):
        yield "the head is a spot node: with it goes the cluster"
    if head["resources"].get("CPU") != 0 or head["resources"].get("GPU"):
        yield "the head offers CPUs or GPUs: resources has to be {CPU: 0}"
    workers = {name: told for name, told in types.items() if name != template["head_node_type"]}
    if not workers:
        yield "there are no workers"
    for name, told in workers.items():
        if not _is_spot(told["node_config"]):
            yield f"{name} is no spot node"
        if not told["resources"].get("CPU"):
            yield f"{name} offers no CPU"
    if not 0 < template.get("idle_timeout_minutes", 0) <= MOST_IDLE_MINUTES:
        yield f"idle_timeout_minutes has to be between 1 and {MOST_IDLE_MINUTES}: idle nodes cost"
    if template["provider"].get("cache_stopped_nodes", True):
        yield "cache_stopped_nodes: stopped nodes keep their disks, which cost"


def _is_spot(node: dict[str, Any]) -> bool:
    """AWS, or Google Cloud."""
    scheduling = node.get("scheduling", {})
    market = node.get("InstanceMarketOptions", {}).get("MarketType")
    return market == "spot" or (isinstance(scheduling, dict) and scheduling.get("provisioningModel") == "SPOT")


def _access(template: dict[str, Any], text: str) -> Iterator[str]:
    user = template["auth"].get("ssh_user")
    if user in (None, "root"):
        yield "auth.ssh_user has to name an ordinary user"
    if template["file_mounts"].get(f"/home/{user}/.ray/auth_token", "") != "~/.ray/lwgan-token":
        yield f"file_mounts: /home/{user}/.ray/auth_token is not the token ~/.ray/lwgan-token"
    for kind in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [command for command in template[kind] if "ray start" in command]
        if not starts or any(TOKEN not in command.partition("ray start")[0] for command in starts):
            yield f"{kind}: Ray is started without RAY_AUTH_MODE=token"
    for command in template["head_start_ray_commands"]:
        if "--head" in command and "--dashboard-host=127.0.0.1" not in command:
            yield "head_start_ray_commands: the dashboard has to listen at 127.0.0.1 only"
        told = dict(re.findall(r"\b(RAY_health_check_\w+)=(\d+)", command.partition("ray start")[0]))
        if "--head" in command and (wrong := silence_problem(told)):
            yield f"head_start_ray_commands: {wrong}"
    for rule in template["provider"].get("security_group", {}).get("IpPermissions", []):
        if (rule.get("FromPort"), rule.get("ToPort")) != (22, 22):
            yield f"security_group opens ports {rule.get('FromPort')} to {rule.get('ToPort')}: nothing but ssh"
    if template.get("docker"):
        yield "docker: the commands are for the machine itself"
    found = SECRETS.search(text)
    if found:
        yield f"a secret stands in it: {found[0][:4]}..."


def _software(template: dict[str, Any]) -> Iterator[str]:
    mounts = template["file_mounts"]
    for remote, local in mounts.items():
        if local.startswith("~"):
            continue
        if not (REPOSITORY / local).exists():
            yield f"file_mounts: there is no {local}"
        if not remote.endswith(f"/lwgan-dist/{local}"):
            yield f"file_mounts: {local} goes to {remote}"
    for needed in ("lwgan_dist", "pyproject.toml", "constraints.txt", "cluster/vm/setup.sh"):
        if needed not in mounts.values():
            yield f"file_mounts: {needed} is missing"
    if template["setup_commands"] != ["bash ~/lwgan-dist/cluster/vm/setup.sh"]:
        yield "setup_commands: not cluster/vm/setup.sh, which installs the versions of constraints.txt"
    for command in [*template.get("head_setup_commands", []), *template.get("worker_setup_commands", [])]:
        yield from pins(command)


def pins(commands: str) -> Iterator[str]:
    """Each ``pip install`` that may install any version: neither constraints.txt nor ``==``."""
    for told in re.findall(r"pip install ([^\n;&]+)", commands):
        words = [word for word in told.split() if not word.startswith("-")]
        if "--constraint" not in told and '"${torch[@]}"' not in told and not all("==" in word for word in words):
            yield f"pip install {told}: versions are not pinned"
        for version in re.findall(r"\bray(?:\[[^\]]*\])?\s*==\s*([\w.]+)", told):
            if version != ray_version():
                yield f"ray {version} is not that of constraints.txt, {ray_version()}"


def ray_version() -> str:
    """That of constraints.txt."""
    found = re.search(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]
