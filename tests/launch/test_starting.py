"""How commands under Ray end and begin anew, without Ray: signals, groups that do not start, workers that are unfit."""

import pickle
import signal

import pytest
import torch
from ray._private import serialization
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from lwgan_dist.config import RunConfig
from lwgan_dist.launch import train
from lwgan_dist.launch.pool import ProcessOutOfMemoryError, _interruptible
from lwgan_dist.launch.private import memory_kills_as
from lwgan_dist.launch.prometheus import reason_class
from lwgan_dist.launch.session import _terminable
from lwgan_dist.storage import Folder

WANT = ControllerError(WorkerGroupStartupTimeoutError(2))
CRASH = ControllerError(WorkerGroupStartupFailedError("a worker was killed"))
LOST = ControllerError(RayActorError())
MEMORY = ControllerError(OutOfMemoryError("Task was killed due to the node running low on memory."))
BROKEN = ControllerError(RayTaskError("setup", "a peer has gone", ValueError("x")).as_instanceof_cause())
OTHER = ControllerError(ValueError("of another kind"))
GROUP = WorkerGroupError("workers were lost", {0: ValueError()})


@pytest.mark.parametrize(
    ("errors", "max_failures", "raised"),
    [
        ([], 0, None),
        ([WANT] * 50, 0, None),
        ([CRASH], 0, CRASH),
        ([CRASH, LOST, BROKEN, WANT], 3, None),
        ([MEMORY, WANT], 1, None),
        ([CRASH, LOST, WANT, BROKEN], 2, BROKEN),
        ([LOST] * 50, -1, None),
        ([OTHER], -1, OTHER),
        ([GROUP], -1, GROUP),
    ],
)
def test_a_group_that_does_not_start(errors, max_failures, raised):
    """Waiting for places is no failure; crashes before the training are counted, as Ray does not."""
    left = list(errors)

    def attempt():
        if left:
            raise left.pop(0)
        return "trained"

    if raised is None:
        assert train._until_it_starts(attempt, max_failures) == "trained"
    else:
        with pytest.raises(type(raised)) as told:
            train._until_it_starts(attempt, max_failures)
        assert told.value is raised
    assert left == []


def test_what_the_memory_monitor_ends_is_a_lost_process_to_tune():
    with memory_kills_as(ProcessOutOfMemoryError):
        made = serialization.OutOfMemoryError("Task was killed due to memory.\nMemory: 5 GB\n")
    again = pickle.loads(pickle.dumps(made))
    for error in (made, again):
        assert isinstance(error, RayActorError)
        assert isinstance(error, OutOfMemoryError)
        assert not error.preempted
        assert str(error) == "Task was killed due to memory."
        assert reason_class(f"{type(error).__name__}: {error} (lost 4 times)") == "out_of_memory"
    assert serialization.OutOfMemoryError is OutOfMemoryError


@pytest.fixture(params=["default", "ignored", "blocked", "other"])
def before(request):
    """What Ctrl-C meets: ignored in the background of a script, blocked by Ray in its jobs, or somebody's handler."""
    kept, called = signal.getsignal(signal.SIGINT), []

    def handler(*_):
        called.append(True)
        raise KeyboardInterrupt

    handlers = {"ignored": signal.SIG_IGN, "other": handler}
    signal.signal(signal.SIGINT, handlers.get(request.param, signal.default_int_handler))
    if request.param == "blocked":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    yield request.param
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, kept)
    assert called == [True] * (request.param == "other")


@pytest.mark.parametrize("in_pool", [False, True])
def test_sigterm_interrupts_whatever_ctrl_c_does(before, in_pool):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    noted = None
    with pytest.raises(KeyboardInterrupt), _terminable():  # noqa: PT012 - the blocks are what is tested
        if in_pool:
            with _interruptible() as noted:
                signal.raise_signal(signal.SIGTERM)
        else:
            signal.raise_signal(signal.SIGTERM)
    if noted is not None:
        assert noted.is_set() == (before != "other"), "to be raised again"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


@pytest.mark.parametrize(
    ("has_folder", "has_table", "digest", "unfit"), [(False, True, "", 1), (True, True, "", 2), (True, False, "", 3)]
)
def test_a_worker_that_cannot_begin_tells_the_others(tmp_path, monkeypatch, has_folder, has_table, digest, unfit):
    class Context:
        get_world_rank = staticmethod(lambda: 0)
        get_world_size = staticmethod(lambda: 1)

    monkeypatch.setattr(train, "configure_worker", lambda _: None)
    monkeypatch.setattr(train.ray.train, "get_context", Context)
    monkeypatch.setattr(train.ray.train.torch, "get_device", lambda: torch.device("cpu"))
    if has_table:
        (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(100)))
    folder = Folder.at(str(tmp_path / "run"))
    if has_folder:
        folder.write("env.json", b"{}")
    config = RunConfig.model_validate({"data": {"source": "table", "path": str(tmp_path / "t.csv")}})
    told = {
        "logs": None, "execution": "{}", "config": config.model_dump_json(), "array": None, "initial": None,
        "folder": folder.location, "data_digest": digest, "until": None,
    }  # fmt: skip
    assert train._worker(told) == {"unfit": unfit}
    assert unfit in train.UNFIT
