"""What is finished is finished: rows, gathering, damage, a process that dies in between."""

import json
import logging
import threading
from dataclasses import replace

import fsspec
import numpy as np
import pytest
from pyarrow import fs

from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.record import Fit
from lwgan_dist.search.trials import TrialRecord
from lwgan_dist.storage import Folder
from lwgan_dist.study.record import RunRecord


def record(key, **told):
    scores = np.random.default_rng(int(key, 16)).normal(size=(3, 2, 4))
    told = {"kind": "lwgan", "evaluations": 3, "ranks": 2, "train": scores.ravel().tolist(), "cpu_seconds": 1.5, **told}
    return RunRecord(key=key, **told)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Folder.at(str(tmp_path)), RunRecord)


@pytest.fixture(params=["local", "object store"])
def anywhere(request, tmp_path):
    if request.param == "local":
        return Ledger(Folder.at(str(tmp_path)), RunRecord)
    store = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    return Ledger(Folder(store, f"/{tmp_path.name}/ledger", f"memory://{tmp_path.name}/ledger"), RunRecord)


def by_key(ledger, keys):
    return {item.key: item for item in ledger.records(keys)}


def test_records_come_back_bit_for_bit_before_and_after_gathering(anywhere):
    ledger = anywhere
    records = {key: record(key) for key in ("0a", "0b", "0c")}
    records["0d"] = RunRecord(key="0d", kind="classical", failure='ValueError: \u00fc, "quoted"\n', value=1.0 / 3)
    for item in records.values():
        ledger.write(item)
    assert ledger.keys() == records.keys()
    assert by_key(ledger, records) == records
    assert ledger.gather() == 4
    assert ledger.gather() == 0
    assert ledger.keys() == records.keys()
    assert by_key(ledger, records) == records
    assert by_key(ledger, ["0b", "ff"]) == {"0b": records["0b"]}
    np.testing.assert_array_equal(records["0a"].components()["train"], np.random.default_rng(10).normal(size=(3, 2, 4)))
    assert list(records["0a"].components()) == ["train"]


def test_runs_that_are_entered_together_are_in_the_ledger_one_by_one(anywhere):
    ledger, records = anywhere, {key: record(key) for key in ("0a", "0b", "0c")}
    ledger.write(*records.values())
    ledger.write(records["0b"])
    assert by_key(ledger, records) == records
    assert ledger.gather() == 3
    assert by_key(ledger, records) == records
    ledger.write(record("0d"), record("0e"))
    (name,) = ledger._rows.names()
    content = ledger._rows.read(name)
    ledger._rows.write(name, content[:-9])
    assert ledger.keys() == {*records, "0d"}, "a damaged line is that of one run"
    assert ledger.gather() == 1
    assert ledger.keys() == {*records, "0d"}


def test_trials_come_back_with_their_fits_or_without(tmp_path):
    ledger = Ledger(Folder.at(str(tmp_path)), TrialRecord)
    fit = Fit(evaluations=1, ranks=2, train=[0.1] * 8, rows=9, metrics={"reconstruction": [0.5, float("inf")]})
    run = {"index": 0, "dimension": 2, "miss": None, "reconstruction": 0.25}
    one = TrialRecord(key="0a", runs=[run], fits=[fit, fit], alike="aa", reports=[1.0 / 3])
    for _ in ("in a file of its own", "gathered"):
        ledger.write(one)
        (again,) = ledger.records(["0a"])
        assert again.fits == one.fits
        assert again.fits[0].metrics_at(2) == {"reconstruction": float("inf")}
        assert {name: again.runs[0][name] for name in run} == run
        assert next(ledger.records(["0a"], without=("fits",))) == replace(again, fits=[])
        ledger.gather()


def test_a_run_in_a_row_file_and_in_a_gathered_file_counts_once(ledger, tmp_path):
    ledger.write(record("0a"))
    kept = (tmp_path / "rows" / "0a.json").read_bytes()
    ledger.gather()
    (tmp_path / "rows" / "0a.json").write_bytes(kept)  # killed after the gathered file, before the removal
    assert len(list(ledger.records(["0a"]))) == 1
    ledger.write(record("0b"))
    ledger.gather()
    assert sorted(item.key for item in ledger.records(["0a", "0b"])) == ["0a", "0b"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_row_is_named_and_not_there(ledger, tmp_path, caplog, damage):
    ledger.write(record("0a"))
    ledger.write(record("0b"))
    path = tmp_path / "rows" / "0a.json"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[:-20], "flip": content, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert ledger.keys() == {"0b"}
    assert "0a.json: is damaged" in caplog.text
    assert not ledger.has_row("0a")
    assert ledger.gather() == 1
    ledger.write(record("0a"))
    assert by_key(ledger, ["0a"]) == {"0a": record("0a")}


def test_a_damaged_gathered_file_is_named_and_passed_over(ledger, tmp_path, caplog):
    ledger.write(record("0a"))
    ledger.gather()
    ledger.write(record("0b"))
    (part,) = tmp_path.glob("part-*.parquet")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert ledger.keys() == {"0b"}
    assert f"{part.name}: is damaged" in caplog.text


def test_a_read_that_fails_is_no_damage(ledger, monkeypatch):
    """Else one timeout would have finished runs repeated."""
    ledger.write(record("0a"))
    ledger.gather()

    def fails(self, name):
        raise OSError("timeout")

    monkeypatch.setattr(Folder, "read", fails)
    with pytest.raises(OSError, match="timeout"):
        ledger.keys()


def test_temporary_files_are_no_runs(ledger, tmp_path):
    ledger.write(record("0a"))
    (tmp_path / "rows" / ".tmp-123").write_text(json.dumps({}))
    (tmp_path / "rows" / "notes.txt").write_text("mine")
    assert ledger.keys() == {"0a"}


def test_a_gathered_file_is_read_once_however_often_it_is_asked_what_is_done(ledger, monkeypatch):
    """A study of a million runs asks after each of 500 gatherings: reading all of them each time would be quadratic."""
    reads, read = [], Folder.read
    monkeypatch.setattr(Folder, "read", lambda self, name: reads.append(name) or read(self, name))
    expected = {}
    for batch in range(4):
        for key in (f"{batch}a", f"{batch}b"):
            ledger.write(record(key, failure="it was" if key == "2b" else None))
            expected[key] = key != "2b"
        ledger.gather()
        reads.clear()
        assert ledger.states() == expected
        assert [name for name in reads if name.startswith("part-")] == reads
        assert len(reads) == 1
    assert Ledger(ledger.folder, RunRecord).states() == expected
    assert {item.key for item in ledger.records(expected)} == expected.keys(), "with all their numbers"


def test_an_object_store_is_asked_for_many_rows_at_once(tmp_path, monkeypatch):
    """One after the other, 2,000 runs would take minutes, in which nothing else is done."""
    store = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    ledger = Ledger(Folder(store, f"/{tmp_path.name}/ledger", f"memory://{tmp_path.name}/ledger"), RunRecord)
    records = {key: record(key) for key in (f"{i:02x}" for i in range(16))}
    for item in records.values():
        ledger.write(item)
    meeting = threading.Barrier(8)  # breaks if they do not come together
    for method in ("read", "remove_file"):
        whole = getattr(Folder, method)

        def together(self, name, whole=whole):
            if name.endswith(".json"):
                meeting.wait(60)
            return whole(self, name)

        monkeypatch.setattr(Folder, method, together)
    assert by_key(ledger, records) == records
    assert ledger.gather() == 16
    assert by_key(ledger, records) == records
