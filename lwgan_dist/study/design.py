"""From the configuration of a study to its runs: which cells there are, which run each replicate is, with which seeds.

A *group* is what gets replicates: one data set, one n, one LWGAN variant or one classical estimator. An LWGAN group
is several cells if several rank rules judge its fits.

Seeds are derived from (study seed, n, replicate), and no more: the sample of a replicate is the same for all methods
and for all values of the factors (common random numbers), and independent of the samples of other n. The name of a run,
its ``key``, is the hash of everything that its numbers depend on; so a study that has grown knows what it has, and
labels, order, rank rules and resources may change without a run being repeated.
"""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from lwgan_dist.config import SCHEMA_VERSION, RunConfig, ScoreConfig
from lwgan_dist.configfile import build_config
from lwgan_dist.data.manifolds import ManifoldSampler
from lwgan_dist.data.tables import read_table
from lwgan_dist.errors import ConfigError, DataError
from lwgan_dist.seeding import derive
from lwgan_dist.study.config import RuleConfig, StudyConfig, StudyManifold, StudyTable

Kind = Literal["lwgan", "classical"]
LWGAN = "LWGAN"
RULE_FIELDS = tuple(RuleConfig.model_fields)
"""Fields of ``score`` that judge a fit and do not change it."""

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

    @property
    def methods(self) -> list[str]:
        """Its cells."""
        return list(self.rules) or [self.method]


@dataclass(frozen=True)
class PlannedRun:
    """One run: a replicate of a group, with an initialisation.

    Attributes:
        key: 16 hexadecimal digits, the name of the run in the ledger.
        config: with the seeds.
    """

    group: Group
    replicate: int
    initialisation: int
    config: RunConfig
    key: str


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
        names = Counter((group.data, group.n, method) for group in self.groups for method in group.methods)
        for (data, _, method), count in names.items():
            if count > 1:
                raise ConfigError(f"data: {data!r} is there twice (for {method}); give labels: {{label: ...}}")

    def runs(self, group: Group, replicates: range) -> list[PlannedRun]:
        """The runs of some replicates of a group, in the order of their seeds."""
        initialisations = self.config.lwgan.initialisations if group.kind == "lwgan" else 1
        return [self._run(group, i, j) for i in replicates for j in range(initialisations)]

    def replicates(self, group: Group) -> int:
        """How many replicates a group begins with."""
        return self.config.lwgan.replicates if group.kind == "lwgan" else self.config.classical.replicates

    def cells(self, *, known: bool = False) -> int:
        """Number of cells, or of those of known truth."""
        return sum(len(group.methods) for group in self.groups if not known or group.intrinsic_dim is not None)

    def _run(self, group: Group, replicate: int, initialisation: int) -> PlannedRun:
        seed, n = self.config.seed, group.n
        data = group.config.data.model_copy(update={"seed": _seed(seed, "study/sample", n, replicate)})
        purpose = "study/run" if group.kind == "lwgan" else "study/classical"
        run_seed = _seed(seed, purpose, n, replicate, initialisation)
        config = group.config.model_copy(update={"data": data, "seed": run_seed})
        return PlannedRun(
            group, replicate, initialisation, config, run_key(config, group.table_digest, group.estimator)
        )

    def _groups_of(self, item: StudyManifold | StudyTable, precision: str) -> Iterator[Group]:
        table_rows, digest = _table(item) if isinstance(item, StudyTable) else (None, None)
        told = {
            "data": item.model_dump(exclude={"label", "settings", "intrinsic_dim"}, exclude_unset=True)
            | {"source": item.source},
            **self.config.run.model_dump(),
        }
        if isinstance(item, StudyTable):
            told["data"]["path"] = str(Path(item.path).absolute())  # for workers, which have another working folder
        if told["precision"] == "auto":
            told["precision"] = precision
        of_data = {path: values for path, values in self.factors.items() if path.startswith("data.")}
        of_runs = {path: values for path, values in self.factors.items() if path not in of_data}
        for data_values in _combinations(of_data):
            for n in sorted(self.config.sizes or [table_rows or 0]):
                if table_rows is not None and n > table_rows:
                    raise DataError(f"{told['data']['path']}: sizes: {n} rows of {table_rows} were asked for")
                changes = {**item.settings, **data_values, "data.n": n}
                yield from self._variants(item, told, changes, data_values, of_runs, digest)

    def _variants(
        self, item: StudyManifold | StudyTable, told: dict[str, Any], changes: dict[str, Any],
        data_values: dict[str, Any], of_runs: dict[str, list[Any]], digest: str | None,
    ) -> Iterator[Group]:  # fmt: skip
        study, n = self.config, changes["data.n"]
        label, truth = _label(item, data_values), _truth(item, told, changes)

        def group(kind: Kind, method: str, factors: dict[str, Any], config: RunConfig, **more: Any) -> Group:
            return Group(kind, label, n, method, factors, truth, config, table_digest=digest, **more)

        if study.lwgan.replicates:
            for run_values in _combinations(of_runs):
                config = _build(told, {**changes, **run_values})
                given = ", ".join(f"{_short(path)}={_text(value)}" for path, value in run_values.items())
                suffix = f" [{given}]" if given else ""
                rules = {LWGAN + suffix: config.score}
                for name, rule in study.lwgan.rules.items():
                    rules[f"{LWGAN} ({name}){suffix}"] = config.score.model_copy(update=rule.model_dump())
                _check_rules(config, rules)
                factors = {**data_values, **run_values}
                yield group("lwgan", LWGAN + suffix, factors, config, rules=rules, estimator=None)
        if study.classical.replicates:
            config = _build(told, changes)
            for name in study.classical.estimators:
                yield group("classical", name, data_values, config, rules={}, estimator=name)


