"""A phase of a training: a loss module, the networks that it trains, their optimizer, one step.

A loss module returns its loss from ``forward`` and registers only the networks that it trains, so that DDP averages
exactly their gradients; the others are handed to it frozen.
"""

import torch
from torch import Tensor, nn

from lwgan_dist.errors import NonFiniteLossError
from lwgan_dist.training.distributed import World
from lwgan_dist.training.stage import Adam

Terms = dict[str, Tensor]
"""Terms of a loss by name: this worker's summands of their batch means, detached."""


class Phase:
    """A loss module with the parameters that it trains and their Adam.

    Args:
        name: for messages and checkpoints.
        loss: returns (loss, terms) from forward.
        frozen: networks whose parameters get no gradient during a step.
        world: the processes that train together.
    """

    def __init__(self, name: str, loss: nn.Module, frozen: list[nn.Module], world: World) -> None:
        self.name = name
        self.key = name.replace("-", "_")  # of its losses
        self.parameters = dict(loss.named_parameters())
        self._loss = world.wrap(loss)
        self._frozen = frozen
        self._world = world
        self.restart(0.0, 0.9)

    def restart(self, beta1: float, beta2: float) -> None:
        """A fresh Adam, without moments."""
        self.optimizer = torch.optim.Adam(self.parameters.values(), betas=(beta1, beta2), fused=True)

    def tune(self, adam: Adam, done: float) -> None:
        """Set learning rate and betas for a fraction of the stage."""
        for group in self.optimizer.param_groups:
            group["lr"] = adam.learning_rate(done)
            group["betas"] = (adam.beta1, adam.beta2)

    def step(self, *args: object) -> Terms:
        """One update on one batch; returns the terms of the loss.

        Raises:
            NonFiniteLossError: on every worker, before the step, if the batch's loss or its gradient is not finite.
        """
        for network in self._frozen:
            network.requires_grad_(False)
        self.optimizer.zero_grad(set_to_none=True)
        terms: Terms
        loss, terms = self._loss(*args)
        loss.backward()
        for network in self._frozen:
            network.requires_grad_(True)
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        total = self._world.average(loss)
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {float(value):.4g}" for name, value in terms.items())
            raise NonFiniteLossError(f"the {self.name} loss is not finite: {float(total):.4g} ({values})")
        if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            raise NonFiniteLossError(f"the gradient of the {self.name} loss is not finite (loss {float(total):.4g})")
        self.optimizer.step()
        return terms
