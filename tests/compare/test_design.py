"""Which runs a comparison consists of, with which seeds, under which names; what it refuses."""

from collections import defaultdict

import numpy as np
import pytest
from tiny_compare import TINY, WAE, config

from lwgan_dist.compare.config import of_truth
from lwgan_dist.compare.design import Design
from lwgan_dist.errors import ConfigError, DataError


def design(**given):
    return Design(config(**given), "float32")


def test_every_model_is_on_every_data_where_it_has_a_latent_size():
    cells = [(cell.data, cell.model) for cell in design().cells]
    assert cells == [
        ("s_curve", "lwgan"), ("s_curve", "lwgan at rank truth"), ("s_curve", "WAE"), ("s_curve", "small <WAE>"),
        ("swissroll_curve, noise 0.05", "lwgan"), ("swissroll_curve, noise 0.05", "lwgan at rank truth"),
        ("swissroll_curve, noise 0.05", "WAE"),
    ]  # fmt: skip


def test_sizes_relative_to_the_truth_are_numbers_on_each_data():
    by_data = defaultdict(list)
    for cell in design().cells:
        by_data[cell.data].append(cell.rank or getattr(cell.config.model, "latent_dim", None))
    assert list(by_data.values()) == [[None, 2, 2, 1], [None, 1, 1]]
    assert [of_truth(value, 3) for value in ("truth", "truth+2", "truth-1", 5, "mlp")] == [3, 5, 2, 5, "mlp"]
    with pytest.raises(ValueError, match="known dimension"):
        of_truth("truth", None)


def test_a_replicate_is_one_sample_and_one_seed_for_all_models():
    seeds = defaultdict(set)
    for run in design(sizes=[40, 60]).runs():
        seeds[run.cell.data, run.cell.n, run.replicate].add((run.data_seed, run.seed, run.config.data.seed))
    assert all(len(each) == 1 for each in seeds.values())
    assert len({seed for each in seeds.values() for seed, *_ in each}) == 4  # of n and replicate, not of the data


def test_runs_are_named_by_what_their_numbers_depend_on():
    runs = design().runs()
    by_model = defaultdict(set)
    for run in runs:
        by_model[run.cell.model].add(run.key)
    assert by_model["lwgan"] == by_model["lwgan at rank truth"]
    assert len({run.key for run in runs}) == 10
    told = [{**model, "label": f"other {i}"} for i, model in enumerate(TINY["models"])]
    again = design(models=told, data=TINY["data"][::-1], sizes=[60, 40], replicates=3, metrics=["reconstruction"])
    assert {run.key for run in runs} < {run.key for run in again.runs()}
    other = design(seed=1).runs()
    assert not {run.key for run in runs} & {run.key for run in other}
    wider = design(models=[{**WAE, "latent_dim": 2, "width": 3}])
    assert not {run.key for run in runs} & {run.key for run in wider.runs()}
    for rows in (65, None):
        assert not {run.key for run in runs} & {run.key for run in design(fresh_rows=rows).runs()}


def test_a_table_has_no_fresh_rows_to_depend_on(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((50, 3)))
    given = {"data": [{"path": str(tmp_path / "rows.npy")}], "models": [WAE]}
    assert [run.key for run in design(**given).runs()] == [run.key for run in design(fresh_rows=9, **given).runs()]


def test_labels_say_what_is_given():
    told = [
        {"name": "lwgan", "settings": {"networks.width": 3}}, {"name": "lwgan", "rank": 1},
        {**WAE, "latent_dim": "truth+1"}, {"name": "wae"},
    ]  # fmt: skip
    assert design(models=told).labels == [
        "lwgan [width=3]", "lwgan at rank 1",
        "wae truth+1 [width=2, iterations=6, batch_size=16, evaluations=2]", "wae",
    ]  # fmt: skip


def test_settings_are_those_of_the_model(tmp_path):
    data = [{"name": "s_curve", "settings": {"networks.latent_dim": 3}}]
    models = [{"name": "lwgan", "settings": {"networks.width": 5}}, WAE]
    lwgan, wae = (cell.config for cell in design(data=data, models=models).cells)
    assert (lwgan.networks.latent_dim, lwgan.networks.width) == (3, 5)
    assert wae.model.width == 2
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((50, 3)))
    table = [{"path": str(tmp_path / "rows.npy")}]
    (cell,) = design(data=table, models=[WAE], sizes=None).cells
    assert (cell.n, cell.intrinsic_dim, cell.config.data.path) == (50, None, str(tmp_path / "rows.npy"))
    with pytest.raises(ConfigError, match=r"'rows': 'truth' needs data of known dimension"):
        design(data=table, models=[{**WAE, "latent_dim": "truth"}], sizes=None)
    (known,) = design(
        data=[{**table[0], "intrinsic_dim": 2}], models=[{**WAE, "latent_dim": "truth"}], sizes=[40]
    ).cells
    assert known.config.model.latent_dim == 2
    with pytest.raises(DataError, match="60 rows were asked for, the table has 50"):
        design(data=table, sizes=[60])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"models": [{**WAE, "latent": 2}]}, "models.0.latent: unknown key; did you mean latent_dim?"),
        ({"models": [{"name": "lwgan"}, {**WAE, "latent_dim": 0}]}, "models.1.latent_dim: must be >= 1"),
        ({"models": [{**WAE, "latent_dim": "truth-x"}]}, "models.0.latent_dim: must be a whole number"),
        ({"models": [{"name": "wea"}]}, "models.0.name: must be one of lwgan, wae"),
        (
            {"models": [{**WAE, "rank": 2}]},
            "models.0.rank: is of models that estimate a dimension",
        ),
        ({"models": []}, "models: must have at least 1 item"),
        ({"models": [{**WAE, "label": "_mine"}]}, "models.0.label: must not begin with _"),
        ({"models": [WAE, WAE]}, "is listed twice; give labels"),
        ({"models": [{"name": "lwgan", "settings": {"data.n": 3}}]}, "settings.data.n: is not a setting"),
        *(
            ({"data": [{"name": "s_curve", "settings": settings}], "models": [WAE]}, says)
            for settings, says in (
                ({"trainning.iterations": 3}, "settings.trainning.iterations: is not a field of an LWGAN"),
                ({"precison": "float64"}, "settings.precison: is not a field of an LWGAN"),
                ({"data.noise": 0.5}, "settings.data.noise: is not a field of an LWGAN"),
                ({"seed": 3}, "settings.seed: is not a field of an LWGAN"),
                ({"model.width": 3}, "settings.model.width: is not a field of an LWGAN"),
                ({"networks.latent_dmi": 3}, "networks.latent_dmi: unknown key; did you mean latent_dim?"),
                (
                    {"schedule.bogus": 3},
                    "data 's_curve', with its factors and settings: schedule.bogus=3: schedule.bogus: ",
                ),
            )
        ),
        ({"reference": "VAE"}, "reference: 'VAE' is no model; there are lwgan, "),
        ({"run": {"model": {"name": "wae"}}}, "run.model: the models of a comparison are listed under models"),
        ({"metrics": ["reconstruction", "reconstruction"]}, "metrics: a metric is given twice"),
        ({"sizes": None}, "sizes: is missing"),
        ({"execution": {"workers": {"min": 1, "max": 2}}}, "execution.workers: a comparison takes a number"),
    ],
)
def test_what_cannot_be_is_refused(given, says):
    with pytest.raises(ConfigError) as error:
        design(**given)
    assert says in str(error.value)
