"""The configuration of a run: ``RunConfig`` holds everything that can change a number and nothing else; where the run
is stored, on how many workers it runs and how often it is retried stands beside it, in ``ExecutionConfig``.

Pure data: this module imports neither torch nor Ray. Reading from YAML, with errors that name file and line, is in
`lwgan_dist.configfile`.
"""

import copy
import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lwgan_dist.configbase import (
    MOST,
    NUMBER,
    WHOLE,
    Beta,
    Dimension,
    Fraction,
    Frozen,
    NetworksName,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SeveralInt,
    WholeNumber,
    clash,
    linear_path_for,
    networks_for,
    width_for,
)
from lwgan_dist.models.configs import LwganModel, ModelConfig

SCHEMA_VERSION = 3
"""Written into run folders; a change of meaning of any field raises it."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of runs: Ray would accept ``../../x`` and absolute paths."""

ManifoldName = Literal[
    "swissroll_curve", "s_curve", "hyperplane", "sphere", "ball", "torus", "flat_torus", "helix", "moebius",
    "swiss_roll", "affine", "nonlinear", "trefoil", "ellipse", "ellipsoid", "klein_bottle",
    "cinquefoil", "waves_3", "waves_6", "decoded_images",
    "M1_Sphere", "M2_Affine_3to5", "M3_Nonlinear_4to6", "M4_Nonlinear", "M5a_Helix1d", "M5b_Helix2d", "M6_Nonlinear",
    "M7_Roll", "M8_Nonlinear", "M9_Affine", "M10a_Cubic", "M10b_Cubic", "M10c_Cubic", "M10d_Cubic", "M11_Moebius",
    "M12_Norm", "M13a_Scurve", "M13b_Spiral", "Mbeta", "Mn1_Nonlinear", "Mn2_Nonlinear", "Mp1_Paraboloid",
    "Mp2_Paraboloid", "Mp3_Paraboloid",
]  # fmt: skip
Standardization = Literal["global", "per_column", "none", "pixels"]
StandardizationChoice = Literal["auto", "global", "per_column", "none", "pixels"]
Split = Literal["train", "holdout"]
Precision = Literal["float32", "float64", "bfloat16"]


class SampleConfig(Frozen):
    """What is done with the rows of any sample."""

    standardize: StandardizationChoice = "global"
    """``auto``, the default of tables and arrays: ``per_column`` where the columns have names of their own (not ``x1``,
    ``x2``, .. or single letters) and one has less than 8 % of the standard deviation of another, so that it would count
    as noise beside it; else ``global``, as for images, embeddings and manifolds. It also leaves out columns that
    certainly number the rows. ``global``: centre, then divide everything by one scale, the standard deviation along a
    direction picked in proportion to its variance, sqrt(tr(S^2) / tr(S)) for the covariance S (unchanged by rotation
    and by constant columns). ``per_column``: each column to mean 0 and standard deviation 1. ``none``: the numbers as
    they are. ``pixels``: 0.001 + 0.998 x / 255, of numbers 0 to 255 (in files of 8 bits alone), for a generator that
    ends in a sigmoid. Undone in generated data."""
    holdout_fraction: Annotated[float, Field(ge=0, le=0.5), NUMBER] = 0.1
    """Part of the rows that is never trained on; the score is computed on both parts. A stream has no such part."""


class _Seeded(Frozen):
    seed: WholeNumber = 0
    """Seed of the sample: of a manifold's rows, of the choice of ``n`` rows, of the split."""


class ManifoldConfig(SampleConfig):
    """A manifold of known dimension."""

    source: Literal["manifold"] = "manifold"
    name: ManifoldName
    """Which manifold; `lwgan_dist.data.simulated.manifolds` describes each, those that begin with M are the benchmark
    of scikit-dimension (`lwgan_dist.data.simulated.benchmark`; extra ``classical``)."""
    dim: Dimension | None = None
    """Intrinsic dimension, for the manifolds that have one to choose (sphere, ball, flat_torus, affine, nonlinear,
    waves, decoded_images)."""
    ambient_dim: Dimension | None = None
    """Columns: a manifold of fewer columns is padded with zeros (and turned, if ``rotate``); waves fill them all."""
    rotate: bool = False
    """Apply a random rotation of the ambient space, drawn from ``seed``."""
    noise: NonNegativeFloat = 0.0
    """Standard deviation of Gaussian noise added to every column."""


