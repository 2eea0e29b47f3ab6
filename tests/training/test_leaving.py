"""A worker whose place is about to be taken away writes a checkpoint at once, whatever the time between checkpoints."""

import itertools

import pytest
from tiny import CONFIGS, make_trainer

from lwgan_dist.models.registry import trainer_of
from lwgan_dist.storage import Folder
from lwgan_dist.training import loop
from lwgan_dist.training.checkpoint import Checkpoints
from lwgan_dist.training.loop import train_worker


@pytest.fixture
def steps(monkeypatch):
    """Seconds that an iteration lasts, and the iterations after which `leaving` was asked."""
    told = make_trainer(CONFIGS["fast"])
    clock = type("Clock", (), {"now": 0.0})()
    monkeypatch.setattr(loop, "time", type("Time", (), {"monotonic": staticmethod(lambda: clock.now)}))
    iterate = type(told)._iterate

    def slow(trainer, stage, iteration):
        iterate(trainer, stage, iteration)
        clock.now += clock.step

    monkeypatch.setattr(type(told), "_iterate", slow)
    clock.step = 0.5
    return told, clock


def train(told, folder, **more):
    saved = []
    save = Checkpoints.save

    def noted(self, state):
        saved.append(state.meta["iteration"])
        save(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", noted)
        again = trainer_of(told.model.config, told.model.sample)
        train_worker(again, Folder.at(str(folder)), checkpoints_kept=2, report=None, **more)
    return saved


def test_without_an_announcement_only_the_end_is_kept(steps, tmp_path):
    told, _ = steps
    assert train(told, tmp_path, checkpoint_seconds=1e9) == [told.iterations]


def test_a_checkpoint_at_the_end_is_not_written_again_by_a_resume(steps, tmp_path):
    """A command that is killed before it has written the result: a kill while it is written anew would lose it."""
    told, _ = steps
    train(told, tmp_path, checkpoint_seconds=1e9)
    assert train(told, tmp_path, checkpoint_seconds=1e9) == []


def test_an_announcement_is_answered_within_two_looks_and_followed_up(steps, tmp_path):
    told, clock = steps
    announced = 2.0
    saved = train(told, tmp_path, checkpoint_seconds=1e9, leaving=lambda: clock.now >= announced)
    first = saved[0] * clock.step
    assert announced <= first <= announced + 2 * loop.LOOK_SECONDS
    gaps = [(after - before) * clock.step for before, after in itertools.pairwise(saved[:-1])]
    assert all(loop.LEAVING_SECONDS <= gap <= loop.LEAVING_SECONDS + loop.LOOK_SECONDS for gap in gaps)
    assert len(gaps) >= 2
    assert saved[-1] == told.iterations


def test_it_is_asked_about_once_a_second_and_no_more_once_it_is_known(steps, tmp_path):
    told, clock = steps
    asked = []
    train(told, tmp_path / "never", checkpoint_seconds=1e9, leaving=lambda: asked.append(clock.now))
    lasted = told.iterations * clock.step
    assert lasted / 2 <= len(asked) <= 2 * lasted + 2 * len(told.stages)
    asked.clear()
    train(told, tmp_path / "once", checkpoint_seconds=1e9, leaving=lambda: asked.append(clock.now) or True)
    assert len(asked) == 1


def test_a_time_between_records_does_not_delay_checkpoints(steps, tmp_path, monkeypatch):
    """500 records of a run of days are minutes apart."""
    told, _ = steps
    monkeypatch.setattr("lwgan_dist.training.trainer.LOG_POINTS", 1)
    saved = train(told, tmp_path, checkpoint_seconds=2.0)
    assert len(saved) >= told.iterations * 0.5 / 4
