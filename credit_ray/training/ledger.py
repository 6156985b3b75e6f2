"""What the constraints corrected in one step of the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from credit_ray.stepper import StepResult
from credit_ray.training.parallel import Workers


class Ledger:
    """Means over windows and steps of each correction's size and of each relative residual.

    Parameters
    ----------
    names : sequence of str
        Of the constraints that are applied, in their order.
    device : torch.device
        Where they are counted, without a wait for it.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = list(names)
        self._sums = torch.zeros(len(self.names), 2, dtype=torch.float64, device=device)

    def weighing(self, weight: float) -> Callable[[StepResult], None] | None:
        """Adds the mean over a result's trajectories, with that weight."""
        if not self.names:
            return None

        def add(result: StepResult) -> None:
            found = torch.stack([torch.stack([b.size, b.relative_residual]) for b in result.budgets])
            self._sums += weight * found.detach().double().mean(-1)

        return add

    def means(self, workers: Workers) -> dict[str, tuple[float, float]]:
        """Constraint → (size, residual) over all workers, each of which has counted whole globes."""
        if not self.names:
            return {}
        size, residual = (workers.sum_(self._sums) / workers.size("domain")).T.tolist()
        return dict(zip(self.names, zip(size, residual, strict=True), strict=True))
