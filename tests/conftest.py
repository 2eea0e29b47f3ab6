"""Settings of the tests: one thread, as in a worker, and no trace of Ray's in the home folder."""

import os

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a local ray.init would write ~/.ray/auth_token
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `-n 2 --dist loadgroup`: the tests of a file share a process; all that start Ray share one and come first."""
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
