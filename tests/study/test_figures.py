"""The figures show what the tables say, for any shape of study."""

import numpy as np
import pyarrow as pa
import pytest
import study_tables
from matplotlib.colors import to_hex
from matplotlib.text import Text

from lwgan_dist.reporting.look import png
from lwgan_dist.study.figures import (
    bootstrap_figure,
    correct_figure,
    outcome_figure,
    rate_figure,
    score_path_figure,
    sensitivity_figure,
    study_figures,
)
from lwgan_dist.study.tables import StudyTables


@pytest.fixture(scope="module")
def mixed() -> study_tables.Study:
    return study_tables.study({"known [noise=0.05]": 2, "other": 4, "a table": None}, methods=("LWGAN", "TwoNN", "MLE"))


def _texts(figure) -> str:
    inside = [text.get_text() for text in figure.texts]
    if figure._suptitle is not None:
        inside.append(figure._suptitle.get_text())
    for axes in figure.axes:
        inside += [axes.get_title(), *(text.get_text() for text in axes.texts)]
        if legend := axes.get_legend():
            inside += [text.get_text() for text in legend.get_texts()]
    return "\n".join(inside)


@pytest.mark.parametrize("sizes", [(250, 1000, 4000), (1000,), (2, 100_000)])
@pytest.mark.parametrize("truth", [3, None])
def test_every_figure_of_every_study_can_be_drawn(sizes, truth):
    made = study_tables.study({"x $a_1 \\frac{": truth, "y" * 60: 2}, sizes=sizes, replicates=2)
    figures = study_figures(StudyTables(**made.tables()))
    assert set(figures) == {"correct", "outcomes", "scores", "rates", "sensitivity", "bootstrap"}
    for figure in figures.values():
        assert png(figure).startswith(b"\x89PNG")


def test_points_and_intervals_of_p_correct_are_those_of_the_cells(mixed):
    figure = correct_figure(mixed.cells)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["known [noise=0.05]", "other"]
    cells = [c for c in mixed.cells.to_pylist() if c["data"] == "other"]
    for place, method in enumerate(("LWGAN", "TwoNN", "MLE")):
        mine = [c for c in cells if c["method"] == method]
        line = figure.axes[1].lines[1 + place]
        assert list(line.get_ydata()) == [c["p_correct"] for c in mine]
        np.testing.assert_allclose(line.get_xdata(), [250, 1000, 4000], rtol=0.15)
        segments = figure.axes[1].collections[2 * place].get_segments()
        assert [(s[0][1], s[1][1]) for s in segments] == [(c["wilson_low"], c["wilson_high"]) for c in mine]
    markers = [line.get_xdata()[0] for line in figure.axes[1].lines[1:]]
    assert len(set(markers)) == 3
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["LWGAN", "TwoNN", "MLE"]


def test_replicates_on_demand_show_the_confidence_sequence():
    made = study_tables.study({"x": 2}, on_demand=True, methods=("LWGAN",))
    figure = correct_figure(made.cells)
    assert "confidence sequence" in _texts(figure)
    lows = [segment[0][1] for segment in figure.axes[0].collections[0].get_segments()]
    assert lows == made.cells["sequence_low"].to_pylist()


def test_the_level_is_the_dashed_line(mixed):
    line = correct_figure(mixed.cells, level=0.8).axes[0].lines[0]
    assert list(line.get_ydata()) == [0.8, 0.8]


@pytest.mark.parametrize("label", ["Price ($/m^2)", "$_$", "$\\frac{$", "a $x$ b"])
def test_names_from_data_are_no_mathematics(label):
    """A text between dollars would be drawn as a formula, and most are none: a traceback in the middle of a study.

    One that is none is drawn, the others would be too: no text is read as a formula.
    """
    for replicates in (1, 4):  # ranks of the bootstrap, its coverage
        made = study_tables.study({label: 2, f"{label} too": None}, methods=("LWGAN", f"LWGAN ({label})"),
                                  replicates=replicates, bootstrapped=replicates)  # fmt: skip
        figures = study_figures(StudyTables(**made.tables()))
        assert len(figures) == 6
        for figure in figures.values() if label == "$\\frac{$" else ():
            assert png(figure).startswith(b"\x89PNG")
        assert label in _texts(figures["correct"])
        texts = [text for figure in figures.values() for text in figure.findobj(Text) if "$" in text.get_text()]
        assert len(texts) > 12
        assert not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize("draw", [correct_figure, outcome_figure])
def test_without_truth_there_is_nothing_to_show(draw):
    assert draw(study_tables.study({"a table": None}, replicates=2).cells) is None


def test_outcomes_are_shares_that_add_up_to_one(mixed):
    axes = outcome_figure(mixed.cells).axes[0]
    cells = [c for c in mixed.cells.to_pylist() if c["data"].startswith("known")]
    tops: dict[float, float] = {}
    for bar in axes.patches:
        x = round(bar.get_x(), 6)
        tops[x] = tops.get(x, 0.0) + bar.get_height()
    assert len(tops) == len(cells)
    np.testing.assert_allclose(list(tops.values()), 1.0)
    green = sorted(bar.get_height() for bar in axes.patches if to_hex(bar.get_facecolor()) == "#009e73")
    assert green == sorted(c["p_correct"] for c in cells)


