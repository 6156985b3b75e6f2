"""What constraints corrected is counted over windows, steps and workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from credit_ray.physics.constraints import Budget
from credit_ray.training.ledger import Ledger
from credit_ray.training.parallel import Workers

ALONE = Workers(0, 1, torch.device("cpu"))


def result(*sizes: list[float]) -> Any:
    """Of a step, by constraint and trajectory; each leaves a tenth of its correction open."""
    budgets = []
    for size in sizes:
        corrected = torch.tensor(size, dtype=torch.float64)
        one = torch.ones_like(corrected)
        budgets.append(Budget("any", one, one + corrected / 10, "kg", norm=corrected))
    return SimpleNamespace(budgets=tuple(budgets))


def test_the_mean_is_over_windows_and_steps() -> None:
    ledger = Ledger(["dry_air_mass", "energy"], ALONE.device)
    first, second = ledger.weighing(0.75 / 2), ledger.weighing(0.25 / 2)  # pieces of 3 and 1 windows, two steps
    assert first is not None
    assert second is not None
    for step in (1.0, 3.0):
        first(result([step, step, step], [0.0, 0.0, 0.6]))
        second(result([5 * step], [0.0]))
    found = ledger.means(ALONE)
    assert found["dry_air_mass"] == pytest.approx((4.0, 0.4))
    assert found["energy"] == pytest.approx((0.15, 0.015))


def test_without_constraints_nothing_is_looked_at() -> None:
    ledger = Ledger([], ALONE.device)
    assert ledger.weighing(1.0) is None
    assert ledger.means(ALONE) == {}
