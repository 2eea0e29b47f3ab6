"""What a study shows in the terminal and in TensorBoard."""

import io
import re

import numpy as np
import pytest
import study_tables
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lwgan_dist.reporting import terminal
from lwgan_dist.reporting.study_figures import correct_figure, short
from lwgan_dist.reporting.tensorboard import write_study
from lwgan_dist.reporting.terminal import StudyProgress, print_study


def test_the_table_is_not_cut_where_there_is_no_terminal(capsys):
    label = "an [bold]odd[/bold] label | of sixty characters, which is all it may"
    methods = ("LWGAN", "LWGAN [networks.width=64, schedule.name=paper]", *study_tables.METHODS[1:])
    made = study_tables.study({label: 2}, methods=methods)
    print_study(made.cells, {"summary": "/a/[b]/" + "x" * 150})
    lines = capsys.readouterr().out.splitlines()
    assert all(method in lines[0] for method in methods)
    for row, n in zip(lines[1:4], (250, 1000, 4000), strict=True):
        assert row.startswith(label)
        for cell in (c for c in made.cells.to_pylist() if c["n"] == n):
            text = f"{cell['correct']}/8 {short(cell['exact_low'])}-{short(cell['exact_high'])}"
            assert text in row
    assert "/a/[b]/" + "x" * 150 in lines[-1]
    assert "Clopper-Pearson" in lines[4]


def test_unknown_truth_shows_the_modal_estimate(capsys):
    made = study_tables.study({"a table": None}, methods=("TwoNN",), sizes=(250,))
    print_study(made.cells, {})
    cell = made.cells.to_pylist()[0]
    out = capsys.readouterr().out
    assert f"{cell['modal_dimension']} in {cell['modal_count']}/8 ({short(cell['modal_count'] / 8)})" in out
    assert "Clopper" not in out


def test_green_from_the_level(monkeypatch):
    made = study_tables.study({"x": 2}, methods=("LWGAN",), failing=0)
    sink = io.StringIO()
    monkeypatch.setattr(
        terminal, "Console", lambda **told: Console(**told, file=sink, force_terminal=True, color_system="standard",
                                                    width=100),
    )  # fmt: skip
    print_study(made.cells, {}, level=0.8)
    for cell in made.cells.to_pylist():
        green = f"\x1b[32m{cell['correct']}/8 {short(cell['exact_low'])}" in sink.getvalue()
        assert green == (cell["p_correct"] >= 0.8)
    assert {cell["p_correct"] >= 0.8 for cell in made.cells.to_pylist()} == {True, False}


def test_progress_without_terminal_is_a_line_every_tenth(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    with StudyProgress("mine") as progress:
        progress.begin(100, "runs", done=20)
        for done in range(21, 41):
            clock[0] += 1.0
            progress.update(done, 2, 36.0 * done)
        clock[0] += 30.0
        progress.update(41, 2, 3600.0)
        clock[0] += 60.0
        progress.update(41, 2, 3600.0)
        progress.begin(3, "refits")
        progress.update(3, 0, 7200.0)
        progress.say("done [x]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "mine  20/100 runs",
        "mine  30/100 runs, 2 failed, 0.3 CPU h, 2 min left",
        "mine  40/100 runs, 2 failed, 0.4 CPU h, 1 min left",
        "mine  41/100 runs, 2 failed, 1.0 CPU h, 3 min left",
        "mine  0/3 refits",
        "mine  3/3 refits, 0 failed, 2.0 CPU h",
        "done [x]",
    ]


def test_the_first_of_many_at_once_that_ends_is_not_the_speed_of_all(capsys, monkeypatch):
    """100 runs of 19 to 21 minutes, 10 at once: some 200 minutes, and not 100 times 19, when the first has ended."""
    clock, rng = [0.0], np.random.default_rng(0)
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    places = [0.0] * 10
    ends = []
    for _ in range(100):
        place = places.index(min(places))
        places[place] += 60.0 * rng.uniform(19.0, 21.0)
        ends.append(places[place])
    factors = {}
    with StudyProgress() as progress:
        progress.begin(100, "runs")
        for done, end in enumerate(sorted(ends), start=1):
            clock[0] = end
            progress.update(done, 0, 1.0, running=min(10, 101 - done))
            if told := re.search(r"(?:(\d+) h )?(\d+) min left", capsys.readouterr().err):
                factors[done] = (3600 * int(told[1] or 0) + 60 * int(told[2])) / (max(ends) - end)
    assert len(factors) > 30
    assert 1.5 < factors[1] < 2.0, "10 times too long without those under way"
    assert all(0.5 < factor < 2.0 for done, factor in factors.items() if done <= 80)


def test_silent_progress(capsys):
    with StudyProgress("mine", shown=False) as progress:
        progress.begin(2, "runs")
        progress.update(2, 0, 1.0)
        progress.say("nothing")
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_one_bar(monkeypatch):
    sink = io.StringIO()
    monkeypatch.setattr(terminal, "Console", lambda **_: Console(file=sink, force_terminal=True, width=120))
    with StudyProgress("my [study]") as progress:
        progress.begin(4, "runs")
        progress.update(2, 1, 7200.0)
        progress._bar.refresh()
        task = progress._bar.tasks[0]
        assert (task.completed, task.total) == (2, 4)
        progress.begin(9, "refits", done=3)
        assert (task.completed, task.total) == (3, 9)
        assert len(progress._bar.tasks) == 1
    assert "my [study]" in sink.getvalue()
    assert "2/4 runs, 1 failed, 2.0 CPU h" in sink.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59.0, "59 s"), (61.0, "2 min"), (3600.0, "1 h 00 min"), (90_000.0, "1 d 1 h")],
)
def test_durations(seconds, text):
    assert terminal._duration(seconds) == text


