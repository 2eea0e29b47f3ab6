"""Ctrl-C and SIGTERM, from the first line of the program to its last: each ends a command with 130 and one line.

While a command is at work they are a KeyboardInterrupt, so that it cleans up. Before, and while a module is being
imported, which may make any error of an interrupt, the process ends at once: nothing is lost that SIGKILL would not
lose, and a run is resumed after that too. Once a command has ended there is nothing to interrupt.
"""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Self

INTERRUPTED = 130
"""The exit code."""

AGAIN_SECONDS = 0.05
"""After which an interrupt that struck where Python can only ignore it, as in a finaliser, strikes again."""

_STATE = {"at work": False, "over": False, "came": False}

_LAST = [int(signal.SIGINT)]
"""The signal that came last: the other one may be ignored."""


def begin() -> None:
    """Answer both signals from here on; one that is ignored, as Ctrl-C in the background of a script, stays so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, answer)
    unraisable = sys.unraisablehook

    def hook(ignored: "sys.UnraisableHookArgs") -> None:
        if ignored.exc_type is not KeyboardInterrupt:
            unraisable(ignored)
        elif not _STATE["over"]:
            threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), _LAST[0])).start()

    sys.unraisablehook = hook


def end() -> None:
    """Nothing of the program is left but the end of Python itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def answer(number: int, frame: FrameType | None) -> None:
    """The handler of both signals."""
    _LAST[0] = number
    if _STATE["over"]:
        return
    if not _STATE["at work"] or _is_importing(frame):
        _leave()
    _STATE["came"] = True
    raise KeyboardInterrupt


class AtWork:
    """In the block an interrupt is a KeyboardInterrupt, and whatever error comes of it is one too. After it, with its
    end decided, interrupts are ignored; the command that is around it, if any, has the last word.
    """

    def __enter__(self) -> Self:
        self._inner = _STATE["at work"]
        if not self._inner:
            _STATE.update({"at work": True, "over": False, "came": False})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        came = _STATE["came"]
        if not self._inner:
            _STATE.update({"at work": False, "over": True, "came": False})
        if came and isinstance(error, Exception):
            raise KeyboardInterrupt from None


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave() -> None:
    """End here, with the cursor that a progress bar may have hidden."""
    try:
        os.write(2, b"\x1b[?25hinterrupted\n" if os.isatty(2) else b"interrupted\n")
    finally:
        os._exit(INTERRUPTED)
