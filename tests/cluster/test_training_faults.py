"""Training that loses workers, nodes and its driver at random iterations, or is told that a node will go, ends with the
weights and scores, bit for bit, of training that was left alone.

FAULTS (5) is the number of faults of each kind; they strike one run after the other, so that the state which survives
one is what the next one meets.
"""

import json
import os
import secrets
import signal
import time

import nodes
import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1200 + 120 * int(os.environ.get("FAULTS", "5"))),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # Ray drops processes it has killed
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

FAULTS = int(os.environ.get("FAULTS", "5"))
ITERATIONS_EACH = 800
EMBEDDING = ITERATIONS_EACH * FAULTS
ITERATIONS = EMBEDDING + 20 + 2 + 4
SETTINGS = [
    "data.n=300", "networks.width=4", "networks.latent_dim=3", "score.evaluations=4", "schedule.batch_size=32",
    f"schedule.embedding_iterations={EMBEDDING}", "schedule.matching_iterations=20", "schedule.critic_iterations=40",
    "schedule.scoring_interval=2", "precision=float32", "execution.workers=2", "execution.checkpoint_seconds=2",
    "execution.max_failures=-1", "execution.start_timeout_seconds=60",
]  # fmt: skip


@pytest.fixture
def three(cluster):
    """Three nodes of one CPU."""
    present = [cluster.add_node(num_cpus=1) for _ in range(3)]
    yield present
    for node in present:
        if node in cluster.worker_nodes:
            nodes.lose(cluster, node)


def command(config, storage, cluster, *extra):
    changed = {change.partition("=")[0] for change in extra}
    settings = [setting for setting in SETTINGS if setting.partition("=")[0] not in changed]
    return ["train", config, *settings, *extra, "--storage", storage, "--name", "run", "--json",
            "--address", cluster.address]  # fmt: skip


def outcome(storage):
    run = storage / "run"
    assert nodes.checkpoint_iterations(run)[-1] == ITERATIONS
    result = json.loads((run / "result.json").read_text())
    tensors = load_file(run / "checkpoints" / f"iteration-{ITERATIONS:012d}" / "tensors.safetensors")
    told = json.loads((run / "checkpoints" / f"iteration-{ITERATIONS:012d}" / "state.json").read_text())
    metrics = {name: told[name] for name in ("losses", "components", "workers")}
    return tensors, metrics, result["rank_scores"]


def same(ours, theirs):
    tensors, *rest = ours
    expected, *others = theirs
    assert tensors.keys() == expected.keys()
    return all(np.array_equal(tensors[name], expected[name]) for name in expected) and rest == others


@pytest.fixture(scope="module")
def straight(cluster, config, tmp_path_factory):
    """Without faults, on two nodes of the same cluster."""
    present = [cluster.add_node(num_cpus=1) for _ in range(2)]
    storage = tmp_path_factory.mktemp("straight")
    done = nodes.run(command(config, storage, cluster), timeout=1000)
    assert done.returncode == 0, done.stderr
    for node in present:
        nodes.lose(cluster, node)
    return outcome(storage)


