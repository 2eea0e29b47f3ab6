"""Pods without Kubernetes: processes in namespaces of their own (mounts, network, processes), on a root that cannot be
written, as the user of the image, without capabilities and without a way to new ones. What seccomp and limits do is not
imitated. Needs root; outside the namespaces nothing is changed, and they vanish with their processes.

The image is imitated too: what cluster/container/Dockerfile installs is installed from a wheel of this checkout; the
dependencies are those of the running environment.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import templates

UID = templates.UID
TOOLS = ("unshare", "nsenter", "setpriv", "chroot", "ip", "mount")
OUTSIDE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

_ROOT = r"""
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$NEW"
for top in bin sbin lib lib32 lib64 usr etc; do
  if [ -L "/$top" ]; then cp -a "/$top" "$NEW/$top"
  elif [ -d "/$top" ]; then
    mkdir "$NEW/$top"; mount --bind "/$top" "$NEW/$top"; mount -o remount,bind,ro "$NEW/$top"
  fi
done
mkdir -p "$NEW"/{dev,proc,sys,run,var,tmp,data,opt/lwgan,home/ray}
mount --bind "$IMAGE" "$NEW/opt/lwgan"
mount --bind "$PASSWD" "$NEW/etc/passwd"
mount --bind "$STORAGE" "$NEW/data"
mount --bind /dev "$NEW/dev"
mount -t proc proc "$NEW/proc"
mount --bind /sys "$NEW/sys"
mount -t tmpfs -o "size=$SHM,mode=1777" tmpfs "$NEW/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$NEW/tmp"
mount -t tmpfs -o "mode=700,uid=$USER_ID,gid=$USER_ID" tmpfs "$NEW/home/ray"
for path in $VISIBLE; do
  mkdir -p "$NEW$path"; mount --bind "$path" "$NEW$path"; mount -o remount,bind,ro "$NEW$path"
done
if [ "$HARDENED" = 1 ]; then
  mount -o remount,bind,ro "$NEW/opt/lwgan"
  mount -o remount,ro "$NEW"
fi
ip link set lo up
if [ -n "$ADDRESS" ]; then
  for _ in $(seq 100); do ip link show eth0 > /dev/null 2>&1 && break; sleep 0.1; done
  ip address add "$ADDRESS/24" dev eth0
  ip link set eth0 up
fi
exec chroot "$NEW" $AS_USER env -i "$@"
"""
_AS_USER = (
    f"setpriv --reuid={UID} --regid={UID} --clear-groups --no-new-privs "
    "--bounding-set=-all --inh-caps=-all --ambient-caps=-all --pdeathsig KILL"
)
_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Ends what it starts when the tests are killed. Pods say it again once they are another user, who loses it."""


def missing() -> str | None:
    """Why there can be no pods here."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"needs {', '.join(tools)}" if tools else None


def image_environment() -> dict[str, str]:
    """ENV of the container file, in its last stage."""
    text = (templates.ROOT / "cluster" / "container" / "Dockerfile").read_text().rsplit("\nFROM ", 1)[1]
    told = text[text.index("\nENV ") + 5 :].replace("\\\n", " ").split("\n", 1)[0]
    found = dict(pair.split("=", 1) for pair in told.split())
    return {key: value.replace("$PATH", "/usr/local/bin:/usr/bin:/bin") for key, value in found.items()}


class Network:
    """A bridge that nothing else reaches."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen([*_WITH_US, "unshare", "--net", "--fork", "--kill-child", "sleep", "infinity"])
        self._pid, self._pods = child_of(self._holder), 0
        self._ip("link", "add", "br0", "type", "bridge")
        self._ip("link", "set", "br0", "up")

    def _ip(self, *told: str) -> None:
        subprocess.run(["nsenter", "--target", str(self._pid), "--net", "ip", *told], check=True)

    def attach(self, pid: int) -> None:
        self._pods += 1
        name = f"pod{self._pods}"
        self._ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._ip("link", "set", name, "master", "br0", "up")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


def child_of(process: subprocess.Popen) -> int:
    """The process inside the namespaces, that ``unshare`` waits for."""
    for _ in range(200):
        told = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if told:
            return int(told[0])
        time.sleep(0.05)
    raise TimeoutError("unshare has started nothing")


