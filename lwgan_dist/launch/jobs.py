"""Commands carried out on a cluster as Ray jobs, by name, over HTTP.

A name stands for all its attempts: Ray refuses a submission id that was used, so the first attempt has the name as its
id, further ones ``NAME~2``, ``NAME~3`` (``~`` is in no name). What is needed to start one again is in its metadata.
"""

import asyncio
import hashlib
import io
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
from aiohttp import ClientError
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from lwgan_dist.config import NAME_PATTERN
from lwgan_dist.errors import ClusterError, ConfigError
from lwgan_dist.launch.environment import FILE, FOLDER, HOOK, packed
from lwgan_dist.launch.token import authorization, private_token_file, refusal

logger = logging.getLogger("lwgan_dist")

FIND_SECONDS, ANSWER_SECONDS = 4.0, 30.0
"""How long the dashboard has to take up a connection (also: to say its version), and to answer."""

SILENCE_SECONDS = 15.0
"""A log that says nothing for so long is asked whether it is still there."""

RECONNECT_SECONDS, PAUSE_SECONDS = 60.0, 1.0
"""How long, and how often, to try to come back to a log after a connection was lost."""

STOP_SECONDS = 20
"""What a command has to end in order when its job is stopped, before it is killed."""

PACKAGE_BYTES = 100 * 1024**2 - 256 * 1024
"""The dashboard takes requests of up to 100 MiB; what comes last, the configuration and a list, is small."""

CONFIG_CHARACTERS = 48 * 1024
"""Metadata reach the driver in one environment variable, which holds 128 KiB."""

ALIVE_NODES = "/api/v0/nodes?limit=10000&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"
"""Where the dashboard lists them, up to the most that it does."""

LOST = "the node that carried it out is gone"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
KEY = "lwgan_dist"
"""Metadata of this name mark our jobs; it holds the version that submitted them."""

_ATTEMPT = re.compile(rf"{NAME_PATTERN.rstrip('$')}(?:~(?P<attempt>[1-9][0-9]{{0,5}}))?")
_LEFT_OUT = {
    ".git", ".hg", ".venv", "venv", "env", "runs", "node_modules", "build", "dist", "__pycache__", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache", ".tox", ".nox", ".ipynb_checkpoints",
}  # fmt: skip
_SAME_TIME = (1980, 1, 1, 0, 0, 0)  # equal content, equal package

_NETWORK = (
    "Connection refused", "Name or service not known", "No route to host", "Network is unreachable",
    "Temporary failure in name resolution", "No address associated", "certificate verify failed",
)  # fmt: skip


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
        secrets: variables for driver and workers, see `lwgan_dist.launch.environment`; None without a file of them.
        secrets_file: where they were read; it does not travel with the checkout.
        code: a checkout for the nodes to use; None: what they have installed.
    """

    name: str
    command: str
    config_file: str
    config: str
    config_hash: str
    arguments: tuple[str, ...]
    python: str = "python"
    secrets: Mapping[str, str] | None = None
    secrets_file: str | None = None
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
        """Public: the Jobs API and the dashboard show it."""
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
    def again(cls, job: "Job") -> "Submission":
        """What a job was submitted as; without its secrets and its code, which are nowhere kept."""
        told = job.metadata
        return cls(
            name=told["name"],
            command=told["command"],
            config_file=told["config_file"],
            config=told["config"],
            config_hash=told["config_sha256"],
            arguments=tuple(json.loads(told["arguments"])),
            python=told["python"],
        )


@dataclass(frozen=True)
class Job:
    """An attempt, as the cluster knows it.

    Attributes:
        id: Ray's submission id.
        name: that of all attempts; the id for a job that is not ours.
        attempt: from 1 on.
        status: PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED.
        message: what Ray says about the status.
        exit_code: of the command, if it ended by itself.
        started, ended: seconds since 1970.
        node: Ray's id of the node that carries it out, None before its start.
    """

    id: str
    name: str
    attempt: int
    status: str
    message: str
    exit_code: int | None
    entrypoint: str
    metadata: dict[str, str]
    started: float | None
    ended: float | None
    node: str | None = None

    @property
    def is_ours(self) -> bool:
        """Submitted by ``lwgan-dist submit``."""
        return KEY in self.metadata

    @property
    def has_ended(self) -> bool:
        """It will not run again under this id."""
        return self.status in ENDED

    @property
    def is_lost(self) -> bool:
        """The node that carried it out is gone."""
        return self.message == LOST

    @classmethod
    def of(cls, told: Any) -> "Job":
        """From Ray's JobDetails."""
        metadata = dict(told.metadata or {})
        match = _ATTEMPT.fullmatch(told.submission_id)
        ours = KEY in metadata and match is not None
        return cls(
            id=told.submission_id,
            name=metadata["name"] if ours else told.submission_id,
            attempt=int(match["attempt"] or 1) if ours and match else 1,
            status=str(told.status.value),
            message=told.message or "",
            exit_code=told.driver_exit_code,
            entrypoint=told.entrypoint,
            metadata=metadata,
            started=None if told.start_time is None else told.start_time / 1000,
            ended=None if not told.end_time else told.end_time / 1000,
            node=told.driver_node_id,
        )

    def told(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name, "attempt": self.attempt, "id": self.id, "status": self.status,
            "command": self.metadata.get("command"), "exit_code": self.exit_code, "entrypoint": self.entrypoint,
            "started": moment(self.started), "ended": moment(self.ended),
            "message": self.message.strip().splitlines()[0] if self.message.strip() else "",
            "config_sha256": self.metadata.get("config_sha256"), "version": self.metadata.get(KEY),
        }  # fmt: skip


