"""Every private name of Ray that is used is in one module, and still there."""

import ast
import contextlib
import importlib
import inspect
import io
import sys
from pathlib import Path

import pytest
from ray.exceptions import AuthenticationError, OutOfMemoryError

from lwgan_dist.errors import ClusterError
from lwgan_dist.launch import private, session

PACKAGE = Path(private.__file__).parents[1]


def imported(path):
    """``module.name`` of everything that a file imports from Ray."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ray":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_private(name):
    return any(part.startswith("_") for part in name.split(".")) or ".core.generated" in name


PRIVATE = sorted({name for name in imported(Path(private.__file__)) if is_private(name)})


def test_no_other_module_imports_a_private_name():
    elsewhere = {
        (path.name, name)
        for path in PACKAGE.rglob("*.py")
        if path != Path(private.__file__)
        for name in imported(path)
        if is_private(name)
    }
    assert elsewhere == set()
    assert len(PRIVATE) == 8


@pytest.mark.parametrize("name", PRIVATE)
def test_the_name_is_there(name):
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), attribute)


def test_the_bare_client_says_what_it_found(monkeypatch):
    """With a control plane that serves, and one that does not."""

    def client(answer):
        class Client:
            def __init__(self, address):
                assert address == "here:1"

            def internal_kv_keys(self, *_arguments):
                answer()

        return Client

    def refuses():
        raise AuthenticationError("no token")

    def said(answer):
        monkeypatch.setattr(sys, "argv", ["-c", "here:1"])
        monkeypatch.setattr("ray._raylet.GcsClient", client(answer))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(private.BARE_CLIENT, {})
        return printed.getvalue().strip()

    assert said(lambda: None) == "served"
    assert said(refuses) == "refused"


def test_the_backend_has_the_hooks_that_are_overridden():
    backend = private.torch_backend()
    assert list(inspect.signature(backend.on_start).parameters)[:3] == ["self", "worker_group", "backend_config"]
    assert list(inspect.signature(backend.on_shutdown).parameters)[:3] == ["self", "worker_group", "backend_config"]


def test_the_reply_has_the_fields_that_are_read():
    from ray.core.generated import autoscaler_pb2

    state = autoscaler_pb2.GetClusterStatusReply().autoscaling_state
    assert state.autoscaler_state_version == 0
    assert list(state.infeasible_gang_resource_requests) == list(state.infeasible_resource_requests) == []


def test_the_coordinator_can_be_asked_to_count_anew():
    from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as module

    names = [name for name, kind in vars(module).items() if hasattr(kind, "get_reserved_resources")]
    kinds = [getattr(module, name) for name in names]
    assert any("recompute" in inspect.signature(kind.get_reserved_resources).parameters for kind in kinds)


def test_kills_for_memory_become_another_error_and_again_what_they_were():
    from ray._private import serialization

    with private.memory_kills_as(ValueError):
        assert serialization.OutOfMemoryError is ValueError
    assert serialization.OutOfMemoryError is OutOfMemoryError


def test_a_cluster_that_is_gone_is_not_waited_for(monkeypatch):
    """``auto``: where Ray has written down a cluster that no longer answers, and where it knows of none."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(session, "cluster_here", lambda: "127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"no Ray cluster could be reached at 127\.0\.0\.1:1"):
        session._check_reachable("auto")

    def none():
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(session, "cluster_here", none)
    with pytest.raises(ClusterError, match="auto: this machine is not a node of a Ray cluster"):
        session._check_reachable("auto")
