"""Who computed a run: versions, commit and machine, once in a ledger for all runs of equal origin.

A record holds the identity of its provenance, 16 hexadecimal digits of the SHA-256 of the content, which is the file
``provenance/<identity>.json`` beside it. So folders that are merged keep who computed what, and equal origins are one.
"""

import logging
import os
import platform
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import TypeAdapter

from lwgan_dist.campaign.ledger import hash_of
from lwgan_dist.campaign.record import Record
from lwgan_dist.errors import ConfigError
from lwgan_dist.run.folder import git_commit, versions
from lwgan_dist.storage import TEMPORARY, Folder, inside

log = logging.getLogger("lwgan_dist")

R = TypeVar("R", bound=Record)

PROVENANCE = "provenance"
"""The folder in a ledger."""

_ENTERED = set[tuple[str, str]]()
"""Ledgers with the identities that this process has entered there."""

_SUFFIX = ".json"
_PROCESSORS = Path("/proc/cpuinfo")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of runs.

    Attributes:
        host: name of the machine.
        platform: operating system.
        processor: model of the processor.
        processors: their number.
        accelerator: model of the first GPU that the process saw; None without one.
        commit: of the checkout that the package was run from, with "+" for local changes; None outside a checkout.
        versions: of Python and of the packages that a number may depend on.
    """

    host: str
    platform: str
    processor: str
    processors: int | None
    accelerator: str | None = None
    commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """16 hexadecimal digits, in records and as the name of its file."""
        return hash_of(asdict(self))


@cache
def own() -> Provenance:
    """The provenance of what this process computes."""
    return Provenance(
        host=platform.node(),
        platform=platform.platform(),
        processor=_processor(),
        processors=os.cpu_count(),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        commit=git_commit(),
        versions=versions(),
    )


def signed(record: R, ledger: Folder) -> R:
    """The record with the identity of this process, whose provenance is in the ledger from now on.

    Args:
        record: that this process has computed, before it is entered.
        ledger: folder of the ledger.
    """
    content = own()
    if (ledger.location, content.identity) not in _ENTERED:  # the storage is asked once
        folder, name = ledger.sub(PROVENANCE), f"{content.identity}{_SUFFIX}"
        if not folder.has(name):
            folder.write(name, TypeAdapter(Provenance).dump_json(content, indent=1))
        _ENTERED.add((ledger.location, content.identity))
    return replace(record, provenance=content.identity)


def provenances(ledger: Folder) -> dict[str, Provenance]:
    """The provenances in a ledger by identity; a damaged file is named and passed over."""
    folder, found = ledger.sub(PROVENANCE), dict[str, Provenance]()
    for name in folder.names():
        if name.startswith(TEMPORARY) or not name.endswith(_SUFFIX):
            continue
        try:
            content = folder.read_json(name, Provenance)
        except ConfigError as error:
            log.warning("%s; who computed its runs is not known", error)
            continue
        if f"{content.identity}{_SUFFIX}" != name:
            log.warning("%s: is damaged; who computed its runs is not known", inside(folder.location, name))
            continue
        found[content.identity] = content
    return found


def _processor() -> str:
    """Linux names the model in a file alone."""
    if _PROCESSORS.exists():
        for line in _PROCESSORS.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
