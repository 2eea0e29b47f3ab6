"""Whatever is wrong with what a command was told, it ends with the exit code of its kind and one line an error, without
a traceback, and leaves nothing behind.
"""

import csv
import gzip
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lwgan_dist.cli import main
from lwgan_dist.configfile import parse_overrides

DATA = "data:\n  source: manifold\n  name: s_curve\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def errors_of(result: Result, code: int) -> list[str]:
    """The lines of a command that ended as it should."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert isinstance(result.exception, SystemExit)  # nothing else came through
    lines = result.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines), lines
    return [line.removeprefix("error: ") for line in lines]


def last_error_of(result: Result, code: int) -> str:
    """The last line of a command that ended as it should after it had said what it read."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert isinstance(result.exception, SystemExit)
    *said, line = result.stderr.splitlines()
    assert not any(before.startswith("error: ") for before in said)
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# configuration files: (content, the beginning of every line) ----------------------------------------------------------

FILES: dict[str, tuple[str | bytes, list[str]]] = {
    "empty file": ("", ["1:1: a configuration is a mapping of keys to values, not an empty file"]),
    "nothing but a comment": ("# data:\n", ["1:1: a configuration is a mapping"]),
    "list": ("- data\n", ["1:1: a configuration is a mapping of keys to values, not a list"]),
    "text": ("data\n", ["1:1: a configuration is a mapping"]),
    "not UTF-8": (DATA.encode() + b"# caf\xe9\n", ["4:6: not UTF-8 text"]),
    "UTF-16": (DATA.encode("utf-16"), ["1:1: not UTF-8 text"]),
    "control character": (DATA + "seed: \x07\n", ["4:7: not valid YAML: the character #x07"]),
    "tab": ("data:\n\tsource: manifold\n", ["2:1: not valid YAML: found character '\\t'"]),
    "bad indentation": ("data:\n  source: manifold\n name: s_curve\n", ["3:2: not valid YAML: "]),
    "bracket not closed": ("data: {source: manifold\n", ["2:1: not valid YAML: "]),
    "quote not closed": ("data: 'x\n", ["2:1: not valid YAML: "]),
    "no space behind the colon": ("data:\n  source:manifold\n", ["1:1: data: must be a section of keys and values"]),
    "unknown alias": ("data: *x\n", ["1:7: not valid YAML: found undefined alias"]),
    "two documents": (DATA + "---\n" + DATA, ["4:1: not valid YAML: "]),
    "tag of Python": ("data: !!python/object/apply:os.getcwd []\n", ["1:7: not valid YAML: the tag "]),
    "tag": ("data: !include a.yaml\n", ["1:7: not valid YAML: the tag !include is not known here"]),
    "no such day": (DATA + "seed: 2026-02-30\n", ["4:7: not valid YAML: not a value"]),
    "number without end": (DATA + f"seed: {'9' * 5000}\n", ["4:7: not valid YAML: not a value"]),
    "section in itself": ("&a\ndata: *a\n", ["1:1: not valid YAML: nested too deeply"]),
    "section twice": (DATA + DATA, ["4:1: data: is given twice"]),
    "key twice": (DATA + "  name: sphere\n", ["4:3: name: is given twice"]),
    "no data": ("seed: 1\n", ["1:1: data: is missing"]),
    "empty data": ("seed: 1\ndata:\n", ["2:1: data: must be a section of keys and values (got null)"]),
    "data without source": ("data:\n  name: s_curve\n", ["1:1: data.source: is missing; it is one of "]),
    "unknown source": (
        "data:\n  source: manifld\n",
        ["2:3: data.source: must be one of array, manifold, population, table (got 'manifld'); did you mean manifold?"],
    ),
    "manifold without name": ("data:\n  source: manifold\n", ["1:1: data.name: is missing"]),
    "table without path": ("data:\n  source: table\n", ["1:1: data.path: is missing"]),
    "array in memory": ("data:\n  source: array\n", ["2:3: data.source: 'array' is for the Python class"]),
    "field of another source": (
        DATA + "  path: a.csv\n",
        ["4:3: data.path: unknown key; path goes with data.source 'table'"],
    ),
    "field of another schedule": (
        DATA + "schedule:\n  name: fast\n  iterations: 9\n",
        ["6:3: schedule.iterations: unknown key; "],
    ),
    "unknown schedule": (
        DATA + "schedule:\n  name: papr\n",
        ["5:3: schedule.name: must be one of fast, paper (got 'papr'); did you mean paper?"],
    ),
    "unknown network": (
        DATA + "networks:\n  name: cnn\n",
        ["5:3: networks.name: must be one of auto, mlp, conv (got 'cnn')"],
    ),
    "section is a value": (
        DATA + "schedule: fast\n",
        ["4:1: schedule: must be a section of keys and values (got 'fast')"],
    ),
    "section is a list": (DATA + "score: [1]\n", ["4:1: score: must be a section of keys and values"]),
    "section is empty": (DATA + "score:\n", ["4:1: score: must be a section of keys and values (got null)"]),
    "key is a number": (DATA + "1: 2\n", ["4:1: 1: unknown key; known keys: data, model, networks"]),
    "key is empty": (DATA + "'': 2\n", ["4:1: '': unknown key"]),
    "key of two lines": (DATA + '"a\\nb": 2\n', ["4:1: a\\nb: unknown key"]),
    "dotted key": (DATA + "schedule.batch_size: 2\n", ["4:1: schedule.batch_size: unknown key"]),
    "more workers at least than at most": (
        DATA + "execution:\n  workers: {min: 3, max: 2}\n",
        ["5:3: execution.workers: min <= max must hold, but got min=3, max=2"],
    ),
    "workers without most": (DATA + "execution:\n  workers: {min: 3}\n", ["5:3: execution.workers.max: is missing"]),
    "resource in words": (
        DATA + "execution:\n  resources_per_worker: {tpu: x}\n",
        ["5:26: execution.resources_per_worker.tpu: must be a number (got 'x')"],
    ),
    "rate of a stream": (
        DATA + "  rows: stream\nscore:\n  penalty: rate\n",
        ["6:3: score.penalty: 'rate' needs the number of rows"],
    ),
    "hold-out of a stream": (
        DATA + "  rows: stream\nscore:\n  score_on: holdout\n",
        ["6:3: score.score_on: 'holdout' needs rows"],
    ),
    "no hold-out": (
        DATA + "  holdout_fraction: 0\nscore:\n  score_on: holdout\n",
        ["6:3: score.score_on: 'holdout' needs data"],
    ),
    "dimension that a manifold has not": (DATA + "  dim: 3\n", ["4:3: data.dim: s_curve has dimension 2 (got 3)"]),
    "columns too few for a manifold": (
        DATA + "  ambient_dim: 2\n",
        ["4:3: data.ambient_dim: s_curve needs at least 3 columns (got 2)"],
    ),
    "three errors": (
        "data:\n  source: manifold\n  name: s_curv\n  n: 1\nsede: 1\n",
        [
            "3:3: data.name: must be one of swissroll_curve, ",
            "4:3: data.n: must be >= 2 (got 1)",
            "5:1: sede: unknown key; did you mean seed?",
        ],
    ),
}

