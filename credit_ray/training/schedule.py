"""The learning rate by step, and the plateau that it may follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from credit_ray.config.training import Schedule


def learning_rate(schedule: Schedule, step: int, total: int, *, falls: int = 0) -> float:
    """Relative to the peak, a function of the step alone, so that it goes on exactly after a stop.

    Parameters
    ----------
    step, total : int
        Which of how many; the warm-up is a part of them.
    falls : int
        How often the score has been on a plateau: see `Plateau`.
    """
    warmup = max(round(schedule.warmup * total), 1)
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "plateau":
        return max(schedule.factor**falls, schedule.final)
    if schedule.kind == "cosine":
        return _half_cosine(progress, schedule.final)
    cycle = min(int(progress * schedule.cycles), schedule.cycles - 1)
    return _half_cosine(progress * schedule.cycles - cycle, schedule.final) * schedule.cycle_decay**cycle


def _half_cosine(progress: float, final: float) -> float:
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass
class Plateau:
    """Counts validations without a better score.

    Parameters
    ----------
    best : float
        Lowest score so far.
    waiting : int
        Validations since.
    falls : int
        How often the wait has been too long.
    """

    best: float = math.inf
    waiting: int = 0
    falls: int = 0

    def observe(self, score: float, patience: int) -> None:
        """A new score; lower is better."""
        if score < self.best:
            self.best, self.waiting = score, 0
            return
        self.waiting += 1
        if self.waiting >= patience:
            self.waiting, self.falls = 0, self.falls + 1