class Pod:
    """A pod whose container runs a command.

    Args:
        folder: an empty folder of its own.
        image: folder that is seen as /opt/lwgan.
        storage: folder that is seen as /data.
        environment: of its processes, besides that of the image.
        command: what it runs, in bash.
        network: with ``address``, where it is reached; without, it is alone.
        hardened: else it is root, on a root and an image that can be written: how the image is built, and the control.
    """

    def __init__(
        self, folder: Path, image: Path, storage: Path, environment: dict[str, str], command: str,
        network: Network | None = None, address: str = "", shm: str = "2g", hardened: bool = True,
    ) -> None:  # fmt: skip
        folder.mkdir()
        passwd = folder / "passwd"
        passwd.write_text(f"root:x:0:0::/root:/bin/bash\nray:x:{UID}:{UID}::/home/ray:/bin/bash\n")
        (folder / "root").mkdir()
        self._environment = {**image_environment(), **environment}
        self._as_user = shlex.split(_AS_USER) if hardened else []
        self.log = folder / "log"
        # dependencies, and the interpreter that this environment was made from
        visible = [path for path in (sys.base_prefix, sysconfig.get_path("purelib")) if not path.startswith("/usr")]
        told = {
            "NEW": folder / "root", "IMAGE": image, "STORAGE": storage, "PASSWD": passwd,
            "ADDRESS": address, "SHM": shm,
            "VISIBLE": " ".join(visible), "USER_ID": UID, "HARDENED": int(hardened), "AS_USER": " ".join(self._as_user),
        }  # fmt: skip
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*_WITH_US, "unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
                 "bash", "-c", _ROOT, "pod", *self._variables(), "bash", "-c", f"cd /home/ray; {command}"],
                env={**OUTSIDE, **{key: str(value) for key, value in told.items()}},
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.pid = child_of(self.process)
        if network is not None:
            network.attach(self.pid)

    def _variables(self) -> list[str]:
        return [f"{key}={value}" for key, value in self._environment.items()]

    def execute(self, command: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        """What ``kubectl exec`` does: run a command in the container, as its user."""
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--ipc", "--uts", "--root", "--wd=/",
             *self._as_user, "env", "-i", *self._variables(), *(f"{key}={value}" for key, value in environment.items()),
             "bash", "-c", f"cd /home/ray; {command}"],
            env=OUTSIDE, cwd="/", capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def wait(self, timeout: float) -> int:
        return self.process.wait(timeout)

    def kill(self) -> None:
        """The pod is gone, at once and with everything in it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # the first process of its namespace: the kernel ends all others
        self.process.wait()


def build_image(folder: Path, extra: dict[str, str]) -> Path:
    """The folder /opt/lwgan of the image, owned by root.

    Args:
        folder: an empty one.
        extra: files to put over those of the checkout, by their path in the image.
    """
    source, image, storage = folder / "source", folder / "image", folder / "storage"
    for made in (source, image, storage):
        made.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for line in (templates.ROOT / "cluster/container/Dockerfile.dockerignore").read_text().splitlines():
        path = templates.ROOT / line[1:]
        if line.startswith("!") and path.is_dir():
            shutil.copytree(path, source / line[1:], ignore=ignore)
        elif line.startswith("!"):
            shutil.copy(path, source / line[1:])
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", image,
         source],
        check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )  # fmt: skip
    shutil.copytree(source / "tune_configs", image / "tune_configs")
    for name, text in extra.items():
        (image / name).write_text(text)
    shutil.copy(Path(sys.executable).parent / "ray", image / "ray")
    site = sysconfig.get_path("purelib")
    inside = f"/opt/lwgan/venv/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    build = f"""
        set -euo pipefail
        {os.path.realpath(sys.executable)} -m venv --without-pip /opt/lwgan/venv
        echo {site} > {inside}/dependencies.pth
        export PIP_DISABLE_PIP_VERSION_CHECK=1
        /opt/lwgan/venv/bin/python -m pip install --quiet --no-deps --no-index /opt/lwgan/*.whl
        sed '1s|.*|#!/opt/lwgan/venv/bin/python|' /opt/lwgan/ray > /opt/lwgan/venv/bin/ray
        chmod 755 /opt/lwgan/venv/bin/ray
        rm /opt/lwgan/*.whl /opt/lwgan/ray
    """
    pod = Pod(folder / "build", image, storage, {}, build, hardened=False)
    if pod.wait(120) != 0:
        raise RuntimeError(pod.log.read_text())
    return image


def short_folder() -> Path:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="pods", dir="/tmp"))
    folder.chmod(0o755)
    return folder
