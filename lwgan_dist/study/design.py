"""From the configuration of a study to its runs: which cells it has, which run each replicate is, with which seeds.

A *group* is what gets replicates: one data set, one n, one LWGAN variant or one classical estimator. An LWGAN group
is several cells if several rank rules judge its fits.

Seeds are derived from (study seed, n, replicate), and no more: the sample of a replicate is the same for all methods
and for all values of the factors (common random numbers), and independent of the samples of other n. The name of a run,
its ``key``, is the hash of everything that its numbers depend on; so a study that has grown knows what it has, and
labels, order, rank rules and resources may change without a run being repeated.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lwgan_dist.campaign.judging import RULE_FIELDS
from lwgan_dist.campaign.ledger import hash_of
from lwgan_dist.config import SCHEMA_VERSION, Known, RunConfig, ScoreConfig
from lwgan_dist.configfile import build_config
from lwgan_dist.data.population import row_shape, sampler_of
from lwgan_dist.data.tables import read_configured, rows_digest
from lwgan_dist.errors import ConfigError, DataError
from lwgan_dist.seeding import derive
from lwgan_dist.study.config import StudyConfig, StudyData, StudyPopulation, StudyTable

Kind = Literal["lwgan", "classical"]
LWGAN = "LWGAN"

_NOT_FACTORS = {"data.source", "data.name", "data.path", "data.n", "data.rows", "data.seed", "seed"}
_SECTIONS = ("data", "networks", "objective", "schedule", "score", "precision")


@dataclass(frozen=True)
class Group:
    """A data set, an n, and an LWGAN variant or a classical estimator.

    Attributes:
        data, n, method: labels; the method is that of the first rule.
        factors: value of each factor by path.
        intrinsic_dim: truth, None if unknown.
        config: of its LWGAN runs (or only the data of a classical estimator), with seeds of 0.
        rules: rank rule by method; none for a classical estimator.
        estimator: the classical one.
        table_digest: identity of the whole table, where the data are one.
        whole: the sample is the whole table, so there is only one.
    """

    kind: Kind
    data: str
    n: int
    method: str
    factors: dict[str, Any]
    intrinsic_dim: int | None
    config: RunConfig
    rules: dict[str, ScoreConfig]
    estimator: str | None
    table_digest: str | None
    whole: bool

    @property
    def methods(self) -> list[str]:
        """Its cells."""
        return list(self.rules) or [self.method]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run: a replicate of a group, with an initialisation.

    Attributes:
        data_seed, seed: of the sample and of the run.
        key: 16 hexadecimal digits, the name of the run in the ledger.
    """

    group: Group
    replicate: int
    initialisation: int
    data_seed: int
    seed: int
    key: str

    @property
    def config(self) -> RunConfig:
        """The group's, with the seeds."""
        config = self.group.config
        data = config.data.model_copy(update={"seed": self.data_seed})
        return config.model_copy(update={"data": data, "seed": self.seed})