VALUES = {
    "data.n": {
        "abc": "must be a whole number (got 'abc')",
        "2.5": "must be a whole number (got 2.5)",
        "1": "must be >= 2 (got 1)",
        "[1]": "must be a whole number",
        "1e400": "must be a ",
    },
    "data.noise": {
        ".nan": "must be a finite number (got nan)",
        "-.inf": "must be a finite number (got -inf)",
        "-1e-3": "must be >= 0 (got -0.001)",
    },
    "data.rotate": {"2": "must be true or false (got 2)", "perhaps": "must be true or false"},
    "data.standardize": {
        "globl": "must be one of auto, global, per_column, none, pixels (got 'globl'); did you mean global?"
    },
    "data.holdout_fraction": {"0.6": "must be <= 0.5 (got 0.6)"},
    "data.dim": {"0": "must be >= 1 (got 0)"},
    "networks.latent_dim": {"0": "must be >= 1 (got 0)", "two": "must be a whole number (got 'two')"},
    "networks.encoder_activation": {"tanh": "must be one of relu, silu (got 'tanh')"},
    "networks.layers": {"3": "unknown key; known keys: name, latent_dim, width, encoder_activation"},
    "objective.mmd_weight": {".inf": "must be a finite number (got inf)", "{a: 1}": "must be a number"},
    "objective.mmd_wieght": {"1": "unknown key; did you mean mmd_weight?"},
    "schedule.batch_size": {"1": "must be >= 2 (got 1)"},
    "schedule.critic_learning_rate": {"0": "must be > 0 (got 0)", "1e-4x": "must be a number (got '1e-4x')"},
    "schedule.matching_iteration": {"1": "unknown key; did you mean matching_iterations?"},
    "score.evaluations": {"1": "must be >= 2 (got 1)"},
    "score.penalty_exponent": {"1": "must be < 1 (got 1)", "0": "must be > 0 (got 0)"},
    "score.penalty": {"bic": "must be one of resolution, reference, rate, fixed (got 'bic')"},
    "execution.workers": {
        "-1": "must be >= 0 (got -1)",
        "many": "must be a whole number (got 'many')",
        "[1, 2]": "must be a whole number",
    },
    "execution.checkpoints_kept": {"1": "must be >= 2 (got 1)"},
    "execution.max_failures": {"-2": "must be >= -1 (got -2)"},
    "execution.worker": {"1": "unknown key; did you mean workers?"},
}
"""Key -> bad value -> what its error begins with. Each is tried in a file and as an override."""
BAD_VALUES = [(key, value, told) for key, values in VALUES.items() for value, told in values.items()]


