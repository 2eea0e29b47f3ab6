"""Whether runs can work on a cluster, or in a local session: every node is asked, and the answers are compared."""

import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lwgan_dist import retries
from lwgan_dist.cluster import node_facts
from lwgan_dist.cluster.findings import Checkup, Node
from lwgan_dist.config import ExecutionConfig
from lwgan_dist.errors import ClusterError
from lwgan_dist.launch.private import BARE_CLIENT
from lwgan_dist.launch.session import session
from lwgan_dist.storage import Folder

ANSWER_SECONDS = 60.0
"""How long a node has to answer: a process has to start there and import PyTorch."""

_SHORT_SECONDS = 10.0
"""How long a node that has answered once has to answer something small."""

_DRIVER_FILE = "driver"


def examine(address: str | None, storage: str, *, seconds: float = ANSWER_SECONDS, verbose: bool = False) -> Checkup:
    """Look at every node of a cluster. What it writes to the storage it removes.

    Args:
        address: as in `lwgan_dist.config.ExecutionConfig`.
        storage: folder or URI in which runs are to live.
        seconds: how long a node has to answer.
        verbose: show Ray's messages.

    Raises:
        ClusterError: no cluster at the address, or one of other versions of Ray or Python.
    """
    folder = Folder.at(storage)
    try:
        with _little_patience(), session(ExecutionConfig(address=address), {}, verbose=verbose) as joined:
            return _examine(joined, folder, seconds)
    except ClusterError as error:
        raise _refused(error) from None


@contextmanager
def _little_patience() -> Iterator[None]:
    """Storage that fails is reported while the command waits for it."""
    before = os.environ.get(retries.PATIENCE_VARIABLE)
    os.environ[retries.PATIENCE_VARIABLE] = node_facts.PATIENCE_SECONDS
    try:
        yield
    finally:
        if before is None:
            del os.environ[retries.PATIENCE_VARIABLE]
        else:
            os.environ[retries.PATIENCE_VARIABLE] = before


def _examine(joined: bool, storage: Folder, seconds: float) -> Checkup:
    head = ray.get_runtime_context().gcs_address
    nodes = _named([node for node in ray.nodes() if node["Alive"]])
    mark = _Mark(storage, seconds)
    examiners = _Examiners(nodes)
    try:
        examiners.examine(mark, seconds)
        answered = [node for node in nodes if node["error"] is None]
        examiners.try_connections(answered)
        if mark.error is None:
            mark.read_back(answered, seconds)
            examiners.forget(mark, [node for node in answered if _wrote_elsewhere(node)])
    finally:
        mark.remove()
        examiners.end()
    return Checkup(
        address=head,
        joined=joined,
        driver={"versions": node_facts.versions(), "code": node_facts.code_identity()},
        nodes=nodes,
        storage={"location": storage.location, "error": mark.error},
        asks_for_token=_is_refused_without_token(head),
    )


def _named(alive: list[dict[str, Any]]) -> list[Node]:
    """The nodes that Ray knows, the head first. A node is called by its address, if need be and part of its id."""
    addresses = [node["NodeManagerAddress"] for node in alive]
    nodes = []
    for node in alive:
        address, number = node["NodeManagerAddress"], node["NodeID"]
        nodes.append(
            {
                "name": address if addresses.count(address) == 1 else f"{address}#{number[:6]}",
                "id": number,
                "address": address,
                "host": node["NodeManagerHostname"],
                "head": "node:__internal_head__" in node["Resources"],
                "resources": {k: v for k, v in node["Resources"].items() if not k.startswith("node:")},
                "labels": {k: v for k, v in node.get("Labels", {}).items() if k != "ray.io/node-id"},
                "error": None,
                "unreachable": None,
            }
        )
    return sorted(nodes, key=lambda node: (not node["head"], node["name"]))


def _refused(error: ClusterError) -> ClusterError:
    """Why Ray did not let this command in; its remark about versions as one line."""
    versions = re.search(
        r"Ray: (\S+)\s+Python: (\S+)\s+This process.*?Ray: (\S+)\s+Python: (\S+)", str(error), re.DOTALL
    )
    if versions is None:
        return error
    ray_there, python_there, ray_here, python_here = versions.groups()
    address = re.search(r"reached at (\S+):", str(error))
    return ClusterError(
        f"{address[1] if address else 'Ray'}: the cluster runs Ray {ray_there} with Python {python_there}, this "
        f"command Ray {ray_here} with Python {python_here}; Ray lets only equal versions in: use those of the cluster"
    )


