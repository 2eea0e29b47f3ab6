"""Log records of the processes that Ray starts: they go to Ray's own log files, in the format of the driver."""

from typing import Any

import ray

from lwgan_dist import logs


def settings_of_workers() -> dict[str, Any]:
    """The logging of the workers of this driver, for `configure_worker`: plain JSON, and nothing of its environment."""
    return {"form": "json" if logs.is_json() else "text"}


_DONE: set[str] = set()
"""In this process."""


def configure_worker(settings: dict[str, Any]) -> None:
    """Set the logging of a process of Ray up, once, with the node and the job that it belongs to."""
    if settings["form"] not in _DONE:
        logs.configure(settings["form"], **ray_fields())
        _DONE.add(settings["form"])


def ray_fields() -> dict[str, Any]:
    """The job of Ray, and the node of this process; empty without Ray."""
    if not ray.is_initialized():
        return {}
    here = ray.get_runtime_context()
    return {"node": here.get_node_id(), "job": here.get_job_id()}