def points():
    """Random iterations, in order."""
    # A run that is told of a loss goes on until it comes, so the faults strike in the first half.
    chosen = sorted(50 + secrets.randbelow(EMBEDDING // 2) for _ in range(FAULTS))
    print(f"\nfaults at iterations {chosen} of {ITERATIONS}")
    return chosen


class Training:
    """A run in the background that is to be struck."""

    def __init__(self, arguments, storage):
        self.arguments, self.run, self.log = arguments, storage / "run", storage / "log"
        self.process = nodes.start(arguments, self.log)
        self.recoveries = []

    def reach(self, iteration):
        nodes.wait_for(lambda: self._at(iteration), what=f"iteration {iteration}")

    def _at(self, iteration):
        assert self.process.poll() is None, f"the command ended: {self.log.read_text()[-3000:]}"
        return nodes.iteration_of(self.run) >= iteration

    def strike(self, fault, present):
        """Carry out a fault and wait until new workers train."""
        old = {pid for node in present for pid in nodes.trainers_of(node)}
        assert nodes.iteration_of(self.run) > 0
        fault()
        struck = time.monotonic()
        nodes.wait_for(lambda: self._new(old, present) or self.process.poll() is not None, what="a new group")
        if self.process.poll() is not None:
            return
        stamp = self.stamp()
        nodes.wait_for(lambda: self.stamp() != stamp or self.process.poll() is not None, what="training again")
        self.recoveries.append(time.monotonic() - struck)

    @staticmethod
    def _new(old, present):
        now = {pid for node in present if node.all_processes for pid in nodes.trainers_of(node)}
        return len(now) == 2 and not now & old

    def stamp(self):
        path = self.run / "progress.json"
        return (path.stat().st_mtime_ns, nodes.iteration_of(self.run)) if path.exists() else (0, 0)

    def finish(self):
        code = self.process.wait(timeout=600)
        assert code == 0, self.log.read_text()[-3000:]
        took = ", ".join(f"{seconds:.1f}" for seconds in self.recoveries)
        print(f"{len(self.recoveries)} recoveries, seconds until it trains again: {took}")


def test_another_seed_ends_elsewhere(cluster, three, config, straight, tmp_path):
    """Control: the comparison can fail."""
    done = nodes.run(command(config, tmp_path, cluster, "seed=1"), timeout=1000)
    assert done.returncode == 0, done.stderr
    assert not same(outcome(tmp_path), straight)


def test_workers_killed(cluster, three, config, straight, tmp_path):
    """R1."""
    training = Training(command(config, tmp_path, cluster), tmp_path)
    for point in points():
        training.reach(point)
        victims = [pid for node in three for pid in nodes.trainers_of(node)]
        victim = secrets.choice(victims)
        assert len(victims) == 2
        training.strike(lambda pid=victim: os.kill(pid, signal.SIGKILL), three)
    training.finish()
    assert len(training.recoveries) == FAULTS
    assert same(outcome(tmp_path), straight)


def test_nodes_lost(cluster, three, config, straight, tmp_path):
    """R2, with as many workers as before: on a node that was free."""
    training = Training(command(config, tmp_path, cluster), tmp_path)
    for point in points():
        training.reach(point)
        used = [node for node in three if nodes.trainers_of(node)]
        assert len(used) == 2
        victim = secrets.choice(used)
        three.remove(victim)
        training.strike(lambda node=victim: nodes.lose(cluster, node), [*three])
        three.append(cluster.add_node(num_cpus=1))
    training.finish()
    assert len(training.recoveries) == FAULTS
    assert same(outcome(tmp_path), straight)


def test_driver_killed(cluster, three, config, straight, tmp_path):
    """R3."""
    arguments, starts = command(config, tmp_path, cluster), 0
    for point in points():
        training = Training(arguments, tmp_path)
        starts += 1
        training.reach(point)
        training.process.kill()
        assert training.process.wait() == -signal.SIGKILL
        assert not (tmp_path / "run" / "result.json").exists()
        at = nodes.checkpoint_iterations(tmp_path / "run")[-1:]
        print(f"killed at {nodes.iteration_of(tmp_path / 'run')}, checkpoint at {at}")
    training = Training(arguments, tmp_path)
    training.finish()
    assert starts == FAULTS
    assert same(outcome(tmp_path), straight)


def test_preempted(cluster, three, config, straight, tmp_path):
    """R14: no checkpoint is due by time, so the one that is there was written for the announcement."""
    training = Training(command(config, tmp_path, cluster, "execution.checkpoint_seconds=1000000"), tmp_path)
    for point in points():
        training.reach(point)
        used = [node for node in three if nodes.trainers_of(node)]
        assert len(used) == 2
        victim = secrets.choice(used)
        there, at = nodes.checkpoint_iterations(training.run), nodes.iteration_of(training.run)
        announced = time.monotonic()
        nodes.drain(cluster, victim)
        nodes.wait_for(
            lambda there=there: (
                nodes.checkpoint_iterations(training.run) != there or training.process.poll() is not None
            ),
            what="a checkpoint",
        )
        written = nodes.checkpoint_iterations(training.run)[-1]
        print(f"announced at {at}, checkpoint at {written} after {time.monotonic() - announced:.1f} s")
        if training.process.poll() is not None:
            break
        three.remove(victim)
        training.strike(lambda node=victim: nodes.lose(cluster, node), [*three])
        three.append(cluster.add_node(num_cpus=1))
        assert written >= at
    training.finish()
    assert len(training.recoveries) == FAULTS
    assert same(outcome(tmp_path), straight)
