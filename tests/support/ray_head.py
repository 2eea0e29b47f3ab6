"""A head of Ray of its own (``ray start --head --block``), and further nodes: ports, folder, HOME and token are apart
from everything else on the machine, and its processes are ended by id.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

TOKEN = "0123456789abcdef" * 4
BIN = Path(sys.executable).parent
START_SECONDS = 120


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system gives out by itself."""
    found: list[int] = []
    port = 20000 + os.getpid() % 10000
    while len(found) < count:
        port += 1
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            found.append(port)
    return found


class RayHead:
    """A head that is up.

    Attributes:
        address: ``HOST:PORT`` of its GCS, for drivers.
        url: ``http://HOST:PORT`` of its dashboard, for the Jobs API.
        folder: Ray's temporary folder; ``folder/session_latest/logs`` holds its logs.
        home: HOME of its processes.
        environment: what a client needs to be let in; without a token, what it starts from.
    """

    def __init__(self, *, num_cpus: int, token: str | None, host: str, environment: dict[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="x", dir="/tmp"))
        self.home = self.folder / "home"
        self.home.mkdir()
        gcs, dashboard, client, agent, metrics = free_ports(5)
        self.host, self.token = host, token
        self.address, self.url = f"{host}:{gcs}", f"http://{host}:{dashboard}"
        self.environment = self._environment(environment)
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start(
                "--head", f"--port={gcs}", "--dashboard-host=0.0.0.0", f"--dashboard-port={dashboard}",
                f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
                f"--metrics-export-port={metrics}", f"--temp-dir={self.folder}", f"--num-cpus={num_cpus}",
            )  # fmt: skip
            self._wait()
        except BaseException:
            self.end()
            raise

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        told = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        told |= {"HOME": str(self.home), "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_USAGE_STATS_ENABLED": "0"}
        told |= {"RAY_AUTH_MODE": "disabled" if self.token is None else "token"}
        return told | ({} if self.token is None else {"RAY_AUTH_TOKEN": self.token}) | more

    def client_environment(self, token: str | None = None) -> dict[str, str]:
        """For a process that has its own HOME, another token, or none; by default no token at all."""
        told = {name: value for name, value in self.environment.items() if not name.startswith("RAY_AUTH")}
        home = self.folder / f"client-{len(list(self.folder.glob('client-*')))}"
        home.mkdir()
        return told | {"HOME": str(home)} | ({} if token is None else {"RAY_AUTH_TOKEN": token})

    def add_node(self, *arguments: str) -> int:
        """A further node with arguments of ``ray start``; the id of its process, for `end_node`."""
        (agent,) = free_ports(1)
        self._start(
            f"--address={self.address}", f"--dashboard-agent-listen-port={agent}", f"--temp-dir={self.folder}",
            *arguments,
        )  # fmt: skip
        return self._processes[-1].pid

    def end_node(self, pid: int) -> None:
        """End a node that was added, and all that it started."""
        end(pid)

    def _start(self, *arguments: str) -> None:
        log = open(self.folder / f"start-{len(self._processes)}.log", "wb")  # noqa: SIM115
        command = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", f"--node-ip-address={self.host}"]
        process = subprocess.Popen(
            [*command, *arguments], stdout=log, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
        )
        self._processes.append(process)
        log.close()

    def _wait(self) -> None:
        """Until jobs can be submitted: the dashboard answers, and so does the agent that carries them out."""
        ends = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError):
                headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
                request = urllib.request.Request(f"{self.url}/api/jobs/", headers=headers)
                urllib.request.urlopen(request, timeout=10).close()
                return
            said = (self.folder / "start-0.log").read_text()
            assert self._processes[0].poll() is None, said
            assert time.monotonic() < ends, said
            time.sleep(0.5)

    def end(self) -> None:
        """End every process of this head, and remove its folder."""
        for process in reversed(self._processes):
            end(process.pid)
            process.wait()
        for process in psutil.process_iter(["environ"]):  # what outlives its parent: agents, drivers of jobs
            if (process.info["environ"] or {}).get("HOME") == str(self.home):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def end(pid: int) -> None:
    """End a process and its children, whatever they do."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=30)


@contextmanager
def ray_head(
    *, num_cpus: int = 2, token: str | None = TOKEN, host: str = "127.0.0.1", **environment: str
) -> Iterator[RayHead]:
    """A head for the length of the block.

    Args:
        num_cpus: CPUs that it offers.
        token: clients need it; None: no authentication.
        host: its address.
        environment: further variables of its processes.
    """
    head = RayHead(num_cpus=num_cpus, token=token, host=host, environment=environment)
    try:
        yield head
    finally:
        head.end()
