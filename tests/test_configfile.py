"""Laws of reading configurations: where errors are, what they say, what a value is, what is written is read."""

import json
import math
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lwgan_dist.config import RunConfig, TrainConfig, override
from lwgan_dist.configfile import (
    build_config,
    json_schema,
    located,
    parse_overrides,
    read_config,
    read_yaml,
    to_yaml,
)
from lwgan_dist.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[1] / "tune_configs" / "train").glob("*.yaml"))
MANIFOLD = {"data": {"source": "manifold", "name": "s_curve"}}
MANIFOLD_YAML = "data:\n  source: manifold\n  name: s_curve\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file in the current folder and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes) -> str:
        Path("c.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return "c.yaml"

    return write


def errors_of(file, *changes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config(TrainConfig, file, changes)
    return str(caught.value).splitlines()


# positions ------------------------------------------------------------------------------------------------------------


def test_an_error_names_file_line_column_and_key(write):
    file = write("# a comment\ndata:\n  source: manifold\n  name: s_curve\n\n  noise:   -1.0\n")
    assert errors_of(file) == ["c.yaml:6:3: data.noise: must be >= 0 (got -1.0)"]


def test_the_position_in_a_flow_mapping_is_that_of_the_key(write):
    assert errors_of(write("data: {source: manifold, name: s_curve, n: 1}\n")) == [
        "c.yaml:1:41: data.n: must be >= 2 (got 1)"
    ]


def test_an_item_of_a_list_has_its_own_position(write):
    file = write(f"{MANIFOLD_YAML}schedule:\n  name: paper\n  decay_at:\n    - 0.5\n    - 1.5\n")
    assert errors_of(file) == ["c.yaml:8:7: schedule.decay_at.1: must be <= 1 (got 1.5)"]


def test_what_is_missing_is_reported_at_the_section_it_is_missing_from(write):
    assert errors_of(write("seed: 1\ndata:\n  source: table\n")) == ["c.yaml:2:1: data.path: is missing"]
    assert errors_of(write("seed: 1\n")) == ["c.yaml:1:1: data: is missing"]


def test_all_errors_are_reported_at_once_each_on_a_line(write):
    file = write("data:\n  source: manifold\n  name: s_curve\n  n: 1\n  noize: 0\nseed: x\nscore:\n  evaluations: 0\n")
    assert errors_of(file, "networks.width=0", "objective.mmd_wight=3") == [
        "c.yaml:4:3: data.n: must be >= 2 (got 1)",
        "c.yaml:5:3: data.noize: unknown key; did you mean noise?",
        "networks.width=0: networks.width: must be >= 1 (got 0)",
        "objective.mmd_wight=3: objective.mmd_wight: unknown key; did you mean mmd_weight?",
        "c.yaml:8:3: score.evaluations: must be >= 2 (got 0)",
        "c.yaml:6:1: seed: must be a whole number (got 'x')",
    ]


def test_a_union_without_a_name_reports_the_branch_that_was_meant(write):
    workers = "execution:\n  workers: "
    assert errors_of(write(f"{MANIFOLD_YAML}{workers}-1\n")) == ["c.yaml:5:3: execution.workers: must be >= 0 (got -1)"]
    assert errors_of(write(f"{MANIFOLD_YAML}{workers}{{min: 3, max: 2}}\n")) == [
        "c.yaml:5:3: execution.workers: min <= max must hold, but got min=3, max=2"
    ]
    assert errors_of(write(f"{MANIFOLD_YAML}{workers}{{min: 0, mx: 2}}\n")) == [
        "c.yaml:5:13: execution.workers.min: must be >= 1 (got 0)",
        "c.yaml:5:3: execution.workers.max: is missing",
        "c.yaml:5:21: execution.workers.mx: unknown key; did you mean max?",
    ]


def test_fields_at_odds_are_reported_at_one_of_them(write):
    file = write("score:\n  penalty: rate\ndata:\n  source: manifold\n  name: s_curve\n  rows: stream\n")
    (error,) = errors_of(file)
    assert error.startswith("c.yaml:2:3: score.penalty: 'rate' needs ")
    (error,) = errors_of(write(MANIFOLD_YAML), "data.rows=stream", "score.penalty=rate")
    assert error.startswith("score.penalty=rate: score.penalty: 'rate' needs ")


def test_an_error_of_an_override_shows_the_override_instead_of_a_position(write):
    file = write(MANIFOLD_YAML)
    assert errors_of(file, "data.name=s_curv")[0].startswith("data.name=s_curv: data.name: must be one of ")
    assert errors_of(file, "data={source: table}") == ['data={"source": "table"}: data.path: is missing']
    assert errors_of(file, "shedule.batch_size=4") == [
        "shedule.batch_size=4: shedule: unknown key; did you mean schedule?"
    ]
    assert errors_of(file, "execution.workers.min=3") == ["execution.workers.min=3: execution.workers.max: is missing"]
    assert errors_of(file, "data.name.first=1") == [
        "data.name.first=1: data.name.first: name is a value, not a section"
    ]


def test_a_message_without_a_file_begins_with_the_key():
    with pytest.raises(ConfigError, match=r"^data\.n: must be >= 2 \(got 1\)$"):
        build_config(RunConfig, override(MANIFOLD, {"data.n": 1}), {})


def test_a_late_error_about_a_key_is_given_its_place(write):
    file = write(MANIFOLD_YAML + "  dim: 3\n")
    with pytest.raises(ConfigError, match=r"^c\.yaml:4:3: data\.dim: s_curve has 2$"), located(file, ()):
        raise ConfigError("data.dim: s_curve has 2")
    with pytest.raises(ConfigError, match=r"^data\.dim=4: data\.dim: s_curve has 2$"), located(file, ("data.dim=4",)):
        raise ConfigError("data.dim: s_curve has 2")
    with pytest.raises(ConfigError, match=r"^/runs/a: is not empty$"), located(file, ()):
        raise ConfigError("/runs/a: is not empty")


# suggestions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        ("objective.mmd_wieght=1", "objective.mmd_wieght: unknown key; did you mean mmd_weight?"),
        (
            "networks.layers=1",
            "networks.layers: unknown key; known keys: name, latent_dim, width, encoder_activation, linear_path",
        ),
        ("schedule.iterations=9", "schedule.iterations: unknown key; iterations goes with schedule.name 'paper'"),
        ("data.path=a.csv", "data.path: unknown key; path goes with data.source 'table'"),
        ("schedule.name=fats", "schedule.name: must be one of fast, paper (got 'fats'); did you mean fast?"),
        ("precision=float23", "must be one of auto, float32, float64, bfloat16 (got 'float23'); did you mean float32?"),
        ("data.rotate=maybe", "data.rotate: must be true or false (got 'maybe')"),
        ("schedule=", "schedule: must be a section of keys and values (got null)"),
    ],
)  # fmt: skip
def test_a_message_says_what_would_be_right(write, change, ending):
    (error,) = errors_of(write(MANIFOLD_YAML), change)
    assert error.endswith(ending)


