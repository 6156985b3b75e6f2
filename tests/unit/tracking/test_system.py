"""Samples of the machine, in MLflow's names."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from credit_ray.tracking import system
from credit_ray.tracking.system import SystemMetrics, gpu_metrics


class Kept:
    """A spool that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, Mapping[str, float]]] = []

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.lines.append((step, metrics))


def test_each_sample_has_the_machine_under_names_that_mlflow_knows() -> None:
    kept: Any = Kept()
    watched = SystemMetrics(kept, since=time.time() - 5, every_seconds=0.02)
    while len(kept.lines) < 3:
        time.sleep(0.01)
    watched.stop()
    count = len(kept.lines)
    time.sleep(0.05)
    assert len(kept.lines) == count, "no sample after it was stopped"
    step, metrics = kept.lines[-1]
    assert step >= 5 / 0.02
    assert all(name.startswith("system/") for name in metrics)
    for share in ("system_memory_usage_percentage", "disk_usage_percentage"):
        assert 0 < metrics[f"system/{share}"] <= 100
    assert metrics["system/system_memory_usage_megabytes"] > 10
    assert [s for s, _ in kept.lines] == sorted(s for s, _ in kept.lines)


def test_cpu_utilisation_is_the_busy_part_of_the_ticks_since_the_last_sample() -> None:
    assert system._cpu((100, 400), (150, 500)) == {"cpu_utilization_percentage": 50.0}
    assert system._cpu((100, 400), (100, 400)) == {}


def test_gpus_are_told_apart_and_what_one_does_not_report_is_left_out() -> None:
    found = gpu_metrics("93, 40000, 80000, 612.5\n0, [N/A], [N/A], [N/A]\n")
    assert found["gpu_0_utilization_percentage"] == 93
    assert found["gpu_0_memory_usage_percentage"] == 50
    assert found["gpu_0_memory_usage_megabytes"] == pytest.approx(40000 * 1.048576)
    assert found["gpu_0_power_usage_watts"] == 612.5
    assert {name for name in found if name.startswith("gpu_1")} == {"gpu_1_utilization_percentage"}
    assert gpu_metrics("") == {}
