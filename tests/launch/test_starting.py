"""How commands under Ray end and begin anew, without Ray: signals, groups that do not start, workers that are unfit."""

import os
import pickle
import signal
from pathlib import Path

import pytest
import torch
from ray._private import serialization
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.errors import ClusterError
from lwgan_dist.launch import session, train
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


@pytest.fixture
def start(monkeypatch):
    """What a command does before Ray starts, and what it makes of an error of Ray's start."""

    def started(error):
        def init(**_options):
            raise error

        monkeypatch.setattr(session.ray, "init", init)
        monkeypatch.setattr(session, "private_token_file", lambda **_options: None)
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises((ClusterError, KeyboardInterrupt)) as told, session.session(ExecutionConfig(), {}):
            pass
        assert signal.getsignal(signal.SIGTERM) == handler
        return told.value

    for name in ("RAY_TMPDIR", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    return started


def test_what_ray_says_of_its_start_is_one_line_with_the_mend(start):
    said = str(start(Exception("The current node timed out during startup.\nThe GCS has become overloaded.")))
    assert said.startswith("Ray did not start on this machine: The current node timed out during startup. The GCS")
    assert "RAY_TMPDIR" in said
    assert "\n" not in said
    assert isinstance(start(SystemExit(1)), KeyboardInterrupt), "Ray's answer to SIGTERM"


@pytest.mark.parametrize("kind", ["long", "file", "absent", "foreign", "full"])
def test_a_temporary_folder_that_ray_cannot_use_is_named_before_it_starts(start, monkeypatch, tmp_path, kind):
    folder = Path("/dev/null") if kind == "absent" else Path(tmp_path, "t" * 70) if kind == "long" else tmp_path
    monkeypatch.setattr(session, "LONGEST_SOCKET_FILE", len(f"{tmp_path}") + 80)
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    if kind == "file":
        (tmp_path / "ray").touch()
    if kind == "foreign":
        (tmp_path / "ray").mkdir()
        monkeypatch.setattr(session.os, "access", lambda *_: False)
    if kind == "full":
        monkeypatch.setattr(session, "LEAST_FREE", 1 << 62)
    said = str(start(AssertionError("Ray is not asked")))
    assert said.startswith(f"{folder}/ray: Ray cannot use it: ")
    assert said.endswith("name a short folder of your own in RAY_TMPDIR")


def test_a_socket_of_the_longest_name_that_is_let_through_can_be_made(start, monkeypatch, tmp_path):
    """Beside Ray's own check of the name."""
    from ray._private.utils import validate_socket_filepath

    for length in range(1, 60):
        folder = "/" + "t" * length
        monkeypatch.setenv("RAY_TMPDIR", folder)
        said = str(start(ValueError("asked")))
        try:
            validate_socket_filepath(
                f"{folder}/ray/session_2026-11-30_21-04-49_123456_{os.getpid()}/sockets/plasma_store"
            )
        except OSError:
            assert "too long" in said
        else:
            assert "too long" not in said


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
