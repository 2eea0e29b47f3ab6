"""What a node says about itself. Only the standard library is needed to ask: the module is sent to the nodes by value,
so that it answers also where lwgan_dist is missing or another.
"""

import hashlib
import importlib
import importlib.util
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("ray", "torch", "numpy", "lwgan-dist", "optuna", "scikit-dimension")
"""What is compared between the nodes; the last two are optional."""

WORKER_MODULE = "lwgan_dist.training.loop"
"""What a worker imports first: it needs all that training needs."""

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
"""Instruction sets that change how sums are rounded."""

INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Where gloo and nccl look for the interface to use."""

SHARED_MEMORY = "/dev/shm"  # noqa: S108  (its size is asked for)

CONNECT_SECONDS = 3.0
"""How long another node has to accept a connection."""

PATIENCE_SECONDS = "5"
"""How long an operation of the storage is tried again; in the environment, where runs would take minutes."""


class Examiner:
    """An actor on the node that is examined."""

    def __init__(self) -> None:
        os.environ["LWGAN_STORAGE_PATIENCE_SECONDS"] = PATIENCE_SECONDS
        self._listener: socket.socket | None = None

    def examine(self, address: str, mark: dict[str, Any], interface_of: Callable[[str], str | None]) -> dict[str, Any]:
        """Everything but clock and connections.

        Args:
            address: that of this node.
            mark: the mark in the storage to look for, see `look_for_mark`.
            interface_of: the name of the interface with an address.
        """
        return {
            "versions": versions(),
            "code": code_identity(),
            "import_error": import_error(WORKER_MODULE),
            "storage": look_for_mark(**mark),
            "gpus": gpus(),
            "token": token_facts(),
            "shm_bytes": _file_system_bytes(SHARED_MEMORY),
            "store_folder": store_folder(),
            "open_files": _open_files(),
            "memory_bytes": memory_bytes(),
            "cpus": usable_cpus(),
            "processor": processor(),
            "machine": machine(),
            "network": {
                "interface": interface_of(address),
                "interfaces": [name for _, name in socket.if_nameindex()],
                "resolved": _resolved(socket.gethostname()),
                "variables": {name: os.environ[name] for name in INTERFACE_VARIABLES if name in os.environ},
            },
        }

    def now(self) -> float:
        """The time here."""
        return time.time()

    def listen(self, address: str) -> int:
        """Wait for connections at a free port of an address, as a group of workers does; the port."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        return int(self._listener.getsockname()[1])

    def reach(self, places: Sequence[tuple[str, int]]) -> list[str | None]:
        """For every address and port why it cannot be reached from here; None if it can."""
        return [_connection_error(host, port) for host, port in places]

    def forget(self, location: str, name: str) -> None:
        """Remove what `look_for_mark` wrote where only this node sees it."""
        from lwgan_dist.storage import Folder

        folder = Folder.at(location)
        with suppress(OSError):  # it is said anyway that the folder is another
            if folder.local:
                shutil.rmtree(
                    folder.local / name, ignore_errors=True
                )  # renaming is refused where a file system lies over another
            else:
                folder.remove(name)


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that matter; None for one that is not installed."""
    found: dict[str, str | None] = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def code_identity() -> str | None:
    """12 hexadecimal digits of the SHA-256 of the source files of lwgan_dist; None if it is not installed."""
    spec = importlib.util.find_spec("lwgan_dist")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def import_error(module: str) -> str | None:
    """Why a module cannot be imported; None if it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001  (whatever a broken installation raises)
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def look_for_mark(location: str, name: str, content: str, own: str) -> dict[str, Any]:
    """Whether the storage here is that in which the driver left its mark, and whether this node can write to it.

    Args:
        location: the storage, an absolute path or a URI.
        name: folder in it that the driver made.
        content: of the driver's file in there.
        own: name of this node's file.
    """
    told: dict[str, Any] = {"seen": False, "error": None, "seconds": None, "free_bytes": None}
    try:
        from lwgan_dist.storage import Folder

        storage = Folder.at(location)
        folder = storage.sub(name)
        if storage.local:
            told["free_bytes"] = free_bytes(storage.local)
        with suppress(FileNotFoundError):
            told["seen"] = folder.read("driver").decode() == content
        if told["seen"]:
            began = time.perf_counter()
            folder.write(own, content.encode())
            told["seconds"] = time.perf_counter() - began
    except Exception as error:  # noqa: BLE001  (whatever a file system raises)
        told["error"] = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return told


def free_bytes(path: Path) -> int | None:
    """Space left in a folder, or where it would be made."""
    for place in (path, *path.parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def gpus() -> dict[str, Any]:
    """What PyTorch sees of GPUs."""
    told: dict[str, Any] = {"built_for": None, "available": False, "names": [], "bfloat16": [], "nccl": None}
    told["visible"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    with suppress(Exception):  # `import_error` tells of a PyTorch that cannot be imported
        import torch

        told["built_for"] = torch.version.cuda or torch.version.hip
        told["available"] = torch.cuda.is_available()
        for i in range(torch.cuda.device_count() if told["available"] else 0):
            told["names"].append(torch.cuda.get_device_name(i))
            told["bfloat16"].append(torch.cuda.get_device_capability(i) >= (8, 0) or bool(torch.version.hip))
        if told["available"]:
            told["nccl"] = ".".join(str(part) for part in torch.cuda.nccl.version())  # type: ignore[no-untyped-call]
    return told


def token_facts() -> dict[str, Any]:
    """How this process authenticates itself to Ray; never the token."""
    told: dict[str, Any] = {"mode": os.environ.get("RAY_AUTH_MODE"), "file": None, "permissions": None}
    if "RAY_AUTH_TOKEN" not in os.environ:
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
        with suppress(OSError):
            told["permissions"] = path.stat().st_mode & 0o777
            told["file"] = str(path)
    return told


def store_folder() -> str | None:
    """Where Ray's object store on this node keeps its objects, from the command line of the parent, the raylet."""
    with suppress(OSError):
        for argument in Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0"):
            if argument.startswith(b"--plasma_directory="):
                return argument.partition(b"=")[2].decode()
    return None


def memory_bytes() -> int | None:
    """Memory of the machine, or of the container if it has less."""
    limits = []
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return min(limits, default=None)


def usable_cpus() -> float:
    """Processors that this process may use, or what the container has of them if that is less."""
    there = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        there = min(there, int(quota) / int(period))
    with suppress(OSError, ValueError):
        quota_microseconds = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        if quota_microseconds > 0:
            period_microseconds = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text())
            there = min(there, quota_microseconds / period_microseconds)
    return there


def processor() -> dict[str, Any]:
    """Model of the processor, and which of `FEATURES` it has."""
    facts: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
    has = set((facts.get("flags") or facts.get("Features") or "").split())
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "features": [feature for feature in FEATURES if feature in has],
    }


def machine() -> str:
    """The same for processes that share a kernel and a host name: nodes that share cores and memory."""
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{socket.gethostname()}"


def _file_system_bytes(path: str) -> int | None:
    with suppress(OSError):
        told = os.statvfs(path)
        return told.f_frsize * told.f_blocks
    return None


def _open_files() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _resolved(host: str) -> list[str]:
    with suppress(OSError):
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None)})
    return []


def _connection_error(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
