"""One mesh of workers with named axes, and the sums that go over all of it.

data    replicas: each computes other windows
shard   each computes other windows, too, and keeps a part of the weights (sharding.py)
domain  each computes its band of latitudes of the same windows (domain/)

Every worker differentiates its own share of the loss: its windows' part of the batch, and its band's part of the places. The loss and
its gradient are the sums of the shares, over all axes alike. With one worker there is nothing to sum, and no process group.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from credit_ray.config.training import Parallel

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

AXES = ("data", "shard", "domain")


def device_mesh(parallel: Parallel, world: int, device: torch.device) -> DeviceMesh:
    """The mesh of all workers, its axes named as in `AXES`; neighbours in a domain have neighbouring ranks, since they talk most.

    The process group is there already; every worker calls this at the same time.
    """
    from torch.distributed.device_mesh import init_device_mesh

    group = parallel.shard * parallel.domain
    return init_device_mesh(device.type, (world // group, parallel.shard, parallel.domain), mesh_dim_names=AXES)


@dataclass(frozen=True)
class Workers:
    """This worker among all.

    Parameters
    ----------
    rank, world : int
        Which of how many.
    device : torch.device
        Where its arithmetic runs.
    mesh : DeviceMesh, optional
        How they share the work; without one, by windows alone.
    """

    rank: int
    world: int
    device: torch.device
    mesh: DeviceMesh | None = None

    @classmethod
    def here(cls, threads: int | None, parallel: Parallel) -> Workers:
        """As Ray Train set it up; `threads` for the arithmetic on a CPU, by default this node's cores shared among its workers."""
        import ray.train
        from ray.train.torch import get_device

        context = ray.train.get_context()
        torch.set_num_threads(threads or max((os.cpu_count() or 1) // context.get_local_world_size(), 1))
        world, device = context.get_world_size(), get_device()
        mesh = device_mesh(parallel, world, device) if world > 1 else None
        return cls(context.get_world_rank(), world, device, mesh)

    def size(self, axis: str) -> int:
        """Workers along an axis of the mesh."""
        if self.mesh is None:
            return self.world if axis == "data" else 1
        return self.mesh.size(AXES.index(axis))

    @property
    def batch_rank(self) -> int:
        """Which part of each batch this worker computes, together with the others of its domain."""
        return self.rank // self.size("domain")

    @property
    def batch_world(self) -> int:
        """Parts of a batch."""
        return self.world // self.size("domain")

    @property
    def in_step(self) -> bool:
        """Whether workers meet inside the network: then all of them must run it, and differentiate it, equally often."""
        return self.size("shard") > 1 or self.size("domain") > 1

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over workers, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over workers, in one message; those of sharded weights have been summed on the way.

        Losses are weighted by each worker's share of the batch before they are differentiated, so the sum is the gradient of the global mean,
        however unevenly windows fell.
        """
        from torch.distributed.tensor import DTensor

        mine = [p for p in parameters if not isinstance(p, DTensor)]
        if self.world == 1 or not mine:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in mine]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        torch.distributed.all_reduce(flat)
        for parameter, part, gradient in zip(mine, flat.split([g.numel() for g in gradients]), gradients, strict=True):
            parameter.grad = part.view_as(gradient)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether any worker says so, for each flag: all leave a branch together."""
        if self.world == 1:
            return flags
        said = self.sum_(torch.tensor([float(flag) for flag in flags], device=self.device))
        return tuple(bool(n) for n in said.tolist())
