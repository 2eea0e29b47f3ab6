"""The number of workers changes no result: all iterations in float64 agree to 1e-10, uneven shares included.

Sums over rows are taken in another order on another number of workers, which rounds at 1e-16 a step; 1e-10 leaves room
for forty steps of growth and none for a different batch."""

import functools

import pytest
from gloo import SCORE_INTERVAL, trajectories
from tiny import CONFIGS, make_trainer, trajectory, whole_parameters

from lwgan_dist.training.distributed import World


def flat(seen):
    numbers = [value for row in seen["losses"] for value in row.values()]
    numbers += [value for tables in seen["components"].values() for table in tables for row in table for value in row]
    return numbers + seen["tensors"]


@functools.cache
def alone_of(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lwgan_dist.models.lwgan.stages.SCORE_INTERVAL", SCORE_INTERVAL)
        trainer = make_trainer(CONFIGS[name])
        seen = trajectory(trainer)
    assert all(trainer.components.values())
    return flat(seen | {"tensors": whole_parameters(trainer)})


@pytest.mark.parametrize("name", ["paper", "fast"])
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_follow_the_trajectory_of_one(name, workers, tmp_path):
    for seen in trajectories(CONFIGS[name], workers, tmp_path):
        assert seen["differing"] == []
        assert flat(seen) == pytest.approx(alone_of(name), rel=1e-10, abs=1e-10)


def test_matching_on_local_rows_alone_would_be_noticed(tmp_path):
    """Control: codes that are not gathered give another trajectory."""
    seen = flat(trajectories(CONFIGS["paper"], 2, tmp_path, fault="local statistics")[0])
    assert seen != pytest.approx(alone_of("paper"), rel=1e-10, abs=1e-10)


def test_a_worker_with_its_own_noise_would_be_noticed(tmp_path):
    """Control: another seed on one worker gives another trajectory."""
    seen = flat(trajectories(CONFIGS["paper"], 2, tmp_path, fault="own noise")[0])
    assert seen != pytest.approx(alone_of("paper"), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("rows", [1, 7, 30])
@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_shares_cover_a_batch_once_and_evenly(rows, workers):
    shares = [World(i, workers).share(rows) for i in range(workers)]
    covered = [row for share in shares for row in range(share.start, share.stop)]
    sizes = [share.stop - share.start for share in shares]
    assert covered == list(range(rows))
    assert max(sizes) - min(sizes) <= 1
