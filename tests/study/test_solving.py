"""A study that solves for n: what it asks for, resumed and in any order; what it writes; what it refuses."""

import hashlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pydantic import ValidationError
from tiny_study import TINY, Silent
from tiny_study import config as tiny_config

from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.cli import main
from lwgan_dist.configfile import build_config, to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.storage import Folder
from lwgan_dist.study import work
from lwgan_dist.study.classical import ClassicalEstimate
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.design import Design
from lwgan_dist.study.publish import publish
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.solving import Searches
from lwgan_dist.study.study import Study
from lwgan_dist.study.tables import SOLVED

pytestmark = pytest.mark.usefixtures("blank_figures")

SOLVE = {
    "data": [{"name": "s_curve"}], "lwgan": {"replicates": 0},
    "classical": {"estimators": ["TwoNN", "MLE", "lPCA"], "replicates": 10},
    "solve": {"n": [20, 320], "target": 0.8, "precision": 4, "max_runs": 400},
}  # fmt: skip
STEPS = {"TwoNN": 70, "MLE": 1_000, "lPCA": 10}
"""n from which each estimator is made to be right."""


SEEN: dict[str, set[str]] = {name: set() for name in STEPS}
"""The rows that each was given."""


def estimate(name, rows, seed):
    """Right from some n on, and else in 2 of 5 samples."""
    digest = hashlib.sha256(rows.tobytes()).hexdigest()
    SEEN[name].add(digest)
    is_right = len(rows) >= STEPS[name] or int(digest, 16) % 5 < 2
    return ClassicalEstimate(2.0 if is_right else 1.0, 2 if is_right else 1, 0.0, None)


@pytest.fixture(autouse=True, scope="module")
def estimates():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(work, "classical_estimate", estimate)
        yield


def config(**told):
    base = {name: value for name, value in TINY.items() if name != "sizes"}
    return build_config(StudyConfig, {**base, **SOLVE, **told}, {})


def study(folder, **told):
    return Study(config(**told), Folder.at(str(folder)))


def by_method(table):
    return {row["method"]: row for row in table.to_pylist()}


def without_time(table):
    return table.drop_columns(["cpu_seconds", "wall_seconds"])


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    prepared = study(tmp_path_factory.mktemp("straight") / "solved")
    for seen in SEEN.values():
        seen.clear()
    outcome = prepared.execute(Silent())
    return prepared, outcome, {name: set(seen) for name, seen in SEEN.items()}


def test_every_method_has_its_n(solved):
    _, outcome, _ = solved
    table = outcome.tables.solved
    assert table.schema.equals(SOLVED)
    rows = by_method(table)
    assert {name: row["outcome"] for name, row in rows.items()} == {"TwoNN": "solved", "MLE": "more", "lPCA": "at most"}
    two, more, least = rows["TwoNN"], rows["MLE"], rows["lPCA"]
    assert two["n_low"] < STEPS["TwoNN"] <= two["n_high"] <= 4 * two["n_low"] * 1.001
    assert two["n_low"] < two["n"] <= two["n_high"]
    assert (more["n"], more["n_low"], more["n_high"]) == (None, 320, np.inf)
    assert (least["n"], least["n_low"], least["n_high"]) == (None, 0, 20)
    runs = outcome.tables.runs
    for name, row in rows.items():
        mine = [run for run in runs.to_pylist() if run["method"] == name]
        assert row["runs"] == sum(row["size_runs"]) == len(mine)
        for n, count, correct in zip(row["sizes"], row["size_runs"], row["size_correct"], strict=True):
            here = [run for run in mine if run["n"] == n]
            assert sorted(run["replicate"] for run in here) == list(range(count))
            assert sum(run["correct"] for run in here) == correct
    assert outcome.planned == runs.num_rows
    assert all(value is not None for value in outcome.tables.cells["sequence_low"].to_pylist())