@pytest.mark.parametrize("key", ["table", "int", "fast", "WorkerRange", "[0]"])
def test_an_unknown_key_may_be_called_like_a_member_of_a_union(write, key):
    (error,) = errors_of(write(f"{MANIFOLD_YAML}  {json.dumps(key)}: 1\n"))
    assert error.startswith(f"c.yaml:4:3: data.{key}: unknown key")


def test_text_from_a_file_cannot_break_a_line_or_reach_the_terminal(write):
    (error,) = errors_of(write(MANIFOLD_YAML + '"a\\nb\\e[31m": 1\n'))
    assert error.startswith(r"c.yaml:4:1: a\nb\x1b[31m: unknown key")
    (error,) = errors_of(write(MANIFOLD_YAML + f"seed: {'x' * 5000}\n"))
    assert len(error) < 200


# YAML -----------------------------------------------------------------------------------------------------------------


def test_a_key_given_twice_is_an_error_with_the_position_of_the_second(write):
    assert errors_of(write("seed: 1\ndata: {}\nseed: 2\n")) == ["c.yaml:3:1: seed: is given twice"]
    assert errors_of(write("data:\n  n: 3\n  n: 3\n")) == ["c.yaml:3:3: n: is given twice"]


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", "+1e-4"])
def test_a_number_with_an_exponent_is_a_number(write, text):
    told = read_yaml(write(f"a: {text}\n"))
    assert isinstance(told["a"], float)
    assert math.isclose(told["a"], 1e-4)
    assert parse_overrides([f"a.b={text}"]) == {"a.b": 1e-4}


