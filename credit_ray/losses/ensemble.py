"""Losses that judge an ensemble as a whole: proper scores, least for members drawn from the true distribution.

With x_1 … x_m the members and y the truth, both scores are a distance to the truth less a part of the distance between members,

    S = (1/m) Σ_i d(x_i, y) − (1 − ε)/(2m(m − 1)) Σ_i Σ_j d(x_i, x_j),    ε = (1 − α)/m.

α = 1 is the fair score, whose mean does not depend on the number of members (Ferro 2014); α = 0 the score of the empirical
distribution (Gneiting and Raftery 2007, equations 21 and 22); between them lie the almost fair ones of Lang et al. (2024,
AIFS-CRPS). Where all members but one have the truth, the fair score does not say where that one should be: α just below one does.
A single member has no distance to others, and its score is d(x, y).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.losses.arguments import CRPSArguments, EnergyScoreArguments
from credit_ray.losses.loss import ByChannel


class CRPS(ByChannel):
    """Continuous ranked probability score of each place and channel, d = |x − y|; least for the right marginal distributions.

    O(m log m) time and O(m) memory: the members are sorted, and Σ_i Σ_j |x_i − x_j| = 2 Σ_i (2i − m − 1) x_(i) (Zamo and Naveau
    2018).
    """

    def __init__(self, arguments: CRPSArguments, weights: Tensor, grid: LatLonGrid | None = None) -> None:
        super().__init__(arguments, weights, grid)
        self.alpha = arguments.alpha

    def by_channel(self, prediction: Tensor, target: Tensor) -> Tensor:
        # A score of differences from the truth is the same as that of the members, and shares their mask.
        difference = self.difference(prediction, target)
        return self.over_places(_SortedCRPS.apply(difference, pair_weight(difference.shape[1], self.alpha)))


class EnergyScore(ByChannel):
    """The multivariate score: d is the weighted root mean square difference of whole fields; least for the right joint distribution.

    Székely and Rizzo (2013); Gneiting and Raftery (2007), equation 22, with β = 1. The norm is over all channels and places, or with
    `joint: false` over the places of each channel. O(m²) time, as there is no order among fields, but O(m² + m·places) memory.
    """

    def __init__(self, arguments: EnergyScoreArguments, weights: Tensor, grid: LatLonGrid | None = None) -> None:
        super().__init__(arguments, weights, grid)
        self.alpha, self.joint = arguments.alpha, arguments.joint

    def __call__(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        if not self.joint:
            return super().__call__(prediction, target, lead)
        share = self.share.view(-1, *[1] * (self.weights.ndim - 1))
        scaled = self.difference(prediction, target) * (self.places * share).sqrt()
        return self._score(scaled.flatten(2))

    def by_channel(self, prediction: Tensor, target: Tensor) -> Tensor:
        scaled = self.difference(prediction, target) * self.places.sqrt()
        return self._score(scaled.flatten(3).transpose(1, 2))

    def _score(self, fields: Tensor) -> Tensor:
        """[..., member, place] → [...]: of differences from the truth, whose norm is the distance."""
        members = fields.shape[-2]
        to_truth = torch.linalg.vector_norm(fields, dim=-1).mean(-1)
        if members == 1:
            return to_truth
        # Differences themselves, not the products of a Gram matrix: members may be close, and float32 has few digits.
        pairs = torch.cdist(fields, fields, compute_mode="donot_use_mm_for_euclid_dist")
        return to_truth - pair_weight(members, self.alpha) / 2 * pairs.sum((-2, -1))


def pair_weight(members: int, alpha: float) -> float:
    """(1 − ε)/(m(m − 1)): what the distance of each pair of members counts; zero for a single one."""
    return (1 - (1 - alpha) / members) / (members * (members - 1)) if members > 1 else 0.0


class _SortedCRPS(torch.autograd.Function):
    """The score of differences [batch, member, ...] → [batch, ...], with its gradient made on the way.

    The gradient, sign(x_i)/m − (2·rank_i − m − 1)·weight, needs the order that the score has found: it is all that is kept, one
    number for each member, where automatic differentiation would keep the members, their order and their signs.
    """

    @staticmethod
    def forward(ctx: Any, difference: Tensor, weight: float) -> Tensor:
        members = difference.shape[1]
        if members == 1:
            ctx.save_for_backward(difference.sign().movedim(1, -1))
            return difference.abs().squeeze(1)
        last = difference.movedim(1, -1).contiguous()  # members side by side in memory: sorted several times faster
        in_order, order = last.sort(-1)
        ranks = (2 * torch.arange(members, device=last.device) - members + 1).to(last.dtype) * weight
        score = last.abs().mean(-1) - in_order @ ranks
        del in_order
        ctx.save_for_backward(last.sign().div_(members).scatter_add_(-1, order, -ranks.expand_as(last)))
        return score

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (slope * upstream[..., None]).movedim(-1, 1), None
