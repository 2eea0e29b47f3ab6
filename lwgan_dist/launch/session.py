"""Ray for the length of a command: the running session, the cluster at an address, or a local one of our own."""

import io
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import ray

from lwgan_dist import logs
from lwgan_dist.config import ExecutionConfig
from lwgan_dist.errors import ClusterError, refuse_client_address
from lwgan_dist.launch.auth_token import check_token, private_token_file, refusal
from lwgan_dist.launch.private import cluster_here, on_loopback
from lwgan_dist.launch.worker_logs import ray_fields

CONNECT_SECONDS = 10.0
"""How long a cluster has to answer."""

LONGEST_SOCKET_FILE = 103 if sys.platform == "darwin" else 107
"""Bytes in the name of a socket."""

LEAST_FREE = 16 << 20
"""Bytes for the logs of a session, without which it does not start."""

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
        verbose: show Ray's messages.
        dashboard: a local session has one. Without it, what a killed trial of several workers had stays reserved.

    Raises:
        ClusterError: no cluster at the address, or one that is not joined from here.
    """
    for name, value in {**ENVIRONMENT, **environment}.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield _OWN != [True]
        return
    address = address_of(execution)
    refuse_client_address(address)
    local: dict[str, Any] = {"include_dashboard": dashboard} if address == "local" else {}
    if address == "local":
        _check_temporary_folder()
    _check_reachable(address)
    private_token_file(create=address == "local")
    with _terminable():
        _start(address, verbose, local)
        _answer_sigterm()
        if logs.is_json():
            logs.configure("json", **ray_fields())
        with redirect_stdout(sys.stderr if verbose else _Brief(sys.stderr)):
            _OWN.append(address == "local")
            try:
                yield address != "local"
            finally:
                _OWN.clear()
                ray.shutdown()


def _start(address: str, verbose: bool, local: Mapping[str, Any]) -> None:
    """Join a cluster or start a local one; see `session`."""
    level = logging.INFO if verbose else logging.ERROR
    try:
        with on_loopback() if address == "local" else nullcontext():
            ray.init(address=address, log_to_driver=verbose, logging_level=level, **local)
    except ray.exceptions.AuthenticationError:
        raise ClusterError(refusal(address)) from None
    except SystemExit:  # Ray's answer to SIGTERM
        raise KeyboardInterrupt from None
    except Exception as error:  # Ray raises the bare class too
        reason = " ".join(str(error).split()) or type(error).__name__
        if address != "local":
            raise ClusterError(f"no Ray cluster could be reached at {address}: {reason}") from error
        raise ClusterError(
            f"Ray did not start on this machine: {reason} (logs: {temporary_folder()}/ray/session_latest/logs). "
            "Try again when the machine is less busy, or name another folder for its files in RAY_TMPDIR; workers = 0 "
            "needs no Ray"
        ) from error


_OWN: list[bool] = []
"""Whether the session that we have started is local; empty if it is somebody else's."""


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, as schedulers send it, ends a command like Ctrl-C, also where that is ignored, as in the background of a
    script, or blocked, as by Ray in its jobs. Ray has made it a crash.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    _answer_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _answer_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


def interrupt(_number: int, frame: FrameType | None) -> None:
    """What Ctrl-C does now, or would do."""
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)


class _Brief(io.TextIOBase):
    """The output of Ray in the driver, such as that a node is lost: on standard error, for standard output is the
    command's own, and without the log of the raylet that comes with it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("    [")]
        if lines:
            self._stream.write("\n".join(lines) + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def address_of(execution: ExecutionConfig) -> str:
    """Where Ray is; ``local`` for a session of our own."""
    return execution.address or os.environ.get("RAY_ADDRESS") or "local"


def temporary_folder() -> str:
    """Where Ray makes its folder ``ray``."""
    return os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108


def _check_temporary_folder() -> None:
    """Ray would try for half a minute to start where it cannot make its sockets and logs.

    Raises:
        ClusterError: it cannot; says what to do.
    """
    folder = Path(temporary_folder(), "ray")
    socket_file = f"{folder}/session_YYYY-MM-DD_HH-MM-SS_ffffff_{os.getpid()}/sockets/plasma_store"
    above = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if (surplus := len(os.fsencode(socket_file)) - LONGEST_SOCKET_FILE) > 0:
        wrong = f"its name is {surplus} bytes too long for Ray's sockets"
    elif not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
        wrong = "it is of another user, or cannot be written to" if above == folder else "it cannot be made"
    elif shutil.disk_usage(above).free < LEAST_FREE:
        wrong = "its disk is full"
    else:
        return
    raise ClusterError(f"{folder}: Ray cannot use it: {wrong}; name a short folder of your own in RAY_TMPDIR")


def _check_reachable(address: str) -> None:
    """Say at once that nobody listens at HOST:PORT, or that it wants another token; Ray itself would try for long. So
    it would for ``auto`` where the cluster that this machine was a node of is gone.
    """
    if address == "auto":
        try:
            address = cluster_here()
        except (ConnectionError, ValueError):
            raise ClusterError("auto: this machine is not a node of a Ray cluster; give HOST:PORT of one") from None
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(f"no Ray cluster could be reached at {address}: {error}") from None
    check_token(address)
