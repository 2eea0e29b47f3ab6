"""What a search shows in the terminal."""

import io

import pytest
import search_tables
from rich.console import Console

from lwgan_dist.reporting import terminal
from lwgan_dist.reporting.terminal import SearchProgress
from lwgan_dist.search import terminal as search_terminal
from lwgan_dist.search.terminal import print_search, print_search_plan

PLAN = [
    ("objective.mmd_weight", "loguniform 0.1 to 10", ""),
    ("schedule.generator_ema", "uniform 0.9 to 0.999", "schedule.name = fast"),
    ("a.[bold]odd[/bold]", "x, y", ""),
]
PROPOSALS = [
    ("default", {"objective.mmd_weight": 1.0, "a.[bold]odd[/bold]": "[x]"}),
    *(("proposed", {"objective.mmd_weight": 0.31234567, "schedule.generator_ema": 0.97}) for _ in range(7)),
]


def _terminal(monkeypatch, width: int) -> io.StringIO:
    sink = io.StringIO()
    monkeypatch.setattr(
        search_terminal, "Screen",
        lambda **told: Console(**told | {"file": sink, "force_terminal": True, "color_system": None, "width": width}),
    )  # fmt: skip
    return sink


def test_progress_without_terminal_is_a_line_every_tenth(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    with SearchProgress("quick") as progress:
        progress.begin(30, "trials")
        for done in range(1, 13):
            clock[0] += 1.0
            best = None if done < 3 else (0.031234, 7)
            progress.update(done, int(done > 5), 3 * int(done > 10), best, 3.0 * done)
        clock[0] += 30.0
        progress.update(13, 1, 3, (0.02, 12), 3600.0)
        progress.update(30, 1, 3, (0.02, 12), 3600.0)
        progress.begin(5, "fresh seeds", done=2)
        progress.update(5, 0, 0, None, 3600.0)
        progress.say("done [x]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "quick  0/30 trials",
        "quick  3/30 trials, best 0.0312 (trial 7), 9 CPU s, 27 s left",
        "quick  6/30 trials, 1 failed, best 0.0312 (trial 7), 18 CPU s, 24 s left",
        "quick  9/30 trials, 1 failed, best 0.0312 (trial 7), 27 CPU s, 21 s left",
        "quick  12/30 trials, 3 stopped, 1 failed, best 0.0312 (trial 7), 36 CPU s, 18 s left",
        "quick  13/30 trials, 3 stopped, 1 failed, best 0.02 (trial 12), 1.0 CPU h, 55 s left",
        "quick  30/30 trials, 3 stopped, 1 failed, best 0.02 (trial 12), 1.0 CPU h",
        "quick  2/5 fresh seeds",
        "quick  5/5 fresh seeds, 1.0 CPU h",
        "done [x]",
    ]


def test_progress_without_a_known_end_is_a_line_every_half_minute(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    with SearchProgress() as progress:
        progress.begin(None, "trials")
        for done in range(1, 71):
            clock[0] += 1.0
            progress.update(done, 0, 0, None, 1.0 * done)
    assert capsys.readouterr().err.splitlines() == [
        "search  0 trials", "search  30 trials, 30 CPU s", "search  60 trials, 60 CPU s"
    ]  # fmt: skip


def test_silent_progress(capsys):
    with SearchProgress("mine", shown=False) as progress:
        progress.begin(2, "trials")
        progress.update(2, 0, 0, None, 1.0)
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_one_bar(monkeypatch):
    sink = io.StringIO()
    monkeypatch.setattr(terminal, "Screen", lambda **_: Console(file=sink, force_terminal=True, width=120))
    with SearchProgress("my [search]") as progress:
        progress.begin(None, "trials")
        progress.update(2, 1, 0, (0.5, 0), 7200.0)
        task = progress._bar.tasks[0]
        assert (task.completed, task.total) == (2, None)
        progress.begin(9, "trials", done=3)
        progress.update(4, 1, 0, (0.5, 0), 7200.0)
        progress._bar.refresh()
        assert (task.completed, task.total) == (4, 9)
        assert len(progress._bar.tasks) == 1
    assert "my [search]" in sink.getvalue()
    assert "4/9 trials, 1 failed, best 0.5 (trial 0), 2.0 CPU h" in sink.getvalue()


def test_a_search_in_a_file_is_exactly_this(capsys):
    made = search_tables.search()
    print_search(made.tables(), made.facts(), {"page": "/a/[b]/" + "x" * 150})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "trial                          9         2        17         5        28        0",
        "origin                  proposed  proposed  proposed  proposed  proposed  default",
        "objective.mmd_weight       2.223     3.168     2.932     1.917     1.709        1",
        "networks.width                32        64        64       128       128       64",
        "schedule.name              paper      fast      fast     paper      fast     fast",
        "schedule.generator_ema         -     0.948    0.9389         -    0.9799     0.99",
        "data.rotate                 true     false      true     false     false    false",
        "objective                 0.0402    0.0404    0.0404    0.0419    0.0429   0.0555",
        "dimension                      2         2         2         2         2        2",
        "",
        "objective energy_distance + reconstruction; 25 finished, 2 stopped, 3 failed trials, 0.2 CPU h",
        "On 5 fresh seeds the best trial is better than the default (mean difference of the objective -0.0106, "
        "95 % t interval [-0.0146, -0.00649]; better on 5, worse on 0).",
        "The estimate depends on the tuning or on chance: 2 in 18 runs, 3 in 7; among the best decile 2 in 3 of 3.",
        "page:        /a/[b]/" + "x" * 150,
    ]


def test_wide_searches_are_not_folded_in_a_file(capsys):
    made = search_tables.search(parameters=search_tables.wide(), seeds=2)
    print_search(made.tables(), made.facts(), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:14]] == [axis.path for axis in made.axes]


