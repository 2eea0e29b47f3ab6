"""An elastic group goes on with the workers that are left when a node is lost, and grows when one is added: with the
same rows in the same order, so with the same result but for rounding.
"""

import json
import os
import time

import nodes
import pytest

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # Ray drops processes it has killed
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

RECOVERY_SECONDS = float(os.environ.get("RECOVERY_SECONDS", "120"))
"""What is still taken for a recovery here, where others use the machine; the measured time is printed."""

SETTINGS = [
    "data.n=600", "networks.width=16", "networks.latent_dim=3", "score.evaluations=4", "schedule.batch_size=256",
    "schedule.matching_iterations=20", "schedule.critic_iterations=40", "schedule.scoring_interval=2",
    "schedule.embedding_rounds=1", "schedule.plateau=0",
    "precision=float64", "execution.checkpoint_seconds=2", "schedule.embedding_learning_rate=3e-5",
]  # fmt: skip
"""The low rate keeps the rounding of another number of workers from growing: at the default rate it grows about tenfold
every 600 iterations, from 1e-16 to the third digit of a score over the run."""


def command(config, storage, *extra):
    return ["train", config, *SETTINGS, *extra, "--storage", storage, "--name", "run", "--json"]


def test_a_group_shrinks_and_grows(cluster, config, tmp_path):
    length = "schedule.embedding_iterations=24000"
    present = [cluster.add_node(num_cpus=1) for _ in range(2)]
    run, log = tmp_path / "elastic" / "run", tmp_path / "log"
    process = nodes.start(
        command(config, run.parent, length, "execution.workers={min: 1, max: 2}", "--address", cluster.address), log
    )

    def group(size, old=()):
        pids = {pid for node in present for pid in nodes.trainers_of(node)}
        return pids if len(pids) == size and not pids & set(old) else None

    def trains(pids, what, iterations=1):
        assert process.poll() is None, log.read_text()[-3000:]
        stamp = (run / "progress.json").stat().st_mtime_ns if (run / "progress.json").exists() else 0
        nodes.wait_for(
            lambda: nodes.iteration_of(run) >= iterations and (run / "progress.json").stat().st_mtime_ns > stamp,
            what=what,
        )
        assert process.poll() is None, log.read_text()[-3000:]
        return pids

    first = trains(nodes.wait_for(lambda: group(2), what="a group of two"), "training of two", iterations=2000)
    lost = present.pop()
    at = time.monotonic()
    nodes.lose(cluster, lost)
    second = trains(nodes.wait_for(lambda: group(1, first), what="a group of one"), "training of one")
    shrunk = time.monotonic() - at
    shrunk_at = nodes.iteration_of(run)
    present.append(cluster.add_node(num_cpus=1))
    at = time.monotonic()
    trains(nodes.wait_for(lambda: group(2, second), what="a group of two again"), "training of two again")
    grown = time.monotonic() - at
    print(f"trains with one of two workers {shrunk:.1f} s after the loss of a node (iteration {shrunk_at}),")
    print(f"with two {grown:.1f} s after another joined (iteration {nodes.iteration_of(run)})")
    assert process.wait(timeout=1200) == 0, log.read_text()[-3000:]
    assert shrunk < RECOVERY_SECONDS
    assert shrunk_at >= 1000  # from a checkpoint, not from the beginning

    fixed = nodes.run(command(config, tmp_path / "fixed", length, "execution.workers=0"), timeout=1200)
    assert fixed.returncode == 0, fixed.stderr
    ours, theirs = (json.loads((tmp_path / name / "run" / "result.json").read_text()) for name in ("elastic", "fixed"))
    assert ours["workers"] == 2
    assert ours["dimension"] == theirs["dimension"]
    print("largest difference of a rank score:", max(abs(a - b) for a, b in zip(flat(ours), flat(theirs), strict=True)))
    assert flat(ours) == pytest.approx(flat(theirs), rel=1e-9, abs=1e-9)


def flat(result):
    """Every number of every rank; the rule refuses the largest rank by no number."""
    return [value for row in result["rank_scores"] for value in row.values() if value is not None]
