"""Weights in parts: each worker of the `shard` axis keeps its part of every parameter, and has the whole only while a block needs it.

FSDP2 (Zhao et al. 2023, arXiv:2304.11277; `torch.distributed.fsdp.fully_shard`): parameters become DTensors, and so do gradients,
optimiser state and averages, without their code knowing of it. Replicas along the other axes hold the same parts (HSDP).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from credit_ray.models.kept import Kept

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard_weights(network: nn.Module, mesh: DeviceMesh) -> None:
    """Let each worker of the mesh's `shard` axis keep a part of the network's weights, block by block.

    Gradients are summed over all axes of the mesh, as everywhere: a worker differentiates its share of the loss.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    over = _replicas_and_shards(mesh)
    for block in [*_blocks(network), network]:
        # The outermost one too: a forecast has no backward pass after which its weights would be let go of, and the next step, or an average
        # that is swapped in, would be computed with those that were gathered before.
        fully_shard(block, mesh=over, reshard_after_forward=True)
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # FSDP would take the mean
            module.set_force_sum_reduction_for_comms(True)  # the only reduction that gloo has
        for held in vars(module).values():
            if isinstance(held, Kept):
                held.off = True


def _replicas_and_shards(mesh: DeviceMesh) -> DeviceMesh:
    """The same workers as [data · domain, shard]: all who hold the same part are replicas of each other, whatever they compute."""
    from torch.distributed.device_mesh import DeviceMesh

    _, shards, _ = mesh.mesh.shape
    ranks = mesh.mesh.transpose(1, 2).reshape(-1, shards)
    return DeviceMesh(mesh.device_type, ranks, mesh_dim_names=("replicate", "shard"))


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """What a network repeats: the members of its lists and sequences, the outermost first met."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            for member in child:
                if isinstance(member, nn.ModuleList | nn.Sequential):
                    yield from _blocks(member)
                elif any(True for _ in member.parameters()):
                    yield member
        else:
            yield from _blocks(child)


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float | None) -> float:
    """Scale gradients down to a norm of at most `limit`, whole and sharded ones together; gives the norm that they had."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    parts: list[list[Tensor]] = [[], []]
    for gradient in gradients:
        parts[isinstance(gradient, DTensor)].append(gradient)
    norms = [_plain(torch.nn.utils.get_total_norm(part)) for part in parts if part]
    norm = float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
    if limit is not None and norm > limit and math.isfinite(norm):
        for part in parts:
            if part:
                torch._foreach_mul_(part, limit / (norm + 1e-6))
    return norm


def gathered(tree: Any, keep: bool = True) -> Any:
    """A copy on the CPU of nested dicts and lists in which every sharded tensor is whole.

    All workers call it together; those that do not `keep` it get the same without its tensors.
    """
    if isinstance(tree, Mapping):
        return {key: gathered(value, keep) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(gathered(value, keep) for value in tree)
    if isinstance(tree, Tensor):
        whole = _plain(tree.detach())
        return whole.to("cpu", copy=True) if keep else None
    return tree


def spread(whole: Tensor, like: Tensor | None) -> Tensor:
    """A whole tensor, the same on every worker, sharded as `like` is; unchanged where that is not sharded."""
    if not isinstance(like, DTensor):
        return whole
    part = distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return part.clone()  # rather than a view that keeps the whole


def _plain(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
