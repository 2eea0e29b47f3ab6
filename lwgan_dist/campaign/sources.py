"""What studies and comparisons draw their samples from: data of known dimension and tables, and sizes. Pure data, as
`lwgan_dist.config`: neither torch nor Ray.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lwgan_dist.config import (
    ExecutionConfig,
    ManifoldConfig,
    PopulationConfig,
    TableConfig,
    WorkerRange,
    refuse_idle_address,
)
from lwgan_dist.configbase import Dimension, Frozen, SeveralInt, clash
from lwgan_dist.metrics.registry import METRICS

MOST_CELLS, MOST_RUNS = 20_000, 2_000_000
"""Of a campaign, at most; a million are planned in 8 MiB, see docs/scale."""

if TYPE_CHECKING:
    Metric = str
else:
    Metric = Literal[tuple(METRICS)]

Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069/\\]{1,60}$")]


class SampledManifold(ManifoldConfig):
    """A manifold that samples are drawn from."""

    label: Label | None = None
    """Its name in tables and figures; by default the manifold's, with the noise."""
    settings: dict[str, Any] = {}
    """Fields of the LWGAN runs on these data but those of ``data``, by dotted path: ``{networks.latent_dim: 7}``."""


class SampledPopulation(PopulationConfig):
    """Members of the population that samples are drawn from; several as the factor ``data.population``."""

    label: Label | None = None
    """Its name in tables and figures; by default the member's number, with the properties given here."""
    settings: dict[str, Any] = {}
    """Fields of the LWGAN runs on these data but those of ``data``, by dotted path."""


class SampledTable(TableConfig):
    """A table of the user's, of which samples are random choices of rows."""

    label: Label | None = None
    """Its name in tables and figures; by default the file's."""
    intrinsic_dim: Dimension | None = None
    """The truth, where it is known; without it nothing is correct or wrong, and only the distribution is shown."""
    settings: dict[str, Any] = {}
    """Fields of the LWGAN runs on these data but those of ``data``, by dotted path."""


SampledData = Annotated[SampledManifold | SampledPopulation | SampledTable, Field(discriminator="source")]


class OnSamples(Frozen):
    """Data and sizes, all crossed."""

    data: Annotated[list[SampledData], Field(min_length=1)]
    """What the samples are drawn from."""
    sizes: Annotated[list[SeveralInt], Field(min_length=1)] | None = None
    """Rows n of the samples, in any order; by default all rows of a table."""

    @property
    def needs_sizes(self) -> bool:
        """Whether samples of what is no table need sizes that are given."""
        return True

    @model_validator(mode="before")
    @classmethod
    def _source_of_data(cls, values: Any) -> Any:
        """Data with a path are a table, with a number a member of the population, others a manifold."""
        data = values.get("data") if isinstance(values, dict) else None
        if not isinstance(data, list):
            return values
        sources = {"path": "table", "population": "population"}
        named = [
            {"source": next((sources[key] for key in sources if key in item), "manifold"), **item}
            if isinstance(item, dict)
            else item
            for item in data
        ]
        return {**values, "data": named}

    @model_validator(mode="after")
    def _sizes_are_given(self) -> Self:
        if self.sizes is None and self.needs_sizes and any(not isinstance(item, SampledTable) for item in self.data):
            raise clash("sizes", "is missing; samples of a manifold and of a member of the population need it")
        if self.sizes and len(set(self.sizes)) < len(self.sizes):
            raise clash("sizes", "a size is given twice")
        return self


def check_execution(execution: ExecutionConfig, what: str) -> None:
    """Many runs have a number of workers each, not a range, and need no cluster without Ray.

    Args:
        execution: of "a study" or "a comparison", as in ``what``.
        what: the same.
    """
    if isinstance(execution.workers, WorkerRange):
        raise clash("execution.workers", f"{what} takes a number, the same for all runs")
    refuse_idle_address(execution)


def refuse_many(cells: int, runs: int, key_of_cells: str, key_of_runs: str) -> None:
    """Refuse, as an error about a key, more cells or runs than can be planned."""
    for key, count, most, what in (
        (key_of_cells, cells, MOST_CELLS, "cells"), (key_of_runs, runs, MOST_RUNS, "runs"),
    ):  # fmt: skip
        if count > most:
            number = f"{count:,}" if count < 10**15 else f"more than 10^{len(str(count)) - 1}"
            raise clash(key, f"these are {number} {what}, and at most {most:,} can be planned")