def moment(seconds: float | None) -> str | None:
    """``2026-11-24T19:24:03+00:00``."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


class _UnwritableError(Exception):
    """What a job says cannot be handed on: who reads it has gone, or the disk is full."""


class Jobs:
    """The jobs of a cluster.

    Args:
        address: ``http://HOST:8265``; by default RAY_API_SERVER_ADDRESS, or RAY_ADDRESS if it is of that kind.

    Raises:
        ClusterError: of another kind, nobody answers there, or it does not let us in.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address_of(address)
        private_token_file(create=False)
        with self._reached():
            self._client = _Client(self.address)

    def all(self) -> list[Job]:
        """Every job that was submitted, oldest first."""
        with self._reached():
            found = self._client.list_jobs()
        jobs = self._without_lost([Job.of(told) for told in found if told.submission_id])
        return sorted(jobs, key=lambda job: (job.started or 0.0, job.attempt))

    def attempts(self, name: str) -> list[Job]:
        """Those of a name, the newest last."""
        return sorted((job for job in self.all() if job.name == name), key=lambda job: job.attempt)

    def find(self, name: str) -> Job:
        """The newest attempt of a name, or the attempt ``NAME~2``.

        Raises:
            ClusterError: there is none.
        """
        match = _ATTEMPT.fullmatch(name)
        attempt = int(match["attempt"]) if match and match["attempt"] else None
        label = name if attempt is None else name.rpartition("~")[0]
        found = [job for job in self.attempts(label) if attempt in (None, job.attempt)]
        if not found:
            known = list(dict.fromkeys(job.name for job in self.all()))
            hint = f"it has {', '.join(known[-10:])}" if known else "it has none, for one that restarted forgets them"
            raise ClusterError(f"{name}: the cluster at {self.address} has no such job: {hint}")
        return found[-1]

    def submit(self, submission: Submission) -> Job:
        """Send a command with its package; returns at once, while it waits for its start.

        Raises:
            ConfigError: an attempt of this name has not ended, or the package is too large.
            ClusterError: the cluster refuses it.
        """
        before = self.attempts(submission.name)
        if before and not before[-1].has_ended:
            raise ConfigError(still_running(before[-1]))
        attempt = before[-1].attempt + 1 if before else 1
        id_ = submission.name if attempt == 1 else f"{submission.name}~{attempt}"
        runtime_env: dict[str, Any] = {
            "env_vars": {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
        }
        if submission.secrets is not None:
            runtime_env["worker_process_setup_hook"] = HOOK
        with tempfile.TemporaryDirectory(prefix="lwgan-dist-") as folder, self._reached():
            file = Path(folder, "package.zip")
            file.write_bytes(package(submission))
            try:
                self._client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=id_,
                    runtime_env={**runtime_env, "working_dir": str(file)},
                    metadata=submission.metadata,
                    entrypoint_num_cpus=0,
                )
            except RuntimeError as error:
                if "already exists" in str(error):  # another command was faster
                    raise ConfigError(f"{submission.name}: was submitted by another command just now") from None
                raise
        return self.info(id_)

    def info(self, id_: str) -> Job:
        """A job as it is now."""
        with self._reached():
            told = self._client.get_job_info(id_)
        (job,) = self._without_lost([Job.of(told)])
        return job

    def _without_lost(self, jobs: list[Job]) -> list[Job]:
        """Jobs that run on a node that is gone have failed.

        Ray says so by itself, but not behind a head that took the place of a lost one: there it looks after the jobs of
        the old one (known by Redis) when the next is submitted, and calls them running until then.
        """
        if not any(job.node is not None and not job.has_ended for job in jobs):
            return jobs
        try:
            alive = self._client.nodes()
        except (requests.RequestException, ConnectionError, RuntimeError, ValueError, LookupError, TypeError) as error:
            logger.warning("which nodes there are cannot be seen: %s", _last_line(error))
            return jobs
        return [
            job
            if job.has_ended or job.node is None or job.node in alive
            else replace(job, status="FAILED", message=LOST)
            for job in jobs
        ]

    def logs(self, job: Job) -> str:
        """All that it has said.

        Raises:
            ClusterError: the log went with the node that it was on.
        """
        if job.is_lost:
            raise ClusterError(f"{job.name}: {LOST}, and its log with it; 'lwgan-dist job resume {job.name}' goes on")
        with self._reached():
            return str(self._client.get_job_logs(job.id))

    def stop(self, job: Job) -> Job:
        """Ask it to stop and wait until it has; it is killed if it takes more than `STOP_SECONDS`.

        Raises:
            ClusterError: it has not, long after that.
        """
        with self._reached():
            self._client.stop_job(job.id)
        ends = time.monotonic() + 3 * STOP_SECONDS
        while not (now := self.info(job.id)).has_ended:
            if time.monotonic() > ends:
                raise ClusterError(f"{job.name}: has not stopped after {3 * STOP_SECONDS} s; 'job status' tells more")
            time.sleep(0.5)
        return now

    def follow(self, job: Job, write: Callable[[str], None], notify: Callable[[str], None]) -> Job:
        """Hand on what it says until it ends; returns it then.

        Args:
            job: what to follow; all that it said before comes first.
            write: gets pieces of text.
            notify: gets a sentence when a connection is lost, or found again.

        Raises:
            ClusterError: the connection was lost and did not come back within `RECONNECT_SECONDS`.
        """
        try:
            return asyncio.run(self._follow(job, write, notify))
        except _UnwritableError as error:
            raise error.__cause__ or error from None

    async def _follow(self, job: Job, write: Callable[[str], None], notify: Callable[[str], None]) -> Job:
        said, lost = 0, None
        while True:
            try:
                async for piece in self._pieces(job):  # from the beginning each time
                    if lost is not None:
                        notify("the connection is back")
                        lost = None
                    position, text = piece
                    if position + len(text) > said:
                        try:
                            write(text[max(0, said - position) :])
                        except OSError as error:  # not of the connection
                            raise _UnwritableError(str(error)) from error
                        said = position + len(text)
                now = await self._ended(job)
            except (ClientError, ClusterError, OSError, RuntimeError, TimeoutError) as error:
                first = lost is None
                lost = lost or time.monotonic()
                if first:
                    notify(f"the connection to {self.address} is lost; trying to come back")
                if (gone := await asyncio.to_thread(self._lost, job)) is not None:
                    return gone
                if time.monotonic() > lost + RECONNECT_SECONDS:
                    reason = " ".join(str(error).split())[:200] or type(error).__name__
                    raise ClusterError(
                        f"{job.name}: the connection to {self.address} did not come back within "
                        f"{RECONNECT_SECONDS:.0f} s ({reason}); the job goes on if its cluster does: "
                        f"'lwgan-dist job logs {job.name} --follow' follows again"
                    ) from None
            else:
                if now is not None:
                    return now
            await asyncio.sleep(PAUSE_SECONDS)

    def _lost(self, job: Job) -> Job | None:
        """The job if its node, and with it its log, is gone; None if it is not, or nobody answers."""
        try:
            now = self.info(job.id)
        except ClusterError:
            return None
        return now if now.is_lost else None

    async def _pieces(self, job: Job) -> Any:
        """Pieces of the log with their positions, until it ends."""
        position = 0
        async with aclosing(self._client.tail_job_logs(job.id)) as stream:
            pending: asyncio.Task[str] | None = None
            try:
                while True:
                    pending = pending or asyncio.ensure_future(anext(stream))
                    ready, _ = await asyncio.wait({pending}, timeout=SILENCE_SECONDS)
                    if not ready:  # maybe it says nothing, maybe the network is cut
                        await asyncio.to_thread(self.info, job.id)
                        continue
                    task, pending = pending, None
                    try:
                        text = task.result()
                    except StopAsyncIteration:
                        return
                    yield position, text
                    position += len(text)
            finally:
                if pending is not None:
                    pending.cancel()
                    await asyncio.wait({pending})

    async def _ended(self, job: Job) -> Job | None:
        """The job if it has ended, a little after its log has; None if only the log has."""
        for _ in range(20):
            now = await asyncio.to_thread(self.info, job.id)
            if now.has_ended:
                return now
            await asyncio.sleep(0.5)
        return None

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """What requests and Ray raise, as one line."""
        try:
            yield
        except AuthenticationError:
            raise ClusterError(refusal(self.address)) from None
        except (requests.RequestException, ConnectionError) as error:
            raise ClusterError(
                f"no Ray dashboard answers at {self.address} ({_reason(error)}): is the head up, and is this the "
                "port of its dashboard (8265), open from here?"
            ) from None
        except (RuntimeError, ValueError, KeyError) as error:  # Ray's: a request failed, with the text of the answer
            raise ClusterError(f"the cluster at {self.address} refused: {_last_line(error)}") from None


