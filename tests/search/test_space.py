"""Laws of search spaces: what is refused and how, which points there are, how they are drawn, changed and counted."""

from itertools import pairwise

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwgan_dist.config import RunConfig
from lwgan_dist.configfile import build_config
from lwgan_dist.errors import ConfigError
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.space import GRID_LIMIT, Space

DATA = {"source": "manifold", "name": "s_curve"}
GRID = {"name": "grid"}


def search(space, run=None, **told) -> SearchConfig:
    return build_config(SearchConfig, {"run": {"data": DATA, **(run or {})}, "space": space, **told}, {})


def space_of(space, run=None, **told) -> Space:
    return Space(search(space, run, **told))


CONDITIONAL = {
    "schedule.iterations": {"integer": [100, 1000], "log": True, "when": {"schedule.name": "paper"}},
    "schedule.embedding_learning_rate": {"loguniform": [1e-4, 1e-2], "when": {"schedule.embedding_iterations": 600}},
    "schedule.embedding_iterations": {"choice": [0, 600], "when": {"schedule.name": "fast"}},
    "objective.mmd_weight": {"uniform": [0.5, 2]},
    "networks.width": {"integer": [8, 31], "step": 8},
    "schedule.name": {"choice": ["paper", "fast"]},
    "score.batch_size": {"choice": [None, 64]},
}

# refusals: (space, the beginnings of the lines) -----------------------------------------------------------------------

