"""What follows from what the nodes of a cluster say about themselves: where runs would fail, or not do as well.
Without Ray.
"""

import ipaddress
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

Level = Literal["problem", "warning", "note", "ok"]
Value = TypeVar("Value", bound=Hashable)
Node = dict[str, Any]

GIB = 2**30

FREE_BYTES = GIB
"""Less space than this in the storage is told of: a study of thousands of runs writes some hundred megabytes."""

WRITE_SECONDS = 1.0
"""A file of a few bytes that takes longer is told of: a checkpoint is several files."""

SKEW_SECONDS = 1.0
"""Clocks that differ by more are told of."""

OPEN_FILES = 4096
"""A limit below is told of. The processes of Ray on a node hold connections to every worker on it; at the common
default of 1024 a node with many CPUs runs out of them.
"""

MEMORY_PER_CPU = GIB
"""Less memory for each declared CPU is told of: a worker takes half of that before it has read any data."""


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        check: the subject.
        level: ``problem`` runs fail, ``warning`` they may or are worse off, ``note`` good to know, ``ok``.
        nodes: where; empty for everywhere, or where the command runs.
        what: is the case.
        mend: how to change it; empty if there is nothing to do.
    """

    check: str
    level: Level
    nodes: tuple[str, ...]
    what: str
    mend: str = ""


@dataclass
class Checkup:
    """What was found out about a cluster.

    Attributes:
        address: of its head.
        joined: whether it is a cluster; else a local session that ended with the command.
        driver: what the process that asked says of itself: ``versions``, ``code``, ``token``.
        nodes: see `node_facts`.
        lost: nodes that the cluster has lost.
        storage: ``location``, ``error`` and ``free_bytes`` where the command runs.
        asks_for_token: whether a client without a token is refused; None if that could not be found out.
    """

    address: str
    joined: bool
    driver: dict[str, Any]
    nodes: list[Node]
    lost: int
    storage: dict[str, Any]
    asks_for_token: bool | None

    @property
    def answered(self) -> list[Node]:
        """The nodes that answered."""
        return [node for node in self.nodes if node["error"] is None]

    @property
    def addresses(self) -> set[str]:
        """The addresses of the nodes."""
        return {node["address"] for node in self.nodes}


def findings(checkup: Checkup) -> list[Finding]:
    """Everything that was looked at, in the order of the checks; a check without problem or warning has an ``ok``."""
    found = []
    for check, look, passed in _CHECKS:
        told = [Finding(check, *rest) for rest in look(checkup)]
        if not any(finding.level in ("problem", "warning") for finding in told) and (text := passed(checkup)):
            found.append(Finding(check, "ok", (), text))
        found.extend(told)
    return found


_Told = tuple[Level, tuple[str, ...], str, str]


def _grouped(nodes: Iterable[Node], value: Callable[[Node], Value | None]) -> dict[Value, tuple[str, ...]]:
    """Names of the nodes by a value; nodes without one are left out."""
    groups: dict[Value, list[str]] = {}
    for node in nodes:
        if (found := value(node)) is not None:
            groups.setdefault(found, []).append(node["name"])
    return {found: tuple(names) for found, names in groups.items()}


def _names(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(node["name"] for node in nodes)


# nodes ----------------------------------------------------------------------------------------------------------------


def _answers(checkup: Checkup) -> Iterator[_Told]:
    for error, names in _grouped(checkup.nodes, lambda node: node["error"]).items():
        yield (
            "problem", names, str(error),
            "look at its load and at /tmp/ray/session_latest/logs there; take it out of the cluster if it is gone",
        )  # fmt: skip
    if checkup.lost:
        yield "note", (), f"{checkup.lost} lost since the cluster was started", ""
    shared = [names for names in _grouped(checkup.answered, lambda node: node["machine"]).values() if len(names) > 1]
    for names in shared:
        yield "note", names, "on one machine: they share its cores and memory", ""
    if len(checkup.nodes) > 1:
        for node in checkup.nodes:
            if node["head"] and (cpus := node["resources"].get("CPU", 0)):
                yield (
                    "note", (node["name"],),
                    f"the head offers {cpus:g} CPUs, so workers may run beside what keeps the cluster together",
                    "ray start --head --num-cpus=0",
                )  # fmt: skip
    spot = [node for node in checkup.nodes if _is_spot(node)]
    if heads := [node for node in spot if node["head"]]:
        yield "warning", _names(heads), "the head is on a spot machine: its end is that of all", "put it on demand"
    if others := [node for node in spot if not node["head"]]:
        yield "note", _names(others), "spot machines", ""


def _is_spot(node: Node) -> bool:
    return any(key.endswith("market-type") and value == "spot" for key, value in node["labels"].items())


def _all_answer(checkup: Checkup) -> str:
    count = len(checkup.nodes)
    return f"all {count} answer" if count > 1 else ""


# versions -------------------------------------------------------------------------------------------------------------

_SAME = "start all nodes from one image, or install there with pip install -c constraints.txt"
_SAME_CODE = "start all nodes from one image, install the same commit there, or send the code: lwgan-dist submit"


def _version_of(package: str, node: Mapping[str, Any]) -> tuple[str | None]:
    return (node["versions"][package],)


def _versions(checkup: Checkup) -> Iterator[_Told]:
    here = checkup.driver["versions"]
    for package in ("Python", "ray", "torch", "numpy", "lwgan-dist"):
        mine = here[package]
        for (other,), names in _grouped(checkup.answered, partial(_version_of, package)).items():
            if other == mine:
                continue
            if other is None:
                if package != "lwgan-dist":  # without a version, as in a working_dir, its files tell
                    yield "problem", names, f"{package} is not installed", _SAME
            elif mine is not None:
                level = _difference(package, other, mine)
                yield level, names, f"{package} {other}, where the command runs {mine}", _SAME
    for identity, names in _grouped(checkup.answered, lambda node: (node["code"],)).items():
        if identity[0] is None:
            yield "problem", names, "lwgan_dist is not installed", _SAME_CODE
        elif identity[0] != checkup.driver["code"]:
            text = f"other source files of lwgan_dist ({identity[0]}) than where the command runs"
            yield "problem", names, f"{text} ({checkup.driver['code']})", _SAME_CODE
    for error, names in _grouped((n for n in checkup.answered if n["code"]), lambda node: node["import_error"]).items():
        yield "problem", names, f"a worker cannot start: {error}", _SAME
    without = [node for node in checkup.answered if node["versions"]["scikit-dimension"] is None]
    if without:
        everywhere = len(without) == len(checkup.answered)
        text = "studies of classical estimators fail: scikit-dimension is not installed"
        level = "note" if everywhere else "warning"
        yield level, () if everywhere else _names(without), text, "pip install 'lwgan-dist[classical]'"


def _difference(package: str, other: str, mine: str) -> Level:
    """How bad it is: builds of one version, and patches of Python, differ in rounding and speed at most."""
    if package == "Python":
        return "warning" if other.split(".")[:2] == mine.split(".")[:2] else "problem"
    return "note" if other.partition("+")[0] == mine.partition("+")[0] else "problem"


def _same_versions(checkup: Checkup) -> str:
    if not checkup.answered:
        return ""
    here = checkup.driver["versions"]
    told = ", ".join(f"{name} {here[name]}" for name in ("Python", "ray", "torch", "numpy") if here[name])
    return f"{told}, lwgan_dist {here['lwgan-dist'] or ''} ({checkup.driver['code']})".replace("  ", " ")


# storage --------------------------------------------------------------------------------------------------------------


def _storage(checkup: Checkup) -> Iterator[_Told]:
    storage = checkup.storage
    if storage["error"]:
        yield (
            "problem", (), f"{storage['location']}: cannot be used where the command runs ({storage['error']})",
            "name a folder or URI that can be read and written: --storage",
        )  # fmt: skip
        return
    for error, names in _grouped(checkup.answered, lambda node: node["storage"]["error"]).items():
        yield (
            "problem", names, f"{storage['location']}: cannot be used there ({error})",
            "let the user that runs Ray there reach, read and write it",
        )  # fmt: skip
    fine = [node for node in checkup.answered if node["storage"]["error"] is None]
    if strangers := [node for node in fine if not node["storage"]["seen"] or not node["storage"]["read_back"]]:
        yield (
            "problem", _names(strangers),
            f"{storage['location']}: not the folder of that name where the command runs, but another or none",
            "use a folder that every node mounts (NFS, Lustre, a volume), or a URI (s3://.., gs://..)",
        )  # fmt: skip
    scarce = [node for node in fine if _is_scarce(node["storage"]["free_bytes"])]
    if scarce or _is_scarce(storage["free_bytes"]):
        left = min(free for free in _free(checkup) if free is not None)
        yield "warning", _names(scarce), f"{left / GIB:.2f} GiB free", "make room, or name another --storage"
    slow = [node for node in fine if (node["storage"]["seconds"] or 0.0) > WRITE_SECONDS]
    if slow:
        seconds = max(node["storage"]["seconds"] for node in slow)
        yield (
            "warning", _names(slow), f"a file of a few bytes took {seconds:.1f} s to write",
            "use faster storage, or checkpoint less often: execution.checkpoint_seconds",
        )  # fmt: skip


def _is_scarce(free: int | None) -> bool:
    return free is not None and free < FREE_BYTES


def _free(checkup: Checkup) -> list[int | None]:
    return [checkup.storage["free_bytes"], *(node["storage"]["free_bytes"] for node in checkup.answered)]


def _storage_shared(checkup: Checkup) -> str:
    times = [node["storage"]["seconds"] for node in checkup.answered if node["storage"]["seconds"] is not None]
    if not times:
        return ""
    free = [free for free in _free(checkup) if free is not None]
    where = "the same folder on every node" if len(checkup.nodes) > 1 else "can be written"
    room = f", {min(free) / GIB:.0f} GiB free" if free else ""
    return f"{checkup.storage['location']}: {where}{room}, a small file takes {max(times) * 1e3:.0f} ms"


# GPUs -----------------------------------------------------------------------------------------------------------------


def _gpus(checkup: Checkup) -> Iterator[_Told]:
    def unusable(node: Node) -> str | None:
        declared, gpus = int(node["resources"].get("GPU", 0)), node["gpus"]
        if declared <= len(gpus["names"]):
            return None
        reason = ""
        if gpus["built_for"] is None:
            reason = ": a build for CPUs"
        elif not gpus["available"]:
            reason = f": it is built for version {gpus['built_for']} and finds no device or too old a driver"
        if gpus["visible"] is not None:
            reason += f" (CUDA_VISIBLE_DEVICES={gpus['visible']!r})"
        return f"Ray offers {declared} GPUs, of which PyTorch can use {len(gpus['names']) or 'none'}{reason}"

    for text, names in _grouped(checkup.answered, unusable).items():
        yield (
            "warning", names, text,
            "install the driver and the build of PyTorch for it (README, Install elsewhere), or ray start --num-gpus=0",
        )  # fmt: skip

    def unused(node: Node) -> int | None:
        there, declared = len(node["gpus"]["names"]), int(node["resources"].get("GPU", 0))
        return there if there > declared == 0 else None

    for count, names in _grouped(checkup.answered, unused).items():
        yield "note", names, f"PyTorch sees {count} GPUs that Ray does not offer", f"ray start --num-gpus={count}"
    offered = [node for node in checkup.answered if node["gpus"]["names"] and node["resources"].get("GPU", 0)]
    if without := [node for node in offered if node["gpus"]["nccl"] is None]:
        yield "warning", _names(without), "PyTorch has no nccl: several workers cannot train on GPUs", _SAME
    if emulating := [node for node in offered if not all(node["gpus"]["bfloat16"])]:
        text = "the GPU does not multiply bfloat16 natively"
        yield "note", _names(emulating), text, "precision=float32 is at least as fast"
    kinds = sorted({name for node in offered for name in node["gpus"]["names"]})
    if len(kinds) > 1:
        text = f"different GPUs ({', '.join(kinds)}): the slowest sets the pace, results are equal to rounding only"
        yield "note", _names(offered), text, ""


def _gpus_usable(checkup: Checkup) -> str:
    kinds: dict[str, int] = {}
    for node in checkup.answered:
        if node["resources"].get("GPU", 0):
            for name in node["gpus"]["names"]:
                kinds[name] = kinds.get(name, 0) + 1
    if not kinds:
        return "none offered: runs train on CPUs"
    versions = sorted({node["gpus"]["nccl"] for node in checkup.answered if node["gpus"]["nccl"]})
    return ", ".join(f"{count} {name}" for name, count in kinds.items()) + f", nccl {', '.join(versions)}"


# token ----------------------------------------------------------------------------------------------------------------


def _token(checkup: Checkup) -> Iterator[_Told]:
    if checkup.asks_for_token is None:
        yield "warning", (), "whether the cluster refuses clients without a token could not be found out", ""
    if checkup.asks_for_token is False and not all(_is_loopback(address) for address in checkup.addresses):
        if checkup.joined:
            yield (
                "problem", (), f"no token is asked for: anyone who reaches {checkup.address} runs code on every node",
                "start the cluster anew with RAY_AUTH_MODE=token and the same token on all nodes "
                "(ray get-auth-token --generate)",
            )  # fmt: skip
        else:
            yield (
                "warning", (), "no token is asked for: anyone who reaches this machine runs code during a command",
                "unset RAY_AUTH_MODE, or set it to token",
            )  # fmt: skip

    def open_file(node: Node) -> str | None:
        token = node["token"]
        return token["file"] if token["file"] and token["permissions"] & 0o077 else None

    opened = _grouped(checkup.answered, open_file)
    here = open_file(checkup.driver)
    if here and here not in opened:
        opened[here] = ()
    for file, names in opened.items():
        yield "warning", names, f"others on the machine may read the token in {file}", f"chmod 600 {file}"


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _token_asked_for(checkup: Checkup) -> str:
    return "asked for" if checkup.asks_for_token else "not asked for, and the cluster is on this machine only"


# clocks ---------------------------------------------------------------------------------------------------------------


def _clocks(checkup: Checkup) -> Iterator[_Told]:
    def skew(node: Node) -> str | None:
        if node["skew"] is None or abs(node["skew"]) - node["skew_error"] <= SKEW_SECONDS:
            return None
        return f"the clock is {abs(node['skew']):.1f} s {'ahead' if node['skew'] > 0 else 'behind'}"

    for text, names in _grouped(checkup.answered, skew).items():
        yield "warning", names, f"{text}; times of several nodes are compared", "let chrony or ntpd set the clock"


def _clocks_agree(checkup: Checkup) -> str:
    bounds = [abs(node["skew"]) + node["skew_error"] for node in checkup.answered if node["skew"] is not None]
    return f"equal within {max(bounds) * 1e3:.0f} ms" if bounds and len(checkup.nodes) > 1 else ""


# memory and limits ----------------------------------------------------------------------------------------------------


def _memory(checkup: Checkup) -> Iterator[_Told]:
    for node in checkup.answered:
        store, there, folder = node["resources"].get("object_store_memory", 0), node["shm_bytes"], node["store_folder"]
        elsewhere = folder is not None and not folder.startswith("/dev/shm")  # noqa: S108
        if there is not None and (elsewhere or (folder is None and there < store)):
            yield (
                "warning", (node["name"],),
                f"Ray's object store of {_size(store)} lies in {folder or 'files'}: /dev/shm has {_size(there)}",
                f"docker run --shm-size={1.1 * store / GIB:.1f}g, in a pod an emptyDir of medium Memory at /dev/shm, "
                "or ray start --object-store-memory",
            )  # fmt: skip
    machines: dict[str, list[Node]] = {}
    for node in checkup.answered:
        machines.setdefault(node["machine"], []).append(node)
    for nodes in machines.values():
        declared = sum(node["resources"].get("CPU", 0) for node in nodes)
        usable, memory = max(node["cpus"] for node in nodes), nodes[0]["memory_bytes"]
        if declared > usable:
            yield (
                "warning", _names(nodes), f"{declared:g} CPUs offered, of which processes there may use {usable:g}",
                f"ray start --num-cpus={usable:.0f}",
            )  # fmt: skip
        if declared and memory is not None and memory / declared < MEMORY_PER_CPU:
            yield (
                "warning", _names(nodes), f"{_size(memory)} of memory for {declared:g} CPUs: workers may be killed",
                f"ray start --num-cpus={max(1, memory // MEMORY_PER_CPU)}, or execution.cpus_per_worker=2",
            )  # fmt: skip
    for limit, names in _grouped(checkup.answered, lambda node: node["open_files"]).items():
        if limit < OPEN_FILES:
            yield "warning", names, f"a process may open {limit} files", "ulimit -n 65536 before ray start"


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def _memory_enough(checkup: Checkup) -> str:
    told = []
    for node in checkup.answered:
        if node["memory_bytes"] is not None and (cpus := node["resources"].get("CPU", 0)):
            told.append((node["memory_bytes"] / cpus, cpus))
    memory = f"{_size(min(told)[0])} for each CPU at least, " if told else ""
    limits = [node["open_files"] for node in checkup.answered if node["open_files"] is not None]
    stores = {node["store_folder"] for node in checkup.answered if node["store_folder"]}
    return (
        memory
        + f"object store in {', '.join(sorted(stores)) or 'memory'}"
        + (f", {min(limits)} open files" if limits else "")
    )


# network --------------------------------------------------------------------------------------------------------------


def _network(checkup: Checkup) -> Iterator[_Told]:
    several = len(checkup.addresses) > 1
    for node in checkup.answered:
        network, name = node["network"], (node["name"],)
        interface, there = network["interface"], network["interfaces"]
        told = network["variables"].get("GLOO_SOCKET_IFNAME")
        if told is not None:
            if missing := [part for part in told.split(",") if part not in there]:
                text = f"GLOO_SOCKET_IFNAME names {', '.join(missing)}, but there are {', '.join(there)}"
                yield "problem", name, text, _UNSET.format("GLOO_SOCKET_IFNAME")
            elif several and interface is not None and interface not in told.split(","):
                text = f"GLOO_SOCKET_IFNAME is {told}, but the node's address {node['address']} is that of {interface}"
                yield "warning", name, text, _UNSET.format("GLOO_SOCKET_IFNAME")
        elif several and interface is None:
            loopback = all(_is_loopback(address.partition("%")[0]) for address in network["resolved"])
            yield (
                "problem" if loopback else "warning", name,
                f"no interface has the node's address {node['address']}, so that gloo takes that of the host name "
                f"({', '.join(network['resolved']) or 'unknown'})",
                f"before ray start, set GLOO_SOCKET_IFNAME to that by which others reach it, of {', '.join(there)}",
            )  # fmt: skip
        told = network["variables"].get("NCCL_SOCKET_IFNAME")
        if told is not None and node["resources"].get("GPU", 0) and not _nccl_finds(told, there):
            text = f"NCCL_SOCKET_IFNAME={told} fits none of {', '.join(there)}"
            yield "problem", name, text, _UNSET.format("NCCL_SOCKET_IFNAME")
    for failed, names in _grouped(checkup.answered, lambda node: node["unreachable"]).items():
        yield (
            "problem", names, f"cannot connect to {failed}",
            "let nodes reach each other at any port (security group, NetworkPolicy, firewall): Ray, gloo and nccl "
            "listen where there is room",
        )  # fmt: skip


_UNSET = "unset {} before ray start: training finds the interface itself"


def _nccl_finds(told: str, interfaces: list[str]) -> bool:
    """Whether nccl's list fits an interface: prefixes, with = whole names, with ^ those that are not to be used."""
    is_excluding, is_exact = told.startswith("^"), told.lstrip("^").startswith("=")
    parts = [part for part in told.lstrip("^=").split(",") if part]

    def listed(interface: str) -> bool:
        return any(interface == part if is_exact else interface.startswith(part) for part in parts)

    return any(listed(interface) != is_excluding for interface in interfaces)


