"""The figures of a search show what its tables say, for any shape of search."""

import math

import numpy as np
import pyarrow as pa
import pytest
import search_tables
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text
from scipy import stats

from lwgan_dist.reporting.look import png
from lwgan_dist.search.analysis import agreement
from lwgan_dist.search.figures import (
    ParameterAxis,
    confirmation_figure,
    dimension_figure,
    history_figure,
    importance_figure,
    parallel_figure,
    pareto_figure,
    search_figures,
    slice_figure,
)

PATHS = [each.axis.path for each in search_tables.space()]
ONE = ("energy_distance + reconstruction",)
TWO = ("energy_distance", "cpu_seconds")


@pytest.fixture(scope="module")
def made() -> search_tables.Search:
    return search_tables.search(trials=40, seeds=2)


@pytest.fixture(scope="module")
def two() -> search_tables.Search:
    return search_tables.search(trials=40, objectives=TWO)


def _finished(made: search_tables.Search) -> list[dict]:
    return [row for row in made.trials.to_pylist() if row["state"] == "finished"]


def _line(axes, marker: str, colour: str | None = None):
    """The points with this marker."""
    return next(
        line
        for line in axes.lines
        if line.get_marker() == marker and (colour is None or to_hex(line.get_color()) == colour.lower())
    )


def _inside(figure) -> None:
    """No text is cut at the edge of the figure, no title or tick label lies on another."""
    figure.draw_without_rendering()  # places the legend for the resolution of the canvas
    renderer = figure.canvas.get_renderer()
    width, height = figure.canvas.get_width_height()
    texts = [*figure.texts, *(axes.title for axes in figure.axes)]
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [axis.label, *(text for tick in ticks for text in (tick.label1, tick.label2))]
    for legend in figure.legends:
        texts += legend.get_texts()
    for text in texts:
        if text.get_text() and text.get_visible():
            box = text.get_window_extent(renderer)
            assert box.x0 > -1, text
            assert box.x1 < width + 1, text
            assert box.y0 > -1, text
            assert box.y1 < height + 1, text
    titles = [axes.title.get_window_extent(renderer) for axes in figure.axes if axes.get_title()]
    for place, box in enumerate(titles):
        assert not any(box.overlaps(other) for other in titles[:place])


SHAPES = {
    "usual": {},
    "one trial": {"trials": 1},
    "all failed": {"failing": 1.0},
    "two trials": {"trials": 2, "confirmed": 1, "failing": 0.0, "stopping": 0.0},
    "wide": {"trials": 20, "parameters": search_tables.wide()},
    "several": {"trials": 12, "objectives": ("a_1 $x", "<b>_", "c" * 90), "truth": None},
    "no parameter": {"trials": 5, "parameters": []},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_figure_of_every_search_can_be_drawn(shape):
    made = search_tables.search(**SHAPES[shape])
    figures = search_figures(made.tables(), made.axes, made.objectives)
    names = set() if shape == "all failed" else {"history"}
    if shape not in ("all failed", "no parameter"):
        names |= {"slices", "dimension", "parallel"}
    if shape != "all failed":
        names |= {"slices_2", "slices_3", "pareto"} if shape == "several" else {"confirmation"}
    if shape not in ("all failed", "one trial", "two trials", "no parameter"):
        names |= {"importances"}
    assert set(figures) == names
    for figure in figures.values():
        assert png(figure).startswith(b"\x89PNG")
        _inside(figure)


def test_odd_labels_values_and_columns_can_be_drawn():
    odd = [
        search_tables.parameter("$\\frac{__a*<b>&", "$\\frac{<i>_", lambda r, _: "v$_" * int(r.integers(1, 30))),
        search_tables.parameter("constant", 3.0, lambda *_: 3.0, log=True),
        search_tables.parameter("zero", 0.0, lambda r, _: float(r.uniform(-1, 1)), log=True),
        search_tables.parameter("null", 1.0, lambda *_: None),
        search_tables.parameter("one name", "x", lambda *_: "x"),
        search_tables.parameter("many.levels" * 9, 0, lambda r, _: int(r.integers(100)), categorical=True),
    ]  # fmt: skip
    made = search_tables.search(trials=25, parameters=odd, reason="$x$")
    for figure in search_figures(made.tables(), made.axes, made.objectives).values():
        assert png(figure)
        _inside(figure)


@pytest.mark.parametrize("name", ["Price ($/m^2)", "$_$", "$\\frac{$"])
def test_names_from_data_are_no_mathematics(name):
    """A text between dollars would be drawn as a formula, and most are none: a traceback at the end of a search."""
    odd = [
        search_tables.parameter("objective.mmd_weight", 1.0, lambda r, _: float(r.uniform(0.1, 2)), log=True),
        search_tables.parameter(name, name, lambda r, _: f"{name}{r.integers(3)}", categorical=True),
    ]
    made = search_tables.search(parameters=odd, reason=name, failing=0.2, objectives=(name, "b $x$"))
    figures = search_figures(made.tables(), made.axes, made.objectives)
    assert set(figures) == {"history", "slices", "slices_2", "dimension", "parallel", "pareto", "importances"}
    for figure in figures.values():
        assert png(figure).startswith(b"\x89PNG")
        assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())
    assert figures["slices"].axes[1].get_title() == name


