"""Estimators of other packages, named ``package.module:Class``: anything with ``fit(X).dimension_``. To import one runs
its code, with the rights of the command, on every node.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist import seeding
from lwgan_dist.data.simulated.manifolds import MANIFOLDS
from lwgan_dist.errors import ConfigError

Rows = NDArray[Any]


@cache
def load(name: str) -> Callable[..., Any]:
    """The class of that name.

    Raises:
        ConfigError: it cannot be imported, or has no ``fit``.
    """
    module, _, attribute = name.partition(":")
    try:
        kind: Callable[..., Any] = getattr(import_module(module), attribute)
    except Exception as error:  # noqa: BLE001 - whatever its code raises
        raise ConfigError(f"{name}: cannot be imported ({type(error).__name__}: {error})") from None
    if not (inspect.isclass(kind) and callable(getattr(kind, "fit", None))):
        raise ConfigError(f"{name}: is no class with a method fit")
    return kind


@cache
def made_by(name: str) -> str:
    """The package that a class is of, with its version, as far as it is an installed one."""
    package = name.partition(":")[0].partition(".")[0]
    package = next(iter(packages_distributions().get(package, [])), package)
    with suppress(PackageNotFoundError):
        return f"{package} {version(package)}"
    return f"{package} unversioned"


def make(kind: Callable[..., Any], seed: int) -> Any:
    """An estimator with the seed as its ``random_state``, if it has one."""
    takes_seed = "random_state" in inspect.signature(kind).parameters
    return kind(random_state=seed) if takes_seed else kind()


def fit(name: str, rows: Rows, seed: int) -> Any:
    """Its estimate."""
    return make(load(name), seed).fit(rows).dimension_


def complaints(name: str) -> list[str]:
    """What a class does not meet of what a study asks of an estimator, a sentence each; none if it meets all.

    Raises:
        ConfigError: see `load`.
    """
    kind = load(name)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            make(kind, 0)
        except Exception as error:  # noqa: BLE001 - whatever its code raises
            return [f"it cannot be made without arguments ({_said(error)})"]
        first = list(_of_one_fit(kind))
        return first or [*_of_several_fits(kind), *_refusals(kind)]


def _rows(n: int, manifold: str = "s_curve") -> Rows:
    return MANIFOLDS[manifold].sample(seeding.generator(0, "study/check", n), n, 2)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _of_one_fit(kind: Callable[..., Any]) -> Iterator[str]:
    """What one fit shows: without it no other question has an answer."""
    estimator, rows = make(kind, 0), _rows(200)
    given = rows.copy()
    try:
        returned = estimator.fit(given)
    except Exception as error:  # noqa: BLE001 - whatever its code raises
        yield f"fit refuses 200 rows of a surface in 3 columns ({_said(error)})"
        return
    if returned is not estimator:
        yield f"fit returns {_kind(returned)}, not the estimator itself"
    if not hasattr(estimator, "dimension_"):
        yield "after fit it has no dimension_"
        return
    dimension = estimator.dimension_
    is_number = np.ndim(dimension) == 0 and np.issubdtype(np.asarray(dimension).dtype, np.number)
    if not (is_number and np.isfinite(dimension) and dimension > 0):
        yield f"dimension_ is {str(dimension)[:60]}, not one finite number above 0"
    if not np.array_equal(given, rows):
        yield "fit changes the rows that it is given"


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _of_several_fits(kind: Callable[..., Any]) -> Iterator[str]:
    rows, others = _rows(200), _rows(120)
    try:
        first, second = (make(kind, 3).fit(rows).dimension_ for _ in range(2))
        make(kind, 3).fit(others)
    except Exception as error:  # noqa: BLE001 - whatever its code raises
        yield f"fit refuses a second sample, of 200 or of 120 rows ({_said(error)})"
        return
    if first != second:
        seeded = (
            "with the same random_state" if "random_state" in inspect.signature(kind).parameters else "of one sample"
        )
        yield f"two fits {seeded} give {first:.6g} and {second:.6g}; without a random_state it has to be deterministic"
        return
    again, fresh = make(kind, 3), make(kind, 3).fit(others).dimension_
    again.fit(rows)
    if again.fit(others).dimension_ != fresh:
        yield f"a second fit gives {again.dimension_:.6g}, that of a new estimator {fresh:.6g}: it remembers the first"


def _refusals(kind: Callable[..., Any]) -> Iterator[str]:
    """Valid rows that it refuses, or has no number for."""
    surface = _rows(200)
    fixed = surface.copy()
    fixed.setflags(write=False)
    wide = np.hstack([surface, seeding.generator(0, "study/check/wide").normal(scale=0.01, size=(200, 27))])
    for what, rows in {
        "60 rows": _rows(60), "rows in 30 columns": wide, "rows that may not be written to": fixed,
        "rows in Fortran's order": np.asfortranarray(surface), "rows far from 0": surface + 100.0,
        "rows in units of a millionth": surface * 1e-6,
    }.items():  # fmt: skip
        try:
            dimension = make(kind, 0).fit(rows).dimension_
        except Exception as error:  # noqa: BLE001 - whatever its code raises
            yield f"fit refuses {what} ({_said(error)})"
            continue
        if not np.isfinite(dimension):
            yield f"of {what} dimension_ is {dimension}"