class _Client(JobSubmissionClient):  # type: ignore[misc]
    """Ray's client, which waits for ever, obeys RAY_ADDRESS more than its argument and has no token without a mode."""

    def __init__(self, address: str) -> None:
        for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.WARNING)
        hidden = {name: os.environ.pop(name, None) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")}
        try:
            super().__init__(address, headers=authorization())
        finally:
            os.environ.update({name: value for name, value in hidden.items() if value is not None})
        if vars(self)["_ssl_context"] is None:  # which aiohttp deprecates
            self._ssl_context = True

    def _do_request(self, method: str, endpoint: str, **told: Any) -> requests.Response:
        seconds = FIND_SECONDS if endpoint == "/api/version" else ANSWER_SECONDS
        answer: requests.Response = super()._do_request(method, endpoint, timeout=(FIND_SECONDS, seconds), **told)
        return answer

    def nodes(self) -> set[str]:
        """Ids of the nodes that are alive.

        Raises:
            RuntimeError: none is listed; also what requests raises, and KeyError or TypeError for another answer.
        """
        answer = self._do_request("GET", ALIVE_NODES)
        answer.raise_for_status()
        found = {node["node_id"] for node in answer.json()["data"]["result"]["result"]}
        if not found:  # who answers is one
            raise RuntimeError("no node is listed")
        return found


def address_of(address: str | None) -> str:
    """The address of the Jobs API.

    Raises:
        ClusterError: none was given, or it is of another kind.
    """
    told = address or os.environ.get("RAY_API_SERVER_ADDRESS")
    if not told and os.environ.get("RAY_ADDRESS", "").startswith(("http://", "https://")):
        told = os.environ["RAY_ADDRESS"]
    if not told:
        raise ClusterError("no --address: http://HEAD:8265, the dashboard of the head, or RAY_API_SERVER_ADDRESS")
    if told.startswith("ray://"):
        raise ClusterError(
            f"{told}: Ray Client is not used: a command would end with its connection; jobs go to the dashboard, "
            "http://HEAD:8265"
        )
    parts = urlsplit(told)
    if parts.username is not None or parts.password is not None:
        raise ClusterError("--address: holds a user name or password: a token goes into RAY_AUTH_TOKEN")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"{told}: jobs go to the dashboard of the head, http://HEAD:8265")
    return told.rstrip("/")