@pytest.mark.parametrize("width", [80, 100])
def test_on_a_terminal_no_line_is_wider_than_it(monkeypatch, width):
    sink = _terminal(monkeypatch, width)
    made = search_tables.search()
    print_search(made.tables(), made.facts(), {})
    table = sink.getvalue().split("\n\n")[0].splitlines()
    assert len(table) == 9
    assert max(map(len, table)) <= width
    assert table[2].split()[0] == ("mmd_weight" if width == 80 else "objective.mmd_weight")
    assert [line.split()[1] for line in table] == ["9", "proposed", "2.223", "32", "paper", "-", "true", "0.0402", "2"]


def test_failed_searches_say_so(capsys):
    made = search_tables.search(trials=4, failing=1.0)
    print_search(made.tables(), made.facts(), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["origin", "failed"]
    assert lines[-2].endswith("0 finished, 0 stopped, 4 failed trials, 0 CPU s")
    assert lines[-1] == "No finished trial has an estimate."


def test_several_objectives_have_a_line_each(capsys):
    made = search_tables.search(objectives=("a [b]", "cpu_seconds"), sensitive=False)
    print_search(made.tables(), made.facts(), {})
    lines = capsys.readouterr().out.splitlines()
    first = next(row for row in made.trials.to_pylist() if str(row["number"]) == lines[0].split()[1])
    assert first["best"]
    assert [line.split()[2] for line in lines[7:9]] == [f"{goal:.3g}" for goal in first["objectives"]]
    assert "objective 1: a [b]; 2: cpu_seconds; 23 finished" in lines[-2]
    assert lines[-1] == "23 of 23 trials say 2."


def test_a_plan_is_exactly_this(capsys):
    print_search_plan(PLAN, PROPOSALS)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "parameter               values                only where",
        "objective.mmd_weight    loguniform 0.1 to 10",
        "schedule.generator_ema  uniform 0.9 to 0.999  schedule.name = fast",
        "a.[bold]odd[/bold]      x, y",
        "",
        "trial                         0         1         2         3         4",
        "origin                  default  proposed  proposed  proposed  proposed",
        "objective.mmd_weight          1    0.3123    0.3123    0.3123    0.3123",
        "schedule.generator_ema        -      0.97      0.97      0.97      0.97",
        "a.[bold]odd[/bold]          [x]         -         -         -         -",
    ]


def test_a_plan_without_conditions_and_proposals(capsys):
    print_search_plan([("a.b", "1, 2", "")], [])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == ["parameter  values", "a.b        1, 2"]


def test_short_paths_tell_the_parameters_apart():
    paths = ["a.b.lr", "a.c.lr", "networks.width", "lr"]
    assert list(search_terminal._short_paths(paths).values()) == ["b.lr", "c.lr", "width", "lr"]
