"""Sums over workers. With one worker there is nothing to sum, and no process group."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Workers:
    """This worker among all.

    Parameters
    ----------
    rank, world : int
        Which of how many.
    device : torch.device
        Where its arithmetic runs.
    """

    rank: int
    world: int
    device: torch.device

    @classmethod
    def here(cls, threads: int | None) -> Workers:
        """As Ray Train set it up; `threads` for the arithmetic on a CPU, by default this node's cores shared among its workers."""
        import ray.train
        from ray.train.torch import get_device

        context = ray.train.get_context()
        torch.set_num_threads(threads or max((os.cpu_count() or 1) // context.get_local_world_size(), 1))
        return cls(context.get_world_rank(), context.get_world_size(), get_device())

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over workers, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over workers, in one message.

        Losses are weighted by each worker's share of the batch before they are differentiated, so the sum is the gradient of the global mean,
        however unevenly windows fell.
        """
        if self.world == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        torch.distributed.all_reduce(flat)
        for parameter, part, gradient in zip(
            parameters, flat.split([g.numel() for g in gradients]), gradients, strict=True
        ):
            parameter.grad = part.view_as(gradient)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether any worker says so, for each flag: all leave a branch together."""
        if self.world == 1:
            return flags
        said = self.sum_(torch.tensor([float(flag) for flag in flags], device=self.device))
        return tuple(bool(n) for n in said.tolist())
