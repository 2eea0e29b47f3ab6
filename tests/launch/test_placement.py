"""What finds place, what may, what never will; without Ray, whose answers are written down here."""

from types import SimpleNamespace

import pytest
from ray.core.generated import autoscaler_pb2

from lwgan_dist.config import ExecutionConfig, WorkerRange
from lwgan_dist.errors import ClusterError
from lwgan_dist.launch import placement


def node(cpus, *, alive=True, **others):
    return {"Alive": alive, "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": cpus, **others}}


class Ray:
    """A cluster: nodes that join one a second, an autoscaler, placement groups."""

    def __init__(self, monkeypatch):
        self.present, self.joining, self.groups, self.free = [], [], {}, {}
        self.refuses, self.asked = None, []
        self.now = 0.0
        monkeypatch.setattr(placement.ray, "nodes", lambda: self.present)
        monkeypatch.setattr(placement.ray, "available_resources", lambda: self.free)
        monkeypatch.setattr(placement.ray.util, "placement_group_table", lambda: self.groups)
        monkeypatch.setattr(
            placement.ray.util, "placement_group", lambda bundles: self.asked.append(bundles) or "group"
        )
        monkeypatch.setattr(placement.ray.util, "remove_placement_group", lambda group: self.asked.append(group))
        monkeypatch.setattr(placement, "autoscaler_refuses", lambda _execution: self.refuses)
        monkeypatch.setattr(placement, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep))

    def _sleep(self, seconds):
        self.now += seconds
        if self.joining:
            self.present.append(self.joining.pop(0))


@pytest.fixture
def ray(monkeypatch):
    return Ray(monkeypatch)


TWO = ExecutionConfig(workers=2, cpus_per_worker=2)


def test_places_are_counted_on_live_nodes_by_the_scarcest_resource(ray):
    ray.present = [node(5), node(8, alive=False), node(8, GPU=1)]
    assert placement.slots(TWO) == 2 + 4
    assert placement.slots(ExecutionConfig(use_gpu=True)) == 1
    assert placement.slots(ExecutionConfig(cpus_per_worker=0.1)) == 50 + 80


def test_there_is_place(ray, caplog):
    ray.present = [node(2), node(2)]
    placement.await_places(TWO, 2, joined=True)
    placement.await_places(TWO, 2, joined=False)
    assert caplog.records == []


def test_a_session_of_our_own_does_not_grow(ray):
    ray.present = [node(3)]
    with pytest.raises(ClusterError, match=r"2 workers with 2 CPU .* place for 1 .*3 CPU hold 1 of CPU 2.*--address"):
        placement.await_places(TWO, 2, joined=False)
    assert ray.now == 0


def test_nodes_that_join_in_time_are_asked_for_and_waited_for_and_it_is_said(ray, caplog):
    ray.joining = [node(2), node(2)]
    placement.await_places(TWO, 2, joined=True)
    assert ray.now == 2
    assert ray.asked == [[{"CPU": 2.0}] * 2, "group"], "for an autoscaler to see, and no longer"
    (record,) = caplog.records
    assert "waiting for more nodes" in record.getMessage()


@pytest.mark.parametrize(("refuses", "seconds"), [(None, 120), (False, placement.PATIENCE_SECONDS)])
def test_nodes_that_do_not_join_are_not_waited_for_for_ever(ray, refuses, seconds):
    ray.present, ray.refuses = [node(2)], refuses
    with pytest.raises(ClusterError, match=rf"no more nodes have joined within {seconds:g} s"):
        placement.await_places(TWO, 2, joined=True)
    assert seconds <= ray.now <= seconds + 2
    assert ray.asked[-1] == "group"


def test_an_autoscaler_that_has_no_such_nodes_is_believed_when_it_has_said_so_for_some_seconds(ray):
    ray.refuses = True
    with pytest.raises(ClusterError, match=r"the autoscaler has no such nodes to add"):
        placement.await_places(TWO, 2, joined=True)
    assert ray.now == placement.LOOKS - 1
    assert ray.asked[-1] == "group"


@pytest.mark.parametrize(("version", "bundle", "expected"), [(0, 2.0, None), (1, 2.0, True), (1, 3.0, False)])
def test_what_an_autoscaler_says_is_read(monkeypatch, version, bundle, expected):
    reply = autoscaler_pb2.GetClusterStatusReply()
    reply.autoscaling_state.autoscaler_state_version = version
    gang = reply.autoscaling_state.infeasible_gang_resource_requests.add()
    gang.requests.add().resources_bundle["CPU"] = bundle
    client = SimpleNamespace(get_cluster_status=reply.SerializeToString)
    monkeypatch.setattr("ray._raylet.GcsClient", lambda address: client)
    monkeypatch.setattr(placement.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="here:1"))
    assert placement.autoscaler_refuses(TWO) is expected


def test_an_elastic_run_begins_with_its_fewest(ray):
    elastic = ExecutionConfig(workers=WorkerRange(min=1, max=4))
    assert placement.fewest_workers(elastic) == 1
    assert placement.fewest_workers(TWO) == 2


def test_the_reason_for_waiting_is_nodes_that_are_not_there_or_others_that_use_them(ray):
    assert "the cluster has 0 nodes now, which hold 0 x" in placement.waiting_for(TWO)
    ray.present = [node(4)]
    assert placement.waiting_for(TWO) is None
    ray.free = {"CPU": 1.0}
    ray.groups = {"a": {"state": "PENDING", "bundles": {0: {"CPU": 7.0}}}}
    assert placement.waiting_for(TWO) is None
    ray.groups = {"a": {"state": "PENDING", "bundles": {0: {"CPU": 2.0}, 1: {"CPU": 2.0}}}}
    assert placement.waiting_for(TWO) == "2 x (2 CPU); free on all nodes together: 1 CPU"
    ray.groups["a"]["state"] = "CREATED"
    assert placement.waiting_for(TWO) is None
