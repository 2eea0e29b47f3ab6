"""Checkpoints: whole or not taken for one."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from pyarrow import fs
from tiny import FAST, make_trainer, resumed_anywhere

from lwgan_dist.models.lwgan.kind import tear_of
from lwgan_dist.results import TearSummary
from lwgan_dist.storage import TEMPORARY, Folder
from lwgan_dist.training.checkpoint import Checkpoints
from lwgan_dist.training.trainer import TrainingState


def state(iteration, value=None):
    tensors = {"network/encoder/w": torch.full((40,), float(iteration if value is None else value))}
    return TrainingState(tensors, {"iteration": iteration, "losses": [], "components": {}})


@pytest.fixture(params=["local", "object store"])
def checkpoints(request, tmp_path):
    if request.param == "local":
        return Checkpoints(Folder.at(str(tmp_path)).sub("checkpoints"))
    store = fs.PyFileSystem(fs.FSSpecHandler(pytest.importorskip("fsspec").filesystem("memory")))
    return Checkpoints(Folder(store, f"/{tmp_path.name}/checkpoints", f"memory://{tmp_path.name}/checkpoints"))


def test_the_newest_is_read_back_equal(checkpoints):
    for iteration in (5, 10, 100):
        checkpoints.save(state(iteration))
    newest = checkpoints.newest()
    assert newest.meta == state(100).meta
    assert torch.equal(newest.tensors["network/encoder/w"], state(100).tensors["network/encoder/w"])


def test_no_checkpoint_is_none(checkpoints):
    assert checkpoints.newest() is None


def test_as_many_as_asked_for_are_kept(checkpoints):
    for iteration in range(1, 6):
        checkpoints.save(state(iteration))
    assert checkpoints.names() == ["iteration-000000000004", "iteration-000000000005"]


FILES = ["tensors.safetensors", "state.json", "manifest.json"]


def truncated(content):
    return content[: len(content) // 2]


def emptied(_content):
    return b""


def bit_flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [truncated, emptied, bit_flipped, None])
def test_a_damaged_newest_is_named_and_the_one_before_is_taken(checkpoints, caplog, file, damage):
    for iteration in (1, 2):
        checkpoints.save(state(iteration))
    folder = checkpoints.folder.sub("iteration-000000000002")
    path = f"{folder.path}/{file}"
    content = folder.read(file)
    folder.filesystem.delete_file(path)
    if damage:
        with folder.filesystem.open_output_stream(path) as stream:
            stream.write(damage(content))
    assert checkpoints.newest().meta["iteration"] == 1
    assert "iteration-000000000002" in caplog.text
    assert file.removesuffix(".json") in caplog.text  # a flipped digit of a checksum names the manifest


def test_a_whole_checkpoint_is_not_called_damaged(checkpoints, caplog):
    """Control for the test above."""
    for iteration in (1, 2):
        checkpoints.save(state(iteration))
    assert checkpoints.newest().meta["iteration"] == 2
    assert caplog.text == ""


def test_a_damaged_checkpoint_is_replaced_when_its_iteration_is_reached_again(checkpoints):
    for iteration in (1, 2):
        checkpoints.save(state(iteration))
    checkpoints.folder.sub("iteration-000000000002").write("manifest.json", b"")
    checkpoints.save(state(2, value=7))
    assert checkpoints.newest().tensors["network/encoder/w"][0] == 7


def test_a_resumed_trainer_takes_the_same_steps(tmp_path):
    straight, first, second = (make_trainer(FAST) for _ in range(3))
    for _ in straight.run():
        pass
    for progress in first.run():
        if progress.iteration == 9:
            break
    checkpoints = Checkpoints(Folder.at(str(tmp_path)))
    checkpoints.save(first.state())
    second.load(checkpoints.newest())
    for _ in second.run():
        pass
    ours, theirs = second.state(), straight.state()
    assert all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in theirs.tensors)
    assert ours.meta["losses"] == theirs.meta["losses"]
    assert ours.meta["components"] == theirs.meta["components"]


@pytest.mark.parametrize("iteration", [4, 14])
def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(iteration):
    """Its table of the start has one row less, its account of the tear a method and neither pieces nor groups."""
    first, second, straight = (make_trainer(FAST) for _ in range(3))
    for progress in first.run():
        if progress.iteration == iteration:
            break
    state = first.state()
    if "embedding/table" in state.tensors:
        state.tensors["embedding/table"] = state.tensors["embedding/table"][:-1]
    else:
        del state.meta["start"]["pieces"], state.meta["start"]["groups"]
        state.meta["start"]["method"] = "none"
    second.load(state)
    for trainer in (second, straight):
        for _ in trainer.run():
            pass
    ours, theirs = second.state(), straight.state()
    assert all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in theirs.tensors)
    assert tear_of(ours.meta["start"]) == TearSummary(pieces=1, rank=0, share=0.0, groups=1)


def test_every_break_point_resumes_to_the_same_state():
    """All of them, the boundaries of stages with fresh optimizers among them; losses and scores too."""
    resumed_anywhere(FAST)


def test_damaged_checkpoints_do_not_displace_new_ones(checkpoints):
    for iteration in (90, 100):
        checkpoints.save(state(iteration))
        checkpoints.folder.sub(f"iteration-{iteration:012d}").write("manifest.json", b"")
    assert checkpoints.newest() is None
    checkpoints.drop_after(0)
    for iteration in (10, 20):
        checkpoints.save(state(iteration))
        assert checkpoints.newest().meta["iteration"] == iteration


CALLS = ["fsync", "rename", "replace", "open"]


def save_killed_at(folder: Path, step: int) -> bool:
    """In a child process, save checkpoint 3 over 1 and 2; SIGKILL before the step-th call that touches the disk.

    Returns whether it was killed, which it is not once step exceeds the calls that are made.
    """
    child = os.fork()
    if child == 0:
        done = 0

        def counted(call):
            def wrapper(*args, **kwargs):
                nonlocal done
                done += 1
                if done == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)

            return wrapper

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        import builtins

        builtins.open = counted(builtins.open)
        Checkpoints(Folder.at(str(folder))).save(state(3))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_killed_between_any_two_steps_of_a_save_the_newest_is_whole(tmp_path):
    killed, seen = 0, set()
    for step in range(1, 100):
        folder = tmp_path / str(step)
        checkpoints = Checkpoints(Folder.at(str(folder)))
        checkpoints.save(state(1))
        checkpoints.save(state(2))
        was_killed = save_killed_at(folder, step)
        newest = checkpoints.newest()
        iteration = newest.meta["iteration"]
        assert iteration in (2, 3)
        assert torch.equal(newest.tensors["network/encoder/w"], state(iteration).tensors["network/encoder/w"])
        checkpoints.folder.remove_temporary()
        assert not [name for name in os.listdir(folder) if name.startswith(TEMPORARY)]
        killed += was_killed
        seen.add(iteration)
        if not was_killed:
            break
    print(f"killed at {killed} different steps")
    assert killed >= 8
    assert seen == {2, 3}
    assert json.loads((folder / "iteration-000000000003" / "manifest.json").read_text())["files"]
