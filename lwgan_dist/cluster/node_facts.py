"""Facts about a node, gathered on it. Only the standard library is needed: the module is sent to the nodes by value, so
that it answers also where lwgan_dist is missing or another.
"""

import hashlib
import importlib
import importlib.util
import os
import platform
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("ray", "torch", "numpy", "lwgan-dist", "scikit-dimension")
"""What is compared between the nodes; the last two are optional."""

WORKER_MODULE = "lwgan_dist.training.loop"
"""What a worker imports first: it needs all that training needs."""

CONNECT_SECONDS = 3.0
"""How long another node has to accept a connection."""

PATIENCE_SECONDS = "5"
"""How long an operation of the storage is tried again; in the environment, where runs would take minutes."""


class Examiner:
    """An actor on the node that is examined."""

    def __init__(self) -> None:
        os.environ["LWGAN_STORAGE_PATIENCE_SECONDS"] = PATIENCE_SECONDS
        self._listener: socket.socket | None = None

    def examine(self, mark: dict[str, Any]) -> dict[str, Any]:
        """Everything but connections; ``mark``: that in the storage to look for, see `look_for_mark`."""
        return {
            "versions": versions(),
            "code": code_identity(),
            "import_error": import_error(WORKER_MODULE),
            "storage": look_for_mark(**mark),
            "gpus": gpus(),
            "open_files": _open_files(),
            "memory_bytes": memory_bytes(),
            "network": {
                "interfaces": [name for _, name in socket.if_nameindex()],
                "gloo": os.environ.get("GLOO_SOCKET_IFNAME"),
            },
        }

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
        with suppress(OSError):  # that the folder is another is reported anyway
            if folder.local:  # renaming is refused where a file system lies over another
                shutil.rmtree(folder.local / name, ignore_errors=True)
            else:
                folder.remove(name)


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that matter; None for one that is not installed."""
    installed: dict[str, str | None] = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = None
    return installed


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
        content: of the driver's file in it.
        own: name of this node's file.
    """
    facts: dict[str, Any] = {"seen": False, "written": False, "error": None}
    try:
        from lwgan_dist.storage import Folder

        folder = Folder.at(location).sub(name)
        with suppress(FileNotFoundError):
            facts["seen"] = folder.read("driver").decode() == content
        if facts["seen"]:
            folder.write(own, content.encode())
            facts["written"] = True
    except Exception as error:  # noqa: BLE001  (whatever a file system raises)
        facts["error"] = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return facts


def gpus() -> dict[str, Any]:
    """The GPUs that PyTorch sees."""
    facts: dict[str, Any] = {"built_for": None, "available": False, "names": [], "nccl": None}
    facts["visible"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    with suppress(Exception):  # `import_error` reports a PyTorch that cannot be imported
        import torch

        facts["built_for"] = torch.version.cuda or torch.version.hip
        facts["available"] = torch.cuda.is_available()
        if facts["available"]:
            facts["names"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            facts["nccl"] = ".".join(str(part) for part in torch.cuda.nccl.version())  # type: ignore[no-untyped-call]
    return facts


def memory_bytes() -> int | None:
    """Memory of the machine, or of the container if it has less."""
    limits = []
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return min(limits, default=None)


def _open_files() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _connection_error(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
