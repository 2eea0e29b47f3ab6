"""Ctrl-C in the middle of any command ends it with 130, and the same command goes on to the same result.

The signal comes within a call of the operating system, one that a draw decides on: Python raises the interrupt as soon
as the call returns, wherever that is, in the clean-up too.
"""

import atexit
import gc
import importlib.abc
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_search
import tiny_study
from click.testing import CliRunner, Result
from forked import run
from safetensors.numpy import load_file

from lwgan_dist import interrupts
from lwgan_dist.cli import main
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import interrupts_pass
from lwgan_dist.storage import Folder, remove_tree
from lwgan_dist.training.trainer import Trainer

# What is interrupted as it is opened is closed by the collector, which warns of it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

SYSTEM_CALLS = (
    "close", "fsync", "fstat", "listdir", "lstat", "mkdir", "open", "rename", "replace", "rmdir", "scandir", "stat",
    "unlink",
)  # fmt: skip


class Signals:
    """Counts what the main thread calls, and sends SIGINT within the call of number ``at``."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls, self.at, self.within = 0, -1, ""
        for name in SYSTEM_CALLS:
            patch.setattr(os, name, self._counted(name, getattr(os, name)))
        patch.setattr(Trainer, "_iterate", self._counted("iterate", Trainer._iterate))

    @contextmanager
    def sent(self, at: int) -> Iterator[None]:
        """In the block, and afterwards no more."""
        self.calls, self.at, self.within = 0, at, ""
        try:
            yield
        finally:
            self.at = -1

    def _counted(self, name, call):
        def counted(*args, **options):
            result = call(*args, **options)
            if threading.current_thread() is threading.main_thread():
                self.calls += 1
                if self.calls == self.at:
                    self.within = f"{name}{args[:1]}"
                    signal.raise_signal(signal.SIGINT)
            return result

        return counted


@pytest.fixture
def signals(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    yield Signals(monkeypatch)
    signal.signal(signal.SIGINT, before)
    gc.collect()  # what was interrupted, as a listing of a folder, is closed where its warning is ignored


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def result_of_run(folder: Path):
    said = json.loads((folder / "result.json").read_text())
    newest = max((folder / "checkpoints").iterdir())
    tensors = {name: tensor.tolist() for name, tensor in load_file(newest / "tensors.safetensors").items()}
    return {name: value for name, value in said.items() if name not in (*tiny_study.NO_TIME, "run_dir")}, tensors


def tables_of(*names: str):
    def tables(folder: Path):
        return [tiny_search.numbers(pq.read_table(folder / f"{name}.parquet")).to_pydict() for name in names]

    return tables


RUN = {"data": {"source": "manifold", "name": "s_curve", "n": 60}, **tiny_study.TINY["run"]}
STUDY = {
    "data": tiny_study.TINY["data"][:1], "sizes": [40], "lwgan": {"replicates": 1},
    "classical": {"estimators": ["MLE"], "replicates": 1}, "bootstrap": {"resamples": 1},
}  # fmt: skip
SEARCH = {"budget": {"trials": 2}, "confirm_seeds": 1, "initial": ["default"]}
COMMANDS = {
    "train": (lambda: json.dumps(RUN), ["--workers", "0", "execution.checkpoint_seconds=0"], result_of_run),
    "study": (lambda: to_yaml(tiny_study.config(**STUDY)), [], tables_of("runs", "cells")),
    "tune": (lambda: to_yaml(tiny_search.config(**SEARCH)), [], tables_of("trials", "runs")),
}
INTERRUPTS = int(os.environ.get("INTERRUPTS", "10"))
"""Of each command."""


@pytest.fixture
def _no_figures(monkeypatch):
    """Nothing is drawn, which would take most of the time."""
    monkeypatch.setattr("lwgan_dist.study.publish.study_figures", lambda *_args, **_options: {})
    monkeypatch.setattr("lwgan_dist.search.publish.search_figures", lambda *_args, **_options: {})
    monkeypatch.setattr("lwgan_dist.reporting.look.png", lambda _figure: b"")


@pytest.mark.usefixtures("_no_figures")
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_at_any_moment_ends_with_130_and_the_same_command_ends_the_same(tmp_path, monkeypatch, signals, command):
    monkeypatch.chdir(tmp_path)
    content, more, outcome = COMMANDS[command]
    Path("c.yaml").write_text(content())
    told = [command, "c.yaml", *more, "--storage", "."]
    assert call(*told, "--name", "warm").exit_code == 0  # imports are done
    with signals.sent(-1):
        assert call(*told, "--name", "straight").exit_code == 0
    calls, draw, folder, done = signals.calls, np.random.default_rng(0), 0, False
    for _ in range(INTERRUPTS):
        at = int(draw.integers(1, calls + 1))
        with signals.sent(at):
            ended = call(*told, "--name", f"run{folder}")
        done = signals.within == ""
        if done:
            assert ended.exit_code == 0, ended.output
            assert outcome(Path(f"run{folder}")) == outcome(Path("straight"))
            folder += 1
            continue
        assert ended.exit_code == 130, (at, signals.within, ended.output, ended.exception)
        assert "Traceback" not in ended.output
        assert [line for line in ended.stderr.splitlines() if line.startswith("interrupted")], signals.within
    if not done:
        assert call(*told, "--name", f"run{folder}").exit_code == 0
        assert outcome(Path(f"run{folder}")) == outcome(Path("straight"))


def test_ctrl_c_within_any_call_of_a_removal_is_an_interrupt_and_leaves_nothing_valid(tmp_path, signals):
    """Between the close of a folder and the note that it is closed, `shutil.rmtree` would close it again and fail."""
    within = set()
    for at in range(1, 1000):
        for path in ("set/inner/file", "set/inner/deep/file", "set/file"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        try:
            with signals.sent(at):
                Folder.at(str(tmp_path)).remove("set")
        except KeyboardInterrupt:
            within.add(signals.within.partition("(")[0])
        else:
            break
        Folder.at(str(tmp_path)).remove_temporary()
        assert {path.name for path in tmp_path.iterdir()} <= {"set"}
    assert signals.within == "", "every call was interrupted"
    assert {"rename", "open", "close", "unlink", "rmdir"} <= within


def test_an_error_while_an_interrupt_is_being_handled_stays_an_error():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(OSError, match="disk"), interrupts_pass():
            raise OSError("the disk is full") from None


def ends_of(remove, folder: Path, signals) -> list[str]:
    """How a removal ends that is interrupted at each of its calls."""
    ends = []
    for at in range(1, 100):
        (folder / "a" / "b").mkdir(parents=True, exist_ok=True)
        try:
            with signals.sent(at):
                remove(folder / "a")
        except (KeyboardInterrupt, OSError) as error:
            ends.append(type(error).__name__)
        else:
            return ends
    raise AssertionError("it has no end")


def test_an_interrupt_that_rmtree_would_lose_is_not_lost(tmp_path, signals):
    assert set(ends_of(shutil.rmtree, tmp_path, signals)) == {"KeyboardInterrupt", "OSError"}  # control
    assert set(ends_of(remove_tree, tmp_path, signals)) == {"KeyboardInterrupt"}


@pytest.mark.parametrize("command", ["estimate", "train", "study", "tune"])
def test_what_fails_because_of_an_interrupt_is_the_interrupt(tmp_path, monkeypatch, command):
    """Whatever error a clean-up makes of it."""

    def interrupted(*_args, **_options):
        try:
            raise KeyboardInterrupt
        finally:
            os.close(10**6)

    for name in ("lwgan_dist.run.run.Run.train", "lwgan_dist.run.run.Run.fit"):
        monkeypatch.setattr(name, interrupted)
    monkeypatch.chdir(tmp_path)
    if command != "estimate":
        Path("c.yaml").write_text(COMMANDS[command][0]())
    ended = call(command, "s_curve" if command == "estimate" else "c.yaml")
    assert (ended.exit_code, ended.stdout) == (130, "")
    assert ended.stderr.splitlines()[-1].startswith("interrupted")


def test_a_second_ctrl_c_while_the_first_is_answered_ends_with_130_too(monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lwgan_dist.cli.runs.check_name", interrupted)
    monkeypatch.setattr("lwgan_dist.cli.common.click.echo", interrupted)
    ended = call("train", "c.yaml")
    assert (ended.exit_code, ended.output) == (130, "")


# The program itself, in a process of its own ----------------------------------------------------------------------


def program(moment: str, name: str) -> None:
    """``lwgan-dist`` with a signal at a moment of it."""
    from lwgan_dist import __main__, cli, logs

    def sent(*_arguments: object) -> None:
        try:
            signal.raise_signal(signal.Signals[name])
        except KeyboardInterrupt:
            raise ValueError("as C extensions make of it") from None

    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.Signals[name])

    def finalised() -> str:
        Finalised()
        time.sleep(20)
        return "text"

    class Importer(importlib.abc.MetaPathFinder):
        def find_spec(self, module: str, *_where: object) -> None:
            if module == "interrupting":
                sent()

    sys.meta_path.insert(0, Importer())
    if moment == "before":
        cli.main = lambda **_options: sent()
    elif moment == "after":
        atexit.register(sent)
    else:
        logs.chosen_format = {"work": sent, "finaliser": finalised, "import": lambda: __import__("interrupting")}[
            moment
        ]
    sys.argv = ["lwgan-dist", "validate", "--schema"]
    __main__.main()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", ["before", "import", "work", "finaliser", "after"])
def test_a_signal_at_any_moment_of_the_program_ends_it_with_one_line(moment, name):
    ended = run(program, moment, name, path=Path(__file__).parent)
    expected = (0, "") if moment == "after" else (130, "interrupted\n")
    assert (ended.returncode, ended.stderr) == expected
    assert (ended.stdout == "") == (moment != "after")


def test_what_is_ignored_stays_ignored():
    """Ctrl-C in the background of a script."""
    ended = run(in_the_background, path=Path(__file__).parent)
    assert (ended.returncode, ended.stdout) == (0, "ignored\n")


def in_the_background() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.begin()
    signal.raise_signal(signal.SIGINT)
    print("ignored")


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)], ids=str)
def test_a_stream_that_is_closed_leads_nowhere(closed, tmp_path):
    """And not into the file that is opened next."""
    ended = run(without_streams, closed, str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "next").read_text() == "mine"


def without_streams(closed: tuple[int, ...], folder: str) -> None:
    for number in closed:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)
    from lwgan_dist import __main__, cli

    def command(**_options: object) -> None:
        with open(Path(folder, "next"), "w") as file:
            print("said")
            os.write(1, b"said by C")
            file.write("mine")

    cli.main = command
    __main__.main()
