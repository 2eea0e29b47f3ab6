"""What finds place in a cluster: now, and in the nodes that its autoscaler may add."""

import logging
import math
import time
from collections.abc import Mapping
from typing import NamedTuple

import ray
import ray._private.state

from lwgan_dist.config import ExecutionConfig, WorkerRange
from lwgan_dist.errors import ClusterError

logger = logging.getLogger("lwgan_dist")


class Place(NamedTuple):
    """A node, or a kind of nodes that may be added.

    Attributes:
        where: address of the node or name of the kind.
        fits: workers that find place on one of them.
        nodes: of that kind.
        arithmetic: why no more fit, in words.
    """

    where: str
    fits: int
    nodes: int
    arithmetic: str


def resources(execution: ExecutionConfig) -> dict[str, float]:
    """What one worker needs, under Ray's names."""
    each = {"CPU": execution.cpus_per_worker, **execution.resources_per_worker}
    if execution.use_gpu:
        each["GPU"] = execution.gpus_per_worker
    return each


def fewest_workers(execution: ExecutionConfig) -> int:
    """How many workers a run can begin with."""
    workers = execution.workers
    return workers.min if isinstance(workers, WorkerRange) else workers


def place(where: str, count: int, present: Mapping[str, float], needed: Mapping[str, float]) -> Place:
    """How many workers that need ``needed`` each find place where ``present`` is."""
    fits, name = min((math.floor(present.get(name, 0.0) / each + 1e-9), name) for name, each in needed.items())
    times = f"{count} nodes " if count > 1 else ""
    return Place(
        where, fits, count, f"{times}{where}: {present.get(name, 0.0):g} {name} hold {fits} of {name} {needed[name]:g}"
    )


def room(execution: ExecutionConfig) -> list[Place]:
    """The live nodes."""
    return [
        place(node["NodeManagerAddress"], 1, node["Resources"], resources(execution))
        for node in ray.nodes()
        if node["Alive"]
    ]


def slots(execution: ExecutionConfig) -> int:
    """Workers that find place on the live nodes."""
    return sum(place.fits for place in room(execution))


def growth(execution: ExecutionConfig) -> list[Place] | None:
    """The nodes that the autoscaler of the cluster may run in all, by kind; None if none has told what it may do."""
    config = ray._private.state.state.get_cluster_config()
    groups = [] if config is None else list(config.node_group_configs)
    if not groups:
        return None
    return [place(group.name, group.max_count, dict(group.resources), resources(execution)) for group in groups]


def await_room(execution: ExecutionConfig, workers: int, joined: bool) -> None:
    """Refuse at once what can never find place; wait for what may.

    Nodes of a cluster without an autoscaler may still be on their way, or be replaced: it is given
    ``start_timeout_seconds``. One with an autoscaler is asked what it may add at most, and adds it when the workers are
    placed.

    Args:
        execution: what a worker needs.
        workers: that must run at the same time.
        joined: others use the session too, or nodes may join it.

    Raises:
        ClusterError: neither the nodes that are there nor those that may come hold the workers.
    """
    ends, told = time.monotonic() + execution.start_timeout_seconds, False
    while True:
        there = room(execution)
        total = sum(item.fits for item in there)
        if total >= workers:
            return
        text = (
            f"{workers} worker{'s' if workers > 1 else ''} with {_needs(execution)} each must run at once, and there "
            f"is place for {total} ({'; '.join(item.arithmetic for item in there) or 'no node'})"
        )
        mend = "lower what each needs (execution.cpus_per_worker, ..) or their number"
        if not joined:
            raise ClusterError(f"{text}: {mend}, or join a larger cluster (--address)")
        kinds = growth(execution)
        if kinds is not None:
            if sum(kind.fits * kind.nodes for kind in kinds) >= workers:
                logger.warning("%s: waiting for the autoscaler", text)
                return
            most = "; ".join(kind.arithmetic for kind in kinds)
            raise ClusterError(f"{text}, and the autoscaler may add too little ({most}): {mend}, or raise its limits")
        if time.monotonic() > ends:
            raise ClusterError(
                f"{text}, and no node has joined within execution.start_timeout_seconds = "
                f"{execution.start_timeout_seconds:g}: {mend}, or add nodes"
            )
        if not told:
            logger.warning("%s: waiting %g s for nodes to join", text, execution.start_timeout_seconds)
            told = True
        time.sleep(1.0)


def _needs(execution: ExecutionConfig) -> str:
    return ", ".join(f"{each:g} {name}" for name, each in resources(execution).items())


def waiting_for(execution: ExecutionConfig) -> str | None:
    """What a group of workers that has not started waits for; None if not for want of resources."""
    workers = fewest_workers(execution)
    total = slots(execution)
    if total < workers:
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        return f"{workers} x ({_needs(execution)}); the cluster has {nodes} nodes now, which hold {total} x"
    ours = resources(execution)
    for group in ray.util.placement_group_table().values():
        bundles = list(group["bundles"].values())
        if group["state"] in ("PENDING", "RESCHEDULING") and all(bundle == ours for bundle in bundles):
            free = ray.available_resources()
            left = ", ".join(f"{free.get(name, 0.0):g} {name}" for name in ours)
            return f"{len(bundles)} x ({_needs(execution)}); free on all nodes together: {left}"
    return None
