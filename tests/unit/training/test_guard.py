"""Which steps are left out, and when that is too much."""

from __future__ import annotations

import math

from credit_ray.config.training import Guard
from credit_ray.training.guard import StepGuard


def warmed_up(**config: float) -> StepGuard:
    guard = StepGuard(Guard.model_validate(config))
    assert all(guard.takes(1.0 + 0.01 * k, 1.0) for k in range(30))
    return guard


def test_a_spike_and_what_is_not_finite_are_left_out() -> None:
    guard = warmed_up(spike=10)
    assert guard.takes(5.0, 1.0)
    for loss, norm in ((50.0, 1.0), (math.nan, 1.0), (1.0, math.inf)):
        assert not guard.takes(loss, norm)
    assert (guard.left_out, guard.in_a_row) == (3, 3)
    assert guard.takes(1.0, 1.0)
    assert guard.in_a_row == 0


def test_a_spike_does_not_become_usual() -> None:
    guard = warmed_up(spike=10)
    assert not any(guard.takes(1000.0, 1.0) for _ in range(200))


def test_longer_rollouts_may_have_larger_losses() -> None:
    guard = warmed_up(spike=10)
    assert guard.takes(50.0, 1.0, rollout_steps=4)


def test_patience_ends() -> None:
    guard = warmed_up(patience=3)
    for _ in range(3):
        assert not guard.exhausted
        guard.takes(math.nan, 1.0)
    assert guard.exhausted


def test_it_remembers_over_a_stop() -> None:
    guard, again = warmed_up(spike=10), StepGuard(Guard(spike=10))
    again.restore(guard.state())
    assert again.state() == guard.state()
    assert not again.takes(50.0, 1.0)
