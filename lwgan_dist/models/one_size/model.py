"""What all models with one latent size do alike in training: batches, updates in turn, evaluations afterwards."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwgan_dist.config import Precision, RunConfig, Split
from lwgan_dist.data.sample import Sample
from lwgan_dist.models.one_size.config import OneSizeModel
from lwgan_dist.models.one_size.networks import OneSizeNetworks, Role, build_networks
from lwgan_dist.networks.base import Shape
from lwgan_dist.results import RankScore
from lwgan_dist.seeding import generator
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase
from lwgan_dist.training.stage import Adam, Stage, cosine

M = TypeVar("M", bound=OneSizeModel)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Update:
    """A phase that every iteration steps.

    Attributes:
        phase: a loss, whose forward takes this worker's share of the rows, then what `OneSize.noise` draws.
        adam: of the phase.
        times: steps in one iteration, each on a batch of its own.
    """

    phase: Phase
    adam: Adam
    times: int = 1


class OneSize(ABC, Generic[M]):
    """A model with one latent size in training; see `lwgan_dist.training.model.Model`.

    A model says which networks it has (`roles`), what an iteration updates (`updates_of`), and what is measured
    afterwards (`components`, `measure`, `score`), where it estimates a dimension also how (`rule`, `dimension`).
    """

    roles: ClassVar[Mapping[str, Role]]
    components: ClassVar[tuple[str, ...]]
    gathered: frozenset[str] = frozenset()
    rule: ClassVar[str] = "none"

    def __init__(self, config: RunConfig, sample: Sample, world: World) -> None:
        assert config.precision != "auto"  # resolved
        self.model: M = config.model  # type: ignore[assignment]  # the kind of this model is asked for its own alone
        assert self.model.batch_size is not None
        self.latent_dim, self.batch_size = self.model.size, self.model.batch_size
        self.sample, self.world, self.seed = sample, world, config.seed
        self.stages = self.stages_of(self.model)
        self.networks = self.networks_of(self.model, sample.shape, config.seed, config.precision)
        self.networks.bound(config.bounded)
        for network in self.networks.named().values():
            network.to(world.device)
        self._dtype = torch.float64 if config.precision == "float64" else torch.float32
        self._updates = self.updates_of()
        self.phases = [update.phase for update in self._updates]

    # what a model says ------------------------------------------------------------------------------------------------

    @abstractmethod
    def updates_of(self) -> Sequence[Update]:
        """What an iteration updates, in order; asked for once, when the networks are there."""

    @abstractmethod
    def measure(self, x: Tensor, rng: np.random.Generator) -> Values:
        """The components on rows that belong together, shape (ranks, components): of the latent size alone, or by rank
        1..q.

        Args:
            x: standardised rows, shape (rows, *shape), at least 2.
            rng: for what is drawn beside them.
        """

    @staticmethod
    @abstractmethod
    def score(model: Any, components: Mapping[str, Values]) -> Values:
        """What the training makes small, from the components by name, each of shape (evaluations, ranks)."""

    @staticmethod
    def dimension(model: Any, rank_scores: Sequence[RankScore]) -> int | None:
        """The dimension by the `rule`; None of a model that estimates none."""
        return None

    def noise(self, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        """What is drawn for one batch over all workers beside its rows: latent draws, shape (batch, q)."""
        return (rng.standard_normal((self.batch_size, self.latent_dim)),)

    @classmethod
    def networks_of(
        cls, model: OneSizeModel, shape: Shape, seed: int = 0, precision: Precision = "float32"
    ) -> OneSizeNetworks:
        """New networks on the CPU; see `build_networks`."""
        return OneSizeNetworks(build_networks(model, cls.roles, shape, seed, precision))

    def settle(self, rng: np.random.Generator) -> None:
        """Set numbers of the model that are not trained, once the training has ended; there are none by default."""

    # for models -------------------------------------------------------------------------------------------------------

    def adam(self, beta1: float = 0.9, beta2: float = 0.99) -> Adam:
        """With the learning rate of the configuration, which a cosine takes to a fortieth."""
        return Adam(cosine(self.model.learning_rate, self.model.learning_rate / 40), beta1, beta2)

    def latent(self, rng: np.random.Generator, rows: int) -> Tensor:
        """Draws of N(0, I), shape (rows, q)."""
        return self.tensor(rng.standard_normal((rows, self.latent_dim)))

    def some_rows(self, rng: np.random.Generator, most: int) -> Tensor:
        """Training rows, ``most`` or all of them if there are fewer."""
        return self.tensor(self.sample.draw(rng, min(most, len(self.sample.train) or most)))

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """On the device and in the precision of the networks."""
        return self.world.tensor(values, self._dtype)

    # what the trainer asks for ----------------------------------------------------------------------------------------

    @staticmethod
    def stages_of(model: OneSizeModel) -> list[Stage]:
        """Training, then the evaluations, in which nothing is updated."""
        return [
            Stage(name="training", iterations=model.iterations),
            Stage(name="scoring", iterations=model.evaluations, evaluate_after=0),
        ]

    @torch.no_grad()
    def enter(self, stage: Stage) -> None:
        """What the training has led to is settled before it is evaluated."""
        if stage.evaluate_after is not None:
            self.settle(self._rng(stage, "settle", 0))

    def prepare(self, stage: Stage, iteration: int) -> None:
        """Nothing is needed but rows and noise."""

    def steps(self, stage: Stage, iteration: int) -> Iterator[tuple[Phase, tuple[Any, ...]]]:
        """Every update in turn; none while the model is evaluated."""
        if stage.evaluate_after is not None:
            return
        for_rows, for_noise = (self._rng(stage, purpose, iteration) for purpose in ("rows", "noise"))
        for update in self._updates:
            update.phase.tune(update.adam, iteration / stage.iterations)
            for _ in range(update.times):
                rows = self.sample.draw(for_rows, self.batch_size, part=self.world.share(self.batch_size))
                yield update.phase, tuple(map(self.tensor, (rows, *self.noise(for_noise))))

    def has_ended(self, stage: Stage, iteration: int) -> bool:
        """Every stage has its whole length."""
        return False

    @torch.no_grad()
    def evaluate(self, stage: Stage, iteration: int, index: int) -> dict[str, Values]:
        """The components of a part of the rows, which all workers compute."""
        splits: list[Split] = ["train", "holdout"] if len(self.sample.holdout) >= 4 else ["train"]
        tables: dict[str, Values] = {}
        for split in splits:
            rng = self._rng(stage, split, iteration)
            tables[split] = self.measure(self.tensor(self._part(split, index, rng)), rng)
        return tables

    def _part(self, split: Split, index: int, rng: np.random.Generator) -> NDArray[Any]:
        """The rows of an evaluation: of a fixed sample another part of it each time."""
        if self.sample.stream is not None:
            return self.sample.draw(rng, self.batch_size, split)
        given = getattr(self.sample, split)
        order = generator(self.seed, f"score/{split}/order").permutation(len(given))
        count = min(self.model.evaluations, len(given) // 2)
        rows: NDArray[Any] = given[np.array_split(order, count)[index % count]]
        return rows

    def tensors(self, iteration: int) -> dict[str, Tensor]:
        """Nothing but networks and optimizers."""
        return {}

    def meta(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Nothing beside networks and optimizers."""

    def _rng(self, stage: Stage, purpose: str, iteration: int) -> np.random.Generator:
        return generator(self.seed, f"{stage.name}/{purpose}", iteration)