ONE = {"choice": [1]}
FAST, NAMES = {"schedule.name": "fast"}, {"choice": ["paper", "fast"]}
REFUSED = {
    "misspelt": (
        {"objective.mmd_wieght": ONE},
        ["objective.mmd_wieght: unknown field; did you mean objective.mmd_weight?"],
    ),
    "without its section": ({"width": ONE}, ["width: unknown field; did you mean networks.width?"]),
    "in a wrong section": ({"score.width": ONE}, ["score.width: unknown field; known: score.evaluations, "]),
    "nothing like it": ({"foo": ONE}, ["foo: unknown field"]),
    "item of a list": ({"schedule.decay_at.0": ONE}, ["schedule.decay_at.0: unknown field"]),
    "execution": ({"execution.workers": ONE}, ["execution.workers: unknown field"]),
    "empty": ({"": ONE}, ["'': unknown field"]),
    "line break": ({"a\nb": ONE}, ["a\\nb: unknown field"]),
    "section": ({"objective": ONE}, ["objective: is a section; name its fields, for example objective."]),
    "only one value": ({"networks.name": {"choice": ["mlp"]}}, ["networks.name: has only one value"]),
    "seed": ({"seed": ONE}, ["seed: is not searched; the seeds of all runs are derived"]),
    "data": ({"data.noise": ONE}, ["data.noise: is not searched, only data.standardize is: objectives on other data"]),
    "seed of the data": ({"data.seed": ONE}, ["data.seed: is not searched, only data.standardize"]),
    "below the least": ({"networks.width": {"integer": [0, 8]}}, ["networks.width: must be >= 1 (got 0)"]),
    "above the most": ({"schedule.beta1": {"uniform": [0, 1]}}, ["schedule.beta1: must be < 1"], {"name": "paper"}),
    "low end": ({"objective.mmd_weight": {"uniform": [-1, 1]}}, ["objective.mmd_weight: must be >= 0 (got -1"]),
    "whole numbers": (
        {"networks.width": {"uniform": [7.5, 64]}},
        ["networks.width: takes whole numbers, so uniform does not fit; use integer: [8, 64]"],
    ),
    "whole numbers in the logarithm": (
        {"networks.width": {"loguniform": [8, 64]}},
        ["networks.width: takes whole numbers, so loguniform does not fit; use integer: [8, 64], log: true"],
    ),
    "numbers of words": ({"precision": {"integer": [0, 1]}}, ["precision: must be one of ", "precision: must be "]),
    "number for a list": (
        {"schedule.decay_at": {"uniform": [0, 1]}},
        ["schedule.decay_at: must be a list", "schedule.decay_at: must be a list"],
        {"name": "paper"},
    ),
    "unknown word": (
        {"networks.encoder_activation": {"choice": ["relu", "sliu"]}},
        ["networks.encoder_activation: must be one of relu, silu (got 'sliu'); did you mean silu?"],
    ),
    "unknown word of a union": ({"schedule.name": {"choice": ["fats"]}}, ["schedule.name: must be one of fast, paper"]),
    "in a list": (
        {"schedule.decay_at": {"choice": [[0.5], [0.5, 2]]}},
        ["schedule.decay_at: [0.5, 2]: must be <= 1"],
        {"name": "paper"},
    ),
    "twice": ({"networks.width": {"choice": [8, 8.0]}}, ["networks.width: a value is given twice"]),
    "other schedule": (
        {"schedule.iterations": ONE},
        ["schedule.iterations: iterations goes with schedule.name 'paper', and that of run is 'fast'"],
    ),
    "never that schedule": (
        {"schedule.iterations": ONE, "schedule.name": {"choice": ["fast"]}},
        ["schedule.iterations: iterations goes with schedule.name 'paper', which schedule.name never is in the space"],
    ),
    "sometimes the other schedule": (
        {"schedule.joint_iterations": ONE, "schedule.name": NAMES},
        ["schedule.joint_iterations: joint_iterations goes with schedule.name 'fast', so it needs when: {"],
    ),
    "wrong schedule": (
        {"schedule.iterations": {**ONE, "when": FAST}, "schedule.name": NAMES},
        ["schedule.iterations: iterations goes with schedule.name 'paper', so it needs when"],
    ),
    "condition elsewhere": (
        {"networks.width": {**ONE, "when": {"schedule.nam": "fast"}}, "schedule.name": NAMES},
        ["networks.width.when: schedule.nam is not in the space; did you mean schedule.name?"],
    ),
    "condition on itself": (
        {"networks.width": {**ONE, "when": {"networks.width": 1}}},
        ["networks.width.when: a condition cannot rest on itself (networks.width on networks.width)"],
    ),
    "cycle": (
        {
            "networks.width": {**ONE, "when": {"networks.latent_dim": 1}},
            "networks.latent_dim": {**ONE, "when": {"networks.width": 1}},
        },
        ["networks.width.when: a condition cannot rest", "networks.latent_dim.when: a condition cannot rest"],
    ),
    "condition that never holds": (
        {"networks.width": {**ONE, "when": {"schedule.name": ["fast", "slow"]}}, "schedule.name": NAMES},
        ['networks.width.when: schedule.name is never "slow"; it is in choice ["paper", "fast"]'],
    ),
    "condition between steps": (
        {
            "networks.latent_dim": {**ONE, "when": {"networks.width": 9}},
            "networks.width": {"integer": [8, 16], "step": 4},
        },
        ["networks.latent_dim.when: networks.width is never 9; it is in integer [8, 16] in steps of 4"],
    ),
    "condition on a range": (
        {"networks.width": {**ONE, "when": {"objective.mmd_weight": 1}}, "objective.mmd_weight": {"uniform": [0, 1]}},
        ["networks.width.when: objective.mmd_weight is uniform and has no single values"],
    ),
    "condition without values": (
        {"networks.width": {**ONE, "when": {"schedule.name": []}}, "schedule.name": NAMES},
        ["networks.width.when: schedule.name: needs a value"],
    ),
    "conditions at odds": (
        {
            "networks.width": {**ONE, "when": {"schedule.name": "paper", "schedule.joint_iterations": 1}},
            "schedule.joint_iterations": {**ONE, "when": FAST},
            "schedule.name": NAMES,
        },
        ["networks.width.when: cannot hold: no schedule.name fulfils it"],
    ),
    "at odds with the run": (
        {"score.penalty": {"choice": ["fixed", "rate"]}},
        ['score.penalty: \'rate\' needs the number of rows n'],
        None,
        {"rows": "stream"},
    ),
    "all at once": (
        {
            "networks.wdth": ONE,
            "score.evaluations": ONE,
            "seed": ONE,
            "objective.mmd_weight": {**ONE, "when": {"x": 1}},
        },
        ["networks.wdth: unk", "score.evaluations: must be >= 2", "seed: is not", "objective.mmd_weight.when: x is"],
    ),
    "once about what rests on an error": (
        {"schedule.nmae": NAMES, "networks.width": {"choice": [8], "when": {"schedule.nmae": "fast"}}},
        ["schedule.nmae: unknown field; did you mean schedule.name?"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_searched_is_refused_in_a_line_that_begins_with_its_key(name):
    space, beginnings, schedule, data = (*REFUSED[name], None, None)[:4]
    run = {"data": {**DATA, **(data or {})}, **({"schedule": schedule} if schedule else {})}
    with pytest.raises(ConfigError) as caught:
        space_of(space, run)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(beginnings), lines
    for line, beginning in zip(lines, beginnings, strict=True):
        assert line.startswith(f"space.{beginning}"), line
        assert len(line) < 400


# points ---------------------------------------------------------------------------------------------------------------


def suggested(space, seed):
    return space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask())


def is_plain(value) -> bool:
    return type(value) in (bool, int, float, str, type(None)) or (type(value) is list and all(map(is_plain, value)))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_suggestions_are_points_of_the_space_in_plain_values(seed):
    space = space_of(CONDITIONAL)
    values = suggested(space, seed)
    assert space.contains(values)
    assert all(map(is_plain, values.values()))
    config = space.configuration(values)
    assert isinstance(config, RunConfig)
    assert space.values_of(config) == values
    assert space.outside(values) == []
    fast = values["schedule.name"] == "fast"
    assert ("schedule.iterations" in values) != fast
    assert ("schedule.embedding_iterations" in values) == fast
    assert ("schedule.embedding_learning_rate" in values) == (fast and values["schedule.embedding_iterations"] == 600)


def test_an_encoded_point_is_suggested_again():
    space = space_of({**CONDITIONAL, "objective.mmd_weight": {"integer": [1, 6], "step": 2}})
    for seed in range(30):
        values = suggested(space, seed)
        study = optuna.create_study()
        study.enqueue_trial(space.encoded(values))
        assert space.suggest(study.ask()) == values


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"networks.width": 12}, "networks.width: 12 is not in its integer [8, 31] in steps of 8"),
        ({"networks.width": 32}, "networks.width: 32 is not in its integer [8, 31] in steps of 8"),
        ({"networks.width": True}, "networks.width: true is not in its integer [8, 31] in steps of 8"),
        ({"objective.mmd_weight": 3}, "objective.mmd_weight: 3 is not in its uniform [0.5, 2.0]"),
        ({"objective.mmd_weight": "x"}, 'objective.mmd_weight: "x" is not in its uniform [0.5, 2.0]'),
        ({"networks.witdh": 8}, "networks.witdh: is not in the space; did you mean networks.width?"),
        (
            {"schedule.iterations": 200},
            'schedule.iterations: its condition ({"schedule.name": "paper"}) does not hold',
        ),
    ],
)
def test_what_is_outside_is_said(changes, line):
    space = space_of(CONDITIONAL)
    point = {"objective.mmd_weight": 1.0, "networks.width": 8, "schedule.name": "fast",
             "schedule.embedding_iterations": 0, "score.batch_size": None}  # fmt: skip
    assert space.contains(point)
    assert not space.contains({**point, **changes})
    assert space.outside({**point, **changes}) == [line]
    del point["networks.width"]
    assert not space.contains(point)


