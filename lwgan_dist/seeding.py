"""Random streams that are derived, never carried.

Every random number of a run is a function of (seed, purpose, step): which rank, which rows, which noise. Nothing
depends on what was drawn before, so a resumed run, and a run on any number of workers, draws the same numbers, and no
generator state has to be saved.
"""

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A 128-bit integer that depends on the seed and on every name, and on nothing else.

    Args:
        seed: the seed of a run or of a data set, any integer.
        names: what the numbers are for, for example ``("critic/noise", 17)``.
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator (PCG64) for one purpose; see `derive` for the arguments."""
    return np.random.Generator(np.random.PCG64(derive(seed, *names)))