def _network_fine(checkup: Checkup) -> str:
    if len(checkup.nodes) < 2:
        return ""
    used = sorted({node["network"]["interface"] for node in checkup.answered if node["network"]["interface"]})
    by = f", by {', '.join(used)}" if used and len(checkup.addresses) > 1 else ""
    return f"the nodes reach each other at free ports{by}"


# processors -----------------------------------------------------------------------------------------------------------


def _processors(checkup: Checkup) -> Iterator[_Told]:
    def kind(node: Node) -> str:
        return f"{node['processor']['model']} ({' '.join(node['processor']['features']) or 'no vector units'})"

    groups = _grouped(checkup.answered, kind)
    if len(groups) > 1:
        for text, names in groups.items():
            yield "note", names, f"{text}: results of different processors are equal to rounding only", ""


def _processors_equal(checkup: Checkup) -> str:
    models = {node["processor"]["model"] for node in checkup.answered}
    return next(iter(models)) if len(models) == 1 else ""


_CHECKS: tuple[tuple[str, Callable[[Checkup], Iterator[_Told]], Callable[[Checkup], str]], ...] = (
    ("nodes", _answers, _all_answer),
    ("versions", _versions, _same_versions),
    ("storage", _storage, _storage_shared),
    ("token", _token, _token_asked_for),
    ("GPUs", _gpus, _gpus_usable),
    ("network", _network, _network_fine),
    ("clocks", _clocks, _clocks_agree),
    ("memory", _memory, _memory_enough),
    ("processors", _processors, _processors_equal),
)


def report(checkup: Checkup, found: list[Finding]) -> dict[str, Any]:
    """Everything as plain data: nodes, findings, what was found right, whether there is no problem."""

    def plain(finding: Finding) -> Mapping[str, Any]:
        return {
            "check": finding.check,
            "level": finding.level,
            "nodes": list(finding.nodes),
            "what": finding.what,
            "mend": finding.mend,
        }

    return {
        "address": checkup.address,
        "nodes": checkup.nodes,
        "findings": [plain(finding) for finding in found if finding.level != "ok"],
        "passed": [{"check": finding.check, "what": finding.what} for finding in found if finding.level == "ok"],
        "ok": not any(finding.level == "problem" for finding in found),
    }
