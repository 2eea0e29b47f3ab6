"""What all models' stages have in common: a part of a training as data, read by the one loop of the trainer."""

import math
from collections.abc import Callable
from dataclasses import dataclass

Curve = Callable[[float], float]
"""A value as a function of the fraction of a round of the stage that is done, in [0, 1)."""


def constant(value: float) -> Curve:
    """The same value throughout."""
    return lambda _done: value


def cosine(start: float, end: float) -> Curve:
    """From start to end along half a cosine."""
    return lambda done: end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * done))


def milestones(value: float, factor: float, at: list[float]) -> Curve:
    """The value times the factor for every milestone that is reached."""
    return lambda done: value * factor ** sum(done >= milestone for milestone in at)


def switched_on(value: float, start: float) -> Curve:
    """0 until the fraction ``start``, then the value."""
    return lambda done: value if done >= start else 0.0


def ramped(value: float, length: float) -> Curve:
    """From 0 linearly to the value over the fraction ``length``, then the value; never 0."""
    return lambda done: value * min(1.0, (done + 1e-3) / length) if length > 0 else value


def faded(value: float, length: float) -> Curve:
    """From the value linearly to 0 over the fraction ``length``, then 0."""
    return lambda done: value * max(0.0, 1.0 - done / length)


@dataclass(frozen=True)
class Adam:
    """Adam's learning rate over the stage, and its decay rates."""

    learning_rate: Curve
    beta1: float
    beta2: float


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a training; a model adds what its updates need.

    Attributes:
        name: of what it does; random streams are derived from it.
        iterations: in it, at most.
        evaluate_after: iterations before the first evaluation; None for no evaluation.
        evaluate_every: iterations between evaluations.
        rounds: equal parts of the iterations; curves run from their beginning to their end in each, and the model may
            end the stage after any of them.
        follows: take as many iterations, in proportion, as the stage of this name took of its first round; no more than
            its own.
    """

    name: str
    iterations: int
    evaluate_after: int | None = None
    evaluate_every: int = 1
    rounds: int = 1
    follows: str | None = None

    @property
    def round_length(self) -> int:
        """Iterations of one round."""
        return self.iterations // self.rounds

    def done_at(self, iteration: int) -> float:
        """The fraction of its round that is done before an iteration, counted from 0 within the stage."""
        return (iteration % self.round_length) / self.round_length

    def updates_at(self, iteration: int) -> int:
        """How many updates an iteration, counted from 0 within the stage, consists of."""
        return 1

    def evaluates_at(self, iteration: int) -> bool:
        """Whether the model is evaluated after this iteration, counted from 0 within the stage."""
        if self.evaluate_after is None:
            return False
        past = iteration + 1 - self.evaluate_after
        return past > 0 and past % self.evaluate_every == 0
