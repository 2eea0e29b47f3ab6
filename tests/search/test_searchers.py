"""Laws of searchers: proposals are reproducible and inside the space, initial points come first, results are used."""

import functools
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pyarrow.parquet as pq
import pytest

from lwgan_dist.configfile import build_config, read_config
from lwgan_dist.errors import ConfigError
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.searchers import Outcome, Proposal, Searcher
from lwgan_dist.search.space import Space

DATA = {"source": "manifold", "name": "s_curve"}
SQUARE = {"objective.mmd_weight": {"uniform": [0, 1]}, "objective.gradient_penalty_weight": {"uniform": [0, 1]}}
CONDITIONAL = {
    "schedule.iterations": {"integer": [100, 1000], "log": True, "when": {"schedule.name": "paper"}},
    "schedule.decay_at": {"choice": [[0.5], [0.5, 0.9], []], "when": {"schedule.name": "paper"}},
    "schedule.embedding_iterations": {"choice": [0, 600], "when": {"schedule.name": "fast"}},
    "schedule.embedding_learning_rate": {"loguniform": [1e-4, 1e-2], "when": {"schedule.embedding_iterations": 600}},
    "schedule.name": {"choice": ["paper", "fast"]},
    "objective.mmd_weight": {"integer": [1, 6], "step": 2},
    "networks.width": {"integer": [8, 40], "step": 16},
    "score.batch_size": {"choice": [None, 64]},
}
TPE = {"name": "optuna", "startup_trials": 5}
GP = {"name": "optuna", "sampler": "gp", "startup_trials": 5}
NSGA2 = {"name": "optuna", "sampler": "nsga2", "population": 8}
PUBLISHED = Path(__file__).parents[2] / "docs" / "searches"
TWO = [{"reconstruction": 1.0}, {"cpu_seconds": 1.0}]


def search(space, run=None, **told) -> SearchConfig:
    told = {"initial": [], **told}
    return build_config(SearchConfig, {"run": {"data": DATA, **(run or {})}, "space": space, **told}, {})


def new_searcher(config):
    space = Space(config)
    return Searcher(config, space, config.run.resolved(train_rows=4500, ambient_dim=3))


def finished(*objectives) -> Outcome:
    return Outcome("finished", list(objectives), [])


def distance(values) -> Outcome:
    """Smallest at (0.3, 0.3), with a value for the weights that are not searched."""
    one, other = values["objective.mmd_weight"], values.get("objective.gradient_penalty_weight", 0.3)
    return finished((one - 0.3) ** 2 + (other - 0.3) ** 2)


def mixed(values, objectives=1) -> Outcome:
    """Finished, stopped or failed, as the values have it."""
    text = repr(sorted(values.items()))
    kind, value = sum(text.encode()) % 5, float(sum(text.encode()) % 97)
    if kind == 0:
        return Outcome("failed", None, [])
    if kind == 1 and objectives == 1:
        return Outcome("stopped", None, [value + 2, value + 1])
    return finished(*[value, 97 - value][:objectives])


def carried_out(config, trials, outcome, order=None, *, stop=None) -> list[Proposal]:
    """An engine: as many trials as the searcher allows are under way; they end in an order of its own, and are told by
    number, none before its time.

    Args:
        order: chooses which of those under way ends; the first by default.
        stop: where the search is interrupted.
    """
    proposes, ended, under_way, told, proposals = new_searcher(config), {}, [], 0, []
    ahead = proposes.ahead or 4
    while len(proposals) < (stop or trials) or (under_way and not stop):
        number = len(proposals)
        if number < (stop or trials) and all(earlier in ended for earlier in range(number - ahead + 1)):
            while told <= number - ahead:
                proposes.tell(told, ended[told])
                told += 1
            proposal = proposes.propose(number)
            if proposal is None:
                break
            proposals.append(proposal)
            under_way.append(number)
        else:
            chosen = under_way.pop(int(order.integers(len(under_way))) if order else 0)
            ended[chosen] = outcome(proposals[chosen].values)
    return proposals


