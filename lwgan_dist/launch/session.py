"""Ray for the length of a command: the session that is there, the cluster at an address, or a local one of our own."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

from lwgan_dist.config import ExecutionConfig, WorkerRange
from lwgan_dist.errors import ClusterError

CONNECT_SECONDS = 10.0
"""How long a cluster has to answer."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Set before Ray starts, unless the user has set them."""


@contextmanager
def session(
    execution: ExecutionConfig, environment: Mapping[str, str], *, verbose: bool = False, dashboard: bool = False
) -> Iterator[bool]:
    """Ray until the end of the block; yields whether others may use it too, or nodes join, as in a cluster.

    Args:
        execution: names the address; by default that in RAY_ADDRESS, or else a local session that ends with the block.
        environment: variables to set first, unless they are.
        verbose: show what Ray says.
        dashboard: a local session has one. Without it, what a killed trial of several workers held stays reserved.

    Raises:
        ClusterError: no cluster at the address.
    """
    for name, value in {**ENVIRONMENT, **environment}.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield True
        return
    address = address_of(execution)
    local: dict[str, Any] = {"include_dashboard": dashboard} if address == "local" else {}
    _check_reachable(address)
    try:
        ray.init(
            address=address,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.ERROR,
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"no Ray cluster could be reached at {address}: {error}") from error
    try:
        yield address != "local"
    finally:
        ray.shutdown()


def address_of(execution: ExecutionConfig) -> str:
    """Where Ray is; ``local`` for a session of our own."""
    return execution.address or os.environ.get("RAY_ADDRESS") or "local"


def _check_reachable(address: str) -> None:
    """Say at once that nobody listens at HOST:PORT or ray://HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(f"no Ray cluster could be reached at {address}: {error}") from None


def resources(execution: ExecutionConfig) -> dict[str, float]:
    """What one worker needs, under Ray's names."""
    each = {"CPU": execution.cpus_per_worker, **execution.resources_per_worker}
    if execution.use_gpu:
        each["GPU"] = execution.gpus_per_worker
    return each


def check_resources(execution: ExecutionConfig, joined: bool) -> None:
    """Refuse at once what would otherwise wait for ever; on a cluster that may grow, say what is waited for.

    Raises:
        ClusterError: the local session lacks what the workers need.
    """
    workers = execution.workers.min if isinstance(execution.workers, WorkerRange) else execution.workers
    present = ray.cluster_resources()
    for name, each in resources(execution).items():
        needed, there = workers * each, present.get(name, 0.0)
        if needed > there:
            text = f"{workers} workers with {each:g} {name} each need {needed:g} {name}"
            if not joined:
                hint = "; fewer workers, or execution.cpus_per_worker=0.5, would fit" if name == "CPU" else ""
                raise ClusterError(f"{text}, this machine has {there:g}{hint}")
            logging.getLogger("lwgan_dist").warning("%s, the cluster has %g: waiting for more to join", text, there)
