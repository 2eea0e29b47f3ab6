"""Storage that fails for a while: an operation is tried again until it succeeds or the patience is at its end.

Network file systems and object stores fail for seconds to minutes and then go on as if nothing had been. What such a
failure looks like is known for local paths by the number of the error; clients of object stores say it in words only.
"""

import errno
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from lwgan_dist import seeding
from lwgan_dist.errors import ConfigError, RunFailedError

Result = TypeVar("Result")

PATIENCE_VARIABLE = "LWGAN_STORAGE_PATIENCE_SECONDS"
"""Variable of the environment, of every process that uses the storage, for another patience; 0 does without."""
PATIENCE_SECONDS = 120.0
"""How long an operation is tried again. Less than ``execution.collective_timeout_seconds``: while one worker waits for
the storage, the others wait for it."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds between two attempts; each pause is twice the one before it, up to the longest."""
HICCUP_SECONDS = 1.0
"""What is over sooner is not worth a line in the log."""

TRANSIENT = {
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "EINTR", "EPIPE", "ECONNRESET", "ECONNREFUSED", "ECONNABORTED",
        "ENOTCONN", "ESHUTDOWN", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN", "ENETRESET", "EREMOTEIO",
        "ECOMM", "ENOLINK", "ENOLCK",
    )
    if hasattr(errno, name)
}  # fmt: skip
"""Numbers of errors that pass. Not among them: no such file, no permission, a full or read-only disk."""

_LASTING = re.compile(
    r"access.?denied|permission.?denied|forbidden|unauthenticated|unauthorized|no_?such_?bucket|bucket '' not found"
    r"|invalid_?access_?key|signature_?does_?not_?match|unrecognized_?client|expired_?token|invalid_?bucket"
    r"|not a regular file|not a directory|is a directory|curlCode: (?:1|3|35|51|58|60|77|83)\b"
    r"|HTTP status (?:3\d\d|4(?!08|09|25|29)\d\d)",
    re.IGNORECASE,
)
"""What clients of object stores say where patience does not help: rights, names, certificates."""

_clock, _sleep = time.monotonic, time.sleep
_log = logging.getLogger("lwgan_dist.storage")
_log.setLevel(logging.WARNING)  # of its own: workers of studies are quiet otherwise


class StorageError(RunFailedError, OSError):
    """The storage has failed for longer than the patience (exit code 3); the same command goes on when it is back."""


def is_transient(error: OSError) -> bool:
    """Whether the same operation may succeed a little later.

    Errors of pyarrow without a number come from a client of an object store; they count as transient unless their text
    says otherwise.
    """
    if isinstance(error, StorageError | FileNotFoundError | PermissionError | FileExistsError):
        return False
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if error.errno is None:
        return not _LASTING.search(re.sub("'[^']*'", "''", str(error)))  # whatever the names of files are
    return error.errno in TRANSIENT


def is_numbered_transient(error: OSError) -> bool:
    """The same, of an error of the file system itself; other libraries raise an OSError for damaged content too."""
    return error.errno is not None and is_transient(error)


def patience() -> float:
    """Seconds for which an operation is tried again.

    Raises:
        ConfigError: the variable of the environment is no such number.
    """
    value = os.environ.get(PATIENCE_VARIABLE)
    if not value:
        return PATIENCE_SECONDS
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ConfigError(f"{PATIENCE_VARIABLE}: {value!r} is no number of seconds")
    return seconds


def retried(what: str, operation: Callable[[], Result]) -> Result:
    """The result of an operation, which must be one that may run twice.

    Args:
        what: it does and where, for messages: ``writing /runs/a/result.json``.
        operation: raises an OSError if it fails; one that is transient leads to another attempt.

    Raises:
        StorageError: a transient error persisted to the end of the patience.
    """
    try:
        return operation()
    except OSError as error:
        if not is_transient(error):
            raise
        return _again(what, operation, error)


def _again(what: str, operation: Callable[[], Result], error: OSError) -> Result:
    began, limit, attempt = _clock(), patience(), 0
    _outage.enter()
    try:
        while True:
            lasted = _clock() - began
            if lasted >= limit:
                raise StorageError(f"{what}: the storage has failed for {lasted:.0f} s ({_words(error)})") from error
            if lasted >= HICCUP_SECONDS:
                _outage.tell(what, error, limit)
            _sleep(min(_pause(what, attempt), limit - lasted))
            attempt += 1
            try:
                result = operation()
            except OSError as again:
                if not is_transient(again):
                    raise
                error = again
            else:
                _outage.pass_by(what)
                return result
    finally:
        _outage.leave()


def _pause(what: str, attempt: int) -> float:
    """Twice the one before it, and shortened by up to a half, so that thousands of processes do not come back at once;
    by how much depends on process, operation and attempt alone.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 30))
    return longest * (1 - seeding.derive(os.getpid(), what, attempt) / 2**129)


def _words(error: OSError) -> str:
    return " ".join((error.strerror or str(error) or type(error).__name__).split())[:500]


class _Outage:
    """The log of this process about its storage: one line when it fails, one when it works again, however many
    operations, in several threads, meet the same outage.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._began = 0.0
        self._since = ""
        self._told = False

    def enter(self) -> None:
        """An operation has failed."""
        with self._lock:
            if self._waiting == 0:
                self._began, self._since = _clock(), datetime.now().astimezone().isoformat(timespec="seconds")
            self._waiting += 1

    def leave(self) -> None:
        """It is not tried again, for better or worse."""
        with self._lock:
            self._waiting -= 1
            if self._waiting == 0:
                self._told = False

    def tell(self, what: str, error: OSError, limit: float) -> None:
        """It goes on failing."""
        with self._lock:
            if not self._told:
                self._told = True
                _log.warning(
                    "%s: the storage has been failing since %s (%s); trying again for up to %g s",
                    what, self._since, _words(error), limit,
                )  # fmt: skip

    def pass_by(self, what: str) -> None:
        """An operation has succeeded after all."""
        with self._lock:
            if self._told:
                self._told = False
                _log.warning("%s: the storage works again after %.0f s", what, _clock() - self._began)


_outage = _Outage()
