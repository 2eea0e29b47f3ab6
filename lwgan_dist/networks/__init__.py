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


def bfloat16_pays() -> bool:
    """Whether matrix products in bfloat16 are at least `WORTHWHILE` times as fast as in float32 on this machine.

    Instructions for them (AVX512-BF16, AMX) are not enough: on some processors that have them, products in float32 are
    faster. So both are timed, on matrices of the size of those in training, if there are such instructions at all.
    """
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False
    full, low = (_product_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    return full > WORTHWHILE * low


WORTHWHILE = 2.0
"""Below this gain, the conversions around the products eat it up."""


@functools.cache
def _product_seconds(dtype: torch.dtype) -> float:
    """The least processor time of a 256 x 512 x 256 product out of ten."""
    a, b = torch.ones(256, 512, dtype=dtype), torch.ones(512, 256, dtype=dtype)
    spent = []
    for _ in range(10):
        before = time.process_time()
        for _ in range(4):
            a @ b
        spent.append(time.process_time() - before)
    return min(spent)
