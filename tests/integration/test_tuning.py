"""A search: trials that are stopped early give back what they held, and the best is registered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from credit_ray.config.experiment import Experiment
from credit_ray.config.tuning import TuningConfig
from credit_ray.package import load_package
from credit_ray.tuning import run_tuning

MakeExperiment = Callable[..., Experiment]


def reservations() -> list[dict[str, Any]]:
    from ray.util.placement_group import placement_group_table

    return [group for group in placement_group_table().values() if group["state"] != "REMOVED"]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_search_frees_what_its_trials_held_and_registers_the_best(make_experiment: MakeExperiment) -> None:
    experiment = make_experiment(training={"max_epochs": 3, "validation": {"lead": "6h", "inits": 2}})
    tuning = TuningConfig.model_validate(
        {
            "metric": "validation/score",
            "trials": 3,
            "concurrent": 2,
            "scheduler": {"kind": "asha", "grace": 1, "reduction": 2},
            "space": {"training.optimizer.lr": {"choice": [1e-2, 1e-3, 1e-30]}},
        }
    )
    result = run_tuning(experiment.model_copy(update={"tuning": tuning}))
    assert len(result.trials) == 3
    assert result.score == min(trial["score"] for trial in result.trials)
    assert load_package(f"{result.run_directory}/package").summary["validation/score"] == pytest.approx(result.score)
    deadline = time.monotonic() + 30
    while reservations() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert reservations() == []
