"""What a network must beat, as networks: so that baselines are trained, packaged, forecast with and served like any other.

Climatology here is the mean at each place over the training period, whatever the season: a network knows no times. Verification has the
one by calendar month.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from credit_ray.models.arguments import ClimatologyArguments, NetworkShape, PersistenceArguments


class Persistence(nn.Module):
    """What was, will be; a `ClosedForm` that needs no data. What is not among the inputs is predicted at its mean.

    Parameters
    ----------
    arguments : PersistenceArguments
        None.
    shape : NetworkShape
        Of the data.
    """

    def __init__(self, arguments: PersistenceArguments, shape: NetworkShape) -> None:
        super().__init__()
        self.out_channels = shape.out_channels
        self.kept = 0 if shape.change else shape.prognostic  # where outputs are changes, all of them are zero

    def forward(self, x: Tensor) -> Tensor:
        rest = x.new_zeros(len(x), self.out_channels - self.kept, *x.shape[3:])
        return torch.cat([x[:, -1, : self.kept], rest], 1)

    def accumulate(self, inputs: Tensor, target: Tensor, weights: Tensor) -> None:
        """Nothing to learn."""

    def partials(self) -> list[Tensor]:
        """Nothing was learnt."""
        return []

    def solve(self) -> None:
        """Nothing to solve."""


class Climatology(nn.Module):
    """The mean of the training period at each place, whatever the weather; a `ClosedForm`.

    Parameters
    ----------
    arguments : ClimatologyArguments
        None.
    shape : NetworkShape
        Of the data.
    """

    mean: Tensor
    change: Tensor

    def __init__(self, arguments: ClimatologyArguments, shape: NetworkShape) -> None:
        super().__init__()
        changing = len(shape.change)
        change = torch.tensor([*shape.change, *[1.0] * (shape.out_channels - changing)], dtype=torch.float32)
        self.changing = changing
        self.register_buffer("change", change.view(-1, 1, 1), persistent=False)
        self.register_buffer("mean", torch.zeros(shape.out_channels, *shape.grid))
        self._sums: list[Tensor] = []  # Σ value and count [out, *grid], float64

    def forward(self, x: Tensor) -> Tensor:
        return (self.mean - self._base(x)) / self.change

    def accumulate(self, inputs: Tensor, target: Tensor, weights: Tensor) -> None:
        """Add a batch to the mean; weights by place do not matter to a mean at each place."""
        value = (self._base(inputs) + target * self.change).double()
        finite = torch.isfinite(value)
        total, count = self.partials()
        total += value.where(finite, 0.0).sum(0)
        count += finite.sum(0)

    def partials(self) -> list[Tensor]:
        """Sums so far; zeros on a worker that had nothing to add."""
        if not self._sums:
            self._sums = [torch.zeros_like(self.mean, dtype=torch.float64) for _ in range(2)]
        return self._sums

    def solve(self) -> None:
        """Set the mean; where nothing was given, it stays at the variable's own."""
        total, count = self.partials()
        self.mean.copy_(torch.where(count > 0, total / count.clamp(min=1), self.mean))
        self._sums = []

    def _base(self, x: Tensor) -> Tensor:
        """[batch, out_channels, *grid]: the newest values of what is predicted as a change, zero for the rest."""
        rest = x.new_zeros(len(x), len(self.mean) - self.changing, *x.shape[3:])
        return torch.cat([x[:, -1, : self.changing], rest], 1)
