"""What the bands of a domain send each other, differentiable.

The loss is the sum over workers of their shares. So a gradient comes back along every way that a value went: rows that were lent bring
theirs home, what was gathered by all has the sum of what each made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, eq=False)
class Ring:
    """The workers of one domain, north to south.

    Parameters
    ----------
    group : ProcessGroup
        Theirs.
    index, size : int
        This worker among them.
    """

    group: Any
    index: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this is the northernmost band."""
        return self.index == 0

    @property
    def last(self) -> bool:
        """Whether this is the southernmost band."""
        return self.index == self.size - 1


def neighbours_rows(x: Tensor, top: int, bottom: int, ring: Ring) -> tuple[Tensor, Tensor]:
    """The `top` rows north of a band [..., rows, columns], and the `bottom` rows south of it, as its neighbours have them.

    None where there is no neighbour: [..., 0, columns].
    """
    north, south = _Halo.apply(x, top, bottom, ring)
    return north, south


def gathered_rows(x: Tensor, rows: Sequence[int], ring: Ring) -> Tensor:
    """All bands [..., rows, columns] in order, of so many rows each, on every worker: [..., sum of rows, columns]."""
    whole: Tensor = _Gather.apply(x, tuple(rows), ring)
    return whole


def exchanged(x: Tensor, along: int, have: Sequence[int], across: int, want: Sequence[int], ring: Ring) -> Tensor:
    """All-to-all: from a part along one dimension to a part along another.

    Parameters
    ----------
    x : Tensor
        This worker's part along `along`, and all of `across`; real or complex.
    have, want : sequence of int
        Sizes of the workers' parts along `along`, and of the parts of `across` that they are to have.

    Returns
    -------
    Tensor
        All of `along`, and this worker's part of `across`.
    """
    moved: Tensor = _AllToAll.apply(x, along % x.ndim, tuple(have), across % x.ndim, tuple(want), ring)
    return moved


def summed(x: Tensor, ring: Ring) -> Tensor:
    """The sum over all bands, on every worker."""
    total: Tensor = _Sum.apply(x, ring)
    return total


class _Halo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, top: int, bottom: int, ring: Ring) -> tuple[Tensor, Tensor]:
        ctx.ring, ctx.margins, ctx.shape = ring, (top, bottom), x.shape
        rows = x.shape[-2]
        north = _rows_like(x, 0 if ring.first else top)
        south = _rows_like(x, 0 if ring.last else bottom)
        _swap(ring, (x[..., :bottom, :], north), (x[..., rows - top :, :], south))
        return north, south

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_north: Tensor, of_south: Tensor) -> tuple[Tensor | None, ...]:
        ring, (top, bottom) = ctx.ring, ctx.margins
        gradient = of_north.new_zeros(ctx.shape)
        to_north = _rows_like(gradient, 0 if ring.first else bottom)  # of the rows that were lent northward
        to_south = _rows_like(gradient, 0 if ring.last else top)
        _swap(ring, (of_north, to_north), (of_south, to_south))
        gradient[..., : to_north.shape[-2], :] += to_north
        gradient[..., gradient.shape[-2] - to_south.shape[-2] :, :] += to_south
        return gradient, None, None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: tuple[int, ...], ring: Ring) -> Tensor:
        ctx.rows, ctx.ring = rows, ring
        parts = [_rows_like(x, max(rows)) for _ in rows]
        padded = torch.cat([x, x.new_zeros(*x.shape[:-2], max(rows) - x.shape[-2], x.shape[-1])], -2)
        dist.all_gather(parts, padded.contiguous(), group=ring.group)
        return torch.cat([part[..., :count, :] for part, count in zip(parts, rows, strict=True)], -2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient, group=ctx.ring.group)
        return gradient.split(ctx.rows, -2)[ctx.ring.index], None, None


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, along: int, have: tuple[int, ...], across: int, want: tuple[int, ...], ring: Ring
    ) -> Tensor:
        ctx.way = (across, want, along, have, ring)
        return _all_to_all(x, along, have, across, want, ring)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _all_to_all(gradient, *ctx.way), None, None, None, None, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ring: Ring) -> Tensor:
        ctx.ring = ring
        total = x.contiguous().clone()
        dist.all_reduce(total, group=ring.group)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total, group=ctx.ring.group)
        return total, None


def _rows_like(x: Tensor, rows: int) -> Tensor:
    return torch.empty(*x.shape[:-2], rows, x.shape[-1], dtype=x.dtype, device=x.device)


def _swap(ring: Ring, north: tuple[Tensor, Tensor], south: tuple[Tensor, Tensor]) -> None:
    """With the neighbours in the north and in the south: send the first of each pair, receive the second; empty ones do not travel."""
    messages = []
    for peer, (out, into) in ((ring.index - 1, north), (ring.index + 1, south)):
        if 0 <= peer < ring.size:
            if out.numel():
                messages.append(dist.P2POp(dist.isend, out.contiguous(), group=ring.group, group_peer=peer))
            if into.numel():
                messages.append(dist.P2POp(dist.irecv, into, group=ring.group, group_peer=peer))
    if messages:
        for work in dist.batch_isend_irecv(messages):
            work.wait()


def _all_to_all(x: Tensor, along: int, have: tuple[int, ...], across: int, want: tuple[int, ...], ring: Ring) -> Tensor:
    if x.is_complex():
        return torch.view_as_complex(_all_to_all(torch.view_as_real(x), along, have, across, want, ring).contiguous())
    sent = [part.reshape(-1) for part in x.split(want, across)]
    shapes = [list(x.shape) for _ in have]
    for shape, size in zip(shapes, have, strict=True):
        shape[along], shape[across] = size, want[ring.index]
    counts = [torch.Size(shape).numel() for shape in shapes]
    received = x.new_empty(sum(counts))
    dist.all_to_all_single(received, torch.cat(sent), counts, [part.numel() for part in sent], group=ring.group)
    return torch.cat([part.view(shape) for part, shape in zip(received.split(counts), shapes, strict=True)], along)