def run_key(config: RunConfig, table_digest: str | None, estimator: str | None) -> str:
    """The name of a run in the ledger: 16 hexadecimal digits of the SHA-256 of what its numbers depend on.

    Args:
        config: with seeds; of a classical estimator only data and seed count. Rank rules do not.
        table_digest: stands for the path of a table.
        estimator: None for an LWGAN.
    """
    told = config.model_dump(mode="json")
    if table_digest:
        told["data"]["path"] = table_digest
    for name in RULE_FIELDS:
        del told["score"][name]
    if estimator:
        told = {"data": told["data"], "seed": told["seed"], "estimator": estimator}
    return hash_of([SCHEMA_VERSION, told])


def hash_of(told: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of plain data."""
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _seed(seed: int, *names: str | int) -> int:
    return derive(seed, *names) % 2**31


def _check_factors(config: StudyConfig) -> dict[str, list[Any]]:
    for path, values in config.factors.items():
        if path in _NOT_FACTORS or path.split(".")[0] not in _SECTIONS:
            raise ConfigError(
                f"factors.{path}: is not a field that can vary; factors are fields of {', '.join(_SECTIONS)} "
                "(sizes, seeds and data have keys of their own)"
            )
        if len({json.dumps(value) for value in values}) < len(values):
            raise ConfigError(f"factors.{path}: a value is given twice")
    return config.factors


def _check_rules(config: RunConfig, rules: dict[str, ScoreConfig]) -> None:
    for label, rule in rules.items():
        if rule.score_on == "holdout" and config.data.holdout_fraction == 0:
            raise ConfigError(f"lwgan.rules: {label}: score_on 'holdout' needs holdout_fraction > 0")


def _combinations(factors: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*factors.values()):
        yield dict(zip(factors, values, strict=True))


def _build(told: dict[str, Any], changes: dict[str, Any]) -> RunConfig:
    config = build_config(RunConfig, told, changes)
    if config.data.source == "manifold":
        ManifoldSampler(config.data)  # a manifold that cannot be
    return config


def _table(item: StudyTable) -> tuple[int, str]:
    """Number of rows of a table, and its identity."""
    table = read_table(item.path, columns=item.columns, array=item.array)
    return len(table.rows), rows_digest(table.rows)


def rows_digest(rows: NDArray[Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of an array."""
    return hashlib.sha256(f"{rows.shape}{rows.dtype}".encode() + rows.tobytes()).hexdigest()[:16]


def _truth(item: StudyManifold | StudyTable, told: dict[str, Any], changes: dict[str, Any]) -> int | None:
    if isinstance(item, StudyTable):
        return item.intrinsic_dim
    config = _build(told, changes)
    assert config.data.source == "manifold"
    return ManifoldSampler(config.data).intrinsic_dim


def _label(item: StudyManifold | StudyTable, values: dict[str, Any]) -> str:
    """``s_curve, noise 0.05``."""
    if isinstance(item, StudyTable):
        parts = [item.label or Path(item.path).name.split(".")[0]]
    elif item.label:
        parts = [item.label]
    else:
        parts = [item.name] + [f"{key} {getattr(item, key)}" for key in ("dim", "ambient_dim") if getattr(item, key)]
        if item.noise and "data.noise" not in values:
            parts.append(f"noise {item.noise:g}")
    return ", ".join(parts + [f"{_short(path)} {_text(value)}" for path, value in values.items()])


def _short(path: str) -> str:
    """The last part of a path, with its section where that says more."""
    section, _, field = path.rpartition(".")
    return f"{section}.{field}" if field in {"name", "batch_size", "penalty"} else field


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
