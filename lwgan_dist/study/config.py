"""The configuration of a study. Pure data, as `lwgan_dist.config`: neither torch nor Ray."""

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from lwgan_dist.campaign.named_model import NamedModel
from lwgan_dist.campaign.sources import Label, Metric, OnSamples, SampledTable, check_execution, refuse_many
from lwgan_dist.config import ExecutionConfig, Settings, Split
from lwgan_dist.configbase import (
    NUMBER,
    Frozen,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    SeveralInt,
    WholeNumber,
    clash,
)
from lwgan_dist.models.configs import LwganModel

Probability = Annotated[float, Field(gt=0, lt=1), NUMBER]
Estimator = Literal[
    "TwoNN", "MLE", "CorrInt", "MiND", "lPCA", "PCA", "DANCo", "ESS", "FisherS", "KNN", "MADA", "MOM", "TLE",
    "ABIDE", "Gride", "Isomap", "Start", "PCA+ABIDE", "PCA+TwoNN", "PCA+MLE", "PCA+DANCo",
]  # fmt: skip
_CLASS = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"


def _with_classes(value: Any, named: ValidatorFunctionWrapHandler) -> Any:
    """``{import: "package:Class"}`` as ``package:Class``; other names are those of the estimators here."""
    is_import = isinstance(value, dict) and set(value) == {"import"}
    value = value["import"] if is_import else value
    if not isinstance(value, str) or not (is_import or ":" in value):
        return named(value)
    if not re.fullmatch(_CLASS, value):
        raise PydanticCustomError("import", "'{name}' is not package.module:Class", {"name": value})
    return value


if TYPE_CHECKING:
    EstimatorOrClass = str
else:
    EstimatorOrClass = Annotated[
        Estimator,
        WrapValidator(
            _with_classes,
            json_schema_input_type=Estimator
            | Annotated[str, Field(pattern=_CLASS)]
            | dict[Literal["import"], Annotated[str, Field(pattern=_CLASS)]],
        ),
    ]

_STEPS, _MOST_SIZES = 4, 200
"""Of the sizes of a search: within its precision; at most."""


class RuleConfig(Frozen):
    """A rank rule that is judged from the stored components of a fit, beside that of ``run.score``; what is not given
    here is that of ``run.score``.
    """

    penalty: Literal["resolution", "reference", "rate", "fixed"] = "resolution"
    """As in the ``score`` section of a run."""
    resolution: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.08
    """As in the ``score`` section of a run."""
    penalty_exponent: Probability = 0.8
    """Exponent of the standard error."""
    penalty_constant: NonNegativeFloat = 1.0
    """Factor of the rule; for ``fixed`` lambda itself."""
    score_on: Split = "train"
    """Rows on which the score is computed."""
    critic: bool = True
    """As in the ``score`` section of a run."""
    neighbours: bool = True
    """As in the ``score`` section of a run."""


class LwganMethod(Frozen):
    """The LWGAN as a method of the study."""

    replicates: NonNegativeInt = 10
    """Samples in each cell; 0 leaves the LWGAN out."""
    initialisations: PositiveInt = 1
    """Runs on each sample, with different seeds of training (nested in the sample)."""
    rules: dict[Label, RuleConfig] = {}
    """Further rank rules by name, each a method of its own, judged from the same fits."""


class ModelMethod(NamedModel):
    """Another model that estimates a dimension, as a method of the study; beside its name any field that it has under
    ``model`` in a run.
    """

    replicates: PositiveInt = 10
    """Samples in each cell; as those of the LWGAN, the first of each n."""


class ClassicalMethods(Frozen):
    """The estimators of scikit-dimension, on the same samples; see `lwgan_dist.study.classical`."""

    estimators: list[EstimatorOrClass] = []
    """Which; ``{import: "package:Class"}`` is one of another package, with ``fit(X).dimension_``, whose code is run."""
    replicates: NonNegativeInt = 10
    """Samples in each cell; the LWGAN's samples are the first of them."""


class StopWhen(Frozen):
    """Replicates on demand: add them until every cell's interval for P(correct) is narrow enough.

    The interval is a confidence sequence (Robbins 1970), valid however often one looks, at level alpha / (number of
    cells); see `lwgan_dist.study.proportions.bernoulli_confidence_sequence`.
    """

    interval_width: Probability
    """Width of the whole interval at which a cell is done."""
    max_replicates: PositiveInt = 200
    """Most replicates of a cell."""
    step: PositiveInt = 5
    """Replicates that a cell gets at once."""
    alpha: Probability = 0.05
    """Error probability of all intervals together."""


