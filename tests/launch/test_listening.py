"""A local run can be reached from this machine alone: what its processes listen at is the loopback."""

import ipaddress
import sys
import threading

import forked
import psutil
import pytest
import ray
from own_home import own_home

from lwgan_dist.config import ExecutionConfig
from lwgan_dist.launch.session import session

pytestmark = pytest.mark.ray

TINY = """\
data: {source: manifold, name: s_curve, n: 300}
networks: {width: 4, latent_dim: 3}
score: {evaluations: 4}
schedule: {batch_size: 32, embedding_iterations: 200, embedding_rounds: 1, matching_iterations: 20,
  critic_iterations: 40, scoring_interval: 2}
execution: {cpus_per_worker: 0.5}
"""


def listening(done: threading.Event, found: set[str]) -> None:
    """Addresses at which this process and those below it listen, until it is told."""
    while not done.wait(0.1):
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                found |= {one.laddr.ip for one in process.net_connections("inet") if one.status == "LISTEN"}
            except psutil.Error:
                continue


def watched(*arguments: str) -> None:
    """The command, and on standard output at which addresses was listened meanwhile."""
    done, found = threading.Event(), set[str]()
    thread = threading.Thread(target=listening, args=(done, found))
    thread.start()
    try:
        forked.lwgan_dist(*arguments)
    finally:
        done.set()
        thread.join()
        print("listened at", *sorted(found), file=sys.__stdout__)


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@pytest.mark.parametrize("workers", [1, 2])
def test_a_local_run_listens_at_the_loopback_alone(tmp_path, monkeypatch, workers):
    own_home(tmp_path, monkeypatch)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    (tmp_path / "run.yaml").write_text(TINY)
    settings = ["--storage", str(tmp_path), "--workers", str(workers)]
    done = forked.run(watched, "train", str(tmp_path / "run.yaml"), *settings)
    assert done.returncode == 0, done.stderr
    addresses = done.stdout.rpartition("listened at")[2].split()
    assert addresses, "Ray listens somewhere"
    assert [address for address in addresses if not is_loopback(address)] == []


def test_a_cluster_that_is_joined_later_is_told_the_address_of_an_interface():
    with session(ExecutionConfig(), {}):
        assert is_loopback(ray.util.get_node_ip_address())
    from ray._private import ray_constants

    assert ray_constants.ENABLE_RAY_CLUSTER