class Design:
    """All groups of a study, checked.

    Args:
        config: the study.
        precision: what ``precision: auto`` means in this study.

    Raises:
        ConfigError: factors or settings that are not those of a run, labels that are not unique.
        DataError: a table that cannot be read or has too few rows.
    """

    def __init__(self, config: StudyConfig, precision: str) -> None:
        self.config = config
        self.factors = _check_factors(config)
        self.groups = [group for item in config.data for group in self._groups_of(item, precision)]
        self._identities = {id(group): _identity(group) for group in self.groups}
        names = Counter((group.data, group.n, method) for group in self.groups for method in group.methods)
        for (data, _, method), count in names.items():
            if count > 1:
                raise ConfigError(f"data: {data!r} is listed twice (for {method}); give labels: {{label: ...}}")

    def runs(self, group: Group, replicates: range) -> list[PlannedRun]:
        """The runs of some replicates of a group, in the order of their seeds."""
        initialisations = 1
        if group.kind == "lwgan":
            initialisations = self.config.lwgan.initialisations * (self.config.lwgan.replicates if group.whole else 1)
        return [self._run(group, i, j) for i in replicates for j in range(initialisations)]

    def replicates(self, group: Group) -> int:
        """How many replicates a group begins with. A whole table is one sample: what would be replicates of an LWGAN
        are initialisations on it.
        """
        count = self.config.lwgan.replicates if group.kind == "lwgan" else self.config.classical.replicates
        return min(count, 1) if group.whole else count

    def cells(self, *, known: bool = False) -> int:
        """Number of cells, or of those of known truth."""
        return sum(len(group.methods) for group in self.groups if not known or group.intrinsic_dim is not None)

    def _run(self, group: Group, replicate: int, initialisation: int) -> PlannedRun:
        seed, n = self.config.seed, group.n
        purpose = "study/run" if group.kind == "lwgan" else "study/classical"
        data_seed = _seed(seed, "study/sample", n, replicate)
        run_seed = _seed(seed, purpose, n, replicate, initialisation)
        key = run_key(self._identities[id(group)], data_seed, run_seed)
        return PlannedRun(group, replicate, initialisation, data_seed, run_seed, key)

    def _groups_of(self, item: StudyData, precision: str) -> Iterator[Group]:
        table_rows, digest, shape = _table(item) if isinstance(item, StudyTable) else (None, None, None)
        run = {
            "data": item.model_dump(exclude={"label", "settings", "intrinsic_dim"}, exclude_unset=True)
            | {"source": item.source},
            **self.config.run.model_dump(),
        }
        if isinstance(item, StudyTable):
            run["data"]["path"] = str(Path(item.path).absolute())  # for workers, which have another working folder
        if run["precision"] == "auto":
            run["precision"] = precision
        of_data = {path: values for path, values in self.factors.items() if path.startswith("data.")}
        of_runs = {path: values for path, values in self.factors.items() if path not in of_data}
        for data_values in _combinations(of_data):
            for n in sorted(self.config.sizes or [table_rows or 0]):
                if table_rows is not None and n > table_rows:
                    raise DataError(
                        f"{run['data']['path']}: sizes: {n} rows were asked for, the table has {table_rows}"
                    )
                changes = {**_check_settings(item.settings), **data_values, "data.n": n}
                whole = n == table_rows
                common = {"table_digest": digest, "whole": whole}
                yield from self._variants(item, run, changes, data_values, of_runs, shape, **common)

    def _variants(
        self, item: StudyData, run: dict[str, Any], changes: dict[str, Any],
        data_values: dict[str, Any], of_runs: dict[str, list[Any]], shape: tuple[int, ...] | None, **common: Any,
    ) -> Iterator[Group]:  # fmt: skip
        study, n = self.config, changes["data.n"]
        label = _label(item, data_values)
        truth = _truth(item, label, run, changes)

        def group(kind: Kind, method: str, factors: dict[str, Any], config: RunConfig, **more: Any) -> Group:
            if config.precision == "auto":
                config = config.model_copy(update={"precision": run["precision"]})
            return Group(kind, label, n, method, factors, truth, config, **common, **more)

        if study.lwgan.replicates:
            for run_values in _combinations(of_runs):
                config = _build(label, run, {**changes, **run_values}, shape)
                if truth and config.networks.latent_dim and truth > config.networks.latent_dim:
                    raise ConfigError(
                        f"data {label!r}: networks.latent_dim = {config.networks.latent_dim} is below the true "
                        f"dimension {truth}, so no estimate could be right"
                    )
                given = ", ".join(f"{_short(path)}={_text(value)}" for path, value in run_values.items())
                suffix = f" [{given}]" if given else ""
                rules = {LWGAN + suffix: config.score}
                for name, rule in study.lwgan.rules.items():
                    rules[f"{LWGAN} ({name}){suffix}"] = config.score.model_copy(
                        update=rule.model_dump(exclude_unset=True)
                    )
                _check_rules(config, rules)
                factors = {**data_values, **run_values}
                yield group("lwgan", LWGAN + suffix, factors, config, rules=rules, estimator=None)
        if study.classical.replicates:
            config = _build(label, run, changes, shape)
            for name in study.classical.estimators:
                yield group("classical", name, data_values, config, rules={}, estimator=name)


def run_key(identity: dict[str, Any], data_seed: int, seed: int) -> str:
    """The name of a run in the ledger: 16 hexadecimal digits of the SHA-256 of what its numbers depend on.

    Args:
        identity: what all runs of a group have in common.
        data_seed, seed: of the sample and of the run.
    """
    return hash_of([SCHEMA_VERSION, {**identity, "data": {**identity["data"], "seed": data_seed}, "seed": seed}])


