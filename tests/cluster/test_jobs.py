"""`submit` and `job` without Ray: what is refused before anything is sent, what is sent, how a log is followed, and
what is said when nobody answers. The Jobs API is a small server of our own.
"""

import asyncio
import contextlib
import io
import json
import os
import socket
import stat
import threading
import time
import zipfile
from contextlib import closing

import pytest
from aiohttp import web
from click.testing import CliRunner
from own_home import own_home
from tiny import FAST
from tiny_search import config as search_config
from tiny_study import config as study_config

from lwgan_dist.cli import main
from lwgan_dist.cluster import jobs
from lwgan_dist.cluster.jobs import Jobs
from lwgan_dist.cluster.secrets import FILE, HOOK
from lwgan_dist.cluster.submission import Submission
from lwgan_dist.config import TrainConfig
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.launch import auth_token

TOKEN = "0123456789abcdef" * 4
SECRET = "zebra-secret-5417"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """No variable of Ray's, a home of our own, quick answers."""
    own_home(tmp_path, monkeypatch)
    monkeypatch.setattr(jobs, "FIND_SECONDS", 0.5)
    monkeypatch.setattr(jobs, "SILENCE_SECONDS", 2.0)
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0.1)


@pytest.fixture
def study_file(tmp_path):
    file = tmp_path / "tiny study.yaml"
    file.write_text(to_yaml(study_config({"execution.workers": 1})))
    return str(file)


