"""Settings of the tests: one thread, as in a worker, and no trace of Ray's in the home folder."""

import os

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a local ray.init would write ~/.ray/auth_token
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture(scope="module")
def blank_figures():
    """Figures are made but not drawn, which takes longer than a tiny run: for tests that look at none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.draw", lambda _figure, _renderer: None)
        yield


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
