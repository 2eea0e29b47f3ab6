"""What log records look like, to people and to programs, and of which run they are."""

import json
import logging
import os
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime

import forked
import numpy as np
import pytest
import tiny_study
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lwgan_dist import logs
from lwgan_dist.cli import main
from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.run.run import Run
from lwgan_dist.study.work import Pack, execute

pytestmark = pytest.mark.usefixtures("blank_figures")

LOG = logging.getLogger("lwgan_dist")
NASTY = "a\nERROR: forged\r\x1b[2K\u2028b\u202ec\x85d\x00\ud800"


@pytest.fixture
def written(monkeypatch):
    """Sets the logging up in a format, alone; gives the lines that are written."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    monkeypatch.setattr(logs, "_PROCESS", {})
    lines = []

    class Standard:
        def write(self, text):
            lines.extend(text.splitlines())

        def flush(self):
            pass

    def configure(form, **fields):
        root.handlers[:] = []
        logs.configure(form, **fields)
        monkeypatch.setattr(sys, "stderr", Standard())
        return lines

    yield configure
    root.handlers[:] = before
    logs._EVENTS.setLevel(logging.CRITICAL + 1)


def objects(lines):
    return [json.loads(line) for line in lines]


def test_a_record_for_people_is_as_it_was(written):
    lines = written("text")
    with logs.of_run("abc"):
        LOG.warning("%d rows repeat", 3)
        LOG.info("not seen")
        logs.event("run finished", dimension=2)
    assert lines == ["WARNING: 3 rows repeat"]


def test_a_record_for_programs_says_when_where_and_of_which_run(written):
    lines = written("json", node="n1", job="01")
    with logs.context(study="mine"), logs.of_run("abc"), logs.context(worker_index=1, num_workers=2, nothing=None):
        LOG.warning("%d rows repeat", 3)
    LOG.warning("after")
    first, second = objects(lines)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(first.pop("time"))).total_seconds()) < 60
    common = {"level": "WARNING", "logger": "lwgan_dist", "node": "n1", "job": "01", "pid": os.getpid()}
    common["host"] = first["host"]
    run = {"study": "mine", "run": "abc", "fingerprint": "abc", "worker_index": 1, "num_workers": 2}
    assert first == {**common, **run, "message": "3 rows repeat"}
    assert {**second, "time": ""} == {**common, "message": "after", "time": ""}


def test_events_are_for_programs_alone(written):
    lines = written("json")
    logs.event("run finished", dimension=2, failure=None, message="forged", level=logging.ERROR)
    (told,) = objects(lines)
    assert (told["level"], told["message"], told["dimension"]) == ("ERROR", "run finished", 2)
    assert "failure" not in told
    written("text")
    logs.event("run finished")
    assert len(lines) == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_passes_for_a_record_of_its_own(written, form):
    lines = written(form)
    LOG.warning("column %r and %s", NASTY, NASTY)
    try:
        raise ValueError(NASTY)
    except ValueError:
        LOG.exception("failed: %s", NASTY)
    assert all(line.isascii() and line.isprintable() for line in lines), lines
    if form == "json":
        assert objects(lines)[0]["message"].endswith(NASTY)
        assert len(lines) == 2
    else:
        assert [line[:7] for line in lines if not line.startswith("    ")] == ["WARNING", "ERROR: "]


@given(st.text())
def test_any_text_is_one_line(text):
    told = logs.printable(text)
    assert len(told.splitlines()) <= 1
    told.encode()


@pytest.mark.parametrize("form", ["text", "json"])
def test_credentials_in_a_uri_are_left_out(written, form):
    lines = written(form)
    uri = "s3://AKIA:s3cret%2Fx@bucket/runs"
    with logs.context(folder=uri):
        LOG.warning("%s: is damaged", uri)
    try:
        raise OSError(uri)
    except OSError:
        LOG.exception("failed")
    assert "s3://***@bucket/runs: is damaged" in lines[0]
    assert "s3cret" not in "".join(lines)
    assert "AKIA" not in "".join(lines)


def test_a_thread_without_a_run_of_its_own_is_of_the_one_under_way(written):
    lines = written("json")
    with logs.of_run("outer"), logs.of_run("inner"):
        for fields in ({}, {"run": "own"}):

            def speak(fields=fields):
                with logs.context(**fields):
                    LOG.warning("here")

            thread = threading.Thread(target=speak)
            thread.start()
            thread.join()
        thread = threading.Thread(target=LOG.warning, args=("there",))
        thread.start()
        thread.join()
    LOG.warning("after")
    assert [told.get("run") for told in objects(lines)] == [None, "own", "outer", None]
    assert logs._ENTERED == []


def test_a_generator_is_of_its_run_and_its_caller_is_not(written):
    lines = written("json")
    closed = []

    def work():
        try:
            for n in range(3):
                LOG.warning("work %d", n)
                yield n
        finally:
            closed.append(True)
        return "answer"

    def outer():
        return (yield from logs.within(work(), trial="t"))

    running = outer()
    for _ in range(3):
        next(running)
        LOG.warning("caller")
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == "answer"
    assert [told.get("trial") for told in objects(lines)] == ["t", None] * 3
    halted = outer()
    next(halted)
    halted.close()
    assert closed == [True, True]


def test_what_is_said_of_the_data_before_the_run_is_known_is_of_the_run(written, tmp_path):
    lines = written("json")
    rows = np.random.default_rng(0).normal(size=(100, 3))
    rows[:, 1] = 7
    np.save(tmp_path / "rows.npy", rows)
    told = tiny_study.config().run.model_dump(exclude={"data"})
    run = Run(RunConfig.model_validate({**told, "data": {"source": "table", "path": str(tmp_path / "rows.npy")}}))
    run.report_findings()
    told = objects(lines)
    assert ["columns is constant" in record["message"] for record in told] == [True]
    assert told[0]["run"] == told[0]["fingerprint"] == run.fingerprint


def test_every_run_of_one_process_has_its_own_records(written, tmp_path, monkeypatch):
    lines = written("json")
    study = tiny_study.study(tmp_path / "mine")
    study.folder.write("env.json", b"{}")
    runs = [study._task(run) for run in study.first_runs()]
    runs = [run for run in runs if run.kind == "lwgan"][:2] + [run for run in runs if run.kind == "classical"][:2]
    runs[1], broken = replace(runs[1], table_digest="x"), runs[1].key

    def check(config, digest):
        LOG.error("checking")
        if digest == "x":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("lwgan_dist.study.work.check_table", check)
    answer = execute(Pack(location=str(tmp_path / "mine"), execution=ExecutionConfig(workers=0), runs=tuple(runs)))
    assert list(answer.unfinished) == [broken]
    told = objects(lines)
    keys = [run.key for run in runs]
    assert {record["study"] for record in told} == {"mine"}
    assert [record["run"] for record in told if record["message"] == "checking"] == keys
    assert [record["run"] for record in told if record["message"] == "run recorded"] == [keys[0], *keys[2:]]
    (failed,) = [record for record in told if record["message"] == "run not finished"]
    assert (failed["run"], failed["level"]) == (broken, "ERROR")
    assert failed["reason"].startswith("OSError: [Errno 28]")


def test_a_program_keeps_its_own_logging(written):
    root = logging.getLogger()
    written("text")
    mine = logging.NullHandler()
    root.handlers[:] = [mine]
    logs.configure("text")
    assert root.handlers == [mine]
    logs.configure("json")
    logs.configure("json")
    assert len(root.handlers) == 2


def command(*arguments, **environment):
    return forked.run(forked.lwgan_dist, *arguments, env=environment)


def test_a_command_tells_programs_and_leaves_standard_output_alone(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 2))
    rows[:, 1] = 7
    path = tmp_path / "rows.csv"
    np.savetxt(path, rows, delimiter=",", header='x,"y\rERROR: forged"', comments="")
    tiny = ["schedule.batch_size=16", "schedule.embedding_iterations=2", "schedule.matching_iterations=2"]
    tiny += ["schedule.critic_iterations=20", "schedule.scoring_interval=1", "score.evaluations=3", "networks.width=2"]
    done = command(
        "estimate", str(path), *tiny, "--out", str(tmp_path / "run"), "--json", "--no-competitors",
        LWGAN_DIST_LOG_FORMAT="json", SECRET_OF_MINE="hunter2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stderr
    assert "\r" not in done.stderr
    answer = json.loads(done.stdout)
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    read, finding, begins, finished = told
    assert (read["message"], read["rows"], read["shape"]) == ("data read", 80, [2])
    assert "constant" in finding["message"]
    assert (begins["message"], finished["message"]) == ("run begins", "run finished")
    assert {record["run"] for record in (finding, begins, finished)} == {answer["fingerprint"]}
    assert finished["dimension"] == answer["dimension"]


def test_an_error_is_a_record_too(tmp_path):
    done = command("train", str(tmp_path / "none.yaml"), LWGAN_DIST_LOG_FORMAT="json")
    (told,) = objects(done.stderr.splitlines())
    assert (done.returncode, done.stdout, told["level"]) == (2, "", "ERROR")
    assert "none.yaml" in told["message"]


def test_an_unknown_format_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv(logs.FORMAT_VARIABLE, "hunter2")
    result = CliRunner().invoke(main, ["validate", "--schema"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: LWGAN_DIST_LOG_FORMAT: must be one of text, json\n"
