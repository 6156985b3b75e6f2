"""Ridge regression on a small stencil: the model that a network must beat.

Each output is a linear function of all inputs in the cells around it. Its coefficients are the same along a row, and by default each
row has its own, since what the Coriolis force and the width of a cell do depends on latitude. They solve the normal equations
(XᵀWX/n + λ) b = XᵀWY/n (Hoerl and Kennard 1970) in float64, in one pass over the data.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.arguments import LinearArguments, NetworkShape
from credit_ray.models.sphere import ReflectedInput

_AT_A_TIME = 4
"""Samples whose stencils are unfolded at once: each takes stencil² times the memory of its input, in float64."""


class Linear(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon]; a `ClosedForm`.

    Before it is solved its coefficients are zero: where outputs are changes, that is persistence.

    Parameters
    ----------
    arguments : LinearArguments
        Stencil and penalty.
    shape : NetworkShape
        Of the data.
    """

    coefficients: Tensor

    def __init__(self, arguments: LinearArguments, shape: NetworkShape) -> None:
        super().__init__()
        self.stencil, self.ridge = arguments.stencil, arguments.ridge
        margin = arguments.stencil // 2
        self.pad = ReflectedInput(shape, margin, margin, margin, margin)
        self.systems, self.unknowns = shape.grid[0] if arguments.by_row else 1, arguments.unknowns(shape)
        self.register_buffer("coefficients", torch.zeros(self.systems, self.unknowns, shape.out_channels))
        self._groups: list[list[int]] = []  # outputs that share their equations
        # Of each group XᵀWX [system, unknown, unknown], XᵀWY [system, unknown, output] and Σ W [system], one after the other.
        self._sums: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for few in x.split(_AT_A_TIME):
            features = self._features(few)  # [system, batch · places, unknown]
            out.append(_to_grid(features @ self.coefficients.to(features.dtype), len(few), *x.shape[-2:]))
        return torch.cat(out)

    def accumulate(self, inputs: Tensor, target: Tensor, weights: Tensor) -> None:
        """Add a batch to the normal equations; see `ClosedForm`.

        Outputs whose weights have the same pattern (all of them, unless some are masked) share one XᵀWX. Of a group, places where a
        target is not finite do not count.
        """
        patterns = torch.stack([_pattern(channel) for channel in weights.expand(target.shape[1:]).double()])
        if not self._sums:
            self._start(patterns)
        for few, wanted in zip(inputs.split(_AT_A_TIME), target.split(_AT_A_TIME), strict=True):
            features = self._features(few).double()
            for g, group in enumerate(self._groups):
                self._add(features, wanted[:, group].double(), patterns[group[:1]], *self._sums[3 * g : 3 * g + 3])

    def partials(self) -> list[Tensor]:
        """Sums so far, to be added up over workers; zeros on a worker that had nothing to add."""
        if not self._sums:
            self._start(self.coefficients.new_ones(self.coefficients.shape[-1], 1).double())
        return self._sums

    def solve(self) -> None:
        """Set the coefficients; an output that was never given a target keeps its own."""
        eye = torch.eye(self.unknowns, dtype=torch.float64, device=self.coefficients.device)
        eye[-1, -1] = 0.0  # the constant is free
        for g, group in enumerate(self._groups):
            for system, (gram, moment, total) in enumerate(zip(*self._sums[3 * g : 3 * g + 3], strict=True)):
                if total > 0:
                    factor = torch.linalg.cholesky(gram / total + self.ridge * eye)
                    solution = torch.cholesky_solve(moment / total, factor)
                    self.coefficients[system, :, group] = solution.to(self.coefficients.dtype)
        self._sums, self._groups = [], []

    def _start(self, patterns: Tensor) -> None:
        """Group the outputs by the pattern of their weights, and make room for the sums of each group."""
        _, member = patterns.flatten(1).unique(dim=0, return_inverse=True)
        for number in range(int(member.max()) + 1):
            group = (member == number).nonzero().flatten().tolist()
            self._groups.append(group)
            for shape in ((self.unknowns, self.unknowns), (self.unknowns, len(group)), ()):
                self._sums.append(torch.zeros(self.systems, *shape, dtype=torch.float64, device=patterns.device))

    def _add(
        self, features: Tensor, wanted: Tensor, pattern: Tensor, gram: Tensor, moment: Tensor, total: Tensor
    ) -> None:
        finite = torch.isfinite(wanted).all(1, keepdim=True)  # [batch, 1, lat, lon]
        weight = self._by_system(pattern * finite)  # [system, batch · places, 1]
        weighted = (features * weight).mT
        gram.baddbmm_(weighted, features)
        moment.baddbmm_(weighted, self._by_system(wanted.where(finite, 0.0)))
        total += weight.sum((1, 2))

    def _features(self, x: Tensor) -> Tensor:
        """[system, batch · places, unknown]: all inputs of the stencil around each place, and one."""
        batch, rows, columns = x.shape[0], x.shape[-2], x.shape[-1]
        cells = F.unfold(self.pad(x), self.stencil).view(batch, -1, rows, columns)
        return self._by_system(torch.cat([cells, cells.new_ones(batch, 1, rows, columns)], 1))

    def _by_system(self, x: Tensor) -> Tensor:
        """[batch, n, lat, lon] → [system, batch · places, n]."""
        by_row = x.permute(2, 0, 3, 1).flatten(1, 2)
        return by_row if self.systems > 1 else by_row.flatten(0, 1)[None]


def _to_grid(x: Tensor, batch: int, rows: int, columns: int) -> Tensor:
    """[system, batch · places, n] → [batch, n, lat, lon]."""
    return x.view(rows, batch, columns, -1).permute(1, 3, 0, 2)


def _pattern(weights: Tensor) -> Tensor:
    """Relative to their largest, and rounded: channels that differ in importance alone have the same one."""
    return (weights / weights.max().clamp(min=torch.finfo(weights.dtype).tiny)).round(decimals=6)
