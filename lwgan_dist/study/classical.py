"""Classical estimators of the intrinsic dimension, to run beside the LWGAN on the same samples.

They are those of scikit-dimension (https://scikit-dimension.readthedocs.io), which the extra ``classical`` brings. What
an estimator makes of a sample is data of the study: an exception, a warning or a number that is no dimension becomes
the ``failure`` of its estimate and leaves the others alone.

Every estimator is given the rows centred and divided by one common scale. None of them means to depend on either, but
scikit-dimension drops distances below 1e-4 (TLE) and loses digits far from the origin (CorrInt, lPCA). The scales of
the columns among each other are the caller's: distances depend on them.

Warnings and standard output belong to the process: estimate from one thread at a time.
"""

import contextlib
import difflib
import functools
import io
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist import seeding
from lwgan_dist.errors import ConfigError
from lwgan_dist.study import imported
from lwgan_dist.study.scales import (
    ISOMAP_NEIGHBOURS,
    ISOMAP_ROWS,
    START_ROWS,
    abide,
    gride,
    isomap_residual,
    principal_components,
    start_alone,
)
from lwgan_dist.threads import one_thread

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class ClassicalEstimate:
    """The result of an estimator on a sample; exactly one of ``dimension`` and ``failure`` is None.

    Attributes:
        value: the number as the estimator gave it, NaN if it gave none. It is kept beside a failure.
        dimension: the value rounded half up, at least 1.
        cpu_seconds: processor time of the estimator alone, by all threads of this process.
        failure: why there is no dimension, as ``type: message``.
    """

    value: float
    dimension: int | None
    cpu_seconds: float
    failure: str | None


@dataclass(frozen=True)
class ClassicalEstimator:
    """An entry of `ESTIMATORS`.

    Attributes:
        summary: what it looks at, in one line.
        fit: the value from ``(skdim.id, rows, seed)``.
        local: the value is a mean, over the rows, of estimates in their neighbourhoods.
        random: the value depends on the seed.
        distinct: meaningless as soon as two rows are equal, and not always aware of it.
        compiled: has parts that Numba compiles when a process first calls them, for seconds.
    """

    summary: str
    fit: Callable[[Any, Rows, int], Any]
    local: bool = False
    random: bool = False
    distinct: bool = False
    compiled: bool = False


def _local_pca(skdim_id: Any, rows: Rows, seed: int) -> Any:
    return skdim_id.lPCA().fit_transform_pw(rows, n_neighbors=20).mean()


