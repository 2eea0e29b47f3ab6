"""The scikit-learn face of a run: ``LWGAN(...).fit(X).dimension_``, and the other models in the same way."""

import json
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.configfile import build_config
from lwgan_dist.data.blocks import Array, flat
from lwgan_dist.data.findings.finding import Finding
from lwgan_dist.errors import ConfigError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.models.one_size.config import OneSizeModel
from lwgan_dist.results import RunResult
from lwgan_dist.run.folder import RESULT_FILE, read_result
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder, damage_named, inside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DTYPES = [np.float64, np.float32, np.bool_, *map(np.dtype, "bhilqBHILQ")]
"""Types of numbers in which X is taken as it is; any other becomes the first."""

_PARAMETERS_FILE = "estimator.json"


class DataWarning(UserWarning):
    """What a reader of an estimate should know of the data, see `lwgan_dist.data.findings.finding.Finding`."""


def _in_python(finding: Finding) -> str:
    """The finding with what to do about it in Python."""
    text = re.sub(r":? \(?data\.drop=\[[^\]]*\]\)?", "", str(finding))
    return re.sub(r"data\.standardize=(\w+)", r'standardize="\1"', text)


class ModelEstimator(BaseEstimator):  # type: ignore[misc]
    """What the estimators of all models have in common; a model adds its parameters.

    Attributes:
        model_name: of the model, see `lwgan_dist.models.configs`.
    """

    model_name: ClassVar[str]
    standardize: str
    holdout_fraction: float
    settings: dict[str, Any] | None
    workers: int
    run_dir: str | None
    random_state: int | np.random.RandomState | None
    verbose: bool

    def _sections(self) -> dict[str, Any]:
        """The sections of the configuration that the model's own parameters fill."""
        raise NotImplementedError

    @classmethod
    def _parameters_of(cls, model: FittedModel, result: RunResult) -> dict[str, Any]:
        """The model's own parameters of a run."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of X, shape (n, *shape): NumPy array, pandas data frame or torch tensor; y is ignored.

        A NumPy array of integers, float32 or float64 is not copied, and must not be changed meanwhile.

        What is found in X before the training, such as columns in different units, few or repeated rows, codes for
        missing values, is a `DataWarning` each.

        Raises:
            ValueError: data that scikit-learn would not accept either.
            ConfigError, DataError, NonFiniteLossError: see `lwgan_dist.errors`.
        """
        with self._folder() as folder:
            self._train(X, folder)
            return self._adopt(folder, **{} if self.run_dir else {"run_dir": ""})  # it is temporary

    @contextmanager
    def _folder(self) -> Iterator[Folder]:
        """The run folder, or one that is gone after the block."""
        if self.run_dir is not None:
            yield Folder.at(self.run_dir)
            return
        with tempfile.TemporaryDirectory(prefix="lwgan-") as temporary:
            yield Folder.at(temporary)

    def _train(self, X: Any, folder: Folder) -> Run:
        """The run on X, finished in a folder; for methods that a user calls, at whom the warnings point."""
        rows = self._validated(X, ensure_min_samples=4)
        run = Run(self._config(), rows, columns=self._column_names())
        for finding in run.findings:
            warnings.warn(_in_python(finding), DataWarning, stacklevel=3)
        from lwgan_dist.reporting.terminal import ProgressLine

        with ProgressLine(type(self).__name__, shown=bool(self.verbose)) as line:
            run.train(folder, ExecutionConfig(workers=self.workers), on_progress=line.update, on_findings=lambda: None)
        return run

    def _column_names(self) -> tuple[str, ...] | None:
        """The names of the columns of X; None where it has none, or one twice."""
        names = tuple(getattr(self, "feature_names_in_", ()))
        return names if names and len(set(names)) == len(names) else None

    def _validated(self, X: Any, **how: Any) -> Array:
        """Rows as scikit-learn accepts them, each as a vector while it looks at them: to it, a row has one axis."""
        X = _as_array(X)
        if getattr(X, "ndim", 2) <= 2:
            return np.asarray(validate_data(self, X, dtype=_DTYPES, **how))
        rows = np.asarray(X)
        return np.asarray(validate_data(self, flat(rows), dtype=_DTYPES, **how)).reshape(rows.shape)

    def _known(self, X: Any) -> Array:
        """Rows of the shape of those that were fitted; a vector of each will do.

        Raises:
            ValueError: rows of another shape.
        """
        rows, shape = self._validated(X, reset=False), self.model_.shape
        if rows.ndim > 2 and rows.shape[1:] != shape:
            raise ValueError(f"X has rows of shape {rows.shape[1:]}, but {type(self).__name__} was fitted on {shape}")
        return rows.reshape(len(rows), *shape)

    def _config(self) -> RunConfig:
        seed = self.random_state
        if seed is None or isinstance(seed, np.random.RandomState):
            seed = int(check_random_state(seed).randint(2**31))
        values: dict[str, Any] = {
            "data": {
                "source": "array",
                "standardize": self.standardize,
                "holdout_fraction": self.holdout_fraction,
                "seed": int(seed),
            },
            "model": {"name": self.model_name},
            "seed": int(seed),
        }
        for section, fields in self._sections().items():
            values.setdefault(section, {}).update(fields)
        config = build_config(RunConfig, values, self.settings or {})
        if config.model.name != self.model_name:
            raise ConfigError(f"settings: model.name: this class is an {self.model_name} (got {config.model.name})")
        return config

    def _adopt(self, folder: Folder, **changes: Any) -> Self:
        """Take model and result from a finished run folder."""
        self.result_: RunResult = read_result(folder).model_copy(update=changes)
        self.model_ = FittedModel.load(folder.sub("model"))
        self.dimension_ = self.result_.dimension
        self.findings_ = self.result_.findings
        return self

    def inverse_transform(self, codes: Any) -> NDArray[np.float64]:
        """Rows G(z) in the units of the data, shape (n, *shape), for codes of shape (n, r), r at most the
        largest rank or the latent size.
        """
        check_is_fitted(self)
        return self.model_.decode(np.asarray(_as_array(codes)))

    def generate(self, n: int, rank: int | None = None, seed: int = 0) -> NDArray[np.float64]:
        """N new rows G(z_r), shape (n, *shape), at a rank, by default that of `transform`."""
        check_is_fitted(self)
        return self.model_.generate(n, rank, seed)

    def summary(self) -> str:
        """The answer in words, then a line for each note and warning, as ``lwgan-dist estimate`` prints them."""
        from lwgan_dist.reporting.answer import answer_sentence

        check_is_fitted(self)
        return "\n".join([answer_sentence(self.result_), *map(_in_python, self.findings_), *self.result_.notes])

    def plot_scores(self) -> "Figure":
        """The score by rank with its components, and the dimension by resolution: a Matplotlib figure, which a notebook
        shows and ``savefig`` writes.
        """
        from lwgan_dist.reporting.figures import rank_score_figure

        check_is_fitted(self)
        return rank_score_figure(self.result_)

    def save(self, folder: str | Path) -> None:
        """Write model, result and parameters into a folder."""
        check_is_fitted(self)
        target = Folder.at(str(folder))
        self.model_.save(target.sub("model"))
        saved = {"parameters": self.get_params() | {"random_state": self.result_.seed}}
        if hasattr(self, "feature_names_in_"):
            saved["feature_names"] = list(self.feature_names_in_)
        target.write(_PARAMETERS_FILE, json.dumps(saved).encode())
        target.write(RESULT_FILE, self.result_.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """An estimator fitted by a run, from its run folder or from what `save` wrote.

        From a run folder, parameters that are not those of the estimator stand in ``model_.config``, not in
        ``settings``.

        Raises:
            ConfigError: there is no finished run in the folder.
        """
        source = Folder.at(str(folder))
        result = read_result(source)
        if result.model != cls.model_name:
            raise ConfigError(f"{source.location}: holds a {result.model}, and this class is an {cls.model_name}")
        model = FittedModel.load(source.sub("model"))
        data = model.config.data
        saved: dict[str, Any] = {
            "parameters": {
                **cls._parameters_of(model, result),
                "standardize": data.standardize,
                "holdout_fraction": data.holdout_fraction,
                "random_state": result.seed,
            }
        }
        if source.has(_PARAMETERS_FILE):
            saved = source.read_json(_PARAMETERS_FILE, dict[str, Any])
        with damage_named(inside(source.location, _PARAMETERS_FILE)):
            estimator = cls(**saved["parameters"])
        estimator._adopt(source)
        estimator.n_features_in_ = result.ambient_dim
        if "feature_names" in saved:
            estimator.feature_names_in_ = np.array(saved["feature_names"], dtype=object)
        return estimator


class Encoding(ClassNamePrefixFeaturesOutMixin, TransformerMixin):  # type: ignore[misc]
    """What estimators of models with an encoder have besides: codes, and how well they reconstruct."""

    model_: FittedModel

    @property
    def _n_features_out(self) -> int:
        """The number of codes, for the names that scikit-learn gives them."""
        return self.model_.dimension

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Codes of rows, shape (n, r), at the estimated dimension or, without an estimate, the latent size."""
        check_is_fitted(self)
        return self.model_.encode(self._known(X))

    def score(self, X: Any, y: Any = None) -> float:
        """How well rows are reconstructed: minus the mean of ||x - G(Q(x))|| over rows, in the units in which they were
        fitted, at the rank of `transform`; 0 is best. The default of scikit-learn's searches; y is ignored.
        """
        check_is_fitted(self)
        rows = self._known(X)
        of_both = (rows, self.model_.decode(self.model_.encode(rows)))
        scaled, reconstructed = (flat(self.model_.standardizer.apply(some)) for some in of_both)
        return -float(np.linalg.norm(scaled - reconstructed, axis=1).mean())


class LWGAN(Encoding, ModelEstimator):
    """Intrinsic dimension by a latent Wasserstein GAN, with an encoder to it and a generator from it.

    Args:
        max_dimension: the largest rank considered; by default the number of columns, at most 10.
        schedule: ``fast`` or ``paper``.
        standardize: ``auto``, ``global``, ``per_column`` or ``none``; see `lwgan_dist.config`.
        holdout_fraction: part of the rows that is not trained on.
        settings: further fields of `lwgan_dist.config.RunConfig` by dotted name, for example
            ``{"schedule.matching_iterations": 3000, "precision": "bfloat16"}``.
        workers: 0 trains in this process, 1 or more under Ray Train.
        run_dir: keep the run folder there, and go on with it if it is unfinished; by default it is temporary.
        random_state: seed (an integer), or a NumPy RandomState from which one is drawn.
        verbose: show a line of progress with the time left on standard error.

    Attributes:
        dimension_: the estimated intrinsic dimension.
        rank_set_: the ranks that hold the truth with ``result_.confidence``; None for rank rules without one.
        score_path_: penalised score, mean + lambda r, of every rank r = 1, 2, ..; under the rules of the paper its
            first minimum is the estimate.
        findings_: what was found in X before the training, each also a `DataWarning`.
        result_: the `lwgan_dist.results.RunResult` with every component.
        model_: the `lwgan_dist.fitted.FittedModel`.
        n_features_in_, feature_names_in_: as in scikit-learn; of rows of more axes the numbers in a row.

    Source: arXiv:2409.18374.
    """

    model_name = "lwgan"

    def __init__(
        self,
        max_dimension: int | None = None,
        *,
        schedule: str = "fast",
        standardize: str = "auto",
        holdout_fraction: float = 0.1,
        settings: dict[str, Any] | None = None,
        workers: int = 0,
        run_dir: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        self.max_dimension = max_dimension
        self.schedule = schedule
        self.standardize = standardize
        self.holdout_fraction = holdout_fraction
        self.settings = settings
        self.workers = workers
        self.run_dir = run_dir
        self.random_state = random_state
        self.verbose = verbose

    def _sections(self) -> dict[str, Any]:
        """Networks and schedule."""
        return {"networks": {"latent_dim": self.max_dimension}, "schedule": {"name": self.schedule}}

    @classmethod
    def _parameters_of(cls, model: FittedModel, result: RunResult) -> dict[str, Any]:
        """Of the result."""
        return {"max_dimension": result.max_dimension, "schedule": result.schedule}

    def _adopt(self, folder: Folder, **changes: Any) -> Self:
        """With the scores."""
        super()._adopt(folder, **changes)
        self.rank_set_ = self.result_.rank_set
        penalty = self.result_.penalty
        self.score_path_ = np.array([row.score + penalty * row.rank for row in self.result_.rank_scores])
        return self

    def at_tear(self, X: Any) -> NDArray[np.bool_]:
        """Which rows lie where closed data were torn open, shape (n,): there, codes of neighbouring rows may lie far
        apart. Nowhere for data that one chart covers; ``result_.tear`` describes the tear.
        """
        check_is_fitted(self)
        return self.model_.at_tear(self._known(X))


def estimate(X: Any, *, replicates: int = 1, competitors: bool = True, **parameters: Any) -> RunResult:
    """The answer for X as ``lwgan-dist estimate`` gives it; `lwgan_dist.reporting.answer.answer_sentence` puts it in
    words.

    Args:
        X: rows, as for `LWGAN.fit`.
        replicates: fits, the further ones with other seeds and splits, each as long as the first; ``fits`` of the
            result says what they say together.
        competitors: whether ``competitors`` of the result says what classical estimators make of the same rows, see
            `lwgan_dist.study.competitors`; all but ABIDE need the extra ``classical``.
        **parameters: of `LWGAN`.

    Raises:
        ValueError, ConfigError, DataError, NonFiniteLossError: as `LWGAN.fit`.
    """
    from lwgan_dist.run.replicates import train_replicates
    from lwgan_dist.study.competitors import add_competitors

    estimator = LWGAN(**parameters)
    with estimator._folder() as folder:
        run = estimator._train(X, folder)
        if replicates > 1:
            train_replicates(run, folder, ExecutionConfig(workers=estimator.workers), replicates)
        if competitors:
            add_competitors(run, folder)
        result = read_result(folder)
        return result if estimator.run_dir else result.model_copy(update={"run_dir": ""})


class OneSizeEstimator(ModelEstimator):
    """A model with one latent size.

    Args:
        latent_dim: coordinates of a code; by default the number of columns, at most 10.
        iterations: of the training; by default those of the model.
        standardize: ``auto``, ``global``, ``per_column`` or ``none``; see `lwgan_dist.config`.
        holdout_fraction: part of the rows that is not trained on.
        settings: further fields of `lwgan_dist.config.RunConfig` by dotted name, for example ``{"model.width": 32}``.
        workers: 0 trains in this process, 1 or more under Ray Train.
        run_dir: keep the run folder there, and go on with it if it is unfinished; by default it is temporary.
        random_state: seed (an integer), or a NumPy RandomState from which one is drawn.
        verbose: show a line of progress with the time left on standard error.

    Attributes:
        dimension_: the estimated intrinsic dimension; None of a model that estimates none.
        findings_: what was found in X before the training, each also a `DataWarning`.
        result_: the `lwgan_dist.results.RunResult` with every component of the score.
        model_: the `lwgan_dist.fitted.FittedModel`.
        n_features_in_, feature_names_in_: as in scikit-learn; of rows of more axes the numbers in a row.
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        *,
        iterations: int | None = None,
        standardize: str = "auto",
        holdout_fraction: float = 0.1,
        settings: dict[str, Any] | None = None,
        workers: int = 0,
        run_dir: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        self.latent_dim = latent_dim
        self.iterations = iterations
        self.standardize = standardize
        self.holdout_fraction = holdout_fraction
        self.settings = settings
        self.workers = workers
        self.run_dir = run_dir
        self.random_state = random_state
        self.verbose = verbose

    def _sections(self) -> dict[str, Any]:
        """All in the model's own."""
        given = {"latent_dim": self.latent_dim, "iterations": self.iterations}
        return {"model": {name: value for name, value in given.items() if value is not None}}

    @classmethod
    def _parameters_of(cls, model: FittedModel, result: RunResult) -> dict[str, Any]:
        """Of the configuration."""
        config = model.config.model
        assert isinstance(config, OneSizeModel)
        return {"latent_dim": config.latent_dim, "iterations": config.iterations}


class WAE(Encoding, OneSizeEstimator):
    """A Wasserstein auto-encoder (arXiv:1711.01558); parameters and attributes are those of `OneSizeEstimator`."""

    model_name = "wae"


class VAE(Encoding, OneSizeEstimator):
    """A variational auto-encoder (arXiv:1312.6114); parameters and attributes are those of `OneSizeEstimator`."""

    model_name = "vae"


class ARDVAE(Encoding, OneSizeEstimator):
    """A variational auto-encoder that finds the relevant latent dimensions (arXiv:2501.10901); parameters and
    attributes are those of `OneSizeEstimator`.
    """

    model_name = "ard_vae"


class NestedDropoutAE(Encoding, OneSizeEstimator):
    """An auto-encoder with nested dropout (arXiv:1402.0915); parameters and attributes are those of
    `OneSizeEstimator`.
    """

    model_name = "nested_dropout"


class GAN(OneSizeEstimator):
    """A generative adversarial network (arXiv:1406.2661), without encoder: `transform` is refused. Parameters and
    attributes are those of `OneSizeEstimator`.
    """

    model_name = "gan"


class WGANGP(OneSizeEstimator):
    """A Wasserstein GAN with gradient penalty (arXiv:1704.00028), without encoder: `transform` is refused. Parameters
    and attributes are those of `OneSizeEstimator`.
    """

    model_name = "wgan_gp"


class CycleGAN(Encoding, OneSizeEstimator):
    """A cycle-consistent GAN between data and latent space (arXiv:1703.10593); parameters and attributes are those of
    `OneSizeEstimator`.
    """

    model_name = "cyclegan"


def _as_array(X: Any) -> Any:
    """A torch tensor as a NumPy array, bfloat16 as float32, anything else as it is.

    Raises:
        ValueError: a masked array in which something is masked: what stands below the mask would be taken for data.
    """
    if type(X).__module__.partition(".")[0] == "torch":
        X = X.detach().cpu()
        return (X.float() if str(X.dtype) == "torch.bfloat16" else X).numpy()
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError("X is a masked array with missing values; leave their rows out: numpy.ma.compress_rows(X)")
    return X
