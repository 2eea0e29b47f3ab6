"""A local Ray can be reached from this machine alone: what its processes listen at is the loopback."""

import ipaddress

import psutil
import pytest
import ray
from own_home import own_home
from ray._private import ray_constants

from lwgan_dist.config import ExecutionConfig
from lwgan_dist.launch.session import session

pytestmark = pytest.mark.ray


def listened_at() -> dict[str, set[str]]:
    """Addresses at which this process and those below it listen, by the name of the process."""
    found: dict[str, set[str]] = {}
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        addresses = {one.laddr.ip for one in process.net_connections("inet") if one.status == "LISTEN"}
        found.setdefault(process.name(), set()).update(addresses)
    return found


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@pytest.mark.parametrize("dashboard", [False, True])
def test_a_local_ray_listens_at_the_loopback_alone(tmp_path, monkeypatch, dashboard):
    own_home(tmp_path, monkeypatch)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with session(ExecutionConfig(), {}, dashboard=dashboard):
        ray.get(ray.remote(lambda: None).remote())  # a worker is there
        found = listened_at()
    assert any(found[name] for name in found if "raylet" in name), found
    assert {name for name, addresses in found.items() if not all(map(is_loopback, addresses))} == set(), found
    assert ray_constants.ENABLE_RAY_CLUSTER, "a cluster that is joined later is told the address of an interface"
