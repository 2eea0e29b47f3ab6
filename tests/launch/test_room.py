"""What finds place, what may, what never will; without Ray, whose answers are written down here."""

from types import SimpleNamespace

import pytest

from lwgan_dist.config import ExecutionConfig, WorkerRange
from lwgan_dist.errors import ClusterError
from lwgan_dist.launch import room


def node(cpus, *, alive=True, **others):
    return {"Alive": alive, "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": cpus, **others}}


class Ray:
    """A cluster: nodes that join one a second, an autoscaler, placement groups."""

    def __init__(self, monkeypatch):
        self.present, self.joining, self.kinds, self.groups, self.free = [], [], None, {}, {}
        self.now = 0.0
        monkeypatch.setattr(room.ray, "nodes", lambda: self.present)
        monkeypatch.setattr(room.ray, "available_resources", lambda: self.free)
        monkeypatch.setattr(room.ray.util, "placement_group_table", lambda: self.groups)
        monkeypatch.setattr(room.ray._private.state.state, "get_cluster_config", self._config)
        monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep))

    def _config(self):
        groups = [SimpleNamespace(name=n, resources=r, max_count=c) for n, r, c in self.kinds or []]
        return None if self.kinds is None else SimpleNamespace(node_group_configs=groups)

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
    assert room.slots(TWO) == 2 + 4
    assert room.slots(ExecutionConfig(use_gpu=True)) == 1
    assert room.slots(ExecutionConfig(cpus_per_worker=0.1)) == 50 + 80


def test_there_is_place(ray, caplog):
    ray.present = [node(2), node(2)]
    room.await_room(TWO, 2, joined=True)
    room.await_room(TWO, 2, joined=False)
    assert caplog.records == []


def test_a_session_of_our_own_does_not_grow(ray):
    ray.present = [node(3)]
    with pytest.raises(ClusterError, match=r"2 workers with 2 CPU .* place for 1 .*3 CPU hold 1 of CPU 2.*--address"):
        room.await_room(TWO, 2, joined=False)
    assert ray.now == 0


def test_nodes_that_join_in_time_are_waited_for_and_it_is_said(ray, caplog):
    ray.joining = [node(2), node(2)]
    room.await_room(TWO, 2, joined=True)
    assert ray.now == 2
    (record,) = caplog.records
    assert "waiting 120 s for nodes to join" in record.getMessage()


def test_nodes_that_do_not_join_are_not_waited_for_for_ever(ray):
    ray.present = [node(2)]
    with pytest.raises(ClusterError, match=r"no node has joined within execution.start_timeout_seconds = 120"):
        room.await_room(TWO, 2, joined=True)
    assert 120 <= ray.now <= 122


def test_an_autoscaler_that_may_add_enough_is_left_to_it(ray, caplog):
    ray.kinds = [("head", {"CPU": 0.0}, 1), ("small", {"CPU": 3.0}, 2)]
    room.await_room(TWO, 2, joined=True)
    assert ray.now == 0
    assert "waiting for the autoscaler" in caplog.text


@pytest.mark.parametrize("workers", [3, 4])
def test_one_that_may_not_is_no_reason_to_wait(ray, workers):
    ray.kinds = [("head", {"CPU": 0.0}, 1), ("small", {"CPU": 3.0}, 2)]
    with pytest.raises(ClusterError, match=r"autoscaler may add too little .*2 nodes small: 3 CPU hold 1 of CPU 2"):
        room.await_room(TWO, workers, joined=True)
    assert ray.now == 0


def test_an_elastic_run_begins_with_its_fewest(ray):
    elastic = ExecutionConfig(workers=WorkerRange(min=1, max=4))
    assert room.fewest_workers(elastic) == 1
    assert room.fewest_workers(TWO) == 2


def test_the_reason_for_waiting_is_nodes_that_are_not_there_or_others_that_use_them(ray):
    assert "the cluster has 0 nodes now, which hold 0 x" in room.waiting_for(TWO)
    ray.present = [node(4)]
    assert room.waiting_for(TWO) is None
    ray.free = {"CPU": 1.0}
    ray.groups = {"a": {"state": "PENDING", "bundles": {0: {"CPU": 7.0}}}}
    assert room.waiting_for(TWO) is None
    ray.groups = {"a": {"state": "PENDING", "bundles": {0: {"CPU": 2.0}, 1: {"CPU": 2.0}}}}
    assert room.waiting_for(TWO) == "2 x (2 CPU); free on all nodes together: 1 CPU"
    ray.groups["a"]["state"] = "CREATED"
    assert room.waiting_for(TWO) is None
