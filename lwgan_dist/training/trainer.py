"""The loop that runs the stages of any model, and its state: networks, optimizers and a counter."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.training.distributed import World
from lwgan_dist.training.model import Model
from lwgan_dist.training.phase import Terms
from lwgan_dist.training.stage import Stage

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

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass
class TrainingState:
    """All that a run carries from one iteration to the next.

    Attributes:
        tensors: parameters and Adam moments by name.
        meta: iteration, losses recorded, score components, seconds spent, iterations of the stages that have ended,
            what the model adds; plain JSON.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


class Trainer:
    """Trains a model.

    Args:
        model: with its stages.
        world: the processes that train together.
        initial: parameters to start from in place of random ones, of every network, by the names of `parameters`.

    Raises:
        ValueError: ``initial`` holds other parameters than those of the networks, or of other shapes.
    """

    def __init__(self, model: Model[Any], world: World, *, initial: dict[str, Tensor] | None = None) -> None:
        self.model = model
        self.world = world
        self.stages = list(model.stages)
        self.iterations = sum(stage.iterations for stage in self.stages)
        self.iteration = 0
        self.losses: list[dict[str, float]] = []
        self.components: dict[str, list[list[list[float]]]] = {}
        self.seconds = {"cpu": 0.0, "wall": 0.0}
        self.lengths: dict[str, int] = {}
        self._skipped = 0
        self._last_terms: dict[str, Terms] = {}
        self._clock = self._read_clock()
        if initial is not None:
            self._start_from(initial)

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
        for name, network in self.model.networks.named().items():
            network.load_state_dict(under(tensors, f"network/{name}/"))

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
                    self._last_terms.clear()
                    self.model.enter(stage)
                self.model.prepare(stage, iteration)
                try:
                    self._iterate(stage, iteration)
                except NonFiniteLossError as error:
                    raise NonFiniteLossError(f"iteration {self.iteration + 1} ({stage.name}): {error}") from None
                self.iteration = self._skipped = start + iteration + 1  # what follows _skipped is left out
                if stage.evaluates_at(iteration):
                    self._evaluate(stage, iteration)
                ended = iteration + 1 == stage.iterations or self.model.has_ended(stage, iteration)
                if ended:  # the numbers of the iterations that are left out are passed over, so that others keep theirs
                    self.lengths[stage.name] = iteration + 1
                    self.iteration = start + planned.iterations
                yield self._progress(stage, recorded=self._record(due=ended))
                if ended:
                    break
            start += planned.iterations

    def _iterate(self, stage: Stage, iteration: int) -> None:
        for phase, batch in self.model.steps(stage, iteration):
            self._last_terms[phase.key] = phase.step(*batch)

    def _sized(self, planned: Stage) -> Stage:
        """The stage with the iterations that it takes: in proportion to those of the stage that it follows."""
        if planned.follows is None or planned.follows not in self.lengths:
            return planned
        whole = next(stage.round_length for stage in self.stages if stage.name == planned.follows)
        taken = min(self.lengths[planned.follows], whole)
        return replace(planned, iterations=-(-planned.iterations * taken // whole))

    # score ------------------------------------------------------------------------------------------------------------

    def _evaluate(self, stage: Stage, iteration: int) -> None:
        index = len(next(iter(self.components.values()), []))
        for split, table in self.model.evaluate(stage, iteration, index).items():
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
        for phase, terms in self._last_terms.items():
            for name, value in terms.items():
                row[f"{phase}/{name}"] = float(value if name in self.model.gathered else self.world.average(value))
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
            for name, network in self.model.networks.named().items()
            for key, value in network.state_dict().items()
        }

    def state(self) -> TrainingState:
        """The state after the last finished iteration."""
        tensors = self.parameters()
        for phase in self.model.phases:
            for key, parameter in phase.parameters.items():
                for moment, value in phase.optimizer.state.get(parameter, {}).items():
                    tensors[f"adam/{phase.name}/{key}/{moment}"] = value
        tensors |= self.model.tensors(self.iteration)
        tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        meta = {
            "iteration": self.iteration,
            "losses": list(self.losses),
            "components": {split: list(tables) for split, tables in self.components.items()},
            "seconds": dict(self.seconds),
            "workers": self.world.num_workers,
            "lengths": dict(self.lengths),
            "skipped": self._skipped,
            **self.model.meta(),
        }
        return TrainingState(tensors, meta)

    def load(self, state: TrainingState) -> None:
        """Go on from a state of the same configuration."""
        self._adopt(state.tensors)
        for phase in self.model.phases:
            phase.restart(0.0, 0.9)
            for key, parameter in phase.parameters.items():
                moments = under(state.tensors, f"adam/{phase.name}/{key}/")
                phase.optimizer.state[parameter].update(
                    {k: v.to(parameter.device, copy=True) for k, v in moments.items()}
                )
        self.lengths = dict(state.meta["lengths"])
        self._skipped = state.meta["skipped"]
        self.iteration = state.meta["iteration"]
        self.losses = list(state.meta["losses"])
        self.seconds = dict(state.meta["seconds"])
        self.components = {split: list(tables) for split, tables in state.meta["components"].items()}
        self.model.load(state.tensors, state.meta)


def _shown(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(tuple(shape))


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
