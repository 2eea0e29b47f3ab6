"""The ways in which a command can end badly, each with the exit code that a script can rely on.

A ``UserError`` is something the person at the keyboard can mend; the command line prints its message without a
traceback and exits with its code. Anything else is a defect of the program and keeps its traceback.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Base of the errors that are reported as one message. ``exit_code`` is the status of the process."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration, an option or a folder that cannot be used as it is (exit code 2)."""


class InUseError(ConfigError):
    """Another process is working in the folder (exit code 2)."""


class RunFailedError(UserError):
    """A run ended without a result (exit code 3)."""

    exit_code = 3


class NonFiniteLossError(RunFailedError):
    """A loss became NaN or infinite, and the step that would have spread it was not taken; or the rows of a trained
    model are (exit code 3).
    """


class DataError(UserError):
    """Data that cannot be estimated from: missing, malformed, not numeric, not finite, too few rows (exit code 4)."""

    exit_code = 4


class UnreadableError(DataError):
    """A file of data that is missing or damaged, which does not count against a run that would use it (exit code 4)."""


class ClusterError(UserError):
    """The Ray cluster cannot be reached, or refuses or lacks what was asked of it (exit code 5)."""

    exit_code = 5


@contextmanager
def interrupts_pass() -> Iterator[None]:
    """Ctrl-C in the block leaves it as a KeyboardInterrupt, also where an error of the clean-up has taken its place.

    `shutil.rmtree`, for one, closes a folder twice if it is interrupted as it closes it, and the second time fails.
    """
    outer = sys.exception()  # what is being handled already took no part in an error of the block
    try:
        yield
    except Exception as error:
        before = error.__context__
        while before is not None and before is not outer and not isinstance(before, KeyboardInterrupt):
            before = before.__context__
        if before is not None and before is not outer:
            raise before from None
        raise


def refuse_client_address(address: str) -> None:
    """Only who is on a node of a cluster joins it.

    Raises:
        ClusterError: the address is that of Ray Client or of a dashboard.
    """
    if address.startswith(("ray://", "http://", "https://")):
        raise ClusterError(
            f"{address}: a run is driven from inside the cluster, so that it does not end with a connection; use "
            "'lwgan-dist submit CONFIG --address http://HEAD:8265 -- ..' from outside, or auto or HOST:PORT on a node"
        )
