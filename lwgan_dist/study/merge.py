"""Several folders of one study become one: its parts, or what two people have computed of it.

A run that is in several of them counts once; two results of one run are a conflict, and nothing is written. The tables
follow from the merged ledger, by the command of the study. Who computed each run comes along (`campaign.provenance`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from lwgan_dist.campaign.folder import LEDGER, read_environment
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.provenance import PROVENANCE
from lwgan_dist.campaign.record import to_row
from lwgan_dist.configfile import read_config
from lwgan_dist.errors import ConfigError
from lwgan_dist.run.folder import CONFIG_FILE, ENVIRONMENT_FILE, Environment
from lwgan_dist.storage import Folder, exclusive
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.work import MODELS, RUNS

_DECIDING = ("lwgan-dist", "torch", "numpy", "scikit-learn")
"""Packages in whose versions the studies have to agree, beside those that made the runs."""
_NOT_THE_RESULT = ("cpu_seconds", "wall_seconds", "version", "provenance")
_MOST_NAMED = 5


def merge(sources: Sequence[Folder], out: Folder) -> list[int]:
    """Write the study that has the runs of all; returns how many come from each, in their order.

    Args:
        sources: folders of studies of one configuration, but for ``execution``, on this machine.
        out: empty or new.

    Raises:
        ConfigError: a folder without a study, studies that differ in configuration, precision or versions, two results
            of one run, or a folder that is not empty.
    """
    first = sources[0]
    for other in sources:
        _refuse_other(first, other)
    if any(not name.startswith(".") for name in out.names()):
        raise ConfigError(f"{out.location}: is not empty; choose another --out")
    ledgers = [Ledger(source.sub(LEDGER), RunRecord) for source in sources]
    taken, versions, counts = dict[str, int](), dict[str, str](), list[int]()
    for place, ledger in enumerate(ledgers):
        keys = ledger.keys()
        _refuse_conflicts(sources, ledgers, place, {key: taken[key] for key in keys & taken.keys()})
        _refuse_versions(sources[place], ledger.records(keys, without=("train", "holdout", "metrics")), versions)
        counts.append(len(keys - taken.keys()))
        taken = dict.fromkeys(keys, place) | taken
    with exclusive(out):
        for name in (ENVIRONMENT_FILE, CONFIG_FILE):
            out.write(name, first.read(name))
        for place, ledger in enumerate(ledgers):
            Ledger(out.sub(LEDGER), RunRecord).enter(
                ledger.records(key for key, source in taken.items() if source == place)
            )
            _copy(ledger.folder.sub(PROVENANCE), out.sub(LEDGER).sub(PROVENANCE))
            for name in (MODELS, RUNS):
                _copy(sources[place].sub(name), out.sub(name))
    return counts


def _refuse_other(first: Folder, other: Folder) -> None:
    """Refuse what is no study on this machine, and one that differs from the first."""
    if other.local is None or not other.has(CONFIG_FILE) or not other.has(ENVIRONMENT_FILE):
        raise ConfigError(f"{other.location}: is no folder of a study on this machine")
    ours, theirs = (_content(folder) for folder in (first, other))
    different = [
        f"{key} ({ours.get(key)} and {theirs.get(key)})" for key in ours | theirs if ours.get(key) != theirs.get(key)
    ]
    if different:
        raise ConfigError(
            f"{other.location}: is another study than {first.location}; they differ in {', '.join(different)}"
        )


def _content(folder: Folder) -> dict[str, Any]:
    """What two folders of one study have in common, by dotted path."""
    config = read_config(StudyConfig, str(folder.local and folder.local / CONFIG_FILE))
    versions = folder.read_json(ENVIRONMENT_FILE, Environment).versions
    return {
        **_flat("", config.model_dump(exclude={"execution"}, mode="json")),
        "precision of this machine": read_environment(folder, "study")["precision"],
        **{f"version of {name}": versions.get(name) for name in _DECIDING},
    }


def _flat(path: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for name, inner in items for key, leaf in _flat(f"{path}.{name}".lstrip("."), inner).items()}
    return {path: value}


def _refuse_conflicts(
    sources: Sequence[Folder], ledgers: Sequence[Ledger[RunRecord]], place: int, common: dict[str, int]
) -> None:
    """Refuse other results than those that earlier folders have of the same runs."""
    results = {record.key: _result(record) for record in ledgers[place].records(common)}
    conflicts = [
        f"run {record.key} in {sources[earlier].location} and {sources[place].location}"
        for earlier in sorted(set(common.values()))
        for record in ledgers[earlier].records(key for key, source in common.items() if source == earlier)
        if results.get(record.key) != _result(record)
    ]
    if conflicts:
        more = f" and {len(conflicts) - _MOST_NAMED} more" if len(conflicts) > _MOST_NAMED else ""
        raise ConfigError(f"two results of one run: {'; '.join(sorted(conflicts)[:_MOST_NAMED])}{more}")


def _result(record: RunRecord) -> dict[str, Any]:
    return {name: value for name, value in to_row(record).items() if name not in _NOT_THE_RESULT}


def _refuse_versions(source: Folder, records: Iterable[RunRecord], versions: dict[str, str]) -> None:
    """Refuse runs of another version of a package than earlier folders have, whose versions are entered."""
    for record in records:
        package, _, number = record.version.rpartition(" ")
        if versions.setdefault(package, number) != number:
            raise ConfigError(
                f"{source.location}: run {record.key} was made by {record.version}, others by {package} "
                f"{versions[package]}"
            )


def _copy(source: Folder, target: Folder) -> None:
    """Copy a folder with all that is in it; what is there already is the same."""
    for name in source.names():
        if not source.has(name):
            _copy(source.sub(name), target.sub(name))
        elif not target.has(name):
            target.write(name, source.read(name))
