"""The plan of an experiment, before anything is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import open_dataset
from credit_ray.data.plan_report import run_plan, training_plan, training_steps
from credit_ray.errors import ConfigError, DataError
from tests.unit.data.conftest import Make

GAPPY = [*range(0, 240, 6), *range(300, 420, 6)]


@pytest.fixture
def experiment(make: Make, save: Callable[..., str]) -> Callable[..., Experiment]:
    store = save(make(GAPPY), encoding={"t": {"chunks": (4, 3, 6, 8)}, "sp": {"chunks": (2, 6, 8)}})

    def build(
        *,
        history: int = 1,
        ingest: dict[str, Any] | None = None,
        train: tuple[str, str] = ("2000-01-01", "2000-01-20"),
        **training: Any,
    ) -> Experiment:
        return Experiment.model_validate(
            {
                "name": "plan",
                "data": {
                    "timestep": "6h",
                    "history": history,
                    "sources": {"weather": {"store": store, "prognostic": ["t", "sp"]}},
                    "splits": {"train": train},
                    "ingest": ingest or {},
                },
                "training": {"batch_size": 8} | training,
            }
        )

    return build


def test_the_plan_is_that_of_the_training_period_in_windows_of_history_and_rollout(
    experiment: Callable[..., Experiment],
) -> None:
    config = experiment(
        history=2, curriculum=[{"epoch": 0, "steps": 1}, {"epoch": 2, "steps": 3}], train=("2000-01-02", "2000-01-20")
    )
    plan = training_plan(config, open_dataset(config.data))
    assert plan.segments.start.tolist() == [4, 40]
    assert plan.segments.stop.tolist() == [40, 60]
    assert [plan.length(epoch) for epoch in range(4)] == [3, 3, 5, 5]
    assert plan.lanes == 4
    assert plan.chunk == 4


@pytest.mark.parametrize(("how", "steps"), [({"max_steps": 5}, 5), ({"max_epochs": 3}, 24), ({}, 80)])
def test_a_training_ends_after_its_steps_or_epochs(
    experiment: Callable[..., Experiment], how: dict[str, int], steps: int
) -> None:
    config = experiment(**how)
    plan = training_plan(config, open_dataset(config.data))
    assert plan.steps(0) == 8  # 58 windows, 8 at a time
    assert training_steps(config, plan) == steps


def test_the_report_says_what_will_be_read(experiment: Callable[..., Experiment]) -> None:
    report = run_plan(experiment(max_epochs=3))
    assert (report.times, report.gaps, report.windows_per_epoch, report.steps_per_epoch, report.total_steps) == (
        60,
        1,
        58,
        8,
        24,
    )
    assert report.slab_states * 4 * 4 * 48 / 1e6 == pytest.approx(report.slab_megabytes)
    assert report.megabytes_per_epoch >= 60 * 4 * 4 * 48 / 1e6
    assert report.slab_megabytes <= report.open_slabs_megabytes <= report.slabs_per_epoch * report.slab_megabytes
    assert 1 <= report.read_amplification < 3
    assert "60 times in 2 stretches → 58 windows an epoch, 8 steps; 24 steps in all." in str(report)
    assert json.loads(json.dumps(asdict(report)))["lanes"] == 4


def test_slabs_without_room_are_refused_with_what_a_state_takes(experiment: Callable[..., Experiment]) -> None:
    config = experiment(ingest={"slab_bytes": 1_000_000})
    dataset = open_dataset(config.data)
    dataset.__dict__["state_bytes"] = 600_000  # as a larger grid would have
    with pytest.raises(ConfigError, match=r"data\.ingest\.slab_bytes is 1,000,000, but two states take 1,200,000"):
        training_plan(config, dataset)


def test_a_rollout_longer_than_the_data_is_refused_before_anything_starts(
    experiment: Callable[..., Experiment],
) -> None:
    with pytest.raises(DataError, match=r"no window of 51 consecutive times .* longest stretch without a gap has 40"):
        run_plan(experiment(curriculum=[{"epoch": 0, "steps": 1}, {"epoch": 5, "steps": 50}]))
