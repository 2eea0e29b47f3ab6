"""What Prometheus reads at the agent of a real node, and what lies in the logs of its workers, while studies run."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
import tiny_study
from prom import asked, samples
from ray.dashboard.modules.metrics.dashboards import default_dashboard_panels
from ray_head import ray_head
from ruamel.yaml import YAML

from lwgan_dist.launch.prometheus import METRICS

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"
DASHBOARD = json.loads((ROOT / "cluster" / "observability" / "grafana-dashboard.json").read_text())
ONLY_WITH_GPUS = {"ray_node_gpus_utilization"}
PATIENCE_SECONDS = 180


@pytest.fixture(scope="module")
def head():
    with ray_head(num_cpus=2, token=None) as head:
        yield head


@pytest.fixture(scope="module")
def scrape(head):
    """Samples of all nodes, found as Prometheus finds them."""

    def scrape():
        found = head.folder / "prom_metrics_service_discovery.json"
        wait_for(found.exists)
        targets = [target for group in json.loads(found.read_text()) for target in group["targets"]]
        pages = [urllib.request.urlopen(f"http://{target}/metrics", timeout=30).read().decode() for target in targets]
        return [sample for page in pages for sample in samples(page)]

    return scrape


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (told := condition()):
        assert time.monotonic() < deadline
        time.sleep(1)
    return told


def of(found, name, /, **labels):
    """Sum of a metric of ours over its samples."""
    exported = METRICS[name].exported(name)
    return sum(s.value for s in found if s.name == exported and labels.items() <= s.labels.items())


def environment(head, **more):
    return {**head.environment, "PYTHONPATH": f"{SUPPORT}:{ROOT}", **more}


@pytest.fixture(scope="module")
def faults(head, scrape, tmp_path_factory):
    """What is read while a driver goes on after its tasks have ended, and after it has ended."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "followed" / "checkpoints").mkdir(parents=True)
    driver = subprocess.Popen(
        [sys.executable, str(SUPPORT / "metrics_driver.py"), head.address, str(folder)],
        stdin=subprocess.PIPE, text=True, env=environment(head),
    )  # fmt: skip
    try:
        assert wait_for((folder / "ready").exists)
        assert (folder / "ready").read_text() == "2"
        assert (folder / "killed").exists()
        ages = []
        for _ in range(2):
            wait_for(lambda: of(found := scrape(), "iterations") and of(found, "runs_failed") == 2)
            ages.append(of(scrape(), "seconds_since_checkpoint", kind="train"))
            time.sleep(15)
        during = scrape()
        driver.communicate("\n", timeout=PATIENCE_SECONDS)
    finally:
        with driver:
            driver.kill()
    assert driver.returncode == 0
    wait_for(lambda: not of(scrape(), "iterations"))
    return during, scrape(), ages


@pytest.fixture(scope="module")
def study(head, scrape, tmp_path_factory):
    """Runs a tiny study; gives its folder, what was read meanwhile and what afterwards."""
    folder = tmp_path_factory.mktemp("study")
    told = {**tiny_study.TINY, "execution": {"workers": 1, "address": head.address}}
    with (folder / "tiny.yaml").open("w") as file:
        YAML().dump(told, file)
    running, ended = [], threading.Event()

    def watch():
        while not ended.wait(1):
            running.append(scrape())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        command = [sys.executable, "-m", "lwgan_dist", "study", str(folder / "tiny.yaml"), "--name", "tiny"]
        done = subprocess.run(
            [*command, "--storage", str(folder), "--json"], capture_output=True, text=True, timeout=PATIENCE_SECONDS,
            env=environment(head, LWGAN_DIST_LOG_FORMAT="json", SECRET_OF_MINE="hunter2"),
        )  # fmt: skip
    finally:
        ended.set()
        thread.join()
    assert done.returncode == 0, done.stderr
    return folder / "tiny", done, running, scrape()


def runs_of(folder):
    import pyarrow.parquet as pq

    return set(pq.read_table(folder / "runs.parquet")["key"].to_pylist())


