"""SLURM without SLURM: an allocation whose nodes are network namespaces of this machine, and the batch script in it.

Node i has the address 10.78.0.(2 + i) on a bridge that the nodes share and nobody else is on. As on many clusters, its
own name resolves to 127.0.1.1, and its default route leads through another network, by which no node is reached. The
`srun` beside this file gives every task a PID namespace too. Needs root.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

SUPPORT = Path(__file__).parent
REPOSITORY = SUPPORT.parent.parent
SCRIPT = REPOSITORY / "cluster" / "slurm" / "lwgan.sbatch"
LOCAL_TMP = "/mnt"
"""Where a node has a disk of its own: any folder that is there on every machine and has a short name."""


def ip(*arguments: str, node: str | None = None) -> str:
    """``ip`` of iproute2, on a node or here."""
    there = ["-n", node] if node else []
    return subprocess.run(["ip", *there, *arguments], check=True, capture_output=True, text=True).stdout


class Allocation:
    """Nodes with networks of their own, until the end of the block."""

    def __init__(self, count: int) -> None:
        self.name = f"lws{os.getpid()}"
        self.nodes = [f"{self.name}n{i}" for i in range(count)]
        self.names = [f"node{i}" for i in range(count)]
        self.addresses = [f"10.78.0.{2 + i}" for i in range(count)]
        self.job_id = str(10_000_000 + os.getpid())
        self.state = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))

    def __enter__(self) -> "Allocation":
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def _make(self) -> None:
        ip("link", "add", self.name, "type", "bridge")
        ip("link", "set", self.name, "up")
        (self.state / "names").write_text("\n".join(self.names) + "\n")
        for i, node in enumerate(self.nodes):
            ip("netns", "add", node)
            ip("link", "add", f"{self.name}v{i}", "type", "veth", "peer", "name", "ib0", "netns", node)
            ip("link", "set", f"{self.name}v{i}", "master", self.name, "up")
            ip("addr", "add", f"{self.addresses[i]}/24", "dev", "ib0", node=node)
            ip("link", "add", "eth0", "type", "veth", "peer", "name", "nowhere", node=node)
            ip("addr", "add", f"192.0.2.{2 + i}/24", "dev", "eth0", node=node)
            for device in ("lo", "ib0", "eth0", "nowhere"):
                ip("link", "set", device, "up", node=node)
            ip("route", "add", "default", "via", "192.0.2.1", node=node)
            hosts = [f"127.0.0.1 localhost\n127.0.1.1 {self.names[i]}\n"]
            hosts += [f"{self.addresses[j]} {name}\n" for j, name in enumerate(self.names) if j != i]
            (self.state / f"hosts.{i}").write_text("".join(hosts))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for node in self.nodes:
            subprocess.run(["ip", "netns", "del", node], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self.name], check=False, capture_output=True)
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def requeued(self) -> int:
        """How often the job was put back into the queue."""
        file = self.state / "requeued"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def sbatch(
        self, home: Path, storage: Path, *arguments: str, nodes: int | None = None, restarts: int = 0, **told: str
    ) -> "Job":
        """The batch script, begun on the first node, as SLURM would begin it.

        Args:
            home: the user's home, on all nodes.
            storage: for results.
            arguments: of the script.
            nodes: of the allocation; all by default.
            restarts: how often the job was requeued before.
            told: variables for the top of the script.
        """
        count = len(self.nodes) if nodes is None else nodes
        keep = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TERM") if name in os.environ}
        environment = {
            **keep,
            "HOME": str(home),
            "PATH": f"{self.state}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SLURM_JOB_ID": self.job_id,
            "SLURM_JOB_NODELIST": ",".join(self.names[:count]),
            "SLURM_NNODES": str(count),
            "SLURM_JOB_NUM_NODES": str(count),
            "SLURM_CPUS_ON_NODE": "1",
            "SLURM_RESTART_COUNT": str(restarts),
            "STANDIN_NODES": " ".join(self.nodes[:count]),
            "STANDIN_STATE": str(self.state),
            "STANDIN_TMP": LOCAL_TMP,
            "LOCAL_TMP": LOCAL_TMP,
            "STORAGE": str(storage),
            "VENV": str(Path(sys.executable).parent.parent),
            "RAY_OPTIONS": "--object-store-memory=100000000",
            "DOCTOR": "0",
            **told,
        }
        (self.state / "bin").mkdir(exist_ok=True)
        for tool in ("srun", "scontrol"):
            link = self.state / "bin" / tool
            link.unlink(missing_ok=True)
            link.symlink_to(SUPPORT / tool)
        return Job(self, environment, arguments)


class Job:
    """The batch script at work."""

    def __init__(self, allocation: Allocation, environment: Mapping[str, str], arguments: Sequence[str]) -> None:
        self.allocation = allocation
        self.private = Path(environment["HOME"]) / ".lwgan-slurm" / allocation.job_id
        self._log = Path(environment["HOME"]) / f"slurm-{allocation.job_id}.out"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    "nsenter", f"--net=/run/netns/{allocation.nodes[0]}", "--", "unshare", "--mount", "--",
                    "bash", "-euc", f'mount --bind "{allocation.state}/hosts.0" /etc/hosts; exec bash "$@"', "batch",
                    str(SCRIPT), *arguments,
                ],
                env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                cwd=environment["HOME"], start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> "Job":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        return self._log.read_text()

    def signal(self, number: int) -> None:
        """To the batch script alone, as ``--signal=B:`` does."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """All at once, as when the nodes lose power: every process of the job, by its pid."""
        while left := self._session():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # unshare --kill-child: and all on its node
            time.sleep(0.1)
        self._process.wait()

    def _session(self) -> list[int]:
        """Processes of the session that the batch script leads; reaped ones are none."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()  # state, parent, group, session, ...
                if int(fields[3]) == self._process.pid and fields[0] not in "ZX":
                    found.append(int(entry.name))
        return found

    def wait(self, seconds: float = 300) -> int:
        """The exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the job does not end:\n{self.output}") from None

    def processes(self, node: int, pattern: str) -> list[str]:
        """Titles of processes on a node in which a pattern is found."""
        there = os.stat(f"/run/netns/{self.allocation.nodes[node]}")
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                at, title = os.stat(entry / "ns" / "net"), (entry / "cmdline").read_text().replace("\0", " ").strip()
                if (at.st_dev, at.st_ino) == (there.st_dev, there.st_ino) and re.search(pattern, title):
                    found.append(title)
        return found


def wait_for(condition: Callable[[], object], job: Job, seconds: float = 240) -> None:
    """Until something holds, while the job runs."""
    ends = time.monotonic() + seconds
    while not condition():
        assert job.running, f"the job has ended:\n{job.output}"
        assert time.monotonic() < ends, f"nothing happens:\n{job.output}"
        time.sleep(0.1)
