"""From an entry of ``data`` in a study or comparison to the data of its runs: labels, truth, identity."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lwgan_dist.campaign.ledger import canonical
from lwgan_dist.campaign.sources import SampledData, SampledPopulation, SampledTable
from lwgan_dist.config import LWGAN_SECTIONS, SCHEMA_VERSION, Known, RunConfig
from lwgan_dist.configfile import build_config
from lwgan_dist.data.files.tables import read_configured, rows_digest
from lwgan_dist.data.findings.finding import log_findings
from lwgan_dist.data.settle import look_at, settle
from lwgan_dist.data.simulated.population import row_shape, sampler_of
from lwgan_dist.errors import ConfigError, DataError
from lwgan_dist.seeding import derive

OF_LWGAN = (*LWGAN_SECTIONS, "precision")
"""Sections and fields of a run of the LWGAN beside its data and seed."""

NOT_OF_LWGAN = f"is not a field of an LWGAN; settings are fields of {', '.join(OF_LWGAN)}"
"""What is wrong with other settings."""


def checked_settings(item: SampledData) -> dict[str, Any]:
    """The settings of an entry, by path.

    Raises:
        ConfigError: one is of no section of an LWGAN.
    """
    for path in item.settings:
        if path.split(".")[0] not in OF_LWGAN:
            raise ConfigError(f"settings.{path}: {NOT_OF_LWGAN}")
    return item.settings


def with_seeds(config: RunConfig, data_seed: int, seed: int) -> RunConfig:
    """The same run on another sample, with another seed of its own."""
    data = config.data.model_copy(update={"seed": data_seed})
    return config.model_copy(update={"data": data, "seed": seed})


def data_section(item: SampledData) -> dict[str, Any]:
    """The ``data`` section of its runs, without n and seed."""
    section = item.model_dump(exclude={"label", "settings", "intrinsic_dim"}, exclude_unset=True)
    if isinstance(item, SampledTable):
        section["path"] = str(Path(item.path).absolute())  # for workers, which have another working folder
    return section | {"source": item.source}


def sizes_of(item: SampledData, sizes: Sequence[int] | None, table_rows: int | None) -> list[int]:
    """The sizes in ascending order; all rows of a table where none are given.

    Raises:
        DataError: more rows than a table has.
    """
    for n in sizes or []:
        if isinstance(item, SampledTable) and table_rows is not None and n > table_rows:
            path = Path(item.path).absolute()
            raise DataError(f"{path}: sizes: {n} rows were asked for, the table has {table_rows}")
    return sorted(sizes or [table_rows or 0])


def build(label: str, run: dict[str, Any], changes: dict[str, Any], shape: tuple[int, ...] | None = None) -> RunConfig:
    """A run with settings and factors, and with the networks that are meant for its rows.

    Args:
        label: of the data.
        run: with the data.
        changes: the settings and factors, by path.
        shape: of a row of a table.

    Raises:
        ConfigError: what cannot be, with the data that it cannot be for.
    """
    try:
        config = build_config(RunConfig, run, changes)
        if isinstance(config.data, Known):
            shape = row_shape(config.data)
        elif config.data.standardize == "auto":
            raise ConfigError("data.standardize: auto is chosen once for a table, and no value of a factor")
        if shape is not None:
            config = config.on_rows(shape)
    except ConfigError as error:
        lines = (f"data {label!r}, with its factors and settings: {line}" for line in str(error).splitlines())
        raise ConfigError("\n".join(lines)) from None
    return config


def identity_of(item: SampledTable) -> tuple[SampledTable, int, str, tuple[int, ...]]:
    """A table with what its rows decide written out, once for all samples; their number, identity and shape."""
    table, changes, findings = settle(item, read_configured(item))
    item = item.model_copy(update=changes)
    log_findings([*findings, *look_at(table, item.standardize)], item.path)
    if item.intrinsic_dim and item.intrinsic_dim > len(table.columns):
        raise ConfigError(
            f"data: {item.path}: intrinsic_dim = {item.intrinsic_dim} is more than its {len(table.columns)} columns"
        )
    return item, len(table.rows), rows_digest(table.rows), table.rows.shape[1:]


def truth_of(item: SampledData, label: str, run: dict[str, Any], changes: dict[str, Any]) -> int | None:
    """The true dimension of data, None if unknown."""
    if isinstance(item, SampledTable):
        return item.intrinsic_dim
    config = build(label, run, changes)
    assert isinstance(config.data, Known)
    return sampler_of(config.data).intrinsic_dim


def label_of(item: SampledData, values: Mapping[str, Any] = MappingProxyType({})) -> str:
    """``s_curve, noise 0.05``, with the values of factors that concern the data."""
    if isinstance(item, SampledTable):
        parts = [item.label or Path(item.path).name.split(".")[0]]
    elif item.label:
        parts = [item.label]
    else:
        keys = ["dim", "ambient_dim"]
        if isinstance(item, SampledPopulation):
            keys += ["topology", "bending", "density"]
            first = "member" if "data.population" in values else f"member {item.population}"
        else:
            first = item.name
        parts = [first] + [f"{key} {getattr(item, key)}" for key in keys if getattr(item, key)]
        if item.noise and "data.noise" not in values:
            parts.append(f"noise {item.noise:g}")
    return ", ".join(parts + [f"{short(path)} {text(value)}" for path, value in values.items()])


def short(path: str) -> str:
    """The last part of a path, with its section where that says more."""
    section, _, field = path.rpartition(".")
    return f"{section}.{field}" if field in {"name", "batch_size", "penalty"} else field


def text(value: Any) -> str:
    """A value in a label."""
    return f"{value:g}" if isinstance(value, float) else str(value)


class RunNames:
    """The names in the ledger of runs that differ in their seeds alone: 16 hexadecimal digits of the SHA-256 of what
    their numbers depend on.

    Args:
        identity: what all runs of a group or model have in common.

    Attributes:
        text: the same, as a text; equal ones give equal names.
    """

    _DATA_SEED, _SEED = "\x00data seed", "\x00seed"

    def __init__(self, identity: dict[str, Any]) -> None:
        content = {**identity, "data": {**identity["data"], "seed": self._DATA_SEED}, "seed": self._SEED}
        self.text = canonical([SCHEMA_VERSION, content])
        head, data_mark, rest = self.text.partition(canonical(self._DATA_SEED))
        self._middle, mark, self._tail = rest.partition(canonical(self._SEED))
        assert data_mark
        assert mark
        self._head = hashlib.sha256(head.encode())

    def of(self, data_seed: int, seed: int) -> str:
        """The name of the run with these seeds of its sample and of its own."""
        content = self._head.copy()
        content.update(f"{data_seed}{self._middle}{seed}{self._tail}".encode())
        return content.hexdigest()[:16]


def seed_of(seed: int, *names: str | int) -> int:
    """The seed of a sample or run, from 0 to 2^31 - 1, derived from that of the study or comparison."""
    return derive(seed, *names) % 2**31
