"""The batches of a run: which rank, which rows, which noise.

Drawn for the whole batch from (seed, stage, purpose, step), the same on every worker, which then takes its share.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwgan_dist.config import Split
from lwgan_dist.data.blocks import Rows
from lwgan_dist.data.sample import Sample, pick_rows
from lwgan_dist.method.latent import mask_to_rank
from lwgan_dist.method.objective import mix
from lwgan_dist.models.lwgan.embedding import Embedding
from lwgan_dist.models.lwgan.losses import CriticBatch, EncoderGeneratorBatch
from lwgan_dist.models.lwgan.stages import LwganStage, rank_parts
from lwgan_dist.models.lwgan.vicinity import MOST_ROWS, Vicinity, between
from lwgan_dist.networks.base import Networks
from lwgan_dist.seeding import generator
from lwgan_dist.training.distributed import World

Step = int | tuple[int, int]
"""An iteration of a stage, or one of several updates in it."""

Pair = tuple[Tensor, Tensor]


class Batches:
    """Draws the batches of every stage.

    Args:
        sample: gives the rows.
        networks: give the frozen reconstructions and fakes of the critic's batches.
        world: the processes that train together.
        latent_dim: q.
        seed: of the run.
        dtype: of the batches.

    Attributes:
        embedding: rows with codes, for stages that are guided; to be set before them.
        focus: the rank around which batches of mixed ranks concentrate; None for none.
    """

    def __init__(
        self, sample: Sample, networks: Networks, world: World, *, latent_dim: int, seed: int, dtype: torch.dtype
    ) -> None:
        self.embedding: Embedding | None = None
        self._vicinities: dict[str, Vicinity] = {}
        self.focus: int | None = None
        self.sample = sample
        self.networks = networks
        self.world = world
        self.latent_dim = latent_dim
        self.seed = seed
        self.dtype = dtype

    def ranks(self, stage: LwganStage, iteration: int) -> tuple[Tensor, list[tuple[int, slice]]]:
        """Ranks of the rows of a batch, shape () or (rows,), and the rows of each rank.

        Raises:
            ConfigError: a batch that cannot hold two rows of every rank.
        """
        parts = rank_parts(stage, self.latent_dim, self.focus)
        if parts is None:
            rank = int(self._rng(stage, "rank", iteration).integers(1, self.latent_dim + 1))
            return torch.tensor(rank, device=self.world.device), [(rank, slice(0, stage.batch_size))]
        sizes = torch.tensor([part.stop - part.start for _, part in parts])
        ranks = torch.repeat_interleave(torch.arange(1, self.latent_dim + 1), sizes)
        return ranks.to(self.world.device), parts

    def critic(self, stage: LwganStage, iteration: int, ranks: Tensor) -> Iterator[CriticBatch]:
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

        def frozen(purpose: str) -> Iterator[Pair]:
            x = self._rows(stage, f"critic/rows{purpose}", iteration, batches)
            z = self._normal(stage, f"critic/noise{purpose}", iteration, batches)
            for k in range(batches):
                yield self._frozen(x[k], z[k, share], local_ranks)

        if stage.independent_batches:
            for alpha, first, second in zip(alphas, frozen(""), frozen("/penalty"), strict=True):
                yield CriticBatch(size, local_ranks, *first, mix(alpha, *second))
            return
        kept: list[Pair] = []
        fresh = frozen("")
        for k, alpha in enumerate(alphas):
            if k < batches:
                kept.append(next(fresh))
            reconstructed, fake = kept[k % batches][0], kept[(k + k // batches) % batches][1]
            yield CriticBatch(size, local_ranks, reconstructed, fake, mix(alpha, reconstructed, fake))

    @torch.no_grad()
    def _frozen(self, x: Tensor, z: Tensor, ranks: Tensor) -> Pair:
        """G(Q_r(x)) and G(z_r) without gradient."""
        reconstructed = self.networks.generator(self.networks.encoder(x, ranks))
        return reconstructed, self.networks.generator(mask_to_rank(z, ranks))

    def encoder_generator(
        self,
        stage: LwganStage,
        step: Step,
        ranks: Tensor,
        parts: list[tuple[int, slice]],
        *,
        matching: bool,
        guided: bool,
    ) -> EncoderGeneratorBatch:
        """The batch of one encoder-generator update.

        Args:
            stage, step: when.
            ranks, parts: see `ranks`.
            matching: whether its loss matches the codes to the latent distribution.
            guided: its rows are those of the embedding, with their codes.
        """
        size, share = stage.batch_size, self.world.share(stage.batch_size)
        local_ranks = ranks[share] if ranks.dim() else ranks
        (z,) = self._normal(stage, "encoder_generator/noise", step, 1)
        z = mask_to_rank(z, ranks)
        x_match, z_match, guide, guide_weights = None, z, None, None
        if guided:
            embedding = self.embedding
            assert embedding is not None
            draw = self._draw(stage, step, "guided", embedding.rows, embedding.at_tear)
            x = self._tensor(draw(embedding.rows)).view(-1, *self.sample.shape)  # they are flat
            guide = mask_to_rank(self._tensor(draw(embedding.codes)), local_ranks)
            guide_weights = self._tensor(embedding.weights)
        elif self.sample.stream is None:
            x = self._tensor(self._draw(stage, step, "all", self.sample.train)(self.sample.train))
        else:
            (x,) = self._rows(stage, "encoder_generator/rows", step, 1)
        if matching and stage.independent_batches:
            (x_match,) = self._rows(stage, "encoder_generator/rows/matching", step, 1)
            (z_match,) = self._normal(stage, "encoder_generator/noise/matching", step, 1)
            z_match = mask_to_rank(z_match, ranks)
        return EncoderGeneratorBatch(
            size=size,
            ranks=local_ranks,
            x=x,
            z=z[share],
            x_match=x_match,
            z_match=z_match,
            parts=parts,
            guide=guide,
            guide_weights=guide_weights,
        )

    def _draw(
        self, stage: LwganStage, step: Step, name: str, rows: Rows, fixed: NDArray[np.bool_] | None = None
    ) -> Callable[[Rows], NDArray[Any]]:
        """What takes this worker's rows of an encoder-generator batch out of a table: some of them or, if the stage
        interpolates and the sample is small, points between them and their neighbours.

        Args:
            stage, step: when.
            name: of the rows; their neighbours are computed once.
            rows: between which it is interpolated.
            fixed: rows that are not moved.
        """
        share = self.world.share(stage.batch_size)
        picks = pick_rows(self._rng(stage, "encoder_generator/rows", step), len(rows), stage.batch_size)
        if not stage.interpolation_neighbors or len(self.sample.train) > MOST_ROWS or self.sample.stream:
            return lambda values: values[picks[share]]
        if name not in self._vicinities:
            self._vicinities[name] = Vicinity(rows, stage.interpolation_neighbors, fixed)
        ends, t = self._vicinities[name].draw(self._rng(stage, "encoder_generator/between", step), picks)
        return lambda values: between(values, picks[share], ends[share], t[share])

    def score(
        self, stage: LwganStage, iteration: int, size: int | None, split: Split, part: tuple[int, int]
    ) -> tuple[Pair, Pair, Tensor]:
        """Draws for one evaluation of the score: two batches of rows, two of noise, mixing weights.

        Args:
            size: rows of a batch drawn at random; at most half of a fixed sample, so that the two batches share no row.
                None for a part of the sample.
            part: which of how many disjoint parts the first batch is; the second one is another part.
        """
        rng = self._rng(stage, f"score/{split}", iteration)
        if size is None:
            x = self._parts(split, *part)
        else:
            available = None if self.sample.stream else len(getattr(self.sample, split))
            rows = size if available is None else max(2, min(size, available // 2))
            x = self._pair(self.sample.draw(rng, 2 * rows, split))
        rows = len(x[0])
        z = self._pair(rng.standard_normal((2 * rows, self.latent_dim)))
        return x, z, self._tensor(rng.random((rows, 1)))

    def _parts(self, split: Split, index: int, count: int) -> Pair:
        """Two of the parts into which a random order cuts the sample; together, the first ones are the whole sample.

        Where parts differ by a row, the longer ones leave it out. A part has at least two rows, so parts of a sample of
        fewer than 2 ``count`` rows overlap.
        """
        rows = getattr(self.sample, split)
        order = generator(self.seed, f"score/{split}/order").permutation(len(rows))
        ends = np.linspace(0, len(rows), count + 1).round().astype(int)

        def part(k: int) -> NDArray[Any]:
            start = min(ends[k], len(rows) - 2)
            return np.asarray(rows[order[start : max(ends[k + 1], start + 2)]])

        first, second = part(index), part((index + count // 2) % count)
        rest = min(len(first), len(second))  # parts differ by a row at most
        return self._tensor(first[:rest]), self._tensor(second[:rest])

    def _rng(self, stage: LwganStage, purpose: str, step: Step) -> np.random.Generator:
        steps = (step,) if isinstance(step, int) else step
        return generator(self.seed, f"{stage.name}/{purpose}", *steps)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return self.world.tensor(values, self.dtype)

    def _rows(self, stage: LwganStage, purpose: str, step: Step, batches: int) -> Tensor:
        """This worker's rows of some batches, shape (batches, rows, *shape)."""
        size, rng = stage.batch_size, self._rng(stage, purpose, step)
        part = np.arange(batches * size).reshape(batches, size)[:, self.world.share(size)]
        rows = self.sample.draw(rng, batches * size, part=part.ravel())
        return self._tensor(rows).view(*part.shape, *self.sample.shape)

    def _normal(self, stage: LwganStage, purpose: str, step: Step, batches: int) -> Tensor:
        shape = (batches, stage.batch_size, self.latent_dim)
        return self._tensor(self._rng(stage, purpose, step).standard_normal(shape))

    def _uniform(self, stage: LwganStage, purpose: str, step: int, batches: int) -> Tensor:
        return self._tensor(self._rng(stage, purpose, step).random((batches, stage.batch_size, 1)))

    def _pair(self, values: NDArray[Any]) -> Pair:
        first, second = self._tensor(values).chunk(2)
        return first, second
