"""Learning rates by step."""

from __future__ import annotations

from itertools import pairwise

import pytest

from credit_ray.config.training import Schedule
from credit_ray.training.schedule import Plateau, learning_rate


def rates(**config: object) -> list[float]:
    schedule = Schedule.model_validate(config)
    return [learning_rate(schedule, step, 100) for step in range(101)]


def test_a_cosine_rises_linearly_then_falls_to_its_end() -> None:
    found = rates(warmup=0.1, final=0.2)
    assert found[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert max(found) == found[10] == 1.0
    assert all(a >= b for a, b in pairwise(found[10:]))
    assert found[100] == pytest.approx(0.2)


def test_restarts_begin_each_cosine_at_a_lower_peak() -> None:
    found = rates(kind="restarts", warmup=0.0, cycles=3, cycle_decay=0.5, final=0.0)
    jumps = [step for step, (a, b) in enumerate(pairwise(found)) if b > a + 0.1]
    assert len(jumps) == 2
    assert [found[step + 1] for step in jumps] == pytest.approx([0.5, 0.25], rel=0.01)
    assert found[100] == pytest.approx(0.0, abs=1e-12)


def test_a_constant_rate_stays() -> None:
    assert set(rates(kind="constant", warmup=0.1)[10:]) == {1.0}


def test_a_plateau_lowers_the_rate_down_to_its_least() -> None:
    schedule, plateau = Schedule(kind="plateau", patience=2, factor=0.1, final=0.005), Plateau()
    found = []
    for score in (1.0, 0.9, 0.95, 0.92, 0.91, 0.93, 0.8, 0.8, 0.8, 0.8):
        plateau.observe(score, schedule.patience)
        found.append(learning_rate(schedule, 50, 100, falls=plateau.falls))
    assert found == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.005, 0.005])
