"""Folders of one study become one: its parts are the whole, bit for bit; conflicts and other studies are refused."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tiny_study import TINY, Silent, config
from tiny_study import study as tiny

from lwgan_dist.campaign import provenance
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.provenance import provenances
from lwgan_dist.cli import main
from lwgan_dist.configfile import to_yaml
from lwgan_dist.storage import Folder, exclusive
from lwgan_dist.study.publish import publish
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.study import Study

pytestmark = pytest.mark.usefixtures("blank_figures")

SMALL = {"data": TINY["data"][:1], "sizes": [40], "lwgan": {"replicates": 2}, "bootstrap": {"resamples": 1}}


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


HERE = provenance.own()


def ledger_of(folder):
    return Folder.at(str(folder / "ledger"))


def records(folder):
    ledger = Ledger(ledger_of(folder), RunRecord)
    return {record.key: record for record in ledger.records(ledger.keys())}


def part(folder, k, **told):
    Study(config(**{**SMALL, **told}), Folder.at(str(folder)), (k, 2)).execute(Silent())
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return [part(folder / f"part{k}", k) for k in (1, 2)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    prepared = tiny(tmp_path_factory.mktemp("whole") / "study", **SMALL)
    return prepared.execute(Silent())


def test_parts_by_replicate_are_the_whole(parts, whole, tmp_path):
    """And the command that is shown computes nothing: the networks of a bootstrap have come along."""
    said = call("study", "merge", *parts, "--out", tmp_path / "both")
    assert said.exit_code == 0, said.output
    assert f"both: {whole.planned} runs" in said.output
    progress = Silent()
    merged = tiny(tmp_path / "both", **SMALL).execute(progress)
    assert progress.phases == []
    for name in ("runs", "cells", "bootstrap", "coverage", "comparisons", "trends", "sensitivity"):
        ours, theirs = getattr(merged.tables, name), getattr(whole.tables, name)
        costs = [column for column in ("cpu_seconds", "wall_seconds") if column in ours.column_names]
        assert ours.drop_columns(costs).equals(theirs.drop_columns(costs)), name
    shown = said.output.splitlines()[-1].split()
    assert shown[:2] == ["lwgan-dist", "study"]
    again = call(*shown[1:])
    assert again.exit_code == 0, again.output


def test_a_part_has_every_second_replicate(parts, whole):
    keys = [set(records(folder)) for folder in parts]
    assert not keys[0] & keys[1]
    assert len(keys[0] | keys[1]) == whole.planned
    replicates = {row["key"]: row["replicate"] for row in whole.tables.runs.to_pylist()}
    for number, mine in enumerate(keys):
        assert {replicates[key] % 2 for key in mine & replicates.keys()} == {number}


def test_costs_differ_results_must_not(parts, tmp_path):
    first, second = parts
    key, record = next((key, record) for key, record in records(first).items() if record.kind == "classical")
    Ledger(Folder.at(str(second / "ledger")), RunRecord).write(replace(record, cpu_seconds=99.0))
    assert call("study", "merge", *parts, "--out", tmp_path / "same").exit_code == 0
    assert records(tmp_path / "same")[key] == record, "of the folder that is named first"
    Ledger(Folder.at(str(second / "ledger")), RunRecord).write(replace(record, dimension=7))
    refused = call("study", "merge", *parts, "--out", tmp_path / "none")
    assert refused.exit_code == 2
    assert f"two results of one run: run {key} in {first} and {second}" in refused.output
    assert not (tmp_path / "none").exists()
    Ledger(Folder.at(str(second / "ledger")), RunRecord)._rows.remove_file(f"{key}.json")


def test_who_computed_what_is_kept(parts, tmp_path, monkeypatch):
    """Of a part from another machine, each run has its own; the same origin in both folders is one."""
    monkeypatch.setattr(provenance, "own", lambda: elsewhere)
    elsewhere = replace(HERE, host="elsewhere", commit="0" * 40)
    part(tmp_path / "away", 2)
    assert call("study", "merge", parts[0], parts[1], tmp_path / "away", "--out", tmp_path / "same").exit_code == 0
    assert set(provenances(ledger_of(tmp_path / "same"))) == {HERE.identity, elsewhere.identity}
    assert {record.provenance for record in records(tmp_path / "same").values()} == {HERE.identity}
    assert call("study", "merge", parts[0], tmp_path / "away", "--out", tmp_path / "both").exit_code == 0
    merged = tiny(tmp_path / "both", **SMALL)
    merged.execute(Silent(), lambda outcome: publish(merged, outcome, "both"))
    runs, table = (pq.read_table(tmp_path / "both" / f"{name}.parquet").to_pylist() for name in ("runs", "provenance"))
    own = {0: HERE.identity, 1: elsewhere.identity}
    assert {row["replicate"]: row["provenance"] for row in runs if row["replicate"] < 2} == own
    counts = Counter({row["key"]: row["provenance"] for row in runs}.values())
    assert {row["provenance"]: row["runs"] for row in table} == dict(counts)
    assert {row["host"]: row["commit"] for row in table} == {HERE.host: HERE.commit, "elsewhere": "0" * 40}
    assert all(f"torch {HERE.versions['torch']}" in row["versions"] for row in table)
    assert "elsewhere" in (tmp_path / "both" / "summary.md").read_text()


def changed(folder, target, change):
    """A folder with only configuration and environment, one of them changed."""
    target.mkdir()
    for name in ("config.yaml", "env.json"):
        (target / name).write_text((folder / name).read_text())
    change(target)
    return target


def other_version(folder):
    content = json.loads((folder / "env.json").read_text())
    content["versions"]["torch"] = "1.0"
    (folder / "env.json").write_text(json.dumps(content))


def other_precision(folder):
    content = json.loads((folder / "env.json").read_text())
    (content["study"]["precision"],) = {"float32", "bfloat16"} - {content["study"]["precision"]}
    (folder / "env.json").write_text(json.dumps(content))


def other_configuration(folder):
    (folder / "config.yaml").write_text(to_yaml(config(**{**SMALL, "seed": 4, "sizes": [40, 60]})))


def other_package(folder):
    record = RunRecord(key="0" * 16, kind="classical", version="scikit-dimension 0.0", value=1.0, dimension=1)
    Ledger(Folder.at(str(folder / "ledger")), RunRecord).write(record)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_version, "they differ in version of torch ("),
        (other_precision, "they differ in precision of this machine ("),
        (other_configuration, "they differ in seed (0 and 4), sizes.1 (None and 60)"),
        (other_package, "was made by scikit-dimension 0.0, others by scikit-dimension 0.5"),
        (lambda folder: (folder / "env.json").unlink(), "is no folder of a study"),
    ],
)
def test_another_study_is_refused_with_the_reason(parts, tmp_path, change, reason):
    other = changed(parts[0], tmp_path / "other", change)
    refused = call("study", "merge", parts[0], other, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert reason in refused.output
    assert not (tmp_path / "out").exists()


def test_execution_may_differ_and_a_folder_in_use_is_left_alone(parts, tmp_path):
    def elsewhere(folder):
        (folder / "config.yaml").write_text(to_yaml(config({"execution.workers": 1}, **SMALL)))

    other = changed(parts[0], tmp_path / "other", elsewhere)
    assert call("study", "merge", parts[0], other, "--out", tmp_path / "out").exit_code == 0
    refused = call("study", "merge", *parts, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "is not empty; choose another --out" in refused.output


def test_a_folder_in_which_a_command_works_is_refused(parts, tmp_path):
    with exclusive(Folder.at(str(parts[1]))):
        refused = call("study", "merge", *parts, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert f"{parts[1]}: another process is working" in refused.output
    assert not (tmp_path / "out").exists()


def table(path, seed):
    np.save(path, np.random.default_rng(seed).normal(size=(60, 3)))
    return {"data": [{"path": str(path), "intrinsic_dim": 3, "label": "mine"}], "lwgan": {"replicates": 0},
            "bootstrap": None, "sizes": [40]}  # fmt: skip


def test_a_table_that_lies_elsewhere_is_the_same_by_its_rows(tmp_path):
    folders = [part(tmp_path / f"part{k}", k, **table(tmp_path / f"rows{k}.npy", 0)) for k in (1, 2)]
    said = call("study", "merge", *folders, "--out", tmp_path / "both")
    assert said.exit_code == 0, said.output
    assert len(records(tmp_path / "both")) == sum(len(records(folder)) for folder in folders) == 6
    other = part(tmp_path / "other", 2, **table(tmp_path / "rows3.npy", 1))
    refused = call("study", "merge", folders[0], other, "--out", tmp_path / "none")
    assert refused.exit_code == 2
    assert "they differ in data.0.path (" in refused.output
    (tmp_path / "rows2.npy").unlink()
    assert call("study", "merge", *folders, "--out", tmp_path / "none").exit_code == 2


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2"])
def test_what_is_no_part_is_refused(tmp_path, text):
    (tmp_path / "s.yaml").write_text(to_yaml(config(**SMALL)))
    refused = call("study", tmp_path / "s.yaml", "--part", text)
    assert refused.exit_code == 2
    assert "is K/N with K from 1 to N" in refused.output


def test_a_part_of_what_follows_from_results_is_refused(tmp_path):
    (tmp_path / "s.yaml").write_text(to_yaml(config(data=SMALL["data"], stop_when={"interval_width": 0.5})))
    refused = call("study", tmp_path / "s.yaml", "--part", "1/2", "--storage", tmp_path)
    assert refused.exit_code == 2
    assert "--part: with stop_when or solve" in refused.output
