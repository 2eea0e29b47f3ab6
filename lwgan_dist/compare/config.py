"""The configuration of a comparison. Pure data, as `lwgan_dist.config`: neither torch nor Ray."""

import re
from functools import partial
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lwgan_dist.campaign.named_model import NamedModel
from lwgan_dist.campaign.sources import Label, Metric, OnSamples, check_execution, refuse_many
from lwgan_dist.config import ExecutionConfig, Settings
from lwgan_dist.configbase import WHOLE, PositiveInt, WholeNumber, clash
from lwgan_dist.models.configs import LwganModel

_TRUTH = re.compile(r"truth([+-]\d+)?")
_ANY_TRUTH = 64  # to check a model before there are data

Rank = PositiveInt | Annotated[str, Field(pattern=f"^{_TRUTH.pattern}$")]


class NoSuchSizeError(Exception):
    """A latent size below 1: ``truth-1`` on a curve."""


def of_truth(value: Any, truth: int | None) -> Any:
    """The number that ``truth``, ``truth+1`` or ``truth-1`` is on data of a true dimension; any other value as it is.

    Raises:
        ValueError: the truth is unknown.
        NoSuchSizeError: below 1.
    """
    match = _TRUTH.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    if truth is None:
        raise ValueError(f"{value!r} needs data of known dimension")
    number = truth + int(match[1] or 0)
    if number < 1:
        raise NoSuchSizeError
    return number


class ComparedModel(NamedModel):
    """A model of the comparison: its name, and beside it any field that it has under ``model`` in a run.

    A number may be given relative to the true dimension of the data: ``latent_dim: truth``, ``truth+1``, ``truth-1``.
    On data where that is below 1 the model is left out.
    """

    rank: Rank | None = None
    """Of a model that estimates a dimension: the rank at which it is used in place of the estimate. Entries that differ
    in it alone share their runs."""
    settings: dict[str, Any] = {}
    """Further fields of its runs but those of ``data``, by dotted path: ``{networks.latent_dim: 7}``."""


class CompareConfig(OnSamples):
    """The content of a file for ``lwgan-dist compare``: data x sizes x models x replicates."""

    models: Annotated[list[ComparedModel], Field(min_length=1)]
    """What is compared, on the same samples with the same parts held out."""
    reference: Label | None = None
    """Label of the model from which the paired differences are taken; by default that of the first."""
    replicates: PositiveInt = 5
    """Samples on which each model is trained, with as many seeds of training."""
    metrics: Annotated[list[Metric], Field(min_length=1)] = ["energy_distance", "sliced_wasserstein", "reconstruction"]
    """Metrics of every run on its hold-out rows, see `lwgan_dist.metrics.registry`; of a model that can be used at
    several ranks they are computed at each of them. Runs that were finished without a metric are not repeated for it.
    """
    fresh_rows: Annotated[int, Field(ge=2, le=50_000), WHOLE] | None = 4_096
    """Of data of known dimension, so many rows that are drawn anew, and as many generated ones, between which the
    distance is taken, the energy distance between at most 4,096; null for none. With another number the runs are
    computed anew."""
    run: Settings = Settings()
    """What the runs have in common: ``precision``, and how an lwgan is trained and judged."""
    seed: WholeNumber = 0
    """Seeds of samples and runs are derived from it, n and the replicate."""
    execution: ExecutionConfig = ExecutionConfig()
    """Where and how, as in a study."""

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        for place, model in enumerate(self.models):
            _check(model, f"models.{place}")
        if not isinstance(self.run.model, LwganModel):
            raise clash("run.model", "the models of a comparison are listed under models")
        if len(set(self.metrics)) < len(self.metrics):
            raise clash("metrics", "a metric is given twice")
        check_execution(self.execution, "a comparison")
        cells = len(self.data) * len(self.sizes or [0]) * len(self.models)
        refuse_many(cells, cells * self.replicates, "models", "replicates")
        return self


def _check(model: ComparedModel, key: str) -> None:
    """Refuse what the named model does not have."""
    if (model.label or "").startswith("_"):
        raise clash(f"{key}.label", "must not begin with _: the legends of figures would leave it out")
    if model.rank is not None and not model.kind.estimates_dimension:
        what = f"is of models that estimate a dimension and can be used at any rank; a {model.name} has a latent_dim"
        raise clash(f"{key}.rank", what)
    try:
        model.check(key, partial(of_truth, truth=_ANY_TRUTH))
    except NoSuchSizeError:
        raise clash(key, f"a size is below 1 even on data of dimension {_ANY_TRUTH}") from None
