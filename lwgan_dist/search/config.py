"""The configuration of a search. Pure data, as `lwgan_dist.config`: neither torch nor Ray."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lwgan_dist.campaign.sources import MOST_RUNS
from lwgan_dist.config import LWGAN_SECTIONS, ArrayData, ExecutionConfig, RunConfig, WorkerRange, refuse_idle_address
from lwgan_dist.configbase import (
    NUMBER,
    Frozen,
    NonNegativeFloat,
    NonNegativeInt,
    Number,
    PositiveFloat,
    PositiveInt,
    SeveralInt,
    WholeNumber,
    clash,
)
from lwgan_dist.metrics.registry import METRICS, default_metrics
from lwgan_dist.models.configs import LwganModel

if TYPE_CHECKING:
    Measure = str
else:
    Measure = Literal[(*default_metrics(), "miss", "dimension_error", "cpu_seconds")]
"""What can be minimised, see `lwgan_dist.search.objective`; a run has the metrics among them before its end."""
KINDS = ("uniform", "loguniform", "integer", "choice", "grid")

_SECTIONS = ("data", "model", *LWGAN_SECTIONS)

Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Values = Annotated[list[Any], Field(min_length=1)]


class Parameter(Frozen):
    """A field that is searched; exactly one of the kinds."""

    uniform: Pair | None = None
    """[low, high]: uniform."""
    loguniform: Pair | None = None
    """[low, high], both > 0: uniform in the logarithm."""
    integer: Annotated[list[WholeNumber], Field(min_length=2, max_length=2)] | None = None
    """[low, high], both included: a whole number."""
    choice: Values | None = None
    """Values without an order."""
    grid: Values | None = None
    """Values that are all tried, for the searcher ``grid``: the grids of a space are crossed."""
    log: bool = False
    """Whether an ``integer`` is uniform in the logarithm."""
    step: PositiveInt = 1
    """Distance of the values of an ``integer``, counted from the low end."""
    when: dict[str, Any] = {}
    """Only where other fields of the space have this value (or one of a list): ``{schedule.name: fast}``."""

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def values(self) -> list[Any]:
        """Those of a ``choice`` or ``grid``."""
        return self.choice or self.grid or []

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(KINDS)} (got {', '.join(given) or 'none'})")
        if self.kind in ("uniform", "loguniform", "integer"):
            low, high = getattr(self, self.kind)
            if low >= high:
                raise ValueError(f"{self.kind}: low < high must hold (got {low:g} and {high:g})")
            if self.kind == "integer" and max(abs(low), abs(high)) > 2**53:
                raise ValueError("integer: its ends are at most 2^53 in size")
            if low <= 0 and (self.kind == "loguniform" or self.log):
                raise ValueError(f"{self.kind}: low > 0 must hold in the logarithm (got {low:g})")
        if self.kind != "integer" and (self.log or self.step != 1):
            raise ValueError("log and step go with integer")
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other")
        return self


class RandomSearcher(Frozen):
    """Independent draws."""

    name: Literal["random"] = "random"


class GridSearcher(Frozen):
    """All combinations of grids, choices and integers, in order; no other kinds. ``budget.trials`` is not needed."""

    name: Literal["grid"] = "grid"


class OptunaSearcher(Frozen):
    """Proposals from the results so far, by a sampler of Optuna."""

    name: Literal["optuna"] = "optuna"
    sampler: Literal["tpe", "gp", "nsga2"] = "tpe"
    """``tpe``: tree-structured Parzen estimator, all parameters jointly. ``gp``: Gaussian process on the parameters
    that all trials have. ``nsga2``: genetic, for many trials and several objectives."""
    startup_trials: PositiveInt | None = None
    """Trials of ``tpe`` and ``gp`` before the first proposal from results, by default 10; those before are random."""
    population: SeveralInt | None = None
    """Trials of one generation of ``nsga2``, by default 20."""
    ahead: PositiveInt = 4
    """A proposal rests on the results of all trials but this many before it: so many trials can be under way at once,
    and what is proposed does not depend on which of them ends first."""

    @model_validator(mode="after")
    def _of_the_sampler(self) -> Self:
        other = "startup_trials" if self.sampler == "nsga2" else "population"
        if getattr(self, other) is not None:
            raise ValueError(f"{other} does not go with the sampler {self.sampler}")
        return self


SearcherConfig = Annotated[RandomSearcher | GridSearcher | OptunaSearcher, Field(discriminator="name")]


class NoScheduler(Frozen):
    """Every trial runs to its end."""

    name: Literal["none"] = "none"


class AshaScheduler(Frozen):
    """Asynchronous successive halving (Li et al. 2020): at each rung trials go on only if they are among the best."""

    name: Literal["asha"] = "asha"
    reports_per_seed: PositiveInt = 4
    """Reports of a run, at equal distances of its iterations; the last one is its end."""
    grace_reports: PositiveInt = 1
    """Reports of a trial up to its first rung; each further rung is at ``reduction_factor`` times as many."""
    reduction_factor: Annotated[float, Field(gt=1), NUMBER] = 2.0
    """At a rung the best 1 / reduction_factor of the trials that have come so far go on."""


SchedulerConfig = Annotated[NoScheduler | AshaScheduler, Field(discriminator="name")]


class PlateauConfig(Frozen):
    """End of a search that does not get better."""

    patience: PositiveInt = 20
    """Trials in a row without a better objective."""
    tolerance: NonNegativeFloat = 0.0
    """How much better it must be."""


class BudgetConfig(Frozen):
    """When a search ends; trials that have begun run to their end."""

    trials: PositiveInt | None = None
    """Number of trials, initial points included; by default 30, of a ``grid`` all."""
    hours: PositiveFloat | None = None
    """No trial begins when the command has run for so long, by the clock."""
    plateau: PlateauConfig | None = None
    """No trial begins when the objective has not become better for long."""


Weights = Annotated[dict[Measure, PositiveFloat], Field(min_length=1)]
Initial = Literal["default", "paper"] | dict[str, Any]


def _default_objective(given: dict[str, Any]) -> dict[str, float]:
    """Energy distance and, of a model with an encoder, reconstruction error; ``given`` are the fields before."""
    both = {"energy_distance": 1.0, "reconstruction": 1.0}
    return both if given["run"].model.has_encoder else {"energy_distance": 1.0}


def _default_initial(given: dict[str, Any]) -> list[Initial]:
    """The authors have values for an LWGAN alone."""
    return ["default", "paper"] if isinstance(given["run"].model, LwganModel) else ["default"]


class SearchConfig(Frozen):
    """The content of a file for ``lwgan-dist tune``: a run, and which of its fields are searched, how and for what."""

    run: RunConfig
    """The default configuration, from which a trial differs by the parameters of the space."""
    space: Annotated[dict[str, Parameter], Field(min_length=1)]
    """Parameters by the dotted path of their field: ``objective.mmd_weight: {loguniform: [0.1, 10]}``."""
    searcher: SearcherConfig = RandomSearcher()
    """How parameters are proposed."""
    scheduler: SchedulerConfig = NoScheduler()
    """Which trials are stopped early or replaced."""
    objective: Weights | Annotated[list[Weights], Field(min_length=2)] = Field(default_factory=_default_objective)
    """What is minimised: a sum of measures with weights, averaged over the seeds of a trial. A list of such sums: their
    Pareto front. By default energy distance + reconstruction error; energy distance for a model without encoder."""
    initial: list[Initial] = Field(default_factory=_default_initial)
    """The first trials: ``default`` is ``run`` as it is, ``paper`` the authors' values of the searched fields of an
    lwgan, or values by path; the rest as in ``run``. By default those two, of other models ``default`` alone."""
    budget: BudgetConfig = BudgetConfig()
    """When it ends."""
    seeds_per_trial: PositiveInt = 1
    """Runs of a trial, each on its own sample or split and with its own seed, the same ones for all trials."""
    confirm_seeds: NonNegativeInt | None = None
    """Seeds not used before, on which the best trial is compared with the default at the end, by default 5. 0: no
    comparison, as with several objectives, which have no single best trial."""
    seed: WholeNumber = 0
    """Seeds of proposals, samples and runs are derived from it."""
    execution: ExecutionConfig = ExecutionConfig()
    """Where and how; ``workers`` is the number of processes of *each* run: 1 for Ray Tune with as many trials at once
    as fit, 2 and more for nested Ray Train, 0 for one trial after the other in this process without Ray."""

    @model_validator(mode="before")
    @classmethod
    def _dotted_space(cls, content: Any) -> Any:
        """The fields of a space may also stand in sections, ``{networks: {width: ...}}``, where overrides put them."""
        space = content.get("space") if isinstance(content, dict) else None
        if not isinstance(space, dict):
            return content
        dotted: dict[Any, Any] = {}
        for key, value in space.items():
            parameters = {key: value}
            if key in _SECTIONS and isinstance(value, dict) and not set(value) & set(Parameter.model_fields):
                parameters = {f"{key}.{field}": parameter for field, parameter in value.items()}
            for path, parameter in parameters.items():
                if path in dotted:
                    raise clash(f"space.{path}", "is given twice")
                dotted[path] = parameter
        return {**content, "space": dotted}

    @property
    def fresh_seeds(self) -> int:
        """Number of seeds of the comparison with the default."""
        if len(self.objectives) > 1:
            return 0
        return 5 if self.confirm_seeds is None else self.confirm_seeds

    @property
    def objectives(self) -> list[dict[Measure, float]]:
        """The sums that are minimised."""
        return self.objective if isinstance(self.objective, list) else [self.objective]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.run.data, ArrayData):
            raise clash("run.data.source", "'array' is for the Python class LWGAN; a file names a manifold or a table")
        for path, section in (("run.seed", self.run), ("run.data.seed", self.run.data)):
            if "seed" in section.model_fields_set and section.seed:
                raise clash(path, "is not used: the seeds of all runs are derived from the seed of the search")
        if isinstance(self.execution.workers, WorkerRange):
            raise clash("execution.workers", "a search takes a number, the same for all runs")
        refuse_idle_address(self.execution)
        trials = self.budget.trials or 0
        if trials * self.seeds_per_trial + 2 * self.fresh_seeds > MOST_RUNS:
            key = "budget.trials" if trials > MOST_RUNS else "seeds_per_trial" if trials else "confirm_seeds"
            raise clash(key, f"a search has at most {MOST_RUNS:,} runs, with those of all seeds of its trials")
        self._check_objective()
        self._check_searcher()
        self._check_scheduler()
        return self

    def _check_objective(self) -> None:
        data = self.run.data
        used = {measure for weights in self.objectives for measure in weights}
        held_out = used & set(METRICS)
        if getattr(data, "rows", "fixed") == "stream" and "data.standardize" in self.space:
            raise clash(
                "space.data.standardize", "cannot be searched on a stream, which has no rows to fix the units by"
            )
        if held_out and data.holdout_fraction == 0 and getattr(data, "rows", "fixed") != "stream":
            raise clash("objective", f"{sorted(held_out)[0]} needs run.data.holdout_fraction > 0 (got 0)")
        model = self.run.model
        without = sorted(name for name in held_out if METRICS[name].needs_encoder and not model.has_encoder)
        if without:
            raise clash("objective", f"{without[0]} needs a model with an encoder, and a {model.name} has none")
        needing = sorted(used & {"miss", "dimension_error"})
        if needing and not model.estimates_dimension:
            law = f"{needing[0]} needs a model that estimates a dimension, and a {model.name} does not"
            raise clash("objective", law)
        if needing and data.source != "manifold":
            raise clash("objective", f"{needing[0]} needs data of known dimension")

    def _check_searcher(self) -> None:
        several = len(self.objectives) > 1
        kinds = {path: parameter.kind for path, parameter in self.space.items()}
        is_grid = isinstance(self.searcher, GridSearcher)
        for path, kind in kinds.items():
            if kind == "grid" and not is_grid:
                raise clash(f"space.{path}", "a grid goes with the searcher grid; use choice")
            if kind in ("uniform", "loguniform") and is_grid:
                raise clash(f"space.{path}", f"{kind} has no end of values; the searcher grid needs a grid")
        if several and self.budget.plateau:
            raise clash("budget.plateau", "needs one objective")
        if several and self.confirm_seeds:
            raise clash("confirm_seeds", "several objectives have no single best trial to compare with the default")
        if "paper" in self.initial and not isinstance(self.run.model, LwganModel):
            raise clash("initial", f"the authors' values (paper) are of an lwgan, not of a {self.run.model.name}")
        trials = self.budget.trials
        if self.initial != ["default", "paper"] and trials is not None and trials < len(self.initial):
            raise clash("budget.trials", f"{trials} trials are fewer than the {len(self.initial)} initial points")

    def _check_scheduler(self) -> None:
        scheduler = self.scheduler
        if isinstance(scheduler, NoScheduler):
            return
        if len(self.objectives) > 1:
            raise clash("scheduler", f"{scheduler.name} needs one objective")
        late = sorted(set(self.objectives[0]) - set(METRICS))
        if late and scheduler.reports_per_seed > 1:
            raise clash(
                "scheduler",
                f"the objective has {late[0]}, which a run has only at its end; with reports_per_seed = 1 reports are "
                "at ends only",
            )
        if not self.run.model.generates_early and scheduler.reports_per_seed > 1:
            raise clash(
                "scheduler",
                f"the codes of a {self.run.model.name} have a distribution only at the end of a run; with "
                "reports_per_seed = 1 reports are at ends only",
            )
        reports = self.seeds_per_trial * scheduler.reports_per_seed
        if scheduler.grace_reports >= reports:
            raise clash(
                "scheduler.grace_reports",
                f"must be below the {reports} reports of a trial (seeds_per_trial x reports_per_seed), "
                "or nothing could be stopped",
            )
