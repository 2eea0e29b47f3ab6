"""The LWGAN in training: which batches its two phases take, where the codes start, what its score consists of."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwgan_dist.config import FastSchedule, RunConfig, Split
from lwgan_dist.data.blocks import flat
from lwgan_dist.data.sample import Sample
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.models.lwgan.batches import Batches
from lwgan_dist.models.lwgan.embedding import START_RESOLUTION, Embedding, Tear, distinct, geodesic_start, needed
from lwgan_dist.models.lwgan.evaluation import score_components
from lwgan_dist.models.lwgan.losses import CriticLoss, EncoderGeneratorLoss, Weights
from lwgan_dist.models.lwgan.stages import BEHIND, CHECKED_ROWS, FOCUS, PATIENCE, LwganStage, stages_of
from lwgan_dist.networks.registry import build_networks
from lwgan_dist.seeding import generator
from lwgan_dist.training.distributed import World
from lwgan_dist.training.phase import Phase
from lwgan_dist.training.trainer import under

logger = logging.getLogger("lwgan_dist")


class Lwgan:
    """Encoder Q, generator G and critic D for all ranks; see `lwgan_dist.training.model.Model`.

    Args:
        config: resolved, see `RunConfig.resolved`.
        sample: what it learns from.
        world: the processes that train together.

    Attributes:
        batches: of every stage.
        start: what the geodesic start was; None before it, and without one.
    """

    gathered = frozenset({"mmd"})

    def __init__(self, config: RunConfig, sample: Sample, world: World) -> None:
        self.config = config
        self.sample = sample
        self.world = world
        self.stages = stages_of(config)
        self.start: dict[str, Any] | None = None
        self._checks: list[list[float]] = []
        self._tear: dict[str, Tensor] = {}
        assert config.networks.latent_dim is not None  # resolved
        assert config.precision != "auto"
        self.latent_dim = config.networks.latent_dim
        self.networks = build_networks(
            sample.shape, config.networks, config.seed, config.precision, bounded=config.bounded
        )
        for network in self.networks.named().values():
            network.to(world.device)
        self.critic = Phase(
            "critic", CriticLoss(self.networks, world, config.objective.gradient_penalty_weight), [], world
        )
        self.encoder_generator = Phase(
            "encoder-generator", EncoderGeneratorLoss(self.networks, world), [self.networks.critic], world
        )
        self.phases = [self.critic, self.encoder_generator]
        self.batches = Batches(
            sample,
            self.networks,
            world,
            latent_dim=self.latent_dim,
            seed=config.seed,
            dtype=torch.float64 if config.precision == "float64" else torch.float32,
        )

    # iterations -------------------------------------------------------------------------------------------------------

    def enter(self, stage: LwganStage) -> None:
        """Forget the checks for a plateau and, if the stage asks for it, the moments of the optimizers."""
        self._checks.clear()
        if stage.fresh_optimizers:
            for phase, adam in self._optimizers(stage):
                phase.restart(adam.beta1, adam.beta2)

    def prepare(self, stage: LwganStage, iteration: int) -> None:
        """Lay geodesic coordinates on the rows before the first iteration that is guided by them."""
        if stage.guide_weight_at(iteration) and self.batches.embedding is None:
            self._embed()

    def steps(self, stage: LwganStage, iteration: int) -> Iterator[tuple[Phase, tuple[Any, ...]]]:
        """Critic updates, then encoder-generator updates, on batches of the same ranks."""
        done = stage.done_at(iteration)
        for phase, adam in self._optimizers(stage):
            phase.tune(adam, done)
        ranks, parts = self.batches.ranks(stage, iteration)
        for critic_batch in self.batches.critic(stage, iteration, ranks):
            yield self.critic, (critic_batch,)
        weights = Weights(
            float(stage.critic_term), stage.mmd_weight(done), stage.guide_weight_at(iteration), stage.decode_guide
        )
        for update in range(stage.encoder_generator_updates):
            batch = self.batches.encoder_generator(
                stage, (iteration, update), ranks, parts, matching=bool(weights.mmd), guided=bool(weights.guide)
            )
            yield self.encoder_generator, (batch, weights)

    def _optimizers(self, stage: LwganStage) -> list[tuple[Phase, Any]]:
        return [(self.critic, stage.critic), (self.encoder_generator, stage.encoder_generator)]

    def has_ended(self, stage: LwganStage, iteration: int) -> bool:
        """Whether the networks have learned the start, or learn no more of it.

        The first is so if a round is over and they reconstruct the rows nearly as well as the start decodes them at the
        rank that it needs; the second if the reconstruction errors have reached a plateau in the last round, or in an
        earlier one that would have been the last by the first criterion.
        """
        if not (stage.checks_at(iteration) or stage.ends_round_at(iteration)):
            return False
        errors = self._errors_at_focus()
        last_round = iteration >= stage.iterations - stage.round_length
        learned = last_round or errors[0] <= self._start_scale() * (self._decoded() + BEHIND)
        ends = learned and stage.ends_round_at(iteration)
        if stage.checks_at(iteration):
            self._checks.append(errors)
            before, since = np.array(self._checks[:-PATIENCE]), np.array(self._checks[-PATIENCE:])
            flat = len(before) > 0 and bool((before.min(axis=0) - since.min(axis=0) <= stage.plateau).all())
            ends = ends or (learned and flat)
        if stage.ends_round_at(iteration):  # the rates of the next one begin high, and errors with them
            self._checks.clear()
        return bool(self.world.agree(int(ends)))

    @torch.no_grad()
    def _errors_at_focus(self) -> list[float]:
        """Mean reconstruction errors of some training rows at the rank that the start needs and `FOCUS` more."""
        rng = generator(self.config.seed, "plateau/rows")
        count = CHECKED_ROWS if self.sample.stream else min(CHECKED_ROWS, len(self.sample.train))
        x = torch.from_numpy(self.sample.draw(rng, count)).to(self.world.device, self.batches.dtype)
        first = self.batches.focus or 1
        errors = []
        for rank in range(first, min(first + FOCUS, self.latent_dim) + 1):
            codes = self.networks.encoder(x, torch.tensor(rank, device=x.device))
            errors.append(float(reconstruction_errors(x, self.networks.generator(codes)).mean()))
        return errors

    def _decoded(self) -> float:
        """Root mean square of what the coordinates of the start leave of a row at the rank that they need, in units of
        the rows' scale.
        """
        if self.start is None:
            return 0.0
        return float(np.sqrt(self.start["decodability"][(self.batches.focus or 1) - 1]))

    def _start_scale(self) -> float:
        """The scale of the rows of the start, in units of the standardised data."""
        return 1.0 if self.start is None else float(self.start.get("scale", 1.0))

    # score ------------------------------------------------------------------------------------------------------------

    def evaluate(self, stage: LwganStage, iteration: int, index: int) -> dict[str, NDArray[np.float64]]:
        """C, R, P and M of every rank on the training rows and, if there are enough, on the hold-out rows."""
        size, count = self.config.score.batch_size, self.config.score.evaluations
        assert count is not None  # resolved
        splits: list[Split] = ["train", "holdout"] if len(self.sample.holdout) >= 4 else ["train"]
        tables: dict[str, NDArray[np.float64]] = {}
        for split in splits:
            x, z, alpha = self.batches.score(stage, iteration, size, split, (index, count))
            tables[split] = score_components(self.networks, x, z, alpha, self.world)
        return tables

    # start ------------------------------------------------------------------------------------------------------------

    def _embed(self) -> None:
        """Geodesic coordinates of at most ``embedding_rows`` training rows: the main worker's, the same on all.

        Raises:
            NonFiniteLossError: on every worker, if they cannot be computed.
        """
        schedule, rows = self.config.schedule, self._embedded_rows()
        assert isinstance(schedule, FastSchedule)
        count, table = len(rows), np.full((len(rows) + 4, self.latent_dim + 2), np.nan)
        if self.world.is_main:
            try:
                start = geodesic_start(
                    rows, self.latent_dim, schedule.embedding_neighbors, START_RESOLUTION, tear=schedule.tear,
                    images=len(self.sample.shape) > 1,
                )  # fmt: skip
                table[:] = _packed(start)
            except (
                ArithmeticError,
                ValueError,
                IndexError,
                np.linalg.LinAlgError,
            ) as error:  # logged here; the others learn of it by the NaN
                logger.error("the geodesic coordinates cannot be computed: %s", error)
        here = torch.from_numpy(table).to(self.world.device)
        table = self.world.collect(here)[0].cpu().numpy()
        if np.isnan(table[:count]).all():
            raise NonFiniteLossError("the geodesic coordinates of the rows cannot be computed")
        self._adopt_embedding(_unpacked(rows, table))

    def _adopt_embedding(self, embedding: Embedding) -> None:
        at_tear = embedding.at_tear
        self.batches.embedding = embedding
        self._tear = {
            "rows": torch.from_numpy(np.asarray(embedding.rows[at_tear], dtype=np.float64)),
            "reach": torch.from_numpy(embedding.reach[at_tear]),
        }
        scale = 1.0  # that of data that were standardised globally, up to what the choice of the rows changes
        if self.config.data.standardize != "global":
            scale = float(Standardizer.fit(embedding.rows, "global").scale[0])
        start = {**asdict(embedding.tear), "decodability": embedding.decodability.tolist(), "scale": scale}
        self._adopt_start(start)

    def _adopt_start(self, start: dict[str, Any]) -> None:
        self.start = start
        self.batches.focus = needed(np.array(start["decodability"]), START_RESOLUTION)

    def _is_guided(self, iteration: int) -> bool:
        """Whether an iteration still to come needs the embedding: the guided stages come first."""
        return iteration < sum(stage.iterations for stage in self.stages if stage.guide_weight)

    def _embedded_rows(self) -> NDArray[Any]:
        schedule = self.config.schedule
        assert isinstance(schedule, FastSchedule)
        count = schedule.embedding_rows
        if self.sample.stream is None:
            count = min(count, len(self.sample.train))
        return distinct(flat(self.sample.draw(generator(self.config.seed, "embedding/rows"), count)))

    # state ------------------------------------------------------------------------------------------------------------

    def tensors(self, iteration: int) -> dict[str, Tensor]:
        """The coordinates, while they are needed, and the rows at the tear."""
        tensors = {f"tear/{name}": value for name, value in self._tear.items()}
        embedding = self.batches.embedding
        if embedding and self._is_guided(iteration):  # kept: another machine may round its eigenvectors differently
            tensors["embedding/table"] = torch.from_numpy(_packed(embedding))
        return tensors

    def meta(self) -> dict[str, Any]:
        """The checks for a plateau, and what the start was."""
        return {"checks": [list(errors) for errors in self._checks], "start": self.start}

    def load(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Go on from a state of the same configuration."""
        self._checks = [list(errors) for errors in meta["checks"]]
        if "embedding/table" in tensors:
            self._adopt_embedding(_unpacked(self._embedded_rows(), tensors["embedding/table"].numpy().copy()))
        elif meta["start"] is not None:
            self._tear = {name: value.clone() for name, value in under(tensors, "tear/").items()}
            self._adopt_start(meta["start"])


def _packed(embedding: Embedding) -> NDArray[np.float64]:
    """An embedding but for its rows as one table, shape (m + 4, q + 2).

    Codes, at_tear and reach; below them weights, decodability and the tear.
    """
    m, q = embedding.codes.shape
    table = np.zeros((m + 4, q + 2))
    table[:m] = np.column_stack([embedding.codes, embedding.at_tear, embedding.reach])
    table[m, :q], table[m + 1, :q] = embedding.weights, embedding.decodability
    tear = embedding.tear
    table[m + 2, :3], table[m + 3, 0] = (tear.pieces, tear.rank, tear.share), tear.groups
    return table


def _unpacked(rows: NDArray[Any], table: NDArray[np.float64]) -> Embedding:
    m, q = len(rows), table.shape[1] - 2
    pieces, rank, share = table[m + 2, :3]
    groups = table[m + 3, 0] if len(table) > m + 3 else 1  # one row less in checkpoints of earlier versions
    return Embedding(
        rows=rows,
        codes=table[:m, :q],
        weights=table[m, :q],
        decodability=table[m + 1, :q],
        tear=Tear(int(pieces), int(rank), float(share), int(groups)),
        at_tear=table[:m, q] > 0,
        reach=table[:m, q + 1],
    )
