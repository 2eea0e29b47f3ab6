"""``python -m lwgan_dist`` is ``lwgan-dist``."""

import os
import sys

from lwgan_dist import interrupts


def main() -> None:
    """The command line, which answers Ctrl-C and SIGTERM before its imports begin and until Python ends."""
    interrupts.begin()
    try:
        _open_standard_streams()
        from lwgan_dist.cli import main as commands

        commands(prog_name="lwgan-dist")
    finally:
        interrupts.end()


def _open_standard_streams() -> None:
    """Those that were closed lead nowhere: else the next file that is opened would get what is written to them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the first number that is free
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