def test_methods_share_their_samples(solved):
    _, outcome, samples = solved
    sizes = {name: set(row["sizes"]) for name, row in by_method(outcome.tables.solved).items()}
    assert len(sizes["TwoNN"] & sizes["MLE"]) >= 3
    seeds = {}
    for run in outcome.tables.runs.to_pylist():
        seeds.setdefault((run["n"], run["replicate"]), set()).add(run["data_seed"])
    assert all(len(here) == 1 for here in seeds.values())
    places = {
        name: {(run["n"], run["replicate"]) for run in outcome.tables.runs.to_pylist() if run["method"] == name}
        for name in STEPS
    }
    assert len(samples["TwoNN"] & samples["MLE"]) == len(places["TwoNN"] & places["MLE"]) >= 30


def test_a_run_is_that_of_a_study_of_this_size(solved):
    """By name: a search and a study of fixed sizes can take over from each other."""
    _, outcome, _ = solved
    keys = {(run["method"], run["n"], run["replicate"]): run["key"] for run in outcome.tables.runs.to_pylist()}
    sizes = sorted({n for _, n, _ in keys})
    fixed = tiny_config(**{name: value for name, value in SOLVE.items() if name != "solve"}, sizes=sizes)
    design = Design(fixed, "float32")
    planned = {
        (group.method, group.n, run.replicate): run.key
        for group in design.groups
        for run in design.runs(group, range(10))
    }
    common = keys.keys() & planned.keys()
    assert len(common) >= 30 * 3
    assert all(keys[place] == planned[place] for place in common)


@pytest.mark.parametrize("rounds", [1, 2])
def test_interrupted_it_goes_on_and_repeats_nothing(solved, tmp_path, monkeypatch, rounds):
    _, whole, _ = solved
    enter, seen = Searches.enter, []

    def stop(self, runs):
        seen.append(runs.num_rows)
        if len(seen) > rounds:
            raise KeyboardInterrupt
        enter(self, runs)

    with monkeypatch.context() as patched:
        patched.setattr(Searches, "enter", stop)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "cut").execute(Silent())
    done = len(Ledger(Folder.at(str(tmp_path / "cut" / "ledger")), RunRecord).keys())
    progress = Silent()
    again = study(tmp_path / "cut").execute(progress)
    assert sum(total for total, _ in progress.phases) == whole.planned - done
    assert without_time(again.tables.runs).equals(without_time(whole.tables.runs))
    assert again.tables.solved.equals(whole.tables.solved)


def test_the_order_in_which_runs_arrive_changes_nothing(solved, tmp_path, monkeypatch):
    _, whole, _ = solved
    missing = Study.missing
    monkeypatch.setattr(Study, "missing", lambda self, planned: missing(self, planned)[::-1])
    again = study(tmp_path / "backwards").execute(Silent())
    assert again.tables.solved.equals(whole.tables.solved)
    assert without_time(again.tables.runs).equals(without_time(whole.tables.runs))


def test_a_run_that_did_not_finish_ends_its_search_alone_and_is_tried_again(solved, tmp_path, monkeypatch):
    _, whole, _ = solved
    calls = []

    def breaks(name, rows, seed):
        calls.append(name)
        if name == "TwoNN" and calls.count("TwoNN") == 25:
            raise OSError("no space")
        return estimate(name, rows, seed)

    with monkeypatch.context() as patched:
        patched.setattr(work, "classical_estimate", breaks)
        broken = study(tmp_path / "broken").execute(Silent())
    assert len(broken.unfinished) == 1
    rows, straight = by_method(broken.tables.solved), by_method(whole.tables.solved)
    assert rows["TwoNN"]["outcome"] == "unfinished"
    assert rows["MLE"] == straight["MLE"]
    again = study(tmp_path / "broken").execute(Silent())
    assert again.unfinished == {}
    assert again.tables.solved.equals(whole.tables.solved)


def test_it_ends_with_the_most_runs_and_says_so(tmp_path):
    outcome = study(tmp_path / "s", solve={**SOLVE["solve"], "max_runs": 45}).execute(Silent())
    rows = by_method(outcome.tables.solved)
    assert rows["TwoNN"]["outcome"] == "undecided"
    assert rows["TwoNN"]["runs"] <= 45


