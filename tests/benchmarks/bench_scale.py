"""What limits a study of very many runs on a very large cluster, part by part.

``python tests/benchmarks/bench_scale.py [design|dry-run|runs|ledger|requests|pool] [OPTION ..]``; without arguments all
but the last with their defaults, some minutes on 2 cores. The figures of docs/scale are from here.

- ``design --runs N``: time and memory of the plan of a study of N runs, and of its runs when they are asked for.
- ``dry-run --runs N``: ``lwgan-dist study --dry-run`` of this study, with its pilot.
- ``runs --runs N``: a study of N runs that do nothing, in one process: their rate and the memory of the driver; the
  command is killed after a third of them, and what the next one repeats is counted.
- ``ledger --runs N``: a study of N runs whose ledger is filled with records of the usual size: entering, gathering,
  reading, and the same command again when all is done, until it knows. ``--tables``: until its page is written.
- ``requests``: steps on a local file system, and requests to S3 (a server here, Arrow's own client), that each further
  run of a study makes, and what they cost.
- ``pool --tasks N --nodes K --cpus C --each E``: N tasks that do nothing, through `lwgan_dist.launch.pool`, on K nodes
  of Ray (real ones, on this machine) that declare C CPUs each, of which a task takes E: so C * K / E processes.
"""

import argparse
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a local ray.init would write ~/.ray/auth_token
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwgan_dist.campaign.folder import claim
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.progress import Standing
from lwgan_dist.campaign.record import schema_of, to_row
from lwgan_dist.configfile import build_config, to_yaml
from lwgan_dist.storage import Folder
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.design import Design
from lwgan_dist.study.engine import BATCH
from lwgan_dist.study.plan import Plan
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.study import Study

CELLS = 100
EVALUATIONS, RANKS = 10, 10
PRICES = {"PUT": 5e-6, "LIST": 5e-6, "GET": 0.4e-6, "HEAD": 0.4e-6, "DELETE": 0.0}
"""Dollars a request: S3 Standard, us-east-1."""


