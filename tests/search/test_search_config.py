"""Laws of the file of a search: where its errors are, how the fields of its space are written and overridden."""

from pathlib import Path

import pytest

from lwgan_dist.config import override
from lwgan_dist.configfile import read_config
from lwgan_dist.errors import ConfigError
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.space import Space, located_space

RUN = "run:\n  data: {source: manifold, name: s_curve}\n"
SPACE = "space:\n  objective.mmd_weight: {uniform: [1, 2]}\n"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the lines that follow those of a run."""
    monkeypatch.chdir(tmp_path)

    def read(content: str, *changes: str) -> SearchConfig:
        Path("c.yaml").write_text(RUN + content)
        return read_config(SearchConfig, "c.yaml", changes)

    return read


def told(config: SearchConfig) -> dict:
    return {path: parameter.model_dump(exclude_unset=True) for path, parameter in config.space.items()}


def errors_of(read, *arguments) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(*arguments)
    return str(caught.value).splitlines()


MISTAKES = {
    "too few": ("{uniform: [1]}", "4:26: space.objective.mmd_weight.uniform: must have at least 2 items (got 1)"),
    "no number": ("{uniform: [1, x]}", "4:39: space.objective.mmd_weight.uniform.1: must be a number (got 'x')"),
    "reversed": (
        "{uniform: [3, 1]}",
        "4:3: space.objective.mmd_weight: uniform: low < high must hold (got 3 and 1)",
    ),
    "misspelt": ("{unifrom: [1, 3]}", "4:26: space.objective.mmd_weight.unifrom: unknown key; did you mean uniform?"),
    "no kind": ("[1, 3]", "4:3: space.objective.mmd_weight: must be a section of keys and values"),
    "no value": ("{choice: []}", "4:26: space.objective.mmd_weight.choice: must have at least 1 item (got 0)"),
    "two kinds": (
        "{choice: [1], grid: [2]}",
        "4:3: space.objective.mmd_weight: needs exactly one of uniform, loguniform, integer, choice, grid "
        "(got choice, grid)",
    ),
    "log of 0": (
        "{loguniform: [0, 1]}",
        "4:3: space.objective.mmd_weight: loguniform: low > 0 must hold in the logarithm (got 0)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_an_error_in_a_parameter_has_its_place(read, name):
    parameter, message = MISTAKES[name]
    assert errors_of(read, f"space:\n  objective.mmd_weight: {parameter}\n") == [f"c.yaml:{message}"]


def test_a_parameter_at_odds_with_the_searcher_has_its_place(read):
    content = "space:\n  networks.width: {grid: [8, 16]}\nsearcher: {name: optuna}\n"
    (error,) = errors_of(read, content)
    assert error.startswith("c.yaml:4:3: space.networks.width: a grid goes with ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("objective: {mis: 3}", "5:13: objective.mis: must be one of energy_distance, sliced_wasserstein, "),
        ("objective: {miss: -3}", "5:13: objective.miss: must be > 0 (got -3)"),
        ("objective: x", "5:1: objective: must be a section of keys and values (got 'x')"),
        ("objective: []", "5:1: objective: must have at least 2 items (got 0)"),
        ("objective: [{miss: 1}, 3]", "5:24: objective.1: must be a section of keys and values (got 3)"),
        ("initial: [default, papr]", "5:20: initial.1: must be one of default, paper (got 'papr'); did "),
        ("budget: {trails: 3}", "5:10: budget.trails: unknown key; did you mean trials?"),
        ("searcher: {name: optuna, populaton: 3}", "5:26: searcher.populaton: unknown key; did you mean population?"),
    ],
)  # fmt: skip
def test_a_value_of_several_forms_is_judged_as_the_one_that_it_has(read, content, message):
    (error,) = errors_of(read, f"{SPACE}{content}\n")
    assert error.startswith(f"c.yaml:{message}")


def test_sections_of_a_space_are_the_same_as_dotted_paths(read):
    dotted = read("space:\n  networks.width: {choice: [8]}\n  networks.latent_dim: {integer: [2, 4]}\n")
    nested = read("space:\n  networks:\n    width: {choice: [8]}\n    latent_dim: {integer: [2, 4]}\n")
    assert nested == dotted
    (error,) = errors_of(read, "space:\n  networks:\n    width: {uniform: [2, 1]}\n")
    assert error.startswith("c.yaml:5:5: space.networks.width: uniform: ")
    (error,) = errors_of(read, f"{SPACE}  objective: {{mmd_weight: {{choice: [1]}}}}\n")
    assert error == "c.yaml:4:3: space.objective.mmd_weight: is given twice"


def test_what_is_not_in_the_space_is_overridden_as_elsewhere(read):
    config = read(SPACE, "budget.trials=5", "seed=3", "searcher.name=optuna", "run.networks.width=8")
    assert (config.budget.trials, config.seed, config.searcher.name, config.run.networks.width) == (5, 3, "optuna", 8)


@pytest.mark.parametrize(
    ("change", "space"),
    [
        ("space.objective.mmd_weight.uniform=[2, 3]", {"objective.mmd_weight": {"uniform": [2, 3]}}),
        ("space.objective.mmd_weight={choice: [7]}", {"objective.mmd_weight": {"choice": [7]}}),
        (
            "space.networks.width={choice: [8]}",
            {"objective.mmd_weight": {"uniform": [1, 2]}, "networks.width": {"choice": [8]}},
        ),
        (
            "space.networks.width.choice=[8]",
            {"objective.mmd_weight": {"uniform": [1, 2]}, "networks.width": {"choice": [8]}},
        ),
        (
            "space.precision={choice: [float32]}",
            {"objective.mmd_weight": {"uniform": [1, 2]}, "precision": {"choice": ["float32"]}},
        ),
        ("space={networks.width: {choice: [8]}}", {"networks.width": {"choice": [8]}}),
    ],
)
def test_a_parameter_is_overridden_or_added(read, change, space):
    assert told(read(SPACE, change)) == space


def test_an_error_of_an_overridden_parameter_shows_the_override(read):
    change = "space.networks.width.gird=[1, 2]"
    assert errors_of(read, SPACE, change) == [f"{change}: space.networks.width.gird: unknown key; did you mean grid?"]
    (error,) = errors_of(read, SPACE, "space.objective.mmd_weight.uniform=[2, 1]")
    assert ": space.objective.mmd_weight: uniform: low < high must hold" in error


def test_override_takes_a_dotted_key_that_is_there_for_one_step():
    before = {"space": {"a.b": {"x": 1}, "a": {"c": 2}}}
    after = override(before, {"space.a.b.x": 3, "space.a.c": 4, "space.a.d.e": 5})
    assert after == {"space": {"a.b": {"x": 3}, "a": {"c": 4, "d": {"e": 5}}}}
    assert override(before, {"space.a.b": 0})["space"] == {"a.b": 0, "a": {"c": 2}}
    assert before == {"space": {"a.b": {"x": 1}, "a": {"c": 2}}}


def test_every_error_of_a_space_has_its_place(read):
    content = "space:\n  objective.mmd_wieght: {choice: [1]}\n  networks:\n    width: {choice: [0]}\n"
    change = "space.score.evaluations.choice=[1]"
    config = read(content, change)
    with pytest.raises(ConfigError) as caught, located_space("c.yaml", (change,)):
        Space(config)
    assert str(caught.value).splitlines() == [
        "c.yaml:4:3: space.objective.mmd_wieght: unknown field; did you mean objective.mmd_weight?",
        "c.yaml:6:5: space.networks.width: must be >= 1 (got 0)",
        f"{change}: space.score.evaluations: must be >= 2 (got 1)",
    ]
    with pytest.raises(ConfigError, match=r"^/tmp/x: is not empty$"), located_space("c.yaml", ()):
        raise ConfigError("/tmp/x: is not empty")
