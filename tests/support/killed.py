"""The command line in a process that kills itself (SIGKILL) after a number of iterations."""

import os
import signal

from forked import lwgan_dist

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


def killed(iterations: int, *arguments: str) -> None:
    """``lwgan-dist`` with these arguments, up to then."""
    kill_after(iterations)
    lwgan_dist(*arguments)
