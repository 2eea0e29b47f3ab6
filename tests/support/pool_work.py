"""Work for the pool, importable by Ray's workers: does what the task says and keeps a record in a folder."""

import os
import signal
import threading
import time
from pathlib import Path

import ray


def record(task, what):
    name = f"{task['n']:04d}-{what}-{os.getpid()}-{time.time_ns()}"
    (Path(task["folder"]) / name).write_text(ray.get_runtime_context().get_node_id())


def act(task):
    if "folder" in task:
        record(task, "begun")
    if task.get("raise"):
        raise ValueError(task["raise"])
    time.sleep(task.get("seconds", 0))
    if "eat" in task and not os.path.exists(task.get("eat_once", "")):
        if "eat_once" in task:
            Path(task["eat_once"]).touch()
        held = []
        for _ in range(task["eat"]):  # GiB
            held.append(bytearray(2**30))
            time.sleep(0.3)
    doomed = task.get("kill_always", False)
    if "kill_once" in task and not os.path.exists(task["kill_once"]):
        Path(task["kill_once"]).touch()
        doomed = True
    if doomed and "kill_after" in task:  # its answer is on the way, or the next task is
        threading.Timer(task["kill_after"], os.kill, (os.getpid(), signal.SIGKILL)).start()
    elif doomed:
        os.kill(os.getpid(), signal.SIGKILL)
    if "folder" in task:
        record(task, "ended")
    return {"n": task["n"], "square": task["n"] ** 2, "pid": os.getpid()}


def act_in_a_group(task):
    """Reserve one CPU for each of two workers, as Ray Train does, and give them back."""
    group = ray.util.placement_group([{"CPU": 1}] * 2)
    ray.get(group.ready(), timeout=60)
    try:
        return act(task)
    finally:
        ray.util.remove_placement_group(group)


def count_up(task):
    """Reports 1, 2, .. up to ``to`` on its way, and dies once after a report if it is told so."""
    record(task, "begun")
    for value in range(1, task["to"] + 1):
        yield {"value": value, "pid": os.getpid()}
        if value == task.get("die_after") and not os.path.exists(task["kill_once"]):
            Path(task["kill_once"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if value == task.get("raise_after"):
            raise ValueError("on its way")
    record(task, "ended")
    return {"n": task["n"]}
