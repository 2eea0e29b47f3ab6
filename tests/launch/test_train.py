"""Runs under Ray Train on this machine, through the command that a user types. Those marked ``cluster`` are carried out
by ``make test-cluster``.
"""

import json
import os
import signal
import subprocess
import sys
import time

import forked
import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.ray

TINY = [
    "data.n=300", "networks.width=4", "networks.latent_dim=3", "score.evaluations=4", "schedule.batch_size=32",
    "schedule.embedding_iterations=200", "schedule.embedding_rounds=1",
    "schedule.matching_iterations=20", "schedule.critic_iterations=40",
    "schedule.scoring_interval=2", "precision=float64", "execution.cpus_per_worker=0.5",
    "execution.checkpoint_seconds=0",
]  # fmt: skip
ITERATIONS = 200 + 20 + 2 + 4


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text("data: {source: manifold, name: s_curve}\n")
    return path


def command(config, storage, *extra):
    changed = {change.partition("=")[0] for change in extra}
    settings = [setting for setting in TINY if setting.partition("=")[0] not in changed]
    settings += ["--storage", str(storage), "--name", "run", "--json"]
    return ["train", str(config), *settings, *extra]


def train(config, storage, *extra):
    return forked.run(forked.lwgan_dist, *command(config, storage, *extra))


def final_tensors(run):
    return load_file(run / "checkpoints" / f"iteration-{ITERATIONS:012d}" / "tensors.safetensors")


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    storage = tmp_path_factory.mktemp("alone")
    done = train(config, storage, "--workers", "0")
    assert done.returncode == 0, done.stderr
    return storage / "run"


@pytest.fixture(scope="module")
def two_workers(config, tmp_path_factory):
    storage = tmp_path_factory.mktemp("two")
    done = train(config, storage, "--workers", "2")
    assert done.returncode == 0, done.stderr
    return storage / "run", done


def test_two_workers_under_ray_give_the_result_of_this_process(alone, two_workers):
    """float64; 1e-8 after 226 iterations, where sums over two shards round differently."""
    _, done = two_workers
    result, expected = json.loads(done.stdout), json.loads((alone / "result.json").read_text())
    assert result["workers"] == 2
    for name in ("dimension", "rank_set", "staircase", "other_dimension", "tear", "parts"):
        assert result[name] == expected[name]
    for ours, theirs in zip(result["rank_scores"], expected["rank_scores"], strict=True):
        if theirs["refused"] is None:  # of the largest rank
            assert (ours.pop("refused"), theirs.pop("refused")) == (None, None)
        assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-10)


def test_one_json_object_on_standard_output_and_quiet_progress_beside_it(two_workers):
    _, done = two_workers
    assert len(done.stdout.splitlines()) == 1
    lines = done.stderr.splitlines()
    assert any(f"{ITERATIONS}/{ITERATIONS}" in line for line in lines)
    assert [line for line in lines if not line.startswith("run  ")] == []


def test_ray_leaves_nothing_in_the_run_folder(alone, two_workers):
    run, _ = two_workers
    assert {path.name for path in run.iterdir()} == {path.name for path in alone.iterdir()}


def test_a_finished_run_is_answered_without_ray(config, two_workers):
    run, done = two_workers
    again = train(config, run.parent, "--workers", "2", "execution.address=nowhere:1")
    assert json.loads(again.stdout) == json.loads(done.stdout)


