"""Who counts how much: places by area, channels by the config, nothing where a variable does not exist."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def loss_weights(*, area: Tensor | None, channels: Sequence[float], mask: Tensor | None, grid: Sequence[int]) -> Tensor:
    """Weights [channel, *grid] whose mean is one where a variable exists, and zero elsewhere.

    Parameters
    ----------
    area : Tensor, optional
        [*grid], proportional to the cells' areas; None for equal weights.
    channels : sequence of float
        Weight of each channel.
    mask : Tensor, optional
        [channel, *grid], False where a channel does not exist.
    grid : sequence of int
        Its shape.
    """
    weights = torch.ones(len(channels), *grid) if area is None else area.expand(len(channels), *grid).clone()
    valid = torch.ones_like(weights, dtype=torch.bool) if mask is None else mask
    weights = torch.where(valid, weights, 0.0)
    # Each channel's weights sum to the same, however much of the globe it covers; then the config's weight is the only difference.
    weights = weights / weights.sum((-2, -1), keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    weights = weights * torch.tensor(channels).view(-1, 1, 1)
    return weights / weights[valid].mean()