SEARCHES = {
    "random": {},
    "tpe": {"searcher": TPE},
    "tpe, alone": {"searcher": {**TPE, "ahead": 1}},
    "tpe, initial points": {"searcher": TPE, "initial": ["default", "paper", {"networks.width": 24}]},
    "tpe, two objectives": {"searcher": TPE, "objective": TWO},
    "gp, initial points": {"searcher": GP, "initial": ["default", "paper", {"networks.width": 24}]},
    "gp, two objectives": {"searcher": GP, "objective": TWO},
    "nsga2": {"searcher": NSGA2},
    "nsga2, initial points": {"searcher": NSGA2, "initial": ["default", "paper", {"networks.width": 24}]},
}


def config_of(name) -> SearchConfig:
    return search(CONDITIONAL, seed=3, **SEARCHES[name])


@pytest.fixture(params=SEARCHES)
def named(request):
    return request.param, config_of(request.param)


# reproducibility ------------------------------------------------------------------------------------------------------


def trials_of(config) -> int:
    """Proposals of a Gaussian process take up to a second."""
    return 10 if getattr(config.searcher, "sampler", None) == "gp" else 24


def mixed_trials(config, order=None, *, trials=None, stop=None) -> list[Proposal]:
    outcome = partial(mixed, objectives=len(config.objectives))
    return carried_out(config, trials or trials_of(config), outcome, order, stop=stop)


@functools.cache
def straight(name) -> list[Proposal]:
    """Proposals of a search whose trials end in their order."""
    return mixed_trials(config_of(name))


def test_the_same_outcomes_lead_to_the_same_proposals_in_whatever_order_trials_end(named):
    name, config = named
    proposals = straight(name)
    assert len(proposals) == trials_of(config)
    for seed in range(2):
        assert mixed_trials(config, np.random.default_rng(seed)) == proposals
    other = config.model_copy(update={"seed": 4})
    assert mixed_trials(other)[-5:] != proposals[-5:]


def test_a_search_that_was_interrupted_or_is_shorter_is_proposed_the_same(named):
    name, config = named
    proposals = straight(name)
    for stop in (1, 7, trials_of(config) - 3):
        assert mixed_trials(config, np.random.default_rng(stop), stop=stop) == proposals[:stop]
    shorter = trials_of(config) - 4
    assert mixed_trials(config, trials=shorter) == proposals[:shorter]


