"""Further fits of the data of a run."""

import numpy as np
import pytest
from tiny import FAST

from lwgan_dist.config import ArrayData, ExecutionConfig, RunConfig, override
from lwgan_dist.errors import NonFiniteLossError, UnreadableError
from lwgan_dist.results import Fits
from lwgan_dist.run import replicates
from lwgan_dist.run.folder import read_result
from lwgan_dist.run.replicates import replicated, train_replicates
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

pytestmark = pytest.mark.usefixtures("blank_figures")

HERE = ExecutionConfig(workers=0)


@pytest.fixture
def finished(tmp_path):
    """A finished run and its folder."""
    folder = Folder.at(str(tmp_path / "run"))
    run = Run(RunConfig.model_validate(override(FAST, {"seed": 3, "data.seed": 5})))
    run.train(folder, HERE)
    return run, folder


def test_each_is_an_ordinary_run_with_another_seed_and_another_split(finished):
    run, folder = finished
    result = train_replicates(run, folder, HERE, 3)
    assert result == read_result(folder)
    assert [(one.seed, one.run_dir) for one in result.fits.replicates] == [
        (4, "replicates/seed-4"), (5, "replicates/seed-5"),
    ]  # fmt: skip
    for number, one in enumerate(result.fits.replicates, start=1):
        place = Folder.at(f"{folder.location}/{one.run_dir}")
        other, config = read_result(place), Run.of(place).config
        assert (config.seed, config.data.seed) == (3 + number, 5 + number)
        assert (one.dimension, one.rank_set, one.other_dimension) == (
            other.dimension, other.rank_set, other.other_dimension,
        )  # fmt: skip
        same = config.model_copy(update={"seed": 3, "data": config.data.model_copy(update={"seed": 5})})
        assert same == run.config
    assert result.fits == Fits.of(result.dimension, result.rank_set, result.fits.replicates)
    assert sum(result.fits.votes.values()) == 3


def test_what_is_finished_is_not_repeated_and_stays_in_the_result(finished, monkeypatch):
    run, folder = finished
    two = train_replicates(run, folder, HERE, 2)
    three = train_replicates(run, folder, HERE, 3)
    assert three.fits.replicates[0] == two.fits.replicates[0]
    monkeypatch.setattr(replicates, "Run", None)  # calling it would fail
    assert train_replicates(run, folder, HERE, 3) == three
    assert train_replicates(run, folder, HERE, 1) == three


def test_an_interrupted_fit_goes_on_and_the_others_wait(finished, monkeypatch):
    run, folder = finished
    train = Run.train

    def interrupted(self, place, *args, **kwargs):
        if place.location.endswith("seed-5"):
            raise KeyboardInterrupt
        return train(self, place, *args, **kwargs)

    monkeypatch.setattr(Run, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_replicates(run, folder, HERE, 3)
    first = (folder.local / "replicates" / "seed-4" / "result.json").stat().st_mtime_ns
    monkeypatch.undo()
    assert len(train_replicates(run, folder, HERE, 3).fits.replicates) == 2
    assert (folder.local / "replicates" / "seed-4" / "result.json").stat().st_mtime_ns == first


def test_a_fit_that_diverges_is_recorded_and_one_whose_data_are_gone_is_not(finished, monkeypatch, capsys):
    run, folder = finished

    def fail(error):
        def train(*_, **__):
            raise error

        monkeypatch.setattr(Run, "train", train)

    fail(UnreadableError("gone"))
    with pytest.raises(UnreadableError):
        train_replicates(run, folder, HERE, 2)
    assert read_result(folder).fits is None
    fail(NonFiniteLossError("infinite"))
    (one,) = train_replicates(run, folder, HERE, 2, label="mine").fits.replicates
    assert (one.dimension, one.failure) == (None, "infinite")
    assert "replicates/seed-4: infinite" in capsys.readouterr().err


def test_rows_in_memory_are_fitted_again_with_their_names(tmp_path):
    rows = np.random.default_rng(0).standard_normal((60, 3))
    config = RunConfig.model_validate(override(FAST, {"data": {"source": "array"}, "schedule.batch_size": 20}))
    run, folder = Run(config, rows, columns=("a", "b", "c")), Folder.at(str(tmp_path / "run"))
    run.train(folder, HERE)
    (one,) = train_replicates(run, folder, HERE, 2).fits.replicates
    assert one.dimension is not None
    assert replicated(config, 1).data == ArrayData(seed=1)