def still_running(job: Job) -> str:
    """Why a name cannot be submitted now."""
    word = "waits for its start" if job.status == "PENDING" else "runs"
    return (
        f"{job.name}: {word} already; --follow follows it, 'lwgan-dist job stop {job.name}' ends it, another --name "
        "starts a second one"
    )


def package(submission: Submission) -> bytes:
    """The zip file that nodes unpack and work in.

    Raises:
        ConfigError: too large for the cluster, or no checkout of ours.
    """
    if len(json.dumps(submission.config)) > CONFIG_CHARACTERS:
        raise ConfigError(
            f"{submission.config_file}: a configuration of more than {CONFIG_CHARACTERS // 1024} KiB does not fit into "
            "the metadata of a job"
        )
    files = {f"{FOLDER}/{submission.config_file}": (submission.config.encode(), 0o644)}
    if submission.secrets is not None:
        files[FILE] = (packed(dict(submission.secrets)), 0o600)
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            if submission.code is not None:
                files |= _metadata_of(Path(submission.code))
                paths = [path for path in _files(Path(submission.code)) if not _is_file(path, submission.secrets_file)]
                _add_checkout(archive, buffer, Path(submission.code), paths)
            for name, (content, mode) in files.items():
                archive.writestr(_entry(name, mode), content)
        return buffer.getvalue()


