"""How many workers a cluster has place for, and the wait for more nodes."""

import logging
import math
import time
from collections.abc import Mapping
from typing import NamedTuple

import ray

from lwgan_dist.config import ExecutionConfig, WorkerRange
from lwgan_dist.errors import ClusterError
from lwgan_dist.launch.private import cluster_status

logger = logging.getLogger("lwgan_dist")

PATIENCE_SECONDS = 3600.0
"""How long an autoscaler has to add the nodes it was asked for."""

LOOKS = 5
"""How often in a row an autoscaler has to say that it cannot, before it is believed."""


class Place(NamedTuple):
    """A node.

    Attributes:
        fits: workers that fit on it.
        arithmetic: why no more fit, in words.
    """

    fits: int
    arithmetic: str


def resources(execution: ExecutionConfig) -> dict[str, float]:
    """The resources of one worker, under Ray's names."""
    each = {"CPU": execution.cpus_per_worker, **execution.resources_per_worker}
    if execution.use_gpu:
        each["GPU"] = execution.gpus_per_worker
    return each


def fewest_workers(execution: ExecutionConfig) -> int:
    """How many workers a run can begin with."""
    workers = execution.workers
    return workers.min if isinstance(workers, WorkerRange) else workers


def place(where: str, present: Mapping[str, float], needed: Mapping[str, float]) -> Place:
    """How many workers that need ``needed`` each fit where ``present`` is."""
    fits, name = min((math.floor(present.get(name, 0.0) / each + 1e-9), name) for name, each in needed.items())
    return Place(fits, f"{where}: {present.get(name, 0.0):g} {name} hold {fits} of {name} {needed[name]:g}")


def places(execution: ExecutionConfig) -> list[Place]:
    """The live nodes."""
    return [
        place(node["NodeManagerAddress"], node["Resources"], resources(execution))
        for node in ray.nodes()
        if node["Alive"]
    ]


def slots(execution: ExecutionConfig) -> int:
    """Workers that fit on the live nodes."""
    return sum(place.fits for place in places(execution))


def autoscaler_refuses(execution: ExecutionConfig) -> bool | None:
    """Whether the cluster's autoscaler (v2) reports that it has no node for a group of such workers; None if there
    is no such autoscaler that reports anything.
    """
    try:
        state = cluster_status().autoscaling_state
    except ray.exceptions.RpcError:
        return None
    if not state.autoscaler_state_version:
        return None
    ours = resources(execution)
    requests = [request for gang in state.infeasible_gang_resource_requests for request in gang.requests]
    return any(dict(request.resources_bundle) == ours for request in [*requests, *state.infeasible_resource_requests])


def await_places(execution: ExecutionConfig, workers: int, joined: bool) -> None:
    """Wait until the nodes of a cluster hold the workers, and ask its autoscaler for them meanwhile; refuse what never
    will fit.

    A session of our own does not grow: it refuses at once. So does an autoscaler (v2), as soon as it has reported that
    it has no such nodes; else it has `PATIENCE_SECONDS`. Without one, nodes have ``start_timeout_seconds`` to join.

    Args:
        execution: what a worker needs.
        workers: that must run at the same time.
        joined: others use the session too, or nodes may join it.

    Raises:
        ClusterError: the workers do not fit.
    """
    began, refusals, group = time.monotonic(), 0, None
    try:
        while True:
            nodes = places(execution)
            total = sum(item.fits for item in nodes)
            if total >= workers:
                return
            text = (
                f"{workers} worker{'s' if workers > 1 else ''} with {_needs(execution)} each must run at once, and "
                f"there is place for {total} ({'; '.join(item.arithmetic for item in nodes) or 'no node'})"
            )
            mend = "lower what each needs (execution.cpus_per_worker, ..) or their number"
            if not joined:
                raise ClusterError(f"{text}: {mend}, or join a larger cluster (--address)")
            if group is None:  # a group that waits is what an autoscaler acts upon
                group = ray.util.placement_group([resources(execution)] * workers)
                logger.warning(
                    "%s: waiting for more nodes (execution.start_timeout_seconds = %g if there is no autoscaler)",
                    text,
                    execution.start_timeout_seconds,
                )
            refuses = autoscaler_refuses(execution)
            refusals = refusals + 1 if refuses else 0
            if refusals >= LOOKS:
                raise ClusterError(f"{text}, and the autoscaler has no such nodes to add: {mend}, or raise its limits")
            patience = execution.start_timeout_seconds if refuses is None else PATIENCE_SECONDS
            if time.monotonic() > began + patience:
                raise ClusterError(f"{text}, and no more nodes have joined within {patience:g} s: {mend}, or add nodes")
            time.sleep(1.0)
    finally:
        if group is not None:
            ray.util.remove_placement_group(group)


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
