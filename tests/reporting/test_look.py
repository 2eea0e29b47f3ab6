"""The figures of a run, and what all figures have in common."""

import numpy as np
import pytest
from matplotlib.text import Text

from lwgan_dist.reporting import look
from lwgan_dist.reporting.figures import rank_score_figure, sample_figure
from lwgan_dist.results import RankScore, RunResult, Step


@pytest.mark.parametrize("columns", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ["Price ($/m^2)", "$_$", "$\\frac{$"])
def test_columns_of_a_table_are_no_mathematics(columns, name):
    """A text between dollars would be drawn as a formula, and most are none: a traceback at the end of a run."""
    rows = np.random.default_rng(0).normal(size=(2, 30, columns))
    figure = sample_figure(rows[0], rows[1], 1, [name, *(f"{name} {i} $" for i in range(1, columns))])
    assert look.png(figure).startswith(b"\x89PNG")
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())
    assert figure.axes[0].get_xlabel() == (name if columns < 5 else "principal component 1")


def test_data_and_generated_rows_are_on_the_same_axes():
    data, generated = np.random.default_rng(0).normal(size=(2, 30, 2)) * [[[1]], [[5]]]
    left, right = sample_figure(data, generated, 2, ["a", "b"]).axes
    both = np.concatenate([data, generated])
    for axes in (left, right):
        np.testing.assert_allclose(axes.get_xlim(), (both[:, 0].min(), both[:, 0].max()))
        np.testing.assert_allclose(axes.get_ylim(), (both[:, 1].min(), both[:, 1].max()))
    assert left.get_title() == "data (30 rows)"


def _result(resolution):
    rule = "reference" if resolution is None else "resolution"
    numbers = {"se": 0.1, "critic": 0.0, "reconstruction": 0.1, "gradient_penalty": 0.0, "mmd": 0.0}
    scores = [RankScore.model_construct(rank=rank, score=1.0 / rank, **numbers) for rank in (1, 2, 3)]
    steps = [Step.model_construct(dimension=d, from_resolution=a, to_resolution=b) for d, a, b in
             ((3, 0.01, 0.1), (1, 0.1, 1.0))]  # fmt: skip
    return RunResult.model_construct(
        model="lwgan", rule=rule, rank_scores=scores, dimension=3, penalty=0.5, resolution=resolution, staircase=steps,
        max_dimension=3, intrinsic_dim=2,
    )  # fmt: skip


def test_scores_have_the_penalised_ones_of_a_rule_of_the_paper_and_else_the_staircase():
    paper, by_resolution = rank_score_figure(_result(None)), rank_score_figure(_result(0.05))
    assert [len(figure.axes) for figure in (paper, by_resolution)] == [2, 3]
    assert "true dimension 2" in paper.axes[0].get_title()
    penalised = next(line for line in paper.axes[0].lines if line.get_label() == "score + 0.5000 · rank")
    np.testing.assert_allclose(penalised.get_ydata(), [1.5, 1.5, 1 / 3 + 1.5])
    assert not any("rank" in str(line.get_label()) for line in by_resolution.axes[0].lines)
    assert by_resolution.axes[2].get_title() == "dimension by resolution"


def test_a_legend_names_each_series_once_and_makes_room():
    figure, panels = look.panels(["a", "b"])
    height = figure.get_figheight()
    for axes in panels:
        axes.plot([0, 1], label="one")
        axes.plot([1, 0], label="another")
    look.legend(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "another"]
    assert figure.get_figheight() == pytest.approx(height + 0.2)


@pytest.mark.parametrize(
    ("label", "width", "lines"),
    [("short", 10, "short"), ("a label of several words", 10, "a label of\nseveral\nwords"),
     ("objective.gradient_penalty_weight", 30, "objective.\ngradient_penalty_weight"), ("x" * 25, 10, None)],
)  # fmt: skip
def test_labels_are_folded_into_at_most_three_lines(label, width, lines):
    made = look.folded(label, width)
    assert made.count("\n") <= 2
    assert max(map(len, made.split("\n"))) <= width
    assert lines is None or made == lines
