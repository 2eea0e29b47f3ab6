"""Searchers: they propose the points of a space that are tried, by number, and learn how the trials ended.

Optuna's samplers choose, one for each proposal. Proposals are reproducible: the one of number t is a function of the
seed of the search, of t, and of the outcomes entered before it, and of nothing else. A search that was interrupted asks
again from number 0 and is proposed the same.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from lwgan_dist.config import RunConfig, override
from lwgan_dist.configfile import build_config
from lwgan_dist.errors import ConfigError
from lwgan_dist.search.config import GridSearcher, Initial, OptunaSearcher, SearchConfig, SearcherConfig
from lwgan_dist.search.space import Point, Space
from lwgan_dist.seeding import derive
from lwgan_dist.threads import one_thread


@dataclass(frozen=True)
class Proposal:
    """What is tried.

    Attributes:
        values: by path; without values it is the run of the search as it is.
        origin: ``default``, ``paper`` or ``given`` of an initial point, else ``proposed``.
    """

    values: dict[str, Any]
    origin: str


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: ``stopped`` is by the scheduler.
        objectives: what is minimised, None unless finished.
        reports: interim objectives, in order.
    """

    state: Literal["finished", "stopped", "failed"]
    objectives: list[float] | None
    reports: list[float]


class Searcher:
    """Proposes points: the initial ones, then all of a grid or what a sampler of Optuna chooses, without end.

    ``propose`` is called once for each number in ascending order, from 0; ``tell`` in ascending order too, only for
    what was proposed, and for the numbers up to t - ``ahead`` before t is proposed.

    Args:
        config: the search.
        space: its space.
        default: its run, resolved.

    Raises:
        ConfigError: initial points that are not in the space, a grid of too many points.

    Attributes:
        ahead: None if proposals do not rest on results.
        count: number of proposals, None if they have no end.
    """

    def __init__(self, config: SearchConfig, space: Space, default: RunConfig) -> None:
        self._config = config
        self._space = space
        self._fixed = initial_points(config, space, default)
        self.ahead = config.searcher.ahead if isinstance(config.searcher, OptunaSearcher) else None
        self.count: int | None = None
        if isinstance(config.searcher, GridSearcher):
            initial = [proposal.values for proposal in self._fixed]
            self._fixed += [Proposal(values, "proposed") for values in space.grid() if values not in initial]
            self.count = len(self._fixed)
        self._trials: dict[int, optuna.Trial] = {}
        with _quietly():
            self._study = optuna.create_study(directions=["minimize"] * len(config.objectives))

    def propose(self, number: int) -> Proposal | None:
        """The proposal of a number; None if there are no more."""
        fixed = self._fixed[number] if number < len(self._fixed) else None
        if self.count is not None or (fixed and not self._space.contains(fixed.values)):
            return fixed  # a sampler is not asked, or could make nothing of it
        # The last digit of a product depends on how many threads share it; random draws have no products.
        with _quietly(), one_thread() if self.ahead else nullcontext():
            # A sampler that is made anew knows nothing but the study: neither interruptions nor what it drew before
            # have a part in the proposal. NSGA-II keeps its generations in the study.
            seed = derive(self._config.seed, "search/optuna", number) % 2**32
            sampler = self._study.sampler = _sampler(self._config.searcher, seed)
            if fixed:
                self._study.enqueue_trial(self._space.encoded(fixed.values))
            trial = self._trials[number] = self._study.ask()
            values = self._space.suggest(trial)
            if fixed and isinstance(sampler, optuna.samplers.NSGAIISampler):
                # Where nothing is sampled it would not be counted to a generation, and never be a parent.
                sampler.get_trial_generation(self._study, self._study.trials[trial.number])
        return fixed or Proposal(values, "proposed")

    def tell(self, number: int, outcome: Outcome) -> None:
        """Enter the outcome of a trial."""
        trial = self._trials.get(number)
        if trial is None:
            return
        finite = outcome.objectives is not None and all(map(math.isfinite, outcome.objectives))
        with _quietly():
            if outcome.state == "stopped":
                for step, value in enumerate(outcome.reports):
                    trial.report(value, step)
                self._study.tell(trial, state=TrialState.PRUNED)
            elif outcome.state == "finished" and finite:
                self._study.tell(trial, outcome.objectives)
            else:
                self._study.tell(trial, state=TrialState.FAIL)


def _sampler(config: SearcherConfig, seed: int) -> optuna.samplers.BaseSampler:
    if not isinstance(config, OptunaSearcher):
        return optuna.samplers.RandomSampler(seed=seed)
    if config.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=config.population or 20, seed=seed)
    if config.sampler == "gp":
        return optuna.samplers.GPSampler(n_startup_trials=config.startup_trials or 10, seed=seed)
    return optuna.samplers.TPESampler(
        n_startup_trials=config.startup_trials or 10,
        multivariate=True,
        group=True,  # parameters with conditions are modelled apart, on the trials that have them
        constant_liar=True,  # trials under way count as bad, or several would be sent to the same place
        seed=seed,
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Optuna's log of every trial and its warnings of what is experimental."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


# initial points -------------------------------------------------------------------------------------------------------


def initial_points(config: SearchConfig, space: Space, default: RunConfig) -> list[Proposal]:
    """The first proposals, equal ones once. The default, and what is not given of a point, may lie outside of the
    space; so may the authors' values.

    Raises:
        ConfigError: given values that are not in the space, a line each (``initial.1: networks.width: ...``).
    """
    proposals: list[Proposal] = []
    seen: list[Point] = []
    errors: list[str] = []
    at_default = space.values_of(default)
    for index, initial in enumerate(config.initial):
        try:
            values = _values(initial, space, default)
        except ConfigError as error:
            errors += [f"initial.{index}: {line}" for line in str(error).splitlines()]
            continue
        if values in seen:
            continue
        seen.append(values)
        # Outside of the space the default is the run as it is, without anything that was resolved written out.
        as_it_is = values == at_default and not space.contains(values)
        proposals.append(Proposal({} if as_it_is else values, initial if isinstance(initial, str) else "given"))
    if errors:
        raise ConfigError("\n".join(errors))
    return proposals


def _values(initial: Initial, space: Space, default: RunConfig) -> Point:
    if initial == "default":
        return space.values_of(default)
    if initial == "paper":
        return space.paper_values(default)
    assert isinstance(initial, dict)
    unknown = [line for line in space.outside(initial) if line.partition(": ")[0] not in space.paths]
    if unknown:
        raise ConfigError("\n".join(unknown))
    config = build_config(RunConfig, override(default.model_dump(), initial), {})
    values = space.values_of(config)
    # As the schema writes them: 64.0 is given where 64 is meant.
    given = {path: values.get(path, value) for path, value in initial.items()}
    wrong = [line for line in space.outside({**values, **given}) if line.partition(": ")[0] in initial]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return values
