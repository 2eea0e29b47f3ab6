"""Settings of the tests: one thread, as in a worker, and no trace of Ray's in the home folder."""

import os
from unittest.mock import patch

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a local ray.init would write ~/.ray/auth_token
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from undrawn import few_rows, undrawn


@pytest.fixture(scope="module")
def blank_figures():
    """For tests of tiny runs that look at none of their figures."""
    with undrawn():
        yield


@pytest.fixture(scope="module")
def quick_fits():
    """For tests of many tiny searches and studies: shorter fits, and metrics of few rows."""
    from tiny_search import TINY

    with few_rows(), patch.dict(TINY["run"]["schedule"], tear=False, critic_iterations=6):
        yield


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