class ManifoldData(ManifoldConfig, _Seeded):
    """A manifold of known dimension, sampled."""

    rows: Literal["fixed", "stream"] = "fixed"
    """``fixed``: one sample of n rows is the data set. ``stream``: fresh draws at every step, as in the authors' toys;
    there is no n."""
    n: SeveralInt = 5000
    """Rows of the sample; under ``stream``, rows of the sample from which the standardisation is computed."""


class PopulationConfig(SampleConfig):
    """A random manifold of known dimension: what is not given here is drawn from ``population``."""

    source: Literal["population"] = "population"
    population: Annotated[int, Field(ge=0), WHOLE]
    """Which member; `lwgan_dist.data.simulated.population` says how it is drawn. Below 1,000: for development; from
    1,000,000 on: for published tables."""
    dim: Annotated[int, Field(ge=1, le=10), WHOLE] | None = None
    """Intrinsic dimension; by default one of 1 to 10."""
    topology: Literal["chart", "closed"] | None = None
    """``chart``: one coordinate system covers the manifold. ``closed``: at least one factor (a circle, knot, sphere,
    torus, Klein bottle, Moebius strip) has none."""
    ambient_dim: Annotated[int, Field(ge=2, le=200), WHOLE] | None = None
    """Columns, more than the dimension; by default up to 200, every order of magnitude alike."""
    bending: Literal["linear", "turned", "bent"] | None = None
    """How the product of the factors lies in the columns."""
    density: Literal["even", "uneven"] | None = None
    """``uneven``: up to four times as many rows on one side as on the other."""
    noise: NonNegativeFloat = 0.0
    """Standard deviation of Gaussian noise added to every column, in units of ``noise_unit``."""
    noise_unit: Literal["scale", "spacing"] = "scale"
    """``scale``: the scale of the rows without noise, as ``standardize: global`` takes it. ``spacing``: the median
    distance of a row to its 10th neighbour in a sample of n rows, over sqrt(2 p)."""


class PopulationData(PopulationConfig, _Seeded):
    """A member of the population, sampled."""

    rows: Literal["fixed", "stream"] = "fixed"
    """As for a manifold."""
    n: SeveralInt = 5000
    """As for a manifold."""


Known = ManifoldData | PopulationData
"""Data of known dimension."""


def _encoding(name: str) -> str:
    try:
        "a".encode(name)
    except (LookupError, ValueError):
        raise ValueError("is an encoding of text such as utf-8, utf-16 or latin-1") from None
    return name


