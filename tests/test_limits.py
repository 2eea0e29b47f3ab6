"""What would take time or memory without bound is refused at once, and what is no number is none."""

import os
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Annotated, Any, get_args

import pytest
import tiny
from pydantic import TypeAdapter, ValidationError

from lwgan_dist import configfile
from lwgan_dist.cli import common
from lwgan_dist.compare.config import CompareConfig
from lwgan_dist.config import RunConfig, TrainConfig, override
from lwgan_dist.configbase import Frozen
from lwgan_dist.configerrors import MOST_ERRORS
from lwgan_dist.configfile import MOST_BYTES, build_config, read_config
from lwgan_dist.errors import ConfigError, UserError
from lwgan_dist.models import configs
from lwgan_dist.run.run import Run
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.design import check_fields

assert configs  # all models are defined
DATA = "data: {source: manifold, name: s_curve}\n"


@pytest.fixture(autouse=True)
def _of_8_gibibytes(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=8 << 30))


@pytest.fixture(autouse=True)
def _at_once():
    """Processor time, for other processes may be at work."""
    before = time.process_time()
    yield
    assert time.process_time() - before < 10.0


def refused(file: Any, *changes: str) -> list[str]:
    before = time.process_time()
    with pytest.raises(ConfigError) as error:
        read_config(TrainConfig, str(file), changes)
    assert time.process_time() - before < 2.0
    return str(error.value).splitlines()


# files ----------------------------------------------------------------------------------------------------------------


