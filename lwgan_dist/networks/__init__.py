"""The three networks of an LWGAN. `build_networks` makes them with initial values derived from a seed."""

import functools
import time
from dataclasses import dataclass

import torch

from lwgan_dist.config import Precision
from lwgan_dist.networks.mlp import Activation, MlpCritic, MlpEncoder, MlpGenerator
from lwgan_dist.seeding import derive


@dataclass(frozen=True)
class Networks:
    """Encoder Q, generator G and critic D; one set holds every rank."""

    encoder: MlpEncoder
    generator: MlpGenerator
    critic: MlpCritic

    def named(self) -> dict[str, MlpEncoder | MlpGenerator | MlpCritic]:
        """The networks by the names under which they are saved."""
        return {"encoder": self.encoder, "generator": self.generator, "critic": self.critic}


def build_networks(
    ambient_dim: int,
    latent_dim: int,
    width: int,
    encoder_activation: Activation,
    seed: int = 0,
    precision: Precision = "float32",
) -> Networks:
    """New networks on the CPU.

    Args:
        ambient_dim: p, columns of the data.
        latent_dim: q, the largest rank.
        width: s, the unit of the hidden widths.
        encoder_activation: ``relu`` as in the authors' experiments, or ``silu``.
        seed: the initial values depend on it and on the shapes only.
        precision: ``float32``, ``float64``, or ``bfloat16`` for float32 parameters with products in bfloat16.
    """
    generator = torch.Generator().manual_seed(derive(seed, "networks") % 2**63)
    networks = Networks(
        encoder=MlpEncoder(ambient_dim, latent_dim, width, encoder_activation, generator),
        generator=MlpGenerator(latent_dim, ambient_dim, width, generator),
        critic=MlpCritic(ambient_dim, latent_dim, width, generator),
    )
    for network in networks.named().values():
        network.to(torch.float64 if precision == "float64" else torch.float32)
        network.autocast(precision == "bfloat16")
    return networks


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
