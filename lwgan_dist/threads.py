"""One thread for the libraries of linear algebra: the last digit of a product depends on how many threads share it."""

import sys
from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """A block in which BLAS and OpenMP have one thread each; then as many as before."""
    limited: AbstractContextManager[object] = _controller(len(sys.modules)).limit(limits=1)
    return limited


@lru_cache(maxsize=1)
def _controller(_modules: int) -> ThreadpoolController:
    """The libraries of this process. To look for them takes 10 ms and more, and none comes without a module."""
    return ThreadpoolController()
