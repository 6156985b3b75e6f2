"""Losses that compare place by place, member by member.

With e = prediction − target in units of the output's σ, each is Σ_c Σ_p w_cp (1/m) Σ_i f(e_icp) / Σ_c Σ_p w_cp over channels c,
places p and members i.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.losses.arguments import HuberArguments
from credit_ray.losses.loss import ByChannel


class _Pointwise(ByChannel):
    """The weighted mean over channels and places, and the mean over members, of a function of prediction − target."""

    def by_channel(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.over_places(self._error(self.difference(prediction, target)).mean(1))

    def _error(self, difference: Tensor) -> Tensor:
        raise NotImplementedError


class MeanSquaredError(_Pointwise):
    """f(e) = e²; least for the conditional mean (Gauss 1809)."""

    def _error(self, difference: Tensor) -> Tensor:
        return difference.square()


class MeanAbsoluteError(_Pointwise):
    """f(e) = |e|; least for the conditional median (Laplace 1774)."""

    def _error(self, difference: Tensor) -> Tensor:
        return difference.abs()


class Huber(_Pointwise):
    """f(e) = ½e² for |e| ≤ δ, else δ(|e| − ½δ): a square that large errors do not rule (Huber 1964)."""

    def __init__(self, arguments: HuberArguments, weights: Tensor, grid: LatLonGrid | None = None) -> None:
        super().__init__(arguments, weights, grid)
        self.delta = arguments.delta

    def _error(self, difference: Tensor) -> Tensor:
        return F.huber_loss(difference, torch.zeros_like(difference), reduction="none", delta=self.delta)


class LogCosh(_Pointwise):
    """f(e) = log cosh e: ½e² for small errors, |e| − log 2 for large ones, and smooth to any order (Green 1990).

    Computed as |e| + log(1 + exp(−2|e|)) − log 2, which neither overflows nor loses digits for large errors.
    """

    def _error(self, difference: Tensor) -> Tensor:
        size = difference.abs()
        return size + F.softplus(-2 * size) - math.log(2)
