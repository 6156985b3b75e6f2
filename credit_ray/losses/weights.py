"""Who counts how much: places by area, channels by the config, nothing where a variable does not exist."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from credit_ray.errors import ConfigError


def loss_weights(*, area: Tensor | None, channels: Sequence[float], mask: Tensor | None, grid: Sequence[int]) -> Tensor:
    """Weights whose mean is one where a variable exists and counts, and that are zero elsewhere.

    A channel's weight is its share of the loss, however much of the globe it covers: sea ice at weight 1 counts as much as temperature
    at weight 1.

    Parameters
    ----------
    area : Tensor, optional
        [*grid], proportional to the cells' areas; None for equal weights.
    channels : sequence of float
        Weight of each channel, not negative.
    mask : Tensor, optional
        [channel, *grid], False where a channel does not exist.
    grid : sequence of int
        Rows and columns, or whatever the grid's shape is.

    Returns
    -------
    Tensor
        [channel, *grid].

    Raises
    ------
    ConfigError
        For a weight that is negative or not finite, or where nothing has any.
    """
    for number, weight in enumerate(channels):
        if not 0 <= weight < math.inf:
            raise ConfigError(f"loss.weights: output {number} would have the weight {weight}: it must be 0 or more.")
    places = torch.ones(*grid) if area is None else area
    weights = places.expand(len(channels), *grid).flatten(1)
    if mask is not None:
        weights = weights.where(mask.flatten(1), 0.0)
    covered = weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    weights = weights / covered * weights.new_tensor(channels)[:, None]
    if not weights.sum() > 0:
        raise ConfigError("loss.weights: no output has any weight anywhere: there is nothing to learn.")
    return (weights / weights[weights > 0].mean()).view(len(channels), *grid)