def test_yes_and_no_are_text_as_in_yaml_1_2(write):
    assert dict(read_yaml(write("a: yes\nb: no\nc: on\nd: 012\n"))) == {"a": "yes", "b": "no", "c": "on", "d": 12}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("data:\n\tsource: manifold\n", "2:1: not valid YAML: found character '\\t'"),
        ("data:\n    source: a\n  name: b\n", "3:3: not valid YAML: "),
        ("a: [1, 2\n", "2:1: not valid YAML: "),
        ("a: 'b\n", "2:1: not valid YAML: "),
        ("a: *b\n", "1:4: not valid YAML: found undefined alias"),
        ("a: 1\n---\na: 2\n", "2:1: not valid YAML: "),
        ("a: 1\nb: \x01\n", "2:4: not valid YAML: the character #x01"),
        ("a: 1\nb: 2020-13-45\n", "2:4: not valid YAML: not a value"),
        (f"a: {'9' * 5000}\n", "1:4: not valid YAML: not a value"),
        ("a: !!int x\n", "1:4: not valid YAML: not a value"),
        ("a: !!python/object/apply:os.system [ls]\n", "1:4: not valid YAML: the tag "),
        ("a: !secret x\n", "1:4: not valid YAML: the tag !secret is not known here"),
        ("&a\nb: *a\n", "1:1: not valid YAML: nested too deeply, or a section that holds itself"),
        ("a: " + "[" * 1000, "1:1: not valid YAML: nested too deeply, or a section that holds itself"),
        (b"a: 1\nb: \xff\n", "2:4: not UTF-8 text"),
        ("", "1:1: a configuration is a mapping of keys to values, not an empty file"),
        ("# nothing\n", "1:1: a configuration is a mapping of keys to values, not an empty file"),
        ("- a\n", "1:1: a configuration is a mapping of keys to values, not a list"),
        ("hello\n", "1:1: a configuration is a mapping of keys to values, not a single value ('hello')"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_yaml_mapping_is_an_error_with_a_position(write, content, place):
    (error,) = errors_of(write(content))
    assert error.startswith(f"c.yaml:{place}")


def test_a_byte_order_mark_is_ignored(write):
    assert read_config(TrainConfig, write("\ufeff" + MANIFOLD_YAML)).data.name == "s_curve"


def test_anchors_and_merge_keys_are_read(write):
    file = write("data: &d {source: manifold, name: s_curve}\nscore: {evaluations: &e 7}\nseed: *e\n")
    assert read_config(TrainConfig, file).seed == 7
    file = write("data:\n  <<: {source: manifold, n: 7}\n  name: s_curve\n")
    assert read_config(TrainConfig, file).data.n == 7


@given(st.text(alphabet=st.sampled_from("ab1.-: \n\t#&*!|>'\"%@`{}[],?~<=\\\x00\u2028é"), max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_mapping_or_an_error_of_one_line(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_text(text, encoding="utf-8")
    problem = ""
    try:
        assert isinstance(read_yaml(str(file)), dict)
    except ConfigError as error:
        problem = str(error)
    assert len(problem.splitlines()) <= 1
    assert problem.startswith(f"{file}:") or not problem


# overrides ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100", 100), ("-1", -1), ("0.5", 0.5), ("true", True), ("null", None), ("", None), ("abc", "abc"),
        ("'1'", "1"), ("[a, b]", ["a", "b"]), ("{min: 1, max: 2}", {"min": 1, "max": 2}), ("a=b", "a=b"),
        ("/data/a b.csv", "/data/a b.csv"), (".inf", math.inf), ("1_000", 1000), ("0x10", 16),
    ],
)  # fmt: skip
def test_the_value_of_an_override_is_yaml(text, value):
    parsed = parse_overrides([f"a.b={text}"])
    assert parsed == {"a.b": value}
    assert type(parsed["a.b"]) is type(value)  # a plain value, not ruamel's


@pytest.mark.parametrize("text", ["a", "=1", "a.=1", ".a=1", "a..b=1", "a-b=1", "a b=1", "1=1", "--x=1", ""])
def test_an_override_has_the_form_key_equals_value(text):
    with pytest.raises(ConfigError, match="an override has the form key=value"):
        parse_overrides([text])


@pytest.mark.parametrize(
    "text", ["[1", "*x", "{b: 1, b: 2}", "2020-13-45", "9" * 5000, "&a [*a]", "\x01", "!!int x", "a: b: c"]
)
def test_an_override_that_is_not_yaml_is_an_error_of_one_line(text):
    with pytest.raises(ConfigError, match="is not a YAML value") as caught:
        parse_overrides([f"a={text}"])
    assert len(str(caught.value).splitlines()) == 1


def test_the_same_key_cannot_be_overridden_twice():
    with pytest.raises(ConfigError, match="a=2: a: is given twice"):
        parse_overrides(["a=1", "b=1", "a=2"])


def test_an_override_wins_over_the_file(write):
    file = write(MANIFOLD_YAML + "  n: 50\nseed: 1\n")
    config = read_config(TrainConfig, file, ["data.n=60", "schedule.name=paper"])
    assert (config.data.n, config.seed, config.schedule.name) == (60, 1, "paper")


# writing --------------------------------------------------------------------------------------------------------------

AWKWARD = ["1e-4", "null", "~", "yes", "true", "12", "0x1f", "1_000", ".inf", "a: b", "# x", " pad ", "é", "-", "", "=",
           "<<", "multi\nline", "'", '"', "{a}", "2020-01-01", "x" * 200, "word " * 40, "!tag", "*a", "\t"]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule.name": "paper", "schedule.learning_rate": 1e-5, "schedule.decay_at": []},
        {"data.source": "table", "data.path": "C:\\data\\a b.csv", "data.columns": AWKWARD},
        {"data.noise": 1 / 3, "objective.mmd_weight": 1e-300, "objective.gradient_penalty_weight": 12345678901234567.0},
        {"seed": 2**80, "execution.workers": {"min": 1, "max": 4}, "execution.resources_per_worker": {"a-b": 0.5}},
    ],
    ids=["defaults", "paper", "table", "floats", "execution"],
)
def test_what_is_written_is_read_again(write, changes):
    config = TrainConfig.model_validate(override(MANIFOLD, changes))
    assert read_config(TrainConfig, write(to_yaml(config))) == config