def test_readers_get_table_page_and_summary(solved):
    prepared, outcome, _ = solved
    publish(prepared, outcome, "solved")
    folder = prepared.folder
    assert pq.read_table(f"{folder.location}/solved.parquet").equals(outcome.tables.solved)
    summary = folder.read("summary.md").decode()
    row = by_method(outcome.tables.solved)["TwoNN"]
    assert f"{row['n']} ({row['n_low']:g}, {row['n_high']:g}]" in summary
    assert "not reached at the largest n" in summary
    assert "reached at the smallest n" in summary
    assert "Solved: n for P(correct) of 0.8" in summary
    assert "smallest n of the study" not in summary, "n_95 of the three sizes of the beginning would be beside it"
    assert "searched for between 20 and 320" in summary


def test_the_command_shows_the_n(tmp_path):
    (tmp_path / "s.yaml").write_text(to_yaml(config()))
    call = [str(part) for part in ("study", tmp_path / "s.yaml", "--storage", tmp_path)]
    plan = CliRunner().invoke(main, [*call, "--dry-run"])
    assert "9 cells, 90 runs, 90 of them still to be done" in plan.output
    assert "what the searches for n ask for (solve), at most 400 runs for each data and method" in plan.output
    said = CliRunner().invoke(main, [*call, "--json"])
    assert said.exit_code == 0, said.output
    rows = json.loads(said.stdout)["solved"]
    assert [row["outcome"] for row in rows] == ["solved", "more", "at most"]
    assert json.loads(CliRunner().invoke(main, ["show", str(tmp_path / "s"), "--json"]).stdout)["solved"] == rows
    shown = CliRunner().invoke(main, ["show", str(tmp_path / "s")]).output
    assert "not reached at the largest n" in shown
    assert "whenever the search stops" in shown


def test_rank_rules_are_searched_for_each_and_share_their_fits(tmp_path):
    told = {
        "lwgan": {"replicates": 1, "rules": {"rate": {"penalty": "rate"}}}, "classical": {},
        "solve": {"n": [20, 80], "target": 0.5, "precision": 100, "step": 1, "max_runs": 4},
    }  # fmt: skip
    outcome = study(tmp_path / "s", **told).execute(Silent())
    rows = by_method(outcome.tables.solved)
    assert rows.keys() == {"LWGAN", "LWGAN (rate)"}
    assert all(3 <= row["runs"] <= 4 for row in rows.values())
    keys = outcome.tables.runs["key"].to_pylist()
    assert len(keys) == 2 * len(set(keys)) == 2 * outcome.planned


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"sizes": [100]}, "sizes: has no place beside solve"),
        ({"stop_when": {"interval_width": 0.5}}, "stop_when: has no place beside solve"),
        ({"bootstrap": {}}, "bootstrap: has no place beside solve"),
        ({"lwgan": {"initialisations": 2}}, "lwgan.initialisations: solve counts one run"),
        ({"data": [{"path": "t.npy"}]}, "data.0.intrinsic_dim: is missing"),
        ({"solve": {"n": [300, 20]}}, "solve.n: is [smallest, largest]"),
        ({"solve": {"n": [20]}}, "solve.n"),
        ({"solve": {"n": [2, 10**9], "precision": 1.1}}, "solve.precision: this range would have"),
        ({"solve": {"n": [20, 200], "precision": 1}}, "solve.precision"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(told, message):
    with pytest.raises((ConfigError, ValidationError)) as error:
        config(**told)
    assert message in str(error.value)


def test_a_whole_table_is_one_sample(tmp_path):
    np.save(tmp_path / "t.npy", np.random.default_rng(0).standard_normal((80, 3)))
    table = [{"path": str(tmp_path / "t.npy"), "intrinsic_dim": 3}]
    with pytest.raises(ConfigError, match=r"a single sample of 80: solve.n has to end below"):
        study(tmp_path / "s", data=table, solve={"n": [20, 80]})
    assert study(tmp_path / "s", data=table, solve={"n": [20, 79]}).design.groups


def test_the_sizes_are_equally_spaced_in_log_n():
    solve = config(solve={"n": [100, 20_000], "precision": 2}).solve
    ratios = np.array(solve.grid[1:]) / solve.grid[:-1]
    assert (solve.grid[0], solve.grid[-1]) == (100, 20_000)
    assert ratios == pytest.approx(ratios[0], rel=0.01)
    assert ratios[0] ** 4 == pytest.approx(2, rel=0.05)
    assert solve.first == [100, solve.grid[len(solve.grid) // 2], 20_000]