def test_many_trials_can_be_drawn():
    made = search_tables.search(trials=1000, parameters=search_tables.space()[:2])
    for figure in search_figures(made.tables(), made.axes, made.objectives).values():
        assert png(figure)


def test_history_has_the_best_so_far_the_default_and_the_others_below(made):
    axes = history_figure(made.trials, ONE).axes[0]
    done = _finished(made)
    points = _line(axes, "o")
    assert list(points.get_xdata()) == [row["number"] for row in done]
    assert list(points.get_ydata()) == [row["objective"] for row in done]
    steps = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert list(steps.get_ydata())[:-1] == list(np.minimum.accumulate([row["objective"] for row in done]))
    level = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert list(level.get_ydata()) == [done[0]["objective"]] * 2
    for state, marker in (("stopped", "|"), ("failed", "x")):
        numbers = [row["number"] for row in made.trials.to_pylist() if row["state"] == state]
        assert numbers
        assert list(_line(axes, marker).get_xdata()) == numbers


def test_failed_trials_have_no_history():
    assert history_figure(search_tables.search(trials=4, failing=1.0).trials, ONE) is None


def test_history_of_several_objectives_has_a_panel_each(two):
    figure = history_figure(two.trials, TWO)
    assert [axes.get_ylabel() for axes in figure.axes] == list(TWO)
    assert list(_line(figure.axes[1], "o").get_ydata()) == [row["objectives"][1] for row in _finished(two)]


def test_slices_show_all_trials_with_the_default_and_the_best(made):
    figure = slice_figure(made.trials, made.axes, ONE)
    done = _finished(made)
    best = next(row for row in done if row["best"])
    weight, width, name, ema, rotate = figure.axes
    rest = [row for row in done if not row["best"]]
    points = _line(weight, "o")
    assert list(points.get_xdata()) == [math.log10(row["parameters.objective.mmd_weight"]) for row in rest]
    assert [text.get_text() for text in weight.get_xticklabels()] == ["0.3", "1", "3"]
    assert list(points.get_ydata()) == [row["objective"] for row in rest]
    star, square = _line(weight, "*"), _line(weight, "s")
    value = math.log10(best["parameters.objective.mmd_weight"])
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (value, best["objective"])
    assert (square.get_xdata()[0], square.get_ydata()[0]) == (0.0, done[0]["objective"])
    assert [text.get_text() for text in width.get_xticklabels()] == ["16", "32", "64", "128"]
    assert [text.get_text() for text in name.get_xticklabels()] == ["fast", "paper"]
    assert [text.get_text() for text in rotate.get_xticklabels()] == ["false", "true"]
    found = np.round(_line(name, "o").get_xdata().astype(float))
    assert list(found) == [["fast", "paper"].index(row["parameters.schedule.name"]) for row in rest]
    told = sum(row["parameters.schedule.generator_ema"] is not None for row in done)
    assert ema.get_title() == f"schedule.generator_ema\nin {told} of {len(done)} trials"
    assert np.isfinite(_line(ema, "o").get_xdata()).sum() + np.isfinite(_line(ema, "*").get_xdata()).sum() == told


def test_slices_of_the_second_objective(two):
    axes = slice_figure(two.trials, two.axes, TWO, 1).axes[0]
    front = [row["objectives"][1] for row in _finished(two) if row["best"]]
    assert list(_line(axes, "o", "#D55E00").get_ydata()) == front
    assert not [line for line in axes.lines if line.get_marker() == "*"]