def test_every_run_of_a_study_is_counted_once(study):
    folder, _, running, after = study
    runs = runs_of(folder)
    assert len(runs) == 32
    assert of(after, "runs_done", kind="study", name="tiny") == len(runs)
    assert of(after, "runs_failed", name="tiny") == of(after, "runs_diverged", name="tiny") == 0
    assert of(after, "tasks_running", name="tiny") == of(after, "runs_remaining", name="tiny") == 0
    assert max(of(found, "tasks_running", name="tiny") for found in running) in (1, 2)
    print(f"read {len(running)} times meanwhile")


def test_what_goes_wrong_is_counted_by_reason(faults):
    during, after, ages = faults
    assert of(during, "runs_done", name="faults") == 6
    assert of(during, "runs_diverged", name="faults") == 1
    assert of(during, "runs_failed", name="faults", reason="other") == 1
    assert of(during, "runs_failed", name="faults", reason="process_lost") == 1
    assert of(during, "tasks_retried", name="faults", reason="process_lost") == 2
    assert of(during, "estimates_per_hour", name="faults") > 0
    assert (of(during, "iteration"), of(during, "iterations")) == (30, 40)
    assert 0 < ages[0] < ages[1]
    assert of(after, "runs_done", name="faults") == 6
    gauges = {METRICS[name].exported(name) for name, metric in METRICS.items() if metric.kind == "gauge"}
    assert not [s for s in after if s.name in gauges and s.labels["name"] == "faults"]


def absent(dashboard, found):
    """Metrics, and their labels, that a dashboard asks for and no node has."""
    there = {}
    for sample in found:
        there.setdefault(sample.name, {"instance"}).update(sample.labels)
    wanted = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    wanted += [one["definition"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    return {
        f"{name} {label}"
        for query in wanted
        for name, labels in asked(query).items()
        for label in labels | {""}
        if name not in there or (label and label not in there[name])
    }


def test_all_that_the_dashboard_shows_is_exported(study, faults):
    found = [*faults[0], *study[3]]
    assert {fault.split()[0] for fault in absent(DASHBOARD, found)} == ONLY_WITH_GPUS
    assert all(name in Path(default_dashboard_panels.__file__).read_text() for name in ONLY_WITH_GPUS)
    twin = json.loads(json.dumps(DASHBOARD).replace("lwgan_dist_runs_done_total", "lwgan_dist_runs_ended_total"))
    assert "ray_lwgan_dist_runs_ended_total " in absent(twin, found)
    twin = json.loads(json.dumps(DASHBOARD).replace("State=", "state="))
    assert "ray_resources state" in absent(twin, found)


def test_series_are_few(study, faults):
    found = [*study[3], *faults[0]]
    names = {sample.labels.get("name") for sample in found if sample.name.startswith("ray_lwgan")}
    assert names == {"tiny", "faults", "followed"}
    series = {(s.name, *sorted(s.labels.items())) for s in found if s.name.startswith("ray_lwgan")}
    assert len(series) < 40


def records(head):
    """JSON objects in the logs of Ray's workers."""
    told = []
    for path in (head.folder / "session_latest" / "logs").glob("worker-*.err"):
        told += [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    return told


def test_every_run_has_its_records_where_it_ran(head, study):
    folder, done, _, _ = study
    runs = runs_of(folder)
    told = wait_for(lambda: len(found := [r for r in records(head) if r.get("study") == "tiny"]) >= len(runs) and found)
    assert Counter(record["run"] for record in told if record["message"] == "run recorded") == Counter(runs)
    processes = Counter(record["pid"] for record in told)
    assert max(processes.values()) > 1  # a process carries out many
    assert all(len(record["node"]) == 56 and record["job"] and record["host"] for record in told)
    assert not any("lwgan_dist" in line and not line.startswith("{") for line in done.stderr.splitlines())
    json.loads(done.stdout)
    logs = (head.folder / "session_latest" / "logs").rglob("worker-*")
    said = done.stderr + done.stdout + "".join(path.read_text(errors="replace") for path in logs)
    assert "hunter2" not in said
