"""The first stage ends when the reconstruction errors have reached a plateau, and nothing else changes."""

import json

import pytest
import torch
from forked import Child
from plateau_worker import plateau_worker
from tiny import FAST, PAPER, make_trainer, resumed_anywhere

from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.errors import RunFailedError
from lwgan_dist.models.lwgan import model as model_module
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

INTERVAL, ENDS = 4, 12
"""Iterations between two checks, instead of 250; the first check at which a plateau can show is the third."""

PLANNED = {"embedding": 20, "matching": 9, "critic": 2, "joint": 5, "scoring": 2}
CARRIED_OUT = {**PLANNED, "embedding": ENDS, "matching": 6}  # 9 * 12 / 20, rounded up
EARLY = override(
    FAST,
    {
        "data.n": 120,
        "schedule.embedding_iterations": PLANNED["embedding"],
        "schedule.matching_iterations": PLANNED["matching"],
        "schedule.plateau": 1e3,
    },
)
NEVER = override(EARLY, {"schedule.plateau": 0})
HERE = ExecutionConfig(workers=0)


@pytest.fixture(autouse=True)
def _frequent_checks(monkeypatch):
    monkeypatch.setattr("lwgan_dist.models.lwgan.stages.PLATEAU_INTERVAL", INTERVAL)


def finished(told):
    trainer = make_trainer(told)
    return trainer, list(trainer.run())


def iterations_of(stage, seen):
    return [progress.iteration for progress in seen if progress.stage == stage]


def test_a_plateau_ends_the_first_stage_and_shortens_the_second_in_proportion():
    trainer, seen = finished(EARLY)
    assert trainer.lengths == CARRIED_OUT
    assert {stage.name: stage.iterations for stage in trainer.stages} == PLANNED
    assert {name: len(iterations_of(name, seen)) for name in PLANNED} == CARRIED_OUT


def test_numbers_of_iterations_go_on_at_the_planned_ends():
    trainer, seen = finished(EARLY)
    assert iterations_of("embedding", seen) == [*range(1, ENDS), 20]
    assert iterations_of("matching", seen) == [*range(21, 26), 29]
    assert iterations_of("critic", seen) == [30, 31]
    assert seen[-1].iteration == seen[-1].iterations == trainer.iteration == sum(PLANNED.values())
    assert [progress.iteration for progress in seen if progress.recorded][-1] == sum(PLANNED.values())
    recorded = [row["iteration"] for row in trainer.losses]
    assert recorded == sorted(set(recorded))
    assert {20, 29} <= set(recorded)


def test_without_a_plateau_every_stage_takes_what_was_planned():
    trainer, seen = finished(NEVER)
    assert trainer.lengths == PLANNED
    assert [progress.iteration for progress in seen] == list(range(1, sum(PLANNED.values()) + 1))
    assert trainer.state().meta["checks"] == []


def test_checks_change_nothing_until_the_end_of_the_stage():
    """Up to there, a run with a plateau and one without are bit-equal."""
    states = []
    for told in (EARLY, NEVER):
        trainer = make_trainer(told)
        for progress in trainer.run():
            if progress.iteration == ENDS - 1:
                break
        states.append(trainer.state().tensors)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_later_stages_keep_their_lengths_and_the_rates_of_the_second_reach_their_ends():
    """The guide of a shortened second stage fades over its first half, and the rest is on all rows."""
    trainer, guides = make_trainer(EARLY), []
    inner = trainer.model.encoder_generator.step

    def step(batch, weights):
        guides.append(weights.guide)
        return inner(batch, weights)

    trainer.model.encoder_generator.step = step
    list(trainer.run())
    assert guides[:ENDS] == [1.0] * ENDS
    assert guides[ENDS : ENDS + 6] == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0, 0.0, 0.0])
    assert not any(guides[ENDS + 6 :])