Name = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""Of a column; YAML takes some for whole numbers."""

Separator = Annotated[str, Field(pattern=r"^(comma|semicolon|tab|pipe|blanks|[^\w\r\n\"])$")]
Decimal = Literal["point", "comma", ".", ","]
Missing = Literal["drop", "refuse", "impute"]


class TableConfig(SampleConfig):
    """A table of the user's, or images: Parquet (file or folder), Arrow/Feather, NPY, NPZ, CSV and other text, Excel,
    IDX, or a folder of pictures.
    """

    source: Literal["table"] = "table"
    standardize: StandardizationChoice = "auto"
    """As of any sample; by default the rows decide."""
    path: str
    """File or folder."""
    columns: list[Name] | None = None
    """Columns to use; by default all that hold numbers."""
    drop: list[Name] | None = None
    """Columns to leave out, of all."""
    separator: Separator | None = None
    """What stands between the columns of a text file: one character, or ``comma``, ``semicolon``, ``tab``, ``pipe``,
    ``blanks`` (any number of blanks and tabs); by default it is found out."""
    decimal: Decimal | None = None
    """The decimal sign of a text file; by default it is found out."""
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    """The encoding of a text file, as Python names it; by default it is found out."""
    missing: Missing | None = None
    """Rows with a missing value: ``drop`` leaves them out, ``refuse`` refuses the table, ``impute`` fills in the median
    of the column. By default those of a table are dropped, and refused where they are more than a fifth of all; images
    are refused."""
    array: str | None = None
    """Name of the array inside an NPZ file, or of the sheet of an Excel file, that holds several."""
    labels: Annotated[list[WholeNumber | str], Field(min_length=1)] | None = None
    """Use the rows of these classes, each by its name, or by its code where the file holds codes; all by default. The
    class of a row is in the column ``label`` of a Parquet or Arrow file, in the file of labels beside an IDX file, or
    the folder that a picture lies in."""
    channels: Literal["first", "last"] = "first"
    """Where an array of images, or a column of tensors, keeps the colours: rows (c, h, w), as networks take them, or
    (h, w, c), which are moved to that. Of pictures in files it is known."""

    @model_validator(mode="after")
    def _chosen_once(self) -> Self:
        if self.columns is not None and self.drop is not None:
            raise clash("drop", "leaves out some of all columns, and data.columns names those to use: give one of them")
        return self


class TableData(TableConfig, _Seeded):
    """A table, or some of its rows."""

    n: SeveralInt | None = None
    """Use a random choice of this many rows; all by default."""


class ArrayData(SampleConfig, _Seeded):
    """An array in memory, handed to the Python class; the configuration records what identifies it."""

    source: Literal["array"] = "array"
    standardize: StandardizationChoice = "auto"
    """As of any sample; by default the rows decide."""


DataConfig = Annotated[ManifoldData | PopulationData | TableData | ArrayData, Field(discriminator="source")]


class NetworksConfig(Frozen):
    """Encoder, generator and critic."""

    name: NetworksName = "auto"
    """``mlp``: perceptrons, which see a row of any shape as a vector. ``conv``: convolutions, for images, rows of shape
    (height, width) or (channels, height, width). ``auto``: ``conv`` for images with sides of at least 8, else
    ``mlp``."""
    latent_dim: Dimension | None = None
    """q, the largest rank considered (``max_dimension``). By default the number of columns, at most 10."""
    width: Dimension | None = None
    """s, the unit of the hidden widths: of ``mlp``, encoder 8s, 4s, 2s, s; generator s, 2s, 4s, 8s; critic 4s, 2s, s.
    Of ``conv``, channels s, 2s, 4s and, for sides above 32, 8s. By default 64; of ``conv`` under ``fast`` 16, which a
    CPU trains in minutes."""
    encoder_activation: Literal["relu", "silu"] | None = None
    """By default, of ``mlp`` the one of the schedule: ``relu`` for ``paper``, ``silu`` for ``fast``; of ``conv`` a
    leaky ReLU, for sides above 32 ``relu``."""
    linear_path: bool | None = None
    """Whether a linear map runs beside the layers of encoder and generator, so that linear directions are not learned
    by heart. By default of ``mlp`` under ``fast``; the authors' networks, for ``paper``, and ``conv`` have none."""

    @property
    def unit(self) -> int:
        """The unit s of a resolved configuration."""
        assert self.width is not None
        return self.width


class ObjectiveConfig(Frozen):
    """Weights of the objective."""

    mmd_weight: NonNegativeFloat = 1.0
    """w_mmd, weight of the code matching in the encoder-generator loss and in the score."""
    gradient_penalty_weight: NonNegativeFloat = 5.0
    """w_gp, weight of the gradient penalty in the critic loss."""


class PaperSchedule(Frozen):
    """The authors' schedule: one rank an iteration, K critic updates, then m encoder-generator updates, by Adam.

    Every expectation is over its own batch: gradient penalty and MMD use a second batch of rows and fresh noise.
    """

    name: Literal["paper"] = "paper"
    iterations: PositiveInt = 10_000
    """Iterations before the score is evaluated."""
    batch_size: SeveralInt = 512
    """Rows of one batch over all workers."""
    critic_updates: PositiveInt = 20
    """K, critic updates an iteration."""
    encoder_generator_updates: PositiveInt = 1
    """m, encoder-generator updates an iteration."""
    burst_updates: PositiveInt = 100
    """K in the first ``burst_first`` iterations and in every ``burst_every``-th."""
    burst_first: NonNegativeInt = 100
    """Iterations of the opening burst."""
    burst_every: PositiveInt = 100
    """Distance of the later bursts, in iterations."""
    mmd_start: Fraction = 0.5
    """Fraction of the iterations after which the MMD is switched on."""
    learning_rate: PositiveFloat = 2e-4
    """Adam's, for all networks."""
    beta1: Beta = 0.5
    """Adam's decay of the first moment."""
    beta2: Beta = 0.999
    """Adam's decay of the second moment."""
    decay_factor: Annotated[float, Field(gt=0, le=1), NUMBER] = 0.9
    """Factor of the learning rate at each milestone."""
    decay_at: list[Fraction] = [0.8, 0.85, 0.9, 0.95]
    """Milestones, as fractions of the iterations."""


