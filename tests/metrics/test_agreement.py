"""Whether two metrics put models into the same order."""

import pytest

from lwgan_dist.metrics.agreement import SPACES, ranking_agreement
from lwgan_dist.metrics.registry import METRICS

TABLE = {
    "lwgan": {"fd_cnn": 1.0, "fd_random": 0.1, "fd_pca": 5.0},
    "vae": {"fd_cnn": 2.0, "fd_random": 0.3, "fd_pca": 4.0},
    "wae": {"fd_cnn": 3.0, "fd_random": 0.2, "fd_pca": 3.0},
}


def test_the_spaces_are_the_frechet_distances():
    assert [name for name in METRICS if name.startswith("fd_")] == list(SPACES)


def test_kendalls_tau_of_every_two_spaces_and_who_is_put_in_another_order():
    first, second, third = ranking_agreement(TABLE)
    assert (first.first, first.second, first.models) == ("fd_cnn", "fd_random", 3)
    assert first.tau == pytest.approx(1 / 3)  # two of three pairs agree
    assert first.disagreements == (("vae", "wae"),)
    assert str(first).endswith("Kendall's tau 0.33; by fd_cnn, but not by fd_random: vae over wae")
    assert second.tau == pytest.approx(-1.0)
    assert len(second.disagreements) == 3
    assert third.tau == pytest.approx(-1 / 3)


def test_metrics_are_compared_by_what_is_better():
    better = {"w2": 1.0, "coverage": 0.9, "nn_accuracy": 0.5}
    table = {"a": better, "b": {"w2": 2.0, "coverage": 0.8, "nn_accuracy": 0.4}}
    for agreement in ranking_agreement(table, ["w2", "coverage", "nn_accuracy"]):
        assert agreement.tau == pytest.approx(1.0)
        assert str(agreement).endswith("no disagreement")


def test_models_without_a_value_do_not_count():
    table = {**TABLE, "gan": {"fd_cnn": 0.5, "fd_random": None}, "nan": {"fd_cnn": float("nan"), "fd_random": 1.0}}
    (agreement,) = ranking_agreement(table, ["fd_cnn", "fd_random"])
    assert agreement.models == 3
    assert ranking_agreement({"a": {}, "b": {"fd_cnn": 1.0}}) == []
    (undecided,) = ranking_agreement({"a": {"w1": 1.0, "w2": 1.0}, "b": {"w1": 1.0, "w2": 2.0}}, ["w1", "w2"])
    assert undecided.tau is None
    assert "undefined" in str(undecided)
