"""A search under Ray Tune: the same trials as in one process; killed; with trials of several workers that are stopped.

``KILLS`` in the environment sets how often the command is killed (``make test-faults`` takes ten).
"""

import os
import random
import signal
import time

import pyarrow.parquet as pq
import pytest
import ray
from ray.util.state import list_actors
from tiny_search import command, config, numbers, search
from tiny_study import Silent

from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.configfile import to_yaml
from lwgan_dist.search.rows import trials_table
from lwgan_dist.search.trials import TrialRecord
from lwgan_dist.storage import Folder

pytestmark = pytest.mark.ray

KILLS = int(os.environ.get("KILLS", "1"))
SEED = int(os.environ.get("KILL_SEED", "0"))
TRIALS = max(14, 6 * KILLS)
NESTED = 8


def records(folder):
    ledger = Ledger(Folder.at(str(folder / "ledger")), TrialRecord)
    return {record.key: record for record in ledger.records(ledger.keys())}


def wait_for(condition, process, seconds=240):
    ends = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < ends, "nothing happens"
        time.sleep(0.05)


@pytest.mark.parametrize("searcher", ["optuna", pytest.param("random", marks=pytest.mark.faults)])
def test_killed_again_and_again_the_trials_are_those_of_a_straight_search(tmp_path, searcher):
    """SIGKILL to the command and its Ray after a random number of new trials."""
    told = {"searcher": {"name": searcher}, "budget": {"trials": TRIALS}}
    prepared = search(tmp_path / "straight", **told)
    straight = trials_table(prepared, prepared.execute(Silent()).ended)
    file, folder = tmp_path / "search.yaml", tmp_path / "search"
    file.write_text(to_yaml(config({"execution.workers": 1}, **told)))
    draw, killed = random.Random(f"{SEED} {searcher}"), []
    for _ in range(KILLS):
        process = command(file, tmp_path, "--name", "search")
        before, more = len(records(folder)), draw.randint(1, TRIALS // KILLS - 2)
        wait_for(lambda before=before, more=more: len(records(folder)) >= before + more, process)
        time.sleep(draw.uniform(0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        killed.append(len(records(folder)))
    print(f"kill seed {SEED}, {searcher}: killed with {killed} of {TRIALS} trials and 4 runs of the comparison")
    finished = records(folder)
    assert len(finished) < TRIALS + 4, "killed before it was done"
    process = command(file, tmp_path, "--name", "search")
    told = process.communicate(timeout=300)[0]
    assert process.returncode == 0, told
    table = pq.read_table(folder / "trials.parquet")
    assert numbers(table).equals(numbers(straight))
    after = records(folder)
    assert all(after[key] == record for key, record in finished.items()), "with their times: none was repeated"
    assert len(after) == TRIALS + 4


def actors():
    """Names of the actors that are alive but one that Ray Train keeps for the whole cluster."""
    here = ray.get_runtime_context().gcs_address  # beside other sessions of this machine
    alive = {actor.class_name for actor in list_actors(address=here, filters=[("state", "!=", "DEAD")])}
    return sorted(alive - {"_AutoscalingCoordinatorActor"})


@pytest.mark.faults
def test_trials_of_two_workers_of_which_half_are_stopped_leave_nothing(tmp_path):
    told = {
        "scheduler": {"name": "asha", "reports_per_seed": 2},
        "budget": {"trials": NESTED},
        "confirm_seeds": 0,
        "space": {"objective.mmd_weight": {"loguniform": [0.1, 10]}},
        "initial": ["default"],
    }
    ray.init(address="local", num_cpus=4, include_dashboard=True, log_to_driver=False)
    try:
        prepared = search(tmp_path / "two", {"execution.workers": 2}, **told)
        progress = Silent()
        outcome = prepared.execute(progress)
        assert max(standing.running for standing in progress.updates) > 0, "what is under way is told of"
        states = [item.outcome.state for item in outcome.ended]
        assert states.count("stopped") >= NESTED // 4
        assert states.count("finished") + states.count("stopped") == NESTED
        groups = ray.util.placement_group_table()
        assert {group["state"] for group in groups.values()} <= {"REMOVED"}
        ends = time.monotonic() + 60
        while actors() and time.monotonic() < ends:
            time.sleep(0.5)
        assert actors() == []
        assert ray.available_resources()["CPU"] == 4
    finally:
        ray.shutdown()
    whole = search(tmp_path / "one", **{**told, "scheduler": {"name": "none"}}).execute(Silent())
    for item, other in zip(outcome.ended, whole.ended, strict=True):
        if item.outcome.objectives:
            assert item.outcome.objectives == pytest.approx(other.outcome.objectives, rel=1e-3), "but for rounding"
