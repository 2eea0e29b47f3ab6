"""The network interface by which the workers of a run meet."""

import logging
import os
import socket
from typing import Any

import psutil
import ray
import ray.train.torch
from ray.train.constants import TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S
from ray.train.torch import TorchConfig

from lwgan_dist.launch.private import torch_backend

LEAVE_SECONDS = "5"
"""How long workers have to leave their group; they never do if their partner is lost, and Ray would wait 30 s."""


def interface_of(address: str) -> str | None:
    """The name of this machine's interface that has an IPv4 or IPv6 address; None if none has it."""
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.family in (socket.AF_INET, socket.AF_INET6) and entry.address.partition("%")[0] == address:
                return str(name)
    return None


def use_interface_of_node() -> None:
    """On a worker: let gloo use the interface that carries the node's Ray address, unless it is configured otherwise.

    Left alone, gloo listens at the address of the host's name, which is often 127.0.0.1: workers on other nodes then
    cannot reach it ("Gloo connectFullMesh failed"). nccl leaves the loopback out by itself, and may know a faster one.
    """
    name = interface_of(ray.util.get_node_ip_address())
    if name is None:
        logging.getLogger("lwgan_dist").warning(
            "no interface has this node's Ray address %s; if workers do not find each other, set GLOO_SOCKET_IFNAME",
            ray.util.get_node_ip_address(),
        )
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


class _Backend(torch_backend()):  # type: ignore[misc]
    """PyTorch's process group, on the right interface. Ray makes the group before any code of ours runs on a worker,
    and passes one environment to all nodes, so there is no earlier place for it.
    """

    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(use_interface_of_node)
        super().on_start(worker_group, backend_config)

    def on_shutdown(self, worker_group: Any, backend_config: TorchConfig) -> None:
        os.environ.setdefault(TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S, LEAVE_SECONDS)  # in Train's controller
        super().on_shutdown(worker_group, backend_config)


class GroupConfig(ray.train.torch.TorchConfig):  # type: ignore[misc]
    """A process group whose workers may be on any nodes."""

    @property
    def backend_cls(self) -> type:
        """What Ray Train sets the group up with."""
        return _Backend