class FastSchedule(Frozen):
    """The staged schedule; its batches mix the ranks.

    1. embedding: geodesic coordinates of some rows, torn open where the data are closed, serve as codes; the encoder
       learns them, the generator decodes them: where the optimisation starts. It ends when the reconstruction errors
       have reached a plateau;
    2. matching: encoder and generator minimise R + w_mmd M, guided by these coordinates in the first half, on all rows
       in the second; as long, in proportion, as the embedding took;
    3. critic: the critic maximises C - w_gp P, encoder and generator frozen;
    4. joint, if asked for: the alternation of the whole objective;
    5. scoring: the critic goes on alone while the score is evaluated.

    The score is the same as that of ``paper``; but without stage 4 encoder and generator are a Wasserstein auto-encoder
    that the critic judges and does not train. With encoder and generator at rest the critic difference is the
    Wasserstein distance that the critic estimates, where in an alternation it is what the critic lags behind.
    """

    name: Literal["fast"] = "fast"
    batch_size: SeveralInt | None = None
    """Rows of one batch over all workers; by default 128, or four a rank up to 512, or all training
    rows where there are fewer."""
    rank_share_exponent: NonNegativeFloat = 0.25
    """Rows of rank r in a batch are in proportion to r^-exponent: low ranks are the hardest to fit."""
    rank_focus: Annotated[float, Field(gt=0, le=1), NUMBER] = 0.15
    """What a rank counts in a batch that lies more than two ranks from the one at which the geodesic coordinates decode
    the rows; 1 for no difference."""
    embedding_rows: Annotated[int, Field(ge=2, le=5_000), WHOLE] = 1_500
    """Training rows, at most, whose geodesic coordinates are computed; the time grows with their cube."""
    embedding_neighbors: PositiveInt = 10
    """Neighbours of a row in the graph of geodesic distances; more, up to four times as many, if the graph falls
    apart."""
    interpolation_neighbors: NonNegativeInt = 10
    """In stages 1 and 2 encoder and generator learn points between a row and one of this many nearest ones, so that
    they do not learn a small sample by heart; 0 for the rows as they are, which samples of more than 1,000 training
    rows and streams always are."""
    tear: bool = True
    """Tear closed manifolds open where that makes their rows decodable at a smaller rank."""
    embedding_iterations: NonNegativeInt = 1_500
    """Most updates of a round of stage 1; 0 starts the codes at random."""
    embedding_rounds: PositiveInt = 2
    """Most rounds of stage 1: another one begins, from the learning rate of the first, while networks reconstruct the
    rows worse than the geodesic coordinates decode them."""
    embedding_learning_rate: PositiveFloat = 2e-3
    """Adam's at the start of stage 1; a cosine takes it to that of stage 2."""
    plateau: NonNegativeFloat = 0.01
    """Stage 1 ends when the reconstruction errors, in units of the standardised data, have not fallen by more than this
    in 500 updates; 0 for never."""
    matching_iterations: PositiveInt = 3_000
    """Updates of stage 2 if stage 1 took all of its own; the weight of the MMD grows linearly over the first 15 %."""
    matching_learning_rate: PositiveFloat = 1e-3
    """Adam's at the start of stage 2; a cosine takes it to a twentieth."""
    critic_iterations: PositiveInt = 400
    """Critic updates of stage 3, rounded up to a multiple of 20."""
    critic_learning_rate: PositiveFloat = 1e-3
    """Adam's for the critic; a cosine takes it to a half over stage 3, another from there to a tenth over stage 5."""
    joint_iterations: NonNegativeInt = 0
    """Iterations of stage 4."""
    joint_critic_updates: PositiveInt = 10
    """Critic updates before every encoder-generator update of stage 4."""
    joint_learning_rate: PositiveFloat = 1e-4
    """Adam's for encoder and generator in stage 4, reached after a linear ramp."""
    scoring_interval: PositiveInt = 5
    """Critic updates between two evaluations of the score in stage 5."""


ScheduleConfig = Annotated[PaperSchedule | FastSchedule, Field(discriminator="name")]


