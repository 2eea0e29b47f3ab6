"""What a driver counts, and what it hands to Ray; without Ray nothing is handed to anyone."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from lwgan_dist.launch import prometheus as module
from lwgan_dist.launch.prometheus import METRICS, REASONS, Ended, Meter, RunMeter, reason_class
from lwgan_dist.search.search import _count as ended_of_search
from lwgan_dist.search.trials import TrialRecord
from lwgan_dist.storage import Folder
from lwgan_dist.study.engine import _ended as ended_of_study
from lwgan_dist.study.engine import _lost as lost_of_study
from lwgan_dist.study.work import Done


@pytest.fixture
def exported(monkeypatch):
    """What Ray would get: by name and reason, the sum of a counter, all values of a gauge."""
    told = {}

    class Counter:
        def __init__(self, name, what, tags):
            self.name, self.tags = name, set(tags)

        def inc(self, times, tags):
            assert set(tags) == self.tags
            key = (self.name, *([tags["reason"]] if "reason" in tags else []))
            told[key] = told.get(key, 0) + times

    class Gauge(Counter):
        def set(self, value, tags):
            assert set(tags) == self.tags
            told.setdefault(self.name, []).append(value)

    ray = SimpleNamespace(util=SimpleNamespace(metrics=SimpleNamespace(Counter=Counter, Gauge=Gauge)))
    for name, part in (("ray", ray), ("ray.util", ray.util), ("ray.util.metrics", ray.util.metrics)):
        monkeypatch.setitem(sys.modules, name, part)
    monkeypatch.setattr(module, "_is_driver", lambda: True)
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.02)
    return told


def eventually(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rising(values):
    seen = values[:]  # they go on coming
    return seen == sorted(seen)


def test_what_becomes_of_the_runs_of_a_study(exported):
    with Meter("study", "mine", ended_of_study, lost_of_study) as meter:
        meter.begin(24)
        meter.tasks(3, 1)
        meter.ended(Done(1))
        meter.ended(Done(1, 1))
        meter.ended(Done(18, unfinished={"a": "OSError: [Errno 28] full", "b": "DataError: x"}))
        meter.lost(SimpleNamespace(runs=[1, 2]), "ActorDiedError: x (lost 4 times)")  # each is tried again on its own
        meter.lost(SimpleNamespace(runs=[1]), "ActorDiedError: x (lost 4 times)")
        meter.retried("ActorDiedError: The actor died because its node has died.")
        eventually(lambda: exported.get("lwgan_dist_tasks_running"))
        eventually(lambda: ("lwgan_dist_runs_done",) in exported)
        meter.ended(Done(1))
        meter.tasks(0, 0)
    counters = {key: value for key, value in exported.items() if isinstance(key, tuple)}
    assert counters == {
        ("lwgan_dist_runs_done",): 21,
        ("lwgan_dist_runs_diverged",): 1,
        ("lwgan_dist_runs_failed", "storage"): 1,
        ("lwgan_dist_runs_failed", "data"): 1,
        ("lwgan_dist_runs_failed", "process_lost"): 1,
        ("lwgan_dist_tasks_retried", "node_lost"): 1,
    }
    assert exported["lwgan_dist_tasks_running"][-1] == 0
    assert 3 in exported["lwgan_dist_tasks_running"]
    assert exported["lwgan_dist_runs_remaining"][-1] == 0
    assert set(exported) - set(counters) <= {f"lwgan_dist_{name}" for name in METRICS}


def test_trials_of_a_search():
    runs = [{"dimension": 2}, {"dimension": 3}]
    assert ended_of_search(TrialRecord(key="", runs=runs)) == Ended(2, 0)
    assert ended_of_search(TrialRecord(key="", runs=runs[:1], failure="NonFiniteLossError: x")) == Ended(2, 1)
    assert ended_of_search(TrialRecord(key="", failure="NonFiniteLossError: x")) == Ended(1, 1)


def test_two_pools_share_a_meter_and_counts_are_exported_once(exported):
    meter = Meter("study", "mine")
    with meter, meter:
        meter.ended({})
    first = threading.active_count()
    with meter:
        meter.ended({})
    assert exported["lwgan_dist_runs_done",] == 2
    assert threading.active_count() == first


def test_ray_may_refuse_or_hang(exported, monkeypatch):
    hang = threading.Event()

    def refuse(self, name):
        raise RuntimeError("no")

    monkeypatch.setattr(Meter, "_metric", refuse)
    with Meter("study", "mine") as meter:
        meter.ended({})
    monkeypatch.setattr(Meter, "_metric", lambda self, name: hang.wait())
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    began = time.monotonic()
    with Meter("study", "mine", lambda answer: Ended(answer["no such"])) as meter:
        meter.ended({})
    assert time.monotonic() - began < 60
    hang.set()


def test_seconds_since_the_checkpoint_rise_until_there_is_one(exported, tmp_path):
    folder = Folder.at(str(tmp_path / "my run"))
    (tmp_path / "my run" / "checkpoints" / "iteration-000000000010").mkdir(parents=True)
    values = exported.setdefault("lwgan_dist_seconds_since_checkpoint", [])
    with RunMeter(folder) as meter:
        eventually(lambda: values and values[-1] > 0.3)
        assert rising(values)
        (folder.local / "checkpoints" / ".tmp-abc").mkdir()
        seen = len(values)
        eventually(lambda: len(values) > seen + 5)
        assert values[-1] > 0.3
        (folder.local / "checkpoints" / "iteration-000000000020").mkdir()
        eventually(lambda: not rising(values))
        meter.progress({"iteration": 20, "iterations": 50, "losses": {}})
        eventually(lambda: "lwgan_dist_iterations" in exported)
    assert (exported["lwgan_dist_iteration"][-1], exported["lwgan_dist_iterations"][-1]) == (20, 50)
    assert meter._tags == {"kind": "train", "name": "my_run"}


def test_storage_that_hangs_does_not_stop_the_clock(exported, tmp_path, monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(RunMeter, "look", lambda self: hang.wait())
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    values = exported.setdefault("lwgan_dist_seconds_since_checkpoint", [])
    with RunMeter(Folder.at(str(tmp_path))):
        eventually(lambda: len(values) > 3)
    assert rising(values)
    hang.set()


def test_estimates_per_hour_are_of_the_window():
    rate = module._Rate()
    assert rate.per_hour(5, 0.0) == 0.0
    assert rate.per_hour(15, 60.0) == 600
    for minute in range(2, 30):
        told = rate.per_hour(15 + 2 * (minute - 1), 60.0 * minute)
    assert told == pytest.approx(120)
    assert len(rate.looked) <= module.WINDOW_SECONDS / 60 + 2


@pytest.mark.parametrize(
    ("reason", "known"),
    [
        ("ActorDiedError: The actor died unexpectedly (lost 2 times)", "process_lost"),
        ("ActorDiedError: The actor is dead because its node has died. Node Id: 12 (lost 1 times)", "node_lost"),
        ("ActorDiedError: the node was preempted", "preempted"),
        ("OutOfMemoryError: Task was killed due to the node running low on memory", "out_of_memory"),
        ("MemoryError: ", "out_of_memory"),
        ("OSError: [Errno 28] No space left on device", "storage"),
        ("PermissionError: [Errno 13]", "storage"),
        ("TimeoutError: x", "storage"),
        ("InUseError: x", "storage"),
        ("StorageError: writing x: the storage has failed for 120 s", "storage"),
        ("DataError: x", "data"),
        ("UnreadableError: x", "data"),
        ("ModuleNotFoundError: No module named 'x'", "configuration"),
        ("ClusterError: x", "cluster"),
        ("RunFailedError: x", "cluster"),
        ("ZeroDivisionError: a data error of mine", "other"),
        ("", "other"),
    ],
)
def test_reasons_have_few_classes(reason, known):
    assert reason_class(reason) == known
    assert known in {*REASONS, "other"}


def test_without_ray_nothing_is_imported_or_exported():
    code = (
        "import sys; from lwgan_dist.launch.prometheus import Meter\n"
        "with Meter('study', 'mine') as meter:\n"
        "    meter.ended({})\n"
        "assert 'ray' not in sys.modules\n"
        "import ray; assert not ray.is_initialized()\n"
        "with meter: meter.ended({})\n"
        "assert not meter._metrics and meter._counts['runs_done', ''] == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
