"""Findings from the facts about the nodes of a cluster: where runs would fail, and how to mend it. Without Ray."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["problem", "warning", "note", "ok"]
Node = dict[str, Any]

OPEN_FILES = 4096
"""A lower limit is a warning. The processes of Ray on a node keep connections to every worker on it; at the common
default of 1024 a node with many CPUs runs out of them.
"""

_SAME = "start all nodes from one image, or install on them with pip install -c constraints.txt"
_SAME_CODE = "start all nodes from one image, install the same commit on them, or send the code: lwgan-dist submit"


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

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
    """The facts about a cluster and its nodes.

    Attributes:
        address: of its head.
        joined: whether it is a cluster; else a local session that ended with the command.
        driver: facts about the process that asked: ``versions``, ``code``.
        nodes: see `lwgan_dist.cluster.node_facts.Examiner.examine`, with the facts that Ray has about them.
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


_Rows = Iterator[tuple[Level, str, str]]  # level, what is the case, how to change it


def findings(checkup: Checkup) -> list[Finding]:
    """All findings in the order of the checks; what several nodes have in common is one. A check without problem or
    warning has an ``ok``.
    """
    collected = []
    for check, of_cluster, of_node, passed in _CHECKS:
        nodes: dict[tuple[Level, str, str], list[str]] = {row: [] for row in of_cluster(checkup)}
        for node in checkup.nodes if check == "nodes" else checkup.answered:
            for row in of_node(checkup, node):
                nodes.setdefault(row, []).append(node["name"])
        if not any(level in ("problem", "warning") for level, *_ in nodes) and (text := passed(checkup)):
            collected.append(Finding(check, "ok", (), text))
        collected += [Finding(check, level, tuple(names), what, mend) for (level, what, mend), names in nodes.items()]
    return collected


def _nothing(_checkup: Checkup, _node: Node | None = None) -> _Rows:
    return iter(())


# nodes ----------------------------------------------------------------------------------------------------------------


def _answers(_checkup: Checkup, node: Node) -> _Rows:
    if node["error"] is not None:
        mend = "look at its load and at /tmp/ray/session_latest/logs on it; take it out of the cluster if it is gone"
        yield "problem", node["error"], mend


def _all_answer(checkup: Checkup) -> str:
    return f"all {len(checkup.nodes)} answer" if len(checkup.nodes) > 1 else ""


# versions -------------------------------------------------------------------------------------------------------------


def _versions(checkup: Checkup, node: Node) -> _Rows:
    for package in ("Python", "ray", "torch", "numpy", "lwgan-dist"):
        mine, other = checkup.driver["versions"][package], node["versions"][package]
        if other is None and package != "lwgan-dist":  # without a version, as in a working_dir, its files tell
            yield "problem", f"{package} is not installed", _SAME
        elif other != mine and None not in (mine, other):
            yield _difference(package, other, mine), f"{package} {other}, where the command runs {mine}", _SAME
    mine = checkup.driver["code"]
    if node["code"] is None:
        yield "problem", "lwgan_dist is not installed", _SAME_CODE
    elif node["code"] != mine:
        text = f"other source files of lwgan_dist ({node['code']}) than where the command runs ({mine})"
        yield "problem", text, _SAME_CODE
    if node["code"] is not None and node["import_error"]:
        yield "problem", f"a worker cannot start: {node['import_error']}", _SAME
    if node["versions"]["scikit-dimension"] is None:
        somewhere = any(other["versions"]["scikit-dimension"] for other in checkup.answered)
        text = "studies of classical estimators fail: scikit-dimension is not installed"
        yield "warning" if somewhere else "note", text, "pip install 'lwgan-dist[classical]'"


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


def _storage_here(checkup: Checkup) -> _Rows:
    if error := checkup.storage["error"]:
        text = f"{checkup.storage['location']}: cannot be used where the command runs ({error})"
        yield "problem", text, "name a folder or URI that can be read and written: --storage"


def _storage(checkup: Checkup, node: Node) -> _Rows:
    facts, location = node["storage"], checkup.storage["location"]
    if checkup.storage["error"]:
        return
    if facts["error"]:
        text = f"{location}: cannot be used there ({facts['error']})"
        yield "problem", text, "let the user that runs Ray there reach, read and write it"
    elif not facts["seen"] or not facts["read_back"]:
        text = f"{location}: not the folder of that name where the command runs, but another or none"
        yield (
            "problem",
            text,
            "use a folder that every node mounts (NFS, Lustre, a volume), or a URI (s3://.., gs://..)",
        )


def _storage_shared(checkup: Checkup) -> str:
    if not checkup.answered:
        return ""
    where = "the same folder on every node" if len(checkup.nodes) > 1 else "can be written"
    return f"{checkup.storage['location']}: {where}"