def test_score_paths_tell_what_they_leave_out():
    made = study_tables.study({f"data {i}": 2 for i in range(8)}, methods=("LWGAN",), replicates=2, failing=0)
    figure = score_path_figure(made.runs)
    assert len(figure.axes) == 6 * 3
    assert "not shown: data 6, data 7" in _texts(figure)
    first = [r for r in made.runs.to_pylist() if r["data"] == "data 0" and r["n"] == 250]
    mean = np.mean([r["score_mean"] for r in first], axis=0)
    lines = figure.axes[0].lines
    np.testing.assert_allclose(lines[-2].get_ydata(), mean)
    penalty = np.mean([r["penalty"] for r in first])
    np.testing.assert_allclose(lines[-1].get_ydata(), mean + penalty * np.arange(1, 8))


def test_score_paths_and_rates_are_those_of_the_first_lwgan():
    made = study_tables.study({"x": 2}, methods=("TwoNN", "LWGAN (rate)", "LWGAN"), replicates=2)
    assert "LWGAN (rate)" in _texts(score_path_figure(made.runs))
    assert "LWGAN (rate)" in _texts(rate_figure(made.runs, made.trends))


def test_rates_show_medians_and_the_slopes_of_the_trends(mixed):
    figure = rate_figure(mixed.runs, mixed.trends)
    assert len(figure.axes) == 3
    assert "SE, slope -0.50 ± 0.02" in _texts(figure)
    assert "λ, slope -0.40 ± 0.02" in _texts(figure)
    runs = [r for r in mixed.runs.to_pylist() if r["data"] == "other" and r["score_se"] is not None]
    medians = [np.median([r["score_se"] for r in runs if r["n"] == n]) for n in (250, 1000, 4000)]
    np.testing.assert_allclose(figure.axes[1].lines[1].get_ydata(), medians)


def test_penalty_zero_does_not_break_the_logarithmic_axis():
    made = study_tables.study({"x": 2}, methods=("LWGAN",), replicates=3, failing=0)
    place = made.runs.schema.get_field_index("penalty")
    runs = made.runs.set_column(place, "penalty", pa.array([0.0] * made.runs.num_rows))
    figure = rate_figure(runs, made.trends)
    assert png(figure)
    assert [text.get_text()[:2] for text in figure.axes[0].get_legend().get_texts()] == ["SE"]


def test_sensitivity_pools_over_n(mixed):
    figure = sensitivity_figure(mixed.sensitivity)
    rows = [r for r in mixed.sensitivity.to_pylist() if r["data"] == "other"]
    share = np.array(figure.axes[1].images[0].get_array())
    for i, exponent in enumerate((0.5, 0.6, 0.7, 0.8, 0.9)):
        for j, constant in enumerate((0.25, 0.5, 1.0, 2.0, 4.0)):
            here = [r for r in rows if r["exponent"] == exponent and r["constant"] == constant]
            assert share[i, j] == sum(r["correct"] for r in here) / sum(r["runs"] for r in here)
    unknown = [r for r in mixed.sensitivity.to_pylist() if r["data"] == "a table"]
    first = [r for r in unknown if (r["exponent"], r["constant"]) == (0.5, 0.25)]
    agreed = 1 - sum(r["changed"] for r in first) / sum(r["runs"] for r in first)
    assert figure.axes[2].images[0].get_array()[0, 0] == pytest.approx(agreed)
    assert "truth unknown" in figure.axes[2].get_title()


def test_few_bootstrapped_runs_show_their_ranks():
    made = study_tables.study({"x": 2}, sizes=(250,), methods=("LWGAN",), failing=0)
    figure = bootstrap_figure(made.bootstrap, made.coverage)
    assert len(figure.axes) == 2
    row = made.bootstrap.to_pylist()[0]
    heights = {round(bar.get_x() + bar.get_width() / 2 + 0.2): bar.get_height() for bar in figure.axes[0].patches[:3]}
    assert heights[row["mode"]] == row["mode_frequency"]


def test_many_bootstrapped_runs_show_coverage():
    made = study_tables.study({"x": 2, "t": None}, methods=("LWGAN",), bootstrapped=8)
    figure = bootstrap_figure(made.bootstrap, made.coverage, mass=0.9)
    assert "95 % Wilson interval" in _texts(figure)
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.9, 0.9]
    known = [r for r in made.coverage.to_pylist() if (r["data"], r["kind"]) == ("x", "parametric")]
    assert list(figure.axes[0].lines[1].get_ydata()) == [r["p_covers"] for r in known]
    lows = [segment[0][1] for segment in figure.axes[0].collections[0].get_segments()]
    assert lows == [r["wilson_low"] for r in known]
    unknown = figure.axes[1]
    assert "truth unknown" in unknown.get_title()
    assert not any(line.get_linestyle() == "--" and len(set(line.get_ydata())) == 1 for line in unknown.lines)
    modes = [r["mode_frequency"] for r in made.bootstrap.to_pylist() if r["data"] == "t" and r["kind"] == "parametric"]
    assert np.mean(unknown.lines[0].get_ydata()) == pytest.approx(np.mean(modes))


def test_only_figures_with_content():
    made = study_tables.study({"a table": None}, methods=("TwoNN",), replicates=2)
    assert study_figures(StudyTables(made.runs, made.cells, made.comparisons, made.trends, made.sensitivity)) == {}


def test_panels_grow_with_the_data():
    sizes = []
    for count in (1, 5, 11):
        made = study_tables.study({f"data {i}": 2 for i in range(count)}, methods=("TwoNN",), replicates=1)
        figure = correct_figure(made.cells)
        assert len(figure.axes) == count
        sizes.append(figure.get_size_inches())
    assert sizes[0][0] < sizes[1][0] == sizes[2][0]
    assert sizes[0][1] == sizes[1][1] < sizes[2][1]