def test_without_values_a_configuration_is_the_run():
    config = search(CONDITIONAL, {"networks": {"width": 17}})
    assert Space(config).configuration({}) == config.run


def test_the_other_schedule_begins_with_its_own_defaults():
    space = space_of(CONDITIONAL, {"schedule": {"name": "fast", "joint_iterations": 7, "batch_size": 99}})
    config = space.configuration({"schedule.name": "paper", "schedule.iterations": 200})
    assert config.schedule.model_dump(exclude={"iterations"}) == (
        build_config(RunConfig, {"data": DATA, "schedule": {"name": "paper"}}, {})
        .schedule.model_dump(exclude={"iterations"})
    )  # fmt: skip
    assert space.configuration({"schedule.name": "fast"}).schedule.joint_iterations == 7


def test_whole_numbers_of_a_field_of_numbers_are_its_numbers():
    space = space_of({"objective.mmd_weight": {"integer": [1, 3]}})
    assert space.grid() == [{"objective.mmd_weight": value} for value in (1.0, 2.0, 3.0)]
    assert {type(suggested(space, seed)["objective.mmd_weight"]) for seed in range(9)} == {float}


# grids ----------------------------------------------------------------------------------------------------------------


def test_a_grid_is_gone_through_with_the_last_parameter_fastest():
    space = space_of(
        {"networks.width": {"grid": [16, 8]}, "networks.latent_dim": {"integer": [3, 7], "step": 2}}, searcher=GRID
    )
    points = [tuple(point.values()) for point in space.grid()]
    assert points == [(16, 3), (16, 5), (16, 7), (8, 3), (8, 5), (8, 7)]


