"""Commands as Ray jobs on a head with a token: submitted, followed, stopped and resumed by name, with secrets that
reach driver and workers and are seen nowhere.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ray_head import TOKEN, ray_head
from tiny import FAST
from tiny_study import NO_TIME, Silent, begun, config, finished_runs, study

import lwgan_dist
from lwgan_dist.config import TrainConfig, override
from lwgan_dist.configfile import to_yaml

pytestmark = pytest.mark.cluster

SECRET, PUBLIC = "zebra-secret-5417", "heron-public-2093"


@pytest.fixture(scope="module")
def head():
    with ray_head() as head:
        yield head


@pytest.fixture
def call(head):
    """`lwgan-dist` where the address and the token are known."""
    environment = head.client_environment(TOKEN) | {"RAY_API_SERVER_ADDRESS": head.url}

    def call(*arguments, code=0):
        told = subprocess.run(
            [sys.executable, "-m", "lwgan_dist", *arguments],
            env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert told.returncode == code, told.stdout + told.stderr
        assert "Traceback" not in told.stderr
        return told

    call.environment = environment
    return call


NOTE = """
import os, pathlib, sys
pathlib.Path({seen!r}, f"{{pathlib.Path(sys.argv[0]).stem}} {{__name__}} {{os.getpid()}}").write_text(
    os.environ.get("MARKER", "nothing"))
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout in which the modules that driver and workers import note who imports them, and the secret."""
    folder, seen = tmp_path / "checkout", tmp_path / "seen"
    package = Path(lwgan_dist.__file__).parent
    shutil.copytree(package, folder / "lwgan_dist", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(package.parent / "pyproject.toml", folder)
    seen.mkdir()
    for module in ("study/work.py", "launch/train.py"):
        file = folder / "lwgan_dist" / module
        file.write_text(file.read_text() + NOTE.format(seen=str(seen)))
    for place in (folder, folder / "lwgan_dist"):
        (place / ".env").write_text(f"FORGOTTEN={SECRET}")
    return folder, seen


def seen_by(seen):
    """What was in the environment of processes, by program and module."""
    return {tuple(path.name.split()[:2]): path.read_text() for path in seen.iterdir()}


@pytest.fixture
def secrets(tmp_path):
    file = tmp_path / "secret.env"
    file.write_text(f"# of nobody else\nexport MARKER={SECRET}\n")
    file.chmod(0o600)
    return str(file)


def study_file(tmp_path, name, **told):
    file = tmp_path / f"{name}.yaml"
    file.write_text(to_yaml(config({"execution.workers": 1}, **told)))
    return str(file)


def wait_for(condition, seconds=240):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "nothing happens"
        time.sleep(0.2)


def holding(folder, text):
    """Files in which a text stands."""
    found = []
    for path in Path(folder).rglob("*"):
        if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes():
            found.append(path)
    return found


def test_secrets_reach_driver_and_workers_and_are_seen_nowhere(head, call, checkout, secrets, tmp_path):
    """The controls are what is public: the name of the storage folder is found by the same searches."""
    code, seen = checkout
    storage = tmp_path / PUBLIC
    told = call(
        "submit", study_file(tmp_path, "secretive"), "--env-file", secrets, "--working-dir", str(code), "--follow",
        "--", "study", "--storage", str(storage),
    )  # fmt: skip
    assert "note:" not in told.stderr, "the file is ours alone"
    run = tmp_path / "run.yaml"
    run.write_text(to_yaml(TrainConfig.model_validate(override(FAST, {"execution.workers": 2}))))
    more = call(
        "submit", str(run), "--env-file", secrets, "--working-dir", str(code), "--follow", "--name", "trained",
        "--", "train", "--storage", str(storage),
    )  # fmt: skip
    assert seen_by(seen) == {
        ("__main__", "lwgan_dist.study.work"): SECRET,
        ("default_worker", "lwgan_dist.study.work"): SECRET,
        ("__main__", "lwgan_dist.launch.train"): SECRET,
        ("default_worker", "lwgan_dist.launch.train"): SECRET,
    }
    assert (storage / "secretive" / "report.html").exists()
    assert (storage / "trained" / "result.json").exists()

    request = urllib.request.Request(f"{head.url}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        api = answer.read().decode()
    public = json.loads(api)[0]["metadata"]
    assert {"lwgan_dist", "command", "config_sha256"} <= public.keys()
    logs = head.folder / "session_latest" / "logs"
    for text in (SECRET, TOKEN):
        assert text not in told.stdout + told.stderr + more.stdout + more.stderr
        assert text not in api
        assert holding(logs, text) == []
        assert holding(storage, text) == []
    assert PUBLIC in told.stdout
    assert PUBLIC in api
    assert holding(logs, PUBLIC)
    assert holding(storage, "s_curve")
    packages = holding(head.folder, SECRET)
    assert packages, "the search finds it where it is"
    for path in packages:
        assert path.parts[-2:] == ("lwgan-job", "environment.json"), path
        assert path.stat().st_mode & 0o077 == 0, path
    assert holding(head.folder, TOKEN) == []


def test_stopped_and_resumed_by_name_nothing_is_repeated(call, tmp_path):
    replicates = 60
    many = {"lwgan": {"replicates": replicates}, "classical": {"estimators": ["TwoNN"], "replicates": 3}}
    total = 4 * (replicates + 3)
    file, folder = study_file(tmp_path, "long", **many), tmp_path / "store" / "long"
    arguments = ("--", "study", "--storage", str(tmp_path / "store"))
    call("submit", file, *arguments)
    told = call("submit", file, *arguments, code=2).stderr
    assert "already; --follow follows it" in told
    assert (
        "with another command or configuration"
        in call("submit", file, "--follow", *arguments, "sizes=[40]", code=2).stderr
    )
    assert "already; --follow" in call("job", "resume", "long", code=2).stderr
    wait_for(lambda: finished_runs(folder) >= 20)
    assert "running" in call("job", "status", "long").stdout
    assert "stopped" in call("job", "stop", "long").stderr
    finished = finished_runs(folder)
    assert 20 <= finished < total, "stopped before it was done"
    time.sleep(3)
    assert finished_runs(folder) == finished, "nobody works on"
    assert json.loads(call("job", "status", "long", "--json").stdout)["status"] == "STOPPED"
    assert "finished runs are kept" in call("job", "logs", "long").stdout, "it ended in order"

    told = call("job", "resume", "long", "--follow").stdout
    todo = begun(told)
    assert todo == total - finished, "what is finished is not repeated"
    straight = study(tmp_path / "straight", **many).execute(Silent()).tables.runs
    runs = pq.read_table(folder / "runs.parquet")
    assert runs.num_rows == straight.num_rows
    assert runs.drop_columns(NO_TIME).equals(straight.drop_columns(NO_TIME))

    listed = json.loads(call("job", "list", "--json").stdout)
    attempts = [(job["id"], job["attempt"], job["status"]) for job in listed if job["name"] == "long"]
    assert attempts == [("long", 1, "STOPPED"), ("long~2", 2, "SUCCEEDED")], "both are found again"
    assert "finished runs are kept" in call("job", "logs", "long~1").stdout
    assert "finished runs are kept" not in call("job", "logs", "long").stdout


def test_ctrl_c_detaches_and_the_job_goes_on(call, tmp_path):
    file = study_file(tmp_path, "watched", lwgan={"replicates": 200})
    command = ("submit", file, "--follow", "--", "study", "--storage", str(tmp_path / "store"))
    for again in (False, True):
        process = subprocess.Popen(
            [sys.executable, "-m", "lwgan_dist", *command], env=call.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        wait_for(lambda: finished_runs(tmp_path / "store" / "watched") >= 3)
        assert process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130, said
        assert "detached: watched goes on" in said
        assert ("runs already, and is followed" in said) == again
        assert json.loads(call("job", "status", "watched", "--json").stdout)["status"] == "RUNNING"
    call("job", "stop", "watched")
    assert "has ended already" in call("job", "stop", "watched").stderr


def test_a_followed_job_ends_with_the_commands_code(call, tmp_path):
    rejected = TrainConfig.model_validate(override(FAST, {"data": {"source": "table", "path": "/nowhere/table.csv"}}))
    file = tmp_path / "rejected.yaml"
    file.write_text(
        to_yaml(rejected.model_copy(update={"execution": rejected.execution.model_copy(update={"workers": 1})}))
    )
    arguments = ("--follow", "--", "train", "--storage", str(tmp_path))
    told = call("submit", str(file), *arguments, code=4)
    assert "/nowhere/table.csv" in told.stdout
    assert "ended with exit code 4" in told.stderr
    assert "failed (exit code 4)" in call("job", "status", "rejected").stdout
    told = call("submit", str(file), "--name", "unknown", "--python", "pythonx", *arguments, code=3)
    assert "the nodes have no such interpreter: pythonx" in told.stderr


def test_a_package_above_the_limit_is_refused_by_ray_too(head, call):
    """What `PACKAGE_BYTES` says is what Ray does."""
    from lwgan_dist.cluster.jobs import PACKAGE_BYTES

    for size, code in ((PACKAGE_BYTES, 200), (PACKAGE_BYTES + 1, 413)):
        request = urllib.request.Request(
            f"{head.url}/api/packages/gcs/_ray_pkg_{size}.zip", data=bytes(size), method="PUT",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
        assert status == code, size
