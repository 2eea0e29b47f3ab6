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
from dataclasses import dataclass, replace
from typing import Any, Literal

from lwgan_dist.campaign.drawn import (
    NOT_OF_LWGAN,
    OF_LWGAN,
    RunNames,
    build,
    checked_settings,
    data_section,
    identity_of,
    label_of,
    seed_of,
    short,
    sizes_of,
    text,
    truth_of,
    with_seeds,
)
from lwgan_dist.campaign.judging import RULE_FIELDS
from lwgan_dist.campaign.sources import SampledData, SampledTable
from lwgan_dist.config import RunConfig, ScoreConfig
from lwgan_dist.configfile import errors_of
from lwgan_dist.errors import ConfigError
from lwgan_dist.study.config import StudyConfig

Kind = Literal["lwgan", "model", "classical"]
LWGAN = "LWGAN"

_NOT_FACTORS = {"data.source", "data.name", "data.path", "data.n", "data.rows", "data.seed", "seed"}
_SECTIONS = ("data", *OF_LWGAN)


@dataclass(frozen=True)
class Group:
    """A data set, an n, and an LWGAN variant, another model or a classical estimator.

    Attributes:
        data, n, method: labels; the method is that of the first rule.
        factors: value of each factor by path.
        intrinsic_dim: truth, None if unknown.
        config: of its runs (or only the data of a classical estimator), with seeds of 0.
        replicates: that it begins with, but for a whole table.
        rules: rank rule by method; none but for an LWGAN.
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
    replicates: int
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
        return with_seeds(self.group.config, self.data_seed, self.seed)


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
        check_fields(config)
        self.config = config
        self.factors = config.factors
        self.groups, errors = list[Group](), list[str]()
        for place, item in enumerate(config.data):
            try:
                self.groups += self._groups_of(item, precision)
            except ConfigError as error:
                errors += [f"data.{place}: {line.removeprefix('data ')}" for line in str(error).splitlines()]
        if errors:
            raise ConfigError("\n".join(errors))
        self._names = {id(group): RunNames(_identity(group)) for group in self.groups}
        self._further: dict[tuple[int, int], Group] = {}
        names = Counter((group.data, group.n, method) for group in self.groups for method in group.methods)
        for (data, _, method), count in names.items():
            if count > 1:
                raise ConfigError(f"data: {data!r} is listed twice (for {method}); give labels: {{label: ...}}")

    def runs(self, group: Group, replicates: range) -> list[PlannedRun]:
        """The runs of some replicates of a group, in the order of their seeds."""
        return [self.run(group, i, j) for i in replicates for j in range(self.initialisations(group))]

    def initialisations(self, group: Group) -> int:
        """Runs on each sample."""
        if group.kind != "lwgan":
            return 1
        return self.config.lwgan.initialisations * (self.config.lwgan.replicates if group.whole else 1)

    def identity(self, group: Group) -> str:
        """Equal for groups whose runs are the same, replicate by replicate."""
        return self._names[id(group)].text

    def at(self, group: Group, n: int) -> Group:
        """The same data and method at another n, between those that were checked."""
        place = id(group), n
        if place not in self._further:
            config = group.config
            config = config.model_copy(update={"data": config.data.model_copy(update={"n": n})})
            self._further[place] = replace(group, n=n, config=config)
            self._names[id(self._further[place])] = RunNames(_identity(self._further[place]))
        return self._further[place]

    def replicates(self, group: Group) -> int:
        """How many replicates a group begins with. A whole table is one sample: what would be replicates of an LWGAN
        are initialisations on it.
        """
        return min(group.replicates, 1) if group.whole else group.replicates

    def cells(self, *, known: bool = False) -> int:
        """Number of cells, or of those of known truth."""
        return sum(len(group.methods) for group in self.groups if not known or group.intrinsic_dim is not None)

    def run_seed(self, kind: Kind, n: int, replicate: int, initialisation: int = 0) -> int:
        """The seed of a run of a method of some kind, the same for all data."""
        purpose = "study/classical" if kind == "classical" else "study/run"
        return seed_of(self.config.seed, purpose, n, replicate, initialisation)

    def run(self, group: Group, replicate: int, initialisation: int) -> PlannedRun:
        """One run of a group."""
        seed, n = self.config.seed, group.n
        data_seed = seed_of(seed, "study/sample", n, replicate)
        run_seed = self.run_seed(group.kind, n, replicate, initialisation)
        key = self._names[id(group)].of(data_seed, run_seed)
        return PlannedRun(group, replicate, initialisation, data_seed, run_seed, key)

    def _groups_of(self, item: SampledData, precision: str) -> Iterator[Group]:
        item, table_rows, digest, shape = (
            identity_of(item) if isinstance(item, SampledTable) else (item, None, None, None)
        )
        run = {"data": data_section(item), **self.config.run.model_dump()}
        if run["precision"] == "auto":
            run["precision"] = precision
        of_data = {path: values for path, values in self.factors.items() if path.startswith("data.")}
        of_runs = {path: values for path, values in self.factors.items() if path not in of_data}
        for data_values in _combinations(of_data):
            for n in sizes_of(item, self.config.first_sizes, table_rows):
                changes = {**checked_settings(item), **data_values, "data.n": n}
                whole = n == table_rows
                if whole and self.config.solve:
                    raise ConfigError(f"the table has {n} rows, a single sample of {n}: solve.n has to end below that")
                common = {"table_digest": digest, "whole": whole}
                yield from self._variants(item, run, changes, data_values, of_runs, shape, **common)

    def _variants(
        self, item: SampledData, run: dict[str, Any], changes: dict[str, Any],
        data_values: dict[str, Any], of_runs: dict[str, list[Any]], shape: tuple[int, ...] | None, **common: Any,
    ) -> Iterator[Group]:  # fmt: skip
        study, n = self.config, changes["data.n"]
        label = label_of(item, data_values)
        truth = truth_of(item, label, run, changes)

        def group(
            kind: Kind, method: str, factors: dict[str, Any], config: RunConfig, replicates: int, **more: Any
        ) -> Group:
            if config.precision == "auto":
                config = config.model_copy(update={"precision": run["precision"]})
            more = {"rules": {}, "estimator": None, **common, **more}
            return Group(kind, label, n, method, factors, truth, config, replicates, **more)

        if study.lwgan.replicates:
            for run_values in _combinations(of_runs):
                config = build(label, run, {**changes, **run_values}, shape)
                if truth and config.networks.latent_dim and truth > config.networks.latent_dim:
                    raise ConfigError(
                        f"data {label!r}: networks.latent_dim = {config.networks.latent_dim} is below the true "
                        f"dimension {truth}, so no estimate could be right"
                    )
                given = ", ".join(f"{short(path)}={text(value)}" for path, value in run_values.items())
                suffix = f" [{given}]" if given else ""
                rules = {LWGAN + suffix: config.score}
                for name, rule in study.lwgan.rules.items():
                    rules[f"{LWGAN} ({name}){suffix}"] = config.score.model_copy(
                        update=rule.model_dump(exclude_unset=True)
                    )
                factors = {**data_values, **run_values}
                yield group("lwgan", LWGAN + suffix, factors, config, study.lwgan.replicates, rules=rules)
        of_data = {path: value for path, value in changes.items() if path.startswith("data.")}
        for model in study.models:
            settings = study.run.model_copy(update={"model": model.model()})
            config = build(label, {"data": run["data"], **settings.model_dump()}, of_data, shape)
            yield group("model", model.label_with({}), data_values, config, model.replicates)
        if study.classical.replicates:
            config = build(label, run, changes, shape)
            for name in study.classical.estimators:
                yield group("classical", name, data_values, config, study.classical.replicates, estimator=name)


def _identity(group: Group) -> dict[str, Any]:
    """Settings on which a group's numbers depend beside the seeds: no rank rules, and of a table its rows, not where
    they lie. A classical estimator sees the data alone.
    """
    identity = group.config.identity()
    if group.table_digest:
        identity["data"]["path"] = group.table_digest
    if group.estimator:
        return {"data": identity["data"], "estimator": group.estimator}
    for name in RULE_FIELDS if group.kind == "lwgan" else ():
        identity["score"].pop(name, None)
    return identity


def check_fields(config: StudyConfig) -> None:
    """Refuse factors, settings and rules that no run can have; no data are read for it.

    Raises:
        ConfigError: all errors at once, a line each, that begins with the key.
    """
    errors = list(_errors_of_factors(config))
    wrong = {line.partition(": ")[0].removeprefix("factors.") for line in errors}
    factors = {path: values for path, values in config.factors.items() if path not in wrong}
    for place, item in enumerate(config.data):
        settings = {path: value for path, value in item.settings.items() if path.split(".")[0] in OF_LWGAN}
        errors += [f"data.{place}.settings.{path}: {NOT_OF_LWGAN}" for path in item.settings if path not in settings]
        errors += _errors_of_values(config, place, settings, factors)
        for name, rule in config.lwgan.rules.items():
            fractions = config.factors.get("data.holdout_fraction", [item.holdout_fraction])
            if rule.score_on == "holdout" and 0 in fractions:
                errors.append(
                    f"lwgan.rules.{name}.score_on: 'holdout' needs holdout_fraction > 0, and data.{place} has 0"
                )
    if errors:
        raise ConfigError("\n".join(dict.fromkeys(errors)))


def _errors_of_factors(config: StudyConfig) -> Iterator[str]:
    for path, values in config.factors.items():
        dotted = "." in path or path == "precision"
        if path in _NOT_FACTORS or path.split(".")[0] not in _SECTIONS or not dotted:
            yield (
                f"factors.{path}: is not a field that can vary; factors are fields of {', '.join(_SECTIONS)} "
                "(sizes, seeds and data have keys of their own)"
            )
        if len({json.dumps(value) for value in values}) < len(values):
            yield f"factors.{path}: a value is given twice"


def _errors_of_values(
    config: StudyConfig, place: int, settings: dict[str, Any], factors: dict[str, list[Any]]
) -> Iterator[str]:
    """The errors of every value of every factor, and of the settings of an entry of ``data``; each is tried with the
    first values of the other factors.
    """
    run = {"data": data_section(config.data[place]), **config.run.model_dump()}
    first = {**settings, **{path: values[0] for path, values in factors.items()}}
    tried = [{}, *({path: value} for path, values in factors.items() for value in values)]
    for changes in tried:
        for line in errors_of(RunConfig, run, {**first, **changes}):
            key, _, message = line.partition(": ")
            given = next((path for path in first if f"{key}.".startswith(f"{path}.")), "")
            if given in factors:
                yield f"factors.{key}: {message}"
            elif given:
                yield f"data.{place}.settings.{key}: {message}"
            else:
                yield f"data.{place}: with its settings and factors: {line}"


def _combinations(factors: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*factors.values()):
        yield dict(zip(factors, values, strict=True))