class _Examiners:
    """An actor on every node."""

    def __init__(self, nodes: list[Node]) -> None:
        ray.cloudpickle.register_pickle_by_value(node_facts)  # a node may have another lwgan_dist, or none
        self._nodes = nodes
        self._actors: dict[str, Any] = {}

    def examine(self, mark: "_Mark", seconds: float) -> None:
        """Let every node examine itself; its answer, or why it gave none, goes into its facts."""
        kind = ray.remote(num_cpus=0, max_restarts=0)(node_facts.Examiner)
        waiting = {}
        for node in self._nodes:
            place = NodeAffinitySchedulingStrategy(node["id"], soft=False)
            actor = self._actors[node["id"]] = kind.options(scheduling_strategy=place).remote()
            waiting[actor.examine.remote(mark.for_node(node))] = node
        ready, late = ray.wait(list(waiting), num_returns=len(waiting), timeout=seconds)
        for answer in ready:
            node = waiting[answer]
            try:
                node.update(ray.get(answer))
            except ray.exceptions.RayError as error:
                node["error"] = f"could not be examined: {_first_line(error)}"
        for answer in late:
            waiting[answer]["error"] = f"does not answer (waited {seconds:g} s)"

    def try_connections(self, nodes: list[Node]) -> None:
        """Let every node connect to the first and to the next one, at a free port, as workers of a run do."""
        if len(nodes) < 2:
            return
        waiting = [self._actors[node["id"]].listen.remote(node["address"]) for node in nodes]
        ports = [self._get(node, answer) for node, answer in zip(nodes, waiting, strict=True)]
        listening = [(node, port) for node, port in zip(nodes, ports, strict=True) if port is not None]
        goals = [
            [listening[goal] for goal in sorted({0, (i + 1) % len(listening)} - {i})] for i in range(len(listening))
        ]
        waiting = [
            self._actors[node["id"]].reach.remote([(goal["address"], port) for goal, port in listed])
            for (node, _), listed in zip(listening, goals, strict=True)
        ]
        for (node, _), listed, answer in zip(listening, goals, waiting, strict=True):
            errors = self._get(node, answer)
            if errors is None:
                continue
            failed = [f"{goal['name']} ({error})" for (goal, _), error in zip(listed, errors, strict=True) if error]
            node["unreachable"] = "; ".join(failed) or None

    def forget(self, mark: "_Mark", nodes: list[Node]) -> None:
        """Remove what nodes wrote to a folder that only they see."""
        for node in nodes:
            self._get(node, self._actors[node["id"]].forget.remote(mark.storage.location, mark.name))

    def end(self) -> None:
        """End the actors, those too that have not come to life."""
        for actor in self._actors.values():
            ray.kill(actor)

    def _get(self, node: Node, answer: Any) -> Any:
        """An answer, or None: what went wrong is then the error of the node."""
        try:
            return ray.get(answer, timeout=_SHORT_SECONDS)
        except ray.exceptions.RayError as error:
            node["error"] = f"answered at first, then no more: {_first_line(error)}"
            return None


class _Mark:
    """A folder in the storage with a file of the driver, to which every node that sees it adds one of its own."""

    def __init__(self, storage: Folder, seconds: float) -> None:
        self.storage = storage
        self.name = f".doctor-{uuid.uuid4().hex[:12]}"
        self._content = uuid.uuid4().hex
        self._folder = storage.sub(self.name)
        local = storage.local
        self._made = [path for path in (local, *local.parents) if not path.exists()] if local else []  # innermost first
        self.error: str | None = _within(seconds, self._write, f"does not answer (waited {seconds:g} s)")

    def _write(self) -> str | None:
        try:
            self._folder.write(_DRIVER_FILE, self._content.encode())
        except Exception as error:  # noqa: BLE001  (whatever a file system raises)
            return getattr(error, "strerror", None) or _first_line(error)
        return None

    def for_node(self, node: Node) -> dict[str, Any]:
        """The facts with which a node looks for it."""
        return {"location": self.storage.location, "name": self.name, "content": self._content, "own": node["id"]}

    def read_back(self, nodes: list[Node], seconds: float) -> None:
        """Whether the files of the nodes are seen here."""
        for node in nodes:
            node["storage"]["read_back"] = False
        late = f"does not answer any more (waited {seconds:g} s)"
        self.error = _within(seconds, lambda: self._read(nodes), late)

    def _read(self, nodes: list[Node]) -> str | None:
        for node in nodes:
            try:
                node["storage"]["read_back"] = self._folder.read(node["id"]).decode() == self._content
            except FileNotFoundError:
                continue
            except OSError as error:
                return getattr(error, "strerror", None) or _first_line(error)
        return None

    def remove(self) -> None:
        """Remove all of it, with the folders that were made for it."""
        _within(_SHORT_SECONDS, self._remove)

    def _remove(self) -> None:
        with suppress(OSError):  # where it could not be written
            self.storage.remove(self.name)
        with suppress(OSError):  # something else has come into them
            for folder in self._made:
                folder.rmdir()


def _wrote_elsewhere(node: Node) -> bool:
    return node["storage"]["written"] and not node["storage"]["read_back"]


def _within(seconds: float, call: Callable[[], Any], otherwise: Any = None) -> Any:
    """The result of a call, or ``otherwise`` if it takes too long, as on a network file system that is gone: its thread
    is then left alone.
    """
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else otherwise


def _is_refused_without_token(address: str) -> bool | None:
    """Whether the cluster turns away a client without a token; None if that cannot be seen. Ray reads the mode once, so
    it takes another process.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", BARE_CLIENT, address],
            env={**environment, "RAY_AUTH_MODE": "disabled"},
            capture_output=True,
            text=True,
            timeout=_SHORT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"refused": True, "served": False}.get(done.stdout.strip())


def _first_line(error: BaseException) -> str:
    if isinstance(error, ray.exceptions.RayTaskError):
        return f"{type(error.cause).__name__}: {_first_line(error.cause)}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
