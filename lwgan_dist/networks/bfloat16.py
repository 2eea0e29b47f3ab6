"""Whether bfloat16 is worth it on this processor."""

import functools
import time

import torch


@functools.cache
def bfloat16_pays() -> bool:
    """Whether matrix products in bfloat16 are at least `WORTHWHILE` times as fast as in float32 on this processor.

    Instructions for them (AVX512-BF16, AMX) are not enough: on some processors that have them, products in float32 are
    faster. So both are timed, in turns and on one thread, on matrices of the size of those in training, if there are
    such instructions at all.
    """
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other spend processor time too
    try:
        pairs = [(_product_seconds(torch.float32), _product_seconds(torch.bfloat16)) for _ in range(PROBES)]
    finally:
        torch.set_num_threads(threads)
    full, low = (min(seconds) for seconds in zip(*pairs, strict=True))
    return bool(full > WORTHWHILE * low)


WORTHWHILE = 2.0
"""Below this gain, the conversions around the products eat it up."""

PROBES = 12
"""Timings of either kind; the fastest counts."""


def _product_seconds(dtype: torch.dtype) -> float:
    """The processor time of four products of the size of the networks' widest one."""
    a, b = torch.ones(256, 512, dtype=dtype), torch.ones(512, 256, dtype=dtype)
    before = time.process_time()
    for _ in range(4):
        torch.mm(a, b)
    return time.process_time() - before
