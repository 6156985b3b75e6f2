"""Losses that compare place by place: mean square and mean absolute error."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from credit_ray.losses.arguments import PointwiseArguments


class Loss(Protocol):
    """The seam: built as `Loss(arguments, weights)`, with weights [channel, *grid]."""

    def __call__(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        """[batch], from `prediction` [batch, member, channel, *grid] and `target` [batch, channel, *grid], both in units of the output's σ;
        `lead` is the step of the rollout, from 1."""
        ...


class _Pointwise:
    """The weighted mean, over channels and places, of an error of the mean over members.

    Parameters
    ----------
    weights : Tensor
        [channel, *grid]; where it is zero, neither field need be finite.
    """

    def __init__(self, arguments: PointwiseArguments, weights: Tensor) -> None:
        self.weights = weights / weights.sum()

    def __call__(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        return (self.error(self._difference(prediction, target)) * self.weights).sum((-3, -2, -1))

    def per_channel(self, prediction: Tensor, target: Tensor) -> Tensor:
        """[batch, channel]: each channel's own weighted mean."""
        total = self.weights.sum((-2, -1)).clamp(min=torch.finfo(self.weights.dtype).tiny)
        return (self.error(self._difference(prediction, target)) * self.weights).sum((-2, -1)) / total

    def _difference(self, prediction: Tensor, target: Tensor) -> Tensor:
        # Zeroed before the error, not after: the gradient of NaN · 0 is NaN.
        return torch.where(self.weights > 0, prediction.mean(1) - target, 0.0)

    def error(self, difference: Tensor) -> Tensor:
        """Of one difference."""
        raise NotImplementedError


class MeanSquaredError(_Pointwise):
    """(prediction − target)²: its minimum is the conditional mean."""

    def error(self, difference: Tensor) -> Tensor:
        return difference.square()


class MeanAbsoluteError(_Pointwise):
    """|prediction − target|: its minimum is the conditional median."""

    def error(self, difference: Tensor) -> Tensor:
        return difference.abs()
