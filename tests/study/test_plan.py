"""A plan holds no runs: they come when they are asked for, in the order and with the names that they always had."""

import hashlib
import tracemalloc

import pyarrow.parquet as pq
import pytest
from tiny_study import Silent, config, study

from lwgan_dist.campaign.ledger import Ledger, hash_of
from lwgan_dist.config import SCHEMA_VERSION
from lwgan_dist.errors import ConfigError
from lwgan_dist.seeding import derive
from lwgan_dist.storage import Folder
from lwgan_dist.study import work
from lwgan_dist.study.design import Design
from lwgan_dist.study.plan import Plan
from lwgan_dist.study.publish import study_caveats
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.study import Study

pytestmark = pytest.mark.usefixtures("blank_figures")

TWICE = {"data": [{"name": "s_curve"}, {"name": "s_curve", "label": "again"}, {"name": "helix"}]}
"""Data of which two are one under two names."""
MODELS = [{"name": "ard_vae", "replicates": 3}]


def listed(prepared):
    """All runs of the study, written out."""
    return [
        run
        for group in prepared.design.groups
        for run in prepared.design.runs(group, range(prepared.design.replicates(group)))
    ]


def test_names_are_the_hash_of_what_the_numbers_depend_on(tmp_path):
    for run in study(tmp_path / "s").first_runs():
        if run.group.estimator:
            continue
        identity = run.group.config.identity()
        for name in (
            "penalty",
            "penalty_exponent",
            "penalty_constant",
            "resolution",
            "score_on",
            "critic",
            "neighbours",
        ):
            identity["score"].pop(name, None)
        identity["data"]["seed"], identity["seed"] = run.data_seed, run.seed
        assert run.key == hash_of([SCHEMA_VERSION, identity])
        assert run.data_seed == derive(0, "study/sample", run.group.n, run.replicate) % 2**31


def test_the_plan_is_every_run_in_the_order_of_the_groups(tmp_path):
    prepared = study(tmp_path / "s", {"lwgan.initialisations": 2})
    planned = prepared.first_runs()
    assert list(planned) == listed(prepared)
    assert len(planned) == len(listed(prepared))
    assert [planned[place] for place in (0, 5, -1)] == [listed(prepared)[place] for place in (0, 5, -1)]
    assert list(planned[3:9:2]) == listed(prepared)[3:9:2]


def test_what_is_missing_comes_once_and_replicate_by_replicate(tmp_path):
    prepared = study(tmp_path / "s", **TWICE, models=MODELS, lwgan={"replicates": 2, "initialisations": 2})
    runs = listed(prepared)
    assert len({run.key for run in runs}) < len(runs)
    for done in (set(), {run.key for run in runs[::5]}):
        for key in done:
            prepared.ledger.write(RunRecord(key=key, kind="lwgan"))
        first = {}
        for run in runs:
            if run.key not in done:
                first.setdefault(run.key, run)
        missing = prepared.missing(prepared.first_runs())
        assert list(missing) == sorted(first.values(), key=lambda run: run.replicate)
        for kind in ("lwgan", "model", "classical"):
            assert list(missing.of_kind(kind)) == [run for run in missing if run.group.kind == kind]
        counts = {id(group): 0 for group in prepared.design.groups}
        for run in missing:
            counts[id(run.group)] += 1
        assert missing.counts() == {name: count for name, count in counts.items() if count}


def test_replicates_of_two_parts_of_a_group_count_once(tmp_path):
    design = Design(config(), "float32")
    group = design.groups[0]
    plan = Plan(design, [(group, range(2, 5)), (group, range(3, 7)), (group, [1, 2])]).distinct()
    assert [run.replicate for run in plan] == [2, 3, 4, 5, 6, 1]


def test_a_million_runs_take_no_objects(tmp_path, monkeypatch):
    prepared = study(tmp_path / "s", {"lwgan.replicates": 250_000, "classical.estimators": []})
    made = []
    monkeypatch.setattr(Design, "run", lambda *_: made.append(1))
    tracemalloc.start()
    missing = prepared.missing(prepared.first_runs())
    count, peak = len(missing.of_kind("lwgan")), tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1_000_000
    assert not made
    assert peak < 60 << 20, "some 4-byte numbers for each"


# short runs ---------------------------------------------------------------------------------------------------------


def files(folder):
    return sorted((folder / "ledger" / "rows").glob("*.json"))


def test_short_runs_are_entered_together(tmp_path, monkeypatch):
    monkeypatch.setattr(Ledger, "gather", lambda _self: 0)
    prepared = study(tmp_path / "s", lwgan={"replicates": 0})
    outcome = prepared.execute(Silent())
    assert not outcome.unfinished
    assert len(files(tmp_path / "s")) < outcome.planned / 5
    assert prepared.ledger.keys() == {run.key for run in prepared.first_runs()}


def test_what_an_interruption_finds_finished_is_entered(tmp_path, monkeypatch):
    estimate, seen = work.classical_estimate, []

    def interrupted(*arguments):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(arguments)
        return estimate(*arguments)

    monkeypatch.setattr(work, "classical_estimate", interrupted)
    prepared = study(tmp_path / "s", lwgan={"replicates": 0})
    with pytest.raises(KeyboardInterrupt):
        prepared.execute(Silent())
    assert len(Study(prepared.config, prepared.folder).ledger.keys()) == 3


def test_runs_whose_records_cannot_be_written_are_unfinished(tmp_path, monkeypatch):
    def full(*_records):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(work.Ledger, "write", full)
    outcome = study(tmp_path / "s", lwgan={"replicates": 0}).execute(Silent())
    assert len(outcome.unfinished) == outcome.planned
    assert all("No space left" in reason for reason in outcome.unfinished.values())


# runs of older versions ---------------------------------------------------------------------------------------------

FITS = {"data": [{"name": "s_curve"}], "sizes": [60], "classical": {"estimators": []}}


@pytest.fixture
def older(tmp_path):
    """A study whose runs do not know what neighbours allow."""
    study(tmp_path / "s", **FITS).execute(Silent())
    (part,) = (tmp_path / "s" / "ledger").glob("part-*.parquet")
    table = pq.read_table(part).drop_columns(["neighbours"])
    part.unlink()
    pq.write_table(table, part)
    named = Ledger(Folder.at(str(tmp_path / "s" / "ledger")), RunRecord)
    content = part.read_bytes()
    part.rename(part.with_name(f"part-{hashlib.sha256(content).hexdigest()[:16]}.parquet"))
    assert len(named.older("neighbours")) == 2
    return tmp_path / "s"


def test_fits_of_older_versions_are_not_mixed_with_new_ones(older):
    before = (older / "config.yaml").read_text()
    with pytest.raises(ConfigError, match="2 LWGAN runs are of a version that did not look at neighbours") as refused:
        study(older, {"lwgan.replicates": 3}, **FITS).execute(Silent())
    assert "run.score.neighbours=false" in str(refused.value)
    assert (older / "config.yaml").read_text() == before
    changes = {"lwgan.replicates": 3, "run.score.neighbours": False, "lwgan.rules": {}}
    assert not study(older, changes, **FITS).execute(Silent()).unfinished


def test_a_finished_study_of_an_older_version_says_so(older):
    prepared = study(older, **FITS)
    outcome = prepared.execute(Silent())
    assert "2 LWGAN runs are of a version" in study_caveats(prepared, outcome)[0]
