"""Every private name of Ray that is used, in one place, with why: a new version of Ray may move any of them. Each has a
test that it still exists (tests/launch/test_private.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray


def torch_backend() -> type:
    """Ray Train's set-up of PyTorch's process group. It has no public hook on a worker before the group is made."""
    from ray.train.torch.config import _TorchBackend

    return _TorchBackend  # type: ignore[no-any-return]


def cluster_status() -> Any:
    """The control plane on nodes, demands and the autoscaler (v2): a ``GetClusterStatusReply``. Ray's public
    state API does not list what an autoscaler calls infeasible.

    Raises:
        ray.exceptions.RpcError: the control plane does not answer.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2

    reply = autoscaler_pb2.GetClusterStatusReply()
    reply.ParseFromString(GcsClient(address=ray.get_runtime_context().gcs_address).get_cluster_status())
    return reply


def cluster_here() -> str:
    """HOST:PORT of the cluster that this machine is a node of, as Ray finds it for the address ``auto``: written down
    or, without that, among the processes. Whether it still answers is another matter, of which Ray makes sure for long.

    Raises:
        ConnectionError: there is none.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die

    return str(canonicalize_bootstrap_address_or_die("auto"))


BARE_CLIENT = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, 10)
except AuthenticationError:
    print("refused")
else:
    print("served")
"""
"""A program that prints whether a client without a token is served by the control plane at an address."""


@contextmanager
def on_loopback() -> Iterator[None]:
    """A Ray that starts in the block has the address of the loopback, at which alone its processes then listen. By
    default they listen at all interfaces; Ray has a setting for it on macOS and Windows, and takes the address
    127.0.0.1 for that of an interface.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def read_environment_again() -> None:
    """Let Ray read its variables anew: it has done so at its import, and ``RAY_AUTH_MODE`` has been set since."""
    from ray._raylet import Config  # type: ignore[attr-defined]

    Config.initialize("")


def count_places_anew(caller: str, seconds: float) -> None:
    """Ask Train's coordinator, which looks at the nodes every 20 s, to count their places now."""
    from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
        get_or_create_autoscaling_coordinator,
    )

    coordinator = get_or_create_autoscaling_coordinator()
    ray.get(coordinator.get_reserved_resources.remote(caller, recompute=True), timeout=seconds)


@contextmanager
def memory_kills_as(error: type[Exception]) -> Iterator[None]:
    """Let what Ray raises in this process for one that its memory monitor has ended be another error: Ray Tune ends
    all tasks for the one that Ray has.
    """
    from ray._private import serialization

    before, serialization.OutOfMemoryError = serialization.OutOfMemoryError, error
    try:
        yield
    finally:
        serialization.OutOfMemoryError = before
