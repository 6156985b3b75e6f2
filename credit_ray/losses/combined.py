"""Several losses at once."""

from __future__ import annotations

from torch import Tensor, nn

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.losses.arguments import SumArguments
from credit_ray.losses.loss import Loss
from credit_ray.registry import losses


class Sum(nn.Module):
    """Σ_k λ_k L_k: the sum of its parts by their weights, each of which has the same weights by place and channel."""

    def __init__(self, arguments: SumArguments, weights: Tensor, grid: LatLonGrid) -> None:
        super().__init__()
        self.parts: list[tuple[float, Loss]] = []
        for number, (weight, kind, given) in enumerate(arguments.split()):
            part = losses.target(kind)(losses.arguments(kind)(**given), weights, grid)
            self.parts.append((weight, part))
            if isinstance(part, nn.Module):
                self.add_module(f"part{number}", part)  # what it learns is learnt here, too

    def forward(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        """[batch]; see `Loss`."""
        return sum((weight * part(prediction, target, lead) for weight, part in self.parts), target.new_zeros(()))

    def per_channel(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        """[batch, channel]; see `Loss`."""
        each = (weight * part.per_channel(prediction, target, lead) for weight, part in self.parts)
        return sum(each, target.new_zeros(()))
