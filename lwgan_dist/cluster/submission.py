"""A command for the cluster, and what travels with it: its configuration, its secrets and, if wanted, code."""

import hashlib
import json
import shlex
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lwgan_dist.cluster.secrets import FILE, FOLDER, HOOK, packed
from lwgan_dist.errors import ConfigError

KEY = "lwgan_dist"
"""Metadata of this name mark our jobs; it holds the version that submitted them."""

STOP_SECONDS = 20
"""What a command has to end in order when its job is stopped, before it is killed."""

CONFIG_CHARACTERS = 48 * 1024
"""Metadata reach the driver in one environment variable, which holds 128 KiB."""

_NEVER_SENT = ["__pycache__", "*.pyc", ".env*", "*.env", ".ipynb_checkpoints", f"!/{FOLDER}/*"]
"""Patterns as in ``.gitignore``, beside those of the ``.gitignore`` in the package; our own files are always sent."""


@dataclass(frozen=True)
class Submission:
    """A command for the cluster.

    Attributes:
        name: of the job.
        command: ``study``, ``tune`` or ``train``.
        config_file: name of the configuration file on the nodes, without a folder.
        config: its text.
        config_hash: identity of the configuration with its overrides.
        arguments: what follows the configuration in the command line.
        python: the interpreter on the nodes.
        secrets: variables for driver and workers, see `lwgan_dist.cluster.secrets`; None without a file of them.
        code: a checkout whose lwgan_dist the nodes use; None: what they have installed.
    """

    name: str
    command: str
    config_file: str
    config: str
    config_hash: str
    arguments: tuple[str, ...]
    python: str = "python"
    secrets: Mapping[str, str] | None = None
    code: str | None = None

    @property
    def entrypoint(self) -> str:
        """The command line on the node."""
        file = f"{FOLDER}/{self.config_file}"
        return "exec " + shlex.join(
            [self.python, "-m", "lwgan_dist", "job", "run", self.command, file, *self.arguments]
        )

    @property
    def metadata(self) -> dict[str, str]:
        """Public: the Jobs API and the dashboard show it. All that is needed to submit the command again."""
        return {
            KEY: version("lwgan-dist"),
            "name": self.name,
            "command": self.command,
            "config_sha256": self.config_hash,
            "config_file": self.config_file,
            "config": self.config,
            "arguments": json.dumps(self.arguments),
            "python": self.python,
            "env_file": "no" if self.secrets is None else "yes",
            "working_dir": "no" if self.code is None else "yes",
        }

    @classmethod
    def again(cls, metadata: Mapping[str, str]) -> "Submission":
        """What was submitted with these metadata; without its secrets and its code, which are stored nowhere."""
        return cls(
            name=metadata["name"],
            command=metadata["command"],
            config_file=metadata["config_file"],
            config=metadata["config"],
            config_hash=metadata["config_sha256"],
            arguments=tuple(json.loads(metadata["arguments"])),
            python=metadata["python"],
        )

    @contextmanager
    def runtime_env(self) -> Iterator[dict[str, Any]]:
        """Ray's runtime environment of the job. The folders that it names, which Ray packs, exist in the block only.

        Raises:
            ConfigError: the configuration is too large, or the code is no checkout of lwgan_dist.
        """
        if len(json.dumps(self.config)) > CONFIG_CHARACTERS:
            raise ConfigError(
                f"{self.config_file}: a configuration of more than {CONFIG_CHARACTERS // 1024} KiB does not fit into "
                "the metadata of a job"
            )
        with tempfile.TemporaryDirectory(prefix="lwgan-dist-") as folder:
            environment: dict[str, Any] = {
                "env_vars": {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
                "working_dir": folder,
            }
            Path(folder, FOLDER).mkdir()
            Path(folder, FOLDER, self.config_file).write_text(self.config, "utf-8")
            if self.secrets is not None:
                environment["worker_process_setup_hook"] = HOOK
                Path(folder, FILE).touch(mode=0o600)
                Path(folder, FILE).write_text(packed(self.secrets))
            if self.code is not None:
                environment |= {"py_modules": [_package_of(self.code, folder)], "excludes": _NEVER_SENT}
            yield environment


def _package_of(checkout: str, folder: str) -> str:
    """The package of a checkout; `importlib.metadata` sees its version by what is added to a folder."""
    package = Path(checkout, "lwgan_dist")
    if not (package / "__init__.py").is_file():
        raise ConfigError(f"--working-dir {checkout}: holds no lwgan_dist/: give the folder of a checkout")
    try:
        number = tomllib.loads(Path(checkout, "pyproject.toml").read_text("utf-8"))["project"]["version"]
    except (OSError, KeyError, ValueError):
        raise ConfigError(f"--working-dir {checkout}: its pyproject.toml names no version") from None
    metadata = Path(folder, f"lwgan_dist-{number}.dist-info", "METADATA")
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: lwgan-dist\nVersion: {number}\n")
    return str(package)


def config_hash(text: str) -> str:
    """Identity of a resolved configuration: 16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