class FakeCluster:
    """The Jobs API as Ray has it, with jobs that say `lines` and end with `exit_code` when `ended` is set."""

    def __init__(self):
        self.jobs, self.packages, self.requests = {}, {}, []
        self.lines, self.exit_code, self.ended = [], 0, threading.Event()
        self.cut_after: list[int] = []  # characters after which a connection to a log is cut, one after another
        self.refuse = None  # a status for every request
        self.answers_pings, self.connections, self.ends_at_connection = True, 0, None  # to logs
        self.node, self.alive = "node-1", ["node-0", "node-1"]  # where jobs run; which nodes there are
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve)
        self.up = threading.Event()
        self.thread.start()
        self.up.wait(10)

    def _serve(self):
        asyncio.set_event_loop(self.loop)
        app = web.Application(client_max_size=2**28, middlewares=[self._guard])
        app.router.add_get("/api/version", self._version)
        app.router.add_route("*", "/api/packages/gcs/{name}", self._package)
        app.router.add_get("/api/jobs/", self._list)
        app.router.add_post("/api/jobs/", self._submit)
        app.router.add_get("/api/jobs/{id}", self._info)
        app.router.add_get("/api/v0/nodes", self._nodes)
        app.router.add_post("/api/jobs/{id}/stop", self._stop)
        app.router.add_get("/api/jobs/{id}/logs/tail", self._tail)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        self.loop.run_until_complete(self.runner.setup())
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        self.loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self.up.set()
        self.loop.run_forever()
        self.loop.run_until_complete(self.runner.cleanup())
        self.loop.close()

    def end(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    @web.middleware
    async def _guard(self, request, handler):
        self.requests.append(
            (request.method, request.path, {name.lower(): value for name, value in request.headers.items()})
        )
        if self.refuse:
            return web.Response(status=self.refuse, text="Unauthorized")
        return await handler(request)

    async def _version(self, _request):
        return web.json_response({"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": "s"})

    async def _package(self, request):
        name = request.match_info["name"]
        if request.method == "PUT":
            self.packages[name] = await request.read()
        return web.Response(status=200 if name in self.packages else 404)

    def _told(self, id_):
        told = dict(self.jobs[id_])
        if self.ended.is_set() and told["status"] == "RUNNING":
            told |= {"status": "SUCCEEDED" if self.exit_code == 0 else "FAILED", "driver_exit_code": self.exit_code}
        return told

    async def _list(self, _request):
        return web.json_response([self._told(id_) for id_ in self.jobs])

    async def _submit(self, request):
        told = await request.json()
        id_ = told["submission_id"]
        if id_ in self.jobs:
            return web.Response(status=400, text=f"ValueError: Job with submission_id {id_} already exists.")
        self.jobs[id_] = {
            "type": "SUBMISSION", "submission_id": id_, "status": "RUNNING", "entrypoint": told["entrypoint"],
            "metadata": told["metadata"], "runtime_env": told["runtime_env"], "start_time": 1000 * (1 + len(self.jobs)),
            "driver_node_id": self.node,
        }  # fmt: skip
        return web.json_response({"job_id": id_, "submission_id": id_})

    async def _info(self, request):
        if request.match_info["id"] not in self.jobs:
            return web.Response(status=404, text="Job does not exist")
        return web.json_response(self._told(request.match_info["id"]))

    async def _nodes(self, request):
        if self.alive is None:
            return web.json_response({"result": False, "msg": "no GCS", "data": {"result": None}}, status=500)
        states = {f"node-{i}": "ALIVE" if f"node-{i}" in self.alive else "DEAD" for i in range(3)}
        wanted = request.query["filter_values"] if request.query["filter_predicates"] == "=" else None
        found = [{"node_id": node, "state": state} for node, state in states.items() if state == wanted]
        return web.json_response({"result": True, "msg": "", "data": {"result": {"total": 3, "result": found}}})

    async def _stop(self, request):
        self.jobs[request.match_info["id"]]["status"] = "STOPPED"
        return web.json_response({"stopped": True})

    async def _tail(self, request):
        socket = web.WebSocketResponse(autoping=self.answers_pings)
        await socket.prepare(request)
        self.connections += 1
        if self.connections == self.ends_at_connection:
            self.ended.set()
        text, cut = "".join(self.lines), self.cut_after.pop(0) if self.cut_after else None
        if cut is not None:
            await socket.send_str(text[:cut])
            request.transport.abort()
            return socket
        for start in range(0, len(text), 7):
            await socket.send_str(text[start : start + 7])
        while not self.ended.is_set():
            with contextlib.suppress(TimeoutError):  # reading is what answers pings
                await socket.receive(timeout=0.05)
        return socket


@pytest.fixture
def cluster():
    fake = FakeCluster()
    yield fake
    fake.end()


def call(*arguments, code=0):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def refused(*arguments, code=2):
    """The only line of a command that ends badly."""
    result = call(*arguments, code=code)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def submit(cluster, file, *arguments, code=0, options=()):
    return call("submit", file, "--address", cluster.url, *options, "--", *arguments, code=code)


# What is refused before anything is sent: nobody listens at the address.


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "one of study, tune, compare, train; there is none"),
        (("estimate",), "estimate: is none of them"),
        (("study",), "--storage runs: would be a folder of the job on one node, and be lost"),
        (("study", "--storage", "../x"), "give an absolute path that all nodes share, or a URI"),
        (("study", "--storage", "/s", "--address", "h:1"), "belongs before the --"),
        (("study", "--storage", "/s", "--name", "a/b"), "--name 'a/b'"),
        (("study", "--storage", "/s", "sizes"), "an override has the form key=value"),
        (("study", "--storage", "/s", "lwgan.replicate=3"), "lwgan.replicate"),
        (("study", "--storage", "/s", "execution.workers=0"), "beside the scheduler on the head"),
        (("study", "--storage", "/s", "execution.address=h:1"), "leave it out"),
        (("study", "--storage", "/s", "data=[{path: d/t.csv}]"), "the table d/t.csv: nodes need an absolute path"),
        (("study", "--storage", "s3://key:word@bucket/x"), "a URI with a secret would be shown"),
        (("study", "--storage", "s3://key:wo/rd@bucket/x"), "a URI with a secret would be shown"),
        (("study", "--storage", "abfss://c@a.net/p?sv=1&sig=abc"), "a URI with a secret would be shown"),
        (("study", "--storage", "/s", "--dry-run"), "it is no job"),
    ],
)  # fmt: skip
def test_refused_here(study_file, arguments, reason):
    assert reason in refused("submit", study_file, "--address", NOBODY, "--", *arguments)


def test_the_job_and_its_study_have_one_name(study_file):
    told = refused(
        "submit", study_file, "--name", "a", "--address", NOBODY, "--", "study", "--storage", "/s", "--name", "b"
    )
    assert "the job has the name of its study, which is b" in told


def test_who_reads_a_log_and_goes_ends_it(monkeypatch):
    """A pipe that is closed is no connection that is lost."""
    monkeypatch.setattr(jobs, "RECONNECT_SECONDS", 3600.0)
    there = Jobs.__new__(Jobs)
    there.address = "http://nowhere"

    async def pieces(_job):
        yield 0, "text"

    there._pieces = pieces

    def write(_text):
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        there.follow(None, write, lambda _text: None)


def test_options_of_the_command_are_checked_here(study_file):
    result = call("submit", study_file, "--address", NOBODY, "--", "study", "--storag", code=2)
    assert "No such option" in result.stderr


