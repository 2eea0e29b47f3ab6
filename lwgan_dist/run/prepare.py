"""From a configuration to what can be trained: its data loaded and checked, its defaults resolved, its name."""

import json
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwgan_dist import logs
from lwgan_dist.config import AS_BEFORE, RunConfig, TableData
from lwgan_dist.data.findings.finding import Finding, log_findings, warning
from lwgan_dist.data.parts import parts_of
from lwgan_dist.data.sample import Sample, load_sample
from lwgan_dist.errors import ConfigError
from lwgan_dist.metrics.registry import METRICS, refuse_inapplicable
from lwgan_dist.models.registry import kind_of
from lwgan_dist.networks.bfloat16 import bfloat16_pays
from lwgan_dist.run.memory import refuse_run
from lwgan_dist.training.trainer import LOG_POINTS


class Prepared:
    """A configuration with its data: resolved, checked, identified.

    Args:
        config: as given.
        array: the rows of an in-memory run (``data.source: array``).
        columns: names of its columns.
        sample: of the configuration, if it has been loaded.

    Attributes:
        array: the same.
        config: resolved.
        sample: the data.
        findings: what a reader of the estimate should know of the data, warnings first.
        parts: the part of each training row of data that fall apart; None for data in one piece.
        fingerprint: identity of configuration and data.
        stages: of the training.

    Raises:
        DataError: data that cannot be estimated from, or too few rows for a batch.
        ConfigError: a configuration that does not fit the data.
    """

    def __init__(
        self,
        config: RunConfig,
        array: NDArray[Any] | None = None,
        *,
        columns: tuple[str, ...] | None = None,
        sample: Sample | None = None,
    ) -> None:
        self.array = array
        self._source = f"{config.data.path}: " if isinstance(config.data, TableData) else ""
        with logs.deferred() as is_of_run:
            self.sample = sample or load_sample(config.data, array, columns)
            self._rows_chose = config.data.standardize != self.sample.config.standardize
            data = self.sample.config
            if isinstance(data, TableData):  # for workers of Ray, which have another working folder
                data = data.model_copy(update={"path": str(Path(data.path).absolute())})
            config = config.model_copy(update={"data": data})
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
        """The part of each training row of data that fall apart; None for data in one piece."""
        if self.sample.stream is not None:
            return None
        parts = parts_of(self.sample.train)
        return parts if parts.max() > 0 else None

    @cached_property
    def findings(self) -> list[Finding]:
        """What a reader of the estimate should know of the data, warnings first."""
        return [*self._parts_found(), *self.sample.findings]

    def _parts_found(self) -> Iterator[Finding]:
        """That the data fall apart, as a finding."""
        if self.parts is None:
            return
        count = int(self.parts.max()) + 1
        shares = ", ".join(f"{float((self.parts == part).mean()):.0%}" for part in range(min(count, 8)))
        yield warning(
            "parts",
            f"the data fall into {count} parts that no chain of neighbours joins ({shares}"
            f"{', ...' if count > 8 else ''} of the rows)",
            "the dimension is estimated for each",
        )

    def report_findings(self) -> None:
        """Record the findings, as a run that nobody watches does."""
        with logs.of_run(self.fingerprint):
            log_findings(self.findings, "X" if self.array is not None else self._source.removesuffix(": "))

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
        if self._rows_chose and config.data.standardize != "global":
            before = config.data.model_copy(update={"standardize": "global"})
            yield ["data.standardize=global"], config.model_copy(update={"data": before})
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
