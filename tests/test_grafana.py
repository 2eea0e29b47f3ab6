"""The dashboard for Grafana: whole, and about metrics that there are."""

import copy
import json
from pathlib import Path

import pytest
from prom import asked, samples
from ruamel.yaml import YAML

from lwgan_dist.launch.prometheus import METRICS

FOLDER = Path(__file__).parents[1] / "cluster" / "observability"
OURS = {metric.exported(name): set(metric.tags) for name, metric in METRICS.items()}
OF_THE_SCRAPE = {"instance"}


def dashboard():
    return json.loads((FOLDER / "grafana-dashboard.json").read_text())


def queries(told):
    """Of panels and of variables."""
    panels = [target["expr"] for panel in told["panels"] for target in panel.get("targets", [])]
    return panels + [one["definition"] for one in told["templating"]["list"] if one["type"] == "query"]


def faults(told):
    """What is wrong with a dashboard."""
    found = []
    ids = [panel["id"] for panel in told["panels"]]
    if len(set(ids)) < len(ids):
        found.append("ids")
    cells = [
        (x, y)
        for panel in told["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    if len(set(cells)) < len(cells) or any(x >= 24 for x, _ in cells):
        found.append("overlap")
    for panel in told["panels"]:
        for part in [panel, *panel.get("targets", [])]:
            if part.get("type") != "row" and part["datasource"]["uid"] != "${datasource}":
                found.append(f"{panel['title']}: datasource")
        refs = [target["refId"] for target in panel.get("targets", [])]
        if len(set(refs)) < len(refs):
            found.append(f"{panel['title']}: refId")
    for query in queries(told):
        for name, labels in asked(query).items():
            if name.startswith("ray_lwgan") and name not in OURS:
                found.append(f"{name}: no such metric")
            elif name in OURS and labels - OURS[name] - OF_THE_SCRAPE:
                found.append(f"{name}: no labels {labels - OURS[name]}")
    return found


def test_it_is_whole_and_of_the_current_schema():
    told = dashboard()
    assert faults(told) == []
    assert told["schemaVersion"] == 42
    assert told["templating"]["list"][0]["type"] == "datasource"
    assert "id" not in told  # Grafana gives one


def test_every_metric_of_ours_is_shown():
    shown = {name for query in queries(dashboard()) for name in asked(query)}
    assert OURS.keys() <= shown
    assert {"ray_resources", "ray_node_cpu_count", "ray_node_mem_used_host"} <= shown


def test_an_old_checkpoint_is_seen():
    (panel,) = [panel for panel in dashboard()["panels"] if panel["title"] == "Since the last checkpoint"]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 120, 300]
    assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"] == {"mode": "line"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda told: told["panels"][1].update(id=told["panels"][2]["id"]), "ids"),
        (lambda told: told["panels"][1]["gridPos"].update(x=3), "overlap"),
        (lambda told: told["panels"][1]["datasource"].update(uid="mine"), "Runs done: datasource"),
        (
            lambda told: told["panels"][1]["targets"][0].update(expr="sum(ray_lwgan_dist_runs_done)"),
            "ray_lwgan_dist_runs_done: no such metric",
        ),
        (
            lambda told: told["panels"][1]["targets"][0].update(expr='ray_lwgan_dist_runs_done_total{study="x"}'),
            "ray_lwgan_dist_runs_done_total: no labels {'study'}",
        ),
    ],
)
def test_a_broken_twin_is_found(change, fault):
    told = copy.deepcopy(dashboard())
    change(told)
    assert fault in faults(told)


def test_what_a_query_asks_for():
    assert asked('3600 * sum by (a, b) (rate(m:x{c=~"d", e!="f(g"}[5m])) / on (a) n or vector(0)') == {
        "m:x": {"a", "b", "c", "e"},
        "n": {"a", "b"},
    }
    assert asked('label_values(m{k="v"}, name)') == {"m": {"k", "name"}}


def test_what_a_page_says():
    page = '# HELP a_total x\n# TYPE a_total counter\na_total{b="c\\"d",e=""} 1e+03\nf 2.5\n'
    assert samples(page) == [("a_total", {"b": 'c\\"d', "e": ""}, 1000.0), ("f", {}, 2.5)]


def test_the_examples_for_prometheus_are_of_our_namespace_and_often_enough():
    yaml = YAML(typ="safe")
    prometheus = yaml.load(FOLDER / "prometheus.yaml")
    assert prometheus["scrape_configs"][0]["file_sd_configs"][0]["files"][0].endswith("_service_discovery.json")
    monitor = yaml.load(FOLDER / "podmonitor.yaml")
    assert monitor["metadata"]["namespace"] == "lwgan"
    intervals = [prometheus["global"]["scrape_interval"], monitor["spec"]["podMetricsEndpoints"][0]["interval"]]
    assert all(int(interval.removesuffix("s")) < 20 for interval in intervals)
