"""From a configuration to what can be trained: its data loaded and checked, its defaults resolved, its name."""

import json
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist import logs
from lwgan_dist.config import AS_BEFORE, RunConfig, TableData
from lwgan_dist.data.parts import parts_of
from lwgan_dist.data.sample import load_sample
from lwgan_dist.errors import ConfigError
from lwgan_dist.metrics.registry import METRICS, refuse_inapplicable
from lwgan_dist.models.registry import kind_of
from lwgan_dist.networks.bfloat16 import bfloat16_pays
from lwgan_dist.run.memory import refuse_run
from lwgan_dist.training.trainer import LOG_POINTS

_log = logging.getLogger("lwgan_dist")


class Prepared:
    """A configuration with its data: resolved, checked, identified.

    Args:
        config: as given.
        array: the rows of an in-memory run (``data.source: array``).

    Attributes:
        array: the same.
        config: resolved.
        sample: the data.
        parts: the part of each training row of data that fall apart; None for data in one piece.
        fingerprint: identity of configuration and data.
        stages: of the training.

    Raises:
        DataError: data that cannot be estimated from, or too few rows for a batch.
        ConfigError: a configuration that does not fit the data.
    """

    def __init__(self, config: RunConfig, array: NDArray[Any] | None = None) -> None:
        self.array = array
        self._source = f"{config.data.path}: " if isinstance(config.data, TableData) else ""
        with logs.deferred() as is_of_run:
            self.sample = load_sample(config.data, array)
            if isinstance(config.data, TableData):  # for workers of Ray, which have another working folder
                path = str(Path(config.data.path).absolute())
                config = config.model_copy(update={"data": config.data.model_copy(update={"path": path})})
            train_rows = None if self.sample.stream else len(self.sample.train)
            self.config = config.resolved(
                train_rows=train_rows, ambient_dim=self.sample.ambient_dim, shape=self.sample.shape,
                bfloat16_pays=bfloat16_pays(),
            )  # fmt: skip
            self.fingerprint = self.config.fingerprint(self.sample.digest)
            is_of_run(self.fingerprint)
            self.parts = self._find_parts() if kind_of(self.config).finds_parts else None
        self._precision_is_free = config.precision == "auto"
        kind = kind_of(self.config)
        kind.check(self.config, config, self.sample, self._source)
        refuse_run(self.config, self.sample.shape, train_rows)
        self.stages = kind.stages(self.config)

    def _find_parts(self) -> NDArray[np.int64] | None:
        """The part of each training row of data that fall apart, logged before training; None for data in one piece."""
        if self.sample.stream is not None:
            return None
        parts = parts_of(self.sample.train)
        count = int(parts.max()) + 1
        if count < 2:
            return None
        shares = ", ".join(f"{float((parts == part).mean()):.0%}" for part in range(min(count, 8)))
        _log.warning(
            "%sthe data fall into %d parts that no chain of neighbours joins (%s%s of the rows): the dimension is "
            "estimated for each", self._source, count, shares, ", ..." if count > 8 else "",
        )  # fmt: skip
        return parts

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics that apply to the model and to rows of this shape."""
        has_encoder, shape = self.config.model.has_encoder, self.sample.shape
        return [name for name, metric in METRICS.items() if metric.obstacle(has_encoder, shape) is None]

    def refuse_metrics(self, names: Collection[str]) -> None:
        """Refuse metrics that the run cannot have.

        Raises:
            ConfigError: one is unknown, does not apply, or there are no rows to compute it from.
        """
        refuse_inapplicable(names, self.config.model.has_encoder, self.sample.shape)
        if names and self.sample.stream is None and len(self.sample.holdout) < 2:
            raise ConfigError(
                f"metric {next(iter(names))}: needs two hold-out rows, and data.holdout_fraction leaves "
                f"{len(self.sample.holdout)}"
            )

    def identity(self) -> dict[str, Any]:
        """The identity of the run in ``env.json``."""
        return {
            "fingerprint": self.fingerprint,
            "data_sha256": self.sample.digest,
            "precision": self.config.precision,
        }

    def as_before(self) -> Iterator[tuple[list[str], RunConfig]]:
        """The configuration as it was before the last setting of `AS_BEFORE` existed, before the last two, and so on,
        each with what would ask for it: ``section.name=value``.
        """
        config, given = self.config, list[str]()
        for (section, name), value in reversed(AS_BEFORE.items()):
            part = getattr(config, section)
            if name in type(part).model_fields:
                config = config.model_copy(update={section: part.model_copy(update={name: value})})
                given = [f"{section}.{name}={json.dumps(value)}", *given]
                yield given, config

    def adopt_precision(self, before: dict[str, Any]) -> None:
        """Under ``precision: auto``, be the run of another precision that was begun, maybe on another processor.

        Args:
            before: the `identity` of the run that was begun.
        """
        if not self._precision_is_free:
            return
        began = self.config.model_copy(update={"precision": before.get("precision", self.config.precision)})
        if began.fingerprint(self.sample.digest) == before["fingerprint"]:
            self.config, self.fingerprint = began, before["fingerprint"]

    def halts(self, count: int) -> list[int]:
        """``count`` iterations at equal distances, the last of which is the end of the run; less if it is short."""
        iterations = sum(stage.iterations for stage in self.stages)
        every = max(1, iterations // LOG_POINTS)
        halts = [round(i * iterations / count / every) * every for i in range(1, count)]
        return sorted({halt for halt in halts if 0 < halt < iterations} | {iterations})
