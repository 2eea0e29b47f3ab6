"""From a configuration to runs: cells, seeds, names."""

import itertools

import numpy as np
import pytest
from tiny_study import TINY, config

from lwgan_dist.config import RunConfig, TrainConfig
from lwgan_dist.data.sample import load_sample
from lwgan_dist.errors import ConfigError, DataError
from lwgan_dist.study.design import Design


def design(changes=None, precision="float32", **told):
    return Design(config(changes, **told), precision)


def all_runs(plan):
    return [run for group in plan.groups for run in plan.runs(group, range(plan.replicates(group)))]


def keys(plan):
    return {(run.group.data, run.group.n, run.group.method, run.replicate, run.initialisation): run.key
            for run in all_runs(plan)}  # fmt: skip


def test_every_cell_is_there_once():
    plan = design()
    cells = {(group.data, group.n, method) for group in plan.groups for method in group.methods}
    labels = ["s_curve", "swissroll_curve, noise 0.05"]
    assert cells == set(itertools.product(labels, [40, 60], ["LWGAN", "LWGAN (rate)", "TwoNN", "MLE"]))
    assert plan.cells() == len(cells) == 16
    assert len(all_runs(plan)) == 4 * (2 + 3 + 3)
    assert {group.data: group.intrinsic_dim for group in plan.groups} == dict(zip(labels, [2, 1], strict=True))


def test_factors_are_crossed_and_those_of_the_data_hold_for_all_methods():
    plan = design({"factors": {"data.noise": [0, 0.1], "objective.mmd_weight": [1, 5]}}, data=[{"name": "s_curve"}])
    lwgan = [group for group in plan.groups if group.kind == "lwgan" and group.n == 40]
    assert [(g.data, g.method) for g in lwgan] == [
        (f"s_curve, noise {noise}", f"LWGAN [mmd_weight={weight}]") for noise in ("0", "0.1") for weight in (1, 5)
    ]
    assert [(g.config.data.noise, g.config.objective.mmd_weight) for g in lwgan] == [(0, 1), (0, 5), (0.1, 1), (0.1, 5)]
    classical = [g for g in plan.groups if g.kind == "classical" and g.n == 40 and g.method == "MLE"]
    assert [(g.data, g.factors) for g in classical] == [
        ("s_curve, noise 0", {"data.noise": 0}), ("s_curve, noise 0.1", {"data.noise": 0.1})
    ]  # fmt: skip


def test_methods_see_the_same_samples_and_other_n_and_replicates_do_not():
    plan = design()
    samples = {}
    for run in all_runs(plan):
        if run.group.data == "s_curve":
            rows = load_sample(run.config.data)
            samples.setdefault((run.group.n, run.replicate), set()).add(rows.digest)
    assert all(len(digests) == 1 for digests in samples.values())
    assert len({digest for digests in samples.values() for digest in digests}) == len(samples) == 6
    seeds = {}
    for run in all_runs(plan):  # one seed would give equal first coordinates
        seeds.setdefault(run.config.data.seed, set()).add((run.group.n, run.replicate))
    assert all(len(of_seed) == 1 for of_seed in seeds.values())


def test_initialisations_are_nested_in_samples():
    plan = design({"lwgan.initialisations": 3})
    runs = [run for run in all_runs(plan) if run.group.kind == "lwgan" and run.group.n == 40]
    by_sample = {}
    for run in runs:
        by_sample.setdefault((run.group.data, run.replicate), []).append((run.config.data.seed, run.config.seed))
    assert all(len({data for data, _ in seeds}) == 1 for seeds in by_sample.values())
    assert all(len({seed for _, seed in seeds}) == 3 for seeds in by_sample.values())


@pytest.mark.parametrize(
    "grown",
    [
        {"sizes": [20, 40, 60]},
        {"data": [{"name": "sphere"}, *TINY["data"]]},
        {"lwgan": {"replicates": 5, "rules": {"other": {"penalty_constant": 3.0}}}},
        {"classical": {"estimators": ["CorrInt", "MLE", "TwoNN"], "replicates": 9}},
        {"execution": {"workers": 1, "cpus_per_worker": 2}},
        {"data": list(reversed(TINY["data"]))},
    ],
)
def test_a_study_that_grows_keeps_its_runs(grown):
    before, after = keys(design()), keys(design(**grown))
    assert before.keys() <= after.keys() or "data" not in grown
    for run in before.keys() & after.keys():
        assert before[run] == after[run]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"run.networks.width": 3}, {}),
        ({"run.schedule.matching_iterations": 3}, {}),
        ({"run.score.evaluations": 4}, {}),
        ({"seed": 1}, {}),
        ({}, {"data": [{**item, "standardize": "per_column"} for item in TINY["data"]]}),
    ],
)
def test_what_changes_a_number_changes_the_name(changes, told):
    before, after = keys(design()), keys(design(changes, **told))
    assert all(before[run] != after[run] for run in before if "LWGAN" in run)