def test_the_dimension_of_every_run_is_shown_against_every_parameter(made):
    figure = dimension_figure(made.trials, made.runs, made.axes)
    done = {row["number"]: row for row in _finished(made)}
    best = {row["number"] for row in done.values() if row["place"] <= max(3, math.ceil(len(done) / 10))}
    runs = made.runs.to_pylist()
    for axes in figure.axes:
        for chosen, colour in ((False, "#0072B2"), (True, "#D55E00")):
            mine = [run for run in runs if (run["number"] in best) == chosen]
            drawn = _line(axes, "o", colour).get_ydata()
            assert list(np.round(drawn)) == [run["dimension"] for run in mine]
            assert np.abs(drawn - np.round(drawn)).max() < 0.3
        truth = next(line for line in axes.lines if line.get_linestyle() == "--")
        assert list(truth.get_ydata()) == [2, 2]
    weights = _line(figure.axes[0], "o", "#0072B2").get_xdata()
    rest = [run for run in runs if run["number"] not in best]
    assert list(weights) == [math.log10(done[run["number"]]["parameters.objective.mmd_weight"]) for run in rest]
    assert list(figure.axes[0].get_yticks()) == [2, 3]
    share = agreement(made.trials, made.runs)
    assert 0 < share < 1
    assert f"equal in .{round(100 * share)} of the pairs" in figure._suptitle.get_text()


def test_without_truth_there_is_no_line_and_with_several_objectives_the_front_stands_out(two):
    place = two.trials.schema.get_field_index("intrinsic_dim")
    trials = two.trials.set_column(place, "intrinsic_dim", pa.nulls(two.trials.num_rows, pa.int64()))
    axes = dimension_figure(trials, two.runs, two.axes).axes[0]
    assert not [line for line in axes.lines if line.get_linestyle() == "--"]
    assert len(_line(axes, "o", "#D55E00").get_xdata()) == sum(row["best"] for row in _finished(two))


def test_parallel_coordinates_break_where_a_parameter_is_not_there(made):
    axes = parallel_figure(made.trials, made.axes, ONE).axes[0]
    done = sorted(_finished(made), key=lambda row: -row["objective"])
    paths = next(each for each in axes.collections if isinstance(each, LineCollection)).get_paths()
    lines = [path.vertices for path in paths]
    assert len(lines) == len(done)
    gaps = [row["parameters.schedule.generator_ema"] is None for row in done]
    assert True in gaps
    assert [list(np.isnan(line[:, 1])) for line in lines] == [[False] * 3 + [gap] + [False] * 3 for gap in gaps]
    weights = np.log([row["parameters.objective.mmd_weight"] for row in done])
    np.testing.assert_allclose([line[0, 1] for line in lines], (weights - weights.min()) / np.ptp(weights))
    goals = np.array([row["objective"] for row in done])
    np.testing.assert_allclose([line[-2, 1] for line in lines], (goals - goals.min()) / np.ptp(goals))
    best = next(line for line in axes.lines if to_hex(line.get_color()) == "#d55e00")
    assert best.get_ydata()[-2] == 0.0
    texts = {text.get_text() for text in axes.texts}
    assert {"fast", "paper", "true", "false", "16", "32", "64", "128", "2", "3"} <= texts


def test_a_value_between_two_gaps_is_a_point():
    middle = [
        search_tables.parameter("a", 1.0, lambda *_: None),
        search_tables.parameter("b", 1.0, lambda r, _: float(r.uniform())),
        search_tables.parameter("c", 1.0, lambda *_: None),
    ]
    made = search_tables.search(trials=6, parameters=middle, failing=0, stopping=0)
    axes = parallel_figure(made.trials, made.axes, ONE).axes[0]
    points = next(each for each in axes.collections if not isinstance(each, LineCollection)).get_offsets()
    shown = [(place, height) for place, height in points if np.isfinite(height)]
    assert [place for place, _ in shown].count(1) == len(_finished(made)) == 6