def study_config(runs: int) -> StudyConfig:
    """100 cells: 5 manifolds, 5 sizes, 4 levels of noise."""
    names = ("s_curve", "swiss_roll", "swissroll_curve", "helix", "moebius")
    told = {
        "data": [{"name": name} for name in names],
        "sizes": [250, 500, 1000, 2000, 4000],
        "factors": {"data.noise": [0.0, 0.05, 0.1, 0.2]},
        "run": {"networks": {"latent_dim": 3}, "precision": "float32"},
        "lwgan": {"replicates": runs // CELLS},
        "execution": {"workers": 0},
    }
    return build_config(StudyConfig, told, {})


def record(key: str, rng: np.random.Generator) -> RunRecord:
    """Of an LWGAN run with 10 evaluations of 10 ranks on both parts of the rows."""
    scores = rng.normal(size=(2, EVALUATIONS * RANKS * 4)).tolist()
    return RunRecord(
        key=key, kind="lwgan", data_sha256="0" * 64, rows=1000, ambient_dim=10, evaluations=EVALUATIONS, ranks=RANKS,
        train=scores[0], holdout=scores[1], cpu_seconds=30.0, wall_seconds=30.0, version="lwgan-dist 0",
    )  # fmt: skip


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mib() -> float:
    """Resident memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def seconds(act: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time that it took, and what came out; other load of the machine counts less there than by the clock."""
    began = time.process_time()
    result = act()
    return time.process_time() - began, result


def plan(runs: int) -> Plan:
    """All runs of the study, in the order in which they are computed."""
    design = Design(study_config(runs), "float32")
    parts = [(group, range(design.replicates(group))) for group in design.groups]
    return Plan(design, parts).distinct().by_replicate()


# design ---------------------------------------------------------------------------------------------------------------


def bench_design(options: argparse.Namespace) -> None:
    """Time and memory of a plan."""
    before = resident_mib()
    took, planned = seconds(lambda: plan(options.runs))
    grown = resident_mib() - before
    made, count = seconds(lambda: sum(1 for run in planned if run.key))
    assert count == options.runs
    each = 1e6 * made / count
    print(f"| {count:,} | {took:.1f} | {grown:.0f} | {made:.1f} | {each:.0f} | {resident_mib() - before:.0f} |")


def bench_dry_run(options: argparse.Namespace) -> None:
    """The whole command, in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "study.yaml").write_text(to_yaml(study_config(options.runs)))
        command = [sys.executable, "-m", "lwgan_dist", "study", f"{temporary}/study.yaml", "--storage", temporary]
        began = time.perf_counter()
        subprocess.run([*command, "--dry-run"], check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"| {options.runs:,} | {cpu:.1f} | {took:.1f} | {used.ru_maxrss / 1024:.0f} |")


# runs -----------------------------------------------------------------------------------------------------------------

NOTHING = """
import hashlib, os

class Nothing:
    def fit(self, rows):
        with open(os.environ["BENCH_SCALE_LOG"], "a") as log:
            log.write(hashlib.sha256(rows.tobytes()).hexdigest() + "\\n")
        self.dimension_ = 2.0
        return self
"""


def bench_runs(options: argparse.Namespace) -> None:
    """Runs that do nothing, a command that is killed, and one that goes on."""
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        (Path(temporary) / "bench_nothing.py").write_text(NOTHING)
        log, ledger = Path(temporary) / "log", Ledger(Folder.at(f"{temporary}/study/ledger"), RunRecord)
        environment = {
            **os.environ, "BENCH_SCALE_LOG": str(log), "PYTHONPATH": f"{temporary}:{os.environ.get('PYTHONPATH', '')}",
        }  # fmt: skip
        command = [sys.executable, __file__, "runs", "--within", temporary, "--runs", str(options.runs)]
        first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        while not log.exists() or len(log.read_text().splitlines()) < options.runs // 3:
            time.sleep(0.1)
        first.kill()
        first.communicate()
        executed, recorded = log.read_text().splitlines(), len(ledger.keys())
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
        repeated = len(log.read_text().splitlines()) - options.runs
    lost = len(executed) - recorded
    assert repeated == lost, "what was recorded is not repeated"
    cells = [f"{options.runs:,}", *said, str(recorded), str(lost)]
    print("| " + " | ".join(cells) + " |")


def _within(options: argparse.Namespace) -> None:
    """The command: runs a second, CPU ms a run, memory of the driver at the first and the last thousand, at the end."""
    estimators = [{"import": "bench_nothing:Nothing"}]
    told = {
        "data": [{"name": "s_curve"}], "sizes": [60, 80], "run": {"precision": "float32"}, "lwgan": {"replicates": 0},
        "classical": {"estimators": estimators, "replicates": options.runs // 2}, "execution": {"workers": 0},
    }  # fmt: skip
    study = Study(build_config(StudyConfig, told, {}), Folder.at(f"{options.within}/study"))
    marks: list[tuple[int, float, float, float]] = []

    class Marked(_Silent):
        def update(self, standing: Standing) -> None:
            if standing.done % 1000 == 0:
                marks.append((standing.done, time.perf_counter(), time.process_time(), resident_mib()))

    assert not study.execute(Marked()).unfinished
    (done, began, worked, first), (all_done, ended, had_worked, last) = marks[0], marks[-1]
    runs = all_done - done
    rate, each = runs / (ended - began), 1e3 * (had_worked - worked) / runs
    print(f"{rate:.0f} {each:.2f} {first:.0f} {last:.0f} {peak_mib():.0f}")


# ledger ---------------------------------------------------------------------------------------------------------------


class _Silent:
    def begin(self, total: int | None, what: str, done: int = 0) -> None:
        pass

    def update(self, standing: Standing) -> None:
        pass


def bench_ledger(options: argparse.Namespace) -> None:
    """Entering, gathering, reading, and a command that has nothing to do."""
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        study = Study(study_config(options.runs), Folder.at(f"{temporary}/study"))
        planned = study.first_runs()
        ledger, rng = Ledger(study.folder.sub("ledger"), RunRecord), np.random.default_rng(0)
        claim(study.folder, "study", {"precision": "float32"}, study.config, ledger)
        keys = [run.key for run in planned]
        writing = working = gathering = 0.0
        asked: list[float] = []
        by_rows = keys[: options.rows]
        for start in range(0, len(by_rows), BATCH):
            batch = [record(key, rng) for key in by_rows[start : start + BATCH]]
            began = time.perf_counter()
            working += seconds(lambda batch=batch: [ledger.write(entry) for entry in batch])[0]  # type: ignore[misc]
            writing += time.perf_counter() - began
            gathering += seconds(ledger.gather)[0]
            asked.append(seconds(ledger.keys)[0])
        for start in range(len(by_rows), len(keys), BATCH):
            _write_part(ledger.folder, [record(key, rng) for key in keys[start : start + BATCH]])
            asked.append(seconds(ledger.keys)[0])
        size = sum(path.stat().st_size for path in (Path(temporary) / "study" / "ledger").glob("part-*"))
        fresh, found = seconds(lambda: Ledger(ledger.folder, RunRecord).keys())
        assert found == set(keys)
        reading, count = seconds(lambda: sum(1 for _ in Ledger(ledger.folder, RunRecord).records(keys)))
        assert count == len(keys)
        asking, missing = seconds(lambda: study.missing(planned))
        assert not missing
        memory = resident_mib()
        files = -(-len(keys) // BATCH)
        rows = [
            ("entering a record, by the clock (1 process, fsync twice)", f"{1e3 * writing / len(by_rows):.2f} ms"),
            ("entering a record", f"{1e3 * working / len(by_rows):.2f} ms"),
            ("gathering", f"{1e3 * gathering / len(by_rows):.2f} ms a run"),
            ("size of a run in the ledger", f"{size / len(keys) / 1024:.1f} KiB"),
            (f"which are done: {len(keys):,} runs in {files} files, new process", f"{fresh:.2f} s"),
            ("the same after a batch, in the command that gathers (last 5)", f"{np.mean(asked[-5:]):.3f} s"),
            ("the same, all batches together", f"{sum(asked):.1f} s"),
            ("all records", f"{reading:.1f} s"),
            ("what is missing", f"{asking:.2f} s"),
            ("resident memory", f"{memory:.0f} MiB"),
        ]
        print("\n".join(f"| {what} | {told} |" for what, told in rows))
        if options.tables:
            again = Study(study_config(options.runs), study.folder)
            took, outcome = seconds(lambda: again.execute(_Silent()))
            assert outcome.planned == len(keys)
            assert not outcome.unfinished
            print(f"| the same command again, nothing to do: all tables | {took:.1f} s, peak {peak_mib():.0f} MiB |")


def _write_part(folder: Folder, records: list[RunRecord]) -> None:
    """As `Ledger.gather` would."""
    table = pa.Table.from_pylist([to_row(entry) for entry in records], schema=schema_of(RunRecord))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content = sink.getvalue()
    folder.write(f"part-{hashlib.sha256(content).hexdigest()[:16]}.parquet", content)


# requests -------------------------------------------------------------------------------------------------------------

LWGAN = {
    "data": [{"name": "s_curve"}],
    "sizes": [60],
    "run": {
        "networks": {"width": 2, "latent_dim": 2},
        "schedule": {
            "batch_size": 16,
            "embedding_iterations": 2,
            "embedding_rounds": 1,
            "matching_iterations": 2,
            "critic_iterations": 20,
        },
        "score": {"evaluations": 3},
        "precision": "float32",
    },
    "execution": {"workers": 0},
}
CLASSICAL = {**LWGAN, "classical": {"estimators": ["TwoNN"]}}


def bench_requests(_options: argparse.Namespace) -> None:
    """Steps and requests of each further run: what 10 more runs add to a study."""
    from fake_s3 import FakeS3

    os.environ.update(AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any", AWS_EC2_METADATA_DISABLED="true")
    few, many = 4, 14
    print("| | LWGAN run | classical run |\n|---|---|---|")
    counted: dict[str, tuple[Counter[str], Counter[str]]] = {}
    with FakeS3() as server:
        for place, of in (("local", _local_steps), ("S3", lambda told, name: _s3_requests(server, told, name))):
            kinds = []
            for told, field in ((LWGAN, "lwgan"), (CLASSICAL, "classical")):
                sizes = []
                for runs in (few, many):
                    fields = {"lwgan.replicates": runs if field == "lwgan" else 0}
                    if field == "classical":
                        fields["classical.replicates"] = runs
                    sizes.append(of(build_config(StudyConfig, told, fields), f"{field}-{runs}"))
                kinds.append(Counter({name: sizes[1][name] - sizes[0][name] for name in sizes[1]}))
            counted[place] = (kinds[0], kinds[1])
    for place, kinds in counted.items():
        for name in sorted(set(kinds[0]) | set(kinds[1])):
            print(f"| {place}: {name} | " + " | ".join(f"{kind[name] / (many - few):.2f}" for kind in kinds) + " |")
    dollars = [sum(PRICES[name] * count / (many - few) for name, count in kind.items()) for kind in counted["S3"]]
    print("| S3: dollars for 1,000,000 runs | " + " | ".join(f"{1e6 * price:.0f}" for price in dollars) + " |")


def _local_steps(config: StudyConfig, _name: str) -> Counter[str]:
    import pytest
    from flaky_storage import Faults, flaky_local

    faults = Faults()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as temporary:
        at = Folder.at
        patch.setattr(Folder, "at", lambda told: flaky_local(faults, told, patch) if told == temporary else at(told))
        Study(config, Folder.at(temporary)).execute(_Silent())
    return Counter(faults.steps)


def _s3_requests(server: Any, config: StudyConfig, name: str) -> Counter[str]:
    server.counts.clear()
    Study(config, Folder.at(server.uri(name))).execute(_Silent())
    return Counter(server.counts)


# pool -----------------------------------------------------------------------------------------------------------------


def nothing(task: dict[str, Any]) -> dict[str, Any]:
    """Work."""
    return {"n": task["n"]}


def bench_pool(options: argparse.Namespace) -> None:
    """Throughput and memory of the driver."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # else the nodes would stay
    with tempfile.TemporaryDirectory(prefix="x", dir="/tmp") as folder:  # paths of sockets must be short
        os.environ["RAY_TMPDIR"] = folder  # not the one where other sessions of this machine look for a cluster
        _through_pool(options, Path(folder) / "scratch")


def _through_pool(options: argparse.Namespace, scratch: Path) -> None:
    from ray.cluster_utils import Cluster

    from lwgan_dist.config import ExecutionConfig
    from lwgan_dist.launch import pool as module
    from lwgan_dist.launch.task_source import Listed

    marks: list[tuple[int, float, float]] = []
    done: list[int] = []

    def note(told: dict[str, Any]) -> None:
        done.append(told["n"])
        if len(done) % max(50, options.tasks // 10) == 0 or len(done) == 1:
            marks.append((len(done), time.monotonic() - began, resident_mib()))
            print(f"{marks[-1][0]:>8} done after {marks[-1][1]:7.1f} s, driver {marks[-1][2]:.0f} MiB", file=sys.stderr)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": options.cpus, "include_dashboard": False})
    try:
        for _ in range(options.nodes - 1):
            cluster.add_node(num_cpus=options.cpus, wait=False)
        cluster.wait_for_nodes()
        execution = ExecutionConfig(cpus_per_worker=options.each, address=cluster.address)
        with module.pool(nothing, execution, scratch) as pool:
            slots, began, worked = pool.slots, time.monotonic(), time.process_time()
            pool.serve(listed := Listed([{"n": n} for n in range(options.tasks)], lambda _index, answer: note(answer)))
            reasons = listed.reasons
            took, worked = time.monotonic() - began, time.process_time() - worked
            children = _children_mib(slots)
        assert not reasons
        assert sorted(done) == list(range(options.tasks)), "every task once"
    finally:
        cluster.shutdown()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", file=sys.stderr)
    first, last = marks[min(2, len(marks) - 1)], marks[-1]
    steady = (last[0] - first[0]) / (last[1] - first[1]) if last[1] > first[1] else 0.0
    growth = 1000 * (last[2] - first[2]) / max(1, last[0] - first[0])
    print(
        f"| {options.nodes} x {options.cpus:g} CPUs | {slots} | {options.tasks:,} | {took:.0f} | "
        f"{options.tasks / took:.1f} | {steady:.1f} | {1e3 * worked / options.tasks:.0f} | {last[2]:.0f} | "
        f"{growth:+.1f} | {children:.0f} |"
    )


def _children_mib(slots: int) -> float:
    """Proportional memory of a worker process of Ray that has carried out tasks, the mean of those that are alive."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if b"ray::" in (folder / "cmdline").read_bytes()[:5] and os.getuid() == folder.stat().st_uid:
                    lines = (folder / "smaps_rollup").read_text().splitlines()
                    found.append(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024)
            except OSError:
                continue
    return float(np.mean(sorted(found)[-slots:])) if found else 0.0


HEADINGS = {
    "design": "| runs | plan, CPU s | MiB | every run made, CPU s | us a run | MiB |\n|---|---|---|---|---|---|",
    "dry-run": "| runs | CPU s | s | peak, MiB |\n|---|---|---|---|",
    "runs": "| runs | runs/s | CPU ms a run | driver after 1,000, MiB | after the last | peak with tables | recorded "
    "when killed | under way then |\n|---|---|---|---|---|---|---|---|",
    "ledger": "| | |\n|---|---|",
    "requests": "",
    "pool": "| nodes | at once | tasks | s | tasks/s | without the start | CPU of the driver, ms a task | driver, "
    "MiB | MiB per 1,000 tasks | worker, MiB |\n|---|---|---|---|---|---|---|---|---|---|",
}


def main() -> None:
    """One part, or several in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=HEADINGS)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=10_000, help="records that are entered one by one")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--folder", default=None, help="where the ledger is filled")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--cpus", type=float, default=6400)
    parser.add_argument("--each", type=float, default=800)
    parser.add_argument("--within", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--no-heading", action="store_true")
    options = parser.parse_args()
    if options.part is None:
        for arguments in (
            ["design"], ["design", "--runs", "1000000", "--no-heading"], ["dry-run", "--runs", "1000000"],
            ["runs", "--runs", "20000"], ["ledger"], ["requests"],
        ):  # fmt: skip
            subprocess.run([sys.executable, __file__, *arguments], check=True)
        return
    if options.within:
        _within(options)
        return
    if HEADINGS[options.part] and not options.no_heading:
        print(HEADINGS[options.part])
    part = {
        "design": bench_design, "dry-run": bench_dry_run, "runs": bench_runs, "ledger": bench_ledger,
        "requests": bench_requests, "pool": bench_pool,
    }  # fmt: skip
    part[options.part](options)


if __name__ == "__main__":
    main()
