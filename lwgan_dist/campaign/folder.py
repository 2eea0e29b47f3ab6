"""The folder of a study, a search or a comparison: whose it is, and the configuration of its last command.

``ledger/`` holds what is finished, ``work/`` what is under way; see `lwgan_dist.campaign.ledger`.
"""

import json
import os
import platform
from contextlib import suppress
from typing import Any, get_args

from pydantic import BaseModel

from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.config import Precision
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.networks.bfloat16 import bfloat16_pays
from lwgan_dist.retries import StorageError
from lwgan_dist.run.folder import CONFIG_FILE, ENVIRONMENT_FILE, Environment, versions
from lwgan_dist.storage import Folder

LEDGER, SCRATCH = "ledger", "work"


def read_environment(folder: Folder, kind: str) -> dict[str, Any]:
    """What holds for all runs in the folder: ``precision``, what ``auto`` meant on the machine of the first command.

    Args:
        folder: of the study, search or comparison.
        kind: "study", "search" or "comparison".

    Raises:
        ConfigError: the folder holds something else.
    """
    if folder.has(ENVIRONMENT_FILE):
        environment = folder.read_json(ENVIRONMENT_FILE, Environment)
        ours: dict[str, Any] | None = getattr(environment, kind)
        if ours is None:
            others = " or a ".join(other for other in ("run", "study", "search") if other != kind)
            others = "comparison" if environment.comparison is not None else others
            raise ConfigError(f"{folder.location}: holds no {kind}, but a {others}; choose another --name")
        if ours.get("precision") not in get_args(Precision):
            raise ConfigError(f"{folder.location}/{ENVIRONMENT_FILE}: is damaged, or of another version (no precision)")
        return dict(ours)
    if any(not name.startswith(".") for name in folder.names()):
        raise ConfigError(f"{folder.location}: is not empty and not a {kind}; choose another --name")
    return {"precision": "bfloat16" if bfloat16_pays() else "float32"}


def claim(folder: Folder, kind: str, environment: dict[str, Any], config: BaseModel, ledger: Ledger[Any]) -> None:
    """Clear away what a killed command left, and write the configuration of this one.

    Args:
        folder, kind: as for `read_environment`; the caller has locked the folder.
        environment: what `read_environment` returned.
        config: becomes ``config.yaml``.
        ledger: of the folder.

    Raises:
        ConfigError: a folder that cannot be used.
    """
    try:
        folder.remove_temporary()
    except StorageError:
        raise
    except OSError as error:
        raise ConfigError(f"{folder.location}: cannot be used ({error.strerror or error})") from None
    folder.remove(".tune")
    ledger.remove_temporary()
    content = {
        kind: environment,
        "versions": versions(),
        "machine": {"platform": platform.platform(), "processors": os.cpu_count()},
    }
    folder.write(ENVIRONMENT_FILE, json.dumps(content, indent=1).encode())
    folder.write(CONFIG_FILE, to_yaml(config).encode())
    ledger.gather()


def clear_scratch(folder: Folder, name: str) -> None:
    """Remove what is left of a run that is recorded, as far as that can be removed."""
    with suppress(OSError):
        folder.sub(SCRATCH).remove(name)
