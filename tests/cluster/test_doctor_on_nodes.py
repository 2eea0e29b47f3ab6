"""doctor on real nodes: nothing where all is well; trouble brought about on a node is told of that node alone."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from network import ip, needs_root, network

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
STORE = 100 * 2**20

COUNT_NODES = """
import sys, time
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
while len([n for n in client.get_all_node_info().values() if n.state == 0]) < int(sys.argv[2]):
    time.sleep(0.2)
"""


class Cluster:
    """Nodes on this machine, each `ray start --block` in a session of its own, with a copy of the code as it is now."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.storage = folder / "runs"
        self.address = ""
        self.processes: dict[str, subprocess.Popen] = {}
        self.code = folder / "code"
        (folder / "elsewhere").mkdir()
        if not self.code.exists():
            shutil.copytree(
                REPOSITORY / "lwgan_dist", self.code / "lwgan_dist", ignore=shutil.ignore_patterns("__pycache__")
            )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GLOO_", "NCCL_"))}
        self.environment = {
            **kept, "HOME": str(folder), "PYTHONPATH": str(self.code), "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "180", **environment,
        }  # fmt: skip

    def start(self, name: str, before: str = "", **environment: str) -> None:
        """Start a node called so; ``before`` are shell commands in a mount namespace of its own."""
        where = ["--address", self.address] if self.address else ["--head", "--port", str(free_port())]
        command = [
            str(RAY), "start", *where, "--num-cpus", "1" if self.address else "0", "--object-store-memory",
            str(STORE), "--include-dashboard", "false", "--disable-usage-stats", "--labels", f"called={name}",
            "--temp-dir", str(self.folder / "t"), "--block",
        ]  # fmt: skip
        if self.address:
            command = [part for part in command if part not in ("--include-dashboard", "false")]
            command = command[: command.index("--temp-dir")] + command[command.index("--block") :]
        if before:
            command = ["unshare", "--mount", "sh", "-c", f'{before}; exec "$@"', "sh", *command]
        log = self.folder / f"{name}.log"
        with open(log, "w") as out:
            self.processes[name] = subprocess.Popen(
                command, stdout=out, stderr=out, env={**self.environment, **environment}, start_new_session=True
            )
        end = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            assert self.processes[name].poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        if not self.address:
            self.address = re.search(r"--address='([^']+)'", log.read_text()).group(1)
        count = [sys.executable, "-c", COUNT_NODES, self.address, str(len(self.processes))]
        subprocess.run(count, env=self.environment, check=True, timeout=120)

    def raylet(self, name: str) -> int:
        """Process id of a node's raylet."""
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
        family = {self.processes[name].pid}
        found = [int(pid) for pid, parent, args in rows if int(parent) in family and "raylet/raylet " in args]
        assert len(found) == 1, listed
        return found[0]

    def doctor(self, *options: str, first: str = "", **environment: str) -> subprocess.CompletedProcess:
        """The command, away from the checkout: a driver's folder is on its workers' path."""
        arguments = ["--storage", str(self.storage), "--timeout", "150", *options]
        if "--address" not in options and self.address:
            arguments += ["--address", self.address]
        program = f"{first}\nfrom lwgan_dist.cli import main\nmain()"
        return subprocess.run(
            [sys.executable, "-c", program, "doctor", *arguments],
            cwd=self.folder / "elsewhere", env={**self.environment, **environment}, capture_output=True, text=True,
            timeout=250, check=False,
        )  # fmt: skip

    def told(self, *options: str) -> tuple[dict, dict[str, set[tuple[str, str]]]]:
        """The report, and for every node's name what is found there, as (level, what)."""
        done = self.doctor("--json", *options)
        assert done.stderr == ""
        told = json.loads(done.stdout)
        assert done.returncode == (0 if told["ok"] else 5)
        called = {node["name"]: node["labels"].get("called", "head") for node in told["nodes"]}
        by_node: dict[str, set[tuple[str, str]]] = {name: set() for name in called.values()}
        for finding in told["findings"]:
            for node in finding["nodes"] or called:
                by_node[called[node]].add((finding["level"], finding["what"]))
        return told, by_node

    def end(self) -> None:
        """End every process of the nodes."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def free_port() -> int:
    with socket.create_server(("", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def folder():
    """A short path: those of sockets are limited."""
    made = Path(tempfile.mkdtemp(prefix="xd", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def token(folder):
    (folder / ".ray").mkdir()
    file = folder / ".ray" / "auth_token"
    file.touch(mode=0o600)
    file.write_text(secrets.token_hex(32))
    return file


@pytest.fixture
def cluster(folder, token):
    made = Cluster(folder, RAY_AUTH_MODE="token")
    try:
        made.start("head")
        yield made
    finally:
        made.end()


def serious(found: set[tuple[str, str]]) -> list[str]:
    return sorted(f"{level}: {what}" for level, what in found if level in ("problem", "warning"))


def test_three_nodes_that_are_right(cluster, token):
    cluster.start("first")
    cluster.start("second")
    told, by_node = cluster.told()
    assert told["ok"]
    assert {name: serious(found) for name, found in by_node.items()} == {"head": [], "first": [], "second": []}
    assert {one["check"] for one in told["passed"]} == {
        "nodes", "versions", "storage", "token", "GPUs", "network", "limits",
    }  # fmt: skip
    assert any("the same folder on every node" in one["what"] for one in told["passed"])
    assert all(node["storage"]["read_back"] and node["storage"]["written"] for node in told["nodes"])
    assert not cluster.storage.exists(), "it was made for the mark, and removed"

    cluster.storage.mkdir()
    (cluster.storage / "run").mkdir()
    shown = cluster.doctor()
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0] == f"cluster at {cluster.address}: 3 nodes"
    assert shown.stdout.endswith("\nno problems, no warnings\n")
    assert [path.name for path in cluster.storage.iterdir()] == ["run"]
    assert token.read_text() not in json.dumps(told) + shown.stdout + shown.stderr

    # an address without a token, or with another
    for change in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 64}):
        refused = cluster.doctor(**change)
        assert (refused.returncode, refused.stdout) == (5, "")
        assert "oken" in refused.stderr
        assert all(line.startswith("error: ") for line in refused.stderr.splitlines()), refused.stderr

    # a command with another Ray, or another Python
    for change, text in (
        ("ray.__version__ = '2.59.0'", "Ray 2.59.0"),
        ("ray._private.utils.compute_version_info = lambda: (ray.__version__, '3.12.1')", "Python 3.12.1"),
    ):
        refused = cluster.doctor(first=f"import ray; {change}")
        assert (refused.returncode, refused.stdout) == (5, "")
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"error: {cluster.address}: the cluster runs Ray {ray.__version__} with Python ")
        assert text in line.partition("this command")[2]


@needs_root
def test_trouble_on_one_node_is_told_of_that_node(cluster, token):
    folder = cluster.folder
    cluster.storage.mkdir()
    changed = folder / "changed"
    shutil.copytree(cluster.code, changed)
    with open(changed / "lwgan_dist" / "worker.py", "a") as file:
        file.write("# another line\n")
    (folder / "absent").mkdir()
    (folder / "absent" / "sitecustomize.py").write_text("import sys\nsys.modules['lwgan_dist'] = None\n")
    (folder / "empty").mkdir()

    cluster.start("good")
    cluster.start("unshared", before=f"mount -t tmpfs none {cluster.storage}")
    cluster.start("readonly", before=f"mount --bind {cluster.storage} {cluster.storage} && "
                                     f"mount -o remount,ro,bind {cluster.storage}")  # fmt: skip
    cluster.start("small", before="ulimit -n 2000")
    cluster.start("changed", PYTHONPATH=str(changed))
    cluster.start("absent", PYTHONPATH=f"{folder / 'absent'}:{cluster.code}")
    cluster.start("gloo", GLOO_SOCKET_IFNAME="ib7")
    told, by_node = cluster.told()
    found = {name: serious(one) for name, one in by_node.items()}
    assert not told["ok"]
    assert found.pop("head") == []
    assert found.pop("good") == []
    (text,) = found.pop("unshared")
    assert text.startswith(f"problem: {cluster.storage}: not the folder of that name")
    assert found.pop("readonly") == [f"problem: {cluster.storage}: cannot be used there (Read-only file system)"]
    assert found.pop("small") == ["warning: a process may open 2000 files"]
    (code,) = found.pop("changed")
    assert code.startswith("problem: other source files of lwgan_dist")
    assert "problem: lwgan_dist is not installed" in found["absent"]
    del found["absent"]
    (gloo,) = found.pop("gloo")
    assert gloo.startswith("problem: GLOO_SOCKET_IFNAME names ib7, but the interfaces are lo")
    assert found == {}
    assert list(cluster.storage.iterdir()) == []


@needs_root
def test_a_node_whose_writing_goes_elsewhere(cluster):
    """It sees the storage, and what it writes stays with it, as in a snapshot; nothing is left there either."""
    cluster.storage.mkdir()
    own = cluster.folder / "own"
    own.mkdir()
    mount = (
        f"mount -t tmpfs none {own} && mkdir {own}/upper {own}/work && mount -t overlay overlay "
        f"-o lowerdir={cluster.storage},upperdir={own}/upper,workdir={own}/work {cluster.storage}"
    )
    cluster.start("snapshot", before=mount)
    listing = ["nsenter", "--mount", "--target", str(cluster.processes["snapshot"].pid), "find", str(own / "upper")]
    inside = subprocess.run(listing, capture_output=True, text=True, check=False)
    if inside.returncode:
        pytest.skip("no overlay file system here")
    told, by_node = cluster.told()
    (text,) = serious(by_node["snapshot"])
    assert text.startswith(f"problem: {cluster.storage}: not the folder of that name")
    assert serious(by_node["head"]) == []
    (node,) = [node for node in told["nodes"] if node["labels"].get("called") == "snapshot"]
    assert node["storage"]["seen"], "else it is the case of another folder"
    left = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    assert node["id"] not in left, left
    assert list(cluster.storage.iterdir()) == []


def test_a_node_that_does_not_answer(cluster):
    cluster.start("good")
    cluster.start("stopped")
    raylet = cluster.raylet("stopped")
    os.kill(raylet, signal.SIGSTOP)
    try:
        began = time.monotonic()
        told, by_node = cluster.told("--timeout", "12")
        assert time.monotonic() - began < 120
    finally:
        os.kill(raylet, signal.SIGCONT)
    assert not told["ok"]
    if "stopped" in by_node:  # else Ray has counted it as lost before it was asked
        (text,) = serious(by_node["stopped"])
        assert re.match(r"problem: (does not answer \(waited 12 s\)|could not be examined)", text)
    assert serious(by_node["good"]) == []


@needs_root
def test_machines_with_addresses_of_their_own(tmp_path):
    """Without a token, of which another test is."""

    def told(*options: str) -> dict[str, list[str]]:
        command = ("doctor", "--address", hosts.address, "--storage", str(tmp_path), "--json", *options)
        with hosts.command(*command, cwd=tmp_path, text=True, stdout=subprocess.PIPE) as process:
            report = json.loads(process.communicate(timeout=250)[0])
        assert process.returncode == 5
        rows = [(node, one["what"]) for one in report["findings"] if one["level"] == "problem" for node in one["nodes"]]
        return {node["name"]: [what for name, what in rows if name == node["name"]] for node in report["nodes"]}

    with network() as hosts:
        near, far = hosts.add(), hosts.add()
        head = hosts.head.address
        assert told("--timeout", "150") == {head: [], near.address: [], far.address: []}

        # both still reach the head, as Ray needs it
        ip("-n", near.name, "route", "add", "unreachable", f"{far.address}/32")
        found = told("--timeout", "150")
        (text,) = found[near.address]
        assert text.startswith(f"cannot connect to {far.address} (")
        assert found[head] == []

        ip("-n", near.name, "route", "del", "unreachable", f"{far.address}/32")
        far.cut(True)
        found = told("--timeout", "12")
        far.cut(False)
        if far.address in found:
            (text,) = found[far.address]
            assert re.match("does not answer|could not be examined", text)
        assert found[near.address] == []


def test_a_cluster_without_a_token(folder):
    cluster = Cluster(folder, RAY_AUTH_MODE="disabled")
    try:
        cluster.start("head")
        told, _ = cluster.told()
        assert not told["ok"]
        problems = [finding["what"] for finding in told["findings"] if finding["level"] == "problem"]
        assert problems == [f"no token is asked for: anyone who reaches {cluster.address} runs code on every node"]
    finally:
        cluster.end()


def test_this_machine_alone(folder, token):
    alone = Cluster(folder, RAY_AUTH_MODE="token")
    done = alone.doctor()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("this machine, with a Ray of its own: 1 node\n")
    assert done.stdout.endswith("\nno problems, no warnings\n")
    assert not alone.storage.exists()