def config_with(key: str, value: str) -> tuple[str, str]:
    """A file with a value, and line and column of its key."""
    section, field = key.split(".")
    if section == "data":
        return f"{DATA}  {field}: {value}\n", "4:3"
    return f"{DATA}{section}:\n  {field}: {value}\n", "5:3"


@pytest.mark.parametrize("command", ["train", "validate"])
@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_ends_with_2_and_file_line_column_and_key_of_every_error(folder, command, case):
    content, expected = FILES[case]
    Path("c.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    lines = errors_of(call(command, "c.yaml"), 2)
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(f"c.yaml:{beginning}")
    assert contents(folder) == {"c.yaml"}


@pytest.mark.parametrize(("key", "value", "told"), BAD_VALUES)
def test_a_bad_value_ends_with_2_and_file_line_column_and_key(folder, key, value, told):
    content, place = config_with(key, value)
    Path("c.yaml").write_text(content)
    (line,) = errors_of(call("train", "c.yaml"), 2)
    assert line.startswith(f"c.yaml:{place}: {key}: {told}")
    assert contents(folder) == {"c.yaml"}


@pytest.mark.parametrize(("key", "value", "told"), BAD_VALUES)
def test_a_bad_override_ends_with_2_and_the_override(folder, key, value, told):
    Path("c.yaml").write_text(DATA)
    change = f"{key}={value}"
    for arguments in (["train", "c.yaml", change], ["estimate", "s_curve", change]):
        (line,) = errors_of(call(*arguments), 2)
        place, separator, message = line.partition(f": {key}: ")
        assert separator
        assert place.startswith(f"{key}=")
        assert str(parse_overrides([place])) == str(parse_overrides([change]))  # it is shown as one could type it
        assert message.startswith(told)
    assert contents(folder) == {"c.yaml"}


def test_the_corpus_is_large():
    assert len(FILES) + len(BAD_VALUES) >= 60


# the command line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "beginning"),
    [
        ("batch_size", "batch_size: an override has the form key=value"),
        ("=5", "=5: an override has the form key=value"),
        ("data..n=5", "data..n=5: an override has the form key=value"),
        ("data.n=[", "data.n=[: data.n: '[' is not a YAML value"),
        ("data.n=*x", "data.n=*x: data.n: '*x' is not a YAML value"),
        ("data.n=2026-02-30", "data.n=2026-02-30: data.n: '2026-02-30' is not a YAML value"),
        ("data.n=1\n2: 3", "data.n=1\\n2: 3: data.n: "),
        ("shedule.batch_size=5", "shedule.batch_size=5: shedule: unknown key; did you mean schedule?"),
        ("data.name.x=5", "data.name.x=5: data.name.x: name is a value, not a section"),
        ("schedule.name=papr", "schedule.name=papr: schedule.name: must be one of fast, paper (got 'papr')"),
        ("schedule=fast", "schedule=fast: schedule: must be a section of keys and values (got 'fast')"),
        ("data.source=table", "data.source=table: data.path: is missing"),
        ("data.source=array", "data.source=array: data.source: 'array' is for the Python class"),
        ("data.dim=3", "data.dim=3: data.dim: s_curve has dimension 2 (got 3)"),
        ("execution.workers.min=2", "execution.workers.min=2: execution.workers.min: workers is a value"),
    ],
)
def test_an_override_that_cannot_be_ends_with_2(folder, change, beginning):
    (line,) = errors_of(call("estimate", "s_curve", change), 2)
    assert line.startswith(beginning)
    assert contents(folder) == set()