class ScoreConfig(Frozen):
    """How the score is evaluated and the rank chosen."""

    evaluations: SeveralInt | None = None
    """Evaluations of the score; their standard error enters the penalty. By default 50 for ``paper``, 20 for
    ``fast``."""
    batch_size: SeveralInt | None = None
    """Rows of one evaluation, drawn at random; at most half of a fixed sample: an evaluation uses two batches that
    share no row. By default the batch size of the schedule for ``paper`` and for streams; for ``fast``, the evaluations
    are disjoint parts of the whole sample, so that their standard error is that of the mean over n rows."""
    score_on: Split = "train"
    """Rows on which the score that chooses the rank is computed. The components on the other part are kept too."""
    penalty: Literal["resolution", "reference", "rate", "fixed"] = "resolution"
    """How the rank is chosen, see `lwgan_dist.method.rank_selection`: ``resolution`` counts a dimension that explains
    more than lambda = SE^0.8 and more than noise below the resolution could; ``reference`` is the authors' rule, with
    lambda = SE^0.8 alone; ``rate`` has n^-0.4 with n all rows, ``fixed`` a number."""
    resolution: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.08
    """Standard deviation, in units of the standardised data, below which variation along a direction counts as noise,
    for the rule ``resolution``: with ``standardize: global`` a share of the data's scale."""
    neighbours: bool = True
    """Whether ``resolution`` gives no rank that the distances between neighbouring rows refuse, see
    `lwgan_dist.method.neighbours`. The other rules, which are those of the paper, know no such bound."""
    critic: bool = True
    """Whether the critic difference and the gradient penalty enter the score; without them it is that of a Wasserstein
    auto-encoder, a control."""
    penalty_exponent: Annotated[float, Field(gt=0, lt=1), NUMBER] = 0.8
    """Exponent of the standard error in ``resolution`` and ``reference``."""
    penalty_constant: NonNegativeFloat = 1.0
    """Factor of the rule; for ``fixed`` lambda itself."""


AS_BEFORE = {
    ("schedule", "embedding_rounds"): 1,
    ("networks", "linear_path"): False,
    ("score", "neighbours"): False,
}
"""Settings that were added, by section and name, the oldest first, with the values that leave a run as it was."""


