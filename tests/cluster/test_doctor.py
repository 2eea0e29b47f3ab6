"""What doctor makes of what nodes say: every finding is where it should be, and none in a cluster that is right."""

import errno
import json
import os

import pytest
import ray
from click.testing import CliRunner
from pyarrow import fs

from lwgan_dist import retries
from lwgan_dist.cli import main
from lwgan_dist.cli.doctor import _print
from lwgan_dist.cluster import doctor, node_facts
from lwgan_dist.cluster.findings import Checkup, findings, report
from lwgan_dist.storage import Folder

VERSIONS = {
    "Python": "3.11.9", "ray": "2.60.0", "torch": "2.13.0+cpu", "numpy": "2.4.0", "lwgan-dist": "0.1.0",
    "scikit-dimension": "0.5.0",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """What an examiner sets, for its own process, is undone."""
    monkeypatch.setenv(retries.PATIENCE_VARIABLE, "3600")


def node(number: int, **changes) -> dict:
    """A node that is right; changes are by path, with double underscores."""
    made = {
        "name": f"10.0.0.{number}", "id": f"{number:056x}", "address": f"10.0.0.{number}", "host": f"host{number}",
        "head": number == 1, "resources": {"CPU": 0.0 if number == 1 else 4.0}, "labels": {}, "error": None,
        "unreachable": None, "versions": dict(VERSIONS), "code": "0123456789ab", "import_error": None,
        "storage": {"seen": True, "written": True, "error": None, "read_back": True},
        "gpus": {"built_for": None, "available": False, "names": [], "nccl": None, "visible": None},
        "open_files": 65536, "memory_bytes": 16 * 2**30,
        "network": {"interfaces": ["lo", "eth0"], "gloo": None},
    }  # fmt: skip
    for path, value in changes.items():
        *sections, last = path.split("__")
        place = made
        for section in sections:
            place = place[section]
        place[last] = value
    return made


def gpu_node(number: int, **changes) -> dict:
    gpus = {"built_for": "12.8", "available": True, "names": ["H100", "H100"], "nccl": "2.27.5", "visible": None}
    return node(number, **{"gpus": gpus, "resources__GPU": 2.0, **changes})


def checkup(*nodes: dict, **changes) -> Checkup:
    right = {
        "address": "10.0.0.1:6379", "joined": True, "nodes": list(nodes), "asks_for_token": True,
        "driver": {"versions": dict(VERSIONS), "code": "0123456789ab"},
        "storage": {"location": "/shared/runs", "error": None},
    }  # fmt: skip
    return Checkup(**{**right, **changes})


def good() -> list[dict]:
    return [node(1), node(2), node(3)]


def test_a_cluster_that_is_right_has_an_ok_for_every_check_and_nothing_else():
    found = findings(checkup(*good()))
    assert {finding.level for finding in found} == {"ok"}
    assert [finding.check for finding in found] == [
        "nodes", "versions", "storage", "token", "GPUs", "network", "limits",
    ]  # fmt: skip


def test_so_has_a_cluster_with_gpus():
    found = findings(checkup(node(1), gpu_node(2), gpu_node(3)))
    assert {finding.level for finding in found} == {"ok"}
    assert "4 H100, nccl 2.27.5" in [finding.what for finding in found]


def test_so_has_this_machine_alone():
    found = findings(checkup(node(1, resources__CPU=4.0), joined=False))
    assert {finding.level for finding in found} == {"ok"}


CASES = {
    # what differs on node 2: check, level, a part of what is said
    "silent": ({"error": "does not answer (waited 60 s)"}, "nodes", "problem", "does not answer"),
    "Python": ({"versions__Python": "3.12.1"}, "versions", "problem", "Python 3.12.1, where the command runs 3.11.9"),
    "patch of Python": ({"versions__Python": "3.11.7"}, "versions", "warning", "Python 3.11.7"),
    "torch": ({"versions__torch": "2.12.0+cpu"}, "versions", "problem", "torch 2.12.0+cpu"),
    "build of torch": ({"versions__torch": "2.13.0+cu128"}, "versions", "note", "torch 2.13.0+cu128"),
    "numpy": ({"versions__numpy": "2.3.0"}, "versions", "problem", "numpy 2.3.0"),
    "no numpy": ({"versions__numpy": None}, "versions", "problem", "numpy is not installed"),
    "version": ({"versions__lwgan-dist": "0.0.9"}, "versions", "problem", "lwgan-dist 0.0.9"),
    "code": ({"code": "ba9876543210"}, "versions", "problem", "other source files of lwgan_dist (ba9876543210)"),
    "no code": ({"code": None, "import_error": "no"}, "versions", "problem", "lwgan_dist is not installed"),
    "broken": ({"import_error": "ImportError: libfoo.so"}, "versions", "problem", "cannot start: ImportError"),
    "competitors": ({"versions__scikit-dimension": None}, "versions", "warning", "scikit-dimension is not installed"),
    "not shared": ({"storage__seen": False, "storage__written": False}, "storage", "problem", "not the folder of that"),
    "one way": ({"storage__read_back": False}, "storage", "problem", "not the folder of that name"),
    "read-only": ({"storage__error": "Read-only file system"}, "storage", "problem", "(Read-only file system)"),
    "no GPU for torch": ({"resources__GPU": 2.0}, "GPUs", "warning", "can use none: a build for CPUs"),
    "old driver": (
        {"resources__GPU": 2.0, "gpus__built_for": "12.8", "gpus__visible": ""}, "GPUs", "warning",
        "built for version 12.8 and sees no device or too old a driver (CUDA_VISIBLE_DEVICES='')",
    ),
    "GPU not offered": ({"gpus__names": ["H100"], "gpus__available": True}, "GPUs", "note", "does not offer"),
    "few files": ({"open_files": 1024}, "limits", "warning", "may open 1024 files"),
    "no such interface": (
        {"network__gloo": "ib0"}, "network", "problem", "GLOO_SOCKET_IFNAME names ib0",
    ),
    "cut off": ({"unreachable": "10.0.0.3 (timed out)"}, "network", "problem", "connect to 10.0.0.3 (timed out)"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_one_node_is_told_of_it_and_of_nothing_else(case):
    changes, check, level, text = CASES[case]
    nodes = [node(1), node(2, **changes), node(3)]
    found = findings(checkup(*nodes))
    told = [finding for finding in found if finding.level != "ok"]
    assert [(finding.check, finding.level) for finding in told] == [(check, level)]
    assert text in told[0].what
    assert told[0].nodes == ("10.0.0.2",)
    assert told[0].mend or level == "note"
    assert (check in {finding.check for finding in found if finding.level == "ok"}) == (level == "note")
    assert report(checkup(*nodes), found)["ok"] == (level != "problem")


GPU_CASES = {
    "no nccl": ({"gpus__nccl": None}, "warning", "no nccl"),
    "fewer": ({"gpus__names": ["H100"]}, "warning", "2 GPUs, of which PyTorch can use 1"),
}


@pytest.mark.parametrize("case", GPU_CASES)
def test_what_is_wrong_with_gpus(case):
    changes, level, text = GPU_CASES[case]
    told = [f for f in findings(checkup(node(1), gpu_node(2, **changes), gpu_node(3))) if f.level != "ok"]
    assert [(finding.check, finding.level) for finding in told] == [("GPUs", level)]
    assert text in told[0].what


def test_competitors_that_are_nowhere_are_good_to_know_of():
    nodes = [node(number, **{"versions__scikit-dimension": None}) for number in (1, 2)]
    told = [finding for finding in findings(checkup(*nodes)) if finding.level != "ok"]
    assert [(finding.level, finding.nodes) for finding in told] == [("note", ("10.0.0.1", "10.0.0.2"))]


CLUSTER_CASES = {
    "no token": ({"asks_for_token": False}, "token", "problem", "anyone who reaches 10.0.0.1:6379 runs code"),
    "no token, local": ({"asks_for_token": False, "joined": False}, "token", "warning", "during a command"),
    "unknown": ({"asks_for_token": None}, "token", "warning", "could not be seen"),
    "unwritable": (
        {"storage": {"location": "/shared/runs", "error": "Read-only file system"}},
        "storage", "problem", "(Read-only file system)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CLUSTER_CASES)
def test_what_is_wrong_with_the_whole(case):
    changes, check, level, text = CLUSTER_CASES[case]
    told = [finding for finding in findings(checkup(*good(), **changes)) if finding.level != "ok"]
    assert [(finding.check, finding.level) for finding in told] == [(check, level)]
    assert text in told[0].what


def test_without_a_token_a_cluster_that_only_this_machine_reaches_is_right():
    nodes = [node(1, address="127.0.0.1"), node(2, address="127.0.0.1")]
    assert {finding.level for finding in findings(checkup(*nodes, asks_for_token=False))} == {"ok"}


def test_nothing_is_said_of_nodes_that_say_nothing():
    silent = [{**node(1), "error": "does not answer"}]
    for key in ("versions", "code", "storage", "gpus", "network"):
        del silent[0][key]
    found = findings(checkup(*silent))
    assert [finding.level for finding in found if finding.check == "nodes"] == ["problem"]
    assert {finding.level for finding in found if finding.check != "nodes"} == {"ok"}


def test_the_same_trouble_of_many_nodes_is_one_finding(capsys):
    nodes = [node(number, storage__seen=number < 3) for number in range(1, 31)]
    told = checkup(*nodes)
    found = findings(told)
    (problem,) = [finding for finding in found if finding.level == "problem"]
    assert len(problem.nodes) == 28
    _print(told, found)
    shown = capsys.readouterr().out
    assert "10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6 and 24 more: /shared/runs" in shown
    assert ".. and 10 more (all of them: --json)" in shown
    assert shown.endswith("1 problem, no warnings\n")


def test_what_is_printed_for_all_nodes(capsys):
    told = checkup(*(node(number, open_files=1024) for number in (1, 2, 3)))
    _print(told, findings(told))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cluster at 10.0.0.1:6379: 3 nodes"
    place = lines.index("warning  limits    all 3 nodes: a process may open 1024 files")
    assert lines[place + 1].strip() == "-> ulimit -n 65536 before ray start"


def test_the_report_is_plain_data():
    told = checkup(*good(), asks_for_token=False)
    again = json.loads(json.dumps(report(told, findings(told))))
    assert set(again) == {"address", "nodes", "findings", "passed", "ok"}
    assert again["ok"] is False
    assert [set(finding) for finding in again["findings"]] == [{"check", "level", "nodes", "what", "mend"}]
    assert len(again["passed"]) == 6


# what a node says of itself -------------------------------------------------------------------------------------------


def test_the_identity_of_the_code_changes_with_a_file_and_its_name(tmp_path, monkeypatch):
    package = tmp_path / "lwgan_dist"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("1\n")

    class Spec:
        submodule_search_locations = (str(package),)

    monkeypatch.setattr(node_facts.importlib.util, "find_spec", lambda name: Spec)
    seen = [node_facts.code_identity()]
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.pyc").write_text("other")
    assert node_facts.code_identity() == seen[0]
    (package / "a.py").write_text("2\n")
    seen.append(node_facts.code_identity())
    (package / "a.py").rename(package / "b.py")
    seen.append(node_facts.code_identity())
    assert len(set(seen)) == 3
    monkeypatch.setattr(node_facts.importlib.util, "find_spec", lambda name: None)
    assert node_facts.code_identity() is None


def mark(location, **changes):
    return node_facts.look_for_mark(**{"location": str(location), "name": ".m", "content": "c", "own": "n", **changes})


def test_the_mark_is_looked_for_and_added_to(tmp_path):
    folder = Folder.at(str(tmp_path))
    folder.sub(".m").write("driver", b"c")
    assert mark(tmp_path) == {"seen": True, "written": True, "error": None}
    assert folder.sub(".m").names() == ["driver", "n"]


def test_where_there_is_no_mark_or_another_nothing_is_written(tmp_path):
    assert mark(tmp_path / "not_there") == {"seen": False, "written": False, "error": None}
    assert list(tmp_path.iterdir()) == []
    Folder.at(str(tmp_path)).sub(".m").write("driver", b"other")
    assert mark(tmp_path)["seen"] is False
    assert Folder.at(str(tmp_path)).sub(".m").names() == ["driver"]


def test_the_mark_on_another_file_system(tmp_path, monkeypatch):
    base = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    folder = Folder(base, "runs", "other://runs")
    monkeypatch.setattr(Folder, "at", classmethod(lambda cls, location: folder))
    folder.sub(".m").write("driver", b"c")
    assert mark("other://runs")["seen"] is True
    assert sorted(path.name for path in (tmp_path / "runs" / ".m").iterdir()) == ["driver", "n"]


def test_why_the_storage_cannot_be_used_is_told(tmp_path, monkeypatch):
    Folder.at(str(tmp_path)).sub(".m").write("driver", b"c")

    def refuse(self, name, content):
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(Folder, "write", refuse)
    assert (mark(tmp_path)["seen"], mark(tmp_path)["error"]) == (True, "Permission denied")
    assert "cannot be opened" in mark("nowhere://x")["error"]


def test_a_port_is_reached_or_it_is_told_why_not():
    there, here = node_facts.Examiner(), node_facts.Examiner()
    port = there.listen("127.0.0.1")
    assert here.reach([("127.0.0.1", port)]) == [None]
    there._listener.close()
    assert here.reach([("127.0.0.1", port)]) == ["Connection refused"]


def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('no\\ndriver')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert node_facts.import_error("broken_module") == "RuntimeError: no driver"
    assert node_facts.import_error("json") is None


# asking the nodes -----------------------------------------------------------------------------------------------------


class Remote:
    """What an actor's method, or its answer, is here: a value that `ray.get` gives, or an error that it raises."""

    def __init__(self, answer):
        self.answer = answer

    def remote(self, *arguments):
        return Remote(self.answer(*arguments) if callable(self.answer) else self.answer)

    def get(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Actor:
    def __init__(self, listen, reach):
        self.listen, self.reach = Remote(listen), Remote(reach)


@pytest.mark.parametrize("lost", ["listen", "reach"])
def test_a_node_that_is_lost_on_the_way_is_told_of_and_the_others_connect(monkeypatch, lost):
    monkeypatch.setattr(doctor.ray, "get", lambda answer, timeout: answer.get())
    nodes = good()
    asked = {}

    def actor(number):
        def reach(places):
            asked[number] = places
            return ["refused" if place[0] == "10.0.0.1" else None for place in places]

        told = {"listen": 1000 + number, "reach": reach}
        return Actor(**(told | {lost: ray.exceptions.ActorDiedError()} if number == 2 else told))

    examiners = doctor._Examiners(nodes)
    examiners._actors = {made["id"]: actor(number) for number, made in enumerate(nodes, start=1)}
    examiners.try_connections(nodes)
    assert [made["error"] is None for made in nodes] == [True, False, True]
    assert nodes[1]["error"].startswith("answered at first, then no more: ")
    assert [made["unreachable"] for made in nodes] == [None, None, "10.0.0.1 (refused)"]
    first = ("10.0.0.3", 1003) if lost == "listen" else ("10.0.0.2", 1002)
    assert asked == {1: [first], 3: [("10.0.0.1", 1001)]}


def test_storage_that_goes_on_failing_is_told_of_soon(tmp_path, monkeypatch):
    """With the patience of runs, two minutes, the answer would come after the command has given the node up."""
    monkeypatch.setattr(node_facts, "PATIENCE_SECONDS", "0.2")

    def fail(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    nodes = good()
    with doctor._little_patience():
        mark = doctor._Mark(Folder.at(str(tmp_path)), 30.0)
        assert mark.error is None
        mark.read_back(nodes, 30.0)
        assert mark.error is None
        assert not any(made["storage"]["read_back"] for made in nodes)
        monkeypatch.setattr("lwgan_dist.storage._content_of", fail)
        monkeypatch.setattr("lwgan_dist.storage._write_through", fail)
        assert "(Stale file handle)" in doctor._Mark(Folder.at(str(tmp_path)), 30.0).error
        node_facts.Examiner()
        assert "(Stale file handle)" in mark_error(mark)
    assert os.environ[retries.PATIENCE_VARIABLE] == "3600"


def mark_error(made):
    """What a node says."""
    folder = Folder.at(made.storage.location)
    return node_facts.look_for_mark(folder.location, made.name, made._content, "node")["error"]


# the command ----------------------------------------------------------------------------------------------------------


def call(*arguments):
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_an_address_where_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = call("--address", "127.0.0.1:1")
    assert told.exit_code == 5
    assert told.stderr.startswith("error: no Ray cluster could be reached at 127.0.0.1:1")
    assert list(tmp_path.iterdir()) == []


def test_a_ray_client_address_is_refused():
    told = call("--address", "ray://127.0.0.1:10001")
    assert told.exit_code == 5
    assert told.stderr.startswith("error: ray://127.0.0.1:10001: ")


def test_a_storage_that_does_not_exist_is_refused_before_ray_starts():
    told = call("--storage", "nowhere://x")
    assert told.exit_code == 2
    assert told.stderr.startswith("error: nowhere://x: cannot be opened as a storage location")


def test_a_timeout_is_a_positive_number_of_seconds():
    assert call("--timeout", "0").exit_code == 2


@pytest.mark.parametrize(("asks", "code"), [(True, 0), (False, 5)])
def test_it_ends_by_what_it_finds(monkeypatch, asks, code):
    told = {}

    def examine(address, storage, *, seconds, verbose):
        told.update(address=address, storage=storage, seconds=seconds, verbose=verbose)
        return checkup(*good(), asks_for_token=asks)

    monkeypatch.setattr(doctor, "examine", examine)
    ended = call("--address", "auto", "--storage", "s3://b/runs", "--timeout", "5", "--json")
    assert ended.exit_code == code
    assert json.loads(ended.stdout)["ok"] is asks
    assert told == {"address": "auto", "storage": "s3://b/runs", "seconds": 5.0, "verbose": False}
    assert call().exit_code == code
    assert told == {"address": None, "storage": "runs", "seconds": 60.0, "verbose": False}
