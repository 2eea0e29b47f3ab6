"""Several folders of one study become one: its parts, or what two people have computed of it.

A run that is in several of them counts once; two results of one run are a conflict, and nothing is written. The tables
follow from the merged ledger, by the command of the study. Who computed each run comes along (`campaign.provenance`).
"""

import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lwgan_dist.campaign.folder import LEDGER, read_environment
from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.campaign.provenance import PROVENANCE
from lwgan_dist.campaign.record import to_row
from lwgan_dist.campaign.sources import SampledTable
from lwgan_dist.configfile import read_config
from lwgan_dist.data.files.tables import read_configured, rows_digest
from lwgan_dist.errors import ConfigError, UserError
from lwgan_dist.run.folder import CONFIG_FILE, ENVIRONMENT_FILE, Environment
from lwgan_dist.storage import Folder, exclusive
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.record import RunRecord
from lwgan_dist.study.work import MODELS, RUNS

_DECIDING = ("lwgan-dist", "torch", "numpy", "scikit-learn")
"""Packages in whose versions the studies have to agree, beside those that made the runs."""
_NOT_THE_RESULT = ("cpu_seconds", "wall_seconds", "version", "provenance")
_MOST_NAMED = 5
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


def merge(sources: Sequence[Folder], out: Folder) -> list[int]:
    """Write the study that has the runs of all; returns how many come from each, in their order.

    Args:
        sources: folders of studies of one configuration, but for ``execution``, on this machine.
        out: empty or new.

    Raises:
        InUseError: a command works in one of them.
        ConfigError: a folder without a study, studies that differ in configuration, precision or versions, two results
            of one run, or a folder that is not empty.
    """
    first = sources[0]
    with ExitStack() as locks:
        for source in {_of_study(source): source for source in sources}.values():
            locks.enter_context(_left_alone(source))
        for other in sources[1:]:
            _refuse_other(first, other)
        return _merge(sources, out)


def _merge(sources: Sequence[Folder], out: Folder) -> list[int]:
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
            out.write(name, sources[0].read(name))
        for place, ledger in enumerate(ledgers):
            Ledger(out.sub(LEDGER), RunRecord).enter(
                ledger.records(key for key, source in taken.items() if source == place)
            )
            _copy(ledger.folder.sub(PROVENANCE), out.sub(LEDGER).sub(PROVENANCE))
            for name in (MODELS, RUNS):
                _copy(sources[place].sub(name), out.sub(name))
    return counts


def _of_study(folder: Folder) -> Path:
    """The place of a study on this machine."""
    if folder.local is None or not folder.has(CONFIG_FILE) or not folder.has(ENVIRONMENT_FILE):
        raise ConfigError(f"{folder.location}: is no folder of a study on this machine")
    return folder.local.resolve()


@contextmanager
def _left_alone(folder: Folder) -> Iterator[None]:
    """No command works in the folder meanwhile, as far as this user may lock it: others' may be for reading only."""
    with ExitStack() as lock:
        try:
            lock.enter_context(exclusive(folder))
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
        yield


def _refuse_other(first: Folder, other: Folder) -> None:
    """Refuse a study that differs from the first."""
    ours, theirs = (_content(folder) for folder in (first, other))
    different = [
        f"{key} ({ours.get(key)} and {theirs.get(key)})"
        for key in ours | theirs
        if ours.get(key) != theirs.get(key) and not _is_same_table(key, first, other)
    ]
    if different:
        raise ConfigError(
            f"{other.location}: is another study than {first.location}; they differ in {', '.join(different)}"
        )


def _is_same_table(key: str, *folders: Folder) -> bool:
    """Whether what differs is where a table lies, and its rows are the same: runs are named by these."""
    data = re.fullmatch(r"data\.(\d+)\.path", key)
    if not data:
        return False
    tables = [_config(folder).data[int(data[1])] for folder in folders]
    try:
        digests = {rows_digest(read_configured(table).rows) for table in tables if isinstance(table, SampledTable)}
    except (UserError, OSError):  # one of them cannot be read here
        return False
    return len(digests) == 1


def _config(folder: Folder) -> StudyConfig:
    return read_config(StudyConfig, str(folder.local and folder.local / CONFIG_FILE))


def _content(folder: Folder) -> dict[str, Any]:
    """What two folders of one study have in common, by dotted path."""
    versions = folder.read_json(ENVIRONMENT_FILE, Environment).versions
    return {
        **_flat("", _config(folder).model_dump(exclude={"execution"}, mode="json")),
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