def _is_file(path: Path, other: str | None) -> bool:
    return other is not None and os.path.samefile(path, other)


def _add_checkout(archive: zipfile.ZipFile, buffer: io.BytesIO, checkout: Path, paths: list[Path]) -> None:
    for path in paths:
        name = path.relative_to(checkout).as_posix()
        if name.startswith(f"{FOLDER}/"):
            continue
        entry = _entry(name, 0o755 if os.access(path, os.X_OK) else 0o644)
        entry.file_size = path.stat().st_size
        with archive.open(entry, "w") as target, path.open("rb") as source:
            while piece := source.read(2**20):
                target.write(piece)
                if buffer.tell() > PACKAGE_BYTES:
                    raise ConfigError(_too_large(checkout, paths))


def _entry(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _SAME_TIME)
    entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _metadata_of(checkout: Path) -> dict[str, tuple[bytes, int]]:
    """What makes `importlib.metadata` find the version of a checkout that is not installed."""
    try:
        if not (checkout / "lwgan_dist" / "__init__.py").is_file():
            raise ConfigError(f"--working-dir {checkout}: holds no lwgan_dist/: give the folder of a checkout")
        number = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
    except (OSError, KeyError, ValueError):
        raise ConfigError(f"--working-dir {checkout}: its pyproject.toml tells no version") from None
    text = f"Metadata-Version: 2.1\nName: lwgan-dist\nVersion: {number}\n"
    return {f"lwgan_dist-{number}.dist-info/METADATA": (text.encode(), 0o644)}


def _files(checkout: Path) -> list[Path]:
    """What of a checkout may be sent: nothing that git ignores, no environment, cache, run, ``.env*`` or ``*.env``."""
    names: Iterable[str]
    if (checkout / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "-C", str(checkout), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
            capture_output=True,
            check=False,
        )
        if listed.returncode == 0:
            names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
            return sorted({checkout / name for name in names if _is_sent(name) and (checkout / name).is_file()})
    found = []
    for folder, folders, names in os.walk(checkout):
        folders[:] = [name for name in folders if _is_sent(name)]
        found += [path for name in names if _is_sent(name) and (path := Path(folder, name)).is_file()]
    return sorted(found)


def _is_sent(name: str) -> bool:
    return not any(
        part in _LEFT_OUT or part.startswith(".env") or part.endswith((".egg-info", ".pyc", ".env"))
        for part in PurePosixPath(name).parts
    )


def _too_large(checkout: Path, paths: list[Path]) -> str:
    sizes: dict[str, int] = {}
    for path in paths:
        top = path.relative_to(checkout).parts[0]
        sizes[top] = sizes.get(top, 0) + path.stat().st_size
    largest = sorted(sizes, key=lambda top: -sizes[top])[:3]
    told = ", ".join(f"{top} {sizes[top] / 2**20:.0f} MiB" for top in largest)
    return (
        f"--working-dir {checkout}: packed, it is above the 100 MiB that Ray takes (largest: {told}); what git ignores "
        "is left out, data belong where all nodes see them, and large code into an image"
    )


def config_hash(text: str) -> str:
    """Identity of a resolved configuration."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _reason(error: BaseException) -> str:
    """The innermost of what requests wraps."""
    if type(error) is ConnectionError and error.__context__ is not None:  # Ray's, without the reason
        error = error.__context__
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    text = str(error)
    for known in _NETWORK:
        if known in text:
            return known.lower()
    return "it speaks no HTTP" if "BadStatusLine" in text or "Connection aborted" in text else type(error).__name__


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines() if line.strip(" .")]
    return lines[-1].rstrip(".") if lines else type(error).__name__