def test_proposals_do_not_depend_on_hashes_and_threads():
    """Another process, with other hashes and two threads, proposes what this one does on one."""
    names = ("tpe", "nsga2", "gp, initial points")
    program = (
        "import test_searchers as t, torch; torch.set_num_threads(2)\n"
        f"for name in {names}:\n    print([sorted(p.values.items()) for p in t.straight(name)])"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    environment["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str([sorted(p.values.items()) for p in straight(name)]) for name in names]


@pytest.mark.parametrize(("name", "shape"), [("noisy_s_curve", (1800, 3)), ("digits", (1617, 64))])
def test_a_published_search_is_proposed_again(name, shape):
    folder = PUBLISHED / name
    config = read_config(SearchConfig, str(folder / "config.yaml"))
    rows = sorted(pq.read_table(folder / "trials.parquet").to_pylist(), key=lambda row: row["number"])
    proposes = Searcher(config, Space(config), config.run.resolved(train_rows=shape[0], ambient_dim=shape[1]))
    assert len(rows) == 30
    for number, row in enumerate(rows):
        if number >= proposes.ahead:
            proposes.tell(number - proposes.ahead, finished(rows[number - proposes.ahead]["objective"]))
        values = proposes.propose(number).values
        assert values == pytest.approx({path: row[f"parameters.{path}"] for path in config.space}, rel=1e-9)


# values ---------------------------------------------------------------------------------------------------------------


def is_plain(value) -> bool:
    return type(value) in (bool, int, float, str, type(None)) or (type(value) is list and all(map(is_plain, value)))


def test_proposals_are_points_of_the_space_in_plain_values(named):
    name, config = named
    space = Space(config)
    for proposal in straight(name):
        if proposal.origin == "proposed":
            assert space.contains(proposal.values), proposal
            assert all(map(is_plain, proposal.values.values()))
        space.configuration(proposal.values)


def test_random_proposals_are_a_function_of_seed_and_number():
    config = search(CONDITIONAL, seed=9)
    one, other = new_searcher(config), new_searcher(config)
    assert one.ahead is None
    for number in range(18):  # outcomes have no part in them
        proposal = one.propose(number)
        one.tell(number, mixed(proposal.values))
        assert other.propose(number) == proposal


@pytest.mark.parametrize("searcher", [{"name": "random"}, TPE], ids=["random", "tpe"])
def test_every_value_is_proposed_and_none_beyond(searcher):
    config = search(
        {**CONDITIONAL, "objective.gradient_penalty_weight": {"uniform": [0.5, 2]}},
        searcher={**searcher, **({"startup_trials": 400} if searcher is TPE else {})},
    )
    proposes = new_searcher(config)
    draws = [proposes.propose(number).values for number in range(400)]
    assert {values["networks.width"] for values in draws} == {8, 24, 40}
    assert {values["objective.mmd_weight"] for values in draws} == {1.0, 3.0, 5.0}
    assert {type(values["objective.mmd_weight"]) for values in draws} == {float}
    assert {values["schedule.name"] for values in draws} == {"paper", "fast"}
    assert {values["score.batch_size"] for values in draws} == {None, 64}
    weights = [values["objective.gradient_penalty_weight"] for values in draws]
    assert 0.5 <= min(weights) < 0.55
    assert 1.95 < max(weights) <= 2
    # Half of the draws are below the middle: +- 4 standard deviations of a proportion of n.
    for path, middle in (("schedule.iterations", math.sqrt(100 * 1000)), ("schedule.embedding_learning_rate", 1e-3)):
        drawn = [values[path] for values in draws if path in values]
        below = np.mean(np.array(drawn) < middle)
        assert abs(below - 0.5) < 4 * 0.5 / math.sqrt(len(drawn))


def test_the_order_of_the_file_changes_no_proposal():
    reverse = dict(reversed(CONDITIONAL.items()))
    assert carried_out(search(reverse), 20, mixed) == carried_out(search(CONDITIONAL), 20, mixed)
    for config in (search(CONDITIONAL), search(reverse)):
        paths = Space(config).paths
        assert all(paths.index(parent) < paths.index(child) for child in paths for parent in config.space[child].when)


def outcome_of_width(values) -> Outcome:
    return finished(float(values.get("networks.width", 0)))


def test_a_grid_has_an_end():
    config = search({"networks.width": {"grid": [8, 16, 32]}}, searcher={"name": "grid"})
    assert new_searcher(config).count == 3
    proposals = carried_out(config, 9, outcome_of_width)
    assert [proposal.values for proposal in proposals] == [{"networks.width": width} for width in (8, 16, 32)]


def test_a_grid_ends_and_leaves_out_what_was_an_initial_point():
    space = {
        "networks.width": {"grid": [32, 64]},
        "schedule.joint_iterations": {"choice": [0, 5], "when": {"schedule.name": "fast"}},
        "schedule.name": {"choice": ["paper", "fast"]},
    }
    config = search(space, searcher={"name": "grid"}, initial=["default", {"networks.width": 32}])
    proposals = carried_out(config, 99, outcome_of_width)
    fast, paper = {"schedule.name": "fast"}, {"schedule.name": "paper"}
    assert [(proposal.origin, proposal.values) for proposal in proposals] == [
        ("default", {"networks.width": 64, **fast, "schedule.joint_iterations": 0}),
        ("given", {"networks.width": 32, **fast, "schedule.joint_iterations": 0}),
        ("proposed", {"networks.width": 32, **paper}),
        ("proposed", {"networks.width": 32, **fast, "schedule.joint_iterations": 5}),
        ("proposed", {"networks.width": 64, **paper}),
        ("proposed", {"networks.width": 64, **fast, "schedule.joint_iterations": 5}),
    ]


# initial points -------------------------------------------------------------------------------------------------------

AROUND = {"objective.mmd_weight": {"uniform": [0, 4]}, "networks.width": {"integer": [8, 64]}}


@pytest.mark.parametrize("settings", [{"name": "random"}, TPE, GP, NSGA2], ids=["random", "tpe", "gp", "nsga2"])
def test_initial_points_come_first_and_once(settings):
    given = {"objective.mmd_weight": 3}
    config = search(
        AROUND,
        {"networks": {"width": 16}},
        searcher=settings,
        initial=["default", given, "paper", {"networks.width": 16.0, **given}, "default"],
    )
    proposals = carried_out(config, 5, distance)
    assert proposals[:3] == [
        Proposal({"objective.mmd_weight": 1.0, "networks.width": 16}, "default"),
        Proposal({"objective.mmd_weight": 3.0, "networks.width": 16}, "given"),
        Proposal({"objective.mmd_weight": 1.0, "networks.width": 64}, "paper"),
    ]
    assert [proposal.origin for proposal in proposals[3:]] == ["proposed", "proposed"]


def test_the_authors_values_are_not_tried_again_where_they_are_the_default():
    assert [p.origin for p in carried_out(search(AROUND, initial=["default", "paper"]), 2, distance)] == [
        "default",
        "proposed",
    ]


@pytest.mark.parametrize("settings", [{"name": "random"}, TPE, GP, NSGA2], ids=["random", "tpe", "gp", "nsga2"])
def test_a_default_outside_of_the_space_is_the_run_as_it_is(settings):
    space = {"objective.mmd_weight": {"uniform": [2, 4]}, "networks.width": {"integer": [8, 32]}}
    config = search(space, searcher=settings, initial=["default", "paper", {"networks.width": 8}])
    proposals = carried_out(config, 12, lambda values: distance({"objective.mmd_weight": 1.0, **values}))
    assert proposals[0] == Proposal({}, "default")
    assert Space(config).configuration({}) == config.run
    # Equal to the default; then a weight that was not given, from the default, not from the space.
    assert proposals[1] == Proposal({"objective.mmd_weight": 1.0, "networks.width": 8}, "given")
    assert all(Space(config).contains(proposal.values) for proposal in proposals[2:])


def test_a_given_schedule_has_its_own_values():
    config = search(CONDITIONAL, initial=[{"schedule.name": "paper"}])
    values = new_searcher(config).propose(0).values
    assert (values["schedule.iterations"], values["schedule.decay_at"]) == (10_000, [0.8, 0.85, 0.9, 0.95])
    assert "schedule.embedding_iterations" not in values


def test_given_points_that_are_not_in_the_space_are_refused_all_at_once():
    initial = [
        {"networks.width": 7},
        {"networks.witdh": 8, "score.evaluations": 2},
        {"networks.width": "wide"},
        {"schedule.iterations": 200},
        {"objective.mmd_weight": 3},
    ]
    with pytest.raises(ConfigError) as caught:
        new_searcher(search(CONDITIONAL, initial=initial))
    lines = str(caught.value).splitlines()
    beginnings = [
        "initial.0: networks.width: 7 is not in its integer [8, 40] in steps of 16",
        "initial.1: networks.witdh: is not in the space; did you mean networks.width?",
        "initial.1: score.evaluations: is not in the space",
        "initial.2: networks.width: must be a whole number (got 'wide')",
        "initial.3: schedule.iterations: ",
    ]
    assert len(lines) == len(beginnings), lines
    for line, beginning in zip(lines, beginnings, strict=True):
        assert line.startswith(beginning)


# what is found --------------------------------------------------------------------------------------------------------


def best_of(config, trials) -> float:
    return min(distance(proposal.values).objectives[0] for proposal in carried_out(config, trials, distance))


@pytest.mark.parametrize(("settings", "seeds", "trials"), [(TPE, 5, 30), (GP, 3, 12)], ids=["tpe", "gp"])
def test_proposals_from_results_come_nearer_than_random_draws(settings, seeds, trials):
    # The best of n random draws has a squared distance of about 1 / (pi n). The median over seeds of the logarithm of
    # the ratio is far from the laws of single searches, which may be lucky; and with fixed seeds it is one number.
    ratios = [
        best_of(search(SQUARE, searcher=settings, seed=seed), trials) / best_of(search(SQUARE, seed=seed), trials)
        for seed in range(seeds)
    ]
    assert np.median(ratios) < 1 / 2, ratios


def test_stopped_trials_are_used():
    # All trials far from the best place are stopped; what they reported is all that is known of them.
    def stopped_far_away(values):
        value = distance(values).objectives[0]
        return finished(value) if value < 0.02 else Outcome("stopped", None, [value])

    def late(seed, outcome):
        proposals = carried_out(search(SQUARE, searcher=TPE, seed=seed), 40, outcome)[20:]
        return np.median([distance(proposal.values).objectives[0] for proposal in proposals])

    far = np.median([late(seed, lambda values: Outcome("failed", None, [])) for seed in range(3)])
    assert np.median([late(seed, stopped_far_away) for seed in range(3)]) < far / 3


def trade_off(values) -> Outcome:
    """Both smallest with the second weight at 0.5; along the first one is bought with the other."""
    one, other = values["objective.mmd_weight"], values["objective.gradient_penalty_weight"]
    return finished(one**2 + (other - 0.5) ** 2, (1 - one) ** 2 + (other - 0.5) ** 2)


def hypervolume(points) -> float:
    """Area that is dominated by points, up to (1.5, 1.5)."""
    area, height = 0.0, 1.5
    for first, second in sorted(map(tuple, points)):
        if second < height and first < 1.5:
            area, height = area + (1.5 - first) * (height - second), second
    return area


@pytest.mark.parametrize("initial", [[], [{"objective.mmd_weight": 0.5, "objective.gradient_penalty_weight": 0.5}]])
def test_nsga2_evolves(initial):
    gains, spreads = [], []
    for seed in range(3):
        config = search(SQUARE, searcher=NSGA2, seed=seed, objective=TWO, initial=initial)
        proposals = carried_out(config, 8 * 12, trade_off)
        objectives = [trade_off(proposal.values).objectives for proposal in proposals]
        gains.append(hypervolume(objectives[-16:]) - hypervolume(objectives[:16]))
        second = [abs(proposal.values["objective.gradient_penalty_weight"] - 0.5) for proposal in proposals]
        spreads.append(np.mean(second[-16:]) / np.mean(second[:16]))
    assert np.median(gains) > 0
    assert np.median(spreads) < 0.6, spreads  # the weight that is of no use has been given up


def test_an_initial_point_can_be_a_parent():
    # Only the initial point has a good second weight. The children of a population that knows it have it.
    good = {"objective.mmd_weight": 0.123, "objective.gradient_penalty_weight": 0.456}

    def outcome(values):
        return finished(0.0, 0.0) if values["objective.mmd_weight"] == 0.123 else finished(1.0, 1.0)

    config = search(SQUARE, searcher=NSGA2, objective=TWO, initial=[good])
    proposals = carried_out(config, 40, outcome)
    assert any(proposal.values["objective.gradient_penalty_weight"] == 0.456 for proposal in proposals[1:])


def test_failures_and_infinite_objectives_do_not_end_a_search():
    for outcome in (Outcome("failed", None, []), Outcome("stopped", None, []), finished(math.nan), finished(math.inf)):
        config = search(SQUARE, searcher=TPE)
        assert len(carried_out(config, 20, partial(lambda outcome, values: outcome, outcome))) == 20


def test_optuna_is_quiet_and_left_as_it_was(capfd):
    before = optuna.logging.get_verbosity()
    carried_out(search(SQUARE, searcher=TPE), 12, distance)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
