"""Commands that run on a cluster as Ray jobs, by name, over HTTP.

A name stands for all its attempts: Ray refuses a submission id that was used, so the first attempt has the name as its
id, further ones ``NAME~2``, ``NAME~3`` (``~`` is in no name). What is needed to start one again is in its metadata.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from lwgan_dist.cluster.submission import KEY, STOP_SECONDS, Submission
from lwgan_dist.config import NAME_PATTERN
from lwgan_dist.errors import ClusterError, ConfigError
from lwgan_dist.launch.auth_token import authorization, private_token_file, refusal

logger = logging.getLogger("lwgan_dist")

FIND_SECONDS, ANSWER_SECONDS = 4.0, 30.0
"""How long the dashboard has to take up a connection (also: to say its version), and to answer."""

SILENCE_SECONDS = 15.0
"""A log without news is pinged after so long; one that does not answer within half of that is lost."""

RECONNECT_SECONDS, PAUSE_SECONDS = 60.0, 1.0
"""How long, and how often, to try to come back to a log after a connection was lost."""

PACKAGE_BYTES = 100 * 1024**2
"""The dashboard takes requests up to this size."""

ALIVE_NODES = "/api/v0/nodes?limit=10000&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"
"""Where the dashboard lists them, up to the most that it does."""

_DIRECT = {"no_proxy": "*"}
"""A head is reached as its nodes reach each other: a proxy is for the world outside."""

LOST = "the node that ran it is gone"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")

_ATTEMPT = re.compile(rf"{NAME_PATTERN.rstrip('$')}(?:~(?P<attempt>[1-9][0-9]{{0,5}}))?")


@dataclass(frozen=True)
class Job:
    """An attempt, as the cluster knows it.

    Attributes:
        id: Ray's submission id.
        name: that of all attempts; the id for a job that is not ours.
        attempt: from 1 on.
        status: PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED.
        message: of Ray about the status.
        exit_code: of the command, if it ended by itself.
        started, ended: seconds since 1970.
        node: Ray's id of the node that runs it, None before its start.
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
        """The node that ran it is gone."""
        return self.message == LOST

    @classmethod
    def of(cls, details: Any) -> "Job":
        """From Ray's JobDetails."""
        metadata = dict(details.metadata or {})
        match = _ATTEMPT.fullmatch(details.submission_id)
        ours = KEY in metadata and match is not None
        return cls(
            id=details.submission_id,
            name=metadata["name"] if ours else details.submission_id,
            attempt=int(match["attempt"] or 1) if ours and match else 1,
            status=str(details.status.value),
            message=details.message or "",
            exit_code=details.driver_exit_code,
            entrypoint=details.entrypoint,
            metadata=metadata,
            started=None if details.start_time is None else details.start_time / 1000,
            ended=None if not details.end_time else details.end_time / 1000,
            node=details.driver_node_id,
        )

    def as_dict(self) -> dict[str, Any]:
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
    """The output of a job cannot be written: its reader has gone, or the disk is full."""


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
            listed = self._client.list_jobs()
        jobs = self._without_lost([Job.of(details) for details in listed if details.submission_id])
        return sorted(jobs, key=lambda job: (job.started or 0.0, job.attempt))

    def attempts(self, name: str) -> list[Job]:
        """Those of a name, the newest last."""
        return sorted((job for job in self.all() if job.name == name), key=lambda job: job.attempt)

    def find(self, name: str) -> Job:
        """The newest attempt of a name, or the attempt ``NAME~2``.

        Raises:
            ClusterError: the cluster has no such job.
        """
        match = _ATTEMPT.fullmatch(name)
        attempt = int(match["attempt"]) if match and match["attempt"] else None
        label = name if attempt is None else name.rpartition("~")[0]
        fitting = [job for job in self.attempts(label) if attempt in (None, job.attempt)]
        if not fitting:
            names = list(dict.fromkeys(job.name for job in self.all()))
            hint = f"it has {', '.join(names[-10:])}" if names else "it has none, for one that restarted forgets them"
            raise ClusterError(f"{name}: the cluster at {self.address} has no such job: {hint}")
        return fitting[-1]

    def submit(self, submission: Submission) -> Job:
        """Send a command with all that it needs; returns at once, while it waits for its start.

        Raises:
            ConfigError: an attempt of this name has not ended, or what is sent is too large.
            ClusterError: the cluster refuses it.
        """
        before = self.attempts(submission.name)
        if before and not before[-1].has_ended:
            raise ConfigError(still_running(before[-1]))
        attempt = before[-1].attempt + 1 if before else 1
        id_ = submission.name if attempt == 1 else f"{submission.name}~{attempt}"
        with submission.runtime_env() as runtime_env, self._reached():
            try:
                self._client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=id_,
                    runtime_env=runtime_env,
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
            details = self._client.get_job_info(id_)
        (job,) = self._without_lost([Job.of(details)])
        return job

    def _without_lost(self, jobs: list[Job]) -> list[Job]:
        """Jobs that run on a node that is gone have failed.

        Ray says so by itself, but not behind a head that took the place of a lost one: there it looks after the jobs of
        the old one (which Redis remembers) when the next is submitted, and calls them running until then.
        """
        if not any(job.node is not None and not job.has_ended for job in jobs):
            return jobs
        try:
            alive = self._client.nodes()
        except (requests.RequestException, ConnectionError, RuntimeError, ValueError, LookupError, TypeError) as error:
            logger.warning("which nodes are alive cannot be seen: %s", _last_line(error))
            return jobs
        return [
            job
            if job.has_ended or job.node is None or job.node in alive
            else replace(job, status="FAILED", message=LOST)
            for job in jobs
        ]

    def logs(self, job: Job) -> str:
        """All its output.

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
                raise ClusterError(f"{job.name}: has not stopped after {3 * STOP_SECONDS} s; see 'job status'")
            time.sleep(0.5)
        return now

    def follow(self, job: Job, write: Callable[[str], None], notify: Callable[[str], None]) -> Job:
        """Pass on its output until it ends; returns it then.

        Args:
            job: what to follow; its earlier output comes first.
            write: gets pieces of text.
            notify: gets a sentence when a connection is lost, and when it is back.

        Raises:
            ClusterError: the connection was lost and did not come back within `RECONNECT_SECONDS`.
        """
        try:
            return asyncio.run(self._follow(job, write, notify))
        except _UnwritableError as error:
            raise error.__cause__ or error from None

    async def _follow(self, job: Job, write: Callable[[str], None], notify: Callable[[str], None]) -> Job:
        written, lost = 0, None
        while True:
            try:
                async for position, text in self._pieces(job):  # from the beginning each time
                    if lost is not None:
                        notify("the connection is back")
                        lost = None
                    if position + len(text) > written:
                        _write(write, text[max(0, written - position) :])
                        written = position + len(text)
                now = await self._ended(job)
            except (aiohttp.ClientError, ClusterError, OSError, RuntimeError, TimeoutError) as error:
                if lost is None:
                    notify(f"the connection to {self.address} is lost; trying to come back")
                    lost = time.monotonic()
                if (gone := await asyncio.to_thread(self._lost, job)) is not None:
                    return gone
                if time.monotonic() > lost + RECONNECT_SECONDS:
                    raise self._given_up(job, error) from None
            else:
                if now is not None:
                    return now
            await asyncio.sleep(PAUSE_SECONDS)

    def _given_up(self, job: Job, error: BaseException) -> ClusterError:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return ClusterError(
            f"{job.name}: the connection to {self.address} did not come back within {RECONNECT_SECONDS:.0f} s "
            f"({reason}); the job goes on if its cluster does: 'lwgan-dist job logs {job.name} --follow' follows again"
        )

    def _lost(self, job: Job) -> Job | None:
        """The job if its node, and with it its log, is gone; None if it is not, or nobody answers."""
        try:
            now = self.info(job.id)
        except ClusterError:
            return None
        return now if now.is_lost else None

    async def _pieces(self, job: Job) -> AsyncIterator[tuple[int, str]]:
        """Pieces of the log with their positions, until it ends. Ray's own client does not see that a network is cut.

        Raises:
            ConnectionError: it was cut off, or does not answer pings.
        """
        position, url = 0, f"{self.address}/api/jobs/{job.id}/logs/tail"
        async with (
            aiohttp.ClientSession(headers=authorization()) as session,
            session.ws_connect(url, heartbeat=SILENCE_SECONDS) as stream,
        ):
            async for message in stream:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise ConnectionError(f"the log was cut off: {message.data}")
                yield position, message.data
                position += len(message.data)
            if stream.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
                raise ConnectionError("the log was cut off")

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


def _write(write: Callable[[str], None], text: str) -> None:
    try:
        write(text)
    except OSError as error:  # not of the connection
        raise _UnwritableError(str(error)) from error


class _Client(JobSubmissionClient):  # type: ignore[misc]
    """Ray's client, which waits for ever, obeys RAY_ADDRESS more than its argument and has no token without a mode."""

    def __init__(self, address: str) -> None:
        logging.getLogger("ray").setLevel(logging.WARNING)  # it says what it packs and sends
        hidden = {name: os.environ.pop(name, None) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")}
        try:
            super().__init__(address, headers=authorization())
        finally:
            os.environ.update({name: value for name, value in hidden.items() if value is not None})

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        if len(options.get("data") or b"") > PACKAGE_BYTES:
            raise ConfigError(
                "--working-dir: its lwgan_dist/ is, packed, above the 100 MiB that Ray takes: data belong where all "
                "nodes see them, and large code into an image"
            )
        seconds = FIND_SECONDS if endpoint == "/api/version" else ANSWER_SECONDS
        options |= {"timeout": (FIND_SECONDS, seconds), "proxies": _DIRECT}
        answer: requests.Response = super()._do_request(method, endpoint, **options)
        return answer

    def nodes(self) -> set[str]:
        """Ids of the nodes that are alive.

        Raises:
            RuntimeError: none is listed; also what requests raises, and KeyError or TypeError for another answer.
        """
        answer = self._do_request("GET", ALIVE_NODES)
        answer.raise_for_status()
        ids = {node["node_id"] for node in answer.json()["data"]["result"]["result"]}
        if not ids:  # who answers is one
            raise RuntimeError("no node is listed")
        return ids


def address_of(address: str | None) -> str:
    """The address of the Jobs API.

    Raises:
        ClusterError: none was given, or it is of another kind.
    """
    given = address or os.environ.get("RAY_API_SERVER_ADDRESS")
    if not given and os.environ.get("RAY_ADDRESS", "").startswith(("http://", "https://")):
        given = os.environ["RAY_ADDRESS"]
    if not given:
        raise ClusterError("no --address: http://HEAD:8265, the dashboard of the head, or RAY_API_SERVER_ADDRESS")
    if given.startswith("ray://"):
        raise ClusterError(
            f"{given}: Ray Client is not used: a command would end with its connection; jobs go to the dashboard, "
            "http://HEAD:8265"
        )
    parts = urlsplit(given)
    if parts.username is not None or parts.password is not None:
        raise ClusterError("--address: holds a user name or password: a token goes into RAY_AUTH_TOKEN")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"{given}: jobs go to the dashboard of the head, http://HEAD:8265")
    return given.rstrip("/")


def still_running(job: Job) -> str:
    """Why a name cannot be submitted now."""
    word = "waits for its start" if job.status == "PENDING" else "runs"
    return (
        f"{job.name}: {word} already; --follow follows it, 'lwgan-dist job stop {job.name}' ends it, another --name "
        "starts a second one"
    )


def _reason(error: BaseException) -> str:
    """The innermost of what Ray, requests and urllib3 wrap."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    while inner := error.__cause__ or error.__context__:
        error = inner
    if isinstance(error, HTTPException):
        return "it speaks no HTTP"
    reason = getattr(error, "strerror", None)
    return str(reason).lower() if reason else type(error).__name__


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines() if line.strip(" .")]
    return lines[-1].rstrip(".") if lines else type(error).__name__