def test_importances_have_bars_errors_and_the_r2_of_the_forest(made):
    figure = importance_figure(made.importances)
    rows = made.importances.to_pylist()
    for target, axes, colour in zip(("objective", "dimension"), figure.axes, ("#0072b2", "#c4c4c4"), strict=True):
        mine = {row["parameter"]: row for row in rows if row["target"] == target}
        names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert sorted(names) == sorted(PATHS)
        for bar in axes.patches:
            name = names[round(bar.get_y() + bar.get_height() / 2)]
            assert bar.get_width() == mine[name]["importance"]
            assert to_hex(bar.get_facecolor()) == colour
        segments = axes.collections[0].get_segments()
        widths = sorted(segment[1][0] - segment[0][0] for segment in segments)
        np.testing.assert_allclose(widths, sorted(2 * row["importance_sd"] for row in mine.values()))
    assert "R² of the forest 0.63" in figure.axes[0].get_title()
    assert "mean little" not in figure.axes[0].get_title()
    assert "R² of the forest -0.12" in figure.axes[1].get_title()
    assert "mean little" in figure.axes[1].get_title()
    order = [next(r["importance"] for r in rows if r["target"] == "objective" and r["parameter"] == n) for n in names]
    assert order == sorted(order)


def test_importances_of_one_target_that_does_not_vary(made):
    rows = [row | {"importance": 0.0, "importance_sd": 0.0, "forest_r2": None} for row in made.importances.to_pylist()]
    figure = importance_figure(pa.Table.from_pylist(rows[:5], made.importances.schema))
    assert len(figure.axes) == 1
    assert figure.axes[0].get_title().endswith(f"\nthe same in all of {rows[0]['trials']} trials")


def test_confirmation_has_pairs_and_the_t_interval(made):
    figure = confirmation_figure(made.confirmation)
    rows = made.confirmation.to_pylist()
    left, right = figure.axes
    pairs = [[row["default"], row["best"]] for row in rows]
    assert sorted(list(line.get_ydata()) for line in left.lines) == sorted(pairs)
    differences = [row["difference"] for row in rows]
    shown = {x: y for line in right.lines if line.get_marker() == "o" for x, y in line.get_xydata()}
    assert shown == {difference: len(rows) - place for place, difference in enumerate(differences)}
    interval = stats.t.interval(0.95, 4, np.mean(differences), stats.sem(differences))
    np.testing.assert_allclose(right.collections[0].get_segments()[0][:, 0], interval)
    assert _line(right, "D").get_xdata()[0] == pytest.approx(np.mean(differences))
    assert f"[{interval[0]:.3g}, {interval[1]:.3g}]" in figure._suptitle.get_text()
    ticks = [text.get_text() for text in right.get_yticklabels()]
    assert ticks == [*(f"seed {r['index']}: {r['default_dimension']} → {r['best_dimension']}" for r in rows), "mean"]


def test_one_fresh_seed_has_no_interval(made):
    figure = confirmation_figure(made.confirmation.slice(0, 1))
    assert "no interval" in figure._suptitle.get_text()
    assert not figure.axes[1].collections


def test_the_pareto_front_is_marked(two):
    figure = pareto_figure(two.trials, TWO)
    front = sorted(tuple(row["objectives"]) for row in _finished(two) if row["best"])
    line = _line(figure.axes[0], "o", "#D55E00")
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == front
    named = {text.get_text() for text in figure.axes[0].texts}
    assert named <= {str(row["number"]) for row in _finished(two) if row["best"]}
    assert len(named) > 1


def test_a_wide_range_of_objectives_is_logarithmic(made):
    goals = [None if row["objectives"] is None else [10.0 ** row["number"]] for row in made.trials.to_pylist()]
    trials = search_tables.changed(made.trials, "objectives", goals)
    assert history_figure(trials, ONE).axes[0].get_yscale() == "log"
    assert slice_figure(trials, made.axes, ONE).axes[0].get_yscale() == "log"
    assert history_figure(made.trials, ONE).axes[0].get_yscale() == "linear"


def test_an_infinite_objective_is_left_out(made):
    rows = made.trials.to_pylist()
    goals = [row["objectives"] and [row["objective"] if row["number"] else math.inf] for row in rows]
    trials = search_tables.changed(made.trials, "objectives", goals)
    assert png(history_figure(trials, ONE))
    assert len(_line(slice_figure(trials, made.axes, ONE).axes[0], "o").get_xdata()) == len(_finished(made)) - 2
    assert png(parallel_figure(trials, made.axes, ONE))
    none = search_tables.changed(made.trials, "objectives", [goal and [math.inf] for goal in goals])
    assert png(history_figure(none, ONE))
    assert slice_figure(none, made.axes, ONE) is None


def test_texts_are_categorical_whatever_the_axis_says():
    made = search_tables.search(trials=8, failing=0, stopping=0)
    axes = slice_figure(made.trials, [ParameterAxis("schedule.name", log=True)], ONE).axes[0]
    assert axes.get_xscale() == "linear"
