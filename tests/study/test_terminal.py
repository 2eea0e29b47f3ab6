"""What a study shows in the terminal."""

import io
import re

import numpy as np
import pytest
import study_tables
from rich.console import Console

from lwgan_dist.reporting import terminal
from lwgan_dist.reporting.terminal import StudyProgress
from lwgan_dist.reporting.values import short
from lwgan_dist.study import terminal as study_terminal
from lwgan_dist.study.terminal import print_study


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
    terminal_of_100 = {"file": sink, "force_terminal": True, "color_system": "standard", "width": 100}
    monkeypatch.setattr(study_terminal, "Screen", lambda **settings: Console(**settings, **terminal_of_100))
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
    monkeypatch.setattr(terminal, "Screen", lambda **_: Console(file=sink, force_terminal=True, width=120))
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
