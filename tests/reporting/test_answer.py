"""The answer in words, and what others say of the same rows."""

import pytest

from lwgan_dist.reporting.answer import answer_sentence, stance
from lwgan_dist.results import Competitor, Fits, Part, RankScore, Replicate, RunResult


def answer(**told):
    told = {
        "dimension": 5, "rank_set": [4, 5, 6], "confidence": 0.9, "other_dimension": 5, "score_on": "train",
        "intrinsic_dim": None, **told,
    }  # fmt: skip
    return answer_sentence(RunResult.model_construct(**told))


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({}, "The data look 5-dimensional (90 %: 4 to 6), and so do the rows held out."),
        ({"rank_set": [5]}, "The data look 5-dimensional (90 %: 5), and so do the rows held out."),
        ({"other_dimension": 3}, "The data look 5-dimensional (90 %: 4 to 6), but the rows held out say 3."),
        (
            {"other_dimension": 3, "score_on": "holdout"},
            "The data look 5-dimensional (90 %: 4 to 6), but the training rows say 3.",
        ),
        ({"confidence": None, "other_dimension": None}, "The data look 5-dimensional."),
        ({"other_dimension": None, "intrinsic_dim": 4},
         "The data look 5-dimensional (90 %: 4 to 6); they are 4-dimensional."),
    ],
)  # fmt: skip
def test_the_answer_is_a_sentence(told, sentence):
    assert answer(**told) == sentence


def test_parts_of_different_dimensions_have_no_one_dimension():
    parts = [Part(rows=400, share=0.4, dimension=1), Part(rows=600, share=0.6, dimension=3)]
    assert answer(parts=parts, dimension=1, rank_set=[1, 2]) == (
        "The data fall into 2 parts of different dimensions: 60 % of the rows look 3-dimensional, 40 % 1-dimensional. "
        "Taken as a whole they need rank 1."
    )
    told = {"parts": parts, "dimension": 1, "rank_set": [1, 2]}
    assert answer(**told, competitors=[Competitor.model_construct(name="MLE", value=2.6, dimension=3)]).endswith(
        "MLE says 2.6."
    )
    same = [part.model_copy(update={"dimension": 5}) for part in parts]
    assert answer(parts=same).startswith("The data look 5-dimensional")


def test_an_estimate_that_neighbours_lowered_is_no_agreement_of_rows_held_out():
    assert answer(lowered_from=7) == (
        "The data look 5-dimensional (90 %: 4 to 6) by the distances between neighbouring rows, where networks need "
        "rank 7."
    )
    assert answer(lowered_from=7, other_dimension=3).endswith(", but the rows held out say 3.")


ERRORS = [RankScore(rank=rank, score=1.0, se=0.1, reconstruction=1.0 / rank) for rank in range(1, 6)]


@pytest.mark.parametrize(("held_out", "score_on", "speaks"), [
    (0.41, "train", True), (0.39, "train", False), (0.41, "holdout", False), (None, "train", False),
])  # fmt: skip
def test_networks_that_know_the_training_rows_by_heart_are_said_to(held_out, score_on, speaks):
    metrics = {} if held_out is None else {"reconstruction": held_out}
    said = answer(rank_scores=ERRORS, metrics=metrics, score_on=score_on)
    assert (
        "; the networks know the training rows by heart (reconstruction error 0.2, held out 0.41)." in said
    ) == speaks
    assert ("by heart" in said) == speaks


def fits(*others):
    """A first fit that says 5 (4 to 6), and others: (estimate, set, on the rows held out)."""
    replicates = [
        Replicate(seed=seed, dimension=own, rank_set=ranks, other_dimension=other, run_dir="r",
                  failure=None if own else "diverged")
        for seed, (own, ranks, other) in enumerate(others, start=1)
    ]  # fmt: skip
    return Fits.of(5, [4, 5, 6], replicates)


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ([(5, [5], 5)], "5-dimensional (at least 90 %: 4 to 6), and so do the rows held out. All 2 fits say 5."),
        (
            [(7, [6, 7], 7), (7, [7, 8], 4)],
            "7-dimensional (at least 90 %: 4 to 8), but in 1 of 3 fits the rows held out say otherwise (4). "
            "Of 3 fits, 1 says 5 and 2 say 7.",
        ),
        (
            [(3, None, None), (None, None, None)],
            "3-dimensional (at least 90 %: 3 to 6), and so do the rows held out. "
            "Of 3 fits, 1 says 3 and 1 says 5; 1 failed.",
        ),
    ],
)
def test_several_fits_answer_together(others, sentence):
    """The most frequent estimate, of several the smallest; from the smallest to the largest rank of any set."""
    assert answer(fits=fits(*others)) == f"The data look {sentence}"


def rivals(**values):
    return [
        Competitor(name=name, value=value, dimension=None if value is None else max(1, int(value + 0.5)), rows=9,
                   failure="none" if value is None else None)
        for name, value in values.items()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"ABIDE": 5.0, "TwoNN": 4.6, "MLE": 5.12}, "ABIDE says 5, TwoNN 4.6, MLE 5.1: they agree."),
        ({"ABIDE": 5.0}, "ABIDE says 5: it agrees."),
        ({"ABIDE": 2.0, "TwoNN": 9.0}, "ABIDE says 2, TwoNN 9: they disagree."),
        ({"ABIDE": 5.0, "TwoNN": 3.2, "MLE": 6.5}, "ABIDE says 5, TwoNN 3.2, MLE 6.5: TwoNN and MLE disagree."),
        ({"ABIDE": 5.0, "TwoNN": 3.2, "MLE": None}, "ABIDE says 5, TwoNN 3.2: TwoNN disagrees."),
        ({"ABIDE": None}, ""),
    ],
)
def test_what_competitors_say_and_whether_they_agree(values, sentence):
    said = answer(competitors=rivals(**values))
    assert said == f"{answer()} {sentence}".strip()


def test_a_wide_set_makes_nobody_agree_that_is_far_from_the_estimate():
    said = answer(rank_set=list(range(2, 9)), competitors=rivals(ABIDE=3.0, TwoNN=6.4, DANCo=9.0))
    assert said.endswith(
        "ABIDE says 3, TwoNN 6.4, DANCo 9: ABIDE is in the set, but more than one off and DANCo disagrees."
    )


def test_agreement_is_with_all_fits_and_without_a_set_with_the_estimate():
    (seven,) = rivals(MLE=7.0)
    base = {"dimension": 5, "rank_set": [4, 5, 6], "confidence": 0.9}
    assert stance(RunResult.model_construct(**base), seven) == "disagrees"
    assert stance(RunResult.model_construct(**base, fits=fits((7, [7], None), (7, [7], None))), seven) == "agrees"
    assert stance(RunResult.model_construct(dimension=6, rank_set=None), seven) == "disagrees"
    assert stance(RunResult.model_construct(dimension=None, rank_set=None), seven) is None


def test_of_a_model_that_estimates_nothing_competitors_stand_alone():
    said = answer_sentence(
        RunResult.model_construct(dimension=None, model="wae", max_dimension=2, ambient_dim=3, rank_set=None,
                                  intrinsic_dim=None, competitors=rivals(ABIDE=2.0, MLE=2.26))
    )  # fmt: skip
    assert said == "wae of latent size 2, which estimates no dimension, in 3 columns. ABIDE says 2, MLE 2.3."
