import numpy as np
import pyarrow.parquet as pq
import pytest

from lwgan_dist.config import ObjectiveConfig, ScoreConfig
from lwgan_dist.method.rank_selection import STAIRCASE
from lwgan_dist.results import COMPONENTS, Judgement, scores_from_parquet, scores_to_parquet


@pytest.fixture
def tables():
    """The third rank is the first good one on the training rows; the hold-out rows prefer the second."""
    rng = np.random.default_rng(0)
    tables = {split: rng.normal(0, 1e-3, (50, 4, 4)) for split in ("train", "holdout")}
    tables["train"][:, :2, 1] += 1.0
    tables["holdout"][:, [0, 2, 3], 1] += 1.0
    return tables


def test_score_tables_survive_parquet(tables, tmp_path):
    content = scores_to_parquet(tables, [1, 2, 3, 4], {"fingerprint": "abc"})
    again = scores_from_parquet(content)
    assert again.keys() == tables.keys()
    for split in tables:
        np.testing.assert_array_equal(again[split], tables[split])
    path = tmp_path / "scores.parquet"
    path.write_bytes(content)
    table = pq.read_table(path)
    assert table.column_names == ["split", "evaluation", "rank", *COMPONENTS]
    assert table.num_rows == 2 * 50 * 4
    assert table.schema.metadata[b"fingerprint"] == b"abc"


def test_a_flipped_bit_in_the_scores_is_noticed(tables):
    content = bytearray(scores_to_parquet(tables, [1, 2, 3, 4], {}))
    content[len(content) // 3] ^= 1
    with pytest.raises(OSError, match=r"CRC|checksum|[Cc]orrupt"):
        scores_from_parquet(bytes(content))


def test_the_rows_that_are_scored_decide(tables):
    choices = {
        split: Judgement.of(tables, ObjectiveConfig(), ScoreConfig(score_on=split), rows=1000).dimension
        for split in ("train", "holdout")
    }
    assert choices == {"train": 3, "holdout": 2}


def test_a_rank_row_holds_the_means_and_the_score_is_their_sum(tables):
    row = Judgement.of(tables, ObjectiveConfig(mmd_weight=2.0), ScoreConfig(), rows=None).rank_scores[1]
    means = dict(zip(COMPONENTS, tables["train"][:, 1].mean(axis=0), strict=True))
    assert {name: getattr(row, name) for name in COMPONENTS} == pytest.approx(means)
    assert row.score == pytest.approx(
        means["critic"] + means["reconstruction"] + means["gradient_penalty"] + 2 * means["mmd"]
    )


def test_other_settings_of_the_rule_claim_no_confidence():
    """The rank set was calibrated with the default rule alone."""
    table = np.zeros((4, 3, 4))
    table[:, :, 1] = [0.9, 0.1, 0.1]
    table[:, :, 1] += 1e-3 * np.random.default_rng(0).standard_normal((4, 3))
    told = [
        Judgement.of({"train": table}, ObjectiveConfig(), score, 100)
        for score in (ScoreConfig(), ScoreConfig(resolution=0.05))
    ]
    assert [judgement.confidence for judgement in told] == [0.9, None]
    assert all(judgement.rank_set for judgement in told)


def judged(tables, neighbours, rule=None):
    return Judgement.of(tables, ObjectiveConfig(), ScoreConfig(**rule or {}), 100, neighbours)


def test_neighbours_lower_the_estimate_at_every_resolution_and_never_raise_it(tables):
    free = judged(tables, None)
    assert free.dimension == 3
    for bound in (1, 2, 3, 4):
        lowered = judged(tables, [bound] * len(STAIRCASE))
        assert lowered.dimension == min(bound, 3)
        assert lowered.other_dimension == min(bound, free.other_dimension)
        assert max(lowered.rank_set) <= bound
        assert {step.dimension for step in lowered.staircase} == {min(bound, s.dimension) for s in free.staircase}
        assert lowered.rank_scores == free.rank_scores


def test_the_bound_is_that_of_the_resolution(tables):
    neighbours = [4 if resolution < 0.05 else 2 for resolution in STAIRCASE]
    assert judged(tables, neighbours, {"resolution": 0.04}).dimension == 3
    assert judged(tables, neighbours, {"resolution": 0.06}).dimension == 2
    assert judged(tables, neighbours, {"resolution": 0.0}).dimension == 3


@pytest.mark.parametrize("rule", [{"neighbours": False}, {"penalty": "reference"}, {"penalty": "rate"}])
def test_rules_that_do_not_ask_neighbours_are_not_bounded(tables, rule):
    dimensions = [judged(tables, bounds, rule).dimension for bounds in ([1] * len(STAIRCASE), None)]
    assert dimensions[0] == dimensions[1] > 1
