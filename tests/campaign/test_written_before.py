"""Folders that were written before studies and searches had one ledger are read, and gone on with.

``written_before`` holds a study and a search (its trials chosen by TPE: random draws are others since then) of the
version of 2026-11-30 (commit cf8a372): a tiny one each, of the configurations in their ``config.yaml``, with gathered
records and some in files of their own, and tables as they were published. Their runs had one
round of the first stage, no linear path in their networks and no bound by neighbours, which has to be asked for since
then.
"""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny_search import numbers
from tiny_study import Silent

from lwgan_dist.campaign.provenance import own
from lwgan_dist.configfile import override, read_config
from lwgan_dist.search import search as search_module
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.rows import search_tables
from lwgan_dist.search.search import Search
from lwgan_dist.storage import Folder
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.study import Study

BEFORE = Path(__file__).parent / "written_before"
AS_THEN = ["run.schedule.embedding_rounds=1", "run.networks.linear_path=false", "run.score.neighbours=false"]


def study(folder, **changes):
    config = read_config(StudyConfig, str(BEFORE / "study" / "config.yaml"), AS_THEN)
    return Study(
        StudyConfig.model_validate(override(config.model_dump(exclude_unset=True), changes)), Folder.at(str(folder))
    )


def search(folder, *changes):
    config = read_config(SearchConfig, str(BEFORE / "search" / "config.yaml"), [*AS_THEN, *changes])
    return Search(config, Folder.at(str(folder)))


@pytest.fixture
def folder(request, tmp_path):
    return Path(shutil.copytree(BEFORE / request.param, tmp_path / request.param))


@pytest.mark.parametrize("folder", ["study"], indirect=True)
def test_a_study_is_read_and_grows(folder):
    progress = Silent()
    outcome = study(folder).execute(progress)
    assert progress.phases == []
    assert outcome.tables.runs["provenance"].null_count == outcome.tables.runs.num_rows, "nobody wrote it down then"
    for name in ("runs", "bootstrap"):
        before = pq.read_table(BEFORE / "study" / f"{name}.parquet")
        assert getattr(outcome.tables, name).select(before.column_names).equals(before)
    outcome = study(folder, **{"lwgan.replicates": 3, "metrics": ["reconstruction"]}).execute(progress)
    assert progress.phases == [(1, "LWGAN runs"), (1, "bootstrap refits")]
    runs = outcome.tables.runs.filter([kind == "lwgan" for kind in outcome.tables.runs["kind"].to_pylist()])
    having = {row["replicate"]: row["reconstruction"] is not None for row in runs.to_pylist()}
    assert having == {0: False, 1: False, 2: True}, "records without metrics are read as having none"
    signed = {row["replicate"]: row["provenance"] is not None for row in runs.to_pylist()}
    assert signed == {0: False, 1: False, 2: True}
    assert outcome.tables.provenance["provenance"].to_pylist() == [None, own().identity]


@pytest.mark.parametrize("folder", ["search"], indirect=True)
def test_a_search_is_read_and_grows(folder, monkeypatch):
    carried, tasks = search_module.execute, []

    def counted(task):
        tasks.append(task)
        return (yield from carried(task))

    monkeypatch.setattr(search_module, "execute", counted)
    prepared = search(folder)
    outcome = prepared.execute(Silent())
    tables = search_tables(prepared, outcome)
    assert {item.outcome.state for item in outcome.ended} == {"finished", "stopped"}
    for name in ("trials", "runs", "confirmation"):
        before = pq.read_table(BEFORE / "search" / f"{name}.parquet")
        assert getattr(tables, name).equals(before, check_metadata=False)
    assert tasks == []
    search(folder, "budget.trials=9", "confirm_seeds=0").execute(Silent())
    assert len(tasks) == 1


@pytest.mark.parametrize("folder", ["search"], indirect=True)
def test_a_search_says_that_its_run_is_another_with_the_defaults_of_today(folder):
    assert search(folder).changed == []
    config = read_config(SearchConfig, str(BEFORE / "search" / "config.yaml"))
    assert Search(config, Folder.at(str(folder))).changed == ["run"]


@pytest.mark.parametrize("folder", ["search"], indirect=True)
def test_trials_without_components_are_fitted_again_under_another_rule(folder, tmp_path):
    changes = ("run.score.resolution=0.5", "confirm_seeds=0", "budget.trials=2")
    prepared = search(folder, *changes)
    outcome = prepared.execute(Silent())
    assert outcome.judged_again == 0
    straight = search(tmp_path / "straight", *changes)
    tables = [search_tables(*pair).trials for pair in ((prepared, outcome), (straight, straight.execute(Silent())))]
    assert numbers(tables[0]).equals(numbers(tables[1]))
