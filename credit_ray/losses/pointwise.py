"""Losses that compare place by place: mean square and mean absolute error."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from credit_ray.losses.arguments import PointwiseArguments


class Loss(Protocol):
    """What training minimises; built as `Loss(arguments, weights)`, with `weights` [channel, *grid] on the model's device."""

    def __init__(self, arguments: Any, weights: Tensor) -> None: ...

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


class _Pointwise:
    """The weighted mean over channels and places, and the mean over members, of a function of prediction − target."""

    def __init__(self, arguments: PointwiseArguments, weights: Tensor) -> None:
        self.weights = weights

    def __call__(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        return self._weighted(prediction, target).sum(1) / self.weights.sum()

    def per_channel(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        return self._weighted(prediction, target) / self.weights.flatten(1).sum(1)

    def _weighted(self, prediction: Tensor, target: Tensor) -> Tensor:
        """[batch, channel], summed over places."""
        # What is masked is taken out of the difference, not out of the error: the gradient of NaN · 0 is NaN.
        difference = torch.where(self.weights > 0, prediction - target[:, None], 0.0)
        return (self._error(difference).mean(1) * self.weights).flatten(2).sum(2)

    def _error(self, difference: Tensor) -> Tensor:
        raise NotImplementedError


class MeanSquaredError(_Pointwise):
    """(prediction − target)²; least for the conditional mean."""

    def _error(self, difference: Tensor) -> Tensor:
        return difference.square()


class MeanAbsoluteError(_Pointwise):
    """|prediction − target|; least for the conditional median."""

    def _error(self, difference: Tensor) -> Tensor:
        return difference.abs()
