"""Laws of the configuration models, checked on every field of every model, so that a new field is under them too."""

import copy
import math
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from lwgan_dist import config as module
from lwgan_dist.config import (
    ArrayData,
    ExecutionConfig,
    FastSchedule,
    ManifoldName,
    RunConfig,
    TrainConfig,
    WorkerRange,
    override,
)
from lwgan_dist.configbase import Frozen
from lwgan_dist.data.simulated.manifolds import MANIFOLDS
from lwgan_dist.errors import ConfigError

MANIFOLD = {"data": {"source": "manifold", "name": "s_curve"}}
TABLE = {"data": {"source": "table", "path": "a.csv"}, "schedule": {"name": "paper"}}
ARRAY = {"data": {"source": "array"}}
POPULATION = {"data": {"source": "population", "population": 7}}
WAE = {"data": {"source": "array"}, "model": {"name": "wae"}}
TOLD = [MANIFOLD, TABLE, ARRAY, POPULATION, WAE]
"""Together they hold every member of every union."""

MODELS = [
    model
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, Frozen) and model is not Frozen and model.__name__[0] != "_"
]
CANDIDATES: list[Any] = [
    True, False, 2, 3, 7, 0.25, 0.5, 0.75, "other", ["x1"], [0.5],
    *get_args(module.Standardization), *get_args(module.Split), *get_args(module.Precision), *get_args(ManifoldName),
    "stream", "last", "relu", "silu", "fixed", "rate",
    "comma", "utf-16", "refuse", "chart", "closed", "linear", "bent", "even", "uneven", "scale", "spacing",
]  # fmt: skip
"""Values of which every field that is not a section or a union's name accepts at least two."""