def read_before(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration of a run with the settings of `AS_BEFORE` that it was written without."""
    filled = {name: dict(value) if isinstance(value, dict) else value for name, value in stored.items()}
    sections = {name: value for name, value in filled.items() if isinstance(value, dict)}
    of_fast = sections.get("schedule", {}).get("name", "fast") == "fast"
    for (section, name), value in AS_BEFORE.items():
        if section in sections and (of_fast or section == "score"):
            sections[section].setdefault(name, value)
    if sections.get("model", {}).get("name", "lwgan") != "lwgan":
        filled["model"] = {"networks": "mlp", "linear_path": False, **sections["model"]}
    return filled


_READING = ("separator", "decimal", "encoding", "missing")
"""How a table is read, which does not count where the rows do."""

_UNNAMED: dict[tuple[str, str], Any] = {
    ("data", "labels"): None,
    ("data", "drop"): None,
    **{("data", name): None for name in _READING},
    ("data", "channels"): "first",
    ("model", "networks"): "mlp",
    ("model", "linear_path"): False,
    **AS_BEFORE,
}
"""Settings that were added, by section and name, with the values with which they do not enter the name of a run."""


LWGAN_SECTIONS = ("networks", "objective", "schedule", "score")
"""Sections that are the LWGAN's; the settings of other models are all in ``model``."""


class Settings(Frozen):
    """How a model is trained and judged, whatever the data."""

    model: ModelConfig = LwganModel()
    """Which model: ``{name: lwgan}``, the default, whose settings are the sections below; or another one with all of
    its settings: ``{name: wae, latent_dim: 2}``."""
    networks: NetworksConfig = NetworksConfig()
    """Encoder, generator, critic."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """Weights of the objective."""
    schedule: ScheduleConfig = FastSchedule()
    """How it is optimised."""
    score: ScoreConfig = ScoreConfig()
    """How the rank is chosen."""
    precision: Literal["auto", "float32", "float64", "bfloat16"] = "auto"
    """``float32``, ``float64``, or ``bfloat16``: float32 parameters, with autocast products in layers of at least 64
    inputs and outputs. ``auto`` is ``bfloat16`` if the machine that starts the run multiplies in it at least
    twice as fast, else ``float32``; a run that goes on elsewhere keeps what it began with."""

    @model_validator(mode="after")
    def _sections_of_the_model(self) -> Self:
        if not isinstance(self.model, LwganModel):
            for section in LWGAN_SECTIONS:
                if getattr(self, section) != type(self).model_fields[section].default:
                    raise clash(section, f"is of the lwgan; all settings of a {self.model.name} are in model")
        return self

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As pydantic's, without what does not apply: the LWGAN needs no mention, so that what was written before there
        were other models is identified alike, and other models have none of its sections.

        (Not a serializer of pydantic's, which makes another error of a Ctrl-C.)
        """
        dumped = super().model_dump(**options)
        left_out = ["model"] if isinstance(self.model, LwganModel) else LWGAN_SECTIONS
        return {name: value for name, value in dumped.items() if name not in left_out}

    @model_validator(mode="before")
    @classmethod
    def _default_members(cls, values: Any) -> Any:
        """Sections without a name are of the default schedule and the default model."""
        if not isinstance(values, dict):
            return values
        for section, name in (("schedule", "fast"), ("model", "lwgan")):
            given = values.get(section)
            if isinstance(given, dict) and "name" not in given:
                values = {**values, section: {"name": name, **given}}
        return values


class _OnData(Frozen):
    data: DataConfig
    """The sample."""

    @model_validator(mode="before")
    @classmethod
    def _source_of_data(cls, values: Any) -> Any:
        """Data with a member of the population need no source."""
        data = values.get("data") if isinstance(values, dict) else None
        if isinstance(data, dict) and "population" in data and "source" not in data:
            return {**values, "data": {"source": "population", **data}}
        return values


class RunConfig(Settings, _OnData):
    """One run: train a model on a sample; an LWGAN estimates the intrinsic dimension. Nothing that cannot change a
    number.
    """

    seed: WholeNumber = 0
    """Seed of initial values, ranks, batches and noise; the sample has its own."""

    @model_validator(mode="after")
    def _stream_has_no_rows(self) -> Self:
        if isinstance(self.data, Known) and self.data.rows == "stream":
            if self.score.penalty == "rate":
                raise clash("score.penalty", "'rate' needs the number of rows n, and data.rows 'stream' has none")
            if self.score.score_on == "holdout":
                raise clash("score.score_on", "'holdout' needs rows set apart, and data.rows 'stream' has none")
        elif self.score.score_on == "holdout" and self.data.holdout_fraction == 0:
            raise clash("score.score_on", "'holdout' needs data.holdout_fraction > 0 (got 0)")
        return self

    def on_rows(self, shape: tuple[int, ...]) -> Self:
        """The same run with the family of networks written out that is meant for rows of a shape.

        Raises:
            ConfigError: networks that are not for such rows.
        """
        if not isinstance(self.model, LwganModel):
            return self.model_copy(update={"model": self.model.on_rows(shape)})
        networks = self.networks.model_copy(update={"name": networks_for(self.networks.name, shape, "networks.name")})
        return self.model_copy(update={"networks": networks})

    @property
    def bounded(self) -> bool:
        """Whether the standardised numbers of a row lie in (0, 1), whatever the row."""
        return self.data.standardize == "pixels"

    def resolved(
        self, *, train_rows: int | None, ambient_dim: int, shape: tuple[int, ...] | None = None,
        bfloat16_pays: bool = False,
    ) -> Self:  # fmt: skip
        """The same run with every default that depends on the data written out.

        Args:
            train_rows: rows to train on, None for a stream.
            ambient_dim: columns.
            shape: of a row, by default a vector of so many columns.
            bfloat16_pays: whether this machine is faster in bfloat16.

        Raises:
            ConfigError: networks that are not for such rows.
        """
        precision, shape = self.precision, shape or (ambient_dim,)
        if precision == "auto":
            precision = "bfloat16" if bfloat16_pays else "float32"
        if not isinstance(self.model, LwganModel):
            model = self.model.on_rows(shape).resolved(train_rows=train_rows, ambient_dim=ambient_dim)
            return self.model_copy(update={"precision": precision, "model": model})
        given = self.on_rows(shape).networks
        latent_dim, fast = given.latent_dim or min(ambient_dim, 10), self.schedule.name == "fast"
        activation = given.encoder_activation
        if given.name != "conv":
            activation = activation or ("silu" if fast else "relu")
        path = linear_path_for(given.linear_path, given.name, "networks.linear_path", default=fast)
        width = width_for(given.width, given.name, paper=not fast)
        networks = {"latent_dim": latent_dim, "width": width, "encoder_activation": activation, "linear_path": path}
        largest = min(512, max(128, 4 * latent_dim)) if fast else 512  # of mixed ranks, it holds some rows of each
        batch_size = self.schedule.batch_size or min(largest, train_rows or largest)
        score = {
            "evaluations": self.score.evaluations or (20 if fast else 50),
            "batch_size": self.score.batch_size or (None if fast and train_rows else batch_size),
        }
        return self.model_copy(
            update={
                "precision": precision,
                "networks": given.model_copy(update=networks),
                "schedule": self.schedule.model_copy(update={"batch_size": batch_size}),
                "score": self.score.model_copy(update=score),
            }
        )

    def identity(self) -> dict[str, Any]:
        """The configuration as plain JSON, as it enters the names of runs and records.

        A setting of `AS_BEFORE`, or one that was added to ``data``, is left out where it asks for what was done before
        there was such a setting, so that runs of that time keep their names. So are networks that rows are to choose:
        they are perceptrons, which once were the only ones, unless `on_rows` has written out others.
        """
        identity = self.model_dump(mode="json")
        if "networks" in identity:
            _name_networks(identity["networks"], "name", paper=self.schedule.name == "paper")
        else:
            _name_networks(identity["model"], "networks")
        if identity.get("data", {}).get("standardize") == "auto":  # what once was the default, until rows choose
            identity["data"]["standardize"] = "global"
        if identity.get("score", {}).get("penalty", "resolution") != "resolution":  # which alone asks neighbours
            del identity["score"]["neighbours"]
        for (section, name), value in _UNNAMED.items():
            settings = identity.get(section, {})
            if name in settings and settings[name] == value:
                del settings[name]
        return identity

    def fingerprint(self, data_digest: str) -> str:
        """12 hexadecimal digits of the SHA-256 of the canonical configuration and the data: the identity of the run.

        Args:
            data_digest: SHA-256 of the sample, see `lwgan_dist.data.sample.Sample`.
        """
        identity = self.identity()
        if identity["data"]["source"] == "table":
            for name in ("path", *_READING):  # the rows count, not where they lie, nor how they are written
                identity["data"].pop(name, None)
        text = json.dumps([SCHEMA_VERSION, identity, data_digest], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _name_networks(settings: dict[str, Any], family: str, *, paper: bool = False) -> None:
    """Write out the networks that a run has unless its rows choose others; ``family`` is the key of their family."""
    if settings[family] == "auto":
        settings[family] = "mlp"
    if settings["linear_path"] is None and (paper or settings[family] == "conv"):
        settings["linear_path"] = False
    settings["width"] = width_for(settings["width"], settings[family], paper=paper)


Resource = Annotated[float, Field(gt=0, le=1_000_000), NUMBER]
"""An amount of a resource of Ray."""


class WorkerRange(Frozen):
    """An elastic number of workers: training goes on with as many as the cluster can give."""

    min: PositiveInt
    """Fewest workers to start, or go on, with."""
    max: PositiveInt
    """Most workers."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min <= max must hold, but got min={self.min}, max={self.max}")
        return self


class ExecutionConfig(Frozen):
    """Where and how a run executes. Nothing here changes its result."""

    workers: NonNegativeInt | WorkerRange = 1
    """Processes of the data-parallel training: 0 runs in this process without Ray, 1 or more under Ray Train; ``{min:
    2, max: 8}`` is elastic."""
    cpus_per_worker: Resource = 1.0
    """CPUs that Ray reserves for a worker; also its number of threads, rounded down, at least 1."""
    use_gpu: bool = False
    """Reserve GPUs and train on them, with nccl between workers."""
    gpus_per_worker: Resource = 1.0
    """GPUs that Ray reserves for a worker, with ``use_gpu``."""
    resources_per_worker: dict[str, Resource] = {}
    """Further Ray resources that a worker needs, by name."""
    address: str | None = None
    """Ray cluster to join: ``auto`` (the one that this machine is a node of) or HOST:PORT of its GCS; by default that
    in RAY_ADDRESS, or else a local one that ends with the command. Not ``ray://``: see ``lwgan-dist submit``."""
    max_failures: Annotated[int, Field(ge=-1, le=MOST), WHOLE] = 3
    """Restarts after a worker or node was lost, or failed, by a full disk too (-1: no limit). A node that announced its
    loss does not count; a non-finite loss is not retried."""
    checkpoint_seconds: Annotated[float, Field(ge=0, le=MOST), NUMBER] = 30.0
    """Time between checkpoints. One more is written at once when a node announces that it will be taken away."""
    checkpoints_kept: SeveralInt = 2
    """Checkpoints kept; at least 2, so that a damaged newest one has one before it."""
    start_timeout_seconds: Annotated[float, Field(gt=0, le=MOST), NUMBER] = 120.0
    """How long a cluster without an autoscaler may take until its nodes hold the workers, and how long a group of fixed
    size waits for its places before it asks for them anew."""
    collective_timeout_seconds: Annotated[float, Field(gt=0, le=MOST), NUMBER] = 300.0
    """How long a worker waits for the others before it counts them as lost."""

    @model_validator(mode="after")
    def _one_gpu_each(self) -> Self:
        several = isinstance(self.workers, WorkerRange) or self.workers > 1
        if self.use_gpu and several and self.gpus_per_worker < 1:
            raise ValueError(f"gpus_per_worker >= 1 must hold for several workers (got {self.gpus_per_worker}): nccl")
        return self

    @property
    def threads_per_worker(self) -> int:
        """Threads of one worker's tensor operations; part of what makes a result reproducible bit by bit."""
        return max(1, int(self.cpus_per_worker))


def refuse_idle_address(execution: ExecutionConfig) -> None:
    """Refuse, as an error about the section ``execution`` of a configuration, a cluster that would not be used."""
    if execution.workers == 0 and execution.address:
        raise clash("execution.address", "is of no use with execution.workers = 0, which needs no Ray")


class TrainConfig(RunConfig):
    """The content of a file for ``lwgan-dist train``: a run and how to execute it."""

    execution: ExecutionConfig = ExecutionConfig()
    """Where and how it executes; changes no number."""

    @model_validator(mode="after")
    def _can_be_executed(self) -> Self:
        if isinstance(self.data, ArrayData):
            raise clash("data.source", "'array' is for the Python class LWGAN; a file names a manifold or a table")
        refuse_idle_address(self.execution)
        return self

    def run(self) -> RunConfig:
        """The run alone."""
        return RunConfig(**{name: getattr(self, name) for name in RunConfig.model_fields})


_MEMBER_OF = {
    "data.source": None, "schedule.name": "fast", "model.name": "lwgan",
    "run.data.source": None, "run.schedule.name": "fast", "run.model.name": "lwgan",
}  # fmt: skip
"""The fields that choose a member of a union, and the member that is meant where none is named."""


def override(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of a nested dictionary with values set at dotted paths: ``{"schedule.iterations": 100}``.

    Choosing another member of a union (``schedule.name``, ``data.source``, ``model.name``) drops the fields of the
    member before it, except those set in the same call; a section comes before what is in it, whatever their order. A
    key that exists with dots (``objective.mmd_weight`` in a search space) is one step of a path. The result is plain
    data and is validated by whoever builds a model from it.

    Raises:
        ValueError: a path runs through something that is not a section.
    """
    result = copy.deepcopy(settings)
    for path in sorted(changes, key=lambda path: (path.count("."), path not in _MEMBER_OF)):
        place, rest = result, path.split(".")
        while True:
            starts = {".".join(rest[:end]): end for end in range(len(rest), 0, -1)}
            section = next((start for start in starts if start in place), rest[0])
            rest = rest[starts[section] :]
            if not rest:
                field = section
                break
            if place.get(section) is None:
                place[section] = {}
            place = place[section]
            if not isinstance(place, dict):
                raise ValueError(f"{path}: {section} is a value, not a section")
        if path in _MEMBER_OF and place.get(field, _MEMBER_OF[path] or changes[path]) != changes[path]:
            place.clear()
        place[field] = copy.deepcopy(changes[path])
    return result
