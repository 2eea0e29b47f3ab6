"""The alternation. One loop carries out the stages of any schedule; every random number of it is derived from
(seed, stage, purpose, iteration), so its state is the networks, the optimizers and a counter.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwgan_dist.config import RunConfig, Split
from lwgan_dist.data.sample import Sample
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.method.latent import mask_to_rank
from lwgan_dist.method.objective import mix
from lwgan_dist.networks import build_networks
from lwgan_dist.seeding import generator
from lwgan_dist.training.distributed import World
from lwgan_dist.training.evaluation import score_components
from lwgan_dist.training.phases import (
    CriticBatch,
    CriticLoss,
    EncoderGeneratorBatch,
    EncoderGeneratorLoss,
    Phase,
    Terms,
    Weights,
)
from lwgan_dist.training.stages import Adam, Stage, rank_parts, stages_of

LOG_POINTS = 500
"""Records of the losses kept over a run, at equal distances."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands after an iteration.

    Attributes:
        iteration: iterations done, of ``iterations``.
        stage: name of the stage.
        losses: terms of the losses at the last record.
        scores: evaluations of the score so far.
        recorded: whether the losses were recorded at this iteration: then all workers have just met.
    """

    iteration: int
    iterations: int
    stage: str
    losses: dict[str, float]
    scores: int
    recorded: bool

    def told(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass
class TrainingState:
    """All that a run carries from one iteration to the next.

    Attributes:
        tensors: parameters and Adam moments by name.
        meta: iteration, losses recorded, score components, seconds spent; plain JSON.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


