"""What a `ray up` template has to fulfil: Ray's own validator, offline, and what this project demands."""

import copy
import re
from pathlib import Path
from typing import Any

from ray.autoscaler._private.util import prepare_config, validate_config
from templates import SECRET, gives_up_in_time, versions

REPOSITORY = Path(__file__).parents[2]
TOKEN = "RAY_AUTH_MODE=token"


def check(template: dict[str, Any], text: str) -> None:
    """A template, given as it was read and as it stands in its file."""
    validate_config(prepare_config(copy.deepcopy(template)))
    types = dict(template["available_node_types"])
    head = types.pop(template["head_node_type"])
    assert not is_spot(head["node_config"]), "the head is a spot node: with it goes the cluster"
    assert head["resources"] == {"CPU": 0}, "the head offers CPUs or GPUs"
    assert types, "no workers"
    assert all(is_spot(one["node_config"]) and one["resources"].get("CPU") for one in types.values()), "dear or idle"
    assert 0 < template.get("idle_timeout_minutes", 0) <= 60, "idle nodes cost"
    assert template["provider"].get("cache_stopped_nodes") is False, "the disks of stopped nodes cost"
    assert not template.get("docker"), "the commands are for the machine itself"
    check_access(template, text)
    mounts = {local: remote for remote, local in template["file_mounts"].items() if not local.startswith("~")}
    assert {"lwgan_dist", "pyproject.toml", "constraints.txt", "cluster/vm/setup.sh"} <= mounts.keys(), "not sent"
    for local, remote in mounts.items():
        assert (REPOSITORY / local).exists(), f"no {local}"
        assert remote.endswith(f"/lwgan-dist/{local}"), f"{local} goes to {remote}"
    assert template["setup_commands"] == ["bash ~/lwgan-dist/cluster/vm/setup.sh"], "not by constraints.txt"
    check_pins("\n".join([*template.get("head_setup_commands", []), *template.get("worker_setup_commands", [])]))


def is_spot(node: dict[str, Any]) -> bool:
    """AWS, or Google Cloud."""
    market = node.get("InstanceMarketOptions", {}).get("MarketType")
    return market == "spot" or node.get("scheduling", {}).get("provisioningModel") == "SPOT"


def check_access(template: dict[str, Any], text: str) -> None:
    """Who reaches the nodes: ssh, and whoever has the token."""
    user = template["auth"].get("ssh_user")
    assert user not in (None, "root"), "ssh_user: an ordinary user"
    assert template["file_mounts"].get(f"/home/{user}/.ray/auth_token") == "~/.ray/lwgan-token", "not our token"
    for kind in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [command.split("ray start") for command in template[kind] if "ray start" in command]
        assert starts, f"{kind}: no ray start"
        assert all(TOKEN in before for before, *_ in starts), f"{kind}: without a token"
    before, start = next(one.split("ray start") for one in template["head_start_ray_commands"] if "--head" in one)
    assert "--dashboard-host=127.0.0.1" in start, "the dashboard is open"
    assert gives_up_in_time(dict(re.findall(r"\b(RAY_health_check_\w+)=(\d+)", before))), "a silent node"
    for rule in template["provider"].get("security_group", {}).get("IpPermissions", []):
        assert (rule.get("FromPort"), rule.get("ToPort")) == (22, 22), "nothing but ssh is open"
    secret = SECRET.search(text) or re.search(
        r"(aws|gcp)_credentials|RAY_AUTH_TOKEN=|(?i:password|secret)\w*\s*[:=]", text
    )
    assert not secret, "a secret stands in it"


def check_pins(commands: str) -> None:
    """Every ``pip install`` takes versions from constraints.txt or names them, Ray's being that of constraints.txt."""
    for arguments in re.findall(r"pip install ([^\n;&]+)", commands):
        words = [word for word in arguments.split() if not word.startswith("-")]
        pinned = "--constraint" in arguments or '"${torch[@]}"' in arguments or all("==" in word for word in words)
        assert pinned, f"pip install {arguments}: versions are not pinned"
        other = set(re.findall(r"\bray(?:\[[^\]]*\])?\s*==\s*([\w.]+)", arguments)) - {versions()["ray"]}
        assert not other, f"ray {other} is not that of constraints.txt"