def test_a_grid_respects_conditions_and_has_no_point_twice():
    space = space_of(
        {
            "schedule.joint_iterations": {"grid": [0, 5], "when": {"schedule.name": "fast"}},
            "schedule.joint_critic_updates": {"choice": [1, 2, 3], "when": {"schedule.joint_iterations": [5]}},
            "schedule.name": NAMES,
            "networks.width": {"grid": [8, 16]},
        },
        searcher=GRID,
    )
    points = space.grid()
    assert len(points) == 2 * (1 + 1 + 3)
    assert all(map(space.contains, points))
    assert all(one != other for one, other in pairwise(points))
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)


def test_a_grid_that_has_no_end_in_sight_is_refused():
    space = space_of({"networks.width": {"integer": [1, 1000]}, "networks.latent_dim": {"integer": [1, 1000]}})
    with pytest.raises(ConfigError, match=rf"^space: has more than {GRID_LIMIT:,} combinations$"):
        space.grid()


# the authors' values --------------------------------------------------------------------------------------------------


def resolved(space, **told) -> RunConfig:
    return space.run.resolved(train_rows=4500, ambient_dim=3)


def test_the_authors_values_are_the_defaults_of_the_searched_fields():
    run = {
        "objective": {"mmd_weight": 3}, "networks": {"width": 16, "latent_dim": 4}, "score": {"evaluations": 9},
        "schedule": {"name": "paper", "iterations": 50, "learning_rate": 1e-3}, "precision": "float64",
    }  # fmt: skip
    space = space_of(
        {
            "objective.mmd_weight": {"uniform": [0, 4]},
            "networks.width": {"integer": [8, 64]},
            "networks.latent_dim": {"integer": [2, 6]},
            "networks.encoder_activation": {"choice": ["relu", "silu"]},
            "score.evaluations": {"integer": [2, 60]},
            "score.penalty": {"choice": ["resolution", "reference"]},
            "score.batch_size": {"integer": [2, 600]},
            "schedule.learning_rate": {"loguniform": [1e-4, 1e-2]},
            "precision": {"choice": ["float32", "float64"]},
        },
        run,
    )
    assert space.paper_values(resolved(space)) == {
        "objective.mmd_weight": 1.0, "networks.width": 64, "networks.latent_dim": 4,
        "networks.encoder_activation": "relu", "score.evaluations": 50, "score.penalty": "reference",
        "score.batch_size": 512,
        "schedule.learning_rate": 2e-4, "precision": "float64",
    }  # fmt: skip
    # The iterations, not searched, stay those of the run.
    assert space.configuration(space.paper_values(resolved(space))).schedule.iterations == 50


def test_the_fast_schedule_has_no_values_of_the_authors():
    run = {"schedule": {"matching_learning_rate": 5e-3}}
    space = space_of({"schedule.matching_learning_rate": {"loguniform": [1e-4, 1e-2]}}, run)
    assert space.paper_values(resolved(space)) == {"schedule.matching_learning_rate": 5e-3}


def test_convolutions_have_the_authors_width_with_their_schedule_alone():
    told = {**CONDITIONAL, "networks.width": {"choice": [16, 64]}}
    space = space_of(told, {"networks": {"name": "conv"}})
    default = space.run.resolved(train_rows=4500, ambient_dim=784, shape=(28, 28))
    assert default.networks.width == 16
    assert space.paper_values(default)["networks.width"] == 64


def test_the_schedule_of_the_authors_is_theirs_where_it_is_searched():
    space = space_of(CONDITIONAL)
    values = space.paper_values(resolved(space))
    assert (values["schedule.name"], values["schedule.iterations"]) == ("paper", 10_000)
    assert "schedule.embedding_iterations" not in values


def test_the_resolved_default_trains_as_the_run():
    for run in ({}, {"schedule": {"name": "paper"}, "networks": {"width": 16}}):
        space = space_of({**CONDITIONAL, "networks.width": {"choice": [16, 64]}}, run)
        default = resolved(space)
        again = space.configuration(space.values_of(default)).resolved(train_rows=4500, ambient_dim=3)
        assert again == default