class Trainer:
    """Trains an LWGAN by the stages of a resolved configuration.

    Args:
        config: resolved, see `RunConfig.resolved`.
        sample: what it learns from.
        world: the processes that train together.

    Raises:
        ConfigError: a batch that cannot hold two rows of every rank.
    """

    def __init__(self, config: RunConfig, sample: Sample, world: World | None = None) -> None:
        self.config = config
        self.sample = sample
        self.world = world or World()
        self.stages = stages_of(config)
        self.iterations = sum(stage.iterations for stage in self.stages)
        self.iteration = 0
        self.losses: list[dict[str, float]] = []
        self.components: dict[str, list[list[list[float]]]] = {}
        self.seconds = {"cpu": 0.0, "wall": 0.0}
        self._clock = self._read_clock()
        assert config.networks.latent_dim is not None  # resolved
        assert config.networks.encoder_activation is not None
        self.latent_dim = config.networks.latent_dim
        self._dtype = torch.float64 if config.precision == "float64" else torch.float32
        self.networks = build_networks(
            sample.ambient_dim,
            self.latent_dim,
            config.networks.width,
            config.networks.encoder_activation,
            config.seed,
            config.precision,
        )
        for network in self.networks.named().values():
            network.to(self.world.device)
        self._critic = Phase(
            "critic", CriticLoss(self.networks, self.world, config.objective.gradient_penalty_weight), [], self.world
        )
        self._encoder_generator = Phase(
            "encoder-generator", EncoderGeneratorLoss(self.networks, self.world), [self.networks.critic], self.world
        )
        self._last_terms: dict[str, Terms] = {}
        self._batch_parts = {stage.name: rank_parts(stage, self.latent_dim) for stage in self.stages}

    # the loop ---------------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[Progress]:
        """Train from the current iteration to the end, yielding after every iteration.

        Raises:
            NonFiniteLossError: a loss became NaN or infinite; names the iteration.
        """
        start = 0
        for stage in self.stages:
            for iteration in range(max(0, self.iteration - start), stage.iterations):
                if iteration == 0 and stage.fresh_optimizers:
                    for phase, adam in self._phases(stage):
                        phase.restart(adam.beta1, adam.beta2)
                try:
                    self._iterate(stage, iteration)
                except NonFiniteLossError as error:
                    raise NonFiniteLossError(f"iteration {self.iteration + 1} ({stage.name}): {error}") from None
                self.iteration = start + iteration + 1
                if stage.evaluates_at(iteration):
                    self._evaluate(stage, iteration)
                yield self._progress(stage, recorded=self._record())
            start += stage.iterations

    def _phases(self, stage: Stage) -> list[tuple[Phase, Adam]]:
        return [(self._critic, stage.critic), (self._encoder_generator, stage.encoder_generator)]

    def _iterate(self, stage: Stage, iteration: int) -> None:
        done = iteration / stage.iterations
        for phase, adam in self._phases(stage):
            phase.tune(adam, done)
        ranks, parts = self._ranks(stage, iteration)
        for critic_batch in self._critic_batches(stage, iteration, ranks):
            self._last_terms["critic"] = self._critic.step(critic_batch)
        weights = Weights(float(stage.critic_term), stage.mmd_weight(done), stage.moment_weight)
        for update in range(stage.encoder_generator_updates):
            matching = bool(weights.mmd or weights.moments)
            batch = self._encoder_generator_batch(stage, (iteration, update), ranks, parts, matching)
            self._last_terms["encoder_generator"] = self._encoder_generator.step(batch, weights)

    # batches ----------------------------------------------------------------------------------------------------------

    def _ranks(self, stage: Stage, iteration: int) -> tuple[Tensor, list[tuple[int, slice]]]:
        """Ranks of the rows of a batch, shape () or (rows,), and the rows of each rank."""
        parts = self._batch_parts[stage.name]
        if parts is None:
            rank = int(self._rng(stage, "rank", iteration).integers(1, self.latent_dim + 1))
            return torch.tensor(rank, device=self.world.device), [(rank, slice(0, stage.batch_size))]
        sizes = torch.tensor([part.stop - part.start for _, part in parts])
        ranks = torch.repeat_interleave(torch.arange(1, self.latent_dim + 1), sizes)
        return ranks.to(self.world.device), parts

    def _critic_batches(self, stage: Stage, iteration: int, ranks: Tensor) -> Iterator[CriticBatch]:
        """The batches of an iteration's critic updates.

        Encoder and generator rest meanwhile, so their outputs may be recycled: with ``recycle`` b, b batches of
        reconstructions and of fakes are computed, and update k pairs the (k mod b)-th of one with a later one of the
        other, at fresh mixing weights.
        """
        updates, size = stage.critic_updates_at(iteration), stage.batch_size
        if not updates:
            return
        batches = min(stage.recycle or updates, updates)
        share = self.world.share(size)
        local_ranks = ranks[share] if ranks.dim() else ranks
        alphas = self._uniform(stage, "critic/mixing", iteration, updates)[:, share]

        def frozen(purpose: str) -> Iterator[tuple[Tensor, Tensor]]:
            x = self._rows(stage, f"critic/rows{purpose}", iteration, batches)
            z = self._normal(stage, f"critic/noise{purpose}", iteration, batches)
            for k in range(batches):
                yield self._frozen(x[k, share], z[k, share], local_ranks)

        if stage.independent_batches:
            for alpha, first, second in zip(alphas, frozen(""), frozen("/penalty"), strict=True):
                yield CriticBatch(size, local_ranks, *first, mix(alpha, *second))
            return
        kept: list[tuple[Tensor, Tensor]] = []
        fresh = frozen("")
        for k, alpha in enumerate(alphas):
            if k < batches:
                kept.append(next(fresh))
            reconstructed, fake = kept[k % batches][0], kept[(k + k // batches) % batches][1]
            yield CriticBatch(size, local_ranks, reconstructed, fake, mix(alpha, reconstructed, fake))

    @torch.no_grad()
    def _frozen(self, x: Tensor, z: Tensor, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """G(Q_r(x)) and G(z_r) without gradient."""
        reconstructed = self.networks.generator(self.networks.encoder(x, ranks))
        return reconstructed, self.networks.generator(mask_to_rank(z, ranks))

    def _encoder_generator_batch(
        self, stage: Stage, step: tuple[int, int], ranks: Tensor, parts: list[tuple[int, slice]], matching: bool
    ) -> EncoderGeneratorBatch:
        share = self.world.share(stage.batch_size)
        (x,) = self._rows(stage, "encoder_generator/rows", step, 1)
        (z,) = self._normal(stage, "encoder_generator/noise", step, 1)
        z = mask_to_rank(z, ranks)
        x_match, z_match = None, z
        if matching and stage.independent_batches:
            (x_match,) = self._rows(stage, "encoder_generator/rows/matching", step, 1)
            (z_match,) = self._normal(stage, "encoder_generator/noise/matching", step, 1)
            x_match, z_match = x_match[share], mask_to_rank(z_match, ranks)
        return EncoderGeneratorBatch(
            size=stage.batch_size,
            ranks=ranks[share] if ranks.dim() else ranks,
            x=x[share],
            z=z[share],
            x_match=x_match,
            z_match=z_match,
            parts=parts,
        )

    # draws for the whole batch, the same on every worker --------------------------------------------------------------

    def _rng(self, stage: Stage, purpose: str, step: int | tuple[int, int]) -> np.random.Generator:
        steps = (step,) if isinstance(step, int) else step
        return generator(self.config.seed, f"{stage.name}/{purpose}", *steps)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(values).to(self._dtype)
        if self.world.device.type == "cuda":
            return tensor.pin_memory().to(self.world.device, non_blocking=True)
        return tensor

    def _rows(self, stage: Stage, purpose: str, step: int | tuple[int, int], batches: int) -> Tensor:
        rng = self._rng(stage, purpose, step)
        return self._tensor(self.sample.draw(rng, batches * stage.batch_size)).view(batches, stage.batch_size, -1)

    def _normal(self, stage: Stage, purpose: str, step: int | tuple[int, int], batches: int) -> Tensor:
        shape = (batches, stage.batch_size, self.latent_dim)
        return self._tensor(self._rng(stage, purpose, step).standard_normal(shape))

    def _uniform(self, stage: Stage, purpose: str, step: int, batches: int) -> Tensor:
        return self._tensor(self._rng(stage, purpose, step).random((batches, stage.batch_size, 1)))

    # score ------------------------------------------------------------------------------------------------------------

    def _evaluate(self, stage: Stage, iteration: int) -> None:
        size = self.config.score.batch_size
        assert size is not None  # resolved
        splits: list[Split] = ["train", "holdout"] if len(self.sample.holdout) >= 2 else ["train"]
        for split in splits:
            rng = self._rng(stage, f"score/{split}", iteration)
            rows = size if self.sample.stream or split == "train" else min(size, len(self.sample.holdout))
            x, z = self._pair(self.sample.draw(rng, 2 * rows, split)), rng.standard_normal((2 * rows, self.latent_dim))
            alpha = self._tensor(rng.random((rows, 1)))
            table = score_components(self.networks, x, self._pair(z), alpha, self.world)
            self.components.setdefault(split, []).append(table.tolist())
            if not np.isfinite(table).all():
                raise NonFiniteLossError(f"iteration {self.iteration}: the score is not finite: {table.tolist()}")

    def _pair(self, values: NDArray[Any]) -> tuple[Tensor, Tensor]:
        first, second = self._tensor(values).chunk(2)
        return first, second

    # record and state -------------------------------------------------------------------------------------------------

    def _record(self) -> bool:
        """Keep losses and time spent if it is due; every worker does so at the same iterations."""
        every = max(1, self.iterations // LOG_POINTS)
        if self.iteration % every and self.iteration != self.iterations:
            return False
        row: dict[str, float] = {"iteration": self.iteration}
        gathered = {"mmd", "moments"}  # computed on the rows of all workers, not summands of a mean
        for phase, terms in self._last_terms.items():
            for name, value in terms.items():
                row[f"{phase}/{name}"] = float(value if name in gathered else self.world.average(value))
        self.losses.append(row)
        now = self._read_clock()
        spent = torch.tensor([now[0] - self._clock[0]], dtype=torch.float64, device=self.world.device)
        self.seconds["cpu"] += float(self.world.average(spent)) * self.world.num_workers
        self.seconds["wall"] += now[1] - self._clock[1]
        self._clock = now
        return True

    @staticmethod
    def _read_clock() -> tuple[float, float]:
        return time.process_time(), time.monotonic()

    def _progress(self, stage: Stage, recorded: bool) -> Progress:
        last = self.losses[-1] if self.losses else {}
        losses = {name: value for name, value in last.items() if name != "iteration"}
        scores = len(self.components.get("train", []))
        return Progress(self.iteration, self.iterations, stage.name, losses, scores, recorded)

    def parameters(self) -> dict[str, Tensor]:
        """Parameters of all networks by name, where they are."""
        return {
            f"network/{name}/{key}": value
            for name, network in self.networks.named().items()
            for key, value in network.state_dict().items()
        }

    def state(self) -> TrainingState:
        """The state after the last finished iteration."""
        tensors = self.parameters()
        for phase in (self._critic, self._encoder_generator):
            for key, parameter in phase.parameters.items():
                for moment, value in phase.optimizer.state.get(parameter, {}).items():
                    tensors[f"adam/{phase.name}/{key}/{moment}"] = value
        tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        meta = {
            "iteration": self.iteration,
            "losses": self.losses,
            "components": self.components,
            "seconds": dict(self.seconds),
            "workers": self.world.num_workers,
        }
        return TrainingState(tensors, meta)

    def load(self, state: TrainingState) -> None:
        """Go on from a state of the same configuration."""
        for name, network in self.networks.named().items():
            network.load_state_dict(_under(state.tensors, f"network/{name}/"))
        for phase in (self._critic, self._encoder_generator):
            phase.restart(0.0, 0.9)
            for key, parameter in phase.parameters.items():
                moments = _under(state.tensors, f"adam/{phase.name}/{key}/")
                phase.optimizer.state[parameter].update(
                    {k: v.to(parameter.device, copy=True) for k, v in moments.items()}
                )
        self.iteration = state.meta["iteration"]
        self.losses = list(state.meta["losses"])
        self.seconds = dict(state.meta["seconds"])
        self.components = {split: list(tables) for split, tables in state.meta["components"].items()}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
