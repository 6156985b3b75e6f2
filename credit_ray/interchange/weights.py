"""CREDIT's tensors by their names → a network of ours, every one accounted for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from credit_ray.errors import PackageError
from credit_ray.interchange.keys import theirs

Reorder = Callable[[str, Tensor, tuple[int, ...]], Tensor]


def fill(
    network: nn.Module,
    found: Mapping[str, Tensor],
    layer: Callable[[str], str],
    *,
    reorder: Reorder,
    unused: str,
    where: str,
) -> None:
    """Give a network the weights of a checkpoint.

    Parameters
    ----------
    network : Module
        Ours; its tensors are written.
    found : mapping of str to Tensor
        The checkpoint's.
    layer : callable
        Our module's path → CREDIT's.
    reorder : callable
        (our name, CREDIT's tensor, our shape) → the tensor with its input channels in our order, where it reads the input.
    unused : str
        Pattern of names that CREDIT writes but never uses.
    where : str
        The checkpoint, for messages.

    Raises
    ------
    PackageError
        Listing every tensor that is missing, unknown or of another shape.
    """
    wanted = {name: theirs(name, layer) for name in network.state_dict()}
    # A layer that ours does not normalise, and CREDIT's only seems to.
    wanted = {
        name: f"{its}_orig" if its not in found and f"{its}_orig" in found else its for name, its in wanted.items()
    }
    missing = sorted(name for name in wanted.values() if name not in found)
    known = set(wanted.values())
    unknown = sorted(name for name in found if name not in known and not re.search(unused, name))
    weights, wrong = {}, []
    for ours, target in network.state_dict().items():
        name = wanted[ours]
        if name not in found:
            continue
        value = reorder(ours, found[name].to(target.dtype), tuple(target.shape))
        if _without_ones(value.shape) != _without_ones(target.shape):
            wrong.append(f"{name} {list(found[name].shape)} instead of {list(target.shape)}")
            continue
        weights[ours] = value.reshape(target.shape)
    problems = [
        f"{what}: {', '.join(names)}"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", wrong))
        if names
    ]
    if problems:
        raise PackageError(
            f"{where}: the weights are not those of the network that the config describes. " + "; ".join(problems) + "."
        )
    network.load_state_dict(weights)


def input_order(reading: Sequence[str], order: Sequence[int], history: int, averaged: bool) -> Reorder:
    """What puts the input channels of the layers that read the input into our order.

    Parameters
    ----------
    reading : sequence of str
        Beginnings of the names of those layers.
    order : sequence of int
        For each of our channels (of one time), CREDIT's.
    history : int
        Input times: we flatten [time, channel], CREDIT [channel, time].
    averaged : bool
        Whether CREDIT takes the mean of the times instead, so that each of them has a part of the one weight.
    """
    count = len(order)
    ours = torch.tensor(order)

    def reorder(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        if not name.startswith(tuple(reading)) or name.endswith("bias") or name.endswith("_u"):
            return value
        times = 1 if averaged else history
        vector = name.endswith("_v")
        rows = 1 if vector else value.shape[0]
        if value.numel() % (rows * count * times):
            return value  # of another shape, which is reported
        value = value.reshape(rows, count, times, -1)[:, ours].transpose(1, 2)  # [out, time, channel, kernel]
        if averaged and history > 1:
            value = value.expand(-1, history, -1, -1)
            # uᵀWv stays what it was: there are `history` times as many terms, each of them smaller by as much
            value = value if vector else value / history
        return value.reshape(shape) if value.numel() == _size(shape) else value

    return reorder


def _size(shape: Iterable[int]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _without_ones(shape: Iterable[int]) -> list[int]:
    return [n for n in shape if n != 1]
