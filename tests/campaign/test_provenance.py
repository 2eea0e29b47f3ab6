"""Who computed a run: written once, before the first record that names it; damage is named and loses no run."""

import logging
from dataclasses import replace

import pyarrow as pa
import pytest

from lwgan_dist.campaign import provenance
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.provenance import Provenance, own, provenances, signed
from lwgan_dist.storage import Folder
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.rows import provenance_table

RECORD = RunRecord(key="0a", kind="classical", value=1.5, dimension=2)


def runs(*identities):
    """A table of runs, each judged by two rules."""
    keys = [f"{place:02x}" for place in range(len(identities))]
    return pa.table({"key": keys * 2, "provenance": pa.array(identities * 2, pa.string())})


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Folder.at(str(tmp_path)), RunRecord)


def test_a_record_names_its_origin_before_and_after_gathering(ledger, tmp_path):
    for key in ("0a", "0b"):
        ledger.write(signed(replace(RECORD, key=key), ledger.folder))
    assert [path.stem for path in (tmp_path / "provenance").iterdir()] == [own().identity]
    for _ in ("in files of their own", "gathered"):
        assert {record.provenance for record in ledger.records({"0a", "0b"})} == {own().identity}
        ledger.gather()
    assert provenances(ledger.folder) == {own().identity: own()}


def test_it_says_versions_machine_and_commit():
    content = own()
    assert {"python", "lwgan-dist", "torch", "numpy"} <= content.versions.keys()
    assert content.host
    assert content.processor
    assert content.platform
    assert own() is content, "asked once a process: a classical run takes milliseconds"


@pytest.mark.parametrize("change", [{"host": "other"}, {"commit": "f" * 40}, {"versions": {"torch": "0"}}])
def test_another_origin_has_another_identity(ledger, monkeypatch, change):
    ledger.write(signed(RECORD, ledger.folder))
    other = replace(own(), **change)
    monkeypatch.setattr(provenance, "own", lambda: other)
    ledger.write(signed(replace(RECORD, key="0b"), ledger.folder))
    assert len(provenances(ledger.folder)) == 2
    assert len({record.provenance for record in ledger.records({"0a", "0b"})}) == 2


def test_the_origin_is_there_when_its_record_is(ledger, monkeypatch):
    """A process that is killed between the two leaves an origin without runs, not runs without origin."""
    monkeypatch.setattr(Ledger, "write", lambda *_: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        ledger.write(signed(RECORD, ledger.folder))
    assert own().identity in provenances(ledger.folder)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damage_is_named_and_its_runs_stay(ledger, tmp_path, caplog, damage):
    ledger.write(signed(RECORD, ledger.folder))
    (path,) = (tmp_path / "provenance").iterdir()
    text = path.read_text()
    path.write_text(text[:-20] if damage == "cut" else text.replace(own().platform, "other"))
    with caplog.at_level(logging.WARNING):
        table = provenance_table(runs(own().identity), ledger.folder)
    assert path.name in caplog.text
    assert "damaged" in caplog.text
    (row,) = table.to_pylist()
    assert row["provenance"] == own().identity
    assert row["runs"] == 1
    assert row["versions"] is None
    assert ledger.keys() == {"0a"}


def test_the_table_counts_runs_the_most_frequent_first(ledger):
    ledger.write(signed(RECORD, ledger.folder))
    table = provenance_table(runs(None, own().identity, own().identity), ledger.folder).to_pylist()
    assert [(row["provenance"], row["runs"]) for row in table] == [(own().identity, 2), (None, 1)]
    assert Provenance(**{name: table[0][name] for name in ("host", "platform", "processor", "processors")}) == replace(
        own(), accelerator=None, commit=None, versions={}
    )