def test_the_name_depends_on_both_seeds_and_on_no_rank_rule():
    plan = design({"lwgan.initialisations": 2}, sizes=[40])
    names = [run.key for run in all_runs(plan)]
    assert len(set(names)) == len(names)
    judged = design({"lwgan.initialisations": 2, "run.score.penalty": "rate", "run.score.resolution": 0.2}, sizes=[40])
    assert [run.key for run in all_runs(judged)] == names


def test_precision_is_part_of_the_name_only_where_it_is_free():
    free = {name: value for name, value in TINY["run"].items() if name != "precision"}
    assert keys(design(run=free, precision="float32")) == keys(design())
    different, given = keys(design(run=free, precision="bfloat16")), keys(design())
    assert all((different[run] == given[run]) == (run[2] in ("TwoNN", "MLE")) for run in given)


def test_a_run_is_that_of_the_train_command():
    run = next(run for run in all_runs(design()) if run.group.kind == "lwgan")
    told = TrainConfig.model_validate(run.config.model_dump(mode="json")).run()
    assert told == RunConfig.model_validate(run.config.model_dump(mode="json")) == run.config


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"factors": {"seed": [1, 2]}}, r"factors.seed: is not a field that can vary"),
        ({"factors": {"data.n": [1, 2]}}, r"factors.data.n: is not"),
        ({"factors": {"data.noise": [0.1, 0.1]}}, r"a value is given twice"),
        ({"factors": {"networks.widht": [1]}}, r"networks.widht: unknown key; did you mean width"),
        ({"factors": {"data.noise": [-1]}}, r"data.noise: must be >= 0"),
        ({"data": [{"name": "s_curve"}, {"name": "s_curve"}]}, r"is listed twice .* give labels"),
        ({"data": [{"name": "s_curve", "settings": {"seed.x": 1}}]}, r"seed"),
        ({"data": [{"name": "s_curve", "dim": 3}]}, r"s_curve has dimension 2"),
        ({"sizes": [40, 40]}, r"sizes: a size is given twice"),
        ({"sizes": None}, r"sizes: is missing"),
        ({"lwgan": {"replicates": 0}, "classical": {}}, r"nothing to study"),
        ({"data": [{"name": "s_curve", "holdout_fraction": 0}], "lwgan": {"rules": {"h": {"score_on": "holdout"}}}},
         r"lwgan.rules.h.score_on: 'holdout' needs holdout_fraction > 0, and data.0 has 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(told, message):
    with pytest.raises(ConfigError, match=message):
        design(**told)


def test_the_whole_table_decides_once_how_its_samples_are_standardised(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 3)) * [1.0, 1000.0, 1.0]
    counted = np.column_stack([np.arange(80), rows])
    for name, table in (("named", rows), ("counted", counted)):
        header = ",".join(["id", "length", "mass", "age"][-table.shape[1] :])
        np.savetxt(tmp_path / f"{name}.csv", table, delimiter=",", header=header, comments="", fmt="%.17g")
    plan = design(data=[{"path": str(tmp_path / "named.csv")}])
    assert {group.config.data.standardize for group in plan.groups} == {"per_column"}
    asked = design(data=[{"path": str(tmp_path / "named.csv"), "standardize": "per_column"}])
    assert keys(plan) == keys(asked)
    left_out = design(data=[{"path": str(tmp_path / "counted.csv")}])
    assert {tuple(group.config.data.columns) for group in left_out.groups} == {("length", "mass", "age")}
    assert {load_sample(run.config.data).shape for run in all_runs(left_out)} == {(3,)}
    with pytest.raises(ConfigError, match=r"data\.standardize: auto is chosen once"):
        design({"factors": {"data.standardize": ["auto"]}}, data=[{"path": str(tmp_path / "named.csv")}])


def test_tables_are_subsampled_and_identified_by_their_rows(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    np.save(tmp_path / "a.npy", rows)
    np.save(tmp_path / "b.npy", rows)
    told = {"data": [{"path": str(tmp_path / "a.npy"), "intrinsic_dim": 2}]}
    plan = design(**told)
    assert {group.intrinsic_dim for group in plan.groups} == {2}
    assert {len(load_sample(run.config.data).train) for run in all_runs(plan)} == {36, 54}
    moved = design(data=[{"path": str(tmp_path / "b.npy"), "label": "a"}])
    assert sorted(keys(plan).values()) == sorted(keys(moved).values())
    whole = design(sizes=None, **told)
    assert {group.n for group in whole.groups} == {80}
    rows[0, 0] += 1
    np.save(tmp_path / "a.npy", rows)
    assert not set(keys(plan).values()) & set(keys(design(**told)).values())
    with pytest.raises(DataError, match="100 rows were asked for, the table has 80"):
        design(**told, sizes=[100])


def test_a_truth_that_cannot_be_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(80, 3)))
    with pytest.raises(ConfigError, match="intrinsic_dim = 4 is more than its 3 columns"):
        design(data=[{"path": str(tmp_path / "a.npy"), "intrinsic_dim": 4}])
    with pytest.raises(ConfigError, match=r"networks.latent_dim = 2 is below the true dimension 4"):
        design(data=[{"name": "hyperplane"}])
