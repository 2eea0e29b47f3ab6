"""A cluster that begins without a place for any worker and whose autoscaler adds nodes: what may find place there waits
until it does, and says so; what never will is refused at once.
"""

import json
import subprocess

import pytest
from network import needs_root, network
from tiny_study import config as study_config

from lwgan_dist.configfile import to_yaml

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900), needs_root]

HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
"""The id that Ray's fake cloud gives to the head."""

CLOUD = {
    "cluster_name": "fake",
    "max_workers": 2,
    "provider": {"type": "fake_multinode", "launch_multiple": True, "head_node_id": HEAD},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "small": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "idle_timeout_minutes": 5,
    "auth": {},
    "head_node": {},
    "worker_nodes": {},
}
SETTINGS = [
    "data.n=300", "networks.width=4", "networks.latent_dim=3", "score.evaluations=4", "schedule.batch_size=32",
    "schedule.embedding_iterations=100", "schedule.matching_iterations=20", "schedule.critic_iterations=40",
    "schedule.scoring_interval=2", "precision=float32",
]  # fmt: skip


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    file = tmp_path_factory.mktemp("cloud") / "cloud.json"
    file.write_text(json.dumps(CLOUD))
    environment = {
        "RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD, "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }  # fmt: skip
    with network(f"--autoscaling-config={file}", **environment) as net:
        yield net


def command(net, *arguments):
    with net.command(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        told = process.communicate(timeout=400)
    return process.returncode, *told


def train(net, tmp_path, *changes):
    file = tmp_path / "run.yaml"
    file.write_text("data: {source: manifold, name: s_curve}\n")
    return command(net, "train", file, *SETTINGS, *changes, "--storage", tmp_path, "--name", "run", "--address",
                   net.address, "--json")  # fmt: skip


@pytest.mark.parametrize(
    ("change", "arithmetic"),
    [
        ("execution.workers=3", "2 nodes small: 1 CPU hold 1 of CPU 1"),
        ("execution.cpus_per_worker=2", "2 nodes small: 1 CPU hold 0 of CPU 2"),
    ],
)
def test_what_never_finds_place_is_refused_at_once(cloud, tmp_path, change, arithmetic):
    code, _, told = train(cloud, tmp_path, "execution.workers=1", change)
    assert code == 5, told
    assert "the autoscaler may add too little" in told
    assert arithmetic in told
    assert set(cloud.alive()) == {cloud.head.address}, "nothing was started for it"


def test_two_workers_find_place_on_nodes_that_are_added(cloud, tmp_path):
    code, out, told = train(cloud, tmp_path, "execution.workers=2")
    assert code == 0, told
    assert "waiting for the autoscaler" in told
    assert json.loads(out)["workers"] == 2


def test_so_do_the_runs_of_a_study(cloud, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(to_yaml(study_config({"execution.workers": 1})))
    code, out, told = command(
        cloud, "study", file, "--storage", tmp_path, "--name", "study", "--address", cloud.address, "--json"
    )
    assert code == 0, told
    assert json.loads(out)["unfinished"] == {}