def _identity(group: Group) -> dict[str, Any]:
    """Settings on which a group's numbers depend beside the seeds: no rank rules, and of a table its rows, not where
    they lie. A classical estimator sees the data alone.
    """
    identity = group.config.identity()
    if group.table_digest:
        identity["data"]["path"] = group.table_digest
    if group.estimator:
        return {"data": identity["data"], "estimator": group.estimator}
    for name in RULE_FIELDS:
        del identity["score"][name]
    return identity


def _seed(seed: int, *names: str | int) -> int:
    return derive(seed, *names) % 2**31


def _check_factors(config: StudyConfig) -> dict[str, list[Any]]:
    for path, values in config.factors.items():
        dotted = "." in path or path == "precision"
        if path in _NOT_FACTORS or path.split(".")[0] not in _SECTIONS or not dotted:
            raise ConfigError(
                f"factors.{path}: is not a field that can vary; factors are fields of {', '.join(_SECTIONS)} "
                "(sizes, seeds and data have keys of their own)"
            )
        if len({json.dumps(value) for value in values}) < len(values):
            raise ConfigError(f"factors.{path}: a value is given twice")
    return config.factors


def _check_settings(settings: dict[str, Any]) -> dict[str, Any]:
    for path in settings:
        section = path.split(".")[0]
        if section not in _SECTIONS or section == "data":
            raise ConfigError(
                f"settings.{path}: is not a field of an LWGAN; settings are fields of {', '.join(_SECTIONS[1:])}"
            )
    return settings


def _check_rules(config: RunConfig, rules: dict[str, ScoreConfig]) -> None:
    for label, rule in rules.items():
        if rule.score_on == "holdout" and config.data.holdout_fraction == 0:
            raise ConfigError(f"lwgan.rules: {label}: score_on 'holdout' needs holdout_fraction > 0")


def _combinations(factors: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*factors.values()):
        yield dict(zip(factors, values, strict=True))


def _build(label: str, run: dict[str, Any], changes: dict[str, Any], shape: tuple[int, ...] | None = None) -> RunConfig:
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
        if shape is not None:
            config = config.on_rows(shape)
    except ConfigError as error:
        lines = (f"data {label!r}, with its factors and settings: {line}" for line in str(error).splitlines())
        raise ConfigError("\n".join(lines)) from None
    return config


def _table(item: StudyTable) -> tuple[int, str, tuple[int, ...]]:
    """Number of rows of a table, its identity, and the shape of a row."""
    table = read_configured(item)
    if item.intrinsic_dim and item.intrinsic_dim > len(table.columns):
        raise ConfigError(
            f"data: {item.path}: intrinsic_dim = {item.intrinsic_dim} is more than its {len(table.columns)} columns"
        )
    return len(table.rows), rows_digest(table.rows), table.rows.shape[1:]


def _truth(item: StudyData, label: str, run: dict[str, Any], changes: dict[str, Any]) -> int | None:
    if isinstance(item, StudyTable):
        return item.intrinsic_dim
    config = _build(label, run, changes)
    assert isinstance(config.data, Known)
    return sampler_of(config.data).intrinsic_dim


def _label(item: StudyData, values: dict[str, Any]) -> str:
    """``s_curve, noise 0.05``."""
    if isinstance(item, StudyTable):
        parts = [item.label or Path(item.path).name.split(".")[0]]
    elif item.label:
        parts = [item.label]
    else:
        keys = ["dim", "ambient_dim"]
        if isinstance(item, StudyPopulation):
            keys += ["topology", "bending", "density"]
            first = "member" if "data.population" in values else f"member {item.population}"
        else:
            first = item.name
        parts = [first] + [f"{key} {getattr(item, key)}" for key in keys if getattr(item, key)]
        if item.noise and "data.noise" not in values:
            parts.append(f"noise {item.noise:g}")
    return ", ".join(parts + [f"{_short(path)} {_text(value)}" for path, value in values.items()])


def _short(path: str) -> str:
    """The last part of a path, with its section where that says more."""
    section, _, field = path.rpartition(".")
    return f"{section}.{field}" if field in {"name", "batch_size", "penalty"} else field


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