def leaves(config: Frozen, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every field that is not a section."""
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Frozen):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def run_config(told: dict[str, Any], **changes: Any) -> RunConfig:
    return RunConfig.model_validate(override(told, {key.replace("__", "."): value for key, value in changes.items()}))


OF_THE_FILE = ("data.path", "data.separator", "data.decimal", "data.encoding", "data.missing")
"""Where the rows of a table lie, and how they are written."""

FIELDS = [
    pytest.param(told, path, id=f"{i}-{path}")
    for i, told in enumerate(TOLD)
    for path, _ in leaves(RunConfig.model_validate(told))
    if told is not WAE or path.split(".")[0] not in module.LWGAN_SECTIONS
    if path not in ("data.source", "schedule.name", "networks.name", "model.name", "model.networks")
]


def changed(told: dict[str, Any], path: str) -> RunConfig:
    """The configuration with another, valid, value at the path."""
    before = RunConfig.model_validate(told).model_dump()
    for value in CANDIDATES:
        try:
            after = RunConfig.model_validate(override(told, {path: value}))
        except ValidationError:
            continue
        if after.model_dump() != before:
            return after
    raise AssertionError(f"no value of CANDIDATES fits {path}")


def test_settings_of_reading_that_cannot_be_are_refused():
    for name, value in [
        ("separator", "::"),
        ("separator", "x"),
        ("decimal", ";"),
        ("encoding", "utf-99"),
        ("drop", [True]),
    ]:
        with pytest.raises(ValidationError, match=name):
            run_config(TABLE, **{f"data__{name}": value})
    with pytest.raises(ValidationError, match=r"data\.columns names those to use"):
        run_config(TABLE, data__drop=["a"], data__columns=["b"])
    assert run_config(TABLE, data__drop=[0, "a"]).data.drop == ["0", "a"]


# the models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", TOLD)
def test_no_field_can_be_assigned(told):
    config = RunConfig.model_validate(told)
    for name in RunConfig.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(config, name, getattr(config, name))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_is_frozen_and_refuses_unknown_keys_and_infinities(model):
    kept = {key: model.model_config.get(key) for key in ("frozen", "extra", "allow_inf_nan", "validate_default")}
    assert kept == {"frozen": True, "extra": "forbid", "allow_inf_nan": False, "validate_default": True}


@pytest.mark.parametrize("section", ["", "data.", "networks.", "objective.", "schedule.", "score.", "execution."])
def test_an_unknown_key_is_refused_in_every_section(section):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        TrainConfig.model_validate(override(MANIFOLD, {f"{section}unknown": 1}))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
def test_no_number_may_be_nan_or_infinite(bad):
    for told in (MANIFOLD, TABLE):
        for path, value in leaves(TrainConfig.model_validate(told)):
            if isinstance(value, int | float) and not isinstance(value, bool):
                with pytest.raises(ValidationError):
                    TrainConfig.model_validate(override(told, {path: bad}))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_documented(model):
    undocumented = {name for name, field in model.model_fields.items() if not field.description}
    assert undocumented <= {"source", "name"}  # the names of a union's members


def test_a_schedule_without_a_name_is_the_default_schedule():
    config = run_config(MANIFOLD, schedule={"matching_iterations": 7})
    assert isinstance(config.schedule, FastSchedule)
    assert config.schedule.matching_iterations == 7


def test_data_has_no_default_source():
    with pytest.raises(ValidationError, match="source"):
        RunConfig.model_validate({"data": {"name": "s_curve"}})


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("score.penalty", {"data.rows": "stream", "score.penalty": "rate"}),
        ("score.score_on", {"data.rows": "stream", "score.score_on": "holdout"}),
        ("score.score_on", {"data.holdout_fraction": 0, "score.score_on": "holdout"}),
    ],
)
def test_fields_at_odds_are_refused_and_one_of_them_is_named(key, changes):
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(override(MANIFOLD, changes))
    (error,) = caught.value.errors()
    assert error["ctx"]["key"] == key


def test_a_range_of_workers_is_in_order():
    assert WorkerRange(min=2, max=2).max == 2
    with pytest.raises(ValidationError, match="min=3, max=2"):
        WorkerRange(min=3, max=2)


def test_every_manifold_of_the_configuration_can_be_drawn_and_conversely():
    assert set(get_args(ManifoldName)) == set(MANIFOLDS)


# override -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "path"), FIELDS)
def test_what_is_set_is_read(told, path):
    value = override(told, {path: 17})
    for part in path.split("."):
        value = value[part]
    assert value == 17


def test_override_leaves_its_input_alone():
    told = copy.deepcopy(TABLE)
    changes = {"schedule": {"name": "fast"}, "schedule.batch_size": 7, "data.columns": ["a"]}
    told_before, changes_before = copy.deepcopy(told), copy.deepcopy(changes)
    result = override(told, changes)
    result["data"]["columns"].append("b")
    assert (told, changes) == (told_before, changes_before)


def test_override_leaves_everything_else_as_it_was():
    assert override(TABLE, {"schedule.iterations": 5}) == {
        "data": TABLE["data"],
        "schedule": {"name": "paper", "iterations": 5},
    }


@pytest.mark.parametrize("first", [True, False])
def test_another_schedule_drops_the_fields_of_the_one_before_but_those_set_with_it(first):
    told = {**MANIFOLD, "schedule": {"name": "fast", "matching_iterations": 5, "batch_size": 9}}
    set_with_it = {"schedule.iterations": 3}
    changes = {"schedule.name": "paper", **set_with_it} if first else {**set_with_it, "schedule.name": "paper"}
    assert override(told, changes)["schedule"] == {"name": "paper", "iterations": 3}


def test_another_schedule_drops_the_fields_of_the_default_schedule():
    told = {**MANIFOLD, "schedule": {"matching_iterations": 5}}
    assert override(told, {"schedule.name": "paper"})["schedule"] == {"name": "paper"}


def test_the_same_schedule_keeps_its_fields():
    for told in ({"name": "fast", "matching_iterations": 5}, {"matching_iterations": 5}):
        assert override({"schedule": told}, {"schedule.name": "fast"})["schedule"] == {
            "name": "fast",
            "matching_iterations": 5,
        }


def test_another_source_of_data_drops_the_fields_of_the_one_before():
    told = {"data": {"source": "manifold", "name": "sphere", "dim": 3}}
    changes = {"data.path": "a.csv", "data.source": "table"}
    assert override(told, changes)["data"] == {"source": "table", "path": "a.csv"}


def test_a_section_comes_before_what_is_in_it():
    changes = {"schedule.iterations": 3, "schedule": {"name": "paper", "batch_size": 8}}
    assert override(MANIFOLD, changes)["schedule"] == {"name": "paper", "batch_size": 8, "iterations": 3}


def test_an_empty_section_can_be_filled():
    assert override({"schedule": None}, {"schedule.batch_size": 8}) == {"schedule": {"batch_size": 8}}


@pytest.mark.parametrize("path", ["data.name.x", "data.name.x.y", "data.n.x"])
def test_a_path_through_a_value_is_refused(path):
    with pytest.raises(ValueError, match=rf"^{path}: \w+ is a value, not a section$"):
        override({"data": {"name": "s_curve", "n": 5}}, {path: 1})


# defaults that depend on the data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize(("rows", "columns"), [(None, 3), (100, 3), (10_000, 40)])
def test_resolved_leaves_no_default_open_and_is_idempotent(told, rows, columns):
    resolved = RunConfig.model_validate(told).resolved(train_rows=rows, ambient_dim=columns)
    still_open = {path for path, value in leaves(resolved) if value is None}
    if told is WAE:
        still_open = {path for path in still_open if path.split(".")[0] not in module.LWGAN_SECTIONS}
    drawn = {
        f"data.{name}" for name in ("dim", "topology", "ambient_dim", "bending", "density")
    }  # None means: by chance
    parts = {"score.batch_size"} if resolved.schedule.name == "fast" and rows else set()  # None means: of the sample
    of_all = {f"data.{name}" for name in ("columns", "drop", "array", "labels", "n")}  # None means: all
    assert still_open <= of_all | {*OF_THE_FILE} | drawn | parts
    assert resolved.resolved(train_rows=rows, ambient_dim=columns) == resolved
    assert type(resolved).model_validate(resolved.model_dump()) == resolved


@pytest.mark.parametrize(
    ("told", "rows", "batch_size"),
    [
        *[(MANIFOLD, rows, size) for rows, size in ((None, 128), (100, 100), (128, 128), (9_000, 128))],
        *[(TABLE, rows, 512) for rows in (None, 100, 9_000)],
    ],
)
def test_a_batch_is_128_rows_or_all_there_are_and_the_authors_one(told, rows, batch_size):
    resolved = RunConfig.model_validate(told).resolved(train_rows=rows, ambient_dim=3)
    assert resolved.schedule.batch_size == batch_size


@pytest.mark.parametrize(
    ("told", "rows", "evaluations", "batch_size"),
    [(MANIFOLD, 9_000, 20, None), (MANIFOLD, None, 20, 128), (TABLE, 9_000, 50, 512), (TABLE, None, 50, 512)],
)
def test_the_score_is_evaluated_on_parts_of_the_sample_by_the_fast_schedule(told, rows, evaluations, batch_size):
    """On batches like those of training for ``paper`` and for streams."""
    resolved = RunConfig.model_validate(told).resolved(train_rows=rows, ambient_dim=3)
    assert (resolved.score.evaluations, resolved.score.batch_size) == (evaluations, batch_size)


@pytest.mark.parametrize(("columns", "latent_dim"), [(1, 1), (10, 10), (784, 10)])
def test_the_largest_rank_is_the_number_of_columns_up_to_ten(columns, latent_dim):
    resolved = RunConfig.model_validate(MANIFOLD).resolved(train_rows=9, ambient_dim=columns)
    assert resolved.networks.latent_dim == latent_dim


@pytest.mark.parametrize(("told", "activation"), [(MANIFOLD, "silu"), (TABLE, "relu")])
def test_the_activation_is_that_of_the_schedule(told, activation):
    resolved = RunConfig.model_validate(told).resolved(train_rows=9, ambient_dim=3)
    assert resolved.networks.encoder_activation == activation


def test_resolved_changes_nothing_that_is_given():
    given = {"networks.latent_dim": 4, "networks.encoder_activation": "relu", "schedule.batch_size": 64,
             "score.batch_size": 32}  # fmt: skip
    resolved = RunConfig.model_validate(override(MANIFOLD, given)).resolved(train_rows=1000, ambient_dim=20)
    assert {path: value for path, value in leaves(resolved) if path in given} == given


# identity -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "path"), [field for field in FIELDS if field.values[1] not in OF_THE_FILE])
def test_the_fingerprint_depends_on_every_field(told, path):
    if path == "data.standardize":  # by default of tables the rows decide, see below
        told = override(told, {path: "none"})
    assert changed(told, path).fingerprint("digest") != RunConfig.model_validate(told).fingerprint("digest")


@pytest.mark.parametrize("told", [TABLE, ARRAY])
def test_until_the_rows_have_decided_a_table_has_the_name_that_it_had_under_the_default_of_before(told):
    names = {
        how: run_config(told, data__standardize=how).fingerprint("a") for how in get_args(module.StandardizationChoice)
    }
    assert RunConfig.model_validate(told).fingerprint("a") == names["auto"] == names["global"]
    assert len(set(names.values())) == len(names) - 1


def test_the_fingerprint_depends_on_the_data():
    config = RunConfig.model_validate(TABLE)
    assert config.fingerprint("a") != config.fingerprint("b")


@pytest.mark.parametrize("path", OF_THE_FILE)
def test_the_fingerprint_does_not_depend_on_where_a_table_lies_and_how_it_is_written(path):
    assert changed(TABLE, path).fingerprint("a") == run_config(TABLE).fingerprint("a")


def test_the_fingerprint_does_not_depend_on_whether_a_default_is_written_out():
    told = RunConfig.model_validate(MANIFOLD).resolved(train_rows=900, ambient_dim=3)
    written = RunConfig.model_validate(told.model_dump(mode="json"))
    assert written.fingerprint("a") == told.fingerprint("a")


def test_the_fingerprint_does_not_depend_on_how_a_number_is_written():
    whole, real = (run_config(MANIFOLD, objective__mmd_weight=weight) for weight in (1, 1.0))
    assert whole.fingerprint("a") == real.fingerprint("a")


def test_a_table_keeps_the_name_that_it_had_before_there_were_labels():
    then = {"score__neighbours": False}
    assert run_config(TABLE, **then).fingerprint("a") == "444d65a3dcde"
    assert run_config(TABLE, **then, data__n=50, data__columns=["a"]).fingerprint("a") == "39f84a33c5b8"


def test_the_fingerprint_is_twelve_hexadecimal_digits():
    text = RunConfig.model_validate(MANIFOLD).fingerprint("a")
    assert len(text) == 12
    assert set(text) <= set("0123456789abcdef")


def test_a_train_config_runs_without_its_execution():
    config = TrainConfig.model_validate({**MANIFOLD, "seed": 3, "execution": {"workers": {"min": 2, "max": 4}}})
    run = config.run()
    assert type(run) is RunConfig
    assert run == run_config(MANIFOLD, seed=3)
    assert set(TrainConfig.model_fields) - set(RunConfig.model_fields) == {"execution"}


def test_a_file_cannot_ask_for_an_array_in_memory():
    assert isinstance(RunConfig.model_validate(ARRAY).data, ArrayData)
    with pytest.raises(ValidationError, match="LWGAN"):
        TrainConfig.model_validate(ARRAY)


def test_an_execution_keeps_two_checkpoints_or_more():
    with pytest.raises(ValidationError):
        ExecutionConfig(checkpoints_kept=1)


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_precision_is_that_of_the_processor_unless_told(native, expected):
    for told, becomes in ({}, expected), ({"precision": "float64"}, "float64"), ({"precision": "float32"}, "float32"):
        config = run_config(MANIFOLD, **told).resolved(train_rows=100, ambient_dim=3, bfloat16_pays=native)
        assert config.precision == becomes


# other models ---------------------------------------------------------------------------------------------------------


def test_choosing_another_model_drops_the_fields_of_the_one_before():
    wae = {"model": {"name": "wae", "latent_dim": 2}}
    assert override(wae, {"model.name": "lwgan"})["model"] == {"name": "lwgan"}
    assert override(wae, {"model.name": "wae"})["model"] == wae["model"]
    assert override({}, {"model.latent_dim": 3, "model.name": "wae"})["model"] == {"name": "wae", "latent_dim": 3}


def test_a_model_without_a_name_is_an_lwgan():
    assert RunConfig.model_validate({**MANIFOLD, "model": {}}) == RunConfig.model_validate(MANIFOLD)


@pytest.mark.parametrize("section", module.LWGAN_SECTIONS)
def test_sections_of_the_lwgan_are_refused_for_others(section):
    told = {
        "networks": {"width": 3},
        "objective": {"mmd_weight": 2},
        "schedule": {"name": "paper"},
        "score": {"critic": False},
    }
    with pytest.raises(ValidationError, match="is of the lwgan"):
        RunConfig.model_validate({**MANIFOLD, "model": {"name": "wae"}, section: told[section]})


def test_the_lwgan_is_not_written_down():
    """So that fingerprints and names in ledgers are those of before there were other models."""
    assert "model" not in RunConfig.model_validate(MANIFOLD).model_dump()
    assert set(RunConfig.model_validate(WAE).model_dump()) == {"data", "model", "precision", "seed"}


def test_a_run_without_later_settings_keeps_the_name_that_it_had_before_there_were_any():
    """The fingerprint is that of commit cf8a372 for the same run, whose configuration had no such fields."""
    data = {"source": "manifold", "name": "s_curve", "n": 300}
    names = []
    for rounds, path, bound in (
        (1, False, False),
        (1, True, False),
        (2, False, False),
        (1, None, False),
        (1, False, True),
    ):
        schedule = {"name": "fast", "embedding_rounds": rounds}
        told = {"data": data, "precision": "float32", "schedule": schedule, "networks": {"linear_path": path}}
        told["score"] = {"neighbours": bound}
        names.append(RunConfig.model_validate(told).resolved(train_rows=270, ambient_dim=3).fingerprint("0" * 64))
    assert names[0] == "80ee4a114419"
    assert names[0] not in names[1:]
    assert names[3] == names[1], "the default of the fast schedule"


def test_the_authors_networks_have_no_linear_path_and_their_runs_the_names_of_before():
    paper = RunConfig.model_validate({**MANIFOLD, "schedule": {"name": "paper"}})
    assert paper.resolved(train_rows=100, ambient_dim=3).networks.linear_path is False
    assert "linear_path" not in paper.identity()["networks"]


# networks that rows choose --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "family"),
    [((3,), "mlp"), ((784,), "mlp"), ((28, 28), "conv"), ((3, 64, 64), "conv"), ((8, 8), "conv"), ((7, 28), "mlp"),
     ((28, 28, 3), "mlp"), ((2, 3, 28, 28), "mlp")],
)  # fmt: skip
@pytest.mark.parametrize("told", [MANIFOLD, WAE])
def test_images_get_convolutions_and_other_rows_perceptrons(told, shape, family):
    resolved = RunConfig.model_validate(told).resolved(train_rows=100, ambient_dim=math.prod(shape), shape=shape)
    section = resolved.model if told is WAE else resolved.networks
    assert (section.networks if told is WAE else section.name) == family


@pytest.mark.parametrize(("told", "path"), [(MANIFOLD, "networks.name"), (WAE, "model.networks")])
def test_runs_of_perceptrons_keep_the_names_that_they_had_before_there_were_others(told, path):
    """Chosen by the rows, given, or as it was stored: one name; convolutions have another."""
    names = {}
    for family in ("auto", "mlp", "conv"):
        config = RunConfig.model_validate(override(told, {path: family}))
        names[family] = config.fingerprint("digest")
    assert names["auto"] == names["mlp"] != names["conv"]
    images = RunConfig.model_validate(told).on_rows((28, 28))
    assert images.fingerprint("digest") == names["conv"]
    assert "networks" not in RunConfig.model_validate(WAE).identity()["model"]


PAPER = {**MANIFOLD, "schedule": {"name": "paper"}}


@pytest.mark.parametrize(
    ("told", "family", "width"),
    [(MANIFOLD, "mlp", 64), (MANIFOLD, "conv", 16), (PAPER, "mlp", 64), (PAPER, "conv", 64), (WAE, "mlp", 64),
     (WAE, "conv", 16)],
)  # fmt: skip
def test_the_width_depends_on_family_and_schedule_and_is_named(told, family, width):
    """A run whose width was the default when that was 64 for all has the name of one to which it is told."""
    section, name = ("model", "networks") if told is WAE else ("networks", "name")
    config = RunConfig.model_validate(override(told, {f"{section}.{name}": family}))
    resolved = config.resolved(train_rows=100, ambient_dim=784, shape=(28, 28))
    assert getattr(resolved, section).width == config.identity()[section]["width"] == width
    given = RunConfig.model_validate(override(told, {f"{section}.{name}": family, f"{section}.width": 64}))
    assert (given.fingerprint("digest") == config.fingerprint("digest")) == (width == 64)
    assert getattr(given.resolved(train_rows=100, ambient_dim=784, shape=(28, 28)), section).width == 64


def test_a_model_that_was_stored_before_there_were_convolutions_has_perceptrons():
    stored = RunConfig.model_validate(WAE).model_dump()
    del stored["model"]["networks"]
    assert RunConfig.model_validate(module.read_before(stored)).model.networks == "mlp"


@pytest.mark.parametrize(("told", "path"), [(MANIFOLD, "networks.name"), (WAE, "model.networks")])
def test_convolutions_on_rows_without_sides_are_refused(told, path):
    config = RunConfig.model_validate(override(told, {path: "conv"}))
    with pytest.raises(ConfigError, match=r"conv is for rows of shape .* have shape \(3,\); choose mlp"):
        config.resolved(train_rows=100, ambient_dim=3)
