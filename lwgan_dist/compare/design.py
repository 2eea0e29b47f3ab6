"""From the configuration of a comparison to its runs.

Seeds are derived from (seed, n, replicate) and no more: on one replicate all models have the same sample, the same
hold-out rows, and the same seed of training and of measuring (common random numbers), so their differences are paired.
The name of a run, its ``key``, is the hash of everything that its numbers depend on: a comparison that has grown knows
what it has.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from lwgan_dist.campaign.drawn import (
    RunNames,
    build,
    checked_settings,
    data_section,
    identity_of,
    label_of,
    seed_of,
    short,
    sizes_of,
    truth_of,
    with_seeds,
)
from lwgan_dist.campaign.sources import SampledData, SampledTable
from lwgan_dist.compare.config import CompareConfig, ComparedModel, NoSuchSizeError, of_truth
from lwgan_dist.config import Known, RunConfig
from lwgan_dist.errors import ConfigError
from lwgan_dist.models.configs import LwganModel


@dataclass(frozen=True)
class Cell:
    """A data set, an n and a model.

    Attributes:
        data, n, model: labels.
        name: of the model.
        rank: at which it is used; None for that of the fitted model.
        intrinsic_dim: truth, None if unknown.
        config: of its runs, with seeds of 0.
        table_digest: identity of the whole table, where the data are one.
    """

    data: str
    n: int
    model: str
    name: str
    rank: int | None
    intrinsic_dim: int | None
    config: RunConfig
    table_digest: str | None


@dataclass(frozen=True)
class PlannedRun:
    """A replicate of a cell; cells that differ in the rank alone share its ``key``, 16 hexadecimal digits."""

    cell: Cell
    replicate: int
    data_seed: int
    seed: int
    key: str

    @property
    def config(self) -> RunConfig:
        """The cell's, with the seeds."""
        return with_seeds(self.cell.config, self.data_seed, self.seed)


class Design:
    """All cells of a comparison, checked, in the order of data, n and models.

    Args:
        config: the comparison.
        precision: what ``precision: auto`` means in it.

    Raises:
        ConfigError: models that cannot be, labels that are not unique.
        DataError: a table that cannot be read or has too few rows.
    """

    def __init__(self, config: CompareConfig, precision: str) -> None:
        self.config = config
        self.labels = [
            model.label_with({short(path): value for path, value in model.settings.items()}, model.rank)
            for model in config.models
        ]
        self.cells = [cell for item in config.data for cell in self._cells_of(item, precision)]
        if not self.cells:
            raise ConfigError("models: no model is left on any data: the latent size would be below 1")
        counts = Counter((cell.data, cell.n, cell.model) for cell in self.cells)
        for (data, _, model), count in counts.items():
            if count > 1:
                raise ConfigError(f"{data!r} with {model!r} is listed twice; give labels: {{label: ...}}")
        if self.reference not in self.labels:
            raise ConfigError(f"reference: {self.reference!r} is no model; there are {', '.join(self.labels)}")

    @property
    def reference(self) -> str:
        """Label of the model from which differences are taken."""
        return self.config.reference or self.labels[0]

    def runs(self) -> list[PlannedRun]:
        """The runs of all cells, in their order."""
        return [self.run(cell, replicate) for cell in self.cells for replicate in range(self.config.replicates)]

    def run(self, cell: Cell, replicate: int) -> PlannedRun:
        """A replicate of a cell."""
        data_seed, seed = (
            seed_of(self.config.seed, purpose, cell.n, replicate) for purpose in ("compare/sample", "compare/run")
        )
        identity = cell.config.identity()
        if cell.table_digest:
            identity["data"]["path"] = cell.table_digest
        if isinstance(cell.config.data, Known):
            identity["fresh_rows"] = self.config.fresh_rows
        return PlannedRun(cell, replicate, data_seed, seed, RunNames(identity).of(data_seed, seed))

    def _cells_of(self, item: SampledData, precision: str) -> Iterator[Cell]:
        item, table_rows, digest, shape = (
            identity_of(item) if isinstance(item, SampledTable) else (item, None, None, None)
        )
        label, data = label_of(item), {"data": data_section(item)}
        make = partial(build, label, shape=shape)
        for n in sizes_of(item, self.config.sizes, table_rows):
            truth = truth_of(item, label, data, {"data.n": n})
            self._check_settings(item, partial(make, {**data, **self.config.run.model_dump()}), n, truth)
            for name, model in zip(self.labels, self.config.models, strict=True):
                try:
                    run, settings = self._settings(item, model, truth)
                    rank = of_truth(model.rank, truth)
                except NoSuchSizeError:
                    continue
                except ValueError as error:
                    raise ConfigError(f"models: {name}, on {label!r}: {error}") from None
                config = make(data | run, {**settings, "data.n": n})
                if config.precision == "auto":
                    config = config.model_copy(update={"precision": precision})
                yield Cell(label, n, name, model.name, rank, truth, config, digest)

    def _check_settings(
        self, item: SampledData, lwgan: Callable[[dict[str, Any]], RunConfig], n: int, truth: int | None
    ) -> None:
        """Refuse settings of data that no model could have: all are those of an LWGAN."""
        settings = checked_settings(item)
        if not settings or any(model.kind is LwganModel for model in self.config.models):  # whose runs will be checked
            return
        try:
            settings = {path: of_truth(value, truth) for path, value in settings.items()}
        except NoSuchSizeError:  # the models that have them are left out
            return
        except ValueError as error:
            raise ConfigError(f"data {label_of(item)!r}: settings: {error}") from None
        lwgan({**settings, "data.n": n})

    def _settings(
        self, item: SampledData, model: ComparedModel, truth: int | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The sections of a run without its data, and further settings by path: of those of the data, the ones that the
        model has.
        """
        number = partial(of_truth, truth=truth)
        run = self.config.run.model_copy(update={"model": model.model(number)}).model_dump()
        of_data = {path: value for path, value in item.settings.items() if path.split(".")[0] in run}
        settings = {path: number(value) for path, value in {**of_data, **model.settings}.items()}
        for path in settings:
            if path.split(".")[0] in ("data", "seed", "model"):
                raise ConfigError(f"settings.{path}: is not a setting; data, seeds and models have keys of their own")
        return run, settings