def test_a_resolved_run_is_read_again_with_the_same_fingerprint(write):
    config = RunConfig.model_validate(MANIFOLD).resolved(train_rows=180, ambient_dim=3)
    assert read_config(TrainConfig, write(to_yaml(config))).run().fingerprint("a") == config.fingerprint("a")


# the schema -----------------------------------------------------------------------------------------------------------


def plain(file) -> dict:
    """Read without our reader: what an editor sees."""
    return YAML(typ="safe", pure=True).load(Path(file).read_text())


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft202012Validator(json.loads(json_schema(TrainConfig)))


def test_the_schema_is_a_json_schema(schema):
    jsonschema.Draft202012Validator.check_schema(schema.schema)


def test_there_are_shipped_configurations():
    assert SHIPPED


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_every_shipped_configuration_is_accepted_by_the_reader_and_by_the_schema(schema, file):
    assert read_config(TrainConfig, str(file))
    schema.validate(plain(file))


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule.batch_size": 64},
        {"schedule.matching_iterations": 64},
        {"schedule": {}},
        {"data.dim": None, "networks.latent_dim": None},
        {"execution.workers": {"min": 1, "max": 2}},
    ],
    ids=str,
)
def test_the_schema_accepts_what_the_reader_accepts(schema, changes):
    told = override(MANIFOLD, changes)
    TrainConfig.model_validate(told)
    schema.validate(told)


@pytest.mark.parametrize(
    "changes",
    [
        {"data.nose": 1},
        {"data": {"name": "s_curve"}},
        {"data.name": "s_curv"},
        {"schedule.iterations": 3},
        {"seed": "x"},
        {"data.n": 1},
        {"data": None},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_reader_refuses(schema, changes):
    told = override(MANIFOLD, changes)
    with pytest.raises(ValueError, match="validation error"):
        TrainConfig.model_validate(told)
    assert not schema.is_valid(told)
