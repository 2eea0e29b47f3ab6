import numpy as np
import pytest

from lwgan_dist.method.rank_selection import choose_rank, rank_scores


def flat_after(rank, ranks, evaluations=50, noise=0.01, seed=0):
    mean = np.where(np.arange(1, ranks + 1) < rank, 1.0, 0.1)
    return mean + np.random.default_rng(seed).normal(0, noise, (evaluations, ranks))


def test_score_leaves_the_penalty_weight_out_and_weighs_the_mmd():
    one = np.ones((2, 3))
    assert rank_scores(one, 2 * one, 4 * one, 8 * one, mmd_weight=0.5).tolist() == (11 * one).tolist()


@pytest.mark.parametrize("rank", [1, 3, 5])
@pytest.mark.parametrize("rule", ["reference", "rate"])
def test_the_smallest_rank_of_a_flat_stretch_is_chosen(rank, rule):
    assert choose_rank(flat_after(rank, 5), rule, rows=1000).rank == rank


def test_without_penalty_the_minimum_is_chosen():
    scores = np.array([[3.0, 1.0, 0.9], [3.0, 1.0, 0.9]])
    assert choose_rank(scores, "fixed", constant=0.0).rank == 3
    assert choose_rank(scores, "fixed", constant=0.2).rank == 2


def test_reference_penalty_is_the_standard_error_at_the_minimum_to_the_power():
    scores = np.array([[5.0, 1.0], [5.0, 3.0]])  # sd at rank 2 is sqrt(2), SE is 1
    assert choose_rank(scores, "reference").penalty == pytest.approx(1.0)
    assert choose_rank(scores * 2, "reference", exponent=0.5).penalty == pytest.approx(np.sqrt(2.0))


def test_rate_penalty_follows_the_sample_size():
    scores = flat_after(2, 4)
    penalties = [choose_rank(scores, "rate", constant=2.0, rows=n).penalty for n in (100, 10_000)]
    assert penalties == pytest.approx([2.0 * 100**-0.4, 2.0 * 10_000**-0.4])


def test_penalty_shrinks_more_slowly_than_the_standard_error():
    for scale in (1e-1, 1e-2, 1e-3):
        choice = choose_rank(flat_after(2, 4, noise=scale), "reference")
        assert choice.penalty > choice.standard_error.min()


@pytest.mark.parametrize(
    ("scores", "rule", "rows", "message"),
    [
        (np.array([[1.0, np.nan]] * 2), "reference", None, "finite"),
        (np.array([1.0, 2.0]), "reference", None, "shape"),
        (np.ones((1, 3)), "reference", None, "at least 2 evaluations"),
        (np.ones((2, 3)), "rate", None, "number of rows"),
    ],
)
def test_scores_that_cannot_be_judged_are_refused(scores, rule, rows, message):
    with pytest.raises(ValueError, match=message):
        choose_rank(scores, rule, rows=rows)
