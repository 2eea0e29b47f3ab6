"""The command line in a process that kills itself (SIGKILL) after a number of iterations: ``killed.py N ARGS...``."""

import os
import signal
import sys

from lwgan_dist.cli import main
from lwgan_dist.training import trainer


def kill_after(iterations: int) -> None:
    """Patch the trainer: no exit handler, no flush, no checkpoint."""
    iterate, done = trainer.Trainer._iterate, 0

    def counted(self, stage, iteration):
        nonlocal done
        if done == iterations:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        iterate(self, stage, iteration)

    trainer.Trainer._iterate = counted


if __name__ == "__main__":
    kill_after(int(sys.argv[1]))
    main(sys.argv[2:])
