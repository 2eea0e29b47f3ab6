"""A run killed at a random iteration and started again ends with the weights, bit for bit, of one that was not."""

import json
import secrets
import signal

import forked
import numpy as np
import pytest
from killed import killed
from safetensors.numpy import load_file

SETTINGS = [
    "data.n=200", "networks.width=4", "score.evaluations=4", "schedule.batch_size=30",
    "schedule.embedding_iterations=20", "schedule.embedding_rounds=1",
    "schedule.matching_iterations=20", "schedule.critic_iterations=100",
    "schedule.joint_iterations=10", "schedule.joint_critic_updates=3", "schedule.scoring_interval=2",
]  # fmt: skip
ITERATIONS = 20 + 20 + 5 + 10 + 4
POINTS = 3
"""At random; `test_checkpoint.py` has every one of them in one process."""


def estimate(out, *, killed_after=None, seed=0):
    command = ["estimate", "s_curve", *SETTINGS, "execution.checkpoint_seconds=0", "--seed", seed]
    command += ["--out", out, "--json", "--no-competitors"]
    if killed_after is None:
        return forked.run(forked.lwgan_dist, *command)
    return forked.run(killed, killed_after, *command)


def final_tensors(out):
    return load_file(out / "checkpoints" / f"iteration-{ITERATIONS:012d}" / "tensors.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    out = tmp_path_factory.mktemp("straight") / "run"
    done = estimate(out)
    assert done.returncode == 0, done.stderr
    return final_tensors(out), json.loads(done.stdout)


def test_another_seed_gives_other_weights(straight, tmp_path):
    """Control: the comparison can fail."""
    assert estimate(tmp_path / "run", seed=1).returncode == 0
    assert not same(final_tensors(tmp_path / "run"), straight[0])


@pytest.mark.parametrize("attempt", range(POINTS))
def test_killed_and_resumed_is_bit_equal_to_straight(straight, tmp_path, attempt):
    tensors, result = straight
    point = 1 + secrets.randbelow(ITERATIONS - 1)
    print(f"killed after {point} of {ITERATIONS} iterations")
    out = tmp_path / "run"
    assert estimate(out, killed_after=point).returncode == -signal.SIGKILL
    assert not (out / "result.json").exists()
    assert json.loads((out / "progress.json").read_text())["iteration"] == point
    resumed = estimate(out)
    assert resumed.returncode == 0, resumed.stderr
    assert same(final_tensors(out), tensors)
    assert json.loads(resumed.stdout)["rank_scores"] == result["rank_scores"]


def test_a_finished_run_is_not_trained_again(straight, tmp_path):
    out = tmp_path / "run"
    first = estimate(out)
    again = estimate(out, killed_after=0)  # an iteration would kill it
    assert again.returncode == 0
    assert json.loads(again.stdout) == json.loads(first.stdout)
