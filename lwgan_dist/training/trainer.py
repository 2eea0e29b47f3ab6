"""The alternation. One loop carries out the stages of any schedule; every random number of it is derived from
(seed, stage, purpose, iteration), so its state is the networks, the optimizers and a counter.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwgan_dist.config import FastSchedule, RunConfig, Split
from lwgan_dist.data.sample import Sample
from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.networks import build_networks
from lwgan_dist.seeding import generator
from lwgan_dist.training.batches import Batches
from lwgan_dist.training.distributed import World
from lwgan_dist.training.embedding import (
    START_RESOLUTION,
    Embedding,
    Tear,
    distinct,
    geodesic_start,
    needed,
)
from lwgan_dist.training.evaluation import score_components
from lwgan_dist.training.phases import CriticLoss, EncoderGeneratorLoss, Phase, Terms, Weights
from lwgan_dist.training.stages import CHECKED_ROWS, FOCUS, PATIENCE, Adam, Stage, stages_of

logger = logging.getLogger("lwgan_dist")

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
        meta: iteration, losses recorded, score components, seconds spent, iterations of the stages that have ended,
            what the start was; plain JSON.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


class Trainer:
    """Trains an LWGAN by the stages of a resolved configuration.

    Args:
        config: resolved, see `RunConfig.resolved`.
        sample: what it learns from.
        world: the processes that train together.
        initial: parameters to start from in place of random ones, of every network, by the names of `parameters`.

    Raises:
        ValueError: ``initial`` holds other parameters than those of the networks, or of other shapes.
    """

    def __init__(
        self,
        config: RunConfig,
        sample: Sample,
        world: World | None = None,
        *,
        initial: dict[str, Tensor] | None = None,
    ) -> None:
        self.config = config
        self.sample = sample
        self.world = world or World()
        self.stages = stages_of(config)
        self.iterations = sum(stage.iterations for stage in self.stages)
        self.iteration = 0
        self.losses: list[dict[str, float]] = []
        self.components: dict[str, list[list[list[float]]]] = {}
        self.seconds = {"cpu": 0.0, "wall": 0.0}
        self.lengths: dict[str, int] = {}
        self.start: dict[str, Any] | None = None
        self._checks: list[list[float]] = []
        self._skipped = 0
        self._tear: dict[str, Tensor] = {}
        self._clock = self._read_clock()
        assert config.networks.latent_dim is not None  # resolved
        assert config.networks.encoder_activation is not None
        assert config.precision != "auto"
        self.latent_dim = config.networks.latent_dim
        self.networks = build_networks(
            sample.ambient_dim,
            self.latent_dim,
            config.networks.width,
            config.networks.encoder_activation,
            config.seed,
            config.precision,
        )
        if initial is not None:
            self._start_from(initial)
        for network in self.networks.named().values():
            network.to(self.world.device)
        self._critic = Phase(
            "critic", CriticLoss(self.networks, self.world, config.objective.gradient_penalty_weight), [], self.world
        )
        self._encoder_generator = Phase(
            "encoder-generator", EncoderGeneratorLoss(self.networks, self.world), [self.networks.critic], self.world
        )
        self._last_terms: dict[str, Terms] = {}
        self._batches = Batches(
            sample,
            self.networks,
            self.world,
            latent_dim=self.latent_dim,
            seed=config.seed,
            dtype=torch.float64 if config.precision == "float64" else torch.float32,
        )

    def _start_from(self, initial: dict[str, Tensor]) -> None:
        ours = {name: value.shape for name, value in self.parameters().items()}
        theirs = {name: value.shape for name, value in initial.items()}
        differing = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
        if differing:
            name = differing[0]
            raise ValueError(
                f"the initial parameters are not those of the networks: {len(differing)} differ, {name} for one "
                f"(shape {_shown(theirs.get(name))}, of the networks {_shown(ours.get(name))})"
            )
        self._adopt(initial)

    def _adopt(self, tensors: dict[str, Tensor]) -> None:
        """Copy the parameters of all networks."""
        for name, network in self.networks.named().items():
            network.load_state_dict(_under(tensors, f"network/{name}/"))

    # the loop ---------------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[Progress]:
        """Train from the current iteration to the end, yielding after every iteration.

        Raises:
            NonFiniteLossError: a loss became NaN or infinite; names the iteration.
        """
        start = 0
        for planned in self.stages:
            stage = self._sized(planned)
            for iteration in range(max(0, self.iteration - start), stage.iterations):
                if iteration == 0:
                    self._enter(stage)
                if stage.guide_weight_at(iteration) and self._batches.embedding is None:
                    self._embed()
                try:
                    self._iterate(stage, iteration)
                except NonFiniteLossError as error:
                    raise NonFiniteLossError(f"iteration {self.iteration + 1} ({stage.name}): {error}") from None
                self.iteration = self._skipped = start + iteration + 1  # what follows _skipped is left out
                if stage.evaluates_at(iteration):
                    self._evaluate(stage, iteration)
                ended = iteration + 1 == stage.iterations or (stage.checks_at(iteration) and self._is_flat(stage))
                if ended:  # the numbers of the iterations that are left out are passed over, so that others keep theirs
                    self.lengths[stage.name] = iteration + 1
                    self.iteration = start + planned.iterations
                yield self._progress(stage, recorded=self._record(due=ended))
                if ended:
                    break
            start += planned.iterations

    def _sized(self, planned: Stage) -> Stage:
        """The stage with the iterations that it takes: in proportion to those of the stage that it follows."""
        if planned.follows is None or planned.follows not in self.lengths:
            return planned
        most = next(stage.iterations for stage in self.stages if stage.name == planned.follows)
        return replace(planned, iterations=-(-planned.iterations * self.lengths[planned.follows] // most))

    @torch.no_grad()
    def _is_flat(self, stage: Stage) -> bool:
        """Whether the reconstruction errors have reached a plateau at the ranks that the start points at."""
        rng = generator(self.config.seed, "plateau/rows")
        count = CHECKED_ROWS if self.sample.stream else min(CHECKED_ROWS, len(self.sample.train))
        x = torch.from_numpy(self.sample.draw(rng, count)).to(self.world.device, self._batches.dtype)
        first = self._batches.focus or 1
        errors = []
        for rank in range(first, min(first + FOCUS, self.latent_dim) + 1):
            codes = self.networks.encoder(x, torch.tensor(rank, device=x.device))
            errors.append(float(reconstruction_errors(x, self.networks.generator(codes)).mean()))
        self._checks.append(errors)
        before, since = np.array(self._checks[:-PATIENCE]), np.array(self._checks[-PATIENCE:])
        flat = len(before) > 0 and bool((before.min(axis=0) - since.min(axis=0) <= stage.plateau).all())
        return bool(self.world.agree(int(flat)))

    def _enter(self, stage: Stage) -> None:
        self._last_terms.clear()
        self._checks.clear()
        if stage.fresh_optimizers:
            for phase, adam in self._phases(stage):
                phase.restart(adam.beta1, adam.beta2)

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
                found = geodesic_start(
                    rows, self.latent_dim, schedule.embedding_neighbors, START_RESOLUTION, tear=schedule.tear
                )
                table[:] = _packed(found)
            except (
                ArithmeticError,
                ValueError,
                IndexError,
                np.linalg.LinAlgError,
            ) as error:  # said here; the others learn of it by the NaN
                logger.error("the geodesic coordinates cannot be computed: %s", error)
        here = torch.from_numpy(table).to(self.world.device)
        table = self.world.collect(here)[0].cpu().numpy()
        if np.isnan(table[:count]).all():
            raise NonFiniteLossError("the geodesic coordinates of the rows cannot be computed")
        self._adopt_embedding(_unpacked(rows, table))

    def _adopt_embedding(self, embedding: Embedding) -> None:
        at_tear = embedding.at_tear
        self._batches.embedding = embedding
        self._tear = {
            "rows": torch.from_numpy(np.asarray(embedding.rows[at_tear], dtype=np.float64)),
            "reach": torch.from_numpy(embedding.reach[at_tear]),
        }
        self._adopt_start({**asdict(embedding.tear), "decodability": embedding.decodability.tolist()})

    def _adopt_start(self, start: dict[str, Any]) -> None:
        self.start = start
        self._batches.focus = needed(np.array(start["decodability"]), START_RESOLUTION)

    def _is_guided(self) -> bool:
        """Whether an iteration still to come needs the embedding: the guided stages come first."""
        end = sum(stage.iterations for stage in self.stages if stage.guide_weight)
        return self.iteration < end

    def _embedded_rows(self) -> NDArray[Any]:
        schedule = self.config.schedule
        assert isinstance(schedule, FastSchedule)
        count = schedule.embedding_rows
        if self.sample.stream is None:
            count = min(count, len(self.sample.train))
        return distinct(self.sample.draw(generator(self.config.seed, "embedding/rows"), count))

    def _phases(self, stage: Stage) -> list[tuple[Phase, Adam]]:
        return [(self._critic, stage.critic), (self._encoder_generator, stage.encoder_generator)]

    def _iterate(self, stage: Stage, iteration: int) -> None:
        done = iteration / stage.iterations
        for phase, adam in self._phases(stage):
            phase.tune(adam, done)
        ranks, parts = self._batches.ranks(stage, iteration)
        for critic_batch in self._batches.critic(stage, iteration, ranks):
            self._last_terms["critic"] = self._critic.step(critic_batch)
        weights = Weights(
            float(stage.critic_term), stage.mmd_weight(done), stage.guide_weight_at(iteration), stage.decode_guide
        )
        for update in range(stage.encoder_generator_updates):
            batch = self._batches.encoder_generator(
                stage, (iteration, update), ranks, parts, matching=bool(weights.mmd), guided=bool(weights.guide)
            )
            self._last_terms["encoder_generator"] = self._encoder_generator.step(batch, weights)

    # score ------------------------------------------------------------------------------------------------------------

    def _evaluate(self, stage: Stage, iteration: int) -> None:
        size, count = self.config.score.batch_size, self.config.score.evaluations
        assert count is not None  # resolved
        splits: list[Split] = ["train", "holdout"] if len(self.sample.holdout) >= 4 else ["train"]
        for split in splits:
            part = len(self.components.get(split, [])), count
            x, z, alpha = self._batches.score(stage, iteration, size, split, part)
            table = score_components(self.networks, x, z, alpha, self.world)
            self.components.setdefault(split, []).append(table.tolist())
            if not np.isfinite(table).all():
                raise NonFiniteLossError(f"iteration {self.iteration}: the score is not finite: {table.tolist()}")

    # record and state -------------------------------------------------------------------------------------------------

    def _record(self, *, due: bool) -> bool:
        """Keep losses and time spent if it is due; every worker does so at the same iterations."""
        every = max(1, self.iterations // LOG_POINTS)
        if self.iteration % every and not due:
            return False
        row: dict[str, float] = {"iteration": self.iteration}
        gathered = {"mmd"}  # computed on the rows of all workers, not summands of a mean
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
        embedding = self._batches.embedding
        if embedding and self._is_guided():  # kept: another machine may round its eigenvectors differently
            tensors["embedding/table"] = torch.from_numpy(_packed(embedding))
        tensors |= {f"tear/{name}": value for name, value in self._tear.items()}
        tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        meta = {
            "iteration": self.iteration,
            "losses": list(self.losses),
            "components": {split: list(tables) for split, tables in self.components.items()},
            "seconds": dict(self.seconds),
            "workers": self.world.num_workers,
            "lengths": dict(self.lengths),
            "checks": [list(errors) for errors in self._checks],
            "start": self.start,
            "skipped": self._skipped,
        }
        return TrainingState(tensors, meta)

    def load(self, state: TrainingState) -> None:
        """Go on from a state of the same configuration."""
        self._adopt(state.tensors)
        for phase in (self._critic, self._encoder_generator):
            phase.restart(0.0, 0.9)
            for key, parameter in phase.parameters.items():
                moments = _under(state.tensors, f"adam/{phase.name}/{key}/")
                phase.optimizer.state[parameter].update(
                    {k: v.to(parameter.device, copy=True) for k, v in moments.items()}
                )
        if "embedding/table" in state.tensors:
            self._adopt_embedding(_unpacked(self._embedded_rows(), state.tensors["embedding/table"].numpy().copy()))
        elif state.meta["start"] is not None:
            self._tear = {name: value.clone() for name, value in _under(state.tensors, "tear/").items()}
            self._adopt_start(state.meta["start"])
        self.lengths = dict(state.meta["lengths"])
        self._checks = [list(errors) for errors in state.meta["checks"]]
        self._skipped = state.meta["skipped"]
        self.iteration = state.meta["iteration"]
        self.losses = list(state.meta["losses"])
        self.seconds = dict(state.meta["seconds"])
        self.components = {split: list(tables) for split, tables in state.meta["components"].items()}


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


def _shown(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(tuple(shape))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
