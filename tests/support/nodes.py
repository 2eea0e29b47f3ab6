"""Clusters of several Ray nodes on this machine, which can be lost, drained and added; commands that run on them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "180"}


def wait_for(condition, seconds=180, what="it", pause=0.1):
    """The value of a condition once it holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    raise AssertionError(f"{what} did not happen in {seconds} s")


@contextmanager
def cluster(head_cpus=0):
    """A head, to which nodes are added."""
    from ray.cluster_utils import Cluster

    os.environ.update(ENVIRONMENT)
    made = Cluster(
        initialize_head=True, connect=False, head_node_args={"num_cpus": head_cpus, "include_dashboard": False}
    )
    try:
        yield made
    finally:
        made.shutdown()


def processes_of(node, title):
    """Process ids of the workers that a node has started, by their title."""
    (raylet,) = (entry.process.pid for entry in node.all_processes["raylet"])
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, parent, args in rows if int(parent) == raylet and title in args]


def trainers_of(node):
    """Workers of Ray Train on a node."""
    return processes_of(node, "RayTrainWorker")


def lose(cluster, node):
    """The node is gone, with all its processes, at once."""
    cluster.remove_node(node, allow_graceful=False)


def drain(cluster, node, seconds=30):
    """Announce that a node will be taken away."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", cluster.address]
    command += ["--node-id", node.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", "test", "--deadline-remaining-seconds", str(seconds)]
    subprocess.run(command, capture_output=True, check=True, timeout=120)


def start(arguments, log):
    """A command of lwgan-dist in the background, which Ctrl-C can reach; its output is in the file."""
    with open(log, "ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "lwgan_dist", *map(str, arguments)],
            stdout=file,
            stderr=file,
            env={**os.environ, **ENVIRONMENT},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def run(arguments, timeout=500):
    """A command of lwgan-dist, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "lwgan_dist", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **ENVIRONMENT},
    )


def iteration_of(run: Path):
    """Where a run stands; 0 before it has begun."""
    try:
        return json.loads((run / "progress.json").read_text())["iteration"]
    except (OSError, ValueError):
        return 0


def checkpoint_iterations(run: Path):
    """Iterations of the checkpoints that are there."""
    names = [path.name for path in (run / "checkpoints").glob("iteration-*")]
    return sorted(int(re.sub(r"\D", "", name)) for name in names)
