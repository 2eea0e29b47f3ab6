"""The processes that train one run together. The only module that imports ``torch.distributed``.

Every worker draws the numbers of the whole batch and works on its share of the rows, so the number of workers changes
no result. The models' gradients are averaged by DDP; what is not a mean over rows goes through `World.gather`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """This process among those that train together.

    Attributes:
        worker_index: in 0..num_workers-1.
        num_workers: 1 for a process on its own; then no process group is needed.
        device: where this worker computes.
    """

    worker_index: int = 0
    num_workers: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this worker writes files and reports."""
        return self.worker_index == 0

    def tensor(self, values: NDArray[Any], dtype: torch.dtype) -> Tensor:
        """An array on this worker's device; on a GPU the copy goes on beside what is computed."""
        tensor = torch.from_numpy(values).to(dtype)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def share(self, rows: int) -> slice:
        """This worker's rows of a batch: contiguous, sizes differing by at most one, all workers covering it."""
        whole, rest = divmod(rows, self.num_workers)
        start = self.worker_index * whole + min(self.worker_index, rest)
        return slice(start, start + whole + (self.worker_index < rest))

    def mean(self, values: Tensor, rows: int) -> Tensor:
        """The share of this worker in the mean over a batch: its average over workers, as DDP takes it, is the mean.

        Args:
            values: one value for each local row.
            rows: rows of the whole batch.
        """
        return values.sum() * (self.num_workers / rows)

    def gather(self, local: Tensor, rows: int) -> Tensor:
        """The rows of all workers, in batch order; gradients flow to the local rows only.

        A loss L of all rows, computed on every worker, has on worker w the gradient dL/d(rows of w); multiplied by
        num_workers (`replicated`), the average that DDP takes over workers is the gradient of L.

        Args:
            local: this worker's share, shape (local rows, q).
            rows: rows of the whole batch.
        """
        if self.num_workers == 1:
            return local
        most = -(-rows // self.num_workers)
        padded = torch.zeros(most, *local.shape[1:], dtype=local.dtype, device=local.device)
        padded[: len(local)] = local.detach()
        parts = [torch.empty_like(padded) for _ in range(self.num_workers)]
        dist.all_gather(parts, padded)
        shares = [World(i, self.num_workers).share(rows) for i in range(self.num_workers)]
        pieces = [part[: share.stop - share.start] for part, share in zip(parts, shares, strict=True)]
        pieces[self.worker_index] = local
        return torch.cat(pieces)

    def replicated(self, value: Tensor) -> Tensor:
        """A value computed on gathered rows, as a summand of the local loss: see `gather`."""
        return value if self.num_workers == 1 else value.detach() + self.num_workers * (value - value.detach())

    def average(self, values: Tensor) -> Tensor:
        """Mean of a tensor over workers, without gradient; every worker must call it."""
        if self.num_workers == 1:
            return values.detach()
        total = values.detach().clone()
        dist.all_reduce(total)
        return total / self.num_workers

    def collect(self, values: Tensor) -> list[Tensor]:
        """The tensors of all workers, same shape on each; every worker must call it."""
        if self.num_workers == 1:
            return [values]
        parts = [torch.empty_like(values) for _ in range(self.num_workers)]
        dist.all_gather(parts, values.contiguous())
        return parts

    def agree(self, value: int) -> int:
        """The value that the main worker holds."""
        if self.num_workers == 1:
            return value
        holder = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.broadcast(holder, src=0)
        return int(holder.item())

    def wrap(self, module: nn.Module) -> Callable[..., Tensor]:
        """The loss module of a phase, with gradients averaged over workers where there are several."""
        if self.num_workers == 1:
            return module
        return DistributedDataParallel(
            module,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
        )


def replicas_differ(world: World, tensors: dict[str, Tensor]) -> list[str]:
    """Names of the parameters that are not bit-equal on all workers; every worker must call it.

    Replicas start equal and take equal steps; a difference means that some randomness escaped the derived streams.
    """
    if world.num_workers == 1:
        return []
    flat = torch.cat([tensor.detach().double().flatten() for tensor in tensors.values()])
    differs = torch.stack([(part != flat) for part in world.collect(flat)]).any(0).to(torch.int64)
    dist.all_reduce(differs)
    sizes = [tensor.numel() for tensor in tensors.values()]
    return [name for name, part in zip(tensors, torch.split(differs, sizes), strict=True) if part.any()]
