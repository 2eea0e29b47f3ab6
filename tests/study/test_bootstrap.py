"""The samples, configurations and starts of bootstrap refits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import FAST, PAPER

from lwgan_dist.config import ArrayData, ExecutionConfig, RunConfig, override
from lwgan_dist.data.sample import load_sample
from lwgan_dist.errors import ConfigError
from lwgan_dist.fitted import FittedModel, networks_of
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.results import Judgement
from lwgan_dist.run.run import Run
from lwgan_dist.seeding import derive
from lwgan_dist.storage import Folder
from lwgan_dist.study.bootstrap import refit_config, resample, warm_start
from lwgan_dist.study.config import BootstrapConfig

WARM, COLD = BootstrapConfig(), BootstrapConfig(start="cold")
KINDS = ["parametric", "rows"]


def trained(told, array=None, initial=None):
    """Sample, model and trainer of a run that nothing is written of."""
    config = RunConfig.model_validate(told) if isinstance(told, dict) else told
    sample = load_sample(config.data, array)
    config = config.resolved(train_rows=len(sample.train), ambient_dim=sample.ambient_dim)
    trainer = trainer_of(config, sample, initial=initial)
    for _ in trainer.run():
        pass
    tables = {split: np.array(table) for split, table in trainer.components.items()}
    dimension = Judgement.of(tables, config.objective, config.score, sample.rows).dimension
    networks = networks_of(config, sample.shape, trainer.state().tensors)
    return sample, FittedModel(networks, config, sample.standardizer, sample.columns, dimension), trainer


@pytest.fixture(scope="module")
def base():
    """A run of seconds, right though small; on data far from the origin and from unit scale."""
    told = {
        "data": {"source": "array", "seed": 3},
        "networks": {"latent_dim": 3, "width": 32},
        "precision": "float32",
        "score": {"evaluations": 20},
        "schedule": {
            "batch_size": 256, "embedding_iterations": 300, "matching_iterations": 500, "critic_iterations": 200,
        },
    }  # fmt: skip
    curve = load_sample(RunConfig.model_validate(override(FAST, {"data.n": 800, "data.noise": 0.02})).data)
    array = 100.0 + 50.0 * np.concatenate([curve.train, curve.holdout])
    return array, *trained(told, array)


def places(rows, among):
    """For each row the index of the row that it is, within rounding."""
    distances = np.abs(rows[:, None] - among[None]).max(axis=2)
    assert distances.min(axis=1).max() < 1e-9 * np.abs(among).max()
    return distances.argmin(axis=1)


# samples --------------------------------------------------------------------------------------------------------------


def test_resampled_rows_are_rows_of_both_parts_drawn_with_replacement(base):
    array, sample, _, _ = base
    rows = resample("rows", 0, sample, None, seed=7)
    assert rows.shape == array.shape
    picked = places(rows, array)
    counts = np.bincount(picked, minlength=len(array))
    assert (counts == 0).mean() == pytest.approx(np.exp(-1), abs=0.06)  # 5 standard deviations
    assert counts.max() > 2
    held = np.isin(np.arange(len(array)), places(sample.standardizer.undo(sample.holdout), array))
    assert counts[held].sum() == pytest.approx(80, abs=45)
    np.testing.assert_array_equal(rows[picked == picked[0]], np.broadcast_to(rows[0], (counts[picked[0]], 3)))


def test_parametric_rows_are_generated_at_the_estimated_rank(base):
    _, sample, model, _ = base
    assert model.dimension == 2
    rows = resample("parametric", 4, sample, model, seed=7)
    seed = derive(7, "bootstrap/rows", "parametric", 4)
    np.testing.assert_array_equal(rows, model.generate(800, rank=2, seed=seed))
    for rank, straight in ((1, True), (2, False), (3, False)):
        rows = resample("parametric", 4, sample, replace(model, dimension=rank), seed=7)
        assert is_curve(rows) == straight


def is_curve(rows):
    """Whether the nearest neighbours of most rows lie on a line with them."""
    nearest = np.argsort(np.square(rows[:, None] - rows[None]).sum(axis=2), axis=1)[:, :8]
    shares = [np.linalg.svd(rows[near] - rows[near].mean(axis=0), compute_uv=False) for near in nearest]
    return bool(np.median([values[1] / values[0] for values in shares]) < 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resample_depends_on_kind_number_and_seed_and_on_nothing_before_it(base, kind):
    _, sample, model, _ = base
    told = {(index, seed): resample(kind, index, sample, model, seed) for index in (0, 1) for seed in (0, 1)}
    for (index, seed), rows in reversed(told.items()):
        np.testing.assert_array_equal(rows, resample(kind, index, sample, model, seed))
    keys = list(told)
    for i, first in enumerate(keys):
        for second in keys[i + 1 :]:
            assert not np.array_equal(told[first], told[second])


def test_a_stream_has_no_bootstrap(base):
    _, sample, model, _ = base
    stream = replace(sample, stream=lambda rng, count: rng.standard_normal((count, 3)))
    with pytest.raises(ConfigError, match=r"bootstrap: .*data\.rows 'stream'"):
        resample("rows", 0, stream, model, 0)


# configurations -------------------------------------------------------------------------------------------------------


def resolved(told):
    return RunConfig.model_validate(told).resolved(train_rows=180, ambient_dim=3)


@pytest.mark.parametrize("told", [FAST, PAPER])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cold_refit_is_the_run_on_an_array_with_seeds_of_its_own(told, kind):
    config = resolved(override(told, {"data.holdout_fraction": 0.2, "data.standardize": "per_column"}))
    refit = refit_config(config, COLD, kind, 5, seed=1)
    assert isinstance(refit.data, ArrayData)
    assert (refit.data.holdout_fraction, refit.data.standardize) == (0.2, "per_column")
    assert refit.model_copy(update={"data": config.data, "seed": config.seed}) == config
    others = [
        refit_config(config, COLD, *place)
        for place in ((kind, 5, 2), (kind, 6, 1), (KINDS[kind == "parametric"], 5, 1))
    ]
    assert len({each.seed for each in [refit, *others]}) == 4
    assert len({each.data.seed for each in [refit, *others]}) == 4
    assert refit_config(config, COLD, kind, 5, seed=1) == refit
    assert RunConfig.model_validate_json(refit.model_dump_json()) == refit


def test_a_warm_refit_of_paper_is_that_of_the_authors():
    config = resolved(override(PAPER, {"schedule.iterations": 10_000, "schedule.burst_every": 100}))
    schedule = refit_config(config, WARM, "parametric", 0, 0).schedule
    assert (schedule.iterations, schedule.learning_rate, schedule.mmd_start) == (2_000, 1e-4, 0.0)
    assert (schedule.burst_first, schedule.burst_every) == (0, 100)
    changed = ("iterations", "learning_rate", "mmd_start", "burst_first")
    assert schedule.model_dump(exclude=set(changed)) == config.schedule.model_dump(exclude=set(changed))


def test_a_warm_refit_is_never_longer_than_the_run():
    assert refit_config(resolved(PAPER), WARM, "rows", 0, 0).schedule.iterations == PAPER["schedule"]["iterations"]


def test_a_warm_refit_of_fast_has_no_embedding_and_less_matching():
    config = resolved(FAST)
    refit = refit_config(config, WARM, "rows", 0, 0)
    assert refit.schedule.embedding_iterations == 0
    assert 1 <= refit.schedule.matching_iterations < config.schedule.matching_iterations
    assert refit.schedule.matching_learning_rate < config.schedule.matching_learning_rate
    assert refit.schedule.critic_iterations == config.schedule.critic_iterations
    assert (refit.networks, refit.precision, refit.score) == (config.networks, config.precision, config.score)


@pytest.mark.parametrize("settings", [{"schedule.matching_iterations": 7}, {"schedule": {"matching_iterations": 7}}])
def test_settings_win_over_those_of_a_warm_start(settings):
    schedule = refit_config(resolved(FAST), BootstrapConfig(settings=settings), "rows", 0, 0).schedule
    assert schedule.matching_iterations == 7
    assert schedule.embedding_iterations == 0  # the rest of the section stays
    assert schedule.batch_size == 30


@pytest.mark.parametrize("settings", [{"schedule.name": "paper"}, {"schedule": {"name": "paper"}}])
def test_another_schedule_starts_warm_in_its_own_way(settings):
    refit = refit_config(resolved(FAST), BootstrapConfig(settings=settings), "rows", 0, 0)
    assert (refit.schedule.name, refit.schedule.iterations, refit.schedule.mmd_start) == ("paper", 2_000, 0.0)
    assert refit.networks.encoder_activation == "silu"  # the networks are those of the run


@pytest.mark.parametrize("start", ["warm", "cold"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule.matching_iteration": 7}, r"bootstrap\.settings: .*schedule\.matching_iteration: unknown key; did"),
        ({"schedule.matching_iterations": 0}, r"bootstrap\.settings: .*schedule\.matching_iterations: must be >= 1"),
        ({"schedule.name": "slow"}, r"bootstrap\.settings: .*schedule\.name: must be one of fast, paper"),
        ({"score.penalty.a": 1}, r"bootstrap\.settings: .*score\.penalty\.a: penalty is a value"),
        ({"data.source": "manifold", "data.name": "sphere"}, r"bootstrap\.settings: data\.source: "),
        ({"data.name": "sphere"}, r"bootstrap\.settings: data\.name: is that of the run"),
        ({"networks.width": -1, "precision": "half"}, r"(?s)width.*\nbootstrap\.settings: .*precision"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_name_their_key(start, settings, message):
    with pytest.raises(ConfigError, match=message):
        refit_config(resolved(FAST), BootstrapConfig(start=start, settings=settings), "rows", 0, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("networks.latent_dim", 2), ("networks.width", 5), ("networks.encoder_activation", "relu"),
        ("precision", "float32"),
    ],
)  # fmt: skip
def test_a_warm_refit_keeps_the_networks_and_a_cold_one_may_not(key, value):
    told = {"settings": {key: value}}
    with pytest.raises(ConfigError, match=f"bootstrap.settings: {key}: .*bootstrap.start = cold"):
        refit_config(resolved(FAST), BootstrapConfig(**told), "rows", 0, 0)
    assert refit_config(resolved(FAST), BootstrapConfig(start="cold", **told), "rows", 0, 0)


# refits ---------------------------------------------------------------------------------------------------------------


def test_a_warm_start_is_a_copy_of_every_parameter(base):
    _, _, model, trainer = base
    initial, fitted = warm_start(model), trainer.parameters()
    assert initial.keys() == fitted.keys()
    assert all(torch.equal(initial[name], value) for name, value in fitted.items())
    theirs = {value.data_ptr() for network in model.networks.named().values() for value in network.parameters()}
    assert theirs.isdisjoint(value.data_ptr() for value in initial.values())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_refit_finds_the_rank_again_where_its_schedule_alone_does_not(base, kind):
    """Control: from random values, so short a schedule leaves rank 2 far from the data."""
    _, sample, model, trainer = base
    rows, config = resample(kind, 0, sample, model, seed=7), refit_config(trainer.model.config, WARM, kind, 0, seed=7)
    _, warm, from_there = trained(config, rows, warm_start(model))
    assert warm.dimension == 2
    errors = [table[1][1] for table in from_there.components["train"]]
    assert np.mean(errors) < 0.1
    _, _, from_chance = trained(config, rows)
    assert np.mean([table[1][1] for table in from_chance.components["train"]]) > 1.5 * np.mean(errors)


def test_a_refit_is_the_same_whenever_it_is_made(base, tmp_path):
    """Through `Run.fit`, as a study makes it."""
    _, sample, model, trainer = base
    settings = {"schedule.matching_iterations": 3, "schedule.critic_iterations": 20, "score.evaluations": 2}
    bootstrap, seen = BootstrapConfig(settings=settings), []
    for order in ((0, 1), (1, 0)):
        for index in order:
            config = refit_config(trainer.model.config, bootstrap, "parametric", index, 7)
            run = Run(config, resample("parametric", index, sample, model, 7))
            folder = Folder.at(str(tmp_path / f"{order}{index}"))
            seen.append(run.fit(folder, ExecutionConfig(workers=0), initial=warm_start(model)).components["train"])
    np.testing.assert_array_equal(seen[0], seen[3])
    np.testing.assert_array_equal(seen[1], seen[2])
    assert not np.array_equal(seen[0], seen[1])
