"""Checkpoints: the state of a run on disk, loaded again only if it is whole.

A checkpoint is a folder ``iteration-<number>`` with the tensors (safetensors), the rest of the state (JSON) and,
written last, a manifest with size and SHA-256 of both. Neither safetensors nor JSON notices a flipped bit by itself.
"""

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save

from lwgan_dist.errors import ConfigError
from lwgan_dist.storage import Folder
from lwgan_dist.training.trainer import TrainingState

_MANIFEST, _FILES = "manifest.json", ("tensors.safetensors", "state.json")
_NAME = re.compile(r"iteration-(\d{12})")
_SCHEMA = 1
logger = logging.getLogger("lwgan_dist")


class _Manifest(BaseModel):
    version: int = Field(alias="schema")
    files: dict[str, dict[str, Any]]


class DamagedCheckpointError(Exception):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run.

    Attributes:
        folder: where they lie.
        kept: how many of the newest are kept, at least 2.
    """

    folder: Folder
    kept: int = 2

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint, then drop those that are no longer kept."""
        files = dict(zip(_FILES, (save(state.tensors), json.dumps(state.meta).encode()), strict=True))
        entries = {name: _entry(content) for name, content in files.items()}
        files[_MANIFEST] = json.dumps({"schema": _SCHEMA, "files": entries}, indent=1).encode()
        self.folder.write_set(f"iteration-{state.meta['iteration']:012d}", files)
        for name in self.names()[: -self.kept]:
            self.folder.remove(name)

    def names(self) -> list[str]:
        """Folders of the checkpoints, oldest first, whole or not."""
        return [name for name in self.folder.names() if _NAME.fullmatch(name)]

    def newest(self) -> TrainingState | None:
        """The newest checkpoint that is whole; None if there is none. Damaged ones are named in the log."""
        for name in reversed(self.names()):
            try:
                return self.read(name)
            except DamagedCheckpointError as error:
                logger.warning("checkpoint %s is damaged (%s); trying the one before it", name, error)
        return None

    def drop_after(self, iteration: int) -> None:
        """Remove the checkpoints of later iterations: damaged ones, which would count as kept in place of new ones."""
        for name in self.names():
            if int(name.removeprefix("iteration-")) > iteration:
                self.folder.remove(name)

    def read(self, name: str) -> TrainingState:
        """The state in one checkpoint.

        Raises:
            DamagedCheckpointError: names what does not fit the manifest.
        """
        folder = self.folder.sub(name)
        try:
            manifest = folder.read_json(_MANIFEST, _Manifest)
        except FileNotFoundError:
            raise DamagedCheckpointError(f"no {_MANIFEST}") from None
        except ConfigError:
            raise DamagedCheckpointError(f"{_MANIFEST} cannot be read") from None
        if manifest.version != _SCHEMA:
            raise DamagedCheckpointError(f"{_MANIFEST} has schema {manifest.version}, this program reads {_SCHEMA}")
        content = {}
        for file in _FILES:
            entry = manifest.files.get(file)
            try:
                content[file] = folder.read(file)
            except FileNotFoundError:
                raise DamagedCheckpointError(f"{file} is missing") from None
            if _entry(content[file]) != entry:
                raise DamagedCheckpointError(f"{file} differs from its SHA-256 in the manifest")
        tensors, meta = (content[file] for file in _FILES)
        try:
            state = TrainingState(load(tensors), TypeAdapter(dict[str, Any]).validate_json(meta))
        except (ValueError, SafetensorError):
            raise DamagedCheckpointError("not what the program writes, though as in the manifest") from None
        if state.meta.get("iteration") != int(name.removeprefix("iteration-")):
            raise DamagedCheckpointError("the state is not of its iteration")
        return state


def _entry(content: bytes) -> dict[str, str | int]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