def workers_of(driver):
    """Process ids of the Ray workers that descend from a process: those that hold torch's threads of training."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    family, found = {driver}, []
    for _ in range(6):
        family |= {int(pid) for pid, parent, _ in rows if int(parent) in family}
    for pid, _, args in rows:
        if int(pid) in family and "RayTrainWorker" in args:
            found.append(int(pid))
    return found


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def iteration_of(run):
    try:
        return json.loads((run / "progress.json").read_text())["iteration"]
    except (OSError, ValueError):
        return 0


SLOWER = ["schedule.embedding_iterations=600"]
SLOWER_ITERATIONS = ITERATIONS + 400


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory):
    storage = tmp_path_factory.mktemp("uninterrupted")
    done = train(config, storage, *SLOWER, "--workers", "2")
    assert done.returncode == 0, done.stderr
    return load_file(storage / "run" / "checkpoints" / f"iteration-{SLOWER_ITERATIONS:012d}" / "tensors.safetensors")


def test_a_killed_worker_is_replaced_and_the_result_is_bit_equal(config, two_workers, tmp_path):
    driver = forked.Child(forked.lwgan_dist, *command(config, tmp_path, "--workers", "2"))
    run = tmp_path / "run"
    wait_for(lambda: iteration_of(run) > 10)
    victim = wait_for(lambda: workers_of(driver.pid))[-1]
    at = iteration_of(run)
    os.kill(victim, signal.SIGKILL)
    ended = driver.end()
    assert ended.returncode == 0, ended.stderr
    assert at < ITERATIONS
    print(f"worker {victim} killed at iteration {at}")
    tensors, uninterrupted = final_tensors(run), final_tensors(two_workers[0])
    assert all(np.array_equal(tensors[name], uninterrupted[name]) for name in uninterrupted)


@pytest.mark.cluster
def test_a_killed_driver_started_again_gives_the_same_bits(config, uninterrupted, tmp_path):
    arguments = [sys.executable, "-m", "lwgan_dist", *command(config, tmp_path, *SLOWER, "--workers", "2")]
    driver = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = tmp_path / "run"
    wait_for(lambda: iteration_of(run) > 50)
    orphans = workers_of(driver.pid)
    driver.kill()
    driver.wait()
    assert not (run / "result.json").exists()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in orphans))
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    tensors = load_file(run / "checkpoints" / f"iteration-{SLOWER_ITERATIONS:012d}" / "tensors.safetensors")
    assert all(np.array_equal(tensors[name], uninterrupted[name]) for name in uninterrupted)


def test_a_table_at_a_relative_path_is_read_by_the_workers(tmp_path):
    np.save(tmp_path / "t.npy", np.random.default_rng(0).normal(size=(300, 3)))
    settings = [setting for setting in TINY if not setting.startswith("data.n=")]
    arguments = ["estimate", "t.npy", *settings, "--out", "run", "--json", "--workers", "1", "--no-competitors"]
    done = forked.run(forked.lwgan_dist, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 300


@pytest.mark.cluster
def test_an_interrupted_run_ends_with_130_and_goes_on(config, uninterrupted, tmp_path):
    arguments = [sys.executable, "-m", "lwgan_dist", *command(config, tmp_path, *SLOWER, "--workers", "2")]
    driver = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = tmp_path / "run"
    wait_for(lambda: iteration_of(run) > 50)
    driver.send_signal(signal.SIGINT)
    stdout, stderr = driver.communicate(timeout=200)
    assert driver.returncode == 130, stderr
    assert stdout == ""
    assert "goes on from the last checkpoint" in stderr
    assert "Traceback" not in stderr
    assert subprocess.run(arguments, capture_output=True, timeout=400, check=False).returncode == 0
    tensors = load_file(run / "checkpoints" / f"iteration-{SLOWER_ITERATIONS:012d}" / "tensors.safetensors")
    assert all(np.array_equal(tensors[name], uninterrupted[name]) for name in uninterrupted)


def test_a_diverging_run_ends_with_a_clear_error_and_is_not_retried(config, tmp_path):
    done = train(config, tmp_path, "schedule.embedding_learning_rate=1e300", "--workers", "1")
    assert done.returncode == 3
    assert "not finite" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.cluster
def test_an_elastic_group_gives_the_result_of_a_fixed_one(config, two_workers, tmp_path):
    run, _ = two_workers
    done = train(config, tmp_path, "execution.workers={min: 1, max: 2}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workers"] == 2
    ours, theirs = final_tensors(tmp_path / "run"), final_tensors(run)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_more_than_the_machine_has_is_refused_at_once(config, tmp_path):
    done = train(config, tmp_path, "execution.cpus_per_worker=10000", "--workers", "1")
    assert done.returncode == 5
    assert "10000 CPU" in done.stderr


def test_an_unreachable_cluster_is_said_to_be(config, tmp_path):
    done = train(config, tmp_path, "execution.address=127.0.0.1:1", "--workers", "1")
    assert done.returncode == 5
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
