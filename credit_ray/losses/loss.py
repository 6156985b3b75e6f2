"""The seam of the losses: what one is, and the weighted mean over channels that most of them are."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from credit_ray.grid.latlon import LatLonGrid


class Loss(Protocol):
    """What training minimises; built as `Loss(arguments, weights, grid)`, with `weights` [channel, *grid] on the model's device.

    In a module of yours, `@losses.register("mine", arguments=MyArguments)` makes it known to configs. One that is an `nn.Module` has
    its parameters trained, and saved in checkpoints, along with the network's.
    """

    def __init__(self, arguments: Any, weights: Tensor, grid: LatLonGrid) -> None: ...

    def __call__(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        """One number for each forecast of a batch.

        Parameters
        ----------
        prediction : Tensor
            [batch, member, channel, *grid], in units of the output's σ.
        target : Tensor
            [batch, channel, *grid], in the same units. Under zero weight neither need be finite.
        lead : int
            Step of the rollout, from 1.

        Returns
        -------
        Tensor
            [batch].
        """
        ...

    def per_channel(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        """[batch, channel]: the loss of each channel by itself; NaN for one that has no weight anywhere."""
        ...


class ByChannel:
    """A loss that is the mean over channels, by their weight, of a loss of each.

    Parameters
    ----------
    arguments : data class
        Of the loss.
    weights : Tensor
        [channel, *grid], not negative; zero where a channel does not exist or does not count.
    grid : LatLonGrid, optional
        Only for losses that need its geometry.
    """

    def __init__(self, arguments: Any, weights: Tensor, grid: LatLonGrid | None = None) -> None:
        self.arguments, self.weights, self.grid = arguments, weights, grid
        total = weights.flatten(1).sum(1)  # [channel]
        self.counts = total > 0
        self.share = total / total.sum()
        self.places = weights / total.where(self.counts, 1.0).view(-1, *[1] * (weights.ndim - 1))
        """[channel, *grid]: of each channel that counts, weights that sum to one."""
        self.exists = None if bool((weights > 0).all()) else weights > 0

    def __call__(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        return (self.by_channel(prediction, target) * self.share).sum(1)

    def per_channel(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        return self.by_channel(prediction, target).where(self.counts, torch.nan)

    def by_channel(self, prediction: Tensor, target: Tensor) -> Tensor:
        """[batch, channel]; zero for a channel without weight."""
        raise NotImplementedError

    def difference(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Prediction − target, [batch, member, channel, *grid], and zero where there is no weight.

        What is masked is taken out of the difference, not out of the error: the gradient of NaN · 0 is NaN.
        """
        difference = prediction - target[:, None]
        return difference if self.exists is None else difference.where(self.exists, 0.0)

    def over_places(self, score: Tensor) -> Tensor:
        """Weighted mean over places: [batch, channel, *grid] → [batch, channel]."""
        return (score * self.places).flatten(2).sum(2)
