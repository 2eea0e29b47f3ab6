"""The Wasserstein auto-encoder in training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwgan_dist.config import NetworksConfig, Precision, RunConfig, Split
from lwgan_dist.data.sample import Sample
from lwgan_dist.method.mmd import mmd_squared
from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.models.wae.config import WaeModel
from lwgan_dist.networks.base import Encoder, Generator, Network, Shape
from lwgan_dist.networks.registry import family_of, in_precision, initial_values
from lwgan_dist.seeding import generator
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase, Terms
from lwgan_dist.training.stage import Adam, Stage, cosine

MATCHED_ROWS = 1_024
"""Codes, at most, whose MMD one evaluation takes: its time grows with their square."""


@dataclass(frozen=True)
class WaeNetworks:
    """Encoder Q and generator G of one latent size."""

    encoder: Encoder
    generator: Generator

    def named(self) -> dict[str, Network]:
        """The networks by the names under which they are saved."""
        return {"encoder": self.encoder, "generator": self.generator}


def build_networks(model: WaeModel, shape: Shape, seed: int = 0, precision: Precision = "float32") -> WaeNetworks:
    """New networks on the CPU, whose initial values depend on the seed and the shapes only."""
    settings = NetworksConfig(
        latent_dim=model.latent_dim, width=model.width, encoder_activation="silu", linear_path=False
    )
    family, rng = family_of(settings), initial_values(seed)
    networks = WaeNetworks(family.encoder(shape, settings, rng), family.generator(shape, settings, rng))
    for network in networks.named().values():
        in_precision(network, precision)
    return networks


def stages_of(model: WaeModel) -> list[Stage]:
    """Training, then the evaluations, in which nothing is updated."""
    return [
        Stage(name="training", iterations=model.iterations),
        Stage(name="scoring", iterations=model.evaluations, evaluate_after=0),
    ]


class WaeLoss(nn.Module):
    """R + w_mmd M on one batch: E||x - G(Q(x))|| and the squared MMD between Q(x) and the latent distribution."""

    def __init__(self, networks: WaeNetworks, world: World, mmd_weight: float) -> None:
        super().__init__()
        self.encoder, self.generator = networks.encoder, networks.generator
        self._world, self._weight = world, mmd_weight

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Terms]:
        """This worker's summand of the loss, from its rows and the latent draws for all rows of the batch."""
        size, latent_dim = z.shape
        codes = self.encoder(x, torch.tensor(latent_dim, device=x.device))
        reconstruction = self._world.mean(reconstruction_errors(x, self.generator(codes)), size)
        mmd = mmd_squared(self._world.gather(codes, size), z, latent_dim)
        loss = reconstruction + self._weight * self._world.replicated(mmd)
        return loss, {"reconstruction": reconstruction.detach(), "mmd": mmd.detach()}


class Wae:
    """Encoder and generator of one latent size; see `lwgan_dist.training.model.Model`."""

    gathered = frozenset({"mmd"})

    def __init__(self, config: RunConfig, sample: Sample, world: World) -> None:
        model = config.model
        assert isinstance(model, WaeModel)
        assert model.latent_dim is not None  # resolved
        assert model.batch_size is not None
        assert config.precision != "auto"
        self.latent_dim, self.batch_size = model.latent_dim, model.batch_size
        self.sample, self.world, self.seed = sample, world, config.seed
        self.evaluations = model.evaluations
        self.stages = stages_of(model)
        self.networks = build_networks(model, sample.shape, config.seed, config.precision)
        for network in self.networks.named().values():
            network.to(world.device)
        self._phase = Phase("encoder-generator", WaeLoss(self.networks, world, model.mmd_weight), [], world)
        self.phases = [self._phase]
        self._adam = Adam(cosine(model.learning_rate, model.learning_rate / 40), 0.9, 0.99)
        self._dtype = torch.float64 if config.precision == "float64" else torch.float32

    def enter(self, stage: Stage) -> None:
        """Nothing changes between stages."""

    def prepare(self, stage: Stage, iteration: int) -> None:
        """Nothing is needed but rows and noise."""

    def steps(self, stage: Stage, iteration: int) -> Iterator[tuple[Phase, tuple[Any, ...]]]:
        """One update of the training stage; none while the model is evaluated."""
        if stage.evaluate_after is not None:
            return
        self._phase.tune(self._adam, iteration / stage.iterations)
        rows = self.sample.draw(self._rng(stage, "rows", iteration), self.batch_size)
        z = self._rng(stage, "noise", iteration).standard_normal((self.batch_size, self.latent_dim))
        yield self._phase, (self._tensor(rows[self.world.share(self.batch_size)]), self._tensor(z))

    def has_ended(self, stage: Stage, iteration: int) -> bool:
        """Every stage has its whole length."""
        return False

    @torch.no_grad()
    def evaluate(self, stage: Stage, iteration: int, index: int) -> dict[str, NDArray[np.float64]]:
        """R and M, at the one latent size, of a part of the rows; C and P are 0, for there is no critic."""
        splits: list[Split] = ["train", "holdout"] if len(self.sample.holdout) >= 4 else ["train"]
        return {split: self._components(stage, iteration, index, split) for split in splits}

    def _components(self, stage: Stage, iteration: int, index: int, split: Split) -> NDArray[np.float64]:
        rng = self._rng(stage, split, iteration)
        if self.sample.stream is not None:
            rows = self.sample.draw(rng, self.batch_size, split)
        else:
            given = getattr(self.sample, split)
            order = generator(self.seed, f"score/{split}/order").permutation(len(given))
            count = min(self.evaluations, len(given) // 2)
            rows = given[np.array_split(order, count)[index % count]]
        x = self._tensor(rows)
        codes = self.networks.encoder(x, torch.tensor(self.latent_dim, device=x.device))
        z = self._tensor(rng.standard_normal((min(len(x), MATCHED_ROWS), self.latent_dim)))
        reconstruction = float(reconstruction_errors(x, self.networks.generator(codes)).mean())
        return np.array([[0.0, reconstruction, 0.0, float(mmd_squared(codes[: len(z)], z, self.latent_dim))]])

    def tensors(self, iteration: int) -> dict[str, Tensor]:
        """Nothing but networks and optimizer."""
        return {}

    def meta(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Nothing beside networks and optimizer."""

    def _rng(self, stage: Stage, purpose: str, iteration: int) -> np.random.Generator:
        return generator(self.seed, f"{stage.name}/{purpose}", iteration)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return self.world.tensor(values, self._dtype)