def multiplied(line: str) -> str:
    first = "a0: &a0 {k: 1}\n"
    return first + "".join(line.format(i, ", ".join(9 * [f"*a{i - 1}"])) + "\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (multiplied("a{0}: &a{0} [{1}]"), "1:1: has more than 100,000 values, each alias counted as what it stands"),
        (multiplied("a{0}: &a{0} {{<<: [{1}]}}"), "1:1: data: is missing"),
        (DATA + f"# {'x' * MOST_BYTES}\n", "has more than 256 KiB"),
        ("a: " + "[" * 100_000, "1:1: not valid YAML: nested too deeply"),
        ("- " * 50_000, "1:1: not valid YAML: nested too deeply"),
        ("".join(f"{' ' * i}a:\n" for i in range(500)), "1:1: not valid YAML: nested too deeply"),
    ],
    ids=["aliases", "merges", "comment", "brackets", "dashes", "indented"],
)
def test_what_multiplies_or_is_nested_is_refused_in_the_time_of_reading_it(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text(content)
    where, line = str(tmp_path / "c.yaml"), refused(tmp_path / "c.yaml")[0]
    assert line.removeprefix(where).removeprefix(":").strip().startswith(message)


def test_an_alias_that_stands_for_little_is_as_good_as_what_it_stands_for(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "data: &d {source: manifold, name: s_curve, n: &n 60}\nschedule: {batch_size: *n}\n"
    )
    assert read_config(TrainConfig, str(tmp_path / "c.yaml")).schedule.batch_size == 60


def test_only_regular_files_are_configurations(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for file in (tmp_path / "pipe.yaml", "/dev/zero"):
        assert refused(file) == [f"{file}: is not a regular file, as a configuration has to be"]


def test_of_many_errors_the_first_are_told_and_all_are_counted(tmp_path):
    (tmp_path / "c.yaml").write_text(DATA + "".join(f"key{i}: 1\n" for i in range(2 * MOST_ERRORS)))
    lines = refused(tmp_path / "c.yaml")
    assert len(lines) == MOST_ERRORS + 1
    assert lines[-1].endswith(f"and further ones: {2 * MOST_ERRORS} errors in all")


def test_overrides_have_the_same_limits(tmp_path):
    (tmp_path / "c.yaml").write_text(DATA)
    assert "is not a YAML value" in refused(tmp_path / "c.yaml", "data.n=" + "[" * 50_000)[0]


# numbers --------------------------------------------------------------------------------------------------------------


def leaves(annotation: Any) -> set[Any]:
    return {leaf for part in get_args(annotation) for leaf in leaves(part)} or {annotation}


def numeric_fields() -> list[tuple[str, Any]]:
    models, pending = [], [Frozen]
    while pending:
        pending += (subclasses := pending.pop().__subclasses__())
        models += subclasses
    fields = {
        f"{model.__name__}.{name}": Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        for model in models
        if model.__module__.startswith("lwgan_dist.")
        for name, field in model.model_fields.items()
        if {int, float} & leaves(field.annotation) and bool not in leaves(field.annotation)
    }
    return sorted(fields.items(), key=lambda item: item[0])


@pytest.mark.parametrize(
    ("name", "annotation"), numeric_fields(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_neither_true_nor_text_with_digits_is_a_number(name, annotation):
    adapter = TypeAdapter(annotation)
    texts = [] if str in leaves(annotation) else ["1", "0.5"]
    for value in [True, False, *texts]:
        for shape in (value, [value], [value, value], {"a": value}, {"miss": value}):
            with pytest.raises(ValidationError):
                adapter.validate_python(shape)


def test_numbers_may_be_written_as_people_write_them():
    written = {"data.n": 1e3, "schedule.batch_size": 16.0, "objective.mmd_weight": 2, "seed": -3}
    assert build_config(RunConfig, tiny.FAST, written).data.n == 1000


STREAM = override(tiny.FAST, {"data.rows": "stream"})
BASES = {**tiny.MODELS, "paper": tiny.PAPER, "stream": STREAM}


def counts(base: dict[str, Any]) -> list[str]:
    """The keys of all whole numbers of a run and of its data."""
    dumped = RunConfig.model_validate(base).model_dump()
    paths = [f"{section}.{name}" for section, fields in dumped.items() if isinstance(fields, dict) for name in fields]
    kinds = {path: leaves(type(_section(base, path)).model_fields[path.partition(".")[2]].annotation) for path in paths}
    return [path for path in paths if int in kinds[path] and str not in kinds[path] and not path.endswith("seed")]


def _section(base: dict[str, Any], path: str) -> Any:
    return getattr(RunConfig.model_validate(base), path.partition(".")[0])


@pytest.mark.parametrize("value", [10**9, 10**15])
@pytest.mark.parametrize("base", ["lwgan", "wae", "paper", "stream"])
def test_no_count_is_too_large_to_be_refused_or_prepared(base, value):
    for path in counts(BASES[base]):
        changes = {path: value}
        if errors := configfile.errors_of(RunConfig, BASES[base], changes):
            assert all(line.startswith(path) for line in errors)
            continue
        assert value <= 10**9
        with suppress(UserError):  # and nothing else
            Run(build_config(RunConfig, BASES[base], changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data.n": 10**9},
            "data.n: 1,000,000,000 rows of 3 numbers would take 22.4 GiB or more, and 50% of the memory",
        ),
        ({"data.name": "sphere", "data.dim": 999_999, "data.n": 10**6}, "data.n: 1,000,000 rows of 1,000,000 numbers"),
        ({"data.ambient_dim": 10**6, "data.rotate": True, "data.n": 2}, "data.ambient_dim: the rotation of 1,000,000"),
        (
            {"data.name": "sphere", "data.dim": 999_999, "data.n": 2, "data.rotate": True},
            "data.ambient_dim: the rotation",
        ),
        ({"networks.width": 10**6}, "networks.width: training 94,000,170,000,037 parameters would take"),
        ({"score.evaluations": 10**9}, "score.evaluations: the scores of 1,000,000,000 evaluations"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_by_arithmetic(changes, message):
    with pytest.raises(ConfigError) as error:
        Run(build_config(RunConfig, tiny.FAST, changes))
    assert str(error.value).startswith(message)


def test_a_score_batch_that_is_cut_down_is_told(caplog):
    run = Run(build_config(RunConfig, tiny.FAST, {"score.batch_size": 100}))
    assert "score.batch_size = 100 is more than half of the 180 rows" in caplog.text
    caplog.clear()
    Run(build_config(RunConfig, tiny.FAST, {"score.batch_size": 90}))
    assert caplog.text == ""
    assert run.config.score.batch_size == 100  # its name is what was asked for


# campaigns ------------------------------------------------------------------------------------------------------------

STUDY = {"data": [{"name": "s_curve"}], "sizes": [60], "execution": {"workers": 0}}
COMPARE = {**STUDY, "models": [{"name": "wae"}]}
SEARCH = {"run": tiny.FAST, "space": {"networks.width": {"integer": [2, 1_000_000]}}}
TEN = list(range(1, 11))


@pytest.mark.parametrize(
    ("model", "told", "changes", "message"),
    [
        (
            StudyConfig,
            STUDY,
            {"lwgan.replicates": 10**9},
            "lwgan.replicates: these are 1,000,000,000 runs, and at most ",
        ),
        (StudyConfig, STUDY, {"lwgan.replicates": 10**6, "bootstrap": {"resamples": 10**6}}, "lwgan.replicates: these"),
        (
            StudyConfig,
            STUDY,
            {"sizes": list(range(2, 30_000))},
            "sizes: these are 29,998 cells, and at most 20,000 can",
        ),
        (
            StudyConfig,
            STUDY,
            {"factors": {f"data.{i}": TEN for i in range(200)}},
            "factors: these are more than 10^200 ",
        ),
        (
            StudyConfig,
            STUDY,
            {"stop_when": {"interval_width": 0.1, "max_replicates": 10**8}},
            "lwgan.replicates: these",
        ),
        (
            CompareConfig,
            COMPARE,
            {"replicates": 10**8},
            "replicates: these are 100,000,000 runs, and at most 2,000,000",
        ),
        (SearchConfig, SEARCH, {"budget.trials": 10**9}, "budget.trials: a search has at most 2,000,000 runs"),
        (
            SearchConfig,
            SEARCH,
            {"budget.trials": 10, "seeds_per_trial": 10**6},
            "seeds_per_trial: a search has at most",
        ),
        (SearchConfig, SEARCH, {"confirm_seeds": 10**9}, "confirm_seeds: a search has at most 2,000,000 runs"),
    ],
)
def test_campaigns_without_end_are_refused_by_arithmetic(model, told, changes, message):
    with pytest.raises(ConfigError) as error:
        build_config(model, told, changes)
    assert message in str(error.value)


def test_a_grid_without_end_is_no_valid_search(tmp_path):
    config = build_config(SearchConfig, SEARCH, {"searcher.name": "grid"})
    with pytest.raises(ConfigError, match="space: has more than 100,000 combinations"):
        common.check_search(config, None, ())


def test_all_that_is_wrong_with_a_study_is_said_at_once_and_with_its_place(tmp_path):
    (tmp_path / "s.yaml").write_text("""\
data:
  - {name: s_curve, settings: {networks.latnt_dim: 2, foo.x: 1}}
sizes: [60]
factors:
  networks.widht: [16, 32]
  data.noise: [-1, 0.1]
  data.n: [1]
lwgan: {rules: {h: {score_on: holdout}}}
""")
    file = str(tmp_path / "s.yaml")
    with pytest.raises(ConfigError) as error, common.located_study(read_config(StudyConfig, file), file, ()):
        pytest.fail("the design is begun")
    lines = [line.removeprefix(file).split(": ")[:2] for line in str(error.value).splitlines()]
    assert sorted(lines) == [
        [":2:32", "data.0.settings.networks.latnt_dim"],
        [":2:55", "data.0.settings.foo.x"],
        [":5:3", "factors.networks.widht"],
        [":6:3", "factors.data.noise"],
        [":7:3", "factors.data.n"],
    ]


def test_settings_that_go_together_are_tried_together():
    settings = {"schedule.name": "paper", "schedule.iterations": 20}
    check_fields(StudyConfig.model_validate({**STUDY, "data": [{"name": "s_curve", "settings": settings}]}))


def test_a_cluster_that_would_not_be_used_is_refused():
    with pytest.raises(ConfigError, match=r"execution.address: is of no use with execution.workers = 0"):
        build_config(TrainConfig, tiny.FAST, {"execution": {"workers": 0, "address": "auto"}})
    config = build_config(TrainConfig, tiny.FAST, {"execution": {"workers": 1, "address": "auto"}})
    without = config.model_copy(update={"execution": config.execution.model_copy(update={"workers": 0})})
    with pytest.raises(ConfigError, match=r"^execution.address: is of no use"):
        common.at_address(without, None)
