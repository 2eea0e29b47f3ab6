"""Ray nodes with addresses of their own on this machine: network namespaces at a bridge. As root on Linux."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

import pytest
from nodes import ENVIRONMENT, wait_for

needs_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces need root and iproute2",
)


def ip(*arguments):
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class Host:
    """A namespace with an address, for one Ray node."""

    def __init__(self, network, index):
        self.network, self.index = network, index
        self.name = f"lwn{network.tag}-{index}"
        self.link = f"lwv{network.tag}-{index}"
        self.address = f"10.77.{network.third}.{index + 2}"
        self.node = None
        ip("netns", "add", self.name)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self.link, "master", network.bridge, "up")
        for command in (
            ["addr", "add", f"{self.address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            ip("-n", self.name, *command)

    def popen(self, command, **told):
        """A process on this host."""
        environment = {**os.environ, **ENVIRONMENT, **told.pop("env", {})}
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *map(str, command)],
            env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **told,
        )

    def start(self, *arguments, **environment):
        """Its Ray node, in the foreground of a process."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command += ["--node-ip-address", self.address, "--object-store-memory", str(100 * 2**20), *arguments]
        self.log = open(f"{self.network.folder}/{self.index}.log", "ab")  # noqa: SIM115 - closed in `remove`
        self.node = self.popen(command, stdout=self.log, stderr=self.log, env=environment)

    def pids(self):
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False).stdout
        return [int(pid) for pid in listed.split()]

    def lose(self):
        """All its processes are gone at once."""
        for _ in range(3):
            for pid in self.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.2)
        if self.node is not None:
            self.node.wait(timeout=60)

    def cut(self, is_cut):
        """The cable is out, or in again."""
        ip("link", "set", self.link, "down" if is_cut else "up")

    def remove(self):
        self.lose()
        ip("netns", "del", self.name)
        if self.node is not None:
            self.log.close()


class Network:
    """A bridge and the hosts at it; the first is the head, without CPUs.

    Args:
        arguments, environment: further ones of the head.
    """

    _numbers = itertools.count()

    def __init__(self, *arguments, **environment):
        self.third = os.getpid() % 250
        self.tag = f"{os.getpid() % 10**5}n{next(self._numbers)}"  # the kernel takes its time to remove the last one's
        self.bridge = f"lwb{self.tag}"
        self.folder = tempfile.mkdtemp(prefix="lwn", dir="/tmp")
        self.hosts = []
        ip("link", "add", self.bridge, "type", "bridge")
        ip("link", "set", self.bridge, "up")
        self.head = self._host()
        self.address = f"{self.head.address}:6379"
        self.head.start("--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false",
                        f"--temp-dir={self.folder}/r", *arguments, **environment)  # fmt: skip
        wait_for(lambda: self.head.address in self.alive(), 400, "the head", pause=2)

    def _host(self):
        self.hosts.append(Host(self, len(self.hosts)))
        return self.hosts[-1]

    def add(self, cpus=1):
        """Another node, which has joined: two that start at once on one file system may take the same sockets."""
        host = self._host()
        host.start(f"--address={self.address}", f"--num-cpus={cpus}")
        wait_for(lambda: host.address in self.alive(), 400, f"{host.address} as a node", pause=2)
        return host

    def alive(self):
        """Node ids of the live nodes by address, as the head has it."""
        code = (
            "import sys; from ray._raylet import GcsClient; "
            "nodes = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=5).values(); "
            "print(*(f'{n.node_manager_address}={n.node_id.hex()}' for n in nodes if n.state == 0))"
        )
        with self.head.popen([sys.executable, "-c", code, self.address], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True) as process:  # fmt: skip
            told = process.communicate(timeout=120)[0]
        return dict(entry.split("=") for entry in told.split())

    def drain(self, host, seconds=30):
        """Announce that a node will be taken away."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", self.address]
        command += ["--node-id", self.alive()[host.address], "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
        command += ["--reason-message", "test", "--deadline-remaining-seconds", seconds]
        with self.head.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            told = process.communicate(timeout=120)[0]
        assert process.returncode == 0, told

    def command(self, *arguments, **told):
        """``lwgan-dist`` on the head."""
        return self.head.popen([sys.executable, "-m", "lwgan_dist", *arguments], **told)

    def remove(self):
        for host in self.hosts:
            host.remove()
        ip("link", "del", self.bridge)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def network(*arguments, **environment):
    """See `Network`."""
    made = Network(*arguments, **environment)
    try:
        yield made
    finally:
        made.remove()