# GPUs -----------------------------------------------------------------------------------------------------------------


def _offered(node: Node) -> int:
    return int(node["resources"].get("GPU", 0))


def _gpus(_checkup: Checkup, node: Node) -> _Rows:
    facts, offered, usable = node["gpus"], _offered(node), len(node["gpus"]["names"])
    if offered > usable:
        reason = ""
        if facts["built_for"] is None:
            reason = ": a build for CPUs"
        elif not facts["available"]:
            reason = f": it is built for version {facts['built_for']} and sees no device or too old a driver"
        if facts["visible"] is not None:
            reason += f" (CUDA_VISIBLE_DEVICES={facts['visible']!r})"
        yield (
            "warning", f"Ray offers {offered} GPUs, of which PyTorch can use {usable or 'none'}{reason}",
            "install the driver and the build of PyTorch for it (README, Install elsewhere), or ray start --num-gpus=0",
        )  # fmt: skip
    if usable and not offered:
        yield "note", f"PyTorch sees {usable} GPUs that Ray does not offer", f"ray start --num-gpus={usable}"
    if usable and offered and facts["nccl"] is None:
        yield "warning", "PyTorch has no nccl: several workers cannot train on GPUs", _SAME


def _gpus_usable(checkup: Checkup) -> str:
    offering = [node["gpus"] for node in checkup.answered if _offered(node)]
    kinds = Counter(name for gpus in offering for name in gpus["names"])
    if not kinds:
        return "none offered: runs train on CPUs"
    versions = sorted({gpus["nccl"] for gpus in offering if gpus["nccl"]})
    return ", ".join(f"{count} {name}" for name, count in kinds.items()) + f", nccl {', '.join(versions)}"


# token ----------------------------------------------------------------------------------------------------------------


def _token(checkup: Checkup) -> _Rows:
    if checkup.asks_for_token is None:
        yield "warning", "whether the cluster refuses clients without a token could not be seen", ""
    if checkup.asks_for_token is not False or all(_is_loopback(node["address"]) for node in checkup.nodes):
        return
    if checkup.joined:
        yield (
            "problem", f"no token is asked for: anyone who reaches {checkup.address} runs code on every node",
            "start the cluster anew with RAY_AUTH_MODE=token and the same token on all nodes "
            "(ray get-auth-token --generate)",
        )  # fmt: skip
    else:
        text = "no token is asked for: anyone who reaches this machine runs code during a command"
        yield "warning", text, "unset RAY_AUTH_MODE, or set it to token"


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _token_asked_for(checkup: Checkup) -> str:
    return "asked for" if checkup.asks_for_token else "not asked for, and the cluster is on this machine only"


# network and limits ---------------------------------------------------------------------------------------------------


def _network(_checkup: Checkup, node: Node) -> _Rows:
    names, interfaces = (node["network"]["gloo"] or "").split(","), node["network"]["interfaces"]
    if missing := [name for name in names if name and name not in interfaces]:
        text = f"GLOO_SOCKET_IFNAME names {', '.join(missing)}, but the interfaces are {', '.join(interfaces)}"
        yield "problem", text, "unset GLOO_SOCKET_IFNAME before ray start: training takes the interface by itself"
    if node["unreachable"]:
        yield (
            "problem", f"cannot connect to {node['unreachable']}",
            "let nodes reach each other at any port (security group, NetworkPolicy, firewall): Ray, gloo and nccl "
            "listen where there is room",
        )  # fmt: skip


def _network_fine(checkup: Checkup) -> str:
    return "the nodes reach each other at free ports" if len(checkup.nodes) > 1 else ""


def _limits(_checkup: Checkup, node: Node) -> _Rows:
    if node["open_files"] is not None and node["open_files"] < OPEN_FILES:
        yield "warning", f"a process may open {node['open_files']} files", "ulimit -n 65536 before ray start"


def _limits_enough(checkup: Checkup) -> str:
    limits = [node["open_files"] for node in checkup.answered if node["open_files"] is not None]
    return f"{min(limits)} open files" if limits else ""


_CHECKS: tuple[
    tuple[str, Callable[[Checkup], _Rows], Callable[[Checkup, Node], _Rows], Callable[[Checkup], str]], ...
] = (
    ("nodes", _nothing, _answers, _all_answer),
    ("versions", _nothing, _versions, _same_versions),
    ("storage", _storage_here, _storage, _storage_shared),
    ("token", _token, _nothing, _token_asked_for),
    ("GPUs", _nothing, _gpus, _gpus_usable),
    ("network", _nothing, _network, _network_fine),
    ("limits", _nothing, _limits, _limits_enough),
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