def test_the_paper_schedule_has_no_plateau():
    assert [stage.plateau for stage in make_trainer(PAPER).stages] == [0.0, 0.0]
    assert [stage.plateau for stage in make_trainer(EARLY).stages] == [1e3, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("iterations", [1, 11, 12, 13])
def test_a_first_stage_that_is_too_short_for_a_plateau_takes_all_of_it(iterations):
    trainer, _ = finished(override(EARLY, {"schedule.embedding_iterations": iterations}))
    assert trainer.lengths["embedding"] == min(iterations, ENDS)
    assert trainer.lengths["matching"] == (9 if iterations <= ENDS else -(-9 * ENDS // 13))


def test_without_a_first_stage_the_second_takes_all_of_its_own():
    trainer, _ = finished(override(EARLY, {"schedule.embedding_iterations": 0}))
    assert "embedding" not in trainer.lengths
    assert trainer.lengths["matching"] == PLANNED["matching"]


def test_the_checks_are_250_iterations_apart(monkeypatch):
    monkeypatch.undo()
    told = override(EARLY, {"schedule.embedding_iterations": 800, "schedule.matching_iterations": 8})
    trainer = make_trainer(told)
    for _ in trainer.run():
        if "embedding" in trainer.lengths:
            break
    assert trainer.lengths["embedding"] == 750


# what a plateau is ----------------------------------------------------------------------------------------------------


def lengths_with(monkeypatch, errors, plateau=0.01, iterations=40):
    """Length of the first stage if the k-th check finds ``errors(k)``, by rank from 2 on."""
    told = override(EARLY, {"schedule.embedding_iterations": iterations, "schedule.plateau": plateau})
    trainer = make_trainer(told)
    calls = iter(range(10_000))

    def checked(x, _decoded):
        call = next(calls)
        return torch.full((len(x),), float(errors(call // 2)[call % 2]), dtype=torch.float64)

    monkeypatch.setattr(model_module, "reconstruction_errors", checked)
    for _ in trainer.run():
        if "embedding" in trainer.lengths:
            break
    assert trainer.model.batches.focus == 2  # an S-curve: of three ranks, the second and the third are looked at
    return trainer.lengths["embedding"]


def test_errors_that_fall_are_no_plateau(monkeypatch):
    assert lengths_with(monkeypatch, lambda k: (1 - 0.06 * k, 0.5)) == 40


def test_two_checks_after_the_last_progress_the_stage_ends(monkeypatch):
    for last in (0, 3, 5):
        ended = lengths_with(monkeypatch, lambda k, last=last: (1 - 0.06 * min(k, last), 0.5))
        assert ended == (last + 1 + 2) * INTERVAL


def test_one_rank_that_still_falls_is_enough_to_go_on(monkeypatch):
    assert lengths_with(monkeypatch, lambda k: (0.5, 1 - 0.06 * k)) == 40


def test_a_fall_up_to_the_plateau_is_no_progress(monkeypatch):
    for plateau, expected in ((0.021, ENDS), (0.019, 40)):
        assert lengths_with(monkeypatch, lambda k: (1 - 0.01 * k, 0.5), plateau) == expected


def test_errors_that_rise_and_return_are_no_progress(monkeypatch):
    series = [1.0, 0.5, 0.9, 0.8, 0.4] + [0.3] * 10
    assert lengths_with(monkeypatch, lambda k: (series[k], 0.5)) == 4 * INTERVAL


# resuming, results ----------------------------------------------------------------------------------------------------


def test_a_run_that_is_resumed_anywhere_ends_bit_equal():
    resumed_anywhere(EARLY)


def test_a_resumed_run_that_forgot_its_checks_would_be_noticed():
    """Control: it takes longer to see the plateau."""
    trainer = make_trainer(EARLY)
    for progress in trainer.run():
        if progress.iteration == ENDS - 1:
            break
    state = trainer.state()
    state.meta["checks"] = []
    resumed = make_trainer(EARLY)
    resumed.load(state)
    list(resumed.run())
    assert resumed.lengths["embedding"] == 20


def run_of(told):
    return Run(RunConfig.model_validate(told))


def test_the_result_counts_what_was_carried_out(tmp_path):
    for told, lengths in ((EARLY, CARRIED_OUT), (NEVER, PLANNED)):
        folder = Folder.at(str(tmp_path / str(sum(lengths.values()))))
        assert run_of(told).fit(folder, HERE).result.iterations == sum(lengths.values())
        assert folder.sub("checkpoints").has(f"iteration-{sum(PLANNED.values()):012d}/state.json")


def test_a_run_that_is_halted_where_iterations_are_left_out_ends_alike(tmp_path):
    """At 15 the first stage has ended, and the second not begun: iterations 13 to 20 are left out."""
    run, folder = run_of(EARLY), Folder.at(str(tmp_path / "halted"))
    straight = run.fit(Folder.at(str(tmp_path / "straight")), HERE)
    halt = run.fit_until(folder, HERE, 15)
    assert run.fit_until(folder, HERE, 20).cpu_seconds == run.fit_until(folder, HERE, 13).cpu_seconds
    assert halt.cpu_seconds == run.fit_until(folder, HERE, 15).cpu_seconds > 0
    with pytest.raises(RunFailedError, match="beyond iteration 11"):
        run.fit_until(folder, HERE, 11)
    run.fit_until(folder, HERE, 23)
    with pytest.raises(RunFailedError, match="beyond iteration 20"):
        run.fit_until(folder, HERE, 20)
    done = run.fit(folder, HERE)
    parts = {"cpu_seconds", "wall_seconds", "run_dir"}
    assert done.result.model_dump(exclude=parts) == straight.result.model_dump(exclude=parts)


def test_two_workers_decide_alike_and_as_one_does(tmp_path):
    alone, seen = finished(EARLY)
    children = [Child(plateau_worker, index, str(tmp_path / "meeting"), INTERVAL, EARLY) for index in range(2)]
    told = [json.loads(child.end().stdout.splitlines()[-1]) for child in children]
    assert told[0] == told[1]
    assert told[0]["differing"] == []
    assert told[0]["lengths"] == CARRIED_OUT
    assert told[0]["iterations"] == [progress.iteration for progress in seen]
    for ours, theirs in zip(told[0]["losses"], alone.losses, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)
