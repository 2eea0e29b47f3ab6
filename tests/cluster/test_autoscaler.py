"""A cluster that begins without a place for any worker: what may find place waits and asks, where an autoscaler looks,
for what it needs. The autoscaler is a stand-in that adds what is asked for: Ray's fake cloud is not in its wheel.
"""

import json

import nodes
import pytest
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # Ray drops processes it has killed
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SETTINGS = [
    "data.n=300", "networks.width=4", "networks.latent_dim=3", "score.evaluations=4", "schedule.batch_size=32",
    "schedule.embedding_iterations=100", "schedule.embedding_rounds=1",
    "schedule.matching_iterations=20", "schedule.critic_iterations=40",
    "schedule.scoring_interval=2", "precision=float32",
]  # fmt: skip


def command(config, cluster, tmp_path, *changes):
    return ["train", config, *SETTINGS, *changes, "--storage", tmp_path, "--name", "run", "--address", cluster.address]


def wanted(cluster):
    """Groups of workers that wait, as an autoscaler is told of them."""
    reply = autoscaler_pb2.GetClusterStatusReply()
    reply.ParseFromString(GcsClient(address=cluster.address).get_cluster_status())
    gangs = reply.cluster_resource_state.pending_gang_resource_requests
    return [[dict(request.resources_bundle) for request in gang.requests] for gang in gangs]


def test_without_nodes_that_join_it_ends(config, cluster, tmp_path):
    done = nodes.run(command(config, cluster, tmp_path, "execution.workers=1", "execution.start_timeout_seconds=5"))
    assert done.returncode == 5, done.stderr
    assert "no more nodes have joined within 5 s" in done.stderr
    assert "Traceback" not in done.stderr
    nodes.wait_for(lambda: wanted(cluster) == [], what="the request is withdrawn")


def test_two_workers_find_place_on_nodes_that_are_added(config, cluster, tmp_path):
    process = nodes.start([*command(config, cluster, tmp_path, "execution.workers=2")], tmp_path / "log")
    asked = nodes.wait_for(lambda: wanted(cluster), what="a request")
    assert asked == [[{"CPU": 1.0}, {"CPU": 1.0}]]
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    assert process.wait(timeout=400) == 0, (tmp_path / "log").read_text()[-3000:]
    assert "waiting for more nodes" in (tmp_path / "log").read_text()
    assert json.loads((tmp_path / "run" / "result.json").read_text())["workers"] == 2
    assert wanted(cluster) == []
