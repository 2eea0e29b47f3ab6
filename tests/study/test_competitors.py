"""Classical estimators beside the answer: which rows they see, what ends none of them, what is written."""

import json

import numpy as np
import pytest
from tiny import FAST

from lwgan_dist.config import ArrayData, ExecutionConfig, ManifoldData, RunConfig
from lwgan_dist.data.sample import load_sample
from lwgan_dist.run.folder import read_result
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder
from lwgan_dist.study import competitors
from lwgan_dist.study.classical import classical_estimate
from lwgan_dist.study.competitors import COMPETITORS, add_competitors, competitors_of

pytestmark = pytest.mark.usefixtures("blank_figures")


def sample_of(rows):
    return load_sample(ArrayData(), rows)


def plane(n, columns=4):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 2)) @ rng.standard_normal((2, columns))


def test_one_needs_nothing_installed_and_says_what_it_says_alone(monkeypatch):
    monkeypatch.setattr(competitors, "find_spec", lambda name: None)
    assert competitors.installed() == ["ABIDE"]
    rows = plane(300)
    (said,) = competitors_of(sample_of(rows), 0, ["ABIDE"])
    alone = classical_estimate("ABIDE", rows, 0)
    assert (said.dimension, said.rows, said.failure) == (2, 300, None)
    assert said.value == pytest.approx(alone.value, rel=0.05)  # the order of the rows breaks ties, the scale is another


def test_repeated_rows_count_once():
    rows = np.concatenate([plane(200), plane(200)[:50]])
    (said,) = competitors_of(sample_of(rows), 0, ["ABIDE"])
    assert (said.rows, said.failure) == (200, None)


def test_training_and_held_out_rows_are_all_seen_and_many_are_drawn_by_the_seed(monkeypatch):
    rows = plane(60)
    sample = sample_of(rows)
    scaled = (rows - sample.standardizer.shift) / sample.standardizer.scale
    seen = competitors._rows(sample, 0)
    assert sorted(map(tuple, seen.round(9))) == sorted(map(tuple, scaled.round(9)))
    monkeypatch.setattr(competitors, "MOST_ROWS", 20)
    first, again, other = (competitors._rows(sample, seed) for seed in (0, 0, 1))
    assert first.shape == (20, 4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert {tuple(row) for row in first.round(9)} <= {tuple(row) for row in scaled.round(9)}
    monkeypatch.setattr(competitors, "MOST_NUMBERS", 40)
    assert competitors._rows(sample, 0).shape == (10, 4)


def test_of_a_stream_fresh_rows_are_seen_and_of_images_vectors():
    stream = load_sample(ManifoldData(name="s_curve", rows="stream", n=100))
    assert competitors._rows(stream, 0).shape == (competitors.MOST_ROWS, 3)
    images = sample_of(np.random.default_rng(0).standard_normal((30, 2, 3)))
    assert competitors._rows(images, 0).shape == (30, 6)


def test_one_that_would_take_long_is_left_out_and_says_so(monkeypatch):
    monkeypatch.setattr(competitors, "classical_estimate", None)  # calling it would fail
    (said,) = competitors_of(sample_of(plane(101, 400)), 0, ["DANCo"])
    assert (said.dimension, said.value, said.cpu_seconds) == (None, None, 0.0)
    assert said.failure == "left out: 101 rows of 400 columns would take long"


@pytest.mark.parametrize("error", [MemoryError("full"), competitors.ConfigError("broken")])
def test_whatever_goes_wrong_is_a_line(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(competitors, "classical_estimate", fail)
    (said,) = competitors_of(sample_of(plane(50)), 0, ["MLE"])
    assert said.failure == f"{type(error).__name__}: {error}"
    monkeypatch.undo()
    (said,) = competitors_of(sample_of(plane(50)[:, :1]), 0, ["ABIDE"])
    assert said.failure == "ValueError: rows must have at least 2 columns"


def test_they_are_entered_in_the_result_once_and_those_that_are_missing_later(tmp_path, monkeypatch):
    folder = Folder.at(str(tmp_path / "run"))
    run = Run(RunConfig.model_validate(FAST))
    before = run.train(folder, ExecutionConfig(workers=0))
    assert before.competitors == []
    monkeypatch.setattr(competitors, "installed", lambda: ["ABIDE"])
    first = add_competitors(run, folder)
    assert first == before.model_copy(update={"competitors": first.competitors})
    assert [one.name for one in read_result(folder).competitors] == ["ABIDE"]
    written = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    assert add_competitors(run, folder) == first
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == written
    monkeypatch.setattr(competitors, "installed", lambda: list(COMPETITORS[:2]))
    monkeypatch.setattr(competitors, "competitors_of", lambda *_: [competitors.Competitor(name="TwoNN", rows=9)])
    more = json.loads((tmp_path / "run" / "result.json").read_text())["competitors"]
    assert [one["name"] for one in more] == ["ABIDE"]
    assert [one.name for one in add_competitors(run, folder).competitors] == ["ABIDE", "TwoNN"]