class SolveConfig(Frozen):
    """Search for the n at which P(correct) reaches a target, for every data and method, in place of ``sizes``. The
    interval is valid whenever the search stops; see `lwgan_dist.study.crossing`.
    """

    target: Probability = 0.95
    """Of P(correct)."""
    n: Annotated[list[SeveralInt], Field(min_length=2, max_length=2)]
    """The smallest and the largest n, between which the search goes."""
    precision: Annotated[float, Field(ge=1.1, le=100), NUMBER] = 2.0
    """A search ends when the upper end of the interval is at most so many times its lower end."""
    step: PositiveInt = 10
    """Runs that a size gets at once, at the least; a tenth of the runs of the search so far, where that is more."""
    max_runs: PositiveInt = 2000
    """Most runs of a search."""
    alpha: Probability = 0.05
    """Error probability of each interval."""

    @property
    def grid(self) -> list[int]:
        """The sizes of the search, in ascending order: some four within the precision, equally spaced in log n."""
        low, high = self.n
        steps = max(2, math.ceil(_STEPS * math.log(high / low) / math.log(self.precision)))
        return sorted({round(low * (high / low) ** (step / steps)) for step in range(steps + 1)})

    @property
    def first(self) -> list[int]:
        """The sizes that every search begins with: the smallest, a middle and the largest."""
        return sorted({self.grid[0], self.grid[len(self.grid) // 2], self.grid[-1]})

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.n[0] >= self.n[1]:
            raise clash("n", "is [smallest, largest], and the smallest is not below the largest")
        if len(self.grid) > _MOST_SIZES:
            raise clash(
                "precision", f"this range would have {len(self.grid)} sizes; at most {_MOST_SIZES} are searched"
            )
        if any(above > self.precision * below for below, above in zip(self.grid, self.grid[1:], strict=False)):
            raise clash("precision", f"the whole numbers from {self.n[0]} on are farther apart than {self.precision:g}")
        return self


class BootstrapConfig(Frozen):
    """Bootstrap every LWGAN run: refit on samples drawn from its generator or from its rows."""

    kinds: Annotated[list[Literal["parametric", "rows"]], Field(min_length=1)] = ["parametric"]
    """``parametric``: n rows generated at the estimated rank, as in the paper. ``rows``: n of the rows with
    replacement."""
    resamples: PositiveInt = 100
    """Refits of each kind."""
    start: Literal["warm", "cold"] = "warm"
    """``warm``: refits start from the fitted networks. ``cold``: as any run."""
    settings: dict[str, Any] = {}
    """Fields of the refits that differ from the run, by dotted path; not of ``data``, ``seed`` and ``objective`` and
    not the rank rule."""
    mass: Probability = 0.95
    """Least bootstrap mass of the rank set."""


class StudyConfig(OnSamples):
    """The content of a file for ``lwgan-dist study``: data x sizes x factors x methods x replicates."""

    run: Settings = Settings()
    """How the LWGAN is trained and judged."""
    factors: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    """Values of further fields of a run by dotted path, all crossed: ``{data.noise: [0, .05], networks.width: [32,
    64]}``. Those of ``data`` hold for all methods, the others for the LWGAN."""
    lwgan: LwganMethod = LwganMethod()
    """The LWGAN."""
    models: list[ModelMethod] = []
    """Other models that estimate a dimension, on the same samples. Further rank rules, factors other than of ``data``,
    metrics and the bootstrap are of the LWGAN alone."""
    classical: ClassicalMethods = ClassicalMethods()
    """Its competitors."""
    metrics: list[Metric] = []
    """Metrics of every LWGAN run on its hold-out rows, at the estimated rank, see `lwgan_dist.metrics.registry`; by
    default none. They are computed at every rank, for any rank rule, which takes some .05 s a rank in few columns and
    several times that in many. Runs that were finished without a metric are not repeated for it."""
    stop_when: StopWhen | None = None
    """Replicates on demand; ``replicates`` are then the first ones."""
    solve: SolveConfig | None = None
    """Search for the n that P(correct) needs, in place of ``sizes``; ``replicates`` are then those that every search
    begins with, at three sizes."""
    bootstrap: BootstrapConfig | None = None
    """Bootstrap of every LWGAN run; with known truth, the coverage of its rank set."""
    level: Probability = 0.95
    """P(correct) at which a sample size counts as enough (n_95)."""
    seed: WholeNumber = 0
    """Seeds of samples and runs are derived from it, n and the replicate."""
    keep_runs: bool = False
    """Keep the whole folder of every LWGAN run, with model and figures, under ``runs/``."""
    execution: ExecutionConfig = ExecutionConfig()
    """Where and how; ``workers`` is the number of processes of *each* run: 1 for Ray Tune with as many runs at once as
    fit, 0 for one run after the other in this process without Ray."""

    @property
    def needs_sizes(self) -> bool:
        """A search chooses its sizes."""
        return self.solve is None

    @property
    def first_sizes(self) -> list[int] | None:
        """The sizes that the study begins with; None: all rows of a table."""
        return self.solve.first if self.solve else self.sizes

    @model_validator(mode="after")
    def _can_be_solved(self) -> Self:
        if self.solve is None:
            return self
        for key in ("sizes", "stop_when", "bootstrap"):
            if getattr(self, key) is not None:
                raise clash(key, "has no place beside solve, which chooses sizes and replicates")
        if self.lwgan.initialisations > 1:
            raise clash("lwgan.initialisations", "solve counts one run on each sample")
        classical = self.classical.replicates if self.classical.estimators else 0
        most = max(self.lwgan.replicates, classical, *(model.replicates for model in self.models), 0)
        if self.solve.max_runs < len(self.solve.first) * most:
            raise clash("solve.max_runs", f"is below the first runs of a search: {len(self.solve.first)} x {most}")
        for place, item in enumerate(self.data):
            if isinstance(item, SampledTable) and not item.intrinsic_dim:
                raise clash(f"data.{place}.intrinsic_dim", "is missing; solve needs data of known dimension")
        return self

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if len(set(self.metrics)) < len(self.metrics):
            raise clash("metrics", "a metric is given twice")
        if not isinstance(self.run.model, LwganModel):
            raise clash("run.model", "a study asks how often a dimension is right: the model is an lwgan")
        for place, model in enumerate(self.models):
            if not model.kind.estimates_dimension:
                raise clash(f"models.{place}.name", f"a {model.name} estimates no dimension; see lwgan-dist compare")
            if model.kind is LwganModel:
                raise clash(f"models.{place}.name", "the lwgan is the section lwgan of a study")
            model.check(f"models.{place}")
        if (
            self.lwgan.replicates == 0
            and not self.models
            and not (self.classical.estimators and self.classical.replicates)
        ):
            raise clash("lwgan.replicates", "0, and no other model or estimator: there is nothing to study")
        check_execution(self.execution, "a study")
        of_runs = f"{'lwgan' if self.lwgan.replicates else 'classical'}.replicates"
        refuse_many(*self._counts(), "factors" if self.factors else "sizes", of_runs)
        if self.stop_when and not any(not isinstance(item, SampledTable) or item.intrinsic_dim for item in self.data):
            raise clash("stop_when", "needs data of known dimension")
        return self

    def _counts(self) -> tuple[int, int]:
        """Cells and runs, at the most: tables have as many sizes as are given, and every cell its most replicates."""
        of_data = math.prod(len(values) for path, values in self.factors.items() if path.startswith("data."))
        crossed = math.prod(len(values) for values in self.factors.values())
        samples = len(self.data) * len(self.solve.grid if self.solve else self.sizes or [0])
        most = self.stop_when.max_replicates if self.stop_when else 0
        most = self.solve.max_runs // len(self.solve.grid) if self.solve else most  # on the average of the sizes
        lwgan = crossed * bool(self.lwgan.replicates)
        cells = lwgan * (1 + len(self.lwgan.rules)) + of_data * (len(self.models) + len(self.classical.estimators))
        refits = 1 + (len(self.bootstrap.kinds) * self.bootstrap.resamples if self.bootstrap else 0)
        runs = lwgan * max(self.lwgan.replicates, most) * self.lwgan.initialisations * refits
        runs += of_data * sum(max(model.replicates, most) for model in self.models)
        runs += of_data * len(self.classical.estimators) * max(self.classical.replicates, most)
        return samples * cells, samples * runs