def test_a_key_overridden_twice_ends_with_2():
    assert errors_of(call("estimate", "s_curve", "seed=1", "seed=2"), 2) == ["seed=2: seed: is given twice"]


@pytest.mark.parametrize(
    "name", ["../x", "..", "/tmp/x", "a/b", "a\\b", ".hidden", "_x", "", "a b", "x\n", "x" * 65, "é"]
)
def test_a_name_that_could_lead_elsewhere_ends_with_2(folder, name):
    Path("c.yaml").write_text(DATA)
    (line,) = errors_of(call("train", "c.yaml", "--name", name), 2)
    assert line.startswith(f"--name {name!r}: a name has ")
    assert contents(folder) == {"c.yaml"}


def test_a_configuration_that_is_not_there_ends_with_2(folder):
    assert errors_of(call("train", "c.yaml"), 2) == ["c.yaml: no such file"]
    assert errors_of(call("validate", "c.yaml"), 2) == ["c.yaml: no such file"]
    Path("d.yaml").mkdir()
    assert errors_of(call("train", "d.yaml"), 2) == ["d.yaml: cannot be read (Is a directory)"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["estimate"],
        ["estimate", "s_curve", "--max-dimension", "0"],
        ["estimate", "s_curve", "--max-dimension", "x"],
        ["estimate", "s_curve", "--schedule", "slow"],
        ["estimate", "s_curve", "--workers", "-1"],
        ["estimate", "s_curve", "--seed", "x"],
        ["train"],
        ["train", "c.yaml", "--steps", "3"],
        ["generate", "r"],
        ["generate", "r", "--num", "0", "--out", "a.parquet"],
        ["show"],
        ["unknown"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_the_usage(folder, arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert contents(folder) == set()


def test_validate_without_a_file_ends_with_2():
    assert errors_of(call("validate"), 2) == ["validate needs a CONFIG.yaml, or --schema"]


@pytest.mark.parametrize(
    "command", [["show"], ["generate", "--num", "3", "--out", "a.parquet"]], ids=["show", "generate"]
)
def test_a_folder_without_a_run_ends_with_2(folder, command):
    Path("r").mkdir()
    Path("f").write_text("")
    for place in ("r", "absent", "f"):
        (line,) = errors_of(call(*command, place), 2)
        assert line.startswith(str(folder / place))
    assert contents(folder) == {"r", "f"}


@pytest.mark.parametrize("out", ["f", "f/g"])
def test_a_run_folder_that_is_a_file_ends_with_2(folder, out):
    Path("f").write_text("mine")
    (line,) = errors_of(call("estimate", "s_curve", "data.n=50", "--out", out), 2)
    assert line.startswith(str(folder / out))
    assert Path("f").read_text() == "mine"


def test_a_folder_with_other_things_in_it_is_left_alone(folder):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("")
    (line,) = errors_of(call("estimate", "s_curve", "data.n=50", "--out", "mine"), 2)
    assert "is not empty and not a run folder" in line
    assert contents(folder) - {"mine/.lock"} == {"mine", "mine/thesis.tex"}


def test_a_gpu_that_is_not_there_ends_with_2(folder, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (line,) = errors_of(call("estimate", "s_curve", "data.n=50", "execution.use_gpu=true"), 2)
    assert line == "execution.use_gpu=true: execution.use_gpu: PyTorch sees no GPU on this machine"
    assert contents(folder) == set()


@pytest.mark.parametrize(
    "arguments", [["--max-dimension", "300"], ["networks.latent_dim=11", "schedule.batch_size=21"]]
)
def test_more_ranks_than_a_batch_can_hold_end_with_2_before_anything_is_written(folder, arguments):
    (line,) = errors_of(call("estimate", "s_curve", *arguments), 2)
    assert "a batch holds at least 2 rows of each of the" in line
    assert "--max-dimension" in line
    assert contents(folder) == set()


def test_more_ranks_than_a_batch_can_hold_are_reported_at_their_place_in_the_file(folder):
    Path("c.yaml").write_text(DATA + "networks: {latent_dim: 40}\nschedule:\n  batch_size: 79\n")
    (line,) = errors_of(call("train", "c.yaml"), 2)
    assert line.startswith("c.yaml:6:3: schedule.batch_size: a batch holds at least 2 rows of each of the 40 ranks, ")
    assert contents(folder) == {"c.yaml"}


# data -----------------------------------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).standard_normal((100, 3))


def with_value(value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[16, 1] = value
    return rows


def save(path: str, rows: np.ndarray) -> None:
    if path.endswith(".npy"):
        np.save(path, rows)
    elif path.endswith(".parquet"):
        pq.write_table(pa.table({name: rows[:, i] for i, name in enumerate("abc")}), path)
    else:
        with gzip.open(path, "wt") if path.endswith(".gz") else open(path, "w", newline="") as stream:
            csv.writer(stream).writerows([["a", "b", "c"], *rows.tolist()])


def text_column(path: str, _rows: np.ndarray) -> None:
    Path(path).write_text("a,b\n1,2\n3,red\n4,5\n")


def ragged(path: str, _rows: np.ndarray) -> None:
    Path(path).write_text("a,b\n1,2\n3,4,5\n")


def other(path: str, _rows: np.ndarray) -> None:
    Path(path).write_text("hello")


@pytest.mark.parametrize(
    ("path", "write", "rows", "said"),
    [
        ("t.csv", save, with_value(np.inf), ["column 'b', row 17 (line 18)", "not a finite number (got inf)"]),
        ("t.parquet", save, with_value(np.inf), ["column 'b', row 17", "not a finite number (got inf)"]),
        ("t.npy", save, with_value(-np.inf), ["column 'x2', row 17", "not a finite number (got -inf)"]),
        ("t.csv.gz", save, with_value(np.inf), ["column 'b', row 17", "not a finite number"]),
        ("t.npy", save, with_value(np.nan)[15:18], ["column 'x2', row 2: missing value", "data.missing=impute"]),
        ("t.csv", lambda path, _rows: Path(path).touch(), ROWS, ["an empty file (0 bytes)"]),
        ("t.parquet", save, ROWS[:0], ["no rows"]),
        ("t.csv", save, ROWS[:0], ["no rows"]),
        ("t.npy", save, ROWS[:1], ["at least 2 rows are needed (got 1)"]),
        ("t.csv", save, ROWS[:1], ["at least 2 rows are needed (got 1)"]),
        ("t.npy", save, np.ones((100, 3)), ["every column is constant"]),
        ("t.csv", text_column, ROWS, ["column 'b', row 2 (line 3)", "text, not a number (got 'red')"]),
        ("t.csv", ragged, ROWS, ["row 2 (line 3): 3 fields, 2 are expected"]),
        ("t.xlsx", other, ROWS, ["not a readable Excel file"]),
        ("t.doc", other, ROWS, ["unknown suffix", ".parquet", ".csv"]),
        ("t", other, ROWS, ["unknown suffix"]),
        ("t.parquet", other, ROWS, ["not a readable Parquet file"]),
        ("t.npy", other, ROWS, ["not a readable NPY file"]),
        ("t.npy", save, ROWS[:4], ["training rows are too few for 3 ranks", "--max-dimension"]),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, str) else "",
)  # fmt: skip
def test_data_that_cannot_be_used_end_with_4_and_their_place(folder, path, write, rows, said):
    write(path, rows)
    line = last_error_of(call("estimate", path), 4)
    assert line.startswith(f"{path}: ")
    assert all(part in line for part in said), line
    assert contents(folder) == {path}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("schedule.batch_size=512", "90 training rows are fewer than a batch of schedule.batch_size = 512"),
        ("data.n=101", "data.n = 101 rows were asked for, but there are 100"),
        ("data.columns=[a, d]", "no column 'd'"),
        ("data.array=x", "names an array of an .npz file"),
    ],
)
def test_data_that_do_not_fit_the_configuration_end_with_4(folder, change, said):
    save("t.csv", ROWS)
    line = last_error_of(call("estimate", "t.csv", change), 4)
    assert line.startswith("t.csv: ")
    assert said in line
    assert contents(folder) == {"t.csv"}


@pytest.mark.parametrize("path", ["absent.csv", "absent/t.parquet", "data.xyz"])
def test_a_table_that_is_not_there_ends_with_4(folder, path):
    assert errors_of(call("estimate", path), 4) == [f"{path}: no such file or folder"]
    assert contents(folder) == set()


@pytest.mark.parametrize(("name", "meant"), [("s_curv", "s_curve"), ("S-Curve", "s_curve"), ("spere", "sphere")])
def test_a_name_close_to_a_manifold_s_is_answered_with_the_manifold(name, meant):
    expected = [f"{name}: no such file or folder; did you mean the manifold {meant}?"]
    assert errors_of(call("estimate", name), 4) == expected


def test_a_name_of_nothing_is_answered_with_the_manifolds():
    (line,) = errors_of(call("estimate", "mydata"), 4)
    assert line.startswith("mydata: no such file or folder; manifolds are swissroll_curve, s_curve, ")


def test_a_file_called_like_a_manifold_is_the_file(folder):
    Path("torus").write_text("hello")
    (line,) = errors_of(call("estimate", "torus"), 4)
    assert "unknown suffix" in line


# cost -----------------------------------------------------------------------------------------------------------------

_WATCH = """
import json, sys, time
from lwgan_dist.cli import main
codes = []
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as exit:
        codes.append(exit.code)
heavy = sorted({"torch", "ray", "matplotlib", "sklearn", "pyarrow"} & set(sys.modules))
print(json.dumps([codes, heavy, time.process_time()]))
"""


def watched(*commands: list[str]) -> tuple[list[int], list[str], float]:
    """Exit codes of commands in one fresh process, the heavy packages that it imported, its seconds of CPU."""
    told = subprocess.run(
        [sys.executable, "-c", _WATCH, json.dumps(commands)], capture_output=True, text=True, check=True, timeout=60
    )
    codes, heavy, seconds = json.loads(told.stdout.splitlines()[-1])
    return codes, heavy, seconds


def test_bad_configurations_end_within_2_seconds_of_cpu_without_torch_or_ray():
    Path("a.yaml").write_text(DATA + "sede: 1\n")
    Path("b.yaml").write_text(DATA + "  dim: 3\n")
    Path("c.yaml").write_text(DATA + "\tseed: 1\n")
    commands = [["train", "a.yaml"], ["train", "b.yaml"], ["train", "c.yaml"], ["validate", "a.yaml"],
                ["train", "absent.yaml"], ["estimate", "s_curve", "data.n=1"], ["estimate", "s_curve", "data.dim=9"],
                ["train", "a.yaml", "--name", "../x"]]  # fmt: skip
    codes, heavy, seconds = watched(*commands)
    assert codes == [2] * len(commands)
    assert heavy == []
    assert seconds < 2.0


def test_a_good_configuration_is_validated_without_torch_or_ray():
    Path("a.yaml").write_text(DATA)
    assert watched(["validate", "a.yaml"])[:2] == ([0], [])


def test_help_takes_less_than_0_6_seconds_of_cpu_and_imports_nothing_heavy():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-m", "lwgan_dist", "--help"], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert told.stdout.startswith("Usage: lwgan-dist [OPTIONS] COMMAND [ARGS]...")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.stderr.splitlines()}
    assert "lwgan_dist" in imported
    assert not imported & {"torch", "ray", "numpy", "matplotlib", "pydantic"}
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6