def _nearest_neighbour_graph(skdim_id: Any, rows: Rows, seed: int) -> Any:
    sizes = np.unique(np.geomspace(12, max(1, len(rows) // 4), 10).astype(int))
    return skdim_id.KNN(k=5, ps=sizes, M=10, gamma=1, random_state=seed).fit(rows).dimension_


def _some(rows: Rows, count: int, seed: int, purpose: str) -> NDArray[np.int64]:
    """Which rows to lay out, at most ``count``."""
    if len(rows) <= ISOMAP_NEIGHBOURS:
        raise ValueError(f"needs more than {ISOMAP_NEIGHBOURS} rows")
    return np.sort(seeding.generator(seed, purpose).permutation(len(rows))[:count])


def _isomap(_: Any, rows: Rows, seed: int) -> float:
    return isomap_residual(rows, _some(rows, ISOMAP_ROWS, seed, "classical/isomap"))


def _start(_: Any, rows: Rows, seed: int) -> float:
    return start_alone(rows[_some(rows, START_ROWS, seed, "classical/start")])


def _after_pca(name: str, *, random: bool = False, compiled: bool = False) -> ClassicalEstimator:
    """An estimator on the principal components that hold 95 % of the variance."""

    def fit(skdim_id: Any, rows: Rows, seed: int) -> Any:
        components = principal_components(rows)
        if components.shape[1] < 2:  # the estimators need two columns
            components = np.column_stack([components, np.zeros(len(rows))])
        return ESTIMATORS[name].fit(skdim_id, components, seed)

    summary = f"{name} on the principal components that hold 95 % of the variance"
    return ClassicalEstimator(summary, fit, random=random, distinct=True, compiled=compiled)


ESTIMATORS: Mapping[str, ClassicalEstimator] = MappingProxyType(
    {
        "TwoNN": ClassicalEstimator(
            "ratio of the distances to the second and the first neighbour, a line through its distribution",
            lambda skdim_id, rows, seed: skdim_id.TwoNN().fit(rows).dimension_,
        ),
        "MLE": ClassicalEstimator(
            "maximum likelihood from the distances to 20 neighbours; harmonic mean over the rows",
            # not fit_transform, which takes the arithmetic mean
            lambda skdim_id, rows, seed: skdim_id.MLE().fit(rows, comb="mle").dimension_,
            local=True,
            distinct=True,  # it would be 0
        ),
        "CorrInt": ClassicalEstimator(
            "growth of the correlation integral between the median distances to the 10th and the 20th neighbour",
            lambda skdim_id, rows, seed: skdim_id.CorrInt().fit(rows).dimension_,
        ),
        "MiND": ClassicalEstimator(
            "maximum likelihood of the ratio of the distances to the first and the 21st neighbour",
            lambda skdim_id, rows, seed: skdim_id.MiND_ML(D=max(10, rows.shape[1])).fit(rows).dimension_,
            distinct=True,  # it would be 1
        ),
        "lPCA": ClassicalEstimator(
            "eigenvalues above 5 % of the largest in neighbourhoods of 20 rows; mean over the rows, at most 19",
            _local_pca,
            local=True,
        ),
        "PCA": ClassicalEstimator(
            "eigenvalues above 5 % of the largest, of the sample: the dimension of the linear span",
            lambda skdim_id, rows, seed: skdim_id.lPCA().fit(rows).dimension_,
        ),
        "DANCo": ClassicalEstimator(
            "distances and angles to 10 neighbours against those in simulated balls of each dimension",
            lambda skdim_id, rows, seed: skdim_id.DANCo(random_state=seed).fit(rows).dimension_,
            random=True,
            distinct=True,  # it would be NaN
            compiled=True,
        ),
        "ESS": ClassicalEstimator(
            "skewness of the simplices in neighbourhoods of 20 rows (scikit-dimension's 100 cost 25 times as much)",
            lambda skdim_id, rows, seed: skdim_id.ESS(random_state=seed).fit(rows, n_neighbors=20).dimension_,
            local=True,
        ),
        "FisherS": ClassicalEstimator(
            "linear separability of the whitened rows on a sphere; d + 1 for a sphere of dimension d",
            lambda skdim_id, rows, seed: skdim_id.FisherS().fit(rows).dimension_,
            compiled=True,
        ),
        "KNN": ClassicalEstimator(
            "growth of the 5-neighbour graph's length, 10 samples each of 10 sizes from 12 to n/4 (scikit-dimension's "
            "default, one sample each of 3 to 6 rows, is noise); a whole number up to p",
            _nearest_neighbour_graph,
            random=True,
        ),
        "MADA": ClassicalEstimator(
            "ratio of the distances to the 20th and the 10th neighbour; mean over the rows",
            lambda skdim_id, rows, seed: skdim_id.MADA().fit(rows).dimension_,
            local=True,
        ),
        "MOM": ClassicalEstimator(
            "mean of the distances to 100 neighbours against the largest; mean over the rows",
            lambda skdim_id, rows, seed: skdim_id.MOM().fit(rows).dimension_,
            local=True,
        ),
        "ABIDE": ClassicalEstimator(
            "shares of rows in balls within neighbourhoods of constant density, which it chooses itself",
            lambda _, rows, seed: abide(rows),
            distinct=True,
        ),
        "Gride": ClassicalEstimator(
            "maximum likelihood of the ratio of the distances to the 128th and the 64th neighbour",
            lambda _, rows, seed: gride(rows),
            distinct=True,
        ),
        "Isomap": ClassicalEstimator(
            "residual variance of Isomap plus .005 a rank, on 800 rows: a control for the start of the LWGAN",
            _isomap,
            random=True,
            distinct=True,
        ),
        "Start": ClassicalEstimator(
            "coordinates that decode the rows as well as any, torn and by groups: the start of the LWGAN by itself",
            _start,
            random=True,
            distinct=True,
        ),
        "PCA+ABIDE": _after_pca("ABIDE"),
        "PCA+TwoNN": _after_pca("TwoNN"),
        "PCA+MLE": _after_pca("MLE"),
        # DANCo simulates balls of every dimension up to the number of columns: 3 CPU minutes at 784 of them.
        "PCA+DANCo": _after_pca("DANCo", random=True, compiled=True),
        "TLE": ClassicalEstimator(
            "likelihood of all distances within neighbourhoods of 20 rows; mean over the rows",
            lambda skdim_id, rows, seed: skdim_id.TLE().fit(rows).dimension_,
            local=True,
        ),
    }
)
"""The estimators by name, with scikit-dimension's settings where the summary names no others."""


OURS = ("ABIDE", "Gride", "Isomap", "Start")
"""The estimators that are not of scikit-dimension; see `lwgan_dist.study.scales`."""


def classical_estimate(name: str, rows: NDArray[Any], seed: int) -> ClassicalEstimate:
    """The intrinsic dimension of a sample by a classical estimator, a function of the arguments alone.

    Whatever the rows are, the answer is an estimate; only a lack of memory and an interruption end it otherwise. A
    warning of the estimator is a failure too: it means that another estimate was made than asked for, with fewer
    neighbours or without some of the rows.

    Args:
        name: one of `ESTIMATORS`, or ``package:Class``, see `lwgan_dist.study.imported`.
        rows: the sample, shape (n, p), p >= 2.
        seed: of the estimators that draw random numbers, any integer.

    Raises:
        ConfigError: an unknown name, a class that cannot be imported, or an estimator of scikit-dimension, which is not
            installed.
    """
    estimator = _named(name)
    skdim_id = None if name in OURS or is_imported(name) else _library()
    stream = seeding.derive(seed, "classical", name) % 2**32
    value, started, ended = math.nan, 0.0, 0.0
    with _contained() as caught:
        try:
            prepared = _prepared(rows, distinct=estimator.distinct)
            if estimator.compiled:
                _compile(name)
            caught.clear()
            started = time.process_time()
            try:
                value = float(estimator.fit(skdim_id, prepared, stream))
            finally:
                ended = time.process_time()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - what went wrong is the result
            reasons = [_reason(type(error), error)]
        else:
            reasons = [_reason(item.category, item.message) for item in caught if _tells_of_the_data(item)]
            if not math.isfinite(value):
                reasons.append(f"ValueError: the estimate is {value}")
            elif value <= 0:
                reasons.append(f"ValueError: the estimate is {value}, not positive")
    if reasons:
        return ClassicalEstimate(value, None, ended - started, "; ".join(dict.fromkeys(reasons)))
    return ClassicalEstimate(value, max(1, math.floor(value + 0.5)), ended - started, None)


def made_by(name: str) -> str:
    """The package, with its version, that an estimator comes from."""
    if is_imported(name):
        return imported.made_by(name)
    package = "lwgan-dist" if name in OURS else "scikit-dimension"
    return f"{package} {version(package)}"


def is_imported(name: str) -> bool:
    """Whether a name is that of a class of another package."""
    return ":" in name


def require(names: Iterable[str]) -> None:
    """Raises ConfigError if scikit-dimension is not installed, or a class of another package cannot be imported."""
    for name in names:
        if is_imported(name):
            imported.load(name)
        elif name not in OURS:
            _library()


def _named(name: str) -> ClassicalEstimator:
    if is_imported(name):
        return ClassicalEstimator(name, lambda _, rows, seed: imported.fit(name, rows, seed))
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    by_lower_case = {name.lower(): name for name in ESTIMATORS}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    meant = f" (did you mean {by_lower_case[close[0]]}?)" if close else ""
    raise ConfigError(f"no classical estimator {name!r}{meant}; there are {', '.join(ESTIMATORS)}")


@functools.cache
def _library() -> ModuleType:
    """skdim.id, without the filter that it sets on the warnings of the whole process."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module("skdim.id")
    except ImportError as error:
        raise ConfigError(
            f"classical estimators need scikit-dimension ({error}): pip install 'lwgan-dist[classical]'"
        ) from None


def _prepared(rows: NDArray[Any], *, distinct: bool) -> Rows:
    """A copy of the rows with mean 0 and root mean square distance 1 from it.

    Raises:
        ValueError: rows that no estimator should see.
    """
    raw = np.array(rows, dtype=np.float64)
    if raw.ndim != 2 or not raw.size:
        raise ValueError(f"rows must have shape (n, p), got {raw.shape}")
    if raw.shape[1] < 2:
        raise ValueError("rows must have at least 2 columns")
    if not np.isfinite(raw).all():
        raise ValueError("the rows are not finite")
    if (raw == raw[0]).all():
        raise ValueError("all rows are equal")
    raw /= np.abs(raw).max()  # neither sums nor squares overflow
    centred: Rows = raw - raw.mean(axis=0)
    centred /= np.abs(centred).max()
    centred /= np.sqrt(np.square(centred).sum(axis=1).mean())
    if distinct and len(np.unique(centred, axis=0)) < len(centred):
        raise ValueError("some rows are equal")
    return centred


@contextlib.contextmanager
def _contained() -> Iterator[list[warnings.WarningMessage]]:
    """Collects warnings, drops what is printed, and keeps the estimators to one thread.

    Divisions by zero are silent: TLE and lPCA divide by zero on any sample, by design, and where it matters the
    estimate is not finite. DANCo asks joblib for 7 threads and more, by mistake; with several threads the processor
    time would be that of their waiting for each other.
    """
    from joblib import parallel_config  # type: ignore[import-untyped]

    with (
        warnings.catch_warnings(record=True) as caught,
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(io.StringIO()),
        parallel_config(backend="sequential"),
        one_thread(),
    ):
        warnings.simplefilter("always")
        yield caught


@functools.cache
def _compile(name: str) -> None:
    """Makes Numba compile an estimator's parts, so that the first estimate of a process costs what the others do."""
    ESTIMATORS[name].fit(_library(), seeding.generator(0, "classical/compile").normal(size=(30, 2)), 0)


def _tells_of_the_data(item: warnings.WarningMessage) -> bool:
    """Whether a warning is about the sample; others are about the versions of libraries."""
    return issubclass(item.category, UserWarning | RuntimeWarning)


def _reason(kind: type[BaseException], message: object) -> str:
    text = " ".join(str(message).split())
    return f"{kind.__name__}: {text if len(text) <= 200 else text[:197] + '...'}"
