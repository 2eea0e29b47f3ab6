"""What follows from what the nodes of a cluster say about themselves: where runs would fail, and how to mend it.
Without Ray.
"""

import ipaddress
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, TypeVar

Level = Literal["problem", "warning", "note", "ok"]
Value = TypeVar("Value", bound=Hashable)
Node = dict[str, Any]

GIB = 2**30

OPEN_FILES = 4096
"""A lower limit is a warning. The processes of Ray on a node keep connections to every worker on it; at the common
default of 1024 a node with many CPUs runs out of them.
"""

MEMORY_PER_CPU = GIB
"""Less memory for each declared CPU is a warning: a worker takes half of that before it has read any data."""


@dataclass(frozen=True)
class Finding:
    """What a check gave.

    Attributes:
        check: the subject.
        level: ``problem`` runs fail, ``warning`` they may, ``note`` good to know, ``ok``.
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
    """What a cluster and its nodes say.

    Attributes:
        address: of its head.
        joined: whether it is a cluster; else a local session that ended with the command.
        driver: what the process that asked says of itself: ``versions``, ``code``.
        nodes: see `lwgan_dist.cluster.node_facts.Examiner.examine`, with what Ray says of them.
        storage: ``location`` and, where the command runs, ``error``.
        asks_for_token: whether a client without a token is refused; None if that could not be seen.
    """

    address: str
    joined: bool
    driver: dict[str, Any]
    nodes: list[Node]
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
    """All findings in the order of the checks; a check without problem or warning has an ``ok``."""
    collected = []
    for check, look, passed in _CHECKS:
        of_check = [Finding(check, *rest) for rest in look(checkup)]
        if not any(finding.level in ("problem", "warning") for finding in of_check) and (text := passed(checkup)):
            collected.append(Finding(check, "ok", (), text))
        collected.extend(of_check)
    return collected


_Row = tuple[Level, tuple[str, ...], str, str]


def _grouped(nodes: Iterable[Node], value: Callable[[Node], Value | None]) -> dict[Value, tuple[str, ...]]:
    """Names of the nodes by a value; nodes without one are left out."""
    groups: dict[Value, list[str]] = {}
    for node in nodes:
        if (own := value(node)) is not None:
            groups.setdefault(own, []).append(node["name"])
    return {own: tuple(names) for own, names in groups.items()}


def _names(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(node["name"] for node in nodes)


# nodes ----------------------------------------------------------------------------------------------------------------


def _answers(checkup: Checkup) -> Iterator[_Row]:
    for error, names in _grouped(checkup.nodes, lambda node: node["error"]).items():
        yield (
            "problem", names, str(error),
            "look at its load and at /tmp/ray/session_latest/logs on it; take it out of the cluster if it is gone",
        )  # fmt: skip


def _all_answer(checkup: Checkup) -> str:
    count = len(checkup.nodes)
    return f"all {count} answer" if count > 1 else ""


# versions -------------------------------------------------------------------------------------------------------------

_SAME = "start all nodes from one image, or install on them with pip install -c constraints.txt"
_SAME_CODE = "start all nodes from one image, install the same commit on them, or send the code: lwgan-dist submit"


def _version_of(package: str, node: Mapping[str, Any]) -> tuple[str | None]:
    return (node["versions"][package],)


def _versions(checkup: Checkup) -> Iterator[_Row]:
    here = checkup.driver["versions"]
    for package in ("Python", "ray", "torch", "numpy", "lwgan-dist"):
        for (other,), names in _grouped(checkup.answered, partial(_version_of, package)).items():
            if other == here[package]:
                continue
            if other is None:
                if package != "lwgan-dist":  # without a version, as in a working_dir, its files tell
                    yield "problem", names, f"{package} is not installed", _SAME
            elif here[package] is not None:
                level = _difference(package, other, here[package])
                yield level, names, f"{package} {other}, where the command runs {here[package]}", _SAME
    yield from _code(checkup)
    if here["optuna"] is None:
        text = "searches by Optuna are refused: it is not installed where the command runs"
        yield "note", (), text, "pip install 'lwgan-dist[search]'"
    if without := [node for node in checkup.answered if node["versions"]["scikit-dimension"] is None]:
        everywhere = len(without) == len(checkup.answered)
        text = "studies of classical estimators fail: scikit-dimension is not installed"
        level = "note" if everywhere else "warning"
        yield level, () if everywhere else _names(without), text, "pip install 'lwgan-dist[classical]'"


def _code(checkup: Checkup) -> Iterator[_Row]:
    for (identity,), names in _grouped(checkup.answered, lambda node: (node["code"],)).items():
        if identity is None:
            yield "problem", names, "lwgan_dist is not installed", _SAME_CODE
        elif identity != checkup.driver["code"]:
            text = f"other source files of lwgan_dist ({identity}) than where the command runs"
            yield "problem", names, f"{text} ({checkup.driver['code']})", _SAME_CODE
    for error, names in _grouped((n for n in checkup.answered if n["code"]), lambda node: node["import_error"]).items():
        yield "problem", names, f"a worker cannot start: {error}", _SAME


def _difference(package: str, other: str, mine: str) -> Level:
    """How bad it is: builds of one version, and patches of Python, differ in rounding and speed at most."""
    if package == "Python":
        return "warning" if other.split(".")[:2] == mine.split(".")[:2] else "problem"
    return "note" if other.partition("+")[0] == mine.partition("+")[0] else "problem"


def _same_versions(checkup: Checkup) -> str:
    if not checkup.answered:
        return ""
    here = checkup.driver["versions"]
    text = ", ".join(f"{name} {here[name]}" for name in ("Python", "ray", "torch", "numpy") if here[name])
    return f"{text}, lwgan_dist {here['lwgan-dist'] or ''} ({checkup.driver['code']})".replace("  ", " ")


# storage --------------------------------------------------------------------------------------------------------------


def _storage(checkup: Checkup) -> Iterator[_Row]:
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
    usable = [node for node in checkup.answered if node["storage"]["error"] is None]
    if strangers := [node for node in usable if not node["storage"]["seen"] or not node["storage"]["read_back"]]:
        yield (
            "problem", _names(strangers),
            f"{storage['location']}: not the folder of that name where the command runs, but another or none",
            "use a folder that every node mounts (NFS, Lustre, a volume), or a URI (s3://.., gs://..)",
        )  # fmt: skip


def _storage_shared(checkup: Checkup) -> str:
    if not checkup.answered:
        return ""
    where = "the same folder on every node" if len(checkup.nodes) > 1 else "can be written"
    return f"{checkup.storage['location']}: {where}"


# GPUs -----------------------------------------------------------------------------------------------------------------


def _offered(node: Node) -> int:
    return int(node["resources"].get("GPU", 0))


def _unusable(node: Node) -> str | None:
    gpus, usable = node["gpus"], len(node["gpus"]["names"])
    if _offered(node) <= usable:
        return None
    reason = ""
    if gpus["built_for"] is None:
        reason = ": a build for CPUs"
    elif not gpus["available"]:
        reason = f": it is built for version {gpus['built_for']} and sees no device or too old a driver"
    if gpus["visible"] is not None:
        reason += f" (CUDA_VISIBLE_DEVICES={gpus['visible']!r})"
    return f"Ray offers {_offered(node)} GPUs, of which PyTorch can use {usable or 'none'}{reason}"


def _unused(node: Node) -> int | None:
    return len(node["gpus"]["names"]) if len(node["gpus"]["names"]) > _offered(node) == 0 else None


def _gpus(checkup: Checkup) -> Iterator[_Row]:
    for text, names in _grouped(checkup.answered, _unusable).items():
        yield (
            "warning", names, text,
            "install the driver and the build of PyTorch for it (README, Install elsewhere), or ray start --num-gpus=0",
        )  # fmt: skip
    for count, names in _grouped(checkup.answered, _unused).items():
        yield "note", names, f"PyTorch sees {count} GPUs that Ray does not offer", f"ray start --num-gpus={count}"
    offering = [node for node in checkup.answered if node["gpus"]["names"] and _offered(node)]
    if without := [node for node in offering if node["gpus"]["nccl"] is None]:
        yield "warning", _names(without), "PyTorch has no nccl: several workers cannot train on GPUs", _SAME


def _gpus_usable(checkup: Checkup) -> str:
    kinds: dict[str, int] = {}
    for node in checkup.answered:
        for name in node["gpus"]["names"] if _offered(node) else ():
            kinds[name] = kinds.get(name, 0) + 1
    if not kinds:
        return "none offered: runs train on CPUs"
    versions = sorted({node["gpus"]["nccl"] for node in checkup.answered if node["gpus"]["nccl"]})
    return ", ".join(f"{count} {name}" for name, count in kinds.items()) + f", nccl {', '.join(versions)}"


# token ----------------------------------------------------------------------------------------------------------------


def _token(checkup: Checkup) -> Iterator[_Row]:
    if checkup.asks_for_token is None:
        yield "warning", (), "whether the cluster refuses clients without a token could not be seen", ""
    if checkup.asks_for_token is not False or all(_is_loopback(address) for address in checkup.addresses):
        return
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


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _token_asked_for(checkup: Checkup) -> str:
    return "asked for" if checkup.asks_for_token else "not asked for, and the cluster is on this machine only"


# network --------------------------------------------------------------------------------------------------------------


def _network(checkup: Checkup) -> Iterator[_Row]:
    for node in checkup.answered:
        network, interfaces = node["network"], ", ".join(node["network"]["interfaces"])
        missing = [part for part in (network["gloo"] or "").split(",") if part and part not in network["interfaces"]]
        if missing:
            yield (
                "problem", (node["name"],),
                f"GLOO_SOCKET_IFNAME names {', '.join(missing)}, but there are {interfaces}",
                "unset GLOO_SOCKET_IFNAME before ray start: training finds the interface itself",
            )  # fmt: skip
        elif network["gloo"] is None and network["interface"] is None and len(checkup.addresses) > 1:
            loopback = all(_is_loopback(address.partition("%")[0]) for address in network["resolved"])
            yield (
                "problem" if loopback else "warning", (node["name"],),
                f"no interface has the node's address {node['address']}, so that gloo takes that of the host name "
                f"({', '.join(network['resolved']) or 'unknown'})",
                f"before ray start, set GLOO_SOCKET_IFNAME to that by which others reach it, of {interfaces}",
            )  # fmt: skip
    for failed, names in _grouped(checkup.answered, lambda node: node["unreachable"]).items():
        yield (
            "problem", names, f"cannot connect to {failed}",
            "let nodes reach each other at any port (security group, NetworkPolicy, firewall): Ray, gloo and nccl "
            "listen where there is room",
        )  # fmt: skip


def _network_fine(checkup: Checkup) -> str:
    if len(checkup.nodes) < 2:
        return ""
    used = sorted({node["network"]["interface"] for node in checkup.answered if node["network"]["interface"]})
    by = f", by {', '.join(used)}" if used and len(checkup.addresses) > 1 else ""
    return f"the nodes reach each other at free ports{by}"


# memory and limits ----------------------------------------------------------------------------------------------------


def _per_cpu(node: Node) -> float | None:
    """Bytes of memory for each CPU that the node offers; None if that is unknown, or it offers none."""
    cpus, memory = node["resources"].get("CPU", 0), node["memory_bytes"]
    return memory / cpus if cpus and memory is not None else None


def _memory(checkup: Checkup) -> Iterator[_Row]:
    for node in checkup.answered:
        if (each := _per_cpu(node)) is not None and each < MEMORY_PER_CPU:
            cpus, memory = node["resources"]["CPU"], node["memory_bytes"]
            yield (
                "warning", (node["name"],), f"{_size(memory)} of memory for {cpus:g} CPUs: workers may be killed",
                f"ray start --num-cpus={max(1, memory // MEMORY_PER_CPU)}, or execution.cpus_per_worker=2",
            )  # fmt: skip
    for limit, names in _grouped(checkup.answered, lambda node: node["open_files"]).items():
        if limit < OPEN_FILES:
            yield "warning", names, f"a process may open {limit} files", "ulimit -n 65536 before ray start"


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def _memory_enough(checkup: Checkup) -> str:
    each = [size for node in checkup.answered if (size := _per_cpu(node)) is not None]
    limits = [node["open_files"] for node in checkup.answered if node["open_files"] is not None]
    texts = [f"{_size(min(each))} for each CPU at least"] if each else []
    return ", ".join(texts + ([f"{min(limits)} open files"] if limits else []))


_CHECKS: tuple[tuple[str, Callable[[Checkup], Iterator[_Row]], Callable[[Checkup], str]], ...] = (
    ("nodes", _answers, _all_answer),
    ("versions", _versions, _same_versions),
    ("storage", _storage, _storage_shared),
    ("token", _token, _token_asked_for),
    ("GPUs", _gpus, _gpus_usable),
    ("network", _network, _network_fine),
    ("memory", _memory, _memory_enough),
)


def report(checkup: Checkup, collected: list[Finding]) -> dict[str, Any]:
    """Everything as plain data: nodes, findings, checks that passed, whether there is no problem."""
    return {
        "address": checkup.address,
        "nodes": checkup.nodes,
        "findings": [asdict(finding) for finding in collected if finding.level != "ok"],
        "passed": [{"check": finding.check, "what": finding.what} for finding in collected if finding.level == "ok"],
        "ok": not any(finding.level == "problem" for finding in collected),
    }