def test_the_file_is_checked_here(study_file, tmp_path):
    assert "no such file" in refused("submit", str(tmp_path / "x.yaml"), "--", "study", "--storage", "/s")
    broken = tmp_path / "broken.yaml"
    broken.write_text("data: [{name: s_curve}]\nsizes: [many]\n")
    assert f"{broken}:2:9: sizes" in refused("submit", str(broken), "--", "study", "--storage", "/s")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ray://head:10001", "Ray Client is not used"),
        ("head:6379", "http://HEAD:8265"),
        ("auto", "http://HEAD:8265"),
        ("http://me:word@head:8265", "holds a user name or password"),
        (None, "no --address"),
    ],
)
def test_addresses(study_file, address, reason):
    given = () if address is None else ("--address", address)
    for command in (("submit", study_file, *given, "--", "study", "--storage", "/s"), ("job", "list", *given)):
        line = refused(*command, code=5)
        assert reason in line
        assert "word" not in line.replace("password", "")


def test_nobody_listens_or_nobody_answers(study_file):
    assert "connection refused" in refused("job", "list", "--address", NOBODY, code=5)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        begun = time.monotonic()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "no answer in time" in refused("job", "list", "--address", address, code=5)
        assert time.monotonic() - begun < 60, "a bound there is"


def test_a_proxy_is_for_the_world_outside(cluster, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    monkeypatch.delenv("no_proxy", raising=False)
    assert call("job", "list", "--address", cluster.url).stderr == ""
    assert any(path == "/api/jobs/" for _, path, _ in cluster.requests)


@pytest.mark.parametrize(("status", "found"), [(401, False), (403, True)])
def test_a_token_that_is_wanted(cluster, monkeypatch, status, found):
    cluster.refuse = status
    if found:
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    line = refused("job", "list", "--address", cluster.url, code=5)
    assert ("refuses the token in RAY_AUTH_TOKEN" if found else "wants a token, and none is set") in line
    assert TOKEN not in line


def test_a_server_of_another_kind(cluster):
    cluster.refuse = 502
    assert f"{cluster.url} (HTTPError)" in refused("job", "list", "--address", cluster.url, code=5)


# What is sent.


def test_what_is_sent(cluster, study_file, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")  # Ray's client would go there
    env = tmp_path / "secret.env"
    env.write_text(f"MARKER={SECRET}")
    env.chmod(0o644)
    arguments = ("study", "sizes=[40]", "--storage", "/s p")
    told = submit(cluster, study_file, *arguments, options=("--env-file", str(env)))
    assert f"note: {env}: others can read it" in told.stderr
    assert os.environ["RAY_ADDRESS"] == NOBODY
    (job,) = cluster.jobs.values()
    assert job["submission_id"] == "tiny-study"
    assert job["entrypoint"] == (
        "exec python -m lwgan_dist job run study 'lwgan-job/tiny study.yaml' 'sizes=[40]' --storage '/s p'"
    )
    assert job["runtime_env"]["worker_process_setup_hook"] == HOOK
    assert job["metadata"]["command"] == "study"
    assert job["metadata"]["env_file"] == "yes"
    assert job["metadata"]["config_sha256"]
    assert SECRET not in json.dumps(job)
    assert TOKEN not in json.dumps(job)
    (content,) = cluster.packages.values()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert set(archive.namelist()) == {"lwgan-job/tiny study.yaml", FILE}
        assert (archive.getinfo(FILE).external_attr >> 16) & 0o777 == 0o600
        assert json.loads(archive.read(FILE))["values"] == {"MARKER": SECRET}
    assert {headers.get("authorization") for *_, headers in cluster.requests} == {f"Bearer {TOKEN}"}


def test_a_table_that_only_the_nodes_have(cluster, study_file):
    data = "data=[{name: s_curve}, {path: /nowhere/t.csv}]"
    told = submit(cluster, study_file, "study", "--storage", "/s", data)
    assert "note: /nowhere/t.csv: is not on this machine" in told.stderr
    assert len(cluster.jobs) == 1


@pytest.mark.parametrize("kind", ["train", "tune"])
def test_runs_and_searches(cluster, tmp_path, kind):
    told = TrainConfig.model_validate(FAST) if kind == "train" else search_config({"execution.workers": 1})
    file = tmp_path / "c.yaml"
    file.write_text(to_yaml(told))
    submit(cluster, str(file), kind, "--storage", "gs://b/runs", options=("--name", "n"))
    (job,) = cluster.jobs.values()
    assert job["entrypoint"].endswith(f"job run {kind} lwgan-job/c.yaml --storage gs://b/runs --name n")
    assert "worker_process_setup_hook" not in job["runtime_env"]


def submission(**changes):
    common = {"name": "n", "command": "study", "config_file": "c.yaml", "config": "a: 1\n", "config_hash": "h"}
    return Submission(**common | {"arguments": ()} | changes)


def contents(package):
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    for name in (
        "lwgan_dist/__init__.py", "lwgan_dist/__pycache__/x.pyc", "lwgan_dist/study/a.py", "lwgan_dist/.env",
        "lwgan_dist/more.env", "lwgan_dist/ignored.txt", "tests/a.py", ".venv/bin/python", "runs/r/result.json", ".env",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "pyproject.toml").write_text('[project]\nname = "lwgan-dist"\nversion = "9.8"\n')
    (folder / "lwgan_dist" / ".gitignore").write_text("ignored.txt\n.gitignore\n")
    return folder


def test_the_code_of_a_checkout(cluster, checkout):
    """Its package, without caches, what git ignores in there, and files that are named as those of secrets are."""
    Jobs(cluster.url).submit(submission(code=str(checkout)))
    assert sorted(map(contents, cluster.packages.values()), key=sorted) == [
        {"lwgan-job/c.yaml", "lwgan_dist-9.8.dist-info/METADATA"},
        {"lwgan_dist/__init__.py", "lwgan_dist/study/a.py"},
    ]
    (job,) = cluster.jobs.values()
    assert len(job["runtime_env"]["py_modules"]) == 1
    Jobs(cluster.url).submit(submission(code=str(checkout), name="o", config_file=".env.yaml"))
    assert {"lwgan-job/.env.yaml", "lwgan_dist-9.8.dist-info/METADATA"} in map(contents, cluster.packages.values())
    Jobs(cluster.url).submit(submission(code=str(checkout), name="m"))
    assert sum(method == "PUT" for method, *_ in cluster.requests) == 3, "what is the same is sent once"


def test_secrets_in_the_code_are_refused(study_file, checkout):
    env = checkout / "lwgan_dist" / "secrets.txt"
    env.write_text(f"MARKER={SECRET}")
    link = str(checkout.parent / "link")
    os.symlink(checkout, link)
    told = call(
        "submit", study_file, "--address", NOBODY, "--env-file", str(env), "--working-dir", link,
        "--", "study", "--storage", "/s", code=2,
    ).stderr  # fmt: skip
    assert "lies in the code that is sent" in told


def test_code_that_is_too_large(cluster, checkout, monkeypatch):
    monkeypatch.setattr(jobs, "PACKAGE_BYTES", 100_000)
    Jobs(cluster.url).submit(submission(code=str(checkout)))
    (checkout / "lwgan_dist" / "data.bin").write_bytes(os.urandom(200_000))
    with pytest.raises(ConfigError, match="above the 100 MiB that Ray takes"):
        Jobs(cluster.url).submit(submission(code=str(checkout), name="m"))
    assert list(cluster.jobs) == ["n"]


def test_a_configuration_that_is_too_large(cluster):
    with pytest.raises(ConfigError, match="more than 48 KiB does not fit"):
        Jobs(cluster.url).submit(submission(config="a" * 50_000))


def test_no_checkout(cluster, tmp_path):
    with pytest.raises(ConfigError, match="holds no lwgan_dist/"):
        Jobs(cluster.url).submit(submission(code=str(tmp_path)))
    (tmp_path / "lwgan_dist").mkdir()
    (tmp_path / "lwgan_dist" / "__init__.py").touch()
    with pytest.raises(ConfigError, match=r"its pyproject\.toml names no version"):
        Jobs(cluster.url).submit(submission(code=str(tmp_path)))


# Names and attempts.


def test_names(cluster, study_file, monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", cluster.url)
    arguments = ("study", "--storage", "/s")
    submit(cluster, study_file, *arguments)
    assert "runs already; --follow follows it" in submit(cluster, study_file, *arguments, code=2).stderr
    assert "runs already; --follow follows it" in refused("job", "resume", "tiny-study")
    assert "stopped; 'lwgan-dist job resume tiny-study' goes on" in call("job", "stop", "tiny-study").stderr
    assert "has ended already (stopped)" in call("job", "stop", "tiny-study").stderr
    assert "attempt 2" in call("job", "resume", "tiny-study").stderr
    first, second = cluster.jobs.values()
    assert second["submission_id"] == "tiny-study~2"
    for what in ("entrypoint", "metadata", "runtime_env"):
        assert first[what] == second[what], what
    call("job", "stop", "tiny-study")
    submit(cluster, study_file, *arguments)
    assert list(cluster.jobs) == ["tiny-study", "tiny-study~2", "tiny-study~3"]
    listed = call("job", "list").stdout.splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [
        ["tiny-study~1", "stopped"], ["tiny-study~2", "stopped"], ["tiny-study~3", "running"],
    ]  # fmt: skip
    assert json.loads(call("job", "status", "tiny-study", "--json").stdout)["attempt"] == 3
    assert json.loads(call("job", "status", "tiny-study~1", "--json").stdout)["id"] == "tiny-study"
    assert "has no such job: it has tiny-study" in refused("job", "status", "other", code=5)


def test_secrets_and_code_are_given_again(cluster, study_file, tmp_path, checkout):
    env = tmp_path / "secret.env"
    env.write_text(f"MARKER={SECRET}")
    given = ("--env-file", str(env), "--working-dir", str(checkout))
    submit(cluster, study_file, "study", "--storage", "/s", options=given)
    call("job", "stop", "tiny-study", "--address", cluster.url)
    resume = ("job", "resume", "tiny-study", "--address", cluster.url)
    assert "was submitted with --env-file" in refused(*resume)
    assert "was submitted with --working-dir" in refused(*resume, *given[:2])
    call(*resume, *given)
    first, second = cluster.jobs.values()
    assert first["metadata"] == second["metadata"]


def test_another_command_was_faster(cluster, study_file, monkeypatch):
    submit(cluster, study_file, "study", "--storage", "/s")
    monkeypatch.setattr(Jobs, "attempts", lambda *_: [])
    assert "was submitted by another command just now" in submit(
        cluster, study_file, "study", "--storage", "/s", code=2
    ).stderr  # fmt: skip


def test_what_others_submitted(cluster):
    cluster.jobs["raysubmit_1"] = {
        "type": "SUBMISSION", "submission_id": "raysubmit_1", "status": "FAILED", "entrypoint": "false",
        "start_time": 1,
    }  # fmt: skip
    cluster.jobs["driver"] = {"type": "DRIVER", "job_id": "01", "status": "RUNNING", "entrypoint": ""}
    assert "raysubmit_1  failed" in call("job", "list", "--address", cluster.url).stdout
    assert "not submitted by lwgan-dist" in refused("job", "resume", "raysubmit_1", "--address", cluster.url)
    cluster.jobs["raysubmit_1"] |= {"driver_exit_code": 127, "entrypoint": "nosuch"}
    cluster.ended.set()
    told = call("job", "logs", "raysubmit_1", "--follow", "--address", cluster.url, code=127)
    assert told.stderr == "raysubmit_1: ended with exit code 127\n"


# Following.


def follow(cluster, file, code=0):
    cluster.ended.set()
    return submit(cluster, file, "study", "--storage", "/s", options=("--follow",), code=code)


def test_a_log_is_shown_once_over_lost_connections(cluster, study_file):
    cluster.lines = [f"line {i}\n" for i in range(40)]
    cluster.cut_after = [50, 20, 120]
    told = follow(cluster, study_file)
    assert told.stdout == "".join(cluster.lines)
    assert cluster.cut_after == [], "it was cut"
    assert "is lost; trying to come back" in told.stderr
    assert "the connection is back" in told.stderr


def test_a_silent_log_that_answers_pings_is_waited_for(cluster, study_file):
    submit(cluster, study_file, "study", "--storage", "/s")
    timer = threading.Timer(2.5 * jobs.SILENCE_SECONDS, cluster.ended.set)
    timer.start()
    told = call("job", "logs", "tiny-study", "--follow", "--address", cluster.url)
    timer.join()
    assert "is lost" not in told.stderr


def test_a_silent_log_that_answers_no_ping_is_lost(cluster, study_file, monkeypatch):
    """As where a network is cut."""
    monkeypatch.setattr(jobs, "SILENCE_SECONDS", 0.2)
    cluster.answers_pings = False
    submit(cluster, study_file, "study", "--storage", "/s")
    timer = threading.Timer(60, cluster.ended.set)
    timer.start()
    cluster.ends_at_connection = 2
    told = call("job", "logs", "tiny-study", "--follow", "--address", cluster.url)
    timer.cancel()
    assert "is lost; trying to come back" in told.stderr


def test_a_connection_that_does_not_come_back(cluster, study_file, monkeypatch):
    monkeypatch.setattr(jobs, "RECONNECT_SECONDS", 0.5)
    submit(cluster, study_file, "study", "--storage", "/s")
    client = Jobs(cluster.url)
    job = client.find("tiny-study")
    cluster.refuse = 503
    said = []
    with pytest.raises(jobs.ClusterError, match=r"did not come back within 0 s.*the job goes on if its cluster does"):
        client.follow(job, said.append, said.append)
    assert len(said) == 1


def test_a_job_whose_node_is_gone_has_failed(cluster, study_file, caplog):
    """Ray's own status of it stays RUNNING behind a new head."""
    submit(cluster, study_file, "study", "--storage", "/s")
    assert "running" in call("job", "status", "tiny-study", "--address", cluster.url).stdout
    for cluster.alive, reason in ((None, "500"), ([], "no node is listed")):
        told = call("job", "status", "tiny-study", "--address", cluster.url)
        assert "running" in told.stdout, "nobody knows better"
        assert f"which nodes are alive cannot be seen: {reason}" in caplog.text
    assert "runs already" in call("job", "resume", "tiny-study", "--address", cluster.url, code=2).stderr
    cluster.alive = ["node-0", "node-2"]
    assert cluster.jobs["tiny-study"]["status"] == "RUNNING"
    told = json.loads(call("job", "status", "tiny-study", "--json", "--address", cluster.url).stdout)
    assert (told["status"], told["message"]) == ("FAILED", "the node that ran it is gone")
    told = call("job", "logs", "tiny-study", "--address", cluster.url, code=5)
    assert "is gone, and its log with it; 'lwgan-dist job resume tiny-study'" in told.stderr
    cluster.node = "node-2"
    call("job", "resume", "tiny-study", "--address", cluster.url)
    listed = json.loads(call("job", "list", "--json", "--address", cluster.url).stdout)
    assert [(job["id"], job["status"]) for job in listed] == [("tiny-study", "FAILED"), ("tiny-study~2", "RUNNING")]


def test_a_followed_job_whose_node_is_lost(cluster, study_file):
    submit(cluster, study_file, "study", "--storage", "/s")
    cluster.lines, cluster.cut_after = ["begun\n" * 9], [12]
    cluster.alive = ["node-0"]
    told = call("job", "logs", "tiny-study", "--follow", "--address", cluster.url, code=3)
    assert told.stdout == "begun\nbegun\n"
    assert "the node that ran it is gone; 'lwgan-dist job resume tiny-study'" in told.stderr


@pytest.mark.parametrize(
    ("exit_code", "code", "reason"),
    [
        (0, 0, ""),
        (2, 2, "ended with exit code 2"),
        (4, 4, "ended with exit code 4"),
        (127, 3, "no such interpreter: python"),
        (130, 130, "was interrupted; 'lwgan-dist job resume tiny-study'"),
        (-9, 3, "was ended by signal SIGKILL, maybe for want of memory on the head"),
        (137, 3, "was ended by signal SIGKILL"),
    ],
)
def test_it_ends_as_the_command_did(cluster, study_file, exit_code, code, reason):
    cluster.exit_code = exit_code
    told = follow(cluster, study_file, code)
    assert reason in told.stderr


def test_a_job_that_did_not_start(cluster, study_file):
    submit(cluster, study_file, "study", "--storage", "/s")
    cluster.jobs["tiny-study"] |= {"status": "FAILED", "message": "Traceback\nRuntimeError: no such package\n"}
    cluster.ended.set()
    told = call("job", "logs", "tiny-study", "--follow", "--address", cluster.url, code=3)
    assert "RuntimeError: no such package; 'lwgan-dist job resume tiny-study'" in told.stderr


def test_a_running_name_is_followed_if_it_is_the_same(cluster, study_file):
    submit(cluster, study_file, "study", "--storage", "/s")
    threading.Timer(0.5, cluster.ended.set).start()
    told = submit(cluster, study_file, "study", "--storage", "/s", options=("--follow",))
    assert "runs already, and is followed" in told.stderr
    cluster.ended.clear()
    told = submit(cluster, study_file, "study", "--storage", "/t", options=("--follow",), code=2)
    assert "with another command or configuration" in told.stderr
    cluster.ended.set()


def test_who_only_submits_has_a_private_token_file_too(cluster):
    auth_token.private_token_file(create=True)
    auth_token.token_file().chmod(0o644)
    Jobs(cluster.url)
    assert stat.S_IMODE(auth_token.token_file().stat().st_mode) == 0o600
