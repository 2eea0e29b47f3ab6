"""On a GPU: every model follows the trajectory of the CPU, learns in bfloat16, resumes, and trains under Ray Train with
nccl. ``make gpu`` carries this out in some minutes and prints what an update costs; without a GPU all of it is skipped.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tiny import MODELS, PAPER, make_trainer, on_images, trajectory

from lwgan_dist.config import override
from lwgan_dist.training.distributed import World

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
RUNS = {**MODELS, "lwgan by the authors' schedule": PAPER}
IMAGES = "lwgan on images"


@pytest.fixture(params=[*RUNS, IMAGES])
def told(request, tmp_path):
    return on_images(tmp_path) if request.param == IMAGES else RUNS[request.param]


def on_gpu(told):
    return make_trainer(told, World(device=torch.device("cuda")))


def finished(trainer):
    for _ in trainer.run():
        pass
    return trainer.state()


def test_the_trajectory_is_that_of_the_cpu(told):
    """In float64 the devices differ by the order of their sums: 1e-6 after 40 iterations leaves room for its growth."""
    ours, theirs = trajectory(on_gpu(told)), trajectory(make_trainer(told))
    for one, other in zip(ours["losses"], theirs["losses"], strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-8)
    for split, table in theirs["components"].items():
        np.testing.assert_allclose(ours["components"][split], table, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_trains_in_every_precision(told, precision):
    state = finished(on_gpu(override(told, {"precision": precision})))
    assert all(np.isfinite(table).all() for table in state.meta["components"].values())
    assert all(tensor.device.type == "cpu" for tensor in state.tensors.values())


def test_what_was_cut_off_goes_on_as_if_it_had_not_been(told):
    straight, cut = finished(on_gpu(told)), on_gpu(told)
    for progress in cut.run():
        if progress.iteration == 9:
            break
    again = on_gpu(told)
    again.load(cut.state())
    end = finished(again)
    for key, value in straight.tensors.items():
        torch.testing.assert_close(end.tensors[key], value, rtol=1e-9, atol=1e-9)


def test_ray_train_uses_the_gpu(tmp_path):
    """A worker on every GPU: nccl between them, or with itself; a result as that of any run."""
    (tmp_path / "run.yaml").write_text(json.dumps(MODELS["lwgan"]))
    command = [sys.executable, "-m", "lwgan_dist", "train", "run.yaml", "--storage", "runs", "--name", "mine"]
    told = subprocess.run(
        [*command, "--workers", str(torch.cuda.device_count()), "execution.use_gpu=true"],
        cwd=tmp_path, capture_output=True, text=True,
        check=False, env=os.environ, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert json.loads((tmp_path / "runs" / "mine" / "result.json").read_text())["dimension"] >= 1


def test_cost_of_an_update():
    """Not a timed test: prints seconds for each device and precision, for ten ranks in 64 columns."""
    told = {
        "data": {"source": "manifold", "name": "ball", "dim": 8, "ambient_dim": 64, "rotate": True, "n": 2000},
        "networks": {"latent_dim": 10}, "schedule": {"embedding_iterations": 0, "matching_iterations": 300},
    }  # fmt: skip
    for device, make in (("cpu", make_trainer), ("cuda", on_gpu)):
        for precision in ("float32", "bfloat16"):
            trainer = make({**told, "precision": precision})
            times = []
            for progress in trainer.run():
                if device == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter())
                if progress.iteration == 200:
                    break
            print(f"{device} {precision}: {1000 * np.median(np.diff(times[20:])):.2f} ms an update")
