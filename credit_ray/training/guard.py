"""Against steps that would ruin the weights."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from statistics import median

from credit_ray.config.training import Guard
from credit_ray.errors import TrainingError

_REMEMBERED = 100
_ENOUGH = 20  # losses before a median means anything


class DivergedError(TrainingError):
    """So many steps in a row had to be left out that going on is of no use."""


class StepGuard:
    """Says which steps are taken: not those without a finite loss and gradient, nor those whose loss is a spike.

    Parameters
    ----------
    config : Guard
        What a spike is.
    """

    def __init__(self, config: Guard) -> None:
        self.config = config
        self.left_out = self.in_a_row = 0
        self._steps = 0
        self._losses: deque[float] = deque(maxlen=_REMEMBERED)

    def takes(self, loss: float, gradient_norm: float, rollout_steps: int = 1) -> bool:
        """Whether a step with this loss and gradient is to be taken; it counts from then on.

        Longer rollouts have larger losses: where their length changes, what is usual is learnt anew.
        """
        if rollout_steps != self._steps:
            self._steps = rollout_steps
            self._losses.clear()
        good = math.isfinite(loss) and math.isfinite(gradient_norm) and not self._is_spike(loss)
        if good:
            self._losses.append(loss)
            self.in_a_row = 0
        else:
            self.left_out, self.in_a_row = self.left_out + 1, self.in_a_row + 1
        return good

    @property
    def exhausted(self) -> bool:
        """Whether too many were left out in a row."""
        return self.in_a_row >= self.config.patience

    def _is_spike(self, loss: float) -> bool:
        if self.config.spike is None or len(self._losses) < _ENOUGH:
            return False
        return loss > self.config.spike * median(self._losses)

    def state(self) -> tuple[int, int, list[float]]:
        """What it remembers, as plain values; steps in a row are forgotten, since going on from a checkpoint is a new attempt."""
        return self.left_out, self._steps, list(self._losses)

    def restore(self, state: tuple[int, int, Iterable[float]]) -> None:
        """The inverse of `state`."""
        self.left_out, self._steps, losses = state
        self.in_a_row, self._losses = 0, deque(losses, maxlen=_REMEMBERED)
