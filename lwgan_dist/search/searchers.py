"""Searchers: they propose the points of a space that are tried, by number, and are told how the trials ended.

Proposals are reproducible: the one of number t is a function of the seed of the search, of t, and of the outcomes told
before it, and of nothing else. A search that was interrupted asks again from number 0 and is proposed the same.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lwgan_dist.config import RunConfig, override
from lwgan_dist.configfile import build_config
from lwgan_dist.errors import ConfigError
from lwgan_dist.search.config import GridSearcher, Initial, OptunaSearcher, SearchConfig
from lwgan_dist.search.space import Point, Space
from lwgan_dist.seeding import derive, generator


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


class Searcher(Protocol):
    """Proposes points. ``propose`` is called once for each number in ascending order, from 0; ``tell`` in ascending
    order too, only for what was proposed, and for the numbers up to t - ``ahead`` before t is proposed.

    Attributes:
        ahead: None if proposals do not rest on results.
    """

    ahead: int | None

    def propose(self, number: int) -> Proposal | None:
        """The proposal of a number; None if there are no more."""
        ...

    def tell(self, number: int, outcome: Outcome) -> None:
        """The outcome of a trial."""
        ...


def searcher(config: SearchConfig, space: Space, default: RunConfig) -> Searcher:
    """The searcher of a configuration.

    Args:
        config: the search.
        space: its space.
        default: its run, resolved.

    Raises:
        ConfigError: initial points that are not in the space, a grid of too many points, no Optuna.
    """
    initial = initial_points(config, space, default)
    if isinstance(config.searcher, GridSearcher):
        return _Grid(space, initial)
    if isinstance(config.searcher, OptunaSearcher):
        return _Optuna(config, config.searcher, space, initial)
    return _Random(config, space, initial)


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
    given = {path: values.get(path, told) for path, told in initial.items()}
    wrong = [line for line in space.outside({**values, **given}) if line.partition(": ")[0] in initial]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return values


# searchers ------------------------------------------------------------------------------------------------------------


class _Random:
    """Independent draws. The combinations of the space's grids are gone through in turn, and if there is nothing but
    grids, once.
    """

    ahead: int | None = None

    def __init__(self, config: SearchConfig, space: Space, initial: list[Proposal]) -> None:
        self._seed = config.seed
        self._space = space
        self._initial = initial
        self._grids = space.grids()
        self._once = all(space.parameter(path).kind == "grid" for path in space.paths)

    def propose(self, number: int) -> Proposal | None:
        if number < len(self._initial):
            return self._initial[number]
        turn = number - len(self._initial)
        if self._once and turn >= len(self._grids):
            return None
        fixed = self._grids[turn % len(self._grids)]
        rng = generator(self._seed, "search/random", number)
        return Proposal(self._space.draw(rng, fixed), "proposed")

    def tell(self, number: int, outcome: Outcome) -> None:
        pass


class _Grid:
    """The initial points, then all points in order, but for those that were initial ones."""

    ahead: int | None = None

    def __init__(self, space: Space, initial: list[Proposal]) -> None:
        tried = [proposal.values for proposal in initial]
        self._proposals = initial + [Proposal(values, "proposed") for values in space.grid() if values not in tried]

    def propose(self, number: int) -> Proposal | None:
        return self._proposals[number] if number < len(self._proposals) else None

    def tell(self, number: int, outcome: Outcome) -> None:
        pass


class _Optuna:
    """Optuna's samplers, asked and told in a study in memory.

    A sampler is made anew for each proposal, seeded by its number: then nothing that happened before, but for what the
    study holds, has a part in it. What the samplers know of the past they read from the trials of the study (NSGA-II
    keeps its generations in the trials' attributes), so nothing is lost.
    """

    def __init__(self, config: SearchConfig, settings: OptunaSearcher, space: Space, initial: list[Proposal]) -> None:
        try:
            import optuna
        except ImportError:
            raise ConfigError(
                "searcher.name: optuna needs the extra 'search': pip install 'lwgan-dist[search]'"
            ) from None
        self._optuna = optuna
        self._seed = config.seed
        self._settings = settings
        self._space = space
        self._initial = initial
        self._trials: dict[int, Any] = {}
        self.ahead: int | None = settings.ahead
        with self._quietly():
            self._study = optuna.create_study(directions=["minimize"] * len(config.objectives))

    def propose(self, number: int) -> Proposal | None:
        proposal = self._initial[number] if number < len(self._initial) else None
        if proposal is not None and not self._space.contains(proposal.values):
            return proposal  # Optuna could make nothing of it
        with self._quietly():
            sampler = self._study.sampler = self._sampler(number)
            if proposal is not None:
                self._study.enqueue_trial(self._encoded(proposal.values))
            trial = self._trials[number] = self._study.ask()
            values = self._suggested(trial)
            if proposal is None:
                return Proposal(values, "proposed")
            if isinstance(sampler, self._optuna.samplers.NSGAIISampler):
                # Where nothing is sampled it would not be counted to a generation, and never be a parent.
                sampler.get_trial_generation(self._study, self._study.trials[trial.number])
        return proposal

    def tell(self, number: int, outcome: Outcome) -> None:
        trial = self._trials.get(number)
        if trial is None:
            return
        state = self._optuna.trial.TrialState
        finite = outcome.objectives is not None and all(math.isfinite(value) for value in outcome.objectives)
        with self._quietly():
            if outcome.state == "stopped":
                for step, value in enumerate(outcome.reports):
                    trial.report(value, step)
                self._study.tell(trial, state=state.PRUNED)
            elif outcome.state == "finished" and finite:
                self._study.tell(trial, outcome.objectives)
            else:
                self._study.tell(trial, state=state.FAIL)

    def _sampler(self, number: int) -> Any:
        samplers = self._optuna.samplers
        seed = derive(self._seed, "search/optuna", number) % 2**32
        if self._settings.sampler == "nsga2":
            return samplers.NSGAIISampler(population_size=self._settings.population or 20, seed=seed)
        return samplers.TPESampler(
            n_startup_trials=self._settings.startup_trials or 10,
            multivariate=True,
            group=True,  # parameters with conditions are modelled apart, on the trials that have them
            constant_liar=True,  # trials under way count as bad, or several would be sent to the same place
            seed=seed,
        )

    def _suggested(self, trial: Any) -> Point:
        """The values of a trial, asked for one after the other, because which there are depends on those before."""
        values: Point = {}
        for path in self._space.draw_order:
            if self._space.is_active(path, values):
                values[path] = self._suggest(trial, path)
        return {path: values[path] for path in self._space.paths if path in values}

    def _suggest(self, trial: Any, path: str) -> Any:
        parameter = self._space.parameter(path)
        if parameter.integer is not None:
            first, last = parameter.integer
            last -= (last - first) % parameter.step
            value = trial.suggest_int(path, first, last, step=parameter.step, log=parameter.log)
            return self._space.as_field(path, value)
        if parameter.kind in ("uniform", "loguniform"):
            low, high = getattr(parameter, parameter.kind)
            return float(trial.suggest_float(path, low, high, log=parameter.kind == "loguniform"))
        values = self._space.listed(path)  # by their index: Optuna knows no lists or mappings as values
        return values[int(trial.suggest_categorical(path, range(len(values))))]

    def _encoded(self, values: Point) -> Point:
        """Values of a point as Optuna's."""
        encoded = dict(values)
        for path, value in values.items():
            kind = self._space.parameter(path).kind
            if kind == "choice":
                encoded[path] = self._space.listed(path).index(value)
            elif kind == "integer":
                encoded[path] = int(value)
        return encoded

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Without Optuna's log of every trial and its warnings of what is experimental."""
        logging = self._optuna.logging
        verbosity = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
                yield
        finally:
            logging.set_verbosity(verbosity)
