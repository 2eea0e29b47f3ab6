"""Log records: a line each for people or, if LWGAN_DIST_LOG_FORMAT is ``json``, a JSON object each for programs, with
the run, study or search that they are about, on standard error.

What is logged may come from outside, such as the names of columns: control characters are escaped, so that nothing can
pass for a record of its own, and credentials in URIs are left out.
"""

import json
import logging
import os
import re
import socket
import sys
import threading
import unicodedata
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, get_args

from lwgan_dist.errors import ConfigError

FORMAT_VARIABLE = "LWGAN_DIST_LOG_FORMAT"

Format = Literal["text", "json"]

Report = TypeVar("Report")
Answer = TypeVar("Answer")

_LOGGER = logging.getLogger("lwgan_dist")
_EVENTS = logging.getLogger("lwgan_dist.events")
"""What happens as it should, for programs; people see progress lines and tables."""

_EVENTS.addHandler(logging.NullHandler())
_EVENTS.setLevel(logging.CRITICAL + 1)

_CONTEXT: ContextVar[Mapping[str, Any] | None] = ContextVar("lwgan_dist_logs", default=None)
_ENTERED: list[Mapping[str, Any]] = []
"""Contexts of all threads, for threads that have none: those that a run starts beside itself."""

_PROCESS: dict[str, Any] = {}
"""What holds for every record of this process."""

SECRET_IN_URI = re.compile(
    r"://[^@?\s]*:[^@?\s]*@|://\S*[?&](?:sig|[^=&\s]*(?:secret|token|key|password)[^=&\s]*)=", re.IGNORECASE
)
"""A URI with a password, or with a signature or key behind its question mark."""

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of Unicode that move the cursor, reorder what is seen, or cannot be encoded."""


def chosen_format() -> Format:
    """What the environment asks for.

    Raises:
        ConfigError: neither text nor JSON. The value is not shown, like that of no variable.
    """
    chosen = os.environ.get(FORMAT_VARIABLE) or "text"
    for form in get_args(Format):
        if chosen == form:
            return form  # type: ignore[no-any-return]
    raise ConfigError(f"{FORMAT_VARIABLE}: must be one of {', '.join(get_args(Format))}")


def is_json() -> bool:
    """Whether this process writes JSON."""
    return _EVENTS.level <= logging.INFO


def configure(form: Format, **fields: Any) -> None:
    """Write the records of this process to standard error.

    A program that has logging set up keeps it, unless JSON is asked for. May be called again: handlers that Ray has
    installed meanwhile then write JSON too.

    Args:
        form: of a line.
        fields: of every record of the process, beside its id and that of the machine.
    """
    _PROCESS.update({"host": socket.gethostname(), "pid": os.getpid(), **fields})
    root = logging.getLogger()
    ours = next((handler for handler in root.handlers if isinstance(handler, _Handler)), None)
    if form == "json":
        _EVENTS.setLevel(logging.INFO)
        for handler in logging.getLogger("ray").handlers:
            handler.setFormatter(JsonFormatter())
    elif ours is None and root.handlers:
        return
    else:
        _EVENTS.setLevel(logging.CRITICAL + 1)
    if ours is None:
        ours = _Handler()
        root.addHandler(ours)
    ours.setFormatter(JsonFormatter() if form == "json" else TextFormatter("%(levelname)s: %(message)s"))


@contextmanager
def context(**fields: Any) -> Iterator[None]:
    """Within the block, records of this thread and of threads without a context of their own have these fields."""
    entered = {**(_CONTEXT.get() or {}), **{name: value for name, value in fields.items() if value is not None}}
    token = _CONTEXT.set(entered)
    _ENTERED.append(entered)
    try:
        yield
    finally:
        _CONTEXT.reset(token)
        for i in reversed(range(len(_ENTERED))):
            if _ENTERED[i] is entered:  # not only equal
                del _ENTERED[i]
                break


def of_run(fingerprint: str) -> AbstractContextManager[None]:
    """A context: the run is known by its key in a study, or else by its fingerprint, which every run has."""
    return context(run=(_CONTEXT.get() or {}).get("run", fingerprint), fingerprint=fingerprint)


def within(work: Generator[Report, None, Answer], **fields: Any) -> Generator[Report, None, Answer]:
    """A generator whose own records have these fields, and not those of its caller between two of its values."""
    try:
        while True:
            with context(**fields):
                try:
                    report = next(work)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
            yield report
    finally:
        work.close()


@contextmanager
def deferred() -> Iterator[Callable[[str], None]]:
    """Hold back the records of the block until its end; yields what to call with the fingerprint of their run."""
    fingerprints: list[str] = []
    kept: list[logging.LogRecord] = []
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if threading.get_ident() != thread:
            return True
        kept.append(record)
        return False

    _LOGGER.addFilter(keep)
    try:
        yield fingerprints.append
    finally:
        _LOGGER.removeFilter(keep)
        with of_run(fingerprints[-1]) if fingerprints else nullcontext():
            for record in kept:
                _LOGGER.handle(record)


def event(message: str, /, *, level: int = logging.INFO, **fields: Any) -> None:
    """Tell programs, and only them, what has happened.

    Args:
        message: always the same for the same kind of event.
        level: of the record.
        fields: of the record; plain JSON. None: left out.
    """
    _EVENTS.log(
        level, message, extra={"event_fields": {name: value for name, value in fields.items() if value is not None}}
    )


def printable(text: str) -> str:
    """A text on one line, in which nothing is hidden and no URI has credentials."""
    return visible(_CREDENTIALS.sub("***@", text))


def visible(text: str, kept: str = "") -> str:
    """A text in which what is not seen, or would steer a terminal, is written as in Python, but for ``kept``."""
    return "".join(
        _escaped(sign) if unicodedata.category(sign) in _UNSEEN and sign not in kept else sign for sign in text
    )


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


class TextFormatter(logging.Formatter):
    """One line for people; the lines of a traceback are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        line = f"{record.levelname}: {printable(record.getMessage())}"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return "\n".join([line, *(f"    {printable(further)}" for further in trace.splitlines())])


class JsonFormatter(logging.Formatter):
    """One JSON object on a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _CREDENTIALS.sub("***@", record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = _CREDENTIALS.sub("***@", self.formatException(record.exc_info))
        around = _CONTEXT.get() or (_ENTERED[-1] if _ENTERED else {})
        for fields in (around, _PROCESS, getattr(record, "event_fields", {})):
            for name, value in fields.items():
                entry.setdefault(name, _CREDENTIALS.sub("***@", value) if isinstance(value, str) else value)
        return json.dumps(entry, default=str)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what is standard error at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)