def _read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_tensorboard_has_a_run_for_each_cell(tmp_path):
    made = study_tables.study({"a/b: <c>": 2, "a_b_ <c>": None}, sizes=(250,), methods=("LWGAN", "TwoNN"), failing=0.1)
    write_study(tmp_path, made.runs, made.cells, {"correct": correct_figure(made.cells)})
    assert _read(tmp_path).Tags()["images"] == ["correct"]
    folders = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*events*")} - {"."}
    assert folders == {f"{data}/{method}/n=250" for data in ("a_b_ _c_", ) for method in ("LWGAN", "TwoNN")} | {
        "a_b_ _c_/LWGAN-2/n=250", "a_b_ _c_/TwoNN-2/n=250"
    }  # fmt: skip
    runs = [r for r in made.runs.to_pylist() if r["data"] == "a/b: <c>" and r["method"] == "LWGAN"]
    events = _read(tmp_path / "a_b_ _c_" / "LWGAN" / "n=250")
    shares = {event.step: event.value for event in events.Scalars("cell/share_correct")}
    assert list(shares) == list(range(8))
    assert shares[7] == pytest.approx(made.cells["p_correct"][0].as_py())
    assert shares[2] == pytest.approx(sum(r["correct"] for r in runs[:3]) / 3)
    assert events.Scalars("cell/mean_value")[-1].value == pytest.approx(made.cells["mean_value"][0].as_py())
    first = next(r for r in runs if r["score_se"] is not None)
    assert events.Scalars("cell/score_se")[0].value == pytest.approx(first["score_se"])
    unknown = _read(tmp_path / "a_b_ _c_" / "TwoNN-2" / "n=250").Tags()["scalars"]
    assert unknown == ["cell/mean_value"]


def test_tensorboard_of_many_cells_is_by_n(tmp_path):
    made = study_tables.study({f"d{i}": 2 for i in range(2)}, sizes=tuple(range(10, 136)), methods=("LWGAN",),
                              replicates=1, failing=0)  # fmt: skip
    assert made.cells.num_rows == 252
    write_study(tmp_path, made.runs, made.cells, {})
    folders = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*events*")} - {"."}
    assert folders == {"d0/LWGAN", "d1/LWGAN"}
    events = _read(tmp_path / "d1" / "LWGAN")
    found = [(event.step, event.value) for event in events.Scalars("by_n/share_correct")]
    cells = [c for c in made.cells.to_pylist() if c["data"] == "d1"]
    assert found == [(c["n"], c["p_correct"]) for c in cells]
    assert set(events.Tags()["scalars"]) == {
        f"by_n/{n}" for n in ("share_correct", "mean_value", "score_se", "penalty")
    }


@pytest.mark.parametrize("label", ["..", "", " . ", "a/../../b"])
def test_no_label_leaves_the_folder(tmp_path, label):
    inner = tmp_path / "in"
    made = study_tables.study({label: 2}, sizes=(10,), methods=("TwoNN",), replicates=1)
    write_study(inner, made.runs, made.cells, {})
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(list(inner.rglob("n=10"))) == 1
    assert len(next(inner.rglob("n=10")).relative_to(inner).parts) == 3
